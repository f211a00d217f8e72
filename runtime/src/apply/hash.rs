//! The hash by which versions of a row are told apart.

use super::own::tracked;
use crate::descriptor::Silver;
use crate::quote;

/// The lossless hash of the columns whose change makes a version. The text of a row quotes its values
/// and leaves NULL empty, so no two rows run together and NULL is not ''; what is cut off at the end are
/// NULLs, so that an attribute that is added later and NULL changes no hash. A versioned dimension's
/// triggers hash what others write in the same way, in any session: values whose text hangs on settings
/// go in as they are sent.
pub fn hash(silver: &Silver, prefix: &str) -> String {
    let images: Vec<String> = tracked(silver)
        .map(|column| {
            let name = format!("{prefix}{}", quote::identifier(&column.name));
            match wire_format(&column.sql_type) {
                Some("byteasend") => format!("encode({name}, 'hex')"),
                Some(send) => format!("encode({send}({name}), 'hex')"),
                None => name,
            }
        })
        .collect();
    format!("sha256(rtrim(convert_to(ROW({})::text, 'UTF8'), ',)'))", images.join(", "))
}

/// The function that sends a type, where its text hangs on settings.
fn wire_format(sql_type: &str) -> Option<&'static str> {
    if let Some(element) = sql_type.strip_suffix("[]") {
        return wire_format(element).map(|_| "array_send");
    }
    match sql_type {
        "real" => Some("float4send"),
        "double precision" => Some("float8send"),
        "date" => Some("date_send"),
        "timestamp" => Some("timestamp_send"),
        "timestamptz" => Some("timestamptz_send"),
        "bytea" => Some("byteasend"),
        "interval" => Some("interval_send"),
        "money" => Some("cash_send"),
        "point" => Some("point_send"),
        "lseg" => Some("lseg_send"),
        "path" => Some("path_send"),
        "box" => Some("box_send"),
        "polygon" => Some("poly_send"),
        "line" => Some("line_send"),
        "circle" => Some("circle_send"),
        "daterange" | "tsrange" | "tstzrange" => Some("range_send"),
        "datemultirange" | "tsmultirange" | "tstzmultirange" => Some("multirange_send"),
        _ => None,
    }
}
