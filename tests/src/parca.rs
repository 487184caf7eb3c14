//! What the tests of Parca's wire ask, and how.

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use everflame_formats::{Limits, pprof};
use everflame_profile::Profile;
use serde_json::{Value, json};

use crate::Server;
use crate::rpc::{Coding, Method, Refusal, Wire, call, http2, method};

/// CPU time, as a query names it.
pub const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta";
/// What gofmt did.
pub const GOFMT: &[u8] = include_bytes!("../../bench/profiles/gofmt.pb.gz");
/// What the Go compiler did.
pub const COMPILE: &[u8] = include_bytes!("../../bench/profiles/go-compile.pb.gz");
/// What a Go program held.
pub const HEAP: &[u8] = include_bytes!("../fixtures/pprof/go-heap.pb.gz");

/// `ProfileStoreService/WriteRaw`
pub const WRITE_RAW: Method =
    method("parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw", "ParcaWriteRaw", "Empty");
/// `AgentsService/Agents`
pub const AGENTS: Method = method("parca.profilestore.v1alpha1.AgentsService/Agents", "Empty", "ParcaAgents");
/// `QueryService/Query`
pub const QUERY: Method = method("parca.query.v1alpha1.QueryService/Query", "ParcaQuery", "ParcaAnswer");
/// The same, where Parca's pages look.
pub const QUERY_BELOW_API: Method =
    method("api/parca.query.v1alpha1.QueryService/Query", "ParcaQuery", "ParcaAnswer");
/// `QueryService/QueryRange`
pub const QUERY_RANGE: Method =
    method("parca.query.v1alpha1.QueryService/QueryRange", "ParcaRange", "ParcaRangeAnswer");
/// `QueryService/ProfileTypes`
pub const TYPES: Method =
    method("parca.query.v1alpha1.QueryService/ProfileTypes", "ParcaTypesRequest", "ParcaTypes");
/// `QueryService/Labels`
pub const LABELS: Method =
    method("parca.query.v1alpha1.QueryService/Labels", "ParcaLabels", "ParcaLabelNames");
/// `QueryService/Values`
pub const VALUES: Method =
    method("parca.query.v1alpha1.QueryService/Values", "ParcaValues", "ParcaLabelValues");
/// `QueryService/Series`
pub const SERIES: Method = method("parca.query.v1alpha1.QueryService/Series", "ParcaTypesRequest", "Empty");
/// `QueryService/HasProfileData`
pub const HAS_DATA: Method =
    method("parca.query.v1alpha1.QueryService/HasProfileData", "Empty", "ParcaHasData");
/// `QueryService/ShareProfile`
pub const SHARE: Method = method("parca.query.v1alpha1.QueryService/ShareProfile", "ParcaShare", "Empty");
/// `DebuginfoService/ShouldInitiateUpload`
pub const SHOULD: Method = method(
    "parca.debuginfo.v1alpha1.DebuginfoService/ShouldInitiateUpload",
    "ParcaShould",
    "ParcaShouldAnswer",
);
/// `DebuginfoService/InitiateUpload`
pub const INITIATE: Method =
    method("parca.debuginfo.v1alpha1.DebuginfoService/InitiateUpload", "ParcaInitiate", "ParcaInitiated");
/// `DebuginfoService/MarkUploadFinished`
pub const FINISHED: Method =
    method("parca.debuginfo.v1alpha1.DebuginfoService/MarkUploadFinished", "ParcaFinished", "Empty");

/// The protocols that Parca's clients speak.
pub const WIRES: [Wire; 4] = [Wire::Grpc, Wire::GrpcWeb, Wire::GrpcWebText, Wire::ConnectProto];

/// Number of a report type.
pub const PPROF: i64 = 1;
/// Number of a report type.
pub const TOP: i64 = 2;
/// Number of a report type.
pub const CALLGRAPH: i64 = 3;
/// Number of a report type.
pub const FLAMEGRAPH_TABLE: i64 = 4;
/// Number of a report type.
pub const FLAMEGRAPH_ARROW: i64 = 5;
/// Number of a report type.
pub const SOURCE: i64 = 6;
/// Number of a report type.
pub const TABLE_ARROW: i64 = 7;
/// Number of a report type.
pub const METADATA: i64 = 8;

