//! One line of the log for each call: method, code, duration, peer, request id. It pays with that
//! line; neither metadata nor messages are ever in it, so nothing secret is.

use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use opentelemetry::trace::SpanContext;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use tonic::Code;

use super::observe::{Observed, Observer};
use super::{Peer, codes};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer than anybody's identifiers: two UUIDs and a word fit.
const REQUEST_ID_BYTES_MAX: usize = 96;
/// What a line shows of a path; the longest method here has half of it.
const METHOD_BYTES_MAX: usize = 128;

/// The observer that logs.
#[derive(Clone, Copy, Debug)]
pub(in crate::grpc) struct Logging;

/// What a line will say.
#[derive(Debug)]
pub(in crate::grpc) struct Line {
    began: Instant,
    method: String,
    peer: Option<Peer>,
    id: HeaderValue,
    /// Where tracing is on.
    trace: Option<SpanContext>,
}

impl Observer for Logging {
    type Call = Line;

    fn begins<B>(&self, request: &mut Request<B>) -> Line {
        // A path has no control characters, and is ASCII: http says so.
        let method = request.uri().path().chars().skip(1).take(METHOD_BYTES_MAX).collect();
        Line {
            began: Instant::now(),
            method,
            peer: request.extensions().get().copied(),
            id: request_id(request.headers()),
            trace: request.extensions().get().cloned(),
        }
    }
}

/// The client's, where it is one word of plain characters; else one of our own.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let is_sane = |id: &&HeaderValue| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(is_plain)
    };
    headers.get(REQUEST_ID).filter(is_sane).cloned().unwrap_or_else(|| {
        let id = RandomIdGenerator::default().new_trace_id().to_string();
        HeaderValue::try_from(id).expect("hexadecimal digits")
    })
}

impl Observed for Line {
    fn answers(&mut self, head: &mut HeaderMap) {
        head.insert(REQUEST_ID, self.id.clone());
    }

    fn ends(self, code: Code) {
        tracing::info!(
            method = self.method,
            code = codes::name(code),
            duration_us = self.began.elapsed().as_micros(),
            peer = self.peer.map(|Peer(address)| tracing::field::display(address)),
            request_id = self.id.to_str().unwrap_or_default(),
            trace_id = self.trace.map(|span| tracing::field::display(span.trace_id())),
            "call"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(given: &[u8]) -> HeaderValue {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(given).unwrap());
        request_id(&headers)
    }

    #[test]
    fn a_sane_request_id_is_kept() {
        for id in ["a", "7f1c-_.:Z", &"x".repeat(REQUEST_ID_BYTES_MAX)] {
            assert_eq!(id_for(id.as_bytes()), id);
        }
    }

    #[test]
    fn any_other_is_made_anew() {
        let too_long = "x".repeat(REQUEST_ID_BYTES_MAX + 1);
        for id in [&b""[..], b"two words", b"id=\"1\"", b"\xff", too_long.as_bytes()] {
            let made = id_for(id);
            assert_ne!(made.as_bytes(), id);
            assert_eq!(made.len(), 32);
        }
        let none = HeaderMap::new();
        assert_ne!(request_id(&none), request_id(&none), "each call has its own");
    }
}
