//! One RPC over each of the protocols that share the server's port.

use std::io::Read as _;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use everflame_formats::{Limits, gzip};
use http_body_util::BodyExt as _;
use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::Server;
use crate::messages::{decode, encode};

/// A method of the RPC wires with its messages.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// `package.Service/Method`
    pub path: &'static str,
    /// Names in `messages.rs`.
    pub request: &'static str,
    /// Names in `messages.rs`.
    pub answer: &'static str,
}

/// The method at `path` with the names of its messages.
pub(crate) const fn method(path: &'static str, request: &'static str, answer: &'static str) -> Method {
    Method { path, request, answer }
}

/// `push.v1.PusherService/Push`
pub const PUSH: Method = method("push.v1.PusherService/Push", "PushRequest", "Empty");
/// `querier.v1.QuerierService/ProfileTypes`
pub const PROFILE_TYPES: Method =
    method("querier.v1.QuerierService/ProfileTypes", "ProfileTypesRequest", "ProfileTypesResponse");
/// `querier.v1.QuerierService/LabelNames`
pub const LABEL_NAMES: Method = method("querier.v1.QuerierService/LabelNames", "LabelNamesRequest", "Names");
/// `querier.v1.QuerierService/LabelValues`
pub const LABEL_VALUES: Method =
    method("querier.v1.QuerierService/LabelValues", "LabelValuesRequest", "Names");
/// `querier.v1.QuerierService/Series`
pub const SERIES: Method = method("querier.v1.QuerierService/Series", "SeriesRequest", "SeriesResponse");
/// `querier.v1.QuerierService/SelectMergeStacktraces`
pub const STACKTRACES: Method =
    method("querier.v1.QuerierService/SelectMergeStacktraces", "StacktracesRequest", "StacktracesResponse");
/// `querier.v1.QuerierService/SelectMergeProfile`
pub const MERGE_PROFILE: Method =
    method("querier.v1.QuerierService/SelectMergeProfile", "MergeProfileRequest", "Profile");
/// `querier.v1.QuerierService/SelectSeries`
pub const SELECT_SERIES: Method =
    method("querier.v1.QuerierService/SelectSeries", "SelectSeriesRequest", "SelectSeriesResponse");
/// `querier.v1.QuerierService/Diff`
pub const DIFF: Method = method("querier.v1.QuerierService/Diff", "DiffRequest", "DiffResponse");
/// `querier.v1.QuerierService/GetProfileStats`
pub const PROFILE_STATS: Method =
    method("querier.v1.QuerierService/GetProfileStats", "Empty", "ProfileStats");
/// `version.v1.Version/Version`
pub const VERSION: Method = method("version.v1.Version/Version", "Empty", "VersionResponse");

/// `querier.v1.QuerierService/SelectHeatmap`
pub const HEATMAP: Method =
    method("querier.v1.QuerierService/SelectHeatmap", "HeatmapRequest", "HeatmapResponse");
/// `querier.v1.QuerierService/SelectMergeSpanProfile`
pub const SPAN_PROFILE: Method =
    method("querier.v1.QuerierService/SelectMergeSpanProfile", "SpanProfileRequest", "SpanProfileResponse");
/// `querier.v1.QuerierService/AnalyzeQuery`
pub const ANALYZE: Method = method("querier.v1.QuerierService/AnalyzeQuery", "AnalyzeQueryRequest", "Empty");
/// `settings.v1.SettingsService/Get`
pub const SETTINGS_GET: Method = method("settings.v1.SettingsService/Get", "Empty", "SettingsResponse");
/// `settings.v1.SettingsService/Set`
pub const SETTINGS_SET: Method =
    method("settings.v1.SettingsService/Set", "SettingMessage", "SettingMessage");
/// `settings.v1.SettingsService/Delete`
pub const SETTINGS_DELETE: Method = method("settings.v1.SettingsService/Delete", "NameRequest", "Empty");
/// `settings.v1.RecordingRulesService/GetRecordingRule`
pub const RULE_GET: Method =
    method("settings.v1.RecordingRulesService/GetRecordingRule", "IdRequest", "RuleAnswer");
