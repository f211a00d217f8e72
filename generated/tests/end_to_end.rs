//! The whole way, on real servers: a source is loaded, captured, applied and asked, and every answer is held
//! against SQL of the tests' own on the source. Knows the warehouse as its users do: by its descriptor, its
//! database, its binary.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by it")]

mod support;

mod apart;
mod between;
mod chaos;
mod columns;
mod costs;
mod demo;
mod differed;
mod enterprise;
mod entities;
mod epochs;
mod evolved;
mod forget;
mod keeping;
#[cfg(target_os = "linux")]
mod large;
mod lineage;
mod neighbours;
mod notebook;
mod operate;
mod orders;
mod prompt;
mod real_pagila;
mod refreshed;
mod refusals;
mod roles;
mod sample;
mod secure;
mod selected;
mod star;
mod tested;
mod unit_tested;
mod verified;
mod watch;
