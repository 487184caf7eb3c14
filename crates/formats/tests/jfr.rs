//! Recordings of real recorders against what the JDK's `jfr` tool says about them.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not recognised as tests")]

use everflame_formats::{Format, Limits, Part, Parts, folded, gzip, jfr};

fn recording(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/jfr/{name}.jfr.gz", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

fn read(bytes: &[u8]) -> Parts {
    jfr::read(bytes, &jfr::Options::default(), &Limits::default()).unwrap()
}

/// One line for each part: name, types with their totals, distinct stacks.
fn shown(parts: &Parts) -> Vec<String> {
    let line = |part: &Part| {
        let Part { name, profile, .. } = part;
        let types = profile.sample_types.iter().zip(profile.totals());
        let types: Vec<_> =
            types.map(|(types, total)| format!("{}:{}={total}", types.kind, types.unit)).collect();
        let stacks = folded::write(profile, 0).lines().count();
        format!("{name} {} stacks={stacks}", types.join(" "))
    };
    parts.parts.iter().map(line).collect()
}

#[test]
fn async_profiler_2_with_locks() {
    let parts = read(&recording("async-profiler-2.9"));
    assert_eq!(
        shown(&parts),
        [
            "process_cpu cpu:nanoseconds=70000000 stacks=7",
            "memory alloc_in_new_tlab_objects:count=5 alloc_in_new_tlab_bytes:bytes=13194352 stacks=1",
            "mutex contentions:count=13 delay:nanoseconds=366410847 stacks=2",
            "block contentions:count=13 delay:nanoseconds=332947518 stacks=2",
        ]
    );
    assert_eq!(parts.parts[0].labels, [("jfr_event".to_owned(), "itimer".to_owned())]);
    assert_eq!(
        (parts.parts[0].profile.period, parts.parts[2].profile.period_type.kind.as_str()),
        (5_000_000, "mutex")
    );
    assert!(
        folded::write(&parts.parts[2].profile, 0).contains(
            "java/lang/Thread.run;Work$$Lambda_.run;Work.lambda$main$7;Work$$Lambda_.run;Work.lambda$main$3;Work.locked "
        )
    );
}

#[test]
fn async_profiler_3_in_wall_clock_mode() {
    let parts = read(&recording("async-profiler-3.0"));
    // Threads that sleep are not on the CPU: 50 of 455 samples are.
    assert_eq!(
        shown(&parts),
        [
            "process_cpu cpu:nanoseconds=1000000000 stacks=16",
            "wall wall:nanoseconds=9100000000 stacks=23",
            "memory alloc_in_new_tlab_objects:count=35 alloc_in_new_tlab_bytes:bytes=86943280 stacks=2",
            "memory live:count=32 stacks=2",
        ]
    );
}

#[test]
fn async_profiler_4_with_wall_clock_batches_and_native_memory() {
    let parts = read(&recording("async-profiler-4.1"));
    assert_eq!(
        shown(&parts),
        [
            "process_cpu cpu:nanoseconds=130000000 stacks=7",
            "wall wall:nanoseconds=15920000000 stacks=27",
            "memory malloc_objects:count=16 malloc_bytes:bytes=436860 stacks=13",
        ]
    );
}

#[test]
fn the_jdk_with_short_stacks() {
    let parts = read(&recording("jdk-17"));
    assert_eq!(
        shown(&parts),
        [
            "process_cpu cpu:nanoseconds=30000000 stacks=1",
            "memory alloc_sample_objects:count=181 alloc_sample_bytes:bytes=105330384 stacks=7",
            "mutex contentions:count=7 delay:nanoseconds=318419556 stacks=2",
            "block contentions:count=9 delay:nanoseconds=318688720 stacks=2",
        ]
    );
    // What the recorder cut off is said on the root side.
    assert!(folded::write(&parts.parts[0].profile, 0).starts_with("[truncated];"));
}

#[test]
fn the_jdk_with_cpu_time() {
    let recorded = gzip::inflate(&recording("jdk-25"), &Limits::default()).unwrap();
    let parts = read(&recorded);
    // 31 samples of 5 ms, 10 of 10 ms and 5 of 15 ms.
    assert_eq!(shown(&parts), ["process_cpu cpu:nanoseconds=330000000 stacks=20"]);
    assert_eq!(parts.parts[0].profile.period, 5_000_000);
    // What the JDK samples without a clock is the same time, and less true.
    let other = gzip::inflate(&recording("jdk-17"), &Limits::default()).unwrap();
    for both in [[recorded.as_slice(), &other], [&other, &recorded]] {
        let shown = shown(&read(&both.concat()));
        assert_eq!(shown[0], "process_cpu cpu:nanoseconds=330000000 stacks=20");
        assert_eq!(shown.iter().filter(|part| part.starts_with("process_cpu")).count(), 1);
    }
}

#[test]
fn chunks_follow_each_other() {
    let one = gzip::inflate(&recording("async-profiler-2.9"), &Limits::default()).unwrap();
    let two = gzip::inflate(&recording("jdk-17"), &Limits::default()).unwrap();
    let parts = read(&[one.as_slice(), &two, &one].concat());
    let mutex = parts.parts.iter().find(|part| part.name == "mutex").unwrap();
    // Two times the one, with its own clock, and once the other.
    assert_eq!(mutex.profile.totals(), [13 + 7 + 13, 2 * 366_410_847 + 318_419_556]);
    assert_eq!(folded::write(&mutex.profile, 0).lines().count(), 2);
}

#[test]
fn the_sender_knows_the_period() {
    let options = jfr::Options { period: Some(1_000), ..jfr::Options::default() };
    let parts = jfr::read(&recording("async-profiler-2.9"), &options, &Limits::default()).unwrap();
    assert_eq!(parts.parts[0].profile.totals(), [14_000]);
}

#[test]
fn recordings_are_recognised_and_cut_ones_refused() {
    let bytes = recording("async-profiler-2.9");
    assert_eq!(Format::detect(&bytes, &Limits::default()), Some(Format::Jfr));
    let plain = gzip::inflate(&bytes, &Limits::default()).unwrap();
    for cut in (1..plain.len()).step_by(97) {
        let error = jfr::read(&plain[..cut], &jfr::Options::default(), &Limits::default()).unwrap_err();
        assert!(error.to_string().contains("cut off") || error.to_string().contains("FLR"), "{error}");
    }
}

#[test]
fn damaged_recordings_are_read_or_refused() {
    let plain = gzip::inflate(&recording("async-profiler-2.9"), &Limits::default()).unwrap();
    let limits = Limits { entries: 1 << 18, samples: 1_000, table_entries: 50_000, ..Limits::default() };
    for at in 0..plain.len() {
        let mut damaged = plain.clone();
        damaged[at] ^= [0xff, 0x01, 0x80][at % 3];
        if at % 5 == 0
            && let Ok(parts) = jfr::read(&damaged, &jfr::Options::default(), &limits)
        {
            parts.parts.iter().for_each(|part| drop(part.profile.stack_ids()));
        }
    }
}
