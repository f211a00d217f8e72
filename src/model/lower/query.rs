//! A mart's query, read from its file: the relations that it names and where, the columns that it names of
//! them, the clocks that it looks at, the columns that come out. Resolves scopes as PostgreSQL does, and
//! knows no relation of the warehouse.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use sqlparser::ast::{
    Distinct, Expr, Function, LimitClause, ObjectName, OrderByKind, Query as Tree, Select, SelectItem,
    SetExpr, Spanned, TableFactor, TableWithJoins, Value, Visit, Visitor, visit_expressions,
};
use sqlparser::tokenizer::{Location, Token};

use super::report::Report;
use super::sql::{self, Clock, Places};
use super::{volatile, zone};
use crate::finding::{Code, Finding, SourceText, Span};

/// A query, and what it names.
pub(super) struct Query {
    /// The text, up to a closing semicolon.
    pub text: String,
    /// What follows the semicolon: comments.
    pub tail: String,
    pub relations: Vec<Mention>,
    pub columns: Vec<ColumnMention>,
    pub clocks: Vec<(Clock, Range<usize>, String)>,
    /// Columns that the session's zone would cut, were they of the type.
    pub zoned: Vec<ColumnMention>,
    /// Functions whose values change by themselves.
    pub volatile: Vec<(Range<usize>, String)>,
    /// Functions that stand where rows are read, or of a schema.
    pub functions: Vec<FunctionMention>,
    /// What is called, with the columns that it is given, as they are written.
    pub calls: Vec<Call>,
    /// Where some rows are taken of many, in no order.
    pub unordered: Vec<(Range<usize>, &'static str)>,
    /// The names of the columns that come out, where they can be told.
    pub outputs: Option<Vec<String>>,
}

/// A relation that is named.
#[derive(Clone, PartialEq)]
pub(super) struct Mention {
    pub range: Range<usize>,
    pub schema: Option<String>,
    pub name: String,
}

/// A column that is named, and the relations of which one has to have it.
pub(super) struct ColumnMention {
    pub range: Range<usize>,
    pub name: String,
    pub of: Vec<Mention>,
}

/// A function that may read more than its arguments.
pub(super) struct FunctionMention {
    pub name: Mention,
    /// Whether it stands in FROM.
    pub in_from: bool,
}

/// A call, and the columns within it.
pub(super) struct Call {
    pub range: Range<usize>,
    pub function: Function,
    pub columns: Vec<(String, ColumnMention)>,
}

/// Reads the file of a mart or a test, as it is called; findings where it is not exactly one query.
pub(super) fn read(file: &SourceText, of: &str, report: &mut Report<'_>) -> Option<Query> {
    if !report.utf8(file) {
        return None;
    }
    let text = file.text();
    let place = |range: Range<usize>| Span::new(file.path(), range);
    let (tree, end, places) = match one_query(text) {
        Ok(parsed) => parsed,
        Err((code, broken)) => {
            let rest = &text[broken.offset..];
            let word =
                rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
            let range = broken.offset..broken.offset + word;
            let message = match code {
                Code::NotOneQuery => format!("{of} is exactly one query"),
                _ => format!("this SQL cannot be read: {}", broken.message),
            };
            let finding = Finding::new(code, message, place(range));
            report.push(match code {
                Code::NotOneQuery => finding.label(broken.message),
                _ => finding,
            });
            return None;
        }
    };
    let mut reading = Reading {
        places,
        frames: Vec::new(),
        found: Found::default(),
        asked_for_any: Vec::new(),
        argument_names: Vec::new(),
    };
    let _ = tree.visit(&mut reading);
    let found = reading.found;
    for (range, problem) in &found.refused {
        let message = format!("{of} is exactly one query, which only reads");
        report.push(Finding::new(Code::NotOneQuery, message, place(range.clone())).label(problem.clone()));
    }
    let after = text[end..].strip_prefix(';').unwrap_or(&text[end..]);
    let mut relations = found.relations;
    relations.sort_by_key(|mention| mention.range.start);
    Some(Query {
        text: text[..end].to_owned(),
        tail: after.trim_end().to_owned(),
        relations,
        columns: found.columns,
        clocks: found.clocks,
        zoned: found.zoned,
        volatile: found.volatile,
        functions: found.functions,
        calls: found.calls,
        unordered: found.unordered,
        outputs: outputs(&tree.body),
    })
}

/// The query, and where its text ends.
fn one_query(text: &str) -> Result<(Box<Tree>, usize, Places), (Code, sql::Broken)> {
    let syntax = |broken| (Code::SqlSyntax, broken);
    let many =
        |message: &str, offset| (Code::NotOneQuery, sql::Broken { message: message.to_owned(), offset });
    let (mut parser, places) = sql::parser(text).map_err(syntax)?;
    let first = parser.peek_token();
    let starts = match &first.token {
        Token::EOF => return Err(many("nothing stands here", text.trim_end().len())),
        Token::LParen => true,
        Token::Word(word) => {
            ["select", "values", "with", "table"].contains(&word.value.to_lowercase().as_str())
        }
        _ => false,
    };
    if !starts {
        return Err(many("starts like no query", places.offset(first.span.start)));
    }
    let tree = parser.parse_query().map_err(|error| syntax(sql::broken(&places, &error)))?;
    let next = parser.peek_token();
    let end = match next.token {
        Token::EOF => return Ok((tree, text.trim_end().len(), places)),
        Token::SemiColon => places.offset(next.span.start),
        _ => {
            let message = format!("expected the end, found `{}`", next.token);
            return Err(syntax(sql::Broken { message, offset: places.offset(next.span.start) }));
        }
    };
    parser.next_token();
    let rest = parser.peek_token();
    match rest.token {
        Token::EOF => Ok((tree, end, places)),
        _ => Err(many("a second statement starts here", places.offset(rest.span.start))),
    }
}

/// The names of the columns that a query gives.
fn outputs(mut body: &SetExpr) -> Option<Vec<String>> {
    loop {
        body = match body {
            SetExpr::Select(select) => return select.projection.iter().map(output).collect(),
            SetExpr::Query(query) => &query.body,
            SetExpr::SetOperation { left, .. } => left,
            _ => return None,
        };
    }
}

/// How many rows of a query are taken or left out, unless that is all or none, and the word that says so.
fn limit(query: &Tree) -> Option<(&Expr, &'static str)> {
    let is_all = |limit: &&Expr| {
        matches!(limit, Expr::Value(value) if match &value.value {
            Value::Null => true,
            Value::Number(number, _) => number == "0",
            _ => false,
        })
    };
    let fetched = query.fetch.as_ref().and_then(|fetch| fetch.quantity.as_ref());
    let (limit, offset) = match &query.limit_clause {
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
        }
        Some(LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
        None => (None, None),
    };
    let words = [(limit, "LIMIT"), (fetched, "FETCH"), (offset, "OFFSET")];
    words.into_iter().find_map(|(number, word)| Some((number.filter(|number| !is_all(number))?, word)))
}

/// The name that a SELECT gives to a column itself.
fn given(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(sql::meant(alias)),
        _ => None,
    }
}

