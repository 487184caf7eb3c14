//! Mappings, functions and locations of a message, resolved into frames.

use super::entries::Entries;
use super::field::{function, line, location, mapping, profile};
use super::packed;
use super::place::{CUT_OFF, Place, SENDER, SMALLER};
use super::texts::Texts;
use super::wire::{self, Cursor, Fault, bytes_key, each_number, number_key};
use crate::{Cuts, Error, Limits};
use everflame_profile::{Frame, FrameKind, Location, Mapping, MappingIndex, StringIndex, Symbols};
use hashbrown::HashMap;

/// From the ids of a message to positions in its table. Ids may be sparse and in any order.
pub(super) enum Ids {
    /// 1, 2, 3, … up to this many, as Go writes them.
    Ascending(u32),
    /// Position by id; [`NONE`] where there is none.
    Dense(Vec<u32>),
    Sparse(HashMap<u64, u32>),
}

const NONE: u32 = u32::MAX;

impl Ids {
    fn new(ids: &[u64], place: fn(usize) -> Place) -> Result<Self, Error> {
        let twice =
            |at: usize, id: u64| Error::malformed(place(at), format_args!("id {id} occurs twice"), SENDER);
        if (1..).zip(ids).all(|(expect, &id)| id == expect) {
            return Ok(Self::Ascending(ids.len() as u32));
        }
        let highest = ids.iter().copied().max().unwrap_or_default();
        if highest > 4 * ids.len() as u64 + 1024 {
            let mut positions = HashMap::with_capacity(ids.len());
            for (at, &id) in ids.iter().enumerate() {
                if positions.insert(id, at as u32).is_some() {
                    return Err(twice(at, id));
                }
            }
            return Ok(Self::Sparse(positions));
        }
        let mut positions = vec![NONE; highest as usize + 1];
        for (at, &id) in ids.iter().enumerate() {
            match positions.get_mut(id as usize) {
                Some(position) if *position == NONE => *position = at as u32,
                _ => return Err(twice(at, id)),
            }
        }
        Ok(Self::Dense(positions))
    }

    #[inline(always)]
    pub(super) fn get(&self, id: u64) -> Option<u32> {
        let position = match self {
            Self::Ascending(count) => {
                return u32::try_from(id.wrapping_sub(1)).ok().filter(|position| position < count);
            }
            Self::Dense(positions) => *positions.get(usize::try_from(id).ok()?)?,
            Self::Sparse(positions) => *positions.get(&id)?,
        };
        (position != NONE).then_some(position)
    }

    /// Hot: appends the positions of all packed `ids` to `out`; an id without a position is returned in
    /// its place.
    pub(super) fn resolve(&self, ids: &[u8], out: &mut Vec<u32>) -> Result<Option<u64>, Fault> {
        if let Self::Ascending(count) = self
            && packed::ascending(ids, *count, out)
        {
            return Ok(None);
        }
        out.reserve(ids.len());
        let mut missing = None;
        let mut keep = |id: u64, position: Option<u32>| match position {
            Some(position) => out.push(position),
            None => missing = Some(id),
        };
        match self {
            Self::Ascending(count) => {
                let count = u64::from(*count);
                each_number(ids, |id| {
                    let position = id.wrapping_sub(1);
                    keep(id, (position < count).then_some(position as u32));
                })?;
            }
            _ => each_number(ids, |id| keep(id, self.get(id)))?,
        }
        Ok(missing)
    }
}

/// Frames, and the locations that samples refer to.
pub(super) struct Tables {
    pub(super) symbols: Symbols,
    pub(super) locations: Vec<Location>,
    pub(super) location_ids: Ids,
}

#[derive(Clone, Copy, Default)]
struct Function {
    name: StringIndex,
    system_name: StringIndex,
    file: StringIndex,
    start_line: i64,
}

/// A mapping as it was sent, and where its two forms are once they are needed.
struct RawMapping {
    mapping: Mapping,
    kind: FrameKind,
    with_addresses: Option<MappingIndex>,
    symbolized: Option<MappingIndex>,
}

#[derive(Default)]
struct RawLocation {
    id: u64,
    mapping_id: u64,
    address: u64,
}

