//! The Delta log of one table.
//!
//! Checkpoints and cleaning are the Delta library's, and reading what has them ([`replay`]). Commits are
//! written here: nobody else writes the table, so that a conflict is an error and nothing to be merged, and the version and the
//! sequence are all that must be known. That makes a commit as quick as its syncs, and durable, which the
//! library's are not (it does not sync).
//!
//! A commit whose writing failed may be there all the same (the answer of a bucket was lost), or come to
//! be there later. It is kept, and written again unchanged, before there is another one.

mod entry;
mod replay;

use super::Import;
use super::parquet_file::NewFile;
use super::schema::{FORMAT_VERSION, Table};
use crate::Error;
use crate::files::DataFile;
use crate::store::{Put, Store, StoredFile, TableFolder};
use deltalake_core::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use everflame_profile::Nanos;
use hashbrown::HashSet;
use replay::NamedFile;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use url::Url;

/// Who the application transactions are from that name a write-ahead log sequence.
const APPLICATION: &str = "everflame";

/// Who the application transactions are from that name a [`DeltaLog::horizon`], in seconds.
const RETENTION: &str = "everflame.retention";

/// Begin of who the application transactions are from that say what of another lake was copied here; that
/// lake's id follows, and the version is its sequence.
const IMPORT: &str = "everflame.import.";

/// Property of the table that says how its files are laid out.
const FORMAT_PROPERTY: &str = "everflame.formatVersion";

/// Property of the table that names the labels that are missing in its series, as a JSON list.
const DROPPED_PROPERTY: &str = "everflame.droppedLabels";

/// The folder of the log in that of the table.
const LOG: &str = "_delta_log";

const NANOS_A_MILLI: i64 = 1_000_000;

/// A process that was killed has one commit of a table under way. More mean that another one is running.
const MOST_FENCES: u32 = 4;

/// Commits between two checkpoints of a table in a folder.
const CHECKPOINT_INTERVAL: u64 = 100;

/// The same in a bucket, where a start makes a request for each commit since the last checkpoint.
const REMOTE_CHECKPOINT_INTERVAL: u64 = 16;

/// A change of a table that is no flush: some of its files make way for others.
#[derive(Default)]
pub(super) struct Replacement {
    /// What the change is called in the table's history.
    pub(super) operation: &'static str,
    /// Files that go.
    pub(super) removed: Vec<Arc<DataFile>>,
    /// Files that come.
    pub(super) added: Vec<NewFile>,
    /// Whether the rows are others than before, or only lie in other files.
    pub(super) changes_data: bool,
    /// The write-ahead log sequence up to which the table's rows then go; as before when `None`.
    pub(super) sequence: Option<u64>,
    /// The sequence in the log of this data folder that is then in the table; as before when `None`.
    pub(super) flushed: Option<u64>,
    /// The new [`DeltaLog::horizon`]; as before when `None`.
    pub(super) horizon: Option<i64>,
    /// What of another lake is in the table then.
    pub(super) import: Option<Import>,
}

/// A commit that was made.
#[derive(Debug)]
pub(crate) struct Applied {
    /// Files that went. They are still there, for those who read them.
    pub(crate) removed: Vec<Arc<DataFile>>,
    /// Files that came.
    pub(crate) added: Vec<Arc<DataFile>>,
    /// The write-ahead log sequence up to which the table's rows now go; as before when `None`.
    pub(crate) sequence: Option<u64>,
    /// The new [`DeltaLog::horizon`]; as before when `None`.
    pub(crate) horizon: Option<i64>,
}

/// A commit that is being written.
struct Draft {
    entry: String,
    /// See [`Replacement::flushed`].
    flushed: Option<u64>,
    applied: Applied,
}

