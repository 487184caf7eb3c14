//! Arrow records of profiles: read from IPC streams within bounds, in the layout with the stacks beside the
//! samples and in the one where they follow on demand.

mod columns;
mod ipc;
mod locations;
mod samples;

use crate::app::blocking;
use crate::error::ApiError;
use arrow::array::{ArrayRef, BinaryArray};
use arrow::record_batch::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use bytes::Bytes;
use everflame_formats::{Limits, Part};
use samples::Collected;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The profiles in a stream that is whole.
pub(super) async fn profiles(stream: Bytes) -> Result<Vec<Part>, ApiError> {
    blocking(move || {
        let limits = Limits::default();
        let mut collected = Collected::default();
        guarded(|| add(&mut collected, &stream, &limits))?;
        collected.into_parts()
    })
    .await?
}

/// Samples whose stacks are named by ids, of which the locations are still to come.
pub(super) struct Pending(Collected);

impl Pending {
    /// Reads the samples.
    pub(super) async fn samples(stream: Bytes) -> Result<Self, ApiError> {
        blocking(move || {
            let mut collected = Collected::default();
            guarded(|| add(&mut collected, &stream, &Limits::default()))?;
            Ok(Self(collected))
        })
        .await?
    }

    /// The ids of the stacks whose locations are wanted, as a stream; nothing when all are known.
    pub(super) fn wanted(&self) -> Result<Option<Vec<u8>>, ApiError> {
        let unknown = self.0.unknown();
        if unknown.is_empty() {
            return Ok(None);
        }
        let stream = || {
            let ids: ArrayRef = Arc::new(BinaryArray::from_vec(unknown));
            let record = RecordBatch::try_from_iter([("stacktrace_id", ids)])?;
            let mut writer = StreamWriter::try_new(Vec::new(), &record.schema())?;
            writer.write(&record)?;
            writer.into_inner()
        };
        stream().map(Some).map_err(|error: arrow::error::ArrowError| {
            ApiError::internal(format_args!(
                "the wanted stacks could not be written: {error}; please report it"
            ))
        })
    }

    /// Reads the locations; the profiles that they complete.
    pub(super) async fn locations(self, stream: Bytes) -> Result<Vec<Part>, ApiError> {
        blocking(move || {
            let mut collected = self.0;
            guarded(|| add(&mut collected, &stream, &Limits::default()))?;
            collected.into_parts()
        })
        .await?
    }

    /// The profiles, when no locations are wanted.
    pub(super) fn into_parts(self) -> Result<Vec<Part>, ApiError> {
        self.0.into_parts()
    }
}

fn add(collected: &mut Collected, stream: &[u8], limits: &Limits) -> Result<(), ApiError> {
    for batch in ipc::read(stream)? {
        collected.add(&batch, limits)?;
    }
    Ok(())
}

/// Arrow's reader may still panic on what nobody thought of; that is a fault of the message.
fn guarded<T>(read: impl FnOnce() -> Result<T, ApiError>) -> Result<T, ApiError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(ApiError::invalid("Arrow IPC stream: it cannot be read; its lengths do not fit together"))
    })
}
