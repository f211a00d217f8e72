//! Stages a relation's *own* states: what a key was after each transaction. For most keys that is their
//! current version (`base`) and what has landed since; for those that are repaired it is all that bronze and
//! the journal know. Columns that come from lookups are filled in later.

use sqlx::PgConnection;

use super::hash::hash;
use super::landed::single;
use super::{LookupSource, Purpose, Repair, Step, journal};
use crate::descriptor::{Column, ColumnFrom, Silver, SilverKind, Tracking};
use crate::error::Result;
use crate::quote;
use crate::statement;

/// Whether there has to be a table where nothing is to be staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    Perhaps,
    Always,
}

/// Where a relation's own states are.
pub enum Own {
    /// There are none.
    Nothing,
    /// In `own_<n>`.
    Staged,
    /// All are of repaired keys, and only their versions ask for them: this query's.
    Repaired(String),
    /// Nothing stands yet, and only their versions ask for them: this query's.
    First(String),
}

/// Stages `own_<n>`: the relation's columns, `m$present`, `m$base` (a version that stands already), `m$given`
/// (what its lookups say stands in it), `m$repair`, `m$hash` (of a base) and `m$since`.
/// Where only versions are made of them, they are not staged.
pub async fn stage(
    step: &mut Step<'_>,
    lookups: &[LookupSource<'_>],
    versioned: bool,
    needed: Needed,
    connection: &mut PgConnection,
) -> Result<Own> {
    if step.repair == Repair::Everything && !lookups.is_empty() {
        return stage_everything(step, connection).await.map(|_| Own::Staged);
    }
    let idle = step.repair == Repair::Keys && lookups.is_empty() && step.waiting.changes == 0;
    if step.repair == Repair::Everything || idle {
        step.staging.repaired(connection).await?;
        return Ok(Own::Repaired(states(step, &history(step, connection).await?, "true")));
    }
    let reread: Vec<&LookupSource<'_>> = lookups.iter().filter(|source| source.changed.is_some()).collect();
    // None where nothing came, which most relations have most of the time: asked first, for a table costs more.
    if needed == Needed::Perhaps
        && step.repair == Repair::Nothing
        && reread.is_empty()
        && step.waiting.changes == 0
    {
        return Ok(Own::Nothing);
    }
    let landed = landed_since(step);
    if needed == Needed::Perhaps && lookups.is_empty() && is_first(step, connection).await? {
        return Ok(Own::First(states(step, &landed, "false")));
    }
    let changed = step.fill("own", &states(step, &landed, "false"), connection).await?;
    let mut staged = changed;
    if changed > 0 || !reread.is_empty() {
        staged += step.execute(&bases(step, &reread), connection).await?;
        step.staging.grown(staged, connection).await?;
    }
    let mut conflicts = Vec::new();
    if versioned && (changed > 0 || landed.truncates) {
        conflicts = conflicting(step, landed.truncates, connection).await?;
    }
    if !lookups.is_empty() && (changed > 0 || !reread.is_empty()) {
        conflicts.extend(given_since(step));
    }
    if !conflicts.is_empty() {
        repair_conflicts(step, &conflicts, connection).await?;
    }
    if step.repair == Repair::Keys {
        step.staging.repaired(connection).await?;
        let own = step.table("own");
        let history = states(step, &history(step, connection).await?, "true");
        staged += statement::execute(connection, &format!("INSERT INTO {own}\n{history}")).await?;
    }
    statement::analyze(connection, &step.table("own"), staged).await?;
    Ok(if staged > 0 { Own::Staged } else { Own::Nothing })
}

/// Whether nothing was ever applied, written or stood, so that there is nothing that what landed could go on from.
async fn is_first(step: &Step<'_>, connection: &mut PgConnection) -> Result<bool> {
    let applied = step.window.after_lsn >= 0 || step.counted > 0;
    if applied || step.waiting.truncates || step.repair != Repair::Nothing {
        return Ok(false);
    }
    let standing =
        format!("SELECT count(*) FROM (SELECT FROM {} LIMIT 1) AS one", quote::name(&step.silver.table));
    Ok(statement::scalar(connection, &standing, &[]).await? == 0)
}

/// Stages the states of every key, from all that bronze and the journal know.
pub async fn stage_everything(step: &Step<'_>, connection: &mut PgConnection) -> Result<u64> {
    step.staging.repaired(connection).await?;
    let query = states(step, &history(step, connection).await?, "true");
    step.fill("own", &query, connection).await
}

/// What the states are made of: `WITH change AS (…)` and what is left out of it.
struct Changes {
    with: String,
    without: String,
    truncates: bool,
}

/// The last state of a key at each time: a writer's comes after what landed at the same.
fn states(step: &Step<'_>, changes: &Changes, repair: &str) -> String {
    let key = key_list(step.silver, "");
    format!(
        "WITH {}\nSELECT DISTINCT ON ({key}, m$time)\n{},\nm$present,\nfalse AS m$base,\nm$given,\n\
         {repair} AS m$repair,\nNULL::bytea AS m$hash,\nm$time AS m$since\nFROM change\n{}\
         ORDER BY {key}, m$time, {}m$lsn DESC, m$seq DESC",
        changes.with,
        quote::list("", step.silver.columns.iter().map(|column| &column.name)),
        changes.without,
        if repair == "true" && journal::entries(step).is_some() { "m$given DESC, " } else { "" },
    )
}

/// The window's changes of the keys that are not repaired.
fn landed_since(step: &Step<'_>) -> Changes {
    let within = |alias: &str| within_window(step, alias);
    let standing = format!(
        "SELECT {} FROM {} AS stored WHERE {}",
        key_list(step.silver, "stored."),
        quote::name(&step.silver.table),
        is_current(step.silver, "stored"),
    );
    let single = single(step, &within("change"));
    let truncates = step.waiting.truncates;
    let with = if truncates {
        with_truncates(step, &single, &standing, &within("gone"))
    } else {
        format!("change AS (\n{single}\n)")
    };
    let without = match step.repair {
        Repair::Nothing => String::new(),
        Repair::Keys | Repair::Everything => format!("WHERE NOT {}\n", is_repaired(step, "change")),
    };
    Changes { with, without, truncates }
}

fn within_window(step: &Step<'_>, alias: &str) -> String {
    format!("{alias}.lsn > {} AND {alias}.lsn <= {}", step.after_lsn(), step.to_lsn())
}

/// Everything that is known of the keys that are repaired.
async fn history(step: &Step<'_>, connection: &mut PgConnection) -> Result<Changes> {
    let upto = |alias: &str| format!("{alias}.lsn <= {}{}", step.window.to_lsn, without_waiting(step, alias));
    let written = journal::entries(step);
    let key = key_list(step.silver, "");
    // Of keys, the key is read before the rest of the row, which only few rows are needed for.
    let (landed, written, standing) = match step.repair {
        Repair::Keys => (
            format!("{} AND {}", upto("change"), is_repaired_row(step)),
            written.map(|entries| format!("{entries}\nWHERE {}", is_repaired(step, "entry"))),
            format!("SELECT {key} FROM {}", step.table("repair")),
        ),
        Repair::Nothing | Repair::Everything => {
            (upto("change"), written, format!("SELECT {key} FROM single"))
        }
    };
    let mut single = single(step, &landed);
    if let Some(written) = written {
        single = format!("{single}\nUNION ALL\n{written}");
    }
    let truncates = truncates(step, &upto("change"), connection).await?;
    let with = if truncates {
        with_truncates(step, &single, &standing, &upto("gone"))
    } else {
        format!("change AS (\n{single}\n)")
    };
    Ok(Changes { with, without: String::new(), truncates })
}

/// Late changes that wait for the next apply are none of a question's that changes nothing.
fn without_waiting(step: &Step<'_>, alias: &str) -> String {
    match step.purpose {
        Purpose::Apply => String::new(),
        Purpose::Verify => format!(
            " AND NOT EXISTS (SELECT FROM {} AS late WHERE late.relation = {} \
             AND late.lsn = {alias}.lsn AND late.seq = {alias}.seq)",
            step.late_changes,
            quote::literal(&step.silver.feed.to_string())
        ),
    }
}

async fn truncates(step: &Step<'_>, condition: &str, connection: &mut PgConnection) -> Result<bool> {
    let sql = format!(
        "SELECT count(*) FROM {} AS change WHERE {condition} AND op = 'T'",
        quote::name(&step.silver.feed)
    );
    Ok(statement::scalar(connection, &sql, &[]).await? > 0)
}

/// Changes of single rows, and the end of every key that stood before a truncate.
fn with_truncates(step: &Step<'_>, single: &str, standing: &str, window: &str) -> String {
    let silver = step.silver;
    let values: Vec<String> = silver
        .columns
        .iter()
        .map(|column| match silver.key.contains(&column.name) {
            true => format!("standing.{}", quote::identifier(&column.name)),
            false => format!("NULL::{}", column.sql_type),
        })
        .collect();
    format!(
        "single AS (\n{single}\n), standing AS (\nSELECT {key} FROM single\nUNION\n{standing}\n), change AS (\n\
         SELECT * FROM single\nUNION ALL\n\
         SELECT gone.lsn, gone.seq, gone.commit_ts, false, false, {values}\n\
         FROM {feed} AS gone CROSS JOIN standing\nWHERE gone.op = 'T' AND {window}\n)",
        key = key_list(silver, ""),
        values = values.join(", "),
        feed = quote::name(&silver.feed),
    )
}

/// The current versions of keys that the window touches: of its changes, and of lookups that changed.
fn bases(step: &Step<'_>, reread: &[&LookupSource<'_>]) -> String {
    let silver = step.silver;
    let own = step.table("own");
    // Each with what says that it is not so, in the words that the planner makes the most of.
    let changed = format!(
        "EXISTS (SELECT FROM {own} AS own WHERE {})",
        statement::equal("own.", "stored.", &silver.key, &silver.key)
    );
    let mut touched = vec![(format!("NOT {changed}"), changed)];
    for source in reread {
        let number = source.changed.expect("only changed lookups are reread");
        let (own_columns, there): (Vec<_>, Vec<_>) = source.lookup.on.iter().cloned().unzip();
        let looked = format!(
            "(({}) IN (SELECT {} FROM pg_temp.changed_{number} AS looked))",
            quote::list("stored.", &own_columns),
            quote::list("looked.", &there)
        );
        touched.push((format!("{looked} IS NOT TRUE"), looked));
    }
    let unrepaired = match step.repair {
        Repair::Nothing => String::new(),
        Repair::Keys | Repair::Everything => format!("\nAND NOT {}", is_repaired(step, "stored")),
    };
    let (hash, since) = match &silver.kind {
        SilverKind::Dimension { row_hash, start, .. } => {
            (format!("stored.{}", quote::identifier(row_hash)), start)
        }
        SilverKind::Fact { snapshot, .. } => (hash(silver, "stored."), snapshot),
    };
    let columns = quote::list("stored.", silver.columns.iter().map(|column| &column.name));
    // Each way of being touched is a query of its own, so that each can go by its index; what an earlier one
    // has found, a later one leaves out, once that has been found: of many rows the planner thinks that none is left,
    // and would look at the lookups for each. Joining the table to their union would be shorter, but how many rows
    // share a key of several columns is what the planner guesses worst.
    let queries: Vec<String> = touched
        .iter()
        .enumerate()
        .map(|(number, (_, way))| {
            let table = quote::name(&silver.table);
            let found = format!("{table} AS stored\nWHERE {}\nAND {way}", is_current(silver, "stored"));
            let earlier: String = touched[..number].iter().map(|(not, _)| format!("\nAND {not}")).collect();
            let from = match number {
                0 => found,
                _ => format!("(\nSELECT stored.* FROM {found}\nOFFSET 0\n) AS stored\nWHERE true"),
            };
            format!(
                "SELECT {columns}, true, true, true, false, {hash}, stored.{since}\nFROM {from}{earlier}{unrepaired}",
                since = quote::identifier(since),
            )
        })
        .collect();
    format!("INSERT INTO {own}\n{}", queries.join("\nUNION ALL\n"))
}

