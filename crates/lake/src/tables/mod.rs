//! The Delta tables of a tenant: `samples`, `profiles`, `series` and `stacks`, and the tiers, sums of the
//! first two.
//!
//! A flush becomes one commit in each of them, in the order stacks, series, profiles, samples, so that
//! what a sample refers to is there before it. Each commit names the last write-ahead log sequence that
//! it contains, which makes a replay after a crash exactly-once. Nobody else writes these tables: the
//! state that a commit needs is kept in memory. Columns, order and encodings stand in
//! `docs/rfcs/0001-lake-format.md`.

mod columns;
mod content;
mod days;
mod delta_log;
mod frames;
mod look;
mod parquet_file;
mod profile_files;
mod profiles;
mod rewrite;
mod sample_files;
mod sample_rows;
mod samples;
mod schema;
mod series;
mod series_order;
mod stack_files;
mod stack_pages;
mod stacks;
#[cfg(test)]
mod tests;
mod tiers;

pub(crate) use content::{FileContent, Group, Sum, read_content, services_of};
pub(crate) use days::date_text;
pub(crate) use look::Look;
pub(crate) use profiles::{StoredProfile, read_profiles, refused_profile_ids};
pub(crate) use rewrite::{Copied, Keep, Pace};
pub(crate) use stacks::read_stacks;
pub use tiers::{Level, Tier};

use crate::store::Store;
use crate::{DataFile, Error, HeadChunk};
pub(crate) use delta_log::Applied;
use delta_log::{DeltaLog, Replacement};
use everflame_profile::{FrameIndex, Nanos, Series, SeriesId, StackId, Symbols};
use hashbrown::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The tables of one tenant, open for writing.
pub(crate) struct Tables {
    logs: Mutex<Logs>,
}

/// The Delta logs, by [`TableId::index`].
struct Logs([DeltaLog; TableId::COUNT]);

/// One of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TableId {
    Stacks,
    Series,
    Profiles,
    Samples,
    ProfileTier(Tier, Level),
    SampleTier(Tier, Level),
}

impl TableId {
    const COUNT: usize = 16;

    /// All of them; the first four in the order in which a flush commits.
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Stacks,
        Self::Series,
        Self::Profiles,
        Self::Samples,
        Self::ProfileTier(Tier::FiveMinutes, Level::Series),
        Self::ProfileTier(Tier::Hour, Level::Series),
        Self::ProfileTier(Tier::Day, Level::Series),
        Self::ProfileTier(Tier::FiveMinutes, Level::Service),
        Self::ProfileTier(Tier::Hour, Level::Service),
        Self::ProfileTier(Tier::Day, Level::Service),
        Self::SampleTier(Tier::FiveMinutes, Level::Series),
        Self::SampleTier(Tier::Hour, Level::Series),
        Self::SampleTier(Tier::Day, Level::Series),
        Self::SampleTier(Tier::FiveMinutes, Level::Service),
        Self::SampleTier(Tier::Hour, Level::Service),
        Self::SampleTier(Tier::Day, Level::Service),
    ];

    /// Its position in [`Self::ALL`].
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Stacks => 0,
            Self::Series => 1,
            Self::Profiles => 2,
            Self::Samples => 3,
            Self::ProfileTier(tier, level) => 4 + 3 * level as usize + tier as usize,
            Self::SampleTier(tier, level) => 10 + 3 * level as usize + tier as usize,
        }
    }

    /// Its name, also that of its folder.
    pub(crate) fn name(self) -> &'static str {
        self.table().name
    }

    fn table(self) -> &'static schema::Table {
        match self {
            Self::Stacks => &schema::STACKS,
            Self::Series => &schema::SERIES,
            Self::Profiles => &schema::PROFILES,
            Self::Samples => &schema::SAMPLES,
            Self::ProfileTier(tier, level) => tier.profiles(level),
            Self::SampleTier(tier, level) => tier.samples(level),
        }
    }
}

/// The state of one table.
#[derive(Clone, Debug)]
pub(crate) struct TableState {
    /// Its files, by the sequence in their names.
    pub(crate) files: Vec<Arc<DataFile>>,
    /// The last write-ahead log sequence that is in it.
    pub(crate) sequence: u64,
    /// Rows of times before this one may have been deleted because of their age; microseconds since the
    /// epoch.
    pub(crate) horizon: i64,
}

