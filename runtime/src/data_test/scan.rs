//! What tests ask, as SQL: those of one relation in one scan, the others each by a query of its own; and what the
//! figures mean that come back. Executes nothing.

use super::{Changed, Look, MOST_ROWS};
use crate::descriptor::{DataTest, LANDED, Name, Rule, Warehouse};
use crate::quote;

/// How many figures a test asks for, as texts.
pub(super) const FIGURES: usize = 2;

/// Tests that are looked at together.
pub(super) struct Scan<'a> {
    pub tests: Vec<&'a DataTest>,
    which: Which,
    kind: Kind,
}

/// Which rows of a relation are looked at.
#[derive(Clone, PartialEq, Eq)]
enum Which {
    All,
    /// Those of which a condition is true.
    Where(String),
    /// Those that a query yields: what a staging view would show had nothing landed but these changes. Where one of
    /// them is wrong, another change may have hidden it: then all are looked at.
    Of(String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing is asked.
    Proved,
    /// All rows go by once.
    Together,
    /// The test has a query of its own.
    Alone,
}

/// The scans that a look takes, in the order of the tests.
pub(super) fn scans<'a>(warehouse: &'a Warehouse, what: &Look<'_>) -> Vec<Scan<'a>> {
    let mut scans: Vec<Scan<'a>> = Vec::new();
    for test in &warehouse.tests {
        if let Look::Changed(changed) = what
            && !changed.concerns(test)
        {
            continue;
        }
        if let Look::Of(selected) = what
            && !selected.contains(test.name)
        {
            continue;
        }
        let which = match what {
            Look::Whole | Look::Of(_) => Which::All,
            Look::Changed(changed) => changed_rows(warehouse, test, changed),
        };
        let kind = match test.rule {
            Rule::Proved(_) => Kind::Proved,
            Rule::Each(_) | Rule::RowCount { .. } | Rule::Freshness { .. } => Kind::Together,
            Rule::Unique(_)
            | Rule::Increasing { .. }
            | Rule::Relationship { .. }
            | Rule::SumEquals { .. }
            | Rule::Query(_) => Kind::Alone,
        };
        let joins = |scan: &&mut Scan<'a>| {
            scan.kind == kind && scan.which == which && scan.tests[0].relation == test.relation
        };
        match scans.iter_mut().find(joins).filter(|_| kind != Kind::Alone) {
            Some(scan) => scan.tests.push(test),
            None => scans.push(Scan { tests: vec![test], which, kind }),
        }
    }
    scans
}

/// Which rows a round may have made wrong.
fn changed_rows(warehouse: &Warehouse, test: &DataTest, changed: &Changed<'_>) -> Which {
    if !test.follows_changes() {
        return Which::All;
    }
    match changed_view(warehouse, test, changed) {
        Some(rows) => Which::Of(rows),
        None => rows_where(warehouse, test, changed).map_or(Which::All, Which::Where),
    }
}

/// The rows of a staging view that come of what has landed since, where rows are looked at one by one.
fn changed_view(warehouse: &Warehouse, test: &DataTest, changed: &Changed<'_>) -> Option<String> {
    if !matches!(test.rule, Rule::Each(_) | Rule::Relationship { .. }) {
        return None;
    }
    let view = warehouse.stagings.iter().find(|staging| staging.view == test.relation)?;
    let since = changed.landed.position(&view.landing)?;
    // A row that stays as it is may have lost what it refers to: be it to another one of what has landed there.
    let mut others = test.reads.iter().filter(|read| **read != view.landing);
    let others = others.any(|read| changed.relations.contains_key(read) || changed.landed.has(read))
        || matches!(&test.rule, Rule::Relationship { stored, .. } if *stored == view.landing);
    (!others).then(|| {
        format!(
            "WITH {LANDED} AS (SELECT * FROM {} WHERE \"lsn\" > {since})\n{}",
            quote::name(&view.landing),
            view.of_landed
        )
    })
}

