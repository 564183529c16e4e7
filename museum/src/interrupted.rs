//! A wait for events also ends because a signal came, with EINTR, and that is nobody's failure. Who
//! takes it for one dies of a Ctrl-Z and `fg`: on Linux, `epoll_wait` says EINTR after a stop and a
//! continue even where no handler was ever installed (signal(7)).

use std::io::{self, ErrorKind};

use mio::{Events, Poll};

// ANCHOR: broken
/// Believes that whatever is an `Err` has failed.
pub mod broken {
    use super::*;

    /// Waits until there are `events`.
    ///
    /// # Errors
    /// Those of the wait.
    pub fn wait(poll: &mut Poll, events: &mut Events) -> io::Result<()> {
        poll.poll(events, None)
    }
}
// ANCHOR_END: broken

// ANCHOR: mended
/// Goes on waiting.
pub mod mended {
    use super::*;

    /// Waits until there are `events`.
    ///
    /// # Errors
    /// Those of the wait, but for an interruption.
    pub fn wait(poll: &mut Poll, events: &mut Events) -> io::Result<()> {
        loop {
            match poll.poll(events, None) {
                // With a timeout, what is left of it would have to be computed here.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                waited => return waited,
            }
        }
    }
}
// ANCHOR_END: mended

#[cfg(test)]
mod tests {
    use std::os::unix::thread::JoinHandleExt;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use mio::{Token, Waker};
    use nix::sys::pthread::pthread_kill;
    use nix::sys::signal::Signal;

    use super::*;
    use crate::stage::eventually;

    // ANCHOR: test
    /// How a wait ends that is hit by signals until it has ended, or by a hundred; then the event
    /// that it waits for comes.
    fn hit_by_signals(wait: fn(&mut Poll, &mut Events) -> io::Result<()>) -> io::Result<()> {
        // A handler: without one the signal would end the process.
        let came = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&came))?;
        let mut poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Token(0))?;
        let waits = thread::spawn(move || wait(&mut poll, &mut Events::with_capacity(8)));
        for _ in 0..100 {
            came.store(false, Ordering::Relaxed);
            let _ = pthread_kill(waits.as_pthread_t(), Signal::SIGUSR1);
            eventually("the signal comes", || came.load(Ordering::Relaxed) || waits.is_finished());
            if waits.is_finished() {
                break;
            }
        }
        let _ = waker.wake();
        waits.join().unwrap()
    }

    #[test]
    fn a_signal_ends_it() {
        let ended = hit_by_signals(broken::wait);
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Interrupted);
    }

    #[test]
    fn a_signal_is_none_of_its_business() {
        hit_by_signals(mended::wait).unwrap();
    }
    // ANCHOR_END: test
}
