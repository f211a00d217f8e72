//! Changes of which a column cannot be computed, or cannot be NULL and is: they are noted, and left out of the relation as
//! if they had not landed, until a migration changes what is computed. Looked for only when an apply has failed by a
//! value; so that what fits costs nothing. Knows no mart.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::landed::{Records, called_now, said_as};
use super::{Due, Evolved};
use crate::descriptor::{ColumnFrom, Filter, Input, Name, Silver, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::progress::count;
use crate::{apart, quote, statement};

/// Whether an apply may have failed by a value that cannot be computed.
pub fn may_be(warehouse: &Warehouse, error: &Error) -> bool {
    let by_value = |state: String| {
        state.starts_with("22") || state.starts_with("54") || state == "23502" || state == "23514"
    };
    warehouse.silver.iter().any(Silver::is_computed) && error.sqlstate().is_some_and(by_value)
}

/// A landing table's rows but those that the relation leaves out, and of each row that went only its key. Set off from
/// what reads them: what is left out is not to be computed. A row that does not count is one that went.
pub fn fitting(silver: &Silver, condition: &str) -> String {
    let Some(filter) = silver.filter() else { return present(silver, condition) };
    let key = key_fields(silver).map(|field| format!("{0}, change.m$row -> {0}", quote::literal(field)));
    format!(
        "(\nSELECT change.lsn, change.seq, change.commit_ts, change.load_ts,\n\
         CASE WHEN counted.m$is THEN change.op ELSE 'D' END AS op,\n\
         CASE WHEN counted.m$is THEN change.m$row ELSE jsonb_build_object({key}) END AS m$row\n\
         FROM {present} AS change\nCROSS JOIN LATERAL (\n\
         SELECT CASE WHEN change.op <> 'D' THEN ({counts}) END AS m$is\nOFFSET 0\n) AS counted\nOFFSET 0\n)",
        key = key.collect::<Vec<_>>().join(", "),
        present = present(silver, condition),
        counts = counts(filter, "change.m$row"),
    )
}

/// Whether a landed row counts, as a query.
fn counts(filter: &Filter, row: &str) -> String {
    let mut records = Records::default();
    let given = given(&filter.inputs, &mut records);
    let from = records.from(row);
    format!("SELECT ({}) IS TRUE\nFROM (SELECT {given} FROM (SELECT) AS one{from}) AS given", filter.sql)
}

/// What an expression names, read of a record.
fn given<'s>(inputs: &'s [Input], records: &mut Records<'s>) -> String {
    let value = |input: &'s Input| {
        let value = records.value(&input.field, &input.sql_type);
        format!("{value} AS {}", quote::identifier(&input.name))
    };
    inputs.iter().map(value).collect::<Vec<_>>().join(", ")
}

fn present(silver: &Silver, condition: &str) -> String {
    let key = key_fields(silver).map(|field| format!("{0}, change.full_row -> {0}", quote::literal(field)));
    format!(
        "(\nSELECT change.lsn, change.seq, change.commit_ts, change.load_ts, change.op,\n\
         CASE WHEN change.op = 'D' THEN jsonb_build_object({key}) ELSE change.full_row END AS m$row\n\
         FROM {feed} AS change\nWHERE {condition} AND change.op <> 'T'\n\
         AND NOT EXISTS (SELECT FROM medallion.misfit AS misfit\nWHERE misfit.relation = {relation} \
         AND misfit.lsn = change.lsn AND misfit.seq = change.seq)\nOFFSET 0\n)",
        key = key.collect::<Vec<_>>().join(", "),
        feed = quote::name(&silver.feed),
        relation = quote::literal(&silver.table.to_string()),
    )
}

fn key_fields(silver: &Silver) -> impl Iterator<Item = &str> {
    let key = silver.columns.iter().filter(|column| silver.key.contains(&column.name));
    key.flat_map(|column| column.from.fields())
}

/// Forgets what relations left out that are computed anew: they may be computed otherwise by now. Of a change that is
/// folded away it stays known.
pub async fn forget(
    warehouse: &Warehouse,
    anew: &BTreeSet<Name>,
    connection: &mut PgConnection,
) -> Result<()> {
    for silver in
        warehouse.silver.iter().filter(|silver| silver.is_computed() && anew.contains(&silver.table))
    {
        let sql = format!(
            "DELETE FROM medallion.misfit AS misfit\nWHERE relation = {} AND EXISTS (SELECT FROM {} AS landed\n\
             WHERE landed.lsn = misfit.lsn AND landed.seq = misfit.seq)",
            quote::literal(&silver.table.to_string()),
            quote::name(&silver.feed)
        );
        statement::execute(connection, &sql).await?;
    }
    Ok(())
}

/// Notes the changes that wait and of which something cannot be computed; of relations that are computed anew, all of
/// theirs. Returns a finding for each relation that leaves something out.
pub async fn set_aside(
    warehouse: &Warehouse,
    whole: &BTreeSet<Name>,
    connection: &mut PgConnection,
) -> Result<Vec<String>> {
    let due = Due::read(warehouse, connection).await?;
    let mut anew = Evolved::read(connection).await?.recompute(warehouse);
    anew.extend(whole.iter().cloned());
    forget(warehouse, &anew, connection).await?;
    let mut findings = Vec::new();
    for silver in warehouse.silver.iter().filter(|silver| silver.is_computed()) {
        let waits = match anew.contains(&silver.table) {
            true => "true".to_owned(),
            false => format!(
                "(change.lsn > {} OR EXISTS (SELECT FROM {} AS late WHERE late.relation = {} \
                 AND late.lsn = change.lsn AND late.seq = change.seq))",
                due.mark(silver).lsn,
                apart::late_changes(warehouse),
                quote::literal(&silver.feed.to_string())
            ),
        };
        findings.extend(one(silver, &waits, connection).await?);
    }
    Ok(findings)
}

