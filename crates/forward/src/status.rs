//! What became of what was spooled, for `/metrics` and the record of what was dropped.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why something was not sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnsentReason {
    /// The spool was full: the other end was away for too long.
    SpoolFull,
    /// The other end said that it does not take it.
    Refused,
    /// It could not be written to the spool, or not be read from it.
    Spool,
}

impl UnsentReason {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::SpoolFull, Self::Refused, Self::Spool];

    /// A name for metrics: `spool_full`, `refused`, `spool`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SpoolFull => "spool_full",
            Self::Refused => "refused",
            Self::Spool => "spool",
        }
    }
}

/// Profiles of one service that were stored here, and not sent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsent {
    /// The service; empty when it is not known.
    pub service: String,
    /// Why.
    pub reason: UnsentReason,
    /// How many.
    pub profiles: u64,
    /// Bytes of the spool that they took.
    pub bytes: u64,
    /// What was said about it.
    pub message: String,
}

/// A reading of all counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardStatus {
    /// Profiles that the other end took.
    pub sent: u64,
    /// Bytes of the spool that they took.
    pub sent_bytes: u64,
    /// Requests that failed and were, or will be, tried again.
    pub retries: u64,
    /// Uploads that this server had sent on, and that came back to it.
    pub returned: u64,
    /// Profiles that were not sent on, in the order of [`UnsentReason::ALL`].
    pub dropped: [u64; UnsentReason::ALL.len()],
    /// Bytes on disk that are still to be sent.
    pub spool_bytes: u64,
    /// Bound of what is on disk.
    pub spool_limit: u64,
    /// Nanoseconds since the oldest that is still to be sent came in; 0 when there is nothing.
    pub lag: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sent: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) returned: AtomicU64,
    dropped: [AtomicU64; UnsentReason::ALL.len()],
}

impl Counters {
    pub(crate) fn drop(&self, unsent: &Unsent) {
        let at = UnsentReason::ALL.iter().position(|reason| *reason == unsent.reason);
        if let Some(counter) = at.and_then(|at| self.dropped.get(at)) {
            counter.fetch_add(unsent.profiles, Relaxed);
        }
    }

    pub(crate) fn read(&self) -> ForwardStatus {
        ForwardStatus {
            sent: self.sent.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
            retries: self.retries.load(Relaxed),
            returned: self.returned.load(Relaxed),
            dropped: self.dropped.each_ref().map(|counter| counter.load(Relaxed)),
            ..ForwardStatus::default()
        }
    }
}
