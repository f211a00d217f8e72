//! Which tables of the source the landing tables are fed from, as `medallion.captured_table` keeps it and as the
//! source has it now. A name says little: a table can be dropped and made anew under it, or leave the publication
//! and come back, and of neither is the stream told. Knows no row.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::position::{Fence, Lsn, SystemTime};
use crate::descriptor::{Landing, Name};
use crate::error::{During as _, Error, Result};

/// What tells a published table from any other that there is or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The table's OID.
    pub oid: i64,
    /// The rows of the catalog that publish it, and the transactions that wrote them; empty where none does.
    pub membership: String,
}

/// The snapshot of one table, and the position below which it matters what it saw.
pub type OwnFence = (Fence, Lsn);

/// A table as it was when it was last captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Which one it was.
    pub identity: Identity,
    /// Its own snapshot, where it had one.
    pub fence: Option<OwnFence>,
}

/// The tables known, by landing table.
pub type KnownTables = BTreeMap<String, Known>;

/// How a table stands with what is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the one that is captured.
    Captured,
    /// It is not, and a snapshot of it is due.
    Joins,
    /// It is, and a snapshot of it is due: rows went without a word.
    Lacks,
    /// It is, and a snapshot of it is due: rows came without a word.
    Gains,
    /// It is gone, or is not published.
    Waits,
}

/// What the stream brings to a landing table: the changes of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brings {
    /// The table's OID.
    pub oid: i64,
    /// Its own snapshot, where it had one: what that saw has landed.
    pub fence: Option<OwnFence>,
}

impl Brings {
    /// Whether a transaction's changes are still to land.
    pub fn takes(&self, commit: Lsn, xid: u32) -> bool {
        self.fence.as_ref().is_none_or(|(fence, until)| commit >= *until || !fence.sees(xid))
    }
}

impl Known {
    /// What the stream still brings, whatever stands under the name now.
    fn brings(&self) -> Brings {
        Brings { oid: self.identity.oid, fence: self.fence.clone() }
    }
}

/// How the table stands that is at the source now, if it is published, and what the stream brings. Of one that was
/// published anew nothing: what was left out in between would be missed in what came after.
pub fn stands(known: Option<&Known>, now: Option<&Identity>) -> (Standing, Option<Brings>) {
    match (known, now) {
        (Some(known), Some(now)) if known.identity == *now => (Standing::Captured, Some(known.brings())),
        (Some(known), Some(now)) if known.identity.oid != now.oid => (Standing::Joins, Some(known.brings())),
        (_, Some(_)) => (Standing::Joins, None),
        (Some(known), None) => (Standing::Waits, Some(known.brings())),
        (None, None) => (Standing::Waits, None),
    }
}

/// Reads what is known.
pub async fn known(target: &mut PgConnection) -> Result<KnownTables> {
    let unread = || "cannot read `medallion.captured_table` of the warehouse".to_owned();
    let rows = sqlx::query(
        "SELECT landing, source_table, membership, fence, coalesce(fence_until, 0) AS fence_until
        FROM medallion.captured_table",
    )
    .fetch_all(target)
    .await
    .during(unread)?;
    let mut known = KnownTables::new();
    for row in &rows {
        let identity = Identity {
            oid: row.try_get("source_table").during(unread)?,
            membership: row.try_get("membership").during(unread)?,
        };
        let until = Lsn(row.try_get("fence_until").during(unread)?);
        let fence = match row.try_get::<Option<String>, _>("fence").during(unread)? {
            None => None,
            Some(text) => Some((Fence::read(&text).ok_or_else(|| Error::new(unread()))?, until)),
        };
        known.insert(row.try_get("landing").during(unread)?, Known { identity, fence });
    }
    Ok(known)
}

/// Writes down which table a landing table is fed from, from a place in bronze on.
pub async fn write(
    target: &mut PgConnection,
    landing: &Landing,
    identity: &Identity,
    place: Lsn,
    fence: Option<&OwnFence>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO medallion.captured_table (landing, source_table, membership, lsn, fence, fence_until)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (landing) DO UPDATE SET
            source_table = excluded.source_table,
            membership = excluded.membership,
            lsn = excluded.lsn,
            fence = excluded.fence,
            fence_until = excluded.fence_until,
            leaves = excluded.leaves,
            watermark = excluded.watermark,
            compared_at = excluded.compared_at,
            updated_at = now()",
    )
    .bind(landing.table.to_string())
    .bind(identity.oid)
    .bind(&identity.membership)
    .bind(place.0)
    .bind(fence.map(|(fence, _)| fence.text()))
    .bind(fence.map(|(_, until)| until.0))
    .execute(target)
    .await
    .during(|| "cannot write `medallion.captured_table` of the warehouse".to_owned())?;
    Ok(())
}

