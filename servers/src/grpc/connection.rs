//! One connection from its preface to its end: hyper serves it, within limits of our own, and a
//! watch beside it ends it where its peer takes too long. It pays with one lazy timer.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use common::Config;
use common::connection::Timeout;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::Setup;
use super::at_once::{AtOnce, Begun};
use super::call::Calls;
use super::layers::{Chain, Layers, Peer};
use super::ledger::Ledger;
use super::routes::Routes;
use super::socket::{Layer, Socket};
use super::tls::Unsecured;
use super::transport::Settled;
use super::watch::{Verdict, Watch};
use super::wire::Wire;
use crate::Context;
use crate::awaiting::Player;

/// Streams that the peer reset before the server had looked at them (Rapid Reset), and that wait to
/// be looked at: h2's own default. Those reset later are the watch's affair.
const UNSEEN_RESETS_MAX: usize = 20;
/// Streams that the server had to reset for an error of the peer (`MadeYouReset`), over the life of
/// a connection, by those that may be open. An honest peer makes none, but may open too many streams
/// before it has read how many are allowed.
const ERROR_RESETS_PER_STREAM: usize = 2;

/// What each connection is served by.
#[derive(Clone)]
pub(super) struct Server {
    context: Context,
    chain: Chain,
    asks_for_peer: bool,
    draining: CancellationToken,
    message_bytes_max: usize,
    transport: Settled,
}

impl Server {
    pub(super) fn new(
        player: Player,
        config: &Config,
        setup: Setup,
        layers: &Layers,
        draining: CancellationToken,
    ) -> Self {
        let context = player.context.clone();
        let message_bytes_max = config.frame_bytes_max;
        let chain = layers.around(Routes::new(player, &setup, &draining, message_bytes_max));
        let asks_for_peer = layers.ask_for_peer();
        let transport = setup.transport;
        Self { context, chain, asks_for_peer, draining, message_bytes_max, transport }
    }

    /// Serves one connection to its end.
    pub(super) async fn serve(self, stream: TcpStream) {
        let flags = &self.transport.flags;
        let draining = self.draining.child_token();
        let ledger = Ledger::new(
            self.context.clone(),
            draining.clone(),
            self.message_bytes_max,
            flags.max_concurrent_streams,
        );
        let ledger = Arc::new(ledger);
        let mut watch = Watch::new(ledger.context.timeouts, Instant::now());
        watch.minds(flags.age(), flags.max_concurrent_streams);
        let peer = self.asks_for_peer.then(|| stream.peer_addr().ok()).flatten().map(Peer);
        let Some(layer) = self.secure(Wire::new(stream, ledger.clone()), &watch, &ledger).await
        else {
            return;
        };
        let compresses = flags.compression.encodings().next().is_some();
        let socket = Socket::new(layer, ledger.clone());
        let calls = Calls { ledger: ledger.clone(), chain: self.chain, peer, compresses };
        let mut at_once = AtOnce::default();
        let http2 = http2(&self.transport, ledger.context.timeouts.read, at_once.begun());
        let mut connection = pin!(http2.serve_connection(TokioIo::new(socket), calls));
        let mut draining = pin!(draining.cancelled());
        let mut timer = pin!(time::sleep_until(watch.look_at().into()));
        // A peer that is told to go for its silence, and does not take that either, counts once.
        let mut has_timed_out = false;
        let mut timed_out = |timeout| {
            if !std::mem::replace(&mut has_timed_out, true) {
                ledger.context.timed_out(timeout);
            }
        };
        poll_fn(|task| {
            loop {
                // Before the preface nothing was asked, and no farewell would be understood: the
                // watch then ends it at once.
                if !watch.is_leaving() && draining.as_mut().poll(task).is_ready() {
                    watch.leaves();
                    connection.as_mut().graceful_shutdown();
                }
                if let Poll::Ready(ended) = at_once.poll(connection.as_mut(), task) {
                    let error = ended.err();
                    if error.as_ref().is_some_and(hyper::Error::is_timeout) {
                        // It did not say that it is there.
                        timed_out(Timeout::Read);
                    }
                    return Poll::Ready(error.map(|error| error.to_string()));
                }
                watch.wakes(&ledger);
                if timer.deadline() != watch.look_at().into() {
                    timer.as_mut().reset(watch.look_at().into());
                }
                ready!(timer.as_mut().poll(task));
                match watch.look(ledger.seen(), Instant::now()) {
                    Verdict::Stays => {}
                    Verdict::Leaves => {
                        timed_out(Timeout::Idle);
                        watch.leaves();
                        connection.as_mut().graceful_shutdown();
                    }
                    // Its calls go on, and the watch minds for how long.
                    Verdict::Retires => connection.as_mut().graceful_shutdown(),
                    Verdict::TimedOut(timeout) => {
                        timed_out(timeout);
                        return Poll::Ready(None);
                    }
                    Verdict::Ends(why) => return Poll::Ready(Some(why.to_owned())),
                }
            }
        })
        .await
        .inspect(|why| tracing::debug!("connection: {why}"));
    }

    /// What carries the frames: as it is, or after the handshake of TLS, which is within the time
    /// that the peer has for the whole of its handshakes.
    async fn secure(&self, wire: Wire, watch: &Watch, ledger: &Ledger) -> Option<Layer> {
        let Some(tls) = &self.transport.tls else { return Some(Layer::Clear(wire)) };
        // In a box of its own, which is gone when it is over.
        let handshake = Box::pin(tls.shake_hands(wire, watch.opens_by(), &ledger.draining));
        match handshake.await {
            Ok(secured) => return Some(Layer::Tls(Box::new(secured))),
            Err(Unsecured::TimedOut) => ledger.context.timed_out(Timeout::Read),
            Err(Unsecured::Draining) => tracing::debug!("connection: the drain began before TLS"),
            Err(Unsecured::Refused(error)) => tracing::debug!("connection: TLS: {error}"),
        }
        None
    }
}

/// HTTP/2 as it is set, for one connection.
fn http2(
    Settled { flags, windows, .. }: &Settled,
    read_timeout: Option<Duration>,
    begun: Begun,
) -> http2::Builder<Begun> {
    let streams_max = flags.max_concurrent_streams;
    let mut http2 = http2::Builder::new(begun);
    http2
        .max_concurrent_streams(streams_max)
        .initial_stream_window_size(windows.stream_bytes)
        .initial_connection_window_size(windows.connection_bytes)
        .max_frame_size(flags.max_http2_frame)
        .max_header_list_size(flags.max_header_list)
        .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX)
        .max_local_error_reset_streams(ERROR_RESETS_PER_STREAM * streams_max as usize);
    if let Some((interval, timeout)) = flags.keepalive(read_timeout) {
        // A peer that is silent for so long is asked (PING) whether it is there: one that vanished
        // leaves no open call behind.
        http2.timer(TokioTimer::new());
        http2.keep_alive_interval(interval).keep_alive_timeout(timeout);
    }
    http2
}
