//! The `grpc` server: HTTP/2 and gRPC, by tonic.

use std::process::ExitCode;

use clap::Parser;
use common::config::Offload;
use servers::cli::{self, CommonArgs};

/// HTTP/2 and gRPC, by tonic
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
    let args: Args = cli::parse(&servers::GRPC, |flags| flags);
    cli::main(&servers::GRPC, &args.common, |config| config.offload = args.offload)
}
