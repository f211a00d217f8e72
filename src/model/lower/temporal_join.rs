//! Joins over time: what is joined to what, by which version, and the columns that the view shows. Knows
//! silver relations only.

use super::catalog::Catalog;
use super::column_use::own_column;
use super::identity::described;
use super::lookup;
use super::names::{self, Namespace};
use super::relation::{Relation, Section};
use super::report::Report;
use super::reserved::{SYS_END, SYS_START, SYSTEM_COLUMNS};
use super::type_name;
use crate::finding::{Code, Finding};
use crate::model::{ColumnFrom, JoinedColumn, Lookup, Name, Nullability, Stretch, TemporalJoin};
use crate::spec::{self, At, LookedUp};

pub(super) fn lower(
    spec: &spec::Warehouse,
    catalog: &Catalog<'_>,
    report: &mut Report<'_>,
) -> Vec<TemporalJoin> {
    let mut lowered = Vec::new();
    for written in &spec.temporal_join {
        let Some(name) = &written.name else { continue };
        let Some(base) = base(written, catalog, report) else { continue };
        let join = Join { written, name, base, catalog };
        lowered.push(join.lower(report));
    }
    lowered.sort_by(|a, b| a.name.cmp(&b.name));
    lowered
}

/// The relation that others are joined to.
fn base<'c, 'a>(
    written: &spec::TemporalJoin,
    catalog: &'c Catalog<'a>,
    report: &mut Report<'_>,
) -> Option<&'c Relation<'a>> {
    let from = written.from.as_ref()?;
    let found = catalog.relation(from);
    if found.is_none() {
        let place = report.at(&from.span);
        let known = catalog.relations.iter().map(|known| known.declared.value.as_str());
        let finding =
            Finding::new(Code::UnknownRelation, format!("there is no `{}` to join to", from.value), place)
                .label("no dimension, lookup or fact")
                .did_you_mean(from, known);
        report.push_absent(finding, catalog.all_named);
    }
    found
}

struct Join<'s, 'a> {
    written: &'s At<spec::TemporalJoin>,
    name: &'s At<String>,
    base: &'s Relation<'a>,
    catalog: &'s Catalog<'a>,
}

impl Join<'_, '_> {
    fn lower(&self, report: &mut Report<'_>) -> TemporalJoin {
        let joins = self.joins(report);
        let columns = self.columns(report);
        let key = self.key(&columns, report);
        let stretch = match self.base.section {
            Section::Fact { .. } => Stretch::OwnTime,
            Section::Lookup | Section::Dimension { .. } => {
                Stretch::Period { start: SYS_START.to_owned(), end: SYS_END.to_owned() }
            }
        };
        TemporalJoin {
            name: Name::new(&self.catalog.schemas.silver, &self.name.value),
            description: described(self.written.description.as_ref()),
            base: self.base.table.clone(),
            base_alias: self.base.declared.value.clone(),
            joins,
            key,
            columns,
            stretch,
        }
    }

    fn joins(&self, report: &mut Report<'_>) -> Vec<Lookup> {
        let mut aliases = Namespace::default();
        aliases.reserve(&self.base.declared.value, "the relation that is joined to");
        let mut lowered = Vec::new();
        if let Some(joins) = &self.written.joins
            && joins.is_empty()
            && report.is_complete(&self.written.span)
        {
            let place = report.at(&joins.span);
            let message = format!("`{}` joins nothing", self.name.value);
            report.push(Finding::new(Code::MissingKey, message, place).label("at least one relation"));
        }
        for join in self.written.joins.iter().flat_map(|joins| &joins.value) {
            let Some(alias) = &join.name else { continue };
            if names::check(alias, "the join", report) {
                aliases.declare(alias, "a join", report);
                lookup::check_alias(alias, "a join", report);
            }
            self.check_version(alias, join, report);
            if self.keeps_versions(join, report) {
                lowered.extend(lookup::one(alias, join, self.base, self.catalog, report));
            }
        }
        lowered
    }

    /// An event has a time of its own, and a version has a period.
    fn check_version(&self, alias: &At<String>, join: &LookedUp, report: &mut Report<'_>) {
        let base = &self.base.declared.value;
        match (self.base.section, &join.at) {
            (Section::Fact { partition }, None) => {
                let place = report.at(&alias.span);
                let message = format!("`{}` does not say which version of it is meant", alias.value);
                let by = partition.and_then(|partition| partition.by.as_ref());
                let by = by.map_or("…", |by| by.value.as_str());
                report.push(
                    Finding::new(Code::MissingKey, message, place)
                        .label(format!("`{base}` is a fact: its events have a time of their own"))
                        .help(format!("add `at = \"{by}\"`, or another time of `{base}`")),
                );
            }
            (Section::Lookup | Section::Dimension { .. }, Some(at)) => {
                let place = report.at(&at.span);
                let message = format!("`{base}` is joined over all of time, and takes no `at`");
                report.push(
                    Finding::new(Code::KeysDisagree, message, place)
                        .label("it keeps versions itself")
                        .help("leave `at` out"),
                );
            }
            _ => {}
        }
    }

