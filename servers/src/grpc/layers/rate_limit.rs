//! So many calls a second for each client, and a burst of them at once: a token bucket a client.
//! It pays with a table of the clients seen last, behind a lock that a call holds for its look.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll};
use std::time::Duration;

use governor::clock::Clock;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::{Extensions, HeaderMap, HeaderValue, Request, Response};
use lru::LruCache;
use tonic::codegen::Service;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower_layer::Layer;

use super::authentication::Subject;
use super::{Answer, Peer};
use crate::grpc::errors::DOMAIN;

/// Clients whose buckets are remembered: some ten megabytes. The one that was not seen for the
/// longest is forgotten for a new one; its bucket has most likely filled again.
const CLIENTS_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("it is not zero");

/// The layer; clones share the buckets.
#[derive(Clone, Debug)]
pub(in crate::grpc) struct RateLimit(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    quota: Quota,
    /// By a client's name, hashed with keys of our own: however long it is, it takes eight bytes.
    by_client: Mutex<LruCache<u64, DefaultDirectRateLimiter>>,
    hasher: RandomState,
}

/// Whose bucket it is.
#[derive(Hash)]
enum Client<'a> {
    Subject(&'a str),
    Address(IpAddr),
    /// A whole network of IPv6: whoever has one address has them all.
    Network([u16; 4]),
    Unknown,
}

impl<'a> Client<'a> {
    fn of(extensions: &'a Extensions) -> Self {
        if let Some(Subject(subject)) = extensions.get() {
            return Self::Subject(subject);
        }
        match extensions.get().map(|Peer(address)| address.ip().to_canonical()) {
            Some(IpAddr::V6(ip)) => {
                let [a, b, c, d, ..] = ip.segments();
                Self::Network([a, b, c, d])
            }
            Some(ip) => Self::Address(ip),
            None => Self::Unknown,
        }
    }
}

impl RateLimit {
    pub(super) fn new(a_second: NonZeroU32, burst: NonZeroU32) -> Self {
        Self(Arc::new(Buckets {
            quota: Quota::per_second(a_second).allow_burst(burst),
            by_client: Mutex::new(LruCache::new(CLIENTS_MAX)),
            hasher: RandomState::new(),
        }))
    }
}

impl Buckets {
    /// Takes a token, or says how long it is until there is one.
    fn take(&self, client: &Client<'_>) -> Result<(), Duration> {
        let client = self.hasher.hash_one(client);
        let mut buckets = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.get_or_insert(client, || RateLimiter::direct(self.quota));
        bucket.check().map_err(|until| until.wait_time_from(bucket.clock().now()))
    }
}

/// When to come back, for every kind of client: as details of the status, in seconds, and in
/// milliseconds where gRPC's own retries look.
fn too_many(wait: Duration) -> Status {
    let mut details = ErrorDetails::with_error_info("RATE_LIMITED", DOMAIN, []);
    details.set_retry_info(Some(wait));
    let mut headers = HeaderMap::new();
    let rounded_up = |unit: u32| wait.as_nanos().div_ceil(unit.into()).max(1);
    let number = |number: u128| HeaderValue::from(u64::try_from(number).unwrap_or(u64::MAX));
    headers.insert("retry-after", number(rounded_up(1_000_000_000)));
    headers.insert("grpc-retry-pushback-ms", number(rounded_up(1_000_000)));
    let metadata = MetadataMap::from_headers(headers);
    let why = "too many calls of this client; come back later";
    Status::with_error_details_and_metadata(Code::ResourceExhausted, why, details, metadata)
}

/// A service that a client may call so often.
#[derive(Clone)]
pub(in crate::grpc) struct Limited<S> {
    buckets: Arc<Buckets>,
    inner: S,
}

impl<S> Layer<S> for RateLimit {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Limited { buckets: self.0.clone(), inner }
    }
}

impl<S, B, R> Service<Request<B>> for Limited<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible, Future: Unpin>,
    R: Answer,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = Limiting<S::Future>;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.buckets.take(&Client::of(request.extensions())) {
            Ok(()) => Limiting::Answering(self.inner.call(request)),
            Err(wait) => Limiting::TooMany(wait),
        }
    }
}

