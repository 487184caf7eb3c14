//! Why an upload was not stored.

use crate::dropped::Reason;
use everflame_lake::ErrorKind as LakeErrorKind;
use everflame_profile::{Labels, Nanos};
use std::fmt;
use std::time::Duration;

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
    reason: Reason,
    retry_after: Option<Duration>,
    /// Labels of what was refused, as far as they were known.
    labels: Option<Box<Labels>>,
    /// Whether it is in the record of what was dropped.
    is_noted: bool,
}

impl Error {
    /// What kind of answer this deserves.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// After how long it would pass, when that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let reason = match kind {
            ErrorKind::InvalidArgument => Reason::InvalidArgument,
            ErrorKind::Unprocessable => Reason::Unprocessable,
            ErrorKind::TooLarge => Reason::TooLarge,
            ErrorKind::RateLimited => Reason::TenantRate,
            ErrorKind::Unavailable => Reason::Unavailable,
            ErrorKind::Internal => Reason::Internal,
        };
        Self { kind, message: message.into(), reason, retry_after: None, labels: None, is_noted: false }
    }

    /// Too much came in; after `wait` nanoseconds it would pass.
    pub(crate) fn rate_limited(reason: Reason, wait: Nanos, message: impl Into<String>) -> Self {
        let retry_after = Some(Duration::from_nanos(wait.max(0).cast_unsigned()));
        Self { reason, retry_after, ..Self::new(ErrorKind::RateLimited, message) }
    }

    /// The same about an upload with `labels`.
    pub(crate) fn of(mut self, labels: &Labels) -> Self {
        self.labels.get_or_insert_with(|| Box::new(labels.clone()));
        self
    }

    pub(crate) fn is_noted(&self) -> bool {
        self.is_noted
    }

    /// The same, in the record of what was dropped.
    pub(crate) fn noted(self) -> Self {
        Self { is_noted: true, ..self }
    }

    /// What to count it as.
    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    /// Labels of what was refused, as far as they were known.
    pub(crate) fn labels(&self) -> Option<&Labels> {
        self.labels.as_deref()
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
