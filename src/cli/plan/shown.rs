//! A plan as people and programs read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::touched::{Size, Touched};
use crate::emit::{Course, Planned};
use crate::plan::{Blocked, Hazard, Lock, Step, hazard};

/// A plan, with what is known besides.
pub struct Shown<'a> {
    /// The warehouse's name.
    pub warehouse: &'a str,
    /// The next migration, where there is one.
    pub planned: Option<&'a Planned>,
    /// How large the tables are.
    pub touched: Touched,
    /// What it risks that the spec does not allow.
    pub refused: BTreeSet<String>,
    /// Whether there are migrations already.
    pub is_begun: bool,
}

impl Shown<'_> {
    /// A line a statement, what it risks below it; what that means stands at the end, once.
    pub fn human(&self) -> String {
        let Some(planned) = self.planned else { return format!("{}: {}\n", self.warehouse, self.nothing()) };
        let mut text = format!(
            "{}: {}, {}{}\n",
            self.warehouse,
            planned.name,
            counted(planned.up.len(), "statement"),
            self.course()
        );
        let mut section = "";
        let (comments, others): (Vec<&Step>, Vec<&Step>) =
            planned.up.iter().partition(|step| step.sql.starts_with("COMMENT ON "));
        for step in &others {
            if step.section != section {
                section = &step.section;
                let _ = write!(text, "\n{section}\n");
            }
            let _ = writeln!(text, "    {}", first_line(&step.sql));
            if let Some(said) = self.said(step) {
                let _ = writeln!(text, "      ! {said}");
            }
        }
        if !comments.is_empty() {
            let _ = write!(text, "\nand {}\n", counted(comments.len(), "comment"));
        }
        let held = match planned.course {
            Course::Whole => "locks, held until it is committed",
            Course::ByItself => "locks, held by one statement at a time",
        };
        for (title, list) in [("hazards", meanings(&planned.up)), (held, locks(planned))] {
            if !list.is_empty() {
                let _ = write!(text, "\n{title}\n");
                for line in list {
                    let _ = writeln!(text, "    {line}");
                }
            }
        }
        if !self.refused.is_empty() {
            let _ = write!(text, "\n`migrate up` refuses it until the spec says:\n\n{}", self.lines("    "));
        }
        text
    }

    /// What a reviewer sees first is what it risks; the statements are below, folded.
    pub fn markdown(&self) -> String {
        let Some(planned) = self.planned else {
            return format!("**{}**: {}\n", self.warehouse, self.nothing());
        };
        let count = counted(planned.up.len(), "statement");
        let course = self.course();
        let mut text = format!("### `{}`: `{}`, {count}{course}\n\n", self.warehouse, planned.name);
        let hazardous = planned.up.iter().filter(|step| !step.hazards.is_empty());
        let (again, risky): (Vec<&Step>, Vec<&Step>) =
            hazardous.partition(|step| step.hazards == [Hazard::Remade]);
        let meanings = meanings(&planned.up);
        if meanings.is_empty() {
            text.push_str("No hazards.\n");
        }
        if !risky.is_empty() {
            text.push_str("| of | hazard | lock | touches | statement |\n| --- | --- | --- | --- | --- |\n");
            for step in risky {
                let hazards: Vec<&str> = step.hazards.iter().map(|hazard| hazard.name()).collect();
                let lock = self.strongest(step).map_or("", Lock::name);
                let size = self.touched.of(step).map_or_else(String::new, |size| size.to_string());
                let statement = first_line(&step.sql).replace('|', "\\|");
                let (of, hazards) = (step.section.replace('|', "\\|"), hazards.join(", "));
                let _ = writeln!(text, "| {of} | {hazards} | {lock} | {size} | `{statement}` |");
            }
            text.push('\n');
        }
        for line in meanings {
            let _ = writeln!(text, "- {line}");
        }
        if !again.is_empty() {
            let named = again.iter().map(|step| step.sql.trim_start_matches("DROP ").trim_end_matches(';'));
            let named: Vec<String> = named.map(|name| format!("`{name}`")).collect();
            let _ = write!(text, "\nMade again: {}\n", named.join(", "));
        }
        if planned.course == Course::ByItself {
            text.push_str("\nHeld by one statement at a time:\n\n");
            for line in locks(planned) {
                let _ = writeln!(text, "- {line}");
            }
        }
        let held = hazard::held(&planned.up);
        if !held.is_empty() && planned.course == Course::Whole {
            text.push_str("\nUntil it is committed:\n\n");
            for (blocked, tables) in held.iter().rev() {
                let tables: Vec<String> = tables.iter().map(|table| format!("`{table}`")).collect();
                let _ = writeln!(text, "- {blocked}: {}", tables.join(", "));
            }
        }
        if !self.refused.is_empty() {
            let lines = self.lines("");
            let _ = write!(text, "\n`migrate up` refuses it until the spec says:\n\n```toml\n{lines}```\n");
        }
        let sql = statements(&planned.up);
        let _ = write!(text, "\n<details><summary>SQL</summary>\n\n```sql\n{sql}\n```\n\n</details>\n");
        text
    }

    /// Why there is no next migration.
    fn nothing(&self) -> &'static str {
        match self.is_begun {
            true => "nothing to migrate",
            false => {
                "no migration yet: `medallion generate` writes the first, which makes all that the spec says"
            }
        }
    }

    /// The whole of it, for programs.
    pub fn json(&self) -> Value {
        let steps = self.planned.map_or(&[][..], |planned| &planned.up);
        let step = |step: &Step| {
            let hazards: Vec<&str> = step.hazards.iter().map(|hazard| hazard.code()).collect();
            let lock = |(lock, table): &(Lock, String)| json!({ "relation": table, "mode": lock.name(), "blocks": lock.blocks().code() });
            let locks: Vec<Value> = step.locks.iter().map(lock).collect();
            let touches = self.touched.of(step).map(|size| json!({ "rows": size.rows, "bytes": size.bytes }));
            json!({
                "section": step.section,
                "sql": step.sql,
                "hazards": hazards,
                "locks": locks,
                "touches": touches,
            })
        };
        let hazards: BTreeSet<&str> =
            steps.iter().flat_map(|step| &step.hazards).map(|hazard| hazard.code()).collect();
        json!({
            "warehouse": self.warehouse,
            "begun": self.is_begun,
            "migration": self.planned.map(|one| &one.name),
            "in_transaction": self.planned.is_none_or(|one| one.course == Course::Whole),
            "hazards": hazards,
            "not_allowed": self.refused,
            "statements": steps.iter().map(step).collect::<Vec<Value>>(),
        })
    }

    /// What a statement risks, locks and touches, in a line.
    fn said(&self, step: &Step) -> Option<String> {
        let mut said: Vec<String> = step.hazards.iter().map(|hazard| hazard.name().to_owned()).collect();
        said.extend(self.strongest(step).map(|lock| lock.name().to_owned()));
        if said.is_empty() {
            return None;
        }
        let size = self.touched.of(step).map_or_else(String::new, |size| format!(": {size}"));
        Some(format!("{}{size}", said.join(", ")))
    }

    /// How it runs, where it is not as a whole.
    fn course(&self) -> &'static str {
        match self.planned.map(|planned| planned.course) {
            Some(Course::ByItself) => ", each by itself and in no transaction",
            Some(Course::Whole) | None => "",
        }
    }

    /// The strongest lock of a statement that is worth a word.
    fn strongest(&self, step: &Step) -> Option<Lock> {
        self.planned.and_then(|planned| strongest(planned, step))
    }

    /// The lines to paste.
    fn lines(&self, margin: &str) -> String {
        allowing(self.refused.iter().map(String::as_str), margin)
    }
}

