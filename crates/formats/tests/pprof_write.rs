//! What is written is read again, and Go's own tool opens it.

mod message;

use everflame_formats::{Limits, pprof};
use everflame_profile::{
    Frame, FrameKind, Location, Mapping, Profile, SampleLabel, Samples, StringIndex, Symbols, ValueType,
};
use message::valid;
use proptest::prelude::*;
use std::sync::Arc;

/// A profile as its reader leaves it: named frames without addresses, the outermost frame not inlined.
fn profiles() -> impl Strategy<Value = Profile> {
    let run = prop::collection::vec((0u8..5, -1i64..4, 0u8..3, any::<bool>()), 1..4);
    let sample =
        (prop::collection::vec(0usize..6, 0..6), any::<[i64; 2]>(), prop::collection::vec(0u8..4, 0..3));
    let head = (any::<[i64; 3]>(), prop::option::of(0usize..2), prop::collection::vec("[a-z]{0,3}", 0..3));
    (prop::collection::vec(run, 6), prop::collection::vec(sample, 0..12), head).prop_map(build)
}

type Run = Vec<(u8, i64, u8, bool)>;
type Sample = (Vec<usize>, [i64; 2], Vec<u8>);
type Head = ([i64; 3], Option<usize>, Vec<String>);

fn build((runs, drawn, head): (Vec<Run>, Vec<Sample>, Head)) -> Profile {
    let mut symbols = Symbols::default();
    let mut text = |text: &str| symbols.strings.push(text);
    let names: Vec<StringIndex> =
        ["", "main", "work", "read", "main.<T>"].iter().map(|name| text(name)).collect();
    let files = [text("/bin/app"), text("[kernel.kallsyms]")];
    let build_id = text("abc");
    let labels: Vec<StringIndex> = ["a", "b", "c", "ü"].iter().map(|name| text(name)).collect();
    for file in files {
        symbols.mappings.push(Mapping { file, build_id, ..Mapping::default() });
        let (memory_start, memory_limit) = (0x1000, u64::MAX);
        symbols.mappings.push(Mapping { file, build_id, memory_start, memory_limit, file_offset: 7 });
    }
    let mut locations = Vec::new();
    for run in &runs {
        let first = symbols.frames.len() as u32;
        let mapping = run[0].2;
        let kind = if mapping == 2 { FrameKind::Kernel } else { FrameKind::Unknown };
        for (nth, &(name, line, _, has_file)) in run.iter().enumerate() {
            let named = name != 0;
            symbols.frames.push(Frame {
                function: names[name as usize],
                system_name: if name == 3 { names[4] } else { 0 },
                file: if named && has_file { files[0] } else { 0 },
                line: if named { line } else { 0 },
                start_line: if named { 3 } else { 0 },
                mapping: match mapping {
                    0 => 0,
                    _ => u32::from(mapping) * 2 - u32::from(named),
                },
                address: if named { 0 } else { 0x1234 },
                kind,
                inlined: nth + 1 < run.len(),
            });
        }
        locations.push(Location { first, count: run.len() as u32 });
    }
    let mut samples = Samples::default();
    for (stack, values, keys) in drawn {
        let stack: Vec<u32> = stack.into_iter().map(|location| location as u32).collect();
        let pairs: Vec<SampleLabel> = keys
            .into_iter()
            .map(|key| SampleLabel { key: labels[key as usize], value: labels[3 - key as usize] })
            .collect();
        samples.push(&stack, &values, &pairs);
    }
    let ([time, duration, period], default_sample_type, comments) = head;
    Profile {
        sample_types: vec![ValueType::new("samples", "count"), ValueType::new("cpu", "nanoseconds")],
        default_sample_type,
        period_type: ValueType::new("cpu", ""),
        period,
        time,
        duration,
        symbols: Arc::new(symbols),
        locations: Arc::new(locations),
        samples,
        comments,
    }
}