/// The same as a condition; all of them without.
fn rows_where(warehouse: &Warehouse, test: &DataTest, changed: &Changed<'_>) -> Option<String> {
    let row = row_of(test);
    match &test.rule {
        Rule::Each(_) => own_changes(warehouse, test, &row, changed),
        // Whatever has changed in one of them, its rows follow each other otherwise.
        Rule::Increasing { per, .. } if per.is_empty() => None,
        Rule::Unique(columns) | Rule::Increasing { per: columns, .. } => {
            let table = (*changed.relations.get(&test.stored)?)?;
            Some(format!(
                "({}) IN (SELECT {} FROM {table} AS m$changed)",
                quote::list(&format!("{row}."), columns),
                quote::list("m$changed.", columns)
            ))
        }
        Rule::Relationship { on, stored, .. } => {
            // What has landed tells changes, and not which rows a view of it has lost by them.
            if changed.landed.has(stored) {
                return None;
            }
            let mut either = Vec::new();
            if changed.relations.contains_key(&test.stored) || changed.landed.has(&test.stored) {
                either.push(own_changes(warehouse, test, &row, changed)?);
            }
            if let Some(there) = changed.relations.get(stored) {
                let (own, other): (Vec<_>, Vec<_>) = on.iter().map(|(own, there)| (own, there)).unzip();
                either.push(format!(
                    "({}) IN (SELECT {} FROM {table} AS m$changed)",
                    quote::list(&format!("{row}."), own),
                    quote::list("m$changed.", other),
                    table = (*there)?
                ));
            }
            (!either.is_empty()).then(|| format!("({})", either.join(" OR ")))
        }
        Rule::Proved(_)
        | Rule::RowCount { .. }
        | Rule::SumEquals { .. }
        | Rule::Freshness { .. }
        | Rule::Query(_) => None,
    }
}

/// The relation's own rows that changed or came.
fn own_changes(warehouse: &Warehouse, test: &DataTest, row: &str, changed: &Changed<'_>) -> Option<String> {
    if changed.landed.has(&test.stored) {
        // A staging view has the rows as they are now, and not their positions.
        let position = changed.landed.position(&test.stored).filter(|_| test.relation == test.stored)?;
        return Some(format!("{row}.\"lsn\" > {position}"));
    }
    let table = (*changed.relations.get(&test.stored)?)?;
    let key = quote::list("m$changed.", &test.key);
    // What is updated in place makes no version.
    let versions = match test.is_of_versions(warehouse) {
        true => format!(" UNION ALL SELECT {key} FROM {} AS m$changed", changed.keys.get(&test.stored)?),
        false => String::new(),
    };
    Some(format!(
        "({}) IN (SELECT {key} FROM {table} AS m$changed{versions})",
        quote::list(&format!("{row}."), &test.key),
    ))
}

/// What a row is called: as its relation, so that an expression of the spec may say so.
fn row_of(test: &DataTest) -> String {
    quote::identifier(&test.relation.table)
}

fn named(relation: &Name) -> String {
    format!("{} AS {}", quote::name(relation), quote::identifier(&relation.table))
}

impl<'a> Scan<'a> {
    /// The statement that asks for the figures of all of them: one row, [`FIGURES`] texts a test.
    pub fn sql(&self) -> Option<String> {
        match self.kind {
            Kind::Proved => None,
            Kind::Together => {
                let figures: Vec<String> = self.tests.iter().map(|test| figures(test)).collect();
                let test = self.tests[0];
                Some(format!(
                    "SELECT\n    {}\nFROM {}{}",
                    figures.join(",\n    "),
                    self.from(test),
                    self.filter(&[])
                ))
            }
            Kind::Alone => Some(self.own(self.tests[0])),
        }
    }

