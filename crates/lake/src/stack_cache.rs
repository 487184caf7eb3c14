//! Decoded frames of stacks, in two generations.
//!
//! What is asked for lies in the young generation, or is moved there. When that is full it becomes the old
//! one, and the old one goes: what nobody asked for in the meantime is forgotten, with its strings, without
//! a list of who was used when.

use crate::snapshot::ResolvedStacks;
use crate::tables::StackRow;
use everflame_profile::{Frame, FrameIndex, Mapping, StackId, StringIndex, SymbolInterner, Symbols};
use hashbrown::{HashMap, HashSet};

/// What a frame costs with its share of strings and maps; seen on Go profiles.
const FRAME_BYTES: usize = 200;
/// What a stack costs in maps.
pub(crate) const STACK_BYTES: usize = 64;

/// Stacks with their frames, each once.
#[derive(Debug, Default)]
pub(crate) struct Generation {
    interner: SymbolInterner,
    stacks: HashMap<StackId, (u32, u32)>,
    frames: Vec<FrameIndex>,
}

impl Generation {
    /// About what it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.frames.len() * size_of::<FrameIndex>()
            + self.stacks.len() * STACK_BYTES
            + self.interner.len() * FRAME_BYTES
    }

    pub(crate) fn contains(&self, stack: StackId) -> bool {
        self.stacks.contains_key(&stack)
    }

    fn frames(&self, stack: StackId) -> Option<&[FrameIndex]> {
        let &(start, end) = self.stacks.get(&stack)?;
        self.frames.get(start as usize..end as usize)
    }

    /// Adds a stack of frames that are interned here.
    pub(crate) fn insert(&mut self, stack: StackId, frames: impl Iterator<Item = FrameIndex>) {
        let start = self.frames.len() as u32;
        self.frames.extend(frames);
        self.stacks.insert(stack, (start, self.frames.len() as u32));
    }

    /// Where the frames of stacks that are added must be interned.
    pub(crate) fn interner(&mut self) -> &mut SymbolInterner {
        &mut self.interner
    }

    /// Interns a frame of `symbols`.
    pub(crate) fn intern(&mut self, symbols: &Symbols, frame: &Frame) -> FrameIndex {
        self.interner.intern(symbols, frame)
    }
}

/// Two generations of stacks.
#[derive(Debug, Default)]
pub(crate) struct StackCache {
    young: Generation,
    old: Generation,
}

