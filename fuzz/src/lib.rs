//! What the targets share: what is done with a profile that a reader let through, and a small recording.

pub mod recording;

use everflame_formats::{Limits, folded, pprof};
use everflame_profile::Profile;

/// Profiles with more frames and values are not written: that takes much longer than reading them.
const MOST_WRITTEN: usize = 1 << 16;

/// Uses all that `profile` refers to, writes it, and reads it again with equal totals. Panics when it does not
/// hold together.
pub fn use_up(profile: &Profile) {
    let samples = &profile.samples;
    assert_eq!(samples.values.len(), samples.len() * profile.sample_types.len());
    assert_eq!(samples.label_ends.len(), samples.len());
    let limits = Limits::default();
    let entries = samples.locations.len() + 2 * (samples.values.len() + samples.labels.len());
    assert!(entries <= limits.entries);
    assert_eq!(profile.stack_ids().len(), samples.len());
    for sample in 0..samples.len() {
        samples.labels(sample).iter().for_each(|label| _ = profile.symbols.strings.get(label.key));
    }
    if entries + profile.symbols.frames.len() > MOST_WRITTEN {
        return;
    }
    for sample_type in 0..profile.sample_types.len() {
        folded::write(profile, sample_type);
    }
    let written = pprof::write_uncompressed(profile);
    let again = pprof::read(&written, &limits).expect("what is written can be read").profile;
    assert_eq!(again.totals(), profile.totals());
    assert_eq!(again.samples.len(), samples.len());
}
