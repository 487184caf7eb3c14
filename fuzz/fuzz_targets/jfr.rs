#![no_main]
//! Recordings: whatever is read holds together, within the limits.

use everflame_formats::{Limits, folded, jfr};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { inflated_bytes: 1 << 20, entries: 1 << 20, ..Limits::default() };
    let Ok(parts) = jfr::read(bytes, &jfr::Options::default(), &limits) else { return };
    for part in parts.parts {
        for sample_type in 0..part.profile.sample_types.len() {
            folded::write(&part.profile, sample_type);
        }
    }
});
