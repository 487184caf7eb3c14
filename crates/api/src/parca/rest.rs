//! The JSON gateway: what the services answer on plain paths below `/api`.
//!
//! Parameters of a GET name the fields of the request, `.` between a field and one of its own, in either
//! spelling; of a POST the body is the request. Answers have all their fields, also those that say nothing. A refusal
//! has the number of its gRPC status.

use super::agents::Agents;
use super::{debuginfo, defaults, query, store, telemetry};
use crate::app::App;
use crate::body;
use crate::error::ApiError;
use crate::params::Params;
use crate::wire::parca::debuginfo::v1alpha1 as debug;
use crate::wire::parca::profilestore::v1alpha1 as profiles;
use crate::wire::parca::query::v1alpha1 as queries;
use crate::wire::parca::scrape::v1alpha1::{TargetsRequest, TargetsResponse};
use crate::wire::parca::telemetry::v1alpha1::ReportPanicRequest;
use axum::Router;
use axum::extract::{Path, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use buffa::MessageName;
use bytes::Bytes;
use everflame_ingest::ParcaSeries;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode, Uri};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Fields that may be given several times, in both spellings.
const LISTS: [&str; 4] = ["match", "sum_by", "sumBy", "fields"];
/// Fields that are yes or no, in both spellings.
const FLAGS: [&str; 11] = [
    "absolute",
    "invert_call_stack",
    "invertCallStack",
    "source_only",
    "sourceOnly",
    "show_python",
    "showPython",
    "show_ruby",
    "showRuby",
    "show_interpreted_only",
    "showInterpretedOnly",
];
/// How deep a parameter may reach into the fields of fields.
const MAX_DEPTH: usize = 8;

/// The paths.
pub(crate) fn routes(app: &Arc<App>, agents: &Arc<Agents>) -> Router<Arc<App>> {
    let range = asked(app, |app, request| async move { query::query_range(&app, request).await });
    let report = asked(app, |app, request| async move { query::query(&app, request).await });
    let types =
        asked(app, |app, request| async move { Ok(bare(query::profile_types(&app, request).await?)) });
    let labels = asked(app, |app, request| async move { Ok(bare(query::labels(&app, request).await?)) });
    let has_data = asked(app, |app, _: queries::HasProfileDataRequest| async move {
        Ok(bare(query::has_profile_data(&app).await?))
    });
    let series = asked(app, |_, _: queries::SeriesRequest| async {
        Err::<(HeaderMap, queries::SeriesResponse), _>(query::no_series())
    });
    let share = sent(app, |_, _: queries::ShareProfileRequest| async {
        Err::<queries::ShareProfileResponse, _>(query::no_sharing())
    });
    let should =
        sent(app, |app, request| async move { debuginfo::should_initiate_upload(&app, request).await });
    let initiate = sent(app, |app, request| async move { debuginfo::initiate_upload(&app, request).await });
    let upload = sent(app, |_, _: debug::UploadRequest| async {
        Err::<debug::UploadResponse, _>(debuginfo::upload_as_json())
    });
    let finished =
        sent(app, |app, request| async move { debuginfo::mark_upload_finished(&app, request).await });
    let targets = asked(app, |_, _: TargetsRequest| async { Ok(bare(TargetsResponse::default())) });
    let panicked =
        sent(app, |_, request: ReportPanicRequest| async move { Ok(telemetry::report_panic(&request)) });
    let pushing = agents.clone();
    let write_raw = sent(app, move |app, request| write_raw(app, pushing.clone(), request));
    let write_arrow = sent(app, |app, request: profiles::WriteArrowRequest| async move {
        store::write_arrow(&app, request.ipc_buffer.into()).await?;
        Ok(profiles::WriteArrowResponse::default())
    });
    let (listed, clock) = (agents.clone(), app.clock.clone());
    Router::new()
        .route("/api/profiles/query_range", get(range))
        .route("/api/profiles/query", get(report))
        .route("/api/profiles/types", get(types))
        .route("/api/profiles/labels", get(labels))
        .route("/api/profiles/labels/{label_name}/values", get(values(app)))
        .route("/api/profiles/series", get(series))
        .route("/api/profiles/has_profile_data", get(has_data))
        .route("/api/profiles/share", post(share))
        .route("/api/profiles/writeraw", post(write_raw))
        .route("/api/profiles/writearrow", post(write_arrow))
        .route("/api/shouldinitiateupload", post(should))
        .route("/api/initiateupload", post(initiate))
        .route("/api/upload", post(upload))
        .route("/api/markuploadfinished", post(finished))
        .route("/api/targets", get(targets))
        .route("/api/telemetry/panic", post(panicked))
        .route("/api/agents", get(async move || answer(Ok(bare(listed.list(clock.now()))))))
}

