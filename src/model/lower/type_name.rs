//! How a spec spells a type: PostgreSQL's names with their aliases, `[]` for arrays, the warehouse's own
//! enumerated types. Knows nothing of columns.

use crate::finding::closest;
use crate::model::Enum;
use crate::model::data_type::{BuiltIn, DataType};

/// Why a type cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// There is none of that name; perhaps the other one was meant.
    Unknown { base: String, meant: Option<String> },
    /// Its arguments do not fit: what would.
    Arguments(String),
}

/// Names that say all there is to say.
const PLAIN: &[(&str, BuiltIn)] = &[
    ("bigint", BuiltIn::BigInt),
    ("bool", BuiltIn::Boolean),
    ("boolean", BuiltIn::Boolean),
    ("bytea", BuiltIn::Bytea),
    ("date", BuiltIn::Date),
    ("double precision", BuiltIn::DoublePrecision),
    ("float", BuiltIn::DoublePrecision),
    ("float4", BuiltIn::Real),
    ("float8", BuiltIn::DoublePrecision),
    ("int", BuiltIn::Integer),
    ("int2", BuiltIn::SmallInt),
    ("int4", BuiltIn::Integer),
    ("int8", BuiltIn::BigInt),
    ("integer", BuiltIn::Integer),
    ("json", BuiltIn::Json),
    ("jsonb", BuiltIn::Jsonb),
    ("real", BuiltIn::Real),
    ("smallint", BuiltIn::SmallInt),
    ("text", BuiltIn::Text),
    ("time", BuiltIn::Time),
    ("time without time zone", BuiltIn::Time),
    ("timestamp", BuiltIn::Timestamp),
    ("timestamp with time zone", BuiltIn::TimestampTz),
    ("timestamp without time zone", BuiltIn::Timestamp),
    ("timestamptz", BuiltIn::TimestampTz),
    ("uuid", BuiltIn::Uuid),
];

/// Names that may take arguments.
const WITH_ARGUMENTS: &[&str] =
    &["bpchar", "char", "character", "character varying", "dec", "decimal", "numeric", "varchar"];

/// Names of `pg_catalog` that are passed through.
const OTHERS: &[&str] = &[
    "bit",
    "box",
    "cidr",
    "circle",
    "datemultirange",
    "daterange",
    "inet",
    "int4multirange",
    "int4range",
    "int8multirange",
    "int8range",
    "interval",
    "jsonpath",
    "line",
    "lseg",
    "macaddr",
    "macaddr8",
    "money",
    "name",
    "nummultirange",
    "numrange",
    "oid",
    "path",
    "pg_lsn",
    "pg_snapshot",
    "point",
    "polygon",
    "timetz",
    "tsmultirange",
    "tsquery",
    "tsrange",
    "tstzmultirange",
    "tstzrange",
    "tsvector",
    "varbit",
    "xid8",
    "xml",
];

/// Types without an order, which no key and no grain can be made of.
const UNORDERED: &[&str] =
    &["box", "circle", "jsonpath", "line", "lseg", "path", "pg_snapshot", "point", "polygon", "xml"];

/// Ordered types that the extension `btree_gist` and PostgreSQL's own GiST know no equality of.
const OUTSIDE_GIST: &[&str] = &["name", "pg_lsn", "tsquery", "tsvector", "xid8"];

/// Whether a type of that name is there already, so that a warehouse cannot have one.
pub(super) fn is_built_in(name: &str) -> bool {
    PLAIN.iter().any(|(known, _)| *known == name) || WITH_ARGUMENTS.contains(&name) || OTHERS.contains(&name)
}

/// Whether values of a type can be ordered: compared, grouped by, put in an index.
pub(super) fn is_ordered(data_type: &DataType) -> bool {
    match data_type {
        DataType::BuiltIn(BuiltIn::Json) => false,
        DataType::BuiltIn(BuiltIn::Other(name)) => !UNORDERED.contains(&name.as_str()),
        DataType::BuiltIn(_) | DataType::Enum(_) => true,
        DataType::Array(element) => is_ordered(element),
    }
}

/// Whether an exclusion constraint can compare values of an ordered type.
pub(super) fn is_excludable(data_type: &DataType) -> bool {
    match data_type {
        DataType::BuiltIn(BuiltIn::Json | BuiltIn::Jsonb) | DataType::Array(_) => false,
        DataType::BuiltIn(BuiltIn::Other(name)) => !OUTSIDE_GIST.contains(&name.as_str()),
        DataType::BuiltIn(_) | DataType::Enum(_) => true,
    }
}

