//! profefe's API, `/api/0/…`: profiles in, listed, by id, merged; services; version.
//!
//! Every refusal below that path has profefe's form, also those of paths and methods that there are not.

mod traces;
mod uploads;
mod whole;

pub(crate) use traces::{Bounds, Trace, Traces};
use uploads::Upload;
use whole::Parts;

use crate::app::{App, blocking};
use crate::error::ApiError;
use crate::params::Params;
use crate::{body, not_found, pprof, times};
use axum::extract::rejection::PathRejection;
use axum::extract::{OriginalUri, Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use everflame_ingest::{MAX_ROWS, Profefe, profefe_type, row_id};
use everflame_lake::ProfileId;
use everflame_profile::{Labels, Nanos, ProfileType, SERVICE_NAME};
use everflame_query::{Matcher, Order, ProfileInfo, ProfileQuery, Selector, TimeRange, ValueRange};
use http::{Method, StatusCode, Uri};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// Types of profiles.
const TYPES: [&str; 7] = ["cpu", "heap", "block", "mutex", "goroutine", "threadcreate", "other"];
/// The type of execution traces, which are kept as they came.
const TRACE: &str = "trace";
/// How far in the future a trace may lie, as for profiles.
const FUTURE: Nanos = 600 * 1_000_000_000;
/// Most profiles of a list, and most that are looked at for one.
const MAX_LISTED: usize = 10_000;
/// Most rows that are looked at one by one for a merge: of more, neither durations nor labels of samples are
/// known.
const MAX_MERGED: usize = 100_000;
/// Most ids that one request may join.
const MAX_IDS: usize = 100;

/// A refusal in profefe's form: `{"code","error"}`.
pub(crate) struct Refusal(StatusCode, String, Option<u64>);

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(error.status(), error.to_string(), error.retry_after())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response =
            (self.0, Json(json!({ "code": self.0.as_u16(), "error": self.1 }))).into_response();
        if let Some(seconds) = self.2 {
            response.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from(seconds));
        }
        response
    }
}

type Answer<T> = Result<T, Refusal>;

/// The paths below `/api/0`. Those of profiles may end with a slash, as in the peer.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/profiles", get(list).post(store))
        .route("/profiles/", get(list).post(store))
        .route("/profiles/merge", get(merge))
        .route("/profiles/merge/", get(merge))
        .route("/profiles/{ids}", get(by_ids))
        .route("/profiles/{ids}/", get(by_ids))
        .route("/services", get(services))
        .route("/version", get(version))
        .fallback(async || nothing_found())
        .method_not_allowed_fallback(async |method: Method, uri: OriginalUri| {
            Refusal::from(not_found::method(method, uri.0).await)
        })
}

/// 404.
pub(crate) fn nothing_found() -> Refusal {
    Refusal(StatusCode::NOT_FOUND, "nothing found".to_owned(), None)
}

fn ok(body: Value) -> Json<Value> {
    Json(json!({ "code": 200, "body": body }))
}

/// `POST /api/0/profiles`.
async fn store(State(app): State<Arc<App>>, request: Request) -> Answer<Json<Value>> {
    let (head, body) = request.into_parts();
    let params = Params::of(&head.uri)?;
    let service = params.required("service", "api")?.to_owned();
    let profile_type = params.required("type", "cpu")?.to_owned();
    let labels = labels(params.text("labels"))?;
    let created_at = match params.text("created_at") {
        "" => 0,
        text => times::parse_profefe("created_at", text)?,
    };
    let body = body::read_upload(&head.headers, body, &app, &service).await?;
    if profile_type == TRACE {
        return store_trace(&app, &service, labels, created_at, body).await;
    }
    let upload = Profefe {
        service: service.clone(),
        profile_type: profile_type.clone(),
        labels: labels.clone(),
        created_at,
        body,
    };
    let stored = app.ingest.profefe(upload).await.map_err(|error| match ApiError::from(error) {
        // What cannot be read is 400 on this wire.
        error if error.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            Refusal(StatusCode::BAD_REQUEST, error.to_string(), None)
        }
        error => error.into(),
    })?;
    Ok(ok(entry(stored.id, &profile_type, &service, &labels, stored.time)))
}

