//! Work that needs a core or a thread: what to do, not where.
//!
//! A job is a value that can be sent to wherever the model runs such things, and `run` there.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::message::Response;

/// Hashing that keeps a core busy.
#[derive(Debug, PartialEq, Eq)]
pub struct Compute {
    /// The request's id: what is hashed first.
    pub id: u64,
    /// How many hashes in all, at least one.
    pub rounds: u32,
}

impl Compute {
    /// Hashes; a round takes some tenths of a microsecond.
    pub fn run(self) -> Response {
        Response::ok(self.id, digest(self.id, self.rounds).to_vec())
    }
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
}

impl Block {
    /// Sleeps in `clock_nanosleep(2)`, as a thread would in a read from a slow disk.
    pub fn run(self) -> Response {
        std::thread::sleep(self.duration);
        Response::ok(self.id, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect()
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
