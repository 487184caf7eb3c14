//! The lake of one tenant: takes batches in, keeps them durable, gives snapshots out.

use crate::{Batch, Error, ResolvedStacks, SeriesMatch, Snapshot};
use everflame_profile::{Clock, Nanos, Series, StackId};
use std::path::PathBuf;
use std::sync::Arc;

/// How a lake is opened.
#[derive(Clone, Debug)]
pub struct LakeConfig {
    /// The data folder. The lock and the write-ahead log lie in it, and below it one folder per tenant.
    pub path: PathBuf,
    /// Name of the tenant, also of its folder.
    pub tenant: String,
    /// The head goes into the tables at least so often.
    pub flush_interval: std::time::Duration,
    /// The head goes into the tables when it holds so many bytes.
    pub flush_bytes: usize,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is on disk and can be queried.
    Stored,
    /// The same upload is stored already; nothing was added.
    Duplicate,
}

/// An open lake. Cheap to share through an [`Arc`].
pub struct Lake {}

impl Lake {
    /// Opens or makes the lake in `config.path`, and replays what the write-ahead log holds.
    pub async fn open(_config: LakeConfig, _clock: Arc<dyn Clock>) -> Result<Arc<Self>, Error> {
        todo!()
    }

    /// Which of `stacks` (positions) need their frames in [`Batch::new_stacks`].
    pub fn unknown_stacks(&self, _service: &str, _stacks: &[StackId]) -> Vec<u32> {
        todo!()
    }

    /// Stores `batch`. When this returns, it survives a crash and is part of every new snapshot.
    pub async fn append(&self, _batch: Batch) -> Result<Appended, Error> {
        todo!()
    }

    /// A consistent view of everything that is stored.
    pub fn snapshot(&self) -> Snapshot {
        todo!()
    }

    /// The series that `select` takes and that have profiles between `from` and `until` (both inclusive,
    /// nanoseconds since the epoch).
    pub fn series(&self, _from: Nanos, _until: Nanos, _select: &dyn Fn(&Series) -> bool) -> Vec<SeriesMatch> {
        todo!()
    }

    /// How many label sets `service` has had on the UTC day of `time`.
    pub fn label_sets(&self, _service: &str, _time: Nanos) -> usize {
        todo!()
    }

    /// Frames of stacks that occurred in `services`. Blocking: reads files for those that are not cached.
    pub fn resolve_stacks(&self, _services: &[&str], _stacks: &[StackId]) -> Result<ResolvedStacks, Error> {
        todo!()
    }

    /// Moves the head into the tables now.
    pub async fn flush(&self) -> Result<(), Error> {
        todo!()
    }

    /// Flushes, and takes no more batches.
    pub async fn close(&self) -> Result<(), Error> {
        todo!()
    }

    /// Figures for metrics and the status page.
    pub fn status(&self) -> LakeStatus {
        todo!()
    }
}

/// How full the lake is.
#[derive(Clone, Debug, Default)]
pub struct LakeStatus {
    /// Bytes of samples in the head, and the bound at which it is flushed.
    pub head_bytes: u64,
    /// Bound of `head_bytes`.
    pub head_bytes_limit: u64,
    /// Profiles in the head.
    pub head_profiles: u64,
    /// Bytes in write-ahead log segments.
    pub wal_bytes: u64,
    /// Write-ahead log syncs since the start.
    pub wal_syncs: u64,
    /// Torn or damaged records that were skipped at the start.
    pub wal_damaged_records: u64,
    /// Flushes since the start, and those that failed and will be tried again.
    pub flushes: u64,
    /// Flushes that failed.
    pub flush_failures: u64,
    /// Series known.
    pub series: u64,
    /// Stacks in the cache.
    pub cached_stacks: u64,
    /// Files and bytes of each table: name, files, bytes.
    pub tables: Vec<(&'static str, u64, u64)>,
}
