//! threads: a thread per connection, and every call blocks.
//! It pays with a stack, a scheduler entry and two context switches a request for each client.
//!
//! Who waits: each thread, in `read`. Where a conversation's state lives: in its thread's local
//! variables, and its place in the protocol is where its thread stands in
//! [`blocking::converse`](crate::blocking).

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use common::{Config, Service, Shutdown, Stats};

use crate::Context;
use crate::blocking::{self, Conversations, Player};
use crate::seldom::Seldom;

static NO_THREAD: Seldom = Seldom::new();

/// Enough for the deepest call with room to spare. Only touched pages become memory, but the page
/// tables of untouched ones do too: sixteen of these share one.
const STACK_BYTES: usize = 128 * 1024;

/// Threads cost the scheduler and the kernel more than a slot in an epoll set does.
pub const CONNECTIONS_MAX_DEFAULT: &str = "8000";

/// Serves until `shutdown`, then drains.
///
/// # Errors
/// If the listening socket cannot be used.
pub fn serve(
    listener: TcpListener,
    service: Service,
    config: &Config,
    shutdown: &Shutdown,
    stats: &Stats,
) -> io::Result<()> {
    let player = Player::new(Context::new(service, config, shutdown, stats), config);
    let conversations = Arc::new(Conversations::default());
    blocking::accept_each(listener, config, shutdown, stats, |stream, open| {
        let conversation = conversations.add(stream, open);
        let player = player.clone();
        let spawned = thread::Builder::new()
            .name("threads-conn".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                if let Err(error) = blocking::converse(&conversation, &player) {
                    tracing::debug!("connection: {error}");
                }
            });
        if let Err(error) = spawned {
            // The connection went with the closure, and so is closed.
            if let Some(left_out) = NO_THREAD.say() {
                tracing::warn!(%error, left_out, "no thread: lower --max-connections");
            }
        }
    })?;
    conversations.drain(config.drain_timeout);
    Ok(())
}
