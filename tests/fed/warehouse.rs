//! A warehouse of a spec, its tables made, and what the laws of feeds do with one and ask of it. Knows no feed.

use std::sync::atomic::{AtomicUsize, Ordering};

use medallion::emit::{self, Workspace};
use medallion::finding::{Colour, SourceText};
use medallion::model;
use medallion::plan::lock::Lock;
use medallion::spec::Files;
use medallion_runtime::descriptor::Warehouse;
use medallion_runtime::verify;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use super::databases::Databases;
use super::descriptor;

/// A warehouse, and the databases where it stands.
pub struct Made {
    pub warehouse: Warehouse,
    pub lock: Lock,
    pub databases: Databases,
}

/// A number that no other test of the process has.
pub fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A spec without files beside it.
pub fn spec(name: &str, text: &str) -> Files {
    Files::alone(name, SourceText::new(format!("spec/{name}/spec.toml"), text))
}

/// What a spec means, which has nothing wrong.
pub fn model(files: &Files) -> model::Warehouse {
    model::load(files).unwrap_or_else(|findings| panic!("{}", findings.human(Colour::Plain)))
}

/// The warehouse of a spec in databases of this name that have nothing yet, captured through a slot.
pub async fn make(files: &Files, slot: &str, name: &str) -> Made {
    let model = model(files);
    let folder = format!("migration/src/{}", model.name);
    let emitted = emit::emit(&model, &Workspace { warehouses: vec![model.name.clone()], default: None });
    let lock = Lock::read(emitted.get(&format!("{folder}/lock.toml")).unwrap()).unwrap();
    let up = emitted.get(&format!("{folder}/{}/up.sql", lock.migrations[0].name)).unwrap();
    let warehouse = descriptor::warehouse(&model, &lock, slot);
    let databases = Databases::new(&warehouse, name, up).await;
    Made { warehouse, lock, databases }
}

/// What stands in silver is what all of bronze tells. Marts are not refreshed here.
pub async fn verified(warehouse: &Warehouse, target: &mut PgConnection) -> Result<(), String> {
    let checks = verify::on(warehouse, target, |_| ()).await.map_err(|error| format!("{error:?}"))?;
    let is_mart = |relation: &str| warehouse.marts.iter().any(|mart| mart.table.to_string() == relation);
    let mut silver = checks.iter().filter(|check| !is_mart(&check.relation.to_string()));
    match silver.find(|check| check.broken > 0 || check.waits.is_some()) {
        None => Ok(()),
        Some(check) => Err(format!("{check:?}")),
    }
}

/// The rows of a query of one column, a line each.
pub async fn text(connection: &mut PgConnection, sql: &str) -> String {
    let rows = connection.fetch_all(AssertSqlSafe(sql.to_owned())).await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get::<String, _>(0)).collect();
    lines.join("\n")
}
