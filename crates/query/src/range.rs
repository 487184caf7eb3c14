//! The time that a query covers, and the values.

use crate::Error;
use everflame_profile::Nanos;

/// A span of time; both ends belong to it. A profile counts when its start lies in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// First nanosecond since the epoch.
    pub from: Nanos,
    /// Last nanosecond since the epoch.
    pub until: Nanos,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { from: Nanos::MIN, until: Nanos::MAX };

    /// From `from` to `until`, both inclusive.
    pub fn new(from: Nanos, until: Nanos) -> Self {
        Self { from, until }
    }

    /// Whether `time` lies in it.
    pub fn contains(&self, time: Nanos) -> bool {
        self.from <= time && time <= self.until
    }

    /// What lies in both; it ends before it begins when nothing does.
    pub(crate) fn both(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), until: self.until.min(other.until) }
    }

    /// Its length in nanoseconds.
    pub fn length(&self) -> Nanos {
        self.until.saturating_sub(self.from)
    }

    /// The whole microseconds in it, as files store times.
    pub(crate) fn micros(&self) -> (i64, i64) {
        (self.from.div_euclid(1000) + i64::from(self.from.rem_euclid(1000) > 0), self.until.div_euclid(1000))
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.from <= self.until {
            true => Ok(()),
            false => Err(Error::Range { from: self.from, until: self.until }),
        }
    }
}

/// A span of values; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueRange {
    /// The smallest.
    pub min: i64,
    /// The largest.
    pub max: i64,
}

impl ValueRange {
    /// All values.
    pub const ALL: Self = Self { min: i64::MIN, max: i64::MAX };

    /// Whether `value` lies in it.
    pub fn contains(&self, value: i64) -> bool {
        self.min <= value && value <= self.max
    }

    /// Whether it has an end that nobody set.
    pub(crate) fn is_open(&self) -> bool {
        self.min == i64::MIN || self.max == i64::MAX
    }

    /// The same with the ends that nobody set where those of `found` are; `None` when nothing was found for them.
    pub(crate) fn closed(self, found: Option<Self>) -> Option<Self> {
        if !self.is_open() {
            return Some(self);
        }
        found.map(|found| Self {
            min: if self.min == i64::MIN { found.min } else { self.min },
            max: if self.max == i64::MAX { found.max } else { self.max },
        })
    }

    /// The smallest range that has all of `values`; `None` when there are none.
    pub(crate) fn around(values: impl IntoIterator<Item = i64>) -> Option<Self> {
        let add = |range: Option<Self>, value: i64| match range {
            None => Some(Self { min: value, max: value }),
            Some(Self { min, max }) => Some(Self { min: min.min(value), max: max.max(value) }),
        };
        values.into_iter().fold(None, add)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.min <= self.max {
            true => Ok(()),
            false => Err(Error::Values { min: self.min, max: self.max }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_ends_are_where_something_is() {
        let range = |min, max| ValueRange { min, max };
        let (min, max) = (i64::MIN, i64::MAX);
        let found = Some(range(3, 9));
        for (asked, found, expect) in [
            (range(1, 5), None, Some(range(1, 5))),
            (range(1, max), found, Some(range(1, 9))),
            (range(min, 12), found, Some(range(3, 12))),
            (ValueRange::ALL, found, found),
            (range(1, max), None, None),
        ] {
            assert_eq!(asked.closed(found), expect, "{asked:?}");
        }
    }

    #[test]
    fn microseconds_inside() {
        let check = |from, until, expect| assert_eq!(TimeRange { from, until }.micros(), expect);
        check(0, 999, (0, 0));
        check(1, 999, (1, 0));
        check(-1, 2000, (0, 2));
        check(-1000, -1, (-1, -1));
        check(1001, 3000, (2, 3));
    }
}
