//! A Parquet file of a table as the query engine sees it: where it is, what is in it, its footer.

use crate::Error;
use crate::store::{Store, TableFolder};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
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
    /// Where it is on this machine, or will be when it is read.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// What is in it.
    pub stats: FileStats,
    /// When it was written, milliseconds since the epoch.
    pub modified: i64,
    /// The store that it is a file of, and its name there.
    stored: Option<(Arc<dyn Store>, String)>,
    obsolete: AtomicBool,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl DataFile {
    /// A file on a local disk, by itself.
    pub fn new(path: PathBuf, bytes: u64, stats: FileStats) -> Self {
        let (id, obsolete) = (NEXT_ID.fetch_add(1, Relaxed), AtomicBool::new(false));
        Self { id, path, bytes, stats, modified: 0, stored: None, obsolete }
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
        checksum_in(&self.path)
    }

    /// Says that no table names it any more: it goes when the last one who holds it lets go.
    pub(crate) fn retire(&self) {
        self.obsolete.store(true, Relaxed);
    }

    /// The file that is called `relative` in the folder of a table.
    pub(crate) fn stored(folder: &TableFolder, relative: &str, bytes: u64, stats: FileStats) -> Self {
        let name = folder.name(relative);
        let path = folder.store.path(&name);
        let mut file = Self::new(path, bytes, stats);
        file.stored = Some((folder.store.clone(), name));
        file
    }

    /// Opens it for reading. Blocking: a file of a bucket that is not here is fetched.
    pub fn open(&self) -> Result<File, Error> {
        match &self.stored {
            Some((store, name)) => store.open(name, self.bytes),
            None => File::open(&self.path).map_err(|source| Error::io(&self.path, source)),
        }
    }

    /// To be called when what was read is damaged. True when there is hope: the local copy of a file in a
    /// bucket was dropped, and the next [`DataFile::open`] fetches it again.
    pub fn drop_copy(&self) -> bool {
        self.stored.as_ref().is_some_and(|(store, name)| store.drop_copy(name))
    }

    /// Reads the footer with column and offset index. [`crate::Footers`] keeps them.
    pub fn metadata(&self) -> Result<Arc<ParquetMetaData>, Error> {
        let metadata = match self.read_metadata() {
            Err(Error::Parquet { .. }) if self.drop_copy() => self.read_metadata()?,
            read => read?,
        };
        Ok(Arc::new(metadata))
    }

    fn read_metadata(&self) -> Result<ParquetMetaData, Error> {
        let file = self.open()?;
        ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .parse_and_finish(&file)
            .map_err(|source| Error::Parquet { path: self.path.display().to_string(), source })
    }
}

/// The checksum in the name of a file; see [`DataFile::checksum`].
pub(crate) fn checksum_in(path: &Path) -> Option<u32> {
    let digits = path.file_stem()?.to_str()?.rsplit('-').next()?.strip_prefix("crc")?;
    u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 8)
}

impl Drop for DataFile {
    fn drop(&mut self) {
        if self.obsolete.load(Relaxed)
            && let Some((store, name)) = &self.stored
        {
            store.retire(name);
        }
    }
}
