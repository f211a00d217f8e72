//! Bronze in a database of its own. Both databases have all of the warehouse's objects, by the same migrations: in one
//! of them changes land, with all that has to be written in the same transaction; in the other silver and gold stand,
//! and there each landing table is an empty table with a foreign one below it (`attach`), so that whatever reads bronze
//! reads it by its name and knows nothing of this. What the one has to know of the other is told here. Knows no capture
//! and no apply.

pub mod attach;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use crate::connection::{self, Database};
use crate::descriptor::{Name, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::place::Place;
use crate::{lock, migrate, quote, round, statement};

pub use attach::SCHEMA;

/// The bookkeeping that stands with what has landed: it is written in the same transactions.
pub const BOOKKEEPING: [&str; 5] =
    ["captured_table", "landed_file", "late_change", "quarantine", "source_position"];

/// The URL of the database that changes land in, where that is another one.
pub fn url<'a>(warehouse: &Warehouse, place: &'a Place) -> Result<Option<&'a str>> {
    match (&place.bronze, warehouse.is_bronze_apart()) {
        (Some(url), true) => Ok(Some(url)),
        (None, true) => {
            Err(Error::new(format!("`{}` has its bronze apart, and it is not known where", warehouse.name))
                .remedy(format!("set {}", Database::Bronze.variable())))
        }
        (_, false) => Ok(None),
    }
}

/// A session there, where that is another database; nobody else lands in it while it lasts. Refuses one that is not
/// what this session of the warehouse reads.
pub async fn open(
    warehouse: &Warehouse,
    place: &Place,
    target: &mut PgConnection,
) -> Result<Option<PgConnection>> {
    let Some(mut bronze) = look(warehouse, place, target).await? else { return Ok(None) };
    round::prepare_session(&mut bronze).await?;
    lock::take(&mut bronze).await?;
    Ok(Some(bronze))
}

/// The same, to look at it only.
pub async fn look(
    warehouse: &Warehouse,
    place: &Place,
    target: &mut PgConnection,
) -> Result<Option<PgConnection>> {
    let Some(url) = url(warehouse, place)? else { return Ok(None) };
    let mut bronze = connection::connect(Database::Bronze, url).await?;
    migrate::check_objects(warehouse, &mut bronze)
        .await
        .map_err(|error| error.within("the bronze database is not this warehouse's, as it is by now"))?;
    attach::check_same(target, &mut bronze).await?;
    Ok(Some(bronze))
}

/// Has the two meet before anything lands: where one of them is older than the other, restored from a backup or made
/// anew, silver holds what bronze lost, or lacks what was late and was taken before. Positions tell of it until something
/// lands, and so it is noted at once: whoever applies next computes everything anew. Says whether it had to be.
pub async fn meet(
    warehouse: &Warehouse,
    target: &mut PgConnection,
    bronze: &mut PgConnection,
) -> Result<bool> {
    let is_older = is_one_older(warehouse, target, bronze).await?;
    if is_older {
        let marts = warehouse.marts.iter().filter(|mart| mart.storage.is_kept()).map(|mart| &mart.table);
        let silver = warehouse.silver.iter().map(|silver| &silver.table);
        let stored: Vec<String> = silver.chain(marts).map(ToString::to_string).collect();
        sqlx::query(
            "INSERT INTO medallion.recompute (relation) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING",
        )
        .bind(stored)
        .execute(&mut *target)
        .await
        .during(|| "cannot write down what is to be computed anew".to_owned())?;
    }
    tell(target, bronze).await?;
    Ok(is_older)
}

/// What is said where it had to be.
pub const OLDER: &str = "the warehouse and its bronze are not of one time, as after a backup was restored: \
     silver and marts are computed anew";

