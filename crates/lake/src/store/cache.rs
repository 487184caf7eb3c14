//! Copies on the local disk of data files that are in a bucket, so that the query engine reads local
//! files by position.
//!
//! They are bounded by bytes; the least recently opened go first, and stay readable for who has them open.
//! Nothing here needs to be durable: what is missing, short or damaged is fetched again.

use crate::Error;
use crate::disk::Disk;
use hashbrown::{HashMap, HashSet};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that is being written has this ending.
const DRAFT: &str = "part";

/// A folder of copies.
#[derive(Debug)]
pub(super) struct Cache {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    limit: u64,
    state: Mutex<State>,
    /// Told whenever a fetch ends.
    fetched: Condvar,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<String, Copy>,
    /// Names by when they were last used.
    order: BTreeMap<u64, String>,
    bytes: u64,
    uses: u64,
    fetching: HashSet<String>,
}

#[derive(Clone, Copy, Debug)]
struct Copy {
    bytes: u64,
    used: u64,
}

impl Cache {
    /// The copies in `folder`, which need not exist, of at most `limit` bytes.
    pub(super) fn open(disk: Arc<dyn Disk>, folder: PathBuf, limit: u64) -> Result<Self, Error> {
        let cache = Self { disk, folder, limit, state: Mutex::default(), fetched: Condvar::new() };
        let mut found = Vec::new();
        let listed = cache.list(&cache.folder, "", &mut found);
        listed.map_err(|source| Error::io(&cache.folder, source))?;
        found.sort();
        let mut state = cache.state.lock();
        for (_, name, bytes) in found {
            state.insert(name, bytes);
        }
        cache.evict(&mut state, None);
        drop(state);
        Ok(cache)
    }

    /// Finds copies of an earlier process, and deletes what it had not finished.
    fn list(&self, folder: &Path, prefix: &str, found: &mut Vec<(i64, String, u64)>) -> io::Result<()> {
        for entry in self.disk.list(folder)? {
            let name = format!("{prefix}{}", entry.name());
            if entry.is_folder {
                self.list(&entry.path, &format!("{name}/"), found)?;
            } else if entry.path.extension().is_some_and(|extension| extension == DRAFT) {
                self.disk.remove(&entry.path)?;
            } else {
                found.push((entry.modified, name, entry.bytes));
            }
        }
        Ok(())
    }

    /// Where the copy of `name` is, or would be.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Bytes of copies, and their bound.
    pub(super) fn fill(&self) -> (u64, u64) {
        (self.state.lock().bytes, self.limit)
    }

    /// Keeps a copy. When that fails there is none; it is fetched when it is needed.
    pub(super) fn keep(&self, name: &str, bytes: &[u8]) {
        let kept = self.write(name, |draft| self.disk.write(draft, bytes).map(|()| bytes.len() as u64));
        if let Err(error) = kept {
            tracing::warn!(%error, name, "a file of the storage is not kept on the local disk; it is fetched when it is read");
        }
    }

    /// Opens the copy of `name`, which has `bytes`, or makes one with `fetch`: it is given the path to
    /// write to. Several threads that want the same file fetch it once.
    pub(super) fn open_or_fetch(
        &self,
        name: &str,
        bytes: u64,
        fetch: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<File, Error> {
        let mut state = self.state.lock();
        loop {
            if state.files.get(name).is_some_and(|copy| copy.bytes == bytes) {
                state.touch(name);
                match self.disk.open(&self.path(name)) {
                    Ok(file) => return Ok(file),
                    Err(_) => self.forget(&mut state, name),
                }
            }
            if state.fetching.insert(name.to_owned()) {
                break;
            }
            self.fetched.wait(&mut state);
        }
        drop(state);
        let path = self.path(name);
        let mut failure = None;
        let written = self.write(name, |draft| {
            let fetched = fetch(draft);
            fetched.map(|()| bytes).map_err(|error| {
                failure = Some(error);
                io::Error::other("not fetched")
            })
        });
        // Opened before anybody else can make it go.
        let opened = written.and_then(|()| self.disk.open(&path));
        self.state.lock().fetching.remove(name);
        self.fetched.notify_all();
        opened.map_err(|source| failure.unwrap_or_else(|| Error::io(path, source)))
    }

    /// Drops the copy of `name`. False when there was none.
    pub(super) fn remove(&self, name: &str) -> bool {
        let mut state = self.state.lock();
        let was_there = state.files.contains_key(name);
        self.forget(&mut state, name);
        was_there
    }

    /// Makes a copy with `write`, which returns its length, under a name that no reader sees, and counts it.
    fn write(&self, name: &str, write: impl FnOnce(&Path) -> io::Result<u64>) -> io::Result<()> {
        let path = self.path(name);
        let mut draft = path.clone().into_os_string();
        draft.push(".");
        draft.push(DRAFT);
        let draft = PathBuf::from(draft);
        let make = || {
            path.parent().map_or(Ok(()), |parent| self.disk.create_folder(parent))?;
            let _ = self.disk.remove(&draft);
            let bytes = write(&draft)?;
            self.disk.rename(&draft, &path)?;
            Ok(bytes)
        };
        let made: io::Result<u64> = make();
        let bytes = made.inspect_err(|_| drop(self.disk.remove(&draft)))?;
        let mut state = self.state.lock();
        state.insert(name.to_owned(), bytes);
        self.evict(&mut state, Some(name));
        Ok(())
    }

    /// Deletes the least recently used copies until the rest is within the bound. `newest` stays: it is
    /// about to be read.
    fn evict(&self, state: &mut State, newest: Option<&str>) {
        while state.bytes > self.limit {
            let Some((_, oldest)) = state.order.first_key_value() else { return };
            if newest == Some(oldest.as_str()) {
                return;
            }
            let oldest = oldest.clone();
            self.forget(state, &oldest);
        }
    }

    fn forget(&self, state: &mut State, name: &str) {
        state.remove(name);
        match self.disk.remove(&self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, name, "a copy of a file of the storage cannot be deleted");
            }
            _ => {}
        }
    }
}

