//! Tests of the data: each rule with the relation that it is about, what it names there and elsewhere, and what
//! proves it without looking. Knows no SQL beyond expressions.

mod rule;
mod subject;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use super::bound::{Bound, Reader};
use super::catalog::Catalog;
use super::expression::{self, Place, Purpose};
use super::identity::described;
use super::relation::Relation;
use super::report::Report;
use super::scope::{ReadColumn, Readable, Scope};
use super::{compared, mart, names, query, type_name};
use crate::finding::{Code, Finding, Span};
use crate::model::data_test::{Condition, Literal, Proof, Rule};
use crate::model::data_type::BuiltIn;
use crate::model::{DataTest, DataType, Definition, Enum, Mart, Name, Nullability, Storage};
use crate::spec::{self, At, Files, Scalar, TestKind};

use rule::{bounds, check_bounds, freshness, increasing, is_float, is_number, number, ordered};
use subject::{Kind, Subject, column, column_of, columns, names_of};
use words::{check_words, given, listed, severity, word};

pub(super) fn lower(
    spec: &spec::Warehouse,
    catalog: &Catalog<'_>,
    marts: &[Mart],
    files: &Files,
    report: &mut Report<'_>,
) -> Vec<DataTest> {
    let landed: BTreeMap<_, _> =
        catalog.landings.iter().map(|one| (one.declared.value.clone(), landed(&one.name))).collect();
    let scope = scope(catalog, marts, &landed);
    let enums = catalog.enums();
    let mut lowering = Lowering { catalog, marts, scope: &scope, files, enums, names: BTreeMap::new() };
    let mut tests = Vec::new();
    for landing in &spec.landing {
        let Some(declared) = &landing.name else { continue };
        let Some(relation) = landed.get(&declared.value) else { continue };
        let key = vec!["lsn".to_owned(), "seq".to_owned()];
        let subject = Subject { declared, relation, key, kind: Kind::Landing };
        lowering.tests(&subject, &landing.tests, &mut tests, report);
    }
    for staging in &spec.staging {
        lowering.relation(staging.name.as_ref(), &staging.tests, &mut tests, report);
    }
    for calendar in &spec.calendar {
        lowering.relation(calendar.name.as_ref(), &calendar.tests, &mut tests, report);
    }
    for lookup in &spec.lookup {
        lowering.relation(lookup.name.as_ref(), &lookup.tests, &mut tests, report);
    }
    for dimension in &spec.dimension {
        lowering.relation(dimension.name.as_ref(), &dimension.tests, &mut tests, report);
        if let Some(shown) = &dimension.shown_as {
            lowering.relation(shown.name.as_ref(), &shown.tests, &mut tests, report);
        }
    }
    for fact in &spec.fact {
        lowering.relation(fact.name.as_ref(), &fact.tests, &mut tests, report);
    }
    for mart in &spec.mart {
        lowering.relation(mart.name.as_ref(), &mart.tests, &mut tests, report);
    }
    tests.sort_by(|one: &DataTest, other| (&one.relation, &one.name).cmp(&(&other.relation, &other.name)));
    tests
}

/// Everything that a test can read: what marts can, the marts, and what has landed.
fn scope(catalog: &Catalog<'_>, marts: &[Mart], landed: &BTreeMap<String, Readable>) -> Scope {
    let mut scope = catalog.scope();
    for mart in marts {
        let columns = mart.grain.iter().chain(&mart.measures).map(|column| ReadColumn {
            name: column.name.clone(),
            data_type: Some(column.data_type.clone()),
            nullability: column.nullability,
        });
        let readable = Readable::stored(mart.name.clone(), columns.collect(), true);
        if mart.is_shown() {
            // A test looks at all versions, and not at the current rows that changed.
            scope.readables.insert(mart.name.name.clone(), readable);
        } else {
            scope.readables.entry(mart.name.name.clone()).or_insert(readable);
        }
    }
    for staged in &catalog.stagings {
        scope.readables.entry(staged.declared.value.clone()).or_insert_with(|| staged.readable(catalog));
    }
    for readable in landed.values() {
        scope.readables.entry(readable.read.name.name.clone()).or_insert(readable.clone());
    }
    scope
}

