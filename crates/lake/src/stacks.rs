//! Frames of stacks: those that are not in the tables yet, and a bounded cache of the others.

use crate::batch::Batch;
use crate::files::DataFile;
use crate::footers::Footers;
use crate::snapshot::ResolvedStacks;
use crate::tables::{self, StackRow, StackRows};
use everflame_profile::{Frame, FrameIndex, Mapping, StackId, StringIndex, SymbolInterner, Symbols};
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

/// The cache is emptied when it holds more, except for what is not in the tables yet.
const CACHE_BYTES: usize = 96 << 20;
/// What a frame costs with its share of strings and maps; seen on Go profiles.
const FRAME_BYTES: usize = 200;
/// What a stack costs in maps.
const STACK_BYTES: usize = 64;

/// Stacks with their frames, each once.
#[derive(Debug, Default)]
pub(crate) struct StackStore {
    cache: Cache,
    services: Vec<String>,
    service_indices: HashMap<String, u32>,
    /// Stacks whose frames are durable for a service, in the tables or in the write-ahead log.
    known: HashSet<(u32, StackId)>,
    /// Those of them that only the log has, since the last rotation.
    pending: Vec<(u32, StackId)>,
}

#[derive(Debug, Default)]
struct Cache {
    interner: SymbolInterner,
    stacks: HashMap<StackId, (u32, u32)>,
    frames: Vec<FrameIndex>,
}

impl Cache {
    fn bytes(&self) -> usize {
        self.frames.len() * size_of::<FrameIndex>()
            + self.stacks.len() * STACK_BYTES
            + self.interner.len() * FRAME_BYTES
    }

    fn frames(&self, stack: StackId) -> Option<&[FrameIndex]> {
        let &(start, end) = self.stacks.get(&stack)?;
        Some(&self.frames[start as usize..end as usize])
    }

