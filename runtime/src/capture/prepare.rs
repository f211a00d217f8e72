//! Makes a source ready to be captured, and takes back what that made: the role with the least that a capture
//! needs, replica identities, the publication, the slot. Says its SQL before it runs it; what stands already is
//! left alone. Keeps no password: the role's is for its owner to set.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};

use super::position::{self, Lock};
use super::preflight::{self, Before, Layout, Problems, Seen, Site};
use super::{ASKED, Progress, hold, identity, publication, slot};
use crate::descriptor::{Name, Plugin, Warehouse};
use crate::error::{During as _, Error, Result};
use crate::{quote, statement};

/// What shall be done at a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Statements of one transaction, without their semicolons.
    pub together: Vec<String>,
    /// The slots to create or drop, each of which takes a transaction of its own.
    pub slots: Vec<String>,
    /// What to know besides.
    pub notes: Vec<String>,
    plugin: Plugin,
    site: Option<Site>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.together.is_empty() && self.slots.is_empty()
    }
}

/// The first line of the comment on a publication that `prepare` made; the rest says what else it made.
const MARK: &str = "made by medallion source prepare";

/// What `prepare` made, as the publication's comment tells it.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Made {
    /// The role, if it is new.
    role: Option<String>,
    /// What takes the rest back.
    back: Vec<String>,
}

/// What makes a source ready for a role, by default the one that the loader connects as.
pub async fn plan(
    warehouse: &Warehouse,
    source: &mut PgConnection,
    target: Option<&mut PgConnection>,
    role: Option<&str>,
) -> Result<Plan> {
    if !warehouse.reads_log() {
        return plan_polled(warehouse, source, role).await;
    }
    let mut plan = Plan::default();
    // What is wrong is what is to be made; what cannot be made is told by `check`.
    let mut problems = Problems::default();
    let seen = preflight::look(source, warehouse, &Before::Nothing, &mut problems).await?;
    let absent: Vec<String> = warehouse
        .captured()
        .iter()
        .filter(|landing| !seen.layouts.contains_key(&landing.source))
        .map(|landing| format!("`{}`", landing.source))
        .collect();
    if !absent.is_empty() {
        return Err(Error::new(format!("the source has no table {}", absent.join(", "))).remedy(
            "is SOURCE_DATABASE_URL the database that the spec describes? correct one or the other",
        ));
    }
    let mut made = Made::default();
    if let Some(role) = role {
        let mut read = seen.layouts.clone();
        let copied = warehouse.landings.iter().filter(|landing| landing.snapshots().is_some());
        for landing in copied {
            read.entry(landing.source.clone()).or_insert(Layout::Plain);
        }
        if let Some(log) = &seen.recorded_log {
            read.entry(log.clone()).or_insert(Layout::Plain);
        }
        grant(source, role, Reads::Log, &read, &mut plan, &mut made).await?;
    }
    identities(source, warehouse, &seen.layouts, &mut plan, &mut made).await?;
    publish(source, warehouse, &seen, &made, &mut plan).await?;
    plan.site = Some(seen.site);
    place_slot(warehouse, source, target, &mut plan).await?;
    Ok(plan)
}

/// What makes a source ready to be polled: its role has to read the tables, and nothing else.
async fn plan_polled(warehouse: &Warehouse, source: &mut PgConnection, role: Option<&str>) -> Result<Plan> {
    let mut plan = Plan::default();
    let Some(role) = role else { return Ok(plan) };
    let names = warehouse.captured().iter().map(|landing| (landing.source.clone(), Layout::Plain)).collect();
    grant(source, role, Reads::Tables, &names, &mut plan, &mut Made::default()).await?;
    Ok(plan)
}

/// What a capture's role reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    /// The server's log, and the tables.
    Log,
    /// The tables.
    Tables,
}

