//! Splits a profile whose samples say when they were taken into profiles of one moment each, as finely as a
//! bound on their number allows.

use everflame_formats::Moments;
use everflame_profile::{Nanos, Samples};
use std::collections::{BTreeMap, BTreeSet};

/// Moments that the samples of one profile are split into. Each costs a row in the table of profiles.
const MAX_MOMENTS: usize = 256;

/// What moments are rounded down to, the finest first: what the tables hold, and what people read.
const RESOLUTIONS: [Nanos; 7] =
    [1_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000, 60_000_000_000];

/// The samples by moment, with what they weighed then. What has no time of its own in `plausible` counts for
/// `start`; all does when there are too many moments at every resolution.
pub(crate) fn split(
    samples: &Samples,
    types: usize,
    moments: &Moments,
    start: Nanos,
    plausible: std::ops::RangeInclusive<Nanos>,
) -> BTreeMap<Nanos, Samples> {
    let Moments { times, values, ends } = moments;
    let moment = |time: Nanos, resolution: Nanos| match plausible.contains(&time) {
        true => time - time.rem_euclid(resolution),
        false => start,
    };
    let resolution = RESOLUTIONS.into_iter().find(|&resolution| {
        let mut distinct = BTreeSet::new();
        times.iter().all(|&time| {
            distinct.insert(moment(time, resolution));
            distinct.len() <= MAX_MOMENTS
        })
    });
    let mut by_moment: BTreeMap<Nanos, Samples> = BTreeMap::new();
    let mut at = 0;
    for (sample, &end) in ends.iter().enumerate().take(samples.len()) {
        let (stack, labels) = (samples.stack(sample), samples.labels(sample));
        for at in std::mem::replace(&mut at, end as usize)..end as usize {
            let time = times.get(at).copied().unwrap_or_default();
            let values = values.get(at * types..(at + 1) * types).unwrap_or_default();
            let moment = resolution.map_or(start, |resolution| moment(time, resolution));
            by_moment.entry(moment).or_default().push(stack, values, labels);
        }
    }
    by_moment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(timestamps: &[Nanos]) -> Vec<(Nanos, Vec<i64>)> {
        let mut samples = Samples::default();
        let count = timestamps.len();
        // Two samples, one with the first moment and one with the others.
        samples.push(&[7], &[0], &[]);
        samples.push(&[8, 9], &[(1..count as i64).sum()], &[]);
        let moments = Moments {
            times: timestamps.to_vec(),
            values: (0..count as i64).collect(),
            ends: vec![1, count as u32],
        };
        let split = split(&samples, 1, &moments, 5_000_000_000, 1_000_000_000..=i64::MAX);
        let split = split.into_iter().map(|(moment, samples)| {
            for (sample, value) in samples.values.iter().enumerate() {
                assert_eq!(samples.stack(sample), if *value == 0 { &[7][..] } else { &[8, 9] });
            }
            (moment, samples.values)
        });
        split.collect()
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
