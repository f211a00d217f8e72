//! SQL as text and tree: parsing, where an identifier of the tree stands in the text, what an identifier
//! means. Knows no relation.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    OrderByExpr, Value, ValueWithSpan,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

/// Functions and words that give the server's time.
const CLOCKS: &[&str] = &[
    "clock_timestamp",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "now",
    "statement_timestamp",
    "timeofday",
    "transaction_timestamp",
];

/// Strings that mean the server's time once they are cast.
const CLOCK_WORDS: &[&str] = &["now", "today", "tomorrow", "yesterday"];

/// What could not be parsed, and where.
pub(super) struct Broken {
    pub message: String,
    pub offset: usize,
}

/// A function that gives a time.
pub(super) enum Clock {
    /// The server's.
    Server,
    /// `medallion.now()`: the warehouse's.
    Warehouse,
}

/// No more words than this are read of one query: the tree of a chain is as deep as the chain is long.
const MOST_WORDS: usize = 20_000;
/// Nor more bytes.
const MOST_BYTES: usize = 1_000_000;

/// Where the words of a text stand, by the parser's lines and columns.
pub(super) struct Places {
    offsets: BTreeMap<Location, usize>,
}

impl Places {
    fn new(text: &str, tokens: &[TokenWithSpan]) -> Self {
        let spans = tokens.iter().map(|token| token.span);
        let wanted = spans.flat_map(|span| [span.start, span.end]).collect::<BTreeSet<_>>();
        let mut offsets = BTreeMap::new();
        let mut at = Location { line: 1, column: 1 };
        for (offset, character) in text.char_indices() {
            if wanted.contains(&at) {
                offsets.insert(at, offset);
            }
            at = match character {
                '\n' => Location { line: at.line + 1, column: 1 },
                _ => Location { line: at.line, column: at.column + 1 },
            };
        }
        offsets.insert(at, text.len());
        Self { offsets }
    }

    /// Where a location of the parser's lies in the text.
    pub(super) fn offset(&self, location: Location) -> usize {
        self.offsets.range(..=location).next_back().map_or(0, |(_, offset)| *offset)
    }

    /// Where the text ends.
    fn end(&self) -> usize {
        self.offsets.last_key_value().map_or(0, |(_, offset)| *offset)
    }

    /// Where a span of the parser's lies in the text.
    pub(super) fn range(&self, span: Span) -> Range<usize> {
        let start = self.offset(span.start);
        start..self.offset(span.end).max(start)
    }
}

/// A parser over a text, and where its words stand.
pub(super) fn parser(text: &str) -> Result<(Parser<'static>, Places), Broken> {
    const DIALECT: PostgreSqlDialect = PostgreSqlDialect {};
    if text.len() > MOST_BYTES {
        return Err(Broken { message: format!("more than {MOST_BYTES} bytes"), offset: 0 });
    }
    let tokens = Tokenizer::new(&DIALECT, text).tokenize_with_location().map_err(|error| Broken {
        message: lower_case(&error.message),
        offset: offset(text, error.location),
    })?;
    let words = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    if let Some(token) = words.clone().nth(MOST_WORDS) {
        let message = format!("more than {MOST_WORDS} words");
        return Err(Broken { message, offset: offset(text, token.span.start) });
    }
    let places = Places::new(text, &tokens);
    Ok((Parser::new(&DIALECT).with_tokens_with_locations(tokens), places))
}

/// An expression that is all of a text.
pub(super) fn expression(text: &str) -> Result<(Expr, Places), Broken> {
    let (mut parser, places) = parser(text)?;
    let expression = parser.parse_expr().map_err(|error| broken(&places, &error))?;
    let rest = parser.peek_token();
    match rest.token {
        Token::EOF => Ok((expression, places)),
        _ => Err(Broken {
            message: "one expression, and something follows it".to_owned(),
            offset: places.offset(rest.span.start),
        }),
    }
}

/// What ORDER BY takes, all of a text.
pub(super) fn order_by(text: &str) -> Result<(OrderByExpr, Places), Broken> {
    let (mut parser, places) = parser(text)?;
    let by = parser.parse_order_by_expr().map_err(|error| broken(&places, &error))?;
    let rest = parser.peek_token();
    match rest.token {
        Token::EOF => Ok((by, places)),
        _ => Err(Broken {
            message: "one column, and something follows it".to_owned(),
            offset: places.offset(rest.span.start),
        }),
    }
}

