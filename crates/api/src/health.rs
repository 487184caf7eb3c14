//! `grpc.health.v1.Health`: whether a service is served here, asked once or for as long as a client listens.
//!
//! All services begin and stop with the server.

use crate::reflection;
use crate::wire::grpc::health::v1::health_check_response::ServingStatus;
use crate::wire::grpc::health::v1::{Health, HealthCheckRequest, HealthCheckResponse};
use connectrpc::{ConnectError, RequestContext, Response, ServiceRequest, ServiceResult, ServiceStream};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Streams that are kept open at once.
const MAX_WATCHERS: usize = 4_096;

/// Tells whoever asks or listens whether the server serves.
pub(crate) struct Serving {
    stopping: watch::Sender<bool>,
    watchers: Arc<Semaphore>,
}

impl Default for Serving {
    fn default() -> Self {
        Self { stopping: watch::Sender::new(false), watchers: Arc::new(Semaphore::new(MAX_WATCHERS)) }
    }
}

impl Serving {
    /// Says that the server stops, which ends all streams.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    fn status(&self) -> ServingStatus {
        if *self.stopping.borrow() { ServingStatus::NOT_SERVING } else { ServingStatus::SERVING }
    }

    fn watcher(&self, service: &str) -> Result<Watcher, ConnectError> {
        let place = self.watchers.clone().try_acquire_owned().map_err(|_| {
            ConnectError::resource_exhausted(format!(
                "{MAX_WATCHERS} clients watch this server's health already; call Check"
            ))
        })?;
        let first = if is_known(service) { self.status() } else { ServingStatus::SERVICE_UNKNOWN };
        Ok(Watcher { stopping: self.stopping.subscribe(), first, sent: None, _place: place })
    }
}

impl Health for Serving {
    async fn check(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, HealthCheckRequest>,
    ) -> ServiceResult<HealthCheckResponse> {
        let service = request.view().service;
        if !is_known(service) {
            return Err(ConnectError::not_found(format!(
                "service {service:?} is not served here; ask gRPC reflection for those that are, or leave it out"
            )));
        }
        Response::ok(answer(self.status()))
    }

    async fn watch(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, HealthCheckRequest>,
    ) -> ServiceResult<ServiceStream<HealthCheckResponse>> {
        let watcher = self.watcher(request.view().service)?;
        let answers = futures::stream::unfold(watcher, |mut watcher| async move {
            let status = watcher.next().await?;
            Some((Ok(answer(status)), watcher))
        });
        Response::ok(Box::pin(answers))
    }
}

/// One who listens.
struct Watcher {
    stopping: watch::Receiver<bool>,
    /// What is said at once.
    first: ServingStatus,
    sent: Option<ServingStatus>,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    /// What is to be said next, once there is something; nothing when the stream ends.
    async fn next(&mut self) -> Option<ServingStatus> {
        let status = match self.sent {
            None => self.first,
            Some(ServingStatus::NOT_SERVING) => return None,
            Some(sent) => {
                self.stopping.wait_for(|&stopping| stopping).await.ok()?;
                // What is not known here does not stop either.
                (sent == ServingStatus::SERVING).then_some(ServingStatus::NOT_SERVING)?
            }
        };
        self.sent = Some(status);
        Some(status)
    }
}

/// Whether this build serves `service`; without a name it is the server that is meant.
fn is_known(service: &str) -> bool {
    service.is_empty()
        || reflection::descriptors().is_some_and(|known| known.service_by_name(service).is_some())
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into(), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn all_services_of_this_build_are_known() {
        for (service, expect) in [
            ("", true),
            ("push.v1.PusherService", true),
            ("parca.query.v1alpha1.QueryService", true),
            ("grpc.health.v1.Health", true),
            ("push.v1.PusherService/Push", false),
            ("no.Service", false),
        ] {
            assert_eq!(is_known(service), expect, "{service}");
        }
    }

    #[tokio::test]
    async fn watchers_hear_at_once_and_when_the_server_stops() {
        let serving = Serving::default();
        let mut known = serving.watcher("push.v1.PusherService").unwrap();
        let mut unknown = serving.watcher("no.Service").unwrap();
        assert_eq!(known.next().await, Some(ServingStatus::SERVING));
        assert_eq!(unknown.next().await, Some(ServingStatus::SERVICE_UNKNOWN));
        for watcher in [&mut known, &mut unknown] {
            assert_eq!(watcher.next().now_or_never(), None, "nothing has changed");
        }
        serving.stop();
        assert_eq!(known.next().await, Some(ServingStatus::NOT_SERVING));
        assert_eq!((known.next().await, unknown.next().await), (None, None));
        assert_eq!(serving.status(), ServingStatus::NOT_SERVING);
        let mut late = serving.watcher("").unwrap();
        assert_eq!((late.next().await, late.next().await), (Some(ServingStatus::NOT_SERVING), None));
        let mut late = serving.watcher("no.Service").unwrap();
        assert_eq!((late.next().await, late.next().await), (Some(ServingStatus::SERVICE_UNKNOWN), None));
    }

    #[test]
    fn watchers_are_bounded_and_make_place() {
        let serving = Serving::default();
        let mut watchers: Vec<_> = (0..MAX_WATCHERS).map(|_| serving.watcher("").unwrap()).collect();
        assert!(serving.watcher("").is_err());
        watchers.pop();
        assert!(serving.watcher("").is_ok());
    }
}
