//! Where the columns of one query come from: follows each name through subqueries, common table expressions and
//! unions to the relations that are stored. Resolves names as PostgreSQL does; what it cannot resolve it says.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use sqlparser::ast::{
    Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, Join,
    JoinConstraint, JoinOperator, LimitClause, NamedWindowDefinition, NamedWindowExpr, ObjectName,
    OrderByExpr, OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableAlias, TableFactor, TableWithJoins, Value, Visit, Visitor, WindowSpec, WindowType,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::{How, Origin, Origins};
use crate::model::Name;

/// Functions that make one value of many rows.
const AGGREGATES: &[&str] = &[
    "any_value",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "every",
    "json_agg",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_object_agg",
    "max",
    "min",
    "mode",
    "percentile_cont",
    "percentile_disc",
    "range_agg",
    "range_intersect_agg",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "var_pop",
    "var_samp",
    "variance",
    "xmlagg",
];

/// What can be read in FROM, with where its columns come from.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// The columns, in their order.
    columns: Vec<(String, Origins)>,
    /// What decides which rows there are.
    pub(super) rows: Origins,
    /// The relations whose rows its rows are.
    counted: Origins,
    /// Whether all of it could be told.
    pub(super) exact: bool,
}

impl Table {
    /// A relation that is stored.
    pub(super) fn stored(name: &Name, columns: &[&str]) -> Self {
        let from = |column: Option<&str>| Origin {
            relation: name.clone(),
            column: column.map(str::to_owned),
            how: How::Identity,
        };
        let own = columns.iter().map(|column| ((*column).to_owned(), [from(Some(column))].into()));
        Self { columns: own.collect(), rows: Origins::new(), counted: [from(None)].into(), exact: true }
    }

    /// Where a column comes from.
    pub(super) fn column(&self, name: &str) -> Origins {
        self.find(name).cloned().unwrap_or_default()
    }

    fn find(&self, name: &str) -> Option<&Origins> {
        self.columns.iter().find(|(column, _)| column == name).map(|(_, from)| from)
    }

    /// All that its columns come from.
    fn all(&self) -> Origins {
        self.columns.iter().flat_map(|(_, from)| from.iter().cloned()).collect()
    }

    /// The same under other names for its first columns.
    fn renamed(mut self, alias: Option<&TableAlias>) -> Self {
        let names = alias.iter().flat_map(|alias| &alias.columns);
        for (column, name) in self.columns.iter_mut().zip(names) {
            column.0 = meant(&name.name);
        }
        self
    }
}

/// Follows the columns of a query over stored relations. A text that cannot be read comes from nothing that is known.
pub(super) fn read(text: &str, known: &BTreeMap<Name, Table>) -> Table {
    let dialect = PostgreSqlDialect {};
    let parsed = Parser::new(&dialect).try_with_sql(text).and_then(|mut parser| parser.parse_query());
    let Ok(query) = parsed else { return Table::default() };
    let reader = Reader { known, exact: Cell::new(true) };
    let mut table = reader.query(&query, &Names::default(), None);
    table.exact = reader.exact.get();
    table
}

/// Common table expressions that can be seen.
type Names = BTreeMap<String, Rc<Table>>;

struct Reader<'k> {
    known: &'k BTreeMap<Name, Table>,
    /// Whether everything could be resolved so far.
    exact: Cell<bool>,
}

/// What a SELECT can name.
#[derive(Default)]
struct Scope<'s> {
    sources: Vec<(String, Rc<Table>)>,
    windows: &'s [NamedWindowDefinition],
    names: Names,
    outer: Option<&'s Scope<'s>>,
}

impl Scope<'_> {
    fn counted(&self) -> Origins {
        self.sources.iter().flat_map(|(_, table)| table.counted.iter().cloned()).collect()
    }

    fn qualified(&self, alias: &str, column: &str) -> Option<Origins> {
        match self.sources.iter().find(|(name, _)| name == alias) {
            Some((_, table)) => table.find(column).cloned(),
            None => self.outer?.qualified(alias, column),
        }
    }

    /// Whether one of its sources has such a column.
    fn has(&self, name: &str) -> bool {
        self.sources.iter().any(|(_, table)| table.find(name).is_some())
    }

    fn bare(&self, name: &str) -> Option<Origins> {
        let column = self.sources.iter().find_map(|(_, table)| table.find(name));
        let whole = || self.sources.iter().find(|(alias, _)| alias == name).map(|(_, table)| table.all());
        column.cloned().or_else(whole).or_else(|| self.outer?.bare(name))
    }
}

