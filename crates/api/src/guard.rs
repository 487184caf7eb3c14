//! What stands around every request: load bounds, panics, request id, access log, counters.

use crate::app::App;
use crate::error::ApiError;
use crate::form::Form;
use crate::metrics::Wire;
use crate::patience::GivenUp;
use crate::{debug_files, parca, reflection};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Uri};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken over from a client.
const MAX_REQUEST_ID: usize = 128;

/// Runs `request` within the server's bounds.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let wire = Wire::of(request.uri().path());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let form = Form::of(&path, request.headers());
    let id = request_id(&request);
    // Who asks for pages and health is nobody that profiles come from or go to.
    if !matches!(wire, Wire::Health | Wire::Other) {
        let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        app.watch.client(app.now(), wire, agent.unwrap_or_default());
    }
    let mut response = match app.load.admit() {
        Err(refusal) if wire != Wire::Health => form.refuse(refusal),
        Err(_) => next.run(request).await,
        Ok(admission) => {
            let given_up = GivenUp::default();
            let request = match debug_files::is_upload(&path) {
                true => request,
                false if is_stream(&path) => request.map(|body| admission.meter(body)),
                false => request.map(|body| given_up.wait_for(admission.meter(body), app.config.patience)),
            };
            let response = AssertUnwindSafe(next.run(request)).catch_unwind().await;
            match (admission.refusal().or_else(|| given_up.refusal()), response) {
                (Some(refusal), _) => form.refuse(refusal),
                (None, Ok(response)) => response,
                (None, Err(_)) => {
                    let message =
                        "the server has a bug that this request found; its log says where. Please report it";
                    form.refuse(ApiError::internal(message))
                }
            }
        }
    };
    let (status, elapsed) = (response.status(), start.elapsed());
    app.metrics.request(wire, status, elapsed);
    tracing::debug!(%method, %path, status = status.as_u16(), ms = elapsed.as_secs_f64() * 1e3, id = ?id, "request");
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Whether clients of `path` keep a stream open, whose silence is the method's own matter.
fn is_stream(path: &str) -> bool {
    path.ends_with(parca::WRITE) || path.starts_with(reflection::PREFIX)
}

fn request_id(request: &Request) -> HeaderValue {
    match request.headers().get(REQUEST_ID) {
        Some(id) if id.len() <= MAX_REQUEST_ID => id.clone(),
        _ => {
            let id = uuid::Uuid::new_v4().simple().to_string();
            HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("none"))
        }
    }
}

/// The request as most clients write it: one slash where there are several, because they put paths behind a base URL
/// that may end with one, and names of codings and media types in lower case.
pub(crate) fn tidy(mut request: Request) -> Request {
    for name in [CONTENT_ENCODING, CONTENT_TYPE] {
        if let Some(value) = request.headers().get(&name).and_then(lower_case) {
            request.headers_mut().insert(name, value);
        }
    }
    collapse_slashes(request)
}

/// `value` in lower case up to its parameters, which may be a matter of case; nothing when it is so.
fn lower_case(value: &HeaderValue) -> Option<HeaderValue> {
    let end = value.as_bytes().iter().position(|&byte| byte == b';').unwrap_or(value.len());
    let mut bytes = value.as_bytes().to_vec();
    let name = bytes.get_mut(..end)?;
    if !name.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    name.make_ascii_lowercase();
    HeaderValue::from_bytes(&bytes).ok()
}

fn collapse_slashes(mut request: Request) -> Request {
    if request.uri().path().contains("//") {
        let mut path = String::with_capacity(request.uri().path().len());
        for c in request.uri().path().chars() {
            if c != '/' || !path.ends_with('/') {
                path.push(c);
            }
        }
        if let Some(query) = request.uri().query() {
            path.push('?');
            path.push_str(query);
        }
        let mut parts = request.uri().clone().into_parts();
        if let Ok(path) = PathAndQuery::try_from(path) {
            parts.path_and_query = Some(path);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_collapse_in_the_path_alone() {
        let check = |uri: &str, expect: &str| {
            let request = Request::builder().uri(uri).body(Default::default()).unwrap();
            assert_eq!(collapse_slashes(request).uri(), expect);
        };
        check("//ingest?name=a//b", "/ingest?name=a//b");
        check("http://host:1/a///b//", "http://host:1/a/b/");
        check("/a/b", "/a/b");
    }

    #[test]
    fn names_are_in_lower_case_and_parameters_as_they_were() {
        let check = |value: &'static str, expect: &str| {
            let value = HeaderValue::from_static(value);
            assert_eq!(lower_case(&value).unwrap_or(value), expect);
        };
        check("GZIP", "gzip");
        check("Application/JSON", "application/json");
        check("Multipart/Form-Data; boundary=aB", "multipart/form-data; boundary=aB");
        check("text/plain; charset=UTF-8", "text/plain; charset=UTF-8");
        check("", "");
    }
}
