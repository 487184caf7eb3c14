//! `/metrics`: what the server did, in the form that Prometheus reads.

use crate::app::App;
use crate::debug_file_metrics::DebugFileReading;
use crate::figures::{Figure, encode_counters, encode_gauges, gauge};
use crate::metrics_text;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use everflame_forward::{ForwardStatus, UnsentReason};
use everflame_ingest::{Counters, Reason};
use everflame_lake::{CacheStatus, LakeStatus};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Upper bounds in seconds.
const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// A family of routes; few, so that the number of time series is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Wire {
    /// `push.v1`
    Push,
    /// `/ingest`
    Ingest,
    /// OpenTelemetry profiles, HTTP and gRPC
    Otlp,
    /// `querier.v1`
    Querier,
    /// `/pyroscope/*`
    Pyroscope,
    /// `/api/0/*`
    Profefe,
    /// `parca.*` and the paths of its gateway
    Parca,
    /// `/api/v1/*`
    Api,
    /// Health, readiness, metrics
    Health,
    /// Everything else, the UI's files among it.
    Other,
}

impl Wire {
    /// What answers call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Ingest => "ingest",
            Self::Otlp => "otlp",
            Self::Querier => "querier",
            Self::Pyroscope => "pyroscope",
            Self::Profefe => "profefe",
            Self::Parca => "parca",
            Self::Api => "api",
            Self::Health => "health",
            Self::Other => "other",
        }
    }

    /// The family that `path` belongs to.
    pub(crate) fn of(path: &str) -> Self {
        let prefixes = [
            ("/push.v1.", Self::Push),
            ("/ingest", Self::Ingest),
            ("/pyroscope/ingest", Self::Ingest),
            ("/v1development/", Self::Otlp),
            ("/opentelemetry.", Self::Otlp),
            ("/querier.v1.", Self::Querier),
            ("/settings.v1.", Self::Querier),
            ("/adhocprofiles.v1.", Self::Querier),
            ("/vcs.v1.", Self::Querier),
            ("/debuginfo.v1alpha1.", Self::Push),
            ("/pyroscope/", Self::Pyroscope),
            ("/api/0/", Self::Profefe),
            ("/parca.", Self::Parca),
            ("/api/parca.", Self::Parca),
            ("/api/profiles/", Self::Parca),
            ("/api/agents", Self::Parca),
            ("/api/targets", Self::Parca),
            ("/api/", Self::Api),
            ("/ready", Self::Health),
            ("/-/", Self::Health),
            ("/metrics", Self::Health),
            ("/grpc.health", Self::Health),
        ];
        prefixes.iter().find(|(prefix, _)| path.starts_with(prefix)).map_or(Self::Other, |&(_, wire)| wire)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    wire: Wire,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WireLabels {
    wire: Wire,
}

/// The counters that the server keeps itself.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<WireLabels, Histogram, fn() -> Histogram>,
    scanned_rows: Counter,
    scanned_bytes: Counter,
    scanned_files: Counter,
    query_warnings: Counter,
    pub(crate) recording: RecordingCounters,
}

/// What became of the samples that recording rules make for a Prometheus.
#[derive(Debug, Default)]
pub(crate) struct RecordingCounters {
    pub(crate) written: Counter,
    pub(crate) dropped: Counter,
    pub(crate) retries: Counter,
    pub(crate) missed_minutes: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("everflame");
        let requests = Family::default();
        registry.register("http_requests", "Requests by wire and status", requests.clone());
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        let seconds = Family::new_with_constructor(histogram);
        registry.register("http_request_seconds", "Time until the answer was ready", seconds.clone());
        let mut counter = |name, help| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let scanned_rows = counter("query_scanned_rows", "Rows that queries read");
        let scanned_bytes = counter("query_scanned_bytes", "Compressed bytes that queries read");
        let scanned_files = counter("query_scanned_files", "Files that queries read");
        let query_warnings =
            counter("query_warnings", "Answers that are partial because a file could not be read");
        let recording = RecordingCounters {
            written: counter("remote_write_samples", "Samples of recording rules that the other end took"),
            dropped: counter(
                "remote_write_dropped_samples",
                "Samples of recording rules that it did not take",
            ),
            retries: counter("remote_write_retries", "Requests with samples that failed and are sent again"),
            missed_minutes: counter("remote_write_missed_minutes", "Minutes that were too old to be written"),
        };
        Self {
            registry,
            requests,
            seconds,
            scanned_rows,
            scanned_bytes,
            scanned_files,
            query_warnings,
            recording,
        }
    }
}

impl Metrics {
    pub(crate) fn request(&self, wire: Wire, status: StatusCode, elapsed: Duration) {
        self.requests.get_or_create(&RequestLabels { wire, status: status.as_u16() }).inc();
        self.seconds.get_or_create(&WireLabels { wire }).observe(elapsed.as_secs_f64());
    }

