//! The law of a warehouse that lives: its spec changes while its source does, ten times, and after each change it is
//! what a fresh install is, its history is what the source said, and `verify` finds nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use medallion::emit::{self, FileSet};
use medallion::finding::SourceText;
use medallion::model::{self, Warehouse};
use medallion::spec::Files;
use medallion_runtime::place::Place;
use medallion_runtime::progress::Silent;
use medallion_runtime::{run, verify};
use medallion_server::Server;
use proptest::prelude::*;
use proptest::test_runner::Config;
use tokio::runtime::Runtime;

use super::catalog::{catalog, psql, try_psql};
use super::descriptor;
use super::drawn::{Column, Relation, Spec};
use super::source::{Draws, History, Row, SCHEMA};
use super::{database, edited, migration, past, same, workspace};

/// How many changes a warehouse goes through.
const CHANGES: usize = 10;

#[test]
fn any_life_of_a_warehouse_tells_what_its_source_said() {
    // One that has failed, once more.
    if let Some(seed) = std::env::var("MEDALLION_LIFE").ok().and_then(|seed| seed.parse().ok()) {
        Life::live(Draws(seed)).unwrap_or_else(|error| panic!("{error}"));
        return;
    }
    let mut runner = super::runner(Config {
        cases: super::cases(3),
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&any::<u64>(), |seed| Life::live(Draws(seed)).map_err(TestCaseError::fail))
        .unwrap_or_else(|error| panic!("{error}"));
}

/// A shop and its warehouse.
pub struct Life {
    runtime: Runtime,
    pub place: Place,
    slot: String,
    history: History,
    /// The system time of each transaction that was captured.
    pub times: Vec<String>,
    pub spec: Spec,
    pub files: FileSet,
    /// What others have written, past the source.
    written: Written,
    /// What has happened so far, for whom it fails.
    told: String,
}

impl Life {
    fn live(draws: Draws) -> Result<(), String> {
        let mut life = Self::begin();
        life.go_on(draws).map_err(|error| format!("{}{error}\n{}", life.told, life.spec.toml()))
    }

    pub fn begin() -> Self {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let server = Server::shared_scratch().unwrap();
        let source = format!("lived_source_{number}");
        server.ensure_database(&source).unwrap();
        let source = server.url(&source);
        let warehouse = database(&format!("lived_{number}"));
        let mut history = History::default();
        psql(&source, SCHEMA);
        psql(&source, &history.begin());
        let spec = Spec::first();
        let files = emit::emit(&loaded(&spec).unwrap(), &workspace());
        psql(&warehouse, &migration(&files, 1, "up.sql"));
        Self {
            runtime: Runtime::new().unwrap(),
            place: Place { source, warehouse, bronze: None, embedded: None },
            slot: format!("lived_{number}"),
            history,
            times: Vec::new(),
            spec,
            files,
            written: Written::default(),
            told: String::new(),
        }
    }

    fn go_on(&mut self, mut draws: Draws) -> Result<(), String> {
        self.run()?;
        self.holds()?;
        for _ in 0..CHANGES {
            let keys = |spec: &Spec| spec.relations.iter().map(Relation::key).collect::<Vec<_>>();
            let before = keys(&self.spec);
            let said = self.wish(&mut draws);
            writeln!(self.told, "{said}").unwrap();
            // What happens before the migration is captured after it.
            self.change(&mut draws);
            self.migrate()?;
            self.change(&mut draws);
            // What has another key is empty until the next run, and nobody finds there what to write on.
            if !keys(&self.spec).starts_with(&before) {
                self.run()?;
            }
            self.write(&mut draws)?;
            self.run()?;
            self.holds()?;
        }
        self.is_as_fresh()
    }

    /// Changes the spec, in one way or in two at once.
    fn wish(&mut self, draws: &mut Draws) -> String {
        loop {
            let mut spec = self.spec.clone();
            spec.settle();
            let said: Vec<String> =
                (0..=draws.below(2)).filter_map(|_| spec.change(draws, self.times.len())).collect();
            if said.is_empty() {
                continue;
            }
            match loaded(&spec) {
                Ok(_) => {}
                // The longest names leave no room for those of closed versions' partitions.
                Err(error) if error.contains("error[M0202]") => continue,
                Err(error) => panic!("{said:?}: {error}\n{}", spec.toml()),
            }
            self.written.follow(&self.spec, &spec);
            self.spec = spec;
            return said.join(", ");
        }
    }

    pub fn migrate(&mut self) -> Result<(), String> {
        let model = loaded(&self.spec)?;
        let before = past(&self.files).lock.migrations.len();
        let after = emit::evolve(&model, &workspace(), &past(&self.files))
            .map_err(|error| format!("nothing is planned: {error:?}"))?;
        for number in before..past(&after).lock.migrations.len() {
            let up = migration(&after, number + 1, "up.sql");
            try_psql(&self.place.warehouse, &up).map_err(|error| format!("{error}\n{up}"))?;
        }
        self.files = after;
        match emit::plan(&model, &past(&self.files)) {
            Ok(none) if none.is_empty() => Ok(()),
            more => Err(format!("planning again plans more: {more:?}")),
        }
    }

    pub fn change(&mut self, draws: &mut Draws) {
        let sql = self.history.change(draws);
        psql(&self.place.source, &sql);
    }

    /// Others write the dimensions that are versioned, by statements of their own: rows that no source has.
    fn write(&mut self, draws: &mut Draws) -> Result<(), String> {
        let warehouse = self.warehouse()?;
        for (place, relation) in self.spec.relations.iter().enumerate() {
            if !relation.is_versioned() || draws.below(4) == 0 {
                continue;
            }
            let table = format!("{}.{}", quoted(warehouse.schemas[0]), quoted(relation.name()));
            let now = self.written.now.entry(place).or_default();
            let keys: Vec<usize> = now.keys().copied().collect();
            let mut row = self.history.customer(WRITTEN + self.written.count, draws);
            self.written.count += 1;
            row.retain(|field, _| relation.columns.iter().any(|column| column.field == *field));
            // How a time is written hangs on the type that it has just then.
            row.insert("seen", None);
            // And how a mood is called on the spec of just then.
            row.insert("mood", Some("fine".to_owned()));
            let literal = |field: &str| match &row[field] {
                Some(value) => format!("'{}'", value.replace('\'', "''")),
                None => "NULL".to_owned(),
            };
            let columns = || relation.columns.iter().filter(|column| row.contains_key(column.field));
            let sql = match draws.below(4) {
                0 if !keys.is_empty() => {
                    let key = *draws.one(&keys);
                    now.remove(&key);
                    format!("DELETE FROM {table} WHERE customer_id = {key}")
                }
                1 | 2 if !keys.is_empty() => {
                    let key = *draws.one(&keys);
                    let there = now.get_mut(&key).expect("it is one of them");
                    let others =
                        columns().filter(|one| !matches!(one.field, "customer_id" | "code" | "region"));
                    let mut set = Vec::new();
                    for column in others {
                        set.push(format!("{} = {}", quoted(column.name()), literal(column.field)));
                        there.insert(column.field, row[column.field].clone());
                    }
                    format!("UPDATE {table} SET {} WHERE customer_id = {key}", set.join(", "))
                }
                _ => {
                    let key = row["customer_id"].as_ref().and_then(|key| key.parse().ok());
                    let names: Vec<String> = columns().map(|column| quoted(column.name())).collect();
                    let values: Vec<String> = columns().map(|column| literal(column.field)).collect();
                    let sql =
                        format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", "));
                    now.insert(key.expect("it is a number"), row);
                    sql
                }
            };
            try_psql(&self.place.warehouse, &sql).map_err(|error| format!("{error}\n{sql}"))?;
            writeln!(self.told, "{sql}").unwrap();
        }
        Ok(())
    }

    pub fn run(&mut self) -> Result<(), String> {
        let warehouse = self.warehouse()?;
        self.runtime
            .block_on(run::run(&warehouse, &self.place, &mut Silent))
            .map_err(|error| format!("the run fails: {error}"))?;
        let landings: Vec<String> = warehouse
            .landings
            .iter()
            .map(|one| format!("SELECT lsn, commit_ts FROM {}", qualified(&one.table)))
            .collect();
        let sql = format!(
            "SELECT DISTINCT commit_ts FROM ({}) AS landed ORDER BY commit_ts",
            landings.join(" UNION ALL ")
        );
        self.times = psql(&self.place.warehouse, &sql).lines().map(str::to_owned).collect();
        if self.times.len() == self.history.transactions {
            return Ok(());
        }
        Err(format!("{} transactions landed of {}", self.times.len(), self.history.transactions))
    }

    fn warehouse(&self) -> Result<medallion_runtime::descriptor::Warehouse, String> {
        Ok(descriptor::warehouse(&loaded(&self.spec)?, &past(&self.files).lock, &self.slot))
    }

    /// `verify` finds nothing; now is what the source is, and any time what it was.
    pub fn holds(&self) -> Result<(), String> {
        let warehouse = self.warehouse()?;
        let checks = self
            .runtime
            .block_on(verify::verify(&warehouse, &self.place, |_| ()))
            .map_err(|error| format!("verify fails: {error}"))?;
        if let Some(check) = checks.iter().find(|check| check.broken > 0 || check.waits.is_some()) {
            return Err(format!("{} {}: {:?} {:?}", check.relation, check.law, check.findings, check.waits));
        }
        let now = self.times.len() - 1;
        let times: BTreeSet<usize> = [0, now / 3, now / 2, now.saturating_sub(2), now].into();
        let mut sql = String::new();
        let silver = warehouse.schemas[0];
        for relation in &self.spec.relations {
            sql.push_str(&self.comparison(relation, silver, now, None));
            for at in &times {
                sql.push_str(&self.comparison(relation, silver, *at, Some(&self.times[*at])));
            }
        }
        for (place, relation) in self.spec.relations.iter().enumerate().filter(|(_, one)| !one.is_fact()) {
            sql.push_str(&self.written(place, relation, silver));
        }
        let differs = psql(&self.place.warehouse, &sql);
        if differs.trim().is_empty() {
            Ok(())
        } else {
            Err(format!("source and warehouse differ:\n{differs}"))
        }
    }

    /// What a dimension shows of what others have written and should not, or should and does not.
    fn written(&self, place: usize, relation: &Relation, silver: &str) -> String {
        let written = self.written.now.get(&place);
        let rows = written.into_iter().flatten().map(|(_, row)| {
            let values = relation.columns.iter().map(|column| {
                let value = row.get(column.field).cloned().flatten();
                (column.name().to_owned(), value.into())
            });
            serde_json::Value::Object(values.collect())
        });
        compared(relation, "now, of others", silver, &relation.columns.iter().collect::<Vec<_>>(), rows, ">=")
    }

    /// What a relation shows after a transaction and should not, or should and does not.
    fn comparison(
        &self,
        relation: &Relation,
        silver: &str,
        transaction: usize,
        at: Option<&String>,
    ) -> String {
        // What is not tracked is known of now alone.
        let columns: Vec<_> = relation
            .columns
            .iter()
            .filter(|column| at.is_none() || column.tracked || relation.is_fact())
            .collect();
        let rows = self.history.rows(relation.table, transaction).into_iter().map(|(row, since)| {
            let values = columns.iter().map(|column| {
                let value = match column.field {
                    "city" => row["store_id"]
                        .as_ref()
                        .and_then(|store| self.history.first("store", store, transaction)?["city"].clone()),
                    _ => self.spec.value(column, row),
                };
                let value = value.filter(|_| column.since.is_none_or(|begun| since >= begun));
                (column.name().to_owned(), value.into())
            });
            serde_json::Value::Object(values.collect())
        });
        let schema = if at.is_some() { "as_of" } else { silver };
        let when = at.map_or_else(|| "now".to_owned(), |at| format!("{transaction} at {at}"));
        let setting = at.map_or_else(String::new, |at| format!("SET medallion.as_of = '{at}';\n"));
        setting + &compared(relation, &when, schema, &columns, rows, "<")
    }

    /// The catalog is that of a fresh install.
    fn is_as_fresh(&self) -> Result<(), String> {
        let fresh = database(&format!("{}_fresh", self.slot));
        let squashed = emit::squash(&loaded(&self.spec)?, &workspace(), &past(&self.files));
        psql(&fresh, &migration(&squashed, 1, "up.sql"));
        same(&catalog(&fresh), &catalog(&self.place.warehouse), "")
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let sql = format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE '{}%' AND NOT active",
            self.slot
        );
        let _ = try_psql(&self.place.source, &sql);
    }
}

