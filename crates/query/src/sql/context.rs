//! What the tables of one statement share: the snapshot, the limits, and what was read.

use crate::scan::{Control, Interrupt, ScanStats, Warning, within};
use crate::{Engine, Error};
use datafusion::error::DataFusionError;
use everflame_lake::{DataFile, SeriesMatch, Snapshot};
use everflame_profile::{Nanos, Series, SeriesId};
use hashbrown::HashMap;
use parking_lot::Mutex;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// What the tables of one statement share.
pub(super) struct Context {
    pub(super) engine: Arc<Engine>,
    pub(super) snapshot: Snapshot,
    pub(super) control: Arc<Control>,
    series: OnceLock<HashMap<SeriesId, SeriesMatch>>,
    warnings: Mutex<Vec<Warning>>,
    files: AtomicU64,
    row_groups: AtomicU64,
    rows: AtomicU64,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

impl Context {
    pub(super) fn new(engine: Arc<Engine>, control: Arc<Control>) -> Self {
        let snapshot = engine.lake().snapshot();
        Self {
            engine,
            snapshot,
            control,
            series: OnceLock::new(),
            warnings: Mutex::default(),
            files: AtomicU64::new(0),
            row_groups: AtomicU64::new(0),
            rows: AtomicU64::new(0),
        }
    }

    /// All series by id. The first call takes milliseconds when there are many.
    pub(super) fn series(&self) -> &HashMap<SeriesId, SeriesMatch> {
        self.series.get_or_init(|| {
            let all = self.engine.lake().series(Nanos::MIN, Nanos::MAX, &|_: &Series| true);
            all.into_iter().map(|found| (found.id, found)).collect()
        })
    }

    /// How many values the columns of samples and profiles have at most.
    pub(super) fn values(&self) -> Vec<(&'static str, u64)> {
        let series = self.engine.lake().status().series;
        let stacks = self.snapshot.stacks.iter().map(|file| file.stats.rows);
        let of_head = self.snapshot.head.iter().map(|chunk| chunk.stacks.len() as u64);
        let stacks = stacks.chain(of_head).fold(0, u64::saturating_add);
        vec![("series_id", series), ("service", series), ("profile_type", series), ("stack_id", stacks)]
    }

    /// The id under which a series is a part of sums of [`Level::Service`](everflame_lake::Level::Service).
    pub(super) fn reduced(&self, id: SeriesId) -> SeriesId {
        self.series().get(&id).map_or(id, |found| found.reduced)
    }

    /// The footer of `file`, from memory when it is known.
    pub(super) fn footer(&self, file: &DataFile) -> Result<Arc<ParquetMetaData>, Interrupt> {
        let footer = self.control.footers.get(file);
        footer.map_err(|error| Interrupt::Unreadable(ParquetError::External(Box::new(error))))
    }

    /// Counts what is about to be read.
    pub(super) fn will_read(&self, files: usize, row_groups: usize, rows: u64) -> Result<(), Error> {
        self.files.fetch_add(files as u64, Relaxed);
        self.row_groups.fetch_add(row_groups as u64, Relaxed);
        let all = self.rows.fetch_add(rows, Relaxed).saturating_add(rows);
        within("rows", all, self.engine.limits().rows)
    }

    /// Notes that `file` cannot be read; the answer lacks what it holds.
    pub(super) fn warn(&self, file: &DataFile, why: &str) {
        // The next statement reads a fresh copy, when this is the copy of a file in a bucket.
        file.drop_copy();
        let warning = Warning { path: file.path.clone(), why: why.to_owned() };
        tracing::warn!(path = %warning.path.display(), why, "a data file could not be read");
        let mut warnings = self.warnings.lock();
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    pub(super) fn warnings(&self) -> Vec<Warning> {
        self.warnings.lock().clone()
    }

    pub(super) fn stats(&self) -> ScanStats {
        ScanStats {
            files: self.files.load(Relaxed),
            row_groups: self.row_groups.load(Relaxed),
            rows: self.rows.load(Relaxed),
            bytes: self.control.bytes_read(),
            ..ScanStats::default()
        }
    }

    /// Adds what the engine read and could not read on behalf of the statement.
    pub(super) fn add(&self, stats: &ScanStats, warnings: &[Warning]) {
        self.files.fetch_add(stats.files, Relaxed);
        self.row_groups.fetch_add(stats.row_groups, Relaxed);
        self.rows.fetch_add(stats.rows, Relaxed);
        let mut known = self.warnings.lock();
        for warning in warnings {
            if !known.contains(warning) {
                known.push(warning.clone());
            }
        }
    }
}

/// Runs `read`, which reads `file`, and notes when the file is what prevents it.
pub(super) fn reading<T>(
    context: &Context,
    file: &DataFile,
    read: impl FnOnce() -> Result<T, Interrupt>,
) -> Result<Option<T>, DataFusionError> {
    let why = match crate::scan::guarded(read) {
        Ok(Ok(done)) => return Ok(Some(done)),
        Ok(Err(Interrupt::Cancelled)) => return Err(stopped()),
        Ok(Err(Interrupt::TooLarge(error))) => return Err(external(error)),
        Ok(Err(Interrupt::Unreadable(error))) => error.to_string(),
        Err(panic) => panic,
    };
    context.warn(file, &why);
    Ok(None)
}

/// Nobody waits for the answer any more.
pub(super) fn stopped() -> DataFusionError {
    external(Error::Stopped("it was cancelled".to_owned()))
}

/// An error of the engine on its way through DataFusion.
pub(super) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
