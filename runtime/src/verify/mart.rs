//! The law of stored marts: each equals its definition, compared both ways by the rows' text, in which 1.0 is
//! not 1.00 and NULL is NULL.

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::Broken;
use super::finding::{Finding, SHOWN};
use super::period::object;
use crate::descriptor::{Mart, Storage};
use crate::error::{During as _, Result};
use crate::quote;
use crate::statement::row_text;

/// What breaks it; nothing to ask of a view.
pub async fn broken(mart: &Mart, waits: bool, connection: &mut PgConnection) -> Result<Option<Broken>> {
    let definition = match &mart.storage {
        Storage::View => return Ok(None),
        Storage::Incremental { definition, .. } => quote::name(definition),
        Storage::MaterializedView => format!("({})", defining_query(mart, connection).await?),
    };
    if waits {
        let waits = Some(
            "what others wrote to what it reads, or a migration changed, waits for the next run".to_owned(),
        );
        return Ok(Some(Broken { waits, ..Broken::default() }));
    }
    let side = |from: &str, minus: &str, stands: bool| {
        format!(
            "(SELECT {stands} AS m$stands, {text} AS m$text, (SELECT to_jsonb(one.*) FROM (SELECT {columns}) AS one)::text AS m$row\n\
             FROM {from} AS kept WHERE {text} IN (\n\
             SELECT {text} FROM {from} AS kept EXCEPT ALL SELECT {text} FROM {minus} AS kept\n))",
            text = row_text("kept.", &mart.columns),
            columns = quote::list("kept.", &mart.columns),
        )
    };
    let table = quote::name(&mart.table);
    let sql = format!(
        "SELECT count(*) OVER () AS m$all, m$stands, m$row FROM (\n{}\nUNION ALL\n{}\n) AS broken\n\
         ORDER BY m$text LIMIT {}",
        side(&table, &definition, true),
        side(&definition, &table, false),
        2 * SHOWN,
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_all(connection)
        .await
        .during(|| format!("cannot compare `{}` with its definition", mart.table))?;
    let all = rows.first().map_or(0, |row| row.get::<i64, _>(0));
    let mut findings: Vec<Finding> = Vec::new();
    for row in &rows {
        let Some(values) = object(row.get(2)) else { continue };
        let key = values.iter().filter(|(name, _)| mart.grain.contains(name));
        let key: serde_json::Map<_, _> = key.map(|(name, value)| (name.clone(), value.clone())).collect();
        let stands: bool = row.get(1);
        let (mut is, mut should) = (None, None);
        if stands {
            is = Some(values)
        } else {
            should = Some(values)
        }
        // What stands and what should stand there are one finding.
        match findings.iter_mut().find(|one| one.key == key) {
            Some(one) => {
                one.stands = one.stands.take().or(is);
                one.should = one.should.take().or(should);
            }
            None => findings.push(Finding { key, since: None, until: None, stands: is, should }),
        }
    }
    findings.truncate(SHOWN);
    Ok(Some(Broken { rows: u64::try_from(all).unwrap_or_default(), findings, ..Broken::default() }))
}

async fn defining_query(mart: &Mart, connection: &mut PgConnection) -> Result<String> {
    let text: String = sqlx::query_scalar("SELECT pg_get_viewdef($1::regclass)")
        .bind(quote::name(&mart.table))
        .fetch_one(connection)
        .await
        .during(|| format!("cannot read the definition of `{}`", mart.table))?;
    Ok(text.trim().trim_end_matches(';').to_owned())
}
