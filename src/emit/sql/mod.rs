//! Writes SQL: how names, literals and types are spelled, and one emitter a kind of object. The only place
//! of the tool that quotes. Knows no Rust, no path, no disk.

mod apart;
mod asking;
pub(super) mod baseline;
mod bookkeeping;
mod calendar;
pub(super) mod data_test;
mod definition;
mod dimension;
mod dress;
mod fact;
mod feed;
mod group_index;
mod grouping;
mod guards;
mod landing;
mod lines;
mod lint;
mod mart;
pub(super) mod migration;
mod parting;
mod quote;
mod retention;
mod roles;
mod script;
mod staging;
mod temporal_join;
mod versioning;

pub(super) use apart::closed;
pub(super) use calendar::description as calendar_description;
pub use data_test::condition;
pub(super) use definition::{present, unit};
pub(super) use dimension::descriptions;
pub use dress::looked_up_hash;
pub(super) use dress::says as surrogate_says;
pub(super) use fact::{ARCHIVE_END, ARCHIVE_START, partitioned_key};
pub use grouping::{Averaged, Counted, Grouped, GroupedJoin, Grouping, grouping};
pub(super) use landing::COLUMNS as LANDING_COLUMNS;
pub(super) use mart::definition_view;
pub(super) use parting::{Parting, rekeyed};
pub(super) use quote::{data_type, identifier, literal, relation, remark};
pub(super) use script::{Script, hexadecimal, objects_hash};
pub(super) use staging::description as staging_description;
pub use staging::of_landed;
pub(super) use temporal_join::{STRETCH_END, STRETCH_START, description as join_description};
pub(super) use versioning::journal;

use std::collections::BTreeSet;

use askama::Template;

use crate::model::{SilverKind, Warehouse};

/// Every script of a warehouse, in the order in which they run.
pub(super) fn scripts(warehouse: &Warehouse) -> Vec<Script> {
    let mut scripts = bookkeeping::scripts(warehouse);
    scripts.extend(warehouse.landings.iter().map(landing::script));
    scripts.push(bookkeeping::time_of(warehouse));
    scripts.extend(staging::scripts(warehouse));
    scripts.extend(warehouse.calendars.iter().map(calendar::script));
    scripts.extend(warehouse.silver.iter().map(|silver| match &silver.kind {
        SilverKind::Dimension(dimension) => dimension::script(silver, dimension),
        SilverKind::Fact(fact) => fact::script(silver, fact, &warehouse.marts),
    }));
    scripts.extend(warehouse.temporal_joins.iter().map(|join| temporal_join::script(join, warehouse)));
    scripts.extend(warehouse.marts.iter().map(|mart| mart::script(mart, warehouse)));
    let retention = retention::script(warehouse, &mut scripts);
    scripts.push(retention);
    scripts.push(guards::script());
    let closed = roles::everybody(&scripts);
    scripts.push(closed);
    scripts.extend(roles::scripts(warehouse));
    scripts
}

/// Renders a template: it writes to memory, and its parts are strings.
pub(super) fn render(template: &impl Template) -> String {
    template.render().expect("a template of plain strings renders")
}

/// The file of each script below `generated/sql/<warehouse>/`: the object's name where that is plain, else
/// one that every file system takes.
pub(super) fn file_names(scripts: &[Script]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    scripts
        .iter()
        .map(|script| {
            let stem = file_stem(&script.object);
            let mut name = format!("{}/{stem}.sql", script.folder);
            let mut number = 2;
            while !taken.insert(name.clone()) {
                name = format!("{}/{stem}_{number}.sql", script.folder);
                number += 1;
            }
            name
        })
        .collect()
}

fn file_stem(object: &str) -> String {
    let mut stem = String::new();
    for character in object.chars() {
        match character {
            'a'..='z' | '0'..='9' | '_' | '-' => stem.push(character),
            'A'..='Z' => stem.push(character.to_ascii_lowercase()),
            _ => stem.push_str(&format!("_u{:x}", u32::from(character))),
        }
    }
    stem
}