impl State {
    fn insert(&mut self, name: String, bytes: u64) {
        self.remove(&name);
        self.uses += 1;
        self.bytes += bytes;
        self.files.insert(name.clone(), Copy { bytes, used: self.uses });
        self.order.insert(self.uses, name);
    }

    fn remove(&mut self, name: &str) {
        if let Some(copy) = self.files.remove(name) {
            self.order.remove(&copy.used);
            self.bytes -= copy.bytes;
        }
    }

    fn touch(&mut self, name: &str) {
        if let Some(copy) = self.files.get(name).copied() {
            self.insert(name.to_owned(), copy.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;
    use std::io::Read;

    fn cache(folder: &Path, limit: u64) -> Cache {
        Cache::open(Arc::new(RealDisk), folder.to_owned(), limit).unwrap()
    }

    /// What a reader of `name` gets when the bucket has `content`, and whether it was fetched.
    fn read(cache: &Cache, name: &str, content: &str) -> (String, bool) {
        let mut fetched = false;
        let file = cache.open_or_fetch(name, content.len() as u64, |path| {
            fetched = true;
            std::fs::write(path, content).map_err(|source| Error::io(path, source))
        });
        let mut text = String::new();
        file.unwrap().read_to_string(&mut text).unwrap();
        (text, fetched)
    }

    #[test]
    fn the_least_recently_used_go() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), 9);
        for name in ["a", "b/c", "d"] {
            cache.keep(name, b"123");
        }
        assert_eq!(read(&cache, "a", "123"), ("123".into(), false));
        assert_eq!(read(&cache, "e", "new"), ("new".into(), true));
        assert_eq!(cache.fill(), (9, 9));
        assert!(!read(&cache, "a", "123").1);
        assert!(read(&cache, "b/c", "123").1);
        // One that is larger than all the room is read all the same, alone.
        assert_eq!(read(&cache, "large", "0123456789"), ("0123456789".into(), true));
        assert_eq!(cache.fill().0, 10);
    }

    #[test]
    fn what_is_missing_short_or_damaged_is_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let first = cache(folder.path(), 100);
        first.keep("a", b"123");
        std::fs::remove_file(folder.path().join("a")).unwrap();
        assert_eq!(read(&first, "a", "123"), ("123".into(), true));
        std::fs::write(folder.path().join("half.part"), "1").unwrap();
        std::fs::write(folder.path().join("a"), "1").unwrap();
        let second = cache(folder.path(), 100);
        assert!(!folder.path().join("half.part").exists());
        assert_eq!(read(&second, "a", "123"), ("123".into(), true));
        assert!(second.remove("a"));
        assert!(!second.remove("a"));
        assert_eq!(read(&second, "a", "456"), ("456".into(), true));
        assert_eq!(second.fill().0, 3);
    }

    #[test]
    fn a_failed_fetch_is_reported_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path(), 100);
        let failed = cache.open_or_fetch("a", 3, |_| Err(Error::Closed));
        assert!(matches!(failed, Err(Error::Closed)));
        assert_eq!(read(&cache, "a", "123"), ("123".into(), true));
    }
}
