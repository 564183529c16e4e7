//! The `tasks` server: a tokio task per connection.

use std::alloc::System;
use std::process::ExitCode;

use allocator::Counting;
use clap::Parser;
use common::config::{Offload, Runtime};
use servers::cli::{self, CommonArgs};

/// The system's, and a count where `--count-allocations` asks for one.
#[global_allocator]
static ALLOCATOR: Counting<System> = Counting::new(System);

/// A tokio task per connection
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,

    /// One runtime for all cores, or one for each
    #[arg(long, value_enum, default_value_t)]
    runtime: Runtime,

    /// Where to do Compute and Block: on other threads, or (off) inline, holding everybody up
    #[arg(long, value_enum, default_value_t)]
    offload: Offload,
}

fn main() -> ExitCode {
    let args: Args = cli::parse(&servers::TASKS, |flags| flags);
    cli::main(&servers::TASKS, &args.common, |config| {
        config.runtime = args.runtime;
        config.offload = args.offload;
    })
}
