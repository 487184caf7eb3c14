//! Mappings, functions and locations of a message, resolved into frames.

use super::field::{function, line, location, mapping};
use super::place::{CUT_OFF, Place, SENDER};
use super::texts::Texts;
use super::wire::{Cursor, Fault};
use crate::{Cuts, Error, Limits};
use everflame_profile::{Frame, FrameKind, Location, Mapping, MappingIndex, StringIndex, Symbols};
use hashbrown::HashMap;

/// From the ids of a message to positions in its table. Ids may be sparse and in any order.
pub(super) enum Ids {
    /// Position by id; [`NONE`] where there is none.
    Dense(Vec<u32>),
    Sparse(HashMap<u64, u32>),
}

const NONE: u32 = u32::MAX;

impl Ids {
    fn new(ids: &[u64], place: fn(usize) -> Place) -> Result<Self, Error> {
        let twice =
            |at: usize, id: u64| Error::malformed(place(at), format_args!("id {id} occurs twice"), SENDER);
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
            Self::Dense(positions) => *positions.get(usize::try_from(id).ok()?)?,
            Self::Sparse(positions) => *positions.get(&id)?,
        };
        (position != NONE).then_some(position)
    }

    /// Hot: appends the positions of all packed `ids` to `out`; an id without a position is returned in
    /// its place. `count` is the number of ids.
    pub(super) fn resolve(
        &self,
        mut ids: Cursor<'_>,
        count: usize,
        out: &mut Vec<u32>,
    ) -> Result<Option<u64>, Fault> {
        let start = out.len();
        out.resize(start + count, 0);
        let mut missing = None;
        for slot in out.iter_mut().skip(start) {
            let id = ids.number()?;
            match self.get(id) {
                Some(position) => *slot = position,
                None => missing = Some(id),
            }
        }
        // What is left has no end.
        if ids.is_empty() { Ok(missing) } else { Err(Fault::CutOff) }
    }
}

/// The undecoded entries of the three tables.
#[derive(Default)]
pub(super) struct RawTables<'a> {
    pub(super) mappings: Vec<&'a [u8]>,
    pub(super) functions: Vec<&'a [u8]>,
    pub(super) locations: Vec<&'a [u8]>,
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
    first_line: usize,
    line_count: usize,
}

/// Decodes the tables. The strings that they use are left in `texts`, not in the symbols.
pub(super) fn decode(
    raw: &RawTables<'_>,
    texts: &mut Texts<'_>,
    limits: &Limits,
    cuts: &mut Cuts,
) -> Result<Tables, Error> {
    let (mut mappings, mapping_ids) = decode_mappings(&raw.mappings, texts, limits, cuts)?;
    let (functions, mut function_ids) = decode_functions(&raw.functions, texts, limits, cuts)?;
    let mut lines = Vec::new();
    let locations = raw
        .locations
        .iter()
        .enumerate()
        .map(|(at, bytes)| {
            decode_location(bytes, &mut lines).map_err(|fault| Place::Location(at).broken(fault))
        })
        .collect::<Result<Vec<RawLocation>, Error>>()?;
    let ids: Vec<u64> = locations.iter().map(|location| location.id).collect();
    // Old .NET agents leave all function ids 0 and mean those of the locations at the same positions.
    if !function_ids.is_empty() && function_ids.iter().all(|&id| id == 0) && ids.len() == function_ids.len() {
        function_ids.clone_from(&ids);
    }
    let function_ids = Ids::new(&function_ids, Place::Function)?;
    let mapping_ids = Ids::new(&mapping_ids, Place::Mapping)?;
    let location_ids = Ids::new(&ids, Place::Location)?;

    let mut symbols = Symbols::default();
    let mut known_mappings = HashMap::new();
    let mut out = Vec::with_capacity(locations.len());
    for (at, location) in locations.iter().enumerate() {
        let all =
            lines.get(location.first_line..location.first_line + location.line_count).unwrap_or_default();
        // Innermost first: what is cut is the leaf side.
        if all.len() > limits.depth {
            cuts.stacks = cuts.stacks.saturating_add(1);
        }
        let lines = all.get(all.len().saturating_sub(limits.depth)..).unwrap_or_default();
        let mut mapping = mapping_ids.get(location.mapping_id).and_then(|at| mappings.get_mut(at as usize));
        let first = symbols.frames.len() as u32;
        let unsymbolized = [(0, 0)];
        let lines = if lines.is_empty() { &unsymbolized } else { lines };
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
                system_name: if function.system_name == function.name { 0 } else { function.system_name },
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
    }
    Ok(Tables { symbols, locations: out, location_ids })
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

fn decode_mappings(
    entries: &[&[u8]],
    texts: &mut Texts<'_>,
    limits: &Limits,
    cuts: &mut Cuts,
) -> Result<WithIds<RawMapping>, Error> {
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
        mapping.file = texts.keep(file, place, limits, cuts)?;
        mapping.build_id = texts.keep(build_id, place, limits, cuts)?;
        let is_kernel = texts.get(mapping.file).starts_with("[kernel");
        let kind = if is_kernel { FrameKind::Kernel } else { FrameKind::Unknown };
        mappings.push(RawMapping { mapping, kind, with_addresses: None, symbolized: None });
        ids.push(id);
    }
    Ok((mappings, ids))
}

