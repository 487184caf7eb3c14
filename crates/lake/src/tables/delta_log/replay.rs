//! What the log of a table says.
//!
//! A log without a checkpoint is a few lines that this program has written, and they are read here: the Delta
//! library plans and evaluates for each of them, and a start reads those of sixteen tables. Everything else
//! is the library's: a log with a checkpoint, or with anything in it that is not written here.

use super::super::days::parse_time;
use super::{APPLICATION, DeltaLog, RETENTION, application_of};
use crate::Error;
use crate::files::FileStats;
use crate::store::StoredFile;
use deltalake_core::DeltaTableError;
use futures::stream::{self, StreamExt};
use hashbrown::HashMap;
use object_store::ObjectStoreExt;
use object_store::path::Path as Name;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Commits that are fetched at once.
const FETCHED: usize = 16;

/// Digits of the version in the name of a commit.
const VERSION_DIGITS: usize = 20;

/// What the name of a checkpoint has after its version.
const CHECKPOINT: &str = ".checkpoint.";

/// What a log says of its table.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Content {
    /// Version of the last commit.
    pub(super) version: u64,
    /// The properties of the table.
    pub(super) configuration: HashMap<String, String>,
    /// The last versions of those applications that the lake has.
    pub(super) transactions: HashMap<String, i64>,
    /// The files, by their paths in the table's folder.
    pub(super) files: BTreeMap<String, NamedFile>,
}

/// A file as its log has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NamedFile {
    /// Its size.
    pub(super) bytes: i64,
    /// Milliseconds since the epoch at which it was written.
    pub(super) modified: i64,
    /// What is in it; `None` when that is missing or unreadable.
    pub(super) stats: Option<FileStats>,
}

impl DeltaLog {
    /// What the log says, whose files are `log_files`.
    pub(super) async fn content(&self, log_files: &[StoredFile]) -> Result<Content, Error> {
        match self.replayed(log_files).await? {
            Some(content) => Ok(content),
            None => self.library_content().await,
        }
    }

    /// The same from the commits alone; `None` when that is the library's work.
    async fn replayed(&self, log_files: &[StoredFile]) -> Result<Option<Content>, Error> {
        let names = log_files.iter().map(|file| file.name.as_str());
        let Some(commits) = commits(names) else { return Ok(None) };
        let objects = self.folder.store.objects();
        let fetched = stream::iter(commits).map(|name| {
            let (objects, name) = (objects.clone(), Name::from(name));
            async move { objects.get(&name).await?.bytes().await }
        });
        let mut fetched = fetched.buffered(FETCHED);
        let (mut content, mut read) = (Content::default(), 0);
        while let Some(commit) = fetched.next().await {
            match commit {
                Ok(commit) if content.add(&commit).is_some() => read += 1,
                // Cleaned away, because there is a checkpoint by now; or not ours.
                Ok(_) | Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(self.fault()(DeltaTableError::from(error))),
            }
        }
        let Some(last) = u64::checked_sub(read, 1) else { return Ok(None) };
        content.version = last;
        let applications = self.applications();
        content.transactions.retain(|application, _| applications.contains(application));
        Ok(Some(content))
    }

    /// The same as the library reads it.
    async fn library_content(&self) -> Result<Content, Error> {
        let fault = self.fault();
        let table = self.read().await?;
        let snapshot = table.snapshot().map_err(&fault)?;
        let log_store = table.log_store();
        let mut content = Content { version: snapshot.version(), ..Content::default() };
        let configuration = snapshot.metadata().configuration().iter();
        content.configuration = configuration.map(|(key, value)| (key.clone(), value.clone())).collect();
        for application in self.applications() {
            let version = snapshot.transaction_version(log_store.as_ref(), &application).await;
            if let Some(version) = version.map_err(&fault)? {
                content.transactions.insert(application, version);
            }
        }
        for file in snapshot.log_data().iter() {
            let stats = file.stats().and_then(|stats| serde_json::from_str(&stats).ok());
            let named = NamedFile {
                bytes: file.size(),
                modified: file.modification_time(),
                stats: stats.and_then(|stats: Value| file_stats(&stats)),
            };
            content.files.insert(file.path().into_owned(), named);
        }
        Ok(content)
    }

    /// The applications whose transactions matter here.
    fn applications(&self) -> Vec<String> {
        let own = self.folder.store.data_folder().map(application_of);
        [APPLICATION.to_owned(), RETENTION.to_owned()].into_iter().chain(own).collect()
    }

    /// Fails when the library reads the log in another way.
    #[cfg(test)]
    pub(in crate::tables) async fn check_replay(&self) {
        if self.exists().unwrap()
            && let Some(content) = self.replayed(&self.log_files().unwrap()).await.unwrap()
        {
            assert_eq!(content, self.library_content().await.unwrap(), "{}", self.table.name);
        }
    }
}

