//! One request to the other end, within bounds of time and memory.

use crate::reply::{self, Reply};
use crate::target::{Protocol, Target};
use crate::via::{VIA_HEADER, Via};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::{Bytes, BytesMut};
use everflame_formats::{gzip, otlp};
use everflame_profile::Nanos;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER, TE};
use http_body_util::BodyExt;
use std::time::Duration;

/// How long a connection may take to be made, and an answer to arrive as a whole.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of an answer that are kept.
const MAX_ANSWER: usize = 64 << 10;
/// The head of a message of gRPC: whether it is compressed, and its length.
const GRPC_HEAD: usize = 5;

/// Sends messages to one place.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    target: Target,
}

impl Client {
    pub(crate) fn new(target: Target) -> Result<Self, reqwest::Error> {
        let builder = client();
        let http = match target.protocol {
            Protocol::OtlpGrpc => builder.http2_prior_knowledge(),
            Protocol::Push | Protocol::OtlpHttp => builder,
        };
        Ok(Self { http: http.build()?, target })
    }

    /// The body of a request with `message` in it.
    pub(crate) fn body(protocol: Protocol, message: &[u8]) -> Bytes {
        let compressed = gzip::deflate(message);
        match protocol {
            Protocol::Push | Protocol::OtlpHttp => compressed.into(),
            Protocol::OtlpGrpc => {
                let mut body = Vec::with_capacity(GRPC_HEAD + compressed.len());
                body.push(1);
                body.extend_from_slice(&u32::try_from(compressed.len()).unwrap_or(u32::MAX).to_be_bytes());
                body.extend_from_slice(&compressed);
                body.into()
            }
        }
    }

    /// Sends `body`, which came through `via`, this server being the last; `now` is the time, for answers that name
    /// one.
    pub(crate) async fn send(&self, body: Bytes, via: &Via, now: Nanos) -> Reply {
        let request = self.http.post(self.target.url.clone()).headers(self.target.headers.clone()).body(body);
        let request = request.header(VIA_HEADER, via.to_string());
        let request = match self.target.protocol {
            Protocol::Push => {
                request.header(CONTENT_TYPE, "application/proto").header(CONTENT_ENCODING, "gzip")
            }
            Protocol::OtlpHttp => {
                request.header(CONTENT_TYPE, "application/x-protobuf").header(CONTENT_ENCODING, "gzip")
            }
            Protocol::OtlpGrpc => {
                let request = request.header(CONTENT_TYPE, "application/grpc").header(TE, "trailers");
                request.header("grpc-encoding", "gzip").header("grpc-accept-encoding", "identity")
            }
        };
        let (head, body, trailers) = match answer(request).await {
            Ok(answer) => answer,
            Err(why) => return Reply::Later { after: None, why },
        };
        let after = |headers: &HeaderMap| retry_after(headers, now);
        if self.target.protocol != Protocol::OtlpGrpc || !head.status.is_success() {
            let is_success = head.status.is_success();
            if is_success && reply::is_page(&head.headers, &body) {
                let why = reply::something_else(self.target.endpoint(), &head, &body);
                return Reply::Later { after: None, why };
            }
            return match reply::of_http(&head, after(&head.headers), &body) {
                // Only OTLP says in an answer of success what was not taken.
                Reply::Taken { .. } if is_success && self.target.protocol == Protocol::Push => {
                    Reply::Taken { rejected: 0, why: String::new() }
                }
                reply => reply,
            };
        }
        // An answer without a message has its status in front.
        let last = if head.headers.contains_key("grpc-status") { &head.headers } else { &trailers };
        let text = |name| last.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        let Some(code) = text("grpc-status").and_then(|code| code.parse().ok()) else {
            return Reply::Later { after: None, why: "the answer has no gRPC status".to_owned() };
        };
        let details = text("grpc-status-details-bin").unwrap_or_default();
        let details =
            STANDARD_NO_PAD.decode(details).or_else(|_| STANDARD.decode(details)).unwrap_or_default();
        let after = otlp::retry_delay(&details).or_else(|| after(last)).or_else(|| after(&head.headers));
        reply::of_grpc(
            code,
            text("grpc-message").unwrap_or_default(),
            after,
            body.get(GRPC_HEAD..).unwrap_or_default(),
        )
    }
}

/// A client that waits for nobody forever.
pub(crate) fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .timeout(TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        // Whoever answers elsewhere must not get the headers.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("everflame/", env!("CARGO_PKG_VERSION")))
}

/// Head, start of the body, and trailers of the answer to `request`, or why there is none.
pub(crate) async fn answer(
    request: reqwest::RequestBuilder,
) -> Result<(http::response::Parts, Bytes, HeaderMap), String> {
    let answer = request.send().await.map_err(unreachable_end)?;
    let (head, body) = http::Response::<reqwest::Body>::from(answer).into_parts();
    let (body, trailers) = collect(body).await.map_err(unreachable_end)?;
    Ok((head, body, trailers))
}

/// When the other end wants to be asked again.
pub(crate) fn retry_after(headers: &HeaderMap, now: Nanos) -> Option<Duration> {
    reply::retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

/// The start of a body, and its trailers.
async fn collect(mut body: reqwest::Body) -> Result<(Bytes, HeaderMap), reqwest::Error> {
    let (mut start, mut trailers) = (BytesMut::new(), HeaderMap::new());
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                let room = MAX_ANSWER.saturating_sub(start.len()).min(data.len());
                start.extend_from_slice(data.get(..room).unwrap_or_default());
            }
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Ok((start.freeze(), trailers))
}

/// Nobody there, too late, or gone in the middle.
fn unreachable_end(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut why = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    why
}
