//! A disk in memory that forgets at a crash what was not synced.
//!
//! Names and contents are durable apart from each other, as on a real file system: a file's bytes after
//! its sync, its name after the sync of its folder. What happened in a folder since then is lost from some
//! point on; what was written to a file since then is lost from some byte on, or torn. A sync that failed
//! may have dropped what it should have written, even when a later one succeeds.

use super::{Append, Disk, Entry};
use crate::random::Random;
use parking_lot::{Mutex, MutexGuard};
use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A disk in memory.
#[derive(Debug)]
pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// When operations fail. Only those that change something are counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DiskFaults {
    /// The operation at which everything stops.
    pub(crate) crash_at: Option<u64>,
    /// So many of 1,000 operations fail.
    pub(crate) failures: u64,
    /// Nothing can be written.
    pub(crate) full: bool,
}

#[derive(Debug)]
struct State {
    contents: HashMap<u64, Content>,
    names: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    /// By folder, what changed since its last sync. A rename is one change of two names.
    changes: BTreeMap<PathBuf, Vec<Change>>,
    random: Random,
    faults: DiskFaults,
    operations: u64,
    crashed: bool,
    now: i64,
}

type Change = Vec<(PathBuf, Option<Node>)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File(u64),
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    /// Bytes that a failed sync may have dropped.
    doubtful: Vec<Range<usize>>,
    modified: i64,
}

/// What a write met.
enum Step {
    Whole,
    /// It stops in the middle, with this error.
    Torn(io::Error),
}

impl SimDisk {
    /// An empty disk.
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            contents: HashMap::new(),
            names: BTreeMap::from([(PathBuf::from("/"), Node::Folder)]),
            durable: BTreeMap::from([(PathBuf::from("/"), Node::Folder)]),
            changes: BTreeMap::new(),
            random: Random::new(seed),
            faults: DiskFaults::default(),
            operations: 0,
            crashed: false,
            now: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Sets what fails from now on.
    pub(crate) fn set_faults(&self, faults: DiskFaults) {
        self.state.lock().faults = faults;
    }

    /// Changes what fails from now on.
    pub(crate) fn change_faults(&self, change: impl FnOnce(&mut DiskFaults)) {
        change(&mut self.state.lock().faults);
    }

    /// Whether the planned crash has come: nothing works until the next start.
    pub(crate) fn has_crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// How many operations there were.
    pub(crate) fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Sets the time that files are stamped with, in milliseconds since the epoch.
    pub(crate) fn set_time(&self, millis: i64) {
        self.state.lock().now = millis;
    }

    /// Ends all that use the disk, as a loss of power does, and makes it ready for the next start.
    pub(crate) fn crash(&self) {
        let mut state = self.state.lock();
        let state = &mut *state;
        for changes in std::mem::take(&mut state.changes).into_values() {
            let kept = state.random.below(changes.len() as u64 + 1) as usize;
            for (path, node) in changes.into_iter().take(kept).flatten() {
                set(&mut state.durable, path, node);
            }
        }
        // What is below a folder whose name was lost is lost.
        let all: Vec<PathBuf> = state.durable.keys().cloned().collect();
        for path in all {
            let mut above = path.ancestors().skip(1);
            if above.any(|folder| state.durable.get(folder) != Some(&Node::Folder)) {
                state.durable.remove(&path);
            }
        }
        state.names = state.durable.clone();
        let mut contents = HashMap::new();
        for node in state.durable.values() {
            let Node::File(id) = node else { continue };
            let mut content = state.contents.get(id).cloned().unwrap_or_default();
            content.lose(&mut state.random);
            contents.insert(*id, content);
        }
        // Handles of before find nothing.
        state.contents = contents;
        state.faults = DiskFaults::default();
        state.crashed = false;
    }

    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state.lock();
        match state.step(false) {
            Step::Whole => Ok(state),
            Step::Torn(error) => Err(error),
        }
    }

    fn look(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.crashed { Err(crashed()) } else { Ok(state) }
    }
}

