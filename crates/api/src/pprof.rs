//! `GET /api/v1/pprof`: what `go tool pprof URL` and a browser's download take.

use crate::app::{App, blocking};
use crate::error::ApiError;
use crate::params::Params;
use crate::{scan_headers, singles, times};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use everflame_formats::pprof;
use everflame_profile::{Nanos, Profile};
use everflame_query::TimeRange;
use http::Uri;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use std::sync::Arc;

/// The range when the request does not say: the last hour.
const DEFAULT_RANGE: Nanos = 3_600_000_000_000;

/// The profile of `query` between `from` and `until`, or a part of it as [`crate::singles`] has them. Other
/// parameters (`go tool pprof` adds `seconds`) mean nothing.
pub(crate) async fn get(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, ApiError> {
    let query = singles::stack_query(&Params::of(&uri)?, app.now())?;
    let merged = app.stacks(&query).await?;
    let headers = scan_headers::of(&merged.stats, &merged.warnings);
    let name = query.profile_type.sample.kind.clone();
    let profile = blocking(move || merged.to_profile(&query.profile_type, query.range)).await?;
    Ok((headers, attachment(profile, &name).await?).into_response())
}

/// The range of a request: the last hour before `until` when it does not say.
pub(crate) fn range_of(params: &Params, now: Nanos) -> Result<TimeRange, ApiError> {
    let until = times::parse_or_now("until", params.get("until"), now)?;
    let from = match params.get("from").filter(|text| !text.trim().is_empty()) {
        Some(text) => times::parse("from", text, now)?,
        None => until.saturating_sub(DEFAULT_RANGE),
    };
    range(from, until)
}

/// `go tool pprof URL` asks its source for the names of frames that the profile gives by address alone, and
/// gives up unless it is answered. Every name that is known was in the profile: there are no more.
pub(crate) async fn symbolz() -> &'static str {
    "num_symbols: 0\n"
}

/// The range from `from` to `until`, neither of them 0.
pub(crate) fn range(from: Nanos, until: Nanos) -> Result<TimeRange, ApiError> {
    if from == 0 || until == 0 {
        return Err(ApiError::invalid("from or until is 0; send two times, such as from=now-1h&until=now"));
    }
    if from > until {
        return Err(ApiError::invalid("from is after until; swap them"));
    }
    Ok(TimeRange::new(from, until))
}

/// `profile` as a gzipped pprof to be saved.
pub(crate) async fn attachment(profile: Profile, name: &str) -> Result<Response, ApiError> {
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    Ok(as_file(bytes(profile).await?, &format!("{name}.pb.gz")))
}

/// `profile` as a gzipped pprof.
pub(crate) async fn bytes(profile: Profile) -> Result<Vec<u8>, ApiError> {
    blocking(move || pprof::write(&profile)).await
}

/// `bytes` to be saved as `name`.
pub(crate) fn as_file(bytes: Vec<u8>, name: &str) -> Response {
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "_.+-".contains(*c)).collect();
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (headers, bytes).into_response()
}
