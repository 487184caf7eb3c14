//! Frames and what they refer to: names, files and mappings.
//!
//! A frame is told apart by its content alone ([`FrameId`]), so that frames of different profiles,
//! files and machines can be compared without a shared table.

use crate::stack::FrameId;
use crate::strings::{StringIndex, StringInterner, Strings};
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use std::borrow::Cow;
use std::hash::BuildHasher;
use xxhash_rust::xxh3::xxh3_128;

/// Position of a frame in [`Symbols::frames`].
pub type FrameIndex = u32;

/// Position of a mapping in [`Symbols::mappings`]; 0 stands for "no mapping".
pub type MappingIndex = u32;

/// How the code of a frame came to run. The numbers are part of the storage format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum FrameKind {
    /// The profile does not say.
    #[default]
    Unknown = 0,
    /// Compiled code of a user process.
    Native = 1,
    /// The operating system's kernel.
    Kernel = 2,
    /// Java, Kotlin, Scala, … on a JVM.
    Jvm = 3,
    /// Code that an interpreter runs: Python, Ruby, JavaScript, …
    Interpreted = 4,
}

impl FrameKind {
    /// The kind with this number in the storage format; numbers from a newer version are unknown.
    pub fn from_number(number: u8) -> Self {
        [Self::Unknown, Self::Native, Self::Kernel, Self::Jvm, Self::Interpreted]
            .get(usize::from(number))
            .copied()
            .unwrap_or_default()
    }
}

/// A file that was mapped into the profiled process: a binary, a library, the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// Path of the file.
    pub file: StringIndex,
    /// Build id of the file, hexadecimal as senders write it.
    pub build_id: StringIndex,
    /// First address. Zero, like the two fields below, for symbolized frames, which must not differ
    /// between two starts of one program.
    pub memory_start: u64,
    /// Address past the last.
    pub memory_limit: u64,
    /// Offset in the file of the byte that is mapped at `memory_start`.
    pub file_offset: u64,
}

/// One entry of a stack trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Function name for people; index 0 when the frame is not symbolized.
    pub function: StringIndex,
    /// Name as the linker or runtime knows it; index 0 when it is the same as `function`.
    pub system_name: StringIndex,
    /// Source file.
    pub file: StringIndex,
    /// Line in the source file; 0 when unknown, and some senders say -1.
    pub line: i64,
    /// Line at which the function starts; 0 when unknown.
    pub start_line: i64,
    /// Where the code was mapped from.
    pub mapping: MappingIndex,
    /// Address of the instruction; 0 for symbolized frames.
    pub address: u64,
    /// Kernel, JVM, …
    pub kind: FrameKind,
    /// Whether the compiler inlined this call into the next frame towards the root.
    pub inlined: bool,
}

/// A set of frames with the strings and mappings they refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbols {
    /// All texts.
    pub strings: Strings,
    /// All mappings; the first is the empty one, "no mapping".
    pub mappings: Vec<Mapping>,
    /// All frames.
    pub frames: Vec<Frame>,
}

impl Default for Symbols {
    fn default() -> Self {
        Self { strings: Strings::new(), mappings: vec![Mapping::default()], frames: Vec::new() }
    }
}

impl Symbols {
    /// The mapping at `index`, the empty one when there is none.
    pub fn mapping(&self, index: MappingIndex) -> Mapping {
        self.mappings.get(index as usize).copied().unwrap_or_default()
    }

