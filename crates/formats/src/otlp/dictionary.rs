//! The dictionary of an export: tables that all its profiles share, resolved into frames, stacks and labels.

use super::any_value::{self, Text};
use super::place::Place;
use crate::assembly::SMALLER;
use crate::pprof::wire::{Cursor, Fault, Value};
use crate::{Cuts, Error, ErrorKind, Limits};
use everflame_profile::{Frame, FrameKind, Location, Mapping, MappingIndex, StringIndex, Strings, Symbols};

/// Attribute of a mapping: the build id that the linker wrote.
const BUILD_ID: &str = "process.executable.build_id.gnu";
/// Attribute of a location: how its code came to run.
const FRAME_TYPE: &str = "profile.frame.type";

/// All tables, ready to be referred to.
#[derive(Default)]
pub(super) struct Dictionary {
    pub(super) symbols: Symbols,
    pub(super) locations: Vec<Location>,
    /// For each entry of the string table its index in `symbols`.
    strings: Vec<StringIndex>,
    stacks: Stacks,
    pub(super) attributes: Vec<Attribute>,
    pub(super) links: Vec<Link>,
}

/// Locations of all stacks, leaf first, one after the other.
#[derive(Default)]
struct Stacks {
    locations: Vec<u32>,
    ends: Vec<u32>,
}

/// Key and value; index 0 where one is missing or no text.
#[derive(Clone, Copy, Default)]
pub(super) struct Attribute {
    pub(super) key: StringIndex,
    pub(super) value: StringIndex,
}

/// The ids of trace and span, in hexadecimal; index 0 where one is missing.
#[derive(Clone, Copy, Default)]
pub(super) struct Link {
    pub(super) trace: StringIndex,
    pub(super) span: StringIndex,
}

/// Where the entries of the tables are.
#[derive(Default)]
pub(super) struct RawTables<'a> {
    mappings: Vec<&'a [u8]>,
    locations: Vec<&'a [u8]>,
    functions: Vec<&'a [u8]>,
    links: Vec<&'a [u8]>,
    strings: Vec<&'a [u8]>,
    attributes: Vec<&'a [u8]>,
    stacks: Vec<&'a [u8]>,
}

