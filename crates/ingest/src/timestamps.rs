//! Splits a profile whose samples say when they were taken into profiles of one moment each, as finely as a
//! bound on their number allows.

use everflame_profile::{Nanos, Samples};
use std::collections::{BTreeMap, BTreeSet};

/// Moments that the samples of one profile are split into. Each costs a row in the table of profiles.
const MAX_MOMENTS: usize = 256;

/// What moments are rounded down to, the finest first: what the tables hold, and what people read.
const RESOLUTIONS: [Nanos; 7] =
    [1_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000, 60_000_000_000];

/// The samples by moment. A sample without a time of its own in `plausible` counts for `start`; all do when
/// there are too many moments at every resolution.
pub(crate) fn split(
    samples: &Samples,
    types: usize,
    timestamps: &[Nanos],
    start: Nanos,
    plausible: std::ops::RangeInclusive<Nanos>,
) -> BTreeMap<Nanos, Samples> {
    let moment = |sample: usize, resolution: Nanos| match timestamps.get(sample) {
        Some(time) if plausible.contains(time) => time - time.rem_euclid(resolution),
        _ => start,
    };
    let resolution = RESOLUTIONS.into_iter().find(|&resolution| {
        let mut moments = BTreeSet::new();
        (0..samples.len()).all(|sample| {
            moments.insert(moment(sample, resolution));
            moments.len() <= MAX_MOMENTS
        })
    });
    let mut by_moment: BTreeMap<Nanos, Samples> = BTreeMap::new();
    for sample in 0..samples.len() {
        let moment = resolution.map_or(start, |resolution| moment(sample, resolution));
        let values = samples.values.get(sample * types..(sample + 1) * types).unwrap_or_default();
        by_moment.entry(moment).or_default().push(samples.stack(sample), values, samples.labels(sample));
    }
    by_moment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(timestamps: &[Nanos]) -> Vec<(Nanos, Vec<i64>)> {
        let mut samples = Samples::default();
        (0..timestamps.len()).for_each(|at| samples.push(&[at as u32], &[at as i64], &[]));
        let split = split(&samples, 1, timestamps, 5_000_000_000, 1_000_000_000..=i64::MAX);
        split.into_iter().map(|(moment, samples)| (moment, samples.values)).collect()
    }

    #[test]
    fn few_moments_stay_as_they_are() {
        let timestamps = [7_000_002_999, 6_000_000_000, 7_000_002_001, 0, -3];
        assert_eq!(
            moments(&timestamps),
            [(5_000_000_000, vec![3, 4]), (6_000_000_000, vec![1]), (7_000_002_000, vec![0, 2])]
        );
    }

    #[test]
    fn many_moments_are_rounded() {
        // A second in steps of a millisecond: a tenth of a second is fine enough.
        let timestamps: Vec<Nanos> = (0..1_000).map(|at| 6_000_000_000 + at * 1_000_000).collect();
        let moments = moments(&timestamps);
        assert_eq!((moments.len(), moments[1].0), (100, 6_010_000_000));
        assert_eq!(moments.iter().map(|(_, values)| values.len()).sum::<usize>(), 1_000);
    }

    #[test]
    fn moments_that_lie_far_apart_become_the_start() {
        let timestamps: Vec<Nanos> = (2..1_000).map(|at| at * 100_000_000_000).collect();
        assert_eq!(moments(&timestamps).len(), 1);
    }
}
