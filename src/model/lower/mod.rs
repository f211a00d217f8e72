//! Lowers a spec to the resolved warehouse: names made, types chosen, defaults filled, references checked.
//! Knows no file, no database, no template. Collects every finding before it gives up: each part is looked
//! at whatever is wrong with the others, and what could not be read is not missed twice.

mod alert;
mod bound;
mod calendar;
mod catalog;
mod change_log;
mod column_use;
mod compared;
mod composed;
mod data_test;
mod declared;
mod demo;
mod derived;
mod dress;
mod enums;
mod evolution;
mod expression;
mod feed;
mod function;
mod grain;
mod identity;
mod joined;
mod landing;
mod lookup;
mod mart;
mod mart_order;
mod names;
mod order;
mod polling;
mod query;
mod readable;
mod relation;
mod report;
mod reproducible;
mod reserved;
mod retention;
mod roles;
mod scope;
mod silver;
mod snapshot;
mod sql;
mod staging;
mod sums;
mod tags;
mod temporal_join;
mod type_name;
mod unit;
mod unit_test;
mod versions;
mod volatile;
mod window;
mod written;
mod zone;

use crate::finding::Findings;
use crate::model::{Scripts, Warehouse};
use crate::spec::{self, Files, Parsed};

use catalog::Catalog;
pub use function::is_aggregate;
use report::Report;
pub(crate) use sql::{meant, parts};

/// Reads a spec and resolves it.
pub fn load(files: &Files) -> Result<Warehouse, Findings> {
    lower(&spec::parse(files), files)
}

/// What in a name would end a body between dollars, in which names stand as they are.
pub fn ending_bodies(name: &str) -> Option<&str> {
    names::tag(name)
}

/// Whether a word names a type that needs no declaring.
pub fn is_type(word: &str) -> bool {
    type_name::parse(word, &[]).is_ok()
}

/// Resolves a spec; its own findings are among those returned.
pub fn lower(parsed: &Parsed<spec::Warehouse>, files: &Files) -> Result<Warehouse, Findings> {
    let mut report = Report::new(files, parsed);
    let identity = identity::lower(&parsed.value, files, &mut report);
    let roles = roles::lower(&parsed.value.roles, &mut report);
    let retention = retention::lower(parsed.value.retention.as_ref(), &mut report);
    let catalog = Catalog::new(parsed, &identity, &mut report);
    let landings = landing::lower(&parsed.value, &catalog, &mut report);
    let stagings = staging::lower(&catalog, &mut report);
    let calendars = calendar::lower(&catalog, &mut report);
    let mut silver = silver::lower(&catalog, &mut report);
    change_log::name_batches(&landings, &mut silver);
    let temporal_joins = temporal_join::lower(&parsed.value, &catalog, &mut report);
    let mut marts: Vec<_> = catalog
        .relations
        .iter()
        .filter_map(|one| dress::shown(one, &catalog.schemas.silver, &mut report))
        .collect();
    marts.sort_by(|one, other| one.name.cmp(&other.name));
    marts.extend(mart::lower(parsed, &catalog, files, &mut report));
    let tests = data_test::lower(&parsed.value, &catalog, &marts, files, &mut report);
    let demo = demo::lower(files, &mut report);
    let evolution = evolution::lower(&parsed.value, &catalog, &mut report);
    let tags = tags::lower(&parsed.value, &mut report);
    let scripts = scripts(files, &mut report);
    let complete = report.has_no_holes();
    let known = unit_test::Known { landings: &landings, silver: &silver, marts: &marts, complete };
    unit_test::check(files, &known, &mut report);

    let warehouse = Warehouse {
        name: identity.name,
        description: identity.description,
        time_zone: identity.time_zone,
        schemas: identity.schemas,
        source: identity.source,
        roles,
        retention,
        alerts: alert::lower(&parsed.value.alerts, &mut report),
        enums: catalog.enums().to_vec(),
        is_bronze_apart: parsed.value.bronze.database.as_ref().is_some_and(|one| match one.value {
            spec::BronzeDatabase::Apart => true,
        }),
        landings,
        stagings,
        calendars,
        silver,
        temporal_joins,
        marts,
        tests,
        scripts,
        demo,
        evolution,
        tags,
    };
    dress::check_retention(&warehouse, &catalog, &mut report);
    report.finish(warehouse, files)
}

fn scripts(files: &Files, report: &mut Report<'_>) -> Scripts {
    let mut script = |name: &str| {
        let text = files.sql.get(name)?;
        report.utf8(text);
        Some(text.text().to_owned())
    };
    Scripts { source: script("source.sql"), sample: script("sample.sql"), traffic: script("traffic.sql") }
}
