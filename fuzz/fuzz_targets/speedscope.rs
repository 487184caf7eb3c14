#![no_main]
//! speedscope: what is read can be written, and read again with equal totals.

use everflame_formats::{Limits, speedscope};
use everflame_fuzz::use_up;
use libfuzzer_sys::fuzz_target;

/// Numbers of JSON are exact up to here.
const EXACT: u64 = 1 << 53;

fuzz_target!(|bytes: &[u8]| {
    let Ok(parts) = speedscope::read(bytes, &Limits::default()) else { return };
    for part in parts.parts {
        use_up(&part.profile);
        let values = &part.profile.samples.values;
        if part.profile.samples.locations.len() > 1 << 16 {
            continue;
        }
        let again =
            speedscope::read(speedscope::write(&part.profile, "x").as_bytes(), &Limits::default()).unwrap();
        // What weighs less than nothing cannot be written.
        let total = values.iter().try_fold(0u64, |sum, &value| sum.checked_add(u64::try_from(value).ok()?));
        if total.is_some_and(|total| total < EXACT) {
            assert_eq!(again.parts[0].profile.totals(), part.profile.totals());
        }
    }
});
