//! Why a statement was not answered.

use crate::Error;
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use std::time::Duration;

/// Why a statement was not answered. [`SqlError::kind`] says what a caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The statement is wrong, or asks for what SQL may not do here.
    #[error("{0}")]
    Statement(String),
    /// A limit would be, or was, exceeded.
    #[error("{0}")]
    TooLarge(String),
    /// It took too long and was stopped.
    #[error(
        "the statement took longer than {0:?} and was stopped; take a shorter range of time, or a table of sums such as samples_1h"
    )]
    Timeout(Duration),
    /// Others are being answered.
    #[error("{0} other statements are being answered; send this one again later")]
    Busy(usize),
    /// The engine could not answer a part.
    #[error(transparent)]
    Query(#[from] Error),
    /// Our fault.
    #[error("the statement could not be answered: {0}; please report it")]
    Internal(String),
}

/// What kind of fault a [`SqlError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlErrorKind {
    /// The statement is wrong.
    Statement,
    /// The statement needs more than it may.
    TooLarge,
    /// The time was not enough.
    Timeout,
    /// Try again later.
    Unavailable,
    /// Anything else.
    Internal,
}

impl SqlError {
    /// What kind of fault it is.
    pub fn kind(&self) -> SqlErrorKind {
        match self {
            Self::Statement(_) => SqlErrorKind::Statement,
            Self::TooLarge(_) => SqlErrorKind::TooLarge,
            Self::Timeout(_) => SqlErrorKind::Timeout,
            Self::Busy(_) => SqlErrorKind::Unavailable,
            Self::Query(error) => match error.kind() {
                crate::ErrorKind::InvalidArgument => SqlErrorKind::Statement,
                crate::ErrorKind::TooLarge => SqlErrorKind::TooLarge,
                crate::ErrorKind::Timeout => SqlErrorKind::Timeout,
                crate::ErrorKind::Unavailable => SqlErrorKind::Unavailable,
                crate::ErrorKind::Internal => SqlErrorKind::Internal,
            },
            Self::Internal(_) => SqlErrorKind::Internal,
        }
    }
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> Self {
        let place = error.diagnostic().and_then(|diagnostic| diagnostic.span).map(|span| span.start);
        let place = place.map_or(String::new(), |at| format!(" (line {}, column {})", at.line, at.column));
        from_root(error, &place)
    }
}

fn from_root(error: DataFusionError, place: &str) -> SqlError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            from_root(*inner, place)
        }
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(first) => from_root(first, place),
            None => SqlError::Internal("errors without one".to_owned()),
        },
        DataFusionError::Shared(inner) => match std::sync::Arc::try_unwrap(inner) {
            Ok(inner) => from_root(inner, place),
            Err(shared) => of_text(shared.find_root(), place),
        },
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(error) => SqlError::Query(*error),
            Err(other) => SqlError::Statement(format!("{other}{place}")),
        },
        DataFusionError::ArrowError(inner, _) => match *inner {
            ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
                Ok(error) => from_root(*error, place),
                Err(other) => SqlError::Internal(other.to_string()),
            },
            other => SqlError::Statement(format!("{other}{place}")),
        },
        other => of_text(&other, place),
    }
}

fn of_text(error: &DataFusionError, place: &str) -> SqlError {
    match error {
        DataFusionError::ResourcesExhausted(why) => SqlError::TooLarge(format!(
            "the statement needs more memory than it may: {}; filter on service, profile_type and time, take a table of sums such as samples_1h, or group by less",
            first_line(why)
        )),
        DataFusionError::SQL(error, _) => {
            let text = error.to_string();
            SqlError::Statement(text.strip_prefix("sql parser error: ").unwrap_or(&text).to_owned())
        }
        DataFusionError::Internal(_) | DataFusionError::ExecutionJoin(_) => {
            SqlError::Internal(first_line(&error.message()).to_owned())
        }
        DataFusionError::External(inner) => SqlError::Statement(format!("{inner}{place}")),
        other => SqlError::Statement(format!("{}{place}", first_line(&other.message()))),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_end_matches('.')
}