    pub(crate) fn scan(&self, stats: &everflame_query::ScanStats, warnings: usize) {
        self.scanned_rows.inc_by(stats.rows);
        self.scanned_bytes.inc_by(stats.bytes);
        self.scanned_files.inc_by(stats.files);
        self.query_warnings.inc_by(warnings as u64);
    }
}

/// `GET /metrics`.
pub(crate) async fn get(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let mut text = String::new();
    if encode(&mut text, &app.metrics.registry).is_err() {
        text.clear();
    }
    let end = "# EOF\n";
    text.truncate(text.strip_suffix(end).map_or(text.len(), str::len));
    match app.rules.metrics(&app).await {
        Ok(recorded) => text.push_str(&recorded),
        Err(error) => tracing::warn!(%error, "recording rules were not added up"),
    }
    let mut registry = Registry::with_prefix("everflame");
    let (body_bytes, body_bytes_limit) = app.load.body_bytes();
    let lake = app.lake.status();
    let reading = Reading {
        counters: app.ingest.counters(),
        dropped: app.ingest.dropped().totals,
        caches: [("footers", lake.footers), ("stacks", lake.stacks), ("results", app.engine.cache_status())],
        lake,
        forward: app.ingest.forward_status(),
        gauges: [
            ("request_body_bytes", "Bytes of request bodies in memory", body_bytes),
            ("request_body_bytes_limit", "Bound of request_body_bytes", body_bytes_limit),
            ("free_requests", "How many more requests may come in at once", app.load.free_requests() as u64),
        ],
    };
    registry.register_collector(Box::new(reading));
    if let Some(symbolizer) = app.engine.symbolizer() {
        let (store, symbolizer) = (symbolizer.store().status(), symbolizer.status());
        registry.register_collector(Box::new(DebugFileReading { store, symbolizer }));
    }
    if encode(&mut text, &registry).is_err() {
        return crate::error::ApiError::internal("the metrics could not be written").into_response();
    }
    if metrics_text::is_wanted(&headers) {
        let text = metrics_text::of_openmetrics(&text);
        return ([(CONTENT_TYPE, metrics_text::CONTENT_TYPE)], text).into_response();
    }
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

/// What others counted, read at the scrape.
#[derive(Debug)]
struct Reading {
    counters: Counters,
    dropped: [(Reason, u64, u64); Reason::ALL.len()],
    lake: LakeStatus,
    caches: [(&'static str, CacheStatus); 3],
    forward: Option<ForwardStatus>,
    gauges: [Figure; 3],
}

impl prometheus_client::collector::Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (ingest, lake) = (&self.counters, &self.lake);
        let counters = [
            ("ingest_received", "Uploads that came in", ingest.received),
            ("ingest_received_bytes", "Bytes of uploads as they came", ingest.received_bytes),
            ("ingest_stored", "Uploads that were stored", ingest.stored),
            ("ingest_deduplicated", "Uploads that had been stored before", ingest.deduplicated),
            ("ingest_samples", "Samples that were stored", ingest.samples),
            (
                "labels_dropped",
                "Labels dropped because a service has too many label sets, or they are too long or too many",
                ingest.labels_dropped,
            ),
            ("stacks_cut", "Stacks cut to the depth limit", ingest.stacks_cut),
            ("strings_cut", "Strings cut to the length limit", ingest.strings_cut),
            ("wal_syncs", "Syncs of the write-ahead log", lake.wal_syncs),
            (
                "wal_damaged_records",
                "Damaged records of the write-ahead log skipped at the start",
                lake.wal_damaged_records,
            ),
            ("flushes", "Flushes of the head into the tables", lake.flushes),
            ("flush_failures", "Flushes that failed and are tried again", lake.flush_failures),
            ("compactions", "Merges of small files into large ones", lake.compactions),
            (
                "compaction_failures",
                "Rounds of compaction that failed and are tried again",
                lake.compaction_failures,
            ),
        ];
        let storage = lake.storage.unwrap_or_default();
        let storage_counters = [
            ("storage_requests", "Requests to the bucket, each attempt counted", storage.requests),
            ("storage_retries", "Requests to the bucket that failed and were tried again", storage.retries),
            ("storage_failures", "Requests to the bucket that failed for good", storage.failures),
            ("storage_fetched_bytes", "Bytes of data files fetched from the bucket", storage.fetched_bytes),
        ];
        encode_counters(&mut encoder, counters.into_iter().chain(storage_counters))?;
        let gauges = [
            ("head_bytes", "Bytes in the head", lake.head_bytes),
            ("head_bytes_limit", "Bound of head_bytes", lake.head_bytes_limit),
            ("head_profiles", "Profiles in the head", lake.head_profiles),
            ("wal_bytes", "Bytes in the write-ahead log", lake.wal_bytes),
            (
                "compaction_pending_files",
                "Files that wait for being summed or merged",
                lake.compaction_pending_files,
            ),
            ("series", "Series known", lake.series),
            ("cached_stacks", "Stacks in the cache", lake.cached_stacks),
            ("storage_cache_bytes", "Bytes of the bucket's data files kept locally", storage.cache_bytes),
            ("storage_cache_bytes_limit", "Bound of storage_cache_bytes", storage.cache_bytes_limit),
        ];
        encode_gauges(&mut encoder, gauges.into_iter().chain(self.gauges))?;
        type OfCache = fn(&CacheStatus) -> u64;
        let of_caches: [(&str, &str, MetricType, OfCache); 4] = [
            ("cache_bytes", "Bytes in a cache", MetricType::Gauge, |cache| cache.bytes),
            ("cache_bytes_limit", "Bound of cache_bytes", MetricType::Gauge, |cache| cache.limit),
            ("cache_hits", "Look-ups that a cache answered", MetricType::Counter, |cache| cache.hits),
            ("cache_misses", "Look-ups that a cache did not answer", MetricType::Counter, |cache| {
                cache.misses
            }),
        ];
        for (name, help, kind, value) in of_caches {
            let mut target = encoder.encode_descriptor(name, help, None, kind)?;
            for (cache, status) in &self.caches {
                let labels = [("cache", *cache)];
                let target = target.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => ConstCounter::new(value(status)).encode(target)?,
                    _ => gauge(value(status)).encode(target)?,
                }
            }
        }
        let mut rejected =
            encoder.encode_descriptor("ingest_rejected", "Uploads refused", None, MetricType::Counter)?;
        for (kind, value) in ingest.rejected {
            let labels = [("kind", kind)];
            ConstCounter::new(value).encode(rejected.encode_family(&labels)?)?;
        }
        type OfReason = fn(&(Reason, u64, u64)) -> u64;
        let of_reasons: [(&str, &str, OfReason); 2] = [
            ("dropped", "What was not stored as it came; /api/v1/status/dropped says whose it was", |of| {
                of.1
            }),
            ("dropped_bytes", "Bytes of uploads that were not stored", |of| of.2),
        ];
        for (name, help, value) in of_reasons {
            let mut dropped = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for of in &self.dropped {
                let labels = [("reason", of.0.as_str()), ("what", of.0.what())];
                ConstCounter::new(value(of)).encode(dropped.encode_family(&labels)?)?;
            }
        }
        let mut expiring = encoder.encode_descriptor(
            "retention_next_bytes",
            "Bytes of the oldest rows of a table, which go next because of their age",
            None,
            MetricType::Gauge,
        )?;
        for next in &lake.expiring {
            let labels = [("table", next.table)];
            gauge(next.bytes).encode(expiring.encode_family(&labels)?)?;
        }
        for (name, help, value) in [
            ("table_files", "Files of a table", (|table| table.1) as fn(&(&'static str, u64, u64)) -> u64),
            ("table_bytes", "Bytes of a table's files", |table| table.2),
        ] {
            let mut target = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for table in &lake.tables {
                let labels = [("table", table.0)];
                gauge(value(table)).encode(target.encode_family(&labels)?)?;
            }
        }
        self.forward.as_ref().map_or(Ok(()), |forward| encode_forward(forward, &mut encoder))
    }
}

/// What is sent on; only a server that does has these.
fn encode_forward(forward: &ForwardStatus, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let counters = [
        ("forward_sent", "Profiles that the other end took", forward.sent),
        ("forward_sent_bytes", "Bytes of the spool that they took", forward.sent_bytes),
        ("forward_retries", "Requests that failed and are sent again", forward.retries),
        ("forward_returned", "Uploads that were sent on, and came back", forward.returned),
    ];
    encode_counters(encoder, counters)?;
    let help = "Profiles that are stored here and were not sent on";
    let mut dropped = encoder.encode_descriptor("forward_dropped", help, None, MetricType::Counter)?;
    for (reason, value) in UnsentReason::ALL.into_iter().zip(forward.dropped) {
        let labels = [("reason", reason.as_str())];
        ConstCounter::new(value).encode(dropped.encode_family(&labels)?)?;
    }
    let gauges = [
        ("forward_spool_bytes", "Bytes on disk that are to be sent", forward.spool_bytes),
        ("forward_spool_bytes_limit", "Bound of what the spool takes on disk", forward.spool_limit),
    ];
    encode_gauges(encoder, gauges)?;
    let help = "Seconds since the oldest that is to be sent came in";
    let lag = encoder.encode_descriptor("forward_lag_seconds", help, None, MetricType::Gauge)?;
    ConstGauge::new(forward.lag as f64 / 1e9).encode(lag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_belong_to_wires() {
        let table = [
            ("/push.v1.PusherService/Push", Wire::Push),
            ("/pyroscope/ingest", Wire::Ingest),
            ("/pyroscope/render", Wire::Pyroscope),
            ("/api/0/version", Wire::Profefe),
            ("/api/v1/status", Wire::Api),
            ("/assets/x.js", Wire::Other),
        ];
        for (path, wire) in table {
            assert_eq!(Wire::of(path), wire, "{path}");
        }
    }
}