/// A parser's error, with the place taken out of its words.
pub(super) fn broken(places: &Places, error: &ParserError) -> Broken {
    let said = match error {
        ParserError::TokenizerError(said) | ParserError::ParserError(said) => said.as_str(),
        ParserError::RecursionLimitExceeded => "nested too deeply",
    };
    let (message, place) = said.rsplit_once(" at Line: ").unwrap_or((said, ""));
    let location = place.split_once(", Column: ").and_then(|(line, column)| {
        Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
    });
    let message = match message.strip_prefix("No infix parser for token ") {
        Some(token) => unfit(token),
        None => lower_case(message.trim_end_matches('.')),
    };
    Broken { message, offset: location.map_or_else(|| places.end(), |location| places.offset(location)) }
}

/// What is said of a word that cannot go on an expression, as the parser shows it to its developers.
fn unfit(token: &str) -> String {
    let word = token.split_once("value: \"").and_then(|(_, rest)| Some(rest.split_once('"')?.0));
    let word = word.map_or_else(|| "what follows".to_owned(), |word| format!("`{word}`"));
    format!("{word} cannot be read here")
}

/// Where a location lies in a text that could not be taken apart into words.
fn offset(text: &str, location: Location) -> usize {
    let [line, column] = [location.line, location.column]
        .map(|number| usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1));
    let start = text.split_inclusive('\n').take(line).map(str::len).sum::<usize>();
    text[start..].char_indices().nth(column).map_or(text.len(), |(index, _)| start + index)
}

/// A parser's words, begun as ours are.
fn lower_case(message: &str) -> String {
    let mut rest = message.chars();
    let first = rest.next().map_or(String::new(), |first| first.to_lowercase().collect());
    format!("{first}{}", rest.as_str())
}

/// The name that an identifier means: unquoted ones in lower case.
pub(crate) fn meant(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The identifiers of a name, unless it is made of something else.
pub(crate) fn parts(name: &ObjectName) -> Option<Vec<&Ident>> {
    name.0.iter().map(|part| part.as_ident()).collect()
}

/// The name of a function that is called as one of PostgreSQL's own.
pub(super) fn built_in(function: &Function) -> Option<String> {
    let parts = parts(&function.name)?;
    match parts.as_slice() {
        [name] => Some(meant(name)),
        [schema, name] if meant(schema) == "pg_catalog" => Some(meant(name)),
        _ => None,
    }
}

/// The arguments of a call, where they are plain expressions.
pub(super) fn arguments(function: &Function) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let plain = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
        _ => None,
    });
    plain.collect()
}

/// Words that say how text is put in its normal form, where a column might stand.
const FORMS: &[&str] = &["nfc", "nfd", "nfkc", "nfkd"];

/// Where a call has words that look like columns to the parser: names of arguments, `days =>`, and words of its own.
pub(super) fn argument_names(function: &Function) -> Vec<Location> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let has_forms =
        built_in(function).is_some_and(|name| ["is_normalized", "normalize"].contains(&name.as_str()));
    let names = list.args.iter().enumerate().filter_map(|(index, argument)| match argument {
        FunctionArg::Named { name, .. } | FunctionArg::ExprNamed { name: Expr::Identifier(name), .. } => {
            Some(name.span.start)
        }
        // The older way to write it, `days := 3`.
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp {
            left,
            op: BinaryOperator::Assignment,
            ..
        })) => match &**left {
            Expr::Identifier(name) => Some(name.span.start),
            _ => None,
        },
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(word)))
            if has_forms && index == 1 && FORMS.contains(&meant(word).as_str()) =>
        {
            Some(word.span.start)
        }
        _ => None,
    });
    names.collect()
}

/// Whether an expression gives a time that changes by itself, and the identifier that says so.
pub(super) fn clock(expression: &Expr) -> Option<(Clock, Span, String)> {
    match expression {
        Expr::Function(function) => {
            let parts = parts(&function.name)?;
            let (last, schema) = parts.split_last()?;
            let name = meant(last);
            let schema = schema.last().map(|schema| meant(schema));
            match schema.as_deref() {
                Some("medallion") if name == "now" => {
                    Some((Clock::Warehouse, last.span, "medallion.now".to_owned()))
                }
                None | Some("pg_catalog") if CLOCKS.contains(&name.as_str()) => {
                    Some((Clock::Server, last.span, name))
                }
                // Of one time, it is counted from today.
                None | Some("pg_catalog")
                    if name == "age" && arguments(function).is_some_and(|all| all.len() == 1) =>
                {
                    Some((Clock::Server, last.span, name))
                }
                _ => None,
            }
        }
        Expr::Cast { expr, .. } => match &**expr {
            Expr::Value(value) => clock_word(value),
            _ => None,
        },
        Expr::TypedString(typed) => clock_word(&typed.value),
        _ => None,
    }
}

fn clock_word(value: &ValueWithSpan) -> Option<(Clock, Span, String)> {
    let Value::SingleQuotedString(text) = &value.value else { return None };
    let word = text.trim().to_lowercase();
    CLOCK_WORDS.contains(&word.as_str()).then(|| (Clock::Server, value.span, format!("'{word}'")))
}
