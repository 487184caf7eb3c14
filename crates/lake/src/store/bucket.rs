//! Tables below a prefix of a bucket, with copies of data files on the local disk.
//!
//! Data files are never written over: each attempt has a name of its own, which carries the process, so
//! that a request that was given up and reaches the bucket late does no harm. A commit is written only
//! where there is none, so that of two processes one learns that it is not alone.

use super::cache::Cache;
use super::requests::Requests;
use super::{Put, StorageStatus, Store, StoredFile};
use crate::Error;
use crate::disk::Disk;
use crate::files::checksum_in;
use everflame_profile::{Clock, Nanos};
use futures::TryStreamExt;
use object_store::path::Path as Name;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Data files are fetched in pieces of this size, each of which can fail and be tried again.
const PIECE_BYTES: u64 = 8 << 20;

/// After a file could not be fetched no other one is tried for so long: a query over many files must not
/// wait for each of them.
const GIVEN_UP: Nanos = 2_000_000_000;

/// How long a data file that no commit names is left alone.
const ORPHAN_GRACE: Duration = Duration::from_secs(3600);

/// A tenant's prefix of a bucket.
pub(crate) struct Bucket {
    requests: Requests,
    cache: Cache,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    /// How messages call the place.
    place: String,
    /// Sets data files of this process apart.
    process: u64,
    /// Data files that this process has named.
    named: AtomicU64,
    data_folder: String,
    retired_grace: Duration,
    fetched_bytes: AtomicU64,
    given_up_until: AtomicI64,
    /// What the requests run on.
    threads: Option<Runtime>,
}

/// What a [`Bucket`] is made of.
pub(crate) struct BucketParts {
    /// The objects of the tenant.
    pub(crate) requests: Requests,
    /// The threads that the requests run on, when they are the bucket's own.
    pub(crate) threads: Option<Runtime>,
    /// Where copies of data files are kept.
    pub(crate) disk: Arc<dyn Disk>,
    /// The folder for them.
    pub(crate) cache: PathBuf,
    /// Their bound in bytes.
    pub(crate) cache_bytes: u64,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// How messages call the place.
    pub(crate) place: String,
    /// A number that no other process has.
    pub(crate) process: u64,
    /// Identity of the data folder whose write-ahead log goes into these tables.
    pub(crate) data_folder: String,
    /// How long files stay in the bucket that a commit has taken out of a table.
    pub(crate) retired_grace: Duration,
}

impl Bucket {
    /// Opens the copies; asks nothing of the bucket yet.
    pub(crate) fn new(parts: BucketParts) -> Result<Self, Error> {
        let cache = Cache::open(parts.disk.clone(), parts.cache, parts.cache_bytes)?;
        Ok(Self {
            requests: parts.requests,
            cache,
            disk: parts.disk,
            clock: parts.clock,
            place: parts.place,
            process: parts.process,
            named: AtomicU64::new(0),
            data_folder: parts.data_folder,
            retired_grace: parts.retired_grace,
            fetched_bytes: AtomicU64::new(0),
            given_up_until: AtomicI64::new(0),
            threads: parts.threads,
        })
    }

    fn fault(&self, name: &str) -> impl Fn(object_store::Error) -> Error {
        let place = format!("{}/{name}", self.place);
        move |error| Error::Storage { place: place.clone(), why: without_queries(&error.to_string()) }
    }

    /// Writes the data file `name` to `path`.
    fn fetch(&self, name: &str, bytes: u64, path: &Path) -> Result<(), Error> {
        let now = self.clock.now();
        if now < self.given_up_until.load(Relaxed) {
            let place = format!("{}/{name}", self.place);
            return Err(Error::Storage {
                place,
                why: "the storage does not answer at the moment".to_owned(),
            });
        }
        let local = |source| Error::io(path, source);
        let mut file = self.disk.append(path).map_err(local)?;
        let object = Name::from(name);
        let (mut start, mut checksum) = (0, 0);
        while start < bytes {
            let end = bytes.min(start + PIECE_BYTES);
            let piece = wait(self.requests.get_range(&object, start..end));
            let piece = piece.map_err(self.fault(name)).inspect_err(|_| {
                self.given_up_until.store(now.saturating_add(GIVEN_UP), Relaxed);
            })?;
            if piece.len() as u64 != end - start {
                let why =
                    format!("the object ends at byte {}, its table says {bytes}", start + piece.len() as u64);
                return Err(Error::Damaged { path: self.place_of(name), why });
            }
            checksum = crc32c::crc32c_append(checksum, &piece);
            file.write(&piece).map_err(local)?;
            start = end;
        }
        if checksum_in(Path::new(name)).is_some_and(|expected| expected != checksum) {
            let why = format!("its checksum is {checksum:08x}, and not the one in its name");
            return Err(Error::Damaged { path: self.place_of(name), why });
        }
        self.fetched_bytes.fetch_add(bytes, Relaxed);
        Ok(())
    }

