//! Locations of a message, whose lines become frames.

use super::field::{line, location};
use super::place::{CUT_OFF, Place};
use super::tables::{Function, Ids, RawMapping};
use super::wire::{self, Cursor, Fault, bytes_key, number_key};
use crate::{Cuts, Error};
use everflame_profile::{Frame, FrameKind, Mapping, MappingIndex, Symbols};
use hashbrown::HashMap;

/// What reading a location needs, and the frames read so far.
pub(super) struct LocationReader<'a> {
    pub(super) functions: Vec<Function>,
    pub(super) function_ids: Ids,
    pub(super) mappings: Vec<RawMapping>,
    pub(super) mapping_ids: Ids,
    pub(super) known_mappings: HashMap<Mapping, MappingIndex>,
    pub(super) symbols: Symbols,
    pub(super) depth: usize,
    pub(super) cuts: &'a mut Cuts,
}

impl LocationReader<'_> {
    /// Appends the frames of the location that is `at` its place in the table, at least one, innermost first; returns
    /// its id.
    #[inline]
    pub(super) fn read(&mut self, bytes: &[u8], at: usize) -> Result<u64, Error> {
        let first = self.symbols.frames.len();
        if let Some(id) = self.short(bytes) {
            return Ok(id);
        }
        self.symbols.frames.truncate(first);
        self.any(bytes, at)
    }

    /// Hot: a location whose id has one byte or two, its mapping's one, its address at most eight, and whose lines have
    /// two short numbers; the mapping before the address or, as Go has it, at the end. Nothing where it is any other,
    /// but maybe frames. Taken from whole words, because a branch on how long each number is would be mispredicted.
    #[inline]
    fn short(&mut self, bytes: &[u8]) -> Option<u64> {
        const ID: u64 = number_key(location::ID);
        const MAPPING_ID: u64 = number_key(location::MAPPING_ID);
        const ADDRESS: u64 = number_key(location::ADDRESS);
        const LINE: u64 = bytes_key(location::LINE);
        let word = |at: usize| bytes.get(at..)?.first_chunk().map(|&chunk| u64::from_le_bytes(chunk));
        let byte = |at: usize| bytes.get(at).map(|&byte| u64::from(byte));
        let head = word(0)?;
        let (id, more, is_longer) = wire::short_number(head);
        if (head & 0xff ^ ID) | is_longer != 0 {
            return None;
        }
        let (mut at, mut end) = (2 + more as usize, bytes.len());
        let mut mapping_id = 0;
        if byte(at) == Some(MAPPING_ID) {
            mapping_id = byte(at + 1)?;
            at += 2;
        } else if !self.mappings.is_empty()
            && let Some(&[key, id]) = bytes.last_chunk()
            && u64::from(key) == MAPPING_ID
        {
            // Where these are the end of a line, it will be too long.
            mapping_id = id.into();
            end -= 2;
        }
        let mut address = 0;
        if byte(at) == Some(ADDRESS) {
            let length;
            (address, length) = wire::long_number(word(at + 1)?)?;
            at += 1 + length;
        }
        if at >= end || mapping_id >= 0x80 {
            return None;
        }
        let first = self.symbols.frames.len();
        let mapping = self.mapping_ids.get(mapping_id);
        while at < end {
            let ((function_id, line), length) = wire::short_pair(bytes, at, LINE)?;
            at += length;
            self.frame(function_id, line as i64, mapping, address, at < end)?;
        }
        (at == end && self.symbols.frames.len() - first <= self.depth).then_some(id)
    }

    #[inline(never)]
    fn any(&mut self, bytes: &[u8], at: usize) -> Result<u64, Error> {
        let mut lines = Vec::new();
        let location =
            decode_location(bytes, &mut lines).map_err(|fault| Place::Location(at).broken(fault))?;
        // Innermost first: what is cut is the leaf side.
        if lines.len() > self.depth {
            self.cuts.stacks = self.cuts.stacks.saturating_add(1);
            lines.drain(..lines.len() - self.depth);
        }
        if lines.is_empty() {
            lines.push((0, 0));
        }
        let mapping = self.mapping_ids.get(location.mapping_id);
        for (nth, &(function_id, line)) in lines.iter().enumerate() {
            let inlined = nth + 1 < lines.len();
            if self.frame(function_id, line, mapping, location.address, inlined).is_none() {
                return Err(missing_function(at, function_id, self.functions.len()));
            }
        }
        Ok(location.id)
    }

    /// Appends a frame; none where its function is missing.
    #[inline(always)]
    fn frame(
        &mut self,
        function_id: u64,
        line: i64,
        mapping: Option<u32>,
        address: u64,
        inlined: bool,
    ) -> Option<()> {
        let function = match self.function_ids.get(function_id) {
            Some(function) => self.functions.get(function as usize).copied().unwrap_or_default(),
            None if function_id == 0 => Function::default(),
            None => return None,
        };
        let named = function.name != 0 || function.system_name != 0;
        let (mapping, kind) = match mapping.and_then(|at| self.mappings.get_mut(at as usize)) {
            Some(mapping) => {
                (mapping.index(named, &mut self.symbols, &mut self.known_mappings), mapping.kind)
            }
            None => (0, FrameKind::Unknown),
        };
        self.symbols.frames.push(Frame {
            function: function.name,
            system_name: function.system_name,
            file: function.file,
            line,
            start_line: function.start_line,
            mapping,
            address: if named { 0 } else { address },
            kind,
            inlined,
        });
        Some(())
    }
}

