//! The SQL of a migration that follows others: the steps of a plan by the scripts that they belong to, then
//! what the bookkeeping has to know, then the hash of the objects that now stand.

use askama::Template;

use super::lint;
use super::quote::{identifier, literal, relation};
use crate::model::{Name, TOOL_SCHEMA};
use crate::plan::decision::Decisions;
use crate::plan::object::{Kind, Object};
use crate::plan::schema::Schemas;
use crate::plan::{Catalog, Hazard, Renames, Step, hazard};

#[derive(Template)]
#[template(path = "migration/src/warehouse/next/up.sql", escape = "none")]
struct NextSql<'a> {
    mark: &'a str,
    hazards: Vec<Hazard>,
    held: Vec<String>,
    sections: Vec<SectionSql<'a>>,
    objects_hash: String,
}

struct SectionSql<'a> {
    title: &'a str,
    steps: Vec<StepSql<'a>>,
}

struct StepSql<'a> {
    /// A blank line, but between statements of one line and one kind.
    before: &'static str,
    hazards: Vec<Hazard>,
    text: String,
    /// The word that a statement of one line begins with.
    kind: Option<&'a str>,
    /// Whether what it drops is made again further down.
    is_made_again: bool,
}

impl<'a> StepSql<'a> {
    fn after(previous: Option<&Self>, step: &'a Step) -> Self {
        // Said before the first of those that are made again, once.
        let again = step.hazards == [Hazard::Remade] && previous.is_some_and(|one| one.is_made_again);
        let hazards = if again { Vec::new() } else { step.hazards.clone() };
        let is_short = step.remark.is_empty() && hazards.is_empty() && !step.sql.contains('\n');
        let kind = step.sql.split(' ').next().filter(|_| is_short);
        let continues = kind.is_some() && previous.is_some_and(|one| one.kind == kind || again);
        Self {
            before: if continues { "" } else { "\n" },
            hazards,
            text: format!("{}{}", step.remark, step.sql),
            kind,
            is_made_again: step.hazards.contains(&Hazard::Remade),
        }
    }
}

/// The columns of the bookkeeping that hold a relation's name: the table, and the column.
const NAMES: [(&str, &str); 12] = [
    ("captured_table", "landing"),
    ("column_since", "relation"),
    ("guard_switch", "relation"),
    ("landed_file", "landing"),
    ("late_change", "relation"),
    ("misfit", "landing"),
    ("misfit", "relation"),
    ("quarantine", "landing"),
    ("recompute", "relation"),
    ("watermark", "relation"),
    ("erasure", "landing"),
    ("erasure", "relation"),
];
/// Whose rows stay when their relation goes: that somebody was erased, or switched its guards, stays true.
const TRACES: [&str; 2] = ["erasure", "guard_switch"];

/// The statements, with the bookkeeping's.
pub(in crate::emit) fn text(steps: &[Step], objects_hash: &str, mark: &str) -> String {
    let mut sections: Vec<SectionSql<'_>> = Vec::new();
    for step in steps {
        if sections.last().is_none_or(|section| section.title != step.section) {
            sections.push(SectionSql { title: &step.section, steps: Vec::new() });
        }
        if let Some(section) = sections.last_mut() {
            let next = StepSql::after(section.steps.last(), step);
            section.steps.push(next);
        }
    }
    let mut hazards: Vec<Hazard> = steps.iter().flat_map(|step| step.hazards.iter().copied()).collect();
    hazards.sort();
    hazards.dedup();
    let held = hazard::held(steps).into_iter().rev();
    let held = held.map(|(blocked, tables)| {
        let tables: Vec<String> = tables.into_iter().map(super::quote::remark).collect();
        format!("{blocked}: {}", tables.join(", "))
    });
    let objects_hash = literal(objects_hash);
    lint::remarked(super::render(&NextSql { mark, hazards, held: held.collect(), sections, objects_hash }))
}

#[derive(Template)]
#[template(path = "migration/src/warehouse/beside/up.sql", escape = "none")]
struct BesideSql<'a> {
    mark: &'a str,
    sections: Vec<AloneSql<'a>>,
    objects_hash: Option<String>,
}

struct AloneSql<'a> {
    title: &'a str,
    statements: Vec<(&'static str, String)>,
}

/// What the runtime reads before a statement that runs by itself.
const ALONE: &str = "-- By itself:";
/// And before a question, of whose answer each line is such a statement.
const EACH: &str = "-- Each line of its answer, by itself:";

