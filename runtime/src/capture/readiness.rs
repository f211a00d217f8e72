//! Is the source ready to be captured? All that a capture asks before it begins, and what makes one fail or
//! hurt later: head-room for slots, how much log the source keeps, transactions left open. Every finding has
//! its remedy, most of them SQL to paste. Changes nothing on either side.

use serde::Serialize;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::position::{self, Former, Lock, SourcePosition, State};
use super::preflight::{self, Before, Problem, Problems, Seen, Site};
use super::slot::{self, Slot};
use super::standing::{self, KnownTables};
use super::{ASKED, begin, fit, hold, publication, switchover};
use crate::descriptor::Warehouse;
use crate::error::{During as _, Result};
use crate::quote;

/// Whether a finding keeps the source from being captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does.
    Stops,
    /// It does not, yet.
    Warns,
}

/// Something to see to at the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub what: String,
    /// The way out.
    pub remedy: String,
}

/// What was found out about a source.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Readiness {
    /// How it is set up.
    pub facts: Vec<String>,
    /// What is wrong with it, the worst first.
    pub findings: Vec<Finding>,
}

impl Readiness {
    /// Whether nothing keeps the source from being captured.
    pub fn is_ready(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Stops)
    }

    pub(super) fn stops(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Stops, what, remedy);
    }

    pub(super) fn warns(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Warns, what, remedy);
    }

    /// The worst first.
    pub(super) fn sorted(mut self) -> Self {
        self.findings.sort_by_key(|finding| finding.severity != Severity::Stops);
        self
    }

    fn add(&mut self, severity: Severity, what: impl Into<String>, remedy: impl Into<String>) {
        self.findings.push(Finding { severity, what: what.into(), remedy: remedy.into() });
    }
}

/// Transactions younger than this are nobody's worry.
const OLD: &str = "1 minute";

/// Looks at a source; at the warehouse too, where there is one, for what was captured before and for the
/// columns that shall take what comes.
pub async fn check(
    warehouse: &Warehouse,
    source_url: &str,
    target: Option<&mut PgConnection>,
) -> Result<Readiness> {
    if !warehouse.reads_log() {
        return super::poll::readiness::check(warehouse, source_url, target).await;
    }
    let mut source = super::connect(source_url).await?;
    let mut readiness = Readiness::default();
    let mut problems = Problems::default();
    let mut target = target;
    super::copies::check(warehouse, &mut source, target.as_deref_mut(), &mut problems, &mut readiness)
        .await?;
    let position = match &mut target {
        Some(target) => {
            let name = &warehouse.source.slot;
            match position::read(target, name, Lock::None).await? {
                Some(position) => {
                    let after = switchover::look(&mut source, target, name, &position).await?;
                    Some(after.unwrap_or(position))
                }
                None => None,
            }
        }
        None => None,
    };
    let former = match &mut target {
        Some(target) => position::former(target, &warehouse.source.slot).await?,
        None => Vec::new(),
    };
    let before = match &position {
        Some(position) if position.state == State::Resnapshotting || position.site.timeline == ASKED => {
            Before::Broken
        }
        Some(position) if position.state == State::Streaming => {
            let known = match &mut target {
                Some(target) => standing::known(target).await?,
                None => KnownTables::new(),
            };
            Before::Something(position.site.clone(), known)
        }
        _ => Before::Nothing,
    };
    let seen = preflight::look(&mut source, warehouse, &before, &mut problems).await?;
    if let Some(published) = &seen.published {
        let tables = preflight::tables(warehouse, &seen.layouts, published, &before, &mut problems);
        let whole = seen.layouts.len() == warehouse.captured().len();
        if let (true, Some(target)) = (whole, target) {
            let fit = fit::look(&mut source, target, warehouse, warehouse.captured(), &tables).await?;
            for misfit in fit.misfits {
                match before {
                    Before::Something(..) if misfit.is_safe => readiness.warns(misfit.what, misfit.remedy),
                    _ => problems.add(misfit.what, misfit.remedy),
                }
            }
            for warning in fit.warnings {
                // A warning says what to do behind what is the matter.
                let (what, remedy) = warning.rsplit_once("; ").unwrap_or((&warning, "see to it"));
                readiness.warns(what, remedy);
            }
        }
    }
    for Problem { what, remedy } in problems.into_list() {
        readiness.stops(what, remedy);
    }
    for name in &seen.gone {
        let Problem { what, remedy } = preflight::gone(name);
        readiness.warns(what, remedy);
    }
    for name in &seen.lacking {
        readiness.warns(
            format!("publication `{}` lacks `{name}`", warehouse.source.publication),
            "the next run adds it, with a snapshot of its own, where the role owns both",
        );
    }
    for name in &seen.surplus {
        readiness.warns(
            format!(
                "publication `{}` has `{name}`, which is copied: nobody reads its changes",
                warehouse.source.publication
            ),
            "the next run takes it out, where the role owns the publication",
        );
    }
    functions(&mut source, &mut readiness).await?;
    encoding(&mut source, &mut readiness).await?;
    if seen.published.is_none() && !seen.layouts.is_empty() && !before.goes_on() {
        absent_publication(&mut source, warehouse, &seen, &mut readiness).await?;
    }
    columns(&mut source, warehouse, &seen, &mut readiness).await?;
    slots(&mut source, warehouse, position.as_ref(), &former, &seen.site, &mut readiness).await?;
    transactions(&mut source, &mut readiness).await?;
    Ok(readiness.sorted())
}

