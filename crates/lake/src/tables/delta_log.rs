//! The Delta log of one table.
//!
//! Reading, checkpoints and cleaning are the Delta library's. Commits are written here: nobody else
//! writes the table, so that there is no conflict to look for, and the version and the sequence are all
//! that must be known. That makes a commit as quick as its syncs, and durable, which the library's are
//! not (it does not sync).

use super::days::{date_text, parse_time};
use super::parquet_file::{NewFile, write_synced};
use super::schema::{DATE, FORMAT_VERSION, Partition, Table};
use super::{Import, sync_folder};
use crate::Error;
use crate::files::{DataFile, FileStats};
use deltalake_core::kernel::{LogicalFileView, new_metadata};
use deltalake_core::{DeltaTable, DeltaTableBuilder, DeltaTableError, ensure_table_uri};
use hashbrown::HashSet;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// Commits between two checkpoints.
const CHECKPOINT_INTERVAL: u64 = 100;

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
    /// The new [`DeltaLog::horizon`]; as before when `None`.
    pub(super) horizon: Option<i64>,
    /// What of another lake is in the table then.
    pub(super) import: Option<Import>,
}

/// A table that is open for writing.
pub(super) struct DeltaLog {
    table: &'static Table,
    folder: PathBuf,
    /// Version of the next commit.
    next_version: u64,
    /// Write-ahead log sequence that the last commit names.
    sequence: u64,
    /// Before this time rows may have been deleted because of their age; see [`Self::horizon`].
    horizon: Option<i64>,
    /// The labels that are missing in its series; `None` when none are.
    dropped_labels: Option<Vec<String>>,
    /// Version of the last checkpoint of this process.
    checkpoint: u64,
    /// Files of commits that the caller has not been told of.
    new_files: Vec<Arc<DataFile>>,
}

impl DeltaLog {
    /// Opens `table` in its folder below `root`, and deletes files there that no commit names.
    pub(super) async fn open(
        root: &Path,
        table: &'static Table,
    ) -> Result<(Self, Vec<Arc<DataFile>>), Error> {
        let (log, files) = Self::look(root, table).await?;
        log.delete_orphans(&files)?;
        Ok((log, files))
    }

    fn new(root: &Path, table: &'static Table) -> Self {
        Self {
            table,
            folder: root.join(table.name),
            next_version: 0,
            sequence: 0,
            horizon: None,
            dropped_labels: None,
            checkpoint: 0,
            new_files: Vec::new(),
        }
    }

    /// Reads the log of `table` below `root` and changes nothing, so that it may be done beside a server.
    pub(super) async fn look(
        root: &Path,
        table: &'static Table,
    ) -> Result<(Self, Vec<Arc<DataFile>>), Error> {
        let mut log = Self::new(root, table);
        let files = if log.exists()? { log.load().await? } else { Vec::new() };
        Ok((log, files))
    }

    /// Whether somebody has committed since this log was read.
    pub(super) fn has_moved_on(&self) -> bool {
        self.log_folder().join(format!("{:020}.json", self.next_version)).exists()
    }

