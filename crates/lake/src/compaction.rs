//! Work in the background: sums of new files go into the tiers, small files become large ones, and what is
//! too old goes ([`crate::retention`]).
//!
//! One task does all of it, one step after the other, on a thread of its own that rests as long as it works.
//! Ingest and queries go on meanwhile: files are written first, then a commit and the list in memory change
//! from the old ones to the new ones, and the old ones are deleted when the last query has let go of them.

use crate::deletion::{self, Deleted, Deletion};
use crate::error::Error;
use crate::files::DataFile;
use crate::lake::Shared;
use crate::retention;
use crate::tables::{Change, Level, TableId, Tables, Tier, Written};
use everflame_profile::{Clock, Nanos};
use hashbrown::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// How often the task looks for something to do.
const INTERVAL: Duration = Duration::from_secs(5);

/// New files are summed when there are so many, or when they have waited for [`SUM_AFTER`].
const SUM_FILES: usize = 16;
const SUM_AFTER: Nanos = 5 * 60 * 1_000_000_000;

/// So many files are summed at once; more follow in a step of their own.
const SUMMED_FILES: usize = 64;

/// Files of about one size become one when there are so many of them.
const SIMILAR_FILES: usize = 8;

/// So many files are merged at once, of all of which a part is in memory.
const MERGED_FILES: usize = 64;

/// So many bytes are merged at once.
const MERGED_BYTES: u64 = 128 << 20;

/// So many rows are merged at once in the tables whose rows are merged in memory.
const MERGED_ROWS: u64 = 1 << 20;

/// A file of so many bytes is large.
const LARGE_BYTES: u64 = 16 << 20;

/// The thread works so long, and then rests as long.
const SPELL: Duration = Duration::from_millis(20);

/// What the task can be asked for.
pub(crate) enum CompactionRequest {
    /// Do all that there is to do, also what could wait, and say how it went.
    Now(oneshot::Sender<Result<(), Error>>),
    /// Delete profiles.
    Delete(Deletion, oneshot::Sender<Result<Deleted, Error>>),
}

/// Starts the task. It ends when the lake is dropped.
pub(crate) fn start(
    shared: Arc<Shared>,
    tables: Arc<Tables>,
    clock: Arc<dyn Clock>,
    mut requests: mpsc::Receiver<CompactionRequest>,
) {
    tokio::spawn(async move {
        let mut compactor = Compactor { shared, tables, clock, quiet: HashMap::new(), unsummed: None };
        compactor.shared.pending_files.store(compactor.pending(), Relaxed);
        loop {
            let request = match tokio::time::timeout(INTERVAL, requests.recv()).await {
                Ok(Some(request)) => Some(request),
                Ok(None) => return,
                Err(_) => None,
            };
            let runtime = Handle::current();
            let work = tokio::task::spawn_blocking(move || {
                compactor.answer(&runtime, request);
                compactor
            });
            let Ok(back) = work.await else { return };
            compactor = back;
        }
    });
}

/// What the task remembers between two rounds.
struct Compactor {
    shared: Arc<Shared>,
    tables: Arc<Tables>,
    clock: Arc<dyn Clock>,
    /// The newest sequence of each folder with several files, and since when it is the newest.
    quiet: HashMap<PathBuf, (u64, Nanos)>,
    /// Since when there are files that are not summed.
    unsummed: Option<Nanos>,
}

impl Compactor {
    fn answer(&mut self, runtime: &Handle, request: Option<CompactionRequest>) {
        match request {
            Some(CompactionRequest::Delete(deletion, reply)) => {
                drop(reply.send(self.delete(runtime, &deletion)))
            }
            Some(CompactionRequest::Now(reply)) => drop(reply.send(self.round(runtime, true))),
            None => match self.round(runtime, false) {
                Ok(()) | Err(Error::Closed) => {}
                Err(error) => {
                    self.shared.compaction_failures.fetch_add(1, Relaxed);
                    tracing::error!(%error, "files could not be compacted; trying again in a while");
                }
            },
        }
    }