    /// The same over all rows, where only changes are looked at, which others may hide.
    pub fn of_all(&self) -> Option<Scan<'a>> {
        matches!(self.which, Which::Of(_)).then(|| Scan {
            tests: self.tests.clone(),
            which: Which::All,
            kind: self.kind,
        })
    }

    /// What a single test asks.
    pub fn alone(&self, test: &DataTest) -> String {
        match self.kind {
            Kind::Proved => String::new(),
            Kind::Together => {
                format!("SELECT {}\nFROM {}{}", figures(test), self.from(test), self.filter(&[]))
            }
            Kind::Alone => self.own(test),
        }
    }

    /// The same tests, each in a scan of its own.
    pub fn apart(&self) -> Vec<Scan<'a>> {
        let alone =
            |test: &&'a DataTest| Scan { tests: vec![*test], which: self.which.clone(), kind: self.kind };
        self.tests.iter().map(alone).collect()
    }

    /// The rows that are wrong, as JSON; none where a figure is.
    pub fn rows(&self, test: &DataTest) -> Option<String> {
        match &test.rule {
            Rule::Each(holds) => Some(format!(
                "SELECT to_jsonb({row}.*)::text\nFROM {}{}\nLIMIT {MOST_ROWS}",
                self.from(test),
                self.filter(&[format!("({holds}) IS FALSE")]),
                row = row_of(test),
            )),
            Rule::Unique(columns) => Some(format!(
                "SELECT to_jsonb(m$double.*)::text\nFROM ({}\n    LIMIT {MOST_ROWS}) AS m$double",
                self.doubles(test, columns, ", count(*) AS m$rows"),
            )),
            Rule::Increasing { column, order_by, per } => Some(format!(
                "SELECT to_jsonb(m$fall.*)::text\nFROM ({}\n) AS m$fall\nWHERE m$before > {}\nLIMIT {MOST_ROWS}",
                self.neighbours(test, column, order_by, per, "*"),
                quote::identifier(column),
            )),
            Rule::Relationship { on, relation, .. } => Some(format!(
                "SELECT to_jsonb({row}.*)::text\nFROM {}{}\nLIMIT {MOST_ROWS}",
                self.from(test),
                self.orphans(test, on, relation),
                row = row_of(test),
            )),
            Rule::Query(query) => Some(format!(
                "SELECT to_jsonb(m$wrong.*)::text\nFROM (\n{query}\n) AS m$wrong\nLIMIT {MOST_ROWS}"
            )),
            Rule::Proved(_) | Rule::RowCount { .. } | Rule::SumEquals { .. } | Rule::Freshness { .. } => None,
        }
    }

    /// The query of a test that has one of its own.
    fn own(&self, test: &DataTest) -> String {
        match &test.rule {
            Rule::Unique(columns) => {
                format!(
                    "SELECT count(*)::text, NULL::text\nFROM ({}) AS m$double",
                    self.doubles(test, columns, "")
                )
            }
            Rule::Increasing { column, order_by, per } => format!(
                "SELECT count(*)::text, NULL::text\nFROM ({}\n) AS m$fall\nWHERE m$before > {}",
                self.neighbours(test, column, order_by, per, &quote::identifier(column)),
                quote::identifier(column),
            ),
            Rule::Relationship { on, relation, .. } => format!(
                "SELECT count(*)::text, NULL::text\nFROM {}{}",
                self.from(test),
                self.orphans(test, on, relation)
            ),
            Rule::SumEquals { measure, relation, aggregate } => format!(
                "SELECT m$own::text, m$there::text\nFROM (SELECT coalesce(sum({}), 0) AS m$own FROM {}) AS m$mine\n\
                 CROSS JOIN (SELECT coalesce({aggregate}, 0) AS m$there FROM {}) AS m$other\n\
                 WHERE m$own <> m$there\n\
                 UNION ALL SELECT NULL, NULL\nLIMIT 1",
                quote::identifier(measure),
                self.from(test),
                named(relation),
            ),
            Rule::Query(query) => {
                format!("SELECT count(*)::text, NULL::text\nFROM (\n{query}\n) AS m$wrong")
            }
            Rule::Proved(_) | Rule::Each(_) | Rule::RowCount { .. } | Rule::Freshness { .. } => {
                format!("SELECT {}\nFROM {}{}", figures(test), self.from(test), self.filter(&[]))
            }
        }
    }

    /// Values that several rows have.
    fn doubles(&self, test: &DataTest, columns: &[String], more: &str) -> String {
        let row = row_of(test);
        let known: Vec<String> =
            columns.iter().map(|column| format!("{row}.{} IS NOT NULL", quote::identifier(column))).collect();
        let columns = quote::list(&format!("{row}."), columns);
        format!(
            "\n    SELECT {columns}{more}\n    FROM {}{}\n    GROUP BY {columns}\n    HAVING count(*) > 1\n",
            self.from(test),
            self.filter(&known)
        )
    }

    /// Rows, each with what the column was in the one before; of several at one place the least comes first.
    fn neighbours(
        &self,
        test: &DataTest,
        column: &str,
        order_by: &str,
        per: &[String],
        shown: &str,
    ) -> String {
        let row = row_of(test);
        let own = |name: &str| format!("{row}.{}", quote::identifier(name));
        let (column, order_by) = (own(column), own(order_by));
        let per: Vec<String> = per.iter().map(|name| own(name)).collect();
        let among = if per.is_empty() { String::new() } else { format!("PARTITION BY {} ", per.join(", ")) };
        let known = per.iter().chain([&column, &order_by]).map(|name| format!("{name} IS NOT NULL"));
        let known: Vec<String> = known.collect();
        format!(
            "\n    SELECT {row}.{shown}, lag({column}) OVER ({among}ORDER BY {order_by}, {column}) AS m$before\n    \
             FROM {}{}",
            self.from(test),
            self.filter(&known)
        )
    }

    /// The condition of rows whose key is nowhere.
    fn orphans(&self, test: &DataTest, on: &[(String, String)], relation: &Name) -> String {
        let row = row_of(test);
        let mut all: Vec<String> =
            on.iter().map(|(own, _)| format!("{row}.{} IS NOT NULL", quote::identifier(own))).collect();
        let same = on.iter().map(|(own, there)| {
            format!("m$there.{} = {row}.{}", quote::identifier(there), quote::identifier(own))
        });
        let same: Vec<String> = same.collect();
        all.push(format!(
            "NOT EXISTS (SELECT FROM {} AS m$there WHERE {})",
            quote::name(relation),
            same.join(" AND ")
        ));
        self.filter(&all)
    }

    fn from(&self, test: &DataTest) -> String {
        match &self.which {
            Which::Of(rows) => format!("(\n{rows}\n) AS {}", row_of(test)),
            Which::All | Which::Where(_) => named(&test.relation),
        }
    }

    fn filter(&self, conditions: &[String]) -> String {
        let which = match &self.which {
            Which::Where(condition) => Some(condition),
            Which::All | Which::Of(_) => None,
        };
        let all: Vec<&str> = which.into_iter().chain(conditions).map(String::as_str).collect();
        if all.is_empty() { String::new() } else { format!("\nWHERE {}", all.join("\nAND ")) }
    }
}

