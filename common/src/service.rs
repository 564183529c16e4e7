//! The one handler: from a request to what it needs.
//!
//! A [`Plan`] says *what* a request needs (nothing, time, a core, a thread that may sleep) and
//! never *how* to get it: with one blocking `call()` for all, an event loop would stand still for
//! every request that waits, and with an `async` one a thread would carry a runtime.

use std::time::{Duration, Instant};

use crate::job::{Block, Compute, Fault, expired, guarded};
use crate::message::{Code, Request, Response, Work};
use crate::spare;
use crate::sync::Arc;
use crate::users::{UserError, Users};

/// The longest `wait_us`: a minute.
pub const WAIT_US_MAX: u64 = 60_000_000;
/// The longest `block_us`: a minute.
pub const BLOCK_US_MAX: u64 = 60_000_000;
/// The most `compute_rounds`: some tenths of a second of one core.
pub const COMPUTE_ROUNDS_MAX: u64 = 1_000_000;

/// What a request needs.
#[derive(Debug, PartialEq)]
pub enum Plan {
    /// Nothing: here is the reply.
    Reply(Response),
    /// Time to pass, and no thread meanwhile; then the reply.
    Wait {
        /// How long.
        duration: Duration,
        /// When nobody waits for it any more, unless it has begun.
        deadline: Option<Instant>,
        /// What to say then.
        response: Response,
    },
    /// A core.
    Compute(Compute),
    /// A thread that may sleep in a system call.
    Block(Block),
}

impl Plan {
    /// The request that it is for.
    pub fn id(&self) -> u64 {
        match self {
            Self::Reply(response) | Self::Wait { response, .. } => response.id,
            Self::Compute(job) => job.id,
            Self::Block(job) => job.id,
        }
    }

    /// What is left to do for a request that had to wait for its turn until `now`. (Jobs look at
    /// the clock themselves, when they are run.)
    #[must_use]
    pub fn begun_at(self, now: Instant) -> Self {
        match self {
            Self::Wait { deadline: Some(deadline), response, .. } if now >= deadline => {
                Self::Reply(expired(response.id))
            }
            plan => plan,
        }
    }
}

/// The response to request `id` where too many are in flight, and it is not to wait.
pub fn overloaded(id: u64) -> Response {
    Response::error(id, Code::ResourceExhausted, "too many requests in flight; try later")
}

/// The service of the contract; clones are handles on the same.
#[derive(Clone, Debug, Default)]
pub struct Service {
    fault: Fault,
    /// What all requests share.
    users: Arc<Users>,
}

impl Service {
    /// One that does what the contract says.
    pub fn new() -> Self {
        Self::default()
    }

    /// One whose work begins with `fault`, which is given the request's id and may panic: for
    /// tests of who else gets to feel that.
    pub fn with_fault(fault: fn(u64)) -> Self {
        Self { fault: Fault(Some(fault)), ..Self::default() }
    }

    /// What `request` needs, whose client wants it begun before `deadline`. A request that asks
    /// for too much, or for nothing, or that comes too late, needs only to be told so.
    pub fn plan(&self, request: Request, deadline: Option<Instant>) -> Plan {
        let (id, fault) = (request.id, self.fault);
        match request.work {
            Some(Work::Echo(payload)) => {
                Plan::Reply(guarded(id, deadline, fault, || Response::ok(id, payload)))
            }
            Some(Work::WaitUs(us)) => match within(id, "wait_us", us, 0..=WAIT_US_MAX) {
                Ok(()) => match guarded(id, deadline, fault, || Response::ok(id, Vec::new())) {
                    response if response.code == Code::Ok as u32 => {
                        let duration = Duration::from_micros(us);
                        Plan::Wait { duration, deadline, response }
                    }
                    refusal => Plan::Reply(refusal),
                },
                Err(refusal) => Plan::Reply(refusal),
            },
            Some(Work::ComputeRounds(rounds)) => {
                match within(id, "compute_rounds", rounds.into(), 1..=COMPUTE_ROUNDS_MAX) {
                    Ok(()) => Plan::Compute(Compute { id, rounds, deadline, fault }),
                    Err(refusal) => Plan::Reply(refusal),
                }
            }
            Some(Work::BlockUs(us)) => match within(id, "block_us", us, 0..=BLOCK_US_MAX) {
                Ok(()) => {
                    let duration = Duration::from_micros(us);
                    Plan::Block(Block { id, duration, deadline, fault })
                }
                Err(refusal) => Plan::Reply(refusal),
            },
            Some(Work::GetUser(user)) => {
                Plan::Reply(guarded(id, deadline, fault, || self.user(id, &user)))
            }
            None => Plan::Reply(Response::error(
                id,
                Code::InvalidArgument,
                "work is not set: set one of echo, wait_us, compute_rounds, block_us, get_user",
            )),
        }
    }

    fn user(&self, id: u64, user: &str) -> Response {
        match self.users.find(user) {
            Ok(found) => Response::ok(id, spare::copy_of(&found)),
            Err(error @ UserError::NotFound(_)) => {
                Response::error(id, Code::NotFound, error.to_string())
            }
            Err(error) => Response::error(id, Code::InvalidArgument, error.to_string()),
        }
    }
}

