//! Checks a lake: that every file is there and whole, that rows are sorted and counted as their logs
//! say, that what they refer to exists, and that all tiers add up to what they sum.
//!
//! Nothing is changed, so that it may be done beside a server. What a compaction takes away meanwhile is no
//! fault: then the logs are read again.

mod totals;
mod wal;

use crate::compaction::{Kind, SUMS};
use crate::error::Error;
use crate::files::DataFile;
use crate::inspect::{LOOKS, LakePath, OpenLake};
use crate::tables::{FileContent, Group, Level, Look, Sum, TableId, date_text, file_day, read_content};
use everflame_profile::{Clock, SeriesId, StackId};
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// More findings than these are counted only.
const MAX_FINDINGS: usize = 1_000;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// What is wrong. Empty when all is well.
    pub findings: Vec<Finding>,
    /// How many more findings there are than those.
    pub more_findings: u64,
    /// What is no fault, and yet good to know.
    pub notes: Vec<Finding>,
    /// Data files that were read.
    pub files: u64,
    /// Their rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records of the write-ahead log that were read.
    pub wal_records: u64,
    /// Sums over a service, type and day of a tier that were compared.
    pub totals: u64,
}

/// Something that a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file or folder.
    pub path: PathBuf,
    /// What is the matter with it.
    pub what: String,
}

/// Checks the lake at `lake`. Blocking, for as long as it takes to read all of it. `progress` is called with
/// the number of files that were read, and that of all.
pub async fn verify(
    lake: &LakePath,
    clock: Arc<dyn Clock>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verification, Error> {
    let open = OpenLake::new(lake, clock)?;
    let mut result = Verification::default();
    for _ in 0..LOOKS {
        let look = open.look().await?;
        result = Check::new(&open, &look).run(progress)?;
        if result.findings.is_empty() || !look.is_outdated() {
            return Ok(result);
        }
    }
    // A server changes files faster than they can be read: what it took away is no fault.
    result.findings.retain(|finding| open.is_remote() || finding.path.exists());
    result.notes.push(Finding {
        path: lake.path.clone(),
        what: "a server changed the tables again and again while they were read; stop it to be sure"
            .to_owned(),
    });
    Ok(result)
}

/// A check under way.
struct Check<'a> {
    lake: &'a OpenLake<'a>,
    look: &'a Look,
    result: Verification,
    /// Sums of the rows of `profiles` and `samples` for each tier, and of those that both tables have.
    raw: [HashMap<Group, [Sum; BOTH + 1]>; 2],
    /// Sums of the rows of the tiers.
    tiers: HashMap<TableId, HashMap<Group, Sum>>,
    /// Partitions with files that cannot be read: first day, and the day after the last.
    broken: HashSet<(TableId, i32, i32)>,
    /// Stacks of each service, and the file that refers to them first.
    wanted_stacks: HashMap<String, HashMap<u128, usize>>,
    /// Series and days, and the file that refers to them first.
    wanted_series: HashMap<(SeriesId, i32), usize>,
    /// The same of sums of services.
    wanted_reduced: HashMap<(SeriesId, i32), usize>,
    /// The files that refer to something.
    referring: Vec<PathBuf>,
    stacks: HashMap<String, HashSet<u128>>,
    series: HashSet<(SeriesId, i32)>,
    /// The same without the labels that sums of services drop.
    reduced: HashSet<(SeriesId, i32)>,
}

/// Positions in [`Check::raw`].
const KINDS: [Kind; 2] = [Kind::Profiles, Kind::Samples];

/// Position among the sums of a group of that of the rows which both tables have; before it come those that a
/// tier must have, in the order of [`SUMS`].
const BOTH: usize = SUMS.len();

impl<'a> Check<'a> {
    fn new(lake: &'a OpenLake<'a>, look: &'a Look) -> Self {
        Self {
            lake,
            look,
            result: Verification::default(),
            raw: Default::default(),
            tiers: HashMap::new(),
            broken: HashSet::new(),
            wanted_stacks: HashMap::new(),
            wanted_series: HashMap::new(),
            wanted_reduced: HashMap::new(),
            referring: Vec::new(),
            stacks: HashMap::new(),
            series: HashSet::new(),
            reduced: HashSet::new(),
        }
    }

