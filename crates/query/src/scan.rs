//! Runs a scan over row groups and head chunks on a few threads, under the limits of a query.

use crate::cache::SumCache;
use crate::cover::Part;
use crate::plan::{self, Unit};
use crate::selection::Selection;
use crate::{Error, Limits, TimeRange};
use everflame_lake::{DataFile, Footers, HeadChunk};
use parking_lot::{Condvar, Mutex};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// So many row groups are read ahead: their files stay open until they are scanned.
const READ_AHEAD_UNITS: usize = 256;

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
    pub(crate) footers: Arc<Footers>,
    pub(crate) cache: Arc<SumCache>,
    /// What all queries of the engine that run need together.
    pool: Arc<AtomicU64>,
    turn: OnceLock<OwnedSemaphorePermit>,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.pool.fetch_sub(self.memory.load(Relaxed), Relaxed);
    }
}

/// What queries share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared {
    pub(crate) footers: Arc<Footers>,
    pub(crate) cache: Arc<SumCache>,
    /// Bytes of memory that they need together.
    pub(crate) pool: Arc<AtomicU64>,
}

/// Why a piece of a scan ended early.
#[derive(Debug)]
pub(crate) enum Interrupt {
    /// Nobody waits for the result, or another piece failed.
    Cancelled,
    /// A limit is exceeded, its own or that of all queries.
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
    /// For a query that shares nothing with others.
    #[cfg(test)]
    pub(crate) fn new(limits: &Limits) -> Self {
        Self::sharing(limits, Shared::default())
    }

