//! Flamebearer v1: the JSON that `/pyroscope/render` answers.

use crate::timeline::Timeline;
use everflame_profile::{DiffFlameGraph, FlameGraph, ProfileType};
use serde::Serialize;
use std::collections::BTreeMap;

/// The whole answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Flamebearer {
    version: u32,
    flamebearer: Graph,
    metadata: Metadata,
    timeline: Option<Timeline>,
    groups: Option<BTreeMap<String, Timeline>>,
    heatmap: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_ticks: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    right_ticks: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Graph {
    names: Vec<String>,
    levels: Vec<Vec<i64>>,
    num_ticks: i64,
    max_self: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    format: &'static str,
    spy_name: &'static str,
    sample_rate: u32,
    units: String,
    name: String,
}

impl Flamebearer {
    /// One flame graph.
    pub(crate) fn single(
        graph: FlameGraph,
        profile_type: &ProfileType,
        timeline: Timeline,
        groups: Option<BTreeMap<String, Timeline>>,
    ) -> Self {
        let FlameGraph { names, levels, total, max_self } = graph;
        Self {
            version: 1,
            flamebearer: Graph { names, levels, num_ticks: total, max_self },
            metadata: Metadata::of("single", profile_type),
            timeline: Some(timeline),
            groups,
            heatmap: None,
            left_ticks: None,
            right_ticks: None,
        }
    }

    /// One flame graph of a file, which has no timeline.
    pub(crate) fn of_file(graph: FlameGraph, profile_type: &ProfileType) -> Self {
        let FlameGraph { names, levels, total, max_self } = graph;
        Self {
            version: 1,
            flamebearer: Graph { names, levels, num_ticks: total, max_self },
            metadata: Metadata::of("single", profile_type),
            timeline: None,
            groups: None,
            heatmap: None,
            left_ticks: None,
            right_ticks: None,
        }
    }

    /// Two sides of one flame graph.
    pub(crate) fn double(graph: DiffFlameGraph, profile_type: &ProfileType) -> Self {
        let DiffFlameGraph { names, levels, total, max_self, left_total, right_total } = graph;
        Self {
            version: 1,
            flamebearer: Graph { names, levels, num_ticks: total, max_self },
            metadata: Metadata::of("double", profile_type),
            timeline: None,
            groups: None,
            heatmap: None,
            left_ticks: Some(left_total),
            right_ticks: Some(right_total),
        }
    }
}

impl Metadata {
    fn of(format: &'static str, profile_type: &ProfileType) -> Self {
        let kind = profile_type.sample.kind.as_str();
        let (units, sample_rate) = match kind {
            "cpu" => ("samples", 1_000_000_000),
            "alloc_objects" | "inuse_objects" | "goroutine" | "samples" => ("objects", 100),
            _ => (profile_type.sample.unit.as_str(), 100),
        };
        Self { format, spy_name: "unknown", sample_rate, units: units.to_owned(), name: kind.to_owned() }
    }
}
