#![no_main]
//! Whatever the pprof reader lets through can be used up, written, and read again with equal totals.

use everflame_formats::{Limits, pprof};
use everflame_fuzz::use_up;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(decoded) = pprof::read(bytes, &Limits::default()) {
        use_up(&decoded.profile);
    }
});
