//! Writes a few small inputs for each target into `corpus/`.

use everflame_formats::{Limits, folded, gzip, otlp, pprof, speedscope, tree};
use everflame_profile::{Mapping, Tree, ValueType};
use std::path::Path;

/// `foo;bar 2`, `foo;baz;qu 1`.
const TRIE: &[u8] = b"\x00\x00\x01\x06foo;ba\x00\x02\x01r\x02\x00\x04z;qu\x01\x00";

const EVENTED: &[u8] = br#"{"$schema":"https://www.speedscope.app/file-format-schema.json","shared":{"frames":[{"name":"a"},{"name":"b","file":"f","line":1}]},
"profiles":[{"type":"evented","name":"x","unit":"milliseconds","startValue":0,"endValue":9,"events":[{"type":"O","at":0,"frame":0},{"type":"O","at":1.5,"frame":1},{"type":"C","at":2,"frame":1},{"type":"C","at":9,"frame":0}]},
{"type":"sampled","name":"y","unit":"bytes","startValue":0,"endValue":3,"samples":[[0,1],[0]],"weights":[1,2]}]}"#;

const OTLP: &[u8] = br#"{"resourceProfiles":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},{"key":"n","value":{"arrayValue":{"values":[{"intValue":"3"}]}}}]},"scopeProfiles":[{"scope":{"name":"s"},"profiles":[
{"sampleType":{"typeStrindex":1,"unitStrindex":2},"samples":[{"stackIndex":2,"attributeIndices":[1],"linkIndex":1,"timestampsUnixNano":["1700000000000000011",12]}],"timeUnixNano":"1700000000000000000","durationNano":"5","periodType":{"typeStrindex":3,"unitStrindex":4},"period":"20"},
{"sampleType":{"typeStrindex":3,"unitStrindex":4},"samples":[{"stackIndex":1,"values":["7","8"],"timestampsUnixNano":["1700000000000000011",12]},{"stackIndex":1,"values":[-3]}]}]}]}],
"dictionary":{"mappingTable":[{},{"memoryStart":"4096","filenameStrindex":5,"attributeIndices":[2]}],"locationTable":[{},{"mappingIndex":1,"address":4100,"lines":[{"functionIndex":1,"line":"7"}]},{"address":"9"}],
"functionTable":[{},{"nameStrindex":5}],"linkTable":[{},{"traceId":"000102030405060708090a0b0c0d0e0f","spanId":"0102030405060708"}],
"stringTable":["","samples","count","cpu","nanoseconds","main","thread.name"],"attributeTable":[{},{"keyStrindex":6,"value":{"stringValue":"w"}},{"keyStrindex":6,"value":{"boolValue":true}}],"stackTable":[{},{"locationIndices":[1]},{"locationIndices":[2,1]}]}}"#;

const FOLDED: &[u8] = b"main;work;read_[k] 12\nmain;idle -3\n\nmain;main;main 9000000000\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut profile = folded::read(FOLDED, folded::Lines::Counted, &Limits::default())?.profile;
    let plain = pprof::write_uncompressed(&profile);
    profile.period_type = ValueType::new("cpu", "nanoseconds");
    (profile.period, profile.time, profile.duration) = (10_000_000, 1_700_000_000_000_000_000, 10_000_000_000);
    let file = profile.symbols.strings.push("/bin/app");
    profile.symbols.mappings.push(Mapping { file, memory_start: 0x1000, memory_limit: u64::MAX, ..Mapping::default() });
    for (at, frame) in profile.symbols.frames.iter_mut().enumerate() {
        frame.mapping = 1;
        frame.line = at as i64 * 100 - 1;
        frame.inlined = at % 3 == 1;
    }
    if let Some(frame) = profile.symbols.frames.last_mut() {
        (frame.function, frame.address) = (0, 0x1234);
    }
    let mut calls = Tree::default();
    for stack in [["main", "work", "read"], ["main", "work", "write"], ["main", "idle", ""]] {
        let stack: Vec<_> = stack.iter().map(|name| calls.intern(name)).collect();
        calls.insert(stack, 300);
    }
    let two_members = [gzip::deflate(b"one"), gzip::deflate(FOLDED), vec![0; 3]].concat();
    for (target, seeds) in [
        ("pprof", vec![plain, pprof::write_uncompressed(&profile), pprof::write(&profile)]),
        ("gzip", vec![gzip::deflate(FOLDED), two_members, gzip::deflate(&[])]),
        ("folded", vec![FOLDED.to_vec(), gzip::deflate(FOLDED)]),
        ("tree", vec![tree::write(&calls), gzip::deflate(&tree::write(&calls))]),
        ("trie", vec![TRIE.to_vec(), gzip::deflate(TRIE)]),
        ("speedscope", vec![EVENTED.to_vec(), speedscope::write(&profile, "x").into_bytes()]),
        ("otlp", vec![otlp::to_protobuf(OTLP, &Limits::default())?]),
        ("otlp_json", vec![OTLP.to_vec()]),
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        for (at, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{at}")), seed)?;
        }
    }
    Ok(())
}
