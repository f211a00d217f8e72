//! Where the columns of one query come from: follows each name through subqueries, common table expressions and
//! unions to the relations that are stored. Resolves names as PostgreSQL does; what it cannot resolve it says.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Join, JoinConstraint, JoinOperator, LimitClause, NamedWindowDefinition,
    ObjectName, OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias,
    TableFactor, TableWithJoins, Value,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::value::{made, name_of};
use super::{How, Origin, Origins};
use crate::model::{Name, meant, parts};

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
    pub(super) fn all(&self) -> Origins {
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
pub(super) type Names = BTreeMap<String, Rc<Table>>;

/// Reads queries; the values of their expressions are told in `value`.
pub(super) struct Reader<'k> {
    known: &'k BTreeMap<Name, Table>,
    /// Whether everything could be resolved so far.
    exact: Cell<bool>,
}

/// What a SELECT can name.
#[derive(Default)]
pub(super) struct Scope<'s> {
    sources: Vec<(String, Rc<Table>)>,
    pub(super) windows: &'s [NamedWindowDefinition],
    pub(super) names: Names,
    outer: Option<&'s Scope<'s>>,
}

impl Scope<'_> {
    pub(super) fn counted(&self) -> Origins {
        self.sources.iter().flat_map(|(_, table)| table.counted.iter().cloned()).collect()
    }

    pub(super) fn qualified(&self, alias: &str, column: &str) -> Option<Origins> {
        match self.sources.iter().find(|(name, _)| name == alias) {
            Some((_, table)) => table.find(column).cloned(),
            None => self.outer?.qualified(alias, column),
        }
    }

    /// Whether one of its sources has such a column.
    fn has(&self, name: &str) -> bool {
        self.sources.iter().any(|(_, table)| table.find(name).is_some())
    }

    pub(super) fn bare(&self, name: &str) -> Option<Origins> {
        let column = self.sources.iter().find_map(|(_, table)| table.find(name));
        let whole = || self.sources.iter().find(|(alias, _)| alias == name).map(|(_, table)| table.all());
        column.cloned().or_else(whole).or_else(|| self.outer?.bare(name))
    }
}

impl Reader<'_> {
    pub(super) fn unknown(&self) -> Origins {
        self.exact.set(false);
        Origins::new()
    }

    pub(super) fn query(&self, query: &Query, names: &Names, outer: Option<&Scope<'_>>) -> Table {
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
}

/// The same columns as what decides something.
pub(super) fn indirect(from: Origins, how: How) -> Origins {
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
