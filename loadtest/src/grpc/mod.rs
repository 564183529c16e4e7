//! Drives gRPC from one thread: the `h2` crate on a single-threaded runtime, a task per stream of
//! the closed loop, or per request of the open one.
//!
//! It pays HTTP/2: some microseconds of client CPU per request, ten times the framed transport.
//! That is the protocol's price and not the server's, which is why the server's own CPU stands in
//! every result.

mod call;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use h2::client::SendRequest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};

use self::call::Head;
use crate::plan::{Planned, Schedule, nanoseconds};
use crate::recorder::{ErrorKind, Moments};
use crate::share::{INTERRUPTED_DRAIN_MAX, Report, Share};
use crate::timer::Timer;

/// What a server may send before the tester gives it more room: enough for the replies of
/// thousands of streams, so that flow control is not what is measured.
const WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Largest HTTP/2 frame, the same reason: the protocol's default is 16 KiB.
const FRAME_BYTES: u32 = 1024 * 1024;
/// How often the interrupt and the tester's own stalls are looked for.
const TICK: Duration = Duration::from_millis(20);

/// The open connections of a thread, kept until the server was looked at.
#[derive(Debug)]
pub struct Connections {
    _local: LocalSet,
    _runtime: Runtime,
}

/// One connection.
struct Link {
    client: RefCell<SendRequest<bytes::Bytes>>,
    alive: Cell<bool>,
    answered: Cell<bool>,
}

/// What the tasks of one thread share.
struct Thread {
    share: RefCell<Share>,
    report: RefCell<Report>,
    head: Head,
    links: RefCell<Vec<Rc<Link>>>,
    /// Tasks that may still plan or settle a request.
    tasks: Cell<usize>,
    outstanding: Cell<usize>,
    outstanding_measured: Cell<u64>,
    idle: Notify,
    over: Cell<bool>,
}

/// Sends a share of a run over `streams`, and returns when every request is settled.
///
/// # Errors
/// If there is no runtime, or no timer, to be had from the system.
pub fn drive(share: Share, streams: Vec<TcpStream>) -> io::Result<(Report, Connections)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let report = local.block_on(&runtime, run(share, streams))?;
    Ok((report, Connections { _local: local, _runtime: runtime }))
}

async fn run(mut share: Share, streams: Vec<TcpStream>) -> io::Result<Report> {
    let thread = Rc::new(Thread {
        head: Head::new(share.target),
        report: RefCell::new(Report {
            recorder: std::mem::take(&mut share.recorder),
            ..Report::default()
        }),
        share: RefCell::new(share),
        links: RefCell::default(),
        tasks: Cell::new(1), // this one, until all others are there
        outstanding: Cell::new(0),
        outstanding_measured: Cell::new(0),
        idle: Notify::new(),
        over: Cell::new(false),
    });
    for stream in streams {
        thread.open(stream).await?;
    }
    let schedule = thread.share.borrow().planner.schedule().clone();
    match schedule {
        Schedule::Closed { depth } => thread.spawn_streams(depth),
        Schedule::Open(_) => thread.spawn_pacer()?,
    }
    thread.task_done();
    let watch = spawn_local(Rc::clone(&thread).watch());
    while thread.tasks.get() > 0 && !thread.over.get() {
        thread.idle.notified().await;
    }
    thread.over.set(true);
    watch.abort();
    thread.give_up();
    thread.turn(Duration::MAX, false);
    Ok(thread.report.take())
}

impl Thread {
    async fn open(self: &Rc<Self>, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let stream = tokio::net::TcpStream::from_std(stream)?;
        let handshake = h2::client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .handshake(stream)
            .await;
        let (client, connection) = match handshake {
            Ok(pair) => pair,
            Err(error) => {
                self.broken(&error.to_string(), false);
                return Ok(());
            }
        };
        let (alive, answered) = (Cell::new(true), Cell::new(false));
        let link = Rc::new(Link { client: RefCell::new(client), alive, answered });
        self.links.borrow_mut().push(Rc::clone(&link));
        let thread = Rc::clone(self);
        spawn_local(async move {
            let end = connection.await;
            link.alive.set(false);
            if !thread.over.get() {
                let text = end.err().map_or("closed".to_owned(), |error| error.to_string());
                thread.broken(&text, link.answered.get());
            }
        });
        Ok(())
    }

