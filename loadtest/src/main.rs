//! The `loadtest` program: parses the command line, runs what it says, and turns what came of it
//! into an exit code.
//!
//! 0: fine. 1: it failed, or the server did. 2: the command line is wrong. 130: interrupted.

use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use clap::error::ErrorKind;
use loadtest::cli::{Cli, Command, CompareArgs, FloorArgs, RunArgs};
use loadtest::compare::report::Comparison;
use loadtest::compare::{CompareError, compare, table};
use loadtest::run::run;
use loadtest::share::Interrupt;
use loadtest::{floor, terminal};
use signal_hook::consts::{SIGINT, SIGTERM};

/// What a shell calls usage errors.
const EXIT_USAGE: u8 = 2;
/// What a shell says of a program that Ctrl-C ended.
const EXIT_INTERRUPTED: u8 = 130;

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
    let result = match command {
        Command::Run(args) => run_once(&args),
        Command::Compare(args) => compare_all(&args),
        Command::Floor(args) => serve_floor(&args),
        Command::Table(args) => print_table(&args.file),
    };
    result.unwrap_or_else(|error| {
        eprintln!("loadtest: {error:#}");
        ExitCode::FAILURE
    })
}

/// Of clap's message: what is wrong, and what would be right.
fn first_paragraph(message: &str) -> String {
    let lines = message.lines().map(str::trim).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

fn run_once(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let interrupt = interrupt()?;
    let finished = run(&args.config(), &interrupt)?;
    let summary = || terminal::summary(&finished.result, finished.failure.as_deref());
    let json = || serde_json::to_string_pretty(&finished.result).map(|json| json + "\n");
    match args.json.as_deref() {
        Some(path) if path == Path::new("-") => print(&json()?)?,
        Some(path) => {
            fs::write(path, json()?).with_context(|| format!("cannot write {}", path.display()))?;
            print(&summary())?;
        }
        None => print(&summary())?,
    }
    if let Some(failure) = &finished.failure {
        eprintln!("loadtest: {failure}");
    }
    Ok(if interrupt.is_triggered() {
        ExitCode::from(EXIT_INTERRUPTED)
    } else if finished.failure.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn compare_all(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let interrupt = interrupt()?;
    let comparison = match compare(args, &interrupt) {
        Err(error @ CompareError::Unknown { .. }) => {
            eprintln!("loadtest: {error}");
            return Ok(ExitCode::from(EXIT_USAGE));
        }
        result => result?,
    };
    let directory = args.output_dir.display();
    fs::create_dir_all(&args.output_dir).with_context(|| format!("cannot create {directory}"))?;
    for (name, text) in [
        ("compare.json", serde_json::to_string_pretty(&comparison)? + "\n"),
        ("compare.md", table::markdown(&comparison)),
    ] {
        fs::write(args.output_dir.join(name), text)
            .with_context(|| format!("cannot write {directory}/{name}"))?;
    }
    print(&table::terminal(&comparison))?;
    eprintln!("results: {directory}/compare.json, {directory}/compare.md");
    Ok(if comparison.interrupted {
        ExitCode::from(EXIT_INTERRUPTED)
    } else if comparison.servers.iter().any(|server| server.refused.is_some()) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn print_table(file: &Path) -> anyhow::Result<ExitCode> {
    let name = file.display();
    let text = fs::read(file).with_context(|| format!("cannot read {name}"))?;
    let comparison: Comparison = serde_json::from_slice(&text)
        .with_context(|| format!("{name} is no result of `loadtest compare`"))?;
    print(&table::markdown(&comparison))?;
    Ok(ExitCode::SUCCESS)
}

/// The first signal ends the run early, the second ends the program.
fn interrupt() -> anyhow::Result<Interrupt> {
    let interrupt = Interrupt::default();
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, interrupt.flag())
            .and_then(|_| signal_hook::flag::register(signal, interrupt.flag()))
            .context("cannot handle signals")?;
    }
    Ok(interrupt)
}

fn serve_floor(args: &FloorArgs) -> anyhow::Result<ExitCode> {
    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("cannot listen on {}; is the port in use?", args.listen))?;
    print(&format!("floor listening on {}\n", listener.local_addr()?))?;
    if args.threads {
        floor::serve_threads(&listener)?;
    } else {
        floor::serve_epoll(&listener)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// To standard output; a reader that went away is no error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