    /// Data files in the folder of the table that are none of `files`.
    pub(super) fn orphans(&self, files: &[Arc<DataFile>]) -> Result<Vec<PathBuf>, Error> {
        let known: HashSet<&Path> = files.iter().map(|file| file.path.as_path()).collect();
        let mut orphans = Vec::new();
        for entry in entries(&self.folder)? {
            let name = entry.file_name().and_then(OsStr::to_str).unwrap_or_default();
            let inside = if name.starts_with(&format!("{DATE}=")) { entries(&entry)? } else { vec![entry] };
            let data = inside.into_iter().filter(|path| path.extension() == Some(OsStr::new("parquet")));
            orphans.extend(data.filter(|path| !known.contains(path.as_path())));
        }
        Ok(orphans)
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
    pub(super) fn folder(&self) -> &Path {
        &self.folder
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
        done.max(self.sequence) < sequence
    }

    /// The files of all commits since the last call.
    pub(super) fn take_new_files(&mut self) -> Vec<Arc<DataFile>> {
        std::mem::take(&mut self.new_files)
    }

    fn log_folder(&self) -> PathBuf {
        self.folder.join("_delta_log")
    }

    /// Whether there has been a commit.
    fn exists(&self) -> Result<bool, Error> {
        let entries = entries(&self.log_folder())?;
        let is_commit = |path: &PathBuf| {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            name.starts_with(|first: char| first.is_ascii_digit())
                && (name.ends_with(".json") || name.contains(".checkpoint."))
        };
        Ok(entries.iter().any(is_commit))
    }

    /// Reads the log: version, sequence and files.
    async fn load(&mut self) -> Result<Vec<Arc<DataFile>>, Error> {
        let fault = self.fault();
        let table = self.read().await?;
        let snapshot = table.snapshot().map_err(&fault)?;
        let format = snapshot.metadata().configuration().get(FORMAT_PROPERTY);
        let format = format.and_then(|version| version.parse::<u32>().ok());
        if format.is_none_or(|version| version > FORMAT_VERSION) {
            let format = format.map_or_else(|| "no".to_owned(), |version| version.to_string());
            return Err(self.damaged(&format!(
                "the table has {format} {FORMAT_PROPERTY}, this Everflame reads those up to {FORMAT_VERSION}; \
                 start the version that wrote it"
            )));
        }
        let dropped = snapshot.metadata().configuration().get(DROPPED_PROPERTY);
        self.dropped_labels = dropped.and_then(|labels| serde_json::from_str(labels).ok());
        let log_store = table.log_store();
        let transaction =
            async |application: &str| snapshot.transaction_version(log_store.as_ref(), application).await;
        let sequence = transaction(APPLICATION).await.map_err(&fault)?.unwrap_or_default();
        self.horizon = transaction(RETENTION).await.map_err(&fault)?;
        let mut files = Vec::new();
        for file in snapshot.log_data().iter() {
            files.push(self.data_file(&file)?);
        }
        self.next_version = snapshot.version() + 1;
        self.checkpoint = snapshot.version() / CHECKPOINT_INTERVAL * CHECKPOINT_INTERVAL;
        self.sequence = u64::try_from(sequence).map_err(|_| self.damaged("its sequence is negative"))?;
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

    fn data_file(&self, file: &LogicalFileView) -> Result<Arc<DataFile>, Error> {
        let name = file.path();
        let relative = Path::new(name.as_ref());
        let inside = relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        let stats = file.stats().and_then(|stats| file_stats(&stats));
        match (inside, stats, u64::try_from(file.size())) {
            (true, Some(stats), Ok(bytes)) => {
                let data = DataFile::new(self.folder.join(relative), bytes, stats);
                Ok(Arc::new(data.written_at(file.modification_time())))
            }
            _ => Err(self
                .damaged(&format!("the entry of {name} has no statistics, or is not a file of this table"))),
        }
    }

    /// Deletes data files that no commit names, and logs that were never finished: what a crash in a
    /// commit leaves. Nobody reads them.
    fn delete_orphans(&self, files: &[Arc<DataFile>]) -> Result<(), Error> {
        let mut orphans: Vec<PathBuf> = entries(&self.log_folder())?;
        orphans.retain(|path| path.extension() == Some(OsStr::new("tmp")));
        orphans.extend(self.orphans(files)?);
        for path in orphans {
            tracing::warn!(path = %path.display(), "deleting a file that a crash left unfinished");
            std::fs::remove_file(&path).map_err(|source| Error::io(&path, source))?;
        }
        Ok(())
    }

    /// Writes files with `write`, which is given the table's folder, and commits them as the content of
    /// the write-ahead log up to `sequence`.
    pub(super) fn commit(
        &mut self,
        sequence: u64,
        write: impl FnOnce(&Path) -> Result<Vec<NewFile>, Error>,
    ) -> Result<(), Error> {
        self.make_folder()?;
        let added = write(&self.folder)?;
        let flush = Replacement {
            operation: "WRITE",
            added,
            changes_data: true,
            sequence: Some(sequence),
            ..Replacement::default()
        };
        let files = self.replace(flush)?;
        self.new_files.extend(files);
        Ok(())
    }

    /// Makes the folders of a table that has had no commit.
    pub(super) fn make_folder(&self) -> Result<(), Error> {
        let log_folder = self.log_folder();
        if !log_folder.is_dir() {
            std::fs::create_dir_all(&log_folder).map_err(|source| Error::io(&log_folder, source))?;
            // The table's folder, the tenant's, and the one that the tenant's is in.
            self.folder.ancestors().take(3).try_for_each(sync_folder)?;
        }
        Ok(())
    }

    /// Commits `change`, durably, and returns the files that came. Those that went are still there.
    pub(super) fn replace(&mut self, change: Replacement) -> Result<Vec<Arc<DataFile>>, Error> {
        let log_folder = self.log_folder();
        let version = self.next_version;
        let entry = self.entry(&change)?;
        let target = log_folder.join(format!("{version:020}.json"));
        if target.exists() {
            return Err(
                self.damaged(&format!("{} appeared; another program writes this table", target.display()))
            );
        }
        let draft = log_folder.join(format!("{version:020}.json.tmp"));
        write_synced(&draft, entry.as_bytes())?;
        std::fs::rename(&draft, &target).map_err(|source| Error::io(&target, source))?;
        sync_folder(&log_folder).inspect_err(|_| {
            // Not known to be durable, so it must not be there when the caller tries again.
            let _ = std::fs::remove_file(&target);
        })?;
        self.next_version = version + 1;
        self.sequence = change.sequence.unwrap_or(self.sequence);
        self.horizon = change.horizon.or(self.horizon);
        let file = |file: &NewFile| {
            let data = DataFile::new(self.folder.join(&file.path), file.bytes, file.bounds.file_stats());
            data.written_at(file.modified)
        };
        Ok(change.added.iter().map(|added| Arc::new(file(added))).collect())
    }

    /// The lines of a commit. The first one of a table also says what the table is.
    fn entry(&self, change: &Replacement) -> Result<String, Error> {
        let fault = self.fault();
        let modified = change.added.iter().map(|file| file.modified).max();
        let partitions: Vec<&str> =
            (self.table.partition != Partition::None).then_some(DATE).into_iter().collect();
        let mut actions = vec![json!({ "commitInfo": {
            "timestamp": modified,
            "operation": change.operation,
            "operationParameters": { "mode": "Append", "partitionBy": json!(partitions).to_string() },
            "isBlindAppend": change.removed.is_empty(),
            "engineInfo": concat!("everflame/", env!("CARGO_PKG_VERSION")),
        }})];
        if self.next_version == 0 {
            let schema = self.table.delta_schema().map_err(&fault)?;
            let properties = [
                (FORMAT_PROPERTY, FORMAT_VERSION.to_string()),
                ("delta.checkpointInterval", CHECKPOINT_INTERVAL.to_string()),
                // The log of a table that is written every minute is cleaned after a day.
                ("delta.logRetentionDuration", "interval 1 day".to_owned()),
            ];
            let dropped =
                self.dropped_labels.as_ref().map(|labels| (DROPPED_PROPERTY, json!(labels).to_string()));
            let properties = properties.into_iter().chain(dropped);
            let metadata = new_metadata(&schema, partitions, properties)
                .map_err(|error| fault(DeltaTableError::generic(error)))?;
            let metadata =
                serde_json::to_value(metadata).map_err(|error| fault(DeltaTableError::generic(error)))?;
            actions.push(json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }));
            actions.push(json!({ "metaData": metadata }));
        }
        for file in &change.removed {
            let path = file.path.strip_prefix(&self.folder).unwrap_or(&file.path);
            let path = path.to_str().ok_or_else(|| self.damaged("a file's name is not UTF-8"))?;
            let partition = partition_date(path);
            actions.push(json!({ "remove": {
                "path": path,
                "deletionTimestamp": modified.unwrap_or_default(),
                "dataChange": change.changes_data,
                "extendedFileMetadata": true,
                "partitionValues": partition_values(partition),
                "size": file.bytes,
            }}));
        }
        for file in &change.added {
            actions.push(json!({ "add": {
                "path": file.path,
                "partitionValues": partition_values(file.date.map(date_text).as_deref()),
                "size": file.bytes,
                "modificationTime": file.modified,
                "dataChange": change.changes_data,
                "stats": file.bounds.delta_stats().to_string(),
            }}));
        }
        if let Some(sequence) = change.sequence {
            actions.push(json!({ "txn": { "appId": APPLICATION, "version": sequence } }));
        }
        if let Some(horizon) = change.horizon {
            actions.push(json!({ "txn": { "appId": RETENTION, "version": horizon } }));
        }
        if let Some(Import { source, sequence }) = &change.import {
            actions.push(json!({ "txn": { "appId": format!("{IMPORT}{source}"), "version": sequence } }));
        }
        Ok(actions.iter().map(|action| format!("{action}\n")).collect())
    }

