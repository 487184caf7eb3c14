//! One schedule: what happens, in which order, and when the machine dies.

use super::held::{Held, Reader};
use super::model::{Deletes, Model, Policy};
use super::objects::SimObjects;
use super::uploads::{PODS, SERVICES, upload};
use super::{DAY_SECONDS, MIDNIGHT, SECOND, SimClock, runtime};
use crate::compaction::Compactor;
use crate::deletion::Deletion;
use crate::disk::Disk;
use crate::disk::sim::{DiskFaults, SimDisk};
use crate::error::Error;
use crate::flush::{self, FlushRequest, Frozen};
use crate::lake::{Core, Lake, LakeConfig};
use crate::random::Random;
use crate::record;
use crate::retention::{Retention, RetentionOverride};
use crate::series::day_of;
use crate::snapshot::Snapshot;
use crate::store::{Bucket, BucketParts, Folder, Policy as RequestPolicy, Requests, StorageConfig, Store};
use crate::tables::{Pace, Tables};
use crate::wal::payload_crc;
use crate::writer::{Append, Command, Writer};
use everflame_profile::Clock;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, oneshot};

/// Restarts of a schedule.
const RESTARTS: u64 = 3;
/// Things that happen between two restarts, at most.
const STEPS: u64 = 20;
/// A crash is planned within so many operations of the disk.
const CRASH_WITHIN: u64 = 160;
/// Sums are made in many more operations.
const CRASH_WITHIN_SUMS: u64 = 800;
/// A head that is full after some uploads.
const SMALL_HEAD: u64 = 2_000;
/// Queries that are under way at once, at most.
const READERS: usize = 2;
/// So many schedules end with a look at what the Delta library reads in the logs.
const LIBRARY_EACH: u64 = 16;
const DATA: &str = "/data";

/// What requests to the simulated bucket run on.
static REQUEST_THREADS: LazyLock<Runtime> = LazyLock::new(runtime);

/// One seed.
pub(super) struct Schedule {
    random: Random,
    disk: Arc<SimDisk>,
    bucket: Option<SimObjects>,
    /// Whether files are summed and merged, and rows deleted.
    compacts: bool,
    compares_with_library: bool,
    clock: Arc<SimClock>,
    model: Model,
    /// A deletion that was begun and did not end.
    deletes: Option<Deletes>,
    files: Reader,
    starts: u64,
}

