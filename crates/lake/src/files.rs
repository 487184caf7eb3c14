//! A Parquet file of a table as the query engine sees it: where it is, what is in it, its footer.

use crate::Error;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use std::ffi::OsStr;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

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

/// How many digits a sequence has at the start of a file's name.
const SEQUENCE_DIGITS: usize = 20;

/// An immutable Parquet file. One that a table no longer names is deleted when nobody reads it any more.
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
    /// When it was written, milliseconds since the epoch.
    pub modified: i64,
    obsolete: AtomicBool,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl DataFile {
    /// A file that is known from the table's log.
    pub fn new(path: PathBuf, bytes: u64, stats: FileStats) -> Self {
        let (id, obsolete) = (NEXT_ID.fetch_add(1, Relaxed), AtomicBool::new(false));
        Self { id, path, bytes, stats, modified: 0, obsolete }
    }

    /// The same, written at `modified`.
    pub(crate) fn written_at(self, modified: i64) -> Self {
        let mut file = self;
        file.modified = modified;
        file
    }

    /// The last write-ahead log sequence that is in it: the first 20 digits of its name.
    pub fn sequence(&self) -> u64 {
        let name = self.path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        name.get(..SEQUENCE_DIGITS).and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX)
    }

    /// CRC-32C of its bytes, which stands in its name: Parquet has no checksum over a file, and those of its
    /// pages cover neither the footer nor the indices. `None` for files from before there were any.
    pub fn checksum(&self) -> Option<u32> {
        let digits = self.path.file_stem()?.to_str()?.rsplit('-').next()?.strip_prefix("crc")?;
        u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 8)
    }

    /// Says that no table names it any more: it goes when the last one who holds it lets go.
    pub(crate) fn retire(&self) {
        self.obsolete.store(true, Relaxed);
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

impl Drop for DataFile {
    fn drop(&mut self) {
        if self.obsolete.load(Relaxed)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "a file that is no longer needed stays until the next start");
        }
    }
}