/// Whether the warehouse was applied beyond what bronze has, or bronze was told that it is further than it is. A warehouse
/// that nothing was applied to begins anyway.
async fn is_one_older(
    warehouse: &Warehouse,
    target: &mut PgConnection,
    bronze: &mut PgConnection,
) -> Result<bool> {
    let failed = || "cannot tell whether the warehouse and its bronze are of one time".to_owned();
    let told = "SELECT max(lsn), max(streamed_lsn) FROM medallion.watermark";
    let (applied, streamed): (Option<i64>, Option<i64>) =
        sqlx::query_as(told).fetch_one(target).await.during(failed)?;
    let (Some(applied), Some(streamed)) = (applied, streamed) else { return Ok(false) };
    let (known, known_streamed): (Option<i64>, Option<i64>) =
        sqlx::query_as(told).fetch_one(&mut *bronze).await.during(failed)?;
    let ends = warehouse.landings.iter().map(|landing| {
        format!("(SELECT lsn FROM {} ORDER BY lsn DESC, seq DESC LIMIT 1)", quote::name(&landing.table))
    });
    let ends: Vec<String> =
        ["SELECT last_lsn FROM medallion.source_position".to_owned()].into_iter().chain(ends).collect();
    let sql = format!(
        "SELECT max(lsn), (SELECT max(last_lsn) FROM medallion.source_position) FROM (\n{}\n) AS landed (lsn)",
        ends.join("\nUNION ALL\n")
    );
    let (landed, landed_streamed): (Option<i64>, Option<i64>) =
        sqlx::query_as(AssertSqlSafe(sql)).fetch_one(bronze).await.during(failed)?;
    // What was told stands for what has landed and is gone, folded or erased.
    Ok(applied > landed.max(known).unwrap_or(-1)
        || streamed > landed_streamed.max(known_streamed).unwrap_or(-1)
        || known.is_some_and(|known| known > applied))
}

/// Tells bronze how far the warehouse has been applied: what lands below it is noted as late. What is applied while
/// changes land is not known there, and seen to by the next apply, as it is where both are one database.
pub async fn tell(target: &mut PgConnection, bronze: &mut PgConnection) -> Result<()> {
    let failed = || "cannot tell the bronze database how far the warehouse has been applied".to_owned();
    let told = sqlx::query(
        "SELECT array_agg(relation), array_agg(lsn), array_agg(system_time::text), array_agg(streamed_lsn) \
         FROM medallion.watermark",
    )
    .fetch_one(target)
    .await
    .during(failed)?;
    let relations: Option<Vec<String>> = told.try_get(0).during(failed)?;
    let positions: Option<Vec<i64>> = told.try_get(1).during(failed)?;
    let times: Option<Vec<String>> = told.try_get(2).during(failed)?;
    let streamed: Option<Vec<i64>> = told.try_get(3).during(failed)?;
    sqlx::query(
        "INSERT INTO medallion.watermark AS known (relation, lsn, system_time, streamed_lsn) \
         SELECT relation, lsn, system_time::timestamptz, streamed_lsn \
         FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[]) AS told (relation, lsn, system_time, streamed_lsn) \
         ON CONFLICT (relation) DO UPDATE SET lsn = excluded.lsn, system_time = excluded.system_time, \
         streamed_lsn = excluded.streamed_lsn, updated_at = now() \
         WHERE (known.lsn, known.system_time, known.streamed_lsn) \
         IS DISTINCT FROM (excluded.lsn, excluded.system_time, excluded.streamed_lsn)",
    )
    .bind(relations.unwrap_or_default())
    .bind(positions.unwrap_or_default())
    .bind(times.unwrap_or_default())
    .bind(streamed.unwrap_or_default())
    .execute(bronze)
    .await
    .during(failed)?;
    Ok(())
}

