//! `GET /pyroscope/render`, `render-diff` and `label-values`: the query wire before `querier.v1`.

use crate::app::{App, blocking};
use crate::error::ApiError;
use crate::flamebearer::Flamebearer;
use crate::params::Params;
use crate::pprof::range;
use crate::querier::answers;
use crate::querier::requests::{DEFAULT_MAX_NODES, MOST_MAX_NODES};
use crate::{scan_headers, timeline, times};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use everflame_formats::{dot, folded, json_tree, speedscope, svg};
use everflame_profile::{FlameGraph, Nanos, PROFILE_NAME, ProfileType};
use everflame_query::{Aggregation, Matcher, Merged, Selector, StackQuery, TimeRange, TypedSelector};
use http::Uri;
use std::sync::Arc;

const EXAMPLE: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name=\"api\"}";

/// `/pyroscope/render`.
pub(crate) async fn get(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::of(&uri)?;
    let query = stack_query(&params, "query", "from", "until", app.now())?;
    if let Some(picture) = Picture::named(params.text("format")) {
        return drawn(&app, &params, query, picture).await;
    }
    let max_nodes = max_nodes(&params);
    let aggregation = match params.text("aggregation") {
        "avg" => Aggregation::Average,
        _ => Aggregation::Sum,
    };
    let StackQuery { profile_type, selector, range, .. } = &query;
    let group_by = params.list("groupBy").into_iter().next();
    let groups = async {
        match &group_by {
            None => Ok(None),
            Some(name) => {
                timeline::ask(&app, profile_type, selector, *range, aggregation, Some(name)).await.map(Some)
            }
        }
    };
    let (merged, timeline, groups) = futures::try_join!(
        app.stacks(&query),
        timeline::of_all(&app, profile_type, selector, *range, aggregation),
        groups
    )?;
    let headers = scan_headers::of(&merged.stats, &merged.warnings);
    let graph = blocking(move || FlameGraph::new(&answers::tree_of(&merged, Some(max_nodes)))).await?;
    Ok((headers, Json(Flamebearer::single(graph, profile_type, timeline, groups))).into_response())
}

/// What a merged profile can be drawn as besides flamebearer JSON. Unknown formats are flamebearer JSON, as
/// ever on this wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Picture {
    Dot,
    Svg,
    Folded,
    Speedscope,
    JsonTree,
}

impl Picture {
    fn named(format: &str) -> Option<Self> {
        Some(match format {
            "dot" => Self::Dot,
            "svg" => Self::Svg,
            "folded" | "collapsed" => Self::Folded,
            "speedscope" => Self::Speedscope,
            "json_tree" => Self::JsonTree,
            _ => return None,
        })
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Dot | Self::Folded => "text/plain; charset=utf-8",
            Self::Svg => "image/svg+xml",
            Self::Speedscope | Self::JsonTree => "application/json",
        }
    }

    fn draw(self, merged: &Merged, query: &StackQuery, max_nodes: Option<usize>) -> String {
        let (title, unit) = (query.profile_type.to_string(), query.profile_type.sample.unit.as_str());
        let tree = |most: usize| answers::tree_of(merged, Some(max_nodes.unwrap_or(most)));
        match self {
            Self::Dot => dot::write(&merged.tree(), &title, unit, max_nodes.unwrap_or(dot::DEFAULT_NODES)),
            Self::Svg => svg::write(&tree(svg::DEFAULT_NODES), &title, unit),
            Self::JsonTree => json_tree::write(&tree(DEFAULT_MAX_NODES)),
            Self::Folded => folded::write(&merged.to_profile(&query.profile_type, query.range), 0),
            Self::Speedscope => {
                speedscope::write(&merged.to_profile(&query.profile_type, query.range), &title)
            }
        }
    }
}

