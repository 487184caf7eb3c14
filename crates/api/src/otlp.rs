//! OpenTelemetry profiles: gRPC, and HTTP with protobuf or JSON.
//!
//! An export is taken as a whole. Profiles in it that cannot be read are counted in the answer (partial
//! success) and do not keep the others out; senders do not send them again.

use crate::app::App;
use crate::body;
use crate::error::ApiError;
use crate::wire::opentelemetry::proto::collector::profiles::v1development::{
    ExportProfilesPartialSuccess, ExportProfilesServiceRequest, ExportProfilesServiceResponse,
    ProfilesService,
};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use buffa::Message;
use connectrpc::{RequestContext, Response as RpcResponse, ServiceRequest, ServiceResult};
use everflame_forward::Via;
use everflame_ingest::{OtlpEncoding, OtlpStored};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use std::sync::Arc;

/// The path of OTLP over HTTP.
pub(crate) const PATH: &str = "/v1development/profiles";
/// The path of the gRPC method.
pub(crate) const GRPC_PATH: &str =
    "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";

pub(crate) struct Exports(pub(crate) Arc<App>);

impl ProfilesService for Exports {
    async fn export(
        &self,
        context: RequestContext,
        request: ServiceRequest<'_, ExportProfilesServiceRequest>,
    ) -> ServiceResult<ExportProfilesServiceResponse> {
        let via = Via::of_request(context.headers());
        let stored = self.0.ingest.otlp(request.bytes().clone(), OtlpEncoding::Protobuf, via).await;
        RpcResponse::ok(answer(stored.map_err(refusal)?))
    }
}

/// `POST` to [`PATH`].
pub(crate) async fn post(State(app): State<Arc<App>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Some(encoding) = encoding(&head.headers) else {
        let error = ApiError::unsupported_media_type(
            "send OTLP profiles with Content-Type application/x-protobuf or application/json, or over gRPC",
        );
        return refused(error, OtlpEncoding::Json);
    };
    let stored = async {
        let body = body::read_upload(&head.headers, body, &app, "").await.map_err(ApiError::without_422)?;
        app.ingest.otlp(body, encoding, Via::of_request(&head.headers)).await.map_err(refusal)
    };
    match stored.await {
        Ok(stored) => encoded(StatusCode::OK, encoding, answer(stored)),
        Err(error) => refused(error, encoding),
    }
}

/// How the body of an HTTP request is encoded, and its answer has to be; nothing when it is of another kind.
pub(crate) fn encoding(headers: &HeaderMap) -> Option<OtlpEncoding> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if ["application/x-protobuf", "application/protobuf"]
        .iter()
        .any(|name| media_type.eq_ignore_ascii_case(name))
    {
        return Some(OtlpEncoding::Protobuf);
    }
    media_type.eq_ignore_ascii_case("application/json").then_some(OtlpEncoding::Json)
}

/// The fault of an export is 400 on this wire, whatever it is.
fn refusal(error: everflame_ingest::Error) -> ApiError {
    ApiError::from(error).without_422()
}

fn answer(stored: OtlpStored) -> ExportProfilesServiceResponse {
    let mut answer = ExportProfilesServiceResponse::default();
    if stored.rejected > 0 {
        answer.partial_success = Some(ExportProfilesPartialSuccess {
            rejected_profiles: stored.rejected as i64,
            error_message: stored.reason,
            ..Default::default()
        })
        .into();
    }
    answer
}

fn encoded(status: StatusCode, encoding: OtlpEncoding, answer: ExportProfilesServiceResponse) -> Response {
    match encoding {
        OtlpEncoding::Protobuf => protobuf(status, answer.encode_to_vec()),
        OtlpEncoding::Json => {
            let json = match answer.partial_success.as_option() {
                None => serde_json::json!({}),
                Some(partial) => serde_json::json!({ "partialSuccess": {
                    "rejectedProfiles": partial.rejected_profiles.to_string(),
                    "errorMessage": partial.error_message,
                }}),
            };
            (status, axum::Json(json)).into_response()
        }
    }
}

fn protobuf(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    response
}

/// A refusal as `google.rpc.Status`, in the encoding of the request.
pub(crate) fn refused(error: ApiError, encoding: OtlpEncoding) -> Response {
    let (code, message) = (error.grpc_code(), error.to_string());
    let mut response = match encoding {
        OtlpEncoding::Protobuf => {
            // Status has two fields that matter: 1 code, 2 message.
            let mut status = vec![0x08, code as u8 & 0x7f, 0x12];
            let mut length = message.len();
            while length >= 0x80 {
                status.push(length as u8 | 0x80);
                length >>= 7;
            }
            status.push(length as u8);
            status.extend_from_slice(message.as_bytes());
            protobuf(error.status(), status)
        }
        OtlpEncoding::Json => {
            (error.status(), axum::Json(serde_json::json!({ "code": code, "message": message })))
                .into_response()
        }
    };
    // What else a refusal says, such as when to come back.
    let mut plain = error.into_response();
    plain.headers_mut().remove(CONTENT_TYPE);
    plain.headers_mut().remove(http::header::CONTENT_LENGTH);
    response.headers_mut().extend(std::mem::take(plain.headers_mut()));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[test]
    fn content_types() {
        for (content_type, expect) in [
            ("application/x-protobuf", Some(OtlpEncoding::Protobuf)),
            ("Application/Protobuf; charset=utf-8", Some(OtlpEncoding::Protobuf)),
            ("application/json; charset=utf-8", Some(OtlpEncoding::Json)),
            ("application/grpc", None),
            ("text/plain", None),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            assert_eq!(encoding(&headers), expect, "{content_type}");
        }
        assert_eq!(encoding(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn answers_are_in_the_encoding_of_the_request() {
        let body = async |response: Response| response.into_body().collect().await.unwrap().to_bytes();
        let partial = || OtlpStored { profiles: 3, rejected: 2, reason: "why".to_owned() };
        let json = encoded(StatusCode::OK, OtlpEncoding::Json, answer(partial()));
        assert_eq!(
            body(json).await,
            r#"{"partialSuccess":{"errorMessage":"why","rejectedProfiles":"2"}}"#.as_bytes()
        );
        let protobuf = encoded(StatusCode::OK, OtlpEncoding::Protobuf, answer(partial()));
        assert_eq!(protobuf.headers()[CONTENT_TYPE], "application/x-protobuf");
        assert_eq!(body(protobuf).await, &b"\x0a\x07\x08\x02\x12\x03why"[..]);
        let whole = OtlpStored { profiles: 3, ..OtlpStored::default() };
        assert!(body(encoded(StatusCode::OK, OtlpEncoding::Protobuf, answer(whole))).await.is_empty());
        let later = refused(ApiError::unavailable("full"), OtlpEncoding::Protobuf);
        assert_eq!(
            (later.status(), later.headers()["retry-after"].to_str().unwrap()),
            (StatusCode::SERVICE_UNAVAILABLE, "2")
        );
        assert_eq!(body(later).await, &b"\x08\x0e\x12\x04full"[..]);
        let wrong = refused(ApiError::invalid("bad"), OtlpEncoding::Json);
        assert_eq!(
            (wrong.status(), wrong.headers()[CONTENT_TYPE].to_str().unwrap()),
            (StatusCode::BAD_REQUEST, "application/json")
        );
        assert_eq!(body(wrong).await, r#"{"code":3,"message":"bad"}"#.as_bytes());
    }
}