/// Queries of the keys where something stands that is not earlier than what landed: the version of a writer,
/// or one that begins as a writer's in a lookup does.
async fn conflicting(step: &Step<'_>, truncates: bool, connection: &mut PgConnection) -> Result<Vec<String>> {
    let silver = step.silver;
    let own = step.table("own");
    let late = format!("SELECT count(*) FROM {own} WHERE NOT m$base AND m$since <= {}", step.latest());
    if !truncates && step.scalar(&late, connection).await? == 0 {
        return Ok(Vec::new());
    }
    let key = key_list(silver, "");
    let mut conflicts = vec![format!(
        "SELECT {key} FROM {own} GROUP BY {key}\n\
         HAVING min(m$since) FILTER (WHERE NOT m$base) <= max(m$since) FILTER (WHERE m$base)"
    )];
    if let SilverKind::Dimension { start, journal: Some(journal), .. } = &silver.kind {
        let start = quote::identifier(start);
        conflicts.push(format!(
            "SELECT {} FROM {own} AS own JOIN {} AS entry ON {}\n\
             WHERE NOT own.m$base AND entry.{start} >= own.m$since\n\
             AND entry.{start} >= (SELECT min(m$since) FROM {own} WHERE NOT m$base)",
            key_list(silver, "own."),
            quote::name(journal),
            statement::equal("own.", "entry.", &silver.key, &silver.key),
        ));
        if truncates {
            // Also what a writer has ended since, which is none of the keys that stand.
            conflicts.push(format!(
                "SELECT {} FROM {} AS entry WHERE entry.{start} >= (SELECT min(gone.commit_ts) FROM {} AS gone\n\
                 WHERE gone.op = 'T' AND {})",
                key_list(silver, "entry."),
                quote::name(journal),
                quote::name(&silver.feed),
                within_window(step, "gone"),
            ));
        }
    }
    Ok(conflicts)
}

