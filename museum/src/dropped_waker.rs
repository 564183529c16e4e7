//! mio's `Waker` delivers its event only while it lives: dropped between `wake` and the next poll, it
//! takes the event with it. The worker has done its work and said so; the loop sleeps on.
//!
//! On Linux it is an eventfd, and closing that takes it out of the epoll set. mio's documentation says
//! so in one sentence; nothing in the types does.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use mio::{Poll, Token, Waker};

/// What the loop is told when the work is done.
pub const DONE: Token = Token(0);

// ANCHOR: broken
/// The worker has the waker, and takes it away.
pub mod broken {
    use super::*;

    /// Does `work` on a thread, and wakes the loop.
    ///
    /// # Errors
    /// If the waker cannot be made.
    pub fn begin(poll: &Poll, work: fn()) -> io::Result<(JoinHandle<()>, ())> {
        let waker = Waker::new(poll.registry(), DONE)?;
        let worker = thread::spawn(move || {
            work();
            let _ = waker.wake();
        }); // and here it is dropped
        Ok((worker, ()))
    }
}
// ANCHOR_END: broken

// ANCHOR: mended
/// The loop keeps it.
pub mod mended {
    use super::*;

    /// Does `work` on a thread, and wakes the loop, which keeps what comes back beside the thread.
    ///
    /// # Errors
    /// If the waker cannot be made.
    pub fn begin(poll: &Poll, work: fn()) -> io::Result<(JoinHandle<()>, Arc<Waker>)> {
        let waker = Arc::new(Waker::new(poll.registry(), DONE)?);
        let kept = Arc::clone(&waker);
        let worker = thread::spawn(move || {
            work();
            let _ = waker.wake();
        });
        Ok((worker, kept))
    }
}
// ANCHOR_END: mended

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::Events;

    use super::*;

    // ANCHOR: test
    /// Whether the loop is woken, whose worker has called `wake` and ended.
    fn is_woken<Kept>(
        begin: impl FnOnce(&Poll, fn()) -> io::Result<(JoinHandle<()>, Kept)>,
    ) -> bool {
        let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(8));
        let (worker, _kept) = begin(&poll, || ()).unwrap();
        worker.join().unwrap();
        // Nobody is left who could wake it later: now, or never.
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        events.iter().any(|event| event.token() == DONE)
    }

    #[test]
    fn the_loop_sleeps_on() {
        assert!(!is_woken(broken::begin));
    }

    #[test]
    fn the_loop_wakes_up() {
        assert!(is_woken(mended::begin));
    }
    // ANCHOR_END: test
}
