//! Debug files on disk, by build id, and the state of their uploads.
//!
//! A folder for each build id holds a file for each kind (`debuginfo`, `executable`, `fetched`), and beside it
//! `<kind>.json`, which says how far its upload is. What is being received has the name
//! `<kind>.<upload id>.part`, and `<kind>.<upload id>.received` when it is whole and checked; it gets the name
//! of its kind when the sender says that it is finished, in one step. So a reader sees whole files alone, and a
//! restart forgets nothing but parts, which a sender cannot go on with.

mod room;

use crate::build_id::BuildId;
use crate::error::Error;
use crate::wanted::Wanted;
use everflame_profile::{Clock, Nanos};
use hashbrown::HashMap;
use parking_lot::Mutex;
use room::counted;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// After so long an upload that was not finished may be started again.
const STALE: Nanos = 15 * 60 * 1_000_000_000;
/// What a state says, at most.
const MAX_STATE: u64 = 64 << 10;
/// Longest text of a sender that is kept.
const MAX_TEXT: usize = 1024;

/// What kind of file this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// Debug information that was taken out of a file, or a whole file that has it.
    Debuginfo,
    /// The program or library itself.
    Executable,
    /// What a debuginfod server had.
    Fetched,
}

impl FileKind {
    /// All kinds; those that know most come first.
    pub(crate) const ALL: [Self; 3] = [Self::Debuginfo, Self::Executable, Self::Fetched];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Debuginfo => "debuginfo",
            Self::Executable => "executable",
            Self::Fetched => "fetched",
        }
    }
}

/// How much is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files together; a new one that does not fit is refused.
    pub total_bytes: u64,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self { file_bytes: 1 << 30, total_bytes: 10 << 30 }
    }
}

/// What is known of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadState {
    /// Its name, which the server gave it.
    pub upload_id: String,
    /// What the sender says that identifies the content.
    pub hash: String,
    /// Bytes that the sender says it has; 0 when it does not say.
    pub size: u64,
    /// What the sender calls the file.
    pub name: String,
    /// Whether the id must be in the file.
    pub checked: bool,
    /// When it began, nanoseconds since the epoch.
    pub started: Nanos,
    /// When it was finished; 0 when it is not.
    pub finished: Nanos,
}

/// Asks for an upload.
#[derive(Clone, Debug, Default)]
pub struct UploadRequest {
    /// Bytes of the file; 0 when the sender does not say.
    pub size: u64,
    /// What identifies the content.
    pub hash: String,
    /// What the file is called.
    pub name: String,
    /// Whether a file that is there is replaced, and an upload that is under way is begun anew.
    pub force: bool,
    /// Whether an id of the linker in the file must be the one of the upload. Some senders make ids of their own
    /// for files that have none.
    pub checked: bool,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Files that are whole.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bound of `bytes`.
    pub bytes_limit: u64,
    /// Uploads that were finished since the start.
    pub uploaded: u64,
    /// Uploads that were refused since the start.
    pub refused: u64,
}

/// The files of all builds.
pub struct Store {
    folder: PathBuf,
    limits: StoreLimits,
    pub(crate) clock: Arc<dyn Clock>,
    /// Held while a state is changed, or a file that goes with it.
    pub(crate) turn: Mutex<()>,
    pub(crate) bytes: AtomicU64,
    files: AtomicU64,
    uploaded: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// Bytes of files for which there was no room.
    lacking: Mutex<HashMap<(BuildId, FileKind), u64>>,
}

