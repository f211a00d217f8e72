//! Staging views: what their columns are fields of or computed of, and what relations take from them. Each landed row
//! gives the same values always, wherever and whenever they are computed. Knows landing tables and no silver relation.

use super::catalog::Catalog;
use super::expression::{self, Checked, Place, Purpose};
use super::identity::described;
use super::names::{self, Namespace};
use super::relation::{Taken, Typed};
use super::report::Report;
use super::reserved::SYSTEM_COLUMNS;
use super::scope::{ReadColumn, Readable};
use super::{derived, type_name};
use crate::finding::{Code, Finding};
use crate::model::{Column, ColumnFrom, Computed, DataType, Input, Name, Nullability, Staging, Tracking};
use crate::spec::{self, At};

/// A staging view, as far as it is known by itself.
pub(super) struct Staged<'a> {
    pub declared: &'a At<String>,
    pub name: Name,
    written: &'a At<spec::Staging>,
    columns: Vec<StagedColumn<'a>>,
    /// Which rows count.
    pub filter: Option<Computed>,
    complete: bool,
}

/// A column of it.
struct StagedColumn<'a> {
    name: &'a At<String>,
    written: &'a spec::StagingColumn,
    /// Unless it could not be read.
    data_type: Option<DataType>,
    nullability: Nullability,
    from: ColumnFrom,
}

impl Staged<'_> {
    /// The landing table; nowhere where there is none.
    pub fn feed(&self, catalog: &Catalog<'_>) -> Name {
        let from = self.written.from.as_ref();
        let landing = from.and_then(|from| catalog.landings.iter().find(|one| one.declared == from));
        landing.map_or_else(|| Name::new("", ""), |landing| landing.name.clone())
    }

    /// Its columns as tests read them.
    pub fn readable(&self, catalog: &Catalog<'_>) -> Readable {
        let columns = self.columns.iter().map(|column| ReadColumn {
            name: column.name.value.clone(),
            data_type: column.data_type.clone(),
            nullability: column.nullability,
        });
        let mut readable = Readable::stored(self.name.clone(), columns.collect(), self.complete);
        readable.read.stored = self.feed(catalog);
        readable.key = self.key(catalog);
        readable
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.value.as_str())
    }

    /// The columns that show the landing table's key.
    fn key(&self, catalog: &Catalog<'_>) -> Vec<String> {
        let from = self.written.from.as_ref();
        let landing = from.and_then(|from| catalog.landings.iter().find(|one| one.declared == from));
        let key = landing.map_or(&[][..], |landing| landing.key);
        key.iter().filter_map(|field| self.showing(field)).map(|column| column.name.value.clone()).collect()
    }

    fn showing(&self, field: &str) -> Option<&StagedColumn<'_>> {
        self.columns.iter().find(|column| matches!(&column.from, ColumnFrom::Field(shown) if shown == field))
    }
}

/// Reads a staging view; landing tables are declared.
pub(super) fn declare<'a>(
    name: &'a At<String>,
    written: &'a At<spec::Staging>,
    catalog: &Catalog<'a>,
    report: &mut Report<'_>,
) -> Staged<'a> {
    let mut staged = Staged {
        declared: name,
        name: Name::new(&catalog.schemas.silver, &name.value),
        written,
        columns: Vec::new(),
        filter: None,
        complete: report.is_complete(&written.span),
    };
    let mut space = Namespace::default();
    for system in SYSTEM_COLUMNS {
        space.reserve(system, "a column that PostgreSQL gives every table");
    }
    if let Some(columns) = &written.columns
        && columns.is_empty()
    {
        let place = report.at(&columns.span);
        let message = format!("`{}` has no columns", name.value);
        report.push(Finding::new(Code::MissingKey, message, place).label("at least those of the key"));
        staged.complete = false;
    }
    for column in written.columns.iter().flat_map(|columns| &columns.value) {
        let Some(name) = &column.value.name else {
            staged.complete = false;
            continue;
        };
        if names::check(name, "the column", report) {
            space.declare(name, "a column", report);
        }
        check_source(name, column, report);
        let nullable = column.null.as_ref().is_some_and(|null| null.value);
        staged.columns.push(StagedColumn {
            name,
            written: &column.value,
            data_type: column.data_type.as_ref().and_then(|written| catalog.data_type(written, report)),
            nullability: if nullable { Nullability::Nullable } else { Nullability::NotNull },
            from: ColumnFrom::Field(column.from.as_ref().unwrap_or(name).value.clone()),
        });
    }
    let inputs = inputs(&staged, &mut space, catalog, report);
    let readable = named_inputs(&staged, &inputs);
    for column in &mut staged.columns {
        if let Some(expr) = &column.written.expr {
            column.from = ColumnFrom::Computed(computed(expr, &inputs, &readable, catalog, report));
        }
    }
    let filter = written.filter.as_ref();
    staged.filter = filter.map(|filter| computed(filter, &inputs, &readable, catalog, report));
    staged
}