fn within(
    id: u64,
    field: &str,
    value: u64,
    limits: std::ops::RangeInclusive<u64>,
) -> Result<(), Response> {
    if limits.contains(&value) {
        return Ok(());
    }
    let (least, most) = limits.into_inner();
    let message = if value > most {
        format!("{field} is {value}, above the limit of {most}")
    } else {
        format!("{field} is {value}, below the limit of {least}")
    };
    Err(Response::error(id, Code::InvalidArgument, message))
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::users::user;

    fn plan(work: Option<Work>) -> Plan {
        Service::new().plan(Request { id: 7, timeout_ms: 0, work }, None)
    }

    #[track_caller]
    fn refused(work: Option<Work>, message: &str) {
        let expected = Response::error(7, Code::InvalidArgument, message);
        assert_eq!(plan(work), Plan::Reply(expected));
    }

    #[test]
    fn each_kind_of_work_up_to_its_limit() {
        assert_eq!(plan(Some(Work::Echo(vec![1]))), Plan::Reply(Response::ok(7, vec![1])));
        assert_eq!(
            plan(Some(Work::WaitUs(WAIT_US_MAX))),
            Plan::Wait {
                duration: Duration::from_mins(1),
                deadline: None,
                response: Response::ok(7, vec![])
            }
        );
        assert_eq!(
            plan(Some(Work::ComputeRounds(1_000_000))),
            Plan::Compute(Compute {
                id: 7,
                rounds: 1_000_000,
                deadline: None,
                fault: Fault::default()
            })
        );
        assert_eq!(
            plan(Some(Work::BlockUs(BLOCK_US_MAX))),
            Plan::Block(Block {
                id: 7,
                duration: Duration::from_mins(1),
                deadline: None,
                fault: Fault::default()
            })
        );
    }

    fn all_kinds() -> [Work; 5] {
        let user = Work::GetUser("1".to_owned());
        [Work::Echo(vec![]), Work::WaitUs(1), Work::ComputeRounds(1), Work::BlockUs(1), user]
    }

    /// What comes of the work, without the time it takes.
    fn answer(plan: Plan) -> Response {
        match plan {
            Plan::Reply(response) | Plan::Wait { response, .. } => response,
            Plan::Compute(job) => job.run(),
            Plan::Block(job) => job.run(),
        }
    }

    #[test]
    fn what_comes_too_late_is_not_begun() {
        let (past, later) = (Instant::now(), Instant::now() + Duration::from_hours(1));
        for work in all_kinds() {
            let request = Request { id: 7, timeout_ms: 1, work: Some(work) };
            let late = answer(Service::new().plan(request.clone(), Some(past)));
            assert_eq!((late.id, late.code), (7, Code::DeadlineExceeded as u32), "{request:?}");
            assert_eq!(answer(Service::new().plan(request, Some(later))).code, 0);
        }
    }

    #[test]
    fn what_waits_for_its_turn_for_too_long_is_not_begun() {
        let began = Instant::now();
        let deadline = began + Duration::from_secs(1);
        for work in all_kinds() {
            // A job finds out where it is run; a reply was ready before it had to wait.
            let expected = if matches!(work, Work::WaitUs(_)) { 4 } else { 0 };
            let request = Request { id: 7, timeout_ms: 1_000, work: Some(work) };
            let plan = |at| Service::new().plan(request.clone(), Some(deadline)).begun_at(at);
            assert_eq!(plan(began), Service::new().plan(request.clone(), Some(deadline)));
            assert_eq!(answer(plan(deadline)).code, expected, "{request:?}");
        }
    }

    #[test]
    fn a_panic_is_told_to_its_own_client() {
        let service = Service::with_fault(|id| assert_ne!(id, 7, "on purpose"));
        for work in all_kinds() {
            let request = Request { id: 7, timeout_ms: 0, work: Some(work) };
            let panicked = answer(service.plan(request.clone(), None));
            assert_eq!((panicked.id, panicked.code), (7, Code::Internal as u32), "{request:?}");
            assert_eq!(answer(service.plan(Request { id: 8, ..request }, None)).code, 0);
        }
    }

    #[test]
    fn a_user_is_found_or_not_or_the_id_is_wrong() {
        let answered = |id: &str| answer(plan(Some(Work::GetUser(id.to_owned()))));
        assert_eq!(answered("7").payload, user(7).unwrap().encode_to_vec());
        assert_eq!(answered("0").code, Code::NotFound as u32);
        assert_eq!(answered("seven").code, Code::InvalidArgument as u32);
    }

    #[test]
    fn clones_share_their_users() {
        let service = Service::new();
        assert!(Arc::ptr_eq(&service.users, &service.clone().users));
    }

    #[test]
    fn beyond_a_limit_the_message_names_field_value_and_limit() {
        refused(Some(Work::WaitUs(60_000_001)), "wait_us is 60000001, above the limit of 60000000");
        refused(
            Some(Work::ComputeRounds(1_000_001)),
            "compute_rounds is 1000001, above the limit of 1000000",
        );
        refused(Some(Work::ComputeRounds(0)), "compute_rounds is 0, below the limit of 1");
        refused(
            Some(Work::BlockUs(u64::MAX)),
            "block_us is 18446744073709551615, above the limit of 60000000",
        );
        refused(
            None,
            "work is not set: set one of echo, wait_us, compute_rounds, block_us, get_user",
        );
    }
}
