//! `loadtest selfcheck`: predicted beside measured, on the user's own machine; and the hidden
//! command that serves as the known quantity.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use rustix::process::{Signal, set_parent_process_death_signal};

use super::value::duration;
use super::{EXIT_INTERRUPTED, interrupt, print};
use crate::selfcheck::report::table;
use crate::selfcheck::selfcheck;
use crate::selfcheck::server::{Behaviour, Served, serve};

/// The flags.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    loadtest selfcheck --quick\n  \
    loadtest selfcheck --json selfcheck.json && loadtest run tcp://127.0.0.1:7004 -r 2000\n\n\
    Exit code 0: all passed. 1: a figure is not what arithmetic says; the table says which.")]
pub struct SelfcheckArgs {
    /// Shorter runs of the same proportions: half a minute in place of three
    #[arg(long)]
    pub quick: bool,
    /// Also write the checks as JSON to a file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

pub(super) fn execute(args: &SelfcheckArgs) -> anyhow::Result<ExitCode> {
    let interrupt = interrupt()?;
    let report = selfcheck(args.quick, &interrupt)?;
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    print(&table(&report))?;
    Ok(match (report.interrupted, report.passed) {
        (true, _) => ExitCode::from(EXIT_INTERRUPTED),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}

/// The flags of the server that the self-check starts.
#[derive(Args, Debug)]
pub struct KnownServerArgs {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// How long each request takes
    #[arg(long, value_parser = duration, default_value = "0s")]
    pub delay: Duration,
    /// Every so many requests ...
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), requires = "slow_delay")]
    pub slow_every: Option<u64>,
    /// ... one takes this long
    #[arg(long, value_parser = duration, requires = "slow_every")]
    pub slow_delay: Option<Duration>,
}

pub(super) fn serve_known(args: &KnownServerArgs) -> anyhow::Result<ExitCode> {
    // Whoever started it may be killed while this stands still: then nobody else would end it.
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot follow the parent")?;
    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("cannot listen on {}; is the port in use?", args.listen))?;
    print(&format!("known-server listening on {}\n", listener.local_addr()?))?;
    let slow = args.slow_every.zip(args.slow_delay);
    serve(&listener, Behaviour { delay: args.delay, slow }, |served| {
        // Nobody may listen any more: then nobody wants to know.
        let Served { requests, closed } = served;
        let _ = print(&format!("closed {closed} connections after {requests} requests\n"));
    })?;
    Ok(ExitCode::SUCCESS)
}
