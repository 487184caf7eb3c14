#![no_main]
//! Labels of contexts, beside a recording that has such contexts.

use everflame_formats::{Limits, jfr};
use everflame_fuzz::{recording, use_up};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static RECORDING: LazyLock<Vec<u8>> = LazyLock::new(recording::small);

fuzz_target!(|bytes: &[u8]| {
    let options = jfr::Options { labels: Some(bytes), period: None };
    if let Ok(parts) = jfr::read(&RECORDING, &options, &Limits::default()) {
        assert!(!parts.parts.is_empty());
        parts.parts.iter().for_each(|part| use_up(&part.profile));
    }
});
