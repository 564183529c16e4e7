//! What threads share and where they wait, by std, crossbeam and the kernel; or by shuttle, which
//! lets a test say at each step who goes on (`schedules.rs`). It pays with a second place to look up
//! an import.

#[cfg(not(feature = "shuttle"))]
pub(crate) use self::real::*;
#[cfg(feature = "shuttle")]
pub(crate) use self::stepped::*;

#[cfg(feature = "shuttle")]
mod stepped;

#[cfg(not(feature = "shuttle"))]
mod real {
    pub(crate) use ::blocking::unblock;
    pub(crate) use crossbeam_channel as channel;
    pub(crate) use mio::Poll;
    pub(crate) use rustix::event::epoll;
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, mpsc};
    pub(crate) use std::thread;
}
