#![no_main]
//! Binary tries: whatever is read holds together, within the limits.

use everflame_formats::{Limits, folded, trie};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { inflated_bytes: 1 << 20, entries: 1 << 20, ..Limits::default() };
    let Ok(decoded) = trie::read(bytes, &limits) else { return };
    let profile = decoded.profile;
    assert!(profile.samples.locations.len() <= limits.entries);
    folded::write(&profile, 0);
});
