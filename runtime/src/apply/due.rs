//! What waits to be applied: how far bronze goes, how far each relation has come, what was written to
//! dimensions meanwhile. Holds still those who write to dimensions while it is applied.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::{Evolved, Purpose, Repair, Step, Waiting, Window};
use crate::apart;
use crate::descriptor::{LookupTime, Name, Silver, SilverKind, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::quote;
use crate::staging::{SMALL, Staging};
use crate::statement;

/// How far one relation has been applied.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    /// Every change up to this position.
    pub lsn: i64,
    /// Its system time, as PostgreSQL writes it.
    pub time: String,
    /// Every entry of its journal up to this one.
    pub journal_id: i64,
    /// How far the stream had come by then.
    streamed_lsn: i64,
    /// Whether what others landed was beyond it, in position or in time.
    beyond_stream: bool,
}

/// What there is to apply, as of the transaction's snapshot.
pub(crate) struct Due {
    /// How far the stream has come, and its system time.
    streamed: (i64, String),
    /// The highest position that landed.
    pub to_lsn: i64,
    to_time: String,
    /// The latest time at which anything that is stored began or ended.
    latest: String,
    /// Before it nothing is kept.
    horizon: Option<String>,
    marks: BTreeMap<String, Mark>,
    /// The last entry of each journal, by relation.
    journals: BTreeMap<Name, i64>,
    evolved: Evolved,
}

/// How long writers of a versioned dimension may take to end their transactions.
const PATIENCE: &str = "10s";

