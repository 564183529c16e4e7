//! What tasks and grpc share: a tokio runtime, and the way to carry a plan out by awaiting whoever
//! does the work.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::config::Offload;
use common::job::{Block, Compute};
use common::stats::Tally;
use common::{Code, Config, Plan, Response, Stats};
use tokio::sync::{Semaphore, oneshot};
use tokio::{runtime, time};

use crate::{BLOCKED_THREADS_MAX, Context, compute_threads};

/// Carries plans out in the way of a task: by awaiting whoever does the work.
#[derive(Clone, Debug)]
pub(crate) struct Player {
    pub(crate) context: Context,
    /// None where the knob says to hold up the runtime instead.
    others: Option<Others>,
}

/// The threads that work for the tasks. Both have queues without a bound of their own, and a job
/// there outlives a client that went away: a permit goes with each.
#[derive(Clone, Debug)]
struct Others {
    cores: Arc<rayon::ThreadPool>,
    compute_permits: Arc<Semaphore>,
    block_permits: Arc<Semaphore>,
}

impl Player {
    pub(crate) fn new(context: Context, config: &Config) -> io::Result<Self> {
        let permits = || Arc::new(Semaphore::new(config.connections_max));
        let others = match config.offload {
            Offload::On => Some(Others {
                cores: Arc::new(compute_threads()?),
                compute_permits: permits(),
                block_permits: permits(),
            }),
            Offload::Off => None,
        };
        Ok(Self { context, others })
    }

    pub(crate) async fn carry_out(&self, plan: Plan) -> Response {
        let _in_progress = self.context.stats.begin();
        match (plan, &self.others) {
            (Plan::Reply(response), _) => response,
            (Plan::Wait(duration, response), _) => {
                time::sleep(duration).await;
                response
            }
            (Plan::Compute(job), Some(others)) => {
                let id = job.id;
                others.compute(job).await.unwrap_or_else(|| lost(id))
            }
            (Plan::Block(job), Some(others)) => {
                let id = job.id;
                others.block(job).await.unwrap_or_else(|| lost(id))
            }
            (Plan::Compute(job), None) => job.run(),
            (Plan::Block(job), None) => job.run(),
        }
    }
}

impl Others {
    async fn compute(&self, job: Compute) -> Option<Response> {
        let permit = Arc::clone(&self.compute_permits).acquire_owned().await.ok()?;
        let (done, result) = oneshot::channel();
        self.cores.spawn(move || {
            // Nobody listens where the client has gone.
            let _ = done.send(job.run());
            drop(permit);
        });
        result.await.ok()
    }

    async fn block(&self, job: Block) -> Option<Response> {
        let permit = Arc::clone(&self.block_permits).acquire_owned().await.ok()?;
        let run = move || {
            let response = job.run();
            drop(permit);
            response
        };
        tokio::task::spawn_blocking(run).await.ok()
    }
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

/// Runs `server` to its end on a runtime of its own, and leaves behind what does not end.
pub(crate) fn run(
    builder: &mut runtime::Builder,
    server: impl Future<Output = io::Result<()>>,
    stats: &Stats,
) -> io::Result<()> {
    let stats = stats.clone();
    let runtime = builder
        .enable_io()
        .enable_time()
        .max_blocking_threads(BLOCKED_THREADS_MAX)
        // A worker parks in epoll_wait, or behind the one that does.
        .on_thread_park(move || stats.add(&mut Tally { waits: 1, ..Tally::default() }))
        .build()?;
    let ended = runtime.block_on(server);
    runtime.shutdown_background();
    ended
}
