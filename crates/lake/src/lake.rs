//! The lake of one tenant: takes batches in, keeps them durable, gives snapshots out.
//!
//! One thread writes the log and the head ([`crate::writer`]), one task moves the head into the tables
//! ([`crate::flush`]); everybody else reads.

use crate::batch::Batch;
use crate::compaction::{self, CompactionRequest};
use crate::deletion::{Deleted, Deletion, Gone};
use crate::disk::{Disk, RealDisk};
use crate::error::Error;
use crate::flush::{self, FlushRequest, Frozen};
use crate::footers::Footers;
use crate::head::Head;
use crate::record;
use crate::retention::{Retention, RetentionOverride};
use crate::series::{SeriesIndex, TouchedDays};
use crate::service_sizes::KnownSizes;
use crate::snapshot::{ResolvedStacks, SeriesMatch, Snapshot, TierSnapshot};
use crate::stacks::{self, StackStore};
use crate::store::{self, StorageConfig, Store};
use crate::tables::{Level, Opened, TableId, TableStates, Tables, Tier};
use crate::uploads::Uploads;
use crate::wal::{Replayed, Wal, payload_crc};
use crate::warm_up::warm_up;
use crate::writer::{self, Command};
use everflame_profile::{Clock, Nanos, Series, SeriesId, StackId};
use parking_lot::RwLock;
use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How a lake is opened.
#[derive(Clone, Debug)]
pub struct LakeConfig {
    /// The data folder. The lock and the write-ahead log lie in it, and beside them one folder per tenant.
    pub path: PathBuf,
    /// Name of the tenant, also of its folder.
    pub tenant: String,
    /// The head goes into the tables at least so often.
    pub flush_interval: Duration,
    /// The head goes into the tables when it holds so many bytes. Twice as many are held while a flush is
    /// under way; then pushes wait.
    pub flush_bytes: usize,
    /// Where the tables are.
    pub storage: StorageConfig,
    /// How long what is kept.
    pub retention: Retention,
    /// Other ages for some series.
    pub retention_overrides: Vec<RetentionOverride>,
    /// Labels with many values, one for each instance of a service: there are sums for long ranges that do
    /// not tell them apart. The choice of a new store holds for ever.
    pub instance_labels: Vec<String>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is on disk and can be queried.
    Stored,
    /// The same upload is stored already; nothing was added.
    Duplicate,
    /// The same, of an upload that the log had when the lake was opened: whoever stored it may not have lived to
    /// see it. Said once of an upload.
    DuplicateOfLog,
}

impl Appended {
    /// Whether it was there already.
    pub fn is_duplicate(self) -> bool {
        self != Self::Stored
    }
}

/// An open lake.
pub struct Lake {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tables: Arc<Tables>,
    writer: mpsc::Sender<Command>,
    flusher: mpsc::Sender<FlushRequest>,
    compactor: mpsc::Sender<CompactionRequest>,
    pub(crate) replayed: Replayed,
    pub(crate) store: Arc<dyn Store>,
    /// Held: they keep a second process out.
    _locks: [Option<Box<dyn Any + Send + Sync>>; 2],
}

/// What the writer thread, the flush task and the readers share.
pub(crate) struct Shared {
    pub(crate) config: LakeConfig,
    pub(crate) state: RwLock<State>,
    pub(crate) series: RwLock<SeriesIndex>,
    pub(crate) stacks: RwLock<StackStore>,
    pub(crate) footers: Arc<Footers>,
    pub(crate) sizes: KnownSizes,
    pub(crate) wal_bytes: AtomicU64,
    pub(crate) wal_syncs: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) flush_failures: AtomicU64,
    pub(crate) flush_failing: AtomicBool,
    pub(crate) compactions: AtomicU64,
    pub(crate) compaction_failures: AtomicU64,
    pub(crate) pending_files: AtomicU64,
    pub(crate) closing: AtomicBool,
}

/// Head and files; changed together, so that a snapshot sees every profile exactly once.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) head: Head,
    pub(crate) touched: TouchedDays,
    pub(crate) flushing: Option<Arc<Frozen>>,
    pub(crate) tables: TableStates,
}

/// An open lake at rest: what its threads work on.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tables: Arc<Tables>,
    pub(crate) wal: Wal,
    pub(crate) uploads: Uploads,
    pub(crate) replayed: Replayed,
}

