//! Deletes profiles because somebody asked for it: single ones, sums and series, of whole UTC days.
//!
//! Sums of services without their instances are made again from those by series. Frames of stacks stay until
//! the next start: a push that is under way may count on them.

use crate::compaction::apply;
use crate::error::Error;
use crate::files::DataFile;
use crate::lake::Shared;
use crate::series::day_of;
use crate::tables::{Change, Level, Pace, TableId, Tables, Tier, file_day};
use everflame_profile::{Nanos, Series, SeriesId};
use hashbrown::HashSet;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::runtime::Handle;

/// What is to be deleted.
#[derive(Clone)]
pub struct Deletion {
    /// The series.
    pub select: Arc<dyn Fn(&Series) -> bool + Send + Sync>,
    /// First and last UTC day, counted from 1970-01-01; all of time when `None`.
    pub days: Option<(i32, i32)>,
}

/// What a deletion did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Series that lost profiles.
    pub series: u64,
    /// Profiles that were deleted, as far as they were still kept one by one.
    pub profiles: u64,
    /// Files that were written again or deleted.
    pub files: u64,
}

const DAY: Nanos = 86_400_000_000_000;

/// Deletes from what is in the tables. To be called on a thread that may block, after all that is there is
/// summed.
pub(crate) fn delete(
    shared: &Shared,
    tables: &Tables,
    runtime: &Handle,
    deletion: &Deletion,
    pace: Pace<'_>,
) -> Result<Deleted, Error> {
    let (first, last) = deletion.days.unwrap_or((i32::MIN, i32::MAX));
    let (from, until) = match deletion.days {
        Some((first, last)) => {
            (i64::from(first).saturating_mul(DAY), (i64::from(last) + 1).saturating_mul(DAY) - 1)
        }
        None => (Nanos::MIN, Nanos::MAX),
    };
    let found = shared.series.read().select(from, until, &*deletion.select);
    let gone: HashSet<SeriesId> = found.iter().map(|found| found.id).collect();
    let reduced: HashSet<SeriesId> = found.iter().map(|found| found.reduced).collect();
    let mut deleted = Deleted { series: gone.len() as u64, ..Deleted::default() };
    if gone.is_empty() {
        return Ok(deleted);
    }
    let in_days = |micros: i64| (first..=last).contains(&day_of(micros.saturating_mul(1_000)));
    let keep = |series: SeriesId, micros: i64| !(gone.contains(&series) && in_days(micros));
    let services: HashSet<&str> = found.iter().map(|found| found.series.service()).collect();
    for table in TableId::ALL {
        if table == TableId::Stacks {
            continue;
        }
        let (files, by_series) = {
            let state = shared.state.read();
            let by_series = match table {
                TableId::SampleTier(tier, Level::Service) => Some(TableId::SampleTier(tier, Level::Series)),
                TableId::ProfileTier(tier, Level::Service) => Some(TableId::ProfileTier(tier, Level::Series)),
                _ => None,
            };
            let files = by_day(&state.tables[table].files);
            (files, by_series.map(|table| by_day(&state.tables[table].files)))
        };
        for (day, files) in files {
            let days = day..=day.saturating_add(span(table, day) - 1);
            if *days.start() > last
                || *days.end() < first
                || !files.iter().any(|file| has_any(file, &services))
            {
                continue;
            }
            pace()?;
            let rows = |files: &[Arc<DataFile>]| files.iter().map(|file| file.stats.rows).sum::<u64>();
            let (before, count) = (rows(&files), files.len() as u64);
            let added = match &by_series {
                None => runtime.block_on(tables.rewrite(table, &files, Some(&keep), pace))?,
                Some(by_series) => {
                    let reduce = |series| shared.series.read().reduced(series);
                    let sources = by_series.get(&day).map_or(&[][..], Vec::as_slice);
                    runtime.block_on(tables.sum_again(table, &files, sources, &reduced, &reduce, pace))?
                }
            };
            if table == TableId::Profiles {
                deleted.profiles += before.saturating_sub(added.rows());
            }
            deleted.files += count;
            let change = Change {
                table,
                operation: "DELETE",
                removed: files,
                added,
                changes_data: true,
                sequence: None,
                horizon: None,
                import: None,
            };
            apply(shared, tables, runtime, change)?;
        }
    }
    shared.series.write().remove(&gone, first, last);
    Ok(deleted)
}

/// The files of each partition.
fn by_day(files: &[Arc<DataFile>]) -> BTreeMap<i32, Vec<Arc<DataFile>>> {
    let mut days = BTreeMap::<i32, Vec<Arc<DataFile>>>::new();
    for file in files {
        days.entry(file_day(file).unwrap_or_default()).or_default().push(file.clone());
    }
    days
}

/// How many days a partition has.
fn span(table: TableId, day: i32) -> i32 {
    match table {
        TableId::SampleTier(tier, _) | TableId::ProfileTier(tier, _) => Tier::partition_days(tier, day),
        _ => 1,
    }
}

/// Whether rows of one of the services may be in `file`.
fn has_any(file: &DataFile, services: &HashSet<&str>) -> bool {
    let stats = &file.stats;
    services
        .iter()
        .any(|&service| stats.min_service.as_str() <= service && service <= stats.max_service.as_str())
}
