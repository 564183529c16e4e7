//! One connection from its preface to its end: hyper serves it, within limits of our own, and a
//! watch beside it ends it where its peer takes too long. It pays with one lazy timer.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Instant;

use common::Config;
use common::connection::Timeout;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::Options;
use super::call::Calls;
use super::ledger::Ledger;
use super::routes::Routes;
use super::socket::Socket;
use super::watch::{Verdict, Watch};
use crate::Context;
use crate::awaiting::Player;

/// Calls in flight on one connection: what RFC 9113 (6.5.2) recommends as the least.
pub(super) const STREAMS_MAX: u32 = super::transport::STREAMS_MAX_DEFAULT;
/// The least that a peer must be allowed (RFC 9113, 4.2): one frame holds others up for no longer.
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// What a call may send before its handler takes it. With the one frame that waits for room, all
/// streams together hold one message of the default limit.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024 / STREAMS_MAX - FRAME_BYTES_MAX;
/// Never used up before the streams' own windows are: a stream that waits for room takes none of it
/// from the one that has it.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * STREAMS_MAX;
/// The heads of a call have a few hundred bytes; this is what gRPC's other servers allow.
const HEADERS_BYTES_MAX: u32 = 8 * 1024;
/// Streams that the peer reset before the server had looked at them (Rapid Reset), and that wait to
/// be looked at: h2's own default. Those reset later are the watch's affair.
const UNSEEN_RESETS_MAX: usize = 20;
/// Streams that the server had to reset for an error of the peer (`MadeYouReset`), over the life of
/// a connection. An honest peer makes none, but may open too many streams before it has read how
/// many are allowed.
const ERROR_RESETS_MAX: usize = 2 * STREAMS_MAX as usize;

/// What each connection is served by.
#[derive(Clone)]
pub(super) struct Server {
    context: Context,
    routes: Routes,
    http2: http2::Builder<Spawn>,
    draining: CancellationToken,
    message_bytes_max: usize,
}

/// Runs a call as a task of the runtime.
#[derive(Clone, Copy, Debug)]
struct Spawn;

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Spawn {
    fn execute(&self, call: F) {
        tokio::spawn(call);
    }
}

impl Server {
    pub(super) fn new(
        player: Player,
        config: &Config,
        options: &Options,
        draining: CancellationToken,
    ) -> Self {
        let mut http2 = http2::Builder::new(Spawn);
        http2
            .max_concurrent_streams(options.transport.max_concurrent_streams)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .max_header_list_size(HEADERS_BYTES_MAX)
            .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX)
            .max_local_error_reset_streams(ERROR_RESETS_MAX);
        if let Some(patience) = config.timeouts.read {
            // A peer that is silent for so long is asked (PING) whether it is there, and has as
            // long to answer: one that vanished leaves no open call behind.
            http2.timer(TokioTimer::new());
            http2.keep_alive_interval(patience).keep_alive_timeout(patience);
        }
        let context = player.context.clone();
        let routes = Routes::new(player, options, &draining, config.frame_bytes_max);
        Self { context, routes, http2, draining, message_bytes_max: config.frame_bytes_max }
    }

    /// Serves one connection to its end.
    pub(super) async fn serve(self, stream: TcpStream) {
        let context = self.context;
        let draining = self.draining.child_token();
        let ledger = Arc::new(Ledger::new(context, draining.clone(), self.message_bytes_max));
        let socket = Socket::new(stream, ledger.clone());
        let calls = Calls { ledger: ledger.clone(), routes: self.routes };
        let mut connection = pin!(self.http2.serve_connection(TokioIo::new(socket), calls));
        let mut draining = pin!(draining.cancelled());
        let mut watch = Watch::new(ledger.context.timeouts, Instant::now());
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
                if let Poll::Ready(ended) = connection.as_mut().poll(task) {
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
}
