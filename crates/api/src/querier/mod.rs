//! `querier.v1.QuerierService`: how Grafana, profilecli, the UI and the CLI ask.

pub(crate) mod answers;
pub(crate) mod background;
pub(crate) mod encode;
mod heatmap;
pub(crate) mod requests;
mod spans;

use crate::app::{App, blocking};
use crate::error::ApiError;
use crate::scan_headers;
use crate::wire::google::v1::Profile;
use crate::wire::querier::v1::*;
use crate::wire::types::v1 as types;
use answers::Answer;
use buffa::EnumValue;
use connectrpc::{PreEncoded, RequestContext, Response, ServiceRequest, ServiceResult};
use encode::{GraphAnswer, SeriesAnswer};
use everflame_formats::dot;
use everflame_query::{Aggregation, Exemplars, GoPgo, Merged, SeriesQuery, StackQuery};
use http::HeaderMap;
use requests::{Filters, MOST_MAX_NODES};
use spans::SeriesOrSpans;
use std::sync::Arc;

/// Nanoseconds of the smallest step.
const MIN_STEP: f64 = 1e6;

pub(crate) struct Querier(pub(crate) Arc<App>);

impl QuerierService for Querier {
    async fn profile_types(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, ProfileTypesRequest>,
    ) -> ServiceResult<ProfileTypesResponse> {
        let request = request.to_owned_message();
        let range = requests::range_or_last_hour(request.start, request.end, self.0.now())?;
        let found = self.0.catalogue(move |engine| engine.profile_types(range)).await?;
        let profile_types = found.into_iter().map(answers::profile_type).collect();
        Response::ok(ProfileTypesResponse { profile_types, ..Default::default() })
    }

    async fn label_values(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, types::LabelValuesRequest>,
    ) -> ServiceResult<types::LabelValuesResponse> {
        let request = request.to_owned_message();
        if request.name.is_empty() {
            return Err(ApiError::invalid("name is missing; send the name of the label").into());
        }
        let range = requests::range(request.start, request.end)?;
        let selectors = requests::matchers(&request.matchers)?;
        let names =
            self.0.catalogue(move |engine| engine.label_values(&request.name, &selectors, range)).await?;
        Response::ok(types::LabelValuesResponse { names, ..Default::default() })
    }

    async fn label_names(
        &self,
        context: RequestContext,
        request: ServiceRequest<'_, types::LabelNamesRequest>,
    ) -> ServiceResult<types::LabelNamesResponse> {
        let request = request.to_owned_message();
        let any_name = requests::takes_any_label_name(context.headers())?;
        let range = requests::range(request.start, request.end)?;
        let selectors = requests::matchers(&request.matchers)?;
        let mut names = self.0.catalogue(move |engine| engine.label_names(&selectors, range)).await?;
        names.retain(|name| any_name || requests::is_plain_label_name(name));
        Response::ok(types::LabelNamesResponse { names, ..Default::default() })
    }

    async fn series(
        &self,
        context: RequestContext,
        request: ServiceRequest<'_, SeriesRequest>,
    ) -> ServiceResult<SeriesResponse> {
        let request = request.to_owned_message();
        let any_name = requests::takes_any_label_name(context.headers())?;
        let range = requests::range(request.start, request.end)?;
        let selectors = requests::matchers(&request.matchers)?;
        let found =
            self.0.catalogue(move |engine| engine.series(&selectors, &request.label_names, range)).await?;
        let found = if any_name { found } else { requests::with_plain_names(&found) };
        let labels_set = found
            .iter()
            .map(|labels| types::Labels {
                labels: answers::label_pairs(labels, |_| true),
                ..Default::default()
            })
            .collect();
        Response::ok(SeriesResponse { labels_set, ..Default::default() })
    }

