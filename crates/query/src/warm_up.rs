//! Asks a first question in place of the first user, so that the threads of the scans with their buffers
//! and the code are in memory when that one comes.

use crate::{Engine, Limits, Selector, StackQuery, TimeRange};
use everflame_profile::Nanos;
use std::time::Duration;

/// The newest profiles: those of so many nanoseconds.
const NEWEST: Nanos = 600 * 1_000_000_000;

/// What the question may cost at most: no more than some milliseconds.
const ROWS: u64 = 1 << 20;

impl Engine {
    /// Makes the flame graph of one type over the newest profiles, and drops it. What fails, or would cost
    /// too much, is left to who asks for it.
    pub async fn warm_up(&self) {
        let Some(bounds) = self.bounds() else { return };
        let range = TimeRange::new(bounds.last.saturating_sub(NEWEST), bounds.last);
        let Some(profile_type) = self.profile_types(range).into_iter().next_back() else { return };
        let limits = Limits { rows: ROWS, time: Duration::from_secs(1), ..self.limits().clone() };
        let query = StackQuery::new(profile_type, Selector::all(), range);
        if let Ok(found) = self.with_limits(limits).stacks(&query).await {
            drop(tokio::task::spawn_blocking(move || found.tree()).await);
        }
    }
}
