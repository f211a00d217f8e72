//! `medallion schema`: prints the JSON Schema of the spec, which editors complete from, or a page that says the same.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::spec;

/// Print the JSON Schema of the spec, for editors
///
/// Editors complete and check a `spec.toml` by it.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  medallion schema\n  medallion schema --format markdown")]
pub struct Schema {
    /// For whom it is written
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For editors
    Json,
    /// For people: every table, key and word of the language
    Markdown,
}

/// Prints it.
pub fn run(schema: &Schema) -> ExitCode {
    super::check::answer(&match schema.format {
        Format::Json => text(),
        Format::Markdown => page(),
    });
    ExitCode::SUCCESS
}

/// The schema, as it is committed.
pub fn text() -> String {
    format!("{:#}\n", spec::json_schema::<spec::Warehouse>())
}

/// The page of the language, as it is committed.
pub fn page() -> String {
    spec::page::page(&spec::json_schema::<spec::Warehouse>())
}