    async fn select_merge_stacktraces(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, SelectMergeStacktracesRequest>,
    ) -> ServiceResult<Answer<SelectMergeStacktracesResponse>> {
        let mut request = request.to_owned_message();
        let asked = std::mem::take(&mut request.r#async);
        if let Some(asked) = asked.as_option().filter(|asked| asked.r#type.to_i32() != 0) {
            return Response::ok(Answer::Message(background::answer(&self.0, asked, request)?));
        }
        let (answer, headers) = merged_stacktraces(&self.0, request).await?;
        Ok(Response { headers, ..Response::new(answer) })
    }

    async fn select_merge_span_profile(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, SelectMergeSpanProfileRequest>,
    ) -> ServiceResult<SelectMergeSpanProfileResponse> {
        let request = request.to_owned_message();
        let filters = Filters { spans: &request.span_selector, ..Default::default() };
        let times = (request.start, request.end);
        let query = requests::stack_query(&request.profile_typeID, &request.label_selector, times, filters)?;
        let max_nodes = requests::max_nodes(request.max_nodes)?;
        let format = format(request.format);
        let merged = self.0.stacks(&query).await?;
        let headers = scan_headers::of(&merged.stats, &merged.warnings);
        let mut answer = SelectMergeSpanProfileResponse::default();
        match format {
            ProfileFormat::PROFILE_FORMAT_TREE => {
                let cut = request.max_nodes.filter(|&asked| asked > 0).map(|_| max_nodes);
                answer.tree = answers::tree_bytes(merged, cut).await?;
            }
            _ => {
                let graph = answers::flame_graph(merged, max_nodes).await?;
                answer.flamegraph = answers::graph_message(graph).into();
            }
        }
        Ok(Response { headers, ..Response::new(answer) })
    }

    async fn select_merge_profile(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, SelectMergeProfileRequest>,
    ) -> ServiceResult<PreEncoded<Profile>> {
        let request = request.to_owned_message();
        let filters = Filters {
            traces: &request.trace_id_selector,
            profiles: &request.profile_id_selector,
            call_site: requests::call_site(request.stack_trace_selector.as_option()),
            ..Default::default()
        };
        let times = (request.start, request.end);
        let query = requests::stack_query(&request.profile_typeID, &request.label_selector, times, filters)?;
        let pgo = requests::go_pgo(request.stack_trace_selector.as_option());
        let merged = shortened(self.0.stacks(&query).await?, pgo).await?;
        let headers = scan_headers::of(&merged.stats, &merged.warnings);
        let answer = answers::google_profile(answers::pprof_bytes(merged, &query).await?);
        Ok(Response { headers, ..Response::new(answer) })
    }

    async fn select_series(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, SelectSeriesRequest>,
    ) -> ServiceResult<SeriesOrSpans> {
        let request = request.to_owned_message();
        let spans = EnumValue::Known(types::ExemplarType::EXEMPLAR_TYPE_SPAN);
        let wants_spans = request.exemplar_type == spans;
        let query = series_query(request)?;
        // Spans of a part of the stacks are not told apart.
        if wants_spans && query.call_site.is_empty() {
            let (message, stats, warnings) = spans::with_spans(&self.0, &query).await?;
            let headers = scan_headers::of(&stats, &warnings);
            return Ok(Response { headers, ..Response::new(SeriesOrSpans::Spans(message)) });
        }
        let answer = self.0.time_series(&query).await?;
        let headers = scan_headers::of(&answer.stats, &answer.warnings);
        Ok(Response { headers, ..Response::new(SeriesOrSpans::Series(SeriesAnswer(answer.series))) })
    }

    async fn select_heatmap(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, SelectHeatmapRequest>,
    ) -> ServiceResult<SelectHeatmapResponse> {
        let found = self.0.heatmap(&heatmap::query(request.to_owned_message())?).await?;
        let headers = scan_headers::of(&found.stats, &found.warnings);
        Ok(Response { headers, ..Response::new(heatmap::answer(found)) })
    }

    async fn diff(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, DiffRequest>,
    ) -> ServiceResult<DiffResponse> {
        let request = request.to_owned_message();
        let side = |field: &str, request: Option<&SelectMergeStacktracesRequest>| {
            let request = request
                .ok_or_else(|| ApiError::invalid(format_args!("{field} is missing; send both sides")))?;
            stack_query(request).map_err(|error| error.at(field))
        };
        let left = side("left", request.left.as_option())?;
        let right = side("right", request.right.as_option())?;
        let asked = |request: &SelectMergeStacktracesRequest| request.max_nodes.unwrap_or_default();
        let max_nodes = requests::max_nodes(Some(asked(&request.left).max(asked(&request.right))))?;
        let (left, right) = futures::try_join!(self.0.stacks(&left), self.0.stacks(&right))?;
        let (mut stats, mut warnings) = (left.stats, left.warnings.clone());
        stats.add(&right.stats);
        warnings.extend(right.warnings.iter().cloned());
        let headers = scan_headers::of(&stats, &warnings);
        let graph =
            blocking(move || answers::diff_message(answers::diff_graph(&left, &right, max_nodes))).await?;
        Ok(Response {
            headers,
            ..Response::new(DiffResponse { flamegraph: graph.into(), ..Default::default() })
        })
    }

    async fn get_profile_stats(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, types::GetProfileStatsRequest>,
    ) -> ServiceResult<types::GetProfileStatsResponse> {
        let bounds = self.0.catalogue(|engine| engine.bounds()).await?;
        // Of sums it is known only in which window they are, and the window of today ends tomorrow.
        let newest = bounds.map_or(0, |bounds| bounds.last.min(self.0.now()));
        Response::ok(types::GetProfileStatsResponse {
            data_ingested: bounds.is_some(),
            oldest_profile_time: bounds.map_or(0, |bounds| bounds.first.div_euclid(1_000_000)),
            newest_profile_time: newest.div_euclid(1_000_000),
            ..Default::default()
        })
    }

    async fn analyze_query(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, AnalyzeQueryRequest>,
    ) -> ServiceResult<AnalyzeQueryResponse> {
        Response::ok(AnalyzeQueryResponse::default())
    }
}

/// The query, the number of nodes and the format that `SelectMergeStacktraces` asks for.
fn stacks_of(
    request: &SelectMergeStacktracesRequest,
) -> Result<(StackQuery, usize, ProfileFormat), ApiError> {
    let format = format(request.format);
    // A pprof has all that there is, whatever was asked for.
    let max_nodes = match format {
        ProfileFormat::PROFILE_FORMAT_PPROF => MOST_MAX_NODES,
        _ => requests::max_nodes(request.max_nodes)?,
    };
    Ok((stack_query(request)?, max_nodes, format))
}

/// The answer to `SelectMergeStacktraces`, and the headers that say what it read.
async fn merged_stacktraces(
    app: &App,
    request: SelectMergeStacktracesRequest,
) -> Result<(Answer<SelectMergeStacktracesResponse>, HeaderMap), ApiError> {
    let (query, max_nodes, format) = stacks_of(&request)?;
    let pgo = requests::go_pgo(request.stack_trace_selector.as_option());
    let merged = shortened(app.stacks(&query).await?, pgo).await?;
    let headers = scan_headers::of(&merged.stats, &merged.warnings);
    let mut answer = SelectMergeStacktracesResponse::default();
    let answer = match format {
        ProfileFormat::PROFILE_FORMAT_PPROF => {
            Answer::Encoded(answers::pprof_answer(&answers::pprof_bytes(merged, &query).await?))
        }
        ProfileFormat::PROFILE_FORMAT_TREE => {
            let cut = request.max_nodes.filter(|&asked| asked > 0).map(|_| max_nodes);
            answer.tree = answers::tree_bytes(merged, cut).await?;
            Answer::Message(answer)
        }
        ProfileFormat::PROFILE_FORMAT_DOT => {
            let most = request.max_nodes.filter(|&asked| asked > 0).map_or(dot::DEFAULT_NODES, |_| max_nodes);
            answer.dot = answers::dot(merged, query.profile_type, most).await?;
            Answer::Message(answer)
        }
        _ => Answer::Graph(GraphAnswer(answers::flame_graph(merged, max_nodes).await?)),
    };
    Ok((answer, headers))
}

/// What was found, shortened for a compiler of Go when that was asked for.
async fn shortened(merged: Merged, pgo: Option<GoPgo>) -> Result<Merged, ApiError> {
    match pgo {
        None => Ok(merged),
        Some(pgo) => blocking(move || merged.for_go_pgo(pgo)).await,
    }
}

fn stack_query(request: &SelectMergeStacktracesRequest) -> Result<StackQuery, ApiError> {
    let filters = Filters {
        spans: &request.span_selector,
        traces: &request.trace_id_selector,
        profiles: &request.profile_id_selector,
        call_site: requests::call_site(request.stack_trace_selector.as_option()),
    };
    requests::stack_query(
        &request.profile_typeID,
        &request.label_selector,
        (request.start, request.end),
        filters,
    )
}

/// The format that is asked for, when there is such a one.
/// The format that is asked for. One that is not known here may be of a later client, which can do with a flame
/// graph as it can with an older server's.
fn format(format: EnumValue<ProfileFormat>) -> ProfileFormat {
    format.as_known().unwrap_or(ProfileFormat::PROFILE_FORMAT_FLAMEGRAPH)
}

fn series_query(request: SelectSeriesRequest) -> Result<SeriesQuery, ApiError> {
    let range = requests::points(request.start, request.end)?;
    let step = request.step * 1e9;
    if !(step.is_finite() && step >= MIN_STEP) {
        return Err(ApiError::invalid(format_args!(
            "step is {} s; send the seconds between two points, at least 0.001",
            request.step
        )));
    }
    let profile_type = requests::profile_type(&request.profile_typeID)?;
    let selector = requests::selector(&request.label_selector)?;
    let mut query = SeriesQuery::new(profile_type, selector, range, step.round() as i64);
    query.group_by = request.group_by;
    query.aggregation = match request.aggregation {
        Some(EnumValue::Known(types::TimeSeriesAggregationType::TIME_SERIES_AGGREGATION_TYPE_AVERAGE)) => {
            Aggregation::Average
        }
        _ => Aggregation::Sum,
    };
    query.limit = requests::limit(request.limit)?;
    query.call_site = requests::call_site(request.stack_trace_selector.as_option());
    query.exemplars = match request.exemplar_type {
        EnumValue::Known(types::ExemplarType::EXEMPLAR_TYPE_INDIVIDUAL) if query.call_site.is_empty() => {
            Exemplars::Largest
        }
        EnumValue::Unknown(number) => {
            return Err(ApiError::invalid(format_args!(
                "exemplar_type {number} is not known; send 1 (none), 2 (profiles) or 3 (spans)"
            )));
        }
        _ => Exemplars::None,
    };
    Ok(query)
}
