//! Whether clients should come (grpc.health.v1): as long as the server is ready, and no longer from
//! when readiness is withdrawn. It pays nothing until then, and afterwards a word to each watcher.

use futures_util::{Stream, StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

use crate::admin::Readiness;
use crate::grpc::Answers;
use crate::grpc::errors::Failure;

/// The name for the server as a whole.
const ALL: &str = "";

/// Why a service has no health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::grpc) enum HealthError {
    #[error("no service of this name is here")]
    UnknownService,
}

/// Tells how the services are: all of them alike, since they share all that could fail.
pub(in crate::grpc) struct Health {
    services: Vec<&'static str>,
    /// From then on nobody new should come: during the delay before a drain, and the drain.
    withdrawn: CancellationToken,
    draining: CancellationToken,
}

impl Health {
    pub(in crate::grpc) fn new(
        services: Vec<&'static str>,
        ready: &Readiness,
        draining: CancellationToken,
    ) -> Self {
        // Cancelled with its parent too: a drain may begin without a word before.
        let withdrawn = draining.child_token();
        ready.on_withdrawal({
            let withdrawn = withdrawn.clone();
            move || withdrawn.cancel()
        });
        Self { services, withdrawn, draining }
    }

    fn is_served(&self, service: &str) -> bool {
        service == ALL || self.services.contains(&service)
    }

    /// Readiness that is gone never comes back: what there is to say has an order, and an end.
    fn changes(&self) -> impl Stream<Item = ServingStatus> + use<> {
        let serving = (!self.withdrawn.is_cancelled()).then_some(ServingStatus::Serving);
        let withdrawn = self.withdrawn.clone();
        let not_serving = async move {
            withdrawn.cancelled().await;
            ServingStatus::NotServing
        };
        stream::iter(serving).chain(stream::once(not_serving))
    }

    /// The end of every stream of this service.
    fn end(&self) -> impl Stream<Item = Result<HealthCheckResponse, Status>> + use<> {
        let draining = self.draining.clone();
        stream::once(async move {
            draining.cancelled().await;
            Err(Failure::Draining.into())
        })
    }
}

fn say(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.is_served(&request.get_ref().service) {
            return Err(Failure::from(HealthError::UnknownService).into());
        }
        let is_ready = !self.withdrawn.is_cancelled();
        let status = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        Ok(Response::new(say(status)))
    }

    type WatchStream = Answers<HealthCheckResponse>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let statuses: Answers<_> = if self.is_served(&request.get_ref().service) {
            Box::pin(self.changes().map(|status| Ok(say(status))).chain(self.end()))
        } else {
            // As the protocol wants it: no error, for the service might come.
            let unknown = say(ServingStatus::ServiceUnknown);
            Box::pin(stream::iter([Ok(unknown)]).chain(self.end()))
        };
        Ok(Response::new(statuses))
    }
}