    /// What a frame is called: its function, else its system name, else its address as `0x4e354b`.
    pub fn name(&self, frame: &Frame) -> Cow<'_, str> {
        for index in [frame.function, frame.system_name] {
            let name = self.strings.get(index);
            if !name.is_empty() {
                return Cow::Borrowed(name);
            }
        }
        Cow::Owned(format!("0x{:x}", frame.address))
    }

    /// The content address of `frame`: XXH3-128 over kind, inlined flag (a byte each), line, start line,
    /// address, memory start, memory limit, file offset (8 bytes each, little-endian), and the five texts
    /// function, system name, file, mapping file, build id, each followed by a byte 0xff.
    ///
    /// `buffer` is scratch space, so that a caller who has many frames allocates once.
    pub fn frame_id(&self, frame: &Frame, buffer: &mut Vec<u8>) -> FrameId {
        let mapping = MappingBytes::new(self, frame.mapping);
        self.frame_id_in(frame, &mapping, buffer)
    }

    /// The ids of all frames. Hot: some 100 bytes of mapping are the same for nearly all of them.
    pub fn frame_ids(&self) -> Vec<FrameId> {
        let mut buffer = Vec::with_capacity(1024);
        let mut mapping = MappingBytes::new(self, 0);
        let ids = self.frames.iter().map(|frame| {
            if frame.mapping != mapping.index {
                mapping = MappingBytes::new(self, frame.mapping);
            }
            self.frame_id_in(frame, &mapping, &mut buffer)
        });
        ids.collect()
    }

    fn frame_id_in(&self, frame: &Frame, mapping: &MappingBytes, buffer: &mut Vec<u8>) -> FrameId {
        let mut head = [0; 26];
        head[0] = frame.kind as u8;
        head[1] = u8::from(frame.inlined);
        head[2..10].copy_from_slice(&frame.line.to_le_bytes());
        head[10..18].copy_from_slice(&frame.start_line.to_le_bytes());
        head[18..].copy_from_slice(&frame.address.to_le_bytes());
        buffer.clear();
        buffer.extend_from_slice(&head);
        buffer.extend_from_slice(&mapping.numbers);
        for text in [frame.function, frame.system_name, frame.file] {
            if text != 0 {
                buffer.extend_from_slice(self.strings.bytes(text));
            }
            buffer.push(0xff);
        }
        buffer.extend_from_slice(&mapping.texts);
        FrameId(xxh3_128(buffer))
    }
}

/// What a mapping adds to the ids of its frames.
struct MappingBytes {
    index: MappingIndex,
    numbers: [u8; 24],
    texts: Vec<u8>,
}

impl MappingBytes {
    fn new(symbols: &Symbols, index: MappingIndex) -> Self {
        let mapping = symbols.mapping(index);
        let mut numbers = [0; 24];
        numbers[..8].copy_from_slice(&mapping.memory_start.to_le_bytes());
        numbers[8..16].copy_from_slice(&mapping.memory_limit.to_le_bytes());
        numbers[16..].copy_from_slice(&mapping.file_offset.to_le_bytes());
        let mut texts = Vec::new();
        for text in [mapping.file, mapping.build_id] {
            texts.extend_from_slice(symbols.strings.bytes(text));
            texts.push(0xff);
        }
        Self { index, numbers, texts }
    }
}

/// Collects frames of many [`Symbols`] into one in which every string, mapping and frame occurs once.
#[derive(Debug, Default)]
pub struct SymbolInterner {
    strings: StringInterner,
    mappings: Vec<Mapping>,
    frames: Vec<Frame>,
    mapping_indices: HashMap<Mapping, MappingIndex>,
    /// Where frames are, found by their content: a map would hold each a second time.
    frame_indices: HashTable<FrameIndex>,
    hasher: DefaultHashBuilder,
}

impl SymbolInterner {
    /// The index of `frame`, which belongs to `symbols`, in the set collected here.
    pub fn intern(&mut self, symbols: &Symbols, frame: &Frame) -> FrameIndex {
        let mut copy = |index| self.strings.intern(symbols.strings.get(index));
        let mapping = symbols.mapping(frame.mapping);
        let mapping = Mapping { file: copy(mapping.file), build_id: copy(mapping.build_id), ..mapping };
        let frame = Frame {
            function: copy(frame.function),
            system_name: copy(frame.system_name),
            file: copy(frame.file),
            ..*frame
        };
        let mapping = self.intern_mapping(mapping);
        self.intern_frame(Frame { mapping, ..frame })
    }