impl Core {
    /// Opens the tables in `store`, and replays what the write-ahead log on `disk` holds.
    pub(crate) async fn open(
        config: LakeConfig,
        disk: Arc<dyn Disk>,
        store: Arc<dyn Store>,
        now: Nanos,
    ) -> Result<Self, Error> {
        let (tables, opened) = Tables::open(store, &config.instance_labels, now).await?;
        let tables = Arc::new(tables);
        let Opened { tables: states, flushed, series, dropped_labels } = opened;
        if dropped_labels != config.instance_labels {
            tracing::warn!(
                ?dropped_labels,
                "the sums in this store were made without these labels, and go on so: the configuration differs"
            );
        }
        let named = TableId::ALL.into_iter().map(|table| states[table].sequence).max().unwrap_or_default();
        let mut uploads = Uploads::default();
        uploads.load(&states[TableId::Profiles].files)?;
        let shared = Arc::new(Shared {
            state: RwLock::new(State { tables: states, ..State::default() }),
            series: RwLock::new(SeriesIndex::new(dropped_labels)),
            stacks: RwLock::default(),
            footers: Arc::default(),
            sizes: KnownSizes::default(),
            wal_bytes: AtomicU64::new(0),
            wal_syncs: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            flush_failures: AtomicU64::new(0),
            flush_failing: AtomicBool::new(false),
            compactions: AtomicU64::new(0),
            compaction_failures: AtomicU64::new(0),
            pending_files: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            config,
        });
        {
            let mut index = shared.series.write();
            for day in &series {
                index.note(day.id, &day.series, day.first, day.last);
            }
        }
        // A crash between the commits of one flush leaves some tables ahead of others: those records go
        // into a head of their own, and only into the tables that lack them.
        let all = [flushed.stacks, flushed.series, flushed.profiles, flushed.samples];
        let (behind, ahead) = all.iter().fold((u64::MAX, 0), |(low, high), &at| (low.min(at), high.max(at)));
        let mut half_done = None;
        let folder = shared.config.path.join("wal");
        let (wal, replayed) = Wal::open(disk, &folder, ahead.max(named), &mut |record| {
            let batch = match record::decode(&record.payload) {
                Ok(batch) => batch,
                Err(why) => return Err(Error::Damaged { path: folder.clone(), why }),
            };
            uploads.insert_from_log(&batch);
            if record.sequence <= behind {
                return Ok(());
            }
            if record.sequence > ahead && half_done.is_none() && behind < ahead {
                half_done = Some(shared.freeze(ahead));
            }
            shared.apply(&batch);
            Ok(())
        })?;
        if behind < ahead && half_done.is_none() {
            half_done = Some(shared.freeze(ahead));
        }
        if let Some(Some(frozen)) = half_done {
            flush::commit(&shared, &tables, &frozen).await?;
        }
        shared.wal_bytes.store(wal.bytes(), Relaxed);
        Ok(Self { shared, tables, wal, uploads, replayed })
    }
}

