//! `push.v1.PushRequest`, the message of Pyroscope's Push, written by hand: three levels and eight fields.

use crate::wire::bytes;
use everflame_formats::pprof;
use everflame_lake::ProfileId;
use everflame_profile::{PROFILE_NAME, Profile, Series};
use uuid::Uuid;

/// A message that is being written.
#[derive(Default)]
pub(crate) struct PushWriter(Vec<u8>);

impl PushWriter {
    /// Adds a profile. Its id goes along, so that another Everflame stores it once however often it comes.
    pub(crate) fn add(&mut self, id: ProfileId, series: &Series, profile: &Profile) {
        let mut message = Vec::new();
        let name = (PROFILE_NAME, series.profile_type.name.as_str());
        for (name, value) in [name].into_iter().chain(series.labels.iter()) {
            let mut label = Vec::new();
            bytes(&mut label, 1, name.as_bytes());
            bytes(&mut label, 2, value.as_bytes());
            bytes(&mut message, 1, &label);
        }
        let mut sample = Vec::new();
        bytes(&mut sample, 1, &pprof::write_uncompressed(profile));
        bytes(&mut sample, 2, Uuid::from_u128(id.0).to_string().as_bytes());
        bytes(&mut message, 2, &sample);
        bytes(&mut self.0, 1, &message);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outgoing::{self, tests::batch};

    #[test]
    fn the_message_is_on_the_wire() {
        let mut writer = PushWriter::default();
        outgoing::each(batch("shop", &["a"]), |id, series, profile| writer.add(id, series, profile));
        let message = writer.finish();
        let found = |text: &[u8]| message.windows(text.len()).any(|window| window == text);
        assert!(message.starts_with(&[0x0a]));
        assert!(found(b"\x0a\x17\x0a\x08__name__\x12\x0bprocess_cpu"));
        assert!(found(b"\x0a\x08\x0a\x03pod\x12\x01a"));
        assert!(found(b"\x12\x2400000000-0000-0000-0000-000000000001"));
        assert!(found(b"00000000000000ab"));
    }
}
