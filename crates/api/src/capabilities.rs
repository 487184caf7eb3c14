//! The small RPC services by which clients find out what a server is: version, feature flags.

use crate::wire::capabilities::v1::{
    FeatureFlag, FeatureFlagsService, GetFeatureFlagsRequest, GetFeatureFlagsResponse,
};
use crate::wire::version::v1::{Version, VersionRequest, VersionResponse};
use connectrpc::{RequestContext, Response, ServiceRequest, ServiceResult};

/// The querier API that is spoken here.
const QUERIER_API: u64 = 1;

/// What Pyroscope's clients ask for by name, whether it is here, and what it is.
const FLAGS: [(&str, bool, &str); 4] = [
    ("v2StorageLayer", true, "Queries answer as those of Pyroscope's second storage layer"),
    ("pyroscopeRuler", true, "Metrics from profiles by recording rules"),
    ("pyroscopeRulerFunctions", true, "Recording rules for single functions"),
    ("utf8LabelNames", true, "Label names of any characters"),
];

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
        let feature_flags = FLAGS.iter().map(|&(name, enabled, description)| FeatureFlag {
            name: name.to_owned(),
            enabled,
            description: Some(description.to_owned()),
            ..Default::default()
        });
        Response::ok(GetFeatureFlagsResponse { feature_flags: feature_flags.collect(), ..Default::default() })
    }
}
