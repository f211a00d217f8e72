//! Which keys of a relation are repaired: those of changes that came late, those of writers who began before
//! what was applied meanwhile, and those that look up a key whose past has changed.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::landed::single_keys;
use super::merge::{AS_PLANNED, WHERE_IT_STANDS};
use super::own::key_list;
use super::{Context, Due, LookupSource, Repair, Step, state};
use crate::apart;
use crate::descriptor::{Name, SilverKind, Tracking, Warehouse};
use crate::error::{During as _, Result};
use crate::quote;
use crate::statement;

/// What came late.
#[derive(Debug, Default)]
pub struct Late {
    /// The landing tables that have some.
    pub feeds: BTreeSet<String>,
    /// The latest time of such a change, as PostgreSQL writes it.
    pub latest: Option<String>,
}

/// Takes over into `late` what was noted of late changes, and what the stream landed where the watermark had passed
/// by; returns what there is of it.
pub async fn take_late(warehouse: &Warehouse, due: &Due, connection: &mut PgConnection) -> Result<Late> {
    let passed: BTreeMap<&Name, i64> =
        warehouse.silver.iter().filter_map(|silver| Some((&silver.feed, due.passed(silver)?))).collect();
    let late_changes = apart::late_changes(warehouse);
    let noted =
        statement::scalar(connection, &format!("SELECT count(*) FROM {late_changes} AS late"), &[]).await?;
    let earlier = earlier(warehouse, due);
    if noted == 0 && passed.is_empty() && earlier.is_empty() {
        return Ok(Late::default());
    }
    apart::drop_taken(warehouse, connection).await?;
    let mut queries = vec![format!("SELECT relation, lsn, seq\nFROM {late_changes} AS late")];
    // What others have landed there is repaired once more, to what it is.
    queries.extend(passed.into_iter().map(|(feed, after_lsn)| {
        let (relation, table) = (quote::literal(&feed.to_string()), quote::name(feed));
        format!("SELECT {relation}, lsn, seq\nFROM {table}\nWHERE lsn > {after_lsn}")
    }));
    queries.extend(earlier);
    let sql = format!("CREATE TEMPORARY TABLE late ON COMMIT DROP AS\n{}", queries.join("\nUNION\n"));
    let taken = statement::execute(connection, &sql).await?;
    apart::take_noted(warehouse, "pg_temp.late", connection).await?;
    statement::analyze(connection, "pg_temp.late", taken).await?;
    let rows = sqlx::query("SELECT DISTINCT relation FROM pg_temp.late")
        .persistent(false)
        .fetch_all(&mut *connection)
        .await
        .during(|| "cannot read which changes came late".to_owned())?;
    let feeds: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let times: Vec<String> = warehouse
        .landings
        .iter()
        .filter(|landing| feeds.contains(&landing.table.to_string()))
        .map(|landing| {
            format!(
                "SELECT max(change.commit_ts) AS latest FROM pg_temp.late AS late\n\
                 JOIN {} AS change ON change.lsn = late.lsn AND change.seq = late.seq\nWHERE late.relation = {}",
                quote::name(&landing.table),
                quote::literal(&landing.table.to_string())
            )
        })
        .collect();
    if times.is_empty() {
        return Ok(Late { feeds, latest: None });
    }
    let latest = format!("SELECT max(latest)::text FROM (\n{}\n) AS late", times.join("\nUNION ALL\n"));
    let latest = sqlx::query_scalar(AssertSqlSafe(latest))
        .persistent(false)
        .fetch_one(connection)
        .await
        .during(|| "cannot read when late changes were made".to_owned())?;
    Ok(Late { feeds, latest })
}

/// Queries of what is in the window with a time that has been applied already. Those who land it see to that as far as
/// they can; what was applied while it landed they have not seen. Of a source's log none is: there times rise.
fn earlier(warehouse: &Warehouse, due: &Due) -> Vec<String> {
    if warehouse.source.polling.is_none() && !warehouse.has_feeds() {
        return Vec::new();
    }
    let mut feeds: BTreeMap<&Name, (i64, String)> = BTreeMap::new();
    for silver in &warehouse.silver {
        let mark = due.mark(silver);
        // All watermarks move together; of a relation that is new, all is to come.
        if mark.lsn >= 0 {
            feeds.insert(&silver.feed, (mark.lsn, mark.time));
        }
    }
    let query = |(feed, (lsn, time)): (&Name, (i64, String))| {
        format!(
            "SELECT {}, lsn, seq\nFROM {}\nWHERE lsn > {lsn} AND commit_ts <= {}::timestamptz",
            quote::literal(&feed.to_string()),
            quote::name(feed),
            quote::literal(&time)
        )
    };
    feeds.into_iter().map(query).collect()
}

/// Makes `repair_<n>`, empty: the relation's key.
pub async fn create_keys(step: &mut Step<'_>, connection: &mut PgConnection) -> Result<()> {
    if step.repair != Repair::Nothing {
        return Ok(());
    }
    let silver = step.silver;
    let columns: Vec<String> = silver
        .key
        .iter()
        .filter_map(|key| silver.columns.iter().find(|column| column.name == *key))
        .map(|column| format!("{} {}", quote::identifier(&column.name), column.sql_type))
        .collect();
    let sql =
        format!("CREATE TEMPORARY TABLE repair_{} ({}) ON COMMIT DROP", step.number, columns.join(", "));
    statement::execute(connection, &sql).await?;
    step.repair = Repair::Keys;
    Ok(())
}