    fn delete(&mut self, runtime: &Handle, deletion: &Deletion) -> Result<Deleted, Error> {
        // Sums of services are made again from sums by series, which must go equally far.
        for kind in [Kind::Profiles, Kind::Samples] {
            while self.sum(runtime, kind)? {}
        }
        deletion::delete(&self.shared, &self.tables, runtime, deletion, &self.pace())
    }

    fn round(&mut self, runtime: &Handle, everything: bool) -> Result<(), Error> {
        if self.is_sum_due(everything) {
            for kind in [Kind::Profiles, Kind::Samples] {
                while self.sum(runtime, kind)? {}
            }
            self.unsummed = None;
        }
        while let Some((table, files)) = self.choose(everything) {
            self.merge(runtime, table, files)?;
        }
        let (shared, tables) = (&self.shared, &self.tables);
        retention::apply(shared, tables, runtime, self.clock.now(), everything, &self.pace())?;
        self.shared.pending_files.store(self.pending(), Relaxed);
        Ok(())
    }

    /// Whether there are new files that should be summed now.
    fn is_sum_due(&mut self, everything: bool) -> bool {
        let now = self.clock.now();
        let count = self.unsummed_files();
        if count == 0 {
            self.unsummed = None;
            return false;
        }
        let since = *self.unsummed.get_or_insert(now);
        let quiet = self.quiet_after().min(SUM_AFTER);
        let is_quiet = self.shared.state.read().head.profiles() == 0 && now - since >= quiet;
        everything || is_quiet || count >= SUM_FILES || now - since >= SUM_AFTER
    }

    /// Files that are not in all tiers yet.
    fn unsummed_files(&self) -> usize {
        let state = self.shared.state.read();
        let unsummed = |kind: Kind| {
            let lowest = kind.tiers().map(|tier| state.tables[tier].sequence).min().unwrap_or_default();
            state.tables[kind.table()].files.iter().filter(|file| file.sequence() > lowest).count()
        };
        unsummed(Kind::Samples).max(unsummed(Kind::Profiles))
    }

    /// No flush for so long means that no more profiles come for a while.
    fn quiet_after(&self) -> Nanos {
        Nanos::try_from(self.shared.config.flush_interval.as_nanos()).unwrap_or(SUM_AFTER).saturating_mul(2)
    }

    /// Sums the oldest files that are not in all tiers yet. False when there are none.
    fn sum(&self, runtime: &Handle, kind: Kind) -> Result<bool, Error> {
        let (mut files, lowest, mut until) = {
            let state = self.shared.state.read();
            let sequences = || kind.tiers().map(|tier| state.tables[tier].sequence);
            let lowest = sequences().min().unwrap_or_default();
            let next = sequences().filter(|&sequence| sequence > lowest).min();
            let raw = &state.tables[kind.table()];
            let until = next.unwrap_or(raw.sequence);
            let of_step = |file: &&Arc<DataFile>| (lowest + 1..=until).contains(&file.sequence());
            (raw.files.iter().filter(of_step).cloned().collect::<Vec<_>>(), lowest, until)
        };
        if files.is_empty() {
            // Tiers that lag behind the others catch up without a row.
            if until == lowest || self.sequences(kind).iter().all(|&sequence| sequence == lowest) {
                return Ok(false);
            }
        }
        if let Some(last) = files.get(SUMMED_FILES - 1) {
            until = last.sequence();
            files.retain(|file| file.sequence() <= until);
        }
        let lags = |&(tier, level): &(Tier, Level)| {
            self.shared.state.read().tables[kind.tier(tier, level)].sequence == lowest
        };
        let tiers: Vec<(Tier, Level)> = SUMS.into_iter().filter(lags).collect();
        let reduce = |series| self.shared.series.read().reduced(series);
        let mut written: Vec<Written> = tiers.iter().map(|_| Written::default()).collect();
        for files in by_folder(files).into_values() {
            let of_day: Vec<Written> = match kind {
                Kind::Samples => {
                    runtime.block_on(self.tables.sum_samples(&tiers, &files, until, &reduce, &self.pace()))?
                }
                Kind::Profiles => tiers
                    .iter()
                    .map(|&tier| runtime.block_on(self.tables.sum_profiles(tier, &files, until, &reduce)))
                    .collect::<Result<_, _>>()?,
            };
            written.iter_mut().zip(of_day).for_each(|(all, day)| all.add(day));
        }
        for ((tier, level), added) in tiers.into_iter().zip(written) {
            let change = Change {
                table: kind.tier(tier, level),
                operation: "WRITE",
                removed: Vec::new(),
                added,
                changes_data: true,
                sequence: Some(until),
                horizon: None,
                import: None,
            };
            apply(&self.shared, &self.tables, runtime, change)?;
        }
        Ok(true)
    }

