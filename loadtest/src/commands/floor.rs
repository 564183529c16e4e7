//! `loadtest floor`: serves what all servers are measured against.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};

use super::print;
use super::value::{THREADS_MAX, at_least_one};
use crate::floor::{self, EVENTS_MAX, Handoff, Knobs, READ_BYTES, STACK_BYTES};

/// The flags.
#[derive(Args, Debug)]
#[allow(clippy::struct_excessive_bools)] // each is a knob of its own
#[command(after_help = "Example:\n  \
    loadtest floor --listen 127.0.0.1:7000 &\n  \
    loadtest run raw://127.0.0.1:7000 -p 16")]
pub struct FloorArgs {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7000")]
    pub listen: SocketAddr,
    /// Who waits
    #[arg(long, value_enum, default_value_t = Model::Epoll)]
    pub model: Model,
    /// epoll: loops, each with a listener of its own; pool: threads that serve
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=THREADS_MAX))]
    pub workers: u64,
    /// pool: what its front passes to a worker
    #[arg(long, value_enum, default_value_t = Handoff::Bytes)]
    pub handoff: Handoff,
    /// threads: the stack of each
    #[arg(long, value_name = "BYTES", default_value_t = STACK_BYTES)]
    pub stack: usize,
    /// epoll: edge-triggered
    #[arg(long)]
    pub edge: bool,
    /// epoll: reads on until the socket says that it has nothing, where a short read would do
    #[arg(long)]
    pub until_would_block: bool,
    /// epoll: events of one wait at the most
    #[arg(long, value_name = "N", default_value_t = EVENTS_MAX,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=65_536))]
    pub events: usize,
    /// epoll: asks again at once where nothing has happened, and never sleeps
    #[arg(long)]
    pub spin: bool,
    /// epoll: what one read takes at the most
    #[arg(long, value_name = "BYTES", default_value_t = READ_BYTES,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=1 << 24))]
    pub read_bytes: usize,
    /// epoll: what one write gives at the most [default: all that was read]
    #[arg(long, value_name = "BYTES",
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=1 << 24))]
    pub write_bytes: Option<usize>,
    /// epoll: leaves Nagle's algorithm on
    #[arg(long)]
    pub nagle: bool,
}

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Model {
    /// One loop for all connections
    Epoll,
    /// A thread for each
    Threads,
    /// One loop for all, which hands them to a few threads
    Pool,
}

pub(super) fn execute(args: &FloorArgs) -> anyhow::Result<ExitCode> {
    let listener = floor::bind(args.listen)
        .with_context(|| format!("cannot listen on {}; is the port in use?", args.listen))?;
    print(&format!("floor listening on {}\n", listener.local_addr()?))?;
    let workers = at_least_one(args.workers).get();
    match args.model {
        Model::Epoll => floor::serve_epoll(&listener, &knobs(args, workers))?,
        Model::Threads => floor::serve_threads(&listener, args.stack)?,
        Model::Pool => floor::serve_pool(&listener, workers, args.handoff)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn knobs(args: &FloorArgs, loops: usize) -> Knobs {
    Knobs {
        loops,
        edge: args.edge,
        until_would_block: args.until_would_block,
        events: args.events,
        spin: args.spin,
        read_bytes: args.read_bytes,
        write_bytes: args.write_bytes.unwrap_or(usize::MAX),
        nagle: args.nagle,
    }
}