/// A query of the keys of which a writer has said once more what their version has from its lookups, without
/// beginning a version by it. Such a version is not cut where it was said, and only the journal knows.
fn given_since(step: &Step<'_>) -> Option<String> {
    let SilverKind::Dimension { start, journal: Some(journal), .. } = &step.silver.kind else {
        return None;
    };
    let start = quote::identifier(start);
    Some(format!(
        "SELECT {} FROM {} AS own JOIN {} AS entry ON {}\n\
         WHERE own.m$base AND entry.{start} > own.m$since AND entry.{start} > {}",
        key_list(step.silver, "own."),
        step.table("own"),
        quote::name(journal),
        statement::equal("own.", "entry.", &step.silver.key, &step.silver.key),
        step.after_time(),
    ))
}

/// Moves the keys over to those that are repaired.
async fn repair_conflicts(
    step: &mut Step<'_>,
    conflicts: &[String],
    connection: &mut PgConnection,
) -> Result<()> {
    let conflicts = conflicts.join("\nUNION\n");
    // Mostly there are none, and to ask costs less than a table.
    let any = format!("SELECT count(*) FROM (\n{conflicts}\n) AS conflict");
    if step.scalar(&any, connection).await? == 0 {
        return Ok(());
    }
    super::repair::create_keys(step, connection).await?;
    let (own, repair) = (step.table("own"), step.table("repair"));
    let found = step.execute(&format!("INSERT INTO {repair}\n{conflicts}"), connection).await?;
    statement::analyze(connection, &repair, found).await?;
    let sql = format!("DELETE FROM {own} AS own WHERE {}", is_repaired(step, "own"));
    statement::execute(connection, &sql).await.map(drop)
}

