//! Runs a scan over row groups and head chunks on a few threads, under the limits of a query.

use crate::plan::{self, Unit};
use crate::selection::Selection;
use crate::{Error, Limits, TimeRange, row_group};
use everflame_lake::{DataFile, HeadChunk};
use parquet::errors::ParquetError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// What a query read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanStats {
    /// Files of which something was read.
    pub files: u64,
    /// Row groups of them.
    pub row_groups: u64,
    /// Rows of files and of the head.
    pub rows: u64,
    /// Compressed bytes of files.
    pub bytes: u64,
    /// Wall time of the query.
    pub elapsed: Duration,
}

impl ScanStats {
    /// Adds what another scan read; the times too, as if one came after the other.
    pub fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.row_groups += other.row_groups;
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.elapsed += other.elapsed;
    }
}

/// A part of the stored data that could not be read; the answer lacks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file.
    pub path: PathBuf,
    /// Why it could not be read.
    pub why: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} could not be read, the answer lacks what it holds: {}", self.path.display(), self.why)
    }
}

/// What the scans of one query share: whether to go on, and what they used of its limits.
pub(crate) struct Control {
    cancelled: AtomicBool,
    bytes: AtomicU64,
    memory: AtomicU64,
    limits: Limits,
    turn: OnceLock<OwnedSemaphorePermit>,
}

/// Why a piece of a scan ended early.
#[derive(Debug)]
pub(crate) enum Interrupt {
    /// Nobody waits for the result, or another piece failed.
    Cancelled,
    /// A limit is exceeded.
    TooLarge(Error),
    /// The file cannot be read; other files can.
    Unreadable(ParquetError),
}

impl From<ParquetError> for Interrupt {
    fn from(error: ParquetError) -> Self {
        Self::Unreadable(error)
    }
}

impl From<arrow::error::ArrowError> for Interrupt {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Unreadable(error.into())
    }
}

impl Control {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            cancelled: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            memory: AtomicU64::new(0),
            limits: limits.clone(),
            turn: OnceLock::new(),
        }
    }

    /// Keeps the query's turn until its last scan has ended, also when nobody waits for it any more.
    pub(crate) fn hold(&self, turn: OwnedSemaphorePermit) {
        let _ = self.turn.set(turn);
    }

    /// Ends all scans at their next batch.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
    }

    /// To be asked once a batch.
    pub(crate) fn go_on(&self) -> Result<(), Interrupt> {
        if self.cancelled.load(Relaxed) { Err(Interrupt::Cancelled) } else { Ok(()) }
    }

    /// Counts memory that a partial result came to need.
    pub(crate) fn charge(&self, bytes: usize) -> Result<(), Interrupt> {
        let needed = self.memory.fetch_add(bytes as u64, Relaxed).saturating_add(bytes as u64);
        within("bytes of memory", needed, self.limits.memory).map_err(Interrupt::TooLarge)
    }

    /// Bytes read from files so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Counts bytes read from files.
    pub(crate) fn charge_read(&self, bytes: u64) -> Result<(), Interrupt> {
        let needed = self.bytes.fetch_add(bytes, Relaxed).saturating_add(bytes);
        within("bytes of files", needed, self.limits.bytes).map_err(Interrupt::TooLarge)
    }
}

pub(crate) fn within(what: &'static str, needed: u64, limit: u64) -> Result<(), Error> {
    if needed > limit { Err(Error::TooLarge { what, needed, limit }) } else { Ok(()) }
}

/// A scan: what is done with one row group or head chunk, and how partial results become one.
pub(crate) trait Scan: Send + Sync + 'static {
    /// What one thread collects.
    type Partial: Default + Send + 'static;
    /// Scans a row group.
    fn row_group(&self, unit: &Unit, control: &Control, into: &mut Self::Partial) -> Result<(), Interrupt>;
    /// Scans a chunk of the head; returns how many rows it looked at.
    fn head(&self, chunk: &HeadChunk, control: &Control, into: &mut Self::Partial) -> Result<u64, Interrupt>;
    /// The series that it looks at.
    fn selection(&self) -> &Selection;
    /// Adds one partial result to another.
    fn merge(into: &mut Self::Partial, other: Self::Partial);
}

enum Task {
    RowGroup(Unit),
    Head(Arc<HeadChunk>),
}

/// The pieces of a scan, taken by threads one after the other.
pub(crate) struct Plan {
    tasks: Vec<Task>,
    next: AtomicUsize,
    files: u64,
    warnings: Vec<Warning>,
}

/// The result of a scan, or of one thread's part of it.
#[derive(Default)]
pub(crate) struct Scanned<P> {
    pub(crate) partial: P,
    pub(crate) stats: ScanStats,
    pub(crate) warnings: Vec<Warning>,
}

impl<P> Scanned<P> {
    /// Adds the result of a scan of other rows.
    pub(crate) fn add<S: Scan<Partial = P>>(&mut self, other: Self) {
        S::merge(&mut self.partial, other.partial);
        self.stats.add(&other.stats);
        self.warnings.extend(other.warnings);
    }
}

