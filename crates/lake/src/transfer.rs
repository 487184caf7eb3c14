//! Copies rows from lake to lake, tiers and all: a range of days into a new folder, or a whole lake into
//! another one.
//!
//! A file's sequence says whether its rows are in the tiers already. So a copy keeps apart what is in
//! different tiers; and before a lake is copied into another one, both sum all that they have.

use crate::compaction::{Kind, apply};
use crate::disk::RealDisk;
use crate::error::Error;
use crate::files::DataFile;
use crate::inspect::LakePath;
use crate::lake::Lake;
use crate::snapshot::SeriesMatch;
use crate::store;
use crate::tables::{
    Change, Copied, Import, Keep, Level, TableId, TableStates, Tables, Written, file_day, read_content,
};
use everflame_profile::{Clock, Nanos, Series, SeriesId};
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// So many files are merged into one at once.
const MERGED_FILES: usize = 64;

/// So many rows are merged at once in the tables whose rows are merged in memory.
const MERGED_ROWS: u64 = 1 << 20;

/// Which rows to copy.
pub struct Excerpt<'a> {
    /// Whole UTC days since the epoch.
    pub days: Range<i32>,
    /// Which series.
    pub select: &'a dyn Fn(&Series) -> bool,
}

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Files, rows and bytes that were written to each table.
    pub tables: Vec<(&'static str, u64, u64, u64)>,
    /// Tables that had everything already.
    pub skipped: u64,
}

/// Called before each partition with the name of its table.
pub type TransferProgress<'a> = &'a mut dyn FnMut(&str);

impl Lake {
    /// Writes `excerpt` to `target`, which must not exist, as a lake of its own. To be called on a thread that
    /// may block.
    pub async fn export(
        &self,
        excerpt: &Excerpt<'_>,
        target: &LakePath,
        clock: Arc<dyn Clock>,
        progress: TransferProgress<'_>,
    ) -> Result<Transfer, Error> {
        self.flush().await?;
        let source = self.shared.state.read().tables.clone();
        let found = self.series(Nanos::MIN, Nanos::MAX, &|_| true);
        let chosen = Chosen::new(&found, excerpt);
        let dropped_labels = self.shared.series.read().dropped_labels().to_vec();
        let path = std::path::absolute(&target.path).map_err(|error| Error::io(&target.path, error))?;
        let now = clock.now();
        let (store, _lock) = store::open(&target.storage, &path, &target.tenant, Arc::new(RealDisk), clock)?;
        if !Tables::look(&store).await?.is_empty() {
            let why = "there is a lake already; name a place where nothing is";
            return Err(Error::Storage { place: target.place(), why: why.to_owned() });
        }
        let (tables, _) = Tables::open(store, &dropped_labels, now).await?;
        let mut copy =
            Copy { source, tables, chosen, excerpt, stacks: HashMap::new(), copied: HashMap::new() };
        // What sums of services are made of comes before them, and stacks last: which are needed is known
        // then.
        let mut order = TableId::ALL;
        order.sort_by_key(|table| match table {
            TableId::Stacks => 2,
            table => u8::from(by_series(*table).is_some()),
        });
        for table in order {
            copy.table(table, progress).await?;
            if by_series(table).is_some() && !copy.chosen.mixed.is_empty() {
                copy.mixed_sums(table, &|series| self.shared.series.read().reduced(series)).await?;
            }
        }
        let mut transfer = Transfer::default();
        for table in TableId::ALL {
            transfer.note(table, copy.copied.get(&table).map_or(&[], Vec::as_slice));
        }
        Ok(transfer)
    }

    /// Copies all of `source` into this lake, once: what was copied before is left out, table by table, so
    /// that after a crash the same call does the rest. To be called on a thread that may block, while nobody
    /// pushes into either.
    pub async fn import(&self, source: &Self, progress: TransferProgress<'_>) -> Result<Transfer, Error> {
        for lake in [source, self] {
            lake.flush().await?;
            lake.compact().await?;
        }
        let mut transfer = Transfer::default();
        let labels = [source, self].map(|lake| lake.shared.series.read().dropped_labels().to_vec());
        if let [theirs, ours] = &labels
            && theirs != ours
        {
            let why = format!(
                "its sums of services are without the labels {theirs:?}, those of the lake to import into without {ours:?}, so that they cannot be added; import into a new folder"
            );
            return Err(Error::Refused { path: source.shared.config.path.clone(), why });
        }
        let Some(id) = source.tables.table_id(TableId::Samples).await? else { return Ok(transfer) };
        let theirs = source.shared.state.read().tables.clone();
        let import = Import { source: id, sequence: theirs[TableId::Samples].sequence };
        // All that is here is in the tiers, and so is what comes: it gets the same sequence.
        let sequence = {
            let state = self.shared.state.read();
            let raw = [TableId::Profiles, TableId::Samples].map(|table| state.tables[table].sequence);
            raw.into_iter().max().unwrap_or_default()
        };
        self.reach(sequence).await?;
        for table in TableId::ALL {
            match self.tables.imported(table, &import.source).await? {
                Some(done) if done == import.sequence => {
                    transfer.skipped += 1;
                    continue;
                }
                Some(done) => return Err(grown(source, done, import.sequence)),
                None => {}
            }
            let mut written = Written::default();
            for (part, files) in (0..).zip(parts(&theirs, table, &(i32::MIN..i32::MAX))) {
                progress(table.name());
                let copied = Copied { sequence, part, keep: None, keep_stack: None };
                written.add(self.tables.copy(table, &files, copied, &|| Ok(())).await?);
            }
            let horizon = theirs[table].horizon.max(self.shared.state.read().tables[table].horizon);
            let change = Change {
                table,
                operation: "WRITE",
                removed: Vec::new(),
                added: written,
                changes_data: true,
                sequence: None,
                horizon: (horizon != i64::MIN).then_some(horizon),
                import: Some(import.clone()),
            };
            let known: HashSet<_> = self.paths(table);
            tokio::task::block_in_place(|| apply(&self.shared, &self.tables, &Handle::current(), change))?;
            let state = self.shared.state.read();
            let added = state.tables[table].files.iter().filter(|file| !known.contains(&file.path));
            transfer.note(table, &added.cloned().collect::<Vec<_>>());
        }
        Ok(transfer)
    }

