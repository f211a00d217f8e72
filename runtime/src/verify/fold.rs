//! The law of silver: a relation is the fold of the changes that landed and of what was written to it. It is
//! computed anew, from what was computed of the relations that it looks up, and compared with what is stored.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::finding::{Finding, SHOWN};
use super::period::object;
use super::{Broken, Waiting};
use crate::apply::{self, Due, LookupSource, Purpose, Repair, Step};
use crate::descriptor::{Column, Silver, Warehouse};
use crate::error::{During as _, Result};
use crate::progress::count;
use crate::staging::Staging;
use crate::{quote, statement};

/// One relation's comparison.
pub struct Fold<'a> {
    pub warehouse: &'a Warehouse,
    pub due: &'a Due,
    pub number: usize,
    pub staging: &'a Staging,
    /// Whether the next run computes the relation anew.
    pub anew: bool,
}

impl Fold<'_> {
    /// What is stored and should not be, or is not and should.
    pub async fn broken(&self, waiting: &mut Waiting, connection: &mut PgConnection) -> Result<Broken> {
        let silver = &self.warehouse.silver[self.number];
        let mut step = self.due.step(self.warehouse, silver, self.number, self.staging);
        step.purpose = Purpose::Verify;
        step.repair = Repair::Everything;
        step.window.to_lsn = step.window.after_lsn;
        let lookups = apply::lookup_sources(self.warehouse, silver, &BTreeMap::new());
        apply::stage_everything(&step, connection).await?;
        let versions = apply::compute(&step, &lookups, connection).await?;
        self.index(&step, connection).await?;
        if self.anew {
            let waits = "it waits for the next run: a migration has changed what its rows follow from";
            return Ok(Broken { waits: Some(waits.to_owned()), ..Broken::default() });
        }
        apply::stage_differences(&step, &versions, connection).await?;
        let keys = self.waiting_keys(&step, &lookups, waiting, connection).await?;
        if keys > 0 {
            waiting.insert(silver.table.clone());
        }
        let mut broken = findings(&step, keys > 0, connection).await?;
        if keys > 0 {
            let keys = count(keys, "key");
            broken.waits =
                Some(format!("{keys} wait for the next run: others wrote to them or to what they look up"));
        }
        Ok(broken)
    }

    /// What looks this relation up finds a key's versions.
    async fn index(&self, step: &Step<'_>, connection: &mut PgConnection) -> Result<()> {
        let looked_up = self.warehouse.silver.iter().flat_map(|other| &other.lookups);
        if looked_up.into_iter().all(|lookup| lookup.relation != step.silver.table) {
            return Ok(());
        }
        let version = step.table("version");
        let key = quote::list("", &step.silver.key);
        statement::execute(connection, &format!("CREATE INDEX ON {version} ({key}, m$known_from)")).await?;
        statement::execute(connection, &format!("ANALYZE {version}")).await.map(drop)
    }

    /// Stages `waiting_<n>`: keys that others wrote to since the last run, and those that look such keys up.
    /// Returns how many there are; without any there is no such table.
    async fn waiting_keys(
        &self,
        step: &Step<'_>,
        lookups: &[LookupSource<'_>],
        waiting: &Waiting,
        connection: &mut PgConnection,
    ) -> Result<u64> {
        let silver = step.silver;
        let mut queries = Vec::new();
        if let Some(journal) = silver.journal() {
            queries.push(format!(
                "SELECT {} FROM {} WHERE journal_id > {}",
                quote::list("", &silver.key),
                quote::name(journal),
                step.counted
            ));
        }
        if let Some(after) = step.passed {
            let passed = format!("change.lsn > {after} AND change.lsn <= {}", step.window.after_lsn);
            let key = quote::list("", &silver.key);
            queries.push(format!("SELECT {key} FROM (\n{}\n) AS passed", apply::single(step, &passed)));
        }
        for source in lookups.iter().filter(|source| waiting.contains(&source.relation.table)) {
            let (mine, theirs): (Vec<_>, Vec<_>) = source.lookup.on.iter().cloned().unzip();
            for versions in [apply::stored_versions(silver), step.table("version")] {
                queries.push(format!(
                    "SELECT {} FROM {versions} AS version JOIN pg_temp.waiting_{} AS looked ON {}",
                    quote::list("version.", &silver.key),
                    source.number,
                    statement::equal("version.", "looked.", &mine, &theirs),
                ));
            }
        }
        if queries.is_empty() {
            return Ok(0);
        }
        let sql = format!(
            "CREATE TEMPORARY TABLE waiting_{} ON COMMIT DROP AS\n{}",
            step.number,
            // A single query of a UNION would keep its doubles, which do no harm.
            queries.join("\nUNION\n")
        );
        statement::execute(connection, &sql).await
    }
}