    /// Makes a checkpoint when enough commits have come since the last one, and deletes expired logs. A
    /// failure costs nothing but time at the next start, and is tried again after the next commit.
    pub(super) async fn checkpoint_when_due(&mut self) {
        let Some(version) = self.next_version.checked_sub(1) else { return };
        if version < self.checkpoint + CHECKPOINT_INTERVAL {
            return;
        }
        match self.write_checkpoint(version).await {
            Ok(()) => self.checkpoint = version,
            Err(error) => tracing::warn!(%error, "cannot make a checkpoint; trying again at the next flush"),
        }
    }

    async fn write_checkpoint(&self, version: u64) -> Result<(), Error> {
        let fault = self.fault();
        let table = self.read().await?;
        deltalake_core::checkpoints::create_checkpoint(&table, None).await.map_err(&fault)?;
        // Durable before the logs that it stands for go.
        for path in entries(&self.log_folder())? {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if name == "_last_checkpoint" || name.starts_with(&format!("{version:020}.checkpoint")) {
                sync_folder(&path)?;
            }
        }
        sync_folder(&self.log_folder())?;
        deltalake_core::checkpoints::cleanup_metadata(&table, None).await.map_err(&fault)?;
        Ok(())
    }

    async fn read(&self) -> Result<DeltaTable, Error> {
        let path = self.folder.to_str();
        let path = path.ok_or_else(|| self.damaged("the path is not UTF-8; choose another data folder"))?;
        let read = async || DeltaTableBuilder::from_url(ensure_table_uri(path)?)?.load().await;
        read().await.map_err(self.fault())
    }