/// Keeps a trace as it came; nobody looks into it.
async fn store_trace(
    app: &App,
    service: &str,
    labels: Vec<(String, String)>,
    created_at: Nanos,
    body: Bytes,
) -> Answer<Json<Value>> {
    let now = app.now();
    let time = if created_at > 0 { created_at } else { now };
    if time > now.saturating_add(FUTURE) {
        return Err(ApiError::invalid("created_at is in the future; set the sender's clock").into());
    }
    app.ingest.admit_blob(service, labels.clone(), body.len()).map_err(ApiError::from)?;
    let trace = app.traces.store(service.to_owned(), Labels::from_pairs(labels), time, body).await?;
    Ok(ok(trace_entry(&trace)))
}

fn trace_entry(trace: &Trace) -> Value {
    let labels: Vec<_> =
        trace.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    entry(ProfileId(trace.id.as_u128()), TRACE, &trace.service, &labels, trace.time)
}

/// `GET /api/0/profiles`.
async fn list(State(app): State<Arc<App>>, uri: Uri) -> Answer<Json<Value>> {
    let params = Params::of(&uri)?;
    let (selector, range) = selection(&params)?;
    // A type that there is not takes every one, as in the peer.
    let wanted = params.get("type").map(str::trim).filter(|text| TYPES.contains(text) || *text == TRACE);
    let limit = limit(&params)?;
    let mut entries: Vec<(Nanos, Value)> = Vec::new();
    if wanted != Some(TRACE) {
        let query = ProfileQuery {
            profile_type: None,
            selector: selector.clone(),
            range,
            ids: Vec::new(),
            totals: ValueRange::ALL,
            order: Order::OldestFirst,
            limit: MAX_LISTED,
        };
        let rows = app.profiles(&query).await?.profiles;
        let wanted = wanted.map(str::to_owned);
        let found = blocking(move || {
            let uploads = uploads::of(&rows).into_iter();
            let of_type = uploads.filter(|upload| {
                let own = profefe_type(&upload.first.series.profile_type.name);
                wanted.as_deref().is_none_or(|wanted| own == wanted)
            });
            of_type.map(|upload| (upload.first.time, profile_entry(&upload))).collect::<Vec<_>>()
        });
        entries.extend(found.await?);
    }
    if wanted.is_none_or(|wanted| wanted == TRACE) {
        let takes = move |trace: &Trace| {
            range.from <= trace.time && trace.time <= range.until && selector.matches(&trace.series())
        };
        let traces = app.traces.find(takes).await?;
        entries.extend(traces.iter().map(|trace| (trace.time, trace_entry(trace))));
    }
    entries.sort_by_key(|(time, _)| *time);
    let entries: Vec<Value> = entries.into_iter().take(limit).map(|(_, entry)| entry).collect();
    if entries.is_empty() { Err(nothing_found()) } else { Ok(ok(entries.into())) }
}

/// How many there may be; as many as there are when it is 0 or less.
fn limit(params: &Params) -> Result<usize, ApiError> {
    let text = params.text("limit").trim();
    if text.is_empty() {
        return Ok(MAX_LISTED);
    }
    let limit: i64 = text.parse().map_err(|_| {
        ApiError::invalid(format_args!("limit={text:?} is not a whole number; send how many there may be"))
    })?;
    Ok(usize::try_from(limit)
        .ok()
        .filter(|&limit| limit > 0)
        .map_or(MAX_LISTED, |limit| limit.min(MAX_LISTED)))
}

fn profile_entry(upload: &Upload<'_>) -> Value {
    let row = upload.first;
    let labels: Vec<_> =
        upload.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let profile_type = profefe_type(&row.series.profile_type.name);
    entry(row.id, profile_type, row.series.service(), &labels, row.time)
}

