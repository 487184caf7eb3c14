//! The bands of values of a heatmap, as Pyroscope has them, so that its clients see the same cells.

use crate::ValueRange;
use crate::merged::clamp;
use std::num::NonZeroU16;

/// Bands of equal width; where each begins is cut to a whole number. A value belongs to the last band that does
/// not begin above it. Of bands narrower than 1 several begin alike, and what lies there is in the last of them.
#[derive(Clone, Debug)]
pub(crate) struct Bands {
    /// What they lie between.
    pub(crate) values: ValueRange,
    /// The first value of each, ascending.
    pub(crate) starts: Vec<i64>,
}

impl Bands {
    /// Bands between the ends that were `asked` for, and the least and the largest value `found` where those are
    /// open; `None` when there is nothing to lie between. With an open end they reach up to 0 at least.
    pub(crate) fn new(asked: ValueRange, found: Option<ValueRange>, count: NonZeroU16) -> Option<Self> {
        let found = found.map(|found| ValueRange { max: found.max.max(0), ..found });
        let values = asked.closed(found)?;
        let span = (i128::from(values.max) - i128::from(values.min)).max(1);
        // Not in whole numbers: the peer rounds in just this way, and a start that differs by 1 moves values.
        let width = span as f64 / f64::from(count.get());
        let start = |band: u16| clamp(i128::from(values.min) + (f64::from(band) * width) as i128);
        Some(Self { values, starts: (0..count.get()).map(start).collect() })
    }

    /// The band of a value.
    pub(crate) fn of(&self, value: i64) -> Option<u16> {
        let not_above = self.starts.partition_point(|&start| start <= value);
        let band = not_above.checked_sub(1).filter(|_| self.values.contains(value))?;
        u16::try_from(band).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bands(asked: ValueRange, values: &[i64], count: u16) -> Option<Bands> {
        Bands::new(asked, ValueRange::around(values.iter().copied()), NonZeroU16::new(count).unwrap())
    }

    /// Where bands begin, and how many of `values` are in each.
    fn counted(values: &[i64], count: u16) -> (Vec<i64>, Vec<usize>) {
        let bands = bands(ValueRange::ALL, values, count).unwrap();
        let mut counts = vec![0; usize::from(count)];
        values.iter().for_each(|&value| counts[usize::from(bands.of(value).unwrap())] += 1);
        (bands.starts, counts)
    }

    /// Pyroscope's rule: edges at equal distances from the least value to the largest, which is at least 0 and
    /// above the least, each cut to a whole number; the first band that a value lies in, its upper edge left out,
    /// and the last for all above.
    fn by_the_rule(values: &[i64], count: u16) -> (Vec<i64>, Vec<usize>) {
        let least = *values.iter().min().unwrap();
        let mut largest = values.iter().fold(0, |largest, &value| largest.max(value));
        if largest == least {
            largest += 1;
        }
        let width = (largest - least) as f64 / f64::from(count);
        let edge = |at: u16| least + (f64::from(at) * width) as i64;
        let last = usize::from(count) - 1;
        let mut counts = vec![0; usize::from(count)];
        for &value in values {
            let upper = |band: u16| if band + 1 == count { largest } else { edge(band + 1) };
            let band = (0..count).position(|band| edge(band) <= value && value < upper(band));
            counts[band.unwrap_or(last)] += 1;
        }
        ((0..count).map(edge).collect(), counts)
    }

    #[test]
    fn starts_are_cut_and_the_last_band_is_open() {
        let check = |values: &[i64], count, starts: &[i64], expect: &[usize]| {
            assert_eq!(counted(values, count), (starts.to_vec(), expect.to_vec()), "{values:?}");
        };
        check(&[0, 25, 99, 100], 4, &[0, 25, 50, 75], &[1, 1, 0, 2]);
        check(&[0, 3, 6, 10], 3, &[0, 3, 6], &[1, 1, 2]);
        check(&[4, 15, 27, 51], 4, &[4, 15, 27, 39], &[1, 1, 1, 1]);
        check(&[1, 2, 3], 4, &[1, 1, 2, 2], &[0, 1, 0, 2]);
        check(&[54, 54, 54], 3, &[54, 54, 54], &[0, 0, 3]);
        check(&[0, 0], 2, &[0, 0], &[0, 2]);
        check(&[-7, -3], 2, &[-7, -4], &[1, 1]);
        let (starts, counts) = counted(&[4, 15, 27, 230], 20);
        assert_eq!((&starts[..4], &counts[..4], counts[19]), (&[4, 15, 26, 37][..], &[1, 1, 1, 0][..], 1));
    }

    #[test]
    fn ends_that_were_asked_for_stay() {
        let asked = ValueRange { min: -10, max: -2 };
        let bands = bands(asked, &[], 2).unwrap();
        assert_eq!((bands.values, &bands.starts[..]), (asked, &[-10, -6][..]));
        assert_eq!(
            [-11, -10, -6, -2, -1].map(|value| bands.of(value)),
            [None, Some(0), Some(1), Some(1), None]
        );
        assert!(self::bands(ValueRange::ALL, &[], 2).is_none());
    }

    fn between(low: i64, high: i64) -> impl Strategy<Value = Vec<i64>> {
        prop::collection::vec(prop_oneof![3 => low..=high, 1 => Just(low), 1 => Just(high)], 1..20)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        // Further apart than 2^63 the peer's own numbers run over.
        #[test]
        fn counts_are_those_of_the_rule(
            values in prop_oneof![
                3 => between(-30, 300),
                1 => between(0, 40),
                1 => between(-1 << 40, 1 << 40),
                1 => between(1 << 53, (1 << 53) + 60),
                1 => between(0, i64::MAX),
                1 => between(-i64::MAX, 0),
                1 => between(i64::MIN / 2, i64::MAX / 2),
            ],
            count in 1u16..40,
        ) {
            prop_assume!(values.iter().any(|&value| value < i64::MAX));
            prop_assert_eq!(counted(&values, count), by_the_rule(&values, count));
        }

        #[test]
        fn bands_lie_in_order_whatever_they_are_between(
            values in prop_oneof![between(i64::MIN, i64::MAX), between(-3, 3)], count in 1u16..=u16::MAX,
        ) {
            let bands = bands(ValueRange::ALL, &values, count).unwrap();
            prop_assert!(bands.starts.is_sorted() && bands.starts.len() == usize::from(count));
            for value in values {
                let band = usize::from(bands.of(value).unwrap());
                prop_assert!(bands.starts[band] <= value);
                prop_assert!(bands.starts.get(band + 1).is_none_or(|&next| next > value));
            }
        }
    }
}