    fn fault(&self) -> impl Fn(DeltaTableError) -> Error + use<> {
        let (table, path) = (self.table.name, self.folder.clone());
        move |source| Error::delta(table, &path, source)
    }

    fn damaged(&self, why: &str) -> Error {
        Error::Damaged { path: self.folder.clone(), why: why.to_owned() }
    }
}

/// The date in `date=2026-08-01/….parquet`.
fn partition_date(path: &str) -> Option<&str> {
    path.split('/').next()?.strip_prefix(DATE)?.strip_prefix('=')
}

fn partition_values(date: Option<&str>) -> serde_json::Map<String, Value> {
    date.map(|date| (DATE.to_owned(), Value::from(date))).into_iter().collect()
}

/// What is in `folder`; nothing when it does not exist.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let list =
        || std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    match list() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        list => list.map_err(|source| Error::io(folder, source)),
    }
}

/// What [`super::parquet_file::Bounds::delta_stats`] wrote.
fn file_stats(stats: &str) -> Option<FileStats> {
    let stats: Value = serde_json::from_str(stats).ok()?;
    let text = |bound: &str, column: &str| stats.get(bound)?.get(column)?.as_str().map(str::to_owned);
    let time = |bound: &str| text(bound, "time").and_then(|time| parse_time(&time)).unwrap_or_default();
    Some(FileStats {
        rows: stats.get("numRecords")?.as_u64()?,
        min_service: text("minValues", "service")?,
        max_service: text("maxValues", "service")?,
        min_time: time("minValues"),
        max_time: time("maxValues"),
    })
}
