//! What became of an attempt, and what that allows. It pays with a look through the sources of an
//! error, which failures alone need.

use std::error::Error;
use std::io;
use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};
use tonic::codegen::StdError;
use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tonic_types::StatusExt;

/// The longest that a server may make a call wait before it is tried again; a longer wait is the
/// caller's affair, who is told so.
const PUSHBACK_MAX: Duration = Duration::from_secs(30);
/// Where a server says when to come again (gRFC A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Why an attempt did not succeed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    pub(crate) reached: Reached,
}

/// How far the request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// It was not sent on purpose, and would not be if it was tried again.
    Nothing,
    /// It provably was not looked at: to send it again is to send it once.
    NoHandler,
    /// It may have been carried out.
    Server,
}

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// As the client finds right.
    BackOff,
    /// As the server says.
    Exactly(Duration),
}

impl Failure {
    /// The breaker is open.
    pub(crate) fn refused() -> Self {
        let why = "the circuit breaker is open: the server has failed, and is left alone";
        Self { status: Status::unavailable(why), reached: Reached::Nothing }
    }

    /// There is no time left to send it in.
    pub(crate) fn unsent() -> Self {
        Self { reached: Reached::Nothing, ..Self::late() }
    }

    /// The answer did not come in time.
    pub(crate) fn late() -> Self {
        Self::by_server(Status::deadline_exceeded("the deadline passed before the answer"))
    }

    /// What the server said, or what came after it had begun to answer.
    pub(crate) fn by_server(status: Status) -> Self {
        Self { status, reached: Reached::Server }
    }

    /// What the transport said. tonic has a code for each of HTTP/2's errors, but none for a
    /// connection that is gone, and calls a connection that ends in good order INTERNAL.
    pub(crate) fn of_transport(error: StdError) -> Self {
        let mut reached = Reached::Server;
        let mut is_lost = false;
        let mut source: Option<&(dyn Error + 'static)> = Some(&*error);
        while let Some(error) = source {
            if error.is::<TimeoutExpired>() {
                return Self::late();
            }
            if error.is::<ConnectError>() {
                reached = Reached::NoHandler;
            }
            if let Some(error) = error.downcast_ref::<h2::Error>() {
                // A stream ends by a peer's GOAWAY only if it is above the last that the peer has
                // looked at (RFC 9113, 6.8); what REFUSED_STREAM says is the same (8.7).
                let refused =
                    error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
                if error.is_remote() && (error.is_go_away() || refused) {
                    reached = Reached::NoHandler;
                }
                is_lost |= error.is_io() || error.is_go_away();
            }
            if let Some(error) = error.downcast_ref::<hyper::Error>() {
                // hyper's word for a request that it still held when its connection ended.
                if error.is_canceled() {
                    reached = Reached::NoHandler;
                }
                is_lost |= error.is_closed() || error.is_incomplete_message() || error.is_timeout();
            }
            is_lost |= error.is::<io::Error>();
            source = error.source();
        }
        let status = if is_lost || reached == Reached::NoHandler {
            Status::unavailable(format!("the connection failed: {}", innermost(&*error)))
        } else {
            Status::from_error(error)
        };
        Self { status, reached }
    }

    /// When to try again, if at all: gRPC's rules, and nothing else is ever tried again.
    pub(crate) fn retry(&self, is_idempotent: bool) -> Option<Wait> {
        let may_repeat = match self.reached {
            Reached::Nothing => false,
            Reached::NoHandler => true,
            Reached::Server => is_idempotent,
        };
        if !may_repeat {
            return None;
        }
        match (self.status.code(), Pushback::of(&self.status)) {
            (Code::Unavailable, Pushback::Unsaid) => Some(Wait::BackOff),
            (Code::Unavailable | Code::ResourceExhausted, Pushback::After(pause)) => {
                (pause <= PUSHBACK_MAX).then_some(Wait::Exactly(pause))
            }
            _ => None,
        }
    }
}

/// The end of the chain says most: above it stands "transport error".
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// When a server wants a call again.
enum Pushback {
    Unsaid,
    After(Duration),
    /// A number below zero, or none (gRFC A6).
    Never,
}

impl Pushback {
    fn of(status: &Status) -> Self {
        if let Some(value) = status.metadata().get(PUSHBACK) {
            let ms = value.to_str().ok().and_then(|ms| ms.parse::<u32>().ok());
            return ms.map_or(Self::Never, |ms| Self::After(Duration::from_millis(ms.into())));
        }
        let told = status.get_details_retry_info().and_then(|info| info.retry_delay);
        told.map_or(Self::Unsaid, Self::After)
    }
}

/// What a response says of its end.
pub(crate) enum Told {
    Nothing,
    Ok,
    Failed(Failure),
}

impl Told {
    /// By its head: where there is no message, a head is all there is.
    pub(crate) fn in_head<B>(response: &Response<B>) -> Self {
        match Self::in_headers(response.headers()) {
            Self::Nothing => match response.status() {
                StatusCode::OK => Self::Nothing,
                // What stands between client and server speaks HTTP alone (gRPC's own table).
                status => Self::Failed(Failure::by_server(Status::new(
                    code_of_http(status),
                    format!("the answer is HTTP {status}"),
                ))),
            },
            told => told,
        }
    }

