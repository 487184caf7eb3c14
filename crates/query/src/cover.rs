//! Covers a range of time by the largest windows of the tiers, and by single profiles where they must be
//! looked at.
//!
//! What is not summed yet (newer files and the head) is read beside every tier, so that the answer is the
//! one that a scan of all samples would give. Where single profiles are gone because of their age, the ends
//! of the range are moved outwards to the next window of the shortest tier that is still there.

use crate::TimeRange;
use everflame_lake::{DataFile, HeadChunk, Level, Snapshot, Tier, TierSnapshot};
use everflame_profile::Nanos;
use std::sync::Arc;

/// A tier is used for so many of its windows or more: fewer are read more quickly from single profiles,
/// whose files the ends of the range need anyway.
const MIN_WINDOWS: i64 = 2;

/// Of which table the rows are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Samples,
    Profiles,
}

/// What single rows are needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Only their sum: windows as long as possible.
    Sum,
    /// Their times: single profiles, or windows as short as possible.
    Times,
}

/// A part of the range, and where its rows are.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) range: TimeRange,
    /// Length of the windows that the rows of tiers are sums of; 0 when there are only single profiles.
    pub(crate) window: Nanos,
    pub(crate) files: Vec<Arc<DataFile>>,
}

/// The parts that make up `range`; the head belongs to each of them. Of tiers the sums of `level` are read.
pub(crate) fn cover(
    snapshot: &Snapshot,
    table: Table,
    level: Level,
    range: TimeRange,
    detail: Detail,
) -> Vec<Part> {
    let tiers: Vec<&TierSnapshot> = snapshot.tiers.iter().filter(|tier| tier.level == level).collect();
    let raw = match table {
        Table::Samples => &snapshot.samples,
        Table::Profiles => &snapshot.profiles,
    };
    let levels = Levels {
        horizons: std::iter::once(snapshot.horizon).chain(tiers.iter().map(|tier| tier.horizon)).collect(),
        tiers: tiers.iter().map(|tier| tier.tier).collect(),
        detail,
    };
    let mut range = shorten(snapshot, raw, range);
    if detail == Detail::Sum {
        range = widen(snapshot, raw, range);
    }
    let (from, until) = range.micros();
    let parts = levels.split(from, until.saturating_add(1));
    let parts = parts.into_iter().map(|(level, from, end)| {
        let inside = TimeRange { from: from.saturating_mul(1000), until: end.saturating_mul(1000) - 1 };
        let tier = level.checked_sub(1).and_then(|tier| tiers.get(tier));
        let Some(tier) = tier else {
            // The ends of the range itself may lie between two microseconds.
            let range = TimeRange {
                from: if from == range.micros().0 { range.from } else { inside.from },
                until: if end == until.saturating_add(1) { range.until } else { inside.until },
            };
            return Part { range, window: 0, files: raw.clone() };
        };
        let (sums, sequence) = match table {
            Table::Samples => (&tier.samples, tier.samples_sequence),
            Table::Profiles => (&tier.profiles, tier.profiles_sequence),
        };
        let newer = raw.iter().filter(|file| file.sequence() > sequence);
        Part {
            range: inside,
            window: tier.tier.micros().saturating_mul(1000),
            files: sums.iter().chain(newer).cloned().collect(),
        }
    });
    parts.collect()
}

/// The range without the days before the first and after the last profile: what is asked for is often
/// "everything".
fn shorten(snapshot: &Snapshot, raw: &[Arc<DataFile>], range: TimeRange) -> TimeRange {
    const DAY: Nanos = 86_400_000_000_000;
    let sums = snapshot.tiers.iter().flat_map(|tier| {
        let micros = tier.tier.micros();
        let files = tier.samples.iter().chain(&tier.profiles);
        files.map(move |file| (file.stats.min_time, file.stats.max_time.saturating_add(micros)))
    });
    let files = raw.iter().map(|file| (file.stats.min_time, file.stats.max_time)).chain(sums);
    let files =
        files.map(|(min, max)| (min.saturating_mul(1000), max.saturating_mul(1000).saturating_add(999)));
    let chunks = snapshot.head.iter().flat_map(|chunk: &Arc<HeadChunk>| &chunk.profiles);
    let all = files.chain(chunks.map(|profile| (profile.time, profile.time)));
    let ends =
        all.fold((Nanos::MAX, Nanos::MIN), |(first, last), (min, max)| (first.min(min), last.max(max)));
    let first_day = ends.0.div_euclid(DAY).saturating_mul(DAY);
    let last_day = ends.1.div_euclid(DAY).saturating_add(1).saturating_mul(DAY);
    TimeRange { from: range.from.max(first_day), until: range.until.min(last_day.saturating_sub(1)) }
}

