//! `DELETE /api/v1/profiles`: forgets what a selector takes, for whole UTC days.

use crate::app::App;
use crate::error::ApiError;
use crate::params::Params;
use crate::profefe::Trace;
use crate::times;
use axum::Json;
use axum::extract::State;
use everflame_lake::Deletion;
use everflame_profile::Nanos;
use everflame_query::Selector;
use http::Uri;
use serde_json::{Value, json};
use std::sync::Arc;

const DAY: Nanos = 86_400_000_000_000;

/// Deletes the profiles of `query` from `from` up to `until`, which is not included; both must be midnights
/// in UTC, since sums of a day cannot be cut. Without them all of time is meant. Answers when it is done.
pub(crate) async fn delete(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Value>, ApiError> {
    let params = Params::of(&uri)?;
    let query = params.required("query", "{service_name=\"api\"}")?;
    let selector: Selector = query.parse().map_err(|error| ApiError::invalid(error).at("query"))?;
    if selector.matchers().is_empty() {
        return Err(ApiError::invalid(
            "the selector takes everything; name at least one label, or stop the server and remove its data folder",
        )
        .at("query"));
    }
    let days = match (params.get("from"), params.get("until")) {
        (None, None) => None,
        (Some(from), Some(until)) => Some(days(&app, from, until)?),
        _ => return Err(ApiError::invalid("send both from and until, or neither of them for all of time")),
    };
    let (of_traces, range) = (selector.clone(), days);
    let is_trace_of = move |trace: &Trace| {
        let day = trace.time.div_euclid(DAY);
        range.is_none_or(|(first, last)| i64::from(first) <= day && day <= i64::from(last))
            && of_traces.matches(&trace.series())
    };
    let select = Arc::new(move |series: &_| selector.matches(series));
    let deleted = app.lake.delete(Deletion { select, days }).await?;
    let traces = app.traces.delete(is_trace_of).await?;
    Ok(Json(json!({
        "series": deleted.series,
        "profiles": deleted.profiles,
        "files": deleted.files,
        "traces": traces,
    })))
}

/// First and last day between two midnights.
fn days(app: &App, from: &str, until: &str) -> Result<(i32, i32), ApiError> {
    let day = |name: &str, text: &str| {
        let time = times::parse(name, text, app.now())?;
        if time.rem_euclid(DAY) != 0 {
            return Err(ApiError::invalid(format_args!(
                "{name}={text:?} is not a midnight in UTC; only whole days can be deleted: write it as 2026-08-01T00:00:00Z"
            )));
        }
        i32::try_from(time.div_euclid(DAY)).map_err(|error| ApiError::invalid(error).at(name))
    };
    let (first, end) = (day("from", from)?, day("until", until)?);
    if first >= end {
        return Err(ApiError::invalid("from is not before until; until is the midnight after the last day"));
    }
    Ok((first, end - 1))
}
