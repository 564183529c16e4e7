//! How a server's end begins: a signal, readiness gone, and then, after a delay where one is
//! wanted, the trigger.

use std::io;
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::Duration;

use common::{Shutdown, Stats};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::{Reload, print_stats};
use crate::admin::Readiness;

/// What there is to be done, in this order.
pub(super) struct Drain {
    pub(super) ready: Readiness,
    /// Whoever sends clients here learns of the drain some time after it was told: until then
    /// they are still served.
    pub(super) delay: Duration,
    pub(super) shutdown: Shutdown,
}

impl Drain {
    /// Whether this is the first time.
    fn begin(&self) -> bool {
        if !self.ready.withdraw() {
            return false;
        }
        tracing::info!(delay = ?self.delay, "draining");
        tell_supervisor(&[NotifyState::Stopping, NotifyState::Status("draining")]);
        if self.delay.is_zero() {
            self.shutdown.trigger();
            return true;
        }
        // On a thread of its own, so that a second signal is heard meanwhile.
        let (delay, shutdown) = (self.delay, self.shutdown.clone());
        let late = move || {
            thread::sleep(delay);
            shutdown.trigger();
        };
        if let Err(error) = thread::Builder::new().name("drain".to_owned()).spawn(late) {
            tracing::warn!(%error, "no thread to wait for --drain-delay: draining now");
            self.shutdown.trigger();
        }
        true
    }
}

/// SIGINT and SIGTERM drain, and the second of them ends the process at once; SIGUSR1 prints the
/// counters; SIGHUP reloads, where there is something to, and else ends the process.
pub(super) fn watch_signals(drain: Drain, stats: &Stats, reload: Option<Reload>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
    let reload = reload.map(reloading).transpose()?;
    if reload.is_some() {
        signals.add_signal(SIGHUP)?;
    }
    let stats = stats.clone();
    let watch = move || {
        for signal in signals.forever() {
            match signal {
                SIGUSR1 => print_stats(&stats),
                SIGHUP => {
                    // One that waits already will see what has changed until then.
                    let _ = reload.as_ref().map(|reload| reload.try_send(()));
                }
                _ if drain.begin() => {}
                _ => {
                    eprintln!("second signal: exiting at once");
                    std::process::exit(128 + signal);
                }
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watch).map(drop)
}

/// A thread that reloads, so that a file that does not come holds up no other signal.
fn reloading(reload: Reload) -> io::Result<SyncSender<()>> {
    let (ask, asked) = mpsc::sync_channel(1);
    let each = move || asked.iter().for_each(|()| reload());
    thread::Builder::new().name("reload".to_owned()).spawn(each).map(|_| ask)
}

/// Does nothing where no supervisor asks to be told (`$NOTIFY_SOCKET`).
pub(super) fn tell_supervisor(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the supervisor that $NOTIFY_SOCKET names was not told");
    }
}
