//! The binary `tapgate`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tapgate::cli::run()
}
