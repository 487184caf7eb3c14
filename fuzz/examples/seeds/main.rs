//! Writes a few small inputs for each target into `corpus/`, or into the folder that is named.

#[path = "../../../tests/src/parca_records.rs"]
mod parca_records;
mod texts;

use everflame_formats::{Limits, folded, gzip, otlp, pprof, speedscope, tree};
use everflame_fuzz::recording;
use everflame_profile::{FlameGraph, Mapping, SampleLabel, Tree, ValueType};
use libfuzzer_sys as _;
use parca_records::{first_layout, first_locations, second_layout, stream};
use std::path::{Path, PathBuf};
use texts::{
    CPU_PROFILE, CPU_PROFILE_HITS, CPU_PROFILE_TREE, EVENTED, FIREFOX, FIREFOX_SHARED, FIREFOX_SOURCES,
    FOLDED, OTLP, PERF_SCRIPT,
};

/// The fuzzer's library, which comes with this crate, wants a target; this program has none.
#[unsafe(no_mangle)]
extern "C" fn rust_fuzzer_test_input(_: *const u8, _: usize) -> i32 {
    0
}

/// `foo;bar 2`, `foo;baz;qu 1`.
const TRIE: &[u8] = b"\x00\x00\x01\x06foo;ba\x00\x02\x01r\x02\x00\x04z;qu\x01\x00";

/// Two profiles were not taken: `late`.
const REJECTED: &[u8] = b"\x0a\x08\x08\x02\x12\x04late";

/// A `google.rpc.Status` with a delay of three seconds and five nanoseconds.
const RETRY_IN: &[u8] = b"\x08\x0e\x1a\x23\x0a\x19type/google.rpc.RetryInfo\x12\x06\x0a\x04\x08\x03\x10\x05";

/// Contexts 5 and 7 with the labels `region` and `tier`.
const LABELS: &[u8] = b"\x0a\x0a\x08\x07\x12\x06\x0a\x04\x08\x01\x10\x02\x0a\x10\x08\x05\x12\x0c\x0a\x04\x08\x01\x10\x02\x0a\x04\x08\x03\x10\x04\x12\x0a\x08\x01\x12\x06region\x12\x06\x08\x02\x12\x02eu\x12\x08\x08\x03\x12\x04tier\x12\x05\x08\x04\x12\x01a";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let repository = here.join("..");
    let corpora = std::env::args_os().nth(1).map_or_else(|| here.join("corpus"), PathBuf::from);
    let mut profile = folded::read(FOLDED, folded::Lines::Counted, &Limits::default())?.profile;
    let plain = pprof::write_uncompressed(&profile);
    profile.period_type = ValueType::new("cpu", "nanoseconds");
    (profile.period, profile.time, profile.duration) =
        (10_000_000, 1_700_000_000_000_000_000, 10_000_000_000);
    let symbols = profile.symbols_mut();
    let file = symbols.strings.push("/bin/app");
    symbols.mappings.push(Mapping {
        file,
        memory_start: 0x1000,
        memory_limit: u64::MAX,
        ..Mapping::default()
    });
    for (at, frame) in symbols.frames.iter_mut().enumerate() {
        frame.mapping = 1;
        frame.line = at as i64 * 100 - 1;
        frame.inlined = at % 3 == 1;
    }
    if let Some(frame) = symbols.frames.last_mut() {
        (frame.function, frame.address) = (0, 0x1234);
    }
    let (key, value) = (symbols.strings.push("thread"), symbols.strings.push("w1"));
    profile.samples.labels.push(SampleLabel { key, value });
    if let Some(end) = profile.samples.label_ends.last_mut() {
        *end = 1;
    }
    let mut calls = Tree::default();
    for stack in [["main", "work", "read"], ["main", "work", "write"], ["main", "idle", ""]] {
        let stack: Vec<_> = stack.iter().map(|name| calls.intern(name)).collect();
        calls.insert(stack, 300);
    }
    let graph = FlameGraph::new(&calls);
    let graph = format!(
        r#"{{"version":1,"flamebearer":{{"names":{:?},"levels":{:?},"numTicks":{},"maxSelf":{}}},"metadata":{{"format":"single","name":"cpu","units":"samples","sampleRate":100}}}}"#,
        graph.names, graph.levels, graph.total, graph.max_self
    );
    let recorded =
        std::fs::read(repository.join("crates/formats/tests/fixtures/jfr/async-profiler-2.9.jfr.gz"))?;
    let recorded = gzip::inflate(&recorded, &Limits::default())?;
    let fixture = |name: &str| std::fs::read(repository.join("tests/fixtures/pprof").join(name));
    let two_members = [gzip::deflate(b"one"), gzip::deflate(FOLDED), vec![0; 3]].concat();
    let plain_pprof = vec![
        plain,
        pprof::write_uncompressed(&profile),
        pprof::write(&profile),
        fixture("python-cpu.pb")?,
        fixture("rust-cpu.pb")?,
    ];
    let time = 1_700_000_000_000_000_000;
    let lz4 = Some(arrow_ipc::CompressionType::LZ4_FRAME);
    let records = vec![
        stream(&second_layout(time)?, None)?,
        stream(&second_layout(time)?, lz4)?,
        stream(&first_layout(time)?, None)?,
        stream(&first_locations()?, None)?,
    ];
    for (target, seeds) in [
        ("arrow", records),
        ("pprof", plain_pprof),
        ("gzip", vec![gzip::deflate(FOLDED), two_members, gzip::deflate(&[])]),
        ("folded", vec![FOLDED.to_vec(), gzip::deflate(FOLDED)]),
        ("tree", vec![tree::write(&calls), gzip::deflate(&tree::write(&calls))]),
        ("trie", vec![TRIE.to_vec(), gzip::deflate(TRIE)]),
        ("speedscope", vec![EVENTED.to_vec(), speedscope::write(&profile, "x").into_bytes()]),
        ("otlp", vec![otlp::to_protobuf(OTLP, &Limits::default())?]),
        ("otlp_answer", vec![REJECTED.to_vec(), RETRY_IN.to_vec()]),
        ("otlp_json", vec![OTLP.to_vec()]),
        (
            "jfr",
            vec![
                recording::small(),
                gzip::deflate(&recording::small()),
                recording::small().repeat(2),
                recorded,
            ],
        ),
        ("jfr_labels", vec![LABELS.to_vec(), gzip::deflate(LABELS)]),
        ("perf_script", vec![PERF_SCRIPT.to_vec(), gzip::deflate(PERF_SCRIPT)]),
        (
            "cpuprofile",
            vec![
                CPU_PROFILE.to_vec(),
                CPU_PROFILE_HITS.to_vec(),
                CPU_PROFILE_TREE.to_vec(),
                gzip::deflate(CPU_PROFILE),
            ],
        ),
        (
            "firefox",
            vec![FIREFOX.to_vec(), FIREFOX_SHARED.to_vec(), FIREFOX_SOURCES.to_vec(), gzip::deflate(FIREFOX)],
        ),
        ("flamebearer", vec![graph.clone().into_bytes(), gzip::deflate(graph.as_bytes())]),
    ] {
        let folder = corpora.join(target);
        std::fs::create_dir_all(&folder)?;
        for (at, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{at}")), seed)?;
        }
    }
    Ok(())
}
