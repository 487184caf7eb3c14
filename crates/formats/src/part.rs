//! What the readers of formats with several profiles in one file or message give back.

use crate::Cuts;
use everflame_profile::{Nanos, Profile};

/// One of the profiles in a file or message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// What kind of profile it is: `process_cpu`, `wall`, `memory`, …; empty when the format does not say.
    pub name: String,
    /// Labels that hold for all of its samples, as the format gives them; a name may occur twice, of which
    /// the first counts.
    pub labels: Vec<(String, String)>,
    /// The profile. Those of one file or message share the frames of all.
    pub profile: Profile,
    /// When its samples were taken. Empty when none of them says it.
    pub moments: Moments,
}

/// The moments that the samples of a profile are the sums of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    /// Nanoseconds since the epoch, 0 when unknown, sample by sample.
    pub times: Vec<Nanos>,
    /// What a sample weighed then: a value for each of the profile's sample types, moment by moment.
    pub values: Vec<i64>,
    /// For each sample the end of its moments in `times`.
    pub ends: Vec<u32>,
}

/// What a reader made of its input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The profiles, in the order of the input.
    pub parts: Vec<Part>,
    /// What had to be shortened to stay within [`crate::Limits`], for a metric or a warning.
    pub cuts: Cuts,
}
