//! `loadtest completions`: what a shell needs to complete commands and flags.

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use super::{print, shown};

/// The flags.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    source <(loadtest completions bash)                              # this bash, until it ends\n  \
    loadtest completions bash > ~/.local/share/bash-completion/completions/loadtest\n  \
    loadtest completions zsh > \"${fpath[1]}/_loadtest\"\n  \
    loadtest completions fish > ~/.config/fish/completions/loadtest.fish")]
pub struct CompletionsArgs {
    /// Which shell
    pub shell: Shell,
}

pub(super) fn execute(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut shown(), "loadtest", &mut script);
    print(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}
