//! What a dimension wears: its surrogate key, the view that shows its versions under other names, and columns that tell
//! of the change. Knows the dimension's own columns and no other relation.

use super::identity::described;
use super::names::{self, Namespace};
use super::relation::{Column, Relation, Section};
use super::report::Report;
use super::reserved::{SYS_END, SYS_START, SYSTEM_COLUMNS};
use super::scope::{ReadColumn, Readable};
use super::type_name;
use crate::finding::{Code, Finding};
use crate::model::data_type::BuiltIn;
use crate::model::{
    Change, CurrentEnd, DataType, Definition, Made, Mart, MartColumn, Name, Nullability, Part, Read,
    Retention, Shown, ShownColumn, SilverKind, Storage, Surrogate, Tracking, Warehouse, Writes,
};
use crate::spec::{self, At};

/// What the period's start is called where nothing else is said.
const VALID_FROM: &str = "valid_from";
/// And its end.
const VALID_TO: &str = "valid_to";

/// The dimension's surrogate key.
pub(super) fn surrogate(relation: &Relation<'_>, report: &mut Report<'_>) -> Option<Surrogate> {
    let written = relation.surrogate()?;
    let made = match written.made.as_ref()?.value {
        spec::SurrogateMade::Identity => {
            check_identity(relation, written, report);
            Made::Identity
        }
        spec::SurrogateMade::Hash => Made::Hash(parts(relation, written, report)),
    };
    let name = written.name.as_ref()?.value.clone();
    Some(Surrogate { name, description: described(written.description.as_ref()), made })
}

/// What keeps numbers from staying with the versions that they were given to.
fn check_identity(relation: &Relation<'_>, written: &At<spec::SurrogateKey>, report: &mut Report<'_>) {
    let Section::Dimension { written: dimension, .. } = relation.section else { return };
    let Some(made) = &written.made else { return };
    let owner = &relation.declared.value;
    if let Some(of) = &written.of {
        let message = format!("the identity of `{owner}` is made of nothing");
        report.push(
            Finding::new(Code::KeysDisagree, message, report.at(&of.span))
                .label("what a hash is made of")
                .also(report.at(&made.span), "a number")
                .help("leave `of` out, or write `as = \"hash\"`"),
        );
    }
    let versioned = dimension.system_versioning.as_ref().filter(|versioning| versioning.value);
    let with = [
        (
            versioned.map(|one| &one.span),
            "an update by anybody leaves the number to the version that it begins",
        ),
        (dimension.closed_apart.as_ref().map(|one| &one.span), "versions move to another table as they end"),
    ];
    for (span, why) in with {
        let Some(span) = span else { continue };
        let message = format!("versions of `{owner}` cannot be numbered");
        report.push(
            Finding::new(Code::KeysDisagree, message, report.at(&made.span))
                .label("a number stays with its version")
                .also(report.at(span), why)
                .help("write `as = \"hash\"`, with the key and the period's start"),
        );
    }
}

fn parts(relation: &Relation<'_>, written: &At<spec::SurrogateKey>, report: &mut Report<'_>) -> Vec<Part> {
    let owner = &relation.declared.value;
    let Some(of) = written.of.as_ref().filter(|of| !of.is_empty()) else {
        if relation.complete {
            let place = report.at(written.of.as_ref().map_or(&written.span, |of| &of.span));
            let message = format!("nothing says what the surrogate key of `{owner}` is a hash of");
            let key: Vec<String> = relation
                .key
                .iter()
                .flat_map(|key| key.iter())
                .map(|one| format!("{:?}", one.value))
                .collect();
            let start = shown_start(relation);
            report.push(
                Finding::new(Code::MissingKey, message, place)
                    .help(format!("one a version: `of = [{}, \"{start}\"]`", key.join(", "))),
            );
        }
        return Vec::new();
    };
    let parts = of.iter().filter_map(|name| part(relation, name, report)).collect();
    check_parts(relation, of, report);
    parts
}

