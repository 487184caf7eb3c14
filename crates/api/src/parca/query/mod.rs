//! `parca.query.v1alpha1.QueryService`: how Parca's pages and scripts ask.

mod callgraph;
mod catalogue;
mod filter;
mod flamegraph;
mod flamegraph_arrow;
mod flamegraph_table;
mod load;
mod nodes;
mod range;
mod selector;
mod source;
mod stacks;
mod table_arrow;
mod top;

use crate::app::{App, blocking};
use crate::error::ApiError;
use crate::scan_headers;
use crate::wire::parca::query::v1alpha1::*;
use __buffa::oneof::query_request::Options;
use __buffa::oneof::{profile_diff_selection, query_response};
use buffa::EnumValue;
use connectrpc::{RequestContext, Response, ServiceRequest, ServiceResult};
use everflame_formats::pprof;
use filter::Filters;
use http::HeaderMap;
use load::{Apart, Loaded, Selection};
use query_request::{Mode as QueryMode, ReportType};
use stacks::RowLabels;
use std::sync::Arc;

pub(super) use catalogue::{has_profile_data, labels, profile_types, values};
pub(super) use range::query_range;

/// Fields by which stacks and frames are told apart, beside labels.
const FIELDS: [&str; 5] =
    ["function_name", "function_file_name", "location_address", "mapping_file", "timestamp"];
/// Most fields of one query.
const MAX_FIELDS: usize = 20;

/// What tells the nodes of a flame graph apart.
#[derive(Clone, Debug, Default)]
struct GroupBy {
    labels: Vec<String>,
    function_file: bool,
    address: bool,
    mapping_file: bool,
    timestamp: bool,
}

pub(crate) struct Queries(pub(crate) Arc<App>);

impl QueryService for Queries {
    async fn query_range(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, QueryRangeRequest>,
    ) -> ServiceResult<QueryRangeResponse> {
        let (headers, answer) = query_range(&self.0, request.to_owned_message()).await?;
        Ok(Response { headers, ..Response::new(answer) })
    }

    async fn query(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, QueryRequest>,
    ) -> ServiceResult<QueryResponse> {
        let (headers, answer) = query(&self.0, request.to_owned_message()).await?;
        Ok(Response { headers, ..Response::new(answer) })
    }

    async fn series(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, SeriesRequest>,
    ) -> ServiceResult<SeriesResponse> {
        Err(no_series().into())
    }

    async fn profile_types(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, ProfileTypesRequest>,
    ) -> ServiceResult<ProfileTypesResponse> {
        Response::ok(profile_types(&self.0, request.to_owned_message()).await?)
    }

    async fn labels(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, LabelsRequest>,
    ) -> ServiceResult<LabelsResponse> {
        Response::ok(labels(&self.0, request.to_owned_message()).await?)
    }

    async fn values(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, ValuesRequest>,
    ) -> ServiceResult<ValuesResponse> {
        Response::ok(values(&self.0, request.to_owned_message()).await?)
    }

    async fn share_profile(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, ShareProfileRequest>,
    ) -> ServiceResult<ShareProfileResponse> {
        Err(no_sharing().into())
    }

    async fn has_profile_data(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, HasProfileDataRequest>,
    ) -> ServiceResult<HasProfileDataResponse> {
        Response::ok(has_profile_data(&self.0).await?)
    }
}

/// `Series` has an answer without fields: there is nothing that it could say.
pub(super) fn no_series() -> ApiError {
    ApiError::unimplemented("Series has no answer on this wire; ask Labels and Values, or QueryRange")
}

/// Sharing would send profiles to somebody else's server.
pub(super) fn no_sharing() -> ApiError {
    ApiError::unimplemented(
        "profiles are not shared with a public server from here; ask Query for a pprof and send that yourself",
    )
}

