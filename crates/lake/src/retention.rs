//! What goes because of its age, because the disk is small, or because somebody asked for it.

use crate::compaction::{Kind, apply as commit};
use crate::error::Error;
use crate::files::DataFile;
use crate::lake::Shared;
use crate::tables::{Change, Level, Pace, TableId, TableStates, Tables, Tier, Written, file_day};
use everflame_profile::{Nanos, Series, SeriesId};
use hashbrown::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// How long what is kept. `None` is for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Single profiles and their samples.
    pub raw: Option<Duration>,
    /// Sums of five minutes.
    pub five_minutes: Option<Duration>,
    /// Sums of an hour.
    pub hour: Option<Duration>,
    /// Sums of a day.
    pub day: Option<Duration>,
    /// All files together have at most so many bytes: when there are more, the oldest single profiles go
    /// first, then the oldest sums of five minutes, then those of an hour.
    pub bytes: Option<u64>,
}

/// Other ages for some series.
#[derive(Clone)]
pub struct RetentionOverride {
    /// The series; what several overrides take follows the first.
    pub select: Arc<dyn Fn(&Series) -> bool + Send + Sync>,
    /// How long what of them is kept; its bound of bytes means nothing.
    pub retention: Retention,
}

impl fmt::Debug for RetentionOverride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetentionOverride").field("retention", &self.retention).finish_non_exhaustive()
    }
}

impl Default for Retention {
    /// 7 days, 30 days, 400 days, for ever, any size.
    fn default() -> Self {
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        Self { raw: days(7), five_minutes: days(30), hour: days(400), day: None, bytes: None }
    }
}

impl Retention {
    /// How long the rows of `table` are kept. Series and stacks are kept as long as sums may refer to them.
    fn of(&self, table: TableId) -> Option<Duration> {
        match table {
            TableId::Samples | TableId::Profiles => self.raw,
            TableId::SampleTier(tier, _) | TableId::ProfileTier(tier, _) => match tier {
                Tier::FiveMinutes => self.five_minutes,
                Tier::Hour => self.hour,
                Tier::Day => self.day,
            },
            TableId::Series | TableId::Stacks => None,
        }
    }
}

/// The tables from which rows go, in the order in which a full disk is emptied.
const ORDER: [TableId; 14] = [
    TableId::Samples,
    TableId::Profiles,
    TableId::SampleTier(Tier::FiveMinutes, Level::Series),
    TableId::ProfileTier(Tier::FiveMinutes, Level::Series),
    TableId::SampleTier(Tier::FiveMinutes, Level::Service),
    TableId::ProfileTier(Tier::FiveMinutes, Level::Service),
    TableId::SampleTier(Tier::Hour, Level::Series),
    TableId::ProfileTier(Tier::Hour, Level::Series),
    TableId::SampleTier(Tier::Hour, Level::Service),
    TableId::ProfileTier(Tier::Hour, Level::Service),
    TableId::SampleTier(Tier::Day, Level::Series),
    TableId::ProfileTier(Tier::Day, Level::Series),
    TableId::SampleTier(Tier::Day, Level::Service),
    TableId::ProfileTier(Tier::Day, Level::Service),
];

/// Single profiles that came late are kept for so long at least, in nanoseconds: somebody may look at what was
/// just pushed.
const LATE: Nanos = 3_600 * 1_000_000_000;

/// Takes files out of the tables whose rows are all too old; with `at_once` also those of profiles that came
/// late. To be called on a thread that may block.
pub(crate) fn apply(
    shared: &Shared,
    tables: &Tables,
    runtime: &Handle,
    now: Nanos,
    at_once: bool,
    pace: Pace<'_>,
) -> Result<(), Error> {
    let written = if at_once { i64::MAX } else { now.saturating_sub(LATE) / 1_000_000 };
    let overrides = &shared.config.retention_overrides;
    for table in ORDER {
        pace()?;
        if overrides.is_empty() {
            if let Some(oldest) = oldest_kept(&shared.config.retention, table, now) {
                drop_before(shared, tables, runtime, table, oldest, written)?;
            }
            continue;
        }
        let all = overrides.iter().map(|other| &other.retention).chain([&shared.config.retention]);
        let Some(some) = all.clone().filter_map(|kept| oldest_kept(kept, table, now)).max() else { continue };
        // What all of them let go goes in whole files; of the rest some rows do.
        if let Some(oldest) = all.map(|kept| oldest_kept(kept, table, now)).min().flatten() {
            drop_before(shared, tables, runtime, table, oldest, written)?;
        }
        for file in old_files(shared, table, some, written) {
            drop_rows(shared, tables, runtime, table, &file, now, pace)?;
        }
    }
    let Some(limit) = shared.config.retention.bytes else { return Ok(()) };
    // The last four tables, sums of days, stay: they are small, and without them nothing would be left.
    for table in ORDER.into_iter().take(10) {
        while total_bytes(shared) > limit {
            pace()?;
            let oldest = {
                let state = shared.state.read();
                let files = state.tables[table]
                    .files
                    .iter()
                    .filter(|file| is_summed(&state.tables, table, file.sequence()));
                files.filter_map(|file| file_day(file)).min()
            };
            let Some(oldest) = oldest else { break };
            let next = i64::from(oldest + span_days(table, oldest)).saturating_mul(DAY);
            drop_before(shared, tables, runtime, table, next, i64::MAX)?;
        }
    }
    Ok(())
}

/// The oldest rows of a table, which go first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// The table.
    pub table: &'static str,
    /// The day or month that they are of, microseconds since the epoch.
    pub oldest: i64,
    /// When they are too old, microseconds since the epoch.
    pub at: i64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// What goes next because of its age, the soonest first.
