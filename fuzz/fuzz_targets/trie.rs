#![no_main]
//! Binary tries: whatever is read holds together, within the limits.

use everflame_formats::{Limits, trie};
use everflame_fuzz::use_up;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(decoded) = trie::read(bytes, &Limits::default()) {
        use_up(&decoded.profile);
    }
});
