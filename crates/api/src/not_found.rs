//! What is answered on paths that do not exist, and to methods that a path does not know.

use crate::error::ApiError;
use http::{Method, Uri};

/// Says where things are.
pub(crate) async fn path(uri: Uri) -> ApiError {
    ApiError::not_found(format_args!(
        "nothing is at {:?}. Profiles come in at /ingest, /push.v1.PusherService/Push and /api/0/profiles; \
         questions go to /querier.v1.QuerierService/*, /pyroscope/render, /pyroscope/render-diff, \
         /pyroscope/label-values and /api/v1/pprof; the state is at /ready, /metrics, /api/v1/status and \
         /api/v1/status/buildinfo; the UI is at /",
        uri.path()
    ))
}

/// 405.
pub(crate) async fn method(method: Method, uri: Uri) -> ApiError {
    ApiError::method_not_allowed(format_args!(
        "{} does not know the method {method}; see the Allow header",
        uri.path()
    ))
}
