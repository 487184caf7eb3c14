//! A series: the profiles of one type that share one label set.

use crate::{Labels, ProfileType, SERVICE_NAME};
use xxhash_rust::xxh3::xxh3_64;

/// Identity of a series: XXH3-64 over its canonical labels and profile type. It does not depend on the
/// tenant, and is the same on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId(pub u64);

/// Labels and profile type of the profiles that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Series {
    /// Labels as users see them, `service_name` among them; none that starts with `__` describes the type.
    pub labels: Labels,
    /// What is measured.
    pub profile_type: ProfileType,
}

impl Series {
    /// The id: XXH3-64 over, for the profile type and then each label in order, its bytes and a byte 0xff
    /// (which UTF-8 never contains).
    pub fn id(&self) -> SeriesId {
        let mut canonical = self.profile_type.to_string().into_bytes();
        for (name, value) in self.labels.iter() {
            canonical.push(0xff);
            canonical.extend_from_slice(name.as_bytes());
            canonical.push(0xff);
            canonical.extend_from_slice(value.as_bytes());
        }
        SeriesId(xxh3_64(&canonical))
    }

    /// The series that this one belongs to when the labels `names` are not told apart.
    pub fn without(&self, names: &[String]) -> Self {
        let labels = self.labels.iter().filter(|(name, _)| !names.iter().any(|dropped| dropped == name));
        Self { labels: Labels::from_pairs(labels), profile_type: self.profile_type.clone() }
    }

    /// The service, from the label `service_name`.
    pub fn service(&self) -> &str {
        self.labels.get(SERVICE_NAME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_tell_labels_apart() {
        let series = |pairs: &[(&str, &str)]| Series {
            labels: Labels::from_pairs(pairs.iter().copied()),
            profile_type: "process_cpu:cpu:nanoseconds:cpu:nanoseconds".parse().unwrap(),
        };
        let id = series(&[("service_name", "api"), ("pod", "a")]).id();
        assert_eq!(id, series(&[("pod", "a"), ("service_name", "api")]).id());
        assert_ne!(id, series(&[("poda", ""), ("service_name", "api")]).id());
        // The id is on disk: a change here is a change of the format.
        assert_eq!(format!("{:016x}", id.0), "d76c4ef4f4d2d367");
    }
}
