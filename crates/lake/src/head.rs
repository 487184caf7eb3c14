//! What is durable in the write-ahead log but not in the tables yet: chunks of samples in memory.

use crate::batch::Batch;
use crate::snapshot::{HeadChunk, HeadProfile};
use everflame_profile::{SeriesId, StackId};
use hashbrown::HashMap;
use std::sync::Arc;

/// A chunk is closed when it holds so many samples: small enough to be copied for a snapshot in well under
/// a millisecond.
const CHUNK_SAMPLES: usize = 32 * 1024;

/// A growing head.
#[derive(Debug, Default)]
pub(crate) struct Head {
    closed: Vec<Arc<HeadChunk>>,
    open: HeadChunk,
    open_stacks: HashMap<StackId, u32>,
    bytes: usize,
    profiles: usize,
}

impl Head {
    /// Adds the profiles of `batch`, whose series have the ids `series`.
    pub(crate) fn apply(&mut self, batch: &Batch, series: &[SeriesId]) {
        let before = self.open.bytes();
        let chunk = &mut self.open;
        let stacks: Vec<u32> = batch
            .stacks
            .iter()
            .map(|&stack| {
                *self.open_stacks.entry(stack).or_insert_with(|| {
                    chunk.stacks.push(stack);
                    (chunk.stacks.len() - 1) as u32
                })
            })
            .collect();
        let offset = chunk.sample_stacks.len();
        for sample in &batch.samples {
            chunk.sample_stacks.push(stacks[sample.stack as usize]);
            chunk.sample_values.push(sample.value);
        }
        let length = chunk.sample_stacks.len();
        if batch.samples.iter().any(|sample| sample.span_id != 0 || sample.trace_id != 0) {
            chunk.sample_spans.resize(offset, 0);
            chunk.sample_traces.resize(offset, 0);
            chunk.sample_spans.extend(batch.samples.iter().map(|sample| sample.span_id));
            chunk.sample_traces.extend(batch.samples.iter().map(|sample| sample.trace_id));
        } else if !chunk.sample_spans.is_empty() {
            chunk.sample_spans.resize(length, 0);
            chunk.sample_traces.resize(length, 0);
        }
        chunk.profiles.extend(batch.profiles.iter().map(|profile| HeadProfile {
            series: series[profile.series as usize],
            id: profile.id,
            time: profile.time,
            duration: profile.duration,
            total: profile.total,
            samples_end: offset as u32 + profile.samples_end,
        }));
        self.profiles += batch.profiles.len();
        self.bytes += self.open.bytes() - before;
        if length >= CHUNK_SAMPLES {
            self.close_chunk();
        }
    }

    /// Counts bytes that are held elsewhere until the flush: the frames of new stacks.
    pub(crate) fn add_bytes(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// All chunks; the open one is copied.
    pub(crate) fn chunks(&self) -> Vec<Arc<HeadChunk>> {
        let mut chunks = self.closed.clone();
        if !self.open.profiles.is_empty() {
            chunks.push(Arc::new(self.open.clone()));
        }
        chunks
    }

    /// All chunks, moved out.
    pub(crate) fn into_chunks(mut self) -> Vec<Arc<HeadChunk>> {
        self.close_chunk();
        self.closed
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Profiles held.
    pub(crate) fn profiles(&self) -> usize {
        self.profiles
    }

    fn close_chunk(&mut self) {
        self.open_stacks.clear();
        if !self.open.profiles.is_empty() {
            self.closed.push(Arc::new(std::mem::take(&mut self.open)));
        }
    }
}

impl HeadChunk {
    /// Bytes of its columns.
    pub(crate) fn bytes(&self) -> usize {
        self.profiles.len() * size_of::<HeadProfile>()
            + self.sample_stacks.len() * (size_of::<u32>() + size_of::<i64>())
            + self.sample_spans.len() * (size_of::<u64>() + size_of::<u128>())
            + self.stacks.len() * size_of::<StackId>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::batch;

    #[test]
    fn chunks_are_cut_and_nothing_is_lost() {
        let mut head = Head::default();
        let rows: Vec<(&[&str], i64)> = vec![(&["a"], 1); 1000];
        for time in 0..100 {
            let batch = batch("api", time, &rows);
            head.apply(&batch, &[batch.series[0].id()]);
        }
        let chunks = head.chunks();
        assert_eq!(chunks.len(), 4);
        assert_eq!(chunks.iter().flat_map(|chunk| &chunk.sample_values).sum::<i64>(), 100_000);
        assert!(chunks.iter().all(|chunk| chunk.stacks.len() == 1));
        assert_eq!(head.profiles(), 100);
        assert!(head.bytes() >= 100_000 * 12);
    }

    #[test]
    fn spans_stay_with_their_samples() {
        let mut head = Head::default();
        let mut spanned = batch("api", 1, &[(&["a"], 1), (&["b"], 2)]);
        for (at, span) in [(0, 0), (1, 42), (2, 0)] {
            spanned.samples[1].span_id = span;
            spanned.profiles[0].time = at;
            head.apply(&spanned, &[spanned.series[0].id()]);
        }
        assert_eq!(head.chunks()[0].sample_spans, [0, 0, 0, 42, 0, 0]);
        assert_eq!(head.chunks()[0].sample_traces.len(), 6);
    }
}
