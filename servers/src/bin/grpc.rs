//! The `grpc` server: HTTP/2 and gRPC, by tonic.

use std::process::ExitCode;

use allocator::Counting;
use clap::Parser;
use common::Config;
use common::config::Offload;
use mimalloc::MiMalloc;
use servers::cli::{self, CommonArgs, Prepared};
use servers::grpc::{self, Options};

/// HTTP/2 allocates some twenty times a call; the framed servers do not for an echo, and keep the
/// system's.
#[global_allocator]
static ALLOCATOR: Counting<MiMalloc> = Counting::new(MiMalloc);

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
    cli::main_with(&servers::GRPC, &args.common, adjust, |ready| {
        let setup = args.options.settle(ready)?;
        let tls = setup.tls();
        let serve = Prepared::new(|listener, service, config, shutdown, stats| {
            grpc::serve_with(setup, listener, service, config, shutdown, stats)
        });
        Ok(match tls {
            Some(tls) => serve.reloading(move || tls.reload()),
            None => serve,
        })
    })
}
