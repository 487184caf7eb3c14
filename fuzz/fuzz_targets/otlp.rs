#![no_main]
//! OTLP profiles: whatever is read holds together, within the limits.

use everflame_formats::{Limits, Moments, otlp};
use everflame_fuzz::use_up;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(export) = otlp::read(bytes, &Limits::default()) else { return };
    assert!(export.rejected.map_or(0, |(rejected, _)| rejected) <= export.profiles);
    for part in export.parts {
        let Moments { times, values, ends } = &part.moments;
        assert!(ends.is_empty() || ends.len() == part.profile.samples.len());
        assert!(values.len() == times.len() && ends.last().map_or(0, |&end| end as usize) == times.len());
        assert!(part.labels.iter().any(|(key, value)| key == "service_name" && !value.is_empty()));
        use_up(&part.profile);
    }
});