/// `GET /api/0/profiles/merge`.
async fn merge(State(app): State<Arc<App>>, uri: Uri) -> Answer<Response> {
    let params = Params::of(&uri)?;
    let wanted = params.text("type");
    if !TYPES.contains(&wanted) {
        let message = format!("type {wanted:?} cannot be merged; ask for one of {}", TYPES.join(", "));
        return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, message, None));
    }
    let (selector, range) = selection(&params)?;
    let selectors = [selector.clone()];
    let found =
        app.catalogue(move |engine| engine.label_values("__profile_type__", &selectors, range)).await?;
    let types = found.iter().filter_map(|text| text.parse().ok());
    let types: Vec<_> = types.filter(|found: &ProfileType| profefe_type(&found.name) == wanted).collect();
    let mut rows = Vec::new();
    for profile_type in &types {
        let query = ProfileQuery {
            profile_type: Some(profile_type.clone()),
            selector: selector.clone(),
            range,
            ids: Vec::new(),
            totals: ValueRange::ALL,
            order: Order::OldestFirst,
            limit: MAX_MERGED + 1,
        };
        rows.extend(app.profiles(&query).await?.profiles);
        if rows.len() > MAX_MERGED {
            rows.clear();
            break;
        }
    }
    let parts = Parts { types, selector: &selector, range, ids: &[], rows };
    let profile = whole::of(&app, parts).await?.ok_or_else(nothing_found)?;
    Ok(pprof::as_file(pprof::bytes(profile).await?, wanted))
}

/// `GET /api/0/profiles/{id}` and `{id}+{id}…`.
async fn by_ids(State(app): State<Arc<App>>, path: Result<Path<String>, PathRejection>) -> Answer<Response> {
    let Path(joined) = path.map_err(|error| ApiError::invalid(error.body_text()))?;
    // A plus sign may have been read as a space.
    let ids: Vec<&str> = joined.trim_matches('/').split(['+', ' ']).collect();
    if ids.iter().any(|id| id.is_empty()) {
        return Err(ApiError::invalid(format_args!("{joined:?}: an id is empty; write one, or id+id")).into());
    }
    let name = ids.join("+");
    if ids.len() > MAX_IDS {
        return Err(ApiError::invalid(format_args!(
            "{} ids are joined; ask for at most {MAX_IDS}",
            ids.len()
        ))
        .into());
    }
    let uploads: Option<Vec<ProfileId>> =
        ids.iter().map(|id| Uuid::try_parse(id).ok().map(|id| ProfileId(id.as_u128()))).collect();
    let uploads = uploads.filter(|uploads| !uploads.is_empty()).ok_or_else(nothing_found)?;
    if let [id] = uploads[..] {
        if let Some(trace) = app.traces.read(Uuid::from_u128(id.0)).await? {
            return Ok(pprof::as_file(trace, &name));
        }
    } else {
        let wanted: HashSet<u128> = uploads.iter().map(|id| id.0).collect();
        let found = app.traces.find(move |trace| wanted.contains(&trace.id.as_u128())).await?;
        if !found.is_empty() {
            let message = "one of these is a trace, and traces cannot be merged; ask for it alone".to_owned();
            return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, message, None));
        }
    }
    let ids = uploads.iter().flat_map(|&upload| ids_of(upload)).collect();
    let query = ProfileQuery {
        profile_type: None,
        selector: Selector::all(),
        range: TimeRange::ALL,
        ids,
        totals: ValueRange::ALL,
        order: Order::OldestFirst,
        limit: usize::MAX,
    };
    let rows = app.profiles(&query).await?.profiles;
    let found: HashSet<ProfileId> = rows.iter().map(|row| row.id).collect();
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Err(nothing_found()) };
    if !uploads.iter().all(|upload| found.contains(upload)) {
        return Err(nothing_found());
    }
    of_one_type(&rows, &uploads)?;
    let range = TimeRange::new(first.time, last.time);
    let types: BTreeMap<String, _> = rows
        .iter()
        .map(|row| (row.series.profile_type.to_string(), row.series.profile_type.clone()))
        .collect();
    let ids: Vec<ProfileId> = found.into_iter().collect();
    let (types, selector) = (types.into_values().collect(), &Selector::all());
    let profile = whole::of(&app, Parts { types, selector, range, ids: &ids, rows }).await?;
    let bytes = pprof::bytes(profile.ok_or_else(nothing_found)?).await?;
    Ok(pprof::as_file(bytes, &name))
}

/// The ids that the rows of an upload may have.
fn ids_of(upload: ProfileId) -> impl Iterator<Item = ProfileId> {
    (0..MAX_ROWS).map(move |row| row_id(upload, row))
}

