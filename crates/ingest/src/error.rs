//! Why an upload was not stored.

use everflame_lake::ErrorKind as LakeErrorKind;
use std::fmt;

/// What kind of answer a fault deserves; each wire has its own code for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request's fields are wrong: name, labels, times.
    InvalidArgument,
    /// The body is not a profile that can be stored.
    Unprocessable,
    /// A size limit is exceeded.
    TooLarge,
    /// The sender must slow down.
    RateLimited,
    /// It cannot be kept now; the sender should try again.
    Unavailable,
    /// A fault of the server.
    Internal,
}

impl ErrorKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::InvalidArgument,
        Self::Unprocessable,
        Self::TooLarge,
        Self::RateLimited,
        Self::Unavailable,
        Self::Internal,
    ];

    /// A name for metrics: `invalid_argument`, `unprocessable`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::Unprocessable => "unprocessable",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

/// An upload was refused or could not be stored; the message names the place and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// What kind of answer this deserves.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The same with `place` in front, for a fault in one of several parts.
    pub(crate) fn at(self, place: impl fmt::Display) -> Self {
        Self { message: format!("{place}: {}", self.message), ..self }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unprocessable, message)
    }
}

impl From<everflame_lake::Error> for Error {
    fn from(error: everflame_lake::Error) -> Self {
        let kind = match error.kind() {
            LakeErrorKind::Unavailable => ErrorKind::Unavailable,
            LakeErrorKind::Damaged | LakeErrorKind::Internal => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}
