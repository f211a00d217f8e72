//! `medallion schema`: prints the JSON Schema of the spec, which editors complete from.

use std::process::ExitCode;

use clap::Args;

use crate::spec;

/// Prints the JSON Schema of the spec, for editors.
#[derive(Args, Clone, Debug)]
pub struct Schema {}

/// Prints it.
pub fn run(_: &Schema) -> ExitCode {
    super::check::answer(&text());
    ExitCode::SUCCESS
}

/// The schema, as it is committed.
pub fn text() -> String {
    format!("{:#}\n", spec::json_schema::<spec::Warehouse>())
}
