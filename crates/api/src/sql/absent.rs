//! What `/api/v1/sql` says in a build without SQL.

use crate::error::ApiError;

const ABSENT: &str = "this build of the server has no SQL; build it with the feature sql";

/// 501.
pub(crate) async fn post() -> ApiError {
    ApiError::unimplemented(ABSENT)
}

/// 501.
pub(crate) async fn schema() -> ApiError {
    ApiError::unimplemented(ABSENT)
}
