//! Keeps the past for as long as the spec says: asks the warehouse to fold what is older. The policy, and all
//! that it takes away, stands in a function there that is its owner's; here is when it is called, and what is
//! told of it. Marts that are defined over the versions that go are refreshed.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection, Row as _};

use crate::apply::Applied;
use crate::descriptor::{Storage, Warehouse};
use crate::error::{During as _, Result};
use crate::{quote, refresh, statement};

/// What went, and from when on everything is still known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retained {
    /// The horizon, as PostgreSQL writes it.
    pub horizon: String,
    /// Rows by table; those without are left out.
    pub gone: BTreeMap<String, u64>,
}

impl Retained {
    /// The rows that went in all.
    pub fn rows(&self) -> u64 {
        self.gone.values().sum()
    }
}

/// Moves the horizon where the policy moves it by now, in one transaction; nothing where it does not.
pub async fn retain(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<Option<Retained>> {
    let failed = || "cannot fold what is older than the spec keeps".to_owned();
    let mut transaction = connection.begin().await.during(failed)?;
    let rows = sqlx::query("SELECT pruned_from, pruned_rows FROM medallion.retain()")
        .fetch_all(&mut *transaction)
        .await
        .during(failed)?;
    if rows.is_empty() {
        return Ok(None);
    }
    let gone: BTreeMap<String, u64> = rows
        .iter()
        .map(|row| (row.get::<String, _>(0), u64::try_from(row.get::<i64, _>(1)).unwrap_or_default()))
        .filter(|(_, rows)| *rows > 0)
        .collect();
    refresh_readers(warehouse, &gone, &mut transaction).await?;
    let horizon = sqlx::query("SELECT \"time\"::text FROM medallion.horizon")
        .fetch_one(&mut *transaction)
        .await
        .during(failed)?
        .get(0);
    transaction.commit().await.during(failed)?;
    Ok(Some(Retained { horizon, gone }))
}

/// A mart may be defined over versions, of which some have gone.
async fn refresh_readers(
    warehouse: &Warehouse,
    gone: &BTreeMap<String, u64>,
    connection: &mut PgConnection,
) -> Result<()> {
    let definitions: Vec<String> = warehouse
        .marts
        .iter()
        .map(|mart| match &mart.storage {
            Storage::Incremental { definition, .. } => quote::name(definition),
            Storage::View | Storage::MaterializedView => quote::name(&mart.table),
        })
        .collect();
    let mut pruned = Vec::new();
    for silver in &warehouse.silver {
        let Some(rows) = gone.get(&silver.table.to_string()).copied() else { continue };
        let read: bool = sqlx::query_scalar(
            "SELECT EXISTS (
                SELECT
                FROM pg_depend AS reads
                JOIN pg_rewrite AS rule ON rule.oid = reads.objid
                WHERE reads.classid = 'pg_rewrite'::regclass
                AND reads.refobjid = $1::regclass
                AND rule.ev_class = ANY ($2::regclass[])
            )",
        )
        .bind(quote::name(&silver.table))
        .bind(&definitions)
        .fetch_one(&mut *connection)
        .await
        .during(|| format!("cannot tell which marts read the versions of `{}`", silver.table))?;
        if read {
            let (relation, elapsed) = (silver.table.clone(), Duration::ZERO);
            pruned.push(Applied { relation, rows, differed: 0, changes: None, counted: false, elapsed });
        }
    }
    if !pruned.is_empty() {
        statement::execute(connection, "SET LOCAL work_mem = '64MB'").await?;
        refresh::refresh(warehouse, &pruned, connection, |_| {}).await?;
    }
    Ok(())
}
