//! One trigger, many wake-ups.
//!
//! Each model hangs its own way to wake up on it: shut the sockets down, cancel a token, wake a
//! loop.

use std::sync::PoisonError;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, Mutex, MutexGuard};

type WakeUp = Box<dyn FnOnce() + Send>;

/// A handle on the one trigger; clones are handles on the same.
#[derive(Clone, Default)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    triggered: AtomicBool,
    wake_ups: Mutex<Vec<WakeUp>>,
}

impl Shutdown {
    /// A trigger that nobody has pulled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells everybody to drain: runs each wake-up once, on this thread. A second call does
    /// nothing. Whether it is the first.
    pub fn trigger(&self) -> bool {
        let (is_first, wake_ups) = {
            let mut wake_ups = self.wake_ups();
            let is_first = !self.inner.triggered.swap(true, Ordering::AcqRel);
            (is_first, std::mem::take(&mut *wake_ups))
        };
        for wake_up in wake_ups {
            wake_up();
        }
        is_first
    }

    /// Whether the trigger was pulled.
    pub fn is_triggered(&self) -> bool {
        self.inner.triggered.load(Ordering::Acquire)
    }

    /// Runs `wake_up` when the trigger is pulled: at once where it was already.
    pub fn on_trigger(&self, wake_up: impl FnOnce() + Send + 'static) {
        let mut wake_ups = self.wake_ups();
        if self.is_triggered() {
            drop(wake_ups);
            wake_up();
        } else {
            wake_ups.push(Box::new(wake_up));
        }
    }

    fn wake_ups(&self) -> MutexGuard<'_, Vec<WakeUp>> {
        // A list of wake-ups is whole between any two of its operations, whoever panicked.
        self.inner.wake_ups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shutdown").field("triggered", &self.is_triggered()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn each_wake_up_runs_once_whenever_it_was_hung_up() {
        let shutdown = Shutdown::new();
        let runs = Arc::new(AtomicU32::new(0));
        let count = |runs: &Arc<AtomicU32>| {
            let runs = Arc::clone(runs);
            move || {
                runs.fetch_add(1, Ordering::Relaxed);
            }
        };
        shutdown.on_trigger(count(&runs));
        shutdown.clone().on_trigger(count(&runs));
        assert!(!shutdown.is_triggered());
        assert!(shutdown.trigger());
        assert!(!shutdown.trigger());
        assert_eq!(runs.load(Ordering::Relaxed), 2);
        shutdown.on_trigger(count(&runs));
        assert_eq!(runs.load(Ordering::Relaxed), 3, "late, so at once");
    }

    #[test]
    fn a_wake_up_may_use_the_trigger() {
        let shutdown = Shutdown::new();
        let again = shutdown.clone();
        shutdown.on_trigger(move || again.on_trigger(|| ()));
        shutdown.trigger();
    }
}
