//! Which uploads are stored already, so that a retry does not count twice.

use crate::batch::{Batch, ProfileId};
use crate::error::Error;
use crate::files::DataFile;
use crate::tables;
use hashbrown::HashSet;
use std::collections::VecDeque;
use std::sync::Arc;

/// So many ids are remembered; retries come within minutes.
const REMEMBERED: usize = 200_000;

/// The ids of the newest uploads.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    ids: HashSet<ProfileId>,
    order: VecDeque<ProfileId>,
    /// Those that the log had, and that nobody has sent again since.
    from_log: HashSet<ProfileId>,
}

impl Uploads {
    /// Remembers the upload of `batch`. False when it was there already.
    pub(crate) fn insert(&mut self, batch: &Batch) -> bool {
        batch.upload.is_none_or(|id| self.remember(id))
    }

    /// Remembers the upload of `batch`, which the log had.
    pub(crate) fn insert_from_log(&mut self, batch: &Batch) {
        if let Some(id) = batch.upload
            && self.remember(id)
        {
            self.from_log.insert(id);
        }
    }

    /// Whether the log had the upload of `batch`, which comes again for the first time.
    pub(crate) fn take_from_log(&mut self, batch: &Batch) -> bool {
        batch.upload.is_some_and(|id| self.from_log.remove(&id))
    }

    /// Forgets uploads that could not be stored, or were deleted.
    pub(crate) fn forget(&mut self, uploads: &[ProfileId]) {
        let before = self.ids.len();
        for id in uploads {
            self.ids.remove(id);
            self.from_log.remove(id);
        }
        if self.ids.len() < before {
            self.order.retain(|id| self.ids.contains(id));
        }
    }

    /// Remembers the ids in the newest `files` of the table `profiles`: the first profile of an upload has
    /// the upload's id. An error when the storage does not answer or the disk fails: starting without them
    /// would count uploads twice.
    pub(crate) fn load(&mut self, files: &[Arc<DataFile>]) -> Result<(), Error> {
        let mut rows = 0;
        let newest = files.iter().rev().take_while(|file| {
            rows += file.stats.rows as usize;
            rows <= REMEMBERED
        });
        let newest: Vec<_> = newest.collect();
        for file in newest.into_iter().rev() {
            match tables::read_profile_ids(file) {
                Ok(ids) => {
                    for id in ids {
                        self.remember(id);
                    }
                }
                Err(error) if error.may_pass() => return Err(error),
                Err(error) => tracing::warn!(%error, "retries of uploads in this file will not be noticed"),
            }
        }
        Ok(())
    }

    fn remember(&mut self, id: ProfileId) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
            self.from_log.remove(&oldest);
        }
        true
    }
}
