//! Deletes profiles because somebody asked for it: single ones, sums and series, of whole UTC days.
//!
//! Sums of services without their instances are made again from those by series. Frames of stacks stay until
//! the next start: a push that is under way may count on them.

use crate::batch::ProfileId;
use crate::compaction::apply;
use crate::error::Error;
use crate::files::DataFile;
use crate::lake::Shared;
use crate::series::day_of;
use crate::snapshot::SeriesMatch;
use crate::tables::{Change, Level, Pace, TableId, TableState, Tables, Tier, file_day, refused_profile_ids};
use everflame_profile::{Nanos, Series, SeriesId};
use hashbrown::{HashMap, HashSet};
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

/// What a deletion took away.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    /// How much it was.
    pub(crate) deleted: Deleted,
    /// The single profiles: an upload of them is no retry any more.
    pub(crate) profiles: Vec<ProfileId>,
}

const DAY: Nanos = 86_400_000_000_000;

/// The tables in which rows are deleted, in this order. That of the series comes last: as long as one is in it,
/// the same deletion can be made again.
fn tables_in_order() -> impl Iterator<Item = TableId> {
    let rows = TableId::ALL.into_iter().filter(|table| !matches!(table, TableId::Stacks | TableId::Series));
    rows.chain([TableId::Series])
}

/// Begins a deletion. Returns the write-ahead log sequence up to which rows are a part of it: all of them must
/// be summed before [`delete`].
pub(crate) fn begin(shared: &Shared) -> u64 {
    let mut index = shared.series.write();
    let state = shared.state.read();
    let flushing = state.flushing.iter().flat_map(|frozen| &frozen.days);
    index.begin_deletion(flushing.chain(state.touched.days()));
    state.tables[TableId::Samples].sequence
}

/// Deletes from what is in the tables up to the sequence `until`. To be called on a thread that may block.
///
/// The series are not found any more from the beginning on. After an error they are found again, with what is
/// left of them, and the same deletion can be made again.
pub(crate) fn delete(
    shared: &Shared,
    tables: &Tables,
    runtime: &Handle,
    deletion: &Deletion,
    until: u64,
    pace: Pace<'_>,
) -> Result<Gone, Error> {
    let (first, last) = deletion.days.unwrap_or((i32::MIN, i32::MAX));
    let (from, end) = match deletion.days {
        Some((first, last)) => {
            (i64::from(first).saturating_mul(DAY), (i64::from(last) + 1).saturating_mul(DAY) - 1)
        }
        None => (Nanos::MIN, Nanos::MAX),
    };
    let (found, taken) = {
        let mut index = shared.series.write();
        let found = index.select(from, end, &*deletion.select);
        let gone = found.iter().map(|found| found.id).collect();
        let taken = index.take(&gone, first, last);
        (found, taken)
    };
    if found.is_empty() {
        return Ok(Gone::default());
    }
    let gone = Doomed { found, first, last, until }.delete(shared, tables, runtime, pace);
    if gone.is_err() {
        let mut index = shared.series.write();
        for day in &taken {
            index.note(day.id, &day.series, day.first, day.last);
        }
    }
    gone
}

/// What is being deleted.
struct Doomed {
    found: Vec<SeriesMatch>,
    /// First and last day.
    first: i32,
    last: i32,
    /// The last sequence of the rows.
    until: u64,
}

impl Doomed {
    fn delete(
        &self,
        shared: &Shared,
        tables: &Tables,
        runtime: &Handle,
        pace: Pace<'_>,
    ) -> Result<Gone, Error> {
        let gone: HashSet<SeriesId> = self.found.iter().map(|found| found.id).collect();
        let ids: HashMap<SeriesId, SeriesId> =
            self.found.iter().map(|found| (found.id, found.reduced)).collect();
        let reduced: HashSet<SeriesId> = ids.values().copied().collect();
        let services: HashSet<&str> = self.found.iter().map(|found| found.series.service()).collect();
        let mut deleted = Deleted { series: gone.len() as u64, ..Deleted::default() };
        let mut profiles = Vec::new();
        let (first, last) = (self.first, self.last);
        let in_days = |micros: i64| (first..=last).contains(&day_of(micros.saturating_mul(1_000)));
        let keep = |series: SeriesId, micros: i64| !(gone.contains(&series) && in_days(micros));
        for table in tables_in_order() {
            let (files, by_series) = {
                let state = shared.state.read();
                let files = self.by_day(&state.tables[table].files);
                (files, source_of(table).map(|source| self.sources(&state.tables[source])))
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
                let mut horizon = None;
                let added = match &by_series {
                    None => runtime.block_on(tables.rewrite(table, &files, Some(&keep), pace))?,
                    Some(Sources { days, horizon: missing }) => {
                        // What these were summed from may be gone because of its age: then they go, too.
                        let start = i64::from(day).saturating_mul(DAY / 1_000);
                        let own = shared.state.read().tables[table].horizon;
                        horizon = (start < *missing && own < *missing).then_some(*missing);
                        // Those that go are not in the index any more.
                        let reduce = |series| {
                            ids.get(&series).copied().unwrap_or_else(|| shared.series.read().reduced(series))
                        };
                        let sources = days.get(&day).map_or(&[][..], Vec::as_slice);
                        runtime.block_on(tables.sum_again(table, &files, sources, &reduced, &reduce, pace))?
                    }
                };
                if table == TableId::Profiles {
                    profiles.extend(refused_profile_ids(&files, &keep)?);
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
                    horizon,
                    import: None,
                };
                apply(shared, tables, runtime, change)?;
            }
        }
        Ok(Gone { deleted, profiles })
    }

    /// The files of each partition, as far as they are a part of this.
    fn by_day(&self, files: &[Arc<DataFile>]) -> BTreeMap<i32, Vec<Arc<DataFile>>> {
        let mut days = BTreeMap::<i32, Vec<Arc<DataFile>>>::new();
        for file in files.iter().filter(|file| file.sequence() <= self.until) {
            days.entry(file_day(file).unwrap_or_default()).or_default().push(file.clone());
        }
        days
    }

    fn sources(&self, table: &TableState) -> Sources {
        Sources { days: self.by_day(&table.files), horizon: table.horizon }
    }
}

/// What sums of services are made from.
struct Sources {
    /// Sums by series, by partition.
    days: BTreeMap<i32, Vec<Arc<DataFile>>>,
    /// Those before it may be gone; microseconds since the epoch.
    horizon: i64,
}

/// The table with the sums by series from which those of a service are made.
fn source_of(table: TableId) -> Option<TableId> {
    match table {
        TableId::SampleTier(tier, Level::Service) => Some(TableId::SampleTier(tier, Level::Series)),
        TableId::ProfileTier(tier, Level::Service) => Some(TableId::ProfileTier(tier, Level::Series)),
        _ => None,
    }
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
