//! The command line: one file per command, with its flags and what it does with them.

pub mod compare;
pub mod diff;
pub mod floor;
pub mod report;
pub mod run;
pub mod table;
pub mod value;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::share::Interrupt;

/// What a shell calls usage errors.
pub const EXIT_USAGE: u8 = 2;
/// Something got worse than it was, or than it may be.
pub const EXIT_REGRESSION: u8 = 3;
/// What a shell says of a program that Ctrl-C ended.
pub const EXIT_INTERRUPTED: u8 = 130;

/// Measures what each concurrency model costs, and checks every answer
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load one server and report
    Run(run::RunArgs),
    /// Start the servers, compare them with each other and with the floor, print the table
    Compare(compare::CompareArgs),
    /// Serve the floor: echo bytes with no codec and no handler
    Floor(floor::FloorArgs),
    /// Make a page with plots of results; or CSV, Markdown, and the formats of `HdrHistogram`
    Report(report::ReportArgs),
    /// Show two results of one kind beside each other
    Diff(diff::DiffArgs),
    /// Make the Markdown table of a result file again
    Table(table::TableArgs),
}

impl Command {
    /// Does it, and says with which code the program ends.
    ///
    /// # Errors
    /// Where there is nothing to show for it: what was tried, on what, and what to do.
    pub fn execute(&self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(args) => run::execute(args),
            Self::Compare(args) => compare::execute(args),
            Self::Floor(args) => floor::execute(args),
            Self::Report(args) => report::execute(args),
            Self::Diff(args) => diff::execute(args),
            Self::Table(args) => table::execute(args),
        }
    }
}

/// The first signal ends what is under way early, the second ends the program.
fn interrupt() -> anyhow::Result<Interrupt> {
    let interrupt = Interrupt::default();
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, interrupt.flag())
            .and_then(|_| signal_hook::flag::register(signal, interrupt.flag()))
            .context("cannot handle signals")?;
    }
    Ok(interrupt)
}

/// To standard output; a reader that went away is no error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
