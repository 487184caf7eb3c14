//! Names for addresses: asked for by queries, found in the background, kept.
//!
//! A query waits a moment for files that are at hand, so that it usually has the names at once; what takes
//! longer, the next query has. Files from other servers are never waited for.

use crate::build_id::BuildId;
use crate::call::Call;
use crate::debuginfod::{Debuginfod, Fetched};
use crate::place::Place;
use crate::resolve::Reading;
use crate::store::Store;
use crate::tables::{self, Calls, Tables};
use crate::worker::Worker;
use hashbrown::{HashMap, HashSet};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use url::Url;

/// How long a query waits for names.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Places that one process is asked for.
const BATCH: usize = 20_000;
/// Places that wait; more are not taken until there are fewer.
const MAX_WAITING: usize = 1_000_000;
/// Files that are fetched at once.
const FETCHES: usize = 2;
/// Builds whose files are to be fetched; more are not taken until there are fewer.
const MAX_FETCHES: usize = 1_000;

/// What queries want: places by build.
pub type Wanted = HashMap<BuildId, HashSet<Place>>;

/// What is known of them; the calls innermost first.
pub type Known = HashMap<BuildId, HashMap<Place, Arc<[Call]>>>;

/// Figures for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SymbolizerStatus {
    /// Addresses that got a name.
    pub resolved: u64,
    /// Addresses that the files of their build do not know.
    pub unknown: u64,
    /// Addresses that were given up because reading the files broke off.
    pub failed: u64,
    /// Addresses that wait for being looked up.
    pub waiting: u64,
    /// Files that debuginfod servers had.
    pub fetched: u64,
    /// Files that they did not have.
    pub fetch_missing: u64,
    /// Files that could not be fetched.
    pub fetch_failed: u64,
    /// Bytes of names in memory.
    pub cache_bytes: u64,
    /// Bound of `cache_bytes`.
    pub cache_bytes_limit: u64,
}

/// Finds names.
pub struct Symbolizer {
    store: Arc<Store>,
    worker: Worker,
    debuginfod: Option<Debuginfod>,
    runtime: Handle,
    tables: Mutex<Tables>,
    queue: Mutex<Queue>,
    /// Told when something of the queue is done.
    done: Condvar,
    fetches: Arc<Semaphore>,
    fetching: Mutex<HashSet<BuildId>>,
    resolved: AtomicU64,
    unknown: AtomicU64,
    failed: AtomicU64,
    fetched: AtomicU64,
    fetch_missing: AtomicU64,
    fetch_failed: AtomicU64,
}

/// What is to be looked up.
#[derive(Default)]
struct Queue {
    batches: VecDeque<(BuildId, Vec<Place>)>,
    /// What is in the batches, and in the one that is worked on.
    waiting: HashMap<BuildId, HashSet<Place>>,
    places: usize,
    is_running: bool,
}