impl Reader<'_> {
    fn unknown(&self) -> Origins {
        self.exact.set(false);
        Origins::new()
    }

    fn query(&self, query: &Query, names: &Names, outer: Option<&Scope<'_>>) -> Table {
        let mut names = names.clone();
        let recursive = query.with.as_ref().is_some_and(|with| with.recursive);
        for common in query.with.iter().flat_map(|with| &with.cte_tables) {
            let name = meant(&common.alias.name);
            let read = |names: &Names| self.query(&common.query, names, outer).renamed(Some(&common.alias));
            let mut table =
                Rc::new(if recursive { self.first(&common.query, &names, outer) } else { read(&names) });
            if recursive {
                // What it reads of itself comes from where it began, or from what a round adds.
                for _ in 0..2 {
                    let mut seen = names.clone();
                    seen.insert(name.clone(), Rc::new((*table).clone().renamed(Some(&common.alias))));
                    table = Rc::new(read(&seen));
                }
            }
            names.insert(name, table);
        }
        // Order matters where it decides which rows are left.
        let ordered = query.order_by.iter().filter(|_| is_cut(query)).flat_map(|order| match &order.kind {
            OrderByKind::Expressions(list) => list.as_slice(),
            OrderByKind::All(_) => &[],
        });
        let ordered: Vec<&Expr> = ordered.map(|one| &one.expr).collect();
        if let SetExpr::Select(select) = &*query.body {
            return self.select(select, &ordered, &names, outer);
        }
        let mut table = self.body(&query.body, &names, outer);
        let scope =
            Scope { sources: vec![(String::new(), Rc::new(table.clone()))], outer, ..Scope::default() };
        for expression in ordered {
            let from = match position(expression).and_then(|number| table.columns.get(number)) {
                Some((_, from)) => from.clone(),
                None => self.value(expression, &scope),
            };
            table.rows.extend(indirect(from, How::Sort));
        }
        table
    }

    /// What a recursive query begins with: the left side of its union.
    fn first(&self, query: &Query, names: &Names, outer: Option<&Scope<'_>>) -> Table {
        match &*query.body {
            SetExpr::SetOperation { left, .. } => self.body(left, names, outer),
            body => self.body(body, names, outer),
        }
    }

    fn body(&self, body: &SetExpr, names: &Names, outer: Option<&Scope<'_>>) -> Table {
        // A chain of unions leans to the left, and may be long.
        let (mut first, mut others) = (body, Vec::new());
        while let SetExpr::SetOperation { left, right, .. } = first {
            others.push(&**right);
            first = left;
        }
        let mut table = match first {
            SetExpr::Select(select) => self.select(select, &[], names, outer),
            SetExpr::Query(query) => self.query(query, names, outer),
            SetExpr::Values(values) => {
                let width = values.rows.first().map_or(0, |row| row.len());
                let columns = (1..=width).map(|number| (format!("column{number}"), Origins::new()));
                Table { columns: columns.collect(), ..Table::default() }
            }
            _ => {
                self.unknown();
                Table::default()
            }
        };
        for other in others.into_iter().rev() {
            let other = self.body(other, names, outer);
            for ((_, from), (_, more)) in table.columns.iter_mut().zip(other.columns) {
                from.extend(more);
            }
            table.rows.extend(other.rows);
            table.counted.extend(other.counted);
        }
        table
    }

    fn select(&self, select: &Select, ordered: &[&Expr], names: &Names, outer: Option<&Scope<'_>>) -> Table {
        let mut scope =
            Scope { sources: Vec::new(), windows: &select.named_window, names: names.clone(), outer };
        let mut rows = Origins::new();
        for from in &select.from {
            self.from(from, &mut scope, &mut rows);
        }
        for (_, table) in &scope.sources {
            rows.extend(table.rows.iter().cloned());
        }
        let mut columns = Vec::new();
        for item in &select.projection {
            self.item(item, &scope, &mut columns);
        }
        let decides = |expression: &Expr, how| indirect(self.value(expression, &scope), how);
        rows.extend(select.selection.iter().flat_map(|expression| decides(expression, How::Filter)));
        rows.extend(select.having.iter().flat_map(|expression| decides(expression, How::Filter)));
        let grouped = match &select.group_by {
            GroupByExpr::Expressions(expressions, _) => expressions.as_slice(),
            GroupByExpr::All(_) => &[],
        };
        for (expression, how) in
            grouped.iter().map(|one| (one, How::GroupBy)).chain(ordered.iter().map(|one| (*one, How::Sort)))
        {
            let own = |name: &String| columns.iter().find(|(one, _)| one == name);
            let shown = match position(expression) {
                Some(number) => columns.get(number),
                None => named(expression)
                    .filter(|name| how == How::Sort || !scope.has(name))
                    .as_ref()
                    .and_then(own),
            };
            let from = match shown {
                Some((_, from)) => from.clone(),
                None => self.value(expression, &scope),
            };
            rows.extend(indirect(from, how));
        }
        if let Some(Distinct::On(expressions)) = &select.distinct {
            rows.extend(expressions.iter().flat_map(|expression| decides(expression, How::GroupBy)));
        }
        Table { columns, rows, counted: scope.counted(), exact: true }
    }

    fn item(&self, item: &SelectItem, scope: &Scope<'_>, columns: &mut Vec<(String, Origins)>) {
        match item {
            SelectItem::UnnamedExpr(expression) => {
                columns.push((name_of(expression), self.shown(expression, scope)));
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                columns.push((meant(alias), self.shown(expr, scope)))
            }
            SelectItem::Wildcard(_) => {
                let all = scope.sources.iter().flat_map(|(_, table)| table.columns.iter().cloned());
                // Columns that USING has joined come once.
                for (name, from) in all {
                    if columns.iter().all(|(known, _)| *known != name) {
                        columns.push((name, from));
                    }
                }
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let alias = parts(name).and_then(|parts| parts.last().map(|last| meant(last)));
                match scope.sources.iter().find(|(one, _)| Some(one) == alias.as_ref()) {
                    Some((_, table)) => columns.extend(table.columns.iter().cloned()),
                    None => drop(self.unknown()),
                }
            }
            _ => drop(self.unknown()),
        }
    }

    /// A column that is shown. One that is the same in each row says that the row is there.
    fn shown(&self, expression: &Expr, scope: &Scope<'_>) -> Origins {
        if says_something(expression) { scope.counted() } else { self.value(expression, scope) }
    }

    fn from(&self, from: &TableWithJoins, scope: &mut Scope<'_>, rows: &mut Origins) {
        self.factor(&from.relation, scope, rows);
        for join in &from.joins {
            let before = scope.sources.len();
            self.factor(&join.relation, scope, rows);
            self.join(join, before, scope, rows);
        }
    }

    fn join(&self, join: &Join, before: usize, scope: &Scope<'_>, rows: &mut Origins) {
        let constraint = match &join.join_operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint)
            | JoinOperator::Right(constraint)
            | JoinOperator::RightOuter(constraint)
            | JoinOperator::FullOuter(constraint)
            | JoinOperator::CrossJoin(constraint) => constraint,
            _ => return drop(self.unknown()),
        };
        let (left, right) = scope.sources.split_at(before);
        let mut same = |name: &str| {
            for side in [left, right] {
                let from = side.iter().find_map(|(_, table)| table.find(name)).cloned().unwrap_or_default();
                rows.extend(indirect(from, How::Join));
            }
        };
        match constraint {
            JoinConstraint::On(expression) => {
                rows.extend(indirect(self.value(expression, scope), How::Join));
            }
            JoinConstraint::Using(names) => {
                for name in
                    names.iter().filter_map(parts).filter_map(|parts| parts.last().map(|one| meant(one)))
                {
                    same(&name);
                }
            }
            JoinConstraint::Natural => {
                let all = |side: &[(String, Rc<Table>)]| -> Vec<String> {
                    side.iter()
                        .flat_map(|(_, table)| table.columns.iter().map(|(name, _)| name.clone()))
                        .collect()
                };
                let others = all(right);
                all(left).iter().filter(|name| others.contains(name)).for_each(|name| same(name));
            }
            JoinConstraint::None => {}
        }
    }

    fn factor(&self, factor: &TableFactor, scope: &mut Scope<'_>, rows: &mut Origins) {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let table = self.named(name, &scope.names).unwrap_or_else(|| {
                    self.unknown();
                    Rc::default()
                });
                let own = parts(name).and_then(|parts| parts.last().map(|last| meant(last)));
                let called = alias.as_ref().map(|alias| meant(&alias.name)).or(own).unwrap_or_default();
                let renamed = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
                let table = if renamed { Rc::new((*table).clone().renamed(alias.as_ref())) } else { table };
                scope.sources.push((called, table));
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                let outer = if *lateral { Some(&*scope) } else { scope.outer };
                let table = self.query(subquery, &scope.names, outer).renamed(alias.as_ref());
                let called = alias.as_ref().map(|alias| meant(&alias.name)).unwrap_or_default();
                scope.sources.push((called, Rc::new(table)));
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let before = scope.sources.len();
                self.from(table_with_joins, scope, rows);
                if let Some(alias) = alias {
                    let inner = scope.sources.split_off(before);
                    let columns = inner.iter().flat_map(|(_, table)| table.columns.iter().cloned());
                    let table = Table { columns: columns.collect(), exact: true, ..Table::default() };
                    scope.sources.push((meant(&alias.name), Rc::new(table.renamed(Some(alias)))));
                }
            }
            TableFactor::Table { name, alias, args: Some(args), .. } => {
                let from = self.arguments(&args.args, scope);
                self.computed(
                    parts(name).and_then(|parts| parts.last().map(|last| meant(last))),
                    alias,
                    from,
                    scope,
                );
            }
            TableFactor::Function { name, args, alias, .. } => {
                let from = self.arguments(args, scope);
                self.computed(
                    parts(name).and_then(|parts| parts.last().map(|last| meant(last))),
                    alias,
                    from,
                    scope,
                );
            }
            TableFactor::UNNEST { alias, array_exprs, .. } => {
                let from = array_exprs.iter().flat_map(|one| self.value(one, scope)).collect();
                self.computed(Some("unnest".to_owned()), alias, from, scope);
            }
            _ => drop(self.unknown()),
        }
    }

    /// A function in FROM: each of its columns comes from all of its arguments.
    fn computed(
        &self,
        function: Option<String>,
        alias: &Option<TableAlias>,
        from: Origins,
        scope: &mut Scope<'_>,
    ) {
        let from = made(from, How::Transformation);
        let called = alias.as_ref().map(|alias| meant(&alias.name)).or(function).unwrap_or_default();
        let named: Vec<String> =
            alias.iter().flat_map(|alias| &alias.columns).map(|column| meant(&column.name)).collect();
        let named = if named.is_empty() { vec![called.clone()] } else { named };
        let columns = named.into_iter().map(|name| (name, from.clone())).collect();
        let table = Table { columns, rows: indirect(from, How::Join), counted: Origins::new(), exact: true };
        scope.sources.push((called, Rc::new(table)));
    }

    /// What a name in FROM means.
    fn named(&self, name: &ObjectName, names: &Names) -> Option<Rc<Table>> {
        let parts = parts(name)?;
        match parts.as_slice() {
            [name] => names.get(&meant(name)).cloned(),
            [schema, name] => {
                self.known.get(&Name::new(meant(schema), meant(name))).map(|table| Rc::new(table.clone()))
            }
            _ => None,
        }
    }

    /// What an expression's value comes from.
    fn value(&self, expression: &Expr, scope: &Scope<'_>) -> Origins {
        match expression {
            Expr::Identifier(name) => scope.bare(&meant(name)).unwrap_or_else(|| self.unknown()),
            Expr::CompoundIdentifier(names) => match names.as_slice() {
                [alias, column] => {
                    scope.qualified(&meant(alias), &meant(column)).unwrap_or_else(|| self.unknown())
                }
                _ => self.unknown(),
            },
            Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => self.value(inner, scope),
            Expr::BinaryOp { .. } => {
                // Chains lean to the left, and may be long.
                let (mut first, mut from) = (expression, Origins::new());
                while let Expr::BinaryOp { left, right, .. } = first {
                    from.extend(self.value(right, scope));
                    first = left;
                }
                from.extend(self.value(first, scope));
                made(from, How::Transformation)
            }
            Expr::Function(function) => self.function(function, scope),
            Expr::Case { operand, conditions, else_result, .. } => {
                let asked =
                    operand.iter().map(|one| &**one).chain(conditions.iter().map(|one| &one.condition));
                let asked = asked.flat_map(|one| self.value(one, scope)).collect();
                let given =
                    conditions.iter().map(|one| &one.result).chain(else_result.iter().map(|one| &**one));
                let given = given.flat_map(|one| self.value(one, scope)).collect();
                let mut from = made(given, How::Transformation);
                from.extend(indirect(asked, How::Conditional));
                from
            }
            Expr::Subquery(query) => {
                let table = self.query(query, &scope.names, Some(scope));
                let mut from = made(table.all(), How::Transformation);
                from.extend(table.rows);
                from
            }
            Expr::Exists { subquery, .. } => self.asked(subquery, scope),
            Expr::InSubquery { expr, subquery, .. } => {
                let mut from = made(self.value(expr, scope), How::Transformation);
                from.extend(self.asked(subquery, scope));
                from
            }
            other => {
                let mut within = Within { reader: self, scope, depth: 0, from: Origins::new() };
                let _ = other.visit(&mut within);
                made(within.from, How::Transformation)
            }
        }
    }

    /// A query of which only the answer to a question counts.
    fn asked(&self, query: &Query, scope: &Scope<'_>) -> Origins {
        let table = self.query(query, &scope.names, Some(scope));
        let mut from = indirect(table.all(), How::Conditional);
        from.extend(table.rows);
        from
    }

    fn function(&self, function: &Function, scope: &Scope<'_>) -> Origins {
        let name =
            parts(&function.name).and_then(|parts| parts.last().map(|last| meant(last))).unwrap_or_default();
        let aggregate = AGGREGATES.contains(&name.as_str());
        let how = if aggregate { How::Aggregation } else { How::Transformation };
        let mut from = match &function.args {
            FunctionArguments::List(list) => {
                let mut from = self.arguments(&list.args, scope);
                let whole = list
                    .args
                    .iter()
                    .any(|one| matches!(one, FunctionArg::Unnamed(FunctionArgExpr::Wildcard)));
                let same = aggregate && name == "count" && from.is_empty();
                if whole || same {
                    from.extend(scope.counted());
                }
                from
            }
            FunctionArguments::Subquery(query) => self.query(query, &scope.names, Some(scope)).all(),
            FunctionArguments::None => Origins::new(),
        };
        from.extend(function.within_group.iter().flat_map(|one| self.value(&one.expr, scope)));
        let mut from = made(from, how);
        if let Some(filter) = &function.filter {
            from.extend(indirect(self.value(filter, scope), How::Filter));
        }
        match &function.over {
            Some(WindowType::WindowSpec(window)) => from.extend(self.window(window, scope)),
            Some(WindowType::NamedWindow(name)) => from.extend(self.named_window(name, scope)),
            None => {}
        }
        from
    }

    fn arguments(&self, arguments: &[FunctionArg], scope: &Scope<'_>) -> Origins {
        let values = arguments.iter().filter_map(|argument| match argument {
            FunctionArg::Unnamed(value)
            | FunctionArg::Named { arg: value, .. }
            | FunctionArg::ExprNamed { arg: value, .. } => match value {
                FunctionArgExpr::Expr(expression) => Some(expression),
                _ => None,
            },
        });
        values.flat_map(|value| self.value(value, scope)).collect()
    }

    fn window(&self, window: &WindowSpec, scope: &Scope<'_>) -> Origins {
        let ordered = window.order_by.iter().map(|one: &OrderByExpr| &one.expr);
        let by = window.partition_by.iter().chain(ordered).flat_map(|one| self.value(one, scope));
        let mut from = indirect(by.collect(), How::Window);
        if let Some(name) = &window.window_name {
            from.extend(self.named_window(name, scope));
        }
        from
    }

    fn named_window(&self, name: &Ident, scope: &Scope<'_>) -> Origins {
        let place = scope.windows.iter().position(|window| meant(&window.0) == meant(name));
        match place.map(|place| &scope.windows[place].1) {
            Some(NamedWindowExpr::WindowSpec(window)) => self.window(window, scope),
            Some(NamedWindowExpr::NamedWindow(other)) if meant(other) != meant(name) => {
                self.named_window(other, scope)
            }
            _ => self.unknown(),
        }
    }
}