/// Statements that run each by itself; what is reached with them, where that is not said before.
pub(in crate::emit) fn by_itself(steps: &[Step], objects_hash: Option<&str>, mark: &str) -> String {
    let mut sections: Vec<AloneSql<'_>> = Vec::new();
    for step in steps {
        if sections.last().is_none_or(|section| section.title != step.section) {
            sections.push(AloneSql { title: &step.section, statements: Vec::new() });
        }
        if let Some(section) = sections.last_mut() {
            let course = if step.sql.starts_with("SELECT ") { EACH } else { ALONE };
            section.statements.push((course, format!("{}{}", step.remark, step.sql)));
        }
    }
    let objects_hash = objects_hash.map(literal);
    lint::remarked_beside(super::render(&BesideSql { mark, sections, objects_hash }))
}

/// A migration's SQL as `psql` runs it: what runs by itself leaves the transaction that it is called in.
pub(in crate::emit) fn for_psql(text: &str) -> String {
    let mut parts = text.split_inclusive('\n');
    let mut found = String::new();
    let mut asked = false;
    let is_alone = text.lines().any(|line| line == ALONE || line == EACH);
    if !is_alone {
        return text.to_owned();
    }
    found.push_str("COMMIT;\n");
    for line in &mut parts {
        match line.trim_end() {
            EACH => asked = true,
            ALONE => asked = false,
            _ => {}
        }
        match line.trim_end().strip_suffix(';').filter(|_| asked) {
            Some(statement) => found.push_str(&format!("{statement}\n\\gexec\n")),
            None => found.push_str(line),
        }
    }
    found
}

/// What the bookkeeping has to know, on the way from `old` to `new`.
pub(in crate::emit) struct Bookkeeping<'a> {
    pub(in crate::emit) decisions: &'a Decisions,
    pub(in crate::emit) renames: &'a Renames,
    pub(in crate::emit) old: &'a Catalog,
    pub(in crate::emit) new: &'a Catalog,
}

