//! What goes because of its age, because the disk is small, or because somebody asked for it.

use crate::compaction::{Kind, apply as commit};
use crate::error::Error;
use crate::lake::Shared;
use crate::tables::{Change, Pace, TableId, Tables, Tier, Written, file_day};
use everflame_profile::Nanos;
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
            TableId::SampleTier(tier) | TableId::ProfileTier(tier) => match tier {
                Tier::FiveMinutes => self.five_minutes,
                Tier::Hour => self.hour,
                Tier::Day => self.day,
            },
            TableId::Series | TableId::Stacks => None,
        }
    }
}

/// The tables from which rows go, in the order in which a full disk is emptied.
const ORDER: [TableId; 8] = [
    TableId::Samples,
    TableId::Profiles,
    TableId::SampleTier(Tier::FiveMinutes),
    TableId::ProfileTier(Tier::FiveMinutes),
    TableId::SampleTier(Tier::Hour),
    TableId::ProfileTier(Tier::Hour),
    TableId::SampleTier(Tier::Day),
    TableId::ProfileTier(Tier::Day),
];

/// Takes files out of the tables whose rows are all too old. To be called on a thread that may block.
pub(crate) fn apply(
    shared: &Shared,
    tables: &Tables,
    runtime: &Handle,
    now: Nanos,
    pace: Pace<'_>,
) -> Result<(), Error> {
    for table in ORDER {
        let Some(age) = shared.config.retention.of(table) else { continue };
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let oldest = (now / 1_000).saturating_sub(age).div_euclid(DAY).saturating_mul(DAY);
        pace()?;
        drop_before(shared, tables, runtime, table, oldest)?;
    }
    let Some(limit) = shared.config.retention.bytes else { return Ok(()) };
    // The last two tables, sums of days, stay: they are small, and without them nothing would be left.
    for table in ORDER.into_iter().take(6) {
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
            drop_before(shared, tables, runtime, table, next)?;
        }
    }
    Ok(())
}

/// Bytes of the files of all tables.
fn total_bytes(shared: &Shared) -> u64 {
    let state = shared.state.read();
    TableId::ALL.into_iter().flat_map(|table| &state.tables[table].files).map(|file| file.bytes).sum()
}

/// How many days the partition of `table` that begins with `day` has.
fn span_days(table: TableId, day: i32) -> i32 {
    match table {
        TableId::SampleTier(tier) | TableId::ProfileTier(tier) => tier.partition_days(day),
        _ => 1,
    }
}

/// Whether rows up to `sequence` are in all tiers, so that they may leave `samples` or `profiles`.
fn is_summed(tables: &crate::tables::TableStates, table: TableId, sequence: u64) -> bool {
    let kind = match table {
        TableId::Samples => Kind::Samples,
        TableId::Profiles => Kind::Profiles,
        _ => return true,
    };
    kind.tiers().into_iter().all(|tier| tables[tier].sequence >= sequence)
}

/// Takes out the files of partitions that end before `oldest`, microseconds since the epoch.
fn drop_before(
    shared: &Shared,
    tables: &Tables,
    runtime: &Handle,
    table: TableId,
    oldest: i64,
) -> Result<(), Error> {
    let (removed, horizon) = {
        let state = shared.state.read();
        let is_old =
            |day: i32| i64::from(day.saturating_add(span_days(table, day))).saturating_mul(DAY) <= oldest;
        let files = state.tables[table].files.iter();
        let removed: Vec<Arc<_>> = files
            .filter(|file| {
                file_day(file).is_some_and(is_old) && is_summed(&state.tables, table, file.sequence())
            })
            .cloned()
            .collect();
        let end = |file: &Arc<crate::DataFile>| {
            file_day(file).map(|day| i64::from(day.saturating_add(span_days(table, day))).saturating_mul(DAY))
        };
        let horizon = removed.iter().filter_map(end).max();
        (removed, horizon.map(|horizon| horizon.max(state.tables[table].horizon)))
    };
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