/// Whether a row's key is repaired, as a condition.
pub fn is_repaired(step: &Step<'_>, alias: &str) -> String {
    format!(
        "EXISTS (SELECT FROM {} AS repaired WHERE {})",
        step.table("repair"),
        statement::equal("repaired.", &format!("{alias}."), &step.silver.key, &step.silver.key)
    )
}

/// The same of a landed row. Where the text of a key's values does for them, the key is read alone: the rest
/// of the row costs more.
fn is_repaired_row(step: &Step<'_>) -> String {
    let silver = step.silver;
    let pairs: Vec<String> = silver
        .columns
        .iter()
        .filter(|column| silver.key.contains(&column.name))
        .map(|column| {
            let ColumnFrom::Field(field) = &column.from else { return "true".to_owned() };
            let plain = !column.sql_type.ends_with("[]") && !column.sql_type.starts_with("json");
            let value = if plain {
                format!("(change.full_row ->> {})::{}", quote::literal(field), column.sql_type)
            } else {
                format!(
                    "(SELECT one.{0} FROM jsonb_to_record(change.full_row) AS one ({0} {1}))",
                    quote::identifier(field),
                    column.sql_type
                )
            };
            format!("repaired.{} = {value}", quote::identifier(&column.name))
        })
        .collect();
    format!("EXISTS (SELECT FROM {} AS repaired WHERE {})", step.table("repair"), pairs.join(" AND "))
}

/// Whether a stored row is a current one, as a condition.
pub fn is_current(silver: &Silver, alias: &str) -> String {
    match &silver.kind {
        SilverKind::Dimension { end, .. } => format!("{alias}.{} = 'infinity'", quote::identifier(end)),
        SilverKind::Fact { .. } => "true".to_owned(),
    }
}

/// A relation's key, each column with a prefix.
pub(crate) fn key_list(silver: &Silver, prefix: &str) -> String {
    quote::list(prefix, &silver.key)
}

/// The columns whose change makes a version.
pub fn tracked(silver: &Silver) -> impl Iterator<Item = &Column> {
    silver
        .columns
        .iter()
        .filter(|column| column.tracking == Tracking::Tracked && !silver.key.contains(&column.name))
}

/// The columns that are updated in place.
pub fn untracked(silver: &Silver) -> Vec<&Column> {
    silver.columns.iter().filter(|column| column.tracking == Tracking::Untracked).collect()
}
