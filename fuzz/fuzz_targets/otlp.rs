#![no_main]
//! OTLP profiles: whatever is read holds together, within the limits.

use everflame_formats::{Limits, folded, otlp, pprof};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { inflated_bytes: 1 << 20, entries: 1 << 20, ..Limits::default() };
    let Ok(export) = otlp::read(bytes, &limits) else { return };
    assert!(export.rejected.map_or(0, |(rejected, _)| rejected) <= export.profiles);
    for part in export.parts {
        assert!(part.timestamps.is_empty() || part.timestamps.len() == part.profile.samples.len());
        assert_eq!(part.profile.stack_ids().len(), part.profile.samples.len());
        folded::write(&part.profile, 0);
        pprof::write_uncompressed(&part.profile);
    }
});
