//! The files of a warehouse that has migrations already: what is there stays, and what the spec's change needs
//! becomes one more. Decides nothing itself: `plan` says what leads from the lock to the spec.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::{panic, thread};

use serde_json::Value;

use super::shape::Shape;
use super::sql::{self, Script, migration};
use super::{FileSet, Workspace, files, mark, rust, spec_of};
use crate::model::{Enum, Name, Silver, TOOL_SCHEMA, Warehouse};
use crate::plan::beside::{self, Beside};
use crate::plan::decision::{Decisions, Known, Undecided};
use crate::plan::difference::Failure;
use crate::plan::lock::{self, Lock, Migration, Risk};
use crate::plan::{Difference, Renamed, Renames, Step, Unreadable, hazard, reading};

/// The longest name of a migration, without its number.
const LONGEST_LABEL: usize = 50;

/// What is there of a warehouse's migrations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// What the last migration left.
    pub lock: Lock,
    /// The migrations' files, by their paths below the workspace.
    pub files: BTreeMap<String, String>,
}

impl Past {
    /// What a lock says was left, with the files of its migrations, asked for by their paths below the workspace.
    ///
    /// # Errors
    ///
    /// What asking for a file says.
    pub fn of<E>(
        warehouse: &str,
        lock: Lock,
        mut text: impl FnMut(&str) -> Result<Option<String>, E>,
    ) -> Result<Self, E> {
        let path = lock_path(warehouse);
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut files = BTreeMap::new();
        for migration in &lock.migrations {
            for file in ["mod.rs", "up.sql", "down.sql"] {
                let path = format!("{folder}/{}/{file}", migration.name);
                if let Some(text) = text(&path)? {
                    files.insert(path, text);
                }
            }
        }
        Ok(Self { lock, files })
    }

    /// What files that were generated leave; nothing where their lock is none.
    pub fn left_by(files: &FileSet, warehouse: &str) -> Option<Self> {
        let lock = Lock::read(files.get(&lock_path(warehouse))?).ok()?;
        let text = |path: &str| Ok::<_, Infallible>(files.get(path).map(str::to_owned));
        Self::of(warehouse, lock, text).ok()
    }
}

/// Why there is no next migration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unable {
    /// The spec does not say what it has to.
    #[error("the spec leaves {} open", .0.len())]
    Undecided(Vec<Undecided>),
    /// A table cannot become what the spec says.
    #[error("{table} cannot be migrated: {why}")]
    Impossible {
        /// The table, quoted.
        table: String,
        /// Why.
        why: &'static str,
    },
    /// A migration was changed after it was written.
    #[error("`{path}` {what}")]
    Changed {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A mistake of the tool's.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl From<Failure> for Unable {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Impossible { table, why } => Self::Impossible { table, why },
            Failure::Unreadable(unreadable) => Self::Unreadable(unreadable),
        }
    }
}

/// The files of a warehouse without migrations: one that makes all of it.
pub(super) fn first(warehouse: &Warehouse, workspace: &Workspace) -> FileSet {
    let scripts = sql::scripts(warehouse);
    let (sql_mark, rust_mark) = marks(warehouse);
    let name = "m000001_baseline";
    let folder = format!("{}/{name}", folder(warehouse));
    let up = sql::baseline::up(warehouse, &scripts, &sql_mark);
    let down = sql::baseline::down(&scripts, &sql_mark);
    let (mut lock, _) = lock_of(warehouse, &scripts);
    lock.migrations = vec![Migration::of(name, &up, &down)];
    let mut set = files(warehouse, workspace, &scripts, &lock);
    set.add(format!("{folder}/mod.rs"), rust::baseline(&rust_mark));
    set.add(format!("{folder}/up.sql"), up);
    set.add(format!("{folder}/down.sql"), down);
    add_lock(&lock, warehouse, &mut set);
    set
}

/// The files of a warehouse whose migrations become one.
pub(super) fn squash(warehouse: &Warehouse, workspace: &Workspace, past: &Past) -> FileSet {
    let decisions = model_of(past).and_then(|model| decide(warehouse, &model)).unwrap_or_default();
    first(&introduced(warehouse, &past.lock, &decisions), workspace)
}

