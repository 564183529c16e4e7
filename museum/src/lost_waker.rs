//! A future that is pending must have told somebody whom to wake: the waker of the *last* poll, for
//! between two polls the future may have moved to another task. One that keeps the first waker wakes
//! who waits no more; who waits is never polled again, and no thread is to be seen that hangs.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// A bell that rings once.
#[derive(Debug, Default)]
pub struct Bell(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    has_rung: bool,
    listener: Option<Waker>,
}

impl Bell {
    /// Rings it.
    pub fn ring(&self) {
        let listener = self.with(|state| {
            state.has_rung = true;
            state.listener.take()
        });
        listener.into_iter().for_each(Waker::wake);
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// ANCHOR: broken
/// Keeps the first.
pub mod broken {
    use super::*;

    /// Ready when the bell has rung.
    #[derive(Debug)]
    pub struct Heard<'a>(pub &'a Bell);

    impl Future for Heard<'_> {
        type Output = ();

        fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
            self.0.with(|state| {
                if state.has_rung {
                    return Poll::Ready(());
                }
                state.listener.get_or_insert_with(|| task.waker().clone());
                Poll::Pending
            })
        }
    }
}
// ANCHOR_END: broken

// ANCHOR: mended
/// Keeps the last.
pub mod mended {
    use super::*;

    /// Ready when the bell has rung.
    #[derive(Debug)]
    pub struct Heard<'a>(pub &'a Bell);

    impl Future for Heard<'_> {
        type Output = ();

        fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
            // Under the lock: a bell that rings between look and note would wake nobody.
            self.0.with(|state| {
                if state.has_rung {
                    return Poll::Ready(());
                }
                state.listener = Some(task.waker().clone());
                Poll::Pending
            })
        }
    }
}
// ANCHOR_END: mended

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::thread;

    use super::*;

    // ANCHOR: test
    /// A task that counts how often it was woken, and is none besides.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often two tasks are woken, of which one has polled first and the other has polled last,
    /// when the bell rings.
    fn woken(bell: &Bell, heard: impl Future<Output = ()>) -> (usize, usize) {
        let (first, last) = (Arc::new(Task::default()), Arc::new(Task::default()));
        let mut heard = pin!(heard);
        for task in [&first, &last] {
            let waker = Waker::from(Arc::clone(task));
            assert!(heard.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        thread::scope(|scope| drop(scope.spawn(|| bell.ring())));
        (first.0.load(Ordering::Relaxed), last.0.load(Ordering::Relaxed))
    }

    #[test]
    fn the_wrong_task_is_woken() {
        let bell = Bell::default();
        assert_eq!(woken(&bell, broken::Heard(&bell)), (1, 0));
    }

    #[test]
    fn the_task_that_waits_is_woken() {
        let bell = Bell::default();
        assert_eq!(woken(&bell, mended::Heard(&bell)), (0, 1));
    }
    // ANCHOR_END: test
}
