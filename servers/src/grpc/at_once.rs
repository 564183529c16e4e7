//! Calls that are carried out in the task of their connection, as far as they go without waiting:
//! their answers go out together, in one write. It pays with a look at what has begun after each
//! poll; a task of its own, with its wake-ups, is for calls that have to wait.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Task, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use hyper::rt::Executor;

/// How long a connection is kept from its frames by its calls. Those that are left then go on
/// without it: a worker each, if one is free.
const TURN: Duration = Duration::from_millis(1);

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The calls of a connection that nobody has polled yet: no more than come in one poll of it. Clones
/// are handles on the same.
#[derive(Clone, Default)]
pub(super) struct Begun(Arc<Mutex<VecDeque<Call>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Begun {
    fn execute(&self, call: F) {
        self.calls().push_back(Box::pin(call));
    }
}

impl Begun {
    fn calls(&self) -> MutexGuard<'_, VecDeque<Call>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.calls().is_empty()
    }

    /// A call may begin another: none is carried out while the lock is held.
    fn next(&self) -> Option<Call> {
        self.calls().pop_front()
    }
}

/// A connection's way to poll itself and what it has begun.
pub(super) struct AtOnce {
    begun: Begun,
    /// What the connection wakes its task by, once it is polled.
    nudge: Option<(Arc<Nudge>, Waker)>,
    turn: Duration,
}

/// Wakes a connection's task, but for what happens while that carries out calls: it then polls the
/// connection anyhow.
struct Nudge {
    task: Waker,
    is_awake: AtomicBool,
}

impl Nudge {
    fn to(task: &Waker) -> (Arc<Self>, Waker) {
        let nudge = Arc::new(Self { task: task.clone(), is_awake: AtomicBool::new(false) });
        (nudge.clone(), nudge.into())
    }
}

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// Who wakes has made known before what for, by a lock that the next poll takes too: where it
    /// finds the task awake, that poll is still to come, and sees it.
    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_awake.load(Relaxed) {
            self.task.wake_by_ref();
        }
    }
}

impl Default for AtOnce {
    fn default() -> Self {
        Self::with_turns_of(TURN)
    }
}

impl AtOnce {
    fn with_turns_of(turn: Duration) -> Self {
        Self { begun: Begun::default(), nudge: None, turn }
    }

    /// Where the connection says what has begun.
    pub(super) fn begun(&self) -> Begun {
        self.begun.clone()
    }

    /// Polls the connection, carries out what it has begun, and lets the answers go. What has come
    /// meanwhile has its turn when others have had theirs.
    pub(super) fn poll<C: Future>(
        &mut self,
        mut connection: Pin<&mut C>,
        task: &mut Task<'_>,
    ) -> Poll<C::Output> {
        let Self { begun, nudge, turn } = self;
        let known = nudge.take().filter(|(nudge, _)| nudge.task.will_wake(task.waker()));
        let (nudge, waker) = nudge.insert(known.unwrap_or_else(|| Nudge::to(task.waker())));
        let polled = connection.as_mut().poll(&mut Task::from_waker(waker));
        if polled.is_ready() || begun.is_empty() {
            return polled;
        }
        nudge.is_awake.store(true, Relaxed);
        let ends = Instant::now() + *turn;
        while let Some(call) = begun.next() {
            if Instant::now() < ends {
                carry_out(call);
            } else {
                tokio::spawn(call);
            }
        }
        nudge.is_awake.store(false, Relaxed);
        let polled = connection.poll(&mut Task::from_waker(waker));
        if polled.is_pending() && !begun.is_empty() {
            nudge.task.wake_by_ref();
        }
        polled
    }
}

/// Calls that a connection leaves behind hold handles on their own queue: they would hold it, and
/// all that they have of the connection, for ever.
impl Drop for AtOnce {
    fn drop(&mut self) {
        while let Some(call) = self.begun.next() {
            drop(call);
        }
    }
}