    /// By its trailers.
    pub(crate) fn in_headers(headers: &HeaderMap) -> Self {
        match Status::from_header_map(headers) {
            None => Self::Nothing,
            Some(status) if status.code() == Code::Ok => Self::Ok,
            Some(status) => Self::Failed(Failure::by_server(status)),
        }
    }
}

fn code_of_http(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataMap;
    use tonic_types::ErrorDetails;

    use super::*;

    const CODES: i32 = 17;

    #[test]
    fn two_codes_are_tried_again_and_one_of_them_only_when_the_server_says_when() {
        for code in (0..CODES).map(Code::from) {
            let bare = Failure::by_server(Status::new(code, ""));
            let expected = (code == Code::Unavailable).then_some(Wait::BackOff);
            assert_eq!(bare.retry(true), expected, "{code:?}");
            assert_eq!(bare.retry(false), None, "{code:?}");
            let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(70)));
            let told = Failure::by_server(Status::with_error_details(code, "", details));
            let expected = matches!(code, Code::Unavailable | Code::ResourceExhausted)
                .then_some(Wait::Exactly(Duration::from_millis(70)));
            assert_eq!(told.retry(true), expected, "{code:?}");
        }
    }

    #[test]
    fn the_server_says_when_and_never() {
        let told = |value: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert(PUSHBACK, value.parse().unwrap());
            let status = Status::with_metadata(Code::Unavailable, "", metadata);
            Failure::by_server(status).retry(true)
        };
        assert_eq!(told("250"), Some(Wait::Exactly(Duration::from_millis(250))));
        assert_eq!(told("0"), Some(Wait::Exactly(Duration::ZERO)));
        for never in ["-1", "soon", "", "3600000"] {
            assert_eq!(told(never), None, "{never}");
        }
    }

    #[test]
    fn what_no_handler_has_seen_is_tried_again_whatever_it_is() {
        let refused = h2::Error::from(h2::Reason::REFUSED_STREAM);
        // Ours, not the peer's: it proves nothing.
        assert_eq!(Failure::of_transport(refused.into()).reached, Reached::Server);
        let unconnected = Failure::of_transport(ConnectError("no route".into()).into());
        assert_eq!(unconnected.reached, Reached::NoHandler);
        assert_eq!(unconnected.retry(false), Some(Wait::BackOff));
        let lost = io::Error::from(io::ErrorKind::BrokenPipe);
        let lost = Failure::of_transport(lost.into());
        assert_eq!((lost.status.code(), lost.reached), (Code::Unavailable, Reached::Server));
        assert_eq!(lost.retry(false), None);
        assert_eq!(Failure::refused().retry(true), None);
        assert_eq!(Failure::unsent().retry(true), None);
    }

    #[test]
    fn http_without_grpc_has_a_code() {
        let told = |status: u16| match Told::in_head(
            &Response::builder().status(status).body(()).unwrap(),
        ) {
            Told::Failed(failure) => failure.status.code(),
            _ => Code::Ok,
        };
        assert_eq!(told(200), Code::Ok);
        assert_eq!(told(503), Code::Unavailable);
        assert_eq!(told(404), Code::Unimplemented);
        assert_eq!(told(500), Code::Unknown);
    }
}
