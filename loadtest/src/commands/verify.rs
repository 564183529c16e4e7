//! `loadtest verify`: whether a server keeps the contract, also with hostile clients.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use console::style;

use super::{EXIT_INTERRUPTED, EXIT_USAGE, interrupt, print};
use crate::target::{Protocol, Target};
use crate::verify::{CHECKS, CheckResult, VerifyResult, choose, verify};

/// The flags.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    loadtest verify tcp://127.0.0.1:7004\n  \
    loadtest verify grpc://127.0.0.1:7005 --json -\n  \
    loadtest verify tcp://127.0.0.1:7004 --only order,never-reads\n  \
    loadtest verify --list\n\n\
    The server may be anybody's: it is asked from outside. Under 30 s in all; exit 1 where a\n\
    promise was not kept.")]
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
    /// Write the result as JSON to a file, or with - to standard output in place of the lines
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

pub(super) fn execute(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let Some(target) = args.url.filter(|_| !args.list) else {
        print(&list())?;
        return Ok(ExitCode::SUCCESS);
    };
    let checks = match choose(target.protocol, &args.only) {
        Ok(checks) => checks,
        Err(name) => {
            eprintln!(
                "loadtest: there is no check `{name}` for {target}; see loadtest verify --list"
            );
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
    let result = verify(target, &checks, &interrupt, show);
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