impl Store {
    /// The files in `folder`, which is made when it is not there. What was being received is removed.
    pub fn open(folder: PathBuf, limits: StoreLimits, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let (mut bytes, mut files) = (0, 0);
        for build in fs::read_dir(&folder).map_err(Error::io(&folder))?.flatten() {
            let build = build.path();
            for entry in fs::read_dir(&build).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.ends_with(".part") {
                    // It stays when it cannot be removed, and is counted.
                    if fs::remove_file(entry.path()).is_ok() {
                        continue;
                    }
                }
                bytes += counted(&name, &entry);
                files += u64::from(is_file(&name));
            }
        }
        Ok(Self {
            folder,
            limits,
            clock,
            turn: Mutex::new(()),
            bytes: AtomicU64::new(bytes),
            files: AtomicU64::new(files),
            uploaded: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            lacking: Mutex::default(),
        })
    }

    /// What is taken.
    pub fn limits(&self) -> &StoreLimits {
        &self.limits
    }

    /// How much there is.
    pub fn status(&self) -> StoreStatus {
        StoreStatus {
            files: self.files.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            bytes_limit: self.limits.total_bytes,
            uploaded: self.uploaded.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }

    /// Whether a file is wanted.
    pub fn wanted(&self, build: &BuildId, kind: FileKind, force: bool) -> Result<Wanted, Error> {
        let wanted = self.wanted_with_room(build, kind, force)?;
        let is_full = || {
            let lacking = self.lacking.lock().get(&(build.clone(), kind)).copied();
            self.room(build, kind) < lacking.unwrap_or(1)
        };
        Ok(if wanted.is_wanted() && is_full() { Wanted::Full } else { wanted })
    }

    /// Whether a file is wanted when there is room for it.
    fn wanted_with_room(&self, build: &BuildId, kind: FileKind, force: bool) -> Result<Wanted, Error> {
        let Some(state) = self.state(build, kind)? else { return Ok(Wanted::New) };
        Ok(match () {
            () if state.finished > 0 && self.path(build, kind).exists() => match force {
                true => Wanted::Forced,
                false => Wanted::Exists,
            },
            () if state.finished > 0 => Wanted::New,
            () if force => Wanted::Restarted,
            () if self.clock.now().saturating_sub(state.started) > STALE => Wanted::Stale,
            () => Wanted::InProgress,
        })
    }

    /// Begins an upload, and returns its id.
    pub fn initiate(&self, build: &BuildId, kind: FileKind, request: UploadRequest) -> Result<String, Error> {
        let _turn = self.turn.lock();
        match self.wanted_with_room(build, kind, request.force)? {
            Wanted::Exists => {
                let state = self.state(build, kind)?;
                let is_same = state.is_some_and(|state| state.hash == kept(&request.hash));
                let text = format!("{kind:?} of build {build} is there already");
                return Err(if is_same {
                    Error::Exists(text)
                } else {
                    Error::NotNow(text + ", another one; force replaces it")
                });
            }
            Wanted::InProgress => return Err(Error::NotNow(Wanted::InProgress.reason().to_owned())),
            Wanted::New | Wanted::Stale | Wanted::Forced | Wanted::Restarted | Wanted::Full => {}
        }
        if request.size > self.limits.file_bytes {
            self.refused.fetch_add(1, Relaxed);
            // Known before anything is sent, it is a fault of the request.
            return Err(Error::Invalid(self.too_large(request.size).to_string()));
        }
        if request.size.max(1) > self.room(build, kind) {
            self.refused.fetch_add(1, Relaxed);
            return Err(self.no_room(build, kind, request.size));
        }
        let state = UploadState {
            upload_id: uuid::Uuid::new_v4().simple().to_string(),
            hash: kept(&request.hash),
            size: request.size,
            name: kept(&request.name),
            checked: request.checked,
            started: self.clock.now(),
            finished: 0,
        };
        let folder = self.build_folder(build);
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        self.remove_unfinished(build, kind);
        self.write_state(build, kind, &state)?;
        Ok(state.upload_id)
    }

    /// What is known of the upload of a file; nothing when there was none.
    pub fn state(&self, build: &BuildId, kind: FileKind) -> Result<Option<UploadState>, Error> {
        let path = self.state_path(build, kind);
        match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(&path)(error)),
            Ok(metadata) if metadata.len() > MAX_STATE => return Ok(None),
            Ok(_) => {}
        }
        let content = fs::read(&path).map_err(Error::io(&path))?;
        // A state that cannot be read is as if it were not there: the file is asked for again.
        Ok(serde_json::from_slice(&content).ok())
    }

    /// The upload `upload_id`, which must have been initiated and not be finished.
    pub(crate) fn pending(
        &self,
        build: &BuildId,
        kind: FileKind,
        upload_id: Option<&str>,
    ) -> Result<UploadState, Error> {
        let state = self.state(build, kind)?.filter(|state| state.finished == 0).ok_or_else(|| {
            Error::NotNow(format!(
                "no upload of {} of build {build} is under way; ask for one first",
                kind.name()
            ))
        })?;
        match upload_id {
            Some(asked) if asked != state.upload_id => Err(Error::Invalid(format!(
                "upload_id {:?} is not that of the upload of build {build}; send the one that was answered",
                asked.chars().take(64).collect::<String>()
            ))),
            _ => Ok(state),
        }
    }

    /// Makes a file that was received the one of its build. `upload_id` may be left out by senders who have none.
    pub fn finish(&self, build: &BuildId, kind: FileKind, upload_id: Option<&str>) -> Result<(), Error> {
        let _turn = self.turn.lock();
        let known = self.state(build, kind)?.ok_or_else(|| {
            Error::NotFound(format!("no upload of {} of build {build} was initiated", kind.name()))
        })?;
        if known.finished > 0 && upload_id.is_some_and(|asked| asked == known.upload_id) {
            // A sender who did not get the answer asks again.
            return Ok(());
        }
        let mut state = self.pending(build, kind, upload_id)?;
        let (received, path) = (self.received_path(build, kind, &state.upload_id), self.path(build, kind));
        let new = match fs::metadata(&received) {
            Ok(metadata) => metadata.len(),
            Err(_) => {
                return Err(Error::NotNow(format!(
                    "the file of build {build} was not received whole; upload it first"
                )));
            }
        };
        let old = fs::metadata(&path).map(|metadata| metadata.len()).ok();
        fs::rename(&received, &path).map_err(Error::io(&path))?;
        (state.finished, state.size) = (self.clock.now().max(1), new);
        self.write_state(build, kind, &state)?;
        self.sub_bytes(old.unwrap_or(0));
        self.files.fetch_add(u64::from(old.is_none()), Relaxed);
        self.uploaded.fetch_add(1, Relaxed);
        tracing::info!(%build, kind = kind.name(), bytes = new, "a debug file was stored");
        Ok(())
    }

    /// Removes all that there is of a build.
    pub fn remove(&self, build: &BuildId) -> Result<(), Error> {
        let _turn = self.turn.lock();
        let folder = self.build_folder(build);
        let (mut bytes, mut files) = (0, 0);
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            bytes += counted(&name, &entry);
            files += u64::from(is_file(&name));
        }
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(&folder)(error)),
            _ => {
                self.sub_bytes(bytes);
                let less = |held: u64| Some(held.saturating_sub(files));
                let _ = self.files.fetch_update(Relaxed, Relaxed, less);
                Ok(())
            }
        }
    }

    /// All builds and the states of their uploads, in the order of their ids; at most `most`.
    pub fn list(&self, most: usize) -> Result<Vec<(BuildId, FileKind, UploadState)>, Error> {
        let entries = fs::read_dir(&self.folder).map_err(Error::io(&self.folder))?.flatten();
        let builds = entries.filter_map(|entry| BuildId::parse(&entry.file_name().to_string_lossy()).ok());
        let mut builds: Vec<BuildId> = builds.collect();
        builds.sort();
        let mut all = Vec::new();
        for build in builds {
            for kind in [FileKind::Debuginfo, FileKind::Executable] {
                if let Some(state) = self.state(&build, kind)? {
                    all.push((build.clone(), kind, state));
                }
            }
            if all.len() >= most {
                break;
            }
        }
        all.truncate(most);
        Ok(all)
    }

    /// The whole files of a build, those that know most first, and what tells them from others.
    pub(crate) fn files(&self, build: &BuildId) -> (Vec<PathBuf>, String) {
        let (mut paths, mut state) = (Vec::new(), String::new());
        for kind in FileKind::ALL {
            let path = self.path(build, kind);
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let changed = metadata
                .modified()
                .ok()
                .and_then(|time| Some(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos()));
            state += &format!("{}:{}:{} ", kind.name(), metadata.len(), changed.unwrap_or_default());
            paths.push(path);
        }
        (paths, state)
    }

    pub(crate) fn build_folder(&self, build: &BuildId) -> PathBuf {
        self.folder.join(build.as_str())
    }

    pub(crate) fn path(&self, build: &BuildId, kind: FileKind) -> PathBuf {
        self.build_folder(build).join(kind.name())
    }

    pub(crate) fn part_path(&self, build: &BuildId, kind: FileKind, upload_id: &str) -> PathBuf {
        self.build_folder(build).join(format!("{}.{upload_id}.part", kind.name()))
    }

    pub(crate) fn received_path(&self, build: &BuildId, kind: FileKind, upload_id: &str) -> PathBuf {
        self.build_folder(build).join(format!("{}.{upload_id}.received", kind.name()))
    }

    /// A file that was fetched gets its name.
    pub(crate) fn keep_fetched(&self, build: &BuildId, part: &Path) -> Result<(), Error> {
        let path = self.path(build, FileKind::Fetched);
        let is_new = !path.exists();
        fs::rename(part, &path).map_err(Error::io(&path))?;
        self.files.fetch_add(u64::from(is_new), Relaxed);
        Ok(())
    }

    pub(crate) fn too_large(&self, bytes: u64) -> Error {
        let most = self.limits.file_bytes;
        Error::TooLarge(format!(
            "the file has {bytes} bytes or more, and may have {most} (max-debug-file-size); send what `objcopy --only-keep-debug` leaves of it"
        ))
    }

    /// Removes what an older upload of the same file left.
    fn remove_unfinished(&self, build: &BuildId, kind: FileKind) {
        let start = format!("{}.", kind.name());
        for entry in fs::read_dir(self.build_folder(build)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_rest = name.ends_with(".part") || name.ends_with(".received");
            if is_rest && name.starts_with(&start) {
                let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
                if fs::remove_file(entry.path()).is_ok() && name.ends_with(".received") {
                    self.sub_bytes(bytes);
                }
            }
        }
    }

    fn state_path(&self, build: &BuildId, kind: FileKind) -> PathBuf {
        self.build_folder(build).join(format!("{}.json", kind.name()))
    }

    fn write_state(&self, build: &BuildId, kind: FileKind, state: &UploadState) -> Result<(), Error> {
        let path = self.state_path(build, kind);
        let unfinished = path.with_extension("json.unfinished");
        let write = || {
            let mut file = File::create(&unfinished)?;
            serde_json::to_writer(&mut file, state)?;
            file.flush()?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            sync_folder(&path)
        };
        write().map_err(Error::io(&path))
    }
}

/// What is kept of a text of a sender.
fn kept(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

/// Whether a file of the folder of a build is a debug file that is whole.
fn is_file(name: &str) -> bool {
    FileKind::ALL.iter().any(|kind| kind.name() == name)
}

/// Makes the names in the folder of `path` survive a crash.
pub(crate) fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
