//! The outermost layer: one deadline for a call, whatever it takes to answer it. It pays with a
//! clock that is read once a call.

use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tower::{Layer, Service, ServiceExt};

use crate::Inner;

/// The header that carries what is left.
pub(crate) const TIMEOUT: &str = "grpc-timeout";
/// The value has eight digits at the most.
const DIGITS_END: u128 = 100_000_000;

/// When a call has to be over; goes with its request through the layers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(pub(crate) Instant);

impl Deadline {
    pub(crate) fn of<B>(request: &Request<B>) -> Option<Instant> {
        request.extensions().get::<Self>().map(|deadline| deadline.0)
    }
}

/// Makes [`Deadlines`].
#[derive(Clone, Debug)]
pub(crate) struct DeadlineLayer {
    /// For calls that say none themselves.
    pub(crate) timeout: Option<Duration>,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadlines<S>;

    fn layer(&self, inner: S) -> Deadlines<S> {
        Deadlines { inner, timeout: self.timeout }
    }
}

/// Gives every call its deadline.
#[derive(Clone, Debug)]
pub(crate) struct Deadlines<S> {
    inner: S,
    timeout: Option<Duration>,
}

impl<S: Inner> Service<Request<Body>> for Deadlines<S> {
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<Response<Body>, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let own = request.headers_mut().remove(TIMEOUT).as_ref().and_then(parse);
        // A time that the clock cannot hold is no deadline.
        let at = own.or(self.timeout).and_then(|left| Instant::now().checked_add(left));
        if let Some(at) = at {
            request.extensions_mut().insert(Deadline(at));
        }
        let answer = self.inner.clone().oneshot(request);
        Box::pin(async move { answer.await.map_err(|failure| failure.status) })
    }
}

/// What is left until then, as the wire says it: rounded down, and never nothing.
pub(crate) fn left_until(at: Instant) -> Option<HeaderValue> {
    let left = at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
    Some(format(left))
}

fn format(left: Duration) -> HeaderValue {
    let seconds = u128::from(left.as_secs());
    let units = [(left.as_micros(), 'u'), (left.as_millis(), 'm'), (seconds, 'S')];
    let fits = units.into_iter().find(|(amount, _)| *amount < DIGITS_END);
    let (amount, unit) = fits.unwrap_or((DIGITS_END - 1, 'S'));
    let value = format!("{}{unit}", amount.max(1));
    HeaderValue::try_from(value).expect("digits and a letter")
}

fn parse(value: &HeaderValue) -> Option<Duration> {
    let value = value.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let amount = digits.parse().ok().filter(|_| is_number)?;
    match unit {
        "H" => Some(Duration::from_hours(amount)),
        "M" => Some(Duration::from_mins(amount)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Never more than is left, and less by a unit at the most.
        #[test]
        fn what_is_left_survives_the_wire(micros in 1..u64::MAX / 4) {
            let left = Duration::from_micros(micros);
            let read = parse(&format(left)).unwrap();
            prop_assert!(read <= left);
            let longest = Duration::from_secs(99_999_999);
            let unit = left.min(longest) / 10_000_000 + Duration::from_micros(1);
            prop_assert!(left.min(longest) <= read + unit, "{left:?} {read:?}");
        }
    }

    #[test]
    fn units_and_what_is_none() {
        let parse = |value: &'static str| parse(&HeaderValue::from_static(value));
        assert_eq!(parse("2H"), Some(Duration::from_hours(2)));
        assert_eq!(parse("150m"), Some(Duration::from_millis(150)));
        for none in ["", "S", "1", "+1S", "123456789S", "1 S", "-1S"] {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_left_at_the_deadline() {
        let at = Instant::now() + Duration::from_millis(100);
        assert_eq!(left_until(at).unwrap(), "100000u");
        tokio::time::advance(Duration::from_millis(99)).await;
        assert_eq!(left_until(at).unwrap(), "1000u");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(left_until(at), None);
    }
}
