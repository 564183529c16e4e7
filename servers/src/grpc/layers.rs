//! What stands between HTTP/2 and the services: a chain of tower layers, each on or off by flag. It
//! pays with a second, shorter chain: a call that passes only what is on by default is not carried
//! through the types of what is not.
//!
//! From the outside in, and why in this order:
//!
//! 1. [`traces`]: its span lasts as long as the call, and those behind it know the trace.
//! 2. [`logging`], 3. [`metrics`]: they see every call and the code that its client sees, whoever
//!    behind them gave it.
//! 4. [`deadline`]: a call whose time has passed costs no signature and no token of a bucket.
//! 5. [`authentication`]: says who calls.
//! 6. [`rate_limit`]: counts by who calls, so it comes after. A call with a bad token has cost its
//!    check by then; it does not use up anybody's bucket.
//! 7. [`panics`]: next to the services, so that all others see its INTERNAL as any other code.
//!
//! Innermost, and always there, [`contract`] says what the contract says where tonic says
//! something else.

mod authentication;
mod boxed;
mod codes;
mod contract;
mod deadline;
mod flags;
mod logging;
mod methods;
mod metrics;
mod observe;
mod optional;
mod panics;
mod rate_limit;
#[cfg(test)]
mod stub;
mod traces;

use std::net::SocketAddr;

use bytes::Bytes;
use http_body::Body;
use tonic::Status;

use self::authentication::Authentication;
use self::boxed::Boxed;
use self::contract::Contract;
use self::deadline::Deadline;
pub use self::flags::{Algorithm, Interceptors, Switch};
use self::logging::Logging;
use self::metrics::Metrics;
use self::observe::Observe;
use self::optional::{Either, With, with};
use self::panics::CatchPanics;
use self::rate_limit::RateLimit;
use self::traces::Traces;
use super::routes::Routes;

/// What is on by default, and always around the services.
type Short = With<Deadline, Inner>;

/// All of it, outermost first.
type Long = With<
    Observe<Traces>,
    With<
        Observe<Logging>,
        With<Observe<Metrics>, With<Deadline, With<Authentication, With<RateLimit, Inner>>>>,
    >,
>;

type Inner = With<CatchPanics, Contract<Routes>>;

/// The layers around the services.
pub(super) type Chain = Either<Boxed<Long>, Short>;

/// The layers that are on. Clones are handles on the same keys, buckets and spans.
#[derive(Clone, Debug)]
pub(super) struct Layers {
    traces: Option<Traces>,
    logging: Option<Logging>,
    metrics: Option<Metrics>,
    deadline: Option<Deadline>,
    authentication: Option<Authentication>,
    rate_limit: Option<RateLimit>,
    panics: Option<CatchPanics>,
}

impl Layers {
    pub(super) fn around(&self, routes: Routes) -> Chain {
        let chain = with(self.panics, Contract::new(routes));
        if self.is_short() {
            return Either::Off(with(self.deadline, chain));
        }
        let chain = with(self.rate_limit.clone(), chain);
        let chain = with(self.authentication.clone(), chain);
        let chain = with(self.deadline, chain);
        let chain = with(self.metrics.map(Observe), chain);
        let chain = with(self.logging.map(Observe), chain);
        Either::On(Boxed::new(with(self.traces.clone().map(Observe), chain)))
    }

    /// Whether none is on but those that are by default.
    fn is_short(&self) -> bool {
        let Self { traces, logging, metrics, authentication, rate_limit, .. } = self;
        let observed = traces.is_some() || logging.is_some() || metrics.is_some();
        !observed && authentication.is_none() && rate_limit.is_none()
    }

    /// Whether a layer asks who is at the other end.
    pub(super) fn ask_for_peer(&self) -> bool {
        self.logging.is_some() || self.rate_limit.is_some()
    }

    /// Sends what the collector has not been sent yet; not for long.
    pub(super) async fn flush(self) {
        if let Some(traces) = self.traces {
            traces.flush().await;
        }
    }
}

/// Who is at the other end: in a request's extensions, where [`Layers::ask_for_peer`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// The body of an answer. Its default is empty: that of an answer whose head says it all.
pub(super) trait Answer: Body<Data = Bytes, Error = Status> + Default + Unpin {}

impl<B: Body<Data = Bytes, Error = Status> + Default + Unpin> Answer for B {}
