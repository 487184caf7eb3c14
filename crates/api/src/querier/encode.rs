//! Flame graphs and timelines as bytes of their messages, written from what the engine found. Hot.
//!
//! A timeline of 40 pods has 58,000 points, a flame graph 25,000 numbers: as messages they would be made,
//! measured and written one by one, which took longer than the scan. All other codecs get the message.

use super::answers;
use crate::wire::querier::v1::{SelectMergeStacktracesResponse, SelectSeriesResponse};
use buffa::Message;
use bytes::Bytes;
use connectrpc::{CodecFormat, ConnectError, Encodable};
use everflame_profile::{FlameColumns, FlameGraph};
use everflame_query::TimeSeries;

/// A flame graph as the answer to SelectMergeStacktraces.
pub(crate) struct GraphAnswer(pub(crate) FlameGraph);

impl Encodable<SelectMergeStacktracesResponse> for GraphAnswer {
    fn encode(&self, codec: CodecFormat) -> Result<Bytes, ConnectError> {
        match codec {
            CodecFormat::Proto => Ok(self.bytes().into()),
            _ => {
                let flamegraph = answers::graph_message(self.0.clone()).into();
                let message = SelectMergeStacktracesResponse { flamegraph, ..Default::default() };
                Encodable::encode(&message, codec)
            }
        }
    }
}

impl GraphAnswer {
    fn bytes(&self) -> Vec<u8> {
        let FlameGraph { names, levels, total, max_self } = &self.0;
        let texts: usize = names.iter().map(|name| name.len() + 4).sum();
        let numbers: usize = levels.iter().map(|level| level.len() * 5 + 12).sum();
        let mut graph = Vec::with_capacity(texts + numbers + 32);
        for name in names {
            push_bytes(&mut graph, 1, name.as_bytes());
        }
        let mut packed = Vec::new();
        for level in levels {
            packed.clear();
            for &value in level {
                push_varint(&mut packed, value.cast_unsigned());
            }
            graph.push(key(2, LENGTH));
            if packed.is_empty() {
                graph.push(0);
                continue;
            }
            push_varint(&mut graph, (1 + varint_length(packed.len() as u64) + packed.len()) as u64);
            push_bytes(&mut graph, 1, &packed);
        }
        push_number(&mut graph, 3, *total);
        push_number(&mut graph, 4, *max_self);
        let mut out = Vec::with_capacity(graph.len() + 11);
        push_bytes(&mut out, 1, &graph);
        out
    }
}

/// A flame graph as pages read it: 1 names, 2 name, 3 number of children, 4 self, 5 total of each node, packed,
/// and 6 the folded nodes.
pub(crate) fn columns_bytes(columns: &FlameColumns) -> Vec<u8> {
    let FlameColumns { names, name, children, self_values, totals, folded } = columns;
    let texts: usize = names.iter().map(|name| name.len() + 4).sum();
    let mut out = Vec::with_capacity(texts + name.len() * 16 + 64);
    for name in names {
        push_bytes(&mut out, 1, name.as_bytes());
    }
    let mut packed = Vec::new();
    let mut push_packed = |field: u8, values: &mut dyn Iterator<Item = u64>| {
        packed.clear();
        values.for_each(|value| push_varint(&mut packed, value));
        push_bytes(&mut out, field, &packed);
    };
    for (field, values) in [(2, name), (3, children), (6, folded)] {
        push_packed(field, &mut values.iter().map(|&value| u64::from(value)));
    }
    for (field, values) in [(4, self_values), (5, totals)] {
        push_packed(field, &mut values.iter().map(|value| value.cast_unsigned()));
    }
    out
}

/// Time series as the answer to SelectSeries.
pub(crate) struct SeriesAnswer(pub(crate) Vec<TimeSeries>);

impl Encodable<SelectSeriesResponse> for SeriesAnswer {
    fn encode(&self, codec: CodecFormat) -> Result<Bytes, ConnectError> {
        match codec {
            CodecFormat::Proto => Ok(self.bytes().into()),
            _ => {
                let series = self.0.iter().cloned().map(answers::series).collect();
                Encodable::encode(&SelectSeriesResponse { series, ..Default::default() }, codec)
            }
        }
    }
}

