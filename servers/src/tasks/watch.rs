//! What a task waits for besides bytes: the drain, and the time at which its peer has been silent
//! for too long.
//!
//! Both commonly never come, because bytes do. To ask them for each read would cost some per cent
//! of it; so each is told once whom to wake, and from then on it is only looked at.

use std::pin::Pin;
use std::task::{Context as Task, Poll};
use std::time::Instant;

use tokio::task::coop;
use tokio::time::{self, Sleep};
use tokio_util::sync::WaitForCancellationFuture;

use crate::Context;

pub(super) struct Watch<'a, 'd> {
    context: &'a Context,
    timer: Pin<&'a mut Sleep>,
    drain: Pin<&'a mut WaitForCancellationFuture<'d>>,
    is_draining: bool,
    /// Timer and drain know whom to wake.
    is_set: bool,
}

impl<'a, 'd> Watch<'a, 'd> {
    pub(super) fn new(
        context: &'a Context,
        timer: Pin<&'a mut Sleep>,
        drain: Pin<&'a mut WaitForCancellationFuture<'d>>,
    ) -> Self {
        Self { context, timer, drain, is_draining: false, is_set: false }
    }

    /// Ready once when the drain begins, and whenever it is `due`.
    pub(super) fn poll(&mut self, due: Option<Instant>, task: &mut Task<'_>) -> Poll<()> {
        let due = due.map(time::Instant::from_std);
        if let Some(due) = due.filter(|due| self.timer.deadline() > *due) {
            self.timer.as_mut().reset(due);
            self.is_set = false;
        }
        let has_drain_begun = !self.is_draining && self.context.shutdown.is_triggered();
        if self.is_set && !has_drain_begun && !self.timer.is_elapsed() {
            return Poll::Pending;
        }
        // Whom a task without budget polls has it woken at once, and remembers nothing.
        self.is_set = coop::has_budget_remaining();
        if !self.is_draining && self.drain.as_mut().poll(task).is_ready() {
            self.is_draining = true;
            return Poll::Ready(());
        }
        self.poll_timer(due, task)
    }

    /// It is left as it stands while bytes come, and set anew when it fires too early.
    fn poll_timer(&mut self, due: Option<time::Instant>, task: &mut Task<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(task).is_ready() {
            match due {
                Some(due) if self.timer.deadline() >= due => return Poll::Ready(()),
                Some(due) => self.timer.as_mut().reset(due),
                None => return Poll::Pending,
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::pin::pin;
    use std::time::Duration;

    use common::{Config, Service, Shutdown, Stats};
    use tokio_util::sync::CancellationToken;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    /// By then whatever was to wake the task has done so.
    const LATE: Duration = Duration::from_secs(20);

    fn run<T>(test: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().build().unwrap();
        runtime.block_on(async { time::timeout(LATE, test).await.expect("nobody woke it") })
    }

    fn context(shutdown: &Shutdown) -> Context {
        Context::new(Service::default(), &Config::default(), shutdown, &Stats::new())
    }

    /// A watch that is polled as `converse` does, until it has something to say.
    async fn watched(shutdown: &Shutdown, due: impl Fn() -> Option<Instant>, mut spend: bool) {
        let (context, draining) = (context(shutdown), CancellationToken::new());
        shutdown.on_trigger({
            let draining = draining.clone();
            move || draining.cancel()
        });
        let timer = pin!(time::sleep(Duration::MAX));
        let drain = pin!(draining.cancelled());
        let mut watch = Watch::new(&context, timer, drain);
        poll_fn(|task| {
            while spend && coop::has_budget_remaining() {
                let _ = pin!(coop::consume_budget()).poll(task);
            }
            spend = false;
            watch.poll(due(), task)
        })
        .await;
    }

    #[test]
    fn it_is_due_when_it_is_due_also_to_a_task_that_had_no_budget_left() {
        for spend in [false, true] {
            let (due, shutdown) = (Instant::now() + SOON, Shutdown::new());
            // In a task of its own: what blocks on a future has no budget.
            let task = async move { watched(&shutdown, || Some(due), spend).await };
            run(async { tokio::spawn(task).await }).unwrap();
            assert!(Instant::now() >= due);
        }
    }

    #[test]
    fn bytes_put_it_off() {
        let began = Instant::now();
        let due = || Some((began + 3 * SOON).min(Instant::now() + SOON));
        run(watched(&Shutdown::new(), due, false));
        assert!(began.elapsed() >= 3 * SOON);
    }

    #[test]
    fn a_drain_ends_it_though_nothing_is_due() {
        let shutdown = Shutdown::new();
        run(async {
            let trigger = async {
                tokio::task::yield_now().await;
                shutdown.trigger();
                pending::<()>().await;
            };
            tokio::select! {
                () = watched(&shutdown, || None, false) => {}
                () = trigger => {}
            }
        });
    }
}
