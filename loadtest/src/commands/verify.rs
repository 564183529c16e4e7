//! `loadtest verify`: whether a server keeps the contract, also with hostile clients.

use std::fmt::Write;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use console::style;

use super::{EXIT_INTERRUPTED, EXIT_USAGE, interrupt, print};
use crate::target::{Protocol, Target};
use crate::verify::{CHECKS, CheckResult, Told, VerifyResult, choose, verify};

/// Longer than anybody waits for a check.
const TIMEOUT_MAX: Duration = Duration::from_hours(1);

/// The flags.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    loadtest verify tcp://127.0.0.1:7004\n  \
    loadtest verify grpc://127.0.0.1:7005 --json -\n  \
    loadtest verify tcp://127.0.0.1:7004 --only order,never-reads\n  \
    loadtest verify --list\n  \
    loadtest verify tcp://127.0.0.1:7004 --idle-timeout 1s --max-connections 600\n\n\
    The server may be anybody's: it is asked from outside. Under 30 s in all, and the timeouts\n\
    that were said; exit 1 where a promise was not kept.")]
pub struct VerifyArgs {
    /// tcp://HOST:PORT (framed), grpc://HOST:PORT, or raw://HOST:PORT (the floor)
    #[arg(required_unless_present = "list")]
    pub url: Option<Target>,
    /// Only these checks
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub only: Vec<String>,
    /// Say which checks there are, and what each is about
    #[arg(long)]
    pub list: bool,
    /// What the server was told.
    #[command(flatten)]
    pub told: ToldArgs,
    /// Write the result as JSON to a file, or with - to standard output in place of the lines
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What the server was started with: it is then held to it.
#[derive(Args, Debug)]
#[command(next_help_heading = "What the server was told, to see whether it keeps to it")]
pub struct ToldArgs {
    /// Its --idle-timeout: 500ms, 2s, 5m
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    pub idle_timeout: Option<humantime::Duration>,
    /// Its --read-timeout
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    pub read_timeout: Option<humantime::Duration>,
    /// Its --write-timeout
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    pub write_timeout: Option<humantime::Duration>,
    /// Its --max-connections; nobody else may be connected
    #[arg(long, value_name = "N")]
    pub max_connections: Option<NonZeroUsize>,
}

/// Short enough to wait for, and not none: who switches a timeout off promises nothing.
fn timeout(text: &str) -> Result<humantime::Duration, String> {
    let timeout: humantime::Duration = text.parse().map_err(|error| format!("{error}"))?;
    if timeout.is_zero() || *timeout > TIMEOUT_MAX {
        return Err(format!("not above 0s and up to {}", humantime::format_duration(TIMEOUT_MAX)));
    }
    Ok(timeout)
}

impl ToldArgs {
    fn told(&self) -> Told {
        Told {
            idle_timeout: self.idle_timeout.map(Into::into),
            read_timeout: self.read_timeout.map(Into::into),
            write_timeout: self.write_timeout.map(Into::into),
            max_connections: self.max_connections,
        }
    }
}

pub(super) fn execute(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let Some(target) = args.url.filter(|_| !args.list) else {
        print(&list())?;
        return Ok(ExitCode::SUCCESS);
    };
    let told = args.told.told();
    let checks = match choose(target.protocol, &told, &args.only) {
        Ok(checks) => checks,
        Err(why) => {
            eprintln!("loadtest: {target}: {why}");
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let interrupt = interrupt()?;
    let to_stdout = args.json.as_deref() == Some(Path::new("-"));
    let show = |check: &CheckResult| {
        // A reader that went away is told so at the end.
        let _ = if to_stdout { Ok(()) } else { print(&line(check)) };
    };
    let began = std::time::Instant::now();
    let result = verify(target, &told, &checks, &interrupt, show);
    let json = || serde_json::to_string_pretty(&result).map(|json| json + "\n");
    if to_stdout {
        print(&json()?)?;
    } else {
        if let Some(path) = &args.json {
            fs::write(path, json()?).with_context(|| format!("cannot write {}", path.display()))?;
        }
        print(&sum(&result, checks.len(), began.elapsed().as_secs_f64()))?;
    }
    let failed: Vec<&str> = result
        .checks
        .iter()
        .filter(|check| !check.passed)
        .map(|check| check.name.as_str())
        .collect();
    if !failed.is_empty() {
        eprintln!("loadtest: {target} does not keep the contract: {}", failed.join(", "));
    }
    Ok(if interrupt.is_triggered() {
        ExitCode::from(EXIT_INTERRUPTED)
    } else if result.passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A check that is over.
fn line(check: &CheckResult) -> String {
    let CheckResult { name, promise, passed, detail } = check;
    if *passed {
        return format!("{}  {name:<16} {promise}\n", style("ok").green());
    }
    let no = style("NO").red().bold();
    format!("{no}  {:<16} {promise}\n      {}\n", style(name).bold(), style(detail).red())
}

fn sum(result: &VerifyResult, checks: usize, took_s: f64) -> String {
    let passed = result.checks.iter().filter(|check| check.passed).count();
    format!("{}: {passed} of {checks} kept, in {took_s:.1} s\n", style(&result.target).bold())
}

/// All checks, by what is spoken.
fn list() -> String {
    let mut out = String::new();
    for (title, protocol) in [
        ("tcp:// (framed)", Protocol::Framed),
        ("grpc://", Protocol::Grpc),
        ("raw://", Protocol::Raw),
    ] {
        // Writing to a String does not fail.
        let _ = writeln!(out, "{}", style(title).bold());
        for check in CHECKS.iter().filter(|check| check.protocols.contains(&protocol)) {
            let gate = if check.quick { "*" } else { " " };
            let _ = writeln!(out, " {gate}{:<16} {}", check.name, check.promise);
        }
    }
    out.push_str("* is part of the gate of `loadtest compare`\n");
    out
}
