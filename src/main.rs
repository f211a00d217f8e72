//! The command `medallion`.

use std::process::ExitCode;

fn main() -> ExitCode {
    medallion::cli::main()
}
