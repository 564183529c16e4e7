//! `loadtest floor`: serves what all servers are measured against.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::print;
use crate::floor;

/// The flags.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  \
    loadtest floor --listen 127.0.0.1:7000 &\n  \
    loadtest run raw://127.0.0.1:7000 -p 16")]
pub struct FloorArgs {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7000")]
    pub listen: SocketAddr,
    /// A blocking thread per connection, in place of one epoll loop
    #[arg(long)]
    pub threads: bool,
}

pub(super) fn execute(args: &FloorArgs) -> anyhow::Result<ExitCode> {
    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("cannot listen on {}; is the port in use?", args.listen))?;
    print(&format!("floor listening on {}\n", listener.local_addr()?))?;
    if args.threads {
        floor::serve_threads(&listener)?;
    } else {
        floor::serve_epoll(&listener)?;
    }
    Ok(ExitCode::SUCCESS)
}
