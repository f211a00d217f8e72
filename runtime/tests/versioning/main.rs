//! Versioning by triggers, as generated for a dimension: its rules one by one, the cases in which neighbours
//! break, who may pass it, and a model in plain Rust held against random statements of several connections.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

mod gate;
mod merge;
mod model;
mod neighbours;
mod rules;
mod support;

/// What `generate` writes for the case of that name; the tool's tests hold it to the templates.
const OBJECTS: &str = include_str!(
    "../../../tests/cases/generate/system_versioning/expected/migration/src/system_versioning/m000001_baseline/up.sql"
);
const LAYOUT: support::Layout = support::Layout::Together;
