#![no_main]
//! Binary call trees: what is read is written and read as the same tree.

use everflame_formats::{Limits, tree};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { inflated_bytes: 1 << 20, entries: 1 << 20, ..Limits::default() };
    let Ok(read) = tree::read(bytes, &limits) else { return };
    assert_eq!(tree::read(&tree::write(&read), &Limits::default()).unwrap(), read);
});