async fn findings(step: &Step<'_>, some_wait: bool, connection: &mut PgConnection) -> Result<Broken> {
    let silver = step.silver;
    let was = |column: &Column| {
        let place = silver.columns.iter().position(|one| one.name == column.name).unwrap_or_default();
        apply::was(place)
    };
    let key: Vec<String> = key_columns(silver)
        .map(|column| {
            let name = quote::identifier(&column.name);
            format!("coalesce(differ.{name}, differ.{}) AS {name}", was(column))
        })
        .collect();
    let is = quote::list("differ.", silver.columns.iter().map(|column| &column.name));
    let stands: Vec<String> = silver
        .columns
        .iter()
        .map(|column| format!("differ.{} AS {}", was(column), quote::identifier(&column.name)))
        .collect();
    let mut others = String::new();
    if some_wait {
        let same: Vec<String> = key_columns(silver)
            .map(|column| {
                let name = quote::identifier(&column.name);
                format!("waiting.{name} = coalesce(differ.{name}, differ.{})", was(column))
            })
            .collect();
        others = format!(
            "\nWHERE NOT EXISTS (SELECT FROM pg_temp.waiting_{} AS waiting WHERE {})",
            step.number,
            same.join(" AND ")
        );
    }
    let sql = format!(
        "SELECT count(*) OVER (), (SELECT to_jsonb(one.*) FROM (SELECT {key}) AS one)::text,\n\
         coalesce(m$was_from, m$known_from)::text, coalesce(m$was_to, m$known_to)::text,\n\
         CASE WHEN m$was_from IS NOT NULL THEN (SELECT to_jsonb(one.*) FROM (SELECT {stands}, encode(m$was_hash, 'hex') AS m$hash) AS one)::text END,\n\
         CASE WHEN m$is THEN (SELECT to_jsonb(one.*) FROM (SELECT {is}, encode(m$hash, 'hex') AS m$hash) AS one)::text END\n\
         FROM {differ} AS differ{others}\nORDER BY 2, coalesce(m$was_from, m$known_from)\nLIMIT {SHOWN}",
        key = key.join(", "),
        stands = stands.join(", "),
        differ = step.table("differ"),
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_all(connection)
        .await
        .during(|| format!("cannot read how `{}` differs", silver.table))?;
    let findings = rows
        .iter()
        .map(|row| {
            let (stands, should) = (shown(row.get(4), silver), shown(row.get(5), silver));
            Finding {
                key: object(Some(row.get(1))).unwrap_or_default(),
                since: row.get(2),
                until: row.get(3),
                stands,
                should,
            }
        })
        .collect();
    let all = rows.first().map_or(0, |row| row.get::<i64, _>(0));
    Ok(Broken { rows: u64::try_from(all).unwrap_or_default(), findings, ..Broken::default() })
}

/// A version's columns under the names that they have; its key stands in the finding already.
fn shown(text: Option<String>, silver: &Silver) -> Option<serde_json::Map<String, serde_json::Value>> {
    let mut values = object(text)?;
    values.retain(|name, _| !silver.key.contains(name));
    if let Some(hash) = values.remove("m$hash")
        && let crate::descriptor::SilverKind::Dimension { row_hash, .. } = &silver.kind
    {
        values.insert(row_hash.clone(), hash);
    }
    Some(values)
}

fn key_columns(silver: &Silver) -> impl Iterator<Item = &Column> {
    silver.columns.iter().filter(|column| silver.key.contains(&column.name))
}