/// An answer on its way, or none.
pub(in crate::grpc) enum Limiting<F> {
    Answering(F),
    TooMany(Duration),
}

impl<F, R> Future for Limiting<F>
where
    F: Future<Output = Result<Response<R>, Infallible>> + Unpin,
    R: Answer,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Answering(answer) => Pin::new(answer).poll(task),
            Self::TooMany(wait) => Poll::Ready(Ok(too_many(*wait).into_http())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Does, Stub, run, status};
    use super::*;

    fn limit(a_second: u32, burst: u32) -> Limited<Stub> {
        let number = |number| NonZeroU32::new(number).unwrap();
        RateLimit::new(number(a_second), number(burst)).layer(Stub::that(Does::Answers))
    }

    fn from(address: &str) -> Request<()> {
        let mut request = Request::new(());
        request.extensions_mut().insert(Peer(address.parse().unwrap()));
        request
    }

    fn by(subject: &str, address: &str) -> Request<()> {
        let mut request = from(address);
        request.extensions_mut().insert(Subject(subject.into()));
        request
    }

    /// The code in the head, and the head.
    fn called(service: &mut Limited<Stub>, request: Request<()>) -> (Option<Code>, HeaderMap) {
        let Ok(response) = run(service.call(request));
        (status(response.headers()), response.headers().clone())
    }

    const TOO_MANY: Option<Code> = Some(Code::ResourceExhausted);

    #[test]
    fn a_burst_passes_and_one_more_is_told_when_to_come_back() {
        let mut service = limit(1, 3);
        for _ in 0..3 {
            assert_eq!(called(&mut service, from("127.0.0.1:1")).0, None);
        }
        let (code, head) = called(&mut service, from("127.0.0.1:2"));
        assert_eq!(code, TOO_MANY, "another port is the same client");
        assert_eq!(head["retry-after"], "1");
        let pushback: u64 = head["grpc-retry-pushback-ms"].to_str().unwrap().parse().unwrap();
        assert!((1..=1000).contains(&pushback), "{pushback}");
        let details = Status::from_header_map(&head).unwrap().get_error_details();
        let delay = details.retry_info().unwrap().retry_delay.unwrap();
        assert!(delay > Duration::ZERO && delay <= Duration::from_secs(1), "{delay:?}");
        assert_eq!(details.error_info().unwrap().reason, "RATE_LIMITED");
        assert_eq!(service.inner.calls(), 3, "what is refused is not begun");
    }

    #[test]
    fn each_client_has_a_bucket_of_its_own() {
        let mut service = limit(1, 1);
        for first in ["127.0.0.1:1", "127.0.0.2:1", "[2001:db8::1]:1", "[2001:db8:0:1::1]:1"] {
            assert_eq!(called(&mut service, from(first)).0, None, "{first}");
            assert_eq!(called(&mut service, from(first)).0, TOO_MANY, "{first}");
        }
        for same in ["[::ffff:127.0.0.1]:1", "[2001:db8::2]:1"] {
            assert_eq!(called(&mut service, from(same)).0, TOO_MANY, "{same}");
        }
        assert_eq!(called(&mut service, by("ada", "127.0.0.1:1")).0, None);
        assert_eq!(called(&mut service, by("ada", "127.0.0.9:1")).0, TOO_MANY);
        assert_eq!(called(&mut service, by("127.0.0.1", "127.0.0.1:1")).0, None);
    }

    #[test]
    fn a_bucket_fills_again() {
        let mut service = limit(1000, 1);
        let began = std::time::Instant::now();
        let mut answered = 0;
        while answered < 3 {
            assert!(began.elapsed() < Duration::from_secs(30));
            answered += usize::from(called(&mut service, from("127.0.0.1:1")).0.is_none());
        }
    }

    #[test]
    fn only_so_many_clients_are_remembered() {
        let buckets = limit(1, 1).buckets;
        for client in 0..=CLIENTS_MAX.get() {
            let name = client.to_string();
            assert!(buckets.take(&Client::Subject(&name)).is_ok());
        }
        assert_eq!(buckets.by_client.lock().unwrap().len(), CLIENTS_MAX.get());
        assert!(buckets.take(&Client::Subject("0")).is_ok(), "forgotten");
        assert!(buckets.take(&Client::Subject("65536")).is_err(), "remembered");
    }
}
