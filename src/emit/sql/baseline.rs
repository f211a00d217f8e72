//! The SQL of the first migration: every script of a warehouse in one, and the way back.

use askama::Template;

use super::lint;
use super::quote::literal;
use super::script::{Script, objects_hash};
use crate::model::Warehouse;

#[derive(Template)]
#[template(path = "migration/src/warehouse/m000001_baseline/up.sql", escape = "none")]
struct UpSql<'a> {
    mark: &'a str,
    objects: Vec<ObjectSql<'a>>,
    name: String,
    objects_hash: String,
}

struct ObjectSql<'a> {
    title: &'a str,
    text: String,
}

#[derive(Template)]
#[template(path = "migration/src/warehouse/m000001_baseline/down.sql", escape = "none")]
struct DownSql<'a> {
    mark: &'a str,
    drops: Vec<&'a str>,
}

/// What makes the warehouse.
pub(in crate::emit) fn up(warehouse: &Warehouse, scripts: &[Script], mark: &str) -> String {
    let objects = scripts
        .iter()
        .map(|script| ObjectSql { title: &script.title, text: script.text().trim_end().to_owned() });
    lint::remarked(super::render(&UpSql {
        mark,
        objects: objects.collect(),
        name: literal(&warehouse.name),
        objects_hash: literal(&objects_hash(scripts)),
    }))
}

/// What takes it away again.
pub(in crate::emit) fn down(scripts: &[Script], mark: &str) -> String {
    let drops = scripts.iter().rev().flat_map(|script| script.drops.iter().map(String::as_str));
    super::render(&DownSql { mark, drops: drops.collect() })
}