/// A table that is open for writing.
pub(super) struct DeltaLog {
    table: &'static Table,
    folder: TableFolder,
    /// Version of the next commit.
    next_version: u64,
    /// Write-ahead log sequence that the last commit names.
    sequence: u64,
    /// The last sequence of this data folder's log that is in the table. Another one than `sequence` only
    /// when other data folders have written this table.
    flushed: u64,
    /// Before this time rows may have been deleted because of their age; see [`Self::horizon`].
    horizon: Option<i64>,
    /// The labels that are missing in its series; `None` when none are.
    dropped_labels: Option<Vec<String>>,
    /// Version of the last checkpoint; 0 when there is none.
    checkpoint: u64,
    /// Flushes that the caller has not been told of. They are shown when all tables have them.
    flushes: Vec<Applied>,
    /// Other changes that the caller has not been told of.
    changes: Vec<Applied>,
    /// A commit of which nobody knows whether it is there.
    draft: Option<Draft>,
}

impl DeltaLog {
    /// Reads the log of `table` in `store` and changes nothing, so that it may be done beside a server.
    pub(super) async fn look(
        store: &Arc<dyn Store>,
        table: &'static Table,
    ) -> Result<(Self, Vec<Arc<DataFile>>), Error> {
        let stored = store.list(&format!("{}/{LOG}", table.name))?;
        Self::read_listed(store, table, &stored).await
    }

    /// The same, when `stored` are the files in `store`.
    pub(super) async fn read_listed(
        store: &Arc<dyn Store>,
        table: &'static Table,
        stored: &[StoredFile],
    ) -> Result<(Self, Vec<Arc<DataFile>>), Error> {
        let folder = TableFolder { store: store.clone(), table: table.name };
        let mut log = Self {
            table,
            folder,
            next_version: 0,
            sequence: 0,
            flushed: 0,
            horizon: None,
            dropped_labels: None,
            checkpoint: 0,
            flushes: Vec::new(),
            changes: Vec::new(),
            draft: None,
        };
        let begin = format!("{}/", log.folder.name(LOG));
        let log_files = stored.iter().filter(|file| file.name.starts_with(&begin)).cloned();
        let files = log.load(log_files.collect()).await?;
        Ok((log, files))
    }

    /// Whether somebody has committed since this log was read.
    pub(super) fn has_moved_on(&self) -> bool {
        let next = format!("{:020}.json", self.next_version);
        let files = self.folder.store.list(&self.folder.name(LOG));
        files.is_ok_and(|files| files.iter().any(|file| file.name.ends_with(&next)))
    }

    /// Data files in the folder of the table that are none of `files`.
    pub(super) fn orphans(&self, files: &[Arc<DataFile>]) -> Result<Vec<PathBuf>, Error> {
        let unnamed = self.unnamed(files)?;
        Ok(unnamed.iter().map(|file| self.folder.store.path(&file.name)).collect())
    }

    fn unnamed(&self, files: &[Arc<DataFile>]) -> Result<Vec<StoredFile>, Error> {
        let mut unnamed = self.folder.store.list(self.folder.table)?;
        let is_unnamed = self.is_unnamed(files);
        unnamed.retain(is_unnamed);
        Ok(unnamed)
    }

    /// Whether a file in the folder of the table is a data file that is none of `files`.
    fn is_unnamed(&self, files: &[Arc<DataFile>]) -> impl Fn(&StoredFile) -> bool {
        let known: HashSet<&Path> = files.iter().map(|file| file.path.as_path()).collect();
        let log = self.folder.name(LOG);
        move |file| {
            let is_data = file.name.ends_with(".parquet") && !file.name.starts_with(&log);
            is_data && !known.contains(self.folder.store.path(&file.name).as_path())
        }
    }

    /// The write-ahead log sequence that the last commit names.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Rows of times before this one, in seconds since the epoch, may have been deleted because of their age.
    pub(super) fn horizon(&self) -> Option<i64> {
        self.horizon
    }

    /// Version of the next commit.
    pub(super) fn next_version(&self) -> u64 {
        self.next_version
    }

    /// The folder of the table.
    pub(super) fn folder(&self) -> &TableFolder {
        &self.folder
    }