fn part(relation: &Relation<'_>, name: &At<String>, report: &mut Report<'_>) -> Option<Part> {
    let start = shown_start(relation);
    let owner = &relation.declared.value;
    let Some(column) = relation.column(name) else {
        if name.value == start || name.value == SYS_START {
            return Some(Part::Start);
        }
        let message = format!("`{owner}` has no column `{}` to make a hash of", name.value);
        let known = relation.names().chain([start]);
        let finding = Finding::new(Code::UnknownColumn, message, report.at(&name.span))
            .label(format!("neither a column of `{owner}` nor the period's start"))
            .did_you_mean(name, known);
        report.push_absent(finding, relation.complete);
        return None;
    };
    let untracked = column.written.tracked.as_ref().is_some_and(|tracked| !tracked.value);
    let problem = if column.written.change.is_some() {
        Some("tells of the change, and not of the row")
    } else if column.written.from.as_ref().is_some_and(|from| from.contains('.')) {
        Some("is looked up, and what identifies a version is its own")
    } else if column.written.expr.is_some() {
        Some("is computed, and what identifies a version is its own")
    } else if untracked {
        Some("changes without a version")
    } else {
        None
    };
    let data_type = column.data_type.as_ref();
    let unfit = data_type.filter(|data_type| !has_one_text(data_type));
    let message = format!("`{}` cannot be in a hash", name.value);
    if let Some(problem) = problem {
        let also = report.at(&column.name.span);
        let finding = Finding::new(Code::UnfitKey, message, report.at(&name.span));
        report.push(finding.label(problem).also(also, "declared here"));
    } else if let Some(data_type) = unfit {
        report.push(
            Finding::new(Code::UnfitType, message, report.at(&name.span))
                .label(format!("is {}", type_name::said(data_type)))
                .help("take numbers without rounding, texts, truth values, UUIDs, dates, timestamps or enumerated types"),
        );
    }
    let data_type = data_type.cloned().unwrap_or_else(type_name::placeholder);
    Some(Part::Column(name.value.clone(), data_type))
}

/// The text of a value hangs on its type alone, and on no setting.
fn has_one_text(data_type: &DataType) -> bool {
    use BuiltIn::{
        BigInt, Boolean, Char, Date, Integer, Numeric, SmallInt, Text, Timestamp, TimestampTz, Uuid, Varchar,
    };
    matches!(
        data_type,
        DataType::Enum(_)
            | DataType::BuiltIn(
                Boolean
                    | SmallInt
                    | Integer
                    | BigInt
                    | Numeric(_)
                    | Text
                    | Varchar(_)
                    | Char(_)
                    | Date
                    | Timestamp
                    | TimestampTz
                    | Uuid
            )
    )
}

/// A hash of less than the key is that of several rows.
fn check_parts(relation: &Relation<'_>, of: &At<Vec<At<String>>>, report: &mut Report<'_>) {
    for key in relation.key.iter().flat_map(|key| key.iter()) {
        if relation.column(key).is_some() && !of.contains(key) {
            let message =
                format!("the surrogate key of `{}` leaves `{}` out", relation.declared.value, key.value);
            report.push(
                Finding::new(Code::UnfitKey, message, report.at(&of.span))
                    .label("rows of several keys would share one")
                    .also(report.at(&key.span), "in the key"),
            );
        }
    }
}

/// What the view calls the period's start.
fn shown_start<'r>(relation: &'r Relation<'_>) -> &'r str {
    let Some(shown) = relation.shown_as() else { return SYS_START };
    shown.start.as_ref().map_or(VALID_FROM, |start| start.value.as_str())
}

/// What marts can read of the view that shows a dimension's versions.
pub(super) fn readable(relation: &Relation<'_>, silver: &str) -> Option<Readable> {
    let written = relation.shown_as()?;
    let columns = columns(relation, written).into_iter().map(|column| ReadColumn {
        name: column.name.to_owned(),
        data_type: column.data_type,
        nullability: column.nullability,
    });
    Some(Readable {
        read: Read { name: Name::new(silver, &written.name.as_ref()?.value), stored: relation.table.clone() },
        columns: columns.collect(),
        complete: relation.complete,
        clock: false,
        history: true,
        fact: false,
        key: Vec::new(),
    })
}

