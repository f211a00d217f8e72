//! Landing tables: those declared, and those of lookups. Knows no silver relation.

use super::catalog::{self, Catalog};
use super::feed;
use super::identity::{described, source_table};
use super::polling;
use super::report::Report;
use super::snapshot;
use crate::finding::{Code, Finding};
use crate::model::{Fed, Landing, Name};
use crate::spec::{self, At};

pub(super) fn lower(spec: &spec::Warehouse, catalog: &Catalog<'_>, report: &mut Report<'_>) -> Vec<Landing> {
    for landing in &spec.landing {
        check_key(landing, report);
    }
    let mut landings = Vec::new();
    for landing in &catalog.landings {
        let fed = fed(landing, &spec.source, report);
        let source = match &fed {
            Fed::Files(feed) => Some(Name::new(feed::SCHEMA, &feed.path)),
            Fed::Log | Fed::Watermark(_) | Fed::Snapshots(_) => {
                landing.from.and_then(|from| source_table(from, &spec.source, report))
            }
        };
        landings.push(Landing {
            name: landing.name.clone(),
            description: described(landing.description),
            source: source.unwrap_or_else(|| Name::new("", "")),
            key: match lookup_key(catalog, landing.declared) {
                Some(key) => key,
                None => landing.key.iter().map(|column| column.value.clone()).collect(),
            },
            fed,
        });
    }
    landings.sort_by(|a, b| a.name.cmp(&b.name));
    landings
}

fn fed(landing: &catalog::Landing<'_>, source: &spec::Source, report: &mut Report<'_>) -> Fed {
    if let Some(feed) = feed::lower(landing, report) {
        return Fed::Files(feed);
    }
    if let Some(snapshots) = snapshot::lower(landing, source, report) {
        return Fed::Snapshots(snapshots);
    }
    polling::watermark(landing, source, report).map_or(Fed::Log, Fed::Watermark)
}

/// A lookup names its own columns in its key; the landing table's key is made of the source's.
fn lookup_key(catalog: &Catalog<'_>, declared: &At<String>) -> Option<Vec<String>> {
    let lookup = catalog.relation(declared).filter(|relation| relation.is_lookup())?;
    let key = lookup.key?;
    let field = |column: &At<String>| {
        let from = lookup.column(column).and_then(|column| column.written.from.as_ref());
        from.map_or_else(|| column.value.clone(), |from| from.value.clone())
    };
    Some(key.iter().map(field).collect())
}

fn check_key(landing: &At<spec::Landing>, report: &mut Report<'_>) {
    let Some(key) = &landing.key else { return };
    let name = landing.name.as_ref().map_or("", |name| name.value.as_str());
    if key.is_empty() && report.is_complete(&landing.span) {
        let place = report.at(&key.span);
        let message = format!("`{name}` has an empty key");
        report.push(
            Finding::new(Code::UnfitKey, message, place).label("the source's columns that tell rows apart"),
        );
    }
    super::silver::check_key_width(key, name, report);
    for (index, column) in key.iter().enumerate() {
        super::names::check(column, "the key column", report);
        if let Some(first) = key[..index].iter().find(|earlier| *earlier == column) {
            let place = report.at(&column.span);
            let message = format!("`{}` is in the key twice", column.value);
            let first = report.at(&first.span);
            report.push(Finding::new(Code::UnfitKey, message, place).also(first, "the first one"));
        }
    }
}
