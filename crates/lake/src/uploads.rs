//! Which uploads are stored already, so that a retry does not count twice.
//!
//! An upload brings a key along, [`Batch::upload`], which the write-ahead log keeps. The tables do not: what an
//! earlier process stored is also known by its first profile, the id, series, time and total of it.

use crate::batch::{Batch, ProfileId};
use crate::error::Error;
use crate::files::DataFile;
use crate::tables::{self, StoredProfile};
use hashbrown::HashSet;
use std::collections::VecDeque;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// So many are remembered; retries come within minutes.
const REMEMBERED: usize = 200_000;

/// What tells an upload from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key(u128);

impl Key {
    /// Of an upload whose first profile is this one. In the tables any row may be the first of an upload.
    fn of_profile(profile: &StoredProfile) -> Self {
        let StoredProfile { id, series, time, total } = profile;
        let mut hash = Xxh3::new();
        hash.update(&id.0.to_le_bytes());
        hash.update(&series.0.to_le_bytes());
        hash.update(&time.to_le_bytes());
        hash.update(&total.to_le_bytes());
        Self(hash.digest128())
    }

    /// Of the first profile of an upload, as the tables have it.
    fn of_first(batch: &Batch) -> Option<Self> {
        let first = batch.profiles.first()?;
        let series = batch.series.get(first.series as usize)?.id();
        let time = first.time.div_euclid(1_000);
        Some(Self::of_profile(&StoredProfile { id: first.id, series, time, total: first.total }))
    }

    fn all(batch: &Batch) -> impl Iterator<Item = Self> {
        batch.upload.map(|upload| Self(upload.0)).into_iter().chain(Self::of_first(batch))
    }
}

/// The newest uploads.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    keys: HashSet<Key>,
    /// In the order in which they came, with the ids of their first profiles.
    order: VecDeque<(ProfileId, Key)>,
    /// Those that the log had, and that nobody has sent again since.
    from_log: HashSet<Key>,
}

impl Uploads {
    /// Remembers the upload of `batch`. False when it was there already.
    pub(crate) fn insert(&mut self, batch: &Batch) -> bool {
        let Some(upload) = batch.upload else { return true };
        if Key::of_first(batch).is_some_and(|key| self.keys.contains(&key)) {
            return false;
        }
        self.remember(batch.profiles.first().map_or(upload, |first| first.id), Key(upload.0))
    }

    /// Remembers the upload of `batch`, which the log had.
    pub(crate) fn insert_from_log(&mut self, batch: &Batch) {
        let Some(upload) = batch.upload else { return };
        let first = batch.profiles.first().map_or(upload, |first| first.id);
        let is_in_tables = Key::of_first(batch).is_some_and(|key| self.keys.contains(&key));
        for key in Key::all(batch) {
            self.remember(first, key);
            if !is_in_tables {
                self.from_log.insert(key);
            }
        }
    }

    /// Whether the log had the upload of `batch`, which comes again for the first time.
    pub(crate) fn take_from_log(&mut self, batch: &Batch) -> bool {
        Key::all(batch).filter(|key| self.from_log.remove(key)).count() > 0
    }

    /// Forgets the uploads of batches that could not be stored.
    pub(crate) fn forget_batches<'a>(&mut self, batches: impl Iterator<Item = &'a Batch>) {
        let keys: HashSet<Key> =
            batches.filter_map(|batch| batch.upload).map(|upload| Key(upload.0)).collect();
        self.forget(|_, key| keys.contains(&key));
    }

    /// Forgets uploads whose first profiles have these ids, for they were deleted.
    pub(crate) fn forget_profiles(&mut self, profiles: &[ProfileId]) {
        let profiles: HashSet<ProfileId> = profiles.iter().copied().collect();
        self.forget(|first, _| profiles.contains(&first));
    }

    fn forget(&mut self, is_gone: impl Fn(ProfileId, Key) -> bool) {
        let Self { keys, order, from_log } = self;
        order.retain(|&(first, key)| {
            let is_gone = is_gone(first, key);
            if is_gone {
                keys.remove(&key);
                from_log.remove(&key);
            }
            !is_gone
        });
    }

    /// Remembers the profiles in the newest `files` of the table `profiles`. An error when the storage does not
    /// answer or the disk fails: starting without them would count uploads twice.
    pub(crate) fn load(&mut self, files: &[Arc<DataFile>]) -> Result<(), Error> {
        let mut rows = 0;
        let newest = files.iter().rev().take_while(|file| {
            rows += file.stats.rows as usize;
            rows <= REMEMBERED
        });
        let newest: Vec<_> = newest.collect();
        for file in newest.into_iter().rev() {
            match tables::read_profiles(file) {
                Ok(profiles) => {
                    for profile in profiles {
                        self.remember(profile.id, Key::of_profile(&profile));
                    }
                }
                Err(error) if error.may_pass() => return Err(error),
                Err(error) => tracing::warn!(%error, "retries of uploads in this file will not be noticed"),
            }
        }
        Ok(())
    }

    fn remember(&mut self, first: ProfileId, key: Key) -> bool {
        if !self.keys.insert(key) {
            return false;
        }
        self.order.push_back((first, key));
        if self.order.len() > REMEMBERED
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
            self.from_log.remove(&oldest);
        }
        true
    }
}
