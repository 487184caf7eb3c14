#![no_main]
//! OTLP's JSON: what becomes protobuf can be read, or is refused with a reason.

use everflame_formats::{Limits, otlp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { inflated_bytes: 1 << 20, entries: 1 << 20, ..Limits::default() };
    let Ok(protobuf) = otlp::to_protobuf(bytes, &limits) else { return };
    let _ = otlp::read(&protobuf, &limits);
});
