//! What an expression puts side by side: a column and what it is compared with, or what `coalesce` and `CASE` choose
//! between. Finds what PostgreSQL would refuse for certain: a word that an enumerated type does not have, a text that is
//! no date, types that it does not compare. What only a database can tell is let pass. Knows columns and their types.

use std::str::FromStr;

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value};
use sqlparser::tokenizer::Span;

use super::expression::Place;
use super::{sql, type_name};
use crate::finding::{self, Code, Finding};
use crate::model::data_type::BuiltIn;
use crate::model::{DataType, Enum};

/// What does not fit.
pub(super) struct Unfit<'e> {
    /// Where.
    pub span: Span,
    what: What<'e>,
}

enum What<'e> {
    /// A value that a column of the type never has.
    Value { text: String, quoted: bool, column: Column<'e>, values: &'e [String] },
    /// Two columns whose types are not compared.
    Types(Column<'e>, Column<'e>),
    /// A column that is no text is matched with a pattern.
    Pattern(Column<'e>),
}

#[derive(Clone, Copy)]
struct Column<'e> {
    name: &'e str,
    data_type: &'e DataType,
    class: Class<'e>,
}

/// Types that PostgreSQL compares with each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class<'e> {
    Boolean,
    Number,
    Text,
    Time,
    Uuid,
    Enum(&'e str),
}

enum Side<'e> {
    Column(Column<'e>),
    Text(&'e str),
    Number(String),
    Truth(bool),
    Null,
}

impl Unfit<'_> {
    /// What is said of it, at its place in the spec.
    pub fn finding(&self, span: finding::Span) -> Finding {
        let said = |column: &Column<'_>| type_name::said(column.data_type);
        match &self.what {
            What::Value { text, quoted, column, values } => {
                let message = format!("`{}` is never `{text}`", column.name);
                let finding = Finding::new(Code::UnfitComparison, message, span).label(format!(
                    "`{}` is {}",
                    column.name,
                    said(column)
                ));
                match finding::closest(text, values.iter().map(String::as_str)) {
                    Some(meant) => finding.help(format!("did you mean `{meant}`?")),
                    None if !values.is_empty() => {
                        let values = values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>();
                        finding.help(format!("it is one of {}", values.join(", ")))
                    }
                    None if column.class == Class::Text && !quoted => {
                        finding.help(format!("as a text it stands in quotes: `'{text}'`"))
                    }
                    None => finding,
                }
            }
            What::Types(one, other) => {
                let message = format!("`{}` and `{}` cannot be compared", one.name, other.name);
                let are = format!("one is {}, the other {}", said(one), said(other));
                Finding::new(Code::UnfitComparison, message, span)
                    .label(are)
                    .help(format!("cast one of them, as in `{}::text`", other.name))
            }
            What::Pattern(column) => {
                let message = format!("`{}` is no text to match with a pattern", column.name);
                Finding::new(Code::UnfitComparison, message, span)
                    .label(format!("it is {}", said(column)))
                    .help(format!("make it one: `{}::text`", column.name))
            }
        }
    }
}

/// What does not fit in an expression itself; what is within it is looked at by itself.
pub(super) fn unfit<'e>(expression: &'e Expr, place: &Place<'e>) -> Vec<Unfit<'e>> {
    if let Expr::Like { expr, .. } | Expr::ILike { expr, .. } | Expr::SimilarTo { expr, .. } = expression {
        return match side(expr, place) {
            Some((Side::Column(column), span)) if column.class != Class::Text => {
                vec![Unfit { span, what: What::Pattern(column) }]
            }
            _ => Vec::new(),
        };
    }
    groups(expression).iter().flat_map(|group| within(group, place)).collect()
}

/// Expressions that PostgreSQL makes one type of.
fn groups(expression: &Expr) -> Vec<Vec<&Expr>> {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    match expression {
        Expr::BinaryOp { left, op: Eq | NotEq | Lt | LtEq | Gt | GtEq, right }
        | Expr::IsDistinctFrom(left, right)
        | Expr::IsNotDistinctFrom(left, right) => vec![vec![left, right]],
        Expr::InList { expr, list, .. } => vec![std::iter::once(&**expr).chain(list).collect()],
        Expr::Between { expr, low, high, .. } => vec![vec![expr, low], vec![expr, high]],
        Expr::Case { operand, conditions, else_result, .. } => {
            let results = conditions.iter().map(|one| &one.result).chain(else_result.as_deref()).collect();
            let operand = operand.as_deref();
            let whens = conditions.iter().filter_map(|one| Some(vec![operand?, &one.condition]));
            std::iter::once(results).chain(whens).collect()
        }
        Expr::Function(called) => {
            const ALIKE: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];
            let is_one = sql::built_in(called).is_some_and(|name| ALIKE.contains(&name.as_str()));
            sql::arguments(called).filter(|_| is_one).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn within<'e>(group: &[&'e Expr], place: &Place<'e>) -> Vec<Unfit<'e>> {
    // Of what is neither a column nor a literal the type is not known, nor what it makes of the others'.
    let sides: Option<Vec<_>> = group.iter().map(|one| side(one, place)).collect();
    let sides = sides.unwrap_or_default();
    let mut columns = sides.iter().filter_map(|(side, span)| match side {
        Side::Column(column) => Some((*column, *span)),
        _ => None,
    });
    let Some((first, _)) = columns.next() else { return Vec::new() };
    if let Some((other, span)) = columns.clone().find(|(other, _)| other.class != first.class) {
        return vec![Unfit { span, what: What::Types(first, other) }];
    }
    let is_alike = columns.all(|(other, _)| type_name::alike(other.data_type, first.data_type));
    let values = values(first.data_type, place.enums);
    let unfit = |text: String, quoted| What::Value { text, quoted, column: first, values };
    let unfit = sides.iter().filter_map(|(side, span)| {
        let what = match side {
            Side::Text(text) if is_alike && !takes(first.data_type, text, place.enums) => {
                unfit((*text).to_owned(), true)
            }
            Side::Number(number) if first.class != Class::Number => unfit(number.clone(), false),
            Side::Truth(truth) if first.class != Class::Boolean => unfit(truth.to_string(), false),
            _ => return None,
        };
        Some(Unfit { span: *span, what })
    });
    unfit.collect()
}

fn side<'e>(expression: &'e Expr, place: &Place<'e>) -> Option<(Side<'e>, Span)> {
    match expression {
        Expr::Nested(within) => side(within, place),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match side(expr, place)? {
            (Side::Number(number), span) => Some((Side::Number(format!("-{number}")), span)),
            _ => None,
        },
        Expr::Value(value) => {
            let side = match &value.value {
                Value::SingleQuotedString(text) => Side::Text(text),
                Value::Number(number, _) => Side::Number(number.clone()),
                Value::Boolean(truth) => Side::Truth(*truth),
                Value::Null => Side::Null,
                _ => return None,
            };
            Some((side, value.span))
        }
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
            let (_, column) = place.column(expression)?;
            let data_type = column.data_type.as_ref()?;
            let class = class(data_type)?;
            let span = match expression {
                Expr::CompoundIdentifier(parts) => parts.last()?.span,
                Expr::Identifier(ident) => ident.span,
                _ => return None,
            };
            Some((Side::Column(Column { name: &column.name, data_type, class }), span))
        }
        _ => None,
    }
}

