//! The `threads` server: a thread per connection.

use std::alloc::System;
use std::process::ExitCode;

use allocator::Counting;
use clap::Parser;
use servers::cli::{self, CommonArgs};

/// The system's, and a count where `--count-allocations` asks for one.
#[global_allocator]
static ALLOCATOR: Counting<System> = Counting::new(System);

/// A thread per connection
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> ExitCode {
    let args: Args = cli::parse(&servers::THREADS, |flags| {
        let default = servers::threads::CONNECTIONS_MAX_DEFAULT;
        flags.mut_arg("max_connections", |max| max.default_value(default))
    });
    cli::main(&servers::THREADS, &args.common, |_| ())
}
