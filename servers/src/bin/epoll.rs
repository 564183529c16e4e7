//! The `epoll` server: event loops over epoll.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Parser;
use common::config::Offload;
use servers::cli::{self, CommonArgs};

/// Event loops over epoll
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,

    /// Event loops, each with its share of the connections: another name for --workers
    #[arg(long, value_name = "N", value_parser = cli::workers, conflicts_with = "workers")]
    loops: Option<NonZeroUsize>,

    /// Where to do Compute and Block: on other threads, or (off) inline, holding everybody up
    #[arg(long, value_enum, default_value_t)]
    offload: Offload,
}

fn main() -> ExitCode {
    let args: Args = cli::parse(&servers::EPOLL, None);
    cli::main(&servers::EPOLL, &args.common, |config| {
        config.workers = args.loops.unwrap_or(config.workers);
        config.offload = args.offload;
    })
}