/// Tells bronze which changes silver leaves out, instead of those that it was told before; not why. A page at a time.
pub async fn tell_misfits(target: &mut PgConnection, bronze: &mut PgConnection) -> Result<()> {
    let failed = || "cannot tell the bronze database which changes silver leaves out".to_owned();
    let mut told = bronze.begin().await.during(failed)?;
    statement::execute(&mut told, "DELETE FROM medallion.misfit").await?;
    let mut after: (String, i64, i64) = (String::new(), i64::MIN, i64::MIN);
    loop {
        let page: Vec<(String, String, i64, i64)> = sqlx::query_as(
            "SELECT relation, landing, lsn, seq FROM medallion.misfit \
             WHERE (relation, lsn, seq) > ($1, $2, $3) ORDER BY relation, lsn, seq LIMIT 10000",
        )
        .bind(&after.0)
        .bind(after.1)
        .bind(after.2)
        .fetch_all(&mut *target)
        .await
        .during(failed)?;
        let Some((relation, _, lsn, seq)) = page.last() else { break };
        after = (relation.clone(), *lsn, *seq);
        let (relations, landings): (Vec<_>, Vec<_>) =
            page.iter().map(|(relation, landing, _, _)| (relation.as_str(), landing.as_str())).unzip();
        let (positions, ordinals): (Vec<_>, Vec<_>) =
            page.iter().map(|(_, _, lsn, seq)| (*lsn, *seq)).unzip();
        sqlx::query(
            "INSERT INTO medallion.misfit (relation, landing, lsn, seq, \"column\", problem) \
             SELECT *, '', '' FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])",
        )
        .bind(relations)
        .bind(landings)
        .bind(positions)
        .bind(ordinals)
        .execute(&mut *told)
        .await
        .during(failed)?;
    }
    told.commit().await.during(failed)
}

/// The notes of late changes that no apply has taken, as a relation. Those that it has taken are deleted from another
/// database by the apply after it: deleted with the apply itself they could be gone while that is undone, for the two
/// databases do not commit at once.
pub fn late_changes(warehouse: &Warehouse) -> String {
    match warehouse.is_bronze_apart() {
        false => "medallion.late_change".to_owned(),
        true => format!(
            "(SELECT noted.relation, noted.lsn, noted.seq FROM medallion.late_change AS noted \
             WHERE NOT EXISTS (SELECT FROM {TAKEN} AS taken WHERE taken.relation = noted.relation \
             AND taken.lsn = noted.lsn AND taken.seq = noted.seq))"
        ),
    }
}

/// The notes that the last apply has taken.
const TAKEN: &str = "medallion_bronze.late_taken";

/// Deletes the notes that the apply before has taken.
pub async fn drop_taken(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<()> {
    if !warehouse.is_bronze_apart() {
        return Ok(());
    }
    let sql = format!(
        "DELETE FROM medallion.late_change AS noted\nUSING {TAKEN} AS taken\n\
         WHERE noted.relation = taken.relation AND noted.lsn = taken.lsn AND noted.seq = taken.seq"
    );
    statement::execute(connection, &sql).await?;
    statement::execute(connection, &format!("DELETE FROM {TAKEN}")).await.map(drop)
}

/// Takes the notes that are in a table, each with what it is of.
pub async fn take_noted(warehouse: &Warehouse, late: &str, connection: &mut PgConnection) -> Result<()> {
    let same = "noted.relation = late.relation AND noted.lsn = late.lsn AND noted.seq = late.seq";
    let sql = match warehouse.is_bronze_apart() {
        false => format!("DELETE FROM medallion.late_change AS noted\nUSING {late} AS late\nWHERE {same}"),
        true => format!(
            "INSERT INTO {TAKEN}\nSELECT noted.relation, noted.lsn, noted.seq\n\
             FROM medallion.late_change AS noted\nJOIN {late} AS late ON {same}"
        ),
    };
    statement::execute(connection, &sql).await.map(drop)
}

/// What stands there of the warehouse: landing tables and the bookkeeping of them.
fn parted(warehouse: &Warehouse) -> Vec<(&str, &str)> {
    let landings = warehouse.landings.iter().map(|one| (one.table.schema.as_str(), one.table.table.as_str()));
    landings.chain(BOOKKEEPING.map(|name| ("medallion", name))).collect()
}

/// Whether a table is one of them.
pub fn stands_there(warehouse: &Warehouse, name: &Name) -> bool {
    parted(warehouse).contains(&(name.schema.as_str(), name.table.as_str()))
}

/// The same, as SQL calls them.
fn names(warehouse: &Warehouse) -> Vec<String> {
    parted(warehouse)
        .into_iter()
        .map(|(schema, table)| format!("{}.{}", quote::identifier(schema), quote::identifier(table)))
        .collect()
}