/// A process: what a running lake consists of, without its threads.
struct Process {
    lake: Lake,
    tables: Arc<Tables>,
    writer: Writer,
    compactor: Option<Compactor>,
    /// A flush that is under way.
    frozen: Option<Arc<Frozen>>,
    /// Queries that are under way, and what they must find.
    readers: Vec<(Snapshot, Model)>,
    _requests: mpsc::Receiver<FlushRequest>,
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let disk = Arc::new(SimDisk::new(random.next()));
        // Tables in a bucket and compaction take most of the time.
        let bucket = (random.below(3) == 0).then(|| SimObjects::new(random.next()));
        let compacts = random.below(2) == 0;
        let clock = Arc::new(SimClock(AtomicI64::new(MIDNIGHT)));
        let model = Model::new(policy(&mut random, compacts));
        let compares_with_library = random.below(LIBRARY_EACH) == 0;
        let (deletes, files, starts) = (None, Reader::default(), 0);
        Self { random, disk, bucket, compacts, compares_with_library, clock, model, deletes, files, starts }
    }

    pub(super) async fn run(mut self) {
        for _ in 0..RESTARTS {
            self.plan_faults();
            if let Ok(process) = self.start().await {
                self.work(process).await;
            }
            self.disk.crash();
            self.calm();
            let process = self.start().await.expect("a start without faults");
            let held = self.held(&process.lake.snapshot()).expect("everything can be read");
            self.model.restarted(&held);
            self.check_all(&process, &held);
            self.finish(process).await;
        }
    }

    /// Faults of the time until the next restart: none, or crashes, or failures, or all.
    fn plan_faults(&mut self) {
        let within = if self.compacts { CRASH_WITHIN_SUMS } else { CRASH_WITHIN };
        let crash_at =
            (self.random.below(4) > 0).then(|| self.disk.operations() + 1 + self.random.below(within));
        let failures = if self.random.below(3) == 0 { 1 + self.random.below(100) } else { 0 };
        self.disk.set_faults(DiskFaults { crash_at, failures, full: false });
        if let Some(bucket) = &self.bucket {
            bucket.set_failures([0, 100, 400][self.random.below(3) as usize]);
        }
    }

    fn calm(&mut self) {
        self.disk.set_faults(DiskFaults::default());
        if let Some(bucket) = &self.bucket {
            bucket.set_failures(0);
        }
    }

    fn pass_time(&mut self) {
        let seconds = match self.random.below(24) {
            0..3 => self.random.below(7_200) as i64,
            3 if self.compacts => DAY_SECONDS * (1 + self.random.below(2) as i64),
            _ => self.random.below(20) as i64,
        };
        let now = self.clock.0.fetch_add(SECOND * seconds, Relaxed);
        self.disk.set_time(now / 1_000_000);
        if let Some(bucket) = &self.bucket {
            bucket.set_time(now / 1_000_000);
        }
    }

    async fn start(&mut self) -> Result<Process, Error> {
        self.starts += 1;
        self.model.starts();
        let disk: Arc<dyn Disk> = self.disk.clone();
        let Policy { all, second } = self.model.policy.clone();
        let second = second.map(|retention| RetentionOverride {
            select: Arc::new(|series| series.service() == SERVICES[1]),
            retention,
        });
        let config = LakeConfig {
            path: PathBuf::from(DATA),
            tenant: "anonymous".to_owned(),
            flush_interval: Duration::from_secs(3600),
            flush_bytes: [SMALL_HEAD as usize, 64 << 20][self.random.below(2) as usize],
            storage: StorageConfig::default(),
            retention: all,
            retention_overrides: second.into_iter().collect(),
            instance_labels: vec!["pod".to_owned()],
        };
        disk.create_folder(&config.path).map_err(|source| Error::io(DATA, source))?;
        disk.sync_folder(Path::new("/")).map_err(|source| Error::io(DATA, source))?;
        let store: Arc<dyn Store> = match &self.bucket {
            None => Arc::new(Folder::new(disk.clone(), config.path.join("anonymous"))),
            Some(bucket) => {
                let policy = RequestPolicy {
                    attempts: 3,
                    timeout: Duration::from_secs(3600),
                    pause: Duration::ZERO,
                    longest_pause: Duration::ZERO,
                };
                let threads = REQUEST_THREADS.handle().clone();
                Arc::new(Bucket::new(BucketParts {
                    requests: Requests::new(Arc::new(bucket.clone()), threads, policy, self.random.next()),
                    threads: None,
                    disk: disk.clone(),
                    cache: config.path.join("cache"),
                    cache_bytes: [10_000, 1 << 30][self.random.below(2) as usize],
                    clock: self.clock.clone(),
                    place: "sim".to_owned(),
                    process: self.starts,
                    data_folder: "one".to_owned(),
                    retired_grace: Duration::ZERO,
                })?)
            }
        };
        let core = Core::open(config, disk, store.clone(), self.clock.now()).await?;
        let (commands, _) = mpsc::channel::<Command>(1);
        let (flusher, requests) = mpsc::channel(16);
        let lake = Lake::resting(&core, store, commands, flusher.clone());
        let compactor = Compactor::new(core.shared.clone(), core.tables.clone(), self.clock.clone());
        let writer = Writer::new(core.shared, core.wal, core.uploads, &flusher);
        let (tables, compactor) = (core.tables, Some(compactor));
        let (frozen, readers) = (None, Vec::new());
        Ok(Process { lake, tables, writer, compactor, frozen, readers, _requests: requests })
    }

    /// Things happen in random order until the end or a crash.
    async fn work(&mut self, mut process: Process) {
        for _ in 0..self.random.below(STEPS) {
            if self.disk.has_crashed() {
                return;
            }
            self.pass_time();
            match self.random.below(16) {
                0..6 => self.push(&mut process).await,
                6..9 => self.flush(&mut process).await,
                9..12 if self.compacts => drop(self.compact(&mut process)),
                12 if self.compacts => self.delete(&mut process).await,
                9..13 => self.flush(&mut process).await,
                13 => self.check_running(&process),
                14 => self.read(&mut process),
                _ => self.change_disk(),
            }
        }
    }

    /// The disk gets full, or there is room again.
    fn change_disk(&mut self) {
        let full = self.random.below(2) == 0;
        self.disk.change_faults(|faults| faults.full = full);
    }

    /// A group of uploads, some of them sent before.
    async fn push(&mut self, process: &mut Process) {
        // The thread would wait for the flush task.
        if process.frozen.is_some() && process.lake.status().head_bytes > SMALL_HEAD {
            self.flush(process).await;
        }
        let horizon = process.lake.snapshot().horizon;
        let mut group = Vec::new();
        let mut answers = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            let again = self.random.below(self.model.len() + 1);
            let again = (self.random.below(5) == 0 && self.model.may_repeat(again, horizon)).then_some(again);
            let number = again.unwrap_or(self.model.len());
            let batch = upload(&process.lake, number);
            self.model.sent(number, &batch);
            let payload = record::encode(&batch);
            let crc = payload_crc(&payload);
            let (reply, answer) = oneshot::channel();
            group.push(Append { batch, payload, crc, reply });
            answers.push((number, answer));
        }
        process.writer.append(group);
        for (number, mut answer) in answers {
            self.model.answered(number, answer.try_recv().expect("every upload is answered"));
        }
    }

    /// What the flush task does, one step at a time, so that uploads come in between.
    async fn flush(&mut self, process: &mut Process) {
        let shared = process.lake.shared().clone();
        let Some(frozen) = process.frozen.clone() else {
            process.frozen = process.writer.rotate().ok().flatten();
            return;
        };
        let result = flush::commit(&shared, &process.tables, &frozen).await;
        shared.set_flush_failing(result.is_err());
        if result.is_ok() {
            process.frozen = None;
            if self.random.below(4) > 0 {
                process.writer.flushed(frozen.sequence);
            }
        }
    }

    /// A round of the task that sums and merges files.
    fn compact(&mut self, process: &mut Process) -> Result<(), Error> {
        let everything = self.random.below(4) > 0;
        self.beside(process, |compactor, runtime, pace| compactor.round(runtime, everything, pace))
    }

    /// Profiles are deleted: those of an earlier deletion that did not end, or others.
    async fn delete(&mut self, process: &mut Process) {
        // What is in the head goes into the tables first.
        for _ in 0..4 {
            self.flush(process).await;
        }
        if process.frozen.is_some() || process.lake.status().head_profiles > 0 {
            return;
        }
        let deletes = match self.deletes {
            Some(deletes) => deletes,
            None => {
                let service = SERVICES[self.random.below(2) as usize];
                let pod = (self.random.below(2) == 0).then(|| PODS[self.random.below(3) as usize]);
                let today = day_of(MIDNIGHT);
                let first = today - self.random.below(5) as i32;
                let days = (self.random.below(2) == 0).then(|| (first, first + self.random.below(3) as i32));
                Deletes { service, pod, days }
            }
        };
        let _ = self.delete_these(process, deletes);
    }

    fn delete_these(&mut self, process: &mut Process, deletes: Deletes) -> Result<(), Error> {
        self.deletes = Some(deletes);
        self.model.doom(&deletes);
        let deletion =
            Deletion { select: Arc::new(move |series| deletes.selects(series)), days: deletes.days };
        let gone =
            self.beside(process, |compactor, runtime, pace| compactor.delete(runtime, &deletion, pace));
        let gone = gone.inspect_err(|_| self.model.not_deleted())?;
        process.writer.forget(&gone.profiles);
        self.deletes = None;
        self.model.deleted(process.lake.snapshot().horizon);
        Ok(())
    }

    /// Does `work`, which is the background task's, while uploads and flushes come in between.
    fn beside<T>(
        &mut self,
        process: &mut Process,
        work: impl FnOnce(&mut Compactor, &Handle, Pace<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut compactor = process.compactor.take().expect("it comes back");
        let runtime = Handle::current();
        let both = RefCell::new((&mut *self, &mut *process));
        let pace = || {
            let mut both = both.borrow_mut();
            let (schedule, process) = &mut *both;
            if schedule.disk.has_crashed() || schedule.random.below(6) > 0 {
                return Ok(());
            }
            tokio::task::block_in_place(|| {
                runtime.block_on(async {
                    match schedule.random.below(2) {
                        0 => schedule.push(process).await,
                        _ => schedule.flush(process).await,
                    }
                });
            });
            Ok(())
        };
        let result = tokio::task::block_in_place(|| work(&mut compactor, &runtime, &pace));
        process.compactor = Some(compactor);
        result
    }

    /// A query begins, or one that began before reads what it must.
    fn read(&mut self, process: &mut Process) {
        if process.readers.len() < READERS && self.random.below(2) == 0 {
            process.readers.push((process.lake.snapshot(), self.model.clone()));
        } else if let Some((snapshot, model)) = process.readers.pop()
            && let Some(held) = self.held_at_times(&snapshot)
        {
            model.check(&held, self.clock.now());
        }
    }

    fn check_running(&mut self, process: &Process) {
        if let Some(held) = self.held_at_times(&process.lake.snapshot()) {
            self.model.check(&held, self.clock.now());
            self.model.check_series(&process.lake);
        }
    }

    fn check_all(&mut self, process: &Process, held: &Held) {
        self.model.check(held, self.clock.now());
        self.model.check_series(&process.lake);
        self.model.check_stacks(held, &process.lake);
    }

    fn held(&mut self, snapshot: &Snapshot) -> Option<Held> {
        self.files.read(snapshot)
    }

    /// A bucket that fails leaves an answer partial, and it says so; then there is nothing to compare.
    fn held_at_times(&mut self, snapshot: &Snapshot) -> Option<Held> {
        let held = self.held(snapshot);
        assert!(held.is_some() || self.bucket.is_some() || self.disk.has_crashed(), "a file cannot be read");
        held
    }

    /// Without faults, retries of what was refused and a flush succeed.
    async fn finish(&mut self, mut process: Process) {
        if self.random.below(3) == 0 {
            return;
        }
        for number in self.model.refused() {
            let batch = upload(&process.lake, number);
            let payload = record::encode(&batch);
            let crc = payload_crc(&payload);
            let (reply, mut answer) = oneshot::channel();
            process.writer.append(vec![Append { batch, payload, crc, reply }]);
            match answer.try_recv().expect("every upload is answered") {
                // A small head that is full until the next flush.
                Err(error) => assert!(matches!(error, Error::Full { .. }), "{error}"),
                answer => self.model.answered(number, answer),
            }
        }
        for _ in 0..2 {
            self.flush_calmly(&mut process).await;
        }
        if let Some(deletes) = self.deletes {
            self.delete_these(&mut process, deletes).expect("a deletion without faults");
        }
        let compacts = self.compacts && self.random.below(2) == 0;
        if compacts {
            self.compact(&mut process).expect("a compaction without faults");
        }
        let held = self.held(&process.lake.snapshot()).expect("everything can be read");
        self.check_all(&process, &held);
        if compacts {
            // Nothing comes in between: then there is nothing that waits.
            while process.frozen.is_some() || process.lake.status().head_profiles > 0 {
                self.flush(&mut process).await;
            }
            let compactor = process.compactor.as_mut().expect("it is back");
            let runtime = Handle::current();
            let round = || compactor.round(&runtime, true, &|| Ok(()));
            tokio::task::block_in_place(round).expect("a compaction without faults");
            let held = self.held(&process.lake.snapshot()).expect("everything can be read");
            self.check_all(&process, &held);
            self.model.check_expired(&held, self.clock.now());
        }
        if self.compares_with_library {
            process.tables.check_logs().await;
        }
    }

    async fn flush_calmly(&mut self, process: &mut Process) {
        if let Some(frozen) = process.writer.rotate().expect("a rotation without faults") {
            let shared = process.lake.shared().clone();
            flush::commit(&shared, &process.tables, &frozen).await.expect("a commit without faults");
            process.writer.flushed(frozen.sequence);
        }
    }
}

/// How long what is kept: for ever, or some days, or other days for the second service, or what fits.
fn policy(random: &mut Random, compacts: bool) -> Policy {
    let days = |days: u64| Some(Duration::from_secs(days * DAY_SECONDS as u64));
    let ever = Retention { raw: None, five_minutes: None, hour: None, day: None, bytes: None };
    let some = Retention { raw: days(2), five_minutes: days(4), hour: days(33), day: days(60), bytes: None };
    let choice = if compacts { random.below(6) } else { 0 };
    match choice {
        0 | 1 => Policy { all: ever, second: None },
        2 => Policy { all: some, second: None },
        3 => Policy { all: some, second: Some(ever) },
        4 => Policy { all: ever, second: Some(some) },
        _ => Policy { all: Retention { bytes: Some(20_000 + random.below(100_000)), ..ever }, second: None },
    }
}