pub(crate) fn expiring(retention: &Retention, tables: &TableStates) -> Vec<Expiring> {
    let next = ORDER.into_iter().filter_map(|table| {
        let age = i64::try_from(retention.of(table)?.as_micros()).unwrap_or(i64::MAX);
        let files = &tables[table].files;
        let day = files.iter().filter_map(|file| file_day(file)).min()?;
        let oldest = i64::from(day).saturating_mul(DAY);
        let end = i64::from(day.saturating_add(span_days(table, day))).saturating_mul(DAY);
        let bytes = files.iter().filter(|file| file_day(file) == Some(day)).map(|file| file.bytes).sum();
        Some(Expiring { table: table.name(), oldest, at: end.saturating_add(age), bytes })
    });
    let mut next: Vec<Expiring> = next.collect();
    next.sort_by_key(|expiring| expiring.at);
    next
}

/// The first microsecond since the epoch of which rows of `table` are kept, a midnight; `None` for all.
fn oldest_kept(retention: &Retention, table: TableId, now: Nanos) -> Option<i64> {
    let age = i64::try_from(retention.of(table)?.as_micros()).unwrap_or(i64::MAX);
    Some((now / 1_000).saturating_sub(age).div_euclid(DAY).saturating_mul(DAY))
}

/// Takes the rows out of `file`, of one partition, that their own age lets go.
fn drop_rows(
    shared: &Shared,
    tables: &Tables,
    runtime: &Handle,
    table: TableId,
    file: &Arc<DataFile>,
    now: Nanos,
    pace: Pace<'_>,
) -> Result<(), Error> {
    let Some(day) = file_day(file) else { return Ok(()) };
    let end = i64::from(day.saturating_add(span_days(table, day))).saturating_mul(DAY);
    // Sums of services have ids of their own: they go when all series that they are of do.
    let kept: HashSet<SeriesId> = {
        let index = shared.series.read();
        let all = index.select(Nanos::MIN, Nanos::MAX, &|series| {
            let other = shared.config.retention_overrides.iter().find(|other| (other.select)(series));
            let retention = other.map_or(&shared.config.retention, |other| &other.retention);
            oldest_kept(retention, table, now).is_none_or(|oldest| end > oldest)
        });
        all.iter().flat_map(|found| [found.id, found.reduced]).collect()
    };
    let keep = |series: SeriesId, _: i64| kept.contains(&series);
    if !tables.any_row_goes(table, file, &keep)? {
        return Ok(());
    }
    let added = runtime.block_on(tables.rewrite(table, std::slice::from_ref(file), Some(&keep), pace))?;
    let horizon = shared.state.read().tables[table].horizon.max(end);
    let change = Change {
        table,
        operation: "DELETE",
        removed: vec![file.clone()],
        added,
        changes_data: true,
        sequence: None,
        horizon: Some(horizon),
        import: None,
    };
    commit(shared, tables, runtime, change)
}

/// The files of partitions that end before `oldest`, microseconds since the epoch, that are in all tiers and
/// were written before `written`, milliseconds since the epoch.
fn old_files(shared: &Shared, table: TableId, oldest: i64, written: i64) -> Vec<Arc<DataFile>> {
    let state = shared.state.read();
    let is_old =
        |day: i32| i64::from(day.saturating_add(span_days(table, day))).saturating_mul(DAY) <= oldest;
    let files = state.tables[table].files.iter().filter(|file| {
        file_day(file).is_some_and(is_old)
            && file.modified < written
            && is_summed(&state.tables, table, file.sequence())
    });
    files.cloned().collect()
}

/// Bytes of the files of all tables.
fn total_bytes(shared: &Shared) -> u64 {
    let state = shared.state.read();
    TableId::ALL.into_iter().flat_map(|table| &state.tables[table].files).map(|file| file.bytes).sum()
}

/// How many days the partition of `table` that begins with `day` has.
fn span_days(table: TableId, day: i32) -> i32 {
    match table {
        TableId::SampleTier(tier, _) | TableId::ProfileTier(tier, _) => tier.partition_days(day),
        _ => 1,
    }
}

/// Whether rows up to `sequence` are in all tiers, so that they may leave `samples` or `profiles`.
fn is_summed(tables: &TableStates, table: TableId, sequence: u64) -> bool {
    let kind = match table {
        TableId::Samples => Kind::Samples,
        TableId::Profiles => Kind::Profiles,
        _ => return true,
    };
    kind.tiers().all(|tier| tables[tier].sequence >= sequence)
}

/// Takes out the files of partitions that end before `oldest`, microseconds since the epoch, and that were
/// written before `written`, milliseconds since the epoch.
fn drop_before(
    shared: &Shared,
    tables: &Tables,
    runtime: &Handle,
    table: TableId,
    oldest: i64,
    written: i64,
) -> Result<(), Error> {
    let removed = old_files(shared, table, oldest, written);
    let end = |file: &Arc<DataFile>| {
        file_day(file).map(|day| i64::from(day.saturating_add(span_days(table, day))).saturating_mul(DAY))
    };
    let horizon = removed.iter().filter_map(end).max();
    let horizon = horizon.map(|horizon| horizon.max(shared.state.read().tables[table].horizon));
    if removed.is_empty() {
        return Ok(());
    }
    let change = Change {
        table,
        operation: "DELETE",
        removed,
        added: Written::default(),
        changes_data: true,
        sequence: None,
        horizon,
        import: None,
    };
    commit(shared, tables, runtime, change)
}