/// The role, and what it lacks.
async fn grant(
    source: &mut PgConnection,
    role: &str,
    reads: Reads,
    tables: &BTreeMap<Name, Layout>,
    plan: &mut Plan,
    made: &mut Made,
) -> Result<()> {
    let unasked = || format!("cannot ask the source for role `{role}`");
    let quoted = quote::identifier(role);
    let row = sqlx::query(
        "SELECT
            current_database()::text AS database,
            EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_replication') AS is_managed,
            EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS is_there,
            coalesce((SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = $1), false) AS replicates,
            coalesce(
                (SELECT has_database_privilege(oid, current_database(), 'CONNECT') FROM pg_roles WHERE rolname = $1),
                has_database_privilege('public', current_database(), 'CONNECT')
            ) AS connects",
    )
    .bind(role)
    .fetch_one(&mut *source)
    .await
    .during(unasked)?;
    let is = |column: &str| row.try_get::<bool, _>(column).during(unasked);
    let is_there = is("is_there")?;
    let is_managed = reads == Reads::Log && is("is_managed")?;
    if !is_there {
        let replication = if is_managed || reads == Reads::Tables { "" } else { " REPLICATION" };
        plan.together.push(format!("CREATE ROLE {quoted} LOGIN{replication}"));
        made.role = Some(role.to_owned());
        plan.notes.push(format!("give the new role its password in psql: \\password {role}"));
    } else if reads == Reads::Log && !is("replicates")? && !is_managed {
        plan.together.push(format!("ALTER ROLE {quoted} REPLICATION"));
    }
    if is_managed {
        plan.together.push(format!("GRANT rds_replication TO {quoted}"));
    }
    if !is("connects")? {
        let database: String = row.try_get("database").during(unasked)?;
        plan.together.push(format!("GRANT CONNECT ON DATABASE {} TO {quoted}", quote::identifier(&database)));
    }
    // One that is not there yet will have what everybody has.
    let like = if is_there { role } else { "public" };
    let mut schemas: Vec<&str> = tables.keys().map(|name| name.schema.as_str()).collect();
    schemas.dedup();
    for schema in schemas {
        if lacks(source, like, "has_schema_privilege", schema, "USAGE").await? {
            let schema = quote::identifier(schema);
            plan.together.push(format!("GRANT USAGE ON SCHEMA {schema} TO {quoted}"));
            made.back.push(format!("REVOKE USAGE ON SCHEMA {schema} FROM {quoted}"));
        }
    }
    let mut unread = Vec::new();
    for table in tables.keys() {
        let table = quote::name(table);
        if lacks(source, like, "has_table_privilege", &table, "SELECT").await? {
            unread.push(table);
        }
    }
    if !unread.is_empty() {
        let unread = unread.join(", ");
        plan.together.push(format!("GRANT SELECT ON {unread} TO {quoted}"));
        made.back.push(format!("REVOKE SELECT ON {unread} FROM {quoted}"));
    }
    Ok(())
}

async fn lacks(
    source: &mut PgConnection,
    role: &str,
    function: &str,
    object: &str,
    privilege: &str,
) -> Result<bool> {
    let sql = format!("SELECT NOT {function}($1, $2, $3)");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(role)
        .bind(object)
        .bind(privilege)
        .fetch_one(source)
        .await
        .during(|| format!("cannot ask the source what role `{role}` may do"))
}