/// Looks at what stands directly within an expression.
struct Within<'w, 'k, 's> {
    reader: &'w Reader<'k>,
    scope: &'w Scope<'s>,
    depth: usize,
    from: Origins,
}

impl Visitor for Within<'_, '_, '_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if self.depth == 1 {
            self.from.extend(self.reader.value(expression, self.scope));
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if self.depth == 1 {
            self.from.extend(self.reader.asked(query, self.scope));
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// What is made of values in a way: what was aggregated once stays so, what only decides goes on deciding.
fn made(from: Origins, how: How) -> Origins {
    let made = |one: Origin| match one.how {
        How::Identity | How::Transformation => Origin { how, ..one },
        _ => one,
    };
    from.into_iter().map(made).collect()
}

/// The same columns as what decides something.
fn indirect(from: Origins, how: How) -> Origins {
    let decides = |one: Origin| if one.how.is_direct() { Origin { how, ..one } } else { one };
    from.into_iter().filter(|one| one.column.is_some()).map(decides).collect()
}

/// Whether the query gives only some of its rows, so that their order decides which.
fn is_cut(query: &Query) -> bool {
    let limited = query.limit_clause.as_ref().is_some_and(|limit| match limit {
        LimitClause::LimitOffset { limit, offset, .. } => limit.is_some() || offset.is_some(),
        LimitClause::OffsetCommaLimit { .. } => true,
    });
    limited || query.fetch.is_some()
}

/// The place that an expression names by its number.
fn position(expression: &Expr) -> Option<usize> {
    let Expr::Value(value) = expression else { return None };
    let Value::Number(number, _) = &value.value else { return None };
    number.to_string().parse::<usize>().ok()?.checked_sub(1)
}

/// The name that is all of an expression: GROUP BY means a column of the SELECT by it where no source has one,
/// ORDER BY first of all.
fn named(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Identifier(ident) => Some(meant(ident)),
        _ => None,
    }
}

/// Whether an expression is a constant that counts for something: not NULL, and not zero.
fn says_something(expression: &Expr) -> bool {
    match expression {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => says_something(inner),
        Expr::Value(value) => match &value.value {
            Value::Null => false,
            Value::Number(number, _) => number.to_string().chars().any(|digit| ('1'..='9').contains(&digit)),
            _ => true,
        },
        _ => false,
    }
}

/// The name that PostgreSQL gives to a column without one.
fn name_of(expression: &Expr) -> String {
    match expression {
        Expr::Identifier(name) => meant(name),
        Expr::CompoundIdentifier(names) => names.last().map(meant).unwrap_or_default(),
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => name_of(inner),
        Expr::Function(function) => {
            parts(&function.name).and_then(|parts| parts.last().map(|last| meant(last))).unwrap_or_default()
        }
        _ => "?column?".to_owned(),
    }
}

/// The name that an identifier means: unquoted ones in lower case.
fn meant(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The identifiers of a name, unless it is made of something else.
fn parts(name: &ObjectName) -> Option<Vec<&Ident>> {
    name.0.iter().map(|part| part.as_ident()).collect()
}