/// Refuses uploads that do not all have the same types, of which no profile could be made that means anything.
/// Sample types do not count: those without any value are not stored.
fn of_one_type(rows: &[ProfileInfo], uploads: &[ProfileId]) -> Result<(), ApiError> {
    let rows: HashMap<ProfileId, &ProfileType> =
        rows.iter().map(|row| (row.id, &row.series.profile_type)).collect();
    let types_of = |&upload: &ProfileId| {
        let found = ids_of(upload).filter_map(|id| rows.get(&id));
        let types: BTreeSet<String> = found
            .map(|ProfileType { name, period, .. }| format!("{name} ({} {})", period.kind, period.unit))
            .collect();
        Vec::from_iter(types).join(" and ")
    };
    let distinct: BTreeSet<String> = uploads.iter().map(types_of).collect();
    match distinct.len() {
        0 | 1 => Ok(()),
        _ => Err(ApiError::invalid(format_args!(
            "the ids are of different types, {}; join profiles of one type",
            Vec::from_iter(distinct).join(", ")
        ))),
    }
}

/// `GET /api/0/services`.
async fn services(State(app): State<Arc<App>>) -> Answer<Json<Value>> {
    let mut names = app.catalogue(|engine| engine.label_values(SERVICE_NAME, &[], TimeRange::ALL)).await?;
    names.extend(app.traces.find(|_| true).await?.into_iter().map(|trace| trace.service));
    names.sort();
    names.dedup();
    if names.is_empty() { Err(nothing_found()) } else { Ok(ok(names.into())) }
}

/// `GET /api/0/version`.
async fn version(State(app): State<Arc<App>>) -> Json<Value> {
    let build = &app.config.build;
    ok(json!({
        "version": build.version,
        "commit": build.revision,
        "build_time": build.build_date,
        "go_version": "",
    }))
}

/// What `service`, `labels`, `from` and `to` take.
fn selection(params: &Params) -> Result<(Selector, TimeRange), ApiError> {
    let service = params.required("service", "api")?;
    let mut matchers = vec![Matcher::equal(SERVICE_NAME, service)];
    matchers
        .extend(labels(params.text("labels"))?.into_iter().map(|(name, value)| Matcher::equal(name, value)));
    let from = times::parse_profefe("from", params.required("from", "2026-01-02T15:04:05")?)?;
    let to = times::parse_profefe("to", params.required("to", "2026-01-02T16:04:05")?)?;
    if from > to {
        return Err(ApiError::invalid("from is after to; swap them"));
    }
    Ok((Selector::new(matchers), TimeRange::new(from, to)))
}

/// `k=v,k2=v2`, each side percent-encoded once more.
fn labels(text: &str) -> Result<Vec<(String, String)>, ApiError> {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                ApiError::invalid(format_args!("labels: {pair:?} is not a pair; write labels=k=v,k2=v2"))
            })?;
            Ok((unescape(name.trim())?, unescape(value.trim())?))
        })
        .collect()
}

fn unescape(text: &str) -> Result<String, ApiError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let escaped = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
                escaped.ok_or_else(|| {
                    ApiError::invalid(format_args!(
                        "labels: {text:?} has a % that two hexadecimal digits do not follow; write %25 for %"
                    ))
                })?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn entry(
    id: ProfileId,
    profile_type: &str,
    service: &str,
    labels: &[(String, String)],
    time: Nanos,
) -> Value {
    // Whole seconds, as the peer shows them.
    let created_at = OffsetDateTime::from_unix_timestamp(time.div_euclid(1_000_000_000)).ok();
    let created_at = created_at.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default();
    let mut entry = json!({
        "id": Uuid::from_u128(id.0).simple().to_string(),
        "type": profile_type,
        "service": service,
        "created_at": created_at,
    });
    if let (false, Some(fields)) = (labels.is_empty(), entry.as_object_mut()) {
        let pairs: Vec<Value> =
            labels.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        fields.insert("labels".to_owned(), pairs.into());
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_texts() {
        let check = |text: &str, expect: &[(&str, &str)]| {
            let expect: Vec<_> = expect.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(labels(text).ok().unwrap(), expect, "{text}");
        };
        check("", &[]);
        check("a=1,b=x%2Cy,c%3D=%c3%A9", &[("a", "1"), ("b", "x,y"), ("c=", "é")]);
        check("a=1+2", &[("a", "1 2")]);
        for broken in ["a", "a=%zz", "%=1", "a=%4", "a=%é"] {
            assert!(labels(broken).is_err(), "{broken}");
        }
    }
}
