#![no_main]
//! Binary call trees: what is read is written and read as the same tree.

use everflame_formats::{Limits, tree};
use everflame_fuzz::use_up;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    if let Ok(decoded) = tree::read_profile(bytes, &limits) {
        use_up(&decoded.profile);
    }
    let Ok(read) = tree::read(bytes, &limits) else { return };
    assert_eq!(tree::read(&tree::write(&read), &limits).unwrap(), read);
});
