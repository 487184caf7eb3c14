//! What the pprof reader makes of messages, right and wrong.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not recognised as tests")]

mod message;

use everflame_formats::{Decoded, Error, ErrorKind, Limits, gzip, pprof};
use everflame_profile::{FrameKind, Profile};
use message::{Message, message, valid};

fn read(message: &Message) -> Result<Decoded, Error> {
    pprof::read(&message.0, &Limits::default())
}

/// A line per sample: frames leaf first as `name:line@address[mapping]`, `~` where inlined; values; labels.
fn outline(profile: &Profile) -> Vec<String> {
    let text = |index| profile.symbols.strings.get(index);
    (0..profile.samples.len())
        .map(|sample| {
            let frames: Vec<String> = profile
                .frames(sample)
                .map(|frame| {
                    let mapping = profile.symbols.mapping(frame.mapping);
                    let address = match frame.address {
                        0 => String::new(),
                        _ => format!("@{:x}+{:x}", mapping.memory_start, frame.address),
                    };
                    let inlined = if frame.inlined { "~" } else { "" };
                    format!("{inlined}{}:{}{address}", profile.symbols.name(frame), frame.line)
                })
                .collect();
            let labels = profile.samples.labels(sample).iter();
            let labels: String =
                labels.map(|label| format!(" {}={}", text(label.key), text(label.value))).collect();
            format!("{} {:?}{labels}", frames.join(" "), profile.values(sample))
        })
        .collect()
}

#[track_caller]
fn check(message: Message, expect: &[&str]) {
    assert_eq!(outline(&read(&message).unwrap().profile), expect);
    let packed = gzip::deflate(&message.0);
    assert_eq!(outline(&pprof::read(&packed, &Limits::default()).unwrap().profile), expect);
}

#[track_caller]
fn refuse(message: Message, expect: &str) {
    assert_eq!(read(&message).unwrap_err().to_string(), expect);
}

/// A profile of one type over functions `a` (1) and `b` (2), without samples and locations.
fn start() -> Message {
    message().strings(&["", "cpu", "ns", "a", "b"]).sample_type(1, 2).function(1, 3).function(2, 4)
}

#[test]
fn reads_what_is_there() {
    check(valid(), &["0x2345:0@1000+2345 ~work:2 main:1 [5] thread=ui", "~work:2 main:1 [-2]"]);
    let profile = read(&valid()).unwrap().profile;
    assert_eq!((profile.time, profile.duration, profile.period), (1_700_000_000_000_000_000, 10, 100));
    assert_eq!((profile.period_type.kind.as_str(), profile.default_sample_type), ("cpu", None));
    let named = profile.frames(1).next().unwrap();
    let mapping = profile.symbols.mapping(named.mapping);
    assert_eq!((mapping.memory_start, mapping.memory_limit), (0, 0));
    assert_eq!(profile.symbols.strings.get(mapping.file), "/bin/app");
    assert_eq!(profile.symbols.strings.get(mapping.build_id), "abc123");
}

#[test]
fn ids_may_be_sparse_and_unordered() {
    check(
        start().location(1 << 40, 0, 0, &[2]).location(7, 0, 0, &[1]).sample(&[7, 1 << 40], &[1]),
        &["a:1 b:2 [1]"],
    );
    check(start().location(-1, 0, 0, &[2]).location(1, 0, 0, &[1]).sample(&[-1, 1], &[1]), &["b:2 a:1 [1]"]);
    check(start().location(0, 0, 0, &[1]).sample(&[0], &[1]), &["a:1 [1]"]);
}

#[test]
fn packed_and_unpacked_numbers_mix() {
    let sample = message().number(1, 1).packed(1, &[2, 1]).number(2, 4).number(1, 2);
    check(
        start().message(2, sample).location(1, 0, 0, &[1]).location(2, 0, 0, &[2]),
        &["a:1 b:2 a:1 b:2 [4]"],
    );
}

#[test]
fn a_stack_is_the_same_packed_or_not() {
    let ids: Vec<i64> = (0..9_000).map(|at| at * at % 300 + 1).collect();
    let tables = (1..=300).fold(start(), |message, id| message.location(id, 0, id, &[id % 2 + 1]));
    let label = || message().number(1, 3).number(2, 4);
    let rest = |sample: Message| tables.clone().message(2, sample.number(2, 7).message(3, label()));
    let limits = Limits { depth: ids.len(), ..Limits::default() };
    let outline = |message: Message| outline(&pprof::read(&message.0, &limits).unwrap().profile);
    let unpacked = outline(rest(ids.iter().fold(message(), |sample, &id| sample.number(1, id))));
    assert_eq!(unpacked, outline(rest(message().packed(1, &ids))));
    assert!(unpacked[0].starts_with("b:2 a:1") && unpacked[0].ends_with(" [7] a=b"), "{:.99}", unpacked[0]);
}