type Answer<T> = Result<(HeaderMap, T), ApiError>;

fn bare<T>(answer: T) -> (HeaderMap, T) {
    (HeaderMap::new(), answer)
}

/// A handler whose request is in the query string.
fn asked<M, T, F>(
    app: &Arc<App>,
    handle: impl Fn(Arc<App>, M) -> F + Clone + Send + Sync + 'static,
) -> impl Fn(Uri) -> std::pin::Pin<Box<dyn Future<Output = Response> + Send>> + Clone + Send + Sync + 'static
where
    M: DeserializeOwned + Send + 'static,
    T: Serialize + MessageName,
    F: Future<Output = Answer<T>> + Send + 'static,
{
    let app = app.clone();
    move |uri: Uri| {
        let (app, handle) = (app.clone(), handle.clone());
        Box::pin(async move {
            match of_query(&uri, Map::new()) {
                Ok(request) => answer(handle(app, request).await),
                Err(error) => refused(&error),
            }
        })
    }
}

/// A handler whose request is the body.
fn sent<M, T, F>(
    app: &Arc<App>,
    handle: impl Fn(Arc<App>, M) -> F + Clone + Send + Sync + 'static,
) -> impl Fn(Request) -> std::pin::Pin<Box<dyn Future<Output = Response> + Send>> + Clone + Send + Sync + 'static
where
    M: DeserializeOwned + Send + 'static,
    T: Serialize + MessageName,
    F: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    let app = app.clone();
    move |request: Request| {
        let (app, handle) = (app.clone(), handle.clone());
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let read = body::read(&head.headers, body, app.load.budget()).await;
            match read.and_then(|body| of_json(&body)) {
                Ok(request) => answer(handle(app, request).await.map(bare)),
                Err(error) => refused(&error),
            }
        })
    }
}

fn values(
    app: &Arc<App>,
) -> impl Fn(Path<String>, Uri) -> std::pin::Pin<Box<dyn Future<Output = Response> + Send>>
+ Clone
+ Send
+ Sync
+ 'static {
    let app = app.clone();
    move |Path(label_name): Path<String>, uri: Uri| {
        let app = app.clone();
        Box::pin(async move {
            let own = Map::from_iter([("label_name".to_owned(), label_name.into())]);
            match of_query(&uri, own) {
                Ok(request) => answer(query::values(&app, request).await.map(bare)),
                Err(error) => refused(&error),
            }
        })
    }
}

async fn write_raw(
    app: Arc<App>,
    agents: Arc<Agents>,
    request: profiles::WriteRawRequest,
) -> Result<profiles::WriteRawResponse, ApiError> {
    let body = Bytes::from(buffa::Message::encode_to_vec(&request));
    let series = request.series.into_iter().map(|series| ParcaSeries {
        labels: series
            .labels
            .into_option()
            .unwrap_or_default()
            .labels
            .into_iter()
            .map(|label| (label.name, label.value))
            .collect(),
        profiles: series.samples.into_iter().map(|sample| Bytes::from(sample.raw_profile)).collect(),
    });
    store::write_raw(&app, &agents, body, series.collect()).await?;
    Ok(profiles::WriteRawResponse::default())
}

fn of_json<M: DeserializeOwned>(body: &[u8]) -> Result<M, ApiError> {
    let body = if body.trim_ascii().is_empty() { &b"{}"[..] } else { body };
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::invalid("the body is not a JSON object; send {\"field\": value, …}"));
    }
    serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid(format_args!("the body is no such request: {error}")))
}

/// The request whose fields the parameters of `uri` name, beside those in `fields`.
fn of_query<M: DeserializeOwned>(uri: &Uri, mut fields: Map<String, Value>) -> Result<M, ApiError> {
    for (name, value) in Params::of(uri)?.iter() {
        let path: Vec<&str> = name.split('.').collect();
        if path.len() > MAX_DEPTH || path.iter().any(|part| part.is_empty()) {
            return Err(ApiError::invalid(format_args!("the parameter {name:?} names no field")));
        }
        place(&mut fields, &path, value).map_err(|error| error.at(format_args!("parameter {name}")))?;
    }
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| ApiError::invalid(format_args!("the parameters are no such request: {error}")))
}

