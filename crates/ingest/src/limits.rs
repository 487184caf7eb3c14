//! How much an upload may ask for.

use everflame_profile::Nanos;

/// Bounds of uploads. What a limit says "dropped" about is dropped and counted; the rest is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bounds of the readers: inflated bytes, samples, depth, …
    pub decode: everflame_formats::Limits,
    /// Labels of a request, its own ones among them: 30, as Pyroscope takes.
    pub labels: usize,
    /// Bytes of a label's name: 1,024. Labels of samples that exceed it are dropped.
    pub label_name_bytes: usize,
    /// Bytes of a label's value: 2,048. Labels of samples that exceed it are dropped.
    pub label_value_bytes: usize,
    /// Distinct label sets of one upload: 64. Past it the sample label with the most values is dropped.
    pub label_sets_per_upload: usize,
    /// Distinct label sets of a service on one day: 2,000. Past it the label with the most values is
    /// dropped.
    pub label_sets_per_service: usize,
    /// How far in the future a profile may lie: 10 minutes.
    pub future: Nanos,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            decode: everflame_formats::Limits::default(),
            labels: 30,
            label_name_bytes: 1_024,
            label_value_bytes: 2_048,
            label_sets_per_upload: 64,
            label_sets_per_service: 2_000,
            future: 600_000_000_000,
        }
    }
}
