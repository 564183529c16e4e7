//! What it costs to give a request from who has it to who does it, and to hear that it is done: the
//! part of a concurrency model that is not the work.

use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use benches::cores::{self, Pinned};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use mio::{Events, Poll, Token, Waker};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// So many workers as a model has on a small machine; on one, no task is ever stolen.
const WORKERS: usize = 2;

// -- between threads --------------------------------------------------------------------------

/// On one core a hand-over is a context switch. On two, the other core sleeps meanwhile, and has to be
/// woken up by an interrupt, which costs far more where the machine is virtual.
#[derive(Clone, Copy)]
struct Place {
    name: &'static str,
    here: usize,
    there: usize,
}

fn places() -> Vec<Place> {
    let allowed = cores::allowed().expect("the kernel tells where this thread may run");
    let (Some(&here), Some(&there)) = (allowed.first(), allowed.last()) else { return Vec::new() };
    let mut places = vec![Place { name: "one core", here, there: here }];
    if here == there {
        eprintln!("only core {here} may be used: nothing is measured between two");
    } else {
        places.push(Place { name: "two cores", here, there });
    }
    places
}

fn between_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("between_threads");
    for place in places() {
        context_switch(&mut group, place);
        waker(&mut group, place);
        crossbeam(&mut group, place);
        std_mpsc(&mut group, place);
    }
    group.finish();
}

/// Two context switches, by the shortest way: a byte through a pipe there, another one back. It is
/// what `threads` pays for every message, with a socket in the pipe's place.
fn context_switch(group: &mut Group, place: Place) {
    let (mut asked, mut ask) = std::io::pipe().expect("descriptors are left");
    let (mut told, mut tell) = std::io::pipe().expect("descriptors are left");
    let peer = move || {
        let mut byte = [0];
        while asked.read_exact(&mut byte).is_ok() && tell.write_all(&byte).is_ok() {}
    };
    there_and_back(group, "pipe", place, peer, move || {
        ask.write_all(&[0]).expect("the peer reads");
        told.read_exact(&mut [0]).expect("the peer writes");
    });
}

/// An eventfd that wakes up an epoll loop in another thread, and one back: `epoll` pays the way back
/// when a computation or a blocking call is done, `pool` (with an eventfd of its own) when a worker
/// gives a connection back.
fn waker(group: &mut Group, place: Place) {
    let (mut here, mut there) = (Sleeper::new(), Sleeper::new());
    let (wake_here, end) = (Arc::clone(&here.waker), End::of(&there));
    let ended = Arc::clone(&end.ended);
    let peer = move || {
        there.sleep();
        while !ended.load(Ordering::Acquire) {
            wake_here.wake().expect("an eventfd can be written");
            there.sleep();
        }
    };
    there_and_back(group, "waker", place, peer, move || {
        end.waker.wake().expect("an eventfd can be written");
        here.sleep();
    });
}

/// A bounded queue to a worker, and one back: `pool` pays it for every batch of requests.
fn crossbeam(group: &mut Group, place: Place) {
    let (ask, asked) = crossbeam_channel::bounded(1);
    let (tell, told) = crossbeam_channel::bounded(1);
    let peer = move || while asked.recv().is_ok() && tell.send(()).is_ok() {};
    there_and_back(group, "crossbeam", place, peer, move || {
        ask.send(()).expect("the peer receives");
        told.recv().expect("the peer sends");
    });
}

/// The same by the standard library, whose queue has one consumer: no server pays it.
fn std_mpsc(group: &mut Group, place: Place) {
    let (ask, asked) = std::sync::mpsc::sync_channel(1);
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let peer = move || while asked.recv().is_ok() && tell.send(()).is_ok() {};
    there_and_back(group, "std mpsc", place, peer, move || {
        ask.send(()).expect("the peer receives");
        told.recv().expect("the peer sends");
    });
}

/// Times `exchange` in this thread, with `peer` in another one. The peer ends when it hears that
/// `exchange` has been dropped, with all that it owns.
fn there_and_back(
    group: &mut Group,
    name: &str,
    place: Place,
    peer: impl FnOnce() + Send,
    mut exchange: impl FnMut(),
) {
    let pin = |core| Pinned::to(core).expect("this process may use the core");
    thread::scope(|scope| {
        scope.spawn(move || {
            let _pinned = pin(place.there);
            peer();
        });
        group.bench_function(format!("{name}, {}", place.name), |bencher| {
            // Not around the whole: criterion's own threads would stay on this core.
            let _pinned = pin(place.here);
            bencher.iter(&mut exchange);
        });
        drop(exchange);
    });
}

/// An epoll loop that only wakes up.
struct Sleeper {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
}

impl Sleeper {
    fn new() -> Self {
        let poll = Poll::new().expect("descriptors are left");
        let waker = Waker::new(poll.registry(), Token(0)).expect("descriptors are left");
        Self { poll, events: Events::with_capacity(1), waker: Arc::new(waker) }
    }

