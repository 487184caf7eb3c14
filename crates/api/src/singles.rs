//! `/api/v1/heatmap`, `profiles`, `spans` and `flamegraph`: single profiles and spans by time and value, and
//! what a part of them adds up to.
//!
//! Every question has `query`, `from` and `until`. A part of a heatmap is `of` (profiles or spans), `start`
//! and `end` (times), `min` and `max` (values, both belong to it). Times in answers are milliseconds.

use crate::app::{App, blocking};
use crate::error::ApiError;
use crate::params::Params;
use crate::pprof::range_of;
use crate::querier::answers;
use crate::querier::encode::columns_bytes;
use crate::querier::requests::{self, MOST_MAX_NODES};
use crate::{scan_headers, times};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use everflame_profile::{FlameColumns, Labels, Nanos, ProfileType};
use everflame_query::{
    Area, Exemplars, HeatmapQuery, Order, ProfileInfo, ProfileQuery, Single, SpanInfo, SpanQuery, StackQuery,
    TimeRange, TypedSelector, ValueRange,
};
use http::Uri;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;
use uuid::Uuid;

const EXAMPLE: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name=\"api\"}";
const MILLISECOND: Nanos = 1_000_000;

/// Columns and rows of a heatmap when the request does not say.
const DEFAULT_CELLS: (u16, u16) = (100, 20);
/// Most columns and rows of a heatmap.
const MOST_CELLS: (u16, u16) = (2000, 200);
/// Entries of a list when the request does not say.
const DEFAULT_LISTED: usize = 100;
/// Most entries of a list.
const MOST_LISTED: usize = 10_000;

/// `/api/v1/heatmap`: how many profiles or spans there are in each of `x` columns of time and `y` bands of
/// values between the smallest and the largest, or between `min` and `max`.
pub(crate) async fn heatmap(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::of(&uri)?;
    let (profile_type, selector) = typed_selector(&params)?;
    let range = range_of(&params, app.now())?;
    let columns = number("x", &params, DEFAULT_CELLS.0, MOST_CELLS.0)?;
    let bands = number("y", &params, DEFAULT_CELLS.1, MOST_CELLS.1)?;
    // Columns begin and end at whole milliseconds, as pages know times.
    let start = range.from.div_euclid(MILLISECOND);
    let length = range.until.div_euclid(MILLISECOND) - start + 1;
    let step = (length / i64::from(columns) + i64::from(length % i64::from(columns) > 0)).max(1);
    let (first, nanos) = (start.saturating_mul(MILLISECOND), step.saturating_mul(MILLISECOND));
    let end = first.saturating_add(nanos.saturating_mul(i64::from(columns))) - 1;
    let query = HeatmapQuery {
        of: of(&params)?,
        profile_type,
        selector,
        range: TimeRange::new(first.saturating_add(nanos) - 1, end),
        until: end,
        step: nanos,
        bands: NonZeroU16::new(bands).unwrap_or(NonZeroU16::MIN),
        values: values(&params)?,
        group_by: Vec::new(),
        limit: None,
        exemplars: Exemplars::None,
    };
    let heatmap = app.heatmap(&query).await?;
    let headers = scan_headers::of(&heatmap.stats, &heatmap.warnings);
    let cells = heatmap.series.iter().flat_map(|series| &series.cells);
    let cells: Vec<Value> = cells
        .map(|cell| json!([(cell.time.div_euclid(MILLISECOND) - start) / step, cell.band, cell.count]))
        .collect();
    let answer = json!({
        "type": query.profile_type.to_string(),
        "start": start,
        "step": step,
        "columns": columns,
        "values": heatmap.values.map(|values| json!({ "min": values.min, "max": values.max })),
        "bands": heatmap.bands,
        "cells": cells,
    });
    Ok((headers, Json(answer)).into_response())
}

/// `GET /api/v1/profiles`: single profiles, by `order` (newest, oldest or largest first).
pub(crate) async fn profiles(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::of(&uri)?;
    let (profile_type, selector) = typed_selector(&params)?;
    let range = range_of(&params, app.now())?;
    let limit = number("limit", &params, DEFAULT_LISTED, MOST_LISTED)?;
    let order = match params.text("order") {
        "" | "newest" => Order::NewestFirst,
        "oldest" => Order::OldestFirst,
        "largest" => Order::LargestFirst,
        other => {
            return Err(ApiError::invalid(format_args!(
                "order={other:?} is not known; send newest, oldest or largest"
            )));
        }
    };
    let query = ProfileQuery {
        profile_type: Some(profile_type),
        selector,
        range,
        ids: ids(&params)?,
        totals: values(&params)?,
        order,
        // One more tells whether there are more.
        limit: limit + 1,
    };
    let list = app.profiles(&query).await?;
    let headers = scan_headers::of(&list.stats, &list.warnings);
    let profiles: Vec<Value> = list.profiles.iter().take(limit).map(profile).collect();
    let answer = json!({ "profiles": profiles, "more": list.profiles.len() > limit });
    Ok((headers, Json(answer)).into_response())
}

