//! Makes the partitions that a fact's new rows need. Times that no partition can be cut for (infinity,
//! beyond year 9999) go to the default partition.

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::Step;
use crate::descriptor::{Name, SilverKind, Unit};
use crate::error::{During as _, Result};
use crate::quote;
use crate::statement;

/// Makes the missing partitions.
pub async fn make(step: &Step<'_>, connection: &mut PgConnection) -> Result<()> {
    let silver = step.silver;
    let SilverKind::Fact { partition_by, partition_every, .. } = &silver.kind else {
        return Ok(());
    };
    let sql_type = silver
        .columns
        .iter()
        .find(|column| &column.name == partition_by)
        .map_or("timestamptz", |column| column.sql_type.as_str());
    let needed = needed(step, partition_by, *partition_every, sql_type);
    let rows = sqlx::query(AssertSqlSafe(needed))
        .persistent(false)
        .fetch_all(&mut *connection)
        .await
        .during(|| format!("cannot tell which partitions `{}` needs", silver.table))?;
    for row in &rows {
        let suffix: String = row.get("suffix");
        let (from, to): (String, String) = (row.get("from"), row.get("to"));
        let partition = Name::new(&silver.table.schema, format!("{}_{suffix}", silver.table.table));
        // In the owner's name: who makes a partition has to own the table.
        let sql = format!(
            "SELECT \"medallion\".\"make_partition\"({}::regclass, {}, {}, {})",
            quote::literal(&quote::name(&silver.table)),
            quote::literal(&partition.table),
            quote::literal(&from),
            quote::literal(&to)
        );
        statement::execute(connection, &sql).await?;
    }
    Ok(())
}

fn needed(step: &Step<'_>, column: &str, every: Unit, sql_type: &str) -> String {
    let zone = quote::literal(step.time_zone);
    let column = quote::identifier(column);
    let (unit, pattern) = match every {
        Unit::Day => ("day", "YYYY_MM_DD"),
        Unit::Week => ("week", "IYYY_\"w\"IW"),
        Unit::Month => ("month", "YYYY_MM"),
        Unit::Quarter => ("quarter", "YYYY_\"q\"Q"),
        Unit::Year => ("year", "YYYY"),
    };
    let step_by = if every == Unit::Quarter { "3 months".to_owned() } else { format!("1 {unit}") };
    // Where clocks go back across midnight there are two midnights, of which a day begins with the first;
    // `AT TIME ZONE` would take the second. The hour before has one meaning.
    let instant = |local: &str| {
        format!(
            "least(({local}) AT TIME ZONE {zone}, (({local}) - interval '1 hour') AT TIME ZONE {zone} + interval '1 hour')"
        )
    };
    let next = format!("start + interval '{step_by}'");
    let (local, from, to) = if sql_type == "timestamptz" {
        (format!("{column} AT TIME ZONE {zone}"), instant("start"), instant(&next))
    } else {
        (format!("{column}::timestamp"), "start".to_owned(), next)
    };
    format!(
        "SELECT to_char(start, '{pattern}') AS suffix,\n({from})::{sql_type}::text AS \"from\",\n\
         ({to})::{sql_type}::text AS \"to\"\n\
         FROM (\nSELECT DISTINCT date_trunc('{unit}', {local}) AS start\nFROM {version}\n\
         WHERE m$present AND NOT m$base AND m$known_to = 'infinity'\n\
         AND {column} >= '0001-01-02' AND {column} < '9999-01-01'\n) AS needed\n\
         WHERE to_regclass(format('%I.%I', {schema}, {table} || '_' || to_char(start, '{pattern}'))) IS NULL\n\
         ORDER BY start",
        version = step.table("version"),
        schema = quote::literal(&step.silver.table.schema),
        table = quote::literal(&step.silver.table.table),
    )
}
