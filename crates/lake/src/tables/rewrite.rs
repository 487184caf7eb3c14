//! Writes what some files of a table hold into new ones: fewer, with some rows left out, or summed for a tier.

use super::columns;
use super::days::micros;
use super::parquet_file::{self, NewFile, reading_error};
use super::profile_files::ProfileRows;
use super::sample_files::{Place, SampleFiles, partition};
use super::sample_rows::{self, Groups};
use super::stack_files::KeepStack;
use super::tiers::{self, Reduce, SampleSums};
use super::{DataFile, SeriesDay, TableId, Tables, Written, schema, series, stack_files};
use crate::{Error, Level, Tier};
use arrow::array::{Array, BinaryArray, DictionaryArray};
use arrow::datatypes::Int32Type;
use everflame_profile::SeriesId;
use hashbrown::HashSet;
use parquet::arrow::ProjectionMask;
use parquet::errors::ParquetError;
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
            TableId::SampleTier(tier, level) => {
                rewrite_samples(Some((tier, level)), files, place, keep, pace)
            }
            TableId::Profiles => rewrite_profiles(None, files, &place, keep, pace),
            TableId::ProfileTier(tier, level) => {
                rewrite_profiles(Some((tier, level)), files, &place, keep, pace)
            }
            TableId::Series => rewrite_series(files, &place, keep),
            TableId::Stacks => stack_files::rewrite(files, place, keep_stack, pace),
        };
        written.map(Written)
    }

    /// Whether `keep` refuses a row of `file`; asked once for each series, with the time 0. Blocking.
    pub(crate) fn any_row_goes(
        &self,
        table: TableId,
        file: &DataFile,
        keep: Keep<'_>,
    ) -> Result<bool, Error> {
        let fault = reading_error(file);
        let reader = parquet_file::reader(file, table.table())?;
        let column = ProjectionMask::columns(reader.parquet_schema(), ["series_id"]);
        for batch in reader.with_projection(column).build().map_err(&fault)? {
            let batch = batch.map_err(ParquetError::from).map_err(&fault)?;
            let ids: &DictionaryArray<Int32Type> = columns::typed(batch.columns(), 0).map_err(&fault)?;
            let values: &BinaryArray =
                columns::typed(std::slice::from_ref(ids.values()), 0).map_err(&fault)?;
            let mut goes = Vec::with_capacity(values.len());
            for id in values.iter().flatten() {
                let id = columns::bytes(id).map(u64::from_be_bytes).map_err(&fault)?;
                goes.push(!keep(SeriesId(id), 0));
            }
            if ids.keys().values().iter().any(|&key| goes.get(key as usize) == Some(&true)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds up `files` of the table `samples`, all of one day, for `tiers`. To be called on a thread that
    /// may block.
    pub(crate) async fn sum_samples(
        &self,
        tiers: &[(Tier, Level)],
        files: &[Arc<DataFile>],
        sequence: u64,
        reduce: Reduce<'_>,
        pace: Pace<'_>,
    ) -> Result<Vec<Written>, Error> {
        let time = files.first().map_or(0, |file| file.stats.min_time);
        let mut sums = Vec::with_capacity(tiers.len());
        for &(tier, level) in tiers {
            let place = self.place(TableId::SampleTier(tier, level), tier.partition(time), sequence).await?;
            let reduce = if level == Level::Service { reduce } else { &|series| series };
            sums.push(SampleSums::new(tier, level, day_of(place, time), reduce));
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
        (tier, level): (Tier, Level),
        files: &[Arc<DataFile>],
        sequence: u64,
        reduce: Reduce<'_>,
    ) -> Result<Written, Error> {
        let time = files.first().map_or(0, |file| file.stats.min_time);
        let place = self.place(TableId::ProfileTier(tier, level), tier.partition(time), sequence).await?;
        let mut rows = ProfileRows::read(&schema::PROFILES, files)?;
        if level == Level::Service {
            rows.rows.iter_mut().for_each(|row| row.series = reduce(SeriesId(row.series)).0);
        }
        rows.sum(tier);
        rows.write(tier.profiles(level), &day_of(place, time)).map(Written)
    }
}

impl Tables {
    /// Writes the rows of `files`, of one partition of a table of [`Level::Service`], again: those of the series
    /// `again` are summed from `sources`, the files of the partition of the same sums by series. To be called
    /// on a thread that may block.
    pub(crate) async fn sum_again(
        &self,
        table: TableId,
        files: &[Arc<DataFile>],
        sources: &[Arc<DataFile>],
        again: &HashSet<SeriesId>,
        reduce: Reduce<'_>,
        pace: Pace<'_>,
    ) -> Result<Written, Error> {
        let all = || files.iter().chain(sources);
        let sequence = all().map(|file| file.sequence()).max().unwrap_or_default();
        let date = all().next().and_then(|file| partition(&file.path)).unwrap_or_default();
        let place = self.place(table, date, sequence).await?;
        let written = match table {
            TableId::SampleTier(tier, level) => {
                let mut kept = rewrite_samples(
                    Some((tier, level)),
                    files,
                    place.clone(),
                    Some(&|series, _| !again.contains(&series)),
                    pace,
                )?;
                let mut sums = SampleSums::new(tier, level, Place { part: -1, ..place }, reduce);
                let groups = sample_rows::merge(tier.samples(Level::Series), sources, &mut |groups, run| {
                    let rows: Vec<_> = run
                        .iter()
                        .filter(|row| again.contains(&reduce(SeriesId(row.series))))
                        .copied()
                        .collect();
                    sums.add(groups, &rows)
                })?;
                kept.extend(sums.finish(&groups)?);
                kept
            }
            TableId::ProfileTier(tier, level) => {
                let mut rows = ProfileRows::read(tier.profiles(level), files)?;
                rows.rows.retain(|row| !again.contains(&SeriesId(row.series)));
                let mut more = ProfileRows::read(tier.profiles(Level::Series), sources)?;
                more.rows.iter_mut().for_each(|row| row.series = reduce(SeriesId(row.series)).0);
                more.rows.retain(|row| again.contains(&SeriesId(row.series)));
                rows.append(more);
                rows.sum(tier);
                rows.write(tier.profiles(level), &place)?
            }
            _ => Vec::new(),
        };
        Ok(Written(written))
    }
}

/// The files of several days go into one partition with one commit: each day has a version of its own in
/// their names.
fn day_of(place: Place, time: i64) -> Place {
    let day = time.div_euclid(Tier::Day.micros());
    Place { part: day.rem_euclid(1 << 20), ..place }
}

fn rewrite_samples(
    tier: Option<(Tier, Level)>,
    files: &[Arc<DataFile>],
    place: Place,
    keep: Option<Keep<'_>>,
    pace: Pace<'_>,
) -> Result<Vec<NewFile>, Error> {
    let table = tier.map_or(&schema::SAMPLES, |(tier, level)| tier.samples(level));
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
    tier: Option<(Tier, Level)>,
    files: &[Arc<DataFile>],
    place: &Place,
    keep: Option<Keep<'_>>,
    pace: Pace<'_>,
) -> Result<Vec<NewFile>, Error> {
    let table = tier.map_or(&schema::PROFILES, |(tier, level)| tier.profiles(level));
    let mut all = ProfileRows::read(table, files)?;
    pace()?;
    if let Some(keep) = keep {
        all.rows.retain(|row| keep(SeriesId(row.series), row.time));
    }
    if let Some((tier, _)) = tier {
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
