//! The server's own CPU and heap profiles, stored like those of any other program.

use everflame_ingest::Ingest;
use everflame_profile::{Clock, Profile};
use everflame_sdk::{CpuProfiler, DEFAULT_HZ, heap};
use std::sync::Arc;
use std::time::Duration;

/// Service under which the profiles are stored.
const SERVICE: &str = "everflame";

/// How long the first profiles take, so that a new server soon has something to show: an idle one has hardly
/// used the CPU before the first, and the second has what symbolizing the first took.
const FIRST: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(6)];

/// How long every other one takes.
const INTERVAL: Duration = Duration::from_secs(15);

/// What one round has collected.
struct Round {
    profiler: CpuProfiler,
    cpu: Profile,
    heap: Result<Profile, everflame_sdk::Error>,
}

/// Profiles this process until the task is aborted. Where that is impossible it says so once, and ends.
pub(crate) async fn run(ingest: Arc<Ingest>, clock: Arc<dyn Clock>) {
    let mut profiler = match CpuProfiler::start(DEFAULT_HZ, clock.now()) {
        Ok(profiler) => profiler,
        Err(error) => {
            tracing::warn!(%error, "the server does not profile itself");
            return;
        }
    };
    let waits = FIRST.into_iter().chain(std::iter::repeat(INTERVAL));
    for wait in waits {
        tokio::time::sleep(wait).await;
        let clock = clock.clone();
        let round = tokio::task::spawn_blocking(move || {
            let cpu = profiler.collect(clock.now());
            Round { cpu, heap: heap::collect(clock.now()), profiler }
        });
        let Ok(round) = round.await else {
            tracing::warn!("collecting the server's own profile failed; it does not profile itself any more");
            return;
        };
        profiler = round.profiler;
        store(&ingest, "process_cpu", round.cpu).await;
        match round.heap {
            Ok(heap) => store(&ingest, "memory", heap).await,
            Err(error) => tracing::warn!(%error, "no heap profile of the server"),
        }
    }
}

async fn store(ingest: &Ingest, name: &str, profile: Profile) {
    let labels = vec![("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    if let Err(error) = ingest.profile(SERVICE, labels, name, profile).await {
        tracing::warn!(%error, name, "the server's own profile was not stored");
    }
}