    /// The last sequence of this data folder's write-ahead log that is in the table.
    pub(super) fn flushed(&self) -> u64 {
        self.flushed
    }

    /// The labels that are missing in its series; `None` when none are.
    pub(super) fn dropped_labels(&self) -> Option<&[String]> {
        self.dropped_labels.as_deref()
    }

    /// Says which labels are missing in its series. Those of a table that exists must be the same.
    pub(super) fn drop_labels(&mut self, labels: &[String]) -> Result<(), Error> {
        if self.next_version > 0 && self.dropped_labels.as_deref() != Some(labels) {
            return Err(self.damaged(&format!(
                "it drops other labels than {labels:?}, which the tables beside it drop"
            )));
        }
        self.dropped_labels = Some(labels.to_vec());
        Ok(())
    }

    /// Whether neither the caller nor an earlier attempt has committed `sequence`.
    pub(super) fn lacks(&self, sequence: u64, done: u64) -> bool {
        done.max(self.flushed) < sequence
    }

    /// All flushes since the last call.
    pub(super) fn take_flushes(&mut self) -> Vec<Applied> {
        std::mem::take(&mut self.flushes)
    }

    /// All other commits since the last call.
    pub(super) fn take_changes(&mut self) -> Vec<Applied> {
        std::mem::take(&mut self.changes)
    }

    /// Whether there has been a commit.
    fn exists(&self) -> Result<bool, Error> {
        Ok(replay::has_commits(&self.log_files()?))
    }

    fn log_files(&self) -> Result<Vec<StoredFile>, Error> {
        self.folder.store.list(&self.folder.name(LOG))
    }

    /// Reads the log, whose files are `log_files`: version, sequence and data files, of which there are none
    /// before the first commit.
    async fn load(&mut self, log_files: Vec<StoredFile>) -> Result<Vec<Arc<DataFile>>, Error> {
        if !replay::has_commits(&log_files) {
            return Ok(Vec::new());
        }
        let content = self.content(&log_files).await?;
        let format = content.configuration.get(FORMAT_PROPERTY);
        let format = format.and_then(|version| version.parse::<u32>().ok());
        if format.is_none_or(|version| version > FORMAT_VERSION) {
            let format = format.map_or_else(|| "no".to_owned(), |version| version.to_string());
            return Err(self.damaged(&format!(
                "the table has {format} {FORMAT_PROPERTY}, this Everflame reads those up to {FORMAT_VERSION}; \
                 start the version that wrote it"
            )));
        }
        let dropped = content.configuration.get(DROPPED_PROPERTY);
        self.dropped_labels = dropped.and_then(|labels| serde_json::from_str(labels).ok());
        let transaction = |application: &str| content.transactions.get(application).copied();
        let sequence = transaction(APPLICATION).unwrap_or_default();
        let flushed = match self.folder.store.data_folder() {
            Some(data_folder) => transaction(&application_of(data_folder)).unwrap_or_default(),
            None => sequence,
        };
        self.horizon = transaction(RETENTION);
        let mut files = Vec::new();
        for (name, file) in &content.files {
            files.push(self.data_file(name, file)?);
        }
        self.next_version = content.version + 1;
        self.checkpoint = replay::last_checkpoint(&log_files);
        self.sequence = u64::try_from(sequence).map_err(|_| self.damaged("its sequence is negative"))?;
        self.flushed = u64::try_from(flushed).map_err(|_| self.damaged("its sequence is negative"))?;
        files.sort_by(|a, b| (a.sequence(), &a.path).cmp(&(b.sequence(), &b.path)));
        Ok(files)
    }

    /// The id that the table got with its first commit.
    pub(super) async fn id(&self) -> Result<Option<String>, Error> {
        if !self.exists()? {
            return Ok(None);
        }
        let table = self.read().await?;
        Ok(Some(table.snapshot().map_err(self.fault())?.metadata().id().to_owned()))
    }