/// `/api/v1/spans`: single spans of a part of a heatmap, the largest first.
pub(crate) async fn spans(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::of(&uri)?;
    let (profile_type, selector) = typed_selector(&params)?;
    let range = range_of(&params, app.now())?;
    let limit = number("limit", &params, DEFAULT_LISTED, MOST_LISTED)?;
    let area = Area { of: Single::Span, ..area(&params, app.now())? };
    let query = SpanQuery { profile_type, selector, range, area, limit: limit + 1 };
    let list = app.spans(&query).await?;
    let headers = scan_headers::of(&list.stats, &list.warnings);
    let spans: Vec<Value> = list.spans.iter().take(limit).map(span).collect();
    let answer = json!({ "spans": spans, "more": list.spans.len() > limit });
    Ok((headers, Json(answer)).into_response())
}

/// `/api/v1/flamegraph`: what a query, a part of a heatmap, or single profiles add up to, in columns.
pub(crate) async fn flame_graph(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::of(&uri)?;
    let query = stack_query(&params, app.now())?;
    let max_nodes = number("max-nodes", &params, MOST_MAX_NODES, MOST_MAX_NODES)?;
    let merged = app.stacks(&query).await?;
    let headers = scan_headers::of(&merged.stats, &merged.warnings);
    let bytes =
        blocking(move || columns_bytes(&FlameColumns::new(&answers::tree_of(&merged, Some(max_nodes)))));
    Ok((headers, [(CONTENT_TYPE, "application/vnd.everflame.flamegraph")], bytes.await?).into_response())
}

/// Samples of `query` between `from` and `until`: of the profiles `id`, of the spans `span`, of a part of a
/// heatmap, or all.
pub(crate) fn stack_query(params: &Params, now: Nanos) -> Result<StackQuery, ApiError> {
    let (profile_type, selector) = typed_selector(params)?;
    let mut query = StackQuery::new(profile_type, selector, range_of(params, now)?);
    query.profiles = ids(params)?;
    query.spans = requests::ids("span", &params.list("span"), requests::span)?;
    let names = ["of", "start", "end", "min", "max"];
    if names.iter().any(|name| params.get(name).is_some()) {
        query.area = Some(area(params, now)?);
    }
    Ok(query)
}

fn typed_selector(params: &Params) -> Result<(ProfileType, everflame_query::Selector), ApiError> {
    let text = params.required("query", EXAMPLE)?;
    let TypedSelector { profile_type, selector } =
        text.parse().map_err(|error| ApiError::invalid(error).at("query"))?;
    Ok((profile_type, selector))
}

fn ids(params: &Params) -> Result<Vec<everflame_lake::ProfileId>, ApiError> {
    requests::ids("id", &params.list("id"), requests::profile)
}

fn of(params: &Params) -> Result<Single, ApiError> {
    match params.text("of") {
        "" | "profiles" => Ok(Single::Profile),
        "spans" => Ok(Single::Span),
        other => Err(ApiError::invalid(format_args!("of={other:?} is not known; send profiles or spans"))),
    }
}

fn area(params: &Params, now: Nanos) -> Result<Area, ApiError> {
    let time = |name: &str, open: Nanos| match params.get(name) {
        Some(text) => times::parse(name, text, now),
        None => Ok(open),
    };
    let times = TimeRange::new(time("start", Nanos::MIN)?, time("end", Nanos::MAX)?);
    Ok(Area { of: of(params)?, times, values: values(params)? })
}

/// The values from `min` to `max`; open where one is missing.
fn values(params: &Params) -> Result<ValueRange, ApiError> {
    let bound = |name: &str, open: i64| match params.get(name) {
        None => Ok(open),
        Some(text) => i64::from_str(text.trim()).map_err(|_| {
            ApiError::invalid(format_args!(
                "{name}={text:?} is not a whole number in the unit of the profile"
            ))
        }),
    };
    Ok(ValueRange { min: bound("min", i64::MIN)?, max: bound("max", i64::MAX)? })
}

/// A number from 1 to `most`.
fn number<T: FromStr + PartialOrd + From<u8> + Copy + std::fmt::Display>(
    name: &str,
    params: &Params,
    default: T,
    most: T,
) -> Result<T, ApiError> {
    let Some(text) = params.get(name).filter(|text| !text.is_empty()) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| *number >= T::from(1) && *number <= most);
    number.ok_or_else(|| ApiError::invalid(format_args!("{name}={text:?}; send a number from 1 to {most}")))
}

fn labels(labels: &Labels) -> Map<String, Value> {
    labels.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

fn profile(info: &ProfileInfo) -> Value {
    json!({
        "id": Uuid::from_u128(info.id.0).to_string(),
        "time": info.time.div_euclid(MILLISECOND),
        "duration": info.duration.div_euclid(MILLISECOND),
        "total": info.total,
        "labels": labels(&info.series.labels),
    })
}

fn span(info: &SpanInfo) -> Value {
    let trace = if info.trace == 0 { String::new() } else { format!("{:032x}", info.trace) };
    json!({
        "id": format!("{:016x}", info.span),
        "trace": trace,
        "time": info.time.div_euclid(MILLISECOND),
        "total": info.total,
        "labels": labels(&info.series.labels),
    })
}
