//! Health, readiness, build information and how full the store is.

use crate::app::{App, BuildInfo, blocking};
use crate::error::ApiError;
use crate::times;
use axum::Json;
use axum::extract::State;
use http::HeaderName;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// `/ready`, `/-/ready`: the server listens only after the store is open and its log is replayed.
pub(crate) async fn ready() -> &'static str {
    "ready\n"
}

/// `/-/healthy`.
pub(crate) async fn healthy() -> &'static str {
    "healthy\n"
}

/// `/api/v1/status/buildinfo`, in the form of Prometheus and Pyroscope.
pub(crate) async fn build_info(State(app): State<Arc<App>>) -> Json<Value> {
    let BuildInfo { version, revision, branch, build_date } = &app.config.build;
    Json(json!({
        "status": "success",
        "data": {
            "version": version,
            "revision": revision,
            "branch": branch,
            "buildUser": "",
            "buildDate": build_date,
            "goVersion": "",
        },
    }))
}

/// `/api/v1/status/config`: the effective configuration as YAML.
pub(crate) async fn config(State(app): State<Arc<App>>) -> ([(HeaderName, &'static str); 1], String) {
    yaml(app.config.configuration[0].clone())
}

/// `/api/v1/status/config/default`: the configuration of a server without one.
pub(crate) async fn config_default(State(app): State<Arc<App>>) -> ([(HeaderName, &'static str); 1], String) {
    yaml(app.config.configuration[1].clone())
}

/// `/api/v1/status/config/diff`: what of the configuration is not the default.
pub(crate) async fn config_diff(State(app): State<Arc<App>>) -> ([(HeaderName, &'static str); 1], String) {
    let [effective, default] = &app.config.configuration;
    let other = effective.lines().filter(|line| !default.lines().any(|known| known == *line));
    yaml(other.map(|line| format!("{line}\n")).collect())
}

fn yaml(text: String) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, "application/yaml; charset=utf-8")], text)
}

/// `/api/v1/tenant_limits`, in the form of Pyroscope: bytes a second, bytes at once, label sets; 0 for no bound.
pub(crate) async fn tenant_limits(State(app): State<Arc<App>>) -> Json<Value> {
    let limits = app.ingest.limits();
    let rate = limits.tenant.bytes.unwrap_or(0);
    let burst = i128::from(rate) * i128::from(limits.burst) / 1_000_000_000;
    Json(json!({
        "ingestion_rate": rate,
        "ingestion_burst_size": i64::try_from(burst).unwrap_or(i64::MAX),
        "max_global_series_per_user": 0,
    }))
}

/// `/api/v1/status/storage`: what each service takes on disk, by table, the largest service first.
pub(crate) async fn storage(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let lake = app.lake.clone();
    let sizes = blocking(move || lake.service_sizes()).await?;
    let services = sizes.services.iter().map(|service| {
        let tables = service.tables.iter().map(|(name, (_, bytes))| ((*name).to_owned(), json!(bytes)));
        json!({ "name": service.name, "bytes": service.bytes(), "tables": tables.collect::<Map<_, _>>() })
    });
    Ok(Json(json!({ "services": services.collect::<Vec<_>>(), "unknownBytes": sizes.unknown_bytes })))
}

/// `/api/v1/status`: what is stored, what came in, what was dropped.
pub(crate) async fn status(State(app): State<Arc<App>>) -> Json<Value> {
    let lake = app.lake.status();
    let ingest = app.ingest.counters();
    let rejected: Map<String, Value> =
        ingest.rejected.iter().map(|(kind, count)| ((*kind).to_owned(), json!(count))).collect();
    let tables: Vec<Value> = lake
        .tables
        .iter()
        .map(|(name, files, bytes)| json!({ "name": name, "files": files, "bytes": bytes }))
        .collect();
    let expiring = lake.expiring.iter().map(|next| {
        json!({
            "table": next.table,
            "oldest": times::rfc3339_micros(next.oldest),
            "at": times::rfc3339_micros(next.at),
            "bytes": next.bytes,
        })
    });
    let expiring: Vec<Value> = expiring.collect();
    Json(json!({
        "version": app.config.build.version,
        "ingest": {
            "received": ingest.received,
            "receivedBytes": ingest.received_bytes,
            "stored": ingest.stored,
            "deduplicated": ingest.deduplicated,
            "samples": ingest.samples,
            "labelsDropped": ingest.labels_dropped,
            "stacksCut": ingest.stacks_cut,
            "stringsCut": ingest.strings_cut,
            "rejected": rejected,
        },
        "lake": {
            "headBytes": lake.head_bytes,
            "headBytesLimit": lake.head_bytes_limit,
            "headProfiles": lake.head_profiles,
            "walBytes": lake.wal_bytes,
            "walSyncs": lake.wal_syncs,
            "walDamagedRecords": lake.wal_damaged_records,
            "flushes": lake.flushes,
            "flushFailures": lake.flush_failures,
            "compactions": lake.compactions,
            "compactionFailures": lake.compaction_failures,
            "compactionPendingFiles": lake.compaction_pending_files,
            "series": lake.series,
            "cachedStacks": lake.cached_stacks,
            "tables": tables,
            "storage": lake.storage.map(|storage| json!({
                "cacheBytes": storage.cache_bytes,
                "cacheBytesLimit": storage.cache_bytes_limit,
                "fetchedBytes": storage.fetched_bytes,
                "requests": storage.requests,
                "retries": storage.retries,
                "failures": storage.failures,
            })),
            "bytes": lake.tables.iter().map(|table| table.2).sum::<u64>(),
            "bytesLimit": lake.bytes_limit,
            "expiring": expiring,
        },
    }))
}