impl Content {
    /// Adds a commit; `None` when there is something in it that is not written here.
    fn add(&mut self, commit: &[u8]) -> Option<()> {
        let lines = commit.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        for line in lines {
            let actions: Map<String, Value> = serde_json::from_slice(line).ok()?;
            for (action, value) in &actions {
                self.act(action, value)?;
            }
        }
        (!commit.is_empty()).then_some(())
    }

    fn act(&mut self, action: &str, value: &Value) -> Option<()> {
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let number = |name: &str| value.get(name)?.as_i64();
        // Anything but these is escaped in a way that the library knows.
        let path = || text("path").filter(|path| !path.contains('%') && !path.contains(':'));
        match action {
            "commitInfo" => {}
            "protocol" => {
                let versions = (number("minReaderVersion")?, number("minWriterVersion")?);
                (versions == (1, 2)).then_some(())?;
            }
            "metaData" => {
                let configuration = value.get("configuration")?.as_object()?.iter();
                let pairs = configuration.map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
                self.configuration = pairs.collect::<Option<_>>()?;
            }
            "add" if value.get("deletionVector").is_none() => {
                let stats = text("stats").and_then(|stats| serde_json::from_str(&stats).ok());
                let file = NamedFile {
                    bytes: number("size")?,
                    modified: number("modificationTime")?,
                    stats: stats.and_then(|stats: Value| file_stats(&stats)),
                };
                self.files.insert(path()?, file);
            }
            "remove" => drop(self.files.remove(&path()?)?),
            "txn" => drop(self.transactions.insert(text("appId")?, number("version")?)),
            _ => return None,
        }
        Some(())
    }
}

/// Whether a log with these files has a commit.
pub(super) fn has_commits(log_files: &[StoredFile]) -> bool {
    log_files.iter().any(|file| {
        let name = last_part(&file.name);
        name.starts_with(|first: char| first.is_ascii_digit())
            && (name.ends_with(".json") || name.contains(CHECKPOINT))
    })
}

/// The version of the last checkpoint in a log with these files; 0 when there is none.
pub(super) fn last_checkpoint(log_files: &[StoredFile]) -> u64 {
    let versions = log_files.iter().filter_map(|file| {
        let (version, _) = last_part(&file.name).split_once(CHECKPOINT)?;
        version.parse::<u64>().ok()
    });
    versions.max().unwrap_or_default()
}

fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or_default()
}

/// The names of all commits, in order; `None` when there is anything else, or one is missing.
fn commits<'a>(names: impl Iterator<Item = &'a str>) -> Option<Vec<&'a str>> {
    let mut commits = Vec::new();
    for name in names {
        let last = last_part(name);
        // A commit that is being written, or was when the process was killed.
        if last.ends_with(".tmp") {
            continue;
        }
        let version = last.strip_suffix(".json").filter(|digits| digits.len() == VERSION_DIGITS)?;
        commits.push((version.parse::<u64>().ok()?, name));
    }
    commits.sort_unstable();
    let has_all = commits.iter().zip(0..).all(|((version, _), expected)| *version == expected);
    has_all.then(|| commits.into_iter().map(|(_, name)| name).collect())
}

/// What [`super::super::parquet_file::Bounds::delta_stats`] wrote.
fn file_stats(stats: &Value) -> Option<FileStats> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_here() {
        let zero = "samples/_delta_log/00000000000000000000.json";
        let one = "samples/_delta_log/00000000000000000001.json";
        let draft = "samples/_delta_log/00000000000000000002.json.tmp";
        let checkpoint = "samples/_delta_log/00000000000000000001.checkpoint.parquet";
        assert_eq!(commits([one, draft, zero].into_iter()), Some(vec![zero, one]));
        assert_eq!(commits([one].into_iter()), None);
        assert_eq!(commits([zero, one, checkpoint].into_iter()), None);
        let log = |names: &[&str]| -> Vec<StoredFile> {
            names.iter().map(|name| StoredFile { name: (*name).to_owned(), modified: 0 }).collect()
        };
        assert!(
            !has_commits(&log(&[draft])) && has_commits(&log(&[one])) && has_commits(&log(&[checkpoint]))
        );
        assert_eq!(last_checkpoint(&log(&[zero, one])), 0);
        assert_eq!(last_checkpoint(&log(&[zero, one, checkpoint])), 1);
        for (commit, is_ours) in [
            (r#"{"commitInfo":{}}"#, true),
            (r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#, true),
            (r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":[]}}"#, false),
            (r#"{"txn":{"appId":"everflame","version":7}}"#, true),
            (r#"{"add":{"path":"a.parquet","size":1,"modificationTime":2}}"#, true),
            (r#"{"add":{"path":"a%20b.parquet","size":1,"modificationTime":2}}"#, false),
            (r#"{"add":{"path":"a","size":1,"modificationTime":2,"deletionVector":{}}}"#, false),
            (r#"{"remove":{"path":"nobody.parquet"}}"#, false),
            (r#"{"domainMetadata":{}}"#, false),
            (r#"{"commitInfo":{"#, false),
            ("", false),
        ] {
            assert_eq!(Content::default().add(commit.as_bytes()).is_some(), is_ours, "{commit}");
        }
    }
}
