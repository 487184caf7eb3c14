//! Debug files that agents send: what Parca's wire and Pyroscope's have in common.

use crate::app::{App, blocking};
use crate::error::ApiError;
use axum::body::Bytes;
use everflame_symbols::{BuildId, Error, FileKind, NotABuildId, Store, Symbolizer, Upload};
use futures::{Stream, StreamExt};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Files that are received at once; senders of more come back later.
const MAX_UPLOADS: usize = 8;
/// How long a sender may take for its next piece.
const PATIENCE: Duration = Duration::from_secs(60);

/// Paths at which bodies go to disk as they come, so that they do not count as held in memory.
const UPLOADS: [&str; 4] = [
    "/parca.debuginfo.v1alpha1.DebuginfoService/Upload",
    "/api/parca.debuginfo.v1alpha1.DebuginfoService/Upload",
    "/debuginfo.v1alpha1.DebuginfoService/Upload",
    "/debuginfo.v1alpha1.DebuginfoService/Upload/",
];

/// Whether the body of a request to `path` goes to disk as it comes.
pub(crate) fn is_upload(path: &str) -> bool {
    UPLOADS
        .iter()
        .any(|upload| if upload.ends_with('/') { path.starts_with(upload) } else { path == *upload })
}

/// Turns for receiving files.
pub(crate) struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(MAX_UPLOADS))
    }
}

impl From<NotABuildId> for ApiError {
    fn from(error: NotABuildId) -> Self {
        Self::invalid(error)
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::BuildId(_) | Error::Invalid(_) => Self::invalid(error),
            Error::TooLarge(_) => Self::too_large(error),
            Error::Full(_) => Self::exhausted(error),
            Error::NotFound(_) => Self::not_found(error),
            Error::NotNow(_) => Self::failed_precondition(error),
            Error::Exists(_) => Self::already_exists(error),
            Error::Io { .. } => Self::unavailable(error),
        }
    }
}

/// What names addresses, when it is on.
pub(crate) fn symbolizer(app: &App) -> Option<&Arc<Symbolizer>> {
    app.engine.symbolizer()
}

/// Where the files are; a refusal when none are kept.
pub(crate) fn store(app: &App) -> Result<Arc<Store>, ApiError> {
    match symbolizer(app) {
        Some(symbolizer) => Ok(symbolizer.store().clone()),
        None => Err(ApiError::failed_precondition(
            "debug files are not kept by this server (debug-files=false); ask ShouldInitiateUpload first, and send \
             none",
        )),
    }
}

/// Does something with the store, on a thread for blocking work.
pub(crate) async fn with_store<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
) -> Result<T, ApiError> {
    let store = store(app)?;
    Ok(blocking(move || work(&store)).await??)
}

/// A file broke off on its way here.
pub(crate) fn broken_off(error: impl fmt::Display) -> String {
    format!("the file did not arrive whole: {error}; send it again")
}

/// Receives a file of `build`, whose upload must have been asked for. Returns its size.
pub(crate) async fn receive(
    app: &App,
    build: BuildId,
    kind: FileKind,
    upload_id: Option<String>,
    mut pieces: impl Stream<Item = Result<Bytes, ApiError>> + Unpin,
) -> Result<u64, ApiError> {
    let store = store(app)?;
    let _turn = app.uploads.0.try_acquire().map_err(|_| {
        ApiError::unavailable(format_args!(
            "{MAX_UPLOADS} debug files are being received; send this one again later"
        ))
    })?;
    let mut upload = blocking(move || Upload::begin(&store, build, kind, upload_id.as_deref())).await??;
    loop {
        let piece = tokio::time::timeout(PATIENCE, pieces.next()).await.map_err(|_| {
            ApiError::deadline_exceeded(format_args!(
                "nothing of the file came for {} s; send it again",
                PATIENCE.as_secs()
            ))
        })?;
        let Some(piece) = piece.transpose()? else { break };
        upload = blocking(move || upload.write(&piece).map(|()| upload)).await??;
    }
    Ok(blocking(move || upload.end()).await??)
}
