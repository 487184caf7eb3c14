//! Work in the background: sums of new files go into the tiers, small files become large ones, and what is
//! too old goes ([`crate::retention`]).
//!
//! One task does all of it, one step after the other, on a thread of its own that rests as long as it works.
//! Ingest and queries go on meanwhile: files are written first, then a commit and the list in memory change
//! from the old ones to the new ones, and the old ones are deleted when the last query has let go of them.

use crate::deletion::{self, Deletion, Gone};
use crate::error::Error;
use crate::files::DataFile;
use crate::lake::Shared;
use crate::retention;
use crate::tables::{Change, Level, Pace, TableId, Tables, Tier, Written};
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
    Delete(Deletion, oneshot::Sender<Result<Gone, Error>>),
}

/// Starts the task. It ends when the lake is dropped.
pub(crate) fn start(
    shared: Arc<Shared>,
    tables: Arc<Tables>,
    clock: Arc<dyn Clock>,
    mut requests: mpsc::Receiver<CompactionRequest>,
) {
    tokio::spawn(async move {
        let mut compactor = Compactor::new(shared, tables, clock);
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
pub(crate) struct Compactor {
    shared: Arc<Shared>,
    tables: Arc<Tables>,
    clock: Arc<dyn Clock>,
    /// The newest sequence of each folder with several files, and since when it is the newest.
    quiet: HashMap<PathBuf, (u64, Nanos)>,
    /// Since when there are files that are not summed.
    unsummed: Option<Nanos>,
}

impl Compactor {
    pub(crate) fn new(shared: Arc<Shared>, tables: Arc<Tables>, clock: Arc<dyn Clock>) -> Self {
        Self { shared, tables, clock, quiet: HashMap::new(), unsummed: None }
    }

    fn answer(&mut self, runtime: &Handle, request: Option<CompactionRequest>) {
        let pace = self.pace();
        match request {
            Some(CompactionRequest::Delete(deletion, reply)) => {
                drop(reply.send(self.delete(runtime, &deletion, &pace)))
            }
            Some(CompactionRequest::Now(reply)) => drop(reply.send(self.round(runtime, true, &pace))),
            None => match self.round(runtime, false, &pace) {
                Ok(()) | Err(Error::Closed) => {}
                Err(error) => {
                    self.shared.compaction_failures.fetch_add(1, Relaxed);
                    tracing::error!(%error, "files could not be compacted; trying again in a while");
                }
            },
        }
    }

    /// Deletes profiles. Blocking.
    pub(crate) fn delete(
        &mut self,
        runtime: &Handle,
        deletion: &Deletion,
        pace: Pace<'_>,
    ) -> Result<Gone, Error> {
        // Single profiles and all sums must go equally far: what a flush adds from now on stays out of it.
        let until = deletion::begin(&self.shared);
        for kind in [Kind::Profiles, Kind::Samples] {
            loop {
                let summed = self.sum(runtime, kind, until, pace);
                if !summed.inspect_err(|_| self.shared.series.write().give_up_deletion())? {
                    break;
                }
            }
        }
        deletion::delete(&self.shared, &self.tables, runtime, deletion, until, pace)
    }

    /// Does what is due, or `everything` that there is to do. Blocking.
    pub(crate) fn round(&mut self, runtime: &Handle, everything: bool, pace: Pace<'_>) -> Result<(), Error> {
        if self.is_sum_due(everything) {
            for kind in [Kind::Profiles, Kind::Samples] {
                while self.sum(runtime, kind, u64::MAX, pace)? {}
            }
            self.unsummed = None;
        }
        while let Some((table, files)) = self.choose(everything) {
            self.merge(runtime, table, files, pace)?;
        }
        let (shared, tables) = (&self.shared, &self.tables);
        retention::apply(shared, tables, runtime, self.clock.now(), everything, pace)?;
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

    /// Sums the oldest files, up to the sequence `last`, that are not in all tiers yet. False when there are
    /// none.
    fn sum(&self, runtime: &Handle, kind: Kind, last: u64, pace: Pace<'_>) -> Result<bool, Error> {
        let (mut files, lowest, mut until) = {
            let state = self.shared.state.read();
            let sequences = || kind.tiers().map(|tier| state.tables[tier].sequence);
            let lowest = sequences().min().unwrap_or_default();
            let next = sequences().filter(|&sequence| sequence > lowest).min();
            let raw = &state.tables[kind.table()];
            let until = next.unwrap_or(raw.sequence).min(last);
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
            pace()?;
            let of_day: Result<Vec<Written>, Error> = match kind {
                Kind::Samples => {
                    runtime.block_on(self.tables.sum_samples(&tiers, &files, until, &reduce, pace))
                }
                Kind::Profiles => tiers
                    .iter()
                    .map(|&tier| runtime.block_on(self.tables.sum_profiles(tier, &files, until, &reduce)))
                    .collect(),
            };
            let of_day = of_day.inspect_err(|error| drop_copies(&files, error))?;
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

    fn merge(
        &self,
        runtime: &Handle,
        table: TableId,
        files: Vec<Arc<DataFile>>,
        pace: Pace<'_>,
    ) -> Result<(), Error> {
        pace()?;
        let added = runtime.block_on(self.tables.rewrite(table, &files, None, pace));
        let added = added.inspect_err(|error| drop_copies(&files, error))?;
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
    fn pace(&self) -> impl Fn() -> Result<(), Error> + use<> {
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

/// What is damaged on this machine may be whole in the bucket, and is fetched when it is read again.
fn drop_copies(files: &[Arc<DataFile>], error: &Error) {
    if matches!(error, Error::Parquet { .. }) {
        for file in files {
            file.drop_copy();
        }
    }
}

/// Commits `change`, and shows the new files instead of the old ones.
pub(crate) fn apply(shared: &Shared, tables: &Tables, runtime: &Handle, change: Change) -> Result<(), Error> {
    let table = change.table;
    let replaced = runtime.block_on(tables.replace(change))?;
    let mut state = shared.state.write();
    replaced.applied.into_iter().for_each(|applied| state.tables[table].apply(applied));
    if replaced.is_made {
        return Ok(());
    }
    Err(Error::Storage {
        place: table.name().to_owned(),
        why: "an earlier commit, whose fate was not known, came first; the change must be made again"
            .to_owned(),
    })
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