fn output(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(sql::meant(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => Some(sql::meant(ident)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(sql::meant),
        // Named after a function, a type or nothing: no name that a spec would rely on, and none that is
        // worth guessing.
        SelectItem::UnnamedExpr(_) => Some("?column?".to_owned()),
        _ => None,
    }
}

#[derive(Default)]
struct Found {
    relations: Vec<Mention>,
    columns: Vec<ColumnMention>,
    clocks: Vec<(Clock, Range<usize>, String)>,
    zoned: Vec<ColumnMention>,
    volatile: Vec<(Range<usize>, String)>,
    functions: Vec<FunctionMention>,
    calls: Vec<Call>,
    unordered: Vec<(Range<usize>, &'static str)>,
    refused: Vec<(Range<usize>, String)>,
}

struct Reading {
    places: Places,
    frames: Vec<Frame>,
    found: Found,
    /// Queries of which it is only asked whether they give a row.
    asked_for_any: Vec<*const Tree>,
    /// Where names of arguments stand, `days =>`, which look like columns to the parser.
    argument_names: Vec<Location>,
}

/// What names mean within a part of the query.
enum Frame {
    /// A query with its common table expressions, of which only some can be seen yet.
    Query { names: Vec<String>, trees: Vec<*const Tree>, visible: usize, recursive: bool },
    /// A SELECT with its sources.
    Select(Sources),
}

/// The sources of one SELECT.
#[derive(Default)]
struct Sources {
    aliases: BTreeMap<String, Option<Mention>>,
    /// Whether there is a source whose columns are not known.
    open: bool,
    /// The names that the SELECT itself gives to columns.
    outputs: Vec<String>,
}

impl Reading {
    fn is_common(&self, name: &str) -> bool {
        self.frames.iter().any(|frame| match frame {
            Frame::Query { names, visible, .. } => names[..*visible].iter().any(|common| common == name),
            Frame::Select(_) => false,
        })
    }

    /// The relation that a name in FROM means, unless it is a common table expression.
    fn mention(&self, name: &ObjectName) -> Option<Mention> {
        let mention = self.named(name)?;
        (mention.schema.is_some() || !self.is_common(&mention.name)).then_some(mention)
    }

    /// A name, and where it stands.
    fn named(&self, name: &ObjectName) -> Option<Mention> {
        let parts = sql::parts(name)?;
        let (last, schema) = parts.split_last()?;
        let first = parts.first()?;
        let start = self.places.offset(first.span.start);
        let end = self.places.offset(last.span.end);
        let schema = schema.iter().map(|part| sql::meant(part)).collect::<Vec<_>>();
        let schema = (!schema.is_empty()).then(|| schema.join("."));
        Some(Mention { range: start..end, schema, name: sql::meant(last) })
    }

    fn sources(&self, select: &Select) -> Sources {
        let mut sources =
            Sources { outputs: select.projection.iter().filter_map(given).collect(), ..Sources::default() };
        for from in &select.from {
            self.joined(from, &mut sources);
        }
        sources.open |= !select.lateral_views.is_empty();
        sources
    }

    fn joined(&self, from: &TableWithJoins, sources: &mut Sources) {
        self.factor(&from.relation, sources);
        for join in &from.joins {
            self.factor(&join.relation, sources);
        }
    }

    fn factor(&self, factor: &TableFactor, sources: &mut Sources) {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let mention = self.mention(name);
                let own = sql::parts(name).and_then(|parts| parts.last().map(|last| sql::meant(last)));
                let renamed = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
                let known = mention.filter(|_| !renamed);
                sources.open |= known.is_none();
                if let Some(name) = alias.as_ref().map(|alias| sql::meant(&alias.name)).or(own) {
                    sources.aliases.insert(name, known);
                }
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                self.joined(table_with_joins, sources)
            }
            TableFactor::Derived { alias, .. } | TableFactor::Table { alias, .. } => {
                sources.open = true;
                if let Some(alias) = alias {
                    sources.aliases.insert(sql::meant(&alias.name), None);
                }
            }
            _ => sources.open = true,
        }
    }

    /// The column that an expression is, if it names one of known relations.
    fn column(&self, expression: &Expr) -> Option<ColumnMention> {
        match expression {
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [alias, column] => self.qualified(&sql::meant(alias), column),
                _ => None,
            },
            Expr::Identifier(ident) if !self.argument_names.contains(&ident.span.start) => self.bare(ident),
            _ => None,
        }
    }

    fn call(&self, function: &Function) -> Option<Call> {
        let last = *sql::parts(&function.name)?.last()?;
        let mut columns = Vec::new();
        let _ = visit_expressions(&function.args, |expression| {
            columns.extend(self.column(expression).map(|column| (expression.to_string(), column)));
            ControlFlow::<()>::Continue(())
        });
        Some(Call { range: self.places.range(last.span), function: function.clone(), columns })
    }

    fn qualified(&self, alias: &str, column: &sqlparser::ast::Ident) -> Option<ColumnMention> {
        let mut sources = self.frames.iter().rev().filter_map(|frame| match frame {
            Frame::Select(sources) => sources.aliases.get(alias),
            Frame::Query { .. } => None,
        });
        let mention = sources.next()?.as_ref()?;
        Some(ColumnMention {
            range: self.places.range(column.span),
            name: sql::meant(column),
            of: vec![mention.clone()],
        })
    }

    fn bare(&self, ident: &sqlparser::ast::Ident) -> Option<ColumnMention> {
        // Behind the SELECT (ORDER BY) other names can be seen.
        let Some(Frame::Select(_)) = self.frames.last() else { return None };
        let name = sql::meant(ident);
        let mut of = Vec::new();
        for frame in &self.frames {
            let Frame::Select(sources) = frame else { continue };
            let is_own = sources.aliases.contains_key(&name) || sources.outputs.contains(&name);
            if sources.open || is_own {
                return None;
            }
            of.extend(sources.aliases.values().flatten().cloned());
        }
        (!of.is_empty()).then(|| ColumnMention { range: self.places.range(ident.span), name, of })
    }

    /// Which rows LIMIT and DISTINCT ON take is told by an order alone.
    fn look_for_order(&mut self, query: &Tree) {
        let ordered_by = match query.order_by.as_ref().map(|order| &order.kind) {
            Some(OrderByKind::Expressions(by)) => by.len(),
            Some(OrderByKind::All(_)) => usize::MAX,
            None => 0,
        };
        if ordered_by == 0
            && !self.asked_for_any.iter().any(|any| std::ptr::eq(*any, query))
            && let Some((limit, word)) = limit(query)
        {
            self.found.unordered.push((self.places.range(limit.span()), word));
        }
        let mut bodies = vec![(&*query.body, ordered_by)];
        while let Some((body, ordered_by)) = bodies.pop() {
            match body {
                SetExpr::Select(select) => {
                    if let Some(Distinct::On(on)) = &select.distinct
                        && ordered_by <= on.len()
                        && let Some(first) = on.first()
                    {
                        self.found.unordered.push((self.places.range(first.span()), "DISTINCT ON"));
                    }
                }
                SetExpr::SetOperation { left, right, .. } => bodies.extend([(&**left, 0), (&**right, 0)]),
                _ => {}
            }
        }
    }

    fn refuse_body(&mut self, body: &SetExpr) {
        let mut bodies = vec![body];
        while let Some(body) = bodies.pop() {
            let refused = match body {
                SetExpr::Insert(it) | SetExpr::Update(it) | SetExpr::Delete(it) | SetExpr::Merge(it) => {
                    Some((self.places.range(it.span()), "this writes"))
                }
                SetExpr::Table(_) => Some((0..0, "`TABLE` is not read here: write `SELECT * FROM`")),
                SetExpr::Select(select) if select.into.is_some() => {
                    Some((self.places.range(select.span()), "`SELECT INTO` writes"))
                }
                SetExpr::SetOperation { left, right, .. } => {
                    bodies.extend([&**left, &**right]);
                    None
                }
                _ => None,
            };
            self.found.refused.extend(refused.map(|(range, problem)| (range, problem.to_owned())));
        }
    }
}

