#![no_main]
//! What receivers of our own exports answer.

use everflame_formats::otlp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((count, reason)) = otlp::rejected(bytes) {
        assert!(count > 0 || !reason.is_empty());
    }
    otlp::retry_delay(bytes);
});