    fn place_of(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("{}/{name}", self.place))
    }
}

impl Store for Bucket {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<i64, Error> {
        let payload = bytes::Bytes::copy_from_slice(bytes).into();
        wait(self.requests.put(&Name::from(name), payload)).map_err(self.fault(name))?;
        self.cache.keep(name, bytes);
        Ok(self.clock.now() / 1_000_000)
    }

    fn put_if_absent(&self, name: &str, bytes: &[u8]) -> Result<Put, Error> {
        let object = Name::from(name);
        let payload = bytes::Bytes::copy_from_slice(bytes).into();
        match wait(self.requests.put_opts(&object, payload, PutMode::Create.into())) {
            Ok(_) => Ok(Put::Done),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                let there = wait(async { self.requests.get(&object).await?.bytes().await });
                // When it is not there, two attempts met at the store, and it is to be tried again.
                let there = there.map_err(self.fault(name))?;
                Ok(if there == bytes { Put::Done } else { Put::Taken })
            }
            Err(error) => Err(self.fault(name)(error)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<StoredFile>, Error> {
        let prefix = Name::from(folder);
        let found = self.requests.list(Some(&prefix)).try_collect::<Vec<_>>();
        let found = wait(found).map_err(self.fault(folder))?;
        let files = found.into_iter().map(|meta| StoredFile {
            name: meta.location.into(),
            modified: meta.last_modified.timestamp_millis(),
        });
        Ok(files.collect())
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        wait(self.requests.delete(&Name::from(name))).map_err(self.fault(name))?;
        self.cache.remove(name);
        Ok(())
    }

    fn open(&self, name: &str, bytes: u64) -> Result<File, Error> {
        self.cache.open_or_fetch(name, bytes, |path| self.fetch(name, bytes, path))
    }

    fn drop_copy(&self, name: &str) -> bool {
        self.cache.remove(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.cache.path(name)
    }

    fn mark(&self) -> String {
        format!("-{:016x}-{}", self.process, self.named.fetch_add(1, Relaxed))
    }

    fn process(&self) -> Option<String> {
        Some(format!("{:016x}", self.process))
    }

    fn data_folder(&self) -> Option<&str> {
        Some(&self.data_folder)
    }

    fn retire(&self, name: &str) {
        self.cache.remove(name);
        let (requests, object, grace) = (self.requests.clone(), Name::from(name), self.retired_grace);
        let delete = async move {
            if !grace.is_zero() {
                tokio::time::sleep(grace).await;
            }
            if let Err(error) = requests.delete(&object).await {
                let error = without_queries(&error.to_string());
                tracing::warn!(%object, error, "a file that is no longer needed stays until the next start");
            }
        };
        match &self.threads {
            Some(threads) => drop(threads.spawn(delete)),
            None => wait(delete),
        }
    }

    fn orphan_grace(&self) -> Duration {
        ORPHAN_GRACE
    }

    fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.requests.clone())
    }

    fn status(&self) -> Option<StorageStatus> {
        let (cache_bytes, cache_bytes_limit) = self.cache.fill();
        let counters = &self.requests.counters;
        Some(StorageStatus {
            cache_bytes,
            cache_bytes_limit,
            fetched_bytes: self.fetched_bytes.load(Relaxed),
            requests: counters.requests.load(Relaxed),
            retries: counters.retries.load(Relaxed),
            failures: counters.failures.load(Relaxed),
        })
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Bucket").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // The last user may be a thread that must not block.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// Waits for a request, which runs on other threads. This one may belong to a runtime: that takes turns by
/// letting futures wait until it runs again, which it would not.
fn wait<F: Future>(request: F) -> F::Output {
    futures::executor::block_on(tokio::task::unconstrained(request))
}

/// The text with what follows a `?` in URLs cut: signatures are passed there.
fn without_queries(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, word) in text.split(' ').enumerate() {
        if at > 0 {
            out.push(' ');
        }
        match word.split_once('?') {
            Some((before, _)) if word.contains("://") => {
                out.push_str(before);
                out.push_str("?…");
            }
            _ => out.push_str(word),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;
    use crate::store::Policy;
    use object_store::memory::InMemory;
    use std::io::Read;
    use std::sync::LazyLock;

    static THREADS: LazyLock<Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
    });

    struct NoTime;

    impl Clock for NoTime {
        fn now(&self) -> Nanos {
            0
        }
    }

    fn bucket(objects: &Arc<InMemory>, folder: &Path, process: u64) -> Bucket {
        let none = Duration::ZERO;
        let policy =
            Policy { attempts: 1, timeout: Duration::from_secs(60), pause: none, longest_pause: none };
        Bucket::new(BucketParts {
            requests: Requests::new(objects.clone(), THREADS.handle().clone(), policy, 1),
            threads: None,
            disk: Arc::new(RealDisk),
            cache: folder.to_owned(),
            cache_bytes: 1 << 20,
            clock: Arc::new(NoTime),
            place: "memory".to_owned(),
            process,
            data_folder: "one".to_owned(),
            retired_grace: none,
        })
        .unwrap()
    }

    #[test]
    fn a_commit_is_there_once_and_ours_when_it_is_equal() {
        let (objects, folder) = (Arc::new(InMemory::new()), tempfile::tempdir().unwrap());
        let bucket = bucket(&objects, folder.path(), 1);
        assert_eq!(bucket.put_if_absent("samples/_delta_log/0.json", b"ours").unwrap(), Put::Done);
        // The answer was lost, and it is put again.
        assert_eq!(bucket.put_if_absent("samples/_delta_log/0.json", b"ours").unwrap(), Put::Done);
        assert_eq!(bucket.put_if_absent("samples/_delta_log/0.json", b"theirs").unwrap(), Put::Taken);
    }

    #[test]
    fn a_file_is_read_from_here_or_fetched() {
        let (objects, folder) = (Arc::new(InMemory::new()), tempfile::tempdir().unwrap());
        let content = vec![7; PIECE_BYTES as usize + 3];
        let writer = bucket(&objects, &folder.path().join("a"), 1);
        writer.put("samples/1.parquet", &content).unwrap();
        let reader = bucket(&objects, &folder.path().join("b"), 2);
        for (bucket, fetched) in
            [(&writer, 0), (&reader, content.len() as u64), (&reader, content.len() as u64)]
        {
            let mut read = Vec::new();
            let mut file = bucket.open("samples/1.parquet", content.len() as u64).unwrap();
            file.read_to_end(&mut read).unwrap();
            assert!(read == content);
            assert_eq!(bucket.status().unwrap().fetched_bytes, fetched);
        }
        let error = reader.open("samples/1.parquet", content.len() as u64 + 1).unwrap_err();
        assert!(error.to_string().contains("memory/samples/1.parquet"), "{error}");
        writer.retire("samples/1.parquet");
        assert!(writer.open("samples/1.parquet", content.len() as u64).is_err());
        assert!(reader.open("samples/1.parquet", content.len() as u64).is_ok(), "its copy is still there");
    }

    #[test]
    fn attempts_and_processes_have_names_of_their_own() {
        let (objects, folder) = (Arc::new(InMemory::new()), tempfile::tempdir().unwrap());
        let (one, two) =
            (bucket(&objects, &folder.path().join("a"), 1), bucket(&objects, &folder.path().join("b"), 2));
        let marks = [one.mark(), one.mark(), two.mark()];
        assert!(marks[0] != marks[1] && marks[0] != marks[2]);
    }

    #[test]
    fn signatures_are_not_shown() {
        let text = "Error performing PUT https://a.example/b/c?sig=secret&se=1 in 3ms - what?";
        assert_eq!(without_queries(text), "Error performing PUT https://a.example/b/c?… in 3ms - what?");
    }
}