impl Visitor for Reading {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Tree) -> ControlFlow<()> {
        if let Some(Frame::Query { trees, visible, recursive, .. }) = self.frames.last_mut()
            && let Some(index) = trees.iter().position(|tree| std::ptr::eq(*tree, query))
        {
            *visible = if *recursive { trees.len() } else { index };
        }
        if !query.locks.is_empty() {
            self.found.refused.push((self.places.range(query.span()), "this locks rows".to_owned()));
        }
        self.refuse_body(&query.body);
        self.look_for_order(query);
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.frames.push(Frame::Query {
            names: tables.clone().map(|table| sql::meant(&table.alias.name)).collect(),
            trees: tables.map(|table| &raw const *table.query).collect(),
            visible: 0,
            recursive: query.with.as_ref().is_some_and(|with| with.recursive),
        });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Tree) -> ControlFlow<()> {
        self.frames.pop();
        if let Some(Frame::Query { trees, visible, .. }) = self.frames.last_mut()
            && let Some(index) = trees.iter().position(|tree| std::ptr::eq(*tree, query))
        {
            *visible = index + 1;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let sources = self.sources(select);
        self.frames.push(Frame::Select(sources));
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &Select) -> ControlFlow<()> {
        self.frames.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: None, .. } = factor
            && let Some(mention) = self.mention(name)
        {
            self.found.relations.push(mention);
        }
        if let TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } = factor
            && !volatile::makes_rows(name)
        {
            let name = self.named(name);
            self.found.functions.extend(name.map(|name| FunctionMention { name, in_from: true }));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Expr::Exists { subquery, .. } = expression {
            self.asked_for_any.push(&raw const **subquery);
        }
        if let Some((clock, span, name)) = sql::clock(expression) {
            self.found.clocks.push((clock, self.places.range(span), name));
        }
        let volatile = volatile::called(expression);
        self.found.volatile.extend(volatile.map(|(span, name)| (self.places.range(span), name)));
        let zoned = zone::cut_by_session(expression);
        let zoned: Vec<ColumnMention> = zoned.into_iter().filter_map(|column| self.column(column)).collect();
        self.found.zoned.extend(zoned);
        let column = self.column(expression);
        self.found.columns.extend(column);
        if let Expr::Function(function) = expression {
            self.argument_names.extend(sql::argument_names(function));
            let call = self.call(function);
            self.found.calls.extend(call);
            let name = self.named(&function.name);
            self.found.functions.extend(name.map(|name| FunctionMention { name, in_from: false }));
        }
        ControlFlow::Continue(())
    }
}