/// `Query`, with the headers that say what was read.
pub(super) async fn query(app: &App, request: QueryRequest) -> Result<(HeaderMap, QueryResponse), ApiError> {
    let report = report_type(&request)?;
    let mode = mode(&request)?;
    if let Some(reference) = request.source_reference.as_option().filter(|reference| reference.source_only) {
        source::Places::of(app, mode.selection()).await?.check(reference)?;
        let report = Some(Source::default().into());
        return Ok((HeaderMap::new(), QueryResponse { report, ..Default::default() }));
    }
    let group_by = group_by(&request, report)?;
    let filters = Filters::of(&request)?;
    let trim = trim(&request)?;
    let file = match report {
        Report::Source => {
            Some((source::reference(&request)?, source::Places::of(app, mode.selection()).await?))
        }
        _ => None,
    };
    let found = match (mode, report) {
        (Mode::One(selection), Report::Metadata)
        | (Mode::Difference { right: selection, .. }, Report::Metadata) => {
            let (headers, metadata) = catalogue::metadata(app, &selection).await?;
            let report = Some(query_response::Report::ProfileMetadata(Box::new(metadata)));
            return Ok((headers, QueryResponse { report, ..Default::default() }));
        }
        (Mode::One(selection), _) => {
            let apart = Apart { labels: group_by.labels.clone(), time: group_by.timestamp };
            load::load(app, &selection, &apart).await?
        }
        (Mode::Difference { left, right, absolute }, _) => {
            load::difference(app, &left, &right, absolute).await.map(|mut found| {
                found.profile_type = right.query.profile_type.clone();
                found
            })?
        }
    };
    let is_difference = matches!(request.mode, EnumValue::Known(QueryMode::MODE_DIFF));
    let headers = scan_headers::of(&found.stats, &found.warnings);
    if let Some((reference, places)) = file {
        let unit = found.profile_type.sample.unit.clone();
        let (lines, total, filtered, reference) = blocking(move || {
            let mut stacks = found.stacks;
            let filtered = filters.apply(&mut stacks);
            (source::Lines::of(&stacks, &reference), stacks.total(), filtered, reference)
        })
        .await?;
        let text = places.text(app, &lines.names(&reference)).await?;
        let report = Some(lines.report(text, unit)?.into());
        return Ok((headers, QueryResponse { report, total, filtered, ..Default::default() }));
    }
    let invert = request.invert_call_stack.unwrap_or_default();
    let answer = blocking(move || {
        let Loaded { mut stacks, profile_type, range, .. } = found;
        let filtered = filters.apply(&mut stacks);
        if invert {
            stacks.invert();
        }
        let unit = profile_type.sample.unit.clone();
        let total = stacks.total();
        let report = match report {
            Report::Pprof => {
                let labels = RowLabels::of(&stacks);
                let merged = stacks.into_merged(|row| if is_difference { row.diff } else { row.value });
                let mut profile = merged.to_profile(&profile_type, range);
                profile.time = range.from;
                labels.add_to(&mut profile);
                query_response::Report::Pprof(pprof::write(&profile))
            }
            Report::Top => top::report(&stacks, unit).into(),
            Report::Callgraph => callgraph::report(&stacks).into(),
            Report::FlamegraphTable => flamegraph_table::report(&stacks, unit, trim).into(),
            Report::TableArrow => table_arrow::report(&stacks, unit)?.into(),
            Report::FlamegraphArrow | Report::Source | Report::Metadata => {
                flamegraph_arrow::report(&stacks, unit, &group_by, trim)?.into()
            }
        };
        // The peer says nothing about the total beside a pprof.
        let total = if matches!(report, query_response::Report::Pprof(_)) { 0 } else { total };
        Ok::<_, ApiError>(QueryResponse { report: Some(report), total, filtered, ..Default::default() })
    });
    Ok((headers, answer.await??))
}

/// Which report is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Report {
    Pprof,
    Top,
    Callgraph,
    FlamegraphTable,
    FlamegraphArrow,
    TableArrow,
    Metadata,
    Source,
}

fn report_type(request: &QueryRequest) -> Result<Report, ApiError> {
    Ok(match request.report_type {
        EnumValue::Known(ReportType::REPORT_TYPE_FLAMEGRAPH_UNSPECIFIED)
        | EnumValue::Known(ReportType::REPORT_TYPE_FLAMEGRAPH_TABLE) => Report::FlamegraphTable,
        EnumValue::Known(ReportType::REPORT_TYPE_PPROF) => Report::Pprof,
        EnumValue::Known(ReportType::REPORT_TYPE_TOP) => Report::Top,
        EnumValue::Known(ReportType::REPORT_TYPE_CALLGRAPH) => Report::Callgraph,
        EnumValue::Known(ReportType::REPORT_TYPE_FLAMEGRAPH_ARROW)
        | EnumValue::Known(ReportType::REPORT_TYPE_FLAMECHART) => Report::FlamegraphArrow,
        EnumValue::Known(ReportType::REPORT_TYPE_SOURCE) => Report::Source,
        EnumValue::Known(ReportType::REPORT_TYPE_TABLE_ARROW) => Report::TableArrow,
        EnumValue::Known(ReportType::REPORT_TYPE_PROFILE_METADATA) => Report::Metadata,
        EnumValue::Unknown(number) => {
            return Err(ApiError::invalid(format_args!(
                "report_type {number} is not known; send 0 to 9, such as 5 (REPORT_TYPE_FLAMEGRAPH_ARROW)"
            )));
        }
    })
}

