{{ mark }}

//! The warehouses of this workspace in one binary.

use std::process::ExitCode;

use medallion_runtime::cli;

fn main() -> ExitCode {
    {{ body }}
}