    fn insert(&mut self, stack: StackId, frames: impl Iterator<Item = FrameIndex>) {
        let start = self.frames.len() as u32;
        self.frames.extend(frames);
        self.stacks.insert(stack, (start, self.frames.len() as u32));
    }
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
        let cache = &mut self.cache;
        let frames: Vec<FrameIndex> =
            new.symbols.frames.iter().map(|frame| cache.interner.intern(&new.symbols, frame)).collect();
        let mut start = 0;
        for &(at, end) in &new.stacks {
            let stack = batch.stacks[at as usize];
            if !cache.stacks.contains_key(&stack) {
                cache.insert(
                    stack,
                    new.frames[start..end as usize].iter().map(|&frame| frames[frame as usize]),
                );
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
        let mut copies = Copies::new(&self.cache);
        let mut rows = Vec::with_capacity(pending.len());
        for (service, id) in pending {
            if let Some(frames) = self.cache.frames(id) {
                copies.push(frames);
                rows.push(StackRow { service, id, end: copies.frames.len() as u32 });
            }
        }
        let (symbols, frames) = (copies.symbols, copies.frames);
        StackRows { symbols, rows, services: self.services.clone(), frames }
    }

    /// Empties the cache if it is over its bound, but for the stacks that are not in the tables: `pending`
    /// and those of a flush under way, `flushing`.
    pub(crate) fn shrink(&mut self, flushing: Option<&StackRows>) {
        if self.cache.bytes() + self.known.len() * size_of::<(u32, StackId)>() <= CACHE_BYTES {
            return;
        }
        let old = std::mem::take(&mut self.cache);
        self.known.clear();
        let in_flush =
            flushing.into_iter().flat_map(|rows| rows.rows.iter().map(|row| (row.service, row.id)));
        for (service, id) in self.pending.iter().copied().chain(in_flush) {
            self.known.insert((service, id));
            let Some(frames) = old.frames(id) else { continue };
            if self.cache.stacks.contains_key(&id) {
                continue;
            }
            let interner = &mut self.cache.interner;
            let frames: Vec<FrameIndex> =
                frames.iter().map(|&frame| intern_from(interner, &old.interner, frame)).collect();
            self.cache.insert(id, frames.into_iter());
        }
    }

    /// Which of `stacks` the cache does not have.
    pub(crate) fn absent(&self, stacks: &[StackId]) -> HashSet<StackId> {
        stacks.iter().copied().filter(|stack| !self.cache.stacks.contains_key(stack)).collect()
    }

    /// Reads frames of `wanted` from `files` into the cache.
    pub(crate) fn load(&mut self, files: Vec<LoadedStacks>) {
        for loaded in files {
            for (stack, frames) in &loaded.stacks {
                if self.cache.stacks.contains_key(stack) {
                    continue;
                }
                let cache = &mut self.cache;
                let frames: Vec<FrameIndex> = frames
                    .iter()
                    .map(|&frame| intern_from(&mut cache.interner, &loaded.interner, frame))
                    .collect();
                cache.insert(*stack, frames.into_iter());
            }
        }
    }

    /// Frames of `stacks`, as far as the cache has them.
    pub(crate) fn resolve(&self, stacks: &[StackId]) -> ResolvedStacks {
        let mut copies = Copies::new(&self.cache);
        let mut ends = Vec::with_capacity(stacks.len());
        let mut missing = Vec::new();
        for &stack in stacks {
            match self.cache.frames(stack) {
                Some(frames) => copies.push(frames),
                None => missing.push(stack),
            }
            ends.push(copies.frames.len() as u32);
        }
        ResolvedStacks { symbols: copies.symbols, frames: copies.frames, ends, missing }
    }

    /// Stacks in the cache.
    pub(crate) fn len(&self) -> usize {
        self.cache.stacks.len()
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

/// Copies frames out of a cache, each once. What the cache holds is distinct already, so that nothing is
/// looked up by its content: for each string, mapping and frame of the cache there is the index of its
/// copy, 0 when it has none yet; frames count from 1.
struct Copies<'a> {
    cache: &'a Cache,
    symbols: Symbols,
    frames: Vec<FrameIndex>,
    strings_at: Vec<StringIndex>,
    mappings_at: Vec<u32>,
    frames_at: Vec<u32>,
}

impl<'a> Copies<'a> {
    fn new(cache: &'a Cache) -> Self {
        Self {
            cache,
            symbols: Symbols::default(),
            frames: Vec::new(),
            strings_at: vec![0; cache.interner.strings().len()],
            mappings_at: Vec::new(),
            frames_at: vec![0; cache.interner.len()],
        }
    }

    fn push(&mut self, frames: &[FrameIndex]) {
        self.frames.reserve(frames.len());
        for &frame in frames {
            let copy = match self.frames_at.get(frame as usize) {
                Some(0) | None => self.frame(frame),
                Some(copy) => *copy,
            };
            self.frames.push(copy - 1);
        }
    }

    fn frame(&mut self, index: FrameIndex) -> u32 {
        let frame = self.cache.interner.frames().get(index as usize).copied().unwrap_or_default();
        let frame = Frame {
            function: self.string(frame.function),
            system_name: self.string(frame.system_name),
            file: self.string(frame.file),
            mapping: self.mapping(frame.mapping),
            ..frame
        };
        self.symbols.frames.push(frame);
        let copy = self.symbols.frames.len() as u32;
        if let Some(at) = self.frames_at.get_mut(index as usize) {
            *at = copy;
        }
        copy
    }

    fn string(&mut self, index: StringIndex) -> StringIndex {
        let Some(at) = self.strings_at.get_mut(index as usize) else { return 0 };
        if *at == 0 {
            // The empty string stays 0.
            *at = self.symbols.strings.push(self.cache.interner.strings().get(index));
        }
        *at
    }

    fn mapping(&mut self, index: u32) -> u32 {
        if index == 0 {
            return 0;
        }
        let at = index as usize;
        if self.mappings_at.len() <= at {
            self.mappings_at.resize(at + 1, 0);
        }
        if let Some(&copy @ 1..) = self.mappings_at.get(at) {
            return copy;
        }
        let mapping = self.cache.interner.mapping(index);
        let (file, build_id) = (self.string(mapping.file), self.string(mapping.build_id));
        let copy = self.symbols.mappings.len() as u32;
        self.symbols.mappings.push(Mapping { file, build_id, ..mapping });
        if let Some(at) = self.mappings_at.get_mut(at) {
            *at = copy;
        }
        copy
    }
}

fn intern_from(target: &mut SymbolInterner, source: &SymbolInterner, frame: FrameIndex) -> FrameIndex {
    let frame = source.frames()[frame as usize];
    let mapping = source.mapping(frame.mapping);
    let mut copy = |index| target.intern_string(source.strings().get(index));
    let mapping = Mapping { file: copy(mapping.file), build_id: copy(mapping.build_id), ..mapping };
    let (function, system_name, file) = (copy(frame.function), copy(frame.system_name), copy(frame.file));
    let mapping = target.intern_mapping(mapping);
    target.intern_frame(Frame { function, system_name, file, mapping, ..frame })
}

/// Stacks read from one file of the table.
pub(crate) struct LoadedStacks {
    interner: SymbolInterner,
    stacks: Vec<(StackId, Vec<FrameIndex>)>,
}

/// Reads frames of `wanted` stacks of `services` from `files`. Blocking. A file that cannot be read is
/// skipped with a warning; what only it has stays missing.
pub(crate) fn read_files(
    files: &[Arc<DataFile>],
    footers: &Footers,
    services: &[&str],
    wanted: &HashSet<StackId>,
) -> Vec<LoadedStacks> {
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
        let (mut interner, mut stacks) = (SymbolInterner::default(), Vec::new());
        let mut chosen = Vec::new();
        let read = footers.get(file).and_then(|footer| {
            tables::read_stacks(
                file,
                &footer,
                &services,
                &mut |stack| {
                    let is_new = missing.remove(&stack);
                    if is_new {
                        chosen.push(stack);
                    }
                    is_new
                },
                &mut interner,
                &mut |stack, frames| stacks.push((stack, frames.to_vec())),
            )
        });
        if let Err(error) = read {
            tracing::warn!(%error, "frames of some stacks cannot be read");
            let read: HashSet<StackId> = stacks.iter().map(|(stack, _)| *stack).collect();
            missing.extend(chosen.into_iter().filter(|stack| !read.contains(stack)));
        }
        loaded.push(LoadedStacks { interner, stacks });
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
        let resolved = store.resolve(&[stack(&["root"]), stack(&["nowhere"]), stack(&["leaf", "root"])]);
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
