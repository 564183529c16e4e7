//! The command line: one file per command, with its flags and what it does with them.

pub mod baseline;
pub mod bench;
pub mod capacity;
pub mod compare;
pub mod completions;
pub mod diff;
pub mod floor;
pub mod load;
pub mod man;
pub mod memory;
pub mod merge;
mod progress;
pub mod report;
pub mod run;
pub mod selfcheck;
pub mod sweep;
pub mod table;
pub mod trials;
pub mod value;
pub mod verify;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
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
    /// How near each server is to the floor that waits as it does, and whether that is near enough
    Bars(trials::TrialArgs),
    /// Turn each knob, and say what it changed
    Knobs(trials::TrialArgs),
    /// From how many connections, which share of blocking work, which size on a choice turns round
    Crossovers(trials::TrialArgs),
    /// Search for the highest rate at which a server holds what it must hold
    Capacity(capacity::CapacityArgs),
    /// Vary one parameter of the load: connections, depth, payload, rate, work, idle connections
    Sweep(sweep::SweepArgs),
    /// Serve the floor: echo bytes with no codec and no handler
    Floor(floor::FloorArgs),
    /// Make one result of those of several machines that shared a schedule
    Merge(merge::MergeArgs),
    /// Show on this machine that the figures are right: predicted beside measured
    Selfcheck(selfcheck::SelfcheckArgs),
    /// Serve with known delays, for the self-check
    #[command(hide = true, name = crate::selfcheck::SERVER_COMMAND)]
    KnownServer(selfcheck::KnownServerArgs),
    /// Measure what an idle connection and an active one cost in memory
    Memory(memory::MemoryArgs),
    /// Check that a server keeps the contract, also with hostile clients
    Verify(verify::VerifyArgs),
    /// Make a page with plots of results; or CSV, Markdown, and the formats of `HdrHistogram`
    Report(report::ReportArgs),
    /// Show two results of one kind beside each other
    Diff(diff::DiffArgs),
    /// Make the Markdown table of a result file again
    Table(table::TableArgs),
    /// Print what a shell needs to complete this program's commands and flags
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write one for each command
    Man(man::ManArgs),
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
            Self::Bars(args) => trials::bars(args),
            Self::Knobs(args) => trials::knobs(args),
            Self::Crossovers(args) => trials::crossovers(args),
            Self::Capacity(args) => capacity::execute(args),
            Self::Sweep(args) => sweep::execute(args),
            Self::Floor(args) => floor::execute(args),
            Self::Merge(args) => merge::execute(args),
            Self::Selfcheck(args) => selfcheck::execute(args),
            Self::KnownServer(args) => selfcheck::serve_known(args),
            Self::Memory(args) => memory::execute(args),
            Self::Verify(args) => verify::execute(args),
            Self::Report(args) => report::execute(args),
            Self::Diff(args) => diff::execute(args),
            Self::Table(args) => table::execute(args),
            Self::Completions(args) => completions::execute(args),
            Self::Man(args) => man::execute(args),
        }
    }
}

/// The command line without what is hidden: for manual pages and completions.
fn shown() -> clap::Command {
    let all = Cli::command();
    let commands = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let commands = commands.collect::<Vec<_>>();
    let about = all.get_about().cloned().unwrap_or_default();
    let program = clap::Command::new("loadtest").version(env!("CARGO_PKG_VERSION")).about(about);
    program.disable_help_subcommand(true).subcommands(commands)
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
        Cli::command().debug_assert();
    }
}
