//! Tables in a folder of a disk.

use super::disk_objects::DiskObjects;
use super::{Put, StorageStatus, Store, StoredFile};
use crate::Error;
use crate::disk::{Disk, RealDisk};
use hashbrown::HashSet;
use object_store::ObjectStore;
use parking_lot::Mutex;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A tenant's folder. Nobody else writes there: the lock of the folder above sees to that.
#[derive(Debug)]
pub(crate) struct Folder {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    /// Folders whose names are known to be durable.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Folder {
    /// The tables below `root`, which need not exist.
    pub(crate) fn new(disk: Arc<dyn Disk>, root: PathBuf) -> Self {
        Self { disk, root, durable: Mutex::default() }
    }

    /// The tables below `root` on the disk of this machine.
    pub(crate) fn local(root: &Path) -> Result<Self, Error> {
        let root = std::path::absolute(root).map_err(|source| Error::io(root, source))?;
        Ok(Self::new(Arc::new(RealDisk), root))
    }

    /// Makes the folder of `path` with those above it, and their names durable.
    fn make_parent(&self, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        if self.durable.lock().contains(parent) {
            return Ok(());
        }
        self.disk.create_folder(parent)?;
        // The tenant's folder has its name in the one above.
        let missing = parent.ancestors().take_while(|folder| folder.starts_with(&self.root));
        for folder in missing {
            folder.parent().map_or(Ok(()), |above| self.disk.sync_folder(above))?;
        }
        self.durable.lock().insert(parent.to_owned());
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<i64> {
        self.make_parent(path)?;
        let written = self.disk.write_synced(path, bytes).and_then(|modified| {
            path.parent().map_or(Ok(()), |parent| self.disk.sync_folder(parent))?;
            Ok(modified)
        });
        written.inspect_err(|_| {
            // Half a file helps nobody, and a full disk needs the room; when this fails too, the next open
            // deletes it.
            let _ = self.disk.remove(path);
        })
    }

    fn write_commit(&self, path: &Path, bytes: &[u8]) -> io::Result<Put> {
        self.make_parent(path)?;
        // An earlier attempt of the same is written again: it may not be durable.
        if self.disk.entry(path).is_ok() && self.disk.read(path)? != bytes {
            return Ok(Put::Taken);
        }
        let mut draft = path.as_os_str().to_owned();
        draft.push(".tmp");
        let draft = Path::new(&draft);
        self.disk.write_synced(draft, bytes).inspect_err(|_| drop(self.disk.remove(draft)))?;
        self.disk.rename(draft, path)?;
        let parent = path.parent().unwrap_or(&self.root);
        self.disk.sync_folder(parent).inspect_err(|_| {
            // Not known to be durable, so it must not be there when the caller tries again.
            let _ = self.disk.remove(path);
        })?;
        Ok(Put::Done)
    }

    fn list_below(&self, folder: &Path, name: &str, found: &mut Vec<StoredFile>) -> io::Result<()> {
        for entry in self.disk.list(folder)? {
            let name = match name {
                "" => entry.name().to_owned(),
                _ => format!("{name}/{}", entry.name()),
            };
            if entry.is_folder {
                self.list_below(&entry.path, &name, found)?;
            } else {
                found.push(StoredFile { name, modified: entry.modified });
            }
        }
        Ok(())
    }
}

impl Store for Folder {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<i64, Error> {
        let path = self.path(name);
        self.write(&path, bytes).map_err(|source| Error::io(path, source))
    }

    fn put_if_absent(&self, name: &str, bytes: &[u8]) -> Result<Put, Error> {
        let path = self.path(name);
        self.write_commit(&path, bytes).map_err(|source| Error::io(path, source))
    }

    fn list(&self, folder: &str) -> Result<Vec<StoredFile>, Error> {
        let path = self.path(folder);
        let mut found = Vec::new();
        self.list_below(&path, folder, &mut found).map_err(|source| Error::io(path, source))?;
        Ok(found)
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        match self.disk.remove(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|source| Error::io(path, source)),
        }
    }

    fn open(&self, name: &str, _bytes: u64) -> Result<File, Error> {
        let path = self.path(name);
        self.disk.open(&path).map_err(|source| Error::io(path, source))
    }

    fn drop_copy(&self, _name: &str) -> bool {
        false
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn mark(&self) -> String {
        String::new()
    }

    fn process(&self) -> Option<String> {
        None
    }

    fn data_folder(&self) -> Option<&str> {
        None
    }

    fn retire(&self, name: &str) {
        if let Err(error) = self.remove(name) {
            tracing::warn!(%error, "a file that is no longer needed stays until the next start");
        }
    }

    fn orphan_grace(&self) -> Duration {
        Duration::ZERO
    }

    fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::new(DiskObjects::new(self.disk.clone(), self.root.clone()))
    }

    fn status(&self) -> Option<StorageStatus> {
        None
    }
}
