//! How a warehouse and its source stand, for `status`: the slot and what it keeps, what has landed, how far silver
//! is, how many rows there are, the last runs. Looks and changes nothing; what cannot be seen is said and left out.

use serde::Serialize;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use crate::alert::{self, Known, Measured};
use crate::capture::{Lsn, going_on};
use crate::connection::{self, Database};
use crate::descriptor::{Name, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::place::Place;
use crate::{apart, migrate, quote};

/// How things stand.
#[derive(Debug, Default, Serialize)]
pub struct Survey {
    /// The warehouse's name.
    pub warehouse: String,
    /// Why nothing more is told: it is not migrated, or to other objects.
    pub unready: Option<String>,
    /// The source's slot.
    pub slot: Option<Slot>,
    /// How far each table has been read, where the source is polled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub polled: Vec<Polled>,
    /// When each table was copied last, where snapshots feed it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copied: Vec<Copied>,
    /// Whether a log is read: what has landed has a position of it.
    #[serde(skip)]
    pub reads_log: bool,
    /// Whether a source is asked, and not files alone.
    #[serde(skip)]
    pub has_source: bool,
    /// What has landed of each file feed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<crate::files::Standing>,
    /// Why nothing is told of the source.
    pub unseen: Option<String>,
    /// Why nothing is told of bronze, where it stands apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bronze_unseen: Option<String>,
    /// Why a run would not go on from it.
    pub refused: Option<String>,
    /// How far landing is.
    pub landed: Option<Landed>,
    /// The relations, in the order in which they are worked through.
    pub relations: Vec<Relation>,
    /// The last runs and watches, the latest first.
    pub runs: Vec<Run>,
    /// What the spec watches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Measured>,
}

/// A replication slot and what it keeps.
#[derive(Debug, Serialize)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub exists: bool,
    /// Whether somebody reads it right now.
    pub active: bool,
    /// What the source says of the log that it needs: `reserved`, `extended`, `unreserved`, `lost`.
    pub wal_status: Option<String>,
    /// Log that has been written since what is confirmed.
    pub lag_bytes: Option<i64>,
    /// For how long at most the source has been ahead; 0 where nothing is waiting.
    pub lag_seconds: Option<f64>,
    /// Log that the source keeps because of it.
    pub retained_bytes: Option<i64>,
    /// How much more may be written before it is lost; none where there is no limit.
    pub safe_bytes: Option<i64>,
}

/// How far a polled table has been read.
#[derive(Debug, Serialize)]
pub struct Polled {
    /// The landing table.
    pub landing: String,
    /// Up to which time of change all that was there has landed; none before the first poll.
    pub watermark: Option<String>,
    /// How long ago that is.
    pub behind_seconds: Option<f64>,
}

/// When a table was copied last.
#[derive(Debug, Serialize)]
pub struct Copied {
    /// The landing table.
    pub landing: String,
    /// When its last snapshot was taken; none before the first.
    pub taken: Option<String>,
    /// How long ago that is.
    pub age_seconds: Option<f64>,
    /// How often one is taken, where the spec says so.
    pub every_seconds: Option<u64>,
}

/// How far landing is.
#[derive(Debug, Serialize)]
pub struct Landed {
    /// What has been begun: `creating`, `streaming`.
    pub state: String,
    /// Everything that commits below it has landed.
    pub position: String,
    /// The system time of the last transaction.
    pub system_time: Option<String>,
    /// When it was last moved.
    pub moved: String,
    /// How long ago that is.
    #[serde(skip)]
    pub age_seconds: f64,
}

/// A relation of the warehouse.
#[derive(Debug, Serialize)]
pub struct Relation {
    /// Its name.
    pub name: String,
    /// Its layer.
    pub layer: &'static str,
    /// How many rows it has.
    pub rows: i64,
    /// Whether the rows are the planner's estimate, where counting would read much.
    pub estimated: bool,
    /// The system time that it shows, where it has a watermark.
    pub system_time: Option<String>,
    /// How far that is behind what has landed, in seconds.
    pub behind_seconds: Option<f64>,
}

/// A run or a stretch of a watch.
#[derive(Debug, Serialize)]
pub struct Run {
    /// When it began.
    pub started: String,
    /// How long it took, or has taken so far.
    pub seconds: f64,
    /// `running`, `succeeded` or `failed`.
    pub status: String,
    /// What it did.
    pub metrics: serde_json::Value,
}

impl Survey {
    /// Whether it tells of what has landed.
    pub fn tells_of_bronze(&self) -> bool {
        self.unready.is_none() && self.bronze_unseen.is_none()
    }
}