/// `settings.v1.RecordingRulesService/ListRecordingRules`
pub const RULE_LIST: Method =
    method("settings.v1.RecordingRulesService/ListRecordingRules", "Empty", "RuleList");
/// `settings.v1.RecordingRulesService/UpsertRecordingRule`
pub const RULE_UPSERT: Method =
    method("settings.v1.RecordingRulesService/UpsertRecordingRule", "RuleUpsert", "RuleAnswer");
/// `settings.v1.RecordingRulesService/DeleteRecordingRule`
pub const RULE_DELETE: Method =
    method("settings.v1.RecordingRulesService/DeleteRecordingRule", "IdRequest", "Empty");
/// `adhocprofiles.v1.AdHocProfileService/Upload`
pub const AD_HOC_UPLOAD: Method =
    method("adhocprofiles.v1.AdHocProfileService/Upload", "AdHocUpload", "AdHocProfile");
/// `adhocprofiles.v1.AdHocProfileService/Get`
pub const AD_HOC_GET: Method = method("adhocprofiles.v1.AdHocProfileService/Get", "AdHocGet", "AdHocProfile");
/// `adhocprofiles.v1.AdHocProfileService/List`
pub const AD_HOC_LIST: Method = method("adhocprofiles.v1.AdHocProfileService/List", "Empty", "AdHocList");
/// `adhocprofiles.v1.AdHocProfileService/Diff`
pub const AD_HOC_DIFF: Method =
    method("adhocprofiles.v1.AdHocProfileService/Diff", "AdHocDiff", "AdHocDiffed");
/// `vcs.v1.VCSService/GithubApp`
pub const GITHUB_APP: Method = method("vcs.v1.VCSService/GithubApp", "Empty", "Empty");
/// `vcs.v1.VCSService/GithubLogin`
pub const GITHUB_LOGIN: Method = method("vcs.v1.VCSService/GithubLogin", "Empty", "Empty");
/// `vcs.v1.VCSService/GithubRefresh`
pub const GITHUB_REFRESH: Method = method("vcs.v1.VCSService/GithubRefresh", "Empty", "Empty");
/// `capabilities.v1.FeatureFlagsService/GetFeatureFlags`
pub const FEATURE_FLAGS: Method =
    method("capabilities.v1.FeatureFlagsService/GetFeatureFlags", "Empty", "FeatureFlags");

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Connect with JSON bodies.
    ConnectJson,
    /// Connect with protobuf bodies.
    ConnectProto,
    /// gRPC, which needs HTTP/2.
    Grpc,
    /// gRPC-Web, whose trailers are a last frame of the body.
    GrpcWeb,
    /// The same in base64, as Parca's pages speak it.
    GrpcWebText,
}

impl Wire {
    /// Every protocol.
    pub const ALL: [Self; 5] =
        [Self::ConnectJson, Self::ConnectProto, Self::Grpc, Self::GrpcWeb, Self::GrpcWebText];

    /// Whether messages are framed and a refusal is a status in trailers, as gRPC has it.
    #[must_use]
    pub fn is_framed(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb | Self::GrpcWebText)
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::ConnectJson => "application/json",
            Self::ConnectProto => "application/proto",
            Self::Grpc => "application/grpc",
            Self::GrpcWeb => "application/grpc-web+proto",
            Self::GrpcWebText => "application/grpc-web-text",
        }
    }
}

/// How messages are sent and wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As they are.
    Plain,
    /// gzip in both directions.
    Gzip,
}

/// A refusal, in the words that all protocols share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status of HTTP: 200 for the gRPC protocols.
    pub http: u16,
    /// `invalid_argument`, …
    pub code: String,
    /// Place and remedy.
    pub message: String,
}

/// What a call brought.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The message as protobuf JSON without defaults, or the refusal.
    pub message: Result<Value, Refusal>,
    /// Whether the message came compressed.
    pub compressed: bool,
}