#[test]
fn a_table_may_hold_a_text_twice() {
    // Function 1 is called "f" and, by another index, "f": no system name of its own.
    let function = message().number(1, 1).number(2, 1).number(3, 2);
    let both = message().strings(&["", "f", "f"]).sample_type(1, 0).message(5, function);
    let profile = read(&both.location(1, 0, 0, &[1]).sample(&[1], &[1])).unwrap().profile;
    assert_eq!(profile.symbols.frames[0].system_name, 0);
}

#[test]
fn locations_without_address_or_line_are_frames() {
    check(start().location(1, 0, 0, &[]).sample(&[1, 1], &[1]), &["0x0:0 0x0:0 [1]"]);
    // A mapping that is not there, a line without a function.
    check(start().location(1, 9, 5, &[0]).sample(&[1], &[1]), &["0x5:0@0+5 [1]"]);
}

#[test]
fn old_dotnet_functions_take_the_ids_of_the_locations() {
    let functions = message().strings(&["", "cpu", "a", "b"]).sample_type(1, 0).function(0, 2).function(0, 3);
    check(functions.location(4, 0, 0, &[4]).location(5, 0, 0, &[5]).sample(&[5, 4], &[1]), &["b:5 a:4 [1]"]);
}

#[test]
fn bad_bytes_are_replaced_one_by_one() {
    let name = b"a\xe2\x82b\xff";
    let named = message().strings(&["", "cpu"]).bytes(6, name).sample_type(1, 0).function(1, 2);
    check(named.location(1, 0, 0, &[1]).sample(&[1], &[1]), &["a\u{fffd}\u{fffd}b\u{fffd}:1 [1]"]);
}

#[test]
fn kernel_mappings_are_known() {
    let mapped = start().strings(&["[kernel.kallsyms]"]).message(3, message().number(1, 3).number(5, 5));
    let profile = read(&mapped.location(1, 3, 0, &[1]).sample(&[1], &[1])).unwrap().profile;
    assert_eq!(profile.frames(0).next().unwrap().kind, FrameKind::Kernel);
}

#[test]
fn an_empty_profile_is_valid() {
    check(message().strings(&["", "cpu", "ns"]).sample_type(1, 2), &[]);
}

#[test]
fn the_default_type_is_found_by_name() {
    let profile = read(&start().sample_type(3, 2).number(14, 3)).unwrap().profile;
    assert_eq!(profile.default_sample_type, Some(1));
    assert_eq!(read(&start().number(14, 4)).unwrap().profile.default_sample_type, None);
}

#[test]
fn unnamed_types_are_left_to_the_caller() {
    let profile = read(&message().sample_type(0, 0)).unwrap().profile;
    let error = pprof::require_named_types(&profile).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnnamedType);
    assert!(error.to_string().starts_with("pprof: sample type 0: it has no name; "), "{error}");
}

#[test]
fn refuses_with_place_and_remedy() {
    const CUT_OFF: &str = "send the whole profile, unchanged (was it cut off?)";
    const SENDER: &str = "repair the program that writes the profile";
    refuse(message(), "pprof: message: it is empty; send a profile");
    refuse(
        message().strings(&["", "cpu"]),
        "pprof: message: it has no sample type, so that nothing says what is counted; send a pprof profile with \
         sample_type, gzip or plain",
    );
    refuse(
        start().sample(&[9], &[1]),
        &format!("pprof: sample 0: it refers to location 9, which is missing (0 locations); {CUT_OFF}"),
    );
    refuse(
        start().location(1, 0, 0, &[8]),
        &format!("pprof: location 0: it refers to function 8, which is missing (2 functions); {CUT_OFF}"),
    );
    refuse(
        start().function(3, 99),
        &format!("pprof: function 2: it refers to string 99, which is missing (5 strings); {CUT_OFF}"),
    );
    refuse(
        start().function(3, -1),
        &format!("pprof: function 2: it refers to string -1, which is missing (5 strings); {CUT_OFF}"),
    );
    refuse(
        start().sample(&[], &[1, 2]),
        &format!("pprof: sample 0: it has 2 values for 1 sample types; {SENDER}"),
    );
    refuse(
        start().sample(&[], &[]),
        &format!("pprof: sample 0: it has 0 values for 1 sample types; {SENDER}"),
    );
    refuse(start().function(1, 3), &format!("pprof: function 2: id 1 occurs twice; {SENDER}"));
    refuse(
        message().strings(&["cpu"]).sample_type(0, 0),
        "pprof: string table: its first entry is not empty, so that what index 0 means is open; begin the string \
         table with \"\"",
    );
    refuse(
        Message(b"heap profile: 3: 4 [5: 6] @ heap/1048576".to_vec()),
        "pprof: message: it is the text form of a heap profile; send pprof's protobuf (without debug=1)",
    );
}

