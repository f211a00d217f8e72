//! One FOR SYSTEM_TIME: the table that it stands behind, the name that the question gives to it, and the
//! times, read by the parser of expressions. Knows no relation of the warehouse.

use std::ops::{ControlFlow, Range};

use sqlparser::ast::{Expr, ObjectName, Query, Value, Visit as _, Visitor};
use sqlparser::dialect::{Dialect as _, PostgreSqlDialect, Precedence};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::words::Words;
use crate::error::{Error, Result};

/// What FROM can be followed by before a table, and what cannot be a table's name or alias.
const BEFORE_A_TABLE: [&str; 5] = ["from", "join", "lateral", "only", "table"];

/// What PostgreSQL goes on with behind a table, and takes as no alias but behind AS or in quotes.
const BEHIND_A_TABLE: [&str; 24] = [
    "cross",
    "except",
    "fetch",
    "for",
    "full",
    "group",
    "having",
    "inner",
    "intersect",
    "into",
    "join",
    "left",
    "limit",
    "natural",
    "offset",
    "on",
    "order",
    "returning",
    "right",
    "tablesample",
    "union",
    "using",
    "where",
    "window",
];

/// How a clause is written.
const FORMS: &str = "write FOR SYSTEM_TIME AS OF time | FROM time TO time | BETWEEN time AND time | \
    CONTAINED IN (time, time) | ALL";

/// A clause and its table, as written.
#[derive(Debug)]
pub(super) struct Clause {
    /// The bytes of the question that the rewritten table takes.
    pub place: Range<usize>,
    /// The word at which the table's name begins.
    pub word: usize,
    /// The table's names, the last its own.
    pub name: Vec<String>,
    /// What stands before the name.
    pub before: Before,
    /// The alias.
    pub alias: Alias,
    /// Which versions are meant.
    pub period: Period,
}

/// The word before a table's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// `TABLE`, the short form of a query.
    Table,
    /// `LATERAL`.
    Lateral,
    /// Anything else.
    Other,
}

/// The name that a question gives to a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Alias {
    /// None: the table's own counts.
    Own,
    /// It stands before the clause, columns included.
    Before(String),
    /// It stands behind the clause, where it stays.
    Behind,
}

/// Which versions are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Period {
    /// Those of a time.
    AsOf(Time),
    /// Those of some time from the first up to, and without, the second.
    From(Time, Time),
    /// Those of some time from the first up to the second.
    Between(Time, Time),
    /// The same, whichever comes first.
    Symmetric(Time, Time),
    /// Those that began at the first or later and ended at the second or before.
    ContainedIn(Time, Time),
    /// Every one.
    All,
}

impl Period {
    /// The times, the earlier first.
    pub fn times(&self) -> Vec<&Time> {
        match self {
            Self::AsOf(time) => vec![time],
            Self::From(first, second)
            | Self::Between(first, second)
            | Self::Symmetric(first, second)
            | Self::ContainedIn(first, second) => vec![first, second],
            Self::All => Vec::new(),
        }
    }

    /// Whether it depends on rows of the question.
    pub fn is_of_rows(&self) -> bool {
        self.times().iter().any(|time| time.of_rows)
    }
}

/// A time of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Time {
    /// As SQL of type timestamptz.
    pub sql: String,
    /// Whether it is known to be finite: a plain literal that says so.
    pub finite: bool,
    /// Whether it depends on rows.
    pub of_rows: bool,
}

/// The last clause of a question: what stands within another one's times is rewritten first.
pub(super) fn last(words: &Words<'_>) -> Result<Option<Clause>> {
    let begins = |index: &usize| words.is(*index, "for") && words.is(*index + 1, "system_time");
    for start in (0..words.tokens.len().saturating_sub(1)).rev().filter(begins) {
        if let Some((period, end)) = period(words, start + 2)? {
            return clause(words, start, end, period).map(Some);
        }
    }
    Ok(None)
}

