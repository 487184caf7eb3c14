//! What a request is refused with: one type for all wires, with place and remedy in its text.

use axum::Json;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use connectrpc::{ConnectError, ErrorCode, ErrorDetail};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use std::fmt;
use std::time::Duration;

/// Seconds after which a client that was turned away should come back.
const RETRY_AFTER_SECONDS: u64 = 2;

/// A refusal. Becomes `{"code","message"}` on HTTP and a status on RPC wires.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ApiError {
    code: ErrorCode,
    status: StatusCode,
    message: String,
    /// When to come back, where it is not the usual time.
    retry_after: Option<Duration>,
}

impl ApiError {
    fn new(code: ErrorCode, message: impl fmt::Display) -> Self {
        Self { code, status: code.http_status(), message: message.to_string(), retry_after: None }
    }

    /// 400: the request says something that it must not.
    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// 422: the body is not what it claims to be.
    pub(crate) fn unprocessable(message: impl fmt::Display) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, ..Self::invalid(message) }
    }

    /// 413 on HTTP, `resource_exhausted` on RPC wires.
    pub(crate) fn too_large(message: impl fmt::Display) -> Self {
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, ..Self::new(ErrorCode::ResourceExhausted, message) }
    }

    /// 404.
    pub(crate) fn not_found(message: impl fmt::Display) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// 409: there is something newer.
    pub(crate) fn already_exists(message: impl fmt::Display) -> Self {
        Self::new(ErrorCode::AlreadyExists, message)
    }

    /// 400: it could be done at another time, but not now.
    pub(crate) fn failed_precondition(message: impl fmt::Display) -> Self {
        Self::new(ErrorCode::FailedPrecondition, message)
    }

    /// 405.
    pub(crate) fn method_not_allowed(message: impl fmt::Display) -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, ..Self::new(ErrorCode::Unimplemented, message) }
    }

    /// 406: the answer cannot be written in a form that the client takes.
    #[cfg(feature = "sql")]
    pub(crate) fn not_acceptable(message: impl fmt::Display) -> Self {
        Self { status: StatusCode::NOT_ACCEPTABLE, ..Self::invalid(message) }
    }

    /// 415.
    pub(crate) fn unsupported_media_type(message: impl fmt::Display) -> Self {
        Self { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, ..Self::invalid(message) }
    }

    /// 408: the body did not arrive.
    pub(crate) fn unreadable(message: impl fmt::Display) -> Self {
        Self { status: StatusCode::REQUEST_TIMEOUT, ..Self::new(ErrorCode::Canceled, message) }
    }

    /// 429: too much at once; later it will do.
    pub(crate) fn busy(message: impl fmt::Display) -> Self {
        Self::new(ErrorCode::ResourceExhausted, message)
    }

    /// 503 on HTTP, `resource_exhausted` on RPC wires: memory is short now; later it will do.
    pub(crate) fn exhausted(message: impl fmt::Display) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, ..Self::new(ErrorCode::ResourceExhausted, message) }
    }

    /// 501: nothing that this version does.
    pub(crate) fn unimplemented(message: impl fmt::Display) -> Self {
        Self::new(ErrorCode::Unimplemented, message)
    }

    /// 503: later it will do.
    pub(crate) fn unavailable(message: impl fmt::Display) -> Self {
        Self::new(ErrorCode::Unavailable, message)
    }

    /// 504: the query took too long.
    pub(crate) fn deadline_exceeded(message: impl fmt::Display) -> Self {
        Self::new(ErrorCode::DeadlineExceeded, message)
    }

    /// 500: our fault.
    pub(crate) fn internal(message: impl fmt::Display) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    /// The same with `place` in front, for a fault in one of several parts.
    pub(crate) fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// The same on wires that know no finer status than 400.
    pub(crate) fn without_422(self) -> Self {
        let status = match self.status {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            status => status,
        };
        Self { status, ..self }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether there is nothing of that name.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code == ErrorCode::NotFound
    }

    /// Whether it could be done at another time.
    pub(crate) fn is_failed_precondition(&self) -> bool {
        self.code == ErrorCode::FailedPrecondition
    }

    /// The number of the status that gRPC gives this.
    pub(crate) fn grpc_code(&self) -> u32 {
        self.code.grpc_code()
    }

    /// Seconds after which a client should come back; nothing when that would not help.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        let later = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
        let seconds = |wait: Duration| wait.as_millis().div_ceil(1_000).max(1);
        let own = self.retry_after.map(|wait| u64::try_from(seconds(wait)).unwrap_or(u64::MAX));
        later.contains(&self.status).then(|| own.unwrap_or(RETRY_AFTER_SECONDS))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "code": self.code.as_str(), "message": self.message });
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<ApiError> for ConnectError {
    fn from(error: ApiError) -> Self {
        let retry_after = error.retry_after();
        let mut answer = Self::new(error.code, error.message);
        if let Some(seconds) = retry_after {
            answer.response_headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            answer = answer.with_detail(retry_info(seconds));
        }
        answer
    }
}

/// `google.rpc.RetryInfo`, without which senders of OpenTelemetry do not try again. Field 1 is the delay, in it
/// field 1 the seconds.
fn retry_info(seconds: u64) -> ErrorDetail {
    let mut delay = vec![0x08];
    let mut rest = seconds;
    while rest >= 0x80 {
        delay.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    delay.push(rest as u8);
    let mut message = vec![0x0a, delay.len() as u8];
    message.append(&mut delay);
    ErrorDetail {
        type_url: "google.rpc.RetryInfo".to_owned(),
        value: Some(STANDARD_NO_PAD.encode(message)),
        debug: None,
    }
}

impl From<everflame_ingest::Error> for ApiError {
    fn from(error: everflame_ingest::Error) -> Self {
        use everflame_ingest::ErrorKind;
        match error.kind() {
            ErrorKind::InvalidArgument => Self::invalid(error),
            ErrorKind::Unprocessable => Self::unprocessable(error),
            ErrorKind::TooLarge => Self::too_large(error),
            ErrorKind::RateLimited => Self { retry_after: error.retry_after(), ..Self::busy(error) },
            ErrorKind::Unavailable => Self::unavailable(error),
            ErrorKind::Internal => Self::internal(error),
        }
    }
}

impl From<everflame_lake::Error> for ApiError {
    fn from(error: everflame_lake::Error) -> Self {
        match error.kind() {
            everflame_lake::ErrorKind::Unavailable => Self::unavailable(error),
            _ => Self::internal(error),
        }
    }
}

impl From<everflame_query::Error> for ApiError {
    fn from(error: everflame_query::Error) -> Self {
        use everflame_query::ErrorKind;
        match error.kind() {
            // Asking again does not make the question smaller, so that it is not called a matter of load.
            ErrorKind::InvalidArgument | ErrorKind::TooLarge => Self::invalid(error),
            ErrorKind::Timeout => Self::deadline_exceeded(error),
            ErrorKind::Unavailable => Self::unavailable(error),
            ErrorKind::Internal => Self::internal(error),
        }
    }
}