async fn one(silver: &Silver, waits: &str, connection: &mut PgConnection) -> Result<Option<String>> {
    let failed = || format!("cannot look for what `{}` cannot compute", silver.table);
    let required = required(silver, connection).await?;
    statement::execute(connection, &problem(silver, &required)).await?;
    let key = key_fields(silver).map(|field| format!("{0}, change.full_row -> {0}", quote::literal(field)));
    let sql = format!(
        "WITH aside AS (\n\
         INSERT INTO medallion.misfit (relation, landing, lsn, seq, \"column\", problem)\n\
         SELECT {relation}, {landing}, change.lsn, change.seq, looked.problem[1], looked.problem[2]\n\
         FROM {feed} AS change\n\
         CROSS JOIN LATERAL (SELECT pg_temp.medallion_misfit(change.op, change.full_row) AS problem OFFSET 0) AS looked\n\
         WHERE change.op <> 'T' AND {waits} AND looked.problem IS NOT NULL\n\
         ON CONFLICT DO NOTHING\nRETURNING lsn, seq, \"column\"\n)\n\
         SELECT aside.lsn, aside.seq, aside.\"column\", jsonb_build_object({key})::text, count(*) OVER ()\n\
         FROM aside JOIN {feed} AS change USING (lsn, seq)\nORDER BY aside.lsn, aside.seq\nLIMIT 1",
        relation = quote::literal(&silver.table.to_string()),
        landing = quote::literal(&silver.feed.to_string()),
        feed = quote::name(&silver.feed),
        key = key.collect::<Vec<_>>().join(", "),
    );
    let first = sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_optional(&mut *connection)
        .await
        .during(failed)?;
    let Some(first) = first else { return Ok(None) };
    let (lsn, seq): (i64, i64) = (first.get(0), first.get(1));
    let (column, key): (String, String) = (first.get(2), first.get(3));
    let rows = u64::try_from(first.get::<i64, _>(4)).unwrap_or_default();
    Ok(Some(format!(
        "`{}` leaves out {} of `{}` that cannot be computed, kept in `medallion.misfit`: the first at position \
         {lsn}, {seq}, key {key}, by column `{column}`",
        silver.table,
        count(rows, "change"),
        silver.feed,
    )))
}

/// The columns that take no NULL.
async fn required(silver: &Silver, connection: &mut PgConnection) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnotnull AND attnum > 0",
    )
    .bind(quote::name(&silver.table))
    .fetch_all(connection)
    .await
    .during(|| format!("cannot read the columns of `{}`", silver.table))
}

/// A function that says of a landed row which column has no value, and why. Column by column, for the one that fails
/// is to be named.
fn problem(silver: &Silver, required: &[String]) -> String {
    let mut body = "m$is_there := $1 <> 'D';\n".to_owned();
    if let Some(filter) = silver.filter() {
        let counts = counts(filter, "$2");
        body +=
            &format!("IF m$is_there THEN\nm$column := 'filter';\nm$is_there := (\n{counts}\n);\nEND IF;\n");
    }
    for column in &silver.columns {
        let mut records = Records::default();
        let value = match &column.from {
            ColumnFrom::Lookup { .. }
            | ColumnFrom::LookedUpHash { .. }
            | ColumnFrom::Composed { .. }
            | ColumnFrom::Change(_) => continue,
            ColumnFrom::Field(field) => {
                let value = called_now(column, records.value(field, said_as(column)));
                format!("SELECT {value}\nFROM (SELECT) AS one{}", records.from("$2"))
            }
            ColumnFrom::Computed { inputs, sql } => {
                let given = given(inputs, &mut records);
                format!(
                    "SELECT CAST({sql} AS {})\nFROM (SELECT {given} FROM (SELECT) AS one{}) AS given",
                    column.sql_type,
                    records.from("$2")
                )
            }
        };
        // Of a row that went, only the key counts.
        let asked = if silver.key.contains(&column.name) { "true" } else { "m$is_there" };
        let refused = match required.contains(&column.name) {
            true => "IF m$missing THEN\nRETURN ARRAY[m$column, 'it is null'];\nEND IF;\n",
            false => "",
        };
        body += &format!(
            "IF {asked} THEN\nm$column := {};\nm$missing := (\n{value}\n) IS NULL;\n{refused}END IF;\n",
            quote::literal(&column.name)
        );
    }
    // No text of the spec ends the body.
    let mut tag = "m$".to_owned();
    while body.contains(&format!("${tag}")) {
        tag.push('_');
    }
    let tag = tag.replace('$', "_");
    format!(
        "CREATE OR REPLACE FUNCTION pg_temp.medallion_misfit(char, jsonb) RETURNS text[]\nLANGUAGE plpgsql AS ${tag}$\n\
         DECLARE\nm$column text;\nm$missing boolean;\nm$is_there boolean;\nBEGIN\n{body}RETURN NULL;\n\
         EXCEPTION\nWHEN data_exception OR program_limit_exceeded OR check_violation THEN\n\
         RETURN ARRAY[m$column, SQLERRM];\nEND\n${tag}$"
    )
}
