//! The heap profiler as the global allocator of this test.
#![allow(clippy::unwrap_used)]
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use everflame_profile::Profile;
use everflame_sdk::heap::{self, Sampled};
use std::alloc::System;
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: Sampled<System> = Sampled(System);

const OBJECTS: usize = 200_000;
const SIZE: usize = 4096;

#[inline(never)]
fn allocate_and_keep() -> Vec<Vec<u8>> {
    (0..OBJECTS / 4).map(|_| black_box(Vec::with_capacity(SIZE))).collect()
}

#[inline(never)]
fn allocate_and_drop() {
    (0..OBJECTS).for_each(|_| drop(black_box(Vec::<u8>::with_capacity(SIZE))));
}

/// Sums of the four sample types over stacks in which a function of this name occurs.
fn sums(profile: &Profile, name: &str) -> [i64; 4] {
    let mut sums = [0; 4];
    for sample in 0..profile.samples.len() {
        if profile.frames(sample).any(|frame| profile.symbols.name(frame).contains(name)) {
            sums.iter_mut().zip(profile.values(sample)).for_each(|(sum, value)| *sum += value);
        }
    }
    sums
}

#[track_caller]
fn near(seen: i64, truth: usize) {
    // 400 and more samples: one standard deviation is under 5 %.
    let error = (seen as f64 / truth as f64 - 1.0).abs();
    assert!(error < 0.25, "{seen} instead of {truth}");
}

#[test]
fn sums_are_near_the_truth() {
    heap::collect(1).unwrap();
    let kept = std::thread::scope(|scope| {
        scope.spawn(allocate_and_drop);
        scope.spawn(allocate_and_keep).join().unwrap()
    });
    let profile = heap::collect(5).unwrap();
    assert_eq!((profile.time, profile.duration), (1, 4));
    let dropped = sums(&profile, "allocate_and_drop");
    near(dropped[0], OBJECTS);
    near(dropped[1], OBJECTS * SIZE);
    assert_eq!((dropped[2], dropped[3]), (0, 0));
    let live = sums(&profile, "allocate_and_keep");
    near(live[1], OBJECTS / 4 * SIZE);
    near(live[2], OBJECTS / 4);
    near(live[3], OBJECTS / 4 * SIZE);
    // The leaf is the program's own call, not ours.
    for sample in 0..profile.samples.len() {
        let leaf = profile.frames(sample).next();
        let ours = |leaf: &everflame_profile::Frame| {
            profile.symbols.name(leaf).contains("everflame_sdk::heap")
                || profile.symbols.strings.get(leaf.file).ends_with("sdk/src/heap.rs")
        };
        assert!(!leaf.is_some_and(ours), "{}", profile.symbols.name(leaf.unwrap()));
    }
    drop(kept);
    let after = heap::collect(9).unwrap();
    assert_eq!(sums(&after, "allocate_and_keep"), [0; 4]);
}
