//! Writes what some files of a table hold into new ones: fewer, with some rows left out, or summed for a tier.

use super::days::micros;
use super::parquet_file::NewFile;
use super::profile_files::ProfileRows;
use super::sample_files::{Place, SampleFiles, partition};
use super::sample_rows::{self, Groups};
use super::stack_files::KeepStack;
use super::tiers::{self, SampleSums};
use super::{DataFile, SeriesDay, TableId, Tables, Written, schema, series, stack_files};
use crate::{Error, Tier};
use everflame_profile::SeriesId;
use std::sync::Arc;

/// Says which rows stay: by series and time in microseconds since the epoch.
pub(crate) type Keep<'a> = &'a dyn Fn(SeriesId, i64) -> bool;

/// Called again and again during long work; may wait, and ends the work by an error.
pub(crate) type Pace<'a> = &'a dyn Fn() -> Result<(), Error>;

/// How files are copied.
pub(crate) struct Copied<'a> {
    /// The write-ahead log sequence that is in the names of the new files.
    pub(crate) sequence: u64,
    /// Tells files apart that are copied into one partition with one commit.
    pub(crate) part: i64,
    /// Which rows stay; all when `None`.
    pub(crate) keep: Option<Keep<'a>>,
    /// Which rows of the table `stacks` stay; all when `None`.
    pub(crate) keep_stack: Option<KeepStack<'a>>,
}

/// Rows between two calls of [`Pace`].
const PACE_ROWS: usize = 16_384;

impl Tables {
    /// Writes the rows of `files`, all of one partition of `table`, into as few new files as may be, without
    /// those that `keep` refuses. To be called on a thread that may block.
    pub(crate) async fn rewrite(
        &self,
        table: TableId,
        files: &[Arc<DataFile>],
        keep: Option<Keep<'_>>,
        pace: Pace<'_>,
    ) -> Result<Written, Error> {
        let sequence = files.iter().map(|file| file.sequence()).max().unwrap_or_default();
        self.copy(table, files, Copied { sequence, part: 0, keep, keep_stack: None }, pace).await
    }

    /// Writes the rows of `files`, all of one partition of a table that may be another lake's, into new files
    /// of `table`. To be called on a thread that may block.
    pub(crate) async fn copy(
        &self,
        table: TableId,
        files: &[Arc<DataFile>],
        copied: Copied<'_>,
        pace: Pace<'_>,
    ) -> Result<Written, Error> {
        let Copied { sequence, part, keep, keep_stack } = copied;
        let date = files.first().and_then(|file| partition(&file.path)).unwrap_or_default();
        let place = Place { part, ..self.place(table, date, sequence).await? };
        let written = match table {
            TableId::Samples => rewrite_samples(None, files, place, keep, pace),
            TableId::SampleTier(tier) => rewrite_samples(Some(tier), files, place, keep, pace),
            TableId::Profiles => rewrite_profiles(None, files, &place, keep, pace),
            TableId::ProfileTier(tier) => rewrite_profiles(Some(tier), files, &place, keep, pace),
            TableId::Series => rewrite_series(files, &place, keep),
            TableId::Stacks => stack_files::rewrite(files, place, keep_stack, pace),
        };
        written.map(Written)
    }

    /// Adds up `files` of the table `samples`, all of one day, for `tiers`. To be called on a thread that
    /// may block.
    pub(crate) async fn sum_samples(
        &self,
        tiers: &[Tier],
        files: &[Arc<DataFile>],
        sequence: u64,
        pace: Pace<'_>,
    ) -> Result<Vec<Written>, Error> {
        let time = files.first().map_or(0, |file| file.stats.min_time);
        let mut sums = Vec::with_capacity(tiers.len());
        for &tier in tiers {
            let place = self.place(TableId::SampleTier(tier), tier.partition(time), sequence).await?;
            sums.push(SampleSums::new(tier, day_of(place, time)));
        }
        let mut rows = 0;
        let groups = sample_rows::merge(&schema::SAMPLES, files, &mut |groups, run| {
            rows += run.len();
            if rows >= PACE_ROWS {
                rows = 0;
                pace()?;
            }
            sums.iter_mut().try_for_each(|sums| sums.add(groups, run))
        })?;
        sums.into_iter().map(|sums| sums.finish(&groups).map(Written)).collect()
    }

    /// Adds up `files` of the table `profiles`, all of one day, for `tier`. To be called on a thread that may
    /// block.
    pub(crate) async fn sum_profiles(
        &self,
        tier: Tier,
        files: &[Arc<DataFile>],
        sequence: u64,
    ) -> Result<Written, Error> {
        let time = files.first().map_or(0, |file| file.stats.min_time);
        let place = self.place(TableId::ProfileTier(tier), tier.partition(time), sequence).await?;
        let mut rows = ProfileRows::read(&schema::PROFILES, files)?;
        rows.sum(tier);
        rows.write(tier.profiles(), &day_of(place, time)).map(Written)
    }
}

/// The files of several days go into one partition with one commit: each day has a version of its own in
/// their names.
fn day_of(place: Place, time: i64) -> Place {
    let day = time.div_euclid(Tier::Day.micros());
    Place { part: day.rem_euclid(1 << 20), ..place }
}

fn rewrite_samples(
    tier: Option<Tier>,
    files: &[Arc<DataFile>],
    place: Place,
    keep: Option<Keep<'_>>,
    pace: Pace<'_>,
) -> Result<Vec<NewFile>, Error> {
    let table = tier.map_or(&schema::SAMPLES, Tier::samples);
    let mut out = SampleFiles::new(table, place);
    let (mut kept, mut rows) = (Vec::new(), 0);
    sample_rows::merge(table, files, &mut |groups: &Groups, run| {
        rows += run.len();
        if rows >= PACE_ROWS {
            rows = 0;
            pace()?;
        }
        if tier.is_none() && keep.is_none() {
            return out.push(groups, run);
        }
        kept.clear();
        for row in run.iter().filter(|row| keep.is_none_or(|keep| keep(SeriesId(row.series), row.time))) {
            match tier {
                Some(_) => tiers::add(&mut kept, *row),
                None => kept.push(*row),
            }
        }
        out.push(groups, &kept)
    })?;
    out.finish()
}

fn rewrite_profiles(
    tier: Option<Tier>,
    files: &[Arc<DataFile>],
    place: &Place,
    keep: Option<Keep<'_>>,
    pace: Pace<'_>,
) -> Result<Vec<NewFile>, Error> {
    let table = tier.map_or(&schema::PROFILES, Tier::profiles);
    let mut all = ProfileRows::read(table, files)?;
    pace()?;
    if let Some(keep) = keep {
        all.rows.retain(|row| keep(SeriesId(row.series), row.time));
    }
    if let Some(tier) = tier {
        all.sum(tier);
    }
    all.write(table, place)
}

fn rewrite_series(
    files: &[Arc<DataFile>],
    place: &Place,
    keep: Option<Keep<'_>>,
) -> Result<Vec<NewFile>, Error> {
    let mut rows = series::read_all(files)?;
    if let Some(keep) = keep {
        rows.retain(|row: &SeriesDay| keep(row.id, micros(row.first)));
    }
    series::write_as(place, &rows)
}