/// A column is a field or computed, and a field has a name.
fn check_source(name: &At<String>, column: &spec::StagingColumn, report: &mut Report<'_>) {
    let Some(from) = &column.from else { return };
    if let Some(expr) = &column.expr {
        let place = report.at(&from.span);
        let also = report.at(&expr.span);
        let message = format!("`{}` is a field, and computed", name.value);
        report.push(
            Finding::new(Code::KeysDisagree, message, place)
                .label("`from` and `expr` exclude each other")
                .also(also, "what it is computed of")
                .help("leave one of them out"),
        );
    }
    check_field(name, from, report);
}

fn check_field(name: &At<String>, from: &At<String>, report: &mut Report<'_>) {
    if from.is_empty() {
        let place = report.at(&from.span);
        let message = format!("`{}` comes from nowhere", name.value);
        report.push(Finding::new(Code::InvalidName, message, place).label("the name of a field"));
    }
    names::check_tag(from, "the field", report);
}

/// What an expression can name, in the spec's order.
fn inputs(
    staged: &Staged<'_>,
    space: &mut Namespace,
    catalog: &Catalog<'_>,
    report: &mut Report<'_>,
) -> Vec<(Input, Nullability)> {
    let shown = staged.columns.iter().filter(|column| column.written.expr.is_none());
    let mut inputs: Vec<(Input, Nullability)> = shown
        .filter_map(|column| {
            let ColumnFrom::Field(field) = &column.from else { return None };
            let data_type = column.data_type.clone()?;
            let input = Input { name: column.name.value.clone(), field: field.clone(), data_type };
            Some((input, column.nullability))
        })
        .collect();
    for field in &staged.written.fields {
        let Some(name) = &field.name else { continue };
        if names::check(name, "the field", report) {
            space.declare(name, "a field", report);
        }
        if let Some(from) = &field.from {
            check_field(name, from, report);
        }
        let Some(data_type) = field.data_type.as_ref().and_then(|written| catalog.data_type(written, report))
        else {
            continue;
        };
        let read = field.from.as_ref().unwrap_or(name).value.clone();
        inputs.push((Input { name: name.value.clone(), field: read, data_type }, Nullability::Nullable));
    }
    inputs
}

/// The same, as an expression reads it.
fn named_inputs(staged: &Staged<'_>, inputs: &[(Input, Nullability)]) -> Readable {
    let columns = inputs.iter().map(|(input, nullability)| ReadColumn {
        name: input.name.clone(),
        data_type: Some(input.data_type.clone()),
        nullability: *nullability,
    });
    Readable::stored(staged.name.clone(), columns.collect(), staged.complete)
}

