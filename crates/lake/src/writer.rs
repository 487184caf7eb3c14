//! The thread that owns the write-ahead log and is alone in changing the head.
//!
//! It takes whatever waits, writes it behind each other, syncs once, applies it and answers: while one sync
//! is under way the next group gathers.

use crate::batch::{Batch, ProfileId};
use crate::error::Error;
use crate::flush::{FlushRequest, Frozen};
use crate::lake::{Appended, Shared};
use crate::uploads::Uploads;
use crate::wal::Wal;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Uploads that may wait for the thread; more wait at the sender.
const QUEUE: usize = 1024;
/// A group is written when it holds so many bytes, even if more wait.
const GROUP_BYTES: usize = 8 << 20;
/// How often a full head looks whether the flush is through.
const FULL_HEAD_POLL: Duration = Duration::from_millis(2);

/// What the thread can be asked for.
pub(crate) enum Command {
    /// Store a batch.
    Append(Box<Append>),
    /// Begin a new segment and a new head; answers with the old head.
    Rotate(oneshot::Sender<Result<Option<Arc<Frozen>>, Error>>),
    /// Everything through this sequence is in the tables.
    Flushed(u64),
    /// These profiles were deleted: an upload of them is no retry.
    Forget(Vec<ProfileId>),
    /// Take no more batches.
    Refuse(oneshot::Sender<()>),
}

/// A batch, encoded, and who waits for it.
pub(crate) struct Append {
    pub(crate) batch: Batch,
    pub(crate) payload: Vec<u8>,
    pub(crate) crc: u32,
    pub(crate) reply: oneshot::Sender<Result<Appended, Error>>,
}

/// Starts the thread. It ends when all senders are gone.
pub(crate) fn start(
    shared: Arc<Shared>,
    wal: Wal,
    uploads: Uploads,
    flusher: mpsc::Sender<FlushRequest>,
) -> Result<mpsc::Sender<Command>, Error> {
    let (sender, commands) = mpsc::channel(QUEUE);
    let path = shared.config.path.clone();
    let writer = Writer::new(shared, wal, uploads, &flusher);
    std::thread::Builder::new()
        .name("everflame-wal".to_owned())
        .spawn(move || writer.run(commands))
        .map_err(|source| Error::io(path, source))?;
    Ok(sender)
}

/// What the thread works with.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    wal: Wal,
    uploads: Uploads,
    flusher: mpsc::WeakSender<FlushRequest>,
    refusing: bool,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        wal: Wal,
        uploads: Uploads,
        flusher: &mpsc::Sender<FlushRequest>,
    ) -> Self {
        Self { shared, wal, uploads, flusher: flusher.downgrade(), refusing: false }
    }

    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut next = None;
        while let Some(command) = next.take().or_else(|| commands.blocking_recv()) {
            match command {
                Command::Append(first) => {
                    let mut bytes = first.payload.len();
                    let mut group = vec![*first];
                    while bytes < GROUP_BYTES {
                        match commands.try_recv() {
                            Ok(Command::Append(more)) => {
                                bytes += more.payload.len();
                                group.push(*more);
                            }
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.append(group);
                }
                Command::Rotate(reply) => drop(reply.send(self.rotate())),
                Command::Flushed(sequence) => self.flushed(sequence),
                Command::Forget(profiles) => self.forget(&profiles),
                Command::Refuse(reply) => {
                    self.refusing = true;
                    let _ = reply.send(());
                }
            }
            self.shared.wal_bytes.store(self.wal.bytes(), Relaxed);
        }
    }

    /// Stores a group of batches and answers.
    pub(crate) fn append(&mut self, group: Vec<Append>) {
        if self.refusing {
            return answer(group, || Err(Error::Closed));
        }
        if !self.wait_for_room() {
            return answer(group, || Err(self.shared.no_room()));
        }
        // A retry may be in the same group as what it repeats, and must not be answered before the sync.
        let mut fresh = Vec::with_capacity(group.len());
        let mut repeated = Vec::new();
        for append in group {
            let is_new = self.uploads.insert(&append.batch);
            if is_new { fresh.push(append) } else { repeated.push(append) }
        }
        if !fresh.is_empty() {
            let payloads = fresh.iter().map(|append| (append.payload.as_slice(), append.crc));
            if let Err(error) = self.wal.append(payloads) {
                tracing::error!(%error, uploads = fresh.len(), "uploads were refused");
                self.uploads.forget_batches(fresh.iter().map(|append| &append.batch));
                let path = self.shared.config.path.clone();
                let is_full = matches!(error, Error::Full { .. });
                fresh.extend(repeated);
                return answer(fresh, || match is_full {
                    true => Err(Error::Full { path: path.clone() }),
                    false => Err(Error::Closed),
                });
            }
            self.shared.wal_syncs.fetch_add(1, Relaxed);
        }
        for append in fresh {
            self.shared.apply(&append.batch);
            let _ = append.reply.send(Ok(Appended::Stored));
        }
        for append in repeated {
            let appended = match self.uploads.take_from_log(&append.batch) {
                true => Appended::DuplicateOfLog,
                false => Appended::Duplicate,
            };
            let _ = append.reply.send(Ok(appended));
        }
        if self.shared.state.read().head.bytes() >= self.shared.config.flush_bytes {
            self.ask_for_flush();
        }
    }

    /// Waits while the head is at twice its bound and a flush is under way. False when the flush fails, so
    /// that waiting would not help.
    fn wait_for_room(&self) -> bool {
        let limit = self.shared.config.flush_bytes * 2;
        loop {
            {
                let state = self.shared.state.read();
                if state.head.bytes() < limit {
                    return true;
                }
                if state.flushing.is_none() {
                    break;
                }
            }
            if self.shared.is_flush_failing() {
                return false;
            }
            std::thread::sleep(FULL_HEAD_POLL);
        }
        // The flush task needs this thread to rotate, which comes next in the queue.
        self.ask_for_flush();
        !self.shared.is_flush_failing()
    }

    fn ask_for_flush(&self) {
        if let Some(flusher) = self.flusher.upgrade() {
            let _ = flusher.try_send(FlushRequest::Now(None));
        }
    }

    /// Deletes what is in the tables.
    pub(crate) fn flushed(&mut self, sequence: u64) {
        if let Err(error) = self.wal.delete_through(sequence) {
            tracing::warn!(%error, "a segment of the write-ahead log that is no longer needed stays");
        }
    }

    /// Takes uploads of these profiles for new ones.
    pub(crate) fn forget(&mut self, profiles: &[ProfileId]) {
        self.uploads.forget_profiles(profiles);
    }

    /// Begins a new segment and a new head; returns the old head.
    pub(crate) fn rotate(&mut self) -> Result<Option<Arc<Frozen>>, Error> {
        if self.shared.state.read().head.profiles() == 0 {
            return Ok(None);
        }
        let sequence = self.wal.rotate()?;
        Ok(self.shared.freeze(sequence))
    }
}

fn answer(group: Vec<Append>, result: impl Fn() -> Result<Appended, Error>) {
    for append in group {
        let _ = append.reply.send(result());
    }
}