/// What a query is about: one side or two.
enum Mode {
    One(Selection),
    Difference { left: Selection, right: Selection, absolute: bool },
}

impl Mode {
    /// The side whose values are shown.
    fn selection(&self) -> &Selection {
        match self {
            Self::One(selection) | Self::Difference { right: selection, .. } => selection,
        }
    }
}

fn mode(request: &QueryRequest) -> Result<Mode, ApiError> {
    match (&request.mode, &request.options) {
        (EnumValue::Known(QueryMode::MODE_SINGLE_UNSPECIFIED), Some(Options::Single(single))) => {
            Ok(Mode::One(Selection::single(single).map_err(|error| error.at("single"))?))
        }
        (EnumValue::Known(QueryMode::MODE_MERGE), Some(Options::Merge(merge))) => {
            Ok(Mode::One(Selection::merge(merge).map_err(|error| error.at("merge"))?))
        }
        (EnumValue::Known(QueryMode::MODE_DIFF), Some(Options::Diff(diff))) => {
            let left = side(diff.a.as_option()).map_err(|error| error.at("diff.a"))?;
            let right = side(diff.b.as_option()).map_err(|error| error.at("diff.b"))?;
            Ok(Mode::Difference { left, right, absolute: diff.absolute.unwrap_or_default() })
        }
        (EnumValue::Unknown(number), _) => Err(ApiError::invalid(format_args!(
            "mode {number} is not known; send 0 (single), 1 (diff) or 2 (merge)"
        ))),
        (EnumValue::Known(_), _) => Err(ApiError::invalid(
            "mode and options do not match; send single with MODE_SINGLE_UNSPECIFIED, diff with MODE_DIFF, merge with MODE_MERGE",
        )),
    }
}

fn side(selection: Option<&ProfileDiffSelection>) -> Result<Selection, ApiError> {
    use profile_diff_selection::Options;
    let selection = selection.ok_or_else(|| ApiError::invalid("it is missing; send both sides"))?;
    match &selection.options {
        Some(Options::Merge(merge)) => Selection::merge(merge),
        Some(Options::Single(single)) => Selection::single(single),
        None => Err(ApiError::invalid("it has neither merge nor single; send one of them")),
    }
}

fn group_by(request: &QueryRequest, report: Report) -> Result<GroupBy, ApiError> {
    let mut group_by = GroupBy::default();
    let fields = request.group_by.as_option().map_or(&[][..], |group_by| &group_by.fields);
    if fields.len() > MAX_FIELDS {
        return Err(ApiError::invalid(format_args!(
            "group_by: {} fields, at most {MAX_FIELDS} are taken",
            fields.len()
        )));
    }
    for field in fields {
        match field.as_str() {
            "function_name" => {}
            "function_file_name" => group_by.function_file = true,
            "location_address" => group_by.address = true,
            "mapping_file" => group_by.mapping_file = true,
            "timestamp" => group_by.timestamp = true,
            other => match other.strip_prefix("labels.").filter(|label| !label.is_empty()) {
                Some(label) if group_by.labels.iter().any(|known| known == label) => {}
                Some(label) => group_by.labels.push(label.to_owned()),
                None => {
                    return Err(ApiError::invalid(format_args!(
                        "group_by: {other:?} is not known; send labels.NAME or one of {}",
                        FIELDS.join(", ")
                    )));
                }
            },
        }
    }
    group_by.timestamp |= matches!(request.report_type, EnumValue::Known(ReportType::REPORT_TYPE_FLAMECHART));
    // Only these reports show them.
    if report != Report::FlamegraphArrow {
        group_by.timestamp = false;
        if report != Report::Pprof {
            group_by.labels.clear();
        }
    }
    Ok(group_by)
}

/// The part of its parent that a node must weigh to be shown.
fn trim(request: &QueryRequest) -> Result<f64, ApiError> {
    let percent = request.node_trim_threshold.unwrap_or_default();
    match (0.0..=100.0).contains(&percent) {
        true => Ok(f64::from(percent) / 100.0),
        false => Err(ApiError::invalid(format_args!(
            "node_trim_threshold is {percent}; send percent of a node's parent, from 0 to 100"
        ))),
    }
}