    fn sequences(&self, kind: Kind) -> Vec<u64> {
        let state = self.shared.state.read();
        kind.tiers().map(|tier| state.tables[tier].sequence).collect()
    }

    /// Files that should become one.
    fn choose(&mut self, everything: bool) -> Option<(TableId, Vec<Arc<DataFile>>)> {
        let (now, quiet_after) = (self.clock.now(), self.quiet_after());
        let folders = self.folders();
        self.quiet.retain(|folder, _| folders.iter().any(|(_, known, _)| known == folder));
        for (table, folder, files) in folders {
            let newest = files.iter().map(|file| file.sequence()).max().unwrap_or_default();
            let seen = self.quiet.entry(folder).or_insert((newest, now));
            if seen.0 != newest {
                *seen = (newest, now);
            }
            let settle = everything || now - seen.1 >= quiet_after;
            if let Some(files) = candidates(table, files, settle) {
                return Some((table, files));
            }
        }
        None
    }

    /// Files that wait for being summed or merged.
    fn pending(&self) -> u64 {
        let folders = self.folders().into_iter();
        let waiting = folders.filter_map(|(table, _, files)| candidates(table, files, true));
        waiting.map(|files| files.len() as u64).sum::<u64>() + self.unsummed_files() as u64
    }

    /// The folders with several files that may be merged: what is in the tiers already, and what is not, must
    /// stay apart.
    fn folders(&self) -> Vec<(TableId, PathBuf, Vec<Arc<DataFile>>)> {
        let state = self.shared.state.read();
        let mut folders = Vec::new();
        for table in TableId::ALL {
            let summed = |kind: Kind| kind.tiers().map(|tier| state.tables[tier].sequence).min();
            let until = match table {
                TableId::Samples => summed(Kind::Samples),
                TableId::Profiles => summed(Kind::Profiles),
                _ => Some(u64::MAX),
            };
            let until = until.unwrap_or_default();
            let files = state.tables[table].files.iter().filter(|file| file.sequence() <= until);
            let by_folder = by_folder(files.cloned().collect()).into_iter();
            folders.extend(
                by_folder.filter(|(_, files)| files.len() > 1).map(|(folder, files)| (table, folder, files)),
            );
        }
        folders
    }

