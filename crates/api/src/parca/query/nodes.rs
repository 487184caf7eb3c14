//! What the reports of messages say of a frame: location, mapping, function, line.

use super::stacks::Stacks;
use crate::wire::parca::metastore::v1alpha1::{Function, Line, Location, Mapping};
use everflame_profile::{Frame, FrameIndex};
use hashbrown::HashMap;
use std::fmt::Write;
use xxhash_rust::xxh3::xxh3_64;

/// The parts of a frame that are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Meta {
    pub(super) location: Location,
    pub(super) mapping: Option<Mapping>,
    pub(super) function: Option<Function>,
    pub(super) line: Option<Line>,
}

impl Meta {
    /// What is known of `frame`. Equal things have equal ids in all answers.
    pub(super) fn of(stacks: &Stacks, frame: &Frame) -> Self {
        let symbols = &stacks.symbols;
        let known = symbols.mapping(frame.mapping);
        let mapping = (frame.mapping != 0).then(|| {
            let (file, build_id) =
                (stacks.text(known.file).to_owned(), stacks.text(known.build_id).to_owned());
            Mapping {
                id: id(&[&file, &build_id], &[known.memory_start, known.memory_limit, known.file_offset]),
                start: known.memory_start,
                limit: known.memory_limit,
                offset: known.file_offset,
                has_functions: frame.function != 0,
                file,
                build_id,
                ..Default::default()
            }
        });
        let function = (frame.function != 0 || frame.system_name != 0).then(|| {
            let name = symbols.name(frame).into_owned();
            let system_name = match stacks.text(frame.system_name) {
                "" => name.clone(),
                own => own.to_owned(),
            };
            let filename = stacks.text(frame.file).to_owned();
            Function {
                id: id(&[&name, &system_name, &filename], &[frame.start_line.cast_unsigned()]),
                start_line: frame.start_line,
                name,
                system_name,
                filename,
                ..Default::default()
            }
        });
        let function_id = function.as_ref().map(|function| function.id.clone());
        let line =
            function_id.map(|function_id| Line { function_id, line: frame.line, ..Default::default() });
        let mapping_id = mapping.as_ref().map(|mapping| mapping.id.clone()).unwrap_or_default();
        let texts = [mapping_id.as_str(), line.as_ref().map_or("", |line| &line.function_id)];
        let location = Location {
            id: id(&texts, &[frame.address, frame.line.cast_unsigned()]),
            address: frame.address,
            lines: line.iter().cloned().collect(),
            mapping_id,
            ..Default::default()
        };
        Self { location, mapping, function, line }
    }
}

fn id(texts: &[&str], numbers: &[u64]) -> String {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0xff);
    }
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    let mut text = String::with_capacity(16);
    let _ = write!(text, "{:016x}", xxh3_64(&bytes));
    text
}

/// What tables and graphs have one entry for: a function by its name, or an address of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Symbol {
    /// Text of the name.
    Function(u32),
    /// Mapping and address.
    Address(u32, u64),
}

/// The entry of every frame, by the numbers of frames; entries count from 0 in the order of `first`.
pub(super) struct SymbolTable {
    pub(super) of_frame: Vec<u32>,
    /// For each entry the first frame that has it.
    pub(super) first: Vec<FrameIndex>,
}

impl SymbolTable {
    pub(super) fn new(stacks: &Stacks) -> Self {
        let mut known: HashMap<Symbol, u32> = HashMap::new();
        let mut first = Vec::new();
        let of_frame = stacks.symbols.frames.iter().enumerate().map(|(at, frame)| {
            *known.entry(symbol(frame)).or_insert_with(|| {
                first.push(at as FrameIndex);
                (first.len() - 1) as u32
            })
        });
        Self { of_frame: of_frame.collect(), first }
    }

    pub(super) fn entry(&self, frame: FrameIndex) -> u32 {
        self.of_frame.get(frame as usize).copied().unwrap_or_default()
    }
}

/// Texts occur once in the tables of stacks, so that their numbers tell them apart.
pub(super) fn symbol(frame: &Frame) -> Symbol {
    match (frame.function, frame.system_name) {
        (0, 0) => Symbol::Address(frame.mapping, frame.address),
        (0, name) | (name, _) => Symbol::Function(name),
    }
}
