//! The tiers: exact sums of `samples` and `profiles` in aligned windows of five minutes, an hour and a day.
//!
//! A row of a tier is a part of a sum: several rows may have the same stack, series and window, and are one
//! when they are read, or after a compaction. So profiles that come late are just more rows.

use super::days;
use super::parquet_file::NewFile;
use super::sample_files::{Place, SampleFiles};
use super::sample_rows::{Groups, SampleRow};
use super::schema::{self, Table};
use crate::Error;
use everflame_profile::SeriesId;

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Sums that are sorted in memory at once; more go into files of their own.
const SORTED_ROWS: usize = 1 << 19;

/// So many rows are collected before they are sorted and added up for the first time.
const FIRST_SORTED_ROWS: usize = 1 << 15;

/// How long the windows of a tier are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Five minutes.
    FiveMinutes,
    /// An hour.
    Hour,
    /// A UTC day.
    Day,
}

impl Tier {
    /// All of them, the shortest windows first.
    pub const ALL: [Self; 3] = [Self::FiveMinutes, Self::Hour, Self::Day];

    /// Length of a window in microseconds.
    pub fn micros(self) -> i64 {
        match self {
            Self::FiveMinutes => 5 * MINUTE,
            Self::Hour => HOUR,
            Self::Day => DAY,
        }
    }

    /// Start of the window that `time` lies in, microseconds since the epoch.
    pub fn window(self, time: i64) -> i64 {
        time.div_euclid(self.micros()) * self.micros()
    }

    /// Start of the span of time by which the rows of the tier are sorted: their column `window`.
    pub fn span(self, time: i64) -> i64 {
        match self {
            Self::FiveMinutes => time.div_euclid(HOUR) * HOUR,
            Self::Hour => time.div_euclid(DAY) * DAY,
            Self::Day => i64::from(self.partition(time)) * DAY,
        }
    }

    /// The partition of its tables that `time` lies in, days since the epoch.
    pub fn partition(self, time: i64) -> i32 {
        // A time of 64 bits is less than 107 million days away from the epoch.
        let day = time.div_euclid(DAY) as i32;
        match self {
            Self::FiveMinutes => day,
            Self::Hour | Self::Day => days::month(day),
        }
    }

    /// How many days the partition that begins with `day` has.
    pub(crate) fn partition_days(self, day: i32) -> i32 {
        match self {
            Self::FiveMinutes => 1,
            // The first of the next month is at most 31 days away.
            Self::Hour | Self::Day => days::month(day.saturating_add(31)).saturating_sub(days::month(day)),
        }
    }

    /// The table of sums of `samples`.
    pub(super) fn samples(self, level: Level) -> &'static Table {
        match (self, level) {
            (Self::FiveMinutes, Level::Series) => &schema::SAMPLES_5M,
            (Self::Hour, Level::Series) => &schema::SAMPLES_1H,
            (Self::Day, Level::Series) => &schema::SAMPLES_1D,
            (Self::FiveMinutes, Level::Service) => &schema::SAMPLES_5M_SERVICE,
            (Self::Hour, Level::Service) => &schema::SAMPLES_1H_SERVICE,
            (Self::Day, Level::Service) => &schema::SAMPLES_1D_SERVICE,
        }
    }

    /// The table of sums of `profiles`.
    pub(super) fn profiles(self, level: Level) -> &'static Table {
        match (self, level) {
            (Self::FiveMinutes, Level::Series) => &schema::PROFILES_5M,
            (Self::Hour, Level::Series) => &schema::PROFILES_1H,
            (Self::Day, Level::Series) => &schema::PROFILES_1D,
            (Self::FiveMinutes, Level::Service) => &schema::PROFILES_5M_SERVICE,
            (Self::Hour, Level::Service) => &schema::PROFILES_1H_SERVICE,
            (Self::Day, Level::Service) => &schema::PROFILES_1D_SERVICE,
        }
    }
}

/// What the sums of a tier are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// By series.
    Series,
    /// By series without the labels that have many values, such as the pod's name.
    Service,
}

