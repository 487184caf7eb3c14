//! `GET /api/v1/status/dropped`: what was not stored as it came, why, how much, since when, and whose it was.

use crate::app::App;
use crate::error::ApiError;
use crate::params::Params;
use crate::times;
use axum::Json;
use axum::extract::State;
use everflame_ingest::Dropped;
use everflame_profile::Nanos;
use http::Uri;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Answers with the latest first; `service` and `reason` narrow it.
pub(crate) async fn get(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Value>, ApiError> {
    let params = Params::of(&uri)?;
    let report = app.ingest.dropped();
    let reason = params.get("reason");
    if let Some(unknown) =
        reason.filter(|reason| report.totals.iter().all(|total| total.0.as_str() != *reason))
    {
        let known: Vec<&str> = report.totals.iter().map(|total| total.0.as_str()).collect();
        return Err(ApiError::invalid(format_args!(
            "reason={unknown:?} is not known; send one of {}",
            known.join(", ")
        )));
    }
    let wanted = |entry: &&Dropped| {
        let service = params.get("service").is_none_or(|service| entry.service.as_deref() == Some(service));
        service && reason.is_none_or(|reason| entry.reason.as_str() == reason)
    };
    let entries: Vec<Value> =
        report.entries.iter().filter(wanted).map(|entry| dropped(&report.tenant, entry)).collect();
    let totals: Vec<Value> = report
        .totals
        .iter()
        .map(|(reason, count, bytes)| {
            json!({ "reason": reason.as_str(), "what": reason.what(), "count": count, "bytes": bytes })
        })
        .collect();
    Ok(Json(json!({
        "since": time(report.since),
        "now": time(app.now()),
        "totals": totals,
        "dropped": entries,
    })))
}

fn dropped(tenant: &str, entry: &Dropped) -> Value {
    let labels: Map<String, Value> =
        entry.labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    json!({
        "tenant": tenant,
        "service": entry.service,
        "reason": entry.reason.as_str(),
        "what": entry.reason.what(),
        "count": entry.count,
        "bytes": entry.bytes,
        "first": time(entry.first),
        "last": time(entry.last),
        "example": { "labels": labels, "message": entry.message },
    })
}

fn time(time: Nanos) -> String {
    times::rfc3339_micros(time.div_euclid(1_000))
}
