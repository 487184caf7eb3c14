//! What the lake gives out: one consistent view of files and head, to be scanned.

use crate::batch::ProfileId;
use crate::files::DataFile;
use crate::tables::{Level, Tier};
use everflame_profile::{FrameIndex, Nanos, Series, SeriesId, StackId, Symbols};
use std::sync::Arc;

/// Everything that was stored at one moment. Files that it names stay readable while it lives.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Files of the table `samples`.
    pub samples: Vec<Arc<DataFile>>,
    /// Files of the table `profiles`.
    pub profiles: Vec<Arc<DataFile>>,
    /// Files of the table `series`.
    pub series: Vec<Arc<DataFile>>,
    /// Files of the table `stacks`.
    pub stacks: Vec<Arc<DataFile>>,
    /// What is not in the tables yet.
    pub head: Vec<Arc<HeadChunk>>,
    /// Profiles and samples before this time, in microseconds since the epoch, may have been deleted because
    /// of their age; the tiers may still have them.
    pub horizon: i64,
    /// Sums of `samples` and `profiles`: of each level the shortest windows first.
    pub tiers: Vec<TierSnapshot>,
    /// The labels that sums of [`Level::Service`] do not tell apart.
    pub dropped_labels: Vec<String>,
}

/// The sums of one tier. Its rows have the columns of the table that was summed; their time is the start of
/// the window.
#[derive(Clone, Debug)]
pub struct TierSnapshot {
    /// How long its windows are.
    pub tier: Tier,
    /// Of what series its rows are.
    pub level: Level,
    /// Sums of those rows of `samples` that are in files up to `samples_sequence`.
    pub samples: Vec<Arc<DataFile>>,
    /// The last [`DataFile::sequence`] of `samples` that is summed.
    pub samples_sequence: u64,
    /// Sums of those rows of `profiles` that are in files up to `profiles_sequence`; the column `profiles`
    /// says of how many.
    pub profiles: Vec<Arc<DataFile>>,
    /// The last [`DataFile::sequence`] of `profiles` that is summed.
    pub profiles_sequence: u64,
    /// Windows before this time, in microseconds since the epoch, may have been deleted because of their age.
    pub horizon: i64,
}

/// A piece of the head: profiles in the order of their arrival, with their samples.
#[derive(Clone, Debug, Default)]
pub struct HeadChunk {
    /// The profiles.
    pub profiles: Vec<HeadProfile>,
    /// For each sample of all profiles the position of its stack in `stacks`.
    pub sample_stacks: Vec<u32>,
    /// For each sample its value.
    pub sample_values: Vec<i64>,
    /// For each sample its span id, 0 when unknown. Empty when no sample of the chunk has one.
    pub sample_spans: Vec<u64>,
    /// For each sample its trace id, 0 when unknown. Empty when no sample of the chunk has one.
    pub sample_traces: Vec<u128>,
    /// The distinct stacks of this chunk.
    pub stacks: Vec<StackId>,
}

/// A profile in a [`HeadChunk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadProfile {
    /// Its series.
    pub series: SeriesId,
    /// Its identity.
    pub id: ProfileId,
    /// Nanoseconds since the epoch.
    pub time: Nanos,
    /// Nanoseconds.
    pub duration: Nanos,
    /// Sum of its samples' values.
    pub total: i64,
    /// End of its samples in the chunk's columns; they begin where those of the profile before it end.
    pub samples_end: u32,
}

/// A series that has profiles in a time range; see [`crate::Lake::series`].
#[derive(Clone, Debug)]
pub struct SeriesMatch {
    /// Its id.
    pub id: SeriesId,
    /// Labels and type.
    pub series: Arc<Series>,
    /// The id under which it is a part of sums of [`Level::Service`].
    pub reduced: SeriesId,
    /// When its first known profile was taken, nanoseconds since the epoch (day by day; see the RFC).
    pub first: Nanos,
    /// When its last known profile was taken, nanoseconds since the epoch.
    pub last: Nanos,
}

/// Frames of stacks that were asked for by id; see [`crate::Lake::resolve_stacks`].
#[derive(Clone, Debug, Default)]
pub struct ResolvedStacks {
    /// The frames, each once.
    pub symbols: Symbols,
    /// Frames of all stacks, leaf first, as indices into `symbols.frames`, one stack after the other in the
    /// order in which they were asked for.
    pub frames: Vec<FrameIndex>,
    /// For each stack that was asked for the end of its frames in `frames`.
    pub ends: Vec<u32>,
    /// Those of them that are nowhere in the lake; their runs in `frames` are empty.
    pub missing: Vec<StackId>,
}

impl ResolvedStacks {
    /// The frames of the stack at `index` of those that were asked for, leaf first.
    pub fn stack(&self, index: usize) -> &[FrameIndex] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.frames[start as usize..self.ends[index] as usize]
    }
}