/// The keys from which on rows are others' own.
const WRITTEN: usize = 9_000_000;

/// What others have written into dimensions, by where these stand in the spec.
#[derive(Default)]
struct Written {
    now: BTreeMap<usize, BTreeMap<usize, Row>>,
    count: usize,
}

impl Written {
    /// What becomes of it as the spec changes: a column that goes takes its values along, and what is not versioned any
    /// more keeps none. Another key keeps all of it.
    fn follow(&mut self, before: &Spec, now: &Spec) {
        self.now.retain(|place, rows| {
            if !now.relations.get(*place).is_some_and(Relation::is_versioned) {
                return false;
            }
            let was = &before.relations[*place];
            for column in was.columns.iter().filter(|column| now.has_dropped(was.name(), column.name())) {
                for row in rows.values_mut() {
                    row.remove(column.field);
                }
            }
            true
        });
    }
}

/// Rows that a relation should have on one side of the keys from which on they are others' own, and those that it has.
fn compared(
    relation: &Relation,
    when: &str,
    schema: &str,
    columns: &[&Column],
    rows: impl Iterator<Item = serde_json::Value>,
    side: &str,
) -> String {
    let name = format!("{}.{}", quoted(schema), quoted(relation.view()));
    let list: Vec<String> = columns.iter().map(|column| format!("{}::text", quoted(column.name()))).collect();
    let list = list.join(", ");
    let rows = serde_json::Value::Array(rows.collect()).to_string().replace('\'', "''");
    let whose =
        if relation.is_fact() { String::new() } else { format!("WHERE customer_id {side} {WRITTEN}") };
    format!(
        "WITH wanted AS (SELECT {list} FROM jsonb_populate_recordset(NULL::{name}, '{rows}')),
        found AS (SELECT {list} FROM {name} {whose})
        SELECT '{when}: {}', * FROM (
            SELECT '-', * FROM (SELECT * FROM wanted EXCEPT ALL SELECT * FROM found) AS missing
            UNION ALL
            SELECT '+', * FROM (SELECT * FROM found EXCEPT ALL SELECT * FROM wanted) AS surplus
        ) AS differs;\n",
        name.replace('\'', "''")
    )
}

pub fn loaded(spec: &Spec) -> Result<Warehouse, String> {
    let mut files: Files = edited(&[]);
    files.spec = SourceText::new(files.spec.path(), spec.toml());
    model::load(&files).map_err(|findings| findings.human(medallion::finding::Colour::Plain))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn qualified(name: &medallion_runtime::descriptor::Name) -> String {
    format!("{}.{}", quoted(&name.schema), quoted(&name.table))
}
