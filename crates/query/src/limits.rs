//! How much one query may cost.

use std::time::Duration;

/// Bounds of every query of one [`crate::Engine`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows of files that may be scanned.
    pub rows: u64,
    /// Compressed bytes of files that may be read.
    pub bytes: u64,
    /// Bytes of memory for partial results.
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
    /// 4 billion rows, 16 GiB read, 512 MiB of partial results, one minute, 8 queries at once with
    /// 2 threads each, 100,000 points.
    fn default() -> Self {
        Self {
            rows: 4_000_000_000,
            bytes: 16 << 30,
            memory: 512 << 20,
            time: Duration::from_secs(60),
            concurrency: 8,
            threads: 2,
            points: 100_000,
        }
    }
}