fn decode_functions(
    entries: &[&[u8]],
    texts: &mut Texts<'_>,
    limits: &Limits,
    cuts: &mut Cuts,
) -> Result<WithIds<Function>, Error> {
    let (mut functions, mut ids) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
    for (at, bytes) in entries.iter().enumerate() {
        let place = Place::Function(at);
        let (mut id, mut name, mut system_name, mut file, mut start_line) = (0, 0, 0, 0, 0);
        let mut cursor = Cursor::new(bytes);
        while let Some((number, value)) = cursor.field().map_err(|fault| place.broken(fault))? {
            let target = match number {
                function::ID => &mut id,
                function::NAME => &mut name,
                function::SYSTEM_NAME => &mut system_name,
                function::FILENAME => &mut file,
                function::START_LINE => &mut start_line,
                _ => continue,
            };
            *target = value.number(number).map_err(|fault| place.broken(fault))?;
        }
        functions.push(Function {
            name: texts.keep(name, place, limits, cuts)?,
            system_name: texts.keep(system_name, place, limits, cuts)?,
            file: texts.keep(file, place, limits, cuts)?,
            start_line: start_line as i64,
        });
        ids.push(id);
    }
    Ok((functions, ids))
}

/// Function id and line number.
type Line = (u64, i64);

fn decode_location(bytes: &[u8], lines: &mut Vec<Line>) -> Result<RawLocation, Fault> {
    let mut out = RawLocation { first_line: lines.len(), ..RawLocation::default() };
    let mut cursor = Cursor::new(bytes);
    while let Some((number, value)) = cursor.field()? {
        match number {
            location::ID => out.id = value.number(number)?,
            location::MAPPING_ID => out.mapping_id = value.number(number)?,
            location::ADDRESS => out.address = value.number(number)?,
            location::LINE => lines.push(decode_line(value.bytes(number)?)?),
            _ => {}
        }
    }
    out.line_count = lines.len() - out.first_line;
    Ok(out)
}

fn decode_line(bytes: &[u8]) -> Result<Line, Fault> {
    let (mut function_id, mut number_of_line) = (0, 0);
    let mut cursor = Cursor::new(bytes);
    while let Some((number, value)) = cursor.field()? {
        match number {
            line::FUNCTION_ID => function_id = value.number(number)?,
            line::LINE => number_of_line = value.number(number)?,
            _ => {}
        }
    }
    Ok((function_id, number_of_line as i64))
}
