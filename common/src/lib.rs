//! What a request means, how bytes become requests, and what the limits are: written once, for
//! every server.
//!
//! ```text
//!               bytes                requests              plans
//!   socket ──────────▶ Connection ─────────────▶ Service ─────────▶ the model waits,
//!   socket ◀────────── (sans-IO)  ◀───────────────────────────────  computes, replies
//!               bytes                responses
//! ```
//!
//! Nothing in this crate touches a socket, waits for one, starts a thread or is `async`:
//! that is what the servers differ in, and it is theirs. What they share is [`frame`] (a length
//! and a message, [`codec`] for the commonest), [`Connection`] (the protocol as a state machine), [`Service`] (from a request
//! to a [`Plan`]), [`users`] (state that all requests share), and the small change around them: [`Config`], [`Shutdown`], [`Stats`].

pub mod codec;
pub mod config;
pub mod connection;
pub mod frame;
pub mod job;
pub mod latency;
pub mod message;
pub mod service;
pub mod shutdown;
pub mod spare;
pub mod stats;
mod sync;
pub mod users;

pub use config::Config;
pub use connection::{Connection, Limits, Timeout, Timeouts};
pub use frame::FrameError;
pub use message::{Code, Request, Response, Work};
pub use service::{Plan, Service};
pub use shutdown::Shutdown;
pub use stats::Stats;