/// Whether values of a type are points of the calendar.
pub(super) fn is_time(data_type: &DataType) -> bool {
    use BuiltIn::{Date, Timestamp, TimestampTz};
    matches!(data_type, DataType::BuiltIn(Date | Timestamp | TimestampTz))
}

/// Whether values of one type can be put where the other is, and compared with it.
pub(super) fn agree(one: &DataType, other: &DataType) -> bool {
    fn class(data_type: &DataType) -> Option<u8> {
        let DataType::BuiltIn(built_in) = data_type else { return None };
        match built_in {
            BuiltIn::SmallInt | BuiltIn::Integer | BuiltIn::BigInt | BuiltIn::Numeric(_) => Some(1),
            BuiltIn::Real | BuiltIn::DoublePrecision => Some(1),
            BuiltIn::Text | BuiltIn::Varchar(_) | BuiltIn::Char(_) => Some(2),
            BuiltIn::Date | BuiltIn::Timestamp | BuiltIn::TimestampTz => Some(3),
            BuiltIn::Json | BuiltIn::Jsonb => Some(4),
            _ => None,
        }
    }
    one == other
        || match (one, other) {
            (DataType::Array(one), DataType::Array(other)) => agree(one, other),
            _ => class(one).is_some() && class(one) == class(other),
        }
}

/// Whether two types are one but for its precision: a value is the same in both, or rounded.
pub(super) fn alike(one: &DataType, other: &DataType) -> bool {
    use BuiltIn::{Char, Numeric, Text, Varchar};
    match (one, other) {
        (DataType::Array(one), DataType::Array(other)) => alike(one, other),
        (DataType::BuiltIn(one), DataType::BuiltIn(other)) => {
            one == other
                || matches!(
                    (one, other),
                    (Numeric(_), Numeric(_)) | (Text | Varchar(_), Text | Varchar(_)) | (Char(_), Char(_))
                )
        }
        _ => one == other,
    }
}

/// A type as PostgreSQL would name it, for messages.
pub(super) fn said(data_type: &DataType) -> String {
    match data_type {
        DataType::Enum(name) => name.name.clone(),
        DataType::Array(element) => format!("{}[]", said(element)),
        DataType::BuiltIn(BuiltIn::Numeric(None)) => "numeric".to_owned(),
        DataType::BuiltIn(BuiltIn::Numeric(Some((precision, scale)))) => {
            format!("numeric({precision}, {scale})")
        }
        DataType::BuiltIn(BuiltIn::Varchar(None)) => "varchar".to_owned(),
        DataType::BuiltIn(BuiltIn::Varchar(Some(length))) => format!("varchar({length})"),
        DataType::BuiltIn(BuiltIn::Char(length)) => format!("char({length})"),
        DataType::BuiltIn(BuiltIn::Other(name)) => name.clone(),
        DataType::BuiltIn(plain) => {
            // The longest of the aliases is PostgreSQL's own name but for timestamps.
            let own = match plain {
                BuiltIn::Timestamp => "timestamp",
                BuiltIn::TimestampTz => "timestamptz",
                BuiltIn::Time => "time",
                plain => PLAIN
                    .iter()
                    .filter(|(_, known)| known == plain)
                    .map(|(name, _)| *name)
                    .max_by_key(|name| name.len())
                    .unwrap_or("unknown"),
            };
            own.to_owned()
        }
    }
}

/// The type that a spec's word means.
pub(super) fn parse(written: &str, enums: &[Enum]) -> Result<DataType, Unusable> {
    let written = written.trim();
    if let Some(own) = enums.iter().find(|own| own.name.name == written) {
        return Ok(DataType::Enum(own.name.clone()));
    }
    if let Some(element) = written.strip_suffix("[]") {
        if element.trim_end().ends_with("[]") {
            return Err(Unusable::Arguments("an array of any depth is written with one `[]`".to_owned()));
        }
        return parse(element, enums).map(|element| DataType::Array(Box::new(element)));
    }
    let (base, arguments) = parts(written);
    built_in(&base, arguments.as_deref(), enums).map(DataType::BuiltIn)
}