impl StackCache {
    /// About what it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.young.bytes() + self.old.bytes()
    }

    /// About what the generation takes that grows.
    pub(crate) fn young_bytes(&self) -> usize {
        self.young.bytes()
    }

    /// Stacks in it; one that is in both generations counts twice.
    pub(crate) fn len(&self) -> usize {
        self.young.stacks.len() + self.old.stacks.len()
    }

    /// The generation to which stacks are added.
    pub(crate) fn young(&mut self) -> &mut Generation {
        &mut self.young
    }

    /// Whether it has `stack`.
    pub(crate) fn contains(&self, stack: StackId) -> bool {
        self.young.contains(stack) || self.old.contains(stack)
    }

    /// Which of `stacks` the young generation does not have.
    pub(crate) fn not_young(&self, stacks: &[StackId]) -> HashSet<StackId> {
        stacks.iter().copied().filter(|&stack| !self.young.contains(stack)).collect()
    }

    /// Moves those of `stacks` that the old generation has to the young one; the others stay in the set.
    pub(crate) fn promote(&mut self, stacks: &mut HashSet<StackId>) {
        let mut moved = Moves::default();
        stacks.retain(|&stack| !self.young.contains(stack) && !moved.push(stack, &self.old, &mut self.young));
    }

    /// Makes the young generation the old one. Of what was old, `kept` stays.
    pub(crate) fn rotate(&mut self, kept: impl Iterator<Item = StackId>) {
        let gone = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        let mut moved = Moves::default();
        for stack in kept {
            if !self.contains(stack) {
                moved.push(stack, &gone, &mut self.young);
            }
        }
    }

    /// Adds stacks that were read from a file.
    pub(crate) fn load(&mut self, file: Generation) {
        if self.young.stacks.is_empty() {
            self.young = file;
            return;
        }
        let mut moved = Moves::default();
        for &stack in file.stacks.keys() {
            if !self.young.contains(stack) {
                moved.push(stack, &file, &mut self.young);
            }
        }
    }

    /// Frames of `stacks`, as far as the young generation has them.
    pub(crate) fn resolve(&self, stacks: &[StackId]) -> ResolvedStacks {
        let found: Vec<_> = stacks.iter().map(|&stack| self.young.frames(stack)).collect();
        let mut copies = Copies::new(&self.young.interner);
        copies.frames.reserve_exact(found.iter().flatten().map(|frames| frames.len()).sum());
        let mut ends = Vec::with_capacity(stacks.len());
        let mut missing = Vec::new();
        for (&stack, found) in stacks.iter().zip(found) {
            match found {
                Some(frames) => copies.push(frames),
                None => missing.push(stack),
            }
            ends.push(copies.frames.len() as u32);
        }
        ResolvedStacks { symbols: copies.symbols, frames: copies.frames, ends, missing }
    }

    /// Those of `stacks` that it has, each with the end of its frames; the frames, which lie one stack after
    /// the other; and what they refer to.
    pub(crate) fn copy(&self, stacks: &[(u32, StackId)]) -> (Vec<StackRow>, Vec<FrameIndex>, Symbols) {
        let mut all = Self::default();
        let (mut from_young, mut from_old) = (Moves::default(), Moves::default());
        let mut found = Vec::with_capacity(stacks.len());
        for &(service, stack) in stacks {
            if all.young.contains(stack)
                || from_young.push(stack, &self.young, &mut all.young)
                || from_old.push(stack, &self.old, &mut all.young)
            {
                found.push((service, stack));
            }
        }
        let order: Vec<StackId> = found.iter().map(|(_, stack)| *stack).collect();
        let ResolvedStacks { symbols, frames, ends, .. } = all.resolve(&order);
        let rows = found.into_iter().zip(ends).map(|((service, id), end)| StackRow { service, id, end });
        (rows.collect(), frames, symbols)
    }
}

/// Moves stacks from one generation to another. A frame is looked up by its content once, however many
/// stacks have it.
#[derive(Default)]
struct Moves {
    /// For each frame of the source its index in the target plus one, 0 when it is not known yet.
    known: Vec<u32>,
}

impl Moves {
    /// False when `from` does not have the stack.
    fn push(&mut self, stack: StackId, from: &Generation, to: &mut Generation) -> bool {
        let Some(frames) = from.frames(stack) else { return false };
        self.known.resize(from.interner.len().max(self.known.len()), 0);
        let start = to.frames.len() as u32;
        for &frame in frames {
            let Some(known) = self.known.get_mut(frame as usize) else { continue };
            if *known == 0 {
                *known = intern_from(&mut to.interner, &from.interner, frame) + 1;
            }
            to.frames.push(*known - 1);
        }
        to.stacks.insert(stack, (start, to.frames.len() as u32));
        true
    }
}

fn intern_from(target: &mut SymbolInterner, source: &SymbolInterner, frame: FrameIndex) -> FrameIndex {
    let frame = source.frames().get(frame as usize).copied().unwrap_or_default();
    let mapping = source.mapping(frame.mapping);
    let mut copy = |index| target.intern_string(source.strings().get(index));
    let mapping = Mapping { file: copy(mapping.file), build_id: copy(mapping.build_id), ..mapping };
    let (function, system_name, file) = (copy(frame.function), copy(frame.system_name), copy(frame.file));
    let mapping = target.intern_mapping(mapping);
    target.intern_frame(Frame { function, system_name, file, mapping, ..frame })
}

/// Copies frames out of an interner, each once. What it holds is distinct already, so that nothing is
/// looked up by its content: for each string, mapping and frame there is the index of its copy, 0 when it
/// has none yet; frames count from 1.
struct Copies<'a> {
    source: &'a SymbolInterner,
    symbols: Symbols,
    frames: Vec<FrameIndex>,
    strings_at: Vec<StringIndex>,
    mappings_at: Vec<u32>,
    frames_at: Vec<u32>,
}