fn clause(words: &Words<'_>, start: usize, end: usize, period: Period) -> Result<Clause> {
    let Some((table, alias)) = table(words, start) else {
        return Err(Error::new("a FOR SYSTEM_TIME stands behind no table")
            .remedy("write it right behind the name of a table that FROM or JOIN reads"));
    };
    if table.start.checked_sub(1).is_some_and(|index| words.is(index, "only")) {
        return Err(Error::new("ONLY and FOR SYSTEM_TIME cannot be said of one table")
            .remedy("leave ONLY away: versions are in no table's children"));
    }
    let name = (table.start..table.end).step_by(2).filter_map(|index| words.name(index)).collect();
    let before = match table.start.checked_sub(1) {
        Some(index) if words.is(index, "table") => Before::Table,
        Some(index) if words.is(index, "lateral") => Before::Lateral,
        _ => Before::Other,
    };
    let alias = match alias {
        Some(alias) => Alias::Before(words.written(alias).to_owned()),
        None if alias_follows(words, end) => Alias::Behind,
        None => Alias::Own,
    };
    let first = table.start - usize::from(before == Before::Table);
    Ok(Clause { place: words.range(first..end), word: table.start, name, before, alias, period })
}

/// The words of the table before a clause: its name, and its alias.
fn table(words: &Words<'_>, clause: usize) -> Option<(Range<usize>, Option<Range<usize>>)> {
    let last = clause.checked_sub(1)?;
    let with_columns = words.token(last) == Some(&Token::RParen);
    let word = if with_columns { words.partner(last)?.checked_sub(1)? } else { last };
    let explicit = word.checked_sub(1).is_some_and(|index| words.is(index, "as"));
    let end = match word.checked_sub(1) {
        Some(before) if explicit => Some(before),
        Some(before) if is_table_word(words, before) => Some(word),
        _ => None,
    };
    let Some(end) = end else {
        return (!with_columns).then(|| name(words, word + 1)).flatten().map(|name| (name, None));
    };
    words.name(word)?;
    Some((name(words, end)?, Some(word..clause)))
}

/// The words of the name that ends before a word.
fn name(words: &Words<'_>, end: usize) -> Option<Range<usize>> {
    let mut start = end.checked_sub(1)?;
    if !is_table_word(words, start) {
        return None;
    }
    while start >= 2 && words.token(start - 1) == Some(&Token::Period) && words.name(start - 2).is_some() {
        start -= 2;
    }
    Some(start..end)
}

fn is_table_word(words: &Words<'_>, index: usize) -> bool {
    words.name(index).is_some() && !BEFORE_A_TABLE.iter().any(|keyword| words.is(index, keyword))
}

fn alias_follows(words: &Words<'_>, end: usize) -> bool {
    words.name(end).is_some() && !BEHIND_A_TABLE.iter().any(|keyword| words.is(end, keyword))
}

/// What follows FOR SYSTEM_TIME, and the word behind it; none where the two words are something else.
fn period(words: &Words<'_>, start: usize) -> Result<Option<(Period, usize)>> {
    if words.is(start, "all") {
        return Ok(Some((Period::All, start + 1)));
    }
    if words.is(start, "as") && words.is(start + 1, "of") {
        let (time, end) = time(words, start + 2)?;
        return Ok(Some((Period::AsOf(time), end)));
    }
    if words.is(start, "from") {
        let (first, second, end) = pair(words, start + 1, &Token::make_keyword("TO"))?;
        return Ok(Some((Period::From(first, second), end)));
    }
    if words.is(start, "between") {
        let symmetric = words.is(start + 1, "symmetric");
        let times = start + 1 + usize::from(symmetric || words.is(start + 1, "asymmetric"));
        let (first, second, end) = pair(words, times, &Token::make_keyword("AND"))?;
        let period = if symmetric { Period::Symmetric } else { Period::Between };
        return Ok(Some((period(first, second), end)));
    }
    if words.is(start, "contained")
        && words.is(start + 1, "in")
        && words.token(start + 2) == Some(&Token::LParen)
    {
        let (first, second, end) = pair(words, start + 3, &Token::Comma)?;
        if words.token(end) != Some(&Token::RParen) {
            return Err(Error::new("FOR SYSTEM_TIME CONTAINED IN has two times").remedy(FORMS));
        }
        return Ok(Some((Period::ContainedIn(first, second), end + 1)));
    }
    match words.token(start) {
        Some(Token::Word(_)) | None => {
            Err(Error::new("FOR SYSTEM_TIME does not say which time").remedy(FORMS))
        }
        // `substring(text FOR system_time)`.
        Some(_) => Ok(None),
    }
}