/// The columns that all landing tables have.
fn landed(name: &Name) -> Readable {
    let column = |name: &str, data_type, nullability| ReadColumn {
        name: name.to_owned(),
        data_type: Some(DataType::BuiltIn(data_type)),
        nullability,
    };
    let columns = vec![
        column("lsn", BuiltIn::BigInt, Nullability::NotNull),
        column("op", BuiltIn::Char(1), Nullability::NotNull),
        column("full_row", BuiltIn::Jsonb, Nullability::Nullable),
        column("load_ts", BuiltIn::TimestampTz, Nullability::NotNull),
        column("commit_ts", BuiltIn::TimestampTz, Nullability::NotNull),
        column("seq", BuiltIn::BigInt, Nullability::NotNull),
    ];
    Readable::stored(name.clone(), columns, true)
}

struct Lowering<'r, 'a> {
    catalog: &'r Catalog<'a>,
    marts: &'r [Mart],
    scope: &'r Scope,
    files: &'r Files,
    enums: &'r [Enum],
    /// The names that are given, and where; no place for those that are made.
    names: BTreeMap<String, Option<Span>>,
}

impl<'r> Lowering<'r, '_> {
    fn relation(
        &mut self,
        name: Option<&'r At<String>>,
        written: &[At<spec::DataTest>],
        tests: &mut Vec<DataTest>,
        report: &mut Report<'_>,
    ) {
        let Some(subject) = name.and_then(|name| self.subject(name)) else { return };
        self.tests(&subject, written, tests, report);
    }

    fn tests(
        &mut self,
        subject: &Subject<'_>,
        written: &[At<spec::DataTest>],
        tests: &mut Vec<DataTest>,
        report: &mut Report<'_>,
    ) {
        for test in written {
            tests.extend(self.test(subject, test, report));
        }
    }

    /// The rows that are looked at where a relation is named.
    fn subject(&self, declared: &'r At<String>) -> Option<Subject<'r>> {
        let (key, kind, read): (Vec<String>, _, _) = if let Some(relation) = self.catalog.relation(declared) {
            let key = relation
                .key
                .map_or(Vec::new(), |key| key.value.iter().map(|one| one.value.clone()).collect());
            match &relation.current_view {
                Some(view) => (key, Kind::Current, view.name.clone()),
                None => (key, Kind::Fact, relation.table.name.clone()),
            }
        } else if let Some(mart) = self.marts.iter().find(|mart| mart.name.name == declared.value) {
            let key = mart.grain.iter().map(|column| column.name.clone()).collect();
            let kind = match mart.storage {
                Storage::Incremental { .. } => Kind::Stored,
                Storage::View | Storage::MaterializedView if mart.is_shown() => Kind::Shown,
                Storage::View | Storage::MaterializedView => Kind::Derived,
            };
            (key, kind, declared.value.clone())
        } else if self.catalog.is_derived(declared) {
            let key = self.scope.find(None, declared).map_or(Vec::new(), |staged| staged.key.clone());
            (key, Kind::Derived, declared.value.clone())
        } else {
            return None;
        };
        Some(Subject { declared, relation: self.scope.find(None, &read)?, key, kind })
    }

    fn test(
        &mut self,
        subject: &Subject<'_>,
        written: &At<spec::DataTest>,
        report: &mut Report<'_>,
    ) -> Option<DataTest> {
        let kind = written.test.as_ref()?;
        check_words(kind, written, report);
        let mut reads = BTreeSet::from([subject.relation.read.stored.clone()]);
        let rule = self.rule(kind, subject, written, &mut reads, report);
        let (warn_above, error_above) = severity(written, report);
        let name = self.name(kind, subject, written, report);
        let rule = rule?;
        let (stored, key) = self.behind(subject, &rule);
        if stored != subject.relation.read.stored {
            reads.remove(&subject.relation.read.stored);
            reads.insert(stored.clone());
        }
        Some(DataTest {
            name,
            description: described(written.description.as_ref()),
            relation: subject.relation.read.name.clone(),
            stored,
            key,
            reads: reads.into_iter().collect(),
            proof: self.proof(&rule, subject),
            rule,
            warn_above,
            error_above,
        })
    }

    /// The stored relation behind the rows, and the columns by which one is found there: what is asked of single versions
    /// follows the keys that have changed.
    fn behind(&self, subject: &Subject<'_>, rule: &Rule) -> (Name, Vec<String>) {
        if let Rule::Each(_) | Rule::Relationship { .. } = rule
            && let Some(relation) = self.shown(subject)
        {
            let key = relation.key.into_iter().flat_map(|key| &key.value);
            return (relation.table.clone(), key.map(|one| one.value.clone()).collect());
        }
        (subject.relation.read.stored.clone(), subject.key.clone())
    }

    /// The dimension of which all versions are looked at.
    fn shown(&self, subject: &Subject<'_>) -> Option<&Relation<'_>> {
        let mart = self.marts.iter().find(|mart| mart.name == subject.relation.read.name)?;
        let Definition::Shown(shown) = &mart.definition else { return None };
        self.catalog.relations.iter().find(|known| known.table == shown.relation)
    }

    fn rule(
        &self,
        kind: &At<TestKind>,
        subject: &Subject<'_>,
        written: &At<spec::DataTest>,
        reads: &mut BTreeSet<Name>,
        report: &mut Report<'_>,
    ) -> Option<Rule> {
        match kind.value {
            TestKind::Unique => {
                let columns = columns(subject, kind, written.columns.as_ref(), report)?;
                for column in &columns {
                    ordered(*column, "told to be unique", report);
                }
                Some(Rule::Unique(names_of(&columns)))
            }
            TestKind::NotNull => {
                let columns = columns(subject, kind, written.columns.as_ref(), report)?;
                Some(Rule::Each(Condition::NotNull(names_of(&columns))))
            }
            TestKind::AcceptedValues => self.accepted_values(kind, subject, written, report),
            TestKind::Range => {
                let (name, read) = column(subject, kind, written.column.as_ref(), report)?;
                let (min, max) =
                    bounds(kind, written, |value, report| self.literal(value, name, read, report), report)?;
                check_bounds(written, report);
                Some(Rule::Each(Condition::Range { column: name.value.clone(), min, max }))
            }
            TestKind::Increasing => increasing(kind, subject, written, report),
            TestKind::Relationship => self.relationship(kind, subject, written, reads, report),
            TestKind::Expression => {
                let expression = given(kind, written.expr.as_ref(), "expr", report)?;
                self.check_expression(expression, Purpose::Rule, subject.relation, report);
                Some(Rule::Each(Condition::Expression(expression.value.clone())))
            }
            TestKind::RowCount => {
                let (min, max) = bounds(kind, written, number, report)?;
                check_bounds(written, report);
                Some(Rule::RowCount { min, max })
            }
            TestKind::SumEquals => self.sum_equals(kind, subject, written, reads, report),
            TestKind::Freshness => freshness(kind, subject, written, report),
            TestKind::Sql => {
                let file = given(kind, written.sql.as_ref(), "sql", report)?;
                let text = mart::find(file, self.files, report)?;
                let query = query::read(text, "a test", report)?;
                let bound = Bound {
                    reader: Reader::Test,
                    query: &query,
                    file: text,
                    scope: self.scope,
                    catalog: self.catalog,
                };
                reads.extend(bound.check(report).into_iter().map(|read| read.stored));
                Some(Rule::Query(bound.pieces()))
            }
        }
    }

    fn accepted_values(
        &self,
        kind: &At<TestKind>,
        subject: &Subject<'_>,
        written: &At<spec::DataTest>,
        report: &mut Report<'_>,
    ) -> Option<Rule> {
        let column = column(subject, kind, written.column.as_ref(), report);
        let values = given(kind, written.values.as_ref(), "values", report)?;
        let (name, read) = column?;
        let literals: Vec<Option<Literal>> =
            values.iter().map(|value| self.literal(value, name, read, report)).collect();
        let literals: Option<Vec<Literal>> = literals.into_iter().collect();
        if values.is_empty() {
            let place = report.at(&values.span);
            let message = format!("no value of `{}` is accepted", name.value);
            report.push(Finding::new(Code::MissingKey, message, place).label("at least one"));
        }
        Some(Rule::Each(Condition::Accepted(name.value.clone(), literals?)))
    }

    fn relationship(
        &self,
        kind: &At<TestKind>,
        subject: &Subject<'_>,
        written: &At<spec::DataTest>,
        reads: &mut BTreeSet<Name>,
        report: &mut Report<'_>,
    ) -> Option<Rule> {
        let own = columns(subject, kind, written.columns.as_ref(), report);
        let other = given(kind, written.relation.as_ref(), "relation", report)?;
        let there = self.other(other, report)?;
        // An event may be older than the end of what it is about.
        let any_version = matches!(subject.kind, Kind::Fact | Kind::Landing);
        let relation = match self.catalog.relation(other) {
            Some(known) if any_version => self.scope.find(Some(&known.table.schema), &known.table.name),
            _ => None,
        };
        let relation = relation.unwrap_or(there.relation);
        reads.insert(relation.read.stored.clone());
        let on = match &written.on {
            Some(on) => columns(&there, kind, Some(on), report).map(|columns| names_of(&columns)),
            None => Some(there.key.clone()),
        };
        let (own, on) = (own?, on?);
        if own.len() != on.len() {
            let place = written.columns.as_ref().map_or(&kind.span, |columns| &columns.span);
            let message = format!("`{}` is told by {}", other.value, listed(&on));
            report.push(
                Finding::new(Code::UnfitLookup, message, report.at(place))
                    .label(format!("{} here, and {} there", own.len(), on.len()))
                    .help("name as many columns, in that order"),
            );
            return None;
        }
        for ((name, column), there_name) in own.iter().zip(&on) {
            let there_type = relation.column(there_name).and_then(|column| column.data_type.as_ref());
            if let (Some(here), Some(there)) = (&column.data_type, there_type)
                && !type_name::agree(here, there)
            {
                let place = report.at(&name.span);
                let message = format!("`{}` cannot be compared with `{there_name}`", name.value);
                let is = format!("{} here, {} there", type_name::said(here), type_name::said(there));
                report.push(Finding::new(Code::UnfitType, message, place).label(is));
            }
        }
        let on = names_of(&own).into_iter().zip(on).collect();
        let crate::model::Read { name, stored } = relation.read.clone();
        Some(Rule::Relationship { on, relation: name, stored })
    }

    fn sum_equals(
        &self,
        kind: &At<TestKind>,
        subject: &Subject<'_>,
        written: &At<spec::DataTest>,
        reads: &mut BTreeSet<Name>,
        report: &mut Report<'_>,
    ) -> Option<Rule> {
        let measure = column_of(subject, kind, "measure", written.measure.as_ref(), report);
        let other = given(kind, written.relation.as_ref(), "relation", report)?;
        let expression = given(kind, written.expr.as_ref(), "expr", report)?;
        let there = self.other(other, report)?;
        self.check_expression(expression, Purpose::Measure, there.relation, report);
        reads.insert(there.relation.read.stored.clone());
        let (name, read) = measure?;
        if let Some(data_type) = &read.data_type
            && !is_number(data_type)
            // What is wrong already may be its type, and text stands for it until then.
            && !(*data_type == type_name::placeholder() && report.count() > 0)
        {
            let place = report.at(&name.span);
            let message = format!("`{}` cannot be summed up", name.value);
            let is = format!("it is {}", type_name::said(data_type));
            report.push(Finding::new(Code::UnfitType, message, place).label(is));
        }
        Some(Rule::SumEquals {
            measure: name.value.clone(),
            relation: there.relation.read.name.clone(),
            aggregate: expression.value.clone(),
        })
    }

    /// Another relation that a test names.
    fn other<'n>(&self, name: &'n At<String>, report: &mut Report<'_>) -> Option<Subject<'n>>
    where
        'r: 'n,
    {
        let found = self.subject_of(name);
        if found.is_none() {
            let place = report.at(&name.span);
            let message = format!("there is no `{}` to compare with", name.value);
            let finding = Finding::new(Code::UnknownRelation, message, place)
                .label("no fact, dimension, lookup or mart")
                .did_you_mean(name, self.scope.names());
            report.push_absent(finding, self.scope.all_named);
        }
        found
    }

    fn subject_of<'n>(&self, name: &'n At<String>) -> Option<Subject<'n>>
    where
        'r: 'n,
    {
        self.subject(name).or_else(|| {
            // A current view by its own name.
            let relation = self.scope.find(None, name)?;
            let known = self.catalog.relations.iter().find(|known| known.table == relation.read.stored)?;
            let key =
                known.key.map_or(Vec::new(), |key| key.value.iter().map(|one| one.value.clone()).collect());
            Some(Subject { declared: name, relation, key, kind: Kind::Current })
        })
    }

    fn check_expression(
        &self,
        written: &At<String>,
        purpose: Purpose,
        relation: &Readable,
        report: &mut Report<'_>,
    ) {
        let alias = &relation.read.name.name;
        let relations = vec![(alias.as_str(), relation)];
        let place = Place {
            relations,
            stored: false,
            time_zone: &self.catalog.time_zone,
            grain: Vec::new(),
            enums: self.enums,
        };
        expression::check(written, purpose, &place, report);
    }

    /// A value that is compared with a column's.
    fn literal(
        &self,
        value: &At<Scalar>,
        name: &At<String>,
        column: &ReadColumn,
        report: &mut Report<'_>,
    ) -> Option<Literal> {
        let literal = match &value.value {
            Scalar::Boolean(value) => Literal::Plain(value.to_string()),
            Scalar::Integer(value) => Literal::Plain(value.to_string()),
            Scalar::Float(value) if value.is_finite() => Literal::Plain(value.to_string()),
            Scalar::Float(value) => Literal::Text(value.to_string()),
            Scalar::Text(value) => Literal::Text(value.clone()),
        };
        let Some(data_type) = &column.data_type else { return Some(literal) };
        let fits = match (&value.value, data_type) {
            (Scalar::Boolean(_), DataType::BuiltIn(BuiltIn::Boolean)) => true,
            (Scalar::Boolean(_), _) | (_, DataType::BuiltIn(BuiltIn::Boolean)) => false,
            (Scalar::Integer(number), data_type) => {
                is_number(data_type) && compared::takes(data_type, &number.to_string(), self.enums)
            }
            (Scalar::Float(value), data_type) => {
                is_number(data_type) && (value.is_finite() || is_float(data_type))
            }
            // Of an enumerated type more is told below.
            (Scalar::Text(_), DataType::Enum(_)) => true,
            (Scalar::Text(text), data_type) => {
                !is_number(data_type) && compared::takes(data_type, text, self.enums)
            }
        };
        if !fits {
            let place = report.at(&value.span);
            let message = format!("`{}` never has this value", name.value);
            let is = format!("it is {}", type_name::said(data_type));
            report.push(Finding::new(Code::UnfitType, message, place).label(is));
            return None;
        }
        if let (Scalar::Text(text), DataType::Enum(of)) = (&value.value, data_type)
            && let Some(known) = self.enums.iter().find(|known| known.name == *of)
            && !known.values.contains(text)
        {
            let place = report.at(&value.span);
            let message = format!("`{text}` is no value of `{}`", of.name);
            report.push(
                Finding::new(Code::UnfitEnum, message, place)
                    .did_you_mean(text, known.values.iter().map(String::as_str)),
            );
            return None;
        }
        Some(literal)
    }

    /// What makes it needless to look.
    fn proof(&self, rule: &Rule, subject: &Subject<'_>) -> Option<Proof> {
        let is_held = subject.kind != Kind::Derived;
        match rule {
            Rule::Each(Condition::NotNull(columns)) => {
                let never = |name: &String| {
                    subject.relation.column(name).is_some_and(|one| one.nullability == Nullability::NotNull)
                };
                (is_held && columns.iter().all(never)).then_some(Proof::NotNull)
            }
            Rule::Unique(columns) => {
                let fact = self.catalog.relation(subject.declared).filter(|_| subject.kind == Kind::Fact);
                // A partitioned table's primary key has the column that splits it.
                let partition = fact.and_then(|fact| fact.partition_by());
                let mut key = subject.key.iter().map(String::as_str).chain(partition);
                let has_all = key.all(|name| columns.iter().any(|column| column == name));
                // Versions that stand apart are told apart by their ends.
                let is_apart = self.shown(subject).is_some_and(Relation::is_closed_apart);
                (is_held && !is_apart && !subject.key.is_empty() && has_all).then_some(Proof::Unique)
            }
            Rule::Each(Condition::Accepted(column, values)) => {
                let data_type = subject.relation.column(column)?.data_type.as_ref()?;
                let DataType::Enum(name) = data_type else { return None };
                let known = self.enums.iter().find(|known| known.name == *name)?;
                let accepted = |value: &String| values.contains(&Literal::Text(value.clone()));
                known.values.iter().all(accepted).then_some(Proof::Type)
            }
            _ => None,
        }
    }

    fn name(
        &mut self,
        kind: &At<TestKind>,
        subject: &Subject<'_>,
        written: &At<spec::DataTest>,
        report: &mut Report<'_>,
    ) -> String {
        if let Some(name) = &written.name {
            names::check(name, "the test", report);
            let place = report.at(&name.span);
            if let Some(Some(first)) = self.names.get(&name.value) {
                let message = format!("there are two tests called `{}`", name.value);
                let first = first.clone();
                report.push(
                    Finding::new(Code::DuplicateName, message, place.clone())
                        .label("again")
                        .also(first, "first here"),
                );
            }
            self.names.insert(name.value.clone(), Some(place));
            return name.value.clone();
        }
        let mut base = format!("{}_{}", word(kind.value), subject.declared.value);
        let columns = written.columns.iter().flat_map(|columns| columns.value.iter());
        for column in columns.chain(&written.column).chain(&written.measure) {
            base = format!("{base}_{}", column.value);
        }
        let mut name = base.clone();
        let mut number = 1;
        while self.names.contains_key(&name) {
            number += 1;
            name = format!("{base}_{number}");
        }
        self.names.insert(name.clone(), None);
        name
    }
}
