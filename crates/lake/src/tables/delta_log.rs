//! The Delta log of one table.
//!
//! Reading, checkpoints and cleaning are the Delta library's. Commits are written here: nobody else
//! writes the table, so that a conflict is an error and nothing to be merged, and the version and the
//! sequence are all that must be known. That makes a commit as quick as its syncs, and durable, which the
//! library's are not (it does not sync).
//!
//! A commit whose writing failed may be there all the same (the answer of a bucket was lost), or come to
//! be there later. It is kept, and written again unchanged, before there is another one.

use super::days::{date_text, parse_time};
use super::parquet_file::NewFile;
use super::schema::{DATE, FORMAT_VERSION, Table};
use crate::Error;
use crate::files::{DataFile, FileStats};
use crate::store::{Put, Store, TableFolder};
use deltalake_core::kernel::{LogicalFileView, new_metadata};
use deltalake_core::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use everflame_profile::Nanos;
use hashbrown::HashSet;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use url::Url;

/// Property of the table that says how its files are laid out.
const FORMAT_PROPERTY: &str = "everflame.formatVersion";

/// The folder of the log in that of the table.
const LOG: &str = "_delta_log";

const NANOS_A_MILLI: i64 = 1_000_000;

/// Commits between two checkpoints.
const CHECKPOINT_INTERVAL: u64 = 100;

/// A table that is open for writing.
pub(super) struct DeltaLog {
    table: &'static Table,
    folder: TableFolder,
    /// Version of the next commit.
    next_version: u64,
    /// Write-ahead log sequence that the last commit names.
    sequence: u64,
    /// Version of the last checkpoint of this process.
    checkpoint: u64,
    /// Files of commits that the caller has not been told of.
    new_files: Vec<Arc<DataFile>>,
    /// A commit of which nobody knows whether it is there.
    draft: Option<Draft>,
}

/// A commit that is being written.
struct Draft {
    entry: String,
    sequence: u64,
    files: Vec<Arc<DataFile>>,
}

impl DeltaLog {
    /// Opens `table` in `store`.
    pub(super) async fn open(
        store: &Arc<dyn Store>,
        table: &'static Table,
    ) -> Result<(Self, Vec<Arc<DataFile>>), Error> {
        let folder = TableFolder { store: store.clone(), table: table.name };
        let mut log = Self {
            table,
            folder,
            next_version: 0,
            sequence: 0,
            checkpoint: 0,
            new_files: Vec::new(),
            draft: None,
        };
        let mut files = Vec::new();
        if log.exists()? {
            files = log.load().await?;
        }
        Ok((log, files))
    }

    /// The write-ahead log sequence that the last commit names.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether neither the caller nor an earlier attempt has committed `sequence`.
    pub(super) fn lacks(&self, sequence: u64, done: u64) -> bool {
        done.max(self.sequence) < sequence
    }

    /// The files of all commits since the last call.
    pub(super) fn take_new_files(&mut self) -> Vec<Arc<DataFile>> {
        std::mem::take(&mut self.new_files)
    }

    /// Whether there has been a commit.
    fn exists(&self) -> Result<bool, Error> {
        let files = self.folder.store.list(&self.folder.name(LOG))?;
        Ok(files.iter().any(|file| {
            let name = file.name.rsplit('/').next().unwrap_or_default();
            name.starts_with(|first: char| first.is_ascii_digit())
                && (name.ends_with(".json") || name.contains(".checkpoint."))
        }))
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
        let sequence = snapshot
            .transaction_version(table.log_store().as_ref(), self.folder.store.application())
            .await
            .map_err(&fault)?
            .unwrap_or_default();
        let mut files = Vec::new();
        for file in snapshot.log_data().iter() {
            files.push(self.data_file(&file)?);
        }
        self.next_version = snapshot.version() + 1;
        self.checkpoint = snapshot.version() / CHECKPOINT_INTERVAL * CHECKPOINT_INTERVAL;
        self.sequence = u64::try_from(sequence).map_err(|_| self.damaged("its sequence is negative"))?;
        Ok(files)
    }

    fn data_file(&self, file: &LogicalFileView) -> Result<Arc<DataFile>, Error> {
        let name = file.path();
        let relative = Path::new(name.as_ref());
        let inside = relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        let stats = file.stats().and_then(|stats| file_stats(&stats));
        match (inside, stats, u64::try_from(file.size())) {
            (true, Some(stats), Ok(bytes)) => {
                Ok(Arc::new(DataFile::stored(&self.folder, name.as_ref(), bytes, stats)))
            }
            _ => Err(self
                .damaged(&format!("the entry of {name} has no statistics, or is not a file of this table"))),
        }
    }

