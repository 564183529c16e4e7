//! The `epoll` server: event loops over epoll.

use std::alloc::System;
use std::process::ExitCode;

use allocator::Counting;
use clap::Parser;
use common::config::Offload;
use servers::cli::{self, CommonArgs};

/// The system's, and a count where `--count-allocations` asks for one.
#[global_allocator]
static ALLOCATOR: Counting<System> = Counting::new(System);

/// Event loops over epoll
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,

    /// Where to do Compute and Block: on other threads, or (off) inline, holding everybody up
    #[arg(long, value_enum, default_value_t)]
    offload: Offload,
}

fn main() -> ExitCode {
    let args: Args = cli::parse(&servers::EPOLL, |flags| {
        flags.mut_arg("workers", |workers| workers.visible_alias("loops"))
    });
    cli::main(&servers::EPOLL, &args.common, |config| {
        config.offload = args.offload;
    })
}
