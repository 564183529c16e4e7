//! The `loadtest` program: parses the command line, does what it says, and turns what came of it
//! into an exit code.
//!
//! 0: fine. 1: it failed, or the server did. 2: the command line is wrong. 3: a regression, or a
//! promise that was not kept. 130: interrupted.

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use loadtest::commands::{Cli, EXIT_USAGE};

/// Nothing is wrong yet, and the help says what there is to do.
const NO_COMMAND: ErrorKind = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(help) if !help.use_stderr() || help.kind() == NO_COMMAND => help.exit(),
        Err(error) => {
            eprintln!("{} (see loadtest --help)", first_paragraph(&error.to_string()));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    command.execute().unwrap_or_else(|error| {
        eprintln!("loadtest: {error:#}");
        ExitCode::FAILURE
    })
}

/// Of clap's message: what is wrong, and what would be right.
fn first_paragraph(message: &str) -> String {
    let lines = message.lines().map(str::trim).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}