impl<'a> Copies<'a> {
    fn new(source: &'a SymbolInterner) -> Self {
        Self {
            source,
            symbols: Symbols::default(),
            frames: Vec::new(),
            strings_at: vec![0; source.strings().len()],
            mappings_at: Vec::new(),
            frames_at: vec![0; source.len()],
        }
    }

    fn push(&mut self, frames: &[FrameIndex]) {
        let start = self.frames.len();
        self.frames.extend_from_slice(frames);
        for at in start..self.frames.len() {
            let copy = match self.frames_at.get(self.frames[at] as usize) {
                Some(0) | None => self.frame(self.frames[at]),
                Some(copy) => *copy,
            };
            self.frames[at] = copy - 1;
        }
    }

    fn frame(&mut self, index: FrameIndex) -> u32 {
        let frame = self.source.frames().get(index as usize).copied().unwrap_or_default();
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
            *at = self.symbols.strings.push(self.source.strings().get(index));
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
        let mapping = self.source.mapping(index);
        let (file, build_id) = (self.string(mapping.file), self.string(mapping.build_id));
        let copy = self.symbols.mappings.len() as u32;
        self.symbols.mappings.push(Mapping { file, build_id, ..mapping });
        if let Some(at) = self.mappings_at.get_mut(at) {
            *at = copy;
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{batch, stack};

    fn add(cache: &mut StackCache, names: &[&str]) {
        let batch = batch("api", 1, &[(names, 1)]);
        let new = &batch.new_stacks;
        let young = cache.young();
        let frames: Vec<FrameIndex> =
            new.symbols.frames.iter().map(|frame| young.intern(&new.symbols, frame)).collect();
        young.insert(batch.stacks[0], new.frames.iter().map(|&frame| frames[frame as usize]));
    }

    fn names(resolved: &ResolvedStacks, at: usize) -> Vec<String> {
        let frames = resolved.stack(at).iter();
        frames
            .map(|&frame| resolved.symbols.name(&resolved.symbols.frames[frame as usize]).into_owned())
            .collect()
    }

    #[test]
    fn what_is_not_asked_for_goes_with_the_second_rotation() {
        let mut cache = StackCache::default();
        let [asked, kept, gone] = [["a", "root"], ["b", "root"], ["c", "root"]];
        [asked, kept, gone].iter().for_each(|names| add(&mut cache, names));
        let ids = [asked, kept, gone].map(|names| stack(&names));
        cache.rotate(std::iter::empty());
        assert!(ids.iter().all(|&id| cache.contains(id)));
        let mut wanted = cache.not_young(&[ids[0], stack(&["nowhere"])]);
        cache.promote(&mut wanted);
        assert_eq!(wanted.into_iter().collect::<Vec<_>>(), [stack(&["nowhere"])]);
        cache.rotate([ids[1]].into_iter());
        assert_eq!(ids.map(|id| cache.contains(id)), [true, true, false]);
        let mut wanted = cache.not_young(&ids);
        cache.promote(&mut wanted);
        let resolved = cache.resolve(&ids);
        assert_eq!(
            (names(&resolved, 0), names(&resolved, 1)),
            (asked.map(str::to_owned).to_vec(), kept.map(str::to_owned).to_vec())
        );
        assert_eq!((resolved.missing, resolved.symbols.frames.len()), (vec![ids[2]], 3));
    }

    #[test]
    fn files_are_loaded_and_copies_come_from_both_generations() {
        let mut cache = StackCache::default();
        add(&mut cache, &["a", "root"]);
        cache.rotate(std::iter::empty());
        let mut file = StackCache::default();
        add(&mut file, &["b", "root"]);
        cache.load(file.young);
        let ids = [stack(&["b", "root"]), stack(&["nowhere"]), stack(&["a", "root"])];
        let (rows, frames, symbols) = cache.copy(&[(0, ids[0]), (0, ids[1]), (0, ids[2]), (1, ids[0])]);
        let rows: Vec<_> = rows.iter().map(|row| (row.service, row.id, row.end)).collect();
        assert_eq!(rows, [(0, ids[0], 2), (0, ids[2], 4), (1, ids[0], 6)]);
        assert_eq!((symbols.frames.len(), frames[1], frames.len()), (3, frames[3], 6));
        assert_eq!(frames[..2], frames[4..]);
    }
}
