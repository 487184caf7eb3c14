#![no_main]
//! Profiles of V8: whatever is read holds together, within the limits.

use everflame_formats::{Format, Limits};
use everflame_fuzz::use_up;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    Format::detect(bytes, &limits);
    if let Ok(parts) = Format::CpuProfile.read(bytes, &limits) {
        parts.parts.iter().for_each(|part| use_up(&part.profile));
    }
});
