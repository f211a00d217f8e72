//! Stages a relation's *own* states: for each key that is touched, its current version (`base`) and what
//! it was after each transaction of the window. Columns that come from lookups are filled in later.

use sqlx::PgConnection;

use super::{LookupSource, Step};
use crate::descriptor::{Column, ColumnFrom, Silver, SilverKind};
use crate::error::Result;
use crate::quote;
use crate::statement;

/// Stages `own_<n>`: the relation's columns, `m$present`, `m$base`, `m$hash` (of a base) and
/// `m$since`.
/// Returns the number of rows.
pub async fn stage(
    step: &Step<'_>,
    lookups: &[LookupSource<'_>],
    connection: &mut PgConnection,
) -> Result<u64> {
    let window = &step.window;
    let reread: Vec<&LookupSource<'_>> = lookups.iter().filter(|source| source.changed.is_some()).collect();
    // None where nothing came, which most relations have most of the time: asked first, for a table costs more.
    let truncates: i64 = statement::scalar(
        connection,
        &format!(
            "SELECT CASE WHEN count(*) > 0 THEN count(*) FILTER (WHERE op = 'T') ELSE -1 END \
             FROM {} WHERE lsn > $1 AND lsn <= $2",
            quote::name(&step.silver.feed)
        ),
        &[window.after_lsn, window.to_lsn],
    )
    .await?;
    if truncates < 0 && reread.is_empty() {
        return Ok(0);
    }
    let staged = statement::execute(connection, &changes(step, truncates > 0)).await?;
    if staged == 0 && reread.is_empty() {
        return Ok(0);
    }
    statement::analyze(connection, &step.table("own"), staged).await?;
    let bases = statement::execute(connection, &bases(step, &reread)).await?;
    statement::analyze(connection, &step.table("own"), bases).await?;
    Ok(staged + bases)
}

/// The window's changes: the last state of a key in each transaction.
fn changes(step: &Step<'_>, truncated: bool) -> String {
    let silver = step.silver;
    let key = quote::list("", &silver.key);
    let columns: Vec<String> = silver
        .columns
        .iter()
        .map(|column| match &column.from {
            ColumnFrom::Field(_) => quote::identifier(&column.name),
            ColumnFrom::Lookup { .. } => {
                format!("NULL::{} AS {}", column.sql_type, quote::identifier(&column.name))
            }
        })
        .collect();
    let change = if truncated { with_truncates(step) } else { format!("change AS (\n{}\n)", single(step)) };
    format!(
        "CREATE TEMPORARY TABLE own_{number} ON COMMIT DROP AS\nWITH {change}\n\
         SELECT DISTINCT ON ({key}, m$lsn)\n{columns},\nm$present,\nfalse AS m$base,\nNULL::bytea AS m$hash,\n\
         m$time AS m$since\nFROM change\nORDER BY {key}, m$lsn, m$seq DESC",
        number = step.number,
        columns = columns.join(",\n"),
    )
}

/// The changes of single rows: when, whether the row is there afterwards, and the columns that are fields.
fn single(step: &Step<'_>) -> String {
    let silver = step.silver;
    // A record names a field once; a column that takes a field that is taken already reads one of its own.
    let mut records: Vec<Vec<&Column>> = Vec::new();
    for column in fields(silver) {
        match records.iter_mut().find(|record| record.iter().all(|taken| taken.from != column.from)) {
            Some(record) => record.push(column),
            None => records.push(vec![column]),
        }
    }
    let mut select = String::new();
    let mut from = String::new();
    for (number, record) in records.iter().enumerate() {
        let mut definitions = Vec::new();
        for column in record {
            let ColumnFrom::Field(field) = &column.from else { continue };
            let field = quote::identifier(field);
            select += &format!(",\nlanded_{number}.{field} AS {}", quote::identifier(&column.name));
            definitions.push(format!("{field} {}", column.sql_type));
        }
        from += &format!(
            "\nCROSS JOIN LATERAL jsonb_to_record(change.full_row) AS landed_{number} ({})",
            definitions.join(", ")
        );
    }
    format!(
        "SELECT change.lsn AS m$lsn, change.seq AS m$seq, change.commit_ts AS m$time,\n\
         change.op <> 'D' AS m$present{select}\nFROM {} AS change{from}\nWHERE {} AND change.op <> 'T'",
        quote::name(&silver.feed),
        within_window(step, "change"),
    )
}

/// The same, and the end of every key that stood before a truncate.
fn with_truncates(step: &Step<'_>) -> String {
    let silver = step.silver;
    let values: Vec<String> = fields(silver)
        .map(|column| match silver.key.contains(&column.name) {
            true => format!("standing.{}", quote::identifier(&column.name)),
            false => format!("NULL::{}", column.sql_type),
        })
        .collect();
    format!(
        "single AS (\n{single}\n), standing AS (\nSELECT {key} FROM single\nUNION\n\
         SELECT {current} FROM {table} AS stored WHERE {is_current}\n), change AS (\n\
         SELECT * FROM single\nUNION ALL\n\
         SELECT gone.lsn, gone.seq, gone.commit_ts, false, {values}\n\
         FROM {feed} AS gone CROSS JOIN standing\nWHERE gone.op = 'T' AND {window}\n)",
        single = single(step),
        key = quote::list("", &silver.key),
        current = quote::list("stored.", &silver.key),
        table = quote::name(&silver.table),
        is_current = is_current(silver, "stored"),
        values = values.join(", "),
        feed = quote::name(&silver.feed),
        window = within_window(step, "gone"),
    )
}

fn within_window(step: &Step<'_>, alias: &str) -> String {
    let window = &step.window;
    format!("{alias}.lsn > {} AND {alias}.lsn <= {}", window.after_lsn, window.to_lsn)
}

/// The current versions of keys that the window touches: of its changes, and of lookups that changed.
fn bases(step: &Step<'_>, reread: &[&LookupSource<'_>]) -> String {
    let silver = step.silver;
    let own = step.table("own");
    // Each with what says that it is not so, in the words that the planner makes the most of.
    let changed = format!(
        "EXISTS (SELECT FROM {own} AS own WHERE {})",
        statement::equal("own.", "stored.", &silver.key, &silver.key)
    );
    let mut touched = vec![(format!("NOT {changed}"), changed)];
    for source in reread {
        let number = source.changed.expect("only changed lookups are reread");
        let (own_columns, there): (Vec<_>, Vec<_>) = source.lookup.on.iter().cloned().unzip();
        let looked = format!(
            "(({}) IN (SELECT {} FROM pg_temp.version_{number} AS looked))",
            quote::list("stored.", &own_columns),
            quote::list("looked.", &there)
        );
        touched.push((format!("{looked} IS NOT TRUE"), looked));
    }
    let (hash, since) = match &silver.kind {
        SilverKind::Dimension { row_hash, start, .. } => {
            (format!("stored.{}", quote::identifier(row_hash)), start)
        }
        SilverKind::Fact { snapshot, .. } => (hash(silver, "stored."), snapshot),
    };
    let columns = quote::list("stored.", silver.columns.iter().map(|column| &column.name));
    // Each way of being touched is a query of its own, so that each can go by its index; what an earlier one
    // has found, a later one leaves out. Joining the table to their union would be shorter, but how many rows
    // share a key of several columns is what the planner guesses worst.
    let queries: Vec<String> = touched
        .iter()
        .enumerate()
        .map(|(number, (_, way))| {
            let earlier: String = touched[..number].iter().map(|(not, _)| format!("\nAND {not}")).collect();
            format!(
                "SELECT {columns}, true, true, {hash}, stored.{since}\nFROM {table} AS stored\n\
                 WHERE {is_current}\nAND {way}{earlier}",
                since = quote::identifier(since),
                table = quote::name(&silver.table),
                is_current = is_current(silver, "stored"),
            )
        })
        .collect();
    format!("INSERT INTO {own}\n{}", queries.join("\nUNION ALL\n"))
}

/// Whether a stored row is a current one, as a condition.
pub fn is_current(silver: &Silver, alias: &str) -> String {
    match &silver.kind {
        SilverKind::Dimension { end, .. } => format!("{alias}.{} = 'infinity'", quote::identifier(end)),
        SilverKind::Fact { .. } => "true".to_owned(),
    }
}

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
    format!("sha256(convert_to(rtrim(ROW({})::text, ',)'), 'UTF8'))", images.join(", "))
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

/// The columns whose change makes a version.
pub fn tracked(silver: &Silver) -> impl Iterator<Item = &Column> {
    use crate::descriptor::Tracking;
    silver
        .columns
        .iter()
        .filter(|column| column.tracking == Tracking::Tracked && !silver.key.contains(&column.name))
}

/// The columns that are updated in place.
pub fn untracked(silver: &Silver) -> Vec<&Column> {
    use crate::descriptor::Tracking;
    silver.columns.iter().filter(|column| column.tracking == Tracking::Untracked).collect()
}

/// The columns that are fields of the landed row.
fn fields(silver: &Silver) -> impl Iterator<Item = &Column> {
    silver.columns.iter().filter(|column| matches!(column.from, ColumnFrom::Field(_)))
}