/// The range with each end that no profile of its day lies beyond moved outwards to the end of that day, so
/// that whole windows cover it: what is asked for most often ends now.
fn widen(snapshot: &Snapshot, raw: &[Arc<DataFile>], range: TimeRange) -> TimeRange {
    const DAY: Nanos = 86_400_000_000_000;
    let day = range.from.div_euclid(DAY).saturating_mul(DAY);
    let before = TimeRange { from: day, until: range.from.saturating_sub(1) };
    let last = range.until.div_euclid(DAY).saturating_add(1).saturating_mul(DAY).saturating_sub(1);
    let after = TimeRange { from: range.until.saturating_add(1), until: last };
    TimeRange {
        from: if is_empty(snapshot, raw, before) { day } else { range.from },
        until: if is_empty(snapshot, raw, after) { last } else { range.until },
    }
}

/// Whether no profile can have been taken in `range`, not even one whose sums are all that is left of it.
fn is_empty(snapshot: &Snapshot, raw: &[Arc<DataFile>], range: TimeRange) -> bool {
    let (from, until) = range.micros();
    from >= snapshot.horizon
        && !raw.iter().any(|file| file.stats.min_time <= until && file.stats.max_time >= from)
        && !snapshot.head.iter().flat_map(|chunk| &chunk.profiles).any(|profile| range.contains(profile.time))
}

/// The levels of detail: 0 for single profiles, then the tiers, the shortest windows first.
struct Levels {
    /// For each level the time before which its rows may be gone, microseconds since the epoch.
    horizons: Vec<i64>,
    tiers: Vec<Tier>,
    detail: Detail,
}

impl Levels {
    /// Disjoint spans of time in order, each with its level: microseconds, the end excluded.
    fn split(&self, from: i64, end: i64) -> Vec<(usize, i64, i64)> {
        let mut parts = Vec::new();
        if from >= end {
            return parts;
        }
        // The finest level that is left changes at the horizons.
        let mut cuts: Vec<i64> = self.horizons.iter().copied().filter(|&at| at > from && at < end).collect();
        cuts.extend([from, end]);
        cuts.sort_unstable();
        cuts.dedup();
        for span in cuts.windows(2) {
            let &[from, end] = span else { continue };
            let left = (0..self.horizons.len())
                .find(|&level| self.horizons.get(level).is_some_and(|&at| from >= at));
            let finest = left.unwrap_or(self.tiers.len());
            let length = self.length(finest);
            let covered = parts.last().map_or(i64::MIN, |&(_, _, end)| end);
            let from = (from.div_euclid(length) * length).max(covered);
            let end = end.saturating_add(length - 1).div_euclid(length) * length;
            match self.detail {
                Detail::Times => parts.push((finest, from, end)),
                Detail::Sum => self.largest(self.tiers.len(), finest, from, end, &mut parts),
            }
        }
        parts.retain(|(_, from, end)| from < end);
        parts
    }

    /// Covers a span by windows of `level` and, at its ends, of the finer ones down to `finest`.
    fn largest(&self, level: usize, finest: usize, from: i64, end: i64, parts: &mut Vec<(usize, i64, i64)>) {
        if level <= finest {
            parts.push((finest, from, end));
            return;
        }
        let length = self.length(level);
        let first = from.saturating_add(length - 1).div_euclid(length) * length;
        let last = end.div_euclid(length) * length;
        if first >= last || (last - first) / length < MIN_WINDOWS {
            return self.largest(level - 1, finest, from, end, parts);
        }
        if from < first {
            self.largest(level - 1, finest, from, first, parts);
        }
        parts.push((level, first, last));
        if last < end {
            self.largest(level - 1, finest, last, end, parts);
        }
    }

