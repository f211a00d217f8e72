//! What the tests of feeds have in common: how a law is drawn, where a landing breaks off, a source, and the warehouse of
//! a spec in databases of its own.

#![allow(dead_code, reason = "not every feed needs all of it")]

pub mod breaks;
pub mod databases;
#[path = "../evolution/descriptor.rs"]
pub mod descriptor;
pub mod law;
pub mod orders;
pub mod warehouse;
