//! Writes a few small inputs for each target into `corpus/`.

use everflame_formats::{Limits, folded, gzip, pprof, tree};
use everflame_profile::{Mapping, Tree, ValueType};
use std::path::Path;

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
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        for (at, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{at}")), seed)?;
        }
    }
    Ok(())
}