impl Default for TableState {
    fn default() -> Self {
        Self { files: Vec::new(), sequence: 0, horizon: i64::MIN }
    }
}

impl TableState {
    /// Shows what a commit has changed. Files that went are deleted when the last one who holds them lets go.
    pub(crate) fn apply(&mut self, applied: Applied) {
        self.files.retain(|file| !applied.removed.iter().any(|gone| gone.path == file.path));
        applied.removed.iter().for_each(|file| file.retire());
        self.files.extend(applied.added);
        self.sequence = applied.sequence.unwrap_or(self.sequence);
        self.horizon = applied.horizon.map_or(self.horizon, |seconds| horizon(Some(seconds)));
        self.files.sort_by(|a, b| (a.sequence(), &a.path).cmp(&(b.sequence(), &b.path)));
    }
}

/// The state of all tables, by [`TableId::index`].
#[derive(Clone, Debug, Default)]
pub(crate) struct TableStates([TableState; TableId::COUNT]);

impl std::ops::Index<TableId> for TableStates {
    type Output = TableState;

    fn index(&self, table: TableId) -> &TableState {
        &self.0[table.index()]
    }
}

impl std::ops::IndexMut<TableId> for TableStates {
    fn index_mut(&mut self, table: TableId) -> &mut TableState {
        &mut self.0[table.index()]
    }
}

/// What the tables held when they were opened.
pub(crate) struct Opened {
    /// The tables.
    pub(crate) tables: TableStates,
    /// What of the write-ahead log is in which table.
    pub(crate) flushed: Sequences,
    /// When which series has profiles; one entry for each series and day.
    pub(crate) series: Vec<SeriesDay>,
    /// The labels that [`Level::Service`] drops: those that it was made with.
    pub(crate) dropped_labels: Vec<String>,
}

/// For each table the last sequence of this data folder's write-ahead log that is in it; 0 when there is
/// none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sequences {
    pub(crate) stacks: u64,
    pub(crate) series: u64,
    pub(crate) profiles: u64,
    pub(crate) samples: u64,
}

/// A series that has profiles on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeriesDay {
    /// Its id.
    pub(crate) id: SeriesId,
    /// Labels and type.
    pub(crate) series: Arc<Series>,
    /// Days since the epoch, UTC.
    pub(crate) day: i32,
    /// Time of the first profile of that day.
    pub(crate) first: Nanos,
    /// Time of the last profile of that day.
    pub(crate) last: Nanos,
}

/// What a flush moves into the tables.
pub(crate) struct Flush<'a> {
    /// The last write-ahead log sequence that is contained.
    pub(crate) sequence: u64,
    /// Profiles and samples.
    pub(crate) chunks: &'a [Arc<HeadChunk>],
    /// The series that the chunks refer to.
    pub(crate) series: &'a HashMap<SeriesId, Arc<Series>>,
    /// The series and days that the chunks touch.
    pub(crate) series_days: &'a [SeriesDay],
    /// Stacks that are not in the table yet.
    pub(crate) stacks: &'a StackRows,
}

/// Stacks with their frames.
#[derive(Clone, Debug, Default)]
pub(crate) struct StackRows {
    /// The frames.
    pub(crate) symbols: Symbols,
    /// The stacks; their frames lie one after the other in `frames`.
    pub(crate) rows: Vec<StackRow>,
    /// The services that rows refer to.
    pub(crate) services: Vec<String>,
    /// Frames of all stacks, leaf first, as indices into `symbols.frames`.
    pub(crate) frames: Vec<FrameIndex>,
}

/// A stack of one service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackRow {
    /// Position in [`StackRows::services`].
    pub(crate) service: u32,
    /// Its id.
    pub(crate) id: StackId,
    /// End of its frames in [`StackRows::frames`]; they begin where those of the row before it end.
    pub(crate) end: u32,
}

/// The commits that were made, those among them that an earlier attempt had left open.
pub(crate) type Committed = Vec<(TableId, Vec<Applied>)>;

