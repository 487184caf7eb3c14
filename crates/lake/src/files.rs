//! A Parquet file of a table as the query engine sees it: where it is, what is in it, its footer.

use crate::Error;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

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

/// An immutable Parquet file. Its footer is read at first use and kept.
#[derive(Debug)]
pub struct DataFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// What is in it.
    pub stats: FileStats,
    metadata: OnceLock<Arc<ParquetMetaData>>,
}

impl DataFile {
    /// A file that is known from the table's log.
    pub fn new(path: PathBuf, bytes: u64, stats: FileStats) -> Self {
        Self { path, bytes, stats, metadata: OnceLock::new() }
    }

    /// Opens it for reading.
    pub fn open(&self) -> Result<File, Error> {
        File::open(&self.path).map_err(|source| Error::io(&self.path, source))
    }

    /// The footer with column and offset index.
    pub fn metadata(&self) -> Result<Arc<ParquetMetaData>, Error> {
        if let Some(metadata) = self.metadata.get() {
            return Ok(metadata.clone());
        }
        let file = self.open()?;
        let metadata = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .parse_and_finish(&file)
            .map_err(|source| Error::Parquet { path: self.path.display().to_string(), source })?;
        Ok(self.metadata.get_or_init(|| Arc::new(metadata)).clone())
    }
}
