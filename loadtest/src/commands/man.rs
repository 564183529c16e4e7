//! `loadtest man`: the manual pages, from the very flags that the program takes.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Command};
use clap_mangen::Man;

use super::{print, shown};

/// The flags.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    loadtest man | man -l -\n  \
    loadtest man --output-dir ~/.local/share/man/man1    # then: man loadtest-run")]
pub struct ManArgs {
    /// Write the page of the program and one for each command there, in place of printing the
    /// first
    #[arg(long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
}

pub(super) fn execute(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let mut program = shown();
    program.build(); // gives every command the name of its page and its whole usage line
    let Some(directory) = &args.output_dir else {
        print(&page(&program)?)?;
        return Ok(ExitCode::SUCCESS);
    };
    let name = directory.display();
    fs::create_dir_all(directory).with_context(|| format!("cannot create {name}"))?;
    for command in std::iter::once(&program).chain(program.get_subcommands()) {
        let path = directory.join(format!("{}.1", name_of(command)));
        fs::write(&path, page(command)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    eprintln!("manual pages: {name}");
    Ok(ExitCode::SUCCESS)
}

fn name_of(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command) -> anyhow::Result<String> {
    let mut text = Vec::new();
    Man::new(command.clone()).title(name_of(command)).render(&mut text)?;
    // What stands below a command's help are its examples, and their lines are not to be filled.
    Ok(String::from_utf8(text)?.replace(".SH EXTRA\n", ".SH EXAMPLES\n.nf\n"))
}