impl SeriesAnswer {
    fn bytes(&self) -> Vec<u8> {
        let points: usize = self.0.iter().map(|series| series.points.len()).sum();
        let mut out = Vec::with_capacity(points * 20 + 1024);
        let mut content = Vec::new();
        for series in &self.0 {
            content.clear();
            if series.points.iter().any(|point| point.exemplar.is_some()) {
                content.extend_from_slice(&answers::series(series.clone()).encode_to_vec());
                push_bytes(&mut out, 1, &content);
                continue;
            }
            for pair in answers::label_pairs(&series.labels, |_| true) {
                push_bytes(&mut content, 1, &pair.encode_to_vec());
            }
            for point in &series.points {
                content.push(key(2, LENGTH));
                // At most 20 bytes, so that the length takes one.
                let length_at = content.len();
                content.push(0);
                if point.value.to_bits() != 0 {
                    content.push(key(1, FIXED_64));
                    content.extend_from_slice(&point.value.to_le_bytes());
                }
                push_number(&mut content, 2, point.time.div_euclid(1_000_000));
                let length = (content.len() - length_at - 1) as u8;
                if let Some(byte) = content.get_mut(length_at) {
                    *byte = length;
                }
            }
            push_bytes(&mut out, 1, &content);
        }
        out
    }
}

/// Wire types of protobuf.
const FIXED_64: u8 = 1;
const LENGTH: u8 = 2;

/// The key of a field; numbers below 16 take one byte.
const fn key(field: u8, wire: u8) -> u8 {
    field << 3 | wire
}

fn push_bytes(out: &mut Vec<u8>, field: u8, content: &[u8]) {
    out.push(key(field, LENGTH));
    push_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// A number, unless it is zero.
fn push_number(out: &mut Vec<u8>, field: u8, number: i64) {
    if number != 0 {
        out.push(key(field, 0));
        push_varint(out, number.cast_unsigned());
    }
}

#[inline]
fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_length(value: u64) -> usize {
    (64 - value.max(1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use everflame_lake::ProfileId;
    use everflame_profile::Labels;
    use everflame_query::{Exemplar, Point};

    #[test]
    fn graphs_are_their_messages() {
        let levels = vec![vec![0, 300, -1, 0], Vec::new(), vec![i64::MIN, i64::MAX, 127, 128]];
        let names = ["total", "", "main.work"].map(str::to_owned).to_vec();
        for (total, max_self) in [(300, 5), (0, -1)] {
            let graph = FlameGraph { names: names.clone(), levels: levels.clone(), total, max_self };
            let message = SelectMergeStacktracesResponse {
                flamegraph: answers::graph_message(graph.clone()).into(),
                ..Default::default()
            };
            assert_eq!(GraphAnswer(graph).bytes(), message.encode_to_vec());
        }
        for length in [1, 127, 128, 16_383, 16_384] {
            let mut out = Vec::new();
            push_varint(&mut out, length);
            assert_eq!(out.len(), varint_length(length));
        }
    }

    #[test]
    fn timelines_are_their_messages() {
        let point = |time, value, exemplar| Point { time, value, profiles: 1, duration: 2, exemplar };
        let labels = Labels::from_pairs([("pod", "a"), ("zone", "")]);
        let exemplar = Exemplar { profile: ProfileId(7), time: 5_000_000, value: 3, labels: labels.clone() };
        let lines = vec![
            TimeSeries { labels: labels.clone(), points: vec![point(0, 0.0, None), point(-1, -0.0, None)] },
            TimeSeries {
                labels: Labels::default(),
                points: vec![point(1_700_000_000_000_000_000, 1e300, None)],
            },
            TimeSeries { labels, points: vec![point(5, 3.0, Some(exemplar))] },
            TimeSeries { labels: Labels::default(), points: Vec::new() },
        ];
        let series = lines.iter().cloned().map(answers::series).collect();
        let message = SelectSeriesResponse { series, ..Default::default() };
        assert_eq!(SeriesAnswer(lines).bytes(), message.encode_to_vec());
    }
}
