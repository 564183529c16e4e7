//! The same by shuttle: one thread at a time goes on, to the next of these calls. It pays by
//! spinning: no thread may block in the kernel, where shuttle knows nothing of it.

use std::io;
use std::time::{Duration, Instant};

pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, mpsc};
pub(crate) use shuttle::thread;

/// Work that another thread does.
pub(crate) struct Unblocked;

pub(crate) fn unblock(work: impl FnOnce() + Send + 'static) -> Unblocked {
    thread::spawn(work);
    Unblocked
}

impl Unblocked {
    #[expect(clippy::unused_self, reason = "as the crate has it")]
    pub(crate) fn detach(self) {}
}

/// Lets the others go on until something is there or `patience` has run out.
fn spin(patience: Option<Duration>, mut look: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let until = patience.map(|patience| Instant::now() + patience);
    loop {
        thread::yield_now();
        if look()? || until.is_some_and(|until| until <= Instant::now()) {
            return Ok(());
        }
    }
}

/// mio's, but for where it waits.
pub(crate) struct Poll(mio::Poll);

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        mio::Poll::new().map(Self)
    }

    pub(crate) fn registry(&self) -> &mio::Registry {
        self.0.registry()
    }

    pub(crate) fn poll(
        &mut self,
        events: &mut mio::Events,
        patience: Option<Duration>,
    ) -> io::Result<()> {
        spin(patience, || {
            self.0.poll(events, Some(Duration::ZERO))?;
            Ok(!events.is_empty())
        })
    }
}

/// rustix's, but for where it waits.
pub(crate) mod epoll {
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::buffer::Buffer;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::{Errno, Result};

    pub(crate) use rustix::event::epoll::{Event, EventData, EventFlags, add, modify};

    pub(crate) fn wait<B: Buffer<Event>>(
        epoll: &OwnedFd,
        events: B,
        patience: Option<&Timespec>,
    ) -> Result<B::Output> {
        let now = Timespec::default();
        let patience = patience.map(|patience| Duration::try_from(*patience).unwrap_or_default());
        super::spin(patience, || {
            // An epoll instance is itself ready to read while it has events.
            let mut epoll = [PollFd::new(epoll, PollFlags::IN)];
            Ok(poll(&mut epoll, Some(&now))? > 0)
        })
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        rustix::event::epoll::wait(epoll, events, Some(&now))
    }
}

/// As much of crossbeam's as the servers use.
pub(crate) mod channel {
    use std::collections::VecDeque;
    use std::sync::{Arc, PoisonError};

    use super::{Condvar, Mutex, MutexGuard};

    pub(crate) struct Sender<T>(Arc<Shared<T>>);

    pub(crate) struct Receiver<T>(Arc<Shared<T>>);

    struct Shared<T> {
        state: Mutex<State<T>>,
        changed: Condvar,
    }

    struct State<T> {
        waiting: VecDeque<T>,
        bound: usize,
        senders: usize,
    }

    pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
        bounded(usize::MAX)
    }

    pub(crate) fn bounded<T>(bound: usize) -> (Sender<T>, Receiver<T>) {
        let state = Mutex::new(State { waiting: VecDeque::new(), bound, senders: 1 });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        (Sender(Arc::clone(&shared)), Receiver(shared))
    }

    impl<T> Shared<T> {
        fn state(&self) -> MutexGuard<'_, State<T>> {
            self.state.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl<T> Sender<T> {
        pub(crate) fn is_full(&self) -> bool {
            let state = self.0.state();
            state.waiting.len() >= state.bound
        }

        pub(crate) fn try_send(&self, item: T) -> Result<(), T> {
            let mut state = self.0.state();
            if state.waiting.len() >= state.bound {
                return Err(item);
            }
            state.waiting.push_back(item);
            drop(state);
            self.0.changed.notify_one();
            Ok(())
        }

        pub(crate) fn send(&self, item: T) -> Result<(), T> {
            self.try_send(item)
        }
    }

    impl<T> Clone for Sender<T> {
        fn clone(&self) -> Self {
            self.0.state().senders += 1;
            Self(Arc::clone(&self.0))
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.0.state().senders -= 1;
            self.0.changed.notify_all();
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn len(&self) -> usize {
            self.0.state().waiting.len()
        }

        pub(crate) fn try_iter(&self) -> impl Iterator<Item = T> {
            std::iter::from_fn(|| self.0.state().waiting.pop_front())
        }
    }

    impl<T> Clone for Receiver<T> {
        fn clone(&self) -> Self {
            Self(Arc::clone(&self.0))
        }
    }

    impl<T> Iterator for Receiver<T> {
        type Item = T;

        fn next(&mut self) -> Option<T> {
            let no_more = |state: &mut State<T>| state.waiting.is_empty() && state.senders > 0;
            let waited = self.0.changed.wait_while(self.0.state(), no_more);
            waited.unwrap_or_else(PoisonError::into_inner).waiting.pop_front()
        }
    }
}
