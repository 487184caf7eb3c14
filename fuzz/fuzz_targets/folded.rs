#![no_main]
//! Folded stacks: what is read can be written, and read again with an equal total.

use everflame_formats::folded::{self, Lines};
use everflame_formats::{Limits, pprof};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { inflated_bytes: 1 << 20, ..Limits::default() };
    for lines in [Lines::Counted, Lines::Single] {
        let Ok(decoded) = folded::read(bytes, lines, &limits) else { continue };
        folded::write(&decoded.profile, 0);
        let again = pprof::read(&pprof::write_uncompressed(&decoded.profile), &Limits::default()).unwrap();
        assert_eq!(again.profile.totals(), decoded.profile.totals());
    }
});
