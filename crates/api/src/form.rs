//! A refusal in the form of the wire that it answers, where it is not the wire's own code that refuses.

use crate::error::ApiError;
use crate::{otlp, parca, profefe};
use axum::response::{IntoResponse, Response};
use everflame_ingest::OtlpEncoding;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::fmt::Write;

/// What Content-Types of gRPC and of gRPC-Web begin with.
const GRPC: &[u8] = b"application/grpc";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// How a wire says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Trailers without a body, in the Content-Type of the request: gRPC and gRPC-Web.
    Grpc(HeaderValue),
    /// `google.rpc.Status`.
    Otlp(OtlpEncoding),
    /// `{"code","error"}`, the code an HTTP status.
    Profefe,
    /// `{"code","message","details"}`, the code a number of gRPC.
    Gateway,
    /// `{"code","message"}`, the code a name: Connect's, and all other wires'.
    Named,
}

impl Form {
    /// The form for a request to `path`.
    pub(crate) fn of(path: &str, headers: &HeaderMap) -> Self {
        let content_type = headers.get(CONTENT_TYPE);
        let is_grpc = |value: &&HeaderValue| {
            value.as_bytes().get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
        };
        if let Some(grpc) = content_type.filter(is_grpc) {
            return Self::Grpc(grpc.clone());
        }
        match (path, otlp::encoding(headers)) {
            (otlp::PATH | otlp::GRPC_PATH, Some(encoding)) => Self::Otlp(encoding),
            (otlp::PATH, None) => Self::Otlp(OtlpEncoding::Json),
            _ if path.starts_with("/api/0/") => Self::Profefe,
            _ if parca::is_gateway(path) => Self::Gateway,
            _ => Self::Named,
        }
    }

    /// `error` in this form.
    pub(crate) fn refuse(&self, error: ApiError) -> Response {
        match self {
            Self::Grpc(content_type) => trailers(content_type, &error),
            Self::Otlp(encoding) => otlp::refused(error, *encoding),
            Self::Profefe => profefe::Refusal::from(error).into_response(),
            Self::Gateway => parca::refused(&error),
            Self::Named => error.into_response(),
        }
    }
}

/// An answer of trailers alone, which are in the head then.
fn trailers(content_type: &HeaderValue, error: &ApiError) -> Response {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type.clone());
    headers.insert(GRPC_STATUS, HeaderValue::from(error.grpc_code()));
    if let Ok(message) = HeaderValue::try_from(percent_encoded(&error.to_string())) {
        headers.insert(GRPC_MESSAGE, message);
    }
    if let Some(later) = error.retry_after() {
        headers.insert(http::header::RETRY_AFTER, later.into());
    }
    response
}

/// As gRPC writes messages: what is no printable ASCII, and `%`, in hexadecimal.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => _ = write!(out, "%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn every_wire_has_its_own() {
        let json = "application/json";
        for (path, content_type, status, expect) in [
            ("/v1development/profiles", "application/x-protobuf", 503, "\u{8}\u{e}\u{12}\u{8}100 % ü"),
            ("/v1development/profiles", "text/plain", 503, r#"{"code":14,"message":"100 % ü"}"#),
            (otlp::GRPC_PATH, "application/json", 503, r#"{"code":14,"message":"100 % ü"}"#),
            (otlp::GRPC_PATH, "application/grpc", 200, ""),
            ("/push.v1.PusherService/Push", "application/grpc-web+proto", 200, ""),
            ("/push.v1.PusherService/Push", json, 503, r#"{"code":"unavailable","message":"100 % ü"}"#),
            ("/api/0/profiles", "", 503, r#"{"code":503,"error":"100 % ü"}"#),
            ("/api/profiles/writeraw", json, 503, r#"{"code":14,"details":[],"message":"100 % ü"}"#),
            ("/api/v1/sql", json, 503, r#"{"code":"unavailable","message":"100 % ü"}"#),
        ] {
            let content_type = HeaderValue::from_static(content_type);
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type.clone())]);
            let answer = Form::of(path, &headers).refuse(ApiError::unavailable("100 % ü"));
            assert_eq!(answer.status(), status, "{path}");
            assert_eq!(answer.headers()["retry-after"], "2", "{path}");
            if status == 200 {
                let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
                assert_eq!(header("content-type"), content_type, "{path}");
                assert_eq!(header("grpc-status"), "14", "{path}");
                assert_eq!(header("grpc-message"), "100 %25 %C3%BC", "{path}");
            }
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, expect.as_bytes(), "{path}");
        }
    }
}
