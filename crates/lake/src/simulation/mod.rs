//! Random schedules of everything that a lake does, on a disk and a bucket that fail, with crashes at any
//! operation: what was acknowledged is there exactly once after each restart, and nothing else.
//!
//! A schedule is made from its seed alone: time, randomness, disk and bucket are simulated, and one thing
//! happens after the other, as the threads of a lake would do it one after the other. `EVERFLAME_SIM_SEEDS`
//! sets how many seeds are tried, `EVERFLAME_SIM_SEED` repeats one.

mod model;
mod objects;

use crate::batch::{Batch, ProfileId};
use crate::compaction::Compactor;
use crate::disk::Disk;
use crate::disk::sim::{DiskFaults, SimDisk};
use crate::error::Error;
use crate::flush::{self, FlushRequest, Frozen};
use crate::lake::{Appended, Core, Lake, LakeConfig};
use crate::random::Random;
use crate::record;
use crate::retention::Retention;
use crate::store::{Bucket, BucketParts, Folder, Policy, Requests, StorageConfig, Store};
use crate::tables::Tables;
use crate::testing;
use crate::wal::payload_crc;
use crate::writer::{Append, Command, Writer};
use everflame_profile::{Clock, Nanos, StackId};
use model::{Fate, Model};
use objects::SimObjects;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

/// Seeds that every run tries.
const SEEDS: u64 = 300;
/// Restarts of a schedule.
const RESTARTS: u64 = 3;
/// Things that happen between two restarts, at most.
const STEPS: u64 = 20;
/// A crash is planned within so many operations of the disk.
const CRASH_WITHIN: u64 = 160;
/// A head that is full after some uploads.
const SMALL_HEAD: u64 = 2_000;
const DATA: &str = "/data";
/// 2026-08-01T00:00:00Z.
const MIDNIGHT: Nanos = 1_785_542_400_000_000_000;
const SECOND: Nanos = 1_000_000_000;

/// What requests to the simulated bucket run on.
static REQUEST_THREADS: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
});

#[test]
fn random_schedules_lose_nothing() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seeds = match number("EVERFLAME_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("EVERFLAME_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let mut running = tokio::task::JoinSet::new();
        for seed in seeds {
            if running.len() >= 2 {
                running.join_next().await.unwrap().unwrap();
            }
            running.spawn(async move {
                // Printed, whatever goes wrong with it.
                let guard = Seed(seed);
                Schedule::new(seed).run().await;
                std::mem::forget(guard);
            });
        }
        while let Some(done) = running.join_next().await {
            done.unwrap();
        }
    });
}

/// Says at the end of a failed schedule how to repeat it.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        eprintln!("the schedule failed; to repeat it: EVERFLAME_SIM_SEED={}", self.0);
    }
}

#[derive(Debug, Default)]
struct SimClock(AtomicI64);

impl Clock for SimClock {
    fn now(&self) -> Nanos {
        self.0.load(Relaxed)
    }
}

