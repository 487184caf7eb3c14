//! What the lake takes in: one decoded upload, as series, profiles, samples and the stacks that are new.

use everflame_profile::{FrameIndex, Nanos, Series, StackId, Symbols};

/// Identity of a stored profile: a UUID, the client's when it sent a valid one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProfileId(pub u128);

/// One upload of one service. Appended as a whole or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The label `service_name` of every series below.
    pub service: String,
    /// What tells the upload from others: a second batch with the same is not stored again. `None` when nothing
    /// does. It need not be the id of a profile.
    pub upload: Option<ProfileId>,
    /// The series that `profiles` refer to.
    pub series: Vec<Series>,
    /// The profiles: one for each series of the upload (sample type and label set).
    pub profiles: Vec<ProfileRow>,
    /// The samples of all profiles, in the order of `profiles`.
    pub samples: Vec<Sample>,
    /// The distinct stacks that `samples` refer to.
    pub stacks: Vec<StackId>,
    /// Frames of those stacks that [`crate::Lake::unknown_stacks`] named.
    pub new_stacks: NewStacks,
}

/// A profile: the samples of one series at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileRow {
    /// Position in [`Batch::series`].
    pub series: u32,
    /// Identity. Unique unless a sender gives several uploads the same.
    pub id: ProfileId,
    /// Start, nanoseconds since the epoch.
    pub time: Nanos,
    /// Length in nanoseconds; 0 for a snapshot.
    pub duration: Nanos,
    /// Sum of the values of its samples.
    pub total: i64,
    /// End of its samples in [`Batch::samples`]; they begin where those of the profile before it end.
    pub samples_end: u32,
}

/// One stack trace with its value in one profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Position in [`Batch::stacks`].
    pub stack: u32,
    /// The value, in the unit of the series.
    pub value: i64,
    /// The span during which it was taken, 0 when unknown.
    pub span_id: u64,
    /// The trace that the span belongs to, 0 when unknown.
    pub trace_id: u128,
}

/// Frames of stacks that the lake has not seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewStacks {
    /// The frames; each occurs once.
    pub symbols: Symbols,
    /// For each new stack its position in [`Batch::stacks`] and the end of its frames in `frames`.
    pub stacks: Vec<(u32, u32)>,
    /// Frames of all new stacks, leaf first, as indices into `symbols.frames`.
    pub frames: Vec<FrameIndex>,
}