/// The functions that a capture calls: anybody's, unless somebody has taken them away.
async fn functions(source: &mut PgConnection, readiness: &mut Readiness) -> Result<()> {
    let unasked = || "cannot ask the source for the role's privileges".to_owned();
    let rows = sqlx::query(
        "SELECT function.oid::regprocedure::text AS function, current_user::text AS role
        FROM pg_proc AS function
        WHERE function.pronamespace = 'pg_catalog'::regnamespace
        AND function.proname IN (
            'pg_create_logical_replication_slot',
            'pg_logical_slot_peek_binary_changes',
            'pg_replication_slot_advance',
            'pg_drop_replication_slot',
            'pg_current_wal_flush_lsn',
            'pg_current_wal_insert_lsn'
        )
        AND NOT has_function_privilege(function.oid, 'EXECUTE')
        ORDER BY 1",
    )
    .fetch_all(source)
    .await
    .during(unasked)?;
    for row in &rows {
        let function: String = row.try_get("function").during(unasked)?;
        let role: String = row.try_get("role").during(unasked)?;
        readiness.stops(
            format!("the role `{role}` may not call `{function}`"),
            format!("GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {};", quote::identifier(&role)),
        );
    }
    Ok(())
}

/// In which encoding the source's texts are: what lands is UTF-8.
async fn encoding(source: &mut PgConnection, readiness: &mut Readiness) -> Result<()> {
    let encoding: String = sqlx::query_scalar("SELECT current_setting('server_encoding')")
        .fetch_one(source)
        .await
        .during(|| "cannot ask the source for its encoding".to_owned())?;
    if encoding == "SQL_ASCII" {
        readiness.warns(
            "its encoding is SQL_ASCII, which takes any bytes: one value that is no UTF-8, and nothing lands any more",
            "have its clients write UTF-8 alone, or dump it and restore it into a database with ENCODING 'UTF8'",
        );
    }
    Ok(())
}

/// The first run creates the publication, where it may.
async fn absent_publication(
    source: &mut PgConnection,
    warehouse: &Warehouse,
    seen: &Seen,
    readiness: &mut Readiness,
) -> Result<()> {
    let name = &warehouse.source.publication;
    let tables: Vec<String> = seen.layouts.keys().map(quote::name).collect();
    let may: bool = sqlx::query_scalar(
        "SELECT has_database_privilege(current_database(), 'CREATE') AND (
            SELECT coalesce(bool_and(pg_has_role(relation.relowner, 'USAGE')), true)
            FROM unnest($1::text[]) AS captured (name)
            JOIN pg_class AS relation ON relation.oid = to_regclass(captured.name)
        )",
    )
    .bind(tables)
    .fetch_one(source)
    .await
    .during(|| "cannot ask the source who owns its tables".to_owned())?;
    if may {
        readiness.facts.push(format!("publication `{name}` is absent: the first run creates it"));
    } else {
        readiness.stops(
            format!("publication `{name}` is absent, and the role may not create it"),
            format!("{};", publication::create_sql(name, &seen.layouts, seen.version)),
        );
    }
    Ok(())
}