/// The view that shows a dimension's versions.
pub(super) fn shown(relation: &Relation<'_>, silver: &str, report: &mut Report<'_>) -> Option<Mart> {
    let written = relation.shown_as()?;
    let name = written.name.as_ref()?;
    let columns = columns(relation, written);
    check_names(relation, written, report);
    let start = shown_start(relation);
    let key = relation.key.map_or(&[][..], |key| key.value.as_slice());
    let is_grain = |column: &Worn<'_>| match &column.of {
        ShownColumn::Stored(stored) => key.iter().any(|key| key.value == *stored),
        ShownColumn::Start => column.name == start,
        _ => false,
    };
    let mart_column = |column: &Worn<'_>| MartColumn {
        name: column.name.to_owned(),
        data_type: column.data_type.clone().unwrap_or_else(type_name::placeholder),
        nullability: column.nullability,
        description: column.description.clone(),
    };
    let description = described(written.description.as_ref())
        .unwrap_or_else(|| format!("Every version of `{}`.", relation.table.name));
    Some(Mart {
        name: Name::new(silver, &name.value),
        description: Some(description),
        grain: columns.iter().filter(|one| is_grain(one)).map(mart_column).collect(),
        measures: columns.iter().filter(|one| !is_grain(one)).map(mart_column).collect(),
        storage: Storage::View,
        definition: Definition::Shown(Shown {
            relation: relation.table.clone(),
            start: SYS_START.to_owned(),
            end: SYS_END.to_owned(),
            columns: columns.into_iter().map(|column| (column.name.to_owned(), column.of)).collect(),
        }),
        order: Vec::new(),
        reads: vec![Read { name: relation.table.clone(), stored: relation.table.clone() }],
    })
}

/// A column of the view.
struct Worn<'r> {
    name: &'r str,
    data_type: Option<DataType>,
    nullability: Nullability,
    description: Option<String>,
    of: ShownColumn,
}

/// Surrogate key, columns of the row, period, columns that tell of the change.
fn columns<'r>(relation: &'r Relation<'_>, written: &'r At<spec::ShownAs>) -> Vec<Worn<'r>> {
    let own = |column: &'r Column<'_>| Worn {
        name: &column.name.value,
        data_type: column.data_type.clone(),
        nullability: column.nullability,
        description: described(column.written.description.as_ref()),
        of: ShownColumn::Stored(column.name.value.clone()),
    };
    let added = |name: &'r str, data_type, nullability, said: &str, of| Worn {
        name,
        data_type: Some(DataType::BuiltIn(data_type)),
        nullability,
        description: Some(said.to_owned()),
        of,
    };
    let named = |name: &'r Option<At<String>>, usual: &'static str| -> &'r str {
        name.as_ref().map_or(usual, |name| name.value.as_str())
    };
    let current_end = match written.current_end.as_ref().map(|end| end.value) {
        None | Some(spec::CurrentEnd::Infinity) => CurrentEnd::Infinity,
        Some(spec::CurrentEnd::Null) => CurrentEnd::Null,
        Some(spec::CurrentEnd::LastDay) => CurrentEnd::LastDay,
    };
    let (until, end_null) = match current_end {
        CurrentEnd::Infinity => ("infinity in the current version", Nullability::NotNull),
        CurrentEnd::Null => ("NULL in the current version", Nullability::Nullable),
        CurrentEnd::LastDay => ("9999-12-31 in the current version", Nullability::NotNull),
    };
    let mut columns: Vec<Worn<'_>> = Vec::new();
    if let Some(surrogate) = relation.surrogate()
        && let (Some(name), Some(made)) = (&surrogate.name, &surrogate.made)
    {
        let (data_type, of) = match made.value {
            spec::SurrogateMade::Identity => (BuiltIn::BigInt, ShownColumn::Stored(name.value.clone())),
            spec::SurrogateMade::Hash => (BuiltIn::Text, ShownColumn::Hash(quiet_parts(relation, surrogate))),
        };
        let said = described(surrogate.description.as_ref()).unwrap_or_else(|| SURROGATE.to_owned());
        columns.push(added(&name.value, data_type, Nullability::NotNull, &said, of));
    }
    let of_row = relation.columns.iter().filter(|column| column.written.change.is_none());
    columns.extend(of_row.map(own));
    columns.push(added(
        named(&written.start, VALID_FROM),
        BuiltIn::TimestampTz,
        Nullability::NotNull,
        "Since when the row was so, in system time.",
        ShownColumn::Start,
    ));
    columns.push(added(
        named(&written.end, VALID_TO),
        BuiltIn::TimestampTz,
        end_null,
        &format!("Until when the row was so; {until}."),
        ShownColumn::End(current_end),
    ));
    if let Some(name) = &written.is_current {
        let said = "Whether the version is the current one.";
        let of = ShownColumn::IsCurrent;
        columns.push(added(&name.value, BuiltIn::Boolean, Nullability::NotNull, said, of));
    }
    columns.extend(relation.columns.iter().filter(|column| column.written.change.is_some()).map(own));
    columns
}