fn pair(words: &Words<'_>, start: usize, between: &Token) -> Result<(Time, Time, usize)> {
    let (first, middle) = time(words, start)?;
    let is_there = match between {
        Token::Word(word) => words.is(middle, &word.value),
        _ => words.token(middle) == Some(between),
    };
    if !is_there {
        return Err(Error::new(format!(
            "FOR SYSTEM_TIME lacks its second time: no `{between}` follows the first"
        ))
        .remedy(FORMS));
    }
    let (second, end) = time(words, middle + 1)?;
    Ok((first, second, end))
}

/// A time, and the word behind it.
fn time(words: &Words<'_>, start: usize) -> Result<(Time, usize)> {
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(words.tokens[start..].to_vec());
    // Up to an AND, which belongs to the clause.
    match parser.parse_subexpr(dialect.prec_value(Precedence::Between)) {
        Ok(expression) => {
            let end = start + parser.index();
            Ok((of(&expression, words.written(start..end))?, end))
        }
        // Brackets say where a time ends, whatever stands in them.
        Err(cause) => match (words.token(start), words.partner(start)) {
            (Some(Token::LParen), Some(close)) => {
                let sql = format!("{}::timestamptz", words.written(start..close + 1));
                Ok((Time { sql, finite: false, of_rows: true }, close + 1))
            }
            _ => Err(Error::new("a time of FOR SYSTEM_TIME cannot be read")
                .because(cause.to_string())
                .remedy("put it in brackets, or correct it")),
        },
    }
}

fn of(expression: &Expr, written: &str) -> Result<Time> {
    let text = match expression {
        Expr::Value(value) => match &value.value {
            Value::Null => {
                return Err(Error::new("NULL is no time")
                    .remedy("leave FOR SYSTEM_TIME away to ask about now, or write ALL for every version"));
            }
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    };
    let sql = match text {
        Some(_) => format!("{written}::timestamptz"),
        None => format!("({written})::timestamptz"),
    };
    let finite = text.is_some_and(|text| !text.to_lowercase().contains("inf"));
    let mut columns = Columns { depth: 0, of_rows: false, bare: None };
    let _ = expression.visit(&mut columns);
    if let Some(name) = columns.bare {
        // Within the table's own versions it would be a column of theirs.
        return Err(Error::new(format!("a time of FOR SYSTEM_TIME is `{name}`, a column of no table"))
            .remedy("write the table before it, with a point between; a time itself stands in quotes"));
    }
    Ok(Time { sql, finite, of_rows: columns.of_rows })
}

/// The columns that a time names.
struct Columns {
    /// Within how many queries of its own.
    depth: usize,
    of_rows: bool,
    /// One without its table, outside of any query.
    bare: Option<String>,
}

impl Visitor for Columns {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    // `*` is the columns of what a query reads, which may be a table of the question's own.
    fn pre_visit_relation(&mut self, _: &ObjectName) -> ControlFlow<()> {
        self.of_rows = true;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        match expression {
            Expr::Identifier(name) if self.depth == 0 => self.bare = Some(name.to_string()),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => self.of_rows = true,
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