/// Up to which time of change each landing table's source has been read, and when its keys were compared, where it is
/// polled.
pub async fn watermarks(
    target: &mut PgConnection,
) -> Result<BTreeMap<String, (Option<SystemTime>, Option<SystemTime>)>> {
    let unread = || "cannot read `medallion.captured_table` of the warehouse".to_owned();
    let sql = format!(
        "SELECT landing, {}, {} FROM medallion.captured_table",
        SystemTime::of_sql("watermark"),
        SystemTime::of_sql("compared_at")
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(target).await.during(unread)?;
    let mut watermarks = BTreeMap::new();
    for row in &rows {
        let time =
            |at: usize| row.try_get::<Option<i64>, _>(at).map(|time| time.map(SystemTime)).during(unread);
        watermarks.insert(row.try_get(0).during(unread)?, (time(1)?, time(2)?));
    }
    Ok(watermarks)
}

/// Forgets how a landing table was fed.
pub async fn forget(target: &mut PgConnection, landing: &Landing) -> Result<()> {
    sqlx::query(
        "UPDATE medallion.captured_table
        SET membership = '', watermark = NULL, compared_at = NULL, updated_at = now()
        WHERE landing = $1",
    )
    .bind(landing.table.to_string())
    .execute(target)
    .await
    .map(drop)
    .during(|| "cannot write `medallion.captured_table` of the warehouse".to_owned())
}

/// Writes down up to which time of change a polled table has been read.
pub async fn write_watermark(
    target: &mut PgConnection,
    landing: &Landing,
    oid: i64,
    time: SystemTime,
) -> Result<()> {
    write_polled(target, landing, oid, "watermark", time).await
}

/// Writes down when the keys of a polled table were compared.
pub async fn write_compared(
    target: &mut PgConnection,
    landing: &Landing,
    oid: i64,
    time: SystemTime,
) -> Result<()> {
    write_polled(target, landing, oid, "compared_at", time).await
}

async fn write_polled(
    target: &mut PgConnection,
    landing: &Landing,
    oid: i64,
    column: &str,
    time: SystemTime,
) -> Result<()> {
    let sql = format!(
        "INSERT INTO medallion.captured_table AS known (landing, source_table, membership, lsn, {column})
        VALUES ($1, $2, '', 0, {})
        ON CONFLICT (landing) DO UPDATE SET
            source_table = excluded.source_table,
            -- Its log is read no longer: where it is again, what is missed by then lands first.
            membership = excluded.membership,
            {column} = excluded.{column},
            updated_at = now()",
        SystemTime::to_sql("$3::bigint")
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(landing.table.to_string())
        .bind(oid)
        .bind(time.0)
        .execute(target)
        .await
        .during(|| "cannot write `medallion.captured_table` of the warehouse".to_owned())?;
    Ok(())
}

/// When each landing table's source was last copied, where its rows last came by snapshots.
pub async fn copied(target: &mut PgConnection) -> Result<BTreeMap<String, SystemTime>> {
    let unread = || "cannot read `medallion.captured_table` of the warehouse".to_owned();
    let sql = format!(
        "SELECT landing, {}
        FROM medallion.captured_table
        WHERE membership = '' AND watermark IS NULL AND compared_at IS NOT NULL",
        SystemTime::of_sql("compared_at")
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(target).await.during(unread)?;
    let read = |row: &sqlx::postgres::PgRow| Ok((row.try_get(0)?, SystemTime(row.try_get(1)?)));
    rows.iter().map(read).collect::<Result<_, sqlx::Error>>().during(unread)
}

/// Writes down that a copy of a table has been compared, and when it was taken.
pub async fn write_copied(
    target: &mut PgConnection,
    landing: &Landing,
    oid: i64,
    place: Lsn,
    time: SystemTime,
) -> Result<()> {
    let sql = format!(
        "INSERT INTO medallion.captured_table (landing, source_table, membership, lsn, compared_at)
        VALUES ($1, $2, '', $3, {})
        ON CONFLICT (landing) DO UPDATE SET
            source_table = excluded.source_table,
            membership = excluded.membership,
            lsn = excluded.lsn,
            fence = excluded.fence,
            fence_until = excluded.fence_until,
            leaves = excluded.leaves,
            watermark = excluded.watermark,
            compared_at = excluded.compared_at,
            updated_at = now()",
        SystemTime::to_sql("$4::bigint")
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(landing.table.to_string())
        .bind(oid)
        .bind(place.0)
        .bind(time.0)
        .execute(target)
        .await
        .during(|| "cannot write `medallion.captured_table` of the warehouse".to_owned())?;
    Ok(())
}

/// The tables as they are at the source now.
pub async fn identities<'a>(
    source: &mut PgConnection,
    publication: &str,
    names: impl Iterator<Item = &'a Name>,
) -> Result<BTreeMap<Name, Identity>> {
    let unasked = || "cannot ask the source which tables it has".to_owned();
    let (schemas, tables): (Vec<&str>, Vec<&str>) =
        names.map(|name| (name.schema.as_str(), name.table.as_str())).unzip();
    let rows = sqlx::query(
        "SELECT
            asked.schema,
            asked.name,
            relation.oid::bigint AS oid,
            coalesce(
                (
                    SELECT concat_ws(
                        ' ',
                        publication.oid,
                        publication.xmin,
                        (SELECT concat(oid, '/', xmin) FROM pg_publication_rel
                        WHERE prpubid = publication.oid AND prrelid = relation.oid),
                        (SELECT concat(oid, '/', xmin) FROM pg_publication_namespace
                        WHERE pnpubid = publication.oid AND pnnspid = relation.relnamespace)
                    )
                    FROM pg_publication AS publication
                    WHERE publication.pubname = $3
                ),
                ''
            ) AS membership
        FROM unnest($1::text[], $2::text[]) AS asked (schema, name)
        JOIN pg_namespace AS space ON space.nspname = asked.schema
        JOIN pg_class AS relation ON relation.relnamespace = space.oid AND relation.relname = asked.name",
    )
    .bind(schemas)
    .bind(tables)
    .bind(publication)
    .fetch_all(source)
    .await
    .during(unasked)?;
    let mut identities = BTreeMap::new();
    for row in &rows {
        let name = Name::new(
            row.try_get::<String, _>("schema").during(unasked)?,
            row.try_get::<String, _>("name").during(unasked)?,
        );
        let identity = Identity {
            oid: row.try_get("oid").during(unasked)?,
            membership: row.try_get("membership").during(unasked)?,
        };
        identities.insert(name, identity);
    }
    Ok(identities)
}