    /// Length of the windows of a level in microseconds.
    fn length(&self, level: usize) -> i64 {
        level.checked_sub(1).and_then(|tier| self.tiers.get(tier)).map_or(1, |tier| tier.micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everflame_lake::{HeadProfile, ProfileId};
    use everflame_profile::SeriesId;
    use proptest::prelude::*;

    const MINUTE: i64 = 60_000_000;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;

    fn levels(horizons: [i64; 4], detail: Detail) -> Levels {
        Levels { horizons: horizons.to_vec(), tiers: Tier::ALL.to_vec(), detail }
    }

    #[test]
    fn long_ranges_are_days_with_hours_and_single_profiles_at_the_ends() {
        let parts = levels([0; 4], Detail::Sum).split(DAY - 90 * MINUTE, 4 * DAY + 2 * HOUR + 1);
        assert_eq!(
            parts,
            [
                (1, DAY - 90 * MINUTE, DAY),
                (3, DAY, 4 * DAY),
                (2, 4 * DAY, 4 * DAY + 2 * HOUR),
                (0, 4 * DAY + 2 * HOUR, 4 * DAY + 2 * HOUR + 1)
            ]
        );
        assert_eq!(
            levels([0; 4], Detail::Sum).split(5, 2 * HOUR + 6 * MINUTE),
            [
                (0, 5, 5 * MINUTE),
                (1, 5 * MINUTE, 2 * HOUR + 5 * MINUTE),
                (0, 2 * HOUR + 5 * MINUTE, 2 * HOUR + 6 * MINUTE)
            ]
        );
        assert_eq!(levels([0; 4], Detail::Times).split(5, 9 * DAY), [(0, 5, 9 * DAY)]);
    }

    #[test]
    fn what_is_gone_is_read_from_the_next_tier() {
        let gone = [10 * DAY, 5 * DAY, 0, 0];
        let parts = levels(gone, Detail::Times).split(4 * DAY + 1, 11 * DAY);
        assert_eq!(parts, [(2, 4 * DAY, 5 * DAY), (1, 5 * DAY, 10 * DAY), (0, 10 * DAY, 11 * DAY)]);
        let parts = levels(gone, Detail::Sum).split(9 * DAY + 7 * MINUTE, 9 * DAY + 4 * HOUR + MINUTE);
        assert_eq!(
            parts,
            [
                (1, 9 * DAY + 5 * MINUTE, 9 * DAY + HOUR),
                (2, 9 * DAY + HOUR, 9 * DAY + 4 * HOUR),
                (1, 9 * DAY + 4 * HOUR, 9 * DAY + 4 * HOUR + 5 * MINUTE)
            ]
        );
    }

    /// One profile an hour after `DAY`, and one twelve hours after it, in the head; sums of everything.
    fn half_a_day() -> Snapshot {
        let profile = |time| HeadProfile {
            series: SeriesId(1),
            id: ProfileId(1),
            time: time * 1000,
            duration: 0,
            total: 1,
            samples_end: 0,
        };
        let profiles = vec![profile(DAY + HOUR), profile(DAY + 12 * HOUR)];
        let tiers = Tier::ALL.map(|tier| TierSnapshot {
            tier,
            level: Level::Series,
            samples: Vec::new(),
            samples_sequence: 1,
            profiles: Vec::new(),
            profiles_sequence: 1,
            horizon: i64::MIN,
        });
        Snapshot {
            head: vec![Arc::new(HeadChunk { profiles, ..HeadChunk::default() })],
            horizon: i64::MIN,
            tiers: tiers.into(),
            ..Snapshot::default()
        }
    }

    /// The parts that a range in microseconds is covered by: length of the windows, begin and last microsecond.
    fn covered(snapshot: &Snapshot, from: i64, until: i64, detail: Detail) -> Vec<(i64, i64, i64)> {
        let range = TimeRange { from: from * 1000, until: until * 1000 };
        let parts = cover(snapshot, Table::Samples, Level::Series, range, detail).into_iter();
        parts.map(|part| (part.window / 1000, part.range.micros().0, part.range.micros().1)).collect()
    }

    #[test]
    fn an_end_that_nothing_lies_beyond_is_covered_by_whole_windows() {
        let snapshot = half_a_day();
        // Nothing before, nothing after.
        assert_eq!(covered(&snapshot, DAY + 1, DAY + 12 * HOUR, Detail::Sum), [(HOUR, DAY, 2 * DAY - 1)]);
        // A profile on either side.
        assert_eq!(
            covered(&snapshot, DAY + HOUR + 1, DAY + 12 * HOUR - 2 * MINUTE, Detail::Sum),
            [
                (0, DAY + HOUR + 1, DAY + HOUR + 5 * MINUTE - 1),
                (5 * MINUTE, DAY + HOUR + 5 * MINUTE, DAY + 2 * HOUR - 1),
                (HOUR, DAY + 2 * HOUR, DAY + 11 * HOUR - 1),
                (5 * MINUTE, DAY + 11 * HOUR, DAY + 11 * HOUR + 55 * MINUTE - 1),
                (0, DAY + 11 * HOUR + 55 * MINUTE, DAY + 12 * HOUR - 2 * MINUTE)
            ]
        );
        // Where single profiles matter nothing is moved.
        assert_eq!(
            covered(&snapshot, DAY + 1, DAY + 12 * HOUR, Detail::Times),
            [(0, DAY + 1, DAY + 12 * HOUR)]
        );
    }

    #[test]
    fn an_end_whose_profiles_may_be_gone_is_not_moved() {
        let gone = Snapshot { horizon: DAY + 2, ..half_a_day() };
        let parts = covered(&gone, DAY + 30 * MINUTE + 1, DAY + 12 * HOUR, Detail::Sum);
        assert_eq!(parts[0], (0, DAY + 30 * MINUTE + 1, DAY + 35 * MINUTE - 1));
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_whole_and_aligned(
            from in -3 * DAY..40 * DAY,
            length in 1..40 * DAY,
            days in prop::collection::vec(0i64..30, 3),
            is_sum in any::<bool>(),
        ) {
            let mut days = days;
            days.sort_unstable_by(|a, b| b.cmp(a));
            let horizons = [days[0] * DAY, days[1] * DAY, days[2] * DAY, i64::MIN];
            let detail = if is_sum { Detail::Sum } else { Detail::Times };
            let levels = levels(horizons, detail);
            let parts = levels.split(from, from + length);
            prop_assert!(parts[0].1 <= from && parts[parts.len() - 1].2 >= from + length);
            for pair in parts.windows(2) {
                prop_assert_eq!(pair[0].2, pair[1].1);
            }
            for (level, start, end) in parts {
                let length = levels.length(level);
                prop_assert!(start < end && start.rem_euclid(length) == 0 && end.rem_euclid(length) == 0);
                prop_assert!(start >= horizons[level]);
            }
        }
    }
}