    /// For a query that uses what earlier ones read and found.
    pub(crate) fn sharing(limits: &Limits, shared: Shared) -> Self {
        let Shared { footers, cache, pool } = shared;
        Self {
            cancelled: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            memory: AtomicU64::new(0),
            limits: limits.clone(),
            footers,
            cache,
            pool,
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

    /// Counts memory that a result came to need.
    pub(crate) fn charge(&self, bytes: usize) -> Result<(), Interrupt> {
        let bytes = bytes as u64;
        let needed = self.memory.fetch_add(bytes, Relaxed).saturating_add(bytes);
        let together = self.pool.fetch_add(bytes, Relaxed).saturating_add(bytes);
        within("bytes of memory", needed, self.limits.memory).map_err(Interrupt::TooLarge)?;
        match together > self.limits.memory {
            true => Err(Interrupt::TooLarge(Error::Crowded { needed: together, limit: self.limits.memory })),
            false => Ok(()),
        }
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
    fn selection(&self) -> &Arc<Selection>;
    /// The columns that it is about to read of a row group; none when it knows the answer already.
    fn columns(&self, unit: &Unit, control: &Control) -> Vec<&'static str>;
    /// Adds one partial result to another.
    fn merge(into: &mut Self::Partial, other: Self::Partial);
}

/// A piece of a scan.
struct Task {
    /// Position of the part that it belongs to.
    part: usize,
    work: Work,
}

enum Work {
    /// A file whose footer is not known yet: it says which row groups there are.
    File(Arc<DataFile>),
    RowGroup(Unit),
    Head(Arc<HeadChunk>),
}

/// The pieces of the scans of all parts of a range, taken by threads one after the other.
pub(crate) struct Plan<S> {
    queue: Mutex<Queue>,
    /// A file was opened.
    opened: Condvar,
    parts: Vec<(Arc<S>, TimeRange)>,
    files: AtomicU64,
    rows: AtomicU64,
}

#[derive(Default)]
struct Queue {
    tasks: Vec<Task>,
    /// Files whose row groups are about to be added.
    opening: usize,
}

/// The result of a scan, or of one thread's part of it.
#[derive(Default)]
pub(crate) struct Scanned<P> {
    pub(crate) partial: P,
    pub(crate) stats: ScanStats,
    pub(crate) warnings: Vec<Warning>,
}

/// Plans scans of parts of a range over their files and `head`. Footers that are not known are read by the
/// scan, on all its threads.
pub(crate) fn plan<S: Scan>(
    parts: Vec<(Arc<S>, Part)>,
    head: &[Arc<HeadChunk>],
    control: &Control,
) -> Result<Plan<S>, Error> {
    let mut plan = Plan {
        queue: Mutex::default(),
        opened: Condvar::new(),
        parts: Vec::with_capacity(parts.len()),
        files: AtomicU64::new(0),
        rows: AtomicU64::new(0),
    };
    let mut tasks = Vec::new();
    for (part, (scan, Part { range, files, .. })) in parts.into_iter().enumerate() {
        plan.parts.push((scan.clone(), range));
        if scan.selection().is_empty() {
            continue;
        }
        tasks.extend(head.iter().map(|chunk| Task { part, work: Work::Head(chunk.clone()) }));
        for file in files.iter().filter(|file| plan::takes_file(file, scan.selection(), range)) {
            if control.go_on().is_err() {
                break;
            }
            let units =
                control.footers.known(file).map(|footer| guarded(|| plan.units(part, file, footer, control)));
            match units {
                Some(Ok(units)) => tasks.extend(units?),
                // A panic is met again, and told, when the file's turn comes.
                Some(Err(_)) | None => tasks.push(Task { part, work: Work::File(file.clone()) }),
            }
        }
    }
    plan.read_ahead(&tasks, control);
    plan.queue.lock().tasks = tasks;
    Ok(plan)
}

impl<S: Scan> Plan<S> {
    /// The row groups of `file` that are to be scanned for a part, counted.
    fn units(
        &self,
        part: usize,
        file: &Arc<DataFile>,
        footer: Arc<ParquetMetaData>,
        control: &Control,
    ) -> Result<Vec<Task>, Error> {
        let Some((scan, range)) = self.parts.get(part) else { return Ok(Vec::new()) };
        let units = plan::units(file, footer, scan.selection(), *range);
        self.files.fetch_add(u64::from(!units.is_empty()), Relaxed);
        let rows = units.iter().fold(0u64, |rows, unit| rows.saturating_add(unit.row_count));
        let rows = self.rows.fetch_add(rows, Relaxed).saturating_add(rows);
        within("rows", rows, control.limits.rows)?;
        Ok(units.into_iter().map(|unit| Task { part, work: Work::RowGroup(unit) }).collect())
    }

    /// Has the operating system read what the tasks that come first (the last ones) will read: all at once
    /// instead of one short read after the other.
    fn read_ahead(&self, tasks: &[Task], control: &Control) {
        let units = tasks.iter().rev().filter_map(|task| match &task.work {
            Work::RowGroup(unit) => Some((self.parts.get(task.part)?, unit)),
            Work::File(_) | Work::Head(_) => None,
        });
        for ((scan, _), unit) in units.take(READ_AHEAD_UNITS) {
            let columns = scan.columns(unit, control);
            // What cannot be read is met again, and told, by the scan.
            if let (false, Ok(file)) = (columns.is_empty(), unit.source.handle()) {
                unit.in_file(&file).read_ahead(&columns, &unit.row_ranges());
            }
        }
    }

    /// How many threads can have something to do.
    fn parallelism(&self) -> usize {
        let queue = self.queue.lock();
        match queue.tasks.iter().any(|task| matches!(task.work, Work::File(_))) {
            true => usize::MAX,
            false => queue.tasks.len().max(1),
        }
    }

    /// The next piece; waits while files are opened that may have one.
    fn next(&self) -> Option<Task> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(task) = queue.tasks.pop() {
                queue.opening += usize::from(matches!(task.work, Work::File(_)));
                return Some(task);
            }
            if queue.opening == 0 {
                return None;
            }
            self.opened.wait(&mut queue);
        }
    }

    /// Reads the footer of a file that [`Self::next`] gave out, and adds its row groups.
    fn open(
        &self,
        part: usize,
        file: &Arc<DataFile>,
        control: &Control,
    ) -> Result<Result<(), Interrupt>, String> {
        let read = || {
            control.go_on()?;
            let footer = control.footers.get(file);
            let footer =
                footer.map_err(|error| Interrupt::Unreadable(ParquetError::External(Box::new(error))))?;
            let units = self.units(part, file, footer, control).map_err(Interrupt::TooLarge)?;
            self.read_ahead(&units, control);
            Ok(units)
        };
        let units = guarded(read);
        let mut queue = self.queue.lock();
        queue.opening -= 1;
        let result = units.map(|units| units.map(|units| queue.tasks.extend(units)));
        drop(queue);
        self.opened.notify_all();
        result
    }
}

/// Runs the scans of a plan on up to `threads` blocking threads and merges what they found.
pub(crate) async fn run<S: Scan>(
    plan: Plan<S>,
    control: &Arc<Control>,
    threads: usize,
) -> Result<Scanned<S::Partial>, Error> {
    let threads = threads.clamp(1, plan.parallelism());
    let plan = Arc::new(plan);
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let (plan, control) = (plan.clone(), control.clone());
            tokio::task::spawn_blocking(move || work(&plan, &control))
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
pub(crate) fn work<S: Scan>(plan: &Plan<S>, control: &Control) -> Result<Scanned<S::Partial>, Error> {
    let mut done = Scanned::<S::Partial>::default();
    while let Some(Task { part, work }) = plan.next() {
        let Some((scan, _)) = plan.parts.get(part) else { continue };
        let result = match &work {
            Work::File(file) => plan.open(part, file, control),
            Work::RowGroup(unit) => {
                done.stats.row_groups += 1;
                done.stats.rows += unit.row_count;
                let result = guarded(|| scan.row_group(unit, control, &mut done.partial));
                unit.source.done();
                result
            }
            Work::Head(chunk) => guarded(|| {
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
        match work {
            Work::File(file) => done.warnings.push(warning(&file, &why)),
            Work::RowGroup(unit) => done.warnings.push(warning(&unit.source.file, &why)),
            Work::Head(_) => return Err(Error::Stopped(why)),
        }
    }
    Ok(done)
}

/// Merges what the threads found.
pub(crate) fn gather<S: Scan>(plan: &Plan<S>, parts: Vec<Scanned<S::Partial>>) -> Scanned<S::Partial> {
    let mut parts = parts.into_iter();
    let mut all = parts.next().unwrap_or_default();
    for part in parts {
        S::merge(&mut all.partial, part.partial);
        all.stats.add(&part.stats);
        all.warnings.extend(part.warnings);
    }
    all.stats.files = plan.files.load(Relaxed);
    all.warnings.sort_by(|a, b| (&a.path, &a.why).cmp(&(&b.path, &b.why)));
    all.warnings.dedup();
    for warning in &all.warnings {
        tracing::warn!(path = %warning.path.display(), why = warning.why, "a data file could not be read");
    }
    all
}

fn warning(file: &DataFile, why: &str) -> Warning {
    // The next query reads a fresh copy, when this is the copy of a file in a bucket.
    file.drop_copy();
    Warning { path: file.path.clone(), why: why.to_owned() }
}

/// The Parquet reader may panic on a damaged file; that is one more way in which it cannot be read.
pub(crate) fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
        format!("damaged: the reader stopped at: {text}")
    })
}