/// The name in lower case with single spaces, and what stands in parentheses. PostgreSQL has
/// `timestamp(3) with time zone`: what follows the parentheses belongs to the name.
fn parts(written: &str) -> (String, Option<String>) {
    let (name, arguments) = match written.split_once('(') {
        Some((name, rest)) => {
            let (arguments, tail) = rest.split_once(')').unwrap_or((rest, "?"));
            (format!("{name} {tail}"), Some(arguments.to_owned()))
        }
        None => (written.to_owned(), None),
    };
    let base = name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    (base, arguments)
}

fn built_in(base: &str, arguments: Option<&str>, enums: &[Enum]) -> Result<BuiltIn, Unusable> {
    let numbers = arguments.map(|text| text.split(',').map(|part| part.trim().parse::<i64>()).collect());
    let numbers = match numbers {
        Some(Ok(numbers)) => numbers,
        Some(Err(_)) if WITH_ARGUMENTS.contains(&base) => {
            return Err(Unusable::Arguments(format!("`{base}` takes whole numbers")));
        }
        Some(Err(_)) | None => Vec::<i64>::new(),
    };
    match base {
        "numeric" | "decimal" | "dec" => numeric(&numbers),
        "varchar" | "character varying" => match numbers.as_slice() {
            [] => Ok(BuiltIn::Varchar(None)),
            _ => length(base, &numbers).map(|length| BuiltIn::Varchar(Some(length))),
        },
        "char" | "character" | "bpchar" => match numbers.as_slice() {
            [] => Ok(BuiltIn::Char(1)),
            _ => length(base, &numbers).map(BuiltIn::Char),
        },
        _ => {
            let plain = PLAIN.iter().find(|(name, _)| *name == base).map(|(_, plain)| plain.clone());
            let alias = match base {
                "bit varying" => "varbit",
                "time with time zone" => "timetz",
                base => base,
            };
            let other = || OTHERS.contains(&alias).then(|| BuiltIn::Other(alias.to_owned()));
            match plain.or_else(other) {
                Some(_) if arguments.is_some() => {
                    Err(Unusable::Arguments(format!("`{base}` is written without arguments")))
                }
                Some(built_in) => Ok(built_in),
                None => Err(Unusable::Unknown { base: base.to_owned(), meant: meant(base, enums) }),
            }
        }
    }
}

fn meant(base: &str, enums: &[Enum]) -> Option<String> {
    // What no distance between letters finds.
    let known = match base {
        "serial" | "serial4" => Some("integer"),
        "bigserial" | "serial8" | "long" => Some("bigint"),
        "smallserial" | "serial2" | "tinyint" => Some("smallint"),
        "string" | "citext" | "str" => Some("text"),
        "datetime" => Some("timestamptz"),
        "double" => Some("double precision"),
        "blob" | "binary" => Some("bytea"),
        _ => None,
    };
    let plain = PLAIN.iter().map(|(name, _)| *name);
    let names = plain.chain(WITH_ARGUMENTS.iter().copied()).chain(OTHERS.iter().copied());
    let own = enums.iter().map(|own| own.name.name.as_str());
    known.or_else(|| closest(base, own.chain(names))).map(str::to_owned)
}

fn numeric(numbers: &[i64]) -> Result<BuiltIn, Unusable> {
    let (precision, scale) = match numbers {
        [] => return Ok(BuiltIn::Numeric(None)),
        [precision] => (*precision, 0),
        [precision, scale] => (*precision, *scale),
        _ => return Err(Unusable::Arguments("`numeric` takes precision and scale".to_owned())),
    };
    match (u16::try_from(precision), i16::try_from(scale)) {
        (Ok(precision @ 1..=1000), Ok(scale @ -1000..=1000)) => {
            Ok(BuiltIn::Numeric(Some((precision, scale))))
        }
        _ => Err(Unusable::Arguments(
            "`numeric` has a precision from 1 to 1000 and a scale from -1000 to 1000".to_owned(),
        )),
    }
}

fn length(base: &str, numbers: &[i64]) -> Result<u32, Unusable> {
    match numbers {
        [number @ 1..=10_485_760] => Ok(u32::try_from(*number).expect("the pattern keeps it in range")),
        _ => Err(Unusable::Arguments(format!("`{base}` has a length from 1 to 10485760"))),
    }
}

/// What stands for a type that is not known, in a model that is thrown away.
pub(super) fn placeholder() -> DataType {
    DataType::BuiltIn(BuiltIn::Text)
}