impl Symbolizer {
    /// Finds names in the files of `store`, and in those that `servers` of debuginfod have. Work is done on the
    /// current runtime.
    pub fn new(store: Arc<Store>, worker: Worker, servers: Vec<Url>) -> Self {
        let debuginfod = match Debuginfod::new(servers.clone()) {
            Ok(debuginfod) if !servers.is_empty() => Some(debuginfod),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, "debuginfod servers cannot be asked");
                None
            }
        };
        Self {
            store,
            worker,
            debuginfod,
            runtime: Handle::current(),
            tables: Mutex::default(),
            queue: Mutex::default(),
            done: Condvar::new(),
            fetches: Arc::new(Semaphore::new(FETCHES)),
            fetching: Mutex::default(),
            resolved: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
            fetch_missing: AtomicU64::new(0),
            fetch_failed: AtomicU64::new(0),
        }
    }

    /// The files.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Figures for metrics.
    pub fn status(&self) -> SymbolizerStatus {
        SymbolizerStatus {
            resolved: self.resolved.load(Relaxed),
            unknown: self.unknown.load(Relaxed),
            failed: self.failed.load(Relaxed),
            waiting: self.queue.lock().places as u64,
            fetched: self.fetched.load(Relaxed),
            fetch_missing: self.fetch_missing.load(Relaxed),
            fetch_failed: self.fetch_failed.load(Relaxed),
            cache_bytes: self.tables.lock().bytes() as u64,
            cache_bytes_limit: tables::MAX_BYTES as u64,
        }
    }

    /// What is known of `wanted`. Waits for what can be looked up, as long as there is `patience`, of which it
    /// takes what it needed. Blocking.
    pub fn resolve(self: &Arc<Self>, wanted: &Wanted, patience: &mut Duration) -> Known {
        let mut states: HashMap<&BuildId, String> = HashMap::new();
        let mut asked: Vec<(&BuildId, Vec<Place>)> = Vec::new();
        for (build, places) in wanted {
            let (files, state) = self.store.files(build);
            if files.is_empty() {
                self.tables.lock().forget(build);
                self.fetch(build);
                continue;
            }
            if !self.tables.lock().has(build, &state) {
                let answers = tables::load(&self.store.build_folder(build), &state);
                self.tables.lock().add(build, &state, answers);
            }
            let tables = self.tables.lock();
            let unknown = places.iter().filter(|&&place| tables.get(build, &state, place).is_none());
            let unknown: Vec<Place> = unknown.copied().collect();
            drop(tables);
            if !unknown.is_empty() {
                asked.push((build, unknown));
            }
            states.insert(build, state);
        }
        let begin = Instant::now();
        self.look_up(asked, *patience);
        *patience = patience.saturating_sub(begin.elapsed());
        let tables = self.tables.lock();
        let known = states.into_iter().map(|(build, state)| {
            let places = wanted.get(build).into_iter().flatten();
            let calls = places.filter_map(|&place| Some((place, tables.get(build, &state, place)?)));
            (build.clone(), calls.filter(|(_, calls)| !calls.is_empty()).collect())
        });
        known.collect()
    }

    /// Has places looked up, and waits so long for it.
    fn look_up(self: &Arc<Self>, asked: Vec<(&BuildId, Vec<Place>)>, wait: Duration) {
        if asked.is_empty() {
            return;
        }
        let mut queue = self.queue.lock();
        for (build, places) in &asked {
            let room = MAX_WAITING.saturating_sub(queue.places);
            let waiting = queue.waiting.entry((*build).clone()).or_default();
            let new: Vec<Place> =
                places.iter().copied().filter(|&place| waiting.insert(place)).take(room).collect();
            queue.places += new.len();
            for batch in new.chunks(BATCH) {
                queue.batches.push_back(((*build).clone(), batch.to_vec()));
            }
        }
        if !queue.is_running && !queue.batches.is_empty() {
            queue.is_running = true;
            let symbolizer = self.clone();
            self.runtime.spawn_blocking(move || symbolizer.run());
        }
        let is_waiting = |queue: &mut Queue| {
            asked.iter().any(|(build, places)| {
                let waiting = queue.waiting.get(*build);
                waiting.is_some_and(|waiting| places.iter().any(|place| waiting.contains(place)))
            })
        };
        self.done.wait_while_for(&mut queue, is_waiting, wait);
    }

    /// Works until nothing waits.
    fn run(&self) {
        loop {
            let batch = {
                let mut queue = self.queue.lock();
                let batch = queue.batches.pop_front();
                queue.is_running = batch.is_some();
                batch
            };
            let Some((build, places)) = batch else { return };
            // The next batch has its turn whatever happens here.
            if catch_unwind(AssertUnwindSafe(|| self.work(&build, &places))).is_err() {
                self.failed.fetch_add(places.len() as u64, Relaxed);
            }
            let mut queue = self.queue.lock();
            queue.places = queue.places.saturating_sub(places.len());
            if let Some(waiting) = queue.waiting.get_mut(&build) {
                places.iter().for_each(|place| {
                    waiting.remove(place);
                });
                if waiting.is_empty() {
                    queue.waiting.remove(&build);
                }
            }
            self.done.notify_all();
        }
    }

    fn work(&self, build: &BuildId, places: &[Place]) {
        let (files, state) = self.store.files(build);
        // What is not answered yet; answers to what was not asked do not count.
        let mut open: HashSet<Place> = places.iter().copied().collect();
        let ask = |open: &mut HashSet<Place>, reading| {
            let asked: Vec<Place> = open.iter().copied().collect();
            let mut answers = self.worker.ask(&files, &asked, reading).unwrap_or_else(|error| {
                tracing::warn!(%error, %build, "the process that reads debug files cannot be started");
                Vec::new()
            });
            answers.retain(|(place, _)| open.remove(place));
            answers
        };
        let mut answers = ask(&mut open, Reading::Whole);
        if !open.is_empty() {
            tracing::warn!(%build, "reading debug information broke off; names come from symbol tables alone");
            answers.extend(ask(&mut open, Reading::Tables));
        }
        if self.store.files(build).1 != state {
            // There is another file by now: the next query asks it.
            return;
        }
        let answers: Vec<(Place, Calls)> =
            answers.into_iter().map(|(place, calls)| (place, Calls::from(calls))).collect();
        let named = answers.iter().filter(|(_, calls)| !calls.is_empty()).count();
        let missing = open.len();
        self.resolved.fetch_add(named as u64, Relaxed);
        self.unknown.fetch_add((answers.len() - named) as u64, Relaxed);
        self.failed.fetch_add(missing as u64, Relaxed);
        if let Err(error) = tables::save(&self.store.build_folder(build), &state, &answers) {
            tracing::warn!(%error, %build, "names are not kept for the next start");
        }
        if missing > 0 {
            tracing::warn!(%build, missing, "reading debug files broke off; some addresses stay without names");
        }
        // In memory alone: another start may try again.
        let given_up = open.into_iter().map(|place| (place, Calls::from(Vec::new())));
        self.tables.lock().add(build, &state, answers.into_iter().chain(given_up));
    }

    /// Has the file of a build fetched, when there is a server that may have it.
    fn fetch(self: &Arc<Self>, build: &BuildId) {
        let Some(debuginfod) = &self.debuginfod else { return };
        if !debuginfod.may_have(build, self.store.clock.now()) {
            return;
        }
        let mut fetching = self.fetching.lock();
        if fetching.len() >= MAX_FETCHES || !fetching.insert(build.clone()) {
            return;
        }
        let (symbolizer, build) = (self.clone(), build.clone());
        self.runtime.spawn(async move {
            let _turn = symbolizer.fetches.clone().acquire_owned().await;
            if let Some(debuginfod) = &symbolizer.debuginfod {
                let count = match debuginfod.fetch(&symbolizer.store, &build).await {
                    Fetched::Stored => &symbolizer.fetched,
                    Fetched::Missing => &symbolizer.fetch_missing,
                    Fetched::Failed => &symbolizer.fetch_failed,
                };
                count.fetch_add(1, Relaxed);
            }
            symbolizer.fetching.lock().remove(&build);
        });
    }
}
