//! What an idle connection costs a server in memory.
//!
//! It is a slope, from no connection to a thousand: what the process has anyway cancels out. What
//! the kernel keeps for the sockets is not in it.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::connect::connect_all;
use crate::cost::Memory;
use crate::process::{Contender, Launch, ProcessError, Server};
use crate::target::Protocol;

/// Connections whose memory is measured.
const CONNECTIONS: usize = 1_000;
/// How long each may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often, and at what interval, a server is asked whether it has accepted them all.
const POLLS: u32 = 100;
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// What an HTTP/2 client says first (RFC 9113, 3.4): without it, the connection is none yet.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Growth of `RssAnon` per idle connection, in bytes; nothing where the server does not come to
/// hold them all.
///
/// # Errors
/// If the server does not start.
pub fn bytes_per_connection(
    contender: Contender,
    launch: &Launch,
) -> Result<Option<f64>, ProcessError> {
    let server = Server::start(contender, launch)?;
    let memory = || Memory::of(server.pid()).ok().map(|memory| memory.rss_anon_bytes);
    let before = memory();
    let Ok(streams) = connect_all(server.target.address, CONNECTIONS, CONNECT_TIMEOUT) else {
        return Ok(None);
    };
    if contender.protocol == Protocol::Grpc {
        for mut stream in &streams {
            // One that fails is not accepted either, and that is looked at next.
            let _ = stream.write_all(HTTP2_PREFACE);
        }
    }
    let all_open = (0..POLLS).any(|_| {
        thread::sleep(POLL_INTERVAL);
        server.stats().is_some_and(|stats| stats.open >= CONNECTIONS as u64)
    });
    let after = memory().filter(|_| all_open);
    drop(streams);
    server.stop();
    let growth = |(before, after): (u64, u64)| after.saturating_sub(before) as f64;
    Ok(before.zip(after).map(growth).map(|bytes| bytes / CONNECTIONS as f64))
}
