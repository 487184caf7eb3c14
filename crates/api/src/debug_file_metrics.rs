//! Figures of debug files and of the names that come from them, for `/metrics`.

use crate::figures::{encode_counters, encode_gauges};
use everflame_symbols::{StoreStatus, SymbolizerStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// What the store and the symbolizer counted, read at the scrape.
#[derive(Debug)]
pub(crate) struct DebugFileReading {
    pub(crate) store: StoreStatus,
    pub(crate) symbolizer: SymbolizerStatus,
}

impl Collector for DebugFileReading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (store, names) = (&self.store, &self.symbolizer);
        let gauges = [
            ("debug_files", "Debug files that are kept", store.files),
            ("debug_files_bytes", "Bytes of debug files", store.bytes),
            ("debug_files_bytes_limit", "Bound of debug_files_bytes", store.bytes_limit),
            ("symbols_waiting", "Addresses that wait for being looked up", names.waiting),
            ("symbols_cache_bytes", "Bytes of names from debug files in memory", names.cache_bytes),
            ("symbols_cache_bytes_limit", "Bound of symbols_cache_bytes", names.cache_bytes_limit),
        ];
        encode_gauges(&mut encoder, gauges)?;
        let counters = [
            ("debug_files_uploaded", "Debug files that were taken", store.uploaded),
            ("debug_files_refused", "Debug files that were refused", store.refused),
            ("symbols_resolved", "Addresses that got a name", names.resolved),
            ("symbols_unknown", "Addresses that the files of their build do not know", names.unknown),
            ("symbols_failed", "Addresses given up because reading their files broke off", names.failed),
            ("debuginfod_fetched", "Debug files that debuginfod servers had", names.fetched),
            ("debuginfod_missing", "Debug files that debuginfod servers did not have", names.fetch_missing),
            ("debuginfod_failed", "Debug files that could not be fetched", names.fetch_failed),
        ];
        encode_counters(&mut encoder, counters)
    }
}