/// A change of one table; see [`Tables::replace`].
pub(crate) struct Change {
    /// The table.
    pub(crate) table: TableId,
    /// What the change is called in the table's history.
    pub(crate) operation: &'static str,
    /// Files that go.
    pub(crate) removed: Vec<Arc<DataFile>>,
    /// Files that come; see [`Tables::rewrite`].
    pub(crate) added: Written,
    /// Whether the rows are others than before, or only lie in other files.
    pub(crate) changes_data: bool,
    /// The write-ahead log sequence up to which the table's rows then go; as before when `None`.
    pub(crate) sequence: Option<u64>,
    /// The new [`TableState::horizon`]; as before when `None`.
    pub(crate) horizon: Option<i64>,
    /// What of another lake is in the table then.
    pub(crate) import: Option<Import>,
}

/// Another lake, and how much of it was copied here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// The other lake's id.
    pub(crate) source: String,
    /// Its write-ahead log sequence up to which its rows are here.
    pub(crate) sequence: u64,
}

/// What [`Tables::replace`] did.
pub(crate) struct Replaced {
    /// The commits that are there now and of which nobody was told before.
    pub(crate) applied: Vec<Applied>,
    /// Whether the change is among them.
    pub(crate) is_made: bool,
}

/// Files that were written and are in no commit yet.
#[derive(Default)]
pub(crate) struct Written(Vec<parquet_file::NewFile>);

impl Written {
    /// Rows in them.
    pub(crate) fn rows(&self) -> u64 {
        self.0.iter().map(|file| file.bounds.rows).sum()
    }

    /// Adds those of `other`.
    pub(crate) fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// The partition of `file`, days since the epoch; `None` in a table that has none.
pub(crate) fn file_day(file: &DataFile) -> Option<i32> {
    sample_files::partition(&file.path)
}

impl Logs {
    /// Under which sequence the log of this data folder up to `flushed` goes into the tables: the same, unless
    /// another data folder has written these tables since. Rows of a sequence that a table has already
    /// would never be summed.
    fn sequence_of(&self, flushed: u64) -> u64 {
        let lacking = self.0.iter().enumerate().filter(|(at, log)| *at >= FLUSHED || log.lacks(flushed, 0));
        let highest = lacking.map(|(_, log)| log.sequence()).max().unwrap_or_default();
        if highest >= flushed { highest + 1 } else { flushed }
    }
}

impl Tables {
    /// Opens the tables in `store`, and deletes what a crashed flush left there. A table that does not exist
    /// is empty, and is made by the first commit. Tables of [`Level::Service`] that do not exist yet will
    /// drop `dropped_labels`.
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        dropped_labels: &[String],
        now: Nanos,
    ) -> Result<(Self, Opened), Error> {
        // Once for all: a list is the slowest request that a bucket answers.
        let stored = store.list("")?;
        let logs = TableId::ALL.map(|table| DeltaLog::read_listed(&store, table.table(), &stored));
        let mut dropped = None;
        let mut opened = Vec::with_capacity(TableId::COUNT);
        for log in futures::future::try_join_all(logs).await? {
            dropped = dropped.or_else(|| log.0.dropped_labels().map(<[String]>::to_vec));
            opened.push(log);
        }
        let dropped_labels = dropped.unwrap_or_else(|| dropped_labels.to_vec());
        let mut tables = TableStates::default();
        let mut logs = Vec::with_capacity(TableId::COUNT);
        for (table, (mut log, mut files)) in TableId::ALL.into_iter().zip(opened) {
            if let TableId::ProfileTier(_, Level::Service) | TableId::SampleTier(_, Level::Service) = table {
                log.drop_labels(&dropped_labels)?;
            }
            if store.process().is_some()
                && let Some(others) = log.fence().await?
            {
                files = others;
            }
            log.delete_orphans(&stored, &files, now)?;
            tables[table] = log.state(files);
            logs.push(log);
        }
        let logs: [DeltaLog; TableId::COUNT] = logs
            .try_into()
            .map_err(|_| Error::Damaged { path: store.path(""), why: "a table is missing".into() })?;
        let [stacks, series, profiles, samples, ..] = &logs;
        let flushed = Sequences {
            stacks: stacks.flushed(),
            series: series.flushed(),
            profiles: profiles.flushed(),
            samples: samples.flushed(),
        };
        let series = series::read(&tables[TableId::Series].files)?;
        Ok((Self { logs: Mutex::new(Logs(logs)) }, Opened { tables, flushed, series, dropped_labels }))
    }