/// As far as it goes without waiting; the rest is a task of the runtime.
fn carry_out(mut call: Call) {
    // A panic is the call's own affair here too, also where no layer catches it.
    let polled = catch_unwind(AssertUnwindSafe(move || {
        // Nobody needs to be woken: a task that begins is polled first of all.
        let mut nobody = Task::from_waker(Waker::noop());
        call.as_mut().poll(&mut nobody).is_pending().then_some(call)
    }));
    if let Ok(Some(call)) = polled {
        tokio::spawn(call);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::oneshot;

    use super::*;

    /// A task, and how often it was woken.
    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// Begins a call for each of `calls` when it is polled first, and says when it is polled.
    fn connection<F>(begun: Begun, calls: Vec<F>, polls: &AtomicUsize) -> impl Future<Output = ()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut calls = Some(calls);
        poll_fn(move |_| {
            polls.fetch_add(1, Relaxed);
            calls.take().into_iter().flatten().for_each(|call| begun.execute(call));
            Poll::Pending
        })
    }

    /// However slow the machine is, the calls of a test are carried out within one turn.
    fn unhurried() -> AtOnce {
        AtOnce::with_turns_of(Duration::from_hours(1))
    }

    #[test]
    fn calls_are_carried_out_in_order_and_then_the_connection_goes_on() {
        let (mut at_once, polls) = (unhurried(), AtomicUsize::new(0));
        let order = Arc::new(Mutex::new(Vec::new()));
        let call = |id| {
            let order = order.clone();
            async move { order.lock().unwrap().push(id) }
        };
        let mut connection = pin!(connection(at_once.begun(), vec![call(1), call(2)], &polls));
        let mut task = Task::from_waker(Waker::noop());
        assert!(at_once.poll(connection.as_mut(), &mut task).is_pending());
        assert_eq!(*order.lock().unwrap(), [1, 2]);
        assert_eq!(polls.load(Relaxed), 2, "once for both");
    }

    /// Answers wake the connection: it is polled for them anyhow.
    #[test]
    fn the_task_is_not_woken_for_its_own_calls_but_for_all_others() {
        let (mut at_once, counted) = (unhurried(), Arc::new(Counted::default()));
        let waker = Waker::from(counted.clone());
        let given = Arc::new(Mutex::new(None::<Waker>));
        let begun = at_once.begun();
        let mut has_begun = false;
        let mut connection = pin!(poll_fn(|task| {
            *given.lock().unwrap() = Some(task.waker().clone());
            if !std::mem::replace(&mut has_begun, true) {
                let given = given.clone();
                begun.execute(async move { given.lock().unwrap().as_ref().unwrap().wake_by_ref() });
            }
            Poll::<()>::Pending
        }));
        let mut task = Task::from_waker(&waker);
        assert!(at_once.poll(connection.as_mut(), &mut task).is_pending());
        assert_eq!(counted.0.load(Relaxed), 0);
        given.lock().unwrap().as_ref().unwrap().wake_by_ref();
        assert_eq!(counted.0.load(Relaxed), 1);
        // Polled by another task, that one is woken.
        let other = Arc::new(Counted::default());
        let waker = Waker::from(other.clone());
        let mut task = Task::from_waker(&waker);
        assert!(at_once.poll(connection.as_mut(), &mut task).is_pending());
        given.lock().unwrap().as_ref().unwrap().wake_by_ref();
        assert_eq!((counted.0.load(Relaxed), other.0.load(Relaxed)), (1, 1));
    }

    #[tokio::test]
    async fn what_waits_goes_on_and_a_panic_is_its_calls_own() {
        let (mut at_once, polls) = (unhurried(), AtomicUsize::new(0));
        let (go, gone) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel::<()>();
        let waits: Call = Box::pin(async move {
            let _ = gone.await;
            let _ = tell.send(());
        });
        let (again, carried_out) = oneshot::channel::<()>();
        let ends: Call = Box::pin(async move { again.send(()).unwrap() });
        let panics: Call = Box::pin(async { panic!("as a call may") });
        let mut connection = pin!(connection(at_once.begun(), vec![panics, waits, ends], &polls));
        poll_fn(|task| Poll::Ready(at_once.poll(connection.as_mut(), task).is_pending())).await;
        carried_out.await.unwrap();
        go.send(()).unwrap();
        told.await.unwrap();
    }

    #[test]
    fn a_connection_that_ends_leaves_no_call_behind() {
        let mut at_once = AtOnce::default();
        let (begun, held) = (at_once.begun(), Arc::new(()));
        // As hyper's calls do, each has a handle on the queue that it stands in.
        let call = |begun: Begun, held: Arc<()>| async move { drop((begun, held)) };
        let mut connection = pin!(poll_fn(|_| {
            begun.execute(call(begun.clone(), held.clone()));
            Poll::Ready(())
        }));
        let mut task = Task::from_waker(Waker::noop());
        assert!(at_once.poll(connection.as_mut(), &mut task).is_ready());
        assert_eq!(Arc::strong_count(&held), 2);
        drop(at_once);
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test]
    async fn a_turn_is_not_longer_for_more_calls() {
        let (mut at_once, polls) = (AtOnce::default(), AtomicUsize::new(0));
        let order = Arc::new(Mutex::new(Vec::new()));
        let call = |id| {
            let order = order.clone();
            async move {
                order.lock().unwrap().push(id);
                std::thread::sleep(2 * TURN);
            }
        };
        let mut connection = pin!(connection(at_once.begun(), vec![call(1), call(2)], &polls));
        poll_fn(|task| Poll::Ready(at_once.poll(connection.as_mut(), task).is_pending())).await;
        assert_eq!(*order.lock().unwrap(), [1], "the other is a task");
        tokio::task::yield_now().await;
        assert_eq!(*order.lock().unwrap(), [1, 2]);
    }

    #[test]
    fn what_comes_meanwhile_has_the_next_turn() {
        let (mut at_once, counted) = (unhurried(), Arc::new(Counted::default()));
        let (begun, done) = (at_once.begun(), Arc::new(AtomicUsize::new(0)));
        let mut connection = pin!(poll_fn(|_| {
            let done = done.clone();
            begun.execute(async move {
                done.fetch_add(1, Relaxed);
            });
            Poll::<()>::Pending
        }));
        let waker = Waker::from(counted.clone());
        let mut task = Task::from_waker(&waker);
        assert!(at_once.poll(connection.as_mut(), &mut task).is_pending());
        assert_eq!((done.load(Relaxed), counted.0.load(Relaxed)), (1, 1));
        assert!(at_once.poll(connection.as_mut(), &mut task).is_pending());
        assert_eq!((done.load(Relaxed), counted.0.load(Relaxed)), (3, 2));
    }

    /// As HTTP/2 does for an upgrade.
    #[test]
    fn a_call_may_begin_another() {
        let (mut at_once, polls) = (unhurried(), AtomicUsize::new(0));
        let (begun, done) = (at_once.begun(), Arc::new(AtomicUsize::new(0)));
        let inner = done.clone();
        let call = async move {
            begun.execute(async move {
                inner.fetch_add(1, Relaxed);
            });
        };
        let mut connection = pin!(connection(at_once.begun(), vec![call], &polls));
        let mut task = Task::from_waker(Waker::noop());
        assert!(at_once.poll(connection.as_mut(), &mut task).is_pending());
        assert_eq!(done.load(Relaxed), 1);
    }
}
