//! What is stored goes into the spool, too, from which it is forwarded.
//!
//! First the lake has it, then the spool, then the upload is acknowledged. Between the first two a crash may come,
//! but nothing else: a sender who goes away does not stop it. Who was not answered before a crash sends again, and
//! the lake says that it had it from its log; then it goes into the spool, whether it had been there or not. What
//! goes wrong with the spool is counted, and never a fault of the upload.

use crate::dropped::{Event, Reason};
use crate::error::Error;
use crate::ingest::{Ingest, Inner};
use crate::merge;
use everflame_forward::{ForwardStatus, Frame, Spool, Unsent, UnsentReason, Via};
use everflame_lake::{Appended, Batch};
use std::sync::Arc;

impl Ingest {
    /// What became of what is forwarded; nothing when nothing is.
    pub fn forward_status(&self) -> Option<ForwardStatus> {
        self.0.spool.as_ref().map(|spool| spool.status())
    }

    /// Records what was stored here, and is not forwarded.
    pub fn note_unsent(&self, unsent: &Unsent) {
        self.0.note_unsent(unsent);
    }

    /// Whether this server had sent on itself what came through `via`, `bytes` large. Then it was stored before,
    /// and counts as such.
    pub(crate) fn is_back(&self, via: &Via, bytes: usize) -> bool {
        let is_back = self.0.spool.as_ref().is_some_and(|spool| spool.is_back(via));
        if is_back {
            self.0.counters.receive(bytes);
            self.0.counters.settle(Ok(true));
        }
        is_back
    }

    /// Stores `batch`, which came through `via` and has the frames of all its stacks.
    pub(crate) async fn append_and_spool(
        &self,
        spool: &Arc<Spool>,
        batch: Batch,
        via: &Via,
    ) -> Result<Appended, Error> {
        let (inner, own, via) = (self.0.clone(), spool.clone(), via.clone());
        let (batch, frame) = blocking(move || {
            let frame = own.frame(&batch, &via);
            (inner.without_known_stacks(batch), frame)
        })
        .await?;
        // A task of its own ends also when nobody waits for the answer any more.
        let task = tokio::spawn(append_then_spool(self.0.clone(), spool.clone(), batch, frame));
        task.await.map_err(stopped)?
    }
}

async fn append_then_spool(
    inner: Arc<Inner>,
    spool: Arc<Spool>,
    batch: Batch,
    frame: Option<Frame>,
) -> Result<Appended, Error> {
    let appended = inner.lake.append(batch).await?;
    // What is there already was forwarded when it came first.
    if let (Appended::Stored | Appended::DuplicateOfLog, Some(frame)) = (appended, frame) {
        let unsent = blocking(move || spool.write(&frame)).await.unwrap_or_default();
        unsent.iter().for_each(|unsent| inner.note_unsent(unsent));
    }
    Ok(appended)
}

impl Inner {
    /// The batch as the lake wants it: with the frames of the stacks that it does not know.
    fn without_known_stacks(&self, mut batch: Batch) -> Batch {
        let unknown = self.lake.unknown_stacks(&batch.service, &batch.stacks);
        if unknown.len() < batch.new_stacks.stacks.len() {
            batch.new_stacks = merge::keep_new_stacks(&batch.new_stacks, &unknown);
        }
        batch
    }

    fn note_unsent(&self, unsent: &Unsent) {
        let reason = match unsent.reason {
            UnsentReason::SpoolFull => Reason::ForwardSpoolFull,
            UnsentReason::Refused => Reason::ForwardRefused,
            UnsentReason::Spool => Reason::ForwardSpool,
        };
        let event = Event {
            service: &unsent.service,
            reason,
            count: unsent.profiles,
            bytes: unsent.bytes,
            labels: None,
            message: &unsent.message,
        };
        self.dropped.record(event, self.clock.now());
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(stopped)
}

fn stopped(error: tokio::task::JoinError) -> Error {
    let message = format!("the profile was not stored: {error}; please report it with the profile");
    Error::new(crate::ErrorKind::Internal, message)
}

#[cfg(test)]
pub(crate) mod tests;
