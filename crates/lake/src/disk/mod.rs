//! The local file system as the lake uses it: the write-ahead log, the lock, tables in a folder, and the
//! cache of tables in a bucket.
//!
//! Two implementations: the real one, and one in memory that the simulation crashes at will.

mod real;
#[cfg(test)]
pub(crate) mod sim;

pub(crate) use real::RealDisk;

use std::any::Any;
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A file system. All calls block.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Makes a folder and those above it, as far as they are missing.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// What is in a folder, sorted by name; nothing when it does not exist.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// What is there under that name.
    fn entry(&self, path: &Path) -> io::Result<Entry>;
    /// The content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Writes a whole file, in place of one that may be there, without making it durable.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Writes a whole file and syncs what is in it; its name is durable after [`Disk::sync_folder`]. Returns
    /// when it was modified, in milliseconds since the epoch.
    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<i64>;
    /// Makes a new file for appending.
    fn append(&self, path: &Path) -> io::Result<Box<dyn Append>>;
    /// Opens a file for reads by position.
    fn open(&self, path: &Path) -> io::Result<File>;
    /// Gives a file another name in the same folder, in place of one that may be there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file; one that is open stays readable.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// Takes the lock file at `path`, which is made when it is missing; `None` when another process has it.
    /// The lock lasts as long as what is returned.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>>;
}

/// A file that grows at its end.
pub(crate) trait Append: Send {
    /// Writes all of `bytes` behind what is there.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes the content durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `length` bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its whole path.
    pub(crate) path: PathBuf,
    /// Whether it is a folder.
    pub(crate) is_folder: bool,
    /// Length of a file.
    pub(crate) bytes: u64,
    /// When it was modified, in milliseconds since the epoch.
    pub(crate) modified: i64,
}

impl Entry {
    /// Its last component; empty when that is not UTF-8, which no name of the lake is.
    pub(crate) fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }
}