    /// The sequence of the lake `source` up to which its rows were copied here.
    pub(super) async fn imported(&self, source: &str) -> Result<Option<u64>, Error> {
        if !self.exists()? {
            return Ok(None);
        }
        let fault = self.fault();
        let table = self.read().await?;
        let snapshot = table.snapshot().map_err(&fault)?;
        let log_store = table.log_store();
        let application = format!("{IMPORT}{source}");
        let version = snapshot.transaction_version(log_store.as_ref(), &application).await.map_err(&fault)?;
        Ok(version.and_then(|version| u64::try_from(version).ok()))
    }

    fn data_file(&self, name: &str, file: &NamedFile) -> Result<Arc<DataFile>, Error> {
        let relative = Path::new(name);
        let inside = relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        match (inside, file.stats.clone(), u64::try_from(file.bytes)) {
            (true, Some(stats), Ok(bytes)) => {
                let data = DataFile::stored(&self.folder, name, bytes, stats);
                Ok(Arc::new(data.written_at(file.modified)))
            }
            _ => Err(self
                .damaged(&format!("the entry of {name} has no statistics, or is not a file of this table"))),
        }
    }

    /// Deletes those of the files `stored` that are data files of this table and not among `files`, those
    /// that commits name, and commits that were never finished: what a crash leaves, when it is old enough.
    /// Nobody reads them.
    pub(super) fn delete_orphans(
        &self,
        stored: &[StoredFile],
        files: &[Arc<DataFile>],
        now: Nanos,
    ) -> Result<(), Error> {
        let store = &self.folder.store;
        let grace = i64::try_from(store.orphan_grace().as_millis()).unwrap_or(i64::MAX);
        let oldest_kept = (now / NANOS_A_MILLI).saturating_sub(grace);
        let (log, is_unnamed) = (self.folder.name(LOG), self.is_unnamed(files));
        let begin = self.folder.name("");
        let own = stored.iter().filter(|file| file.name.starts_with(&begin));
        let orphans =
            own.filter(|file| file.name.starts_with(&log) && file.name.ends_with(".tmp") || is_unnamed(file));
        for file in orphans.filter(|file| grace == 0 || file.modified < oldest_kept) {
            tracing::warn!(file = file.name, "deleting a file that a crash left unfinished");
            store.remove(&file.name)?;
        }
        Ok(())
    }

    /// Writes files with `write`, which is given the table's folder, and commits them as the content of
    /// this data folder's write-ahead log up to `flushed`. To others, who may have written this table, they
    /// are rows up to `sequence`.
    pub(super) fn commit(
        &mut self,
        flushed: u64,
        sequence: u64,
        write: impl FnOnce(&TableFolder) -> Result<Vec<NewFile>, Error>,
    ) -> Result<(), Error> {
        self.settle()?;
        if self.flushed >= flushed {
            return Ok(());
        }
        let added = write(&self.folder)?;
        let flush = Replacement {
            operation: "WRITE",
            added,
            changes_data: true,
            sequence: Some(sequence),
            flushed: Some(flushed),
            ..Replacement::default()
        };
        self.write(flush)
    }

    /// Takes the next version by a commit without content, where another process may have written before:
    /// what it still has under way can no longer become a commit. Returns the files if they are others than
    /// was read, because such a commit has just come.
    pub(super) async fn fence(&mut self) -> Result<Option<Vec<Arc<DataFile>>>, Error> {
        let mut files = None;
        for attempt in 1.. {
            match self.replace(Replacement { operation: "FENCE", ..Replacement::default() }) {
                Ok(_) => break,
                Err(Error::Conflict { .. }) if attempt < MOST_FENCES => {
                    let log_files = self.log_files()?;
                    files = Some(self.load(log_files).await?);
                }
                Err(error) => return Err(error),
            }
        }
        self.changes.clear();
        Ok(files)
    }