fn place(fields: &mut Map<String, Value>, path: &[&str], value: &str) -> Result<(), ApiError> {
    match path {
        [] => Ok(()),
        [name] if LISTS.contains(name) => {
            match fields.entry(*name).or_insert_with(|| Value::Array(Vec::new())) {
                Value::Array(values) => values.push(value.into()),
                _ => return Err(ApiError::invalid("it is given as a field with fields, too")),
            }
            Ok(())
        }
        [name] => {
            let value = match value {
                "true" | "1" if FLAGS.contains(name) => true.into(),
                "false" | "0" if FLAGS.contains(name) => false.into(),
                // A name or a number.
                number
                    if ["mode", "report_type", "reportType"].contains(name)
                        && number.parse::<i32>().is_ok() =>
                {
                    number.parse::<i32>().unwrap_or_default().into()
                }
                other => other.into(),
            };
            match fields.insert((*name).to_owned(), value) {
                None => Ok(()),
                Some(_) => Err(ApiError::invalid("it is given twice; send it once")),
            }
        }
        [name, rest @ ..] => match fields.entry(*name).or_insert_with(|| Value::Object(Map::new())) {
            Value::Object(own) => place(own, rest, value),
            _ => Err(ApiError::invalid("a part of it is given as a value, too")),
        },
    }
}

fn answer<T: Serialize + MessageName>(result: Answer<T>) -> Response {
    let json = result.and_then(|(headers, answer)| {
        let json = defaults::written_out(&answer);
        Ok((
            headers,
            json.map_err(|error| ApiError::internal(format_args!("the answer is no JSON: {error}")))?,
        ))
    });
    match json {
        Ok((headers, json)) => ([(CONTENT_TYPE, "application/json")], headers, json).into_response(),
        Err(error) => refused(&error),
    }
}

/// Whether `path` is one of these.
pub(crate) fn is_gateway(path: &str) -> bool {
    let Some(name) = path.strip_prefix("/api/") else { return false };
    name.starts_with("profiles/")
        || [
            "shouldinitiateupload",
            "initiateupload",
            "upload",
            "markuploadfinished",
            "targets",
            "telemetry/panic",
            "agents",
        ]
        .contains(&name)
}

/// `{"code","message","details"}`, the code a number of gRPC.
pub(crate) fn refused(error: &ApiError) -> Response {
    let status = match error.status() {
        // The peer knows no finer ones.
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        status => status,
    };
    let body = json!({ "code": error.grpc_code(), "message": error.to_string(), "details": [] });
    let mut response = (status, axum::Json(body)).into_response();
    if let Some(later) = error.retry_after() {
        response.headers_mut().insert(http::header::RETRY_AFTER, later.into());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use buffa::EnumValue;

    #[test]
    fn parameters_name_fields() {
        let uri = "/x?mode=MODE_MERGE&merge.query=a:b:c:d:e&merge.start=2026-01-02T03:04:05Z&merge.end=2026-01-02T03:04:06.5Z\
            &report_type=2&nodeTrimThreshold=0.5&group_by.fields=labels.a&group_by.fields=timestamp&invert_call_stack=true\
            &runtime_filter.show_python=true&runtime_filter.showRuby=false";
        let request: queries::QueryRequest = of_query(&uri.parse().unwrap(), Map::new()).unwrap();
        assert_eq!(request.mode, EnumValue::from(2));
        assert_eq!(request.report_type, EnumValue::from(2));
        assert_eq!(request.node_trim_threshold, Some(0.5));
        assert_eq!(request.group_by.fields, ["labels.a", "timestamp"]);
        assert_eq!(request.invert_call_stack, Some(true));
        assert_eq!((request.runtime_filter.show_python, request.runtime_filter.show_ruby), (true, false));
        let Some(queries::__buffa::oneof::query_request::Options::Merge(merge)) = request.options else {
            panic!()
        };
        assert_eq!(
            (merge.query.as_str(), merge.end.seconds, merge.end.nanos),
            ("a:b:c:d:e", 1_767_323_046, 500_000_000)
        );
        let uri = "/x?sum_by=a&sumBy=b&step=15s&limit=3";
        let request: Result<queries::QueryRangeRequest, _> = of_query(&uri.parse().unwrap(), Map::new());
        assert!(request.is_err(), "one field in two spellings");
        let uri = "/x?sum_by=a&sum_by=b&step=15s&limit=3";
        let request: queries::QueryRangeRequest = of_query(&uri.parse().unwrap(), Map::new()).unwrap();
        assert_eq!((request.sum_by.len(), request.step.seconds, request.limit), (2, 15, 3));
    }

    #[test]
    fn parameters_that_are_none() {
        for uri in [
            "/x?mode=MODE_NEW",
            "/x?merge=1&merge.query=x",
            "/x?merge.query=x&merge.query=y",
            "/x?a..b=1",
            "/x?merge.start=noon",
        ] {
            let request: Result<queries::QueryRequest, _> = of_query(&uri.parse().unwrap(), Map::new());
            assert!(request.is_err(), "{uri}: {request:?}");
        }
        let deep = format!("/x?{}=1", ["a"; 9].join("."));
        assert!(of_query::<queries::QueryRequest>(&deep.parse().unwrap(), Map::new()).is_err());
    }
}
