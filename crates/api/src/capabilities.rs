//! The small RPC services by which clients find out what a server is: version, feature flags, health.

use crate::wire::capabilities::v1::{FeatureFlagsService, GetFeatureFlagsRequest, GetFeatureFlagsResponse};
use crate::wire::grpc::health::v1::health_check_response::ServingStatus;
use crate::wire::grpc::health::v1::{Health, HealthCheckRequest, HealthCheckResponse};
use crate::wire::version::v1::{Version, VersionRequest, VersionResponse};
use connectrpc::{ConnectError, RequestContext, Response, ServiceRequest, ServiceResult};

/// The querier API that is spoken here.
const QUERIER_API: u64 = 1;

pub(crate) struct Capabilities;

impl Version for Capabilities {
    async fn version(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, VersionRequest>,
    ) -> ServiceResult<VersionResponse> {
        Response::ok(VersionResponse { QuerierAPI: QUERIER_API, ..Default::default() })
    }
}

impl FeatureFlagsService for Capabilities {
    async fn get_feature_flags(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, GetFeatureFlagsRequest>,
    ) -> ServiceResult<GetFeatureFlagsResponse> {
        Response::ok(GetFeatureFlagsResponse::default())
    }
}

impl Health for Capabilities {
    async fn check(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, HealthCheckRequest>,
    ) -> ServiceResult<HealthCheckResponse> {
        let known = [
            "",
            "push.v1.PusherService",
            "querier.v1.QuerierService",
            "opentelemetry.proto.collector.profiles.v1development.ProfilesService",
        ];
        if !known.contains(&request.view().service) {
            return Err(ConnectError::not_found(format!(
                "service {:?} is not served here; ask for one of {known:?}",
                request.view().service
            )));
        }
        Response::ok(HealthCheckResponse { status: ServingStatus::SERVING.into(), ..Default::default() })
    }
}