/// Where bronze is counted.
enum Bronze {
    /// In the warehouse.
    Within,
    /// In a database of its own.
    Apart(PgConnection),
    /// Nowhere: it is out of reach, and with it how far landing is.
    Unseen,
}

/// Pages up to which rows are counted; above, the planner's estimate must do, or those on so many pages.
const COUNTED: i64 = 1_000;

/// How many runs are told.
const RUNS: i64 = 5;

/// Looks at both databases. Fails where the warehouse cannot be reached.
pub async fn look(warehouse: &Warehouse, place: &Place) -> Result<Survey> {
    let (name, reads_log) = (warehouse.name.to_owned(), warehouse.reads_log());
    let mut survey =
        Survey { warehouse: name, reads_log, has_source: warehouse.has_source(), ..Survey::default() };
    let mut target = connection::connect(Database::Warehouse, &place.warehouse).await?;
    match migrate::check(warehouse, &mut target).await {
        Ok(()) => {
            let bronze = match apart::look(warehouse, place, &mut target).await {
                Ok(None) => Bronze::Within,
                Ok(Some(session)) => Bronze::Apart(session),
                Err(error) => {
                    survey.bronze_unseen = Some(error.to_string());
                    Bronze::Unseen
                }
            };
            survey.relations = relations(warehouse, &mut target, bronze).await?;
            survey.runs = runs(&mut target).await?;
        }
        // It could not be asked.
        Err(error) if error.sqlstate().is_some() || error.is_of_connection() => return Err(error),
        Err(error) => {
            let remedy = error.way_out().map(|way| format!("; {way}")).unwrap_or_default();
            survey.unready = Some(format!("{}{remedy}", error.what()));
        }
    }
    let tells_of_bronze = survey.tells_of_bronze();
    if tells_of_bronze {
        survey.landed = landed(warehouse, &mut target).await?;
        survey.files = crate::files::standing(warehouse, &mut target).await?;
        survey.copied = copied(warehouse, &mut target).await?;
    }
    if warehouse.source.polling.is_some() && tells_of_bronze {
        survey.polled = polled(warehouse, &mut target).await?;
    }
    if !warehouse.reads_log() {
        return with_alerts(survey, warehouse, &mut target).await;
    }
    let moved = survey.landed.as_ref().map(|landed| (landed.position.clone(), landed.moved.clone()));
    match seen(warehouse, place, moved, tells_of_bronze.then_some(&mut target)).await {
        Ok((slot, refused)) => {
            survey.slot = Some(slot);
            survey.refused = refused.map(|error| error.to_string());
        }
        Err(error) => survey.unseen = Some(error.to_string()),
    }
    with_alerts(survey, warehouse, &mut target).await
}

/// The survey, and what it says of what the spec watches.
async fn with_alerts(survey: Survey, warehouse: &Warehouse, target: &mut PgConnection) -> Result<Survey> {
    if survey.unready.is_some() {
        return Ok(survey);
    }
    let behind = survey.relations.iter().filter_map(|one| one.behind_seconds);
    let polled = survey.polled.iter().filter_map(|one| one.behind_seconds);
    let slot = survey.slot.as_ref();
    // From a source that is out of reach, or that nothing goes on from, nothing has come since then.
    let is_cut_off = survey.refused.is_some() || survey.unseen.is_some();
    let cut_off = survey.landed.as_ref().filter(|_| is_cut_off).map(|landed| landed.age_seconds);
    let lag =
        behind.chain(polled).chain(slot.and_then(|slot| slot.lag_seconds)).chain(cut_off).reduce(f64::max);
    #[expect(clippy::cast_precision_loss, reason = "a figure to compare with a threshold")]
    let backlog = slot.and_then(|slot| slot.lag_bytes).map(|bytes| bytes as f64);
    let known = Known { lag, backlog, bronze_unseen: survey.bronze_unseen.is_some() };
    let alerts = alert::measure(warehouse, known, target).await?;
    Ok(Survey { alerts, ..survey })
}

async fn polled(warehouse: &Warehouse, target: &mut PgConnection) -> Result<Vec<Polled>> {
    let unread = || "cannot read `medallion.captured_table`".to_owned();
    let landings: Vec<String> =
        warehouse.captured().iter().map(|landing| landing.table.to_string()).collect();
    let rows = sqlx::query(
        "SELECT
            polled.landing,
            captured.watermark::text AS watermark,
            extract(epoch FROM clock_timestamp() - captured.watermark)::float8 AS behind
        FROM unnest($1::text[]) WITH ORDINALITY AS polled (landing, number)
        LEFT JOIN medallion.captured_table AS captured USING (landing)
        ORDER BY polled.number",
    )
    .bind(landings)
    .fetch_all(target)
    .await
    .during(unread)?;
    let mut all = Vec::new();
    for row in &rows {
        all.push(Polled {
            landing: row.try_get("landing").during(unread)?,
            watermark: row.try_get("watermark").during(unread)?,
            behind_seconds: row.try_get("behind").during(unread)?,
        });
    }
    Ok(all)
}