/// Plans a scan over `files` and `head`. Reads the footers that are not cached yet.
pub(crate) fn plan(
    files: &[Arc<DataFile>],
    head: &[Arc<HeadChunk>],
    selection: &Selection,
    range: TimeRange,
    control: &Control,
) -> Result<Plan, Error> {
    let mut plan = Plan { tasks: Vec::new(), next: AtomicUsize::new(0), files: 0, warnings: Vec::new() };
    if selection.is_empty() {
        return Ok(plan);
    }
    let mut rows = 0u64;
    for file in files {
        if !plan::takes_file(file, selection, range) {
            continue;
        }
        if control.go_on().is_err() {
            break;
        }
        let units = guarded(|| {
            row_group::arrow_metadata(file).map(|metadata| plan::units(file, &metadata, selection, range))
        });
        match units {
            Ok(Ok(units)) => {
                plan.files += u64::from(!units.is_empty());
                rows = units.iter().fold(rows, |rows, unit| rows.saturating_add(unit.row_count));
                plan.tasks.extend(units.into_iter().map(Task::RowGroup));
            }
            Ok(Err(error)) => plan.warnings.push(warning(file, &error.to_string())),
            Err(panic) => plan.warnings.push(warning(file, &panic)),
        }
    }
    within("rows", rows, control.limits.rows)?;
    plan.tasks.extend(head.iter().cloned().map(Task::Head));
    Ok(plan)
}

/// Scans on up to `threads` blocking threads and merges what they found.
pub(crate) async fn run<S: Scan>(
    scan: Arc<S>,
    plan: Plan,
    control: &Arc<Control>,
    threads: usize,
) -> Result<Scanned<S::Partial>, Error> {
    let threads = threads.clamp(1, plan.tasks.len().max(1));
    let plan = Arc::new(plan);
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let (scan, plan, control) = (scan.clone(), plan.clone(), control.clone());
            tokio::task::spawn_blocking(move || work(scan.as_ref(), &plan, &control))
        })
        .collect();
    let mut parts = Vec::with_capacity(workers.len());
    let mut failure = None;
    for worker in workers {
        match worker.await.unwrap_or_else(|error| Err(Error::Stopped(error.to_string()))) {
            Ok(part) => parts.push(part),
            // The thread that met a limit says so; the others were only told to stop.
            Err(error) if matches!(failure, None | Some(Error::Stopped(_))) => failure = Some(error),
            Err(_) => {}
        }
    }
    if let Some(error) = failure {
        return Err(error);
    }
    Ok(gather::<S>(&plan, parts))
}

/// What one thread does: takes pieces until there are none.
pub(crate) fn work<S: Scan>(scan: &S, plan: &Plan, control: &Control) -> Result<Scanned<S::Partial>, Error> {
    let mut done = Scanned::<S::Partial>::default();
    while let Some(task) = plan.tasks.get(plan.next.fetch_add(1, Relaxed)) {
        let result = match task {
            Task::RowGroup(unit) => {
                done.stats.row_groups += 1;
                done.stats.rows += unit.row_count;
                guarded(|| scan.row_group(unit, control, &mut done.partial))
            }
            Task::Head(chunk) => guarded(|| {
                done.stats.rows += scan.head(chunk, control, &mut done.partial)?;
                Ok(())
            }),
        };
        let why = match result {
            Ok(Ok(())) => continue,
            Ok(Err(Interrupt::Cancelled)) => return Err(Error::Stopped("it was cancelled".to_owned())),
            Ok(Err(Interrupt::TooLarge(error))) => {
                control.cancel();
                return Err(error);
            }
            Ok(Err(Interrupt::Unreadable(error))) => error.to_string(),
            Err(panic) => panic,
        };
        match task {
            Task::RowGroup(unit) => done.warnings.push(warning(&unit.file, &why)),
            Task::Head(_) => return Err(Error::Stopped(why)),
        }
    }
    Ok(done)
}

/// Merges what the threads found.
pub(crate) fn gather<S: Scan>(plan: &Plan, parts: Vec<Scanned<S::Partial>>) -> Scanned<S::Partial> {
    let mut parts = parts.into_iter();
    let mut all = parts.next().unwrap_or_default();
    for part in parts {
        S::merge(&mut all.partial, part.partial);
        all.stats.add(&part.stats);
        all.warnings.extend(part.warnings);
    }
    all.stats.files = plan.files;
    all.warnings.extend(plan.warnings.iter().cloned());
    all.warnings.sort_by(|a, b| (&a.path, &a.why).cmp(&(&b.path, &b.why)));
    all.warnings.dedup();
    for warning in &all.warnings {
        tracing::warn!(path = %warning.path.display(), why = warning.why, "a data file could not be read");
    }
    all
}

fn warning(file: &DataFile, why: &str) -> Warning {
    Warning { path: file.path.clone(), why: why.to_owned() }
}

/// The Parquet reader may panic on a damaged file; that is one more way in which it cannot be read.
fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
        format!("damaged: the reader stopped at: {text}")
    })
}