/// Columns that land only sometimes, or never; tables whose rows are hidden.
async fn columns(
    source: &mut PgConnection,
    warehouse: &Warehouse,
    seen: &Seen,
    readiness: &mut Readiness,
) -> Result<()> {
    let unasked = || "cannot ask the source for its columns".to_owned();
    let captured: Vec<String> = seen.layouts.keys().map(quote::name).collect();
    let rows = sqlx::query(
        "WITH captured AS (
            SELECT to_regclass(name)::oid AS oid
            FROM unnest($1::text[]) AS captured (name)
        ),
        logged AS (
            SELECT oid FROM captured
            UNION
            SELECT tree.relid FROM captured, pg_partition_tree(captured.oid) AS tree WHERE tree.isleaf
        )
        SELECT
            format('%s.%s', space.nspname, relation.relname) AS name,
            format('%I.%I', space.nspname, relation.relname) AS quoted,
            current_user::text AS role,
            row_security_active(relation.oid) AND relation.oid IN (SELECT oid FROM captured) AS hidden,
            array_agg(attribute.attname::text ORDER BY attribute.attnum) FILTER (
                WHERE relation.relreplident <> 'f' AND relation.relkind = 'r'
                AND attribute.attlen = -1 AND attribute.attstorage <> 'p'
            ) AS large,
            array_agg(attribute.attname::text ORDER BY attribute.attnum) FILTER (
                WHERE attribute.attgenerated <> '' AND relation.oid IN (SELECT oid FROM captured)
            ) AS generated
        FROM logged
        JOIN pg_class AS relation ON relation.oid = logged.oid
        JOIN pg_namespace AS space ON space.oid = relation.relnamespace
        JOIN pg_attribute AS attribute
            ON attribute.attrelid = relation.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
        GROUP BY relation.oid, space.nspname, relation.relname
        ORDER BY 1",
    )
    .bind(captured)
    .fetch_all(source)
    .await
    .during(unasked)?;
    for row in &rows {
        let name: String = row.try_get("name").during(unasked)?;
        let quoted: String = row.try_get("quoted").during(unasked)?;
        if row.try_get("hidden").during(unasked)? {
            let role: String = row.try_get("role").during(unasked)?;
            readiness.stops(
                format!("row security hides rows of `{name}` from the role `{role}`"),
                format!("ALTER ROLE {} BYPASSRLS;", quote::identifier(&role)),
            );
        }
        if let Some(large) = row.try_get::<Option<Vec<String>>, _>("large").during(unasked)? {
            readiness.warns(
                format!(
                    "an update of `{name}` leaves out large values that it does not change ({}): each is looked \
                     up in bronze",
                    list(&large)
                ),
                format!("ALTER TABLE {quoted} REPLICA IDENTITY FULL;"),
            );
        }
        let generated: Option<Vec<String>> = row.try_get("generated").during(unasked)?;
        let published = |column: &String| {
            let tables = seen.published.iter().flatten();
            tables.filter(|(table, _)| table.to_string() == name).any(|(_, known)| known.contains(column))
        };
        let unpublished: Vec<String> =
            generated.unwrap_or_default().into_iter().filter(|column| !published(column)).collect();
        if !unpublished.is_empty() {
            readiness.warns(
                format!("generated columns of `{name}` do not land ({})", list(&unpublished)),
                if seen.version < publication::TELLS_GENERATED {
                    "compute them in the warehouse, or capture from PostgreSQL 18, which can publish them"
                        .to_owned()
                } else {
                    format!(
                        "ALTER PUBLICATION {} SET (publish_generated_columns = stored);",
                        quote::identifier(&warehouse.source.publication)
                    )
                },
            );
        }
    }
    Ok(())
}

fn list(columns: &[String]) -> String {
    let shown: Vec<String> = columns.iter().map(|column| format!("`{column}`")).collect();
    shown.join(", ")
}