    /// The index of `text` among the strings collected here.
    pub fn intern_string(&mut self, text: &str) -> StringIndex {
        self.strings.intern(text)
    }

    /// The index of `mapping`, whose strings are indices of this interner.
    pub fn intern_mapping(&mut self, mapping: Mapping) -> MappingIndex {
        if mapping == Mapping::default() {
            return 0;
        }
        if self.mappings.is_empty() {
            self.mappings.push(Mapping::default());
        }
        let next = self.mappings.len() as MappingIndex;
        let index = *self.mapping_indices.entry(mapping).or_insert(next);
        if index == next {
            self.mappings.push(mapping);
        }
        index
    }

    /// The index of `frame`, whose strings and mapping are indices of this interner.
    pub fn intern_frame(&mut self, frame: Frame) -> FrameIndex {
        let (frames, hasher) = (&mut self.frames, &self.hasher);
        let hash = hasher.hash_one(frame);
        let known = |&index: &FrameIndex| frames.get(index as usize) == Some(&frame);
        if let Some(&index) = self.frame_indices.find(hash, known) {
            return index;
        }
        let index = frames.len() as FrameIndex;
        frames.push(frame);
        self.frame_indices.insert_unique(hash, index, |&index| hasher.hash_one(frames[index as usize]));
        index
    }

    /// Number of frames collected.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether no frame was collected.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What was collected.
    pub fn into_symbols(self) -> Symbols {
        let mut mappings = self.mappings;
        if mappings.is_empty() {
            mappings.push(Mapping::default());
        }
        Symbols { strings: self.strings.into_strings(), mappings, frames: self.frames }
    }

    /// The frames collected so far.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The strings collected so far.
    pub fn strings(&self) -> &Strings {
        self.strings.strings()
    }

    /// The mapping at `index` among those collected so far, the empty one when there is none.
    pub fn mapping(&self, index: MappingIndex) -> Mapping {
        self.mappings.get(index as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols() -> Symbols {
        let mut symbols = Symbols::default();
        let function = symbols.strings.push("main.work");
        let file = symbols.strings.push("main.go");
        let path = symbols.strings.push("/bin/app");
        symbols.mappings.push(Mapping { file: path, ..Mapping::default() });
        symbols.frames.push(Frame { function, file, line: 7, mapping: 1, ..Frame::default() });
        symbols.frames.push(Frame { address: 0x4e354b, mapping: 1, ..Frame::default() });
        symbols
    }

    #[test]
    fn a_frame_is_its_content() {
        let (mut buffer, first) = (Vec::new(), symbols());
        let mut second = Symbols::default();
        second.strings.push("something else first");
        let mut interner = SymbolInterner::default();
        for frame in first.frames.iter().rev() {
            interner.intern(&first, frame);
            interner.intern(&first, frame);
        }
        let merged = interner.into_symbols();
        assert_eq!(merged.frames.len(), 2);
        let ids = |symbols: &Symbols, buffer: &mut Vec<u8>| {
            let mut ids: Vec<_> =
                symbols.frames.iter().map(|frame| symbols.frame_id(frame, buffer)).collect();
            ids.sort();
            ids
        };
        assert_eq!(ids(&first, &mut buffer), ids(&merged, &mut buffer));
    }

    #[test]
    fn names_fall_back_to_the_address() {
        let symbols = symbols();
        let names: Vec<_> = symbols.frames.iter().map(|frame| symbols.name(frame)).collect();
        assert_eq!(names, ["main.work", "0x4e354b"]);
        assert_eq!(symbols.name(&Frame::default()), "0x0");
    }

    #[test]
    fn frame_ids_are_on_disk() {
        let symbols = symbols();
        let id = symbols.frame_id(&symbols.frames[0], &mut Vec::new());
        assert_eq!(format!("{:032x}", id.0), "313059a52ba2660f52395d278090efa5");
    }
}
