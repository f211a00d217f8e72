//! Migrates the warehouse: sea-orm-migration's verbs, under the lock that `run` takes, with the checks
//! that keep another warehouse's database, or one of another shape, from being written to.

mod beside;
mod patience;

use sea_orm::{DatabaseConnection, SqlxPostgresConnector};
use sea_orm_migration::{MigrationStatus, MigrationTrait, MigratorTraitSelf};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor as _, PgConnection, Row as _};

use crate::apart::{self, attach};
use crate::capture::hold;
use crate::connection::{self, Database};
use crate::descriptor::Warehouse;
use crate::error::{During as _, Error, Result};
use crate::place::Place;
use crate::{lock, quote, statement};

pub use beside::by_itself;
pub use patience::Patience;
use patience::Work;

/// How long the session that looks after a migration waits for what somebody else uses.
const PATIENCE: &str = "SET lock_timeout = '10s'";

/// One migration and whether the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The migration's name.
    pub name: String,
    /// Whether it was applied.
    pub applied: bool,
}

/// What a pending migration risks, and the spec did not allow when it was generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The migration's name.
    pub migration: String,
    /// The relation and the hazard, as the spec would allow it.
    pub what: String,
}

/// Who is told what a migration waits for.
pub type Say<'a> = &'a mut (dyn FnMut(&str) + Send);

/// Applies what is pending; returns the names.
pub async fn up(warehouse: &Warehouse, place: &Place) -> Result<Vec<String>> {
    up_patiently(warehouse, place, Patience::default(), &mut |_| ()).await
}

/// The same, as patiently as is asked for; says what it waits for.
pub async fn up_patiently(
    warehouse: &Warehouse,
    place: &Place,
    patience: Patience,
    say: Say<'_>,
) -> Result<Vec<String>> {
    let mut guard = guard(warehouse, Database::Warehouse, &place.warehouse).await?;
    let names = up_both(warehouse, place, &mut guard, patience, say).await?;
    check(warehouse, &mut guard).await?;
    Ok(names)
}

/// Makes the objects in one database, also where the spec has bronze apart.
pub(crate) async fn up_as_one(warehouse: &Warehouse, url: &str) -> Result<()> {
    let mut guard = guard(warehouse, Database::Warehouse, url).await?;
    up_locked(warehouse, (Database::Warehouse, url), &mut guard, Patience::default(), &mut |_| ()).await?;
    if warehouse.is_bronze_apart() {
        attach::keep(&mut guard).await?;
    }
    Ok(())
}

/// Brings the databases up: first that which changes land in, where it is another one. In between the warehouse does not
/// look like one that has nothing landed, for its objects are not yet those of this binary, or bronze is not attached.
async fn up_both(
    warehouse: &Warehouse,
    place: &Place,
    guard: &mut PgConnection,
    patience: Patience,
    say: Say<'_>,
) -> Result<Vec<String>> {
    let here = (Database::Warehouse, place.warehouse.as_str());
    let Some(url) = apart::url(warehouse, place)? else {
        return up_locked(warehouse, here, guard, patience, say).await;
    };
    attach::refuse_same(guard, url).await?;
    let mut bronze = self::guard(warehouse, Database::Bronze, url).await?;
    let there = up_locked(warehouse, (Database::Bronze, url), &mut bronze, patience, &mut *say).await?;
    if states_of(warehouse, here).await?.iter().any(|state| !state.applied) {
        attach::detach(guard).await?;
    }
    let mut names = up_locked(warehouse, here, guard, patience, say).await?;
    attach::attach(warehouse, url, guard).await?;
    names.extend(there);
    names.sort();
    names.dedup();
    Ok(names)
}

/// What pending migrations risk that is not allowed. A database that has none of them yet holds nothing to lose.
pub async fn refused(warehouse: &Warehouse, place: &Place) -> Result<Vec<Refused>> {
    if warehouse.refused.is_empty() {
        return Ok(Vec::new());
    }
    let states = states(warehouse, place).await?;
    if states.iter().all(|state| !state.applied) {
        return Ok(Vec::new());
    }
    let is_pending = |name: &str| states.iter().any(|state| !state.applied && state.name == name);
    let pending = warehouse.refused.iter().filter(|(migration, _)| is_pending(migration));
    Ok(pending
        .map(|(migration, what)| Refused { migration: (*migration).to_owned(), what: (*what).to_owned() })
        .collect())
}

