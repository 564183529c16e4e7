//! The one handler: from a request to what it needs.
//!
//! A [`Plan`] says *what* a request needs (nothing, time, a core, a thread that may sleep) and
//! never *how* to get it: with one blocking `call()` for all, an event loop would stand still for
//! every request that waits, and with an `async` one a thread would carry a runtime.

use std::time::Duration;

use crate::job::{Block, Compute};
use crate::message::{Code, Request, Response, Work};

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
    /// Time to pass, and no thread meanwhile; then this reply.
    Wait(Duration, Response),
    /// A core.
    Compute(Compute),
    /// A thread that may sleep in a system call.
    Block(Block),
}

/// The service of the contract. It holds no state yet; servers pass it on as if it did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Service;

impl Service {
    /// What `request` needs. A request that asks for too much, or for nothing, needs only to be
    /// told so.
    pub fn plan(self, request: Request) -> Plan {
        let id = request.id;
        match request.work {
            Some(Work::Echo(payload)) => Plan::Reply(Response::ok(id, payload)),
            Some(Work::WaitUs(us)) => match within(id, "wait_us", us, 0..=WAIT_US_MAX) {
                Ok(()) => Plan::Wait(Duration::from_micros(us), Response::ok(id, Vec::new())),
                Err(refusal) => Plan::Reply(refusal),
            },
            Some(Work::ComputeRounds(rounds)) => {
                match within(id, "compute_rounds", rounds.into(), 1..=COMPUTE_ROUNDS_MAX) {
                    Ok(()) => Plan::Compute(Compute { id, rounds }),
                    Err(refusal) => Plan::Reply(refusal),
                }
            }
            Some(Work::BlockUs(us)) => match within(id, "block_us", us, 0..=BLOCK_US_MAX) {
                Ok(()) => Plan::Block(Block { id, duration: Duration::from_micros(us) }),
                Err(refusal) => Plan::Reply(refusal),
            },
            None => Plan::Reply(Response::error(
                id,
                Code::InvalidArgument,
                "work is not set: set one of echo, wait_us, compute_rounds, block_us",
            )),
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
    use super::*;

    fn plan(work: Option<Work>) -> Plan {
        Service.plan(Request { id: 7, timeout_ms: 0, work })
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
            Plan::Wait(Duration::from_mins(1), Response::ok(7, vec![]))
        );
        assert_eq!(
            plan(Some(Work::ComputeRounds(1_000_000))),
            Plan::Compute(Compute { id: 7, rounds: 1_000_000 })
        );
        assert_eq!(
            plan(Some(Work::BlockUs(BLOCK_US_MAX))),
            Plan::Block(Block { id: 7, duration: Duration::from_mins(1) })
        );
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
        refused(None, "work is not set: set one of echo, wait_us, compute_rounds, block_us");
    }
}
