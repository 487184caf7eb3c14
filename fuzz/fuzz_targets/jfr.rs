#![no_main]
//! Recordings: whatever is read holds together, within the limits.

use everflame_formats::{Limits, jfr};
use everflame_fuzz::use_up;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(parts) = jfr::read(bytes, &jfr::Options::default(), &Limits::default()) {
        parts.parts.iter().for_each(|part| use_up(&part.profile));
    }
});
