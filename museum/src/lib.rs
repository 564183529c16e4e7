//! Failures of servers, one a module: the smallest real code that has it, the same code mended, and
//! the test that tells the two apart. Each has happened to somebody; read one at a time.
//!
//! A module's `broken` and `mended` have the same names in them, and its tests play one scene over
//! both: it must come out badly with the one and well with the other. Nothing in a scene waits for a
//! clock to be sure that something has happened; where a thing must *not* happen, the scene is
//! arranged so that it cannot any more.
//!
//! | what was forgotten | exhibits |
//! |---|---|
//! | what a call has said | [`short_write`], [`read_of_nothing`], [`one_read_one_message`], [`edge`], [`interrupted`] |
//! | that errors have an owner | [`one_reset`], [`descriptors`] |
//! | who wakes whom | [`dropped_waker`], [`lost_waker`], [`lost_wakeup`], [`herd`] |
//! | that a slot has a past | [`stale_timer`] |
//! | that a thread is shared | [`blocked_task`], [`lock_across_await`] |
//! | a bound | [`unbounded_queue`] |

#![allow(
    clippy::wildcard_imports,
    reason = "the halves of an exhibit share what stands above them"
)]

pub mod blocked_task;
pub mod descriptors;
pub mod dropped_waker;
pub mod edge;
pub mod herd;
pub mod interrupted;
pub mod lock_across_await;
pub mod lost_waker;
pub mod lost_wakeup;
pub mod one_read_one_message;
pub mod one_reset;
pub mod read_of_nothing;
pub mod short_write;
#[cfg(test)]
mod stage;
pub mod stale_timer;
pub mod unbounded_queue;