/// What is said of a surrogate key that is not described.
pub(in crate::model) const SURROGATE: &str = "Tells the versions apart by itself.";

/// The parts of a hash, of those that can be.
fn quiet_parts(relation: &Relation<'_>, written: &spec::SurrogateKey) -> Vec<Part> {
    let names = written.of.iter().flat_map(|of| &of.value);
    names
        .filter_map(|name| match relation.column(name) {
            Some(column) => {
                let data_type = column.data_type.clone().unwrap_or_else(type_name::placeholder);
                Some(Part::Column(name.value.clone(), data_type))
            }
            None => (name.value == shown_start(relation) || name.value == SYS_START).then_some(Part::Start),
        })
        .collect()
}

/// The view's columns have names of their own.
fn check_names(relation: &Relation<'_>, written: &At<spec::ShownAs>, report: &mut Report<'_>) {
    let mut space = Namespace::default();
    for system in SYSTEM_COLUMNS {
        space.reserve(system, "a column that PostgreSQL gives every table");
    }
    for column in &relation.columns {
        space.reserve(&column.name.value, &format!("a column of `{}`", relation.declared.value));
    }
    if let Some(name) = relation.surrogate().and_then(|surrogate| surrogate.name.as_ref()) {
        space.reserve(name, "the surrogate key");
    }
    let owner = written.name.as_ref().unwrap_or(relation.declared);
    for (name, usual, what) in
        [(&written.start, VALID_FROM, "the period's start"), (&written.end, VALID_TO, "the period's end")]
    {
        match name {
            Some(name) if names::check(name, what, report) => {
                space.declare(name, what, report);
            }
            Some(_) => {}
            None => {
                space.derive(usual, owner, what, report);
            }
        }
    }
    if let Some(name) = &written.is_current
        && names::check(name, "the column", report)
    {
        space.declare(name, "whether a version is the current one", report);
    }
}