fn class(data_type: &DataType) -> Option<Class<'_>> {
    use BuiltIn::{
        BigInt, Boolean, Char, Date, DoublePrecision, Integer, Numeric, Real, SmallInt, Text, Timestamp,
        TimestampTz, Uuid, Varchar,
    };
    match data_type {
        DataType::Enum(name) => Some(Class::Enum(&name.name)),
        DataType::BuiltIn(Boolean) => Some(Class::Boolean),
        DataType::BuiltIn(SmallInt | Integer | BigInt | Numeric(_) | Real | DoublePrecision) => {
            Some(Class::Number)
        }
        DataType::BuiltIn(Text | Varchar(_) | Char(_)) => Some(Class::Text),
        DataType::BuiltIn(Date | Timestamp | TimestampTz) => Some(Class::Time),
        DataType::BuiltIn(Uuid) => Some(Class::Uuid),
        DataType::BuiltIn(_) | DataType::Array(_) => None,
    }
}

/// The values of an enumerated type.
fn values<'e>(data_type: &DataType, enums: &'e [Enum]) -> &'e [String] {
    let DataType::Enum(name) = data_type else { return &[] };
    enums.iter().find(|own| own.name == *name).map_or(&[], |own| &own.values)
}

/// Whether a text may be a value of a type.
pub(super) fn takes(data_type: &DataType, text: &str, enums: &[Enum]) -> bool {
    let DataType::BuiltIn(built_in) = data_type else {
        let values = values(data_type, enums);
        return values.is_empty() || values.iter().any(|value| value == text);
    };
    let text = text.trim().to_lowercase();
    match built_in {
        BuiltIn::Boolean => {
            let words = ["true", "false", "yes", "no", "on", "off", "1", "0"];
            !["", "o"].contains(&text.as_str()) && words.iter().any(|word| word.starts_with(&text))
        }
        BuiltIn::SmallInt => is_number::<i16>(&text),
        BuiltIn::Integer => is_number::<i32>(&text),
        BuiltIn::BigInt => is_number::<i64>(&text),
        BuiltIn::Numeric(_) | BuiltIn::Real | BuiltIn::DoublePrecision => is_number::<f64>(&text),
        BuiltIn::Uuid => {
            let digits = text.chars().filter(|one| !['{', '}', '-'].contains(one));
            digits.clone().count() == 32 && digits.into_iter().all(|one| one.is_ascii_hexdigit())
        }
        BuiltIn::Date | BuiltIn::Timestamp | BuiltIn::TimestampTz => is_time(&text),
        _ => true,
    }
}

/// Newer servers read other notations than decimal, and groups of digits.
fn is_number<T: FromStr>(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    let is_newer = ["0x", "0o", "0b"].iter().any(|start| digits.starts_with(start)) || digits.contains('_');
    is_newer || text.parse::<T>().is_ok()
}

/// PostgreSQL reads times in many notations. None has neither a digit nor one of its words, and in one that begins as ISO
/// has it, there is that day.
fn is_time(text: &str) -> bool {
    const WORDS: [&str; 6] = ["epoch", "infinity", "now", "today", "tomorrow", "yesterday"];
    if !text.contains(|one: char| one.is_ascii_digit()) {
        return text.split(|one: char| !one.is_alphabetic()).any(|word| WORDS.contains(&word));
    }
    let end = text.find(|one: char| !one.is_ascii_digit() && one != '-').unwrap_or(text.len());
    let [year, month, day] = text[..end].split('-').collect::<Vec<_>>()[..] else { return true };
    let (4, Ok(year), Ok(month), Ok(day)) =
        (year.len(), year.parse::<u32>(), month.parse::<u32>(), day.parse::<u32>())
    else {
        return true;
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) || text.contains("bc");
    let days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}