async fn drawn(
    app: &App,
    params: &Params,
    query: StackQuery,
    picture: Picture,
) -> Result<Response, ApiError> {
    let asked = max_nodes_asked(params);
    let merged = app.stacks(&query).await?;
    let headers = scan_headers::of(&merged.stats, &merged.warnings);
    let text = blocking(move || picture.draw(&merged, &query, asked)).await?;
    Ok((headers, [(http::header::CONTENT_TYPE, picture.content_type())], text).into_response())
}

/// `/pyroscope/render-diff`.
pub(crate) async fn diff(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::of(&uri)?;
    let left = stack_query(&params, "leftQuery", "leftFrom", "leftUntil", app.now())?;
    let right = stack_query(&params, "rightQuery", "rightFrom", "rightUntil", app.now())?;
    if left.profile_type != right.profile_type {
        return Err(ApiError::invalid(format_args!(
            "leftQuery is {} and rightQuery is {}; compare profiles of one type",
            left.profile_type, right.profile_type
        )));
    }
    let max_nodes = max_nodes(&params);
    let profile_type = left.profile_type.clone();
    let (left, right) = futures::try_join!(app.stacks(&left), app.stacks(&right))?;
    let graph = blocking(move || answers::diff_graph(&left, &right, max_nodes)).await?;
    Ok(Json(Flamebearer::double(graph, &profile_type)).into_response())
}

/// `/pyroscope/label-values`. Without times it looks at everything that is stored.
pub(crate) async fn label_values(
    State(app): State<Arc<App>>,
    uri: Uri,
) -> Result<Json<Vec<String>>, ApiError> {
    let params = Params::of(&uri)?;
    let label = params.required("label", "service_name")?.to_owned();
    let now = app.now();
    let range = match (params.get("from"), params.get("until")) {
        (None, None) => TimeRange::ALL,
        (from, until) => {
            let from = from.map_or(Ok(1), |text| times::parse("from", text, now))?;
            range(from, times::parse_or_now("until", until, now)?)?
        }
    };
    let selectors = match params.text("query").trim() {
        "" => Vec::new(),
        text => vec![any_selector(text)?],
    };
    let values = app.catalogue(move |engine| match label.as_str() {
        PROFILE_NAME if selectors.is_empty() => {
            engine.profile_types(range).iter().map(ProfileType::to_string).collect()
        }
        PROFILE_NAME => engine.label_values("__profile_type__", &selectors, range),
        label => engine.label_values(label, &selectors, range),
    });
    Ok(Json(values.await?))
}

/// A selector with or without a type before it.
fn any_selector(text: &str) -> Result<Selector, ApiError> {
    if text.starts_with('{') {
        return text.parse().map_err(|error| ApiError::invalid(error).at("query"));
    }
    let typed: TypedSelector = text.parse().map_err(|error| ApiError::invalid(error).at("query"))?;
    Ok(typed.selector.with(Matcher::equal("__profile_type__", typed.profile_type.to_string())))
}

fn stack_query(
    params: &Params,
    query: &str,
    from: &str,
    until: &str,
    now: Nanos,
) -> Result<StackQuery, ApiError> {
    let text = params.required(query, EXAMPLE)?;
    let TypedSelector { profile_type, selector } =
        text.parse().map_err(|error| ApiError::invalid(error).at(query))?;
    let from = times::parse_or_now(from, params.get(from), now)?;
    let until = times::parse_or_now(until, params.get(until), now)?;
    Ok(StackQuery::new(profile_type, selector, range(from, until)?))
}

fn max_nodes(params: &Params) -> usize {
    max_nodes_asked(params).unwrap_or(DEFAULT_MAX_NODES)
}

/// The number of nodes, when one was sent; what is no number is ignored, as ever on this wire.
fn max_nodes_asked(params: &Params) -> Option<usize> {
    let asked = ["maxNodes", "max-nodes"].iter().find_map(|name| params.text(name).parse::<usize>().ok());
    asked.filter(|&asked| asked > 0).map(|asked| asked.min(MOST_MAX_NODES))
}
