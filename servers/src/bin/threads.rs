//! The `threads` server: a thread per connection.

use std::process::ExitCode;

use clap::Parser;
use servers::cli::{self, CommonArgs};

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
