//! Input that is made to become as large as it can: no reader uses more than 256 MB for it, whether it takes
//! the input or refuses it.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not recognised as tests")]
#![allow(unsafe_code, reason = "an allocator is")]
#![allow(clippy::print_stdout, reason = "tells which input it is about")]

mod message;

use everflame_formats::folded::{self, Lines};
use everflame_formats::{Format, Limits, flamebearer, otlp, pprof, tree, trie};
use message::{Message, message};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes that a reader may hold at any time, what it was given apart.
const MOST: usize = 256 << 20;
/// Bytes of the inputs: just below what is read at all.
const BODY: usize = 63 << 20;

/// Counts the bytes that are allocated.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Inputs for which a reader took more.
static FAULTS: AtomicUsize = AtomicUsize::new(0);

fn grow(bytes: usize) {
    PEAK.fetch_max(LIVE.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Large blocks are moved by their pages, not by a copy.
        grow(size.saturating_sub(layout.size()));
        LIVE.fetch_sub(layout.size().saturating_sub(size), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads `body`. A compressed one is inflated into a buffer that is held meanwhile.
fn check<T, E>(name: &str, body: Vec<u8>, read: impl Fn(&[u8]) -> Result<T, E>) {
    assert!(body.len() <= 64 << 20, "{name}: {} bytes", body.len());
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let outcome = read(&body);
    let peak = PEAK.load(Relaxed) - before + body.len();
    let outcome = if outcome.is_ok() { "taken" } else { "refused" };
    println!("{name}: {} MB, {outcome}", peak >> 20);
    if peak > MOST {
        FAULTS.fetch_add(1, Relaxed);
    }
}

/// `part` over and over, between `head` and `tail`.
fn fill(head: &str, part: &str, tail: &str) -> Vec<u8> {
    let count = (BODY - head.len() - tail.len()) / part.len();
    [head, &part.repeat(count), tail].concat().into_bytes()
}

/// Texts that differ, as long as there is room.
fn distinct(head: &str, tail: &str, mut each: impl FnMut(&mut String, usize)) -> Vec<u8> {
    let mut body = head.to_owned();
    for at in 0.. {
        each(&mut body, at);
        if body.len() + tail.len() + 200 > BODY {
            break;
        }
    }
    body.push_str(tail);
    body.into_bytes()
}

/// A valid pprof with `count` of `part` in it.
fn profile(part: Message, count: usize) -> Vec<u8> {
    let head = message().sample_type(1, 2).strings(&["", "cpu", "nanoseconds"]).0;
    let count = count.min((BODY - head.len()) / part.0.len().max(1));
    [head, part.0.repeat(count)].concat()
}

/// So many fit into any body.
const MANY: usize = usize::MAX;

#[test]
fn no_reader_takes_too_much() {
    let limits = Limits::default();
    let read = |body: &[u8]| pprof::read(body, &limits);
    let tables = limits.table_entries;
    check("pprof, locations", profile(message().bytes(4, &[]), tables), read);
    check("pprof, more locations", profile(message().bytes(4, &[]), MANY), read);
    check("pprof, functions", profile(message().bytes(5, &[]), tables), read);
    check("pprof, mappings", profile(message().bytes(3, &[]), MANY), read);
    check("pprof, strings", profile(message().bytes(6, &[]), tables), read);
    check("pprof, long strings", profile(message().bytes(6, &[b'x'; 60_000]), MANY), read);
    check("pprof, strings that are not UTF-8", profile(message().bytes(6, &[0xff; 20_000]), MANY), read);
    let lines = message().number(1, 1).0;
    let lines = [lines, [0x22, 0].repeat(400_000)].concat();
    check("pprof, lines", profile(message().bytes(4, &lines), MANY), read);
    check("pprof, samples", profile(message().sample(&[], &[7]), 1_000_000), read);
    check("pprof, ids", profile(message().location(1, 0, 9, &[]), 1), read);
    let deep = message().location(1, 0, 9, &[]).sample(&[1; 2_000], &[1]).0;
    check(
        "pprof, deep stacks",
        profile(Message(deep[message().location(1, 0, 9, &[]).0.len()..].to_vec()), MANY),
        read,
    );
    let label = message().number(1, 1).number(2, 2);
    let sample = (0..90).fold(message().packed(2, &[1]), |sample, _| sample.message(3, label.clone()));
    check("pprof, labels", profile(message().message(2, sample), MANY), read);
    let types = (0..63).fold(message(), |message, _| message.sample_type(1, 2)).0;
    let values = message().sample(&[], &[1; 64]).0;
    let mut body = [profile(message(), 0), types].concat();
    body.extend(values.repeat((BODY - body.len()) / values.len()));
    check("pprof, values", body, read);

    for lines in [Lines::Counted, Lines::Single] {
        let read = |body: &[u8]| folded::read(body, lines, &limits);
        check("folded, lines", fill("", "a 1\n", ""), read);
        check("folded, deep", fill("", &format!("{}a 1\n", "a;".repeat(1_000)), ""), read);
        check("folded, names", distinct("", "", |out, at| _ = writeln!(out, "{at:x} 1")), read);
        check("folded, not UTF-8", vec![0xff; BODY], read);
    }

    let node = |out: &mut String, at: usize| _ = write!(out, "\u{5}{at:05x}\u{1}\0");
    let body = distinct("\0\0\u{1}", "", |out, at| {
        if at % 10_000 == 0 {
            // A node without a name that has as many children as are allowed.
            out.push_str("\0\0\u{7f}");
        }
        node(out, at);
    });
    check("tree, names", body.clone(), |body| tree::read_profile(body, &limits));
    check("tree, names", body.clone(), |body| tree::read(body, &limits));
    check("trie, names", body, |body| trie::read(body, &limits));
    let deep: Vec<u8> = [1, b'a', 1, 1].repeat(BODY / 4);
    check("trie, deep", deep, |body| trie::read(body, &limits));

    json_formats(&limits);

    let read = |body: &[u8]| Format::PerfScript.read(body, &limits);
    check("perf script, events", fill("", "a 1 x:\n 1 f\n\n", ""), read);
    let frames = distinct("a 1 x:\n", "\n", |out, at| _ = writeln!(out, " {at:x} [unknown] (m)"));
    check("perf script, frames", frames, read);
    let kinds = distinct("", "", |out, at| _ = writeln!(out, "a 1 x{}:\n {at:x}\n", at % 60));
    check("perf script, kinds", kinds, read);

    exports(&limits);
    assert_eq!(FAULTS.load(Relaxed), 0, "inputs with more than {} MB; see above which", MOST >> 20);
}

fn json_formats(limits: &Limits) {
    let read = |body: &[u8]| Format::CpuProfile.read(body, limits);
    let root = r#"{"nodes":[{"id":1,"callFrame":{"functionName":"a"}}],"#;
    check("cpuprofile, samples", fill(&format!(r#"{root}"samples":["#), "1,", "1]}"), read);
    check("cpuprofile, deltas", fill(&format!(r#"{root}"timeDeltas":["#), "1,", "1]}"), read);
    let nodes = distinct(r#"{"nodes":["#, r#"{"id":0,"callFrame":{"functionName":""}}]}"#, |out, at| {
        _ = write!(out, r#"{{"id":{},"hitCount":1,"callFrame":{{"functionName":"{at:x}"}}}},"#, at + 1);
    });
    check("cpuprofile, nodes", nodes, read);
    for (what, count) in [("taken", 200_000), ("refused", 1_000_000)] {
        let children: String =
            (2..count).map(|id| format!(r#"{{"id":{id},"functionName":"{id}"}},"#)).collect();
        let body = format!(
            r#"{{"head":{{"id":0,"functionName":"","children":[{children}{{"id":1,"functionName":"","hitCount":1}}]}}}}"#
        );
        check(&format!("cpuprofile, a tree that is {what}"), body.into_bytes(), read);
    }

    let read = |body: &[u8]| Format::Firefox.read(body, limits);
    let thread = r#"{"samples":{"stack":[0]}},"#;
    let head = r#"{"meta":{"interval":1},"#;
    let list = |out: &mut String| {
        out.push_str(&format!(r#"{{"samples":{{"stack":[{}0]}}}},"#, "0,".repeat(1 << 20)))
    };
    let lists = distinct(&format!(r#"{head}"threads":["#), r#"{"samples":{}}]}"#, |out, _| {
        if out.len() + (3 << 20) < BODY {
            list(out);
        } else {
            out.push_str(thread);
        }
    });
    check("Firefox, lists", lists, read);
    let name = "x".repeat(60_000);
    let frames = 700;
    let numbers = |number: &dyn Fn(usize) -> String| (0..frames).map(number).collect::<Vec<_>>().join(",");
    let shared = format!(
        r#"{head}"shared":{{"stringArray":[{}],"funcTable":{{"name":[{}]}},"frameTable":{{"func":[{}]}},"stackTable":{{"frame":[{}],"prefix":[{}]}}}},"threads":["#,
        numbers(&|at| format!("\"{at}{name}\"")),
        numbers(&|at| at.to_string()),
        numbers(&|at| at.to_string()),
        numbers(&|at| at.to_string()),
        numbers(&|at| if at == 0 { "null".to_owned() } else { (at - 1).to_string() }),
    );
    let thread = format!(r#"{{"samples":{{"stack":[{}]}}}},"#, frames - 1);
    let body = [&shared, &thread.repeat(10_000), r#"{"samples":{"stack":[0]}}]}"#].concat();
    check("Firefox, long names of many threads", body.into_bytes(), read);

    let read = |body: &[u8]| Format::Speedscope.read(body, limits);
    let head = r#"{"$schema":"https://www.speedscope.app/file-format-schema.json","shared":{"frames":["#;
    let profile = |samples: &str, weights: &str| {
        format!(r#"{{"type":"sampled","unit":"none","samples":[{samples}],"weights":[{weights}]}}"#)
    };
    let names = numbers(&|at| format!(r#"{{"name":"{at}{name}"}}"#));
    let one = profile(&format!("[{}]", numbers(&|at| at.to_string())), "1");
    let body = format!(r#"{head}{names}]}},"profiles":[{}{one}]}}"#, format!("{one},").repeat(5_000));
    check("speedscope, long names of many profiles", body.into_bytes(), read);
    let body = fill(
        &format!(r#"{head}{{"name":"a"}}]}},"profiles":[{{"type":"sampled","unit":"none","samples":[["#),
        "0,",
        r#"0]],"weights":[1]}]}"#,
    );
    check("speedscope, one sample", body, read);
    let body = fill(
        &format!(r#"{head}{{"name":"a"}}]}},"profiles":[{{"type":"sampled","unit":"none","weights":["#),
        "1,",
        "1]}]}",
    );
    check("speedscope, weights", body, read);
    let body = fill(
        &format!(r#"{head}{{"name":"a"}}]}},"profiles":[{{"type":"sampled","unit":"none","weights":["#),
        "1,",
        r#"1],"name":"\ud800"}]}"#,
    );
    check("speedscope, half a character", body, read);
    let samples = (0..2_000_000).map(|at| format!("[{at}]")).collect::<Vec<_>>().join(",");
    let body = format!(
        r#"{head}{{"name":"a"}}]}},"profiles":[{}]}}"#,
        profile(&samples, &["1"; 2_000_000].join(","))
    );
    check("speedscope, distinct samples", body.into_bytes(), read);

    let read = |body: &[u8]| flamebearer::read(body, limits);
    let level = format!("[{}0,1,1,0],", "0,1,1,0,".repeat(400_000));
    let body = fill(r#"{"flamebearer":{"names":["a"],"levels":[[0,400001,0,0],"#, &level, "[]]}}");
    check("flamebearer, bars", body, read);
}

/// OTLP: a message of resources and a dictionary.
fn exports(limits: &Limits) {
    let read = |body: &[u8]| otlp::read(body, limits);
    for table in 1..=7 {
        for count in [limits.table_entries, MANY] {
            let count = count.min(BODY / 2);
            check("OTLP, table", message().bytes(2, &[table << 3 | 2, 0].repeat(count)).0, read);
        }
    }
    let value_type = || message().number(1, 1).number(2, 2);
    let strings =
        || ["", "cpu", "nanoseconds"].iter().fold(message(), |out, text| out.bytes(5, text.as_bytes()));
    let export = |profiles: &[u8], dictionary: Message| {
        message().message(1, message().bytes(2, profiles)).message(2, dictionary).0
    };
    let moments = message().bytes(5, &[1; 60 << 20]);
    let profile = message().message(1, value_type()).message(2, moments);
    check("OTLP, moments of a sample", export(&message().message(2, profile).0, strings()), read);
    let sample = message().message(2, message().bytes(5, &[1; 8])).0;
    let profile = Message([message().message(1, value_type()).0, sample.repeat(1_000_000)].concat());
    check("OTLP, samples", export(&message().message(2, profile).0, strings()), read);
    let profile = message().message(1, value_type()).message(2, message().number(1, 1).bytes(4, &[1]));
    let profiles = message().message(2, profile).0.repeat(60_000);
    let names =
        (0..700u64).fold(strings(), |out, at| out.bytes(5, format!("{at}{}", "x".repeat(60_000)).as_bytes()));
    let functions = (0..700).fold(names, |out, at| out.message(3, message().number(1, at + 3)));
    let locations =
        (0..700).fold(functions, |out, at| out.message(2, message().message(3, message().number(1, at))));
    let stack: Vec<i64> = (0..700).collect();
    let stacks = locations.bytes(7, &[]).message(7, message().packed(1, &stack));
    check("OTLP, long names of many profiles", export(&profiles, stacks), read);
    let json = |body: &[u8]| otlp::read_json(body, limits);
    check(
        "OTLP JSON, lists",
        fill(r#"{"dictionary":{"stackTable":[{"locationIndices":["#, "0,", "0]}]}}"),
        json,
    );
    check("OTLP JSON, tables", fill(r#"{"dictionary":{"stackTable":["#, "{},", "{}]}}"), json);
}
