//! A bounded cache of the footers of data files.

use crate::error::Error;
use crate::files::DataFile;
use parquet::file::metadata::ParquetMetaData;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes of footers that a lake keeps: those of about a thousand files of twenty services.
const CACHE_BYTES: u64 = 32 << 20;

/// How full a cache is, and how often it helped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStatus {
    /// Bytes that are kept.
    pub bytes: u64,
    /// Bound of `bytes`.
    pub limit: u64,
    /// Look-ups that found something.
    pub hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
}

/// Footers by file. The least useful ones go when there are too many.
#[derive(Debug)]
pub struct Footers {
    footers: Cache<u64, Arc<ParquetMetaData>, Size>,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Clone, Debug)]
struct Size;

impl Weighter<u64, Arc<ParquetMetaData>> for Size {
    fn weight(&self, _file: &u64, footer: &Arc<ParquetMetaData>) -> u64 {
        footer.memory_size() as u64
    }
}

impl Default for Footers {
    fn default() -> Self {
        Self {
            footers: Cache::with_weighter(1024, CACHE_BYTES, Size),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }
}

impl Footers {
    /// The footer of `file`, if it is known.
    pub fn known(&self, file: &DataFile) -> Option<Arc<ParquetMetaData>> {
        let found = self.footers.get(&file.id);
        if found.is_some() {
            self.hits.fetch_add(1, Relaxed);
        }
        found
    }

    /// The footer of `file`. Blocking: reads it when it is not known.
    pub fn get(&self, file: &DataFile) -> Result<Arc<ParquetMetaData>, Error> {
        if let Some(known) = self.known(file) {
            return Ok(known);
        }
        self.misses.fetch_add(1, Relaxed);
        let footer = file.metadata()?;
        self.footers.insert(file.id, footer.clone());
        Ok(footer)
    }

    /// Figures for metrics.
    pub fn status(&self) -> CacheStatus {
        CacheStatus {
            bytes: self.footers.weight(),
            limit: CACHE_BYTES,
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
        }
    }
}