/// The slot, where there is one; else whether there is room for it. And how much log it may keep.
async fn slots(
    source: &mut PgConnection,
    warehouse: &Warehouse,
    position: Option<&SourcePosition>,
    former: &[Former],
    site: &Site,
    readiness: &mut Readiness,
) -> Result<()> {
    let unasked = || "cannot ask the source for its slots".to_owned();
    let row = sqlx::query(
        "SELECT
            current_setting('server_version') AS release,
            current_database()::text AS database,
            current_user::text AS role,
            current_setting('wal_level') AS wal_level,
            current_setting('max_replication_slots')::bigint AS slots,
            (SELECT count(*) FROM pg_replication_slots) AS slots_used,
            current_setting('max_wal_senders')::bigint AS senders,
            (SELECT count(*) FROM pg_stat_replication) AS senders_used,
            current_setting('max_slot_wal_keep_size') AS keep_size,
            current_setting('output_plugin_libraries', true) AS plugins",
    )
    .fetch_one(&mut *source)
    .await
    .during(unasked)?;
    let text = |column: &str| row.try_get::<String, _>(column).during(unasked);
    let number = |column: &str| row.try_get::<i64, _>(column).during(unasked);
    let (slots, used) = (number("slots")?, number("slots_used")?);
    let keep_size = text("keep_size")?;
    readiness.facts.push(format!(
        "PostgreSQL {}, database `{}`, role `{}`",
        text("release")?,
        text("database")?,
        text("role")?
    ));
    // Another one stops it, and is told there.
    if text("wal_level")? == "logical" {
        readiness.facts.push("`wal_level` is `logical`".to_owned());
    }
    readiness.facts.push(match row.try_get::<Option<String>, _>("plugins").during(unasked)? {
        Some(plugins) => format!("plugin `pgoutput` is built in; others allowed: `{plugins}`"),
        None => "plugin `pgoutput` is built in".to_owned(),
    });
    readiness.facts.push(format!("{used} of {slots} replication slots are taken"));
    readiness.facts.push(format!(
        "{} of {} WAL senders are taken; a capture takes none",
        number("senders_used")?,
        number("senders")?
    ));
    if keep_size == "-1" {
        readiness.warns(
            "`max_slot_wal_keep_size` is unlimited: while nothing is captured the log fills the source's disk",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf(); -- what the disk can spare",
        );
    } else {
        readiness.facts.push(format!("a slot may keep {keep_size} of log (`max_slot_wal_keep_size`)"));
    }

    let (name, plugin) = (&warehouse.source.slot, warehouse.source.plugin);
    let Some(found) = slot::find(source, name).await? else {
        let is_streaming = position.is_some_and(|position| position.state == State::Streaming);
        let was_here = position
            .is_some_and(|position| position.site.timeline != ASKED && position.site.is_same_database(site));
        match position {
            Some(_) if is_streaming && was_here => {
                readiness
                    .stops(format!("replication slot `{name}` is gone, and with it the changes since"), super::RESNAPSHOT);
            }
            _ if used >= slots => readiness.stops(
                format!("no replication slot is left for `{name}`"),
                format!(
                    "ALTER SYSTEM SET max_replication_slots = {}; -- then restart the source; or drop one that nobody needs",
                    slots + 4
                ),
            ),
            _ if is_streaming => {
                readiness.facts.push(format!("slot `{name}` is absent: who goes on from here creates it"));
            }
            _ => readiness.facts.push(format!("slot `{name}` is absent: the first run creates it")),
        }
        return Ok(());
    };
    let Some(position) = position else {
        readiness.stops(
            format!("replication slot `{name}` exists, and this warehouse has not made it"),
            format!(
                "SELECT pg_drop_replication_slot({}); -- if nobody needs it, or name another in the spec",
                quote::literal(name)
            ),
        );
        return Ok(());
    };
    // Positions of one site mean nothing at another.
    if position.state == State::Streaming && position.site == *site {
        let flushed = slot::flushed(source).await?;
        let checked =
            found.check(name, position, plugin).and_then(|()| Slot::check_reached(flushed, position));
        let held = slot::find(source, &hold::slot_name(name)).await?;
        if checked.is_err() && held.is_some_and(|held| held.check(name, position, plugin).is_ok()) {
            readiness.facts.push(format!("slot `{name}` goes on from where the log is held back"));
        } else if let Err(error) = checked {
            readiness.stops(error.what(), error.way_out().unwrap_or_default());
        }
    } else if let Err(error) = begin::refuse_other(name, &found, Some(position), former, site) {
        readiness.stops(error.what(), error.way_out().unwrap_or_default());
    } else if !position.site.is_same_database(site) {
        readiness.facts.push(format!("slot `{name}` is as this warehouse left it: it is made anew"));
    }
    if found.is_short_of_log() {
        readiness.warns(
            format!("replication slot `{name}` keeps more log than it may: the next checkpoint can end it"),
            "run `medallion run` at once, then raise `max_slot_wal_keep_size`",
        );
    }
    Ok(())
}

/// What is left open keeps a new slot from starting, and the log of an old one from being forgotten.
async fn transactions(source: &mut PgConnection, readiness: &mut Readiness) -> Result<()> {
    let unasked = || "cannot ask the source for its open transactions".to_owned();
    let sql = format!(
        "SELECT what, remedy, date_trunc('second', age)::text AS age
        FROM (
            SELECT
                format('transaction of process %s', pid) AS what,
                format('SELECT pg_terminate_backend(%s); -- if it was forgotten', pid) AS remedy,
                clock_timestamp() - xact_start AS age
            FROM pg_stat_activity
            WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
            UNION ALL
            SELECT
                format('prepared transaction `%s`', gid),
                format('ROLLBACK PREPARED %L; -- or commit it, in database %I', gid, database),
                clock_timestamp() - prepared
            FROM pg_prepared_xacts
        ) AS open
        WHERE age > interval '{OLD}'
        ORDER BY open.age DESC
        LIMIT 3"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(source).await.during(unasked)?;
    for row in &rows {
        let text = |column: &str| row.try_get::<String, _>(column).during(unasked);
        readiness.warns(
            format!(
                "a {} has been open for {}: until it ends no slot starts, and the log since is kept",
                text("what")?,
                text("age")?
            ),
            text("remedy")?,
        );
    }
    Ok(())
}
