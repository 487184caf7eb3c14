//! What can go wrong with a query.

use crate::selector::{SelectorError, TypedSelectorError};
use everflame_profile::Nanos;
use std::time::Duration;

/// Why a query was not answered. [`Error::kind`] says what a caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The selector is not one.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// The profile type with its selector is not one.
    #[error(transparent)]
    TypedSelector(#[from] TypedSelectorError),
    /// The range ends before it begins.
    #[error("the range ends ({until} ns) before it begins ({from} ns); swap start and end")]
    Range {
        /// Its first nanosecond.
        from: Nanos,
        /// Its last nanosecond.
        until: Nanos,
    },
    /// The values end before they begin.
    #[error("the largest value ({max}) is below the smallest ({min}); swap min and max")]
    Values {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// The step of a time series is too small.
    #[error("step is {step} ns; it must be at least 1 ms")]
    Step {
        /// The step in nanoseconds.
        step: Nanos,
    },
    /// Spans and traces were asked for together.
    #[error("the query selects by span and by trace; choose one")]
    SpansAndTraces,
    /// A part of a heatmap and ids were asked for together.
    #[error("the query selects a part of a heatmap, and profiles, spans or traces by id; choose one")]
    AreaAndIds,
    /// A limit would be, or was, exceeded.
    #[error(
        "the query needs {needed} {what}, the limit is {limit}; take a shorter range or a narrower selector"
    )]
    TooLarge {
        /// What there would be too much of.
        what: &'static str,
        /// How much is needed, as far as it is known.
        needed: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// The queries that run at once would need more memory than there is for all.
    #[error(
        "the queries that run now need {needed} bytes of memory, together they may have {limit}; ask again"
    )]
    Crowded {
        /// How much they need, as far as it is known.
        needed: u64,
        /// How much they may have.
        limit: u64,
    },
    /// It took too long and was stopped.
    #[error("the query took longer than {0:?} and was stopped; take a shorter range or a narrower selector")]
    Timeout(Duration),
    /// The storage failed.
    #[error(transparent)]
    Lake(#[from] everflame_lake::Error),
    /// A scan ended without a result.
    #[error("a scan stopped without a result: {0}")]
    Stopped(String),
}

/// What kind of fault an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The question is wrong.
    InvalidArgument,
    /// The question is too big.
    TooLarge,
    /// The time was not enough.
    Timeout,
    /// Try again later.
    Unavailable,
    /// Anything else.
    Internal,
}

impl Error {
    /// What kind of fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Selector(_)
            | Self::TypedSelector(_)
            | Self::Range { .. }
            | Self::Values { .. }
            | Self::Step { .. }
            | Self::SpansAndTraces
            | Self::AreaAndIds => ErrorKind::InvalidArgument,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Timeout(_) => ErrorKind::Timeout,
            Self::Crowded { .. } => ErrorKind::Unavailable,
            Self::Lake(error) if error.kind() == everflame_lake::ErrorKind::Unavailable => {
                ErrorKind::Unavailable
            }
            Self::Lake(_) | Self::Stopped(_) => ErrorKind::Internal,
        }
    }
}