impl Lake {
    /// Opens or makes the lake in `config.path`, and replays what the write-ahead log holds.
    pub async fn open(mut config: LakeConfig, clock: Arc<dyn Clock>) -> Result<Arc<Self>, Error> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        config.path = std::path::absolute(&config.path).map_err(|source| Error::io(&config.path, source))?;
        let make = || {
            disk.create_folder(&config.path)?;
            config.path.parent().map_or(Ok(()), |above| disk.sync_folder(above))
        };
        make().map_err(|source| Error::io(&config.path, source))?;
        let lock = lock(disk.as_ref(), &config)?;
        let (path, tenant) = (&config.path, &config.tenant);
        let (store, store_lock) = store::open(&config.storage, path, tenant, disk.clone(), clock.clone())?;
        let Core { shared, tables, wal, uploads, replayed } =
            Core::open(config, disk, store.clone(), clock.now()).await?;
        if store.process().is_none() {
            let shared = shared.clone();
            let warm = tokio::task::spawn_blocking(move || warm_up(&shared));
            warm.await.map_err(|_| Error::Closed)?;
        }
        let (flusher, requests) = mpsc::channel(16);
        let writer = writer::start(shared.clone(), wal, uploads, flusher.clone())?;
        flush::start(shared.clone(), tables.clone(), writer.clone(), requests);
        let (compactor, requests) = mpsc::channel(1);
        compaction::start(shared.clone(), tables.clone(), clock, requests);
        let locks = [Some(lock), store_lock];
        Ok(Arc::new(Self { shared, tables, writer, flusher, compactor, replayed, store, _locks: locks }))
    }

    /// A lake without threads: whoever has the rest of `core` does their work.
    #[cfg(test)]
    pub(crate) fn resting(
        core: &Core,
        store: Arc<dyn Store>,
        writer: mpsc::Sender<Command>,
        flusher: mpsc::Sender<FlushRequest>,
    ) -> Self {
        let (shared, tables, (compactor, _)) = (core.shared.clone(), core.tables.clone(), mpsc::channel(1));
        let replayed = core.replayed;
        Self { shared, tables, writer, flusher, compactor, replayed, store, _locks: [None, None] }
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Name of the tenant whose profiles these are.
    pub fn tenant(&self) -> &str {
        &self.shared.config.tenant
    }

    /// Positions in `stacks` of those whose frames must be sent along in [`Batch::new_stacks`].
    pub fn unknown_stacks(&self, service: &str, stacks: &[StackId]) -> Vec<u32> {
        self.shared.stacks.read().unknown(service, stacks)
    }

    /// Stores `batch`. When this returns, it survives a crash and is part of every new snapshot.
    pub async fn append(&self, batch: Batch) -> Result<Appended, Error> {
        let payload = record::encode(&batch);
        let crc = payload_crc(&payload);
        let (reply, answer) = oneshot::channel();
        let command = Command::Append(Box::new(writer::Append { batch, payload, crc, reply }));
        self.writer.send(command).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// A consistent view of everything that is stored.
    pub fn snapshot(&self) -> Snapshot {
        // Where both locks are held, that of the series comes first.
        let dropped_labels = self.shared.series.read().dropped_labels().to_vec();
        let state = self.shared.state.read();
        let mut head = state.flushing.as_ref().map_or_else(Vec::new, |frozen| frozen.chunks.clone());
        head.extend(state.head.chunks());
        let tables = &state.tables;
        let all = Level::ALL.into_iter().flat_map(|level| Tier::ALL.map(|tier| (tier, level)));
        let tiers = all.map(|(tier, level)| {
            let samples = &tables[TableId::SampleTier(tier, level)];
            let profiles = &tables[TableId::ProfileTier(tier, level)];
            TierSnapshot {
                tier,
                level,
                samples: samples.files.clone(),
                samples_sequence: samples.sequence,
                profiles: profiles.files.clone(),
                profiles_sequence: profiles.sequence,
                horizon: samples.horizon.max(profiles.horizon),
            }
        });
        Snapshot {
            samples: tables[TableId::Samples].files.clone(),
            profiles: tables[TableId::Profiles].files.clone(),
            series: tables[TableId::Series].files.clone(),
            stacks: tables[TableId::Stacks].files.clone(),
            head,
            horizon: tables[TableId::Samples].horizon.max(tables[TableId::Profiles].horizon),
            tiers: tiers.collect(),
            dropped_labels,
        }
    }

    /// The series that `select` takes and that have profiles between `from` and `until` (both inclusive,
    /// nanoseconds since the epoch), sorted by id. Within a day it may name one that has a gap there.
    pub fn series(&self, from: Nanos, until: Nanos, select: &dyn Fn(&Series) -> bool) -> Vec<SeriesMatch> {
        self.shared.series.read().select(from, until, select)
    }

    /// How many series `service` has on the UTC day of `time`.
    pub fn series_count(&self, service: &str, time: Nanos) -> usize {
        self.shared.series.read().count(service, time)
    }

    /// Frames of stacks that occurred in `services`. Blocking: reads files for those that are not cached.
    pub fn resolve_stacks(&self, services: &[&str], stacks: &[StackId]) -> Result<ResolvedStacks, Error> {
        let mut absent = match self.shared.stacks.read().resolve_all(stacks) {
            Ok(resolved) => return Ok(resolved),
            Err(absent) => absent,
        };
        self.shared.stacks.write().promote(&mut absent);
        let (files, flushing) = {
            let state = self.shared.state.read();
            (state.tables[TableId::Stacks].files.clone(), state.flushing.clone())
        };
        let loaded = match absent.is_empty() {
            true => Vec::new(),
            false => stacks::read_files(&files, &self.shared.footers, services, &absent),
        };
        let mut store = self.shared.stacks.write();
        let resolved = store.resolve(stacks, loaded);
        store.shrink(flushing.as_ref().map(|frozen| &frozen.stacks));
        Ok(resolved)
    }

    /// Moves the head into the tables now.
    pub async fn flush(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.flusher.send(FlushRequest::Now(Some(reply))).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Does now what the lake otherwise does in the background when it is due: sums new files for the tiers,
    /// merges small files, and deletes what is too old.
    pub async fn compact(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.compactor.send(CompactionRequest::Now(reply)).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Deletes profiles and all sums that they are a part of. Those that come in meanwhile may stay. Uploads
    /// of them that are sent again afterwards are stored again.
    pub async fn delete(&self, deletion: Deletion) -> Result<Deleted, Error> {
        self.flush().await?;
        let (reply, answer) = oneshot::channel();
        let request = CompactionRequest::Delete(deletion, reply);
        self.compactor.send(request).await.map_err(|_| Error::Closed)?;
        let Gone { deleted, profiles } = answer.await.map_err(|_| Error::Closed)??;
        self.writer.send(Command::Forget(profiles)).await.map_err(|_| Error::Closed)?;
        Ok(deleted)
    }

    /// Takes no more batches and moves the head into the tables. What cannot be moved stays in the
    /// write-ahead log, so nothing is lost when this fails.
    pub async fn close(&self) -> Result<(), Error> {
        self.shared.closing.store(true, Relaxed);
        let (reply, answer) = oneshot::channel();
        self.writer.send(Command::Refuse(reply)).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?;
        self.flush().await
    }

    /// The footers of its files, as far as they were read.
    pub fn footers(&self) -> &Arc<Footers> {
        &self.shared.footers
    }
}

impl Drop for Lake {
    fn drop(&mut self) {
        self.shared.closing.store(true, Relaxed);
    }
}

impl Shared {
    /// Adds a durable batch to what can be queried.
    pub(crate) fn apply(&self, batch: &Batch) {
        let ids: Vec<SeriesId> = batch.series.iter().map(Series::id).collect();
        let stack_bytes = self.stacks.write().insert(batch);
        let mut index = self.series.write();
        let profiles = batch.profiles.iter();
        let noted: Vec<Arc<Series>> = profiles
            .map(|profile| {
                let at = profile.series as usize;
                index.note(ids[at], &batch.series[at], profile.time, profile.time)
            })
            .collect();
        // Both change at once: a deletion takes series out of the index that the head does not have.
        let mut state = self.state.write();
        for (profile, series) in batch.profiles.iter().zip(&noted) {
            state.touched.note(ids[profile.series as usize], series, profile.time);
        }
        state.head.apply(batch, &ids);
        state.head.add_bytes(stack_bytes);
    }

    /// Makes the head what is to be flushed, and begins a new one. `None` when it is empty. Only the thread
    /// that applies batches may call this.
    pub(crate) fn freeze(&self, sequence: u64) -> Option<Arc<Frozen>> {
        let stacks = self.stacks.write().take_pending();
        let mut state = self.state.write();
        if state.head.profiles() == 0 {
            return None;
        }
        let bytes = state.head.bytes();
        let frozen = Arc::new(Frozen {
            sequence,
            bytes,
            chunks: std::mem::take(&mut state.head).into_chunks(),
            days: std::mem::take(&mut state.touched).into_days(),
            stacks,
        });
        state.flushing = Some(frozen.clone());
        Some(frozen)
    }
}

impl Shared {
    /// Whether what is being flushed could not be committed the last time.
    pub(crate) fn is_flush_failing(&self) -> bool {
        self.flush_failing.load(Relaxed)
    }

    /// Notes whether the last flush failed.
    pub(crate) fn set_flush_failing(&self, failing: bool) {
        self.flush_failing.store(failing, Relaxed);
    }

    /// Why nothing more is taken while flushes fail and the head is full.
    pub(crate) fn no_room(&self) -> Error {
        let storage = &self.config.storage;
        match store::is_remote(storage) {
            true => Error::Storage {
                place: storage.url.clone(),
                why: "nothing can be written there, and memory and log are full of what waits for it"
                    .to_owned(),
            },
            false => Error::Full { path: self.config.path.clone() },
        }
    }
}

/// Keeps a second process out of the data folder.
fn lock(disk: &dyn Disk, config: &LakeConfig) -> Result<Box<dyn Any + Send + Sync>, Error> {
    let path = config.path.join("lock");
    let lock = disk.lock(&path).map_err(|source| Error::io(&path, source))?;
    lock.ok_or_else(|| Error::Locked { path: config.path.clone() })
}