    fn merge(&self, runtime: &Handle, table: TableId, files: Vec<Arc<DataFile>>) -> Result<(), Error> {
        let added = runtime.block_on(self.tables.rewrite(table, &files, None, &self.pace()))?;
        let change = Change {
            table,
            operation: "OPTIMIZE",
            removed: files,
            added,
            changes_data: false,
            sequence: None,
            horizon: None,
            import: None,
        };
        apply(&self.shared, &self.tables, runtime, change)?;
        self.shared.compactions.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Rests as long as it worked, and ends the work when the lake is closed.
    fn pace(&self) -> impl Fn() -> Result<(), Error> {
        let shared = self.shared.clone();
        let begin = std::cell::Cell::new(Instant::now());
        move || {
            if shared.closing.load(Relaxed) {
                return Err(Error::Closed);
            }
            let worked = begin.get().elapsed();
            if worked >= SPELL {
                std::thread::sleep(worked);
                begin.set(Instant::now());
            }
            Ok(())
        }
    }
}

/// Commits `change`, and shows the new files instead of the old ones.
pub(crate) fn apply(
    shared: &Shared,
    tables: &Tables,
    runtime: &Handle,
    mut change: Change,
) -> Result<(), Error> {
    let added = runtime.block_on(tables.replace(&mut change))?;
    let mut state = shared.state.write();
    let table = &mut state.tables[change.table];
    table.replace(&change.removed, added);
    table.sequence = change.sequence.unwrap_or(table.sequence);
    table.horizon = change.horizon.unwrap_or(table.horizon);
    drop(state);
    change.removed.iter().for_each(|file| file.retire());
    Ok(())
}

/// All sums that are made of a table.
pub(crate) const SUMS: [(Tier, Level); 6] = [
    (Tier::FiveMinutes, Level::Series),
    (Tier::Hour, Level::Series),
    (Tier::Day, Level::Series),
    (Tier::FiveMinutes, Level::Service),
    (Tier::Hour, Level::Service),
    (Tier::Day, Level::Service),
];

/// Of which table sums are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Profiles,
    Samples,
}

impl Kind {
    /// The table.
    pub(crate) fn table(self) -> TableId {
        match self {
            Self::Profiles => TableId::Profiles,
            Self::Samples => TableId::Samples,
        }
    }

    /// The table of its sums.
    pub(crate) fn tier(self, tier: Tier, level: Level) -> TableId {
        match self {
            Self::Profiles => TableId::ProfileTier(tier, level),
            Self::Samples => TableId::SampleTier(tier, level),
        }
    }

    /// The tables of its sums.
    pub(crate) fn tiers(self) -> impl Iterator<Item = TableId> {
        SUMS.into_iter().map(move |(tier, level)| self.tier(tier, level))
    }
}

fn by_folder(files: Vec<Arc<DataFile>>) -> std::collections::BTreeMap<PathBuf, Vec<Arc<DataFile>>> {
    let mut folders = std::collections::BTreeMap::<PathBuf, Vec<Arc<DataFile>>>::new();
    for file in files {
        let folder = file.path.parent().map(PathBuf::from).unwrap_or_default();
        folders.entry(folder).or_default().push(file);
    }
    folders
}

/// Files of one folder that should become one: small ones, when `settle` all of them, otherwise those of
/// about one size when there are many.
fn candidates(table: TableId, mut files: Vec<Arc<DataFile>>, settle: bool) -> Option<Vec<Arc<DataFile>>> {
    files.retain(|file| file.bytes < LARGE_BYTES);
    files.sort_by_key(|file| (file.bytes, file.sequence()));
    if !settle {
        // Each level holds files of up to four times the size.
        let level = |file: &DataFile| (file.bytes >> 13).max(1).ilog2() / 2;
        let mut levels = files.chunk_by(|a, b| level(a) == level(b));
        files = levels.find(|level| level.len() >= SIMILAR_FILES)?.to_vec();
    }
    let in_memory = !matches!(table, TableId::Samples | TableId::SampleTier(..) | TableId::Stacks);
    let (mut bytes, mut rows) = (0, 0);
    let fitting = files.iter().take(MERGED_FILES).take_while(|file| {
        bytes += file.bytes;
        rows += file.stats.rows;
        bytes <= MERGED_BYTES && (!in_memory || rows <= MERGED_ROWS)
    });
    let count = fitting.count();
    files.truncate(count);
    (files.len() > 1).then_some(files)
}
