//! An erasure from two databases that do not commit at once. Where bronze stands apart, it is said in the warehouse
//! before the first of them commits whom it erases, and taken back when both have; killed in between, the next run or
//! erasure finishes it. What was found by rows that are gone by then is said too. Nobody but the owner reads it.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::subject::{self, Subject};
use super::sweep::LANDED;
use crate::descriptor::{Name, Warehouse};
use crate::error::{During as _, Result};
use crate::quote;

/// What an erasure has staged by rows that landed.
#[derive(Clone, Debug, Default)]
pub struct Staged {
    /// The keys of relations, by the relation.
    keys: BTreeMap<String, Value>,
    /// The keys by which rows had landed.
    landed: Value,
}

/// An erasure that may not have ended.
pub struct Announced {
    id: String,
    pub relation: String,
    pub key: Vec<String>,
    pub staged: Staged,
}

impl Staged {
    /// Reads what is staged, of the relations at these places.
    pub async fn read(
        warehouse: &Warehouse,
        numbers: impl Iterator<Item = usize>,
        connection: &mut PgConnection,
    ) -> Result<Self> {
        let mut keys = BTreeMap::new();
        for number in numbers {
            let rows = rows(&subject::table(number), connection).await?;
            keys.insert(warehouse.silver[number].table.to_string(), rows);
        }
        Ok(Self { keys, landed: rows(LANDED, connection).await? })
    }

    /// Stages it again, beside what is found this time.
    pub async fn stage(&self, warehouse: &Warehouse, connection: &mut PgConnection) -> Result<()> {
        for (number, silver) in warehouse.silver.iter().enumerate() {
            if let Some(rows) = self.keys.get(&silver.table.to_string()) {
                stage(&subject::table(number), rows, connection).await?;
            }
        }
        stage(LANDED, &self.landed, connection).await
    }
}

fn unsaid() -> String {
    "cannot say in the warehouse whom an erasure erases".to_owned()
}

async fn rows(table: &str, connection: &mut PgConnection) -> Result<Value> {
    let sql = format!("SELECT coalesce(jsonb_agg(to_jsonb(staged.*)), '[]')::text FROM {table} AS staged");
    let text: String = sqlx::query_scalar(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_one(connection)
        .await
        .during(unsaid)?;
    serde_json::from_str(&text).during(unsaid)
}

async fn stage(table: &str, rows: &Value, connection: &mut PgConnection) -> Result<()> {
    let sql = format!(
        "INSERT INTO {table}\nSELECT said.* FROM jsonb_populate_recordset(NULL::{table}, $1::jsonb) AS said\n\
         EXCEPT\nSELECT known.* FROM {table} AS known"
    );
    sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .bind(rows.to_string())
        .execute(connection)
        .await
        .map(drop)
        .during(unsaid)
}

/// Says that an erasure is about to commit; on a session that has no part in it.
pub async fn announce(subject: &Subject<'_>, staged: &Staged, session: &mut PgConnection) -> Result<String> {
    let all = serde_json::json!({ "keys": staged.keys, "landed": staged.landed });
    let row = sqlx::query(
        "INSERT INTO medallion_bronze.forgetting (relation, key, staged) VALUES ($1, $2, $3::jsonb) RETURNING ctid::text",
    )
    .bind(subject.silver.table.to_string())
    .bind(subject.values())
    .bind(all.to_string())
    .fetch_one(session)
    .await
    .during(unsaid)?;
    row.try_get(0).during(unsaid)
}

/// What was said and not taken back.
pub async fn all(session: &mut PgConnection) -> Result<Vec<Announced>> {
    let rows = sqlx::query(
        "SELECT ctid::text, relation, key, staged::text FROM medallion_bronze.forgetting ORDER BY announced_at",
    )
    .fetch_all(session)
    .await
    .during(unsaid)?;
    let mut all = Vec::new();
    for row in &rows {
        let mut said: Value = serde_json::from_str(&row.get::<String, _>(3)).during(unsaid)?;
        let keys = serde_json::from_value(said["keys"].take()).during(unsaid)?;
        let staged = Staged { keys, landed: said["landed"].take() };
        all.push(Announced { id: row.get(0), relation: row.get(1), key: row.get(2), staged });
    }
    Ok(all)
}

impl Announced {
    /// Takes it back.
    pub async fn end(&self, session: &mut PgConnection) -> Result<()> {
        end(&self.id, session).await
    }
}

/// Takes it back: whom it was about is said nowhere then.
pub async fn end(id: &str, session: &mut PgConnection) -> Result<()> {
    sqlx::query("DELETE FROM medallion_bronze.forgetting WHERE ctid = $1::tid")
        .bind(id)
        .execute(&mut *session)
        .await
        .during(unsaid)?;
    crate::statement::execute(session, "VACUUM medallion_bronze.forgetting").await.map(drop)
}

/// Brings the traces over to bronze, where what lands later of such a row is held against them. Each is known by its
/// salt: a warehouse that was restored gives their numbers once more.
pub async fn tell_traces(target: &mut PgConnection, bronze: &mut PgConnection) -> Result<()> {
    let failed = || "cannot leave the trace of an erasure in the bronze database".to_owned();
    let told: Vec<String> = sqlx::query_scalar("SELECT salt FROM medallion.erasure")
        .fetch_all(&mut *bronze)
        .await
        .during(failed)?;
    let told: Vec<String> = told.iter().map(|salt| quote::literal(salt)).collect();
    let columns = "erased_at, erased_by, relation, salt, key_hash, landing, landed_hashes, gone";
    crate::land::pipe(
        target,
        &crate::land::copy_out(&format!(
            "SELECT {columns} FROM medallion.erasure WHERE salt <> ALL (ARRAY[{}]::text[]) ORDER BY erasure_id",
            told.join(", ")
        )),
        bronze,
        &format!("COPY medallion.erasure ({columns}) FROM STDIN (FORMAT binary)"),
        "the traces of erasures",
    )
    .await
    .map(drop)
}

/// Gives back the space of what went in bronze.
pub async fn clean<'n>(tables: impl Iterator<Item = &'n Name>, bronze: &mut PgConnection) -> Result<()> {
    for table in tables {
        crate::statement::execute(bronze, &format!("VACUUM (ANALYZE) {}", quote::name(table))).await?;
    }
    Ok(())
}
