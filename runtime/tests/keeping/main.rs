//! What is kept of the past and what is not: the policy of retention by itself, and the laws of silver where some
//! of the past is folded and some of it erased.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

#[path = "../laws/fold.rs"]
mod fold;
mod folded;
mod policy;

// The generated warehouse looks for its migrations in the crate of that name.
extern crate self as migration;

#[path = "../../../tests/cases/generate/folded_histories/expected/migration/src/folded_histories/mod.rs"]
pub mod folded_histories;
#[path = "../../../tests/cases/generate/folded_histories/expected/generated/src/folded_histories/mod.rs"]
#[allow(unused_qualifications, reason = "SeaORM writes them")]
pub mod folded_histories_warehouse;