async fn copied(warehouse: &Warehouse, target: &mut PgConnection) -> Result<Vec<Copied>> {
    let unread = || "cannot read `medallion.captured_table`".to_owned();
    let mut all = Vec::new();
    for landing in &warehouse.landings {
        let Some(snapshots) = landing.snapshots() else { continue };
        let row = sqlx::query(
            "SELECT
                compared_at::text AS taken,
                extract(epoch FROM clock_timestamp() - compared_at)::float8 AS age
            FROM medallion.captured_table
            WHERE landing = $1 AND membership = '' AND watermark IS NULL",
        )
        .bind(landing.table.to_string())
        .fetch_optional(&mut *target)
        .await
        .during(unread)?;
        let (taken, age_seconds) = match row {
            None => (None, None),
            Some(row) => (row.try_get("taken").during(unread)?, row.try_get("age").during(unread)?),
        };
        let every_seconds = snapshots.every.map(|every| every.as_secs());
        all.push(Copied { landing: landing.table.to_string(), taken, age_seconds, every_seconds });
    }
    Ok(all)
}

/// The slot, and why a run would not go on from it, where the warehouse can tell.
async fn seen(
    warehouse: &Warehouse,
    place: &Place,
    moved: Option<(String, String)>,
    target: Option<&mut PgConnection>,
) -> Result<(Slot, Option<Error>)> {
    let mut source = connection::connect(Database::Source, &place.source).await?;
    let slot = slot(warehouse, moved, &mut source).await?;
    let refused = match target {
        Some(target) => going_on::refusal(warehouse, &mut source, target).await?,
        None => None,
    };
    Ok((slot, refused))
}

async fn slot(
    warehouse: &Warehouse,
    moved: Option<(String, String)>,
    source: &mut PgConnection,
) -> Result<Slot> {
    let name = &warehouse.source.slot;
    let unasked = || format!("cannot ask the source for replication slot `{name}`");
    let (landed_to, moved) = moved.unzip();
    let row = sqlx::query(
        "SELECT
            active,
            wal_status,
            pg_wal_lsn_diff(pg_current_wal_flush_lsn(), confirmed_flush_lsn)::bigint AS lag_bytes,
            CASE
                WHEN greatest(confirmed_flush_lsn, $2::pg_lsn) >= pg_current_wal_flush_lsn() THEN 0
                ELSE greatest(extract(epoch FROM clock_timestamp() - $3::timestamptz), 0)
            END::float8 AS lag_seconds,
            pg_wal_lsn_diff(pg_current_wal_flush_lsn(), restart_lsn)::bigint AS retained_bytes,
            safe_wal_size AS safe_bytes
        FROM pg_replication_slots
        WHERE slot_name = $1",
    )
    .bind(name)
    .bind(landed_to)
    .bind(moved)
    .fetch_optional(source)
    .await
    .during(unasked)?;
    let Some(row) = row else {
        return Ok(Slot {
            name: name.clone(),
            exists: false,
            active: false,
            wal_status: None,
            lag_bytes: None,
            lag_seconds: None,
            retained_bytes: None,
            safe_bytes: None,
        });
    };
    Ok(Slot {
        name: name.clone(),
        exists: true,
        active: row.try_get("active").during(unasked)?,
        wal_status: row.try_get("wal_status").during(unasked)?,
        lag_bytes: row.try_get("lag_bytes").during(unasked)?,
        lag_seconds: row.try_get("lag_seconds").during(unasked)?,
        retained_bytes: row.try_get("retained_bytes").during(unasked)?,
        safe_bytes: row.try_get("safe_bytes").during(unasked)?,
    })
}

async fn landed(warehouse: &Warehouse, target: &mut PgConnection) -> Result<Option<Landed>> {
    let unasked = || "cannot read `medallion.source_position`".to_owned();
    let row = sqlx::query(
        "SELECT state, coalesce(landed_to, 0) AS landed_to, last_commit_ts::text AS system_time,
            updated_at::text AS moved,
            greatest(extract(epoch FROM clock_timestamp() - updated_at), 0)::float8 AS age
        FROM medallion.source_position
        WHERE slot = $1",
    )
    .bind(&warehouse.source.slot)
    .fetch_optional(target)
    .await
    .during(unasked)?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Landed {
        state: row.try_get("state").during(unasked)?,
        position: Lsn(row.try_get("landed_to").during(unasked)?).to_string(),
        system_time: row.try_get("system_time").during(unasked)?,
        moved: row.try_get("moved").during(unasked)?,
        age_seconds: row.try_get("age").during(unasked)?,
    }))
}

