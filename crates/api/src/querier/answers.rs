//! From what the engine found to the messages of the wire.

use super::encode::GraphAnswer;
use crate::app::blocking;
use crate::error::ApiError;
use crate::wire::google;
use crate::wire::querier::v1 as wire;
use crate::wire::types::v1 as types;
use bytes::Bytes;
use connectrpc::{CodecFormat, ConnectError, Encodable, PreEncoded};
use everflame_formats::{dot, pprof, tree};
use everflame_profile::{DiffFlameGraph, DiffTree, FlameGraph, Labels, ProfileType, Tree};
use everflame_query::{Exemplar, Merged, Point, StackQuery, TimeRange, TimeSeries};
use uuid::Uuid;

/// An answer as a message, as the bytes that a protobuf client gets, or as a flame graph that becomes
/// either.
pub(crate) enum Answer<M> {
    Message(M),
    Encoded(PreEncoded<M>),
    Graph(GraphAnswer),
}

impl<M> Encodable<M> for Answer<M>
where
    M: Encodable<M>,
    PreEncoded<M>: Encodable<M>,
    GraphAnswer: Encodable<M>,
{
    fn encode(&self, codec: CodecFormat) -> Result<Bytes, ConnectError> {
        match self {
            Self::Message(message) => message.encode(codec),
            Self::Encoded(bytes) => bytes.encode(codec),
            Self::Graph(graph) => graph.encode(codec),
        }
    }
}

/// The call tree of `merged`, cut to `max_nodes` when it says so.
pub(crate) fn tree_of(merged: &Merged, max_nodes: Option<usize>) -> Tree {
    let mut tree = merged.tree();
    if let Some(max_nodes) = max_nodes {
        tree.truncate(max_nodes);
    }
    tree
}

pub(crate) async fn flame_graph(merged: Merged, max_nodes: usize) -> Result<FlameGraph, ApiError> {
    blocking(move || FlameGraph::new(&tree_of(&merged, Some(max_nodes)))).await
}

pub(crate) fn graph_message(graph: FlameGraph) -> wire::FlameGraph {
    let FlameGraph { names, levels, total, max_self } = graph;
    wire::FlameGraph { names, levels: to_levels(levels), total, max_self, ..Default::default() }
}

pub(crate) async fn tree_bytes(merged: Merged, max_nodes: Option<usize>) -> Result<Vec<u8>, ApiError> {
    blocking(move || tree::write(&tree_of(&merged, max_nodes))).await
}

/// The call graph of `merged` for Graphviz, of the `most` heaviest functions.
pub(crate) async fn dot(merged: Merged, profile_type: ProfileType, most: usize) -> Result<String, ApiError> {
    blocking(move || dot::write(&merged.tree(), &profile_type.to_string(), &profile_type.sample.unit, most))
        .await
}

/// Both sides in one layout.
pub(crate) fn diff_graph(left: &Merged, right: &Merged, max_nodes: usize) -> DiffFlameGraph {
    let mut diff = DiffTree::new(&left.tree(), &right.tree());
    diff.truncate(max_nodes);
    DiffFlameGraph::new(&diff)
}

pub(crate) fn diff_message(graph: DiffFlameGraph) -> wire::FlameGraphDiff {
    let DiffFlameGraph { names, levels, total, max_self, left_total, right_total } = graph;
    wire::FlameGraphDiff {
        names,
        levels: to_levels(levels),
        total,
        max_self,
        leftTicks: left_total,
        rightTicks: right_total,
        ..Default::default()
    }
}

fn to_levels(levels: Vec<Vec<i64>>) -> Vec<wire::Level> {
    levels.into_iter().map(|values| wire::Level { values, ..Default::default() }).collect()
}

/// The bytes of a pprof; none when nothing was found.
pub(crate) async fn pprof_bytes(merged: Merged, query: &StackQuery) -> Result<Vec<u8>, ApiError> {
    // A range ends with the last nanosecond of its last millisecond; clients know whole ones.
    let TimeRange { from, until } = query.range;
    let range = TimeRange::new(from, until - until.rem_euclid(1_000_000));
    let profile_type = query.profile_type.clone();
    blocking(move || {
        if merged.is_empty() {
            return Vec::new();
        }
        let mut profile = merged.to_profile(&profile_type, range);
        // On this wire CPU time has this period, whatever was sent.
        if profile_type.name == "process_cpu" {
            profile.period = 1_000_000_000;
        }
        pprof::write_uncompressed(&profile)
    })
    .await
}

/// `google.v1.Profile` around the bytes of a pprof, which are the same on the wire.
pub(crate) fn google_profile(bytes: Vec<u8>) -> PreEncoded<google::v1::Profile> {
    PreEncoded::from_bytes_unchecked(bytes)
}

/// A `SelectMergeStacktracesResponse` with field 5, in it field 1: the bytes of a pprof.
pub(crate) fn pprof_answer(bytes: &[u8]) -> PreEncoded<wire::SelectMergeStacktracesResponse> {
    let profile = field(1, bytes);
    PreEncoded::from_bytes_unchecked(field(5, &profile))
}

/// A length-delimited protobuf field; numbers below 16 have a key of one byte.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 11);
    out.push(number << 3 | 2);
    let mut length = content.len() as u64;
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
    out
}

pub(crate) fn profile_type(profile_type: ProfileType) -> types::ProfileType {
    types::ProfileType {
        ID: profile_type.to_string(),
        name: profile_type.name,
        sample_type: profile_type.sample.kind,
        sample_unit: profile_type.sample.unit,
        period_type: profile_type.period.kind,
        period_unit: profile_type.period.unit,
        ..Default::default()
    }
}

/// The labels that `keep` takes, sorted by name.
pub(crate) fn label_pairs(labels: &Labels, keep: impl Fn(&str) -> bool) -> Vec<types::LabelPair> {
    let kept = labels.iter().filter(|(name, _)| keep(name));
    kept.map(|(name, value)| types::LabelPair {
        name: name.into(),
        value: value.into(),
        ..Default::default()
    })
    .collect()
}

pub(crate) fn series(series: TimeSeries) -> types::Series {
    types::Series {
        labels: label_pairs(&series.labels, |_| true),
        points: series.points.into_iter().map(point).collect(),
        ..Default::default()
    }
}

fn point(point: Point) -> types::Point {
    types::Point {
        value: point.value,
        timestamp: point.time.div_euclid(1_000_000),
        exemplars: point.exemplar.into_iter().map(exemplar).collect(),
        ..Default::default()
    }
}

fn exemplar(exemplar: Exemplar) -> types::Exemplar {
    types::Exemplar {
        timestamp: exemplar.time.div_euclid(1_000_000),
        profile_id: Uuid::from_u128(exemplar.profile.0).to_string(),
        value: exemplar.value,
        labels: label_pairs(&exemplar.labels, |_| true),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use buffa::Message;

    #[test]
    fn pprof_fields_nest() {
        let profile = google::v1::Profile { string_table: vec!["x".repeat(300)], ..Default::default() };
        let bytes = profile.encode_to_vec();
        let answer = pprof_answer(&bytes).encode(CodecFormat::Proto).unwrap();
        let answer = wire::SelectMergeStacktracesResponse::decode_from_slice(&answer).unwrap();
        assert_eq!(answer.pprof.as_option().unwrap().profile.as_option(), Some(&profile));
        let empty = pprof_answer(&[]).encode(CodecFormat::Proto).unwrap();
        let empty = wire::SelectMergeStacktracesResponse::decode_from_slice(&empty).unwrap();
        assert_eq!(empty.pprof.as_option().unwrap().profile.as_option(), Some(&Default::default()));
    }
}
