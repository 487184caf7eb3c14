//! Names for addresses: asked for by queries, found in the background, kept.
//!
//! A query waits a moment for files that are at hand, so that it usually has the names at once; what takes
//! longer, the next query has. Files from other servers are never waited for.

use crate::breakdowns::Breakdowns;
use crate::build_id::BuildId;
use crate::call::Call;
use crate::debuginfod::{Debuginfod, Fetched};
use crate::elf;
use crate::place::Place;
use crate::resolve::Reading;
use crate::store::{FileKind, Store};
use crate::tables::{self, Calls, Standing, Tables};
use crate::worker::{Current, End, Worker};
use hashbrown::{HashMap, HashSet};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
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
/// Bytes of names that one query holds; the rest of its addresses stay without.
const MAX_HELD: usize = 256 << 20;
/// How long to wait before a reader that was stopped from outside is started again.
const RETRY: Duration = Duration::from_millis(200);
/// Files that are fetched at once.
const FETCHES: usize = 2;
/// Builds whose files are to be fetched; more are not taken until there are fewer.
const MAX_FETCHES: usize = 1_000;
/// Builds of which is remembered whether their files have names.
const MAX_NAMELESS: usize = 10_000;

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
    /// Addresses that reading the debug information did not get to: they have names of symbol tables, or none.
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
    /// The process that reads files now.
    current: Current,
    breakdowns: Mutex<Breakdowns>,
    debuginfod: Option<Debuginfod>,
    runtime: Handle,
    tables: Mutex<Tables>,
    /// Held while a table is read from disk: one at a time takes memory.
    loading: Mutex<()>,
    queue: Mutex<Queue>,
    /// Told when something of the queue is done.
    done: Condvar,
    fetches: Arc<Semaphore>,
    fetching: Mutex<HashSet<BuildId>>,
    /// Whether the files of a build, as they were then, have no names.
    nameless: Mutex<HashMap<BuildId, (String, bool)>>,
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
    /// Nothing is looked up any more.
    is_closed: bool,
}

/// Places of one build that are not known yet.
struct Open<'a> {
    build: &'a BuildId,
    /// Tells its files from others.
    state: String,
    places: Vec<Place>,
}

/// What a query has so far; it stays whatever the tables have no room for.
struct Held {
    known: Known,
    /// Bytes that it may still take.
    room: usize,
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
            current: Current::default(),
            breakdowns: Mutex::default(),
            debuginfod,
            runtime: Handle::current(),
            tables: Mutex::default(),
            loading: Mutex::default(),
            queue: Mutex::default(),
            done: Condvar::new(),
            fetches: Arc::new(Semaphore::new(FETCHES)),
            fetching: Mutex::default(),
            nameless: Mutex::default(),
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

    /// Looks nothing up any more: what is being looked up is given up, and not kept. For the end of the server.
    pub fn close(&self) {
        {
            let mut queue = self.queue.lock();
            queue.is_closed = true;
            queue.batches.clear();
        }
        self.current.close();
        self.done.notify_all();
    }

    /// What is known of `wanted`. Waits for what can be looked up, as long as there is `patience`, of which it
    /// takes what it needed. Blocking.
    pub fn resolve(self: &Arc<Self>, wanted: &Wanted, patience: &mut Duration) -> Known {
        // In the same order each time, so that when there is too much the same have names.
        let mut builds: Vec<(&BuildId, &HashSet<Place>)> = wanted.iter().collect();
        builds.sort_unstable_by_key(|(build, _)| *build);
        let mut held = Held { known: Known::new(), room: MAX_HELD };
        let mut open: Vec<Open<'_>> = Vec::new();
        for (build, places) in builds {
            let (files, state) = self.store.files(build);
            if files.is_empty() {
                self.tables.lock().forget(build);
                self.fetch(build);
                continue;
            }
            if self.are_nameless(build, &files, &state) {
                self.fetch(build);
            }
            let mut places: Vec<Place> = places.iter().copied().collect();
            places.sort_unstable();
            let mut asked = Open { build, state, places };
            self.take(&mut asked, &mut held);
            if !asked.places.is_empty() {
                open.push(asked);
            }
        }
        let begin = Instant::now();
        self.look_up(&open, *patience);
        *patience = patience.saturating_sub(begin.elapsed());
        for mut asked in open {
            self.take(&mut asked, &mut held);
        }
        held.known
    }

    /// Takes what is known of the places of `open`, and leaves those that are to be looked up.
    fn take(&self, open: &mut Open<'_>, held: &mut Held) {
        let (build, state) = (open.build, &open.state);
        let may_read = self.breakdowns.lock().may_read(build, state, self.store.clock.now());
        let known = held.known.entry(build.clone()).or_default();
        let tables = self.table(build, state);
        open.places.retain(|&place| {
            let Some((calls, standing)) = tables.get(build, state, place) else { return held.room > 0 };
            if !calls.is_empty() && held.room > 0 {
                held.room = held.room.saturating_sub(tables::bytes(&calls));
                known.insert(place, calls);
            }
            standing == Standing::ForNow && may_read
        });
    }