    /// Commits `change`, durably; see [`Self::take_changes`]. When that fails nobody knows whether it is
    /// there, and it is tried again before the next change. That next one was made without knowing: it is
    /// not committed, and the answer is false, when the caller has not been told of an earlier one.
    pub(super) fn replace(&mut self, change: Replacement) -> Result<bool, Error> {
        self.settle()?;
        if !self.changes.is_empty() {
            return Ok(false);
        }
        self.write(change).map(|()| true)
    }

    fn write(&mut self, change: Replacement) -> Result<(), Error> {
        let entry = self.entry(&change)?;
        let added = change.added.iter().map(|file| {
            let data = DataFile::stored(&self.folder, &file.path, file.bytes, file.bounds.file_stats());
            Arc::new(data.written_at(file.modified))
        });
        let applied = Applied {
            added: added.collect(),
            removed: change.removed,
            sequence: change.sequence,
            horizon: change.horizon,
        };
        self.draft = Some(Draft { entry, flushed: change.flushed, applied });
        self.settle()
    }

    /// Writes the commit that is there as a draft, if any. Comes before all that may have the names of its
    /// files: the same rows, merged again for the same version, would be written over them.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        let Some(draft) = &self.draft else { return Ok(()) };
        let name = self.folder.name(&format!("{LOG}/{:020}.json", self.next_version));
        let put = self.folder.store.put_if_absent(&name, draft.entry.as_bytes())?;
        let Some(Draft { flushed, applied, .. }) = self.draft.take() else { return Ok(()) };
        if put == Put::Taken {
            return Err(Error::Conflict { path: self.folder.store.path(&name) });
        }
        self.next_version += 1;
        self.sequence = applied.sequence.unwrap_or(self.sequence);
        self.horizon = applied.horizon.or(self.horizon);
        match flushed {
            Some(flushed) => {
                self.flushed = flushed;
                self.flushes.push(applied);
            }
            None => self.changes.push(applied),
        }
        Ok(())
    }

    /// Makes a checkpoint when enough commits have come since the last one, and deletes expired logs. A
    /// failure costs nothing but time at the next start, and is tried again after the next commit.
    pub(super) async fn checkpoint_when_due(&mut self) {
        let Some(version) = self.next_version.checked_sub(1) else { return };
        if version < self.checkpoint + self.checkpoint_interval() {
            return;
        }
        match self.write_checkpoint().await {
            Ok(()) => self.checkpoint = version,
            Err(error) => tracing::warn!(%error, "cannot make a checkpoint; trying again at the next flush"),
        }
    }

    /// Commits between two checkpoints.
    fn checkpoint_interval(&self) -> u64 {
        match self.folder.store.process() {
            Some(_) => REMOTE_CHECKPOINT_INTERVAL,
            None => CHECKPOINT_INTERVAL,
        }
    }

    async fn write_checkpoint(&self) -> Result<(), Error> {
        let fault = self.fault();
        let table = self.read().await?;
        deltalake_core::checkpoints::create_checkpoint(&table, None).await.map_err(&fault)?;
        deltalake_core::checkpoints::cleanup_metadata(&table, None).await.map_err(&fault)?;
        Ok(())
    }

    async fn read(&self) -> Result<DeltaTable, Error> {
        // The scheme under which the library takes any store as it is.
        let location = Url::parse(&format!("memory:///{}/", self.folder.table));
        let location = location.map_err(|error| self.damaged(&error.to_string()))?;
        let table = DeltaTableBuilder::from_url(location.clone()).map_err(self.fault())?;
        let objects = self.folder.store.objects();
        table.with_storage_backend(objects, location).load().await.map_err(self.fault())
    }

    fn fault(&self) -> impl Fn(DeltaTableError) -> Error + use<> {
        let (table, path) = (self.table.name, self.folder.path());
        move |source| Error::delta(table, &path, source)
    }

    fn damaged(&self, why: &str) -> Error {
        Error::Damaged { path: self.folder.path(), why: why.to_owned() }
    }
}

/// Who the application transactions are from that name a sequence in the log of one data folder.
fn application_of(data_folder: &str) -> String {
    format!("{APPLICATION}-{data_folder}")
}