/// The session that keeps the lock while migrations are at work.
async fn guard(warehouse: &Warehouse, database: Database, url: &str) -> Result<PgConnection> {
    let mut guard = connection::connect(database, url).await?;
    statement::execute(&mut guard, PATIENCE).await?;
    lock::migrate_alone(&mut guard).await?;
    lock::take(&mut guard).await?;
    refuse_another(warehouse, &mut guard).await?;
    Ok(guard)
}

async fn up_locked(
    warehouse: &Warehouse,
    at: (Database, &str),
    guard: &mut PgConnection,
    patience: Patience,
    say: Say<'_>,
) -> Result<Vec<String>> {
    guard
        .execute("CREATE SCHEMA IF NOT EXISTS medallion")
        .await
        .during(|| "cannot create schema `medallion`".to_owned())?;
    let database = open(at).await?;
    let migrator = Migrator(warehouse.migrations);
    let pending = migrator
        .get_pending_migrations(&database)
        .await
        .during(|| "cannot tell which migrations are pending".to_owned())?;
    let pending: Vec<String> = pending.iter().map(|migration| migration.name().to_owned()).collect();
    let mut is_taken = true;
    for name in &pending {
        let in_transaction = in_transaction(warehouse, name);
        // What is built beside others takes its time, and nobody has to wait for it, the loader neither.
        if is_taken != in_transaction {
            match in_transaction {
                true => lock::take(guard).await?,
                false => lock::release(guard).await?,
            }
            is_taken = in_transaction;
        }
        let mut work = Work { database: &database, guard: &mut *guard, patience, say: &mut *say };
        let failed = match in_transaction {
            true => format!("migration `{name}` failed: it was rolled back as a whole"),
            false => format!("migration `{name}` failed half-way: the next try begins it anew"),
        };
        work.persist(name, &failed, in_transaction, || migrator.up(&database, Some(1))).await?;
    }
    drop(database);
    check_objects(warehouse, guard).await?;
    Ok(pending)
}

/// Whether a migration happens as a whole or not at all. Indexes that nobody waits for are built otherwise.
fn in_transaction(warehouse: &Warehouse, migration: &str) -> bool {
    let migrations = (warehouse.migrations)();
    migrations.iter().all(|one| one.name() != migration || one.use_transaction() != Some(false))
}

/// Takes back the last migration that there is, where bronze stands apart in either database; returns its name, or none
/// when there was none.
pub async fn down(warehouse: &Warehouse, place: &Place) -> Result<Option<String>> {
    down_patiently(warehouse, place, Patience::default(), &mut |_| ()).await
}

/// The same, with another patience; tells whom it waits for.
pub async fn down_patiently(
    warehouse: &Warehouse,
    place: &Place,
    patience: Patience,
    say: Say<'_>,
) -> Result<Option<String>> {
    let here = (Database::Warehouse, place.warehouse.as_str());
    let mut guard = guard(warehouse, here.0, here.1).await?;
    let apart = apart::url(warehouse, place)?;
    let mut bronze = match apart {
        Some(url) => Some(self::guard(warehouse, Database::Bronze, url).await?),
        None => None,
    };
    // One that only one of them has is the last, and is taken back there alone.
    let states = states_as(warehouse, place, |here, there| here || there).await?;
    let Some(last) = states.iter().rev().find(|state| state.applied) else {
        return Ok(None);
    };
    // What is built on the warehouse can keep it in place: the slots go after it, but the source must be
    // there, or they would stay behind.
    let slots = slots(bronze.as_mut().unwrap_or(&mut guard)).await?;
    let is_first = last.name == states[0].name;
    let source = if is_first { source_of(place, &slots).await? } else { None };
    match (&bronze, is_first) {
        (None, _) => {}
        (Some(_), true) => attach::remove(&mut guard).await?,
        (Some(_), false) => attach::detach(&mut guard).await?,
    }
    for (at, guard) in
        [Some((here, &mut guard)), apart.map(|url| (Database::Bronze, url)).zip(bronze.as_mut())]
            .into_iter()
            .flatten()
    {
        let applied = states_of(warehouse, at).await?.into_iter().rfind(|state| state.applied);
        if applied.is_none_or(|state| state.name != last.name) {
            continue;
        }
        let database = open(at).await?;
        let migrator = Migrator(warehouse.migrations);
        let in_transaction = in_transaction(warehouse, &last.name);
        let mut work = Work { database: &database, guard, patience, say: &mut *say };
        let failed = format!("migration `{}` was not taken back", last.name);
        work.persist(&last.name, &failed, in_transaction, || migrator.down(&database, Some(1))).await?;
    }
    if let Some(mut source) = source {
        release(&mut source, &slots).await?;
    }
    Ok(Some(last.name.clone()))
}

