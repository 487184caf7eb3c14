//! An open Parquet file.

use crate::{DataFile, Error};
use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// A file that is open for reading at any place.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    length: u64,
}

impl OpenFile {
    /// Opens `file`. Blocking.
    pub fn open(file: &DataFile) -> std::result::Result<Self, Error> {
        let open = file.open()?;
        let length = open.metadata().map_err(|source| Error::io(&file.path, source))?.len();
        Ok(Self { file: open, length })
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// `length` bytes from `start` on. The length comes from the footer: it is not believed beyond the end
    /// of the file.
    pub fn read(&self, start: u64, length: u64) -> Result<Vec<u8>> {
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

    /// Has `bytes` read by the operating system, without waiting for it. A system that cannot does nothing.
    pub(super) fn read_ahead(&self, bytes: Range<u64>) {
        #[cfg(target_os = "linux")]
        if let Some(length) = std::num::NonZeroU64::new(bytes.end.saturating_sub(bytes.start)) {
            // It is a hint: what is read later is read as well without it.
            let advice = rustix::fs::Advice::WillNeed;
            let _ = rustix::fs::fadvise(&self.file, bytes.start, Some(length), advice);
        }
        #[cfg(not(target_os = "linux"))]
        drop(bytes);
    }

    /// The same, to be shared.
    pub fn read_shared(&self, start: u64, length: u64) -> Result<Bytes> {
        Ok(self.read(start, length)?.into())
    }
}
