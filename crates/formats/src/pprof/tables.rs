//! Mappings, functions and locations of a message, resolved into frames.

use super::entries::Entries;
use super::field::{function, mapping, profile};
use super::locations::{LocationReader, location_ids};
use super::packed;
use super::place::{Place, SENDER, SMALLER};
use super::texts::Texts;
use super::wire::{Cursor, Fault, each_number, number_key};
use crate::{Cuts, Error, Limits};
use everflame_profile::{FrameKind, Location, Mapping, MappingIndex, StringIndex, Symbols};
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
    pub(super) fn new(ids: &[u64], place: fn(usize) -> Place) -> Result<Self, Error> {
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

    /// Hot: appends the positions of the ids that `fields` begins with, each behind the same `KEY`, to `out`; returns how
    /// many bytes of it are read. Those behind may be ids as well.
    #[inline]
    pub(super) fn resolve_fields<const KEY: u8>(&self, fields: &[u8], out: &mut Vec<u32>) -> usize {
        match self {
            Self::Ascending(count) => packed::ascending_fields::<KEY>(fields, *count, out),
            _ => 0,
        }
    }
}

/// Frames, and the locations that samples refer to.
pub(super) struct Tables {
    pub(super) symbols: Symbols,
    pub(super) locations: Vec<Location>,
    pub(super) location_ids: Ids,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Function {
    pub(super) name: StringIndex,
    pub(super) system_name: StringIndex,
    pub(super) file: StringIndex,
    pub(super) start_line: i64,
}

/// A mapping as it was sent, and where its two forms are once they are needed.
pub(super) struct RawMapping {
    mapping: Mapping,
    pub(super) kind: FrameKind,
    with_addresses: Option<MappingIndex>,
    symbolized: Option<MappingIndex>,
}

/// Decodes the tables. The strings that they use are left in `texts`, not in the symbols.
pub(super) fn decode(
    raw: &Entries<'_>,
    texts: &Texts,
    limits: &Limits,
    cuts: &mut Cuts,
) -> Result<Tables, Error> {
    let (mappings, mapping_ids) = decode_mappings(raw.of(profile::MAPPING), texts)?;
    let (functions, mut function_ids) = decode_functions(raw.of(profile::FUNCTION), texts)?;
    let locations = raw.of(profile::LOCATION);
    // Old .NET agents leave all function ids 0 and mean those of the locations at the same positions.
    let no_ids = function_ids.len() == locations.len() && function_ids.iter().all(|&id| id == 0);
    if no_ids && !function_ids.is_empty() {
        function_ids = location_ids(locations)?;
    }
    let mut reader = LocationReader {
        functions,
        function_ids: Ids::new(&function_ids, Place::Function)?,
        mapping_ids: Ids::new(&mapping_ids, Place::Mapping)?,
        mappings,
        known_mappings: HashMap::new(),
        symbols: Symbols::default(),
        depth: limits.depth,
        cuts,
    };
    // Some locations have several frames.
    reader.symbols.frames.reserve(locations.len() + locations.len() / 2);
    let mut out = Vec::with_capacity(locations.len());
    let mut ids = Vec::with_capacity(locations.len());
    for (at, bytes) in locations.iter().enumerate() {
        let first = reader.symbols.frames.len();
        ids.push(reader.read(bytes, at)?);
        let frames = reader.symbols.frames.len();
        out.push(Location { first: first as u32, count: (frames - first) as u32 });
        // A line is two bytes of the message at least, and a frame 72.
        if frames > limits.table_entries {
            let fault = format!("up to here there are more than {} frames", limits.table_entries);
            return Err(Error::too_large(Place::Location(at), fault, SMALLER));
        }
    }
    Ok(Tables { symbols: reader.symbols, locations: out, location_ids: Ids::new(&ids, Place::Location)? })
}

impl RawMapping {
    pub(super) fn new(mapping: Mapping) -> Self {
        Self { mapping, kind: FrameKind::Unknown, with_addresses: None, symbolized: None }
    }

    /// Where this mapping is in `symbols`. Two starts of a program map it at other addresses, therefore
    /// frames that have a name do without them.
    #[inline]
    pub(super) fn index(
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
        let mut raw = RawMapping::new(mapping);
        if is_kernel {
            raw.kind = FrameKind::Kernel;
        }
        mappings.push(raw);
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