    fn broken(&self, text: &str, answered: bool) {
        let target = self.share.borrow().target;
        let mut report = self.report.borrow_mut();
        report.broken += 1;
        report.fail(|| {
            if answered {
                format!("{target} broke the connection ({text}); is the server still running?")
            } else {
                format!("{target} answered nothing ({text}); does it speak gRPC? else try tcp://")
            }
        });
    }

    /// The closed loop: each stream sends its next request when its last one was settled.
    fn spawn_streams(self: &Rc<Self>, depth: usize) {
        let mut left = self.share.borrow().planner.outstanding_max();
        for link in self.links.borrow().iter() {
            for _ in 0..depth.min(left) {
                left -= 1;
                let (thread, link) = (Rc::clone(self), Rc::clone(link));
                self.tasks.set(self.tasks.get() + 1);
                spawn_local(async move {
                    while link.alive.get()
                        && let Some((planned, now_ns)) = thread.plan()
                    {
                        thread.carry_out(&link, planned, now_ns).await;
                    }
                    thread.task_done();
                });
            }
        }
    }

    /// The open loop: a task that sleeps on a timer of the kernel, since the runtime's own have
    /// milliseconds.
    fn spawn_pacer(self: &Rc<Self>) -> io::Result<()> {
        let timer = Sleeper::new()?;
        let thread = Rc::clone(self);
        self.tasks.set(self.tasks.get() + 1);
        spawn_local(async move {
            let mut turn = 0;
            while thread.is_planning() && thread.has_link() {
                while let Some((planned, now_ns)) = thread.plan() {
                    thread.send(&mut turn, planned, now_ns);
                }
                let sleep_ns = thread.sleep_ns();
                if sleep_ns > 0 && timer.sleep(sleep_ns).await.is_err() {
                    break; // no timer, no pace: what is left is counted as unsent
                }
            }
            thread.task_done();
        });
        Ok(())
    }

    fn send(self: &Rc<Self>, turn: &mut usize, planned: Planned, now_ns: u64) {
        let link = {
            let links = self.links.borrow();
            let order = (*turn..links.len()).chain(0..*turn);
            let alive = order.into_iter().find(|at| links[*at].alive.get());
            alive.map(|at| {
                *turn = (at + 1) % links.len();
                Rc::clone(&links[at])
            })
        };
        let room = self.outstanding.get() <= self.share.borrow().planner.outstanding_max();
        let Some(link) = link.filter(|_| room) else { return self.unsent(planned) };
        let thread = Rc::clone(self);
        self.tasks.set(self.tasks.get() + 1);
        spawn_local(async move {
            thread.carry_out(&link, planned, now_ns).await;
            thread.task_done();
        });
    }

    /// The next request and the time, if one may be sent now.
    fn plan(&self) -> Option<(Planned, u64)> {
        let mut share = self.share.borrow_mut();
        let now_ns = share.clock.now_ns();
        let planned = share.planner.next(now_ns)?;
        if planned.measured {
            self.report.borrow_mut().recorder.plan(planned.planned_ns);
            self.outstanding_measured.set(self.outstanding_measured.get() + 1);
        }
        self.outstanding.set(self.outstanding.get() + 1);
        Some((planned, now_ns))
    }

    fn unsent(&self, planned: Planned) {
        if planned.measured {
            self.report.borrow_mut().recorder.unsent(planned.planned_ns);
        }
        self.settled(planned);
    }

    fn settled(&self, planned: Planned) {
        self.outstanding.set(self.outstanding.get() - 1);
        let measured = self.outstanding_measured.get();
        self.outstanding_measured.set(measured - u64::from(planned.measured));
    }