/// The ids of all locations alone.
#[cold]
pub(super) fn location_ids(raw: &[&[u8]]) -> Result<Vec<u64>, Error> {
    let mut lines = Vec::new();
    let location = |(at, bytes): (usize, &&[u8])| {
        lines.clear();
        let location = decode_location(bytes, &mut lines);
        location.map(|location| location.id).map_err(|fault| Place::Location(at).broken(fault))
    };
    raw.iter().enumerate().map(location).collect()
}

#[cold]
fn missing_function(location: usize, id: u64, count: usize) -> Error {
    let fault = format!("it refers to function {id}, which is missing ({count} functions)");
    Error::malformed(Place::Location(location), fault, CUT_OFF)
}

#[derive(Default)]
struct RawLocation {
    id: u64,
    mapping_id: u64,
    address: u64,
}

/// Function id and line number.
type Line = (u64, i64);

#[inline]
fn decode_location(bytes: &[u8], lines: &mut Vec<Line>) -> Result<RawLocation, Fault> {
    const ID: u64 = number_key(location::ID);
    const MAPPING_ID: u64 = number_key(location::MAPPING_ID);
    const ADDRESS: u64 = number_key(location::ADDRESS);
    const LINE: u64 = bytes_key(location::LINE);
    let mut out = RawLocation::default();
    let mut cursor = Cursor::new(bytes);
    if cursor.next_is(ID) {
        out.id = cursor.number()?;
    }
    if cursor.next_is(MAPPING_ID) {
        out.mapping_id = cursor.number()?;
    }
    if cursor.next_is(ADDRESS) {
        out.address = cursor.number()?;
    }
    while cursor.next_is(LINE) {
        lines.push(decode_line(cursor.sized()?)?);
    }
    while let Some(key) = cursor.key()? {
        match key {
            ID => out.id = cursor.number()?,
            MAPPING_ID => out.mapping_id = cursor.number()?,
            ADDRESS => out.address = cursor.number()?,
            LINE => lines.push(decode_line(cursor.sized()?)?),
            other => cursor.skip(other, location::LINE)?,
        }
    }
    Ok(out)
}

#[inline]
fn decode_line(bytes: &[u8]) -> Result<Line, Fault> {
    const FUNCTION_ID: u64 = number_key(line::FUNCTION_ID);
    const LINE: u64 = number_key(line::LINE);
    let (mut function_id, mut number_of_line) = (0, 0);
    let mut cursor = Cursor::new(bytes);
    if cursor.next_is(FUNCTION_ID) {
        function_id = cursor.number()?;
    }
    if cursor.next_is(LINE) {
        number_of_line = cursor.number()?;
    }
    while let Some(key) = cursor.key()? {
        match key {
            FUNCTION_ID => function_id = cursor.short_number()?,
            LINE => number_of_line = cursor.short_number()?,
            other => cursor.skip(other, line::LINE)?,
        }
    }
    Ok((function_id, number_of_line as i64))
}

#[cfg(test)]
mod tests {
    use super::super::wire::Writer;
    use super::*;
    use proptest::prelude::*;