impl Level {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Series, Self::Service];
}

/// Adds up rows of `samples`, of one day and in their order, for a tier.
pub(super) struct SampleSums<'a> {
    tier: Tier,
    /// What takes the place of a series' id.
    reduce: Reduce<'a>,
    files: SampleFiles,
    /// Sums that are not in a file yet, all of one service and type.
    sums: Vec<SampleRow>,
    /// They are sorted and added up when there are so many.
    limit: usize,
}

/// The id of a series without the labels that [`Level::Service`] drops; the same for [`Level::Series`].
pub(super) type Reduce<'a> = &'a dyn Fn(SeriesId) -> SeriesId;

impl<'a> SampleSums<'a> {
    pub(super) fn new(tier: Tier, level: Level, place: Place, reduce: Reduce<'a>) -> Self {
        let files = SampleFiles::new(tier.samples(level), place);
        Self { tier, reduce, files, sums: Vec::new(), limit: FIRST_SORTED_ROWS }
    }

    /// Adds the rows of one stack in one window of `samples`.
    pub(super) fn add(&mut self, groups: &Groups, run: &[SampleRow]) -> Result<(), Error> {
        let place = |row: &SampleRow, window: i64| (row.group, window);
        let next = run.first().map(|row| place(row, self.tier.span(row.time)));
        // Windows come in their order: what is before this one is complete. The spans of longer tiers last
        // as long as the day of these files, or longer.
        if self
            .sums
            .first()
            .map(|sum| place(sum, sum.window))
            .zip(next)
            .is_some_and(|(last, next)| last != next)
        {
            self.write(groups)?;
        }
        for rows in run.chunk_by(|a, b| a.series == b.series) {
            let series = rows.first().map_or(0, |row| (self.reduce)(SeriesId(row.series)).0);
            for row in rows {
                let (time, window) = (self.tier.window(row.time), self.tier.span(row.time));
                add(&mut self.sums, SampleRow { time, window, series, span: 0, trace: 0, ..*row });
            }
        }
        if self.sums.len() >= self.limit {
            self.sort();
            self.limit = (2 * self.sums.len()).max(FIRST_SORTED_ROWS);
            if self.limit > SORTED_ROWS {
                self.write(groups)?;
                return self.files.end_file();
            }
        }
        Ok(())
    }

    /// The files of the tier.
    pub(super) fn finish(mut self, groups: &Groups) -> Result<Vec<NewFile>, Error> {
        self.write(groups)?;
        self.files.finish()
    }

    /// Sorts what is collected, and adds up what is of one stack, series and window.
    fn sort(&mut self) {
        let key = |row: &SampleRow| (row.window, row.stack, row.series, row.time);
        if !self.sums.is_sorted_by_key(key) {
            self.sums.sort_unstable_by_key(key);
        }
        self.sums.dedup_by(|row, sum| add_to(sum, row));
    }

    fn write(&mut self, groups: &Groups) -> Result<(), Error> {
        self.sort();
        for rows in self.sums.chunk_by(|a, b| (a.window, a.stack) == (b.window, b.stack)) {
            self.files.push(groups, rows)?;
        }
        self.sums.clear();
        self.limit = FIRST_SORTED_ROWS;
        Ok(())
    }
}

/// Adds `row` to the last of `sums` when it is of the same stack, series and window and the sum is a 64-bit
/// number; otherwise it becomes a row of its own.
pub(super) fn add(sums: &mut Vec<SampleRow>, row: SampleRow) {
    if !sums.last_mut().is_some_and(|last| add_to(last, &row)) {
        sums.push(row);
    }
}

fn add_to(sum: &mut SampleRow, row: &SampleRow) -> bool {
    let total = sum.value.checked_add(row.value);
    match total.filter(|_| (sum.stack, sum.series, sum.time) == (row.stack, row.series, row.time)) {
        Some(total) => {
            sum.value = total;
            true
        }
        None => false,
    }
}