    fn sleep(&mut self) {
        self.poll.poll(&mut self.events, None).expect("no signal is handled here");
    }
}

/// Wakes up a loop for the last time.
struct End {
    waker: Arc<Waker>,
    ended: Arc<AtomicBool>,
}

impl End {
    fn of(sleeper: &Sleeper) -> Self {
        Self { waker: Arc::clone(&sleeper.waker), ended: Arc::default() }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        let _ = self.waker.wake();
    }
}

// -- between tasks ----------------------------------------------------------------------------

fn one_thread() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime")
}

fn many_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(WORKERS).build().expect("a runtime")
}

fn between_tasks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("between_tasks");
    task_to_task(&mut group, "tokio, one thread", &one_thread());
    task_to_task(&mut group, "tokio, many threads", &many_threads());
    group.finish();
}

/// A queue to another task, and a oneshot back: no thread sleeps. A server of actors pays it for every
/// request; here only `grpc` pays the like, where a call is a task of its own beside its connection.
fn task_to_task(group: &mut Group, name: &str, runtime: &Runtime) {
    let (ask, mut asked) = mpsc::channel::<oneshot::Sender<()>>(1);
    runtime.spawn(async move {
        while let Some(reply) = asked.recv().await {
            let _ = reply.send(());
        }
    });
    in_a_task(group, name, runtime, |count| {
        let ask = ask.clone();
        timed(count, async move || {
            let (reply, replied) = oneshot::channel();
            ask.send(reply).await.expect("the other task receives");
            replied.await.expect("the other task replies");
        })
    });
}

/// Times calls in a task of `runtime`: one that it is blocked on is not in its queues.
fn in_a_task<F>(group: &mut Group, name: &str, runtime: &Runtime, calls: impl Fn(u64) -> F)
where
    F: Future<Output = Duration> + Send + 'static,
{
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            runtime.block_on(runtime.spawn(calls(count))).expect("no call panics")
        });
    });
}

async fn timed(count: u64, call: impl AsyncFn()) -> Duration {
    let began = Instant::now();
    for _ in 0..count {
        call().await;
    }
    began.elapsed()
}

// -- someone new ------------------------------------------------------------------------------

/// Someone new for one piece of work, until it is done.
fn spawned(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spawned");
    thread_per_job(&mut group);
    task_per_job(&mut group, "tokio task, one thread", &one_thread());
    task_per_job(&mut group, "tokio task, many threads", &many_threads());
    rayon_job(&mut group);
    blocking_job(&mut group);
    group.finish();
}

/// A thread of its own, joined: `threads` pays it for every connection.
fn thread_per_job(group: &mut Group) {
    group.bench_function("thread", |bencher| {
        bencher.iter(|| thread::spawn(|| black_box(())).join().expect("it does not panic"));
    });
}

/// A task of its own, awaited: `tasks` pays it for every connection, `grpc` for every call.
fn task_per_job(group: &mut Group, name: &str, runtime: &Runtime) {
    in_a_task(group, name, runtime, |count| {
        timed(count, async || {
            tokio::spawn(async { black_box(()) }).await.expect("it does not panic");
        })
    });
}

/// A thread of rayon's and the way back to the task: `tasks` and `grpc` pay it for `Compute`, and
/// `epoll` with its own way back.
fn rayon_job(group: &mut Group) {
    in_a_task(group, "rayon, awaited", &one_thread(), |count| {
        timed(count, async || {
            let (done, result) = oneshot::channel();
            rayon::spawn(|| {
                let _ = done.send(());
            });
            result.await.expect("it does not panic");
        })
    });
}

/// A thread of tokio's that may block, and the way back: `tasks` and `grpc` pay it for `Block`.
fn blocking_job(group: &mut Group) {
    in_a_task(group, "tokio spawn_blocking", &one_thread(), |count| {
        timed(count, async || {
            tokio::task::spawn_blocking(|| black_box(())).await.expect("it does not panic");
        })
    });
}

// -- nobody else ------------------------------------------------------------------------------

/// The yardstick: what is shared, and nobody else wants. Every server counts with atomics; a lock
/// that is free is what `pool` takes around a connection.
fn uncontended(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("uncontended");
    let (count, locked) = (AtomicU64::new(0), Mutex::new(0_u64));
    group.bench_function("atomic add", |bencher| {
        bencher.iter(|| black_box(&count).fetch_add(1, Ordering::Relaxed));
    });
    group.bench_function("mutex", |bencher| {
        bencher.iter(|| *black_box(&locked).lock().expect("nobody panics with it") += 1);
    });
    group.finish();
}

criterion_group!(
    name = benches;
    config = benches::criterion();
    targets = between_threads, between_tasks, spawned, uncontended
);
criterion_main!(benches);