/// Stages the keys in `repair_<n>`, and says in the step which are repaired.
pub async fn stage(
    step: &mut Step<'_>,
    context: &Context<'_>,
    uncounted: bool,
    connection: &mut PgConnection,
) -> Result<()> {
    if step.repair == Repair::Everything {
        return Ok(());
    }
    let mut queries = Vec::new();
    if let Some(keys) = context.keys {
        queries.push(format!("SELECT {} FROM {keys}", key_list(step.silver, "")));
    }
    if context.has_late {
        let Some(late) = stage_late_keys(step, connection).await? else {
            step.repair = Repair::Everything;
            return Ok(());
        };
        queries.push(format!("SELECT {} FROM {late}", key_list(step.silver, "")));
    }
    if uncounted {
        // What was looked up meanwhile has cut no version of theirs.
        queries.push(format!(
            "SELECT {} FROM {} WHERE m$stamp <= {}::timestamptz",
            key_list(step.silver, ""),
            step.table("uncounted"),
            quote::literal(&step.window.after_time),
        ));
    }
    for source in &context.lookups {
        let Some(changed) = source.changed else { continue };
        let deep = format!(
            "SELECT count(*) FROM pg_temp.changed_{changed} WHERE m$from <= {}::timestamptz",
            quote::literal(step.latest)
        );
        if statement::scalar(connection, &deep, &[]).await? == 0 {
            continue;
        }
        if looks_up_by_untracked(step, source) {
            // By which value a past version looked up is not kept.
            step.repair = Repair::Everything;
            return Ok(());
        }
        queries.extend(readers(step, source, changed));
    }
    if queries.is_empty() {
        return Ok(());
    }
    create_keys(step, connection).await?;
    let repair = step.table("repair");
    let found =
        statement::execute(connection, &format!("INSERT INTO {repair}\n{}", queries.join("\nUNION\n")))
            .await?;
    statement::execute(connection, &format!("ANALYZE {repair}")).await?;
    if found == 0 {
        statement::execute(connection, &format!("DROP TABLE {repair}")).await?;
        step.repair = Repair::Nothing;
    }
    Ok(())
}

/// Stages the keys of late changes, and returns the table; none where a truncate came late. Each change is found by
/// its position: of all that landed they are few.
async fn stage_late_keys(step: &Step<'_>, connection: &mut PgConnection) -> Result<Option<String>> {
    step.staging.repaired(connection).await?;
    let passed = passed(step);
    let truncates = format!(
        "SELECT count(*) FROM {} AS change WHERE {passed} AND change.op = 'T'",
        quote::name(&step.silver.feed)
    );
    if statement::scalar(connection, &truncates, &[]).await? > 0 {
        return Ok(None);
    }
    let keys = format!(
        "SELECT DISTINCT {} FROM (\n{}\n) AS late",
        key_list(step.silver, ""),
        single_keys(step, &passed)
    );
    statement::set(connection, WHERE_IT_STANDS).await?;
    step.fill("late_key", &keys, connection).await?;
    statement::set(connection, AS_PLANNED).await?;
    Ok(Some(step.table("late_key")))
}

/// Late changes that the window passes by: below it, or not later than what has been applied.
fn passed(step: &Step<'_>) -> String {
    format!(
        "(change.lsn, change.seq) IN (SELECT late.lsn, late.seq FROM pg_temp.late AS late WHERE late.relation = {})\n\
         AND (change.lsn <= {} OR change.commit_ts <= {}::timestamptz)",
        quote::literal(&step.silver.feed.to_string()),
        step.window.after_lsn,
        quote::literal(&step.window.after_time),
    )
}

/// The keys of versions that read a changed key where it changed, except those that go on from their current
/// version: they began before, and nothing of theirs was applied or written since.
fn readers(step: &Step<'_>, source: &LookupSource<'_>, changed: usize) -> Vec<String> {
    let silver = step.silver;
    let (mine, theirs): (Vec<_>, Vec<_>) = source.lookup.on.iter().cloned().unzip();
    let read = format!(
        "SELECT {key} FROM {versions} AS version JOIN pg_temp.changed_{changed} AS looked ON {same}",
        key = key_list(silver, "version."),
        versions = state::stored_versions(silver),
        same = statement::equal("version.", "looked.", &mine, &theirs),
    );
    let deep = format!(
        "looked.m$from <= {}::timestamptz AND version.m$known_to > looked.m$from",
        quote::literal(step.latest)
    );
    let mut queries = vec![format!(
        "{read}\nWHERE {deep}\n\
         AND NOT (version.m$known_to = 'infinity' AND version.m$known_from < looked.m$from\n\
         AND looked.m$from > {}::timestamptz)",
        quote::literal(&step.window.after_time),
    )];
    if let SilverKind::Dimension { start, journal: Some(journal), .. } = &silver.kind {
        // A write that changed nothing has begun no version, and says nevertheless what was looked up then.
        queries.push(format!(
            "{read}\nJOIN {} AS entry ON {} AND entry.{} >= looked.m$from\nWHERE {deep}",
            quote::name(journal),
            statement::equal("entry.", "version.", &silver.key, &silver.key),
            quote::identifier(start),
        ));
    }
    queries
}

fn looks_up_by_untracked(step: &Step<'_>, source: &LookupSource<'_>) -> bool {
    let untracked = |name: &String| {
        step.silver.columns.iter().any(|one| one.name == *name && one.tracking == Tracking::Untracked)
    };
    source.lookup.on.iter().any(|(own, _)| untracked(own))
}
