//! The `pool` server: a bounded pool of workers behind an event front.

use std::alloc::System;
use std::process::ExitCode;

use allocator::Counting;
use clap::Parser;
use common::config::Handoff;
use servers::cli::{self, CommonArgs};

/// The system's, and a count where `--count-allocations` asks for one.
#[global_allocator]
static ALLOCATOR: Counting<System> = Counting::new(System);

/// A bounded pool of workers behind an event front
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,

    /// What the front hands to a worker
    #[arg(long, value_enum, default_value_t)]
    handoff: Handoff,
}

fn main() -> ExitCode {
    let args: Args = cli::parse(&servers::POOL, |flags| flags);
    cli::main(&servers::POOL, &args.common, |config| config.handoff = args.handoff)
}