/// A test's figures in a scan of its relation.
fn figures(test: &DataTest) -> String {
    match &test.rule {
        Rule::Each(holds) => format!("(count(*) FILTER (WHERE ({holds}) IS FALSE))::text, NULL::text"),
        Rule::Freshness { latest, .. } => {
            format!("floor(extract(epoch FROM clock_timestamp() - ({latest})))::text, ({latest})::text")
        }
        _ => "count(*)::text, NULL::text".to_owned(),
    }
}

/// How much is wrong, and what, by the figures that a test has asked for.
pub(super) fn judge(rule: &Rule, figures: &[Option<String>]) -> (u64, Option<String>) {
    let first = figures.first().cloned().flatten();
    let second = figures.get(1).cloned().flatten();
    let number = || first.as_deref().and_then(|text| text.parse::<u64>().ok());
    match rule {
        Rule::Proved(_) => (0, None),
        Rule::Each(_) | Rule::Relationship { .. } | Rule::Query(_) => {
            let rows = number().unwrap_or_default();
            (rows, (rows > 0).then(|| crate::progress::count(rows, "row")))
        }
        Rule::Unique(_) => {
            let groups = number().unwrap_or_default();
            (
                groups,
                (groups > 0).then(|| format!("{} more than once", crate::progress::count(groups, "value"))),
            )
        }
        Rule::Increasing { .. } => {
            let rows = number().unwrap_or_default();
            let found = || format!("{} with less than the one before", crate::progress::count(rows, "row"));
            (rows, (rows > 0).then(found))
        }
        Rule::RowCount { min, max } => {
            let rows = number().unwrap_or_default();
            let found = crate::progress::count(rows, "row");
            match (min, max) {
                (Some(min), _) if rows < *min => {
                    (1, Some(format!("{found}, and {min} at least are expected")))
                }
                (_, Some(max)) if rows > *max => {
                    (1, Some(format!("{found}, and {max} at most are expected")))
                }
                _ => (0, None),
            }
        }
        Rule::SumEquals { .. } => match (first, second) {
            (Some(own), Some(there)) => (1, Some(format!("the sum is {own}, and should be {there}"))),
            _ => (0, None),
        },
        Rule::Freshness { within, .. } => {
            let age = first.as_deref().and_then(|text| text.parse::<i64>().ok());
            match (age, second) {
                (Some(age), _) if age <= i64::try_from(*within).unwrap_or(i64::MAX) => (0, None),
                (Some(age), Some(latest)) => {
                    (1, Some(format!("the latest is of {latest}, {} ago", said(age.unsigned_abs()))))
                }
                _ => (1, Some("there is none".to_owned())),
            }
        }
    }
}

/// A stretch of time in its largest whole unit.
fn said(seconds: u64) -> String {
    match seconds {
        0..120 => crate::progress::count(seconds, "second"),
        120..7_200 => crate::progress::count(seconds / 60, "minute"),
        7_200..172_800 => crate::progress::count(seconds / 3_600, "hour"),
        _ => crate::progress::count(seconds / 86_400, "day"),
    }
}
