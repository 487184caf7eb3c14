//! Builds whose debug information could not be read to the end, and whether that is tried again.
//!
//! Files that break their reader would do so each time, so they are tried a few times in the life of the server.
//! What came from outside passes: then it is tried again after a while, at first soon.

use crate::build_id::BuildId;
use crate::worker::End;
use everflame_profile::Nanos;
use hashbrown::HashMap;

/// So often files may break their reader.
const MAX_BROKEN: u32 = 3;
/// So often in succession it may be stopped from outside.
const MAX_STOPPED: u32 = 6;
/// How long to wait after it was stopped; each time twice as long.
pub(crate) const PAUSE: Nanos = 30_000_000_000;
/// Builds that are remembered.
const MAX_BUILDS: usize = 10_000;

/// What is known of them.
#[derive(Default)]
pub(crate) struct Breakdowns(HashMap<BuildId, Breakdown>);

struct Breakdown {
    /// The files that it is of: others are tried anew.
    files: String,
    broken: u32,
    stopped: u32,
    /// Before this nothing is tried.
    until: Nanos,
}

impl Breakdowns {
    /// Whether to read the debug information of a build now.
    pub(crate) fn may_read(&self, build: &BuildId, files: &str, now: Nanos) -> bool {
        self.0.get(build).filter(|known| known.files == files).is_none_or(|known| {
            known.broken < MAX_BROKEN && known.stopped < MAX_STOPPED && now >= known.until
        })
    }

    /// Notes how reading it ended.
    pub(crate) fn note(&mut self, build: &BuildId, files: &str, end: End, now: Nanos) {
        if end == End::Done && !self.0.contains_key(build) {
            return;
        }
        if self.0.len() >= MAX_BUILDS && !self.0.contains_key(build) {
            self.0.clear();
        }
        let new = || Breakdown { files: files.to_owned(), broken: 0, stopped: 0, until: 0 };
        let known = self.0.entry(build.clone()).or_insert_with(new);
        if known.files != files {
            *known = new();
        }
        match end {
            End::Done => (known.stopped, known.until) = (0, 0),
            End::Broken => known.broken += 1,
            End::Stopped => {
                known.until = now.saturating_add(PAUSE << known.stopped.min(MAX_STOPPED));
                known.stopped += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_tried_a_few_times_and_after_stops_with_pauses() {
        let build = BuildId::parse("abcd").unwrap();
        let mut all = Breakdowns::default();
        for _ in 0..MAX_BROKEN {
            assert!(all.may_read(&build, "first", 5));
            all.note(&build, "first", End::Broken, 5);
            all.note(&build, "first", End::Done, 5);
        }
        assert!(!all.may_read(&build, "first", Nanos::MAX));
        assert!(all.may_read(&build, "second", 5));
        let (mut now, mut tries) = (5, 0);
        while all.may_read(&build, "second", now) {
            all.note(&build, "second", End::Stopped, now);
            assert!(!all.may_read(&build, "second", now + (PAUSE << tries) - 1));
            now += PAUSE << tries;
            tries += 1;
        }
        assert_eq!(tries, MAX_STOPPED);
        all.note(&build, "second", End::Done, now);
        assert!(all.may_read(&build, "second", 5));
    }
}
