//! What the readers of `everflame-formats` say, as errors and counters of this crate.

use crate::counters::LiveCounters;
use crate::error::{Error, ErrorKind};
use everflame_formats::Cuts;
use std::sync::atomic::Ordering::Relaxed;

/// Counts what a reader had to shorten.
pub(crate) fn count(Cuts { stacks, strings }: Cuts, counters: &LiveCounters) {
    counters.stacks_cut.fetch_add(u64::from(stacks), Relaxed);
    counters.strings_cut.fetch_add(u64::from(strings), Relaxed);
}

impl From<everflame_formats::Error> for Error {
    fn from(error: everflame_formats::Error) -> Self {
        use everflame_formats::ErrorKind as Kind;
        let kind = match error.kind() {
            Kind::TooLarge => ErrorKind::TooLarge,
            Kind::Malformed | Kind::Unsupported | Kind::UnnamedType => ErrorKind::Unprocessable,
        };
        Self::new(kind, error.to_string())
    }
}
