#![no_main]
//! OTLP's JSON: what becomes protobuf can be read, or is refused with a reason.

use everflame_formats::{Limits, otlp};
use everflame_fuzz::use_up;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(export) = otlp::read_json(bytes, &Limits::default()) {
        export.parts.iter().for_each(|part| use_up(&part.profile));
    }
});