    /// Writes `flush` and makes it durable, leaving out the tables that have it already according to
    /// `done`. Does its work on the calling thread, which must be one that may block.
    ///
    /// After an error the same flush must be committed again, unchanged, before another one: some tables
    /// may have it already, and are left out then.
    pub(crate) async fn commit(&self, flush: &Flush<'_>, done: Sequences) -> Result<Committed, Error> {
        let mut logs = self.logs.lock().await;
        let (flushed, sequence) = (flush.sequence, logs.sequence_of(flush.sequence));
        let [stacks, series, profiles, samples, ..] = &mut logs.0;
        if stacks.lacks(flushed, done.stacks) {
            stacks.commit(flushed, sequence, |folder| stacks::write(folder, sequence, flush.stacks))?;
        }
        if series.lacks(flushed, done.series) {
            series.commit(flushed, sequence, |folder| series::write(folder, sequence, flush.series_days))?;
        }
        let needs_profiles = profiles.lacks(flushed, done.profiles);
        let needs_samples = samples.lacks(flushed, done.samples);
        if needs_profiles || needs_samples {
            let order = series_order::SeriesOrder::new(flush)?;
            if needs_profiles {
                profiles.commit(flushed, sequence, |folder| profiles::write(folder, sequence, &order))?;
            }
            if needs_samples {
                samples.commit(flushed, sequence, |folder| samples::write(folder, sequence, &order))?;
            }
        }
        let mut committed = Vec::new();
        for (table, log) in TableId::ALL.into_iter().zip(&mut logs.0).take(FLUSHED) {
            log.checkpoint_when_due().await;
            let mut applied = log.take_changes();
            applied.extend(log.take_flushes());
            committed.push((table, applied));
        }
        Ok(committed)
    }

    /// Commits `change`, unless an earlier one, whose fate was not known, turns out to be there: then
    /// `change` may be another one.
    pub(crate) async fn replace(&self, change: Change) -> Result<Replaced, Error> {
        let mut logs = self.logs.lock().await;
        let log = &mut logs.0[change.table.index()];
        // After an error the commit may be there all the same: files are left to the next start.
        let is_made = log.replace(Replacement {
            operation: change.operation,
            removed: change.removed,
            added: change.added.0,
            changes_data: change.changes_data,
            sequence: change.sequence,
            flushed: None,
            horizon: change.horizon.map(|horizon| horizon.div_euclid(MICROS_A_SECOND)),
            import: change.import,
        })?;
        log.checkpoint_when_due().await;
        Ok(Replaced { applied: log.take_changes(), is_made })
    }

    /// The id of `table`, made with its first commit; `None` when there was none.
    pub(crate) async fn table_id(&self, table: TableId) -> Result<Option<String>, Error> {
        self.logs.lock().await.0[table.index()].id().await
    }

    /// The write-ahead log sequence of the lake `source` up to which its rows were copied into `table`.
    pub(crate) async fn imported(&self, table: TableId, source: &str) -> Result<Option<u64>, Error> {
        self.logs.lock().await.0[table.index()].imported(source).await
    }

    /// Fails when the Delta library reads the logs in another way.
    #[cfg(test)]
    pub(crate) async fn check_logs(&self) {
        for log in &self.logs.lock().await.0 {
            log.check_replay().await;
        }
    }

    /// Where files of `table` for a partition go whose rows reach up to a sequence. No commit names one of
    /// them, not even one whose fate is not known.
    async fn place(&self, table: TableId, date: i32, sequence: u64) -> Result<sample_files::Place, Error> {
        let mut logs = self.logs.lock().await;
        let log = &mut logs.0[table.index()];
        log.settle()?;
        let (folder, version) = (log.folder().clone(), log.next_version());
        Ok(sample_files::Place { folder, date, sequence, version, part: 0 })
    }
}

/// So many tables, the first ones, are what a flush commits to.
const FLUSHED: usize = 4;

impl DeltaLog {
    fn state(&self, files: Vec<Arc<DataFile>>) -> TableState {
        TableState { files, sequence: self.sequence(), horizon: horizon(self.horizon()) }
    }
}

const MICROS_A_SECOND: i64 = 1_000_000;

/// A horizon in microseconds, from seconds.
fn horizon(seconds: Option<i64>) -> i64 {
    seconds.map_or(i64::MIN, |seconds| seconds.saturating_mul(MICROS_A_SECOND))
}