fn computed(
    expr: &At<String>,
    inputs: &[(Input, Nullability)],
    readable: &Readable,
    catalog: &Catalog<'_>,
    report: &mut Report<'_>,
) -> Computed {
    let nothing = || Computed { inputs: Vec::new(), sql: "NULL".to_owned() };
    let place = Place {
        relations: vec![(readable.read.name.name.as_str(), readable)],
        stored: true,
        time_zone: &catalog.time_zone,
        grain: Vec::new(),
        enums: catalog.enums(),
    };
    let Some(parsed) = expression::parse(expr, report) else { return nothing() };
    let checked = expression::check_parsed(expr, &parsed, Purpose::Computed, &place, report);
    if matches!(checked, Checked::Refused) {
        return nothing();
    }
    let named = derived::named(&parsed.tree);
    let used: Vec<Input> =
        inputs.iter().map(|(input, _)| input).filter(|input| named.contains(&input.name)).cloned().collect();
    for input in &used {
        if let DataType::Enum(name) = &input.data_type
            && catalog.enums().iter().any(|one| one.name == *name && !one.renamed.is_empty())
        {
            let place = report.at(&expr.span);
            let message = format!("`{}` is of a type whose values were renamed", input.name);
            report.push(
                Finding::new(Code::UnfitExpression, message, place)
                    .label("an expression reads what has landed, which may say the value of before")
                    .help(format!("read it as `text` in `fields`, under another name than `{}`", input.name)),
            );
        }
    }
    Computed { inputs: used, sql: expression::text(expr) }
}

/// What a column of a relation takes from the staging view that feeds it.
pub(super) fn take(
    staged: &Staged<'_>,
    name: &At<String>,
    column: &At<spec::Column>,
    data_type: Option<DataType>,
    report: &mut Report<'_>,
) -> Typed {
    let from = column.from.as_ref().unwrap_or(name);
    if !is_taken(from, column) {
        return Typed::written(column, data_type);
    }
    let Some(there) = staged.columns.iter().find(|there| there.name.value == from.value) else {
        let place = report.at(&from.span);
        let message = format!("`{}` has no column `{}` to take", staged.declared.value, from.value);
        let finding = Finding::new(Code::UnknownColumn, message, place)
            .label(format!("not among the columns of `{}`", staged.declared.value))
            .did_you_mean(from, staged.names());
        report.push_absent(finding, staged.complete);
        return Typed::written(column, data_type);
    };
    if let (Some(here), Some(of), Some(written)) = (&data_type, &there.data_type, &column.data_type)
        && !type_name::alike(here, of)
    {
        let place = report.at(&written.span);
        let message = format!(
            "`{}` is {}, and `{}` of `{}` is {}",
            name.value,
            type_name::said(here),
            from.value,
            staged.declared.value,
            type_name::said(of),
        );
        report.push(
            Finding::new(Code::UnfitType, message, place)
                .label("what is staged keeps its type")
                .help("leave `type` out"),
        );
    }
    let nullability = match &column.null {
        Some(null) if !null.value && there.nullability == Nullability::Nullable => {
            let place = report.at(&null.span);
            let message = format!("`{}` of `{}` takes NULL", from.value, staged.declared.value);
            report.push(
                Finding::new(Code::UnfitNull, message, place)
                    .label(format!("and `{}` would not", name.value))
                    .help("leave `null` out"),
            );
            Nullability::Nullable
        }
        Some(null) if null.value => Nullability::Nullable,
        Some(_) | None => there.nullability,
    };
    let taken =
        Taken { from: there.from.clone(), description: described(there.written.description.as_ref()) };
    Typed { data_type: there.data_type.clone(), nullability, taken: Some(taken) }
}

/// Whether nobody else says what type a column has, or why it has none.
pub(super) fn is_untyped(staged: Option<&Staged<'_>>, name: &At<String>, column: &spec::Column) -> bool {
    staged.is_none() || !is_taken(column.from.as_ref().unwrap_or(name), column)
}

/// Whether a column takes what the staging view has: it is neither looked up nor computed, nor does it tell of the change.
fn is_taken(from: &At<String>, column: &spec::Column) -> bool {
    !from.contains('.') && column.change.is_none() && column.expr.is_none()
}

