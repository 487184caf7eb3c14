//! How much room debug files have, and what takes it.

use super::{FileKind, Store, is_file};
use crate::build_id::BuildId;
use crate::error::Error;
use std::fs;
use std::sync::atomic::Ordering::Relaxed;

/// Files that are remembered as too large for the room that there is.
const MAX_LACKING: usize = 10_000;

impl Store {
    /// Takes room for `bytes` more of an upload, which has `before` already. Says whether there is room.
    pub(crate) fn hold(&self, build: &BuildId, kind: FileKind, before: u64, bytes: u64) -> Result<(), Error> {
        let held = self.bytes.fetch_add(bytes, Relaxed).saturating_add(bytes);
        let most = self.limits.total_bytes;
        // What is replaced is looked for only where it decides: this is asked for each piece of a file.
        if held > most && held > most.saturating_add(self.replaced(build, kind)) {
            self.sub_bytes(bytes);
            return Err(self.no_room(build, kind, before.saturating_add(bytes)));
        }
        Ok(())
    }

    /// Bytes that a file of this kind may take, the one that it replaces gone.
    pub(super) fn room(&self, build: &BuildId, kind: FileKind) -> u64 {
        let most = self.limits.total_bytes.saturating_add(self.replaced(build, kind));
        most.saturating_sub(self.bytes.load(Relaxed))
    }

    /// Bytes of what there is of a file, whole or not finished: its successor replaces all of it.
    fn replaced(&self, build: &BuildId, kind: FileKind) -> u64 {
        let start = format!("{}.", kind.name());
        let entries = fs::read_dir(self.build_folder(build)).into_iter().flatten().flatten();
        let sizes = entries.map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_rest = name.starts_with(&start) && name.ends_with(".received");
            if name == kind.name() || is_rest { counted(&name, &entry) } else { 0 }
        });
        sizes.sum()
    }

    /// Refuses a file of `bytes` or more, and remembers that, so that it is not asked for while it is so.
    pub(super) fn no_room(&self, build: &BuildId, kind: FileKind, bytes: u64) -> Error {
        let mut lacking = self.lacking.lock();
        if lacking.len() >= MAX_LACKING {
            lacking.clear();
        }
        lacking.insert((build.clone(), kind), bytes.max(1));
        self.full()
    }

    pub(crate) fn sub_bytes(&self, bytes: u64) {
        let _ = self.bytes.fetch_update(Relaxed, Relaxed, |held| Some(held.saturating_sub(bytes)));
    }

    pub(super) fn full(&self) -> Error {
        Error::Full(format!(
            "the debug files would take more than {} bytes (debug-files-size); delete old ones, or allow more",
            self.limits.total_bytes
        ))
    }
}

/// The bytes of a file of the folder of a build that count.
pub(super) fn counted(name: &str, entry: &fs::DirEntry) -> u64 {
    let counts = is_file(name) || name.ends_with(".received") || name.ends_with(".part");
    if counts { entry.metadata().map_or(0, |metadata| metadata.len()) } else { 0 }
}
