//! `loadtest report`: results as a page with plots, as tables, or as histograms for other tools.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::EXIT_USAGE;
use crate::report::{Format, input, render};

/// The flags.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    loadtest report target/quintet/compare.json -o report.html\n  \
    loadtest report monday.json tuesday.json -o runs.html\n  \
    loadtest report run.json -o run.hgrm     (for the plotter of HdrHistogram)\n  \
    loadtest report run.json -o - --format csv")]
pub struct ReportArgs {
    /// Results of run, compare, sweep, capacity and memory, in any mixture
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where the report goes; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// What it is written as [default: what the ending of the output says; for -, markdown]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}

pub(super) fn execute(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let to_standard_output = args.output == Path::new("-");
    let guessed =
        if to_standard_output { Some(Format::Markdown) } else { Format::of(&args.output) };
    let Some(format) = args.format.or(guessed) else {
        let output = args.output.display();
        eprintln!(
            "loadtest: the ending of {output} says no format; end it in .html, .csv, .md, .hgrm or \
             .hlog, or add --format"
        );
        return Ok(ExitCode::from(EXIT_USAGE));
    };
    let report = render(&input::read_all(&args.files)?, format)?;
    if to_standard_output {
        return print_bytes(&report).map(|()| ExitCode::SUCCESS);
    }
    let name = args.output.display();
    fs::write(&args.output, &report).with_context(|| format!("cannot write {name}"))?;
    eprintln!("loadtest: wrote {name}");
    Ok(ExitCode::SUCCESS)
}

/// To standard output; a reader that went away is no error.
fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