/// The lines of a spec that allow what is risked.
pub fn allowing<'a>(risks: impl IntoIterator<Item = &'a str>, margin: &str) -> String {
    let mut lines = format!("{margin}[allow_hazard]\n");
    for risk in risks {
        let risk = risk.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = writeln!(lines, "{margin}\"{risk}\" = \"why\"");
    }
    lines
}

/// The statements whole.
pub fn statements(steps: &[Step]) -> String {
    let list: Vec<&str> = steps.iter().map(|step| step.sql.as_str()).collect();
    list.join("\n\n")
}

/// The strongest lock of a statement that anybody has to wait for; of what takes its time beside others any.
fn strongest(planned: &Planned, step: &Step) -> Option<Lock> {
    let worth = match planned.course {
        Course::Whole => Blocked::Writers,
        Course::ByItself => Blocked::Upkeep,
    };
    step.locks.iter().map(|(lock, _)| *lock).max().filter(|lock| lock.blocks() >= worth)
}

fn meanings(steps: &[Step]) -> Vec<String> {
    let hazards: BTreeSet<Hazard> = steps.iter().flat_map(|step| step.hazards.iter().copied()).collect();
    hazards.iter().map(Hazard::to_string).collect()
}

fn locks(planned: &Planned) -> Vec<String> {
    let strongest = planned.up.iter().filter_map(|step| strongest(planned, step));
    let locks: BTreeMap<Lock, Blocked> = strongest.map(|lock| (lock, lock.blocks())).collect();
    locks.iter().rev().map(|(lock, blocked)| format!("{}: {blocked}", lock.name())).collect()
}

impl std::fmt::Display for Size {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
        let mut digits = self.rows.to_string();
        let mut place = digits.len();
        while place > 3 {
            place -= 3;
            digits.insert(place, ',');
        }
        let rows = if self.rows == 1 { "row" } else { "rows" };
        let mut size = self.bytes as f64 / 1024.0;
        let mut unit = 0;
        while size >= 1024.0 && unit + 1 < UNITS.len() {
            size /= 1024.0;
            unit += 1;
        }
        let places = usize::from(size < 10.0 && unit > 0);
        write!(formatter, "about {digits} {rows}, {size:.places$} {}", UNITS[unit])
    }
}

/// The first line, or two where the first only names a table.
fn first_line(sql: &str) -> String {
    let mut lines = sql.lines().map(str::trim);
    let first = lines.next().unwrap_or_default();
    let rest = lines.next().filter(|_| first.starts_with("ALTER "));
    let whole = rest.map_or_else(|| first.to_owned(), |rest| format!("{first} {rest}"));
    let more = sql.lines().count() > 1 + usize::from(rest.is_some());
    if more { format!("{} …", whole.trim_end_matches([',', ';'])) } else { whole }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
