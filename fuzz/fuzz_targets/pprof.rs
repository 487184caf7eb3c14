#![no_main]
//! Whatever the pprof reader lets through can be used up, written, and read again with equal totals.

use everflame_formats::{Limits, folded, pprof};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { inflated_bytes: 1 << 20, entries: 1 << 20, ..Limits::default() };
    let Ok(decoded) = pprof::read(bytes, &limits) else { return };
    let profile = decoded.profile;
    let ids = profile.stack_ids();
    assert_eq!(ids.len(), profile.samples.len());
    folded::write(&profile, 0);
    let again = pprof::read(&pprof::write_uncompressed(&profile), &Limits::default()).unwrap().profile;
    assert_eq!(again.totals(), profile.totals());
    assert_eq!(again.samples.len(), profile.samples.len());
});