/// Opens an apply's transaction: one snapshot for all of its statements, taken when nobody is writing to a
/// versioned dimension; who wants to waits for its end. So the journal's entries stand in the order of their
/// numbers, as far as this transaction sees them.
pub async fn hold(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<()> {
    statement::execute(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
    let versioned: Vec<String> = warehouse
        .silver
        .iter()
        .filter(|silver| silver.journal().is_some())
        .map(|silver| quote::name(&silver.table))
        .collect();
    if versioned.is_empty() {
        return Ok(());
    }
    statement::execute(connection, &format!("SET LOCAL lock_timeout = '{PATIENCE}'")).await?;
    let sql = format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", versioned.join(", "));
    statement::execute(connection, &sql).await.map_err(|error| match error.sqlstate().as_deref() {
        Some("55P03") => Error::new("somebody keeps a transaction open that writes to a versioned dimension")
            .because(error)
            .remedy("run again when it has ended: nothing that landed is lost"),
        _ => error,
    })?;
    statement::execute(connection, "SET LOCAL lock_timeout = 0").await.map(drop)
}

/// Whether anything waits.
pub(crate) async fn is_due(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<bool> {
    let due = Due::read(warehouse, connection).await?;
    let late = format!("SELECT count(*) FROM {} AS late", apart::late_changes(warehouse));
    let late = statement::scalar(connection, &late, &[]).await?;
    let waits = |silver: &Silver| {
        let mark = due.mark(silver);
        mark.lsn < due.to_lsn || mark.journal_id < due.journal_id(silver) || due.passed(silver).is_some()
    };
    Ok(late > 0 || due.evolved.is_due() || warehouse.silver.iter().any(waits))
}

impl Due {
    /// Reads it.
    pub async fn read(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<Self> {
        let journals = journals(warehouse, connection).await?;
        let marks = marks(connection).await?;
        let (to_lsn, to_time) = landed(warehouse, &marks, connection).await?;
        let (latest, horizon) = times(warehouse, &marks, &to_time, connection).await?;
        let streamed = streamed(warehouse, connection).await?;
        let evolved = Evolved::read(connection).await?;
        Ok(Self { streamed, to_lsn, to_time, latest, horizon, marks, journals, evolved })
    }

    /// Whether nothing has landed, was written or was applied. What was erased before its first apply looks so too.
    pub fn is_nothing(&self) -> bool {
        self.to_lsn < 0 && self.marks.is_empty() && self.journals.values().all(|last| *last == 0)
    }

    /// The position above which the stream may have landed what a relation's watermark had passed by then: others
    /// had landed later ones, while a batch was on its way that could not know of the watermark.
    pub fn passed(&self, silver: &Silver) -> Option<i64> {
        let mark = self.mark(silver);
        (mark.beyond_stream && self.streamed.0 > mark.streamed_lsn).then_some(mark.streamed_lsn)
    }

    /// The relations and marts that a migration has left to compute anew.
    pub fn left(&self, warehouse: &Warehouse) -> BTreeSet<Name> {
        self.evolved.recompute(warehouse)
    }

    /// How far a relation has been applied.
    pub fn mark(&self, silver: &Silver) -> Mark {
        let never = || Mark {
            lsn: -1,
            time: "-infinity".to_owned(),
            journal_id: 0,
            streamed_lsn: -1,
            beyond_stream: false,
        };
        self.marks.get(&silver.table.to_string()).cloned().unwrap_or_else(never)
    }

    /// The last entry of a relation's journal.
    pub fn journal_id(&self, silver: &Silver) -> i64 {
        self.journals.get(&silver.table).copied().unwrap_or_default()
    }

    /// A relation's way through the apply.
    pub fn step<'a>(
        &'a self,
        warehouse: &'a Warehouse,
        silver: &'a Silver,
        number: usize,
        staging: &'a Staging,
    ) -> Step<'a> {
        let Mark { lsn, time, journal_id, .. } = self.mark(silver);
        Step {
            silver,
            number,
            window: Window { after_lsn: lsn, to_lsn: self.to_lsn.max(lsn), after_time: time },
            time_zone: warehouse.time_zone,
            counted: journal_id,
            latest: &self.latest,
            horizon: self.horizon.as_deref().filter(|_| !is_kept_whole(warehouse, silver)),
            passed: self.passed(silver),
            repair: Repair::Nothing,
            purpose: Purpose::Apply,
            waiting: Waiting::default(),
            since: self.evolved.since(silver),
            late_changes: apart::late_changes(warehouse),
            staging,
        }
    }

    /// What of its landing table waits for each relation. Changes are counted up to where it matters no more; of
    /// those beyond, it is asked whether there is a truncate.
    pub async fn waiting(
        &self,
        warehouse: &Warehouse,
        connection: &mut PgConnection,
    ) -> Result<Vec<Waiting>> {
        let limit = SMALL + 1;
        let queries: Vec<String> = warehouse
            .silver
            .iter()
            .enumerate()
            .map(|(number, silver)| {
                format!(
                    "SELECT {number} AS number, count(*) AS changes, count(*) FILTER (WHERE op = 'T') AS truncates\n\
                     FROM (\nSELECT op FROM {feed}\nWHERE lsn > ($1::bigint[])[{place}] AND lsn <= $2\nLIMIT {limit}\n) AS change",
                    feed = quote::name(&silver.feed),
                    place = number + 1,
                )
            })
            .collect();
        let marks: Vec<i64> = warehouse.silver.iter().map(|silver| self.mark(silver).lsn).collect();
        let counted =
            sqlx::query(AssertSqlSafe(format!("{}\nORDER BY number", queries.join("\nUNION ALL\n"))))
                .bind(&marks)
                .bind(self.to_lsn)
                .fetch_all(&mut *connection)
                .await
                .during(|| "cannot tell what waits to be applied".to_owned())?;
        let mut waiting = Vec::new();
        for ((silver, row), after) in warehouse.silver.iter().zip(&counted).zip(&marks) {
            let (changes, mut truncates): (i64, i64) = (row.get(1), row.get(2));
            let changes = u64::try_from(changes).unwrap_or_default();
            if changes > SMALL && truncates == 0 {
                let sql = format!(
                    "SELECT count(*) FROM {} WHERE lsn > $1 AND lsn <= $2 AND op = 'T'",
                    quote::name(&silver.feed)
                );
                truncates = statement::scalar(connection, &sql, &[*after, self.to_lsn]).await?;
            }
            waiting.push(Waiting { changes, truncates: truncates > 0 });
        }
        Ok(waiting)
    }

    /// Writes down that all of it has been applied, and late changes up to a time.
    pub async fn move_watermarks(
        &self,
        warehouse: &Warehouse,
        late: Option<&str>,
        connection: &mut PgConnection,
    ) -> Result<()> {
        let relations: Vec<String> = warehouse.silver.iter().map(|one| one.table.to_string()).collect();
        let counted: Vec<i64> = warehouse.silver.iter().map(|one| self.journal_id(one)).collect();
        sqlx::query(
            "INSERT INTO medallion.watermark AS mark \
             (relation, lsn, system_time, streamed_lsn, streamed_time, journal_id, journal_time) \
             SELECT relation, $3, greatest($4::timestamptz, $8::timestamptz), $5, $6::timestamptz, journal_id, $7::timestamptz \
             FROM unnest($1::text[], $2::bigint[]) AS applied (relation, journal_id) \
             ON CONFLICT (relation) DO UPDATE \
             SET lsn = greatest(mark.lsn, excluded.lsn), \
             system_time = greatest(mark.system_time, excluded.system_time), \
             streamed_lsn = greatest(mark.streamed_lsn, excluded.streamed_lsn), \
             streamed_time = greatest(mark.streamed_time, excluded.streamed_time), \
             journal_id = greatest(mark.journal_id, excluded.journal_id), \
             journal_time = greatest(mark.journal_time, excluded.journal_time), updated_at = now() \
             WHERE mark.lsn < excluded.lsn OR mark.system_time < excluded.system_time \
             OR mark.streamed_lsn < excluded.streamed_lsn OR mark.journal_id < excluded.journal_id",
        )
        .bind(relations)
        .bind(counted)
        .bind(self.to_lsn)
        .bind(&self.to_time)
        .bind(self.streamed.0)
        .bind(&self.streamed.1)
        .bind(&self.latest)
        .bind(late)
        .execute(connection)
        .await
        .during(|| "cannot move the watermarks".to_owned())?;
        Ok(())
    }
}

/// Whether nothing of a relation is ever folded: those that others look up at a time of their own, and all that
/// these look up.
fn is_kept_whole(warehouse: &Warehouse, silver: &Silver) -> bool {
    let mut lookups =
        warehouse.silver.iter().flat_map(|reader| reader.lookups.iter().map(move |one| (reader, one)));
    lookups.any(|(reader, lookup)| {
        lookup.relation == silver.table
            && (matches!(lookup.at, LookupTime::OwnTime(_)) || is_kept_whole(warehouse, reader))
    })
}

/// How far bronze goes: what was captured, and what others have put into it.
async fn landed(
    warehouse: &Warehouse,
    marks: &BTreeMap<String, Mark>,
    connection: &mut PgConnection,
) -> Result<(i64, String)> {
    let mut ends = vec![
        "SELECT last_lsn AS lsn, last_commit_ts AS commit_ts FROM medallion.source_position \
         WHERE slot = $1 AND last_commit_ts IS NOT NULL"
            .to_owned(),
    ];
    let mut feeds: Vec<&Name> = warehouse.silver.iter().map(|silver| &silver.feed).collect();
    feeds.sort();
    feeds.dedup();
    let mark = |silver: &Silver| marks.get(&silver.table.to_string()).map_or(-1, |mark| mark.lsn);
    let after = warehouse.silver.iter().map(mark).min().unwrap_or(-1);
    // What lands last need not be the latest, where rows tell their own time.
    if warehouse.source.polling.is_some() || warehouse.has_feeds() {
        ends.extend(feeds.iter().map(|feed| {
            let feed = quote::name(feed);
            format!("(SELECT lsn, commit_ts FROM {feed} WHERE lsn > $2 ORDER BY commit_ts DESC LIMIT 1)")
        }));
    }
    ends.extend(feeds.into_iter().map(|feed| {
        format!("(SELECT lsn, commit_ts FROM {} ORDER BY lsn DESC, seq DESC LIMIT 1)", quote::name(feed))
    }));
    let sql = format!(
        "SELECT coalesce(max(lsn), -1), coalesce(max(commit_ts), '-infinity')::text FROM (\n{}\n) AS landed",
        ends.join("\nUNION ALL\n")
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(&warehouse.source.slot)
        .bind(after)
        .fetch_one(connection)
        .await
        .during(|| "cannot read what has landed".to_owned())?;
    Ok((row.get(0), row.get(1)))
}

/// How far the stream has come.
async fn streamed(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<(i64, String)> {
    let row = sqlx::query(
        "SELECT coalesce(max(last_lsn), -1), coalesce(max(last_commit_ts), '-infinity')::text \
         FROM medallion.source_position WHERE slot = $1",
    )
    .bind(&warehouse.source.slot)
    .fetch_one(connection)
    .await
    .during(|| "cannot read how far the stream has come".to_owned())?;
    Ok((row.get(0), row.get(1)))
}

async fn journals(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<BTreeMap<Name, i64>> {
    let mut last = BTreeMap::new();
    for silver in &warehouse.silver {
        if let Some(journal) = silver.journal() {
            let sql = format!("SELECT coalesce(max(journal_id), 0) FROM {}", quote::name(journal));
            last.insert(silver.table.clone(), statement::scalar(connection, &sql, &[]).await?);
        }
    }
    Ok(last)
}

/// The latest time at which anything stored began or ended, before this apply; and the horizon. Of journals, what
/// was counted is not read again.
async fn times(
    warehouse: &Warehouse,
    marks: &BTreeMap<String, Mark>,
    to_time: &str,
    connection: &mut PgConnection,
) -> Result<(String, Option<String>)> {
    let mut latest =
        vec!["(SELECT max(greatest(system_time, journal_time)) FROM medallion.watermark)".to_owned()];
    let mut counted = Vec::new();
    for silver in &warehouse.silver {
        if let SilverKind::Dimension { start, journal: Some(journal), .. } = &silver.kind {
            let start = quote::identifier(start);
            counted.push(marks.get(&silver.table.to_string()).map_or(0, |mark| mark.journal_id));
            latest.push(format!(
                "(SELECT max({start}) FROM {} WHERE journal_id > ($1::bigint[])[{}])",
                quote::name(journal),
                counted.len()
            ));
        }
    }
    let sql = format!(
        "SELECT coalesce(greatest({}), '-infinity')::text, (SELECT time::text FROM medallion.horizon)",
        latest.join(", ")
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(counted)
        .fetch_one(connection)
        .await
        .during(|| format!("cannot tell what is stored up to {to_time}"))?;
    Ok((row.get(0), row.get(1)))
}

async fn marks(connection: &mut PgConnection) -> Result<BTreeMap<String, Mark>> {
    let rows = sqlx::query(
        "SELECT relation, lsn, system_time::text, journal_id, streamed_lsn, \
         lsn > streamed_lsn OR system_time > streamed_time FROM medallion.watermark",
    )
    .fetch_all(connection)
    .await
    .during(|| "cannot read the watermarks".to_owned())?;
    let mark = |row: &sqlx::postgres::PgRow| Mark {
        lsn: row.get(1),
        time: row.get(2),
        journal_id: row.get(3),
        streamed_lsn: row.get(4),
        beyond_stream: row.get(5),
    };
    Ok(rows.iter().map(|row| (row.get(0), mark(row))).collect())
}
