//! The system's clock, passed into everything that needs the time.

use everflame_profile::{Clock, Nanos};
use std::time::{SystemTime, UNIX_EPOCH};

/// Reads the system's clock.
#[derive(Debug, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // This is the one place where the system's clock is read.
    fn now(&self) -> Nanos {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Nanos::try_from(since.as_nanos()).unwrap_or(Nanos::MAX)
    }
}