/// Drops the whole warehouse, its slot at the source included, and migrates anew.
pub async fn fresh(warehouse: &Warehouse, place: &Place) -> Result<Vec<String>> {
    let mut guard = guard(warehouse, Database::Warehouse, &place.warehouse).await?;
    let mut bronze = match apart::url(warehouse, place)? {
        Some(url) => Some(self::guard(warehouse, Database::Bronze, url).await?),
        None => None,
    };
    let mut schemas = warehouse.schemas.clone();
    schemas.extend(warehouse.landings.iter().map(|landing| landing.table.schema.as_str()));
    schemas.extend(["as_of", "medallion"]);
    schemas.sort_unstable();
    schemas.dedup();
    if schemas.contains(&"public") {
        return Err(Error::new("schema `public` is nobody's own, and is not dropped")
            .remedy("`medallion migrate down --yes`, then `medallion migrate up`"));
    }
    for guard in std::iter::once(&mut guard).chain(&mut bronze) {
        if identity(guard).await?.is_none() {
            refuse_foreign(guard, &schemas).await?;
        }
    }
    let slots = slots(bronze.as_mut().unwrap_or(&mut guard)).await?;
    if let Some(mut source) = source_of(place, &slots).await? {
        release(&mut source, &slots).await?;
    }
    let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", quote::list("", &schemas));
    attach::remove(&mut guard).await?;
    for guard in std::iter::once(&mut guard).chain(&mut bronze) {
        guard
            .execute(sqlx::AssertSqlSafe(drop.clone()))
            .await
            .during(|| "cannot drop the warehouse's schemas".to_owned())?;
    }
    // Its lock is taken again.
    std::mem::drop(bronze);
    let names = up_both(warehouse, place, &mut guard, Patience::default(), &mut |_| ()).await?;
    check(warehouse, &mut guard).await?;
    Ok(names)
}

/// The migrations, first to last, and whether the database has them; where bronze stands apart, both.
pub async fn states(warehouse: &Warehouse, place: &Place) -> Result<Vec<State>> {
    states_as(warehouse, place, |here, there| here && there).await
}

/// The same, where bronze stands apart as is made of what each of both has.
async fn states_as(
    warehouse: &Warehouse,
    place: &Place,
    of: impl Fn(bool, bool) -> bool,
) -> Result<Vec<State>> {
    let mut states = states_of(warehouse, (Database::Warehouse, &place.warehouse)).await?;
    if let Some(url) = apart::url(warehouse, place)? {
        let there = states_of(warehouse, (Database::Bronze, url)).await?;
        for (state, there) in states.iter_mut().zip(there) {
            state.applied = of(state.applied, there.applied);
        }
    }
    Ok(states)
}

async fn states_of(warehouse: &Warehouse, at: (Database, &str)) -> Result<Vec<State>> {
    let mut connection = connection::connect(at.0, at.1).await?;
    refuse_another(warehouse, &mut connection).await?;
    // sea-orm-migration takes a table that the role may not read for one that does not exist.
    if exists(&mut connection, "medallion.seaql_migrations").await? {
        connection
            .execute("SELECT FROM medallion.seaql_migrations LIMIT 1")
            .await
            .during(|| "cannot read which migrations the database has".to_owned())?;
    }
    let database = open(at).await?;
    let migrations = Migrator(warehouse.migrations)
        .get_migration_with_status_read_only(&database)
        .await
        .during(|| "cannot read the migrations' state".to_owned())?;
    Ok(migrations
        .iter()
        .map(|migration| State {
            name: migration.name().to_owned(),
            applied: migration.status() == MigrationStatus::Applied,
        })
        .collect())
}