/// What a column tells of the change that made the row's state.
pub(super) fn change(
    column: &Column<'_>,
    relation: &Relation<'_>,
    report: &mut Report<'_>,
) -> Option<Change> {
    let name = &column.name.value;
    let owner = &relation.declared.value;
    let Some(change) = &column.written.change else {
        if let Some(which) = &column.written.which {
            let message = format!("`{name}` tells of no change");
            report.push(
                Finding::new(Code::KeysDisagree, message, report.at(&which.span))
                    .label("which of them is meant")
                    .help("add `change`, or leave `which` out"),
            );
        }
        return None;
    };
    let place = report.at(&change.span);
    let Section::Dimension { writes, .. } = relation.section else {
        report.push(
            Finding::new(Code::KeysDisagree, format!("`{name}` cannot tell of the change"), place)
                .label(format!("`{owner}` is no dimension"))
                .help("leave `change` out"),
        );
        return None;
    };
    let excluded = [
        (column.written.from.as_ref().map(|from| &from.span), "a field of the row"),
        (
            column.written.tracked.as_ref().filter(|tracked| tracked.value).map(|tracked| &tracked.span),
            "every change would make a version",
        ),
    ];
    for (span, what) in excluded {
        let Some(span) = span else { continue };
        let message = format!("`{name}` tells of the change, and not of the row");
        report.push(
            Finding::new(Code::KeysDisagree, message, report.at(span))
                .label(what)
                .also(place.clone(), "what it tells"),
        );
    }
    if relation.key.is_some_and(|key| key.iter().any(|key| key == column.name)) {
        let message = format!("`{name}` cannot be in the key of `{owner}`");
        report.push(Finding::new(Code::UnfitKey, message, place.clone()).label("tells of the change"));
    }
    if writes == Writes::Versioned {
        report.push(
            Finding::new(Code::KeysDisagree, format!("`{name}` cannot tell of the change"), place.clone())
                .label(format!("what others write to `{owner}` comes by none"))
                .help("leave `system_versioning` out, or this column"),
        );
    }
    if tracking(column) == Tracking::Opening && !relation.lookups.is_empty() {
        let message = format!("`{name}` cannot tell of the change that opens a version");
        report.push(
            Finding::new(Code::KeysDisagree, message, place.clone())
                .label(format!("what `{owner}` looks up may open one, without a change of its own"))
                .help("add `which = \"latest\"`"),
        );
    }
    let letter = matches!(column.data_type, Some(DataType::BuiltIn(BuiltIn::Char(1))));
    let told = match change.value {
        spec::Change::Operation if letter => Change::Letter,
        spec::Change::Operation => Change::Operation,
        spec::Change::Time => Change::Time,
        spec::Change::Position => Change::Position,
        spec::Change::Landed => Change::Landed,
        spec::Change::Batch => Change::Batch,
    };
    let fits = match told {
        Change::Letter => BuiltIn::Char(1),
        Change::Operation | Change::Batch | Change::BatchId => BuiltIn::Text,
        Change::Time | Change::Landed => BuiltIn::TimestampTz,
        Change::Position => BuiltIn::BigInt,
    };
    let fits = DataType::BuiltIn(fits);
    if let (Some(data_type), Some(written)) = (&column.data_type, &column.written.data_type)
        && !type_name::alike(data_type, &fits)
    {
        let message = format!("`{name}` is {}, and tells of the change", type_name::said(data_type));
        report.push(
            Finding::new(Code::UnfitType, message, report.at(&written.span))
                .help(format!("write `type = \"{}\"`", type_name::said(&fits))),
        );
    }
    Some(told)
}

/// How a column that tells of the change follows it.
pub(super) fn tracking(column: &Column<'_>) -> Tracking {
    match column.written.which.as_ref().map(|which| which.value) {
        None | Some(spec::Which::Opening) => Tracking::Opening,
        Some(spec::Which::Latest) => Tracking::Untracked,
    }
}

/// The start of a version that is folded moves to the horizon, and a hash of it with it.
pub(super) fn check_retention(
    warehouse: &Warehouse,
    catalog: &super::catalog::Catalog<'_>,
    report: &mut Report<'_>,
) {
    if warehouse.retention == Retention::Whole {
        return;
    }
    let whole = warehouse.kept_whole();
    for silver in warehouse.silver.iter().filter(|silver| !whole.contains(&silver.name)) {
        let SilverKind::Dimension(dimension) = &silver.kind else { continue };
        let Some(Made::Hash(parts)) = dimension.surrogate.as_ref().map(|surrogate| &surrogate.made) else {
            continue;
        };
        let relation = catalog.relations.iter().find(|relation| relation.table == silver.name);
        let of = relation.and_then(|relation| relation.surrogate()?.of.as_ref());
        if let Some(of) = of
            && parts.contains(&Part::Start)
        {
            let message = format!("the surrogate keys of `{}` do not outlive retention", silver.name.name);
            report.push(
                Finding::new(Code::KeysDisagree, message, report.at(&of.span))
                    .label("the start of what is folded becomes the horizon")
                    .help("look it up at a time of its own somewhere, which keeps it whole, or leave the start out"),
            );
        }
    }
}

/// The surrogate key as a column.
pub(super) fn surrogate_column<'r>(relation: &'r Relation<'_>) -> Option<(&'r str, DataType)> {
    let surrogate = relation.surrogate()?;
    let data_type = match surrogate.made.as_ref()?.value {
        spec::SurrogateMade::Identity => BuiltIn::BigInt,
        spec::SurrogateMade::Hash => BuiltIn::Text,
    };
    Some((surrogate.name.as_ref()?.value.as_str(), DataType::BuiltIn(data_type)))
}
