//! What can go wrong in the lake.

use deltalake_core::DeltaTableError;
use std::path::{Path, PathBuf};

/// A fault of the storage. [`Error::kind`] says what a caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has this data folder open.
    #[error(
        "{path} is in use by another process; stop it, or give this one a data folder of its own (--data)"
    )]
    Locked {
        /// The data folder.
        path: PathBuf,
    },
    /// The disk is full.
    #[error(
        "{path}: no space left on the disk; free some, what was acknowledged is safe and pushes go on by themselves"
    )]
    Full {
        /// What could not be written.
        path: PathBuf,
    },
    /// A commit is there that this process has not written.
    #[error(
        "{path}: another process writes this table; give each server a storage of its own (--storage), what was acknowledged here is safe in its write-ahead log"
    )]
    Conflict {
        /// The commit.
        path: PathBuf,
    },
    /// The object storage did not answer, or refused.
    #[error(
        "{place}: {why}; what was acknowledged is safe, and what waits goes on by itself when the storage answers"
    )]
    Storage {
        /// What was read or written.
        place: String,
        /// Why.
        why: String,
    },
    /// The lake is closing or has stopped after a fault.
    #[error("the storage is shutting down; send the profile again")]
    Closed,
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file on disk is not what was written.
    #[error("{path}: damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It is as it should be, and what was asked for cannot be done with it.
    #[error("{path}: {why}")]
    Refused {
        /// The data folder.
        path: PathBuf,
        /// Why, and what to do instead.
        why: String,
    },
    /// A Delta table could not be read or committed.
    #[error("table {table}: {source}")]
    Delta {
        /// Name of the table.
        table: &'static str,
        /// Why.
        source: Box<DeltaTableError>,
    },
    /// A Parquet file could not be read or written.
    #[error("{path}: {source}")]
    Parquet {
        /// The file.
        path: String,
        /// Why.
        source: parquet::errors::ParquetError,
    },
}

/// What kind of fault an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Try again later: disk full, or shutting down.
    Unavailable,
    /// The data on disk is damaged.
    Damaged,
    /// Anything else of the environment.
    Internal,
}

impl Error {
    /// What kind of fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Full { .. } | Self::Storage { .. } | Self::Closed => ErrorKind::Unavailable,
            Self::Damaged { .. } | Self::Parquet { .. } => ErrorKind::Damaged,
            Self::Locked { .. }
            | Self::Conflict { .. }
            | Self::Refused { .. }
            | Self::Io { .. }
            | Self::Delta { .. } => ErrorKind::Internal,
        }
    }

    /// An error of the operating system at `path`; a full disk is told apart.
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { path, source },
        }
    }

    /// Whether the same may be done later without anybody having lost anything: the storage does not answer, or
    /// the disk is full or fails. A file that is missing or damaged stays so.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Storage { .. } | Self::Full { .. } => true,
            Self::Io { source, .. } => source.kind() != std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// An error of the Delta library; a full disk is told apart, however deep it lies.
    pub(crate) fn delta(table: &'static str, path: &Path, source: DeltaTableError) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&source);
        while let Some(error) = cause {
            let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            if let Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) = kind {
                return Self::Full { path: path.to_owned() };
            }
            cause = error.source();
        }
        Self::Delta { table, source: Box::new(source) }
    }
}