/// The files of a warehouse that has migrations: those, and one more where the spec asks for it.
pub(super) fn next(warehouse: &Warehouse, workspace: &Workspace, past: &Past) -> Result<FileSet, Unable> {
    let Next { warehouse, scripts, mut lock, planned } = Next::of(warehouse, past)?;
    let mut written = BTreeMap::new();
    let (sql_mark, rust_mark) = marks(&warehouse);
    let mut before = past.lock.objects_hash.clone();
    for Planned { name, up, down, course } in planned {
        let risks = hazard::risks(&up);
        let is_reached = before == lock.objects_hash;
        let text = |steps: &[Step], reached: &str| match course {
            Course::Whole => migration::text(steps, reached, &sql_mark),
            Course::ByItself => migration::by_itself(steps, (!is_reached).then_some(reached), &sql_mark),
        };
        let (up, down) = (text(&up, &lock.objects_hash), text(&down, &before));
        // Nothing hangs on an index but how long it takes: without those, the warehouse is what its binary expects.
        before.clone_from(&lock.objects_hash);
        let risks = risks.into_iter().map(|what| Risk { what, allowed: None }).collect();
        lock.migrations.push(Migration { risks, ..Migration::of(&name, &up, &down) });
        let folder = format!("{}/{name}", folder(&warehouse));
        written.insert(format!("{folder}/mod.rs"), rust::next_migration(&name, course, &rust_mark));
        written.insert(format!("{folder}/up.sql"), up);
        written.insert(format!("{folder}/down.sql"), down);
    }
    lock.allow(&warehouse.evolution.allowed_hazards);
    let mut set = files(&warehouse, workspace, &scripts, &lock);
    for (path, text) in &past.files {
        set.keep(path.clone(), text.clone());
    }
    for (path, text) in written {
        set.add(path, text);
    }
    add_lock(&lock, &warehouse, &mut set);
    Ok(set)
}

/// The next migrations, where the spec asks for any.
pub(super) fn plan(warehouse: &Warehouse, past: &Past) -> Result<Vec<Planned>, Unable> {
    Ok(Next::of(warehouse, past)?.planned)
}

/// What comes after the past.
struct Next {
    /// The warehouse, its columns in the order of their introduction.
    warehouse: Warehouse,
    scripts: Vec<Script>,
    /// What will have been left, without the next migrations.
    lock: Lock,
    planned: Vec<Planned>,
}

impl Next {
    fn of(warehouse: &Warehouse, past: &Past) -> Result<Self, Unable> {
        // To read all that migrations say takes about as long as to say what the spec asks for.
        let (checked, next) = thread::scope(|scope| {
            let checking = scope.spawn(|| check(warehouse, past));
            let next = Self::of_unchanged(warehouse, past);
            (checking.join(), next)
        });
        checked.unwrap_or_else(|panic| panic::resume_unwind(panic))?;
        next
    }

    /// What comes next where no migration was changed after it was written.
    fn of_unchanged(warehouse: &Warehouse, past: &Past) -> Result<Self, Unable> {
        let model = model_of(past)?;
        let decisions = decide(warehouse, &model)?;
        let warehouse = introduced(warehouse, &past.lock, &decisions);
        let scripts = sql::scripts(&warehouse);
        let (mut lock, model_now) = lock_of(&warehouse, &scripts);
        lock.migrations.clone_from(&past.lock.migrations);
        let models = (&model, &model_now);
        let planned = Planned::between(&past.lock, &lock, models, &decisions, &warehouse)?;
        Ok(Self { warehouse, scripts, lock, planned })
    }
}

/// A migration: its steps there and back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its name.
    pub name: String,
    /// What brings the warehouse to its next state.
    pub up: Vec<Step>,
    /// What brings it back.
    pub down: Vec<Step>,
    /// How it runs.
    pub course: Course,
}

/// How a migration runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// As one transaction.
    Whole,
    /// Each statement by itself, beside those who read and write.
    ByItself,
}