/// Everything that a profile says, without the positions in its tables. A location that mixes named frames
/// and others has one mapping in pprof: whether with addresses is up to each frame again when it is read.
fn outline(profile: &Profile) -> Vec<String> {
    let text = |index| profile.symbols.strings.get(index);
    let mut lines = vec![format!(
        "{:?} {:?} {:?} {} {} {} {:?}",
        profile.sample_types,
        profile.default_sample_type,
        profile.period_type,
        profile.period,
        profile.time,
        profile.duration,
        profile.comments
    )];
    for sample in 0..profile.samples.len() {
        let mut line = format!("{:?}", profile.values(sample));
        for label in profile.samples.labels(sample) {
            line += &format!(" {}={}", text(label.key), text(label.value));
        }
        for frame in profile.frames(sample) {
            let Mapping { file, build_id, memory_start, memory_limit, file_offset } =
                profile.symbols.mapping(frame.mapping);
            line += &format!(
                "\n  {:?} {:?} {:?} {} {} {:x} {:?} {} [{:?} {:?} {memory_start:x} {memory_limit:x} {file_offset}]",
                text(frame.function),
                text(frame.system_name),
                text(frame.file),
                frame.line,
                frame.start_line,
                frame.address,
                frame.kind,
                frame.inlined,
                text(file),
                text(build_id),
            );
        }
        lines.push(line);
    }
    lines
}

/// Whether all frames of each location are named, or none.
fn is_pure(profile: &Profile) -> bool {
    profile.locations.iter().all(|location| {
        let frames =
            &profile.symbols.frames[location.first as usize..(location.first + location.count) as usize];
        match frames {
            [_] => true,
            frames => frames.iter().all(|frame| frame.function != 0),
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_can_be_read(profile in profiles().prop_filter("mixed location", is_pure)) {
        let read = pprof::read(&pprof::write(&profile), &Limits::default()).unwrap().profile;
        prop_assert_eq!(outline(&read), outline(&profile));
        // Once read it is at rest: the same bytes come out for ever.
        let bytes = pprof::write(&read);
        let again = pprof::read(&bytes, &Limits::default()).unwrap().profile;
        prop_assert_eq!(&pprof::write(&again), &bytes);
        prop_assert_eq!(read.stack_ids(), again.stack_ids());
    }

    #[test]
    fn mixed_locations_do_not_break_it(profile in profiles()) {
        let read = pprof::read(&pprof::write_uncompressed(&profile), &Limits::default()).unwrap().profile;
        prop_assert_eq!(read.totals(), profile.totals());
        prop_assert_eq!(read.samples.len(), profile.samples.len());
    }
}

#[test]
fn inlined_frames_share_a_location() {
    let mut profile = pprof::read(&valid().0, &Limits::default()).unwrap().profile;
    // As query results come: a location for each frame.
    let frames = profile.symbols.frames.len() as u32;
    let stacks: Vec<Vec<u32>> = (0..profile.samples.len())
        .map(|sample| {
            let locations = profile.samples.stack(sample).iter().map(|&at| profile.locations[at as usize]);
            locations.flat_map(|location| location.first..location.first + location.count).collect()
        })
        .collect();
    let before = profile.clone();
    profile.locations = Arc::new((0..frames).map(|first| Location { first, count: 1 }).collect());
    profile.samples.locations = stacks.concat();
    profile.samples.stack_ends = stacks
        .iter()
        .scan(0, |end, stack| {
            *end += stack.len() as u32;
            Some(*end)
        })
        .collect();
    assert_eq!(pprof::write(&profile), pprof::write(&before));
}

/// Runs `go tool pprof` where Go is installed; its own checks are stricter than any of ours.
#[test]
fn go_opens_it_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile.pb.gz");
    let mut profile = pprof::read(&valid().0, &Limits::default()).unwrap().profile;
    // The binary is not here: with a frame that has no name Go would look for it and say so.
    let symbols = profile.symbols_mut();
    let unnamed = symbols.frames.iter_mut().find(|frame| frame.function == 0).unwrap();
    (unnamed.function, unnamed.address, unnamed.mapping) = (symbols.strings.push("leaf"), 0, 0);
    std::fs::write(&path, pprof::write(&profile)).unwrap();
    let output = std::process::Command::new("go").args(["tool", "pprof", "-traces"]).arg(&path).output();
    let output = match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        output => output.unwrap(),
    };
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8_lossy(&output.stdout);
    for part in ["Type: cpu", "Duration: 10ns", "thread:  ui", "leaf", "work (inline)", "main"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}
