//! `/api/v1/lake/…`: what an administrator asks of the storage.

use crate::app::App;
use crate::error::ApiError;
use axum::Json;
use axum::extract::State;
use everflame_lake::LakeStatus;
use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use serde_json::{Value, json};
use std::sync::Arc;

/// `POST /api/v1/lake/compact`: moves the head into the tables, sums, merges and deletes what is due, and
/// answers when that is done.
pub(crate) async fn compact(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    refuse_other_origins(&headers)?;
    let before = app.lake.status();
    app.lake.flush().await?;
    app.lake.compact().await?;
    Ok(Json(changes(&before, &app.lake.status())))
}

/// A page of another site may send such a request from an administrator's browser without asking first.
fn refuse_other_origins(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let Some(origin) = text(ORIGIN) else { return Ok(()) };
    let host = origin.split_once("://").map(|(_, host)| host);
    match host.is_some() && host == text(HOST) {
        true => Ok(()),
        false => Err(ApiError::invalid("a page of another site asks for this; ask from the server's own")),
    }
}

fn changes(before: &LakeStatus, after: &LakeStatus) -> Value {
    let size = |&(_, files, bytes): &(&str, u64, u64)| json!({ "files": files, "bytes": bytes });
    let tables = before.tables.iter().zip(&after.tables);
    let tables = tables
        .map(|(before, after)| json!({ "name": before.0, "before": size(before), "after": size(after) }));
    json!({
        "tables": tables.collect::<Vec<_>>(),
        "compactions": after.compactions.saturating_sub(before.compactions),
        "flushes": after.flushes.saturating_sub(before.flushes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_sites_are_refused() {
        let check = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "127.0.0.1:4040".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            refuse_other_origins(&headers).is_ok()
        };
        assert!(check(None) && check(Some("http://127.0.0.1:4040")));
        assert!(!check(Some("http://evil.example")) && !check(Some("null")));
    }
}
