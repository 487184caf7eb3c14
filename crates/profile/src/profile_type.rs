//! Profile types: `name:sample_type:sample_unit:period_type:period_unit`, Pyroscope's notation.

use std::fmt;
use std::str::FromStr;

/// A type of value and its unit, as in pprof: `cpu` in `nanoseconds`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueType {
    /// What is counted: `cpu`, `alloc_space`, `contentions`, …
    pub kind: String,
    /// Its unit: `nanoseconds`, `bytes`, `count`, …
    pub unit: String,
}

impl ValueType {
    /// `kind` counted in `unit`.
    pub fn new(kind: impl Into<String>, unit: impl Into<String>) -> Self {
        Self { kind: kind.into(), unit: unit.into() }
    }
}

/// What one series measures.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProfileType {
    /// `process_cpu`, `memory`, `mutex`, …: the label `__name__`.
    pub name: String,
    /// The values: what they count and in which unit.
    pub sample: ValueType,
    /// What triggers a sample; both parts may be empty.
    pub period: ValueType,
}

/// Why a text is not a profile type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileTypeError {
    /// The number of parts is wrong.
    #[error(
        "profile type {0:?} has {1} parts separated by ':'; write name:sample_type:sample_unit:period_type:period_unit, \
         as in process_cpu:cpu:nanoseconds:cpu:nanoseconds"
    )]
    Parts(String, usize),
    /// The name or the sample type is missing.
    #[error("profile type {0:?} lacks its name or its sample type")]
    Empty(String),
}

impl FromStr for ProfileType {
    type Err = ProfileTypeError;

    /// Takes five parts, or six of which the last (`delta`) is ignored.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split(':').collect();
        let (5 | 6, [name, sample_kind, sample_unit, period_kind, period_unit, ..]) =
            (parts.len(), &parts[..])
        else {
            return Err(ProfileTypeError::Parts(text.to_owned(), parts.len()));
        };
        if name.is_empty() || sample_kind.is_empty() {
            return Err(ProfileTypeError::Empty(text.to_owned()));
        }
        Ok(Self {
            name: (*name).to_owned(),
            sample: ValueType::new(*sample_kind, *sample_unit),
            period: ValueType::new(*period_kind, *period_unit),
        })
    }
}

impl fmt::Display for ProfileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, sample, period } = self;
        write!(f, "{name}:{}:{}:{}:{}", sample.kind, sample.unit, period.kind, period.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for text in ["process_cpu:cpu:nanoseconds:cpu:nanoseconds", "memory:inuse_space:bytes::"] {
            assert_eq!(text.parse::<ProfileType>().unwrap().to_string(), text);
        }
        assert_eq!("a:b:c:d:e:delta".parse::<ProfileType>().unwrap().to_string(), "a:b:c:d:e");
    }

    #[test]
    fn refuses_with_the_form() {
        let error = "cpu".parse::<ProfileType>().unwrap_err().to_string();
        assert!(error.contains("has 1 parts") && error.contains("process_cpu:cpu"), "{error}");
        assert!(":b:c:d:e".parse::<ProfileType>().is_err());
        assert!("a:b:c:d:e:f:g".parse::<ProfileType>().is_err());
    }
}
