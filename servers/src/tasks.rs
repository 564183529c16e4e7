//! tasks: a tokio task per connection; awaiting looks like blocking and holds no thread.
//! It pays with a runtime between the code and the kernel: a scheduler, a timer wheel, wakers.
//!
//! Who waits: the runtime's workers, in one epoll for all tasks. Where a conversation's state
//! lives: in a future, which the compiler made of the local variables of `converse`.

mod watch;

use std::future::poll_fn;
use std::io;
use std::mem::{self, MaybeUninit};
use std::net;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::thread;
use std::time::{Duration, Instant};

use common::config::Runtime;
use common::connection::Timeout;
use common::stats::Tally;
use common::{Config, Connection, Plan, Service, Shutdown, Stats};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::{runtime, time};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::watch::Watch;
use crate::awaiting::{self, Player, name_threads};
use crate::{Context, READ_CHUNK_BYTES, listener};

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
            let workers = config.workers.get();
            let mut builder = runtime::Builder::new_multi_thread();
            builder.worker_threads(workers).thread_name_fn(name_threads("tasks", workers));
            let runtime = awaiting::build(&mut builder, stats)?;
            awaiting::run(runtime, accept(listener, player, config.clone()))
        }
        Runtime::PerCore => {
            let name = |core| format!("tasks-core-{core}");
            // All of them, before the first accepts: its clients could take the descriptors that
            // the next would need.
            let runtimes = (0..config.workers.get()).map(|core| {
                let mut builder = runtime::Builder::new_current_thread();
                builder.thread_name_fn(name_threads(&name(core), 0));
                awaiting::build(&mut builder, stats)
            });
            let runtimes = runtimes.collect::<io::Result<Vec<_>>>()?;
            let listeners = listener::shards(listener, config.workers.get())?;
            let mut cores = Vec::new();
            for (core, (runtime, listener)) in runtimes.into_iter().zip(listeners).enumerate() {
                let server = accept(listener, player.clone(), config.clone());
                let run = move || awaiting::run(runtime, server);
                cores.push(thread::Builder::new().name(name(core)).spawn(run)?);
            }
            cores.into_iter().try_for_each(|core| {
                core.join().map_err(|_| io::Error::other("a runtime's thread panicked"))?
            })
        }
    }
}

async fn accept(listener: net::TcpListener, player: Player, config: Config) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (draining, tasks) = (CancellationToken::new(), TaskTracker::new());
    let player = Arc::new(player);
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
            Ok((mut stream, _)) => match context.stats.admit(config.connections_max) {
                Some(open) => {
                    let (player, draining) = (Arc::clone(&player), draining.clone());
                    tasks.spawn(async move {
                        if let Err(error) = converse(&mut stream, &player, &draining).await {
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
    // ANCHOR: drain
    drop(listener);
    tasks.close();
    // What is left after the timeout is cut: the runtime drops the tasks it still holds.
    let _ = time::timeout(config.drain_timeout, tasks.wait()).await;
    // ANCHOR_END: drain
    Ok(())
}

/// Serves one connection from the first byte to the last. The stream stays with the caller: moved in,
/// the task would have room for it twice.
async fn converse(
    stream: &mut TcpStream,
    player: &Player,
    draining: &CancellationToken,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = Connection::new(player.context.limits, Instant::now());
    let mut tally = player.context.stats.tally();
    let timer = pin!(time::sleep(Duration::MAX));
    let drain = pin!(draining.cancelled());
    let mut watch = Watch::new(&player.context, timer, drain);
    let mut more_waits = false;
    loop {
        answer(stream, &mut connection, player, &mut tally).await?;
        flush(stream, &mut connection, player, &mut tally).await?;
        player.context.stats.add(&mut tally);
        if mem::take(&mut more_waits) {
            tokio::task::yield_now().await; // the others come first
        }
        if player.context.shutdown.is_triggered() {
            connection.drain();
        }
        if connection.output_ended() {
            stream.shutdown().await?;
        }
        if connection.is_finished() {
            return Ok(());
        }
        if connection.wants_read() {
            tally.reads += 1;
            let due = connection.times_out(&player.context.timeouts).map(|(at, _)| at);
            let ended = poll_fn(|task| match read(stream, &mut connection, task) {
                Poll::Pending => watch.poll(due, task).map(|()| None),
                read @ Poll::Ready(_) => read.map(Some),
            });
            match ended.await {
                Some(read) => more_waits = read?,
                None if player.context.has_timed_out(&connection, Instant::now()) => return Ok(()),
                None => {} // the drain
            }
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
            Ok(Some(request)) => match player.context.plan(connection, request) {
                Plan::Reply(response) => response,
                plan => {
                    // Boxed, since a task is as large as the longest wait that it has room for.
                    let wait = Box::pin(async {
                        flush(stream, connection, player, tally).await?;
                        player.context.stats.add(tally);
                        io::Result::Ok(player.carry_out(plan).await)
                    });
                    wait.await?
                }
            },
            Err(error) => {
                tracing::debug!("{error}");
                tally.failed += 1;
                continue;
            }
        };
        tally.answered(&response);
        connection.respond(response);
    }
}

async fn flush(
    stream: &mut TcpStream,
    connection: &mut Connection,
    player: &Player,
    tally: &mut Tally,
) -> io::Result<()> {
    let patience = player.context.timeouts.write.unwrap_or(Duration::MAX);
    while connection.wants_write() {
        tally.writes += 1;
        match stream.try_write(connection.to_send()) {
            Ok(bytes) => connection.sent(bytes, Instant::now()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let room = Box::pin(time::timeout(patience, stream.writable()));
                if room.await.is_err() {
                    player.context.timed_out(Timeout::Write);
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
    tally.delivered(connection);
    Ok(())
}

/// One read; whether more may wait behind it. The buffer is on the worker's stack, and only while
/// bytes are there: a task that waits has none.
fn read(
    stream: &mut TcpStream,
    connection: &mut Connection,
    task: &mut task::Context<'_>,
) -> Poll<io::Result<bool>> {
    let mut chunk = [const { MaybeUninit::uninit() }; READ_CHUNK_BYTES];
    let mut chunk = ReadBuf::uninit(&mut chunk);
    ready!(Pin::new(stream).poll_read(task, &mut chunk))?;
    match chunk.filled() {
        [] => connection.received_eof(),
        bytes => connection.receive(bytes, Instant::now()),
    }
    Poll::Ready(Ok(chunk.remaining() == 0))
}