    fn paths(&self, table: TableId) -> HashSet<std::path::PathBuf> {
        let state = self.shared.state.read();
        state.tables[table].files.iter().map(|file| file.path.clone()).collect()
    }

    /// Says of the tiers that they contain everything up to `sequence`: a lake that has no rows, or none
    /// since its last sums, has tiers that lag behind.
    async fn reach(&self, sequence: u64) -> Result<(), Error> {
        for table in Kind::Profiles.tiers().chain(Kind::Samples.tiers()) {
            if self.shared.state.read().tables[table].sequence >= sequence {
                continue;
            }
            let change = Change {
                table,
                operation: "WRITE",
                removed: Vec::new(),
                added: Written::default(),
                changes_data: false,
                sequence: Some(sequence),
                horizon: None,
                import: None,
            };
            tokio::task::block_in_place(|| apply(&self.shared, &self.tables, &Handle::current(), change))?;
        }
        Ok(())
    }
}

/// Which series are copied.
struct Chosen {
    /// Whether all of them.
    all: bool,
    series: HashSet<SeriesId>,
    /// Those without the labels that sums of services drop, of which all series are chosen.
    whole: HashSet<SeriesId>,
    /// Those of which some are, and some are not: their sums must be made again.
    mixed: HashSet<SeriesId>,
}

impl Chosen {
    fn new(found: &[SeriesMatch], excerpt: &Excerpt<'_>) -> Self {
        let (chosen, others): (Vec<_>, Vec<_>) =
            found.iter().partition(|found| (excerpt.select)(&found.series));
        let all = others.is_empty();
        let others: HashSet<SeriesId> = others.into_iter().map(|found| found.reduced).collect();
        let reduced = chosen.iter().map(|found| found.reduced);
        let (mixed, whole) = reduced.partition(|reduced| others.contains(reduced));
        Self { all, series: chosen.iter().map(|found| found.id).collect(), whole, mixed }
    }
}

/// An export under way. Nobody reads the target yet, so that the tables may come in any order.
struct Copy<'a> {
    source: TableStates,
    tables: Tables,
    chosen: Chosen,
    excerpt: &'a Excerpt<'a>,
    /// Stacks that samples in the target refer to, by service.
    stacks: HashMap<String, HashSet<u128>>,
    /// The files of each table of the target.
    copied: HashMap<TableId, Vec<Arc<DataFile>>>,
}

