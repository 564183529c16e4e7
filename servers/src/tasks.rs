//! tasks: a tokio task per connection; awaiting looks like blocking and holds no thread.
//! It pays with a runtime between the code and the kernel: a scheduler, a timer wheel, wakers.
//!
//! Who waits: the runtime's workers, in one epoll for all tasks. Where a conversation's state
//! lives: in a future, which the compiler made of the local variables of `converse`.

use std::future::{pending, poll_fn};
use std::io;
use std::mem::{self, MaybeUninit};
use std::net;
use std::pin::{Pin, pin};
use std::task::ready;
use std::thread;
use std::time::{Duration, Instant};

use common::config::Runtime;
use common::connection::Timeout;
use common::stats::Tally;
use common::{Config, Connection, Plan, Service, Shutdown, Stats};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;
use tokio::{runtime, task, time};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

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
    let mut connection = Connection::new(player.context.limits, Instant::now());
    let mut tally = player.context.stats.tally();
    let mut watchdog = pin!(time::sleep(Duration::MAX));
    let mut more_waits = false;
    loop {
        answer(&mut stream, &mut connection, player, &mut tally).await?;
        flush(&mut stream, &mut connection, player, &mut tally).await?;
        player.context.stats.add(&mut tally);
        if mem::take(&mut more_waits) {
            task::yield_now().await; // the others come first
        }
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
            tally.reads += 1;
            let due = connection.times_out(&player.context.timeouts).map(|(at, _)| at);
            tokio::select! {
                biased;
                read = read(&mut stream, &mut connection) => more_waits = read?,
                () = draining.cancelled(), if !draining.is_cancelled() => {}
                () = until(watchdog.as_mut(), due) => {
                    player.context.has_timed_out(&connection, Instant::now());
                    return Ok(());
                }
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
                    flush(stream, connection, player, tally).await?;
                    player.context.stats.add(tally);
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
        // The timer is set only where the write has to wait.
        let written = time::timeout(patience, stream.write(connection.to_send())).await;
        let Ok(bytes) = written else {
            player.context.timed_out(Timeout::Write);
            return Err(io::ErrorKind::TimedOut.into());
        };
        connection.sent(bytes?, Instant::now());
    }
    tally.delivered(connection);
    Ok(())
}

/// Waits until a time that commonly never comes, because bytes do. Setting a timer for each read
/// would cost as much as a tenth of it; so one is left as it stands, and set anew when it fires
/// too early.
async fn until(mut timer: Pin<&mut Sleep>, due: Option<Instant>) {
    let Some(due) = due.map(time::Instant::from_std) else { return pending().await };
    if timer.deadline() > due {
        timer.as_mut().reset(due);
    }
    timer.as_mut().await;
    while timer.deadline() < due {
        timer.as_mut().reset(due);
        timer.as_mut().await;
    }
}

/// One read; whether more may wait behind it. The buffer is on the worker's stack, and only while
/// bytes are there: a task that waits has none.
async fn read(stream: &mut TcpStream, connection: &mut Connection) -> io::Result<bool> {
    poll_fn(|task| {
        let mut chunk = [const { MaybeUninit::uninit() }; READ_CHUNK_BYTES];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut *stream).poll_read(task, &mut chunk))?;
        match chunk.filled() {
            [] => connection.received_eof(),
            bytes => connection.receive(bytes, Instant::now()),
        }
        io::Result::Ok(chunk.remaining() == 0).into()
    })
    .await
}