pub(super) fn lower(catalog: &Catalog<'_>, report: &mut Report<'_>) -> Vec<Staging> {
    let mut lowered: Vec<Staging> =
        catalog.stagings.iter().map(|staged| one(staged, catalog, report)).collect();
    lowered.sort_by(|a, b| a.name.cmp(&b.name));
    lowered
}

fn one(staged: &Staged<'_>, catalog: &Catalog<'_>, report: &mut Report<'_>) -> Staging {
    check_feed(staged, catalog, report);
    check_key(staged, catalog, report);
    let columns = staged.columns.iter().enumerate().map(|(introduced, column)| {
        let data_type = column.data_type.clone().unwrap_or_else(type_name::placeholder);
        Column {
            name: column.name.value.clone(),
            renamed: super::silver::renamed(&data_type, catalog),
            data_type,
            nullability: column.nullability,
            description: described(column.written.description.as_ref()),
            from: column.from.clone(),
            tracking: Tracking::Tracked,
            introduced,
        }
    });
    Staging {
        name: staged.name.clone(),
        description: described(staged.written.description.as_ref()),
        feed: staged.feed(catalog),
        key: staged.key(catalog),
        columns: columns.collect(),
        filter: staged.filter.clone(),
    }
}

fn check_feed(staged: &Staged<'_>, catalog: &Catalog<'_>, report: &mut Report<'_>) {
    let Some(from) = &staged.written.from else { return };
    if let Some(landing) = catalog.landings.iter().find(|one| one.declared == from) {
        if landing.name.schema == catalog.schemas.bronze {
            return;
        }
        let place = report.at(&from.span);
        let message = format!("`{}` is a lookup, and no landing table", from.value);
        report.push(
            Finding::new(Code::WrongRelation, message, place).label("reads its source by itself").help(
                format!(
                    "make its source a `[[landing]]`, and the lookup `from = \"{}\"`",
                    staged.declared.value
                ),
            ),
        );
        return;
    }
    let place = report.at(&from.span);
    if catalog.relation(from).is_some() || catalog.staging(from).is_some() {
        let message = format!("`{}` is no landing table", from.value);
        let label = format!("`{}` reads what has landed", staged.declared.value);
        report.push(Finding::new(Code::WrongRelation, message, place).label(label));
        return;
    }
    let known = catalog.landings.iter().map(|landing| landing.declared.value.as_str());
    let finding = Finding::new(Code::UnknownRelation, format!("there is no `{}`", from.value), place)
        .label("no landing table")
        .did_you_mean(from, known);
    report.push_absent(finding, catalog.all_named);
}

/// A view of rows as they are now has to tell them apart.
fn check_key(staged: &Staged<'_>, catalog: &Catalog<'_>, report: &mut Report<'_>) {
    let from = staged.written.from.as_ref();
    let Some(landing) = from.and_then(|from| catalog.landings.iter().find(|one| one.declared == from)) else {
        return;
    };
    for field in landing.key {
        let Some(column) = staged.showing(field) else {
            if staged.complete {
                let columns = staged.written.columns.as_ref();
                let place = report.at(columns.map_or(&staged.declared.span, |columns| &columns.span));
                let message = format!(
                    "`{}` does not show the key of `{}`",
                    staged.declared.value, landing.declared.value
                );
                report.push(
                    Finding::new(Code::UnfitKey, message, place)
                        .label(format!("`{}` is missing, and tells its rows apart", field.value))
                        .help(format!("add `{{ name = \"{}\", type = \"…\" }}`", field.value)),
                );
            }
            continue;
        };
        let place = report.at(&column.name.span);
        let message = format!("`{}` cannot show the key of `{}`", column.name.value, landing.declared.value);
        if column.nullability == Nullability::Nullable {
            report.push(Finding::new(Code::UnfitNull, message, place).label("takes NULL"));
        } else if let Some(data_type) = column.data_type.as_ref().filter(|one| !type_name::is_ordered(one)) {
            let is = format!("is {}, which has no order", type_name::said(data_type));
            report.push(Finding::new(Code::UnfitType, message, place).label(is));
        }
    }
}
