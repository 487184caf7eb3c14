//! Mappings, functions and locations of a message, resolved into frames.

use super::entries::Entries;
use super::field::{function, line, location, mapping, profile};
use super::place::{CUT_OFF, Place, SENDER, SMALLER};
use super::texts::Texts;
use super::wire::{Cursor, Fault, bytes_key, each_number, number_key};
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
        let location =
            decode_location(bytes, &mut lines).map_err(|fault| Place::Location(at).broken(fault))?;
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
        let line = cursor.sized()?;
        let at = bytes.len() - cursor.left() - line.len();
        lines.push(match short_line(bytes, at, line.len()) {
            Some(line) => line,
            None => decode_line(line)?,
        });
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

/// Hot: the line of so many bytes at `at` of a location, if it has two numbers, each of one byte or two. Taken from
/// one word, because a branch on how long each number is would be mispredicted.
#[inline(always)]
fn short_line(location: &[u8], at: usize, length: usize) -> Option<Line> {
    const FUNCTION_ID: u64 = number_key(line::FUNCTION_ID);
    const LINE: u64 = number_key(line::LINE);
    // The word may begin before the line, but not end behind the location.
    let from = at.min(location.len().checked_sub(8)?);
    let word = u64::from_le_bytes(*location.get(from..)?.first_chunk()?) >> (8 * (at - from) % 64);
    let number = |word: u64| {
        let more = word >> 15 & 1;
        let is_longer = more & word >> 23;
        let (low, high) = (word >> 8 & 0x7f, word >> 9 & 0x3f80);
        (low + high * more, more, is_longer)
    };
    let (function_id, more, is_longer) = number(word);
    let rest = word >> (16 + 8 * more);
    let (number_of_line, more_too, is_longer_too) = number(rest);
    let fits = (word & 0xff == FUNCTION_ID)
        & (rest & 0xff == LINE)
        & ((is_longer | is_longer_too) == 0)
        & (4 + more + more_too == length as u64);
    fits.then_some((function_id, number_of_line as i64))
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

    proptest! {
        #[test]
        fn short_lines_are_read_alike(
            before in prop::collection::vec(any::<u8>(), 0..12),
            after in prop::collection::vec(any::<u8>(), 0..12),
            (function_id, shift) in (any::<u64>(), 48..64u32),
            (number, number_shift) in (any::<u64>(), 48..64u32),
            flipped in prop::option::of((0..6usize, 0..8u32)),
        ) {
            let mut writer = Writer(before.clone());
            writer.varint(number_key(line::FUNCTION_ID));
            writer.varint(function_id >> shift);
            writer.varint(number_key(line::LINE));
            writer.varint(number >> number_shift);
            let (at, length) = (before.len(), writer.0.len() - before.len());
            let mut location = writer.0;
            let is_short = length <= 6 && function_id >> shift < 1 << 14;
            if let Some((byte, bit)) = flipped && byte < length {
                location[at + byte] ^= 1u8 << bit;
            }
            let whole = decode_line(&location[at..at + length]);
            location.extend_from_slice(&after);
            let short = short_line(&location, at, length);
            if let Some(short) = short {
                prop_assert_eq!(Ok(short), whole);
            } else {
                prop_assert!(flipped.is_some() || !is_short || location.len() < 8 || number >> number_shift >= 1 << 14);
            }
        }
    }
}
