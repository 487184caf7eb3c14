//! Which series exist, and on which days: the table `series` in memory.

use crate::snapshot::SeriesMatch;
use crate::tables::SeriesDay;
use everflame_profile::{Nanos, Series, SeriesId};
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Nanoseconds in a day.
pub(crate) const DAY: Nanos = 86_400_000_000_000;

/// The UTC day of `time`, counted from 1970-01-01.
pub(crate) fn day_of(time: Nanos) -> i32 {
    time.div_euclid(DAY) as i32
}

/// All series with the days on which they have profiles.
#[derive(Debug, Default)]
pub(crate) struct SeriesIndex {
    /// Labels that are left out of [`Entry::reduced`].
    dropped_labels: Vec<String>,
    series: HashMap<SeriesId, Entry>,
    /// Number of series by service and day.
    counts: HashMap<(String, i32), usize>,
    /// While a deletion begins, what has profiles that are not a part of it.
    newer: Option<HashSet<(SeriesId, i32)>>,
}

#[derive(Debug)]
struct Entry {
    series: Arc<Series>,
    /// The id of the series without the labels that have many values.
    reduced: SeriesId,
    /// First and last profile of each day.
    days: BTreeMap<i32, (Nanos, Nanos)>,
}

impl SeriesIndex {
    /// An empty index of series that are also known without `dropped_labels`.
    pub(crate) fn new(dropped_labels: Vec<String>) -> Self {
        Self { dropped_labels, ..Self::default() }
    }

    /// Labels that are left out of [`SeriesMatch::reduced`].
    pub(crate) fn dropped_labels(&self) -> &[String] {
        &self.dropped_labels
    }

    /// The id of a series without the labels that have many values; of an unknown series its own.
    pub(crate) fn reduced(&self, id: SeriesId) -> SeriesId {
        self.series.get(&id).map_or(id, |entry| entry.reduced)
    }

    /// Notes that `series` has profiles from `first` to `last` on their day. Returns the shared series.
    pub(crate) fn note(&mut self, id: SeriesId, series: &Series, first: Nanos, last: Nanos) -> Arc<Series> {
        let dropped_labels = &self.dropped_labels;
        let entry = self.series.entry(id).or_insert_with(|| Entry {
            series: Arc::new(series.clone()),
            reduced: series.without(dropped_labels).id(),
            days: BTreeMap::new(),
        });
        let mut is_new = false;
        let day = day_of(first);
        if let Some(newer) = &mut self.newer {
            newer.insert((id, day));
        }
        let range = entry.days.entry(day).or_insert_with(|| {
            is_new = true;
            (first, last)
        });
        *range = (range.0.min(first), range.1.max(last));
        if is_new {
            *self.counts.entry((series.service().to_owned(), day)).or_default() += 1;
        }
        entry.series.clone()
    }

    /// The series that `select` takes and that have profiles in the range, both ends inclusive.
    pub(crate) fn select(
        &self,
        from: Nanos,
        until: Nanos,
        select: &dyn Fn(&Series) -> bool,
    ) -> Vec<SeriesMatch> {
        let mut matches: Vec<SeriesMatch> = Vec::new();
        if from > until {
            return matches;
        }
        for (&id, entry) in &self.series {
            let mut days = entry.days.range(day_of(from)..=day_of(until)).map(|(_, range)| *range);
            let hit = days.any(|(first, last)| first <= until && last >= from);
            if !hit || !select(&entry.series) {
                continue;
            }
            let ends = entry.days.first_key_value().zip(entry.days.last_key_value());
            if let Some(((_, &(first, _)), (_, &(_, last)))) = ends {
                let (series, reduced) = (entry.series.clone(), entry.reduced);
                matches.push(SeriesMatch { id, series, reduced, first, last });
            }
        }
        matches.sort_by_key(|found| found.id);
        matches
    }

    /// Says that a deletion begins: what is among `days`, or is noted from now on, is not a part of it.
    pub(crate) fn begin_deletion<'a>(&mut self, days: impl Iterator<Item = &'a SeriesDay>) {
        self.newer = Some(days.map(|day| (day.id, day.day)).collect());
    }

    /// Says that there will be no [`Self::take`].
    pub(crate) fn give_up_deletion(&mut self) {
        self.newer = None;
    }

    /// Forgets that `series` have profiles on the days from `first` to `last`, unless they have newer ones.
    /// Returns what it knew of them.
    pub(crate) fn take(&mut self, series: &HashSet<SeriesId>, first: i32, last: i32) -> Vec<SeriesDay> {
        let (mut taken, newer) = (Vec::new(), self.newer.take().unwrap_or_default());
        for &id in series {
            let Some(entry) = self.series.get_mut(&id) else { continue };
            let days = entry.days.range(first..=last).map(|(&day, _)| day);
            let days: Vec<i32> = days.filter(|&day| !newer.contains(&(id, day))).collect();
            for day in days {
                if let Some((first, last)) = entry.days.remove(&day) {
                    taken.push(SeriesDay { id, series: entry.series.clone(), day, first, last });
                }
                if let Some(count) = self.counts.get_mut(&(entry.series.service().to_owned(), day)) {
                    *count = count.saturating_sub(1);
                }
            }
            if entry.days.is_empty() {
                self.series.remove(&id);
            }
        }
        self.counts.retain(|_, count| *count > 0);
        taken
    }

    /// Number of series that `service` has on the day of `time`.
    pub(crate) fn count(&self, service: &str, time: Nanos) -> usize {
        self.counts.get(&(service.to_owned(), day_of(time))).copied().unwrap_or(0)
    }

    /// Number of series.
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }
}

/// The days that one flush touches.
#[derive(Debug, Default)]
pub(crate) struct TouchedDays(HashMap<(SeriesId, i32), SeriesDay>);

impl TouchedDays {
    /// Notes a profile of `series` at `time`.
    pub(crate) fn note(&mut self, id: SeriesId, series: &Arc<Series>, time: Nanos) {
        let day = day_of(time);
        let touched = self.0.entry((id, day)).or_insert_with(|| SeriesDay {
            id,
            series: series.clone(),
            day,
            first: time,
            last: time,
        });
        (touched.first, touched.last) = (touched.first.min(time), touched.last.max(time));
    }

    /// All of them.
    pub(crate) fn days(&self) -> impl Iterator<Item = &SeriesDay> {
        self.0.values()
    }

    /// All of them, in a stable order.
    pub(crate) fn into_days(self) -> Vec<SeriesDay> {
        let mut days: Vec<SeriesDay> = self.0.into_values().collect();
        days.sort_by_key(|day| (day.day, day.id));
        days
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::batch;

    #[test]
    fn a_series_is_found_on_its_days_alone() {
        let series = batch("api", 0, &[]).series.remove(0);
        let id = series.id();
        let mut index = SeriesIndex::default();
        for (first, last) in [(10, 20), (15, 30), (3 * DAY, 3 * DAY + 5)] {
            index.note(id, &series, first, last);
        }
        let found = |from, until| index.select(from, until, &|_| true).len();
        assert_eq!(
            [found(0, 9), found(0, 10), found(30, 40), found(31, 2 * DAY), found(DAY, 4 * DAY)],
            [0, 1, 1, 0, 1]
        );
        assert_eq!(found(5, 4), 0);
        assert_eq!((index.count("api", 7), index.count("api", DAY), index.count("web", 7)), (1, 0, 0));
        assert_eq!(index.select(0, DAY, &|_| true)[0].last, 3 * DAY + 5);
    }
}
