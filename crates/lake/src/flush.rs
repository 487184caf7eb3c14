//! The task that moves the head into the tables.

use crate::error::Error;
use crate::lake::Shared;
use crate::snapshot::HeadChunk;
use crate::tables::{Flush, Sequences, SeriesDay, StackRows, Tables};
use crate::writer::Command;
use everflame_profile::SeriesId;
use hashbrown::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// After a failure the flush is tried again so much later.
const RETRY: Duration = Duration::from_secs(1);

/// What the task can be asked for.
pub(crate) enum FlushRequest {
    /// Flush now, and say how it went to whoever waits.
    Now(Option<oneshot::Sender<Result<(), Error>>>),
}

/// A head that is being flushed.
#[derive(Debug)]
pub(crate) struct Frozen {
    /// Sequence of its last record in the log.
    pub(crate) sequence: u64,
    /// Bytes that it held as a head.
    pub(crate) bytes: usize,
    pub(crate) chunks: Vec<Arc<HeadChunk>>,
    pub(crate) days: Vec<SeriesDay>,
    pub(crate) stacks: StackRows,
}

/// Starts the task. It ends when the lake is dropped.
pub(crate) fn start(
    shared: Arc<Shared>,
    tables: Arc<Tables>,
    writer: mpsc::Sender<Command>,
    mut requests: mpsc::Receiver<FlushRequest>,
) {
    let writer = writer.downgrade();
    tokio::spawn(async move {
        loop {
            let wait = if shared.is_flush_failing() { RETRY } else { shared.config.flush_interval };
            let reply = match tokio::time::timeout(wait, requests.recv()).await {
                Ok(Some(FlushRequest::Now(reply))) => reply,
                Ok(None) => return,
                Err(_) => None,
            };
            let Some(writer) = writer.upgrade() else { return };
            let result = flush(&shared, &tables, &writer).await;
            shared.flush_failing.store(result.is_err(), Relaxed);
            if let Err(error) = &result {
                shared.flush_failures.fetch_add(1, Relaxed);
                tracing::error!(%error, "the head could not be moved into the tables; it is safe in the write-ahead log");
            }
            if let Some(reply) = reply {
                let _ = reply.send(result);
            }
        }
    });
}

async fn flush(
    shared: &Arc<Shared>,
    tables: &Arc<Tables>,
    writer: &mpsc::Sender<Command>,
) -> Result<(), Error> {
    // What failed last time comes first; only then the head of today.
    let failed = shared.state.read().flushing.clone();
    if let Some(frozen) = failed {
        finish(shared, tables, writer, &frozen).await?;
    }
    let (reply, answer) = oneshot::channel();
    writer.send(Command::Rotate(reply)).await.map_err(|_| Error::Closed)?;
    match answer.await.map_err(|_| Error::Closed)?? {
        Some(frozen) => finish(shared, tables, writer, &frozen).await,
        None => Ok(()),
    }
}

async fn finish(
    shared: &Arc<Shared>,
    tables: &Arc<Tables>,
    writer: &mpsc::Sender<Command>,
    frozen: &Arc<Frozen>,
) -> Result<(), Error> {
    commit(shared, tables, frozen).await?;
    writer.send(Command::Flushed(frozen.sequence)).await.map_err(|_| Error::Closed)
}

/// Commits `frozen` to the tables that lack it, and shows the files instead of the head.
pub(crate) async fn commit(
    shared: &Arc<Shared>,
    tables: &Arc<Tables>,
    frozen: &Arc<Frozen>,
) -> Result<(), Error> {
    let (writing, head) = (tables.clone(), frozen.clone());
    let runtime = tokio::runtime::Handle::current();
    // Sorting and encoding takes a second; it must not hold up the threads that answer requests.
    let committed = tokio::task::spawn_blocking(move || {
        let series: HashMap<SeriesId, _> = head.days.iter().map(|day| (day.id, day.series.clone())).collect();
        let flush = Flush {
            sequence: head.sequence,
            chunks: &head.chunks,
            series: &series,
            series_days: &head.days,
            stacks: &head.stacks,
        };
        runtime.block_on(writing.commit(&flush, Sequences::default()))
    })
    .await
    .map_err(|_| Error::Closed)??;
    let mut state = shared.state.write();
    for (table, files) in committed {
        let table = &mut state.tables[table];
        table.replace(&[], files);
        table.sequence = frozen.sequence;
    }
    state.flushing = None;
    drop(state);
    shared.stacks.write().shrink(None);
    shared.flushes.fetch_add(1, Relaxed);
    Ok(())
}
