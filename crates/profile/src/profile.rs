//! A decoded profile, in flat arrays: what the readers of all formats produce.

use crate::Nanos;
use crate::profile_type::ValueType;
use crate::stack::{FrameId, StackId};
use crate::strings::StringIndex;
use crate::symbols::{Frame, Symbols};
use std::ops::Range;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// A profile as one process sent it. Each sample has one value for each of `sample_types`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// What the values count, in the order in which each sample lists them.
    pub sample_types: Vec<ValueType>,
    /// Which of `sample_types` a viewer should show first, when the profile says so.
    pub default_sample_type: Option<usize>,
    /// What triggers a sample; both parts empty when unknown.
    pub period_type: ValueType,
    /// How much of `period_type` lies between two samples; 0 when unknown.
    pub period: i64,
    /// When the profile was started or taken, nanoseconds since the epoch; 0 when unknown.
    pub time: Nanos,
    /// Nanoseconds that it covers; 0 for a snapshot or when unknown.
    pub duration: Nanos,
    /// Frames and all texts. The profiles of one message or file may share them.
    pub symbols: Arc<Symbols>,
    /// Locations: runs of frames, so that a location that many stacks share is stored once.
    pub locations: Arc<Vec<Location>>,
    /// The samples.
    pub samples: Samples,
    /// Free texts of the sender.
    pub comments: Vec<String>,
}

/// A run of [`Symbols::frames`], leaf first: several when calls were inlined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// Index of the innermost frame.
    pub first: u32,
    /// Number of frames.
    pub count: u32,
}

/// A text label of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SampleLabel {
    /// Its name.
    pub key: StringIndex,
    /// Its value.
    pub value: StringIndex,
}

/// All samples of a profile, column by column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// Location indices of all stacks, leaf first, one stack after the other.
    pub locations: Vec<u32>,
    /// For each sample the end of its stack in `locations`.
    pub stack_ends: Vec<u32>,
    /// The values, sample by sample: `sample_types.len()` each.
    pub values: Vec<i64>,
    /// Text labels of all samples.
    pub labels: Vec<SampleLabel>,
    /// For each sample the end of its labels in `labels`.
    pub label_ends: Vec<u32>,
}

impl Samples {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.stack_ends.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.stack_ends.is_empty()
    }

    /// Location indices of the stack of `sample`, leaf first.
    pub fn stack(&self, sample: usize) -> &[u32] {
        &self.locations[range(&self.stack_ends, sample)]
    }

    /// Text labels of `sample`.
    pub fn labels(&self, sample: usize) -> &[SampleLabel] {
        &self.labels[range(&self.label_ends, sample)]
    }

    /// Appends a sample.
    pub fn push(&mut self, stack: &[u32], values: &[i64], labels: &[SampleLabel]) {
        self.locations.extend_from_slice(stack);
        self.stack_ends.push(self.locations.len() as u32);
        self.values.extend_from_slice(values);
        self.labels.extend_from_slice(labels);
        self.label_ends.push(self.labels.len() as u32);
    }
}

fn range(ends: &[u32], at: usize) -> Range<usize> {
    let start = if at == 0 { 0 } else { ends[at - 1] };
    start as usize..ends[at] as usize
}

impl Profile {
    /// The frames of `sample`, leaf first, inlined ones included.
    pub fn frames(&self, sample: usize) -> impl DoubleEndedIterator<Item = &Frame> {
        self.samples.stack(sample).iter().flat_map(|&location| self.location_frames(location))
    }

    /// Values of `sample`, one for each sample type.
    pub fn values(&self, sample: usize) -> &[i64] {
        let types = self.sample_types.len();
        &self.samples.values[sample * types..(sample + 1) * types]
    }

    /// Sum of all samples for each sample type; stops at the largest number instead of wrapping.
    pub fn totals(&self) -> Vec<i64> {
        let mut totals = vec![0i64; self.sample_types.len()];
        for sample in 0..self.samples.len() {
            for (total, value) in totals.iter_mut().zip(self.values(sample)) {
                *total = total.saturating_add(*value);
            }
        }
        totals
    }

    /// The symbols as this profile's own: a copy, when others share them.
    pub fn symbols_mut(&mut self) -> &mut Symbols {
        Arc::make_mut(&mut self.symbols)
    }

    /// The stack id of every sample. Hot: each frame is hashed once.
    pub fn stack_ids(&self) -> Vec<StackId> {
        self.stack_ids_of(&self.symbols.frame_ids())
    }

    /// The same when `frame_ids`, those of the symbols, are known already, as profiles that share their symbols
    /// find them. Hot: each stack costs 16 bytes a frame.
    pub fn stack_ids_of(&self, frame_ids: &[FrameId]) -> Vec<StackId> {
        let mut buffer: Vec<[u8; 16]> = Vec::with_capacity(256);
        let locations = self.locations.as_slice();
        (0..self.samples.len())
            .map(|sample| {
                // As `stack_id` has it, without an iterator for each location.
                buffer.clear();
                for &location in self.samples.stack(sample).iter().rev() {
                    let Location { first, count } = locations[location as usize];
                    for id in frame_ids[first as usize..(first + count) as usize].iter().rev() {
                        buffer.push(id.0.to_le_bytes());
                    }
                }
                StackId(xxh3_128(buffer.as_flattened()))
            })
            .collect()
    }

    fn location_frames(&self, location: u32) -> &[Frame] {
        let Location { first, count } = self.locations[location as usize];
        &self.symbols.frames[first as usize..(first + count) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::stack_id;

    #[test]
    fn stack_ids_are_those_of_the_frames() {
        let mut profile = Profile::default();
        for name in ["a", "b", "c"] {
            let function = profile.symbols_mut().strings.push(name);
            profile.symbols_mut().frames.push(Frame { function, ..Frame::default() });
        }
        profile.locations = Arc::new(vec![Location { first: 0, count: 1 }, Location { first: 1, count: 2 }]);
        for stack in [&[0, 1][..], &[1, 0, 1], &[]] {
            profile.samples.push(stack, &[], &[]);
        }
        let mut buffer = Vec::new();
        let expect: Vec<StackId> = (0..3)
            .map(|sample| {
                let frames: Vec<_> = profile
                    .frames(sample)
                    .map(|frame| profile.symbols.frame_id(frame, &mut buffer))
                    .collect();
                stack_id(frames.into_iter(), &mut Vec::new())
            })
            .collect();
        assert_eq!(profile.stack_ids(), expect);
    }
}
