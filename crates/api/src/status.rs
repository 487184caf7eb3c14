//! Health, readiness, build information and how full the store is.

use crate::app::{App, BuildInfo};
use crate::times;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
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

/// `/api/v1/status`: what is stored, what came in, what was dropped.
pub(crate) async fn status(State(app): State<Arc<App>>) -> Json<Value> {
    let lake = app.lake.status();
    let ingest = app.ingest.counters();
    let rejected: serde_json::Map<String, Value> =
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
            "bytes": lake.tables.iter().map(|table| table.2).sum::<u64>(),
            "bytesLimit": lake.bytes_limit,
            "expiring": expiring,
        },
    }))
}
