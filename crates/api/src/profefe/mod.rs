//! profefe's API, `/api/0/…`: profiles in, listed, by id, merged; services; version.

mod whole;

use crate::app::App;
use crate::error::ApiError;
use crate::params::Params;
use crate::{body, pprof, times};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use everflame_ingest::{Profefe, profefe_type, row_id};
use everflame_lake::ProfileId;
use everflame_profile::{Nanos, SERVICE_NAME};
use everflame_query::{Matcher, Order, ProfileInfo, ProfileQuery, Selector, TimeRange, ValueRange};
use http::{StatusCode, Uri};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// Types that are stored here. `trace` is not a profile.
const TYPES: [&str; 7] = ["cpu", "heap", "block", "mutex", "goroutine", "threadcreate", "other"];
/// Most profiles of a list, and most that are looked at for one.
const MAX_LISTED: usize = 10_000;
/// Most ids that one request may join.
const MAX_IDS: usize = 100;
/// Most rows of one upload: sample types times label sets.
const MAX_ROWS: u32 = 4096;

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

fn nothing_found() -> Refusal {
    Refusal(StatusCode::NOT_FOUND, "nothing found".to_owned(), None)
}

fn ok(body: Value) -> Json<Value> {
    Json(json!({ "code": 200, "body": body }))
}

/// `POST /api/0/profiles`.
pub(crate) async fn store(State(app): State<Arc<App>>, request: Request) -> Answer<Json<Value>> {
    let (head, body) = request.into_parts();
    let params = Params::of(&head.uri)?;
    let service = params.required("service", "api")?.to_owned();
    let profile_type = params.required("type", "cpu")?.to_owned();
    if profile_type == "trace" {
        let message = "type trace is not stored: an execution trace is not a profile; send pprof files";
        return Err(ApiError::invalid(message).into());
    }
    let labels = labels(params.text("labels"))?;
    let created_at = match params.text("created_at") {
        "" => 0,
        text => times::parse_profefe("created_at", text)?,
    };
    let body = body::read_upload(&head.headers, body, &app, &service).await?;
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

/// `GET /api/0/profiles`.
pub(crate) async fn list(State(app): State<Arc<App>>, uri: Uri) -> Answer<Json<Value>> {
    let params = Params::of(&uri)?;
    let (selector, range) = selection(&params)?;
    let wanted = params.get("type").filter(|text| !text.is_empty());
    let limit =
        params.text("limit").parse().ok().filter(|&limit| limit > 0).unwrap_or(MAX_LISTED).min(MAX_LISTED);
    let query = ProfileQuery {
        profile_type: None,
        selector,
        range,
        ids: Vec::new(),
        totals: ValueRange::ALL,
        order: Order::OldestFirst,
        limit: MAX_LISTED,
    };
    let rows = app.profiles(&query).await?.profiles;
    let entries: Vec<Value> = uploads(&rows)
        .into_iter()
        .filter(|row| wanted.is_none_or(|wanted| profefe_type(&row.series.profile_type.name) == wanted))
        .take(limit)
        .map(|row| {
            let labels: Vec<(String, String)> = row
                .series
                .labels
                .iter()
                .filter(|(name, _)| *name != SERVICE_NAME && !name.starts_with("__"))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            entry(
                row.id,
                profefe_type(&row.series.profile_type.name),
                row.series.service(),
                &labels,
                row.time,
            )
        })
        .collect();
    if entries.is_empty() { Err(nothing_found()) } else { Ok(ok(entries.into())) }
}

/// `GET /api/0/profiles/merge`.
pub(crate) async fn merge(State(app): State<Arc<App>>, uri: Uri) -> Answer<Response> {
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
    let types =
        types.filter(|found: &everflame_profile::ProfileType| profefe_type(&found.name) == wanted).collect();
    let profile = whole::of(&app, types, &selector, range, &[]).await?.ok_or_else(nothing_found)?;
    Ok(pprof::attachment(profile, wanted).await?)
}

/// `GET /api/0/profiles/{id}` and `{id}+{id}…`.
pub(crate) async fn by_ids(State(app): State<Arc<App>>, Path(ids): Path<String>) -> Answer<Response> {
    // A plus sign may have been read as a space.
    let ids: Vec<&str> = ids.split(['+', ' ']).filter(|id| !id.is_empty()).collect();
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
    let ids = uploads.iter().flat_map(|&upload| (0..MAX_ROWS).map(move |row| row_id(upload, row))).collect();
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
    let range = TimeRange::new(first.time, last.time);
    let types: BTreeMap<String, _> = rows
        .iter()
        .map(|row| (row.series.profile_type.to_string(), row.series.profile_type.clone()))
        .collect();
    let ids: Vec<ProfileId> = found.into_iter().collect();
    let profile = whole::of(&app, types.into_values().collect(), &Selector::all(), range, &ids).await?;
    Ok(pprof::attachment(profile.ok_or_else(nothing_found)?, profefe_type(&first.series.profile_type.name))
        .await?)
}

/// `GET /api/0/services`.
pub(crate) async fn services(State(app): State<Arc<App>>) -> Answer<Json<Value>> {
    let names = app.catalogue(|engine| engine.label_values(SERVICE_NAME, &[], TimeRange::ALL)).await?;
    if names.is_empty() { Err(nothing_found()) } else { Ok(ok(names.into())) }
}

/// `GET /api/0/version`.
pub(crate) async fn version(State(app): State<Arc<App>>) -> Json<Value> {
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
            Ok((unescape(name.trim()), unescape(value.trim())))
        })
        .collect()
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let decoded = hex.filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match (byte, decoded.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The first row of each upload among `rows`. Rows of one upload share service, profile name and time, and
/// the ids of all but the first follow from that of the first.
fn uploads(rows: &[ProfileInfo]) -> Vec<&ProfileInfo> {
    let mut groups: BTreeMap<(Nanos, &str, &str), Vec<&ProfileInfo>> = BTreeMap::new();
    for row in rows {
        groups.entry((row.time, row.series.service(), &row.series.profile_type.name)).or_default().push(row);
    }
    let mut firsts = Vec::new();
    for group in groups.into_values() {
        let ids: HashSet<ProfileId> = group.iter().map(|row| row.id).collect();
        let most = u32::try_from(group.len()).unwrap_or(MAX_ROWS).min(MAX_ROWS);
        let mut derived = HashSet::new();
        for row in &group {
            // Once it is known to follow from another, nothing follows from it.
            if !derived.contains(&row.id) {
                derived.extend((1..most).map(|number| row_id(row.id, number)).filter(|id| ids.contains(id)));
            }
        }
        firsts.extend(group.into_iter().filter(|row| !derived.contains(&row.id)));
    }
    firsts
}

fn entry(
    id: ProfileId,
    profile_type: &str,
    service: &str,
    labels: &[(String, String)],
    time: Nanos,
) -> Value {
    let created_at = OffsetDateTime::from_unix_timestamp_nanos(time.into()).ok();
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
        check("a=1,b=x%2Cy,c%3D=%zz", &[("a", "1"), ("b", "x,y"), ("c=", "%zz")]);
        check("a=1+2", &[("a", "1 2")]);
        assert!(labels("a").is_err());
    }
}