    const FUNCTIONS: u64 = 1000;

    /// Of functions with names and one without, and as many mappings as said.
    fn reader(mappings: u64, cuts: &mut Cuts) -> LocationReader<'_> {
        let function = |id| Function { name: id as u32 - 1, file: 7, ..Function::default() };
        let mapping = |id| RawMapping::new(Mapping { memory_start: id << 20, file: 9, ..Mapping::default() });
        let ids = |count| Ids::new(&(1..=count).collect::<Vec<_>>(), Place::Function).unwrap();
        LocationReader {
            functions: (1..=FUNCTIONS).map(function).collect(),
            function_ids: ids(FUNCTIONS),
            mappings: (1..=mappings).map(mapping).collect(),
            mapping_ids: ids(mappings),
            known_mappings: HashMap::new(),
            symbols: Symbols::default(),
            depth: 3,
            cuts,
        }
    }

    /// A number of up to so many bits, more often a short one.
    fn number(bits: u32) -> impl Strategy<Value = u64> {
        (any::<u64>(), 64 - bits..64).prop_map(|(number, shift)| number >> shift)
    }

    proptest! {
        #[test]
        fn short_locations_are_read_alike(
            id in number(16),
            mapping_id in number(9),
            address in number(64),
            lines in prop::collection::vec((number(11), number(16)), 0..5),
            order in prop_oneof![Just([0, 1, 2, 3]), Just([0, 2, 3, 1]), Just([0, 3, 1, 2]), Just([1, 2, 3, 0])],
            has in any::<[bool; 4]>(),
            flipped in prop::option::weighted(0.3, (any::<prop::sample::Index>(), 0..8u32)),
            mappings in 0..3u64,
        ) {
            let mut writer = Writer::default();
            for field in order.into_iter().filter(|&field| has[field] || field == 0) {
                match field {
                    0 => writer.number(location::ID, id),
                    1 => writer.number(location::MAPPING_ID, mapping_id),
                    2 => writer.number(location::ADDRESS, address),
                    _ => for &(function_id, number) in &lines {
                        let mut line = Writer::default();
                        line.number(line::FUNCTION_ID, function_id);
                        line.number(line::LINE, number);
                        writer.bytes(location::LINE, &line.0);
                    }
                }
            }
            let mut bytes = writer.0;
            if let Some((at, bit)) = flipped && !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= 1u8 << bit;
            }
            let (mut cuts, mut no_cuts) = (Cuts::default(), Cuts::default());
            let (mut any, mut short) = (reader(mappings, &mut cuts), reader(mappings, &mut no_cuts));
            if let Some(id) = short.short(&bytes) {
                prop_assert_eq!(any.any(&bytes, 0).unwrap(), id);
                prop_assert_eq!(&any.symbols, &short.symbols);
                prop_assert_eq!(*any.cuts, Cuts::default());
            }
        }
    }

    #[test]
    fn locations_as_writers_write_them_are_short() {
        let mut cuts = Cuts::default();
        let mut reader = reader(1, &mut cuts);
        let of_go =
            [8, 0xac, 2, 24, 0xc8, 0xab, 0xd0, 2, 34, 6, 8, 0x89, 2, 16, 0xbe, 7, 34, 4, 8, 1, 16, 9, 16, 1];
        assert_eq!(reader.short(&of_go), Some(300));
        let in_order = [8, 5, 16, 1, 24, 0x81, 0x99, 0xe9, 3, 34, 4, 8, 6, 16, 73];
        assert_eq!(reader.short(&in_order), Some(5));
        let frames: Vec<_> = reader
            .symbols
            .frames
            .iter()
            .map(|f| (f.function, f.line, f.address, f.mapping, f.inlined))
            .collect();
        assert_eq!(frames, [(264, 958, 0, 1, true), (0, 9, 0x54_15c8, 2, false), (5, 73, 0, 1, false)]);
        // The end of a line that looks like a mapping, in a profile that has one.
        let without_mapping = [8, 5, 24, 0x81, 0x99, 0xe9, 3, 34, 4, 8, 6, 16, 1];
        assert_eq!(reader.read(&without_mapping, 0).unwrap(), 5);
        assert_eq!(reader.symbols.frames.len(), 4);
        assert_eq!(reader.symbols.frames[3].line, 1);
    }
}
