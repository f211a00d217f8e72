//! Keeps the past for as long as the spec says: asks the warehouse to fold what is older. The policy, and all
//! that it takes away, stands in a function there that is its owner's; here is when it is called, and what is
//! told of it. Marts that are defined over the versions that go are refreshed. Where bronze stands apart, the warehouse
//! goes first: what bronze has beyond the horizon changes nothing from there on, and is folded at any time after.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use crate::apply::Applied;
use crate::descriptor::{Name, Silver, SilverKind, Storage, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::{apart, quote, refresh, statement};

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

/// Moves the horizon where the policy moves it by now; nothing where it does not. Bronze follows, where it stands apart;
/// there it may be behind since a run that was killed.
pub async fn retain(
    warehouse: &Warehouse,
    target: &mut PgConnection,
    bronze: Option<&mut PgConnection>,
) -> Result<Option<Retained>> {
    let here = move_horizon(warehouse, target).await?;
    let there = match bronze {
        Some(bronze) => fold_apart(warehouse, target, bronze).await?,
        None => None,
    };
    if here.is_some() || there.is_some() {
        forget_misfits(warehouse, target).await?;
    }
    Ok(match (here, there) {
        (Some(mut here), Some(there)) => {
            here.gone.extend(there.gone);
            Some(here)
        }
        (here, there) => here.or(there),
    })
}

/// Folds bronze up to the warehouse's horizon.
async fn fold_apart(
    warehouse: &Warehouse,
    target: &mut PgConnection,
    bronze: &mut PgConnection,
) -> Result<Option<Retained>> {
    let Some((horizon, lsn)) = horizon(target).await? else { return Ok(None) };
    if self::horizon(bronze).await?.is_some_and(|(folded, _)| folded == horizon) {
        return Ok(None);
    }
    apart::tell(target, bronze).await?;
    if warehouse.silver.iter().any(Silver::is_computed) {
        apart::tell_misfits(target, bronze).await?;
    }
    let rows = sqlx::query("SELECT pruned_from, pruned_rows FROM medallion.fold_apart($1::timestamptz, $2)")
        .bind(&horizon)
        .bind(lsn)
        .fetch_all(bronze)
        .await
        .during(failed)?;
    Ok((!rows.is_empty()).then(|| Retained { horizon, gone: gone(&rows) }))
}

/// Why a change was left out may repeat its values: that goes with the change, unless it is kept in an archive.
async fn forget_misfits(warehouse: &Warehouse, target: &mut PgConnection) -> Result<()> {
    let feeds: BTreeSet<&Name> =
        warehouse.silver.iter().filter(|silver| silver.is_computed()).map(|silver| &silver.feed).collect();
    if feeds.is_empty() {
        return Ok(());
    }
    let Some((_, folded)) = horizon(target).await? else { return Ok(()) };
    for feed in feeds {
        // The function that says so is its owner's; what it names is everybody's to see.
        let is_archived = "SELECT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass \
                           AND objid = 'medallion.pruned()'::regprocedure AND refobjid = $1::regclass)";
        let is_archived: bool = sqlx::query_scalar(is_archived)
            .bind(quote::name(feed))
            .fetch_one(&mut *target)
            .await
            .during(failed)?;
        if is_archived {
            continue;
        }
        let sql = format!(
            "DELETE FROM medallion.misfit AS misfit WHERE landing = $1 AND lsn <= $2 AND NOT EXISTS (\
             SELECT FROM {} AS change WHERE change.lsn <= $2 AND change.lsn = misfit.lsn AND change.seq = misfit.seq)",
            quote::name(feed)
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(feed.to_string())
            .bind(folded)
            .execute(&mut *target)
            .await
            .during(failed)?;
    }
    Ok(())
}

/// Refuses a warehouse that knows of an older horizon than its bronze: that does not have any more what this would ask
/// it for.
pub async fn refuse_older(
    warehouse: &Warehouse,
    target: &mut PgConnection,
    bronze: &mut PgConnection,
) -> Result<()> {
    if check_younger(target, bronze).await.is_ok() {
        return Ok(());
    }
    // Rebuilt, it may have come as far by the policy.
    move_horizon(warehouse, target).await?;
    check_younger(target, bronze).await
}

/// The same, where nothing may be written.
pub(crate) async fn check_younger(target: &mut PgConnection, bronze: &mut PgConnection) -> Result<()> {
    let Some((folded, _)) = horizon(bronze).await? else { return Ok(()) };
    let is_younger = "SELECT EXISTS (SELECT FROM medallion.horizon WHERE \"time\" >= $1::timestamptz)";
    match sqlx::query_scalar(is_younger).bind(&folded).fetch_one(target).await.during(failed)? {
        true => Ok(()),
        false => Err(Error::new(format!(
            "the bronze database is folded up to {folded}, and the warehouse as it is seen here does not know of it"
        ))
        .remedy(
            "where it was folded just now, try again; where the warehouse was restored from a backup, restore one that \
             is younger, or, where nobody writes past its feeds, `medallion rebuild` brings silver to what bronze says",
        )),
    }
}

/// The tables that take what is pruned, by the table that it is pruned from.
pub(crate) async fn archives(connection: &mut PgConnection) -> Result<BTreeMap<Name, Name>> {
    let rows = sqlx::query(
        "SELECT of_schema.nspname::text, of.relname::text, at_schema.nspname::text, at.relname::text \
         FROM medallion.pruned() AS pruned \
         JOIN pg_class AS of ON of.oid = pruned.pruned_from \
         JOIN pg_namespace AS of_schema ON of_schema.oid = of.relnamespace \
         JOIN pg_class AS at ON at.oid = pruned.archive \
         JOIN pg_namespace AS at_schema ON at_schema.oid = at.relnamespace",
    )
    .fetch_all(connection)
    .await
    .during(|| "cannot tell where what was pruned went".to_owned())?;
    let name = |row: &PgRow, at: usize| Name::new(row.get::<String, _>(at), row.get::<String, _>(at + 1));
    Ok(rows.iter().map(|row| (name(row, 0), name(row, 2))).collect())
}

/// The horizon of a database, its time as PostgreSQL writes it and its position.
async fn horizon(connection: &mut PgConnection) -> Result<Option<(String, i64)>> {
    let row = sqlx::query("SELECT \"time\"::text, lsn FROM medallion.horizon")
        .fetch_optional(connection)
        .await
        .during(failed)?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

fn failed() -> String {
    "cannot fold what is older than the spec keeps".to_owned()
}

fn gone(rows: &[PgRow]) -> BTreeMap<String, u64> {
    rows.iter()
        .map(|row| (row.get::<String, _>(0), u64::try_from(row.get::<i64, _>(1)).unwrap_or_default()))
        .filter(|(_, rows)| *rows > 0)
        .collect()
}

/// Folds what is in the warehouse, in one transaction; nothing where the horizon stays.
async fn move_horizon(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<Option<Retained>> {
    let mut transaction = connection.begin().await.during(failed)?;
    let rows = sqlx::query("SELECT pruned_from, pruned_rows FROM medallion.retain()")
        .fetch_all(&mut *transaction)
        .await
        .during(failed)?;
    if rows.is_empty() {
        return Ok(None);
    }
    let gone = gone(&rows);
    refresh_readers(warehouse, &gone, &mut transaction).await?;
    let horizon = horizon(&mut transaction).await?;
    transaction.commit().await.during(failed)?;
    Ok(horizon.map(|(horizon, _)| Retained { horizon, gone }))
}

/// Whether one of the views $2 reads versions of the table $1, by way of views and functions too; its current versions,
/// which the view $3 shows, have not gone.
const READS_VERSIONS: &str = "
    WITH RECURSIVE reader (classid, objid) AS (
        SELECT 'pg_class'::regclass::oid, $1::regclass::oid
        UNION
        SELECT
            CASE WHEN rule.oid IS NULL THEN reads.classid ELSE 'pg_class'::regclass::oid END,
            coalesce(rule.ev_class, reads.objid)
        FROM reader
        JOIN pg_depend AS reads ON reads.refclassid = reader.classid AND reads.refobjid = reader.objid
        LEFT JOIN pg_rewrite AS rule ON reads.classid = 'pg_rewrite'::regclass AND rule.oid = reads.objid
        WHERE reads.classid IN ('pg_rewrite'::regclass, 'pg_proc'::regclass)
        AND rule.ev_class IS DISTINCT FROM $3::regclass
    )
    SELECT EXISTS (
        SELECT
        FROM reader
        WHERE classid = 'pg_class'::regclass
        AND objid = ANY ($2::regclass[])
    )";

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
        let SilverKind::Dimension { current, .. } = &silver.kind else { continue };
        let Some(rows) = gone.get(&silver.table.to_string()).copied() else { continue };
        let read: bool = sqlx::query_scalar(READS_VERSIONS)
            .bind(quote::name(&silver.table))
            .bind(&definitions)
            .bind(quote::name(current))
            .fetch_one(&mut *connection)
            .await
            .during(|| format!("cannot tell which marts read the versions of `{}`", silver.table))?;
        if read {
            let (relation, elapsed) = (silver.table.clone(), Duration::ZERO);
            pruned.push(Applied {
                relation,
                rows,
                differed: 0,
                changes: None,
                keys: None,
                counted: false,
                elapsed,
            });
        }
    }
    if !pruned.is_empty() {
        statement::execute(connection, "SET LOCAL work_mem = '64MB'").await?;
        refresh::refresh(warehouse, &pruned, connection, |_| {}).await?;
    }
    Ok(())
}
