//! A data file of one scan: its footer, and the handle that all its row groups are read through.

use bytes::Bytes;
use everflame_lake::DataFile;
use parking_lot::Mutex;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ParquetMetaData;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A file that is opened when the first of its row groups is read, and closed after the last, so that a
/// scan of thousands of files keeps few of them open.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: Arc<DataFile>,
    metadata: Arc<ParquetMetaData>,
    handle: Mutex<Option<Arc<Handle>>>,
    /// Row groups that are still to be read.
    left: AtomicUsize,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Handle {
    file: File,
    /// Its length in bytes.
    pub(crate) length: u64,
}

impl Source {
    /// A file with its footer.
    pub(crate) fn new(file: Arc<DataFile>, metadata: Arc<ParquetMetaData>) -> Self {
        Self { file, metadata, handle: Mutex::new(None), left: AtomicUsize::new(0) }
    }

    /// Its footer.
    pub(crate) fn metadata(&self) -> &Arc<ParquetMetaData> {
        &self.metadata
    }

    /// Says that one more row group is to be read.
    pub(crate) fn expect(&self) {
        self.left.fetch_add(1, Relaxed);
    }

    /// Says that a row group was read.
    pub(crate) fn done(&self) {
        if self.left.fetch_sub(1, Relaxed) == 1 {
            *self.handle.lock() = None;
        }
    }

    /// The open file.
    pub(crate) fn handle(&self) -> Result<Arc<Handle>> {
        let mut open = self.handle.lock();
        if let Some(handle) = open.as_ref() {
            return Ok(handle.clone());
        }
        let file = self.file.open().map_err(|error| ParquetError::External(Box::new(error)))?;
        let length = file.metadata()?.len();
        let handle = Arc::new(Handle { file, length });
        *open = Some(handle.clone());
        Ok(handle)
    }

    /// `length` bytes from `start` on.
    pub(crate) fn read(&self, start: u64, length: u64) -> Result<Vec<u8>> {
        self.handle()?.read(start, length)
    }
}

impl Handle {
    /// `length` bytes from `start` on. The length comes from the footer: it is not believed beyond the end
    /// of the file.
    pub(crate) fn read(&self, start: u64, length: u64) -> Result<Vec<u8>> {
        if start.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} go past the end of the file, which has {} bytes",
                self.length
            )));
        }
        let length = usize::try_from(length).map_err(|error| ParquetError::External(Box::new(error)))?;
        let mut buffer = vec![0; length];
        self.file.read_exact_at(&mut buffer, start)?;
        Ok(buffer)
    }

    /// The same, to be shared.
    pub(crate) fn read_shared(&self, start: u64, length: u64) -> Result<Bytes> {
        Ok(self.read(start, length)?.into())
    }
}