impl<'a> RawTables<'a> {
    /// Notes the entries of a `ProfilesDictionary`.
    pub(super) fn index(&mut self, bytes: &'a [u8], limits: &Limits) -> Result<(), Error> {
        let broken = |fault| Place::Message.broken(fault);
        let mut cursor = Cursor::new(bytes);
        while let Some((number, value)) = cursor.field().map_err(broken)? {
            let table = match number {
                1 => &mut self.mappings,
                2 => &mut self.locations,
                3 => &mut self.functions,
                4 => &mut self.links,
                5 => &mut self.strings,
                6 => &mut self.attributes,
                7 => &mut self.stacks,
                _ => continue,
            };
            table.push(value.bytes(number).map_err(broken)?);
            if table.len() > limits.table_entries {
                let fault = format_args!("table {number} has more than {} entries", limits.table_entries);
                return Err(Error::too_large("OTLP: dictionary", fault, SMALLER));
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Default)]
struct Function {
    name: StringIndex,
    system_name: StringIndex,
    file: StringIndex,
    start_line: i64,
}

impl Dictionary {
    /// Decodes all tables.
    pub(super) fn decode(raw: &RawTables<'_>, limits: &Limits, cuts: &mut Cuts) -> Result<Self, Error> {
        let mut dictionary = Self::default();
        let text_bytes = raw.strings.iter().map(|text| text.len()).sum();
        dictionary.symbols.strings = Strings::with_capacity(raw.strings.len(), text_bytes);
        dictionary.symbols.frames.reserve(raw.locations.len());
        dictionary.locations.reserve(raw.locations.len());
        for bytes in &raw.strings {
            let index = dictionary.copy(bytes, limits, cuts);
            dictionary.strings.push(index);
        }
        for (at, bytes) in raw.attributes.iter().enumerate() {
            let attribute = dictionary.attribute(bytes, Place::Dictionary("attribute", at), limits, cuts)?;
            dictionary.attributes.push(attribute);
        }
        for (at, bytes) in raw.links.iter().enumerate() {
            let link = dictionary.link(bytes).map_err(|fault| Place::Dictionary("link", at).broken(fault))?;
            dictionary.links.push(link);
        }
        let mappings = dictionary.mappings(&raw.mappings)?;
        let functions = dictionary.functions(&raw.functions)?;
        dictionary.locations(&raw.locations, &mappings, &functions, limits, cuts)?;
        dictionary.stacks(&raw.stacks, limits, cuts)?;
        Ok(dictionary)
    }

    fn copy(&mut self, bytes: &[u8], limits: &Limits, cuts: &mut Cuts) -> StringIndex {
        self.symbols.strings.push(limits.cut_string(&String::from_utf8_lossy(bytes), cuts))
    }

    /// The text of entry `index` of the string table.
    pub(super) fn string(&self, index: u64, place: Place) -> Result<StringIndex, Error> {
        match self.strings.get(usize::try_from(index).unwrap_or(usize::MAX)) {
            Some(&known) => Ok(known),
            // Without a dictionary there still is the zero value.
            None if index == 0 => Ok(0),
            None => Err(place.missing("string", index, self.strings.len())),
        }
    }

    /// What an index of [`Dictionary::string`] stands for.
    pub(super) fn text(&self, index: StringIndex) -> &str {
        self.symbols.strings.get(index)
    }

    pub(super) fn keep(
        &mut self,
        text: &Text<'_>,
        place: Place,
        limits: &Limits,
        cuts: &mut Cuts,
    ) -> Result<StringIndex, Error> {
        match text {
            Text::Bytes(bytes) => Ok(self.copy(bytes, limits, cuts)),
            Text::Owned(text) => Ok(self.symbols.strings.push(text)),
            Text::Index(index) => self.string(*index, place),
        }
    }

    /// A `KeyValueAndUnit`; units are not kept.
    fn attribute(
        &mut self,
        bytes: &[u8],
        place: Place,
        limits: &Limits,
        cuts: &mut Cuts,
    ) -> Result<Attribute, Error> {
        let broken = |fault| place.broken(fault);
        let (mut key, mut value) = (0, None);
        let mut cursor = Cursor::new(bytes);
        while let Some((number, content)) = cursor.field().map_err(broken)? {
            match number {
                1 => key = content.number(number).map_err(broken)?,
                2 => value = any_value::text(content.bytes(number).map_err(broken)?).map_err(broken)?,
                _ => {}
            }
        }
        let value = match value {
            None => 0,
            Some(text) => self.keep(&text, place, limits, cuts)?,
        };
        Ok(Attribute { key: self.string(key, place)?, value })
    }

    fn link(&mut self, bytes: &[u8]) -> Result<Link, Fault> {
        let mut link = Link::default();
        let mut cursor = Cursor::new(bytes);
        while let Some((number, value)) = cursor.field()? {
            let (target, length) = match number {
                1 => (&mut link.trace, 16),
                2 => (&mut link.span, 8),
                _ => continue,
            };
            let id = value.bytes(number)?;
            // An id of zeros is no id.
            if id.len() == length && id.iter().any(|&byte| byte != 0) {
                let text: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
                *target = self.symbols.strings.push(&text);
            }
        }
        Ok(link)
    }

    /// The value of the attribute called `key` among those in `indices`.
    fn value_of(&self, indices: Value<'_>, key: &str, place: Place) -> Result<StringIndex, Error> {
        let mut found = 0;
        numbers(indices, |index| {
            let attribute = self.attributes.get(usize::try_from(index).unwrap_or(usize::MAX));
            if let Some(attribute) = attribute.filter(|attribute| self.text(attribute.key) == key) {
                found = attribute.value;
            }
        })
        .map_err(|fault| place.broken(fault))?;
        Ok(found)
    }

    fn mappings(&mut self, entries: &[&[u8]]) -> Result<Vec<Mapping>, Error> {
        let mut mappings = Vec::with_capacity(entries.len());
        for (at, bytes) in entries.iter().enumerate() {
            let place = Place::Dictionary("mapping", at);
            let broken = |fault| place.broken(fault);
            let mut mapping = Mapping::default();
            let mut cursor = Cursor::new(bytes);
            while let Some((number, value)) = cursor.field().map_err(broken)? {
                let target = match number {
                    1 => &mut mapping.memory_start,
                    2 => &mut mapping.memory_limit,
                    3 => &mut mapping.file_offset,
                    4 => {
                        mapping.file = self.string(value.number(number).map_err(broken)?, place)?;
                        continue;
                    }
                    5 => {
                        let build_id = self.value_of(value, BUILD_ID, place)?;
                        if build_id != 0 {
                            mapping.build_id = build_id;
                        }
                        continue;
                    }
                    _ => continue,
                };
                *target = value.number(number).map_err(broken)?;
            }
            mappings.push(mapping);
        }
        Ok(mappings)
    }

    fn functions(&self, entries: &[&[u8]]) -> Result<Vec<Function>, Error> {
        let mut functions = Vec::with_capacity(entries.len());
        for (at, bytes) in entries.iter().enumerate() {
            let place = Place::Dictionary("function", at);
            let broken = |fault| place.broken(fault);
            let mut function = Function::default();
            let mut cursor = Cursor::new(bytes);
            while let Some((number, value)) = cursor.field().map_err(broken)? {
                let target = match number {
                    1 => &mut function.name,
                    2 => &mut function.system_name,
                    3 => &mut function.file,
                    4 => {
                        function.start_line = value.number(number).map_err(broken)? as i64;
                        continue;
                    }
                    _ => continue,
                };
                *target = self.string(value.number(number).map_err(broken)?, place)?;
            }
            functions.push(function);
        }
        Ok(functions)
    }

    fn locations(
        &mut self,
        entries: &[&[u8]],
        mappings: &[Mapping],
        functions: &[Function],
        limits: &Limits,
        cuts: &mut Cuts,
    ) -> Result<(), Error> {
        let mut forms = vec![MappingForms::default(); mappings.len()];
        let mut lines: Vec<(u64, i64)> = Vec::new();
        for (at, bytes) in entries.iter().enumerate() {
            let place = Place::Dictionary("location", at);
            let broken = |fault| place.broken(fault);
            lines.clear();
            let (mut mapping, mut address, mut kind) = (0, 0, FrameKind::Unknown);
            let mut cursor = Cursor::new(bytes);
            while let Some((number, value)) = cursor.field().map_err(broken)? {
                match number {
                    1 => mapping = value.number(number).map_err(broken)?,
                    2 => address = value.number(number).map_err(broken)?,
                    3 => lines.push(line(value.bytes(number).map_err(broken)?).map_err(broken)?),
                    4 => {
                        let name = self.value_of(value, FRAME_TYPE, place)?;
                        if name != 0 {
                            kind = frame_kind(self.text(name));
                        }
                    }
                    _ => {}
                }
            }
            let slot = usize::try_from(mapping).unwrap_or(usize::MAX);
            if mapping != 0 && slot >= mappings.len() {
                return Err(place.missing("mapping", mapping, mappings.len()));
            }
            if lines.is_empty() {
                lines.push((0, 0));
            }
            let excess = lines.len().saturating_sub(limits.depth);
            cuts.stacks = cuts.stacks.saturating_add(u32::from(excess > 0));
            // Innermost first: what is cut is the leaf side.
            let lines = lines.get(excess..).unwrap_or_default();
            let first = self.symbols.frames.len() as u32;
            for (nth, &(function, line)) in lines.iter().enumerate() {
                let index = usize::try_from(function).unwrap_or(usize::MAX);
                let function = match functions.get(index) {
                    Some(function) => *function,
                    None if index == 0 => Function::default(),
                    None => return Err(place.missing("function", function, functions.len())),
                };
                let named = function.name != 0 || function.system_name != 0;
                let mapping = match (mappings.get(slot), forms.get_mut(slot)) {
                    (Some(mapping), Some(forms)) => forms.index(named, mapping, &mut self.symbols),
                    _ => 0,
                };
                self.symbols.frames.push(Frame {
                    function: function.name,
                    system_name: if function.system_name == function.name { 0 } else { function.system_name },
                    file: function.file,
                    line,
                    start_line: function.start_line,
                    mapping,
                    address: if named { 0 } else { address },
                    kind,
                    inlined: nth + 1 < lines.len(),
                });
            }
            if self.symbols.frames.len() > limits.table_entries {
                let fault = format_args!("up to here there are more than {} frames", limits.table_entries);
                return Err(Error::too_large(place, fault, SMALLER));
            }
            self.locations.push(Location { first, count: lines.len() as u32 });
        }
        Ok(())
    }

    fn stacks(&mut self, entries: &[&[u8]], limits: &Limits, cuts: &mut Cuts) -> Result<(), Error> {
        let count = self.locations.len();
        let inlines = self.locations.iter().any(|location| location.count > 1);
        for (at, bytes) in entries.iter().enumerate() {
            let place = Place::Dictionary("stack", at);
            let first = self.stacks.locations.len();
            let mut cursor = Cursor::new(bytes);
            let mut missing = None;
            while let Some((number, value)) = cursor.field().map_err(|fault| place.broken(fault))? {
                if number != 1 {
                    continue;
                }
                if matches!(value, Value::Fixed(_)) {
                    return Err(place.broken(Fault::WrongType(number)));
                }
                numbers(value, |index| match u32::try_from(index) {
                    Ok(index) if (index as usize) < count => self.stacks.locations.push(index),
                    _ => missing = Some(index),
                })
                .map_err(|fault| place.broken(fault))?;
                if self.stacks.locations.len() > limits.entries {
                    let fault = format_args!("up to here there are more than {} frames", limits.entries);
                    return Err(Error::too_large(place, fault, SMALLER));
                }
            }
            if let Some(index) = missing {
                return Err(place.missing("location", index, count));
            }
            self.cut_stack(first, inlines, limits, cuts);
            self.stacks.ends.push(self.stacks.locations.len() as u32);
        }
        Ok(())
    }

    /// Cuts the leaf side of the stack that begins at `first` to the depth allowed.
    fn cut_stack(&mut self, first: usize, inlines: bool, limits: &Limits, cuts: &mut Cuts) {
        let stack = self.stacks.locations.get(first..).unwrap_or_default();
        if !inlines && stack.len() <= limits.depth {
            return;
        }
        let (mut frames, mut kept) = (0, 0);
        for &location in stack.iter().rev() {
            frames += self.locations.get(location as usize).map_or(0, |location| location.count as usize);
            if frames > limits.depth {
                break;
            }
            kept += 1;
        }
        if kept < stack.len() {
            cuts.stacks = cuts.stacks.saturating_add(1);
            let excess = stack.len() - kept;
            self.stacks.locations.drain(first..first + excess);
        }
    }

    /// The locations of stack `index`, leaf first.
    pub(super) fn stack(&self, index: u64, place: Place) -> Result<&[u32], Error> {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(&end) = self.stacks.ends.get(at) else {
            return match index {
                0 => Ok(&[]),
                _ => Err(place.missing("stack", index, self.stacks.ends.len())),
            };
        };
        let start = at.checked_sub(1).and_then(|before| self.stacks.ends.get(before)).copied().unwrap_or(0);
        Ok(self.stacks.locations.get(start as usize..end as usize).unwrap_or_default())
    }

    /// The tables as they are for profiles: frames, and locations.
    pub(super) fn tables(&self) -> (&Symbols, &[Location]) {
        (&self.symbols, &self.locations)
    }
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

/// Function index and line number.
fn line(bytes: &[u8]) -> Result<(u64, i64), Fault> {
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

/// The values that the semantic conventions give `profile.frame.type`.
fn frame_kind(name: &str) -> FrameKind {
    match name {
        "kernel" => FrameKind::Kernel,
        "native" | "go" | "rust" => FrameKind::Native,
        "jvm" => FrameKind::Jvm,
        "cpython" | "ruby" | "v8js" | "php" | "perl" | "dotnet" | "beam" | "luajit" => FrameKind::Interpreted,
        _ => FrameKind::Unknown,
    }
}

/// Hands on the numbers of a repeated field, packed or not, of any width.
#[inline]
pub(super) fn numbers(value: Value<'_>, mut each: impl FnMut(u64)) -> Result<(), Fault> {
    match value {
        Value::Number(number) => each(number),
        Value::Bytes(bytes) => {
            let mut cursor = Cursor::new(bytes);
            while !cursor.is_empty() {
                each(cursor.number()?);
            }
        }
        Value::Fixed(bytes) => each(fixed(bytes)),
    }
    Ok(())
}

/// The number that four or eight bytes hold.
#[inline]
pub(super) fn fixed(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk(), bytes.first_chunk()) {
        (Some(eight), _) => u64::from_le_bytes(*eight),
        (None, Some(four)) => u64::from(u32::from_le_bytes(*four)),
        (None, None) => 0,
    }
}

/// A refusal of what older senders mean.
#[cold]
pub(super) fn too_old(place: Place) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        place,
        "it is in the layout of OTLP 1.5 or earlier",
        "update the sender to one that speaks OTLP 1.6 or later",
    )
}
