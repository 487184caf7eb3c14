//! Bytes to profiles: the readers of `everflame-formats`, with the errors and counters of this crate.

use crate::counters::LiveCounters;
use crate::error::{Error, ErrorKind};
use everflame_formats::{Cuts, Decoded, Limits, folded, pprof};
use everflame_profile::Profile;
use std::sync::atomic::Ordering::Relaxed;

pub(crate) fn pprof(bytes: &[u8], limits: &Limits, counters: &LiveCounters) -> Result<Profile, Error> {
    profile(pprof::read(bytes, limits), counters)
}

pub(crate) fn folded(
    bytes: &[u8],
    lines: folded::Lines,
    limits: &Limits,
    counters: &LiveCounters,
) -> Result<Profile, Error> {
    profile(folded::read(bytes, lines, limits), counters)
}

fn profile(
    result: Result<Decoded, everflame_formats::Error>,
    counters: &LiveCounters,
) -> Result<Profile, Error> {
    let Decoded { profile, cuts: Cuts { stacks, strings } } = result?;
    counters.stacks_cut.fetch_add(u64::from(stacks), Relaxed);
    counters.strings_cut.fetch_add(u64::from(strings), Relaxed);
    Ok(profile)
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
