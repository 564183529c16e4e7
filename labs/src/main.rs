//! The `lab` program: lists the labs, or runs one of them, or all.

use std::process::ExitCode;

fn main() -> ExitCode {
    labs::cli::main()
}