/// Whole old rows in the log, where nothing less tells the key; else what is missing is filled from bronze.
async fn identities(
    source: &mut PgConnection,
    warehouse: &Warehouse,
    tables: &BTreeMap<Name, Layout>,
    plan: &mut Plan,
    made: &mut Made,
) -> Result<()> {
    let unasked = || "cannot ask the source for replica identities".to_owned();
    let mut misfits = Problems::default();
    identity::check(source, warehouse.captured(), &mut misfits).await?;
    let remedies: Vec<String> = misfits.into_list().into_iter().map(|misfit| misfit.remedy).collect();
    let captured: Vec<String> = tables.keys().map(quote::name).collect();
    let rows = sqlx::query(
        "WITH captured AS (
            SELECT to_regclass(name)::oid AS oid FROM unnest($1::text[]) AS captured (name)
        ),
        logged AS (
            SELECT oid FROM captured
            UNION
            SELECT tree.relid FROM captured, pg_partition_tree(captured.oid) AS tree WHERE tree.isleaf
        )
        SELECT
            space.nspname::text AS schema,
            relation.relname::text AS name,
            CASE relation.relreplident
                WHEN 'n' THEN 'NOTHING'
                WHEN 'i' THEN coalesce(
                    'USING INDEX ' || (
                        SELECT quote_ident(index.relname)
                        FROM pg_index
                        JOIN pg_class AS index ON index.oid = indexrelid
                        WHERE indrelid = relation.oid AND indisreplident
                    ),
                    'DEFAULT'
                )
                ELSE 'DEFAULT'
            END AS identity
        FROM logged
        JOIN pg_class AS relation ON relation.oid = logged.oid
        JOIN pg_namespace AS space ON space.oid = relation.relnamespace
        WHERE relation.relreplident <> 'f'
        ORDER BY 1, 2",
    )
    .bind(captured)
    .fetch_all(source)
    .await
    .during(unasked)?;
    for row in &rows {
        let name = Name::new(
            row.try_get::<String, _>("schema").during(unasked)?,
            row.try_get::<String, _>("name").during(unasked)?,
        );
        let table = quote::name(&name);
        let identity: String = row.try_get("identity").during(unasked)?;
        let alter = format!("ALTER TABLE {table} REPLICA IDENTITY FULL");
        if !remedies.contains(&format!("{alter};")) {
            continue;
        }
        plan.together.push(alter);
        made.back.push(format!("ALTER TABLE {table} REPLICA IDENTITY {identity}"));
    }
    Ok(())
}

/// The publication, new or brought up to what it lacks.
async fn publish(
    source: &mut PgConnection,
    warehouse: &Warehouse,
    seen: &Seen,
    made: &Made,
    plan: &mut Plan,
) -> Result<()> {
    let name = &warehouse.source.publication;
    let quoted = quote::identifier(name);
    let mut problems = Problems::default();
    let published =
        publication::look(source, name, &seen.layouts, &Before::Nothing, seen.version, &mut problems).await?;
    if published.is_some() {
        // Each problem of a publication has one statement for its remedy, but for a comment.
        for problem in problems.into_list() {
            let sql = problem.remedy.split("; --").next().unwrap_or_default();
            plan.together.push(sql.trim_end_matches(';').to_owned());
        }
        return Ok(());
    }
    plan.together.push(publication::create_sql(name, &seen.layouts, seen.version));
    let made = serde_json::to_string(made).during(|| "cannot note what was made".to_owned())?;
    plan.together
        .push(format!("COMMENT ON PUBLICATION {quoted} IS {}", quote::literal(&format!("{MARK}\n{made}"))));
    Ok(())
}

/// The slot, where the warehouse can be told that it is its own.
async fn place_slot(
    warehouse: &Warehouse,
    source: &mut PgConnection,
    target: Option<&mut PgConnection>,
    plan: &mut Plan,
) -> Result<()> {
    let name = &warehouse.source.slot;
    if slot::find(source, name).await?.is_some() {
        return Ok(());
    }
    let Some(target) = target else {
        plan.notes.push(format!("the first run makes slot `{name}`: the warehouse is not migrated yet"));
        return Ok(());
    };
    let known = position::read(target, name, Lock::None).await?;
    if let Some(known) = known.filter(|known| known.state == position::State::Streaming) {
        let is_here = |site: &Site| known.site.is_same_database(site);
        plan.notes.push(match plan.site.as_ref().is_some_and(is_here) {
            true if known.site.timeline == ASKED => format!("the next run makes slot `{name}`"),
            true => return Err(slot::gone(name)),
            false => format!(
                "another source is followed so far: `medallion source resnapshot` goes over to this one, and makes \
                 slot `{name}`"
            ),
        });
        return Ok(());
    }
    plan.notes.push(format!(
        "with slot `{name}` the source keeps its log until it is read: `medallion run` next, or `medallion source drop`"
    ));
    plan.slots.push(name.clone());
    plan.plugin = warehouse.source.plugin;
    Ok(())
}

