//! The messages of the contract, generated from `proto/quintet/v1/`.

/// The generated code, as prost writes it.
#[allow(missing_docs, unreachable_pub, clippy::pedantic)] // not ours to style
mod generated {
    include!(concat!(env!("OUT_DIR"), "/quintet.v1.rs"));
}

pub use generated::request::Work;
pub use generated::{
    Chunk, Digest, Event, Published, Request, Response, Subscription, UserRequest, UserResponse,
};

/// The codes of `google.rpc.Code` that a server of this project answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    /// The work was done.
    Ok = 0,
    /// The request asks for something that no server would do.
    InvalidArgument = 3,
    /// The client's `timeout_ms` had passed before the work began.
    DeadlineExceeded = 4,
    /// What was asked for is not there.
    NotFound = 5,
    /// A limit was reached: of a frame, of connections, of a queue.
    ResourceExhausted = 8,
    /// The server is at fault.
    Internal = 13,
}

impl Response {
    /// The work of request `id` was done, and this is what came of it.
    pub fn ok(id: u64, payload: Vec<u8>) -> Self {
        Self { id, code: Code::Ok as u32, message: String::new(), payload }
    }

    /// The work of request `id` was not done; `message` says why, to a person.
    pub fn error(id: u64, code: Code, message: impl Into<String>) -> Self {
        Self { id, code: code as u32, message: message.into(), payload: Vec::new() }
    }
}