impl Bookkeeping<'_> {
    /// The way up.
    pub(in crate::emit) fn up(&self) -> Vec<Step> {
        let mut steps = self.moved(&self.decisions.schemas, self.old);
        for (before, now) in &self.decisions.renamed {
            steps.extend(self.rename(before, now));
        }
        steps.extend(self.forgotten(self.old, self.new, &self.decisions.schemas, &Schemas::default()));
        // One that comes under its name again is another one.
        for (table, column) in self.decisions.dropped.iter().filter(|_| has(self.old, "column_since")) {
            steps.push(self.unsaid(table, column));
        }
        for (table, before, now) in &self.decisions.renamed_columns {
            steps.extend(self.rename_column(table, before, now));
        }
        for (table, column) in &self.decisions.begun {
            let since = tool("column_since");
            let remark = format!("-- What was applied before has no {}.\n", remark_name(column));
            let sql = format!(
                "INSERT INTO {since} (\"relation\", \"column\", \"lsn\")\n\
                 SELECT \"relation\", {}, \"lsn\"\nFROM {}\nWHERE \"relation\" = {};",
                literal(column),
                tool("watermark"),
                literal(&plain(table)),
            );
            steps.push(Step { remark, ..Step::bookkeeping(&plain(table), sql) });
        }
        steps.extend(self.recompute(self.new, |name| name.clone()));
        steps.extend(self.retried());
        steps
    }

    /// What was left out for want of a value is tried once more when an enumerated type has others.
    fn retried(&self) -> Option<Step> {
        let is_other = |now: &Object| {
            let was = self.old.objects.iter().find(|was| was.identity == now.identity);
            now.identity.kind == Kind::Type && was.is_some_and(|was| was.sql != now.sql)
        };
        let is_due = has(self.old, "misfit") && self.new.objects.iter().any(is_other);
        (is_due && has(self.new, "misfit")).then(|| {
            let sql = format!(
                "INSERT INTO {} (\"relation\")\nSELECT DISTINCT \"relation\"\nFROM {}\nON CONFLICT DO NOTHING;",
                tool("recompute"),
                tool("misfit")
            );
            Step::bookkeeping("what was left out for want of a value", sql)
        })
    }

    /// A column is as old as its relation.
    fn unsaid(&self, table: &Name, column: &str) -> Step {
        let sql = format!(
            "DELETE FROM {}\nWHERE \"relation\" = {}\nAND \"column\" = {};",
            tool("column_since"),
            literal(&plain(table)),
            literal(column)
        );
        Step::bookkeeping(&plain(table), sql)
    }

    /// The way back.
    pub(in crate::emit) fn down(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if has(self.old, "column_since") {
            for (table, column) in &self.decisions.begun {
                steps.push(self.unsaid(table, column));
            }
            for (table, before, now) in &self.decisions.renamed_columns {
                steps.extend(self.rename_column(table, now, before));
            }
        }
        for (before, now) in &self.decisions.renamed {
            steps.extend(self.rename(now, before));
        }
        let back = self.decisions.schemas.inverse();
        steps.extend(self.forgotten(self.new, self.old, &Schemas::default(), &back));
        steps.extend(self.moved(&back, self.new));
        steps.extend(self.recompute(self.old, |name| self.decisions.before(name)));
        steps
    }

    /// Relations whose schema has another name: all of them at once.
    fn moved(&self, schemas: &Schemas, from: &Catalog) -> Vec<Step> {
        let kinds = [Kind::Table, Kind::View, Kind::MaterializedView];
        let pairs: Vec<String> = from
            .named(&kinds)
            .map(|(_, plain)| plain)
            .filter(|plain| schemas.plain(plain) != *plain)
            .map(|plain| format!("({}, {})", literal(&plain), literal(&schemas.plain(&plain))))
            .collect();
        if pairs.is_empty() {
            return Vec::new();
        }
        let both = |table: &str| has(self.old, table) && has(self.new, table);
        let tables = NAMES.iter().filter(|(table, _)| both(table));
        tables
            .map(|(table, column)| {
                let column = identifier(column);
                let sql = format!(
                    "UPDATE {}\nSET {column} = moved.now\nFROM (\n    VALUES\n        {}\n) AS moved (before, now)\n\
                     WHERE {column} = moved.before;",
                    tool(table),
                    pairs.join(",\n        ")
                );
                Step::bookkeeping("schemas", sql)
            })
            .collect()
    }

    fn rename(&self, before: &Name, now: &Name) -> Vec<Step> {
        let both = |table: &str| has(self.old, table) && has(self.new, table);
        NAMES
            .iter()
            .filter(|(table, _)| both(table))
            .map(|(table, column)| {
                let column = identifier(column);
                let sql = format!(
                    "UPDATE {}\nSET {column} = {}\nWHERE {column} = {};",
                    tool(table),
                    literal(&plain(now)),
                    literal(&plain(before))
                );
                Step::bookkeeping(&plain(now), sql)
            })
            .collect()
    }

    fn rename_column(&self, table: &Name, before: &str, now: &str) -> Option<Step> {
        if !has(self.old, "column_since") {
            return None;
        }
        let sql = format!(
            "UPDATE {}\nSET \"column\" = {}\nWHERE \"relation\" = {}\nAND \"column\" = {};",
            tool("column_since"),
            literal(now),
            literal(&plain(table)),
            literal(before)
        );
        Some(Step::bookkeeping(&plain(table), sql))
    }

    /// What the bookkeeping knew of relations that are gone: by their names of now, told from those of before and after.
    fn forgotten(&self, from: &Catalog, to: &Catalog, now: &Schemas, after: &Schemas) -> Vec<Step> {
        let stands =
            |catalog: &Catalog, name: &str| catalog.objects.iter().any(|one| one.identity.name == name);
        let renamed =
            |name: &str| self.renames.relations.iter().any(|one| one.before == name || one.now == name);
        let mut steps = Vec::new();
        for (quoted, plain) in from.tables() {
            let (quoted, plain) = (now.text(&quoted), now.plain(&plain));
            if stands(to, &after.text(&quoted)) || renamed(&quoted) {
                continue;
            }
            let kept = |table: &str| !TRACES.contains(&table) && has(from, table) && has(to, table);
            for (table, column) in NAMES.iter().filter(|(table, _)| kept(table)) {
                let sql = format!(
                    "DELETE FROM {}\nWHERE {} = {};",
                    tool(table),
                    identifier(column),
                    literal(&plain)
                );
                steps.push(Step::bookkeeping(&plain, sql));
            }
        }
        steps
    }

    /// What the next run computes anew.
    fn recompute(&self, to: &Catalog, called: impl Fn(&Name) -> Name) -> Vec<Step> {
        if !has(to, "recompute") {
            return Vec::new();
        }
        let due = self.decisions.recomputed.iter().chain(&self.decisions.stale);
        due.map(called)
            .filter(|name| to.objects.iter().any(|one| one.identity.name == relation(name)))
            .map(|name| {
                let sql = format!(
                    "INSERT INTO {} (\"relation\")\nVALUES ({})\nON CONFLICT DO NOTHING;",
                    tool("recompute"),
                    literal(&plain(&name))
                );
                Step { hazards: vec![Hazard::Recompute], ..Step::bookkeeping(&plain(&name), sql) }
            })
            .collect()
    }
}

fn has(catalog: &Catalog, table: &str) -> bool {
    let name = tool(table);
    catalog.objects.iter().any(|object| object.identity.name == name)
}

fn tool(table: &str) -> String {
    relation(&Name::new(TOOL_SCHEMA, table))
}

/// A relation as the bookkeeping calls it.
fn plain(name: &Name) -> String {
    format!("{}.{}", name.schema, name.name)
}

fn remark_name(column: &str) -> String {
    super::quote::remark(&format!("`{column}`"))
}
