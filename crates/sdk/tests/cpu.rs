//! The CPU profiler on real threads. There is one in a process, so the tests take turns.
#![allow(clippy::unwrap_used)]
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use everflame_profile::Profile;
use everflame_sdk::{CpuProfiler, Error};
use std::hint::black_box;
use std::sync::{Mutex, MutexGuard, PoisonError};

static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[inline(never)]
fn burn_here(rounds: u64) -> u64 {
    (0..rounds).fold(1, |sum, round| black_box(sum ^ round.wrapping_mul(sum | 1)))
}

#[inline(never)]
fn dive(depth: u32) -> u64 {
    if depth == 0 { burn_here(200_000_000) } else { black_box(dive(depth - 1)) + 1 }
}

/// Nanoseconds in stacks in which a function of this name occurs.
fn time_in(profile: &Profile, name: &str) -> i64 {
    (0..profile.samples.len())
        .filter(|&sample| profile.frames(sample).any(|frame| profile.symbols.name(frame).contains(name)))
        .map(|sample| profile.values(sample)[1])
        .sum()
}

#[test]
fn two_burning_threads_dominate() {
    let _turn = turn();
    let mut profiler = CpuProfiler::start(199, 1_000).unwrap();
    std::thread::scope(|scope| {
        for at in 0..2 {
            let thread = std::thread::Builder::new().name(format!("burner-{at}"));
            thread.spawn_scoped(scope, || black_box(burn_here(500_000_000))).unwrap();
        }
    });
    let profile = profiler.collect(5_000);
    let total = profile.totals()[1];
    assert!(total > 0 && time_in(&profile, "burn_here") * 10 > total * 9, "{profile:?}");
    assert_eq!((profile.time, profile.duration, profile.period), (1_000, 4_000, 5_025_000));
    assert_eq!(profiler.lost(), 0);
    let frame =
        profile.symbols.frames.iter().find(|frame| profile.symbols.name(frame).ends_with("burn_here"));
    let frame = frame.unwrap();
    let text = |index| profile.symbols.strings.get(index);
    assert!(text(frame.file).ends_with("tests/cpu.rs") && frame.line > 0 && frame.address == 0);
    assert!(text(profile.symbols.mapping(frame.mapping).file).starts_with('/'));
    let threads: Vec<_> = profile.samples.labels.iter().map(|label| text(label.value)).collect();
    assert!(threads.contains(&"burner"), "{threads:?}");
    assert_eq!(profiler.collect(6_000).time, 5_000);
}

#[test]
fn a_deep_stack_is_cut_at_the_root() {
    let _turn = turn();
    let mut profiler = CpuProfiler::start(500, 0).unwrap();
    black_box(dive(5_000));
    let profile = profiler.collect(1);
    assert!(time_in(&profile, "dive") > 0);
    assert!((0..profile.samples.len()).all(|sample| profile.samples.stack(sample).len() <= 253));
}

#[test]
fn threads_come_and_go() {
    let _turn = turn();
    let mut profiler = CpuProfiler::start(1000, 0).unwrap();
    for _ in 0..300 {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| black_box(burn_here(300_000)));
            }
        });
    }
    assert!(profiler.collect(1).totals()[0] > 0);
}

#[test]
fn there_is_one_at_a_time_and_it_can_start_again() {
    let _turn = turn();
    for cycle in 0..10_000 {
        let mut profiler = CpuProfiler::start(99, cycle).unwrap();
        if cycle == 0 {
            assert!(matches!(CpuProfiler::start(99, 0), Err(Error::AlreadyRunning)));
        }
        assert_eq!(profiler.collect(cycle + 1).duration, 1);
    }
    assert!(resident_kilobytes() < 200_000, "{} kB", resident_kilobytes());
    assert!(matches!(CpuProfiler::start(0, 0), Err(Error::Rate(0))));
    assert!(matches!(CpuProfiler::start(1001, 0), Err(Error::Rate(1001))));
}

fn resident_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
