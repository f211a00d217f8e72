//! medallion, the tool at the desk: reads a spec, writes a warehouse. The modules are the way of the data:
//! `spec` parses, `model` is what it means, `emit` turns it into files, `output` writes or compares them,
//! `cli` is the verbs. Imports run one way: cli -> output, emit -> plan -> model -> spec -> finding.

pub mod cli;
pub mod emit;
pub mod finding;
pub mod model;
pub mod output;
pub mod plan;
pub mod spec;
