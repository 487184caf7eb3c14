//! Durations and their percentiles.

use std::time::Duration;

/// Sorted durations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn new(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    /// The duration that `percent` of all do not exceed, in milliseconds.
    pub(crate) fn percentile_ms(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(rank).map_or(f64::NAN, |duration| duration.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let latencies = Latencies::new((1..=20).rev().map(Duration::from_millis).collect());
        let found = [0, 50, 95, 99, 100].map(|percent| latencies.percentile_ms(percent).round());
        assert_eq!(found, [1.0, 10.0, 19.0, 20.0, 20.0]);
        assert!(Latencies::default().percentile_ms(50).is_nan());
    }
}
