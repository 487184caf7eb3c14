//! What a sender's id says of an upload: which profile it is, and whether it is a retry.

use everflame_lake::ProfileId;
use everflame_profile::Labels;
use xxhash_rust::xxh3::Xxh3;

/// The identity of an upload that has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// What its first profile is called.
    pub(crate) id: ProfileId,
    /// Another upload with the same is the same.
    pub(crate) once: ProfileId,
}

impl Identity {
    /// That of a Push with the id `id`. Senders give several profiles one id, all of a message or all that they
    /// ever send: only what is equal throughout is a retry.
    pub(crate) fn of_push(id: u128, name: &str, labels: &Labels, pprof: &[u8]) -> Self {
        let mut hash = Xxh3::new();
        hash.update(&id.to_le_bytes());
        let texts = labels.iter().flat_map(|(key, value)| [key, value]);
        for text in std::iter::once(name).chain(texts) {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(pprof);
        Self { id: ProfileId(id), once: ProfileId(hash.digest128()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_equal_throughout_is_a_retry() {
        let of = |id, name: &str, labels: &[(&str, &str)], pprof: &[u8]| {
            Identity::of_push(id, name, &Labels::from_pairs(labels.iter().copied()), pprof)
        };
        let first = of(1, "cpu", &[("a", "b"), ("c", "d")], b"x");
        assert_eq!(first, of(1, "cpu", &[("c", "d"), ("a", "b")], b"x"));
        for other in [
            of(2, "cpu", &[("a", "b"), ("c", "d")], b"x"),
            of(1, "memory", &[("a", "b"), ("c", "d")], b"x"),
            of(1, "cpu", &[("a", "b")], b"x"),
            of(1, "cpu", &[("a", "bc"), ("c", "d")], b"x"),
            of(1, "cpu", &[("a", "b"), ("c", "d")], b"y"),
        ] {
            assert_ne!(first.once, other.once);
        }
    }
}