impl Planned {
    /// One as a whole, where anything changes; and one more for what is built beside others.
    fn between(
        before: &Lock,
        now: &Lock,
        models: (&Value, &Value),
        decisions: &Decisions,
        warehouse: &Warehouse,
    ) -> Result<Vec<Self>, Unable> {
        let number = before.migrations.len() + 1;
        // What says nothing about rows is called after the relations that it is about.
        let labels = match decisions.labels.as_slice() {
            [] => changed(before, now),
            labels => labels.to_vec(),
        };
        let whole = |up: Vec<Step>, down: Vec<Step>| Self {
            name: name(number, &labels),
            up,
            down,
            course: Course::Whole,
        };
        let is_other = before.objects_hash != now.objects_hash;
        if before.scripts == now.scripts && *decisions == Decisions::default() {
            return Ok(is_other.then(|| whole(Vec::new(), Vec::new())).into_iter().collect());
        }
        let names = decisions.recomputed.iter().chain(&decisions.stale);
        let named = names.flat_map(|name| [sql::relation(name), sql::relation(&decisions.before(name))]);
        let (old, new) = reading::about(&before.scripts, &now.scripts, named)?;
        let (shape_before, shape_now) = (Shape::of(models.0), Shape::of(models.1));
        let renames = Renames { values: renamed_values(warehouse), ..renames(decisions) };
        let inverse = renames.inverse();
        let mut derived: BTreeSet<String> = warehouse
            .marts
            .iter()
            .filter(|mart| mart.storage.is_table())
            .map(|mart| sql::relation(&mart.name))
            .collect();
        for name in &decisions.remade {
            derived.extend(shape_now.tables(name));
            derived.extend(shape_before.tables(&decisions.before(name)));
        }
        let (there, back) = (
            |table: &str, source: &str| shape_now.parting(table, source),
            |table: &str, source: &str| shape_before.parting(table, source),
        );
        let (parting, derived) = (&there, &derived);
        let beside = beside::apart(&old, &new, &renames, derived)?;
        let new = beside.as_ref().map_or(new, |beside| beside.between.clone());
        let mut up = Difference { old: &old, new: &new, renames: &renames, derived, parting }.steps()?;
        let (parting, renames_back) = (&back, &inverse);
        let mut down =
            Difference { old: &new, new: &old, renames: renames_back, derived, parting }.steps()?;
        up.extend(shape_now.up(decisions));
        down.extend(shape_before.down(decisions));
        let bookkeeping = migration::Bookkeeping { decisions, renames: &renames, old: &old, new: &new };
        let (told_up, told_down) = (bookkeeping.up(), bookkeeping.down());
        if !up.is_empty() || !told_up.is_empty() {
            up.extend(told_up);
            // What the way back forgets stands in tables that it may drop.
            down.splice(0..0, told_down);
        }
        hazard::assess(&mut up, &old);
        hazard::assess(&mut down, &new);
        let mut planned = Vec::new();
        if !up.is_empty() || is_other && beside.is_none() {
            planned.push(whole(up, down));
        }
        planned.extend(beside.map(|Beside { up, down, sections, .. }| {
            let tables = sections.iter().map(|title| title.rsplit('.').next().unwrap_or(title));
            let labels: Vec<String> = tables.map(|table| format!("{table}_index")).collect();
            Self { name: name(number + planned.len(), &labels), up, down, course: Course::ByItself }
        }));
        Ok(planned)
    }
}

fn model_of(past: &Past) -> Result<Value, Unable> {
    let unreadable = |_| Unreadable("the model in the lock file".to_owned());
    Ok(serde_json::from_str(&past.lock.model).map_err(unreadable)?)
}

fn decide(warehouse: &Warehouse, old: &Value) -> Result<Decisions, Unable> {
    let new: Value = serde_json::to_value(warehouse).expect("a model is plain data with string keys");
    Known::read_before(old, &new).decide(&Known::read(&new), &warehouse.evolution).map_err(Unable::Undecided)
}

