//! What migrations have left for the runs that follow: relations to compute anew, and columns that came later and
//! did not take their past along. Knows no migration.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, Row as _};

use crate::descriptor::{Name, Silver, Warehouse};
use crate::error::{During as _, Result};

/// What migrations have left.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evolved {
    recompute: BTreeSet<String>,
    since: BTreeMap<String, BTreeMap<String, i64>>,
}

impl Evolved {
    /// Reads it.
    pub async fn read(connection: &mut PgConnection) -> Result<Self> {
        let rows = sqlx::query(
            "SELECT relation, NULL, NULL FROM medallion.recompute \
             UNION ALL SELECT relation, \"column\", lsn FROM medallion.column_since",
        )
        .fetch_all(connection)
        .await
        .during(|| "cannot read what migrations have left".to_owned())?;
        let mut evolved = Self::default();
        for row in rows {
            match row.get::<Option<String>, _>(1) {
                None => {
                    evolved.recompute.insert(row.get(0));
                }
                Some(column) => {
                    evolved.since.entry(row.get(0)).or_default().insert(column, row.get(2));
                }
            }
        }
        Ok(evolved)
    }

    /// Whether something has to be computed anew.
    pub fn is_due(&self) -> bool {
        !self.recompute.is_empty()
    }

    /// The relations and marts that have to be computed anew.
    pub fn recompute(&self, warehouse: &Warehouse) -> BTreeSet<Name> {
        let silver = warehouse.silver.iter().map(|one| &one.table);
        let names = silver.chain(warehouse.marts.iter().map(|one| &one.table));
        names.filter(|name| self.recompute.contains(&name.to_string())).cloned().collect()
    }

    /// The positions up to which columns of a relation are NULL, whatever has landed.
    pub fn since(&self, silver: &Silver) -> BTreeMap<String, i64> {
        self.since.get(&silver.table.to_string()).cloned().unwrap_or_default()
    }

    /// Writes down that relations were computed anew.
    pub async fn done(names: &BTreeSet<Name>, connection: &mut PgConnection) -> Result<()> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        sqlx::query("DELETE FROM medallion.recompute WHERE relation = ANY ($1)")
            .bind(names)
            .execute(connection)
            .await
            .during(|| "cannot write down what was computed anew".to_owned())?;
        Ok(())
    }
}
