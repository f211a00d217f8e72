//! Asking a dimension about the past by its functions, as generated: every answer against plain Rust, the
//! plans by which they come, the horizon, and the time of a position.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

mod answers;
mod joins;
mod limits;
mod model;
mod plans;
mod support;