/// A migration is written once.
fn check(warehouse: &Warehouse, past: &Past) -> Result<(), Unable> {
    for migration in &past.lock.migrations {
        for (file, sum) in [("up.sql", &migration.up), ("down.sql", &migration.down)] {
            let path = format!("{}/{}/{file}", folder(warehouse), migration.name);
            match past.files.get(&path) {
                None => return Err(Unable::Changed { path, what: "is not there any more" }),
                Some(text) if lock::checksum(text) != *sum => {
                    return Err(Unable::Changed { path, what: "is not what it was when it was written" });
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

fn renames(decisions: &Decisions) -> Renames {
    Renames {
        schemas: decisions.schemas.clone(),
        relations: decisions
            .renamed
            .iter()
            .map(|(before, now)| Renamed {
                section_before: title(before),
                section: title(now),
                before: sql::relation(before),
                now: sql::relation(now),
            })
            .collect(),
        columns: decisions
            .renamed_columns
            .iter()
            .map(|(table, before, now)| (title(table), sql::identifier(before), sql::identifier(now)))
            .collect(),
        values: Vec::new(),
    }
}

/// Values of enumerated types that were called otherwise.
fn renamed_values(warehouse: &Warehouse) -> Vec<(String, String, String)> {
    let of = |own: &Enum| -> Vec<(String, String, String)> {
        let renamed = own.renamed.iter();
        renamed
            .map(|(before, now)| (sql::relation(&own.name), sql::literal(before), sql::literal(now)))
            .collect()
    };
    warehouse.enums.iter().flat_map(of).collect()
}

pub(super) fn title(name: &Name) -> String {
    sql::remark(&format!("{}.{}", name.schema, name.name))
}

/// The warehouse, its columns in the order of their introduction where that matters: a hash that exists does
/// not change because a column came between others.
fn introduced(warehouse: &Warehouse, before: &Lock, decisions: &Decisions) -> Warehouse {
    let mut warehouse = warehouse.clone();
    for silver in &mut warehouse.silver {
        let now = plain(&silver.name);
        let was =
            decisions.renamed.iter().find(|(_, name)| *name == silver.name).map(|(name, _)| plain(name));
        let was = decisions.schemas.inverse().plain(was.as_ref().unwrap_or(&now));
        let Some(known) = before.columns.get(&was) else { continue };
        let table = silver.name.clone();
        let called = |column: &String| {
            let renamed =
                decisions.renamed_columns.iter().find(|(one, old, _)| *one == table && old == column);
            renamed.map_or_else(|| column.clone(), |(.., new)| new.clone())
        };
        let known: Vec<String> = known.iter().map(called).collect();
        let position = |name: &str| known.iter().position(|one| one == name);
        for (number, column) in silver.columns.iter_mut().enumerate() {
            column.introduced = position(&column.name).unwrap_or(known.len() + number);
        }
    }
    warehouse
}

/// What is left of a warehouse's objects, and its model as the lock has it.
fn lock_of(warehouse: &Warehouse, scripts: &[Script]) -> (Lock, Value) {
    let mut model = serde_json::to_value(warehouse).expect("a model is plain data with string keys");
    if let Some(model) = model.as_object_mut() {
        // What says nothing about objects.
        for word in ["scripts", "demo", "evolution", "tests"] {
            model.remove(word);
        }
    }
    let texts =
        scripts.iter().map(|one| lock::Script { title: one.title.clone(), sql: one.text() }).collect();
    let mut lock = Lock::new(sql::objects_hash(scripts), format!("{model:#}"), texts);
    lock.columns = warehouse.silver.iter().map(|silver| (plain(&silver.name), in_order(silver))).collect();
    (lock, model)
}

fn in_order(silver: &Silver) -> Vec<String> {
    silver.in_order_of_introduction().map(|column| column.name.clone()).collect()
}

fn plain(name: &Name) -> String {
    format!("{}.{}", name.schema, name.name)
}

fn add_lock(lock: &Lock, warehouse: &Warehouse, set: &mut FileSet) {
    let text = format!("{}\n\n{}", mark("#", &spec_of(warehouse)), lock.text());
    set.add(lock_path(&warehouse.name), text);
}

/// Where a warehouse's lock file stands.
pub fn lock_path(warehouse: &str) -> String {
    format!("migration/src/{}/lock.toml", rust::module_name(warehouse))
}

fn folder(warehouse: &Warehouse) -> String {
    format!("migration/src/{}", rust::module_name(&warehouse.name))
}

fn marks(warehouse: &Warehouse) -> (String, String) {
    let from = spec_of(warehouse);
    (mark("--", &from), mark("//", &from))
}

/// The relations whose scripts say something else than before, or else what other scripts are about.
fn changed(before: &Lock, now: &Lock) -> Vec<String> {
    let there = |lock: &Lock, script: &lock::Script| {
        lock.scripts.iter().any(|one| one.title == script.title && one.sql == script.sql)
    };
    let come = now.scripts.iter().filter(|one| !there(before, one));
    let gone = before.scripts.iter().filter(|one| now.scripts.iter().all(|other| other.title != one.title));
    let titles: Vec<&str> = come.chain(gone).map(|one| one.title.as_str()).collect();
    let about =
        |(kind, what): (&str, &'_ str)| if kind == TOOL_SCHEMA { what.to_owned() } else { kind.to_owned() };
    let others = titles.iter().filter_map(|title| title.split_once(": ").map(about));
    let relations = titles.iter().filter(|title| !title.contains(": "));
    let relations: Vec<String> =
        relations.filter_map(|title| title.split_once('.')).map(|(_, name)| name.to_owned()).collect();
    let named = if relations.is_empty() { others.collect() } else { relations };
    named.into_iter().map(|name| format!("change_{name}")).collect()
}

/// `m000002_dim_customer_hist_add_phone`.
fn name(number: usize, labels: &[String]) -> String {
    let mut labels = labels.to_vec();
    labels.dedup();
    let label = match labels.as_slice() {
        [] => "objects".to_owned(),
        [one] => one.clone(),
        [one, rest @ ..] => {
            let more = format!("_and_{}_more", rest.len());
            format!("{}{more}", &cut(one, LONGEST_LABEL - more.len()))
        }
    };
    let plain: String = label
        .chars()
        .map(|character| match character {
            'A'..='Z' => character.to_ascii_lowercase(),
            'a'..='z' | '0'..='9' => character,
            _ => '_',
        })
        .collect();
    format!("m{number:06}_{}", cut(&plain, LONGEST_LABEL))
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}
