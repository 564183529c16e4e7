//! The `grpc` server: HTTP/2 and gRPC, by tonic.

use std::process::ExitCode;

use clap::Parser;
use common::Config;
use common::config::Offload;
use servers::cli::{self, CommonArgs};
use servers::grpc::{self, Options};

/// HTTP/2 and gRPC, by tonic
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,

    /// Where to do Compute and Block: on other threads, or (off) inline, holding everybody up
    #[arg(long, value_enum, default_value_t)]
    offload: Offload,

    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let args: Args = cli::parse(&servers::GRPC, |flags| flags);
    let adjust = |config: &mut Config| config.offload = args.offload;
    cli::main_with(
        &servers::GRPC,
        &args.common,
        adjust,
        |ready, listener, service, config, shutdown, stats| {
            let options = Options { ready: ready.clone(), ..args.options };
            grpc::serve_with(&options, listener, service, config, shutdown, stats)
        },
    )
}
