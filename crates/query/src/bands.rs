//! The bands of values of a heatmap.

use crate::ValueRange;
use crate::merged::clamp;
use std::num::NonZeroU16;

/// Bands of equal width. A value belongs to the last band that does not begin above it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bands {
    values: ValueRange,
    count: NonZeroU16,
}

impl Bands {
    pub(crate) fn new(values: ValueRange, count: NonZeroU16) -> Self {
        Self { values, count }
    }

    /// The band of a value.
    pub(crate) fn of(&self, value: i64) -> Option<u16> {
        if !self.values.contains(value) {
            return None;
        }
        let above = u128::from(value.abs_diff(self.values.min));
        let width = u128::from(self.values.max.abs_diff(self.values.min)).max(1);
        let band = above * u128::from(self.count.get()) / width;
        Some(u16::try_from(band).unwrap_or(u16::MAX).min(self.count.get() - 1))
    }

    /// The first value of each band.
    pub(crate) fn starts(&self) -> Vec<i64> {
        let width = i128::from(self.values.max) - i128::from(self.values.min);
        let count = i128::from(self.count.get());
        let start = |band: i128| i128::from(self.values.min) + (band * width + count - 1) / count;
        (0..count).map(|band| clamp(start(band))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bands(min: i64, max: i64, count: u16) -> Bands {
        Bands::new(ValueRange { min, max }, NonZeroU16::new(count).unwrap())
    }

    #[test]
    fn values_belong_to_the_last_band_that_begins_at_or_below_them() {
        let check = |min: i64, max: i64, count: u16, expect: &[i64]| {
            let bands = bands(min, max, count);
            assert_eq!(bands.starts(), expect);
            let near = bands
                .starts()
                .into_iter()
                .flat_map(|start| (start.saturating_sub(1)..=start).chain([start.saturating_add(1)]));
            for value in near.chain([min, max]).filter(|value| bands.values.contains(*value)) {
                let last = expect.iter().rposition(|&start| start <= value).unwrap();
                // Bands that are narrower than 1 begin at the same value; the value is in the last of them.
                assert_eq!(
                    bands.of(value).map(usize::from),
                    Some(last),
                    "{value} in {min}..{max} by {count}"
                );
            }
            let outside = [min.checked_sub(1), max.checked_add(1)];
            assert!(outside.into_iter().flatten().all(|value| bands.of(value).is_none()));
        };
        check(0, 100, 4, &[0, 25, 50, 75]);
        check(0, 10, 3, &[0, 4, 7]);
        check(-7, 7, 2, &[-7, 0]);
        check(5, 5, 1, &[5]);
        check(i64::MIN, i64::MAX, 2, &[i64::MIN, 0]);
    }
}