    fn run(mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<Verification, Error> {
        for (table, error) in &self.look.faults {
            self.broken.insert((*table, i32::MIN, i32::MAX));
            let path = self.lake.table(*table);
            self.find(&path, format!("its log cannot be read: {error}"));
        }
        for path in &self.look.orphans {
            let what = "no log names this file: a crash left it, or a server is just writing it; the next start deletes it";
            self.result.notes.push(Finding { path: self.lake.shown(path), what: what.to_owned() });
        }
        let files = |table| self.look.tables[table].files.iter().map(move |file| (table, file.clone()));
        let files: Vec<(TableId, Arc<DataFile>)> = TableId::ALL.into_iter().flat_map(files).collect();
        for (at, (table, file)) in files.iter().enumerate() {
            progress(at as u64, files.len() as u64);
            match self.content(*table, file) {
                Ok(Some(content)) => self.take(*table, file, content),
                Ok(None) => self.break_partition(*table, file),
                Err(error) => {
                    self.break_partition(*table, file);
                    self.find(&file.path, reason(&error, &file.path));
                }
            }
        }
        progress(files.len() as u64, files.len() as u64);
        self.check_wal()?;
        self.check_references();
        self.check_tiers();
        self.check_profiles();
        Ok(self.result)
    }

    fn find(&mut self, path: &Path, what: String) {
        if self.result.findings.len() < MAX_FINDINGS {
            self.result.findings.push(Finding { path: self.lake.shown(path), what });
        } else {
            self.result.more_findings += 1;
        }
    }

    /// Reads `file`. `None` when there is a finding that says that it cannot be trusted.
    fn content(&mut self, table: TableId, file: &Arc<DataFile>) -> Result<Option<FileContent>, Error> {
        let mut bytes = Vec::new();
        let read = file.open()?.read_to_end(&mut bytes);
        read.map_err(|source| Error::io(&file.path, source))?;
        if bytes.len() as u64 != file.bytes {
            let what = format!("it has {} bytes, its log says {}", bytes.len(), file.bytes);
            self.find(&file.path, what);
            return Ok(None);
        }
        let found = crc32c::crc32c(&bytes);
        if let Some(checksum) = file.checksum().filter(|checksum| *checksum != found) {
            let what =
                format!("damaged: its CRC-32C is {found:08x}, that of what was written is {checksum:08x}");
            self.find(&file.path, what);
            return Ok(None);
        }
        drop(bytes);
        let metadata = file.metadata()?;
        let rows = metadata.file_metadata().num_rows();
        if u64::try_from(rows) != Ok(file.stats.rows) {
            let what = format!("its footer says {rows} rows, its log {}", file.stats.rows);
            self.find(&file.path, what);
        }
        read_content(table, file).map(Some)
    }

    fn break_partition(&mut self, table: TableId, file: &DataFile) {
        let days = file_day(file).map(|day| match table {
            TableId::SampleTier(tier, _) | TableId::ProfileTier(tier, _) => {
                (day, day.saturating_add(tier.partition_days(day)))
            }
            _ => (day, day.saturating_add(1)),
        });
        let (from, until) = days.unwrap_or((i32::MIN, i32::MAX));
        self.broken.insert((table, from, until));
    }

    fn is_broken(&self, table: TableId, day: i32) -> bool {
        self.broken.iter().any(|(other, from, until)| *other == table && (*from..*until).contains(&day))
    }

    /// Checks what was read against the log, and keeps what other tables are checked against.
    fn take(&mut self, table: TableId, file: &DataFile, content: FileContent) {
        self.result.files += 1;
        self.result.rows += content.rows;
        self.result.bytes += file.bytes;
        let stats = &file.stats;
        if content.rows != stats.rows {
            self.find(&file.path, format!("it has {} rows, its log says {}", content.rows, stats.rows));
        }
        if let Some(row) = content.unsorted {
            self.find(&file.path, format!("row {row} is not in the order of the table"));
        }
        if content.false_ids > 0 {
            let what = format!("{} rows have an id that is not that of what they hold", content.false_ids);
            self.find(&file.path, what);
        }
        let services = (stats.min_service.clone(), stats.max_service.clone());
        if content.services.as_ref().is_some_and(|found| *found != services) {
            self.find(&file.path, "its services are others than its log says".to_owned());
        }
        if content.times.is_some_and(|found| found != (stats.min_time, stats.max_time)) {
            self.find(&file.path, "its times are others than its log says".to_owned());
        }
        self.check_partition(table, file, &content);
        match table {
            TableId::Stacks => {
                for (service, stacks) in content.stacks {
                    self.stacks.entry(service).or_default().extend(stacks);
                }
                return;
            }
            TableId::Series => {
                for day in content.series_days {
                    self.series.insert((day.id, day.day));
                    let reduced = day.series.without(&self.look.dropped_labels).id();
                    self.reduced.insert((reduced, day.day));
                }
                return;
            }
            TableId::Profiles | TableId::Samples => self.take_raw(table, file, &content.sums),
            TableId::ProfileTier(..) | TableId::SampleTier(..) => {
                let sums = self.tiers.entry(table).or_default();
                for (group, sum) in &content.sums {
                    sums.entry(group.clone()).or_default().add(sum);
                }
            }
        }
        let from = self.referring.len();
        self.referring.push(file.path.clone());
        for (service, stacks) in content.stacks {
            let wanted = self.wanted_stacks.entry(service).or_default();
            for stack in stacks {
                wanted.entry(stack).or_insert(from);
            }
        }
        let wanted = match table {
            TableId::ProfileTier(_, Level::Service) | TableId::SampleTier(_, Level::Service) => {
                &mut self.wanted_reduced
            }
            _ => &mut self.wanted_series,
        };
        for series in content.series {
            wanted.entry(series).or_insert(from);
        }
    }

    fn check_partition(&mut self, table: TableId, file: &DataFile, content: &FileContent) {
        let Some(((min, max), day)) = content.times.zip(file_day(file)) else { return };
        let span = match table {
            TableId::SampleTier(tier, _) | TableId::ProfileTier(tier, _) => tier.partition_days(day),
            _ => 1,
        };
        let (start, end) = (i64::from(day) * DAY, i64::from(day.saturating_add(span)) * DAY);
        if min < start || max >= end {
            self.find(&file.path, "it has rows of other days than those of its folder".to_owned());
        }
    }

    /// Adds the sums of a file of `profiles` or `samples` to those that tiers which contain it must have.
    fn take_raw(&mut self, table: TableId, file: &DataFile, sums: &BTreeMap<Group, Sum>) {
        let kind = if table == TableId::Samples { Kind::Samples } else { Kind::Profiles };
        let reaches = |table: TableId| file.sequence() <= self.look.tables[table].sequence;
        // A crash leaves one of both behind the other.
        let in_both = KINDS.into_iter().all(|kind| reaches(kind.table()));
        let counts: Vec<bool> = kind.tiers().map(reaches).chain([in_both]).collect();
        for (group, sum) in sums {
            let raw = &mut self.raw[usize::from(kind == Kind::Samples)];
            let all = raw.entry(group.clone()).or_insert([Sum::default(); BOTH + 1]);
            for (all, _) in all.iter_mut().zip(&counts).filter(|(_, counts)| **counts) {
                all.add(sum);
            }
        }
    }

    /// Whether all stacks and series that rows refer to are there.
    fn check_references(&mut self) {
        let mut missing: BTreeMap<usize, (u64, String)> = BTreeMap::new();
        for (service, wanted) in &self.wanted_stacks {
            let known = self.stacks.get(service);
            for (stack, file) in wanted {
                if !known.is_some_and(|known| known.contains(stack)) {
                    let id = StackId(*stack).0;
                    let example = || format!("{id:032x} of {service}");
                    missing.entry(*file).or_insert_with(|| (0, example())).0 += 1;
                }
            }
        }
        self.report_missing(missing, "stacks", "frames");
        let mut missing: BTreeMap<usize, (u64, String)> = BTreeMap::new();
        for (wanted, known) in [(&self.wanted_series, &self.series), (&self.wanted_reduced, &self.reduced)] {
            for (&(series, day), file) in wanted.iter().filter(|(series, _)| !known.contains(*series)) {
                let example = || format!("{:016x} on {}", series.0, date_text(day));
                missing.entry(*file).or_insert_with(|| (0, example())).0 += 1;
            }
        }
        self.report_missing(missing, "series", "labels");
    }

    fn report_missing(&mut self, missing: BTreeMap<usize, (u64, String)>, table: &str, what: &str) {
        for (file, (count, example)) in missing {
            let Some(path) = self.referring.get(file).cloned() else { continue };
            self.find(
                &path,
                format!(
                    "it refers to {count} {table} that no file of the table {table} has, so that their {what} are lost; one is {example}"
                ),
            );
        }
    }
}

/// What is wrong, without the name of the file, which stands beside it.
fn reason(error: &Error, path: &Path) -> String {
    let text = error.to_string();
    let text = text.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&text).to_owned();
    match error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            "its log names it, and it is not there".to_owned()
        }
        Error::Io { .. } => text,
        _ => format!("damaged: {}", text.strip_prefix("damaged: ").unwrap_or(&text)),
    }
}
