//! A data file of one scan: its footer, and the handle that all its row groups are read through.

use everflame_lake::DataFile;
use everflame_lake::columns::OpenFile;
use parking_lot::Mutex;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ParquetMetaData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A file that is opened when the first of its row groups is read, and closed after the last, so that a
/// scan of thousands of files keeps few of them open.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: Arc<DataFile>,
    metadata: Arc<ParquetMetaData>,
    handle: Mutex<Option<Arc<OpenFile>>>,
    /// Row groups that are still to be read.
    left: AtomicUsize,
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
    pub(crate) fn handle(&self) -> Result<Arc<OpenFile>> {
        let mut open = self.handle.lock();
        if let Some(handle) = open.as_ref() {
            return Ok(handle.clone());
        }
        let handle = OpenFile::open(&self.file).map_err(|error| ParquetError::External(Box::new(error)))?;
        let handle = Arc::new(handle);
        *open = Some(handle.clone());
        Ok(handle)
    }
}