async fn relations(
    warehouse: &Warehouse,
    target: &mut PgConnection,
    mut bronze: Bronze,
) -> Result<Vec<Relation>> {
    let landings = warehouse.landings.iter().map(|landing| ("bronze", &landing.table));
    let silver = warehouse.silver.iter().map(|silver| ("silver", &silver.table));
    let gold = warehouse.marts.iter().filter(|mart| mart.storage.is_kept()).map(|mart| ("gold", &mart.table));
    let mut relations = Vec::new();
    for (layer, name) in landings.chain(silver).chain(gold) {
        let one = match &mut bronze {
            Bronze::Unseen if layer == "bronze" => continue,
            Bronze::Unseen => relation(layer, name, None, target).await?,
            Bronze::Apart(session) if layer == "bronze" => {
                relation(layer, name, Some(LANDED), session).await?
            }
            _ => relation(layer, name, Some(LANDED), target).await?,
        };
        relations.push(one);
    }
    Ok(relations)
}

/// The system time of what has landed last.
const LANDED: &str = "(SELECT max(last_commit_ts) FROM medallion.source_position)";

/// A relation, and how far it is behind what has landed, where that can be asked.
async fn relation(
    layer: &'static str,
    name: &Name,
    landed: Option<&str>,
    target: &mut PgConnection,
) -> Result<Relation> {
    let unasked = || format!("cannot look at `{name}`");
    let landed = landed.unwrap_or("NULL::timestamptz");
    let sql = format!(
        "WITH part AS (
            SELECT part.relpages, part.reltuples, pg_relation_size(part.oid) / 8192 AS pages
            FROM pg_class AS part
            WHERE part.oid = to_regclass($1)
            OR part.oid IN (SELECT relid FROM pg_partition_tree(to_regclass($1)) WHERE isleaf)
        )
        SELECT
            sum(pages)::bigint AS pages,
            sum(
                CASE
                    WHEN relpages > 0 THEN greatest(reltuples, 0)::float8 / relpages * pages
                    ELSE 0
                END
            )::bigint AS estimate,
            coalesce(bool_or(relpages = 0 AND pages > 0), false) AS is_unseen,
            (SELECT system_time::text FROM medallion.watermark WHERE relation = $2) AS system_time,
            (
                SELECT extract(epoch FROM {landed} - system_time)
                FROM medallion.watermark
                WHERE relation = $2
            )::float8 AS behind
        FROM part"
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(quote::name(name))
        .bind(name.to_string())
        .fetch_one(&mut *target)
        .await
        .during(unasked)?;
    let pages: i64 = row.try_get("pages").during(unasked)?;
    let estimated = pages > COUNTED;
    let counting = match (estimated, row.try_get("is_unseen").during(unasked)?) {
        (false, _) => Some(format!("SELECT count(*) FROM {}", quote::name(name))),
        // Nobody has looked at it since it came.
        (true, true) => Some(format!(
            "SELECT (count(*) * {pages}.0 / {COUNTED})::bigint FROM {} TABLESAMPLE SYSTEM (100.0 * {COUNTED} / {pages})",
            quote::name(name)
        )),
        (true, false) => None,
    };
    let rows = match counting {
        Some(sql) => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(target).await.during(unasked)?,
        None => row.try_get("estimate").during(unasked)?,
    };
    Ok(Relation {
        name: name.to_string(),
        layer,
        rows,
        estimated,
        system_time: row.try_get("system_time").during(unasked)?,
        behind_seconds: row.try_get("behind").during(unasked)?,
    })
}

async fn runs(target: &mut PgConnection) -> Result<Vec<Run>> {
    let unasked = || "cannot read `medallion.pipeline_metadata`".to_owned();
    let rows = sqlx::query(
        "SELECT
            start_time::text AS started,
            extract(epoch FROM coalesce(end_time, clock_timestamp()) - start_time)::float8 AS seconds,
            status,
            performance_metrics::text AS metrics
        FROM medallion.pipeline_metadata
        ORDER BY id DESC
        LIMIT $1",
    )
    .bind(RUNS)
    .fetch_all(target)
    .await
    .during(unasked)?;
    let mut runs = Vec::new();
    for row in &rows {
        let metrics: String = row.try_get("metrics").during(unasked)?;
        runs.push(Run {
            started: row.try_get("started").during(unasked)?,
            seconds: row.try_get("seconds").during(unasked)?,
            status: row.try_get("status").during(unasked)?,
            metrics: serde_json::from_str(&metrics).during(unasked)?,
        });
    }
    Ok(runs)
}