/// What a call over `wire` brought: the message, or the refusal.
///
/// # Errors
/// When the exchange does not follow the protocol.
pub async fn ask_over(
    server: &Server,
    wire: Wire,
    coding: Coding,
    method: Method,
    request: &Value,
) -> Result<Result<Value, Refusal>> {
    Ok(call(&http2()?, server, wire, coding, method, request).await?.message)
}

/// The answer over gRPC.
///
/// # Errors
/// When there is none.
pub async fn ask(server: &Server, method: Method, request: &Value) -> Result<Value> {
    let answer = ask_over(server, Wire::Grpc, Coding::Plain, method, request).await?;
    answer.map_err(|refusal| anyhow::anyhow!("{} {request}: {refusal:?}", method.path))
}

fn label(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

/// A series of WriteRaw.
#[must_use]
pub fn raw(labels: &[(&str, &str)], profiles: &[&[u8]]) -> Value {
    let labels: Vec<_> = labels.iter().map(|(name, value)| label(name, value)).collect();
    let samples: Vec<_> =
        profiles.iter().map(|profile| json!({"rawProfile": BASE64.encode(profile)})).collect();
    json!({"labels": {"labels": labels}, "samples": samples})
}

/// The message of WriteRaw.
#[must_use]
pub fn write(series: &[Value]) -> Value {
    json!({ "series": series, "normalized": true })
}

/// A time of the wire.
#[must_use]
pub fn time(nanos: i64) -> Value {
    json!({"seconds": nanos.div_euclid(1_000_000_000), "nanos": nanos.rem_euclid(1_000_000_000)})
}

/// All times that profiles have.
#[must_use]
pub fn ever() -> (Value, Value) {
    (json!({"seconds": 1}), json!({"seconds": 4_000_000_000_i64}))
}

/// All profiles that `query` takes.
#[must_use]
pub fn merge(query: &str) -> Value {
    let (start, end) = ever();
    json!({"query": query, "start": start, "end": end})
}

/// A query for a report of all profiles that `query` takes.
#[must_use]
pub fn report(query: &str, report: i64) -> Value {
    json!({"mode": 2, "merge": merge(query), "reportType": report})
}

/// `request` with one more field.
#[must_use]
pub fn with(mut request: Value, name: &str, value: Value) -> Value {
    request[name] = value;
    request
}

/// The profile in a pprof.
///
/// # Errors
/// When it is none.
pub fn read(pprof: &[u8]) -> Result<Profile> {
    Ok(pprof::read(pprof, &Limits::default())?.profile)
}

/// An integer in the JSON of protobuf, 0 when it is left out.
#[must_use]
pub fn number(value: &Value) -> i64 {
    value.as_str().and_then(|text| text.parse().ok()).or(value.as_i64()).unwrap_or_default()
}

/// A server with two services, each written through another protocol.
///
/// # Errors
/// When it does not start, or takes no profile.
pub async fn filled() -> Result<Server> {
    let server = Server::start()?;
    let gofmt = raw(&[("__name__", "process_cpu"), ("job", "gofmt"), ("node", "n1")], &[GOFMT]);
    let compile = raw(&[("__name__", "process_cpu"), ("job", "compile"), ("node", "n1")], &[COMPILE]);
    let heap = raw(&[("__name__", "memory"), ("job", "gofmt"), ("node", "n1")], &[HEAP]);
    let message = ask_over(&server, Wire::Grpc, Coding::Gzip, WRITE_RAW, &write(&[gofmt, heap])).await?;
    ensure!(message == Ok(json!({})), "{message:?}");
    let message = ask_over(&server, Wire::GrpcWeb, Coding::Plain, WRITE_RAW, &write(&[compile])).await?;
    ensure!(message == Ok(json!({})), "{message:?}");
    Ok(server)
}