    /// Deletes data files that are not among `files`, those that commits name, and commits that were never
    /// finished: what a crash leaves, when it is old enough. Nobody reads them.
    pub(super) fn delete_orphans(&self, files: &[Arc<DataFile>], now: Nanos) -> Result<(), Error> {
        let store = &self.folder.store;
        let known: HashSet<&Path> = files.iter().map(|file| file.path.as_path()).collect();
        let grace = i64::try_from(store.orphan_grace().as_millis()).unwrap_or(i64::MAX);
        let oldest_kept = (now / NANOS_A_MILLI).saturating_sub(grace);
        let log = self.folder.name(LOG);
        for file in store.list(self.folder.table)? {
            let is_orphan = match file.name.starts_with(&log) {
                true => file.name.ends_with(".tmp"),
                false => file.name.ends_with(".parquet") && !known.contains(store.path(&file.name).as_path()),
            };
            if is_orphan && (grace == 0 || file.modified < oldest_kept) {
                tracing::warn!(file = file.name, "deleting a file that a crash left unfinished");
                store.remove(&file.name)?;
            }
        }
        Ok(())
    }

    /// Writes files with `write`, which is given the table's folder, and commits them as the content of
    /// the write-ahead log up to `sequence`.
    pub(super) fn commit(
        &mut self,
        sequence: u64,
        write: impl FnOnce(&TableFolder) -> Result<Vec<NewFile>, Error>,
    ) -> Result<(), Error> {
        self.settle()?;
        if self.sequence >= sequence {
            return Ok(());
        }
        let files = write(&self.folder)?;
        let entry = self.entry(sequence, &files)?;
        let files = files.iter().map(|file| {
            Arc::new(DataFile::stored(&self.folder, &file.path, file.bytes, file.bounds.file_stats()))
        });
        self.draft = Some(Draft { entry, sequence, files: files.collect() });
        self.settle()
    }

    /// Writes the commit that is there as a draft, if any.
    fn settle(&mut self) -> Result<(), Error> {
        let Some(draft) = &self.draft else { return Ok(()) };
        let name = self.folder.name(&format!("{LOG}/{:020}.json", self.next_version));
        match self.folder.store.put_if_absent(&name, draft.entry.as_bytes())? {
            Put::Taken => {
                self.draft = None;
                Err(Error::Conflict { path: self.folder.store.path(&name) })
            }
            Put::Done => {
                if let Some(draft) = self.draft.take() {
                    self.next_version += 1;
                    self.sequence = draft.sequence;
                    self.new_files.extend(draft.files);
                }
                Ok(())
            }
        }
    }

    /// The lines of a commit. The first one of a table also says what the table is.
    fn entry(&self, sequence: u64, files: &[NewFile]) -> Result<String, Error> {
        let fault = self.fault();
        let modified = files.iter().map(|file| file.modified).max();
        let partitions: Vec<&str> = self.table.by_date.then_some(DATE).into_iter().collect();
        let mut actions = vec![json!({ "commitInfo": {
            "timestamp": modified,
            "operation": "WRITE",
            "operationParameters": { "mode": "Append", "partitionBy": json!(partitions).to_string() },
            "isBlindAppend": true,
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
            let metadata = new_metadata(&schema, partitions, properties)
                .map_err(|error| fault(DeltaTableError::generic(error)))?;
            let metadata =
                serde_json::to_value(metadata).map_err(|error| fault(DeltaTableError::generic(error)))?;
            actions.push(json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }));
            actions.push(json!({ "metaData": metadata }));
        }
        for file in files {
            let partition: serde_json::Map<String, Value> =
                file.date.map(|day| (DATE.to_owned(), Value::from(date_text(day)))).into_iter().collect();
            actions.push(json!({ "add": {
                "path": file.path,
                "partitionValues": partition,
                "size": file.bytes,
                "modificationTime": file.modified,
                "dataChange": true,
                "stats": file.bounds.delta_stats().to_string(),
            }}));
        }
        let application = self.folder.store.application();
        actions.push(json!({ "txn": { "appId": application, "version": sequence } }));
        Ok(actions.iter().map(|action| format!("{action}\n")).collect())
    }

    /// Makes a checkpoint when enough commits have come since the last one, and deletes expired logs. A
    /// failure costs nothing but time at the next start, and is tried again after the next commit.
    pub(super) async fn checkpoint_when_due(&mut self) {
        let Some(version) = self.next_version.checked_sub(1) else { return };
        if version < self.checkpoint + CHECKPOINT_INTERVAL {
            return;
        }
        match self.write_checkpoint().await {
            Ok(()) => self.checkpoint = version,
            Err(error) => tracing::warn!(%error, "cannot make a checkpoint; trying again at the next flush"),
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
