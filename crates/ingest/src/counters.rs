//! What became of the uploads since the start, for `/metrics`.

use crate::error::{Error, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A reading of all counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Uploads that came in.
    pub received: u64,
    /// Their bytes, as they came.
    pub received_bytes: u64,
    /// Uploads that were stored, those without samples included.
    pub stored: u64,
    /// Uploads that were stored before under the same id.
    pub deduplicated: u64,
    /// Samples stored, one per stack, series and span.
    pub samples: u64,
    /// Labels dropped because of a bound on label sets, sizes or numbers.
    pub labels_dropped: u64,
    /// Stacks cut to the depth limit.
    pub stacks_cut: u64,
    /// Strings cut to the length limit.
    pub strings_cut: u64,
    /// Refused uploads by kind of error, in the order of [`ErrorKind::ALL`].
    pub rejected: [(&'static str, u64); ErrorKind::ALL.len()],
}

#[derive(Debug, Default)]
pub(crate) struct LiveCounters {
    pub(crate) received: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) stored: AtomicU64,
    pub(crate) deduplicated: AtomicU64,
    pub(crate) samples: AtomicU64,
    pub(crate) labels_dropped: AtomicU64,
    pub(crate) stacks_cut: AtomicU64,
    pub(crate) strings_cut: AtomicU64,
    rejected: [AtomicU64; ErrorKind::ALL.len()],
}

impl LiveCounters {
    /// An upload of `bytes` bytes came in.
    pub(crate) fn receive(&self, bytes: usize) {
        self.received.fetch_add(1, Relaxed);
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// An upload was stored (or was there already), or it was refused.
    pub(crate) fn settle(&self, is_duplicate: Result<bool, &Error>) {
        match is_duplicate {
            Ok(true) => self.deduplicated.fetch_add(1, Relaxed),
            Ok(false) => self.stored.fetch_add(1, Relaxed),
            Err(error) => {
                tracing::debug!(kind = error.kind().as_str(), %error, "upload refused");
                let at = ErrorKind::ALL.iter().position(|kind| *kind == error.kind());
                at.and_then(|at| self.rejected.get(at)).map_or(0, |counter| counter.fetch_add(1, Relaxed))
            }
        };
    }

    pub(crate) fn read(&self) -> Counters {
        let mut rejected = ErrorKind::ALL.map(|kind| (kind.as_str(), 0));
        for (out, counter) in rejected.iter_mut().zip(&self.rejected) {
            out.1 = counter.load(Relaxed);
        }
        Counters {
            received: self.received.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
            stored: self.stored.load(Relaxed),
            deduplicated: self.deduplicated.load(Relaxed),
            samples: self.samples.load(Relaxed),
            labels_dropped: self.labels_dropped.load(Relaxed),
            stacks_cut: self.stacks_cut.load(Relaxed),
            strings_cut: self.strings_cut.load(Relaxed),
            rejected,
        }
    }
}
