//! Versioning by triggers, as generated for a dimension: its rules one by one, the cases in which neighbours
//! break, who may pass it, and a model in plain Rust held against random statements of several connections.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

mod gate;
mod merge;
mod model;
mod neighbours;
mod rules;
mod support;
