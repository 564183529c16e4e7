//! tasks: a tokio task per connection; awaiting looks like blocking and holds no thread.
//! It pays with a runtime between the code and the kernel: a scheduler, a timer wheel, wakers.
//!
//! Who waits: the runtime's workers, in one epoll for all tasks. Where a conversation's state
//! lives: in a future, which the compiler made of the local variables of [`converse`].

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net;
use std::pin::Pin;
use std::sync::Arc;
use std::task::ready;
use std::thread;

use common::config::{Offload, Runtime};
use common::job::{Block, Compute};
use common::stats::Tally;
use common::{Code, Config, Connection, Plan, Response, Service, Shutdown, Stats};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio::time;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{BLOCKED_THREADS_MAX, Context, READ_CHUNK_BYTES, compute_threads, listener};

/// Serves until `shutdown`, then drains.
///
/// # Errors
/// If a runtime or a listening socket cannot be made.
pub fn serve(
    listener: net::TcpListener,
    service: Service,
    config: &Config,
    shutdown: &Shutdown,
    stats: &Stats,
) -> io::Result<()> {
    let player = Player::new(Context::new(service, config, shutdown, stats), config)?;
    match config.runtime {
        Runtime::Multi => {
            let mut builder = runtime::Builder::new_multi_thread();
            builder.worker_threads(config.workers.get());
            run(&mut builder, "tasks-worker", accept(listener, player, config.clone()), stats)
        }
        Runtime::PerCore => {
            let listeners = listener::shards(listener, config.workers.get())?;
            let mut cores = Vec::new();
            for (index, listener) in listeners.into_iter().enumerate() {
                let (player, config, stats) = (player.clone(), config.clone(), stats.clone());
                let name = format!("tasks-core-{index}");
                cores.push(thread::Builder::new().name(name).spawn(move || {
                    let mut builder = runtime::Builder::new_current_thread();
                    run(&mut builder, "tasks-blocked", accept(listener, player, config), &stats)
                })?);
            }
            cores.into_iter().try_for_each(|core| {
                core.join().map_err(|_| io::Error::other("a runtime's thread panicked"))?
            })
        }
    }
}

/// Runs `server` to its end on a runtime of its own, and leaves behind what does not end.
pub(crate) fn run(
    builder: &mut runtime::Builder,
    thread_name: &str,
    server: impl Future<Output = io::Result<()>>,
    stats: &Stats,
) -> io::Result<()> {
    let stats = stats.clone();
    let runtime = builder
        .enable_io()
        .enable_time()
        .thread_name(thread_name)
        .max_blocking_threads(BLOCKED_THREADS_MAX)
        // A worker parks in epoll_wait, or behind the one that does.
        .on_thread_park(move || stats.add(&mut Tally { waits: 1, ..Tally::default() }))
        .build()?;
    let ended = runtime.block_on(server);
    runtime.shutdown_background();
    ended
}

async fn accept(listener: net::TcpListener, player: Player, config: Config) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (draining, tasks) = (CancellationToken::new(), TaskTracker::new());
    let context = &player.context;
    context.shutdown.on_trigger({
        let draining = draining.clone();
        move || draining.cancel()
    });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = draining.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => match context.stats.admit(config.connections_max) {
                Some(open) => {
                    let (player, draining) = (player.clone(), draining.clone());
                    tasks.spawn(async move {
                        if let Err(error) = converse(stream, &player, &draining).await {
                            tracing::debug!("connection: {error}");
                        }
                        drop(open);
                    });
                }
                None => listener::refuse(&stream),
            },
            Err(error) if listener::accept_failed(&error) => {
                time::sleep(listener::ACCEPT_PAUSE).await;
            }
            Err(_) => {}
        }
    }
    drop(listener);
    tasks.close();
    // What is left after the timeout is cut: the runtime drops the tasks it still holds.
    let _ = time::timeout(config.drain_timeout, tasks.wait()).await;
    Ok(())
}

/// Serves one connection from the first byte to the last.
async fn converse(
    mut stream: TcpStream,
    player: &Player,
    draining: &CancellationToken,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = Connection::new(player.context.limits);
    let mut tally = Tally::default();
    loop {
        answer(&mut stream, &mut connection, player, &mut tally).await?;
        flush(&mut stream, &mut connection, &mut tally).await?;
        player.context.stats.add(&mut tally);
        if draining.is_cancelled() {
            connection.drain();
        }
        if connection.output_ended() {
            stream.shutdown().await?;
        }
        if connection.is_finished() {
            return Ok(());
        }
        if connection.wants_read() {
            tokio::select! {
                biased;
                read = read(&mut stream, &mut connection) => read?,
                () = draining.cancelled(), if !draining.is_cancelled() => {}
            }
            tally.reads += 1;
        }
    }
}

/// Answers the requests that have arrived whole. Replies gather until none is left, or until one
/// takes time: those before it do not wait for it.
async fn answer(
    stream: &mut TcpStream,
    connection: &mut Connection,
    player: &Player,
    tally: &mut Tally,
) -> io::Result<()> {
    loop {
        let response = match connection.next_request() {
            Ok(None) => return Ok(()),
            Ok(Some(request)) => match player.context.service.plan(request) {
                Plan::Reply(response) => response,
                plan => {
                    flush(stream, connection, tally).await?;
                    player.carry_out(plan).await
                }
            },
            Err(error) => {
                tracing::debug!("{error}");
                tally.failed += 1;
                continue;
            }
        };
        tally.answered(&response);
        connection.respond(&response);
    }
}

async fn flush(
    stream: &mut TcpStream,
    connection: &mut Connection,
    tally: &mut Tally,
) -> io::Result<()> {
    while connection.wants_write() {
        let bytes = stream.write(connection.to_send()).await?;
        tally.writes += 1;
        connection.sent(bytes);
    }
    Ok(())
}

/// One read. The buffer is on the worker's stack, and only while bytes are there: a task that
/// waits has none.
async fn read(stream: &mut TcpStream, connection: &mut Connection) -> io::Result<()> {
    poll_fn(|task| {
        let mut chunk = [const { MaybeUninit::uninit() }; READ_CHUNK_BYTES];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut *stream).poll_read(task, &mut chunk))?;
        match chunk.filled() {
            [] => connection.received_eof(),
            bytes => connection.receive(bytes),
        }
        io::Result::Ok(()).into()
    })
    .await
}

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