/// Refuses a database that is not what this warehouse's migrations make of it, or lacks its bronze.
pub async fn check(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<()> {
    check_objects(warehouse, connection).await?;
    attach::check(warehouse, connection).await
}

/// Refuses a database that is not what this warehouse's migrations make of it.
pub(crate) async fn check_objects(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<()> {
    let Some(Identity { objects_hash, attached, .. }) = identity(connection).await? else {
        return Err(Error::new(format!("the database does not hold warehouse `{}` yet", warehouse.name))
            .remedy("run `medallion migrate up`"));
    };
    refuse_another(warehouse, connection).await?;
    if attached && !warehouse.is_bronze_apart() {
        return Err(attach::refuse_attached());
    }
    if objects_hash != warehouse.objects_hash {
        return Err(Error::new("the database's objects are not those that this binary was built for")
            .remedy(
                "run `medallion migrate up`; where it finds nothing to do, the migrations were squashed: \
                 `medallion migrate fresh --yes` builds the warehouse anew from its source",
            ));
    }
    Ok(())
}

async fn refuse_another(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<()> {
    match identity(connection).await? {
        Some(Identity { name, .. }) if name != warehouse.name => Err(Error::new(format!(
            "the database holds another warehouse, `{name}`, and one database holds one warehouse"
        ))
        .remedy(format!("give `{}` a database of its own in DATABASE_URL", warehouse.name))),
        _ => Ok(()),
    }
}

/// Refuses schemas of our names with something in them that no migration of ours made.
async fn refuse_foreign(connection: &mut PgConnection, schemas: &[&str]) -> Result<()> {
    let row = sqlx::query(
        "SELECT pg_describe_object(member.classid, member.objid, 0) \
         FROM pg_namespace AS schema \
         JOIN pg_depend AS member ON member.refclassid = 'pg_namespace'::regclass \
         AND member.refobjid = schema.oid \
         WHERE schema.nspname = ANY ($1::text[]) \
         AND member.objid IS DISTINCT FROM to_regclass('medallion.seaql_migrations')::oid \
         ORDER BY 1 \
         LIMIT 1",
    )
    .bind(schemas)
    .fetch_optional(connection)
    .await
    .during(|| "cannot tell what the schemas hold".to_owned())?;
    let Some(row) = row else {
        return Ok(());
    };
    Err(Error::new(format!(
        "the database holds no warehouse, and `fresh` would drop what is not ours: {}",
        row.get::<String, _>(0)
    ))
    .remedy(format!(
        "correct DATABASE_URL; or move away what stands in the schemas {}, then `medallion migrate up`",
        schemas.join(", ")
    )))
}

/// The warehouse that a database holds.
struct Identity {
    name: String,
    /// The hash of its objects.
    objects_hash: String,
    /// Whether bronze stands apart from it.
    attached: bool,
}

async fn identity(connection: &mut PgConnection) -> Result<Option<Identity>> {
    if !exists(connection, "medallion.warehouse").await? {
        return Ok(None);
    }
    let row = sqlx::query(
        "SELECT name, objects_hash, to_regnamespace('medallion_bronze') IS NOT NULL FROM medallion.warehouse",
    )
    .fetch_optional(connection)
    .await
    .during(|| "cannot read which warehouse the database holds".to_owned())?;
    Ok(row.map(|row| Identity { name: row.get(0), objects_hash: row.get(1), attached: row.get(2) }))
}

async fn exists(connection: &mut PgConnection, table: &str) -> Result<bool> {
    let row = sqlx::query("SELECT to_regclass($1) IS NOT NULL")
        .bind(table)
        .fetch_one(connection)
        .await
        .during(|| format!("cannot look for `{table}` in the warehouse"))?;
    Ok(row.get(0))
}

async fn slots(connection: &mut PgConnection) -> Result<Vec<String>> {
    if !exists(connection, "medallion.source_position").await? {
        return Ok(Vec::new());
    }
    let rows = sqlx::query("SELECT slot FROM medallion.source_position ORDER BY slot")
        .fetch_all(connection)
        .await
        .during(|| "cannot read which slots the warehouse has".to_owned())?;
    let named = rows.iter().flat_map(|row| {
        let name: String = row.get(0);
        [hold::slot_name(&name), name]
    });
    Ok(named.collect())
}

/// A session at the source, where the warehouse has slots there.
async fn source_of(place: &Place, slots: &[String]) -> Result<Option<PgConnection>> {
    if slots.is_empty() {
        return Ok(None);
    }
    connection::connect(Database::Source, &place.source).await.map(Some)
}

/// Drops the warehouse's slots at the source: left behind, they would keep its WAL for ever.
async fn release(source: &mut PgConnection, slots: &[String]) -> Result<()> {
    for slot in slots {
        sqlx::query(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
             WHERE slot_name = $1 AND database = current_database()",
        )
        .bind(slot)
        .execute(&mut *source)
        .await
        .during(|| format!("cannot drop slot `{slot}` at the source"))?;
    }
    Ok(())
}

async fn open((database, url): (Database, &str)) -> Result<DatabaseConnection> {
    let options = connection::options(database, url)?;
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection::pin(connection).await?;
                // sea-orm-migration's own table stands in the tool's schema.
                connection.execute("SET search_path = medallion").await.map(drop)
            })
        })
        .connect_with(options)
        .await
        .during(|| format!("cannot connect to the {}", database.noun()))?;
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}

struct Migrator(fn() -> Vec<Box<dyn MigrationTrait>>);

impl MigratorTraitSelf for Migrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        (self.0)()
    }
}
