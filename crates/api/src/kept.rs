//! Small files that the server keeps for its pages: written as a whole or not at all.

use crate::error::ApiError;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// What a file is called while it is written.
const UNFINISHED: &str = ".unfinished";

/// A folder of files.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    folder: Option<PathBuf>,
}

impl Kept {
    /// The folder `name` of a tenant below the data folder; without a data folder nothing can be kept.
    pub(crate) fn new(data: Option<&Path>, tenant: &str, name: &str) -> Self {
        // Tenants' tables are in folders of their names, which do not begin with a dot.
        Self { folder: data.map(|data| data.join(".server").join(tenant).join(name)) }
    }

    /// Whether there is a folder to keep something in.
    pub(crate) fn is_somewhere(&self) -> bool {
        self.folder.is_some()
    }

    /// The first `most` bytes of a file; nothing when it is not there.
    pub(crate) fn read_start(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, ApiError> {
        let path = self.path(name)?;
        let read = || -> std::io::Result<Vec<u8>> {
            let mut start = Vec::new();
            File::open(&path)?.take(most).read_to_end(&mut start)?;
            Ok(start)
        };
        match read() {
            Ok(start) => Ok(Some(start)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault(&path, error)),
        }
    }

    /// The content of a file; nothing when it is not there.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ApiError> {
        let path = self.path(name)?;
        match fs::read(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault(&path, error)),
        }
    }

    /// Writes a file; when this returns it survives a crash.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), ApiError> {
        let path = self.path(name)?;
        let unfinished = self.path(UNFINISHED)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let write = || {
            fs::create_dir_all(folder)?;
            let mut file = File::create(&unfinished)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|error| fault(&path, error))
    }

    /// Removes a file, if it is there.
    pub(crate) fn remove(&self, name: &str) -> Result<(), ApiError> {
        let path = self.path(name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(fault(&path, error)),
            _ => Ok(()),
        }
    }

    /// Names and sizes of all files, in the order of their names.
    pub(crate) fn list(&self) -> Result<Vec<(String, u64)>, ApiError> {
        let folder = self.path("")?;
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fault(&folder, error)),
        };
        let mut files = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_file() && name != UNFINISHED {
                files.push((name, metadata.len()));
            }
        }
        files.sort();
        Ok(files)
    }

    fn path(&self, name: &str) -> Result<PathBuf, ApiError> {
        match &self.folder {
            Some(folder) => Ok(folder.join(name)),
            None => Err(ApiError::unimplemented("this server has no data folder to keep that in")),
        }
    }
}

fn fault(path: &Path, error: impl Display) -> ApiError {
    ApiError::unavailable(format_args!("{}: {error}; is the disk full, or read-only?", path.display()))
}
