//! What every warehouse does, written once: capture, land, apply, refresh, migrate, answer. Works over
//! descriptors that generated code yields; knows no spec, no model, no template and no warehouse.

pub mod answer;
pub mod apply;
pub mod capture;
pub mod cli;
pub mod connection;
pub mod data_test;
pub mod descriptor;
pub mod diff;
pub mod error;
pub mod files;
pub mod forget;
pub mod key;
pub mod land;
pub mod lineage;
pub mod lock;
pub mod migrate;
pub mod place;
pub mod progress;
pub mod quote;
pub mod rebuild;
mod record;
pub mod refresh;
pub mod retain;
pub mod round;
pub mod run;
pub mod script;
pub mod select;
pub mod show;
pub mod staging;
mod statement;
pub mod survey;
pub mod system_time;
pub mod time;
pub mod unit_test;
pub mod verify;
pub mod watch;
