//! A debug file while it is received: written to disk piece by piece, checked at its end.

use crate::build_id::BuildId;
use crate::elf;
use crate::error::Error;
use crate::store::{FileKind, Store, UploadState, sync_folder};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A file that is being received. When it is dropped before its end, nothing of it stays.
pub struct Upload {
    store: Arc<Store>,
    build: BuildId,
    kind: FileKind,
    state: UploadState,
    path: PathBuf,
    file: File,
    head: Vec<u8>,
    size: u64,
    /// Whether the bytes are kept.
    is_whole: bool,
}

impl Upload {
    /// Begins to receive the file of an upload that was initiated. A sender who tries again begins anew.
    pub fn begin(
        store: &Arc<Store>,
        build: BuildId,
        kind: FileKind,
        upload_id: Option<&str>,
    ) -> Result<Self, Error> {
        let state = store.pending(&build, kind, upload_id)?;
        Self::new(store, build, kind, state)
    }

    /// Begins to receive a file from a debuginfod server.
    pub(crate) fn fetch(store: &Arc<Store>, build: BuildId) -> Result<Self, Error> {
        let folder = store.build_folder(&build);
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let state = UploadState {
            upload_id: String::new(),
            hash: String::new(),
            size: 0,
            name: String::new(),
            checked: true,
            started: store.clock.now(),
            finished: 0,
        };
        Self::new(store, build, FileKind::Fetched, state)
    }

    fn new(store: &Arc<Store>, build: BuildId, kind: FileKind, state: UploadState) -> Result<Self, Error> {
        let path = store.part_path(&build, kind, &uuid::Uuid::new_v4().simple().to_string());
        let file = File::options().write(true).create_new(true).open(&path).map_err(Error::io(&path))?;
        let (store, head) = (store.clone(), Vec::with_capacity(elf::HEAD));
        Ok(Self { store, build, kind, state, path, file, head, size: 0, is_whole: false })
    }

    /// Takes the next bytes. Blocking.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let before = self.head.len();
        if before < elf::HEAD {
            self.head.extend_from_slice(bytes.get(..bytes.len().min(elf::HEAD - before)).unwrap_or_default());
            if self.head.len() == elf::HEAD {
                elf::check_head(&self.head).map_err(|why| self.no_elf(why))?;
            }
        }
        let size = self.size.saturating_add(bytes.len() as u64);
        if size > self.store.limits().file_bytes {
            return Err(self.refused(self.store.too_large(size)));
        }
        if self.state.size > 0 && size > self.state.size {
            return Err(self.refused(Error::Invalid(format!(
                "the file has more than the {} bytes that were announced; announce its size",
                self.state.size
            ))));
        }
        let held = self.store.hold(&self.build, self.kind, self.size, bytes.len() as u64);
        held.map_err(|error| self.refused(error))?;
        self.size = size;
        self.file.write_all(bytes).map_err(Error::io(&self.path))
    }

    /// Checks the whole file and keeps it until the sender says that it is finished. Returns its size. Blocking.
    pub fn end(mut self) -> Result<u64, Error> {
        let checked = self.check();
        // Another upload of the file may have begun meanwhile, and have removed what came of this one; none may
        // begin until this one has its name.
        let store = self.store.clone();
        let _turn = store.turn.lock();
        store.pending(&self.build, self.kind, Some(&self.state.upload_id))?;
        checked?;
        let received = self.store.received_path(&self.build, self.kind, &self.state.upload_id);
        // A sender who tries again replaces what it sent before.
        let before = fs::metadata(&received).map_or(0, |metadata| metadata.len());
        fs::rename(&self.path, &received).map_err(Error::io(&received))?;
        self.is_whole = true;
        self.store.sub_bytes(before);
        sync_folder(&received).map_err(Error::io(&received))?;
        Ok(self.size)
    }

    /// Checks the whole file and makes it the one that its build was fetched with. Blocking.
    pub(crate) fn end_fetched(mut self) -> Result<u64, Error> {
        self.check()?;
        self.store.keep_fetched(&self.build, &self.path)?;
        self.is_whole = true;
        Ok(self.size)
    }

    fn check(&self) -> Result<(), Error> {
        elf::check_head(&self.head).map_err(|why| self.no_elf(why))?;
        if self.size < self.state.size {
            return Err(self.refused(Error::Invalid(format!(
                "the file was cut off: {} of {} bytes came; send it again",
                self.size, self.state.size
            ))));
        }
        self.file.sync_all().map_err(Error::io(&self.path))?;
        self.check_id()
    }

    /// The file must be readable, and have the id under which it is sent.
    fn check_id(&self) -> Result<(), Error> {
        let map = elf::map(&self.path).map_err(Error::io(&self.path))?;
        let ids = match catch_unwind(AssertUnwindSafe(|| elf::ids(&map))) {
            Ok(Ok(ids)) => ids,
            Ok(Err(error)) => {
                return Err(self.refused(Error::Invalid(format!(
                    "the file is a broken ELF file ({error}); was it cut off? send it again"
                ))));
            }
            Err(_) => return Err(self.refused(Error::Invalid("the file is a broken ELF file".to_owned()))),
        };
        let found = [ids.gnu, ids.go];
        let known = || found.iter().flatten();
        if !self.state.checked || known().next().is_none() || known().any(|id| id == self.build.as_str()) {
            return Ok(());
        }
        let found = known().map(String::as_str).collect::<Vec<_>>().join(" and ");
        Err(self.refused(Error::Invalid(format!(
            "the file is of build {found}, not of {}; send the file that the profiles are of",
            self.build
        ))))
    }

    fn no_elf(&self, why: &str) -> Error {
        self.refused(Error::Invalid(format!(
            "{why}; send the program, or its debug information, as an ELF file"
        )))
    }

    fn refused(&self, error: Error) -> Error {
        self.store.refused.fetch_add(1, Relaxed);
        error
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.is_whole {
            self.store.sub_bytes(self.size);
            // An upload that began anew may have removed it.
            if let Err(error) = fs::remove_file(&self.path)
                && error.kind() != ErrorKind::NotFound
            {
                tracing::warn!(%error, path = %self.path.display(), "a part of a debug file stays until the next start");
            }
        }
    }
}
