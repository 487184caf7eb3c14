//! How much one query may cost.

use std::time::Duration;

/// Bounds of every query of one [`crate::Engine`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows of files that may be scanned.
    pub rows: u64,
    /// Compressed bytes of files that may be read.
    pub bytes: u64,
    /// Bytes of memory for the results of one query, and for those of all queries that run.
    pub memory: u64,
    /// Wall time, waiting for a turn included.
    pub time: Duration,
    /// Queries that scan at once; more wait for their turn.
    pub concurrency: usize,
    /// Threads that one query scans with.
    pub threads: usize,
    /// Points of one time series.
    pub points: u64,
}

impl Default for Limits {
    /// 4 billion rows, 16 GiB read, 512 MiB of results, one minute, 8 queries at once with a thread for
    /// each core, 100,000 points.
    fn default() -> Self {
        Self {
            rows: 4_000_000_000,
            bytes: 16 << 30,
            memory: 512 << 20,
            time: Duration::from_secs(60),
            concurrency: 8,
            threads: std::thread::available_parallelism().map_or(2, usize::from),
            points: 100_000,
        }
    }
}

/// Bounds of every SQL statement, beside those of [`Limits`] on time, and on rows and bytes of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlLimits {
    /// Rows of an answer.
    pub rows: usize,
    /// Bytes of an answer in memory.
    pub bytes: usize,
    /// Bytes of memory for sorting, joining and grouping.
    pub memory: usize,
    /// Statements that are answered at once; more wait a moment and are turned away.
    pub concurrency: usize,
}

impl Default for SqlLimits {
    /// 100,000 rows of 64 MiB, 256 MiB of memory, 2 statements at once.
    fn default() -> Self {
        Self { rows: 100_000, bytes: 64 << 20, memory: 256 << 20, concurrency: 2 }
    }
}
