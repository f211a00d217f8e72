//! Keeps the past for as long as the spec says: asks the warehouse to fold what is older. The policy, and all
//! that it takes away, stands in a function there that is its owner's; here is when it is called, and what is
//! told of it.

use std::collections::BTreeMap;

use sqlx::{Connection as _, PgConnection, Row as _};

use crate::error::{During as _, Result};

/// What went, and from when on everything is still known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retained {
    /// The horizon, as PostgreSQL writes it.
    pub horizon: String,
    /// Rows by table; those without are left out.
    pub gone: BTreeMap<String, u64>,
}

impl Retained {
    /// The rows that went in all.
    pub fn rows(&self) -> u64 {
        self.gone.values().sum()
    }
}

/// Moves the horizon where the policy moves it by now, in one transaction; nothing where it does not.
pub async fn retain(connection: &mut PgConnection) -> Result<Option<Retained>> {
    let failed = || "cannot fold what is older than the spec keeps".to_owned();
    let mut transaction = connection.begin().await.during(failed)?;
    let rows = sqlx::query("SELECT pruned_from, pruned_rows FROM medallion.retain()")
        .fetch_all(&mut *transaction)
        .await
        .during(failed)?;
    if rows.is_empty() {
        return Ok(None);
    }
    let gone = rows
        .iter()
        .map(|row| (row.get::<String, _>(0), u64::try_from(row.get::<i64, _>(1)).unwrap_or_default()))
        .filter(|(_, rows)| *rows > 0)
        .collect();
    let horizon = sqlx::query("SELECT \"time\"::text FROM medallion.horizon")
        .fetch_one(&mut *transaction)
        .await
        .during(failed)?
        .get(0);
    transaction.commit().await.during(failed)?;
    Ok(Some(Retained { horizon, gone }))
}
