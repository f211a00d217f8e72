//! Makes the partitions that new rows need: of facts, and of closed versions where those stand apart. Times
//! that no partition can be cut for (infinity, beyond year 9999) go to the default partition.

use sqlx::{PgConnection, Row as _};

use super::Step;
use crate::descriptor::{Name, SilverKind, Unit};
use crate::error::{During as _, Result};
use crate::quote;
use crate::statement;

/// What is partitioned, and by what.
struct Parted<'a> {
    table: &'a Name,
    column: &'a str,
    every: Unit,
    sql_type: &'a str,
    /// Which of the versions go there.
    which: &'static str,
    /// Whether writers put rows there as well, who make no partition: one is made for what they end next.
    ahead: bool,
}

/// Makes the missing partitions.
pub async fn make(step: &Step<'_>, connection: &mut PgConnection) -> Result<()> {
    let Some(parted) = parted(step) else {
        return Ok(());
    };
    let table = parted.table;
    let rows = statement::rows_as(connection, step.plan(), &needed(step, &parted), &step.bound())
        .await
        .during(|| format!("cannot tell which partitions `{table}` needs"))?;
    for row in &rows {
        let suffix: String = row.get("suffix");
        let (from, to): (String, String) = (row.get("from"), row.get("to"));
        // In the owner's name: who makes a partition has to own the table.
        let sql = format!(
            "SELECT \"medallion\".\"make_partition\"({}::regclass, {}, {}, {})",
            quote::literal(&quote::name(table)),
            quote::literal(&format!("{}_{suffix}", prefix(&table.table))),
            quote::literal(&from),
            quote::literal(&to)
        );
        statement::execute(connection, &sql).await?;
    }
    Ok(())
}

fn parted<'a>(step: &Step<'a>) -> Option<Parted<'a>> {
    let silver = step.silver;
    match &silver.kind {
        SilverKind::Dimension { closed, .. } => closed.as_ref().map(|closed| Parted {
            table: &closed.table,
            column: "m$known_to",
            every: closed.every,
            sql_type: "timestamptz",
            which: "m$present AND m$known_to < 'infinity'",
            ahead: silver.journal().is_some(),
        }),
        SilverKind::Fact { partition_by, partition_every, .. } => Some(Parted {
            table: &silver.table,
            column: partition_by,
            every: *partition_every,
            sql_type: silver
                .columns
                .iter()
                .find(|column| &column.name == partition_by)
                .map_or("timestamptz", |column| column.sql_type.as_str()),
            which: "m$present AND NOT m$base AND m$known_to = 'infinity'",
            ahead: false,
        }),
    }
}

fn needed(step: &Step<'_>, parted: &Parted<'_>) -> String {
    let zone = quote::literal(step.time_zone);
    let column = quote::identifier(parted.column);
    let sql_type = parted.sql_type;
    let (unit, pattern) = match parted.every {
        Unit::Day => ("day", "YYYY_MM_DD"),
        Unit::Week => ("week", "IYYY_\"w\"IW"),
        Unit::Month => ("month", "YYYY_MM"),
        Unit::Quarter => ("quarter", "YYYY_\"q\"Q"),
        Unit::Year => ("year", "YYYY"),
    };
    let step_by = if parted.every == Unit::Quarter { "3 months".to_owned() } else { format!("1 {unit}") };
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
    let now = format!("date_trunc('{unit}', now() AT TIME ZONE {zone})");
    let ahead = match parted.ahead {
        true => format!(
            "SELECT {now} + step FROM (VALUES (interval '0'), (interval '{step_by}')) AS ahead (step)"
        ),
        false => "SELECT NULL::timestamp WHERE false".to_owned(),
    };
    format!(
        "SELECT to_char(start, '{pattern}') AS suffix,\n({from})::{sql_type}::text AS \"from\",\n\
         ({to})::{sql_type}::text AS \"to\"\n\
         FROM (\nSELECT date_trunc('{unit}', {local}) AS start\nFROM {version}\n\
         WHERE {which}\n\
         AND {column} >= '0001-01-02' AND {column} < '9999-01-01'\nUNION\n{ahead}\n) AS needed\n\
         WHERE to_regclass(format('%I.%I', {schema}, {table} || '_' || to_char(start, '{pattern}'))) IS NULL\n\
         ORDER BY start",
        version = step.table("version"),
        which = parted.which,
        schema = quote::literal(&parted.table.schema),
        table = quote::literal(&prefix(&parted.table.table)),
    )
}

/// What a partition's name begins with: the table's, of which the middle is left out where the longest stretch would
/// not fit behind it.
fn prefix(table: &str) -> String {
    const LONGEST: usize = 63 - "_YYYY_MM_DD".len();
    if table.len() <= LONGEST {
        return table.to_owned();
    }
    let (mut head, mut tail) = (LONGEST / 2, table.len() - LONGEST / 2);
    while !table.is_char_boundary(head) {
        head -= 1;
    }
    while !table.is_char_boundary(tail) {
        tail += 1;
    }
    [&table[..head], &table[tail..]].concat()
}
