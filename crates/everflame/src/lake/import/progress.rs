//! What has been done of an import: a small file in the data folder.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file.
#[derive(Debug)]
pub(super) struct Progress {
    path: PathBuf,
    state: State,
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct State {
    /// Where it comes from, with all that makes it another import.
    source: String,
    /// For each part, a series or a file, how far it is done.
    done: BTreeMap<String, i64>,
}

impl Progress {
    /// That of an import of `source` into the data folder `data`; an empty one when there is none.
    pub(super) fn open(data: &Path, source: &str) -> anyhow::Result<Self> {
        let hash = xxhash_rust::xxh3::xxh3_64(source.as_bytes());
        let path = data.join(format!("import-{hash:016x}.json"));
        let state = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{}: not a list of what was imported; delete it", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                State { source: source.to_owned(), done: BTreeMap::new() }
            }
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        Ok(Self { path, state })
    }

    /// How far `part` is done.
    pub(super) fn done(&self, part: &str) -> Option<i64> {
        self.state.done.get(part).copied()
    }

    /// Notes that `part` is stored so far.
    pub(super) fn note(&mut self, part: &str, until: i64) -> anyhow::Result<()> {
        self.state.done.insert(part.to_owned(), until);
        let draft = self.path.with_extension("json.tmp");
        let write = || {
            std::fs::write(&draft, serde_json::to_vec_pretty(&self.state)?)?;
            std::fs::rename(&draft, &self.path)
        };
        write().with_context(|| self.path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_where_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let mut progress = Progress::open(folder.path(), "a").unwrap();
        assert_eq!(progress.done("x"), None);
        progress.note("x", 7).unwrap();
        assert_eq!(Progress::open(folder.path(), "a").unwrap().done("x"), Some(7));
        assert_eq!(Progress::open(folder.path(), "b").unwrap().done("x"), None);
    }
}