    /// The tables, among them what is known of a build: from the disk when there was no room for it.
    fn table(&self, build: &BuildId, state: &str) -> MutexGuard<'_, Tables> {
        let mut tables = self.tables.lock();
        if tables.has(build, state) {
            return tables;
        }
        drop(tables);
        let _turn = self.loading.lock();
        tables = self.tables.lock();
        if !tables.has(build, state) {
            drop(tables);
            let answers = tables::load(&self.store.build_folder(build), state);
            tables = self.tables.lock();
            tables.add(build, state, answers, Standing::Final);
        }
        tables
    }

    /// Has places looked up, and waits so long for it.
    fn look_up(self: &Arc<Self>, asked: &[Open<'_>], wait: Duration) {
        if asked.is_empty() {
            return;
        }
        let mut queue = self.queue.lock();
        if queue.is_closed {
            return;
        }
        for Open { build, places, .. } in asked {
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
            let is_waiting = |open: &Open<'_>| {
                let waiting = queue.waiting.get(open.build);
                waiting.is_some_and(|waiting| open.places.iter().any(|place| waiting.contains(place)))
            };
            !queue.is_closed && asked.iter().any(is_waiting)
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
        let now = || self.store.clock.now();
        // What is not answered yet; answers to what was not asked do not count.
        let mut open: HashSet<Place> = places.iter().copied().collect();
        let mut answers = Vec::new();
        let mut end = End::Stopped;
        if self.breakdowns.lock().may_read(build, &state, now()) {
            end = self.ask(build, &files, &mut open, Reading::Whole, &mut answers);
            if end == End::Stopped && self.pause(RETRY) {
                end = self.ask(build, &files, &mut open, Reading::Whole, &mut answers);
            }
            self.breakdowns.lock().note(build, &state, end, now());
        }
        let mut stopgaps = Vec::new();
        let is_cut = !open.is_empty();
        if is_cut && !self.current.is_closed() {
            tracing::warn!(%build, "reading debug information broke off; names come from symbol tables alone");
            self.ask(build, &files, &mut open, Reading::Tables, &mut stopgaps);
        }
        if self.current.is_closed() || self.store.files(build).1 != state {
            // The server ends, or there is another file by now: then the next query asks it.
            return;
        }
        let named = answers.iter().filter(|(_, calls)| !calls.is_empty()).count();
        self.resolved.fetch_add(named as u64, Relaxed);
        self.unknown.fetch_add((answers.len() - named) as u64, Relaxed);
        self.failed.fetch_add((stopgaps.len() + open.len()) as u64, Relaxed);
        if let Err(error) = tables::save(&self.store.build_folder(build), &state, &answers) {
            tracing::warn!(%error, %build, "names are not kept for the next start");
        }
        if !open.is_empty() {
            let missing = open.len();
            tracing::warn!(%build, missing, "reading debug files broke off; some addresses stay without names");
        }
        let mut tables = self.table(build, &state);
        tables.add(build, &state, answers, Standing::Final);
        // In memory alone: another start tries again, and this one does when the files are not at fault.
        stopgaps.extend(open.into_iter().map(|place| (place, Calls::from(Vec::new()))));
        let standing = if end == End::Stopped { Standing::ForNow } else { Standing::Final };
        tables.add(build, &state, stopgaps, standing);
    }

    /// Has a process read the files of a build. Moves what it answered from `open` to `answers`.
    fn ask(
        &self,
        build: &BuildId,
        files: &[PathBuf],
        open: &mut HashSet<Place>,
        reading: Reading,
        answers: &mut Vec<(Place, Calls)>,
    ) -> End {
        let asked: Vec<Place> = open.iter().copied().collect();
        match self.worker.ask(&self.current, files, &asked, reading) {
            Ok(mut said) => {
                said.answers.retain(|(place, _)| open.remove(place));
                answers.extend(said.answers.into_iter().map(|(place, calls)| (place, Calls::from(calls))));
                match (open.is_empty(), said.end) {
                    (true, _) => End::Done,
                    // It has left out something without a word.
                    (false, End::Done) => End::Broken,
                    (false, end) => end,
                }
            }
            Err(error) => {
                tracing::warn!(%error, %build, "the process that reads debug files cannot be started");
                End::Stopped
            }
        }
    }

    /// Waits, and says whether to go on.
    fn pause(&self, wait: Duration) -> bool {
        let mut queue = self.queue.lock();
        self.done.wait_while_for(&mut queue, |queue| !queue.is_closed, wait);
        !queue.is_closed
    }

    /// Whether agents have sent files without names alone, so that a server may have more.
    fn are_nameless(&self, build: &BuildId, files: &[PathBuf], state: &str) -> bool {
        let may_have = |server: &Debuginfod| server.may_have(build, self.store.clock.now());
        if !self.debuginfod.as_ref().is_some_and(may_have)
            || files.contains(&self.store.path(build, FileKind::Fetched))
        {
            return false;
        }
        let mut known = self.nameless.lock();
        if let Some((_, answer)) = known.get(build).filter(|(of, _)| of == state) {
            return *answer;
        }
        if known.len() >= MAX_NAMELESS {
            known.clear();
        }
        let answer = !files.iter().any(|path| elf::has_names(path));
        known.insert(build.clone(), (state.to_owned(), answer));
        answer
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