/// One seed.
struct Schedule {
    random: Random,
    disk: Arc<SimDisk>,
    bucket: Option<SimObjects>,
    /// Whether files are summed and merged.
    compacts: bool,
    clock: Arc<SimClock>,
    model: Model,
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
    _requests: mpsc::Receiver<FlushRequest>,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let disk = Arc::new(SimDisk::new(random.next()));
        // Tables in a bucket and compaction take most of the time.
        let bucket = (random.below(3) == 0).then(|| SimObjects::new(random.next()));
        let compacts = random.below(3) == 0;
        let clock = Arc::new(SimClock(AtomicI64::new(MIDNIGHT)));
        Self { random, disk, bucket, compacts, clock, model: Model::default(), starts: 0 }
    }

    async fn run(mut self) {
        for _ in 0..RESTARTS {
            self.plan_faults();
            if let Ok(process) = self.start().await {
                self.work(process).await;
            }
            self.disk.crash();
            self.calm();
            let process = self.start().await.expect("a start without faults");
            self.model.check_restart(&process.lake);
            self.finish(process).await;
        }
    }

    /// Faults of the time until the next restart: none, or crashes, or failures, or all.
    fn plan_faults(&mut self) {
        let crash_at =
            (self.random.below(4) > 0).then(|| self.disk.operations() + 1 + self.random.below(CRASH_WITHIN));
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
        let most = if self.random.below(8) == 0 { 7_200 } else { 20 };
        let now = self.clock.0.fetch_add(SECOND * self.random.below(most) as i64, Relaxed);
        self.disk.set_time(now / 1_000_000);
        if let Some(bucket) = &self.bucket {
            bucket.set_time(now / 1_000_000);
        }
    }

    async fn start(&mut self) -> Result<Process, Error> {
        self.starts += 1;
        let disk: Arc<dyn Disk> = self.disk.clone();
        let config = LakeConfig {
            path: PathBuf::from(DATA),
            tenant: "anonymous".to_owned(),
            flush_interval: Duration::from_secs(3600),
            flush_bytes: [SMALL_HEAD as usize, 64 << 20][self.random.below(2) as usize],
            storage: StorageConfig::default(),
            retention: Retention { raw: None, five_minutes: None, hour: None, ..Retention::default() },
            retention_overrides: Vec::new(),
            instance_labels: Vec::new(),
        };
        disk.create_folder(&config.path).map_err(|source| Error::io(DATA, source))?;
        disk.sync_folder(Path::new("/")).map_err(|source| Error::io(DATA, source))?;
        let store: Arc<dyn Store> = match &self.bucket {
            None => Arc::new(Folder::new(disk.clone(), config.path.join("anonymous"))),
            Some(bucket) => {
                let policy = Policy {
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
        Ok(Process { lake, tables, writer, compactor, frozen: None, _requests: requests })
    }

    /// Things happen in random order until the end or a crash.
    async fn work(&mut self, mut process: Process) {
        for _ in 0..self.random.below(STEPS) {
            if self.disk.has_crashed() {
                return;
            }
            self.pass_time();
            match self.random.below(12) {
                0..5 => self.push(&mut process).await,
                5..8 => self.flush(&mut process).await,
                8..10 if self.compacts => drop(self.compact(&mut process).await),
                8..11 => self.model.check_running(&process.lake),
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
        let mut group = Vec::new();
        let mut answers = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            let again = self.random.below(5) == 0;
            let number = if again { self.random.below(self.model.len() + 1) } else { self.model.len() };
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
            match answer.try_recv().expect("every upload is answered") {
                Ok(Appended::Stored) => self.model.answered(number, Fate::Acknowledged),
                Ok(Appended::Duplicate) => {
                    assert_eq!(self.model.fate(number), Fate::Acknowledged, "upload {number} is not stored");
                }
                Err(_) => self.model.answered(number, Fate::Refused),
            }
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
    async fn compact(&mut self, process: &mut Process) -> Result<(), Error> {
        let mut compactor = process.compactor.take().expect("it comes back");
        let (runtime, everything) = (tokio::runtime::Handle::current(), self.random.below(4) > 0);
        let round = tokio::task::spawn_blocking(move || {
            let result = compactor.round(&runtime, everything);
            (compactor, result)
        });
        let (compactor, result) = round.await.expect("a round does not panic");
        process.compactor = Some(compactor);
        result
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
                Ok(_) => self.model.answered(number, Fate::Acknowledged),
                // A small head that is full until the next flush.
                Err(error) => assert!(matches!(error, Error::Full { .. }), "{error}"),
            }
        }
        for _ in 0..2 {
            self.flush_calmly(&mut process).await;
        }
        if self.compacts && self.random.below(2) == 0 {
            self.compact(&mut process).await.expect("a compaction without faults");
        }
        self.model.check_calm(&process.lake);
    }

    async fn flush_calmly(&mut self, process: &mut Process) {
        if let Some(frozen) = process.writer.rotate().expect("a rotation without faults") {
            let shared = process.lake.shared().clone();
            flush::commit(&shared, &process.tables, &frozen).await.expect("a commit without faults");
            process.writer.flushed(frozen.sequence);
        }
    }
}

const STACKS: [&[&str]; 5] =
    [&["leaf", "work", "main"], &["work", "main"], &["main"], &["idle", "main"], &["gc"]];

/// The upload with this number, always the same but for the frames that the lake knows already.
fn upload(lake: &Lake, number: u64) -> Batch {
    let service = ["api", "web"][number as usize % 2];
    // Some come late, for days before.
    let day = [0, 0, -1, -3][number as usize % 4] * 86_400;
    let micros = MIDNIGHT / 1_000 + (day + number as i64) * 1_000_000;
    let stacks = (0..1 + number % 3).map(|at| STACKS[(number + at) as usize % STACKS.len()]);
    let samples: Vec<(&[&str], i64)> =
        stacks.zip(1..).map(|(stack, at)| (stack, number as i64 * 10 + at)).collect();
    let mut batch = testing::batch(service, micros, &samples);
    let id = ProfileId(u128::from(number) << 64 | 1);
    batch.upload = Some(id);
    batch.profiles[0].id = id;
    let ids: Vec<StackId> = batch.stacks.clone();
    testing::keep_new_stacks(&mut batch, &lake.unknown_stacks(service, &ids));
    batch
}