/// An HTTP client that speaks HTTP/2 without asking first.
///
/// # Errors
/// When it cannot be built.
pub fn http2() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().http2_prior_knowledge().build()?)
}

/// Calls `method` over `wire`, on `http`.
///
/// # Errors
/// When the exchange does not follow the protocol; a refusal by its rules is no error.
pub async fn call(
    http: &reqwest::Client,
    server: &Server,
    wire: Wire,
    coding: Coding,
    method: Method,
    request: &Value,
) -> Result<Answer> {
    let message = match wire {
        Wire::ConnectJson => serde_json::to_vec(request)?,
        _ => encode(method.request, request)?,
    };
    let message = match coding {
        Coding::Plain => message,
        Coding::Gzip => gzip::deflate(&message),
    };
    let framed = wire.is_framed();
    let body = if framed { frame(u8::from(coding == Coding::Gzip), &message)? } else { message };
    let body = match wire {
        // Pieces may be encoded one by one.
        Wire::GrpcWebText => body.chunks(1_000).map(|piece| BASE64.encode(piece)).collect::<String>().into(),
        _ => body,
    };
    let mut post = http.post(server.url(&format!("/{}", method.path)));
    post = post.header("content-type", wire.content_type()).header("te", "trailers");
    if coding == Coding::Gzip {
        let (sent, wanted) = match framed {
            true => ("grpc-encoding", "grpc-accept-encoding"),
            false => ("content-encoding", "accept-encoding"),
        };
        post = post.header(sent, "gzip").header(wanted, "gzip");
    }
    let (head, body, trailers) = exchange(post.body(body)).await?;
    let place = || format!("{} over {wire:?}: {} {:?}", method.path, head.status, head.headers);
    let result = match wire {
        Wire::Grpc => framed_answer(&head.headers, &trailers, &body, method),
        Wire::GrpcWeb => web_answer(&head.headers, &body, method),
        Wire::GrpcWebText => {
            ensure!(text(&head.headers, "content-type").starts_with("application/grpc-web-text"));
            let quads = body.chunks(4).map(|quad| BASE64.decode(quad));
            web_answer(&head.headers, &quads.collect::<Result<Vec<_>, _>>()?.concat(), method)
        }
        Wire::ConnectJson | Wire::ConnectProto => connect_answer(&head, &body, wire, method),
    };
    result.with_context(place)
}

/// Calls `method`, which takes a stream of messages, over gRPC. They are encoded already.
///
/// # Errors
/// When the exchange does not follow the protocol; a refusal by its rules is no error.
pub async fn call_with(
    http: &reqwest::Client,
    server: &Server,
    method: Method,
    messages: &[Vec<u8>],
) -> Result<Answer> {
    let frames = messages.iter().map(|message| frame(0, message)).collect::<Result<Vec<_>>>()?;
    let post = http.post(server.url(&format!("/{}", method.path)));
    let post = post.header("content-type", Wire::Grpc.content_type()).header("te", "trailers");
    let (head, body, trailers) = exchange(post.body(frames.concat())).await?;
    framed_answer(&head.headers, &trailers, &body, method)
        .with_context(|| format!("{}: {} {:?}", method.path, head.status, head.headers))
}

/// The head, the body and the trailers of an answer.
async fn exchange(request: RequestBuilder) -> Result<(http::response::Parts, Vec<u8>, HeaderMap)> {
    let answer: http::Response<reqwest::Body> = request.send().await?.into();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.context("reading the answer")?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    Ok((head, body.to_bytes().to_vec(), trailers))
}

fn connect_answer(head: &http::response::Parts, body: &[u8], wire: Wire, method: Method) -> Result<Answer> {
    let compressed = text(&head.headers, "content-encoding") == "gzip";
    let body = inflate(compressed, body)?;
    let content_type = text(&head.headers, "content-type");
    if !head.status.is_success() {
        ensure!(content_type.starts_with("application/json"), "an error in {content_type}");
        let error: Value = serde_json::from_slice(&body)?;
        let field = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        let refusal = Refusal { http: head.status.as_u16(), code: field("code"), message: field("message") };
        return Ok(Answer { message: Err(refusal), compressed });
    }
    ensure!(content_type.starts_with(wire.content_type()), "an answer in {content_type}");
    let message = match wire {
        // Through protobuf and back, so that all wires give one form.
        Wire::ConnectJson => encode(method.answer, &serde_json::from_slice(&body)?)?,
        _ => body,
    };
    Ok(Answer { message: Ok(decode(method.answer, &message)?), compressed })
}

