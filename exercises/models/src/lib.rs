//! Servers that you write: each a function `serve` with the signature that the five servers have.
//!
//! What `serve` has to do is the same for both, and is what `common` leaves to a model:
//!
//! - it accepts connections on `listener`, and serves each as the documentation of
//!   [`common::connection`] says, in that order of calls;
//! - what a request needs, [`common::Service::plan`] says, given the deadline that
//!   [`common::Connection::deadline`] gives: carry the plan out in the way of your model, and while one
//!   takes time hold what [`common::Stats::begin`] gives (the tests look at it, so that they need not
//!   sleep);
//! - when `shutdown` is triggered it takes no more connections, answers what it has read, lets the idle
//!   go, and returns, after `config.drain_timeout` at the latest;
//! - one client's error ends that client, and nothing else.
//!
//! Timeouts for silent peers (`config.timeouts`), a bound on connections (`config.connections_max`, by
//! [`common::Stats::admit`]) and on what is in flight are part of what the five servers do, and are not
//! asked for by the tests.

pub mod sequential;
pub mod sixth;
