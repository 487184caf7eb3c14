#![no_main]
//! Gunzip keeps its limits, and gives back what was compressed, in one member or two.

use everflame_formats::{Limits, gzip};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for limits in
        [Limits::default(), Limits { inflated_bytes: 1 << 16, inflated_floor: 1 << 12, ..Limits::default() }]
    {
        if let Ok(inflated) = gzip::inflate(bytes, &limits) {
            assert!(inflated.len() <= limits.inflated_bytes);
        }
    }
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let members = [gzip::deflate(first), gzip::deflate(second), vec![0; bytes.len() % 5]].concat();
    assert_eq!(gzip::inflate(&members, &Limits::default()).unwrap(), bytes);
});