fn framed_answer(headers: &HeaderMap, trailers: &HeaderMap, body: &[u8], method: Method) -> Result<Answer> {
    let trailers = if headers.contains_key("grpc-status") { headers } else { trailers };
    let status = text(trailers, "grpc-status");
    ensure!(!status.is_empty(), "no grpc-status in {trailers:?}");
    if status != "0" {
        let message = unescape(text(trailers, "grpc-message"));
        let refusal = Refusal { http: 200, code: code(status)?.to_owned(), message };
        return Ok(Answer { message: Err(refusal), compressed: false });
    }
    let frames = frames(body)?;
    let [(flag, message)] = frames.as_slice() else { bail!("{} frames", frames.len()) };
    let compressed = flag & 1 == 1;
    let message = inflate(compressed, message)?;
    Ok(Answer { message: Ok(decode(method.answer, &message)?), compressed })
}

fn web_answer(headers: &HeaderMap, body: &[u8], method: Method) -> Result<Answer> {
    let content_type = text(headers, "content-type");
    ensure!(content_type.starts_with("application/grpc-web"), "an answer in {content_type}");
    if headers.contains_key("grpc-status") {
        return framed_answer(headers, headers, body, method);
    }
    let frames = frames(body)?;
    let (flag, last) = frames.last().context("no frames")?;
    ensure!(flag & 0x80 != 0, "the last frame has no trailers: flag {flag}");
    let mut trailers = HeaderMap::new();
    for line in std::str::from_utf8(last)?.lines() {
        let (name, value) = line.split_once(':').with_context(|| line.to_owned())?;
        trailers.insert(http::HeaderName::try_from(name.trim())?, value.trim().parse()?);
    }
    framed_answer(headers, &trailers, body.get(..body.len() - last.len() - 5).unwrap_or_default(), method)
}

/// A message in the frame of gRPC.
///
/// # Errors
/// When it is too long.
pub fn frame(flag: u8, message: &[u8]) -> Result<Vec<u8>> {
    let mut out = vec![flag];
    out.extend(u32::try_from(message.len())?.to_be_bytes());
    out.extend(message);
    Ok(out)
}

fn frames(mut body: &[u8]) -> Result<Vec<(u8, Vec<u8>)>> {
    let mut frames = Vec::new();
    while !body.is_empty() {
        let mut head = [0; 5];
        body.read_exact(&mut head).context("cut off in the head of a frame")?;
        let [flag, length @ ..] = head;
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        body.read_exact(&mut message).context("cut off in a frame")?;
        frames.push((flag, message));
    }
    Ok(frames)
}

fn inflate(compressed: bool, bytes: &[u8]) -> Result<Vec<u8>> {
    if compressed { Ok(gzip::inflate(bytes, &Limits::default())?) } else { Ok(bytes.to_vec()) }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// `grpc-message` is percent-encoded.
fn unescape(message: &str) -> String {
    let mut out = Vec::new();
    let mut rest = message.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| byte == b'%') {
            Some(decoded) => {
                out.push(decoded);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The word for a number of gRPC.
fn code(status: &str) -> Result<&'static str> {
    let codes = [
        "ok",
        "canceled",
        "unknown",
        "invalid_argument",
        "deadline_exceeded",
        "not_found",
        "already_exists",
        "permission_denied",
        "resource_exhausted",
        "failed_precondition",
        "aborted",
        "out_of_range",
        "unimplemented",
        "internal",
        "unavailable",
        "data_loss",
        "unauthenticated",
    ];
    codes.get(status.parse::<usize>()?).copied().with_context(|| format!("grpc-status {status}"))
}
