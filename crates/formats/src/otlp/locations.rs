//! The locations of a dictionary, resolved into frames.

use super::dictionary::{Dictionary, Role};
use super::place::Place;
use crate::assembly::SMALLER;
use crate::pprof::wire::{Cursor, Fault};
use crate::{Cuts, Error, Limits};
use everflame_profile::{Frame, FrameKind, Location, Mapping, MappingIndex, StringIndex, Symbols};
use std::sync::Arc;

/// An entry of the function table.
#[derive(Clone, Copy, Default)]
pub(super) struct Function {
    pub(super) name: StringIndex,
    pub(super) system_name: StringIndex,
    pub(super) file: StringIndex,
    pub(super) start_line: i64,
}

/// An entry of the location table; its lines are apart.
#[derive(Default)]
struct RawLocation {
    mapping: u64,
    address: u64,
    kind: FrameKind,
}

/// Function index and line number.
type Line = (u64, i64);

impl Dictionary {
    /// Decodes the location table into frames.
    pub(super) fn locations(
        &mut self,
        entries: &[&[u8]],
        mappings: &[Mapping],
        functions: &[Function],
        limits: &Limits,
        cuts: &mut Cuts,
    ) -> Result<(), Error> {
        let mut symbols = std::mem::take(Arc::make_mut(&mut self.symbols));
        symbols.frames.reserve(entries.len());
        let mut locations = Vec::with_capacity(entries.len());
        let mut forms = vec![MappingForms::default(); mappings.len()];
        let mut lines: Vec<Line> = Vec::new();
        for (at, bytes) in entries.iter().enumerate() {
            let place = Place::Dictionary("location", at);
            lines.clear();
            let location = self.location(bytes, &mut lines).map_err(|fault| place.broken(fault))?;
            let slot = usize::try_from(location.mapping).unwrap_or(usize::MAX);
            if location.mapping != 0 && slot >= mappings.len() {
                return Err(place.missing("mapping", location.mapping, mappings.len()));
            }
            if lines.is_empty() {
                lines.push((0, 0));
            }
            let excess = lines.len().saturating_sub(limits.depth);
            cuts.stacks = cuts.stacks.saturating_add(u32::from(excess > 0));
            // Innermost first: what is cut is the leaf side.
            let lines = lines.get(excess..).unwrap_or_default();
            let first = symbols.frames.len() as u32;
            for (nth, &(function, line)) in lines.iter().enumerate() {
                let index = usize::try_from(function).unwrap_or(usize::MAX);
                let function = match functions.get(index) {
                    Some(function) => *function,
                    None if index == 0 => Function::default(),
                    None => return Err(place.missing("function", function, functions.len())),
                };
                let named = function.name != 0 || function.system_name != 0;
                let mapping = match (mappings.get(slot), forms.get_mut(slot)) {
                    (Some(mapping), Some(forms)) => forms.index(named, mapping, &mut symbols),
                    _ => 0,
                };
                symbols.frames.push(Frame {
                    function: function.name,
                    system_name: if function.system_name == function.name { 0 } else { function.system_name },
                    file: function.file,
                    line,
                    start_line: function.start_line,
                    mapping,
                    address: if named { 0 } else { location.address },
                    kind: location.kind,
                    inlined: nth + 1 < lines.len(),
                });
            }
            if symbols.frames.len() > limits.table_entries {
                let fault = format_args!("up to here there are more than {} frames", limits.table_entries);
                return Err(Error::too_large(place, fault, SMALLER));
            }
            locations.push(Location { first, count: lines.len() as u32 });
        }
        (self.symbols, self.locations) = (Arc::new(symbols), Arc::new(locations));
        Ok(())
    }

    #[inline]
    fn location(&self, bytes: &[u8], lines: &mut Vec<Line>) -> Result<RawLocation, Fault> {
        let mut out = RawLocation::default();
        let mut cursor = Cursor::new(bytes);
        while let Some((number, value)) = cursor.field()? {
            match number {
                1 => out.mapping = value.number(number)?,
                2 => out.address = value.number(number)?,
                3 => lines.push(line(value.bytes(number)?)?),
                4 => self.each_attribute(value, |attribute| {
                    if let Role::FrameType(kind) = attribute.role {
                        out.kind = kind;
                    }
                })?,
                _ => {}
            }
        }
        Ok(out)
    }
}

#[inline]
fn line(bytes: &[u8]) -> Result<Line, Fault> {
    let (mut function, mut number_of_line) = (0, 0);
    let mut cursor = Cursor::new(bytes);
    while let Some((number, value)) = cursor.field()? {
        match number {
            1 => function = value.number(number)?,
            2 => number_of_line = value.number(number)? as i64,
            _ => {}
        }
    }
    Ok((function, number_of_line))
}

/// Where a mapping is in the symbols: as it is, and without addresses for frames that have a name, which
/// must not differ between two starts of a program.
#[derive(Clone, Copy, Default)]
struct MappingForms {
    with_addresses: Option<MappingIndex>,
    symbolized: Option<MappingIndex>,
}

impl MappingForms {
    fn index(&mut self, named: bool, mapping: &Mapping, symbols: &mut Symbols) -> MappingIndex {
        let Mapping { file, build_id, .. } = *mapping;
        let (slot, form) = match named {
            true => (&mut self.symbolized, Mapping { file, build_id, ..Mapping::default() }),
            false => (&mut self.with_addresses, *mapping),
        };
        *slot.get_or_insert_with(|| {
            if form == Mapping::default() {
                return 0;
            }
            symbols.mappings.push(form);
            (symbols.mappings.len() - 1) as MappingIndex
        })
    }
}
