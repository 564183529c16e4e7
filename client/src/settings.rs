//! What a client does unless it is told otherwise, each number with its reason. It pays with one
//! type for all layers: none of them is of use alone.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower::retry::budget::TpsBudget;
use tower::util::rng::{HasherRng, Rng};

use crate::Resilient;
use crate::backoff::Backoff;
use crate::breaker::{Breaker, BreakerLayer, Limits};
use crate::deadline::DeadlineLayer;
use crate::hedge::HedgeLayer;
use crate::retry::{Policy, RetryLayer};

/// For a call that says none itself: longer than people wait, shorter than anything waits for ever.
/// A stream that is to live longer says so.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// The first attempt and two more: what three do not bring, a fourth seldom does, and each
/// multiplies the load of a server that is down.
pub const ATTEMPTS_MAX: u32 = 3;
/// Twice a round trip across a continent: less asks again before anything can have changed.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// A server that starts anew is back within seconds, and should not wait for its clients then.
pub const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Most requests are smaller; a hundred calls in flight then hold 6 MiB at the most.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// One retry for so many calls: a server that fails them all sees a fifth more, not three times as
/// many.
pub const RETRY_ONE_IN: u32 = 5;
/// Beside these, so many a second: a client that asks once a minute has no calls to save up from.
pub const RETRIES_PER_SECOND: u32 = 1;
/// For how long a call counts.
const BUDGET_WINDOW: Duration = Duration::from_secs(10);
/// Five in a row are no accident; five seconds let a server start; three answers are no accident
/// either.
pub const BREAKER: Limits = Limits { failures: 5, open_for: Duration::from_secs(5), probes: 3 };

/// What a [`Resilient`] channel is made of.
pub struct Builder {
    timeout: Option<Duration>,
    attempts_max: u32,
    backoff: (Duration, Duration),
    request_bytes_max: usize,
    budget: (u32, u32),
    breaker: Limits,
    hedge_after: Option<Duration>,
    idempotent: HashSet<String>,
    random: Box<dyn Rng + Send>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            timeout: Some(TIMEOUT),
            attempts_max: ATTEMPTS_MAX,
            backoff: (BACKOFF_FIRST, BACKOFF_MAX),
            request_bytes_max: REQUEST_BYTES_MAX,
            budget: (RETRY_ONE_IN, RETRIES_PER_SECOND),
            breaker: BREAKER,
            hedge_after: None,
            idempotent: HashSet::new(),
            random: Box::new(HasherRng::default()),
        }
    }
}

impl Builder {
    /// How long a call may take, all of its attempts together, unless its request says it with
    /// `set_timeout`; nothing: as long as it takes ([`TIMEOUT`]).
    #[must_use]
    pub fn timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        Self { timeout: timeout.into(), ..self }
    }

    /// A method that may be carried out twice, by its path: `/helloworld.Greeter/SayHello`. Others
    /// are tried again only when they provably were not begun (no method is, unless it is marked).
    #[must_use]
    pub fn idempotent(mut self, path: impl Into<String>) -> Self {
        self.idempotent.insert(path.into());
        self
    }

    /// How often a call is sent at the most, the first time included ([`ATTEMPTS_MAX`]).
    #[must_use]
    pub fn attempts_max(self, attempts_max: u32) -> Self {
        Self { attempts_max, ..self }
    }

    /// The wait before the first retry is random, up to `first`; each further one up to twice as
    /// much, until `max` ([`BACKOFF_FIRST`], [`BACKOFF_MAX`]).
    #[must_use]
    pub fn backoff(self, first: Duration, max: Duration) -> Self {
        Self { backoff: (first, max), ..self }
    }

    /// Where the randomness of the back-off is from (the standard library's seed, unless told).
    #[must_use]
    pub fn random(self, random: impl Rng + Send + 'static) -> Self {
        Self { random: Box::new(random), ..self }
    }

    /// How much of a request is kept to be sent again; one that is larger is sent once
    /// ([`REQUEST_BYTES_MAX`]).
    #[must_use]
    pub fn request_bytes_max(self, request_bytes_max: usize) -> Self {
        Self { request_bytes_max, ..self }
    }

    /// Retries and hedges, all calls of this client and its clones together: one for so many calls
    /// of the last ten seconds (0: none for calls), and so many a second beside them, saved up over
    /// these ten seconds ([`RETRY_ONE_IN`], [`RETRIES_PER_SECOND`]).
    #[must_use]
    pub fn budget(self, one_in: u32, per_second: u32) -> Self {
        Self { budget: (one_in, per_second), ..self }
    }

    /// When the breaker opens, and closes again ([`BREAKER`]).
    #[must_use]
    pub fn breaker(self, breaker: Limits) -> Self {
        Self { breaker, ..self }
    }

    /// Sends an idempotent call a second time if it has had no answer for so long (off).
    #[must_use]
    pub fn hedge_after(self, delay: impl Into<Option<Duration>>) -> Self {
        Self { hedge_after: delay.into(), ..self }
    }

    /// Around this channel, whose clones must be handles on the same.
    pub fn over<S>(self, channel: S) -> Resilient<S> {
        let (first, max) = self.backoff;
        let budget = budget(self.budget.0, self.budget.1);
        let policy = Policy {
            attempts_max: self.attempts_max,
            request_bytes_max: self.request_bytes_max,
            idempotent: self.idempotent,
            backoff: Backoff { first, max, random: Mutex::new(self.random) },
            budget: budget.clone(),
        };
        let layers = Layers {
            deadline: DeadlineLayer { timeout: self.timeout },
            retry: RetryLayer(Arc::new(policy)),
            hedge: HedgeLayer { after: self.hedge_after, budget },
            breaker: BreakerLayer(Breaker::new(self.breaker)),
        };
        Resilient::new(channel, layers)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// The layers with something to say, made.
pub(crate) struct Layers {
    pub(crate) deadline: DeadlineLayer,
    pub(crate) retry: RetryLayer,
    pub(crate) hedge: HedgeLayer,
    pub(crate) breaker: BreakerLayer,
}

/// tower takes a share and makes it a whole number of calls, rounded down: a half above the number
/// meant keeps it what it was through the division.
#[allow(clippy::cast_possible_truncation)] // a share, not a count
fn budget(one_in: u32, per_second: u32) -> Arc<TpsBudget> {
    let share = match one_in {
        0 => 0.0,
        1 => 1.0,
        more => (1.0 / (f64::from(more) + 0.5)) as f32,
    };
    Arc::new(TpsBudget::new(BUDGET_WINDOW, per_second.min(PER_SECOND_MAX), share))
}

/// tower's own bound is above: nobody means that many.
const PER_SECOND_MAX: u32 = 1_000_000;
