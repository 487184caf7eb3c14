//! Frames of stacks: those that are not in the tables yet, and a bounded cache of the others.

use crate::batch::Batch;
use crate::files::DataFile;
use crate::footers::{CacheStatus, Footers};
use crate::snapshot::ResolvedStacks;
use crate::stack_cache::{Generation, STACK_BYTES, StackCache};
use crate::tables::{self, StackRows};
use everflame_profile::{FrameIndex, StackId};
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes of frames that are kept, beside what is not in the tables yet.
const CACHE_BYTES: usize = 64 << 20;

/// Stacks with their frames, each once.
#[derive(Debug, Default)]
pub(crate) struct StackStore {
    cache: StackCache,
    services: Vec<String>,
    service_indices: HashMap<String, u32>,
    /// Stacks whose frames are durable for a service, in the tables or in the write-ahead log.
    known: HashSet<(u32, StackId)>,
    /// Those of them that only the log has, since the last rotation.
    pending: Vec<(u32, StackId)>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl StackStore {
    /// Positions in `stacks` whose frames must be sent along for `service`.
    pub(crate) fn unknown(&self, service: &str, stacks: &[StackId]) -> Vec<u32> {
        let all = 0..stacks.len() as u32;
        match self.service_indices.get(service) {
            Some(&service) => {
                all.filter(|&at| !self.known.contains(&(service, stacks[at as usize]))).collect()
            }
            None => all.collect(),
        }
    }

    /// Takes the new stacks of a batch that is durable. Returns the bytes that they add.
    pub(crate) fn insert(&mut self, batch: &Batch) -> usize {
        if batch.new_stacks.stacks.is_empty() {
            return 0;
        }
        let before = self.cache.bytes();
        let service = self.service(&batch.service);
        let new = &batch.new_stacks;
        let young = self.cache.young();
        let frames: Vec<FrameIndex> =
            new.symbols.frames.iter().map(|frame| young.intern(&new.symbols, frame)).collect();
        let mut start = 0;
        for &(at, end) in &new.stacks {
            let stack = batch.stacks[at as usize];
            if !young.contains(stack) {
                let indices = new.frames[start..end as usize].iter();
                young.insert(stack, indices.map(|&frame| frames[frame as usize]));
            }
            if self.known.insert((service, stack)) {
                self.pending.push((service, stack));
            }
            start = end as usize;
        }
        self.cache.bytes().saturating_sub(before) + new.stacks.len() * STACK_BYTES
    }

    /// What a flush must write: everything since the last call.
    pub(crate) fn take_pending(&mut self) -> StackRows {
        let pending = std::mem::take(&mut self.pending);
        let (rows, frames, symbols) = self.cache.copy(&pending);
        StackRows { symbols, rows, services: self.services.clone(), frames }
    }

    /// Forgets what was not asked for lately, when there is too much; but never the stacks that are not in
    /// the tables: those that are pending, and those of a flush under way, `flushing`.
    pub(crate) fn shrink(&mut self, flushing: Option<&StackRows>) {
        let known = self.known.len() * size_of::<(u32, StackId)>();
        if self.cache.young_bytes() + known / 2 <= CACHE_BYTES / 2 {
            return;
        }
        let in_flush =
            || flushing.into_iter().flat_map(|rows| rows.rows.iter().map(|row| (row.service, row.id)));
        let kept = self.pending.iter().copied().chain(in_flush());
        self.cache.rotate(kept.map(|(_, stack)| stack));
        if known > CACHE_BYTES / 2 {
            self.known = self.pending.iter().copied().chain(in_flush()).collect();
        }
    }

    /// Frames of `stacks`, when all are at hand.
    pub(crate) fn resolve_all(&self, stacks: &[StackId]) -> Result<ResolvedStacks, HashSet<StackId>> {
        let absent = self.cache.not_young(stacks);
        self.hits.fetch_add((stacks.len() - absent.len()) as u64, Relaxed);
        if absent.is_empty() { Ok(self.cache.resolve(stacks)) } else { Err(absent) }
    }

    /// Keeps those of `stacks` that it has for longer; the others, which must be read, stay in the set.
    pub(crate) fn promote(&mut self, stacks: &mut HashSet<StackId>) {
        let asked = stacks.len();
        self.cache.promote(stacks);
        self.hits.fetch_add((asked - stacks.len()) as u64, Relaxed);
        self.misses.fetch_add(stacks.len() as u64, Relaxed);
    }

    /// Frames of `stacks`, as far as it has them or they are in `files`.
    pub(crate) fn resolve(&mut self, stacks: &[StackId], files: Vec<Generation>) -> ResolvedStacks {
        files.into_iter().for_each(|file| self.cache.load(file));
        // While files were read, another query may have filled the young generation.
        self.cache.promote(&mut self.cache.not_young(stacks));
        self.cache.resolve(stacks)
    }

    /// Keeps stacks that were read before anybody asked for them.
    pub(crate) fn load(&mut self, stacks: Generation) {
        self.cache.load(stacks);
    }

    /// Stacks in the cache.
    pub(crate) fn len(&self) -> usize {
        self.cache.len()
    }

    /// Figures for metrics.
    pub(crate) fn status(&self) -> CacheStatus {
        let (bytes, limit) = (self.cache.bytes() as u64, CACHE_BYTES as u64);
        CacheStatus { bytes, limit, hits: self.hits.load(Relaxed), misses: self.misses.load(Relaxed) }
    }

    fn service(&mut self, service: &str) -> u32 {
        if let Some(&index) = self.service_indices.get(service) {
            return index;
        }
        let index = self.services.len() as u32;
        self.services.push(service.to_owned());
        self.service_indices.insert(service.to_owned(), index);
        index
    }
}

/// Reads frames of `wanted` stacks of `services` from `files`. Blocking. A file that cannot be read is
/// skipped with a warning; what only it has stays missing.
pub(crate) fn read_files(
    files: &[Arc<DataFile>],
    footers: &Footers,
    services: &[&str],
    wanted: &HashSet<StackId>,
) -> Vec<Generation> {
    // Several services, and several files, may have one stack: it is read once.
    let mut missing = wanted.clone();
    let mut loaded = Vec::new();
    // Newest first: what is asked for most is there, and the rest need not be read.
    for file in files.iter().rev() {
        if missing.is_empty() {
            break;
        }
        let (min, max) = (file.stats.min_service.as_str(), file.stats.max_service.as_str());
        let services: Vec<&str> =
            services.iter().copied().filter(|service| (min..=max).contains(service)).collect();
        if services.is_empty() {
            continue;
        }
        let (mut stacks, mut chosen) = (Generation::default(), Vec::new());
        let read = footers.get(file).and_then(|footer| {
            tables::read_stacks(
                file,
                &footer,
                Some(&services),
                &mut |stack| {
                    let is_new = missing.remove(&stack);
                    if is_new {
                        chosen.push(stack);
                    }
                    is_new
                },
                &mut stacks,
            )
        });
        if let Err(error) = read {
            tracing::warn!(%error, "frames of some stacks cannot be read");
            file.drop_copy();
            missing.extend(chosen.into_iter().filter(|&stack| !stacks.contains(stack)));
        }
        loaded.push(stacks);
    }
    loaded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{batch, stack};

    #[test]
    fn known_by_service_and_resolved_by_id() {
        let mut store = StackStore::default();
        let batch = batch("api", 1, &[(&["leaf", "root"], 1), (&["root"], 2)]);
        assert_eq!(store.unknown("api", &batch.stacks), [0, 1]);
        assert!(store.insert(&batch) > 0);
        assert!(store.unknown("api", &batch.stacks).is_empty());
        assert_eq!(store.unknown("web", &batch.stacks), [0, 1]);
        let resolved =
            store.resolve(&[stack(&["root"]), stack(&["nowhere"]), stack(&["leaf", "root"])], Vec::new());
        let names = |at: usize| -> Vec<_> {
            let frames = resolved.stack(at).iter();
            frames
                .map(|&frame| resolved.symbols.name(&resolved.symbols.frames[frame as usize]).into_owned())
                .collect()
        };
        assert_eq!(
            (names(0), names(1), names(2)),
            (vec!["root".into()], vec![], vec!["leaf".into(), "root".into()])
        );
        assert_eq!(resolved.missing, [stack(&["nowhere"])]);
    }

    #[test]
    fn pending_rows_are_taken_once() {
        let mut store = StackStore::default();
        store.insert(&batch("api", 1, &[(&["leaf", "root"], 1)]));
        store.insert(&batch("api", 2, &[(&["leaf", "root"], 1)]));
        store.insert(&batch("web", 2, &[(&["leaf", "root"], 1)]));
        let rows = store.take_pending();
        assert_eq!(rows.rows.iter().map(|row| (row.service, row.end)).collect::<Vec<_>>(), [(0, 2), (1, 4)]);
        assert_eq!(rows.symbols.frames.len(), 2);
        assert!(store.take_pending().rows.is_empty());
    }
}