    fn keeps_versions(&self, join: &LookedUp, report: &mut Report<'_>) -> bool {
        let target = join.relation.as_ref().and_then(|name| Some((name, self.catalog.relation(name)?)));
        let Some((name, target)) = target else { return true };
        if target.is_fact() {
            let place = report.at(&name.span);
            let message = format!("`{}` is a fact, and keeps no versions to join over time", name.value);
            report.push(
                Finding::new(Code::WrongRelation, message, place)
                    .label("neither a dimension nor a lookup")
                    .help("name the fact in `from`, and join dimensions to it"),
            );
        }
        !target.is_fact()
    }

    fn columns(&self, report: &mut Report<'_>) -> Vec<JoinedColumn> {
        let mut space = Namespace::default();
        if !self.base.is_fact() {
            for added in [SYS_START, SYS_END] {
                space.reserve(added, "a column that medallion adds");
            }
        }
        for system in SYSTEM_COLUMNS {
            space.reserve(system, "a column that PostgreSQL gives every table");
        }
        let written = self.written.columns.iter().flat_map(|columns| &columns.value);
        let mut columns = Vec::new();
        for column in written {
            let Some(name) = &column.name else { continue };
            if names::check(name, "the column", report) {
                space.declare(name, "a column", report);
            }
            columns.extend(self.column(name, column, report));
        }
        columns
    }

    fn column(
        &self,
        name: &At<String>,
        column: &spec::JoinedColumn,
        report: &mut Report<'_>,
    ) -> Option<JoinedColumn> {
        let from = column.from.as_ref().unwrap_or(name);
        let taken = match column.from.as_ref().and_then(|from| from.split_once('.')) {
            Some((alias, there)) => self.joined_column(from, (alias, there), report),
            None => {
                let own = own_column(from, self.base, "to take", report);
                own.map(|own| (own, ColumnFrom::Field(from.value.clone())))
            }
        };
        let (taken, of) = taken?;
        // An event stays without the version that it names.
        let nullability = match (&of, self.base.is_fact()) {
            (ColumnFrom::Lookup { .. }, true) => Nullability::Nullable,
            _ => taken.nullability,
        };
        Some(JoinedColumn {
            name: name.value.clone(),
            data_type: taken.data_type.clone().unwrap_or_else(type_name::placeholder),
            nullability,
            description: described(column.description.as_ref().or(taken.written.description.as_ref())),
            of,
        })
    }

    fn joined_column(
        &self,
        from: &At<String>,
        (alias, name): (&str, &str),
        report: &mut Report<'_>,
    ) -> Option<(&super::relation::Column<'_>, ColumnFrom)> {
        let joins = || self.written.joins.iter().flat_map(|joins| &joins.value);
        let aliases = || joins().filter_map(|join| join.name.as_ref()).map(|name| name.value.as_str());
        let found = joins().find(|join| join.name.as_ref().is_some_and(|name| name.value == alias));
        let Some(join) = found else {
            let place = report.within(from, 0..alias.len());
            let message = format!("`{}` joins nothing by the name of `{alias}`", self.name.value);
            let finding = Finding::new(Code::UnknownAlias, message, place).label("not among its `joins`");
            let finding = finding.did_you_mean(alias, aliases());
            report.push_absent(finding, report.is_complete(&self.written.span));
            return None;
        };
        let target = join.relation.as_ref().and_then(|target| self.catalog.relation(target))?;
        let Some(there) = target.column(name) else {
            let place = report.within(from, alias.len() + 1..from.len());
            let message = format!("`{}` has no column `{name}` to take", target.declared.value);
            let finding = Finding::new(Code::UnknownColumn, message, place)
                .label(format!("not among the columns of `{}`", target.declared.value))
                .did_you_mean(name, target.names());
            report.push_absent(finding, target.complete);
            return None;
        };
        Some((there, ColumnFrom::Lookup { lookup: alias.to_owned(), column: name.to_owned() }))
    }

    /// The columns that tell the view's rows apart, but for the period's start.
    fn key(&self, columns: &[JoinedColumn], report: &mut Report<'_>) -> Vec<String> {
        let mut key = Vec::new();
        let own_key = self.base.key.map_or(&[][..], |key| key.value.as_slice());
        for own in own_key {
            let shown = columns.iter().find(|column| column.of == ColumnFrom::Field(own.value.clone()));
            match shown {
                Some(column) => key.push(column.name.clone()),
                None if self.base.complete && report.is_complete(&self.written.span) => {
                    let list = self.written.columns.as_ref().map_or(&self.name.span, |columns| &columns.span);
                    let place = report.at(list);
                    let (base, own) = (&self.base.declared.value, &own.value);
                    let message = format!("`{}` does not show the key of `{base}`", self.name.value);
                    report.push(
                        Finding::new(Code::UnfitKey, message, place)
                            .label(format!("`{own}` is missing, and tells its rows apart"))
                            .help(format!("add `{{ name = \"{own}\" }}`")),
                    );
                }
                None => {}
            }
        }
        key
    }
}
