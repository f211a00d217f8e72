//! How a stored mart is kept: its storage, and the unit of refresh of an incremental one.

use super::mart::Draft;
use super::report::Report;
use super::scope::Readable;
use super::silver;
use super::type_name;
use crate::finding::{Code, Finding, Span};
use crate::model::{CutColumn, Name, Storage, UnitColumn};
use crate::spec::{self, At};

/// A mart's storage; the unit counts where it is incremental.
pub(super) fn storage(draft: &Draft<'_>, unit: Vec<UnitColumn>) -> Storage {
    match draft.storage() {
        spec::Storage::View => Storage::View,
        spec::Storage::MaterializedView => Storage::MaterializedView,
        // Where no relation's rows tell a unit, there is none.
        spec::Storage::Incremental if unit.iter().any(|column| column.of.is_empty()) => {
            Storage::Incremental { unit: Vec::new() }
        }
        spec::Storage::Incremental => Storage::Incremental { unit },
    }
}

/// A column of the unit. A relation that gives it in two ways is left out: its rows touch the whole.
pub(super) fn column(name: &str, of: Vec<(Name, CutColumn)>) -> UnitColumn {
    let mut kept = Vec::<(Name, CutColumn)>::new();
    for (relation, cut) in &of {
        let ways = of.iter().filter(|(other, _)| other == relation);
        let one_way = ways.into_iter().all(|(_, other)| other == cut);
        if one_way && !kept.iter().any(|(known, _)| known == relation) {
            kept.push((relation.clone(), cut.clone()));
        }
    }
    UnitColumn { column: name.to_owned(), of: kept }
}

/// The word for a unit.
pub(super) fn word(unit: spec::Unit) -> &'static str {
    match unit {
        spec::Unit::Day => "day",
        spec::Unit::Week => "week",
        spec::Unit::Month => "month",
        spec::Unit::Quarter => "quarter",
        spec::Unit::Year => "year",
    }
}

/// A column of type `timestamptz` that an expression cuts by the session's zone.
pub(super) fn by_session(name: &str, place: Span, time_zone: &str) -> Finding {
    Finding::new(Code::UnfitType, format!("`{name}` is cut by the zone of whoever asks"), place)
        .label("is timestamptz, of which each zone makes another day and hour")
        .help(format!("write `({name} AT TIME ZONE '{time_zone}')`"))
}

/// A column that a grain is taken from, cut as the grain says; findings where it is not there or no time.
pub(super) fn cut(
    written: &At<String>,
    at: usize,
    relation: &Readable,
    cut: Option<&At<spec::Unit>>,
    report: &mut Report<'_>,
) -> Option<(CutColumn, crate::model::Nullability)> {
    let name = &written.value[at..];
    let owner = &relation.read.name.name;
    let Some(column) = relation.column(name) else {
        let place = report.within(written, at..written.len());
        let message = format!("`{owner}` has no column `{name}` to group by");
        let finding = Finding::new(Code::UnknownInMart, message, place)
            .label(format!("not a column of `{owner}`"))
            .did_you_mean(name, relation.names());
        report.push_absent(finding, relation.complete);
        return None;
    };
    let data_type = column.data_type.clone()?;
    if cut.is_some() && !type_name::is_time(&data_type) {
        let place = report.within(written, at..written.len());
        let message = format!("`{name}` cannot be cut");
        report.push(
            Finding::new(Code::UnfitType, message, place)
                .label(format!("is {}", type_name::said(&data_type)))
                .help("take a date or a timestamp, or leave `cut` out"),
        );
    } else if cut.is_none() && !type_name::is_ordered(&data_type) {
        let place = report.within(written, at..written.len());
        let message = format!("`{name}` cannot be grouped by");
        let is = format!("is {}, which has no order", type_name::said(&data_type));
        report.push(Finding::new(Code::UnfitType, message, place).label(is));
    }
    let cut = cut.map(|unit| silver::unit(unit.value));
    Some((CutColumn { column: name.to_owned(), data_type, cut }, column.nullability))
}
