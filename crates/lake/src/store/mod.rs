//! Where the tables of a tenant are: a folder on a disk, or a prefix of a bucket.
//!
//! Names are relative to the tenant, with `/` between their parts: `samples/date=2026-08-01/….parquet`.
//! What a call has put is durable when it returns.

mod bucket;
mod cache;
mod config;
mod disk_objects;
mod folder;
mod remote;
mod requests;

#[cfg(test)]
pub(crate) use bucket::{Bucket, BucketParts};
pub use config::{StorageConfig, StorageStatus};
pub(crate) use config::{is_remote, open, open_to_read};
pub(crate) use folder::Folder;
#[cfg(test)]
pub(crate) use requests::{Policy, Requests};

use crate::Error;
use object_store::ObjectStore;
use std::fmt::Debug;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The files of a tenant's tables. All calls block.
pub(crate) trait Store: Debug + Send + Sync {
    /// Writes a data file. Returns when it was modified, in milliseconds since the epoch.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<i64, Error>;
    /// Writes a commit, unless there is one of that name already. One that has the same content counts as
    /// written: it is ours, and the answer to an earlier attempt was lost.
    fn put_if_absent(&self, name: &str, bytes: &[u8]) -> Result<Put, Error>;
    /// All files whose names begin with `folder` and a slash; all that there are when it is empty.
    fn list(&self, folder: &str) -> Result<Vec<StoredFile>, Error>;
    /// Deletes a file; one that is not there counts as deleted. Who has it open goes on reading.
    fn remove(&self, name: &str) -> Result<(), Error>;
    /// Opens a data file of `bytes` bytes for reads by position.
    fn open(&self, name: &str, bytes: u64) -> Result<File, Error>;
    /// Drops a local copy of a data file, because it is damaged. False when there is no other copy.
    fn drop_copy(&self, name: &str) -> bool;
    /// The path that a data file has here, for messages and as its identity.
    fn path(&self, name: &str) -> PathBuf;
    /// What the name of the next data file ends with. Where two attempts may meet, each has another one.
    fn mark(&self) -> String;
    /// A number of this process, where another one might write the same tables.
    fn process(&self) -> Option<String>;
    /// The identity of the data folder, where several might write the same tables.
    fn data_folder(&self) -> Option<&str>;
    /// Deletes a file that nobody asks for any more, when that suits. Does not block for long.
    fn retire(&self, name: &str);
    /// How long a file that no commit names is left alone: another process may be about to name it.
    fn orphan_grace(&self) -> Duration;
    /// The same files, for the Delta library.
    fn objects(&self) -> Arc<dyn ObjectStore>;
    /// Figures of a bucket; nothing for a folder.
    fn status(&self) -> Option<StorageStatus>;
}

/// What became of [`Store::put_if_absent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is there.
    Done,
    /// Something else is there under that name.
    Taken,
}

/// A file of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredFile {
    /// Its name, relative to the tenant.
    pub(crate) name: String,
    /// When it was modified, in milliseconds since the epoch.
    pub(crate) modified: i64,
}

/// The part of a store that one table lies in.
#[derive(Clone, Debug)]
pub(crate) struct TableFolder {
    /// Where the tables are.
    pub(crate) store: Arc<dyn Store>,
    /// Name of the table, which is that of its folder.
    pub(crate) table: &'static str,
}

impl TableFolder {
    /// The name in the store of a file that is called `relative` in the table.
    pub(crate) fn name(&self, relative: &str) -> String {
        format!("{}/{relative}", self.table)
    }

    /// The table's folder, for messages.
    pub(crate) fn path(&self) -> PathBuf {
        self.store.path(self.table)
    }
}