impl State {
    fn step(&mut self, writes: bool) -> Step {
        if self.crashed {
            return Step::Torn(crashed());
        }
        self.operations += 1;
        if self.faults.crash_at.is_some_and(|at| self.operations >= at) {
            self.crashed = true;
            return Step::Torn(crashed());
        }
        if self.faults.full && writes {
            return Step::Torn(io::ErrorKind::StorageFull.into());
        }
        if self.random.below(1_000) < self.faults.failures {
            let kind =
                if self.random.below(2) == 0 { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
            return Step::Torn(kind.into());
        }
        Step::Whole
    }

    fn file(&self, path: &Path) -> io::Result<u64> {
        match self.names.get(path) {
            Some(Node::File(id)) => Ok(*id),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn entry(&self, path: &Path, node: Node) -> Entry {
        let content = match node {
            Node::File(id) => self.contents.get(&id),
            Node::Folder => None,
        };
        Entry {
            path: path.to_owned(),
            is_folder: node == Node::Folder,
            bytes: content.map_or(0, |content| content.bytes.len() as u64),
            modified: content.map_or(0, |content| content.modified),
        }
    }

    fn set_names(&mut self, change: Change) {
        let folder =
            change.first().and_then(|(path, _)| path.parent()).map(Path::to_owned).unwrap_or_default();
        for (path, node) in &change {
            set(&mut self.names, path.clone(), *node);
        }
        self.changes.entry(folder).or_default().push(change);
    }

    /// Makes a file that has no content, in place of one that may be there.
    fn make(&mut self, path: &Path) -> io::Result<u64> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        if self.names.get(parent) != Some(&Node::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let id = match self.file(path) {
            Ok(id) => id,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let id = self.random.next();
                self.set_names(vec![(path.to_owned(), Some(Node::File(id)))]);
                id
            }
            Err(error) => return Err(error),
        };
        let now = self.now;
        let content = self.contents.entry(id).or_default();
        content.bytes.clear();
        content.doubtful.clear();
        content.modified = now;
        Ok(id)
    }

    fn write(&mut self, id: u64, bytes: &[u8]) -> io::Result<()> {
        let step = self.step(true);
        let length = match &step {
            Step::Whole => bytes.len(),
            Step::Torn(_) => self.random.below(bytes.len() as u64 + 1) as usize,
        };
        let now = self.now;
        let Some(content) = self.contents.get_mut(&id) else { return Err(crashed()) };
        content.bytes.extend(bytes.get(..length).unwrap_or_default());
        content.modified = now;
        match step {
            Step::Whole => Ok(()),
            Step::Torn(error) => Err(error),
        }
    }

    fn sync(&mut self, id: u64) -> io::Result<()> {
        let step = self.step(false);
        let Some(content) = self.contents.get_mut(&id) else { return Err(crashed()) };
        match step {
            Step::Whole => {
                content.synced.clone_from(&content.bytes);
                Ok(())
            }
            Step::Torn(error) => {
                let from = content.synced.len().min(content.bytes.len());
                content.doubtful.push(from..content.bytes.len());
                Err(error)
            }
        }
    }
}

impl Content {
    /// What a crash leaves of it.
    fn lose(&mut self, random: &mut Random) {
        let unsynced = self.bytes.strip_prefix(self.synced.as_slice());
        let mut left = match unsynced {
            Some(added) => {
                let kept = random.below(added.len() as u64 + 1) as usize;
                let mut left = [&self.synced, &added[..kept]].concat();
                // A page that was never written reads as zeros.
                if kept > 0 && random.below(4) == 0 {
                    let torn = random.below(kept as u64) as usize;
                    left[self.synced.len() + torn..].fill(0);
                }
                left
            }
            None if random.below(2) == 0 => self.synced.clone(),
            None => self.bytes[..random.below(self.bytes.len() as u64 + 1) as usize].to_vec(),
        };
        for range in &self.doubtful {
            if random.below(2) == 0 {
                let end = range.end.min(left.len());
                left[range.start.min(end)..end].fill(0);
            }
        }
        *self = Self { synced: left.clone(), bytes: left, doubtful: Vec::new(), modified: self.modified };
    }
}

impl Disk for SimDisk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.look()?;
        let mut missing: Vec<&Path> =
            path.ancestors().take_while(|folder| !state.names.contains_key(*folder)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if let Step::Torn(error) = state.step(true) {
            return Err(error);
        }
        missing.reverse();
        for folder in missing {
            state.set_names(vec![(folder.to_owned(), Some(Node::Folder))]);
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let state = self.look()?;
        let inside = state.names.range(path.to_owned()..).take_while(|(name, _)| name.starts_with(path));
        let inside = inside.filter(|(name, _)| name.parent() == Some(path));
        Ok(inside.map(|(name, node)| state.entry(name, *node)).collect())
    }

    fn entry(&self, path: &Path) -> io::Result<Entry> {
        let state = self.look()?;
        let node = state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(state.entry(path, *node))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.look()?;
        let id = state.file(path)?;
        Ok(state.contents.get(&id).map(|content| content.bytes.clone()).unwrap_or_default())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.change()?;
        let id = state.make(path)?;
        state.write(id, bytes)
    }

    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<i64> {
        self.write(path, bytes)?;
        let mut state = self.look()?;
        let id = state.file(path)?;
        state.sync(id)?;
        Ok(state.now)
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn Append>> {
        let mut state = self.change()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.make(path)?;
        Ok(Box::new(Handle { state: self.state.clone(), id }))
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        let bytes = self.read(path)?;
        let mut file = tempfile::tempfile()?;
        file.write_all(&bytes)?;
        io::Seek::rewind(&mut file)?;
        Ok(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let id = state.file(from)?;
        state.set_names(vec![(from.to_owned(), None), (to.to_owned(), Some(Node::File(id)))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        state.file(path)?;
        state.set_names(vec![(path.to_owned(), None)]);
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        if state.names.get(path) != Some(&Node::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        for (path, node) in state.changes.remove(path).unwrap_or_default().into_iter().flatten() {
            set(&mut state.durable, path, node);
        }
        Ok(())
    }

    fn lock(&self, _path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        Ok(Some(Box::new(())))
    }
}

struct Handle {
    state: Arc<Mutex<State>>,
    id: u64,
}

impl Append for Handle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.state.lock().write(self.id, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.state.lock().sync(self.id)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        if let Step::Torn(error) = state.step(false) {
            return Err(error);
        }
        let Some(content) = state.contents.get_mut(&self.id) else { return Err(crashed()) };
        content.bytes.truncate(length as usize);
        content.doubtful.retain(|range| range.start < length as usize);
        Ok(())
    }
}

fn set(names: &mut BTreeMap<PathBuf, Node>, path: PathBuf, node: Option<Node>) {
    match node {
        Some(node) => drop(names.insert(path, node)),
        None => drop(names.remove(&path)),
    }
}

fn crashed() -> io::Error {
    io::Error::other("the machine has lost power")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_keeps_what_was_synced() {
        for seed in 0..200 {
            let disk = SimDisk::new(seed);
            let folder = Path::new("/data/wal");
            disk.create_folder(folder).unwrap();
            disk.sync_folder(Path::new("/")).unwrap();
            disk.sync_folder(Path::new("/data")).unwrap();
            disk.write_synced(&folder.join("kept"), b"whole").unwrap();
            disk.sync_folder(folder).unwrap();
            let mut log = disk.append(&folder.join("log")).unwrap();
            disk.sync_folder(folder).unwrap();
            log.write(b"one").unwrap();
            log.sync().unwrap();
            log.write(b"two").unwrap();
            disk.rename(&folder.join("kept"), &folder.join("renamed")).unwrap();
            disk.crash();
            let names: Vec<_> =
                disk.list(folder).unwrap().iter().map(|entry| entry.name().to_owned()).collect();
            assert!(names == ["kept", "log"] || names == ["log", "renamed"], "{names:?}");
            assert_eq!(
                disk.read(&folder.join(names[usize::from(names[0] == "log")].clone())).unwrap(),
                b"whole"
            );
            let log = disk.read(&folder.join("log")).unwrap();
            assert!(log.starts_with(b"one") && log.len() <= 6);
        }
    }
}
