//! Random schedules of everything that a lake does, on a disk and a bucket that fail, with crashes at any
//! operation: what was acknowledged is there exactly once after each restart, in single rows and in all sums,
//! until it is deleted or too old, and nothing else is.
//!
//! A schedule is made from its seed alone: time, randomness, disk and bucket are simulated, and one thing
//! happens after the other, as the threads of a lake would do it one after the other. CONTRIBUTING.md tells
//! how to run many and how to repeat one.

mod held;
mod model;
mod objects;
mod schedule;
mod uploads;

use everflame_profile::{Clock, Nanos};
use parking_lot::Mutex;
use schedule::Schedule;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use tokio::runtime::Runtime;

/// Seeds that every run tries.
const SEEDS: u64 = 300;
/// Schedules that run at once.
const THREADS: u64 = 2;
/// A run ends early after so many failures.
const MOST_FAILURES: usize = 10;
/// 2026-08-01T00:00:00Z.
const MIDNIGHT: Nanos = 1_785_542_400_000_000_000;
const SECOND: Nanos = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;
const DAY_MICROS: i64 = DAY_SECONDS * 1_000_000;

#[test]
fn random_schedules_lose_nothing() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seeds = match number("EVERFLAME_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("EVERFLAME_SIM_FIRST").unwrap_or_default();
            first..first + number("EVERFLAME_SIM_SEEDS").unwrap_or(SEEDS)
        }
    };
    let runtime = runtime();
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end || failed.lock().len() >= MOST_FAILURES {
                return;
            }
            let run = || runtime.block_on(Schedule::new(seed).run());
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                eprintln!("the schedule failed; to repeat it: EVERFLAME_SIM_SEED={seed}");
                failed.lock().push(seed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..number("EVERFLAME_SIM_THREADS").unwrap_or(THREADS) {
            scope.spawn(work);
        }
    });
    assert_eq!(*failed.lock(), [0; 0], "these seeds failed");
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
}

#[derive(Debug)]
struct SimClock(AtomicI64);

impl Clock for SimClock {
    fn now(&self) -> Nanos {
        self.0.load(Relaxed)
    }
}
