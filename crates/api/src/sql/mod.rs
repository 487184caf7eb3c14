//! `POST /api/v1/sql` and `GET /api/v1/sql/schema`: statements over the tables, answered as JSON or as an
//! Arrow stream.

mod json;

use crate::app::{App, blocking};
use crate::error::ApiError;
use crate::{body, scan_headers};
use arrow::ipc::writer::StreamWriter;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use everflame_query::{Sql, SqlAnswer, SqlError, SqlErrorKind};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use serde_json::{Value, json};
use std::sync::Arc;

/// Media type of an Arrow stream.
const ARROW: &str = "application/vnd.apache.arrow.stream";

impl From<SqlError> for ApiError {
    fn from(error: SqlError) -> Self {
        match error.kind() {
            SqlErrorKind::Statement => Self::invalid(error),
            SqlErrorKind::TooLarge => Self::unprocessable(error),
            SqlErrorKind::Timeout => Self::deadline_exceeded(error),
            SqlErrorKind::Unavailable => Self::unavailable(error),
            SqlErrorKind::Internal => Self::internal(error),
        }
    }
}

/// Answers a statement: the body is `{"query": …}`, or the statement itself.
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let form = Form::of(&headers)?;
    let bytes = body::read(&headers, body, app.load.budget()).await?;
    let statement = statement(&headers, &bytes)?;
    let answer = app.sql.query(&statement).await?;
    app.metrics.scan(&answer.stats, answer.warnings.len());
    let scanned = scan_headers::of(&answer.stats, &answer.warnings);
    let bytes = blocking(move || form.write(&answer)).await??;
    Ok((scanned, [(CONTENT_TYPE, form.media_type()), (VARY, "accept")], bytes).into_response())
}

/// What statements can read.
pub(crate) async fn schema() -> Json<Value> {
    let relations = Sql::schema().into_iter().map(|relation| {
        let columns = relation.columns.into_iter().map(|column| {
            json!({
                "name": column.name,
                "type": column.data_type,
                "nullable": column.nullable,
                "description": column.description,
            })
        });
        json!({
            "name": relation.name,
            "kind": relation.kind,
            "description": relation.description,
            "columns": columns.collect::<Vec<_>>(),
        })
    });
    Json(json!({ "tables": relations.collect::<Vec<_>>() }))
}

/// The statement in a body.
fn statement(headers: &HeaderMap, body: &[u8]) -> Result<String, ApiError> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_json = media_type.to_ascii_lowercase().contains("json");
    // No statement begins with a brace.
    if !is_json && body.trim_ascii_start().first() != Some(&b'{') {
        return match std::str::from_utf8(body) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(ApiError::invalid(format_args!("the statement is not UTF-8: {error}"))),
        };
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        ApiError::invalid(format_args!(
            "the body is no JSON: {error}; send {{\"query\": \"SELECT …\"}}, or the statement as text/plain"
        ))
    })?;
    match value.get("query").and_then(Value::as_str) {
        Some(query) => Ok(query.to_owned()),
        None => Err(ApiError::invalid("\"query\" is missing; send {\"query\": \"SELECT …\"}")),
    }
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Arrow,
}

impl Form {
    /// The one that the client names first; JSON when it takes anything.
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut named = accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim());
        if accept.trim().is_empty() {
            return Ok(Self::Json);
        }
        let form = named.find_map(|name| match name.to_ascii_lowercase().as_str() {
            ARROW => Some(Self::Arrow),
            "application/json" | "application/*" | "*/*" => Some(Self::Json),
            _ => None,
        });
        form.ok_or_else(|| {
            ApiError::not_acceptable(format_args!(
                "answers are application/json or {ARROW}, not {accept}; name one of them in Accept"
            ))
        })
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Arrow => ARROW,
        }
    }

    fn write(self, answer: &SqlAnswer) -> Result<Vec<u8>, ApiError> {
        let written = match self {
            Self::Json => json::answer(answer),
            Self::Arrow => arrow_stream(answer),
        };
        written.map_err(|error| {
            ApiError::internal(format_args!("the answer could not be written: {error}; please report it"))
        })
    }
}

fn arrow_stream(answer: &SqlAnswer) -> Result<Vec<u8>, arrow::error::ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), &answer.schema)?;
    for batch in &answer.batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    writer.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, http::HeaderValue::from_static(value))])
    }

    #[test]
    fn statements() {
        let json = || headers(CONTENT_TYPE, "application/json; charset=utf-8");
        let check = |headers: HeaderMap, body: &str| statement(&headers, body.as_bytes()).ok();
        assert_eq!(check(json(), r#"{"query": "SELECT 1"}"#).as_deref(), Some("SELECT 1"));
        assert_eq!(check(HeaderMap::new(), r#" {"query": "SELECT 1"}"#).as_deref(), Some("SELECT 1"));
        let form = headers(CONTENT_TYPE, "application/x-www-form-urlencoded");
        assert_eq!(check(form, "SELECT 1").as_deref(), Some("SELECT 1"));
        for wrong in ["SELECT 1", "{}", r#"{"query": 1}"#] {
            assert_eq!(check(json(), wrong), None, "{wrong}");
        }
    }

    #[test]
    fn forms() {
        for (accept, expect) in [
            ("", Some(Form::Json)),
            ("*/*", Some(Form::Json)),
            ("application/json, text/plain", Some(Form::Json)),
            ("application/vnd.apache.arrow.stream", Some(Form::Arrow)),
            ("application/vnd.apache.arrow.stream;q=1, */*", Some(Form::Arrow)),
            ("text/csv", None),
        ] {
            assert_eq!(Form::of(&headers(ACCEPT, accept)).ok(), expect, "{accept}");
        }
    }
}