#[test]
fn every_cut_is_refused_or_read() {
    let whole = valid().0;
    for end in 0..whole.len() {
        // Cut between two fields the rest may still make sense, but never with samples that lost something.
        if let Ok(decoded) = pprof::read(&whole[..end], &Limits::default()) {
            assert_eq!(decoded.profile.samples.len(), 2, "{end}");
        }
    }
}

#[test]
fn limits_hold() {
    let small =
        Limits { samples: 2, table_entries: 10, entries: 20, labels_per_sample: 1, ..Limits::default() };
    let kind = |message: &Message| pprof::read(&message.0, &small).map_err(|error| error.kind()).map(drop);
    let located = start().location(1, 0, 0, &[1]);
    assert_eq!(kind(&located.clone().sample(&[1], &[1]).sample(&[1], &[1])), Ok(()));
    let three = (0..3).fold(located.clone(), |message, _| message.sample(&[1], &[1]));
    assert_eq!(kind(&three), Err(ErrorKind::TooLarge));
    assert_eq!(kind(&located.clone().sample(&[1; 40], &[1])), Err(ErrorKind::TooLarge));
    // What counts are the frames of the locations that are used.
    let deep = located.clone().location(2, 0, 0, &[1; 9]);
    assert_eq!(kind(&deep.clone().sample(&[1; 9], &[1])), Ok(()));
    assert_eq!(kind(&deep.clone().sample(&[1; 9], &[1]).sample(&[1; 7], &[1])), Ok(()));
    assert_eq!(kind(&deep.clone().sample(&[1; 9], &[1]).sample(&[1; 8], &[1])), Err(ErrorKind::TooLarge));
    assert_eq!(kind(&deep.sample(&[2, 2], &[1]).sample(&[1], &[1])), Err(ErrorKind::TooLarge));
    assert_eq!(kind(&(3..20).fold(start(), |message, id| message.function(id, 1))), Err(ErrorKind::TooLarge));
    assert_eq!(kind(&(0..20).fold(start(), |message, _| message.strings(&["x"]))), Err(ErrorKind::TooLarge));
    let label = || message().number(1, 1).number(2, 2);
    let labels = message().packed(2, &[1]).message(3, label()).message(3, label());
    assert_eq!(kind(&start().message(2, labels)), Err(ErrorKind::TooLarge));
    let plain = Limits { inflated_bytes: 10, ..Limits::default() };
    assert_eq!(pprof::read(&valid().0, &plain).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(pprof::read(&gzip::deflate(&valid().0), &plain).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn deep_stacks_keep_their_root_side() {
    let limits = Limits { depth: 3, ..Limits::default() };
    let deep = start()
        .location(1, 0, 0, &[1])
        .location(2, 0, 0, &[2, 1])
        .location(3, 0, 0, &[2, 2, 2, 2, 1])
        .sample(&[1, 2, 1], &[1])
        .sample(&[2, 1], &[1])
        .sample(&[3], &[1]);
    let decoded = pprof::read(&deep.0, &limits).unwrap();
    assert_eq!(outline(&decoded.profile), ["~b:2 a:1 a:1 [1]", "~b:2 a:1 a:1 [1]", "~b:2 ~b:2 a:1 [1]"]);
    assert_eq!(decoded.cuts.stacks, 2);
}

#[test]
fn ten_thousand_frames_and_a_million_samples() {
    let deep = start().location(1, 0, 0, &[1]).sample(&vec![1; 10_000], &[1]);
    assert_eq!(read(&deep).unwrap().cuts.stacks, 1);
    let mut many = start().location(1, 0, 0, &[1]);
    let sample = message().sample(&[1], &[1]).0;
    many.0.extend(sample.repeat(1_000_000));
    assert_eq!(read(&many).unwrap().profile.totals(), [1_000_000]);
    many.0.extend(sample);
    assert_eq!(read(&many).unwrap_err().kind(), ErrorKind::TooLarge);
}
