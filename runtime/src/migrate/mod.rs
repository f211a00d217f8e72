//! Migrates the warehouse: sea-orm-migration's verbs, under the lock that `run` takes, with the checks
//! that keep another warehouse's database, or one of another shape, from being written to.

mod beside;
mod patience;

use sea_orm::{DatabaseConnection, SqlxPostgresConnector};
use sea_orm_migration::{MigrationStatus, MigrationTrait, MigratorTraitSelf};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor as _, PgConnection, Row as _};

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
    let mut guard = guard(warehouse, place).await?;
    up_locked(warehouse, place, &mut guard, patience, say).await
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
async fn guard(warehouse: &Warehouse, place: &Place) -> Result<PgConnection> {
    let mut guard = connection::connect(Database::Warehouse, &place.warehouse).await?;
    connection::lift_limits(&mut guard).await?;
    statement::execute(&mut guard, PATIENCE).await?;
    lock::migrate_alone(&mut guard).await?;
    lock::take(&mut guard).await?;
    refuse_another(warehouse, &mut guard).await?;
    Ok(guard)
}

async fn up_locked(
    warehouse: &Warehouse,
    place: &Place,
    guard: &mut PgConnection,
    patience: Patience,
    say: Say<'_>,
) -> Result<Vec<String>> {
    guard
        .execute("CREATE SCHEMA IF NOT EXISTS medallion")
        .await
        .during(|| "cannot create schema `medallion`".to_owned())?;
    let database = open(place).await?;
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
    check(warehouse, guard).await?;
    Ok(pending)
}

/// Whether a migration happens as a whole or not at all. Indexes that nobody waits for are built otherwise.
fn in_transaction(warehouse: &Warehouse, migration: &str) -> bool {
    let migrations = (warehouse.migrations)();
    migrations.iter().all(|one| one.name() != migration || one.use_transaction() != Some(false))
}

/// Takes back the last migration; returns its name, or none when there was none.
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
    let mut guard = guard(warehouse, place).await?;
    let states = states(warehouse, place).await?;
    let Some(last) = states.iter().rev().find(|state| state.applied) else {
        return Ok(None);
    };
    // What is built on the warehouse can keep it in place: the slots go after it, but the source must be
    // there, or they would stay behind.
    let slots = slots(&mut guard).await?;
    let source = if last.name == states[0].name { source_of(place, &slots).await? } else { None };
    let database = open(place).await?;
    let migrator = Migrator(warehouse.migrations);
    let in_transaction = in_transaction(warehouse, &last.name);
    let mut work = Work { database: &database, guard: &mut guard, patience, say };
    let failed = format!("migration `{}` was not taken back", last.name);
    work.persist(&last.name, &failed, in_transaction, || migrator.down(&database, Some(1))).await?;
    if let Some(mut source) = source {
        release(&mut source, &slots).await?;
    }
    Ok(Some(last.name.clone()))
}

/// Drops the whole warehouse, its slot at the source included, and migrates anew.
pub async fn fresh(warehouse: &Warehouse, place: &Place) -> Result<Vec<String>> {
    let mut guard = guard(warehouse, place).await?;
    let mut schemas = warehouse.schemas.clone();
    schemas.extend(warehouse.landings.iter().map(|landing| landing.table.schema.as_str()));
    schemas.extend(["as_of", "medallion"]);
    schemas.sort_unstable();
    schemas.dedup();
    if schemas.contains(&"public") {
        return Err(Error::new("schema `public` is nobody's own, and is not dropped")
            .remedy("`medallion migrate down --yes`, then `medallion migrate up`"));
    }
    if identity(&mut guard).await?.is_none() {
        refuse_foreign(&mut guard, &schemas).await?;
    }
    let slots = slots(&mut guard).await?;
    if let Some(mut source) = source_of(place, &slots).await? {
        release(&mut source, &slots).await?;
    }
    let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", quote::list("", &schemas));
    guard
        .execute(sqlx::AssertSqlSafe(drop))
        .await
        .during(|| "cannot drop the warehouse's schemas".to_owned())?;
    up_locked(warehouse, place, &mut guard, Patience::default(), &mut |_| ()).await
}

/// The migrations, first to last, and whether the database has them.
pub async fn states(warehouse: &Warehouse, place: &Place) -> Result<Vec<State>> {
    let mut connection = connection::connect(Database::Warehouse, &place.warehouse).await?;
    refuse_another(warehouse, &mut connection).await?;
    // sea-orm-migration takes a table that the role may not read for one that does not exist.
    if exists(&mut connection, "medallion.seaql_migrations").await? {
        connection
            .execute("SELECT FROM medallion.seaql_migrations LIMIT 1")
            .await
            .during(|| "cannot read which migrations the database has".to_owned())?;
    }
    let database = open(place).await?;
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

/// Refuses a database that is not what this warehouse's migrations make of it.
pub async fn check(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<()> {
    let Some((_, objects_hash)) = identity(connection).await? else {
        return Err(Error::new(format!("the database does not hold warehouse `{}` yet", warehouse.name))
            .remedy("run `medallion migrate up`"));
    };
    refuse_another(warehouse, connection).await?;
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
        Some((name, _)) if name != warehouse.name => Err(Error::new(format!(
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

/// The warehouse that a database holds, and the hash of its objects.
async fn identity(connection: &mut PgConnection) -> Result<Option<(String, String)>> {
    if !exists(connection, "medallion.warehouse").await? {
        return Ok(None);
    }
    let row = sqlx::query("SELECT name, objects_hash FROM medallion.warehouse")
        .fetch_optional(connection)
        .await
        .during(|| "cannot read which warehouse the database holds".to_owned())?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
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

async fn open(place: &Place) -> Result<DatabaseConnection> {
    let options = connection::options(Database::Warehouse, &place.warehouse)?;
    // sea-orm-migration's own table stands in the tool's schema.
    let options = options.options([("search_path", "medallion")]);
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(connection::WITHOUT_LIMITS).await.map(drop) })
        })
        .connect_with(options)
        .await
        .during(|| "cannot connect to the warehouse".to_owned())?;
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}

struct Migrator(fn() -> Vec<Box<dyn MigrationTrait>>);

impl MigratorTraitSelf for Migrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        (self.0)()
    }
}