/// Carries a plan of [`plan`] out.
pub async fn prepare(
    plan: &Plan,
    source: &mut PgConnection,
    target: Option<&mut PgConnection>,
    progress: &mut dyn Progress,
) -> Result<()> {
    execute(&plan.together, source).await?;
    if let (Some(name), Some(site), Some(target)) = (plan.slots.first(), &plan.site, target) {
        // Told before it is made: a run takes a slot that it was not told of for somebody else's.
        let known = position::read(target, name, Lock::None).await?;
        let state = known.map_or(position::State::Creating, |known| known.state);
        position::announce(target, name, state, site).await?;
        slot::create(source, name, plan.plugin, false, progress).await?;
    }
    Ok(())
}

async fn execute(statements: &[String], source: &mut PgConnection) -> Result<()> {
    let failed = || "cannot change the source in one transaction".to_owned();
    let mut transaction = source.begin().await.during(failed)?;
    for sql in statements {
        statement::execute(&mut transaction, sql).await.map_err(|error| {
            error.within("the source was left as it was").remedy(format!(
                "connect as who may (SOURCE_DATABASE_URL), or let them run what `--dry-run` prints; it stopped at: {sql};"
            ))
        })?;
    }
    transaction.commit().await.during(failed)
}

/// What takes back what `prepare` and the first run made. Refuses while the slot is in use.
pub async fn plan_drop(warehouse: &Warehouse, source: &mut PgConnection) -> Result<Plan> {
    let mut plan = Plan::default();
    let unasked = || "cannot ask the source for what was made".to_owned();
    let name = &warehouse.source.slot;
    let reader: Option<Option<i32>> = sqlx::query_scalar(
        "SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1 AND database = current_database()",
    )
    .bind(name)
    .fetch_optional(&mut *source)
    .await
    .during(unasked)?;
    match reader {
        Some(Some(pid)) => {
            return Err(Error::new(format!("replication slot `{name}` is in use (server process {pid})"))
                .remedy("stop the loader first; nothing was dropped"));
        }
        Some(None) => plan.slots.push(name.clone()),
        None => {}
    }
    let behind: Option<String> = sqlx::query_scalar(
        "SELECT slot_name::text FROM pg_replication_slots WHERE slot_name = $1 AND database = current_database()",
    )
    .bind(hold::slot_name(name))
    .fetch_optional(&mut *source)
    .await
    .during(unasked)?;
    plan.slots.extend(behind);
    let publication = &warehouse.source.publication;
    let comment: Option<Option<String>> = sqlx::query_scalar(
        "SELECT obj_description(oid, 'pg_publication') FROM pg_publication WHERE pubname = $1",
    )
    .bind(publication)
    .fetch_optional(&mut *source)
    .await
    .during(unasked)?;
    let Some(comment) = comment else {
        return Ok(plan);
    };
    plan.together.push(format!("DROP PUBLICATION {}", quote::identifier(publication)));
    let made: Option<Made> = comment
        .as_deref()
        .and_then(|comment| comment.strip_prefix(MARK))
        .and_then(|made| serde_json::from_str(made).ok());
    let Some(made) = made else {
        plan.notes.push(
            "replica identities and roles stay as they are: `source prepare` has not made them".to_owned(),
        );
        return Ok(plan);
    };
    plan.together.extend(made.back);
    if let Some(role) = made.role {
        let quoted = quote::identifier(&role);
        // What prepare did not give it keeps it from being dropped, and all of this with it.
        plan.together.push(format!("DROP OWNED BY {quoted}"));
        plan.together.push(format!("DROP ROLE {quoted}"));
    }
    Ok(plan)
}

/// Carries a plan of [`plan_drop`] out.
pub async fn drop(plan: &Plan, source: &mut PgConnection) -> Result<()> {
    for name in &plan.slots {
        slot::drop(source, name).await?;
    }
    execute(&plan.together, source).await
}

/// A session at the source.
pub async fn connect(source_url: &str) -> Result<PgConnection> {
    super::connect(source_url).await
}