    /// Sends one request and settles it.
    async fn carry_out(&self, link: &Link, planned: Planned, sent_ns: u64) {
        let (message, id, timeout_ns, templates) = {
            let share = self.share.borrow();
            let template = share.templates.of(planned.kind);
            let (id, mut message) = (template.id(planned.index), Vec::new());
            message.reserve_exact(template.request_bytes());
            template.write(id, &mut message);
            (message, id, share.timeout_ns, std::sync::Arc::clone(&share.templates))
        };
        let rest_ns = (planned.planned_ns + timeout_ns).saturating_sub(sent_ns);
        let template = templates.of(planned.kind);
        let client = link.client.borrow().clone();
        let call = self.head.call(client, message.into(), |reply| template.check(id, reply));
        let answer = tokio::time::timeout(Duration::from_nanos(rest_ns), call).await;
        if self.over.get() {
            return; // settled already, with all that were interrupted
        }
        self.settled(planned);
        let settled_ns = self.share.borrow().clock.now_ns();
        let moments = Moments { planned_ns: planned.planned_ns, sent_ns, settled_ns };
        let mut report = self.report.borrow_mut();
        match answer {
            Ok(Ok(())) => link.answered.set(true),
            Ok(Err(ErrorKind::Code(_))) | Err(_) => {}
            Ok(Err(kind @ (ErrorKind::WrongId | ErrorKind::WrongPayload))) => {
                let target = self.share.borrow().target;
                report.fail(|| format!("an answer from {target} was a {}", kind.name()));
            }
            Ok(Err(_)) => {
                drop(report);
                // Let the connection itself say first why it failed, if it did.
                tokio::task::yield_now().await;
                report = self.report.borrow_mut();
            }
        }
        if planned.measured && !self.over.get() {
            match answer {
                Ok(Ok(())) => report.recorder.ok(moments),
                Ok(Err(kind)) => report.recorder.error(kind, planned.planned_ns, settled_ns),
                Err(_) => report.recorder.timed_out(moments, timeout_ns),
            }
        }
    }

    /// When the run is over: what is planned and cannot be sent, what was sent and interrupted.
    fn give_up(&self) {
        let mut share = self.share.borrow_mut();
        let now_ns = share.clock.now_ns();
        let mut report = self.report.borrow_mut();
        for _ in 0..self.outstanding_measured.take() {
            report.recorder.error(ErrorKind::Interrupted, now_ns, now_ns);
        }
        while let Some(planned) = share.planner.next_left(now_ns) {
            if planned.measured {
                report.recorder.plan(planned.planned_ns);
                report.recorder.unsent(planned.planned_ns);
            }
        }
    }

    fn task_done(&self) {
        self.tasks.set(self.tasks.get() - 1);
        if self.tasks.get() == 0 {
            self.idle.notify_one();
        }
    }

    fn is_planning(&self) -> bool {
        let share = self.share.borrow();
        !share.planner.is_finished(share.clock.now_ns())
    }

    fn has_link(&self) -> bool {
        self.links.borrow().iter().any(|link| link.alive.get())
    }

    fn sleep_ns(&self) -> u64 {
        let share = self.share.borrow();
        let due_ns = share.planner.due_ns().unwrap_or(0);
        due_ns.saturating_sub(share.clock.now_ns()).min(nanoseconds(TICK))
    }

    /// Looks after the run from time to time: its own stalls, and the interrupt.
    async fn watch(self: Rc<Self>) {
        self.turn(TICK, true);
        let mut drain = Duration::ZERO;
        loop {
            tokio::time::sleep(TICK).await;
            self.turn(TICK, self.is_planning());
            if self.share.borrow().interrupt.is_triggered() {
                self.share.borrow_mut().planner.stop();
                drain += TICK;
            }
            if drain >= INTERRUPTED_DRAIN_MAX {
                self.over.set(true);
                self.idle.notify_one();
                return;
            }
        }
    }

    fn turn(&self, asked: Duration, planning: bool) {
        let share = self.share.borrow();
        let (now_ns, from_ns) = (share.clock.now_ns(), share.planner.measure_from_ns());
        share.live.publish(&self.report.borrow().recorder);
        self.report.borrow_mut().meter.turn(now_ns, nanoseconds(asked), from_ns, planning);
    }
}

/// A [`Timer`] that a task can wait on.
struct Sleeper(AsyncFd<Timer>);

impl Sleeper {
    /// Tokio deprecates the safe constructor because of descriptors that change under it; a
    /// `Timer` keeps its own, so the `unsafe` one would promise what is already so.
    #[allow(deprecated)]
    fn new() -> io::Result<Self> {
        Ok(Self(AsyncFd::with_interest(Timer::new()?, tokio::io::Interest::READABLE)?))
    }

    async fn sleep(&self, ns: u64) -> io::Result<()> {
        self.0.get_ref().arm(ns)?;
        loop {
            let mut ready = self.0.readable().await?;
            if self.0.get_ref().has_fired()? {
                return Ok(());
            }
            ready.clear_ready();
        }
    }
}
