//! A Parquet file of a table as the query engine sees it: where it is, what is in it, its footer.

use crate::Error;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a planner may skip a file by. Times are microseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStats {
    /// Rows.
    pub rows: u64,
    /// Smallest `service`.
    pub min_service: String,
    /// Largest `service`.
    pub max_service: String,
    /// Smallest `time`; 0 in tables without times.
    pub min_time: i64,
    /// Largest `time`.
    pub max_time: i64,
}

/// An immutable Parquet file.
#[derive(Debug)]
pub struct DataFile {
    /// A number that no other file has while the process runs, so that caches never take one file for
    /// another, whatever its name.
    pub id: u64,
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// What is in it.
    pub stats: FileStats,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl DataFile {
    /// A file that is known from the table's log.
    pub fn new(path: PathBuf, bytes: u64, stats: FileStats) -> Self {
        Self { id: NEXT_ID.fetch_add(1, Relaxed), path, bytes, stats }
    }

    /// Opens it for reading.
    pub fn open(&self) -> Result<File, Error> {
        File::open(&self.path).map_err(|source| Error::io(&self.path, source))
    }

    /// Reads the footer with column and offset index. [`crate::Footers`] keeps them.
    pub fn metadata(&self) -> Result<Arc<ParquetMetaData>, Error> {
        let file = self.open()?;
        let metadata = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .parse_and_finish(&file)
            .map_err(|source| Error::Parquet { path: self.path.display().to_string(), source })?;
        Ok(Arc::new(metadata))
    }
}
