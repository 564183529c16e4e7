//! Work that needs a core or a thread: what to do, not where.
//!
//! A job is a value that can be sent to wherever the model runs such things, and `run` there. It
//! always comes back with a response: a thread that is lent to it is given back whole, whether the
//! work panics or nobody waits for it any more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::message::{Code, Response};
use crate::spare;

/// Hashing that keeps a core busy.
#[derive(Debug, PartialEq, Eq)]
pub struct Compute {
    /// The request's id: what is hashed first.
    pub id: u64,
    /// How many hashes in all, at least one.
    pub rounds: u32,
    /// When nobody waits for it any more.
    pub deadline: Option<Instant>,
    /// What it begins with.
    pub fault: Fault,
}

/// A thing that goes wrong where work is done, given the request's id; commonly nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fault(pub Option<fn(u64)>);

/// It is no part of what a job means.
impl PartialEq for Fault {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Fault {}

impl Compute {
    /// Hashes; a round takes some tenths of a microsecond.
    pub fn run(self) -> Response {
        guarded(self.id, self.deadline, self.fault, || {
            Response::ok(self.id, spare::copy_of(&digest(self.id, self.rounds)))
        })
    }
}

/// Does the work of request `id`, unless its client's patience has ended. What panics is the
/// server's fault, and told to the client; it reaches no other request.
pub fn guarded(
    id: u64,
    deadline: Option<Instant>,
    fault: Fault,
    work: impl FnOnce() -> Response,
) -> Response {
    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
        return expired(id);
    }
    // What the work leaves behind half done is its own: it borrows nothing that outlives it.
    let work = AssertUnwindSafe(|| {
        fault.0.into_iter().for_each(|fault| fault(id));
        work()
    });
    catch_unwind(work).unwrap_or_else(|_| panicked(id))
}

/// The response to a request that was not begun in time.
pub fn expired(id: u64) -> Response {
    Response::error(id, Code::DeadlineExceeded, "timeout_ms had passed before the work began")
}

/// The response to a request whose handler panicked.
pub fn panicked(id: u64) -> Response {
    Response::error(id, Code::Internal, "the handler panicked; the server's log has more")
}

/// SHA-256 of `id` as 8 big-endian bytes, then of the digest, `rounds` hashes in all: a client
/// checks the payload of a `compute_rounds` response against this.
pub fn digest(id: u64, rounds: u32) -> [u8; 32] {
    let first = Sha256::digest(id.to_be_bytes());
    (1..rounds).fold(first, |digest, _| Sha256::digest(digest)).into()
}

/// A system call that keeps its thread.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// The request's id.
    pub id: u64,
    /// How long the call takes.
    pub duration: Duration,
    /// When nobody waits for it any more.
    pub deadline: Option<Instant>,
    /// What it begins with.
    pub fault: Fault,
}

impl Block {
    /// Sleeps in `clock_nanosleep(2)`, as a thread would in a read from a slow disk.
    pub fn run(self) -> Response {
        guarded(self.id, self.deadline, self.fault, || {
            std::thread::sleep(self.duration);
            Response::ok(self.id, Vec::new())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    #[test]
    fn a_job_that_nobody_waits_for_is_not_done() {
        let past = Instant::now().checked_sub(Duration::from_millis(1));
        let job = Block {
            id: 3,
            duration: Duration::from_hours(1),
            deadline: past,
            fault: Fault::default(),
        };
        assert_eq!((job.run().id, expired(3).code), (3, Code::DeadlineExceeded as u32));
        let in_time = Some(Instant::now() + Duration::from_hours(1));
        let job = Compute { id: 3, rounds: 1, deadline: in_time, fault: Fault::default() };
        assert_eq!(job.run().code, 0);
    }

    /// Made by Python's hashlib: `sha256((42).to_bytes(8))`, and the same of its digest.
    #[test]
    fn digests_are_those_of_another_implementation() {
        assert_eq!(
            digest(42, 1).to_vec(),
            bytes("a6bb133cb1e3638ad7b8a3ff0539668e9e56f9b850ef1b2a810f5422eaa6c323")
        );
        assert_eq!(
            digest(42, 2).to_vec(),
            bytes("931fcbd5eb0609752335000b5be4370bf8b98d4e0d2a5fb6b49291b536855401")
        );
    }
}
