//! What a call can fail with, and what its client is told: one table, from whatever went wrong to
//! a code, a reason and details. It pays where a call fails, and nothing where none does.

use std::time::Duration;

use common::message::Work;
use common::stats::ERRORS;
use common::{Code, Response};
use tonic::{Code as Grpc, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::services::{FeedError, HealthError, UploadError};

/// Whose reasons they are (`google.rpc.ErrorInfo`).
pub(super) const DOMAIN: &str = "quintet";
/// When to come again where too much is going on: what is carried out is commonly done by then, and
/// those who are told so do not come again all at once and at once.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What went wrong in a call, of whatever service. Its text is for people, and says nothing of the
/// server's insides.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The handler of the contract said so.
    #[error("{message}")]
    Answered {
        code: Code,
        message: String,
        /// The field of the request that it answered.
        field: &'static str,
    },
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error(transparent)]
    Health(#[from] HealthError),
    /// A stream that would not end by itself.
    #[error("the server drains")]
    Draining,
}

impl Failure {
    /// The table: as which code, and for which reason, a failure is told.
    fn told(&self) -> (Grpc, &'static str) {
        match self {
            Self::Answered { code, .. } => match code {
                // Nobody asks about what went well.
                Code::Ok | Code::Internal => (Grpc::Internal, "INTERNAL"),
                Code::InvalidArgument => (Grpc::InvalidArgument, "INVALID_ARGUMENT"),
                Code::DeadlineExceeded => (Grpc::DeadlineExceeded, "DEADLINE_EXCEEDED"),
                Code::NotFound => (Grpc::NotFound, "NOT_FOUND"),
                Code::ResourceExhausted => (Grpc::ResourceExhausted, "TOO_MANY_IN_FLIGHT"),
            },
            Self::Feed(error) => match error {
                FeedError::Topic(_) => (Grpc::InvalidArgument, "TOPIC_LENGTH"),
                FeedError::Payload(_) => (Grpc::InvalidArgument, "PAYLOAD_LENGTH"),
                FeedError::TooManyTopics => (Grpc::ResourceExhausted, "TOO_MANY_TOPICS"),
                FeedError::TooManySubscribers => (Grpc::ResourceExhausted, "TOO_MANY_SUBSCRIBERS"),
                FeedError::FellBehind(_) => (Grpc::ResourceExhausted, "FELL_BEHIND"),
            },
            Self::Upload(error) => match error {
                UploadError::TooMany => (Grpc::ResourceExhausted, "TOO_MANY_IN_FLIGHT"),
                UploadError::Lost => (Grpc::Internal, "INTERNAL"),
            },
            Self::Health(HealthError::UnknownService) => (Grpc::NotFound, "UNKNOWN_SERVICE"),
            Self::Draining => (Grpc::Unavailable, "DRAINING"),
        }
    }

    /// Which field of the request is wrong, where one is.
    fn field(&self) -> &'static str {
        match self {
            Self::Answered { field, .. } => field,
            Self::Feed(FeedError::Payload(_)) => "payload",
            Self::Feed(_) => "topic",
            Self::Upload(_) => "data",
            Self::Health(_) => "service",
            Self::Draining => "",
        }
    }

    /// Of a response that is none of success, to a request whose `field` asked for it.
    pub(super) fn answered(response: Response, field: &'static str) -> Self {
        let code = ERRORS.into_iter().find(|code| *code as u32 == response.code);
        Self::Answered { code: code.unwrap_or(Code::Internal), message: response.message, field }
    }
}

impl From<Failure> for Status {
    #[cold]
    fn from(failure: Failure) -> Self {
        let ((code, reason), message) = (failure.told(), failure.to_string());
        let mut details = ErrorDetails::with_error_info(reason, DOMAIN, []);
        if code == Grpc::InvalidArgument {
            details.add_bad_request_violation(failure.field(), message.as_str());
        }
        if code == Grpc::ResourceExhausted {
            details.set_retry_info(Some(RETRY_AFTER));
        }
        Self::with_error_details(code, message, details)
    }
}

/// The name of the field that says what to do.
pub(super) fn field_of(work: Option<&Work>) -> &'static str {
    match work {
        Some(Work::Echo(_)) => "echo",
        Some(Work::WaitUs(_)) => "wait_us",
        Some(Work::ComputeRounds(_)) => "compute_rounds",
        Some(Work::BlockUs(_)) => "block_us",
        Some(Work::GetUser(_)) => "get_user",
        None => "work",
    }
}

/// tonic says "out of range" of a message above the limit; the contract, as every other gRPC, says
/// "resource exhausted". Nothing else here is out of range. (It has no details: to come again with
/// the same message helps nobody.)
pub(super) fn as_the_contract_says(status: Status) -> Status {
    match status.code() {
        Grpc::OutOfRange => Status::resource_exhausted(status.message()),
        _ => status,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn of_code(code: Code) -> Failure {
        Failure::answered(Response::error(1, code, "because"), "wait_us")
    }

    /// One of each; the table itself is complete, or it would not compile.
    fn all() -> Vec<Failure> {
        let own = [
            FeedError::Topic(0).into(),
            FeedError::Payload(1 << 20).into(),
            FeedError::TooManyTopics.into(),
            FeedError::TooManySubscribers.into(),
            FeedError::FellBehind(7).into(),
            UploadError::TooMany.into(),
            UploadError::Lost.into(),
            HealthError::UnknownService.into(),
            Failure::Draining,
        ];
        ERRORS.map(of_code).into_iter().chain(own).collect()
    }

    #[test]
    fn the_codes_of_the_contract_are_those_of_grpc() {
        for code in ERRORS {
            let status = Status::from(of_code(code));
            assert_eq!((status.code() as u32, status.message()), (code as u32, "because"));
        }
        let unheard_of = Response { code: 99, ..Response::error(1, Code::Internal, "because") };
        assert_eq!(Status::from(Failure::answered(unheard_of, "")).code(), Grpc::Internal);
    }

    #[test]
    fn a_reason_has_one_code_and_every_failure_its_details() {
        let mut codes = HashMap::new();
        for failure in all() {
            let status = Status::from(failure);
            let details = status.get_error_details();
            let info = details.error_info().expect("every failure has a reason");
            assert_eq!((info.domain.as_str(), info.metadata.len()), ("quintet", 0));
            let is_upper = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
            assert!(info.reason.bytes().all(is_upper) && info.reason.len() <= 63, "{info:?}");
            let code = *codes.entry(info.reason.clone()).or_insert(status.code());
            assert_eq!(code, status.code(), "{info:?}");
            let violated = details.bad_request().map_or(0, |bad| bad.field_violations.len());
            assert_eq!(violated, usize::from(code == Grpc::InvalidArgument), "{info:?}");
            let retry = details.retry_info().and_then(|retry| retry.retry_delay);
            assert_eq!(retry.is_some(), code == Grpc::ResourceExhausted, "{info:?}");
        }
    }

    #[test]
    fn a_wrong_field_is_named() {
        let field = |failure: Failure| {
            let details = Status::from(failure).get_error_details();
            details.bad_request().unwrap().field_violations[0].field.clone()
        };
        assert_eq!(field(of_code(Code::InvalidArgument)), "wait_us");
        assert_eq!(field(FeedError::Topic(0).into()), "topic");
        assert_eq!(field(FeedError::Payload(0).into()), "payload");
    }
}
