//! The way in: a bounded number of connections, each a task of its own, and a word for those that
//! find no room. It pays with an accept loop of our own, which pauses where descriptors run out.

use std::io;
use std::net;
use std::sync::Arc;
use std::time::Duration;

use common::Config;
use rustix::net::{SendFlags, Shutdown};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Setup;
use super::connection::Server;
use super::layers::Layers;
use crate::awaiting::Player;
use crate::listener;

/// Refused connections that may stay until they have heard why; above, the word is sent and may be
/// lost to the reset that closing over unread bytes sends.
const REFUSED_MAX: usize = 64;
/// How long each may.
const REFUSED_TIMEOUT: Duration = Duration::from_secs(1);
/// What they hear (RFC 9113, 3.4 and 6.8): the empty settings that begin every connection, and
/// GOAWAY for no stream at all, `ENHANCE_YOUR_CALM`, with the reason.
const REFUSAL: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x27\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0btoo many connections; try later";
/// ... and what they hear where TLS is spoken, which nobody did yet (RFC 8446, 6): a fatal alert,
/// `internal_error`. None says "too many".
const REFUSAL_TLS: &[u8] = b"\x15\x03\x03\0\x02\x02\x50";

/// How much longer than the drain the last spans may take: a server that drains is to end within
/// half a second of it.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(250);

/// Serves until the drain, and drains.
pub(super) async fn listen(
    listener: net::TcpListener,
    player: Player,
    config: Config,
    setup: Setup,
    layers: Layers,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (draining, tasks) = (CancellationToken::new(), TaskTracker::new());
    player.context.shutdown.on_trigger({
        let draining = draining.clone();
        move || draining.cancel()
    });
    let stats = player.context.stats.clone();
    let refusal = if setup.transport.tls.is_some() { REFUSAL_TLS } else { REFUSAL };
    let server = Server::new(player, &config, setup, &layers, draining.clone());
    let refused = Arc::new(Semaphore::new(REFUSED_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = draining.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => match stats.admit(config.connections_max) {
                Some(open) => {
                    let server = server.clone();
                    tasks.spawn(async move {
                        if stream.set_nodelay(true).is_ok() {
                            server.serve(stream).await;
                        }
                        drop(open);
                    });
                }
                None => refuse(stream, refusal, &refused),
            },
            Err(error) if listener::accept_failed(&error) => {
                time::sleep(listener::ACCEPT_PAUSE).await;
            }
            Err(_) => {}
        }
    }
    drop(listener);
    tasks.close();
    let drained_by = Instant::now() + config.drain_timeout;
    // What is left after the timeout is cut: the runtime drops the tasks it still holds.
    let _ = time::timeout_at(drained_by, tasks.wait()).await;
    let _ = time::timeout_at(drained_by + FLUSH_TIMEOUT, layers.flush()).await;
    Ok(())
}

/// Says why not, waits for nobody, and stays a moment where there is room to.
fn refuse(mut stream: TcpStream, refusal: &[u8], refused: &Arc<Semaphore>) {
    // The send buffer of a new socket is empty.
    let _ = rustix::net::send(&stream, refusal, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    let _ = rustix::net::shutdown(&stream, Shutdown::Write);
    if let Ok(permit) = Arc::clone(refused).try_acquire_owned() {
        tokio::spawn(async move {
            let mut unwanted = [0; 1024];
            let until_it_goes =
                async { while matches!(stream.read(&mut unwanted).await, Ok(1..)) {} };
            let _ = time::timeout(REFUSED_TIMEOUT, until_it_goes).await;
            drop(permit);
        });
    }
}
