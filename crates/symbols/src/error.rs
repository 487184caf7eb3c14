//! What can go wrong with debug files.

use crate::build_id::NotABuildId;
use std::path::{Path, PathBuf};

/// Why a debug file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The id is none.
    #[error(transparent)]
    BuildId(#[from] NotABuildId),
    /// The request says something that it must not.
    #[error("{0}")]
    Invalid(String),
    /// The file is larger than files may be.
    #[error("{0}")]
    TooLarge(String),
    /// All files together would take more than they may.
    #[error("{0}")]
    Full(String),
    /// There is no such upload.
    #[error("{0}")]
    NotFound(String),
    /// The upload cannot be done now.
    #[error("{0}")]
    NotNow(String),
    /// The file is there already.
    #[error("{0}")]
    Exists(String),
    /// The disk did not do what it should.
    #[error("{path}: {source}; is the disk full, or read-only?")]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}