/// Decodes the tables. The strings that they use are left in `texts`, not in the symbols.
pub(super) fn decode(
    raw: &Entries<'_>,
    texts: &Texts,
    limits: &Limits,
    cuts: &mut Cuts,
) -> Result<Tables, Error> {
    let (mut mappings, mapping_ids) = decode_mappings(raw.of(profile::MAPPING), texts)?;
    let (functions, mut function_ids) = decode_functions(raw.of(profile::FUNCTION), texts)?;
    let locations = raw.of(profile::LOCATION);
    // Old .NET agents leave all function ids 0 and mean those of the locations at the same positions.
    let no_ids = function_ids.len() == locations.len() && function_ids.iter().all(|&id| id == 0);
    if no_ids && !function_ids.is_empty() {
        function_ids = location_ids(locations)?;
    }
    let function_ids = Ids::new(&function_ids, Place::Function)?;
    let mapping_ids = Ids::new(&mapping_ids, Place::Mapping)?;

    let mut symbols = Symbols::default();
    // Some locations have several frames.
    symbols.frames.reserve(locations.len() + locations.len() / 2);
    let mut known_mappings = HashMap::new();
    let mut out = Vec::with_capacity(locations.len());
    let mut ids = Vec::with_capacity(locations.len());
    let mut lines = Vec::new();
    for (at, bytes) in locations.iter().enumerate() {
        lines.clear();
        let location = match short_location(bytes, &mut lines) {
            Some(location) => location,
            None => {
                lines.clear();
                decode_location(bytes, &mut lines).map_err(|fault| Place::Location(at).broken(fault))?
            }
        };
        // Innermost first: what is cut is the leaf side.
        if lines.len() > limits.depth {
            cuts.stacks = cuts.stacks.saturating_add(1);
            lines.drain(..lines.len() - limits.depth);
        }
        if lines.is_empty() {
            lines.push((0, 0));
        }
        let mut mapping = mapping_ids.get(location.mapping_id).and_then(|at| mappings.get_mut(at as usize));
        let first = symbols.frames.len() as u32;
        for (nth, &(function_id, line)) in lines.iter().enumerate() {
            let function = match function_ids.get(function_id) {
                Some(function) => functions.get(function as usize).copied().unwrap_or_default(),
                None if function_id == 0 => Function::default(),
                None => return Err(missing_function(at, function_id, functions.len())),
            };
            let named = function.name != 0 || function.system_name != 0;
            let (mapping, kind) = match &mut mapping {
                Some(mapping) => (mapping.index(named, &mut symbols, &mut known_mappings), mapping.kind),
                None => (0, FrameKind::Unknown),
            };
            symbols.frames.push(Frame {
                function: function.name,
                system_name: function.system_name,
                file: function.file,
                line,
                start_line: function.start_line,
                mapping,
                address: if named { 0 } else { location.address },
                kind,
                inlined: nth + 1 < lines.len(),
            });
        }
        out.push(Location { first, count: lines.len() as u32 });
        ids.push(location.id);
        // A line is two bytes of the message at least, and a frame 72.
        if symbols.frames.len() > limits.table_entries {
            let fault = format!("up to here there are more than {} frames", limits.table_entries);
            return Err(Error::too_large(Place::Location(at), fault, SMALLER));
        }
    }
    Ok(Tables { symbols, locations: out, location_ids: Ids::new(&ids, Place::Location)? })
}

