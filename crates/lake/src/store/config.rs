//! Where the tables shall be, and the way there.

use super::bucket::{Bucket, BucketParts};
use super::remote::{self, Place};
use super::requests::{Policy, Requests};
use super::{Folder, Store};
use crate::Error;
use crate::disk::{Disk, RealDisk};
use crate::random::Random;
use everflame_profile::Clock;
use object_store::prefix::PrefixStore;
use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Attempts of a request. One that meets a store which fails every tenth fails once in a million.
const ATTEMPTS: u32 = 6;
/// The pauses between attempts: half to all of 50 ms, then twice as much, to 5 s.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Programs that read the tables of a bucket may have begun with a version that names files which are gone
/// since.
const RETIRED_GRACE: Duration = Duration::from_secs(600);

/// The folder for copies of data files, and the file with the identity of the data folder, in which both lie.
const CACHE: &str = "cache";
const IDENTITY: &str = "storage-id";

/// Where the tables are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageConfig {
    /// `s3://bucket/prefix`, `gs://…`, `az://…` or `file:///folder`; empty for the data folder. Credentials
    /// come from the environment.
    pub url: String,
    /// Bound of the copies of a bucket's data files in the data folder.
    pub cache_bytes: u64,
    /// How long a request to a bucket may take, apart from what its body takes.
    pub timeout: Duration,
    /// A number that no other process has. It decides on pauses, and sets apart the files of processes that
    /// write to one bucket by mistake.
    pub seed: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self { url: String::new(), cache_bytes: 10 << 30, timeout: Duration::from_secs(10), seed: 0 }
    }
}

impl StorageConfig {
    /// What is wrong with [`StorageConfig::url`], and what would be right.
    pub fn check(url: &str) -> Result<(), String> {
        if url.is_empty() { Ok(()) } else { Place::parse(url).map(|_| ()) }
    }
}

/// How a bucket is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageStatus {
    /// Bytes of data files that are kept on the local disk.
    pub cache_bytes: u64,
    /// Bound of `cache_bytes`.
    pub cache_bytes_limit: u64,
    /// Bytes of data files that were fetched since the start.
    pub fetched_bytes: u64,
    /// Requests since the start, each attempt counted.
    pub requests: u64,
    /// Attempts that failed and were followed by another.
    pub retries: u64,
    /// Requests that failed for good.
    pub failures: u64,
}

/// Whether the tables are in a bucket.
pub(crate) fn is_remote(config: &StorageConfig) -> bool {
    matches!(Place::parse(&config.url), Ok(Place::Bucket(_)))
}

/// An open store, and the lock that goes with it.
type Opened = (Arc<dyn Store>, Option<Box<dyn Any + Send + Sync>>);

/// The tables of `tenant` as `config` says, for the data folder `data`.
pub(crate) fn open(
    config: &StorageConfig,
    data: &Path,
    tenant: &str,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
) -> Result<Opened, Error> {
    if config.url.is_empty() {
        // Made at once: whoever looks sees that there is a lake, and an empty one.
        let root = data.join(tenant);
        disk.create_folder(&root).map_err(|source| Error::io(&root, source))?;
        return Ok((Arc::new(Folder::new(disk, root)), None));
    }
    let wrong = |why| Error::Storage { place: "storage".to_owned(), why };
    let url = match Place::parse(&config.url).map_err(wrong)? {
        Place::Folder(path) => {
            // The data folder's lock does not keep those out who have another one.
            let file = path.join("lock");
            disk.create_folder(&path).map_err(|source| Error::io(&path, source))?;
            let lock = disk.lock(&file).map_err(|source| Error::io(&file, source))?;
            let lock = lock.ok_or_else(|| Error::Locked { path: path.clone() })?;
            return Ok((Arc::new(Folder::new(disk, path.join(tenant))), Some(lock)));
        }
        Place::Bucket(url) => url,
    };
    let mut random = Random::new(config.seed);
    let data_folder = identity(disk.as_ref(), data, &mut random)?;
    let cache = data.join(CACHE).join(tenant);
    let bucket = connect(config, &url, tenant, Local { disk, cache, data_folder, clock, random })?;
    Ok((Arc::new(bucket), None))
}

/// The tables of `tenant` as `config` says, for the data folder `data`, only to be read: it may be done beside
/// a server. Copies of what is in a bucket go to the folder `copies`. `None` when there is no folder.
pub(crate) fn open_to_read(
    config: &StorageConfig,
    data: &Path,
    tenant: &str,
    copies: &Path,
    clock: Arc<dyn Clock>,
) -> Result<Option<Arc<dyn Store>>, Error> {
    let wrong = |why| Error::Storage { place: "storage".to_owned(), why };
    let place = if config.url.is_empty() { None } else { Some(Place::parse(&config.url).map_err(wrong)?) };
    let root = match place {
        None => data.join(tenant),
        Some(Place::Folder(path)) => path.join(tenant),
        Some(Place::Bucket(url)) => {
            let (disk, data_folder, random) = (Arc::new(RealDisk), String::new(), Random::new(config.seed));
            let local = Local { disk, cache: copies.to_owned(), data_folder, clock, random };
            return Ok(Some(Arc::new(connect(config, &url, tenant, local)?)));
        }
    };
    Ok(if root.is_dir() { Some(Arc::new(Folder::local(&root)?)) } else { None })
}

/// What a bucket needs of this machine.
struct Local {
    disk: Arc<dyn Disk>,
    /// The folder for copies of data files.
    cache: PathBuf,
    /// Identity of the data folder.
    data_folder: String,
    clock: Arc<dyn Clock>,
    random: Random,
}

fn connect(config: &StorageConfig, url: &Url, tenant: &str, mut local: Local) -> Result<Bucket, Error> {
    let (process, seed) = (local.random.next(), local.random.next());
    let (inner, prefix) = remote::connect(url)?;
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("everflame-storage")
        .enable_all()
        .build()
        .map_err(|source| Error::io(&local.cache, source))?;
    let policy =
        Policy { attempts: ATTEMPTS, timeout: config.timeout, pause: PAUSE, longest_pause: LONGEST_PAUSE };
    let inner = Arc::new(PrefixStore::new(inner, prefix.join(tenant)));
    let place = format!("{}/{tenant}", config.url.trim_end_matches('/'));
    Bucket::new(BucketParts {
        requests: Requests::new(inner, threads.handle().clone(), policy, seed),
        threads: Some(threads),
        disk: local.disk,
        cache: local.cache,
        cache_bytes: config.cache_bytes,
        clock: local.clock,
        place,
        process,
        data_folder: local.data_folder,
        retired_grace: RETIRED_GRACE,
    })
}

/// The identity of a data folder: sequences of its write-ahead log mean nothing for another one.
fn identity(disk: &dyn Disk, data: &Path, random: &mut Random) -> Result<String, Error> {
    let path = data.join(IDENTITY);
    let fault = |source| Error::io(&path, source);
    if disk.entry(&path).is_ok() {
        let text = String::from_utf8(disk.read(&path).map_err(fault)?).unwrap_or_default();
        let text = text.trim();
        if text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(text.to_owned());
        }
        let why = "it is not 32 hexadecimal digits; restore it, for it says what of the write-ahead log is in the storage";
        return Err(Error::Damaged { path, why: why.to_owned() });
    }
    let identity = format!("{:016x}{:016x}", random.next(), random.next());
    let draft = data.join("storage-id.tmp");
    let write = || {
        disk.write_synced(&draft, identity.as_bytes())?;
        disk.rename(&draft, &path)?;
        disk.sync_folder(data)
    };
    write().map_err(fault)?;
    Ok(identity)
}
