//! Figures about a lake, for metrics and the status page.

use crate::footers::CacheStatus;
use crate::lake::Lake;
use crate::retention::{self, Expiring};
use crate::store::StorageStatus;
use crate::tables::TableId;
use std::sync::atomic::Ordering::Relaxed;

impl Lake {
    /// Figures for metrics and the status page.
    pub fn status(&self) -> LakeStatus {
        let shared = &self.shared;
        // Each lock is taken once and let go at once: one that is held for reading must not be asked for
        // again, since whoever wants to write comes in between and waits for the first.
        let series = shared.series.read().len() as u64;
        let (cached_stacks, stacks) = {
            let stacks = shared.stacks.read();
            (stacks.len() as u64, stacks.status())
        };
        let state = shared.state.read();
        let frozen_bytes = state.flushing.as_ref().map_or(0, |frozen| frozen.bytes);
        let table = |table: TableId| {
            let files = &state.tables[table].files;
            (table.name(), files.len() as u64, files.iter().map(|file| file.bytes).sum())
        };
        LakeStatus {
            head_bytes: (state.head.bytes() + frozen_bytes) as u64,
            head_bytes_limit: (shared.config.flush_bytes * 3) as u64,
            head_profiles: state.head.profiles() as u64,
            wal_bytes: shared.wal_bytes.load(Relaxed),
            wal_syncs: shared.wal_syncs.load(Relaxed),
            wal_damaged_records: self.replayed.damaged,
            wal_torn_bytes: self.replayed.torn_bytes,
            flushes: shared.flushes.load(Relaxed),
            flush_failures: shared.flush_failures.load(Relaxed),
            compactions: shared.compactions.load(Relaxed),
            compaction_failures: shared.compaction_failures.load(Relaxed),
            compaction_pending_files: shared.pending_files.load(Relaxed),
            series,
            cached_stacks,
            footers: shared.footers.status(),
            stacks,
            tables: TableId::ALL.into_iter().map(table).collect(),
            storage: self.store.status(),
            expiring: retention::expiring(&shared.config.retention, &state.tables),
            bytes_limit: shared.config.retention.bytes,
        }
    }
}

/// How full the lake is.
#[derive(Clone, Debug, Default)]
pub struct LakeStatus {
    /// Bytes in the head, what is being flushed included.
    pub head_bytes: u64,
    /// Bound of `head_bytes`.
    pub head_bytes_limit: u64,
    /// Profiles in the head.
    pub head_profiles: u64,
    /// Bytes in segments of the write-ahead log.
    pub wal_bytes: u64,
    /// Syncs of the write-ahead log since the start.
    pub wal_syncs: u64,
    /// Damaged records that were skipped at the start.
    pub wal_damaged_records: u64,
    /// Bytes of torn records that were cut at the start.
    pub wal_torn_bytes: u64,
    /// Flushes since the start.
    pub flushes: u64,
    /// Flushes that failed and were or will be tried again.
    pub flush_failures: u64,
    /// Compactions since the start.
    pub compactions: u64,
    /// Rounds of compaction that failed since the start.
    pub compaction_failures: u64,
    /// Files that wait for being summed or merged.
    pub compaction_pending_files: u64,
    /// Series known.
    pub series: u64,
    /// Stacks in the cache.
    pub cached_stacks: u64,
    /// The cache of stacks.
    pub stacks: CacheStatus,
    /// The cache of footers.
    pub footers: CacheStatus,
    /// Files and bytes of each table: name, files, bytes.
    pub tables: Vec<(&'static str, u64, u64)>,
    /// How the bucket is doing, when the tables are in one.
    pub storage: Option<StorageStatus>,
    /// What goes next because of its age, the soonest first.
    pub expiring: Vec<Expiring>,
    /// What all files may take, in bytes.
    pub bytes_limit: Option<u64>,
}