/// The ids of all locations alone.
#[cold]
fn location_ids(raw: &[&[u8]]) -> Result<Vec<u64>, Error> {
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

impl RawMapping {
    /// Where this mapping is in `symbols`. Two starts of a program map it at other addresses, therefore
    /// frames that have a name do without them.
    fn index(
        &mut self,
        symbolized: bool,
        symbols: &mut Symbols,
        known: &mut HashMap<Mapping, MappingIndex>,
    ) -> MappingIndex {
        let (known_index, mapping) = match symbolized {
            true => {
                let Mapping { file, build_id, .. } = self.mapping;
                (&mut self.symbolized, Mapping { file, build_id, ..Mapping::default() })
            }
            false => (&mut self.with_addresses, self.mapping),
        };
        *known_index.get_or_insert_with(|| {
            if mapping == Mapping::default() {
                return 0;
            }
            *known.entry(mapping).or_insert_with(|| {
                symbols.mappings.push(mapping);
                (symbols.mappings.len() - 1) as MappingIndex
            })
        })
    }
}

type WithIds<T> = (Vec<T>, Vec<u64>);

fn decode_mappings(entries: &[&[u8]], texts: &Texts) -> Result<WithIds<RawMapping>, Error> {
    let (mut mappings, mut ids) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
    for (at, bytes) in entries.iter().enumerate() {
        let place = Place::Mapping(at);
        let (mut id, mut file, mut build_id, mut mapping) = (0, 0, 0, Mapping::default());
        let mut cursor = Cursor::new(bytes);
        while let Some((number, value)) = cursor.field().map_err(|fault| place.broken(fault))? {
            let target = match number {
                mapping::ID => &mut id,
                mapping::MEMORY_START => &mut mapping.memory_start,
                mapping::MEMORY_LIMIT => &mut mapping.memory_limit,
                mapping::FILE_OFFSET => &mut mapping.file_offset,
                mapping::FILENAME => &mut file,
                mapping::BUILD_ID => &mut build_id,
                _ => continue,
            };
            *target = value.number(number).map_err(|fault| place.broken(fault))?;
        }
        mapping.file = texts.keep(file, place)?;
        mapping.build_id = texts.keep(build_id, place)?;
        let is_kernel = texts.get(mapping.file).starts_with("[kernel");
        let kind = if is_kernel { FrameKind::Kernel } else { FrameKind::Unknown };
        mappings.push(RawMapping { mapping, kind, with_addresses: None, symbolized: None });
        ids.push(id);
    }
    Ok((mappings, ids))
}

fn decode_functions(entries: &[&[u8]], texts: &Texts) -> Result<WithIds<Function>, Error> {
    let (mut functions, mut ids) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
    for (at, bytes) in entries.iter().enumerate() {
        let place = Place::Function(at);
        let (mut id, mut name, mut system_name, mut file, mut start_line) = (0, 0, 0, 0, 0);
        let mut read = || {
            const ID: u64 = number_key(function::ID);
            const NAME: u64 = number_key(function::NAME);
            const SYSTEM_NAME: u64 = number_key(function::SYSTEM_NAME);
            const FILENAME: u64 = number_key(function::FILENAME);
            const START_LINE: u64 = number_key(function::START_LINE);
            let mut cursor = Cursor::new(bytes);
            if cursor.next_is(ID) {
                id = cursor.number()?;
            }
            if cursor.next_is(NAME) {
                name = cursor.number()?;
            }
            if cursor.next_is(SYSTEM_NAME) {
                system_name = cursor.number()?;
            }
            if cursor.next_is(FILENAME) {
                file = cursor.short_number()?;
            }
            if cursor.next_is(START_LINE) {
                start_line = cursor.last_short_number(bytes)?;
            }
            while let Some(key) = cursor.key()? {
                match key {
                    ID => id = cursor.number()?,
                    NAME => name = cursor.number()?,
                    SYSTEM_NAME => system_name = cursor.number()?,
                    FILENAME => file = cursor.number()?,
                    START_LINE => start_line = cursor.short_number()?,
                    other => cursor.skip(other, function::START_LINE)?,
                }
            }
            Ok(())
        };
        read().map_err(|fault: Fault| place.broken(fault))?;
        let (name, system_name) = (texts.keep(name, place)?, texts.keep(system_name, place)?);
        functions.push(Function {
            name,
            system_name: if texts.are_equal(name, system_name) { 0 } else { system_name },
            file: texts.keep(file, place)?,
            start_line: start_line as i64,
        });
        ids.push(id);
    }
    Ok((functions, ids))
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

/// Hot: a location whose id has one byte or two, its mapping's one, its address at most eight, and whose lines have
/// two short numbers; the mapping before the address or, as Go has it, at the end. Nothing where it is any other, but maybe
/// lines. Taken from whole words, because a branch on how long each number is would be mispredicted.
#[inline]
fn short_location(bytes: &[u8], lines: &mut Vec<Line>) -> Option<RawLocation> {
    const ID: u64 = number_key(location::ID);
    const MAPPING_ID: u64 = number_key(location::MAPPING_ID);
    const ADDRESS: u64 = number_key(location::ADDRESS);
    const LINE: u64 = bytes_key(location::LINE);
    let word = |at: usize| bytes.get(at..)?.first_chunk().map(|&chunk| u64::from_le_bytes(chunk));
    let byte = |at: usize| bytes.get(at).map(|&byte| u64::from(byte));
    let head = word(0)?;
    let (id, more, is_longer) = wire::short_number(head);
    let mut at = 2 + more as usize;
    let mut mapping_id = 0;
    if byte(at) == Some(MAPPING_ID) {
        mapping_id = byte(at + 1)?;
        at += 2;
    }
    if (head & 0xff ^ ID) | is_longer != 0 {
        return None;
    }
    let mut address = 0;
    if byte(at) == Some(ADDRESS) {
        let length;
        (address, length) = wire::long_number(word(at + 1)?)?;
        at += 1 + length;
    }
    while byte(at) == Some(LINE) {
        let ((function_id, number), length) = wire::short_pair(bytes, at, LINE)?;
        lines.push((function_id, number as i64));
        at += length;
    }
    if byte(at) == Some(MAPPING_ID) {
        mapping_id = byte(at + 1)?;
        at += 2;
    }
    (at == bytes.len() && mapping_id < 0x80).then_some(RawLocation { id, mapping_id, address })
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

    /// A number of up to so many bytes, more often a short one.
    fn number(bits: u32) -> impl Strategy<Value = u64> {
        (any::<u64>(), 64 - bits..64).prop_map(|(number, shift)| number >> shift)
    }

    proptest! {
        #[test]
        fn short_locations_are_read_alike(
            id in number(16),
            mapping_id in number(9),
            address in number(64),
            expected in prop::collection::vec((number(16), number(16)), 0..5),
            order in prop_oneof![Just([0, 1, 2, 3]), Just([0, 2, 3, 1]), Just([0, 3, 1, 2]), Just([1, 2, 3, 0])],
            has in any::<[bool; 4]>(),
            flipped in prop::option::weighted(0.3, (any::<prop::sample::Index>(), 0..8u32)),
        ) {
            let mut writer = Writer::default();
            for field in order.into_iter().filter(|&field| has[field] || field == 0) {
                match field {
                    0 => writer.number(location::ID, id),
                    1 => writer.number(location::MAPPING_ID, mapping_id),
                    2 => writer.number(location::ADDRESS, address),
                    _ => for &(function_id, number) in &expected {
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
            let (mut short_lines, mut lines) = (Vec::new(), Vec::new());
            if let Some(short) = short_location(&bytes, &mut short_lines) {
                let whole = decode_location(&bytes, &mut lines);
                prop_assert_eq!(whole.map(|whole| (whole.id, whole.mapping_id, whole.address)), Ok((short.id, short.mapping_id, short.address)));
                prop_assert_eq!(short_lines, lines);
            }
        }
    }

    #[test]
    fn locations_as_writers_write_them_are_short() {
        let of_go =
            [8, 0xac, 2, 24, 0xc8, 0xab, 0xd0, 2, 34, 6, 8, 0x89, 2, 16, 0xbe, 7, 34, 4, 8, 5, 16, 9, 16, 1];
        let mut lines = Vec::new();
        let location = short_location(&of_go, &mut lines).unwrap();
        assert_eq!((location.id, location.mapping_id, location.address), (300, 1, 0x54_15c8));
        assert_eq!(lines, [(265, 958), (5, 9)]);
        let in_order = [8, 5, 16, 1, 24, 0x81, 0x99, 0xe9, 3, 34, 4, 8, 6, 16, 73];
        lines.clear();
        let location = short_location(&in_order, &mut lines).unwrap();
        assert_eq!((location.id, location.mapping_id, location.address), (5, 1, 0x7a_4c81));
        assert_eq!(lines, [(6, 73)]);
    }
}
