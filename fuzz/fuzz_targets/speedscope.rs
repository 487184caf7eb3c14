#![no_main]
//! speedscope: what is read can be written, and read again with equal totals.

use everflame_formats::{Limits, folded, speedscope};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { inflated_bytes: 1 << 20, entries: 1 << 20, ..Limits::default() };
    let Ok(parts) = speedscope::read(bytes, &limits) else { return };
    for part in parts.parts {
        folded::write(&part.profile, 0);
        let total = part.profile.samples.values.iter().try_fold(0i64, |sum, value| sum.checked_add(*value));
        let again = speedscope::read(speedscope::write(&part.profile, "x").as_bytes(), &Limits::default()).unwrap();
        // Numbers of JSON are exact up to 2^53.
        if total.is_some_and(|total| total.unsigned_abs() < 1 << 53) && part.profile.samples.values.iter().all(|value| value.unsigned_abs() < 1 << 53) {
            assert_eq!(again.parts[0].profile.totals(), part.profile.totals());
        }
    }
});
