//! What tasks and grpc share: a tokio runtime, and the way to carry a plan out by awaiting whoever
//! does the work.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use common::config::{Offload, Overload};
use common::job::Block;
use common::service::overloaded;
use common::stats::{InProgress, Tally};
use common::{Code, Config, Plan, Response, Stats};
use tokio::runtime::{self, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time;

use crate::{BLOCKED_THREADS_MAX, Context, compute_threads};

/// Carries plans out in the way of a task: by awaiting whoever does the work.
#[derive(Clone, Debug)]
pub(crate) struct Player {
    pub(crate) context: Context,
    /// The places for requests in flight: a semaphore, at which a task waits by awaiting.
    places: Arc<Semaphore>,
    overload: Overload,
    /// The threads that compute for the tasks; none where the knob says to hold up the runtime
    /// instead.
    cores: Option<Arc<rayon::ThreadPool>>,
}

impl Player {
    pub(crate) fn new(context: Context, config: &Config) -> io::Result<Self> {
        let cores = match config.offload {
            Offload::On => Some(Arc::new(compute_threads()?)),
            Offload::Off => None,
        };
        let places = Arc::new(Semaphore::new(config.in_flight_max.min(Semaphore::MAX_PERMITS)));
        Ok(Self { context, places, overload: config.overload, cores })
    }

    pub(crate) async fn carry_out(&self, plan: Plan) -> Response {
        let Some(place) = self.place().await else { return overloaded(plan.id()) };
        let id = plan.id();
        match (plan.begun_at(Instant::now()), &self.cores) {
            (Plan::Reply(response), _) => response,
            (Plan::Wait { duration, response, .. }, _) => {
                time::sleep(duration).await;
                response
            }
            (Plan::Compute(job), Some(cores)) => {
                self.hands_over();
                compute(cores, || job.run(), place).await.unwrap_or_else(|| lost(id))
            }
            (Plan::Block(job), Some(_)) => {
                self.hands_over();
                block(job, place).await.unwrap_or_else(|| lost(id))
            }
            (Plan::Compute(job), None) => job.run(),
            (Plan::Block(job), None) => job.run(),
        }
    }

    /// What comes of `work`, which needs a core for longer than a runtime's worker should be kept:
    /// done where `Compute` is, in a place as it has.
    pub(crate) async fn on_a_core<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Undone> {
        let place = self.place().await.ok_or(Undone::Overloaded)?;
        match &self.cores {
            Some(cores) => {
                self.hands_over();
                compute(cores, work, place).await.ok_or(Undone::Lost)
            }
            None => Ok(work()),
        }
    }

    fn hands_over(&self) {
        self.context.stats.add(&mut Tally { handoffs: 1, ..Tally::default() });
    }

    /// A place, as soon as one is free; nothing where none is, and nobody is to wait for it.
    async fn place(&self) -> Option<Place> {
        let stats = &self.context.stats;
        let permit = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) if self.overload == Overload::Reject => {
                stats.rejected();
                return None;
            }
            Err(_) => {
                let _queued = stats.queue();
                Arc::clone(&self.places).acquire_owned().await.ok()?
            }
        };
        Some(Place { _in_progress: stats.begin(), _permit: permit })
    }
}

/// Why work was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undone {
    /// No place was free, and it was not to wait for one.
    Overloaded,
    /// It began, and nothing came of it.
    Lost,
}

/// One request's place among those in flight, while it lives.
struct Place {
    _in_progress: InProgress,
    _permit: OwnedSemaphorePermit,
}

/// A job for another thread, and what comes of it. The queues there have no bound of their own, and a
/// job outlives a client that went away: its place goes with it. One that is not begun by then is not
/// begun at all.
fn job<T>(
    work: impl FnOnce() -> T,
    place: Place,
) -> (impl FnOnce(), impl Future<Output = Option<T>>) {
    let (done, result) = oneshot::channel();
    let job = move || {
        if done.is_closed() {
            return;
        }
        let result = work();
        drop(place);
        // Nobody listens where the client has gone.
        let _ = done.send(result);
    };
    (job, async { result.await.ok() })
}

async fn compute<T: Send + 'static>(
    cores: &rayon::ThreadPool,
    work: impl FnOnce() -> T + Send + 'static,
    place: Place,
) -> Option<T> {
    let (job, result) = job(work, place);
    cores.spawn(job);
    result.await
}

async fn block(work: Block, place: Place) -> Option<Response> {
    let (job, result) = job(|| work.run(), place);
    drop(tokio::task::spawn_blocking(job)); // the way back is its own
    result.await
}

fn lost(id: u64) -> Response {
    Response::error(id, Code::Internal, "the thread that did the work did not finish it")
}

/// Names for a runtime's threads: it starts its workers first, and later, for `spawn_blocking`,
/// those that may block.
pub(crate) fn name_threads(
    runtime: &str,
    workers: usize,
) -> impl Fn() -> String + Send + Sync + 'static {
    let (runtime, started) = (runtime.to_owned(), AtomicUsize::new(0));
    move || match started.fetch_add(1, Ordering::Relaxed) {
        worker if worker < workers => format!("{runtime}-worker-{worker}"),
        thread => format!("{runtime}-block-{}", thread - workers),
    }
}

/// Events that a worker takes from the kernel, and tasks that it polls before it takes more: as many as
/// its queue has places. Where there are more, half of the queue moves behind that of all workers, and
/// whoever is ready next overtakes it.
const READY_AT_ONCE: u32 = 256;

/// A runtime that counts its waits.
pub(crate) fn build(builder: &mut runtime::Builder, stats: &Stats) -> io::Result<Runtime> {
    let stats = stats.clone();
    builder
        .enable_io()
        .enable_time()
        .max_blocking_threads(BLOCKED_THREADS_MAX)
        .max_io_events_per_tick(READY_AT_ONCE as usize)
        .event_interval(READY_AT_ONCE)
        // A worker parks in epoll_wait, or behind the one that does.
        .on_thread_park(move || stats.add(&mut Tally { waits: 1, ..Tally::default() }))
        .build()
}

/// Runs `server` to its end, and leaves behind what does not end.
pub(crate) fn run(
    runtime: Runtime,
    server: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    let ended = runtime.block_on(server);
    runtime.shutdown_background();
    ended
}