impl Copy<'_> {
    async fn table(&mut self, table: TableId, progress: TransferProgress<'_>) -> Result<(), Error> {
        let days = &self.excerpt.days;
        let range = i64::from(days.start) * DAY..i64::from(days.end) * DAY;
        let all = self.chosen.all;
        let chosen = if by_series(table).is_some() { &self.chosen.whole } else { &self.chosen.series };
        let keep = |series: SeriesId, time: i64| range.contains(&time) && (all || chosen.contains(&series));
        let keep_stack = |service: &str, id: &[u8]| {
            let id = <[u8; 16]>::try_from(id).map(u128::from_be_bytes);
            id.is_ok_and(|id| self.stacks.get(service).is_some_and(|stacks| stacks.contains(&id)))
        };
        let mut written = Written::default();
        for (part, files) in parts(&self.source, table, days).into_iter().enumerate() {
            progress(table.name());
            let is_whole = all && are_within(table, &files, days);
            let keep: Option<Keep<'_>> = if is_whole { None } else { Some(&keep) };
            let sequence = files.iter().map(|file| file.sequence()).max().unwrap_or_default();
            let copied = Copied { sequence, part: part as i64, keep, keep_stack: Some(&keep_stack) };
            written.add(self.tables.copy(table, &files, copied, &|| Ok(())).await?);
        }
        let state = &self.source[table];
        let horizon = (state.horizon != i64::MIN).then_some(state.horizon);
        let sequence = Some(state.sequence);
        self.commit(table, written, sequence, horizon).await
    }

    /// Sums those services again of which a part was chosen, from the sums by series that were copied.
    async fn mixed_sums(
        &mut self,
        table: TableId,
        reduce: &dyn Fn(SeriesId) -> SeriesId,
    ) -> Result<(), Error> {
        let sources = by_series(table).and_then(|table| self.copied.get(&table)).cloned();
        let mut partitions: BTreeMap<Option<i32>, Vec<Arc<DataFile>>> = BTreeMap::new();
        for file in sources.unwrap_or_default() {
            partitions.entry(file_day(&file)).or_default().push(file);
        }
        let mut written = Written::default();
        for files in partitions.into_values() {
            let again = &self.chosen.mixed;
            written.add(self.tables.sum_again(table, &[], &files, again, reduce, &|| Ok(())).await?);
        }
        self.commit(table, written, None, None).await
    }

    async fn commit(
        &mut self,
        table: TableId,
        added: Written,
        sequence: Option<u64>,
        horizon: Option<i64>,
    ) -> Result<(), Error> {
        let change = Change {
            table,
            operation: "WRITE",
            removed: Vec::new(),
            added,
            changes_data: true,
            sequence,
            horizon,
            import: None,
        };
        let replaced = self.tables.replace(change).await?;
        let added: Vec<_> = replaced.applied.into_iter().flat_map(|applied| applied.added).collect();
        if matches!(table, TableId::Samples | TableId::SampleTier(..)) {
            for file in &added {
                for (service, found) in read_content(table, file)?.stacks {
                    self.stacks.entry(service).or_default().extend(found);
                }
            }
        }
        self.copied.entry(table).or_default().extend(added);
        Ok(())
    }
}

/// The table of the same sums by series, when `table` is one of sums of services.
fn by_series(table: TableId) -> Option<TableId> {
    match table {
        TableId::ProfileTier(tier, Level::Service) => Some(TableId::ProfileTier(tier, Level::Series)),
        TableId::SampleTier(tier, Level::Service) => Some(TableId::SampleTier(tier, Level::Series)),
        _ => None,
    }
}

impl Transfer {
    fn note(&mut self, table: TableId, files: &[Arc<DataFile>]) {
        let rows = files.iter().map(|file| file.stats.rows).sum();
        let bytes = files.iter().map(|file| file.bytes).sum();
        self.tables.push((table.name(), files.len() as u64, rows, bytes));
    }
}

fn grown(source: &Lake, done: u64, now: u64) -> Error {
    let why = format!(
        "this lake was imported before, up to sequence {done}, and has grown to {now}; what came since cannot be told apart. Export the days that are missing into a folder, and import that"
    );
    Error::Refused { path: source.shared.config.path.clone(), why }
}

/// The files of `table` that have rows of `days`, in groups that may be written together: of one partition,
/// in the same tiers, and not too many.
fn parts(tables: &TableStates, table: TableId, days: &Range<i32>) -> Vec<Vec<Arc<DataFile>>> {
    let kind = match table {
        TableId::Samples => Some(Kind::Samples),
        TableId::Profiles => Some(Kind::Profiles),
        _ => None,
    };
    let mut groups: BTreeMap<(Option<i32>, usize), Vec<Arc<DataFile>>> = BTreeMap::new();
    for file in &tables[table].files {
        let day = file_day(file);
        let is_in_range =
            day.is_none_or(|day| day < days.end && day.saturating_add(span(table, day)) > days.start);
        if is_in_range {
            let tiers = kind.map_or(0, |kind| {
                kind.tiers().filter(|&tier| tables[tier].sequence >= file.sequence()).count()
            });
            groups.entry((day, tiers)).or_default().push(file.clone());
        }
    }
    let in_memory = !matches!(table, TableId::Samples | TableId::SampleTier(..) | TableId::Stacks);
    let mut parts = Vec::new();
    for files in groups.into_values() {
        let (mut part, mut rows) = (Vec::new(), 0);
        for file in files {
            let is_full = part.len() >= MERGED_FILES || in_memory && rows + file.stats.rows > MERGED_ROWS;
            if is_full && !part.is_empty() {
                parts.push(std::mem::take(&mut part));
                rows = 0;
            }
            rows += file.stats.rows;
            part.push(file);
        }
        parts.push(part);
    }
    parts
}

/// How many days the partition of `table` that begins with `day` has.
fn span(table: TableId, day: i32) -> i32 {
    match table {
        TableId::SampleTier(tier, _) | TableId::ProfileTier(tier, _) => tier.partition_days(day),
        _ => 1,
    }
}

/// Whether all rows of `files`, which are of one partition, are of `days`.
fn are_within(table: TableId, files: &[Arc<DataFile>], days: &Range<i32>) -> bool {
    let day = files.first().and_then(|file| file_day(file));
    day.is_none_or(|day| day >= days.start && day.saturating_add(span(table, day)) <= days.end)
}
