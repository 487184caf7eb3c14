//! What is answered on paths that do not exist, and to methods that a path does not know.

use crate::error::ApiError;
use crate::form::Form;
use crate::{body, debug_files};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::ALLOW;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};

const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// Says where things are.
pub(crate) async fn path(uri: Uri) -> ApiError {
    ApiError::not_found(format_args!(
        "nothing is at {:?}. Profiles come in at /ingest, /push.v1.PusherService/Push, /v1development/profiles, \
         /parca.profilestore.v1alpha1.ProfileStoreService/* and /api/0/profiles; \
         questions go to /querier.v1.QuerierService/*, /pyroscope/render, /pyroscope/render-diff, \
         /pyroscope/label-values, /api/v1/pprof, /api/v1/flamegraph, /api/v1/heatmap, /api/v1/profiles, \
          /api/v1/spans, /api/v1/sql, /parca.query.v1alpha1.QueryService/* and /api/profiles/*; the state is at /ready, \
          /metrics, /api/v1/status and \
         /api/v1/status/buildinfo; the UI is at /",
        uri.path()
    ))
}

/// 405.
pub(crate) async fn method(method: Method, uri: Uri) -> ApiError {
    ApiError::method_not_allowed(format_args!(
        "{} does not know the method {method}; see the Allow header",
        uri.path()
    ))
}

/// Answers gRPC in its own way where nothing is, and names no methods of what is not there.
pub(crate) async fn settle(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let form = Form::of(&path, request.headers());
    let mut response = next.run(request).await;
    if response.status() != StatusCode::NOT_FOUND {
        return response;
    }
    response.headers_mut().remove(ALLOW);
    match form {
        Form::Grpc(_) => {
            let method = path.trim_start_matches('/');
            form.refuse(ApiError::unimplemented(format_args!("method not found: {method}")))
        }
        _ => response,
    }
}

/// Refuses what is too large for an RPC service before it is read, and says why a service has refused a method or a
/// Content-Type; by itself it does so without a body.
pub(crate) async fn explain_rpc(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (head, body) = request.into_parts();
    let body = match debug_files::is_upload(&path) {
        true => body,
        false => match body::check_announced(&head.headers, body) {
            Ok(body) => body,
            Err(error) => return Form::of(&path, &head.headers).refuse(error),
        },
    };
    let response = next.run(Request::from_parts(head, body)).await;
    let refusal = match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => {
            ApiError::method_not_allowed(format_args!("{path} does not know the method {method}; send POST"))
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ApiError::unsupported_media_type(format_args!(
            "{path} does not know the Content-Type; send application/proto or application/json, or speak gRPC"
        )),
        _ => return response,
    };
    let mut answer = refusal.into_response();
    for name in [ALLOW, ACCEPT_POST] {
        if let Some(value) = response.headers().get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    if answer.status() == StatusCode::METHOD_NOT_ALLOWED {
        answer.headers_mut().entry(ALLOW).or_insert(HeaderValue::from_static("POST"));
    }
    answer
}
