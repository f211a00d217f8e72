//! Warehouses of a benchmark's own: from the text of a spec to a migrated database and what the loader is told of it.
//! Knows no benchmark.

#[path = "../../tests/evolution/descriptor.rs"]
#[expect(clippy::unwrap_used, clippy::panic, reason = "it is the tests', where that is how one fails")]
mod descriptor;

use medallion::emit::{self, Workspace};
use medallion::finding::{Colour, SourceText};
use medallion::model;
use medallion::plan::lock::Lock;
use medallion::spec::Files;
use medallion_runtime::connection::{self, Database};
use medallion_runtime::descriptor::Warehouse;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Postgres, Transaction};

use crate::Error;

/// Makes what the spec says in an empty database.
pub async fn made(spec: &str, session: &mut PgConnection) -> Result<Warehouse, Error> {
    let files = Files::alone("bench", SourceText::new("spec/bench/spec.toml", spec));
    let model = model::load(&files).map_err(|findings| findings.human(Colour::Plain))?;
    let workspace = Workspace { warehouses: vec!["bench".to_owned()], default: None };
    let emitted = emit::emit(&model, &workspace);
    let file = |path: &str| emitted.get(path).ok_or_else(|| format!("{path} is not among what is generated"));
    let lock = Lock::read(file("migration/src/bench/lock.toml")?)?;
    let up = format!("migration/src/bench/{}/up.sql", lock.migrations[0].name);
    execute(&format!("CREATE SCHEMA medallion;\n{}", file(&up)?), session).await?;
    Ok(descriptor::warehouse(&model, &lock, "bench"))
}

/// A session of the loader's.
pub async fn session(url: &str) -> Result<PgConnection, Error> {
    Ok(connection::connect(Database::Warehouse, url).await?)
}

/// Begins a transaction as the loader's rounds set theirs up.
pub async fn begin_round(session: &mut PgConnection) -> Result<Transaction<'_, Postgres>, Error> {
    let mut transaction = session.begin().await?;
    let settings =
        "SET LOCAL jit = off; SET LOCAL work_mem = '64MB'; SET LOCAL plan_cache_mode = force_generic_plan";
    execute(settings, &mut transaction).await?;
    Ok(transaction)
}

/// Statements, as they stand.
pub async fn execute(sql: &str, session: &mut PgConnection) -> Result<u64, Error> {
    let done = session.execute(AssertSqlSafe(sql.to_owned())).await;
    Ok(done.map_err(|error| format!("{error}\n{sql}"))?.rows_affected())
}
