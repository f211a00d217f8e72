//! SQL:2011's FOR SYSTEM_TIME, rewritten into what PostgreSQL reads. Only the tables with a clause are
//! replaced, in the text as it was written: whatever else a question says, and may be no parser but the
//! server knows, stays as it is. Asks no database.

mod clause;
mod relation;
mod words;

use std::collections::BTreeSet;

use clause::{Alias, Before, Clause, Period};
use relation::Versioned;
use words::Words;

use crate::descriptor::{Mart, Name, SilverKind, Storage, Warehouse};
use crate::error::{Error, Result};
use crate::quote;

/// A question as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The SQL.
    pub sql: String,
    /// The times that it names and that depend on no row, as SQL of type timestamptz.
    pub times: Vec<Time>,
    /// Whether there are others, which only the question's rows tell.
    pub is_of_rows: bool,
}

/// A time that can be looked at before the question is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Time {
    /// As SQL of type timestamptz.
    pub sql: String,
    /// Whether versions of this time are wanted, so that they must not be gone.
    pub earliest: bool,
}

/// What is done about times that only rows tell, and that may lie before the past that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The server looks at each: one from before is an error, and no missing row.
    Each,
    /// Nothing: all of the past is kept, or the role may not ask how much of it is.
    Nothing,
}

/// Rewrites a question; one without FOR SYSTEM_TIME stays as it is, readable or not.
pub fn rewrite(warehouse: &Warehouse, sql: &str, guard: Guard) -> Result<Question> {
    let mut question = Question { sql: sql.to_owned(), times: Vec::new(), is_of_rows: false };
    while question.sql.to_ascii_lowercase().contains("system_time") {
        let words = Words::read(&question.sql)?;
        let Some(clause) = clause::last(&words)? else { break };
        let relation = find(warehouse, &words, &clause)?;
        let table = table(&relation, &clause, guard);
        let in_any_order = matches!(clause.period, Period::Symmetric(..));
        for (index, time) in clause.period.times().into_iter().enumerate() {
            if time.of_rows {
                question.is_of_rows = true;
            } else {
                question.times.push(Time { sql: time.sql.clone(), earliest: index == 0 || in_any_order });
            }
        }
        let table = apart(&question.sql[..clause.place.start], table, &question.sql[clause.place.end..]);
        question.sql.replace_range(clause.place, &table);
    }
    Ok(question)
}

/// The schemas that a question names before a relation, those with a FOR SYSTEM_TIME left out; of functions none, whose
/// time is an argument or the question's.
pub fn schemas(sql: &str) -> BTreeSet<String> {
    let mut text = sql.to_owned();
    loop {
        let Ok(words) = Words::read(&text) else { return BTreeSet::new() };
        let Ok(Some(clause)) = clause::last(&words) else { return words.schemas() };
        let times: Vec<&str> = clause.period.times().iter().map(|time| time.sql.as_str()).collect();
        text.replace_range(clause.place, &format!(" x ({}) ", times.join(", ")));
    }
}

/// A text between two others, none of whose words runs into theirs: `FROM"x"` has no space, and neither has `'now'WHERE`.
fn apart(before: &str, text: String, after: &str) -> String {
    let is_word = |one: Option<char>| one.is_some_and(|one| one.is_alphanumeric() || "_$".contains(one));
    let space = |one, other| if is_word(one) && is_word(other) { " " } else { "" };
    let (first, last) = (text.chars().next(), text.chars().next_back());
    let (before, after) = (space(before.chars().next_back(), first), space(last, after.chars().next()));
    format!("{before}{text}{after}")
}

fn table(relation: &Versioned<'_>, clause: &Clause, guard: Guard) -> String {
    let table = relation.table(&clause.period, guard);
    let alias = match &clause.alias {
        Alias::Own => format!(" AS {}", quote::identifier(clause.name.last().map_or("", String::as_str))),
        Alias::Before(alias) => format!(" AS {alias}"),
        Alias::Behind => String::new(),
    };
    let before = match clause.before {
        Before::Table => "SELECT *\nFROM ",
        // A subquery sees its neighbours only so.
        Before::Other if clause.period.is_of_rows() => "LATERAL ",
        Before::Other | Before::Lateral => "",
    };
    format!("{before}{table}{alias}")
}

/// The relation that a clause stands behind.
fn find<'a>(warehouse: &'a Warehouse, words: &Words<'_>, clause: &Clause) -> Result<Versioned<'a>> {
    let shown = clause.name.join(".");
    let (schema, table) = match clause.name.as_slice() {
        [table] => (None, table),
        [schema, table] => (Some(schema), table),
        _ => return Err(no_versions(warehouse, &shown)),
    };
    if schema.is_none() && words.is_common(table, clause.word) {
        return Err(Error::new(format!("`{shown}` is a common table expression here, and has no versions"))
            .remedy("write FOR SYSTEM_TIME within it, behind the table that it reads"));
    }
    if schema.is_some_and(|schema| schema == "as_of") {
        return Err(Error::new(format!("`{shown}` is as of one time already"))
            .remedy(format!("write `{table}` without the schema")));
    }
    let is_meant = |name: &Name| name.table == *table && schema.is_none_or(|schema| name.schema == *schema);
    if let Some(mart) = warehouse.marts.iter().find(|mart| is_meant(&mart.table)) {
        if let Some((dimension, since)) = shown_by(warehouse, mart) {
            return Err(Error::new(format!("`{shown}` shows every version already")).remedy(format!(
                "choose among them by its own columns, `{since}` and the others; or write FOR SYSTEM_TIME behind `{}`",
                dimension.table
            )));
        }
        return Err(Error::new(format!("the mart `{shown}` keeps no versions of its own")).remedy(
            "ask the whole question as of the time, marts included: leave FOR SYSTEM_TIME away and give --as-of",
        ));
    }
    let mut all = relation::versioned(warehouse).into_iter();
    let found = all.find(|(name, _)| is_meant(name));
    found.map(|(_, relation)| relation).ok_or_else(|| no_versions(warehouse, &shown))
}

/// The dimension whose versions a view shows, by what is current of it, and the view's name for when they began; none
/// where it is a mart.
fn shown_by<'a>(warehouse: &'a Warehouse, mart: &'a Mart) -> Option<(&'a Name, &'a str)> {
    let (Storage::View, [read]) = (&mart.storage, mart.reads.as_slice()) else { return None };
    let silver = warehouse.silver.iter().find(|silver| silver.table == *read)?;
    let SilverKind::Dimension { current, .. } = &silver.kind else { return None };
    let (since, key) = mart.grain.split_last()?;
    let is_shown = mart.table.schema == silver.table.schema && key.len() == silver.key.len();
    is_shown.then_some((current, since.as_str()))
}

fn no_versions(warehouse: &Warehouse, shown: &str) -> Error {
    let mut names: Vec<String> = relation::versioned(warehouse)
        .into_iter()
        .filter(|(name, _)| warehouse.schemas.contains(&name.schema.as_str()))
        .map(|(name, _)| name.table.clone())
        .collect();
    names.sort();
    Error::new(format!("`{shown}` has no versions")).remedy(format!("these have: `{}`", names.join("`, `")))
}
