//! Why bytes are not a profile: where the fault is, what it is, and what to do about it.

use std::fmt;

/// What kind of answer a fault deserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The bytes break the format: damaged, cut off, or another format altogether.
    Malformed,
    /// A limit of [`crate::Limits`] is exceeded; no more than the limit was allocated.
    TooLarge,
    /// Well-formed, but of a kind that is not read.
    Unsupported,
    /// A sample type has no name; see [`crate::pprof::require_named_types`].
    UnnamedType,
}

/// A refusal. Displayed as `place: fault; remedy`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {fault}; {remedy}")]
pub struct Error {
    kind: ErrorKind,
    place: String,
    fault: String,
    remedy: &'static str,
}

impl Error {
    /// What kind of answer this deserves.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same about what `place` holds.
    pub(crate) fn within(self, place: impl fmt::Display) -> Self {
        Self { place: format!("{place}, original payload: {}", self.place), ..self }
    }

    #[cold]
    pub(crate) fn malformed(
        place: impl fmt::Display,
        fault: impl fmt::Display,
        remedy: &'static str,
    ) -> Self {
        Self::new(ErrorKind::Malformed, place, fault, remedy)
    }

    #[cold]
    pub(crate) fn too_large(
        place: impl fmt::Display,
        fault: impl fmt::Display,
        remedy: &'static str,
    ) -> Self {
        Self::new(ErrorKind::TooLarge, place, fault, remedy)
    }

    #[cold]
    pub(crate) fn new(
        kind: ErrorKind,
        place: impl fmt::Display,
        fault: impl fmt::Display,
        remedy: &'static str,
    ) -> Self {
        Self { kind, place: place.to_string(), fault: fault.to_string(), remedy }
    }
}
