//! The dictionary of an export: tables that all its profiles share, resolved into frames, stacks and labels.

use super::any_value::{self, Text};
use super::locations::Function;
use super::numbers::numbers;
use super::place::Place;
use super::profile::SERVICE;
use super::stacks::Stacks;
use crate::assembly::SMALLER;
use crate::pprof::wire::{Cursor, Fault, Value};
use crate::{Cuts, Error, ErrorKind, Limits, texts};
use everflame_profile::{FrameKind, Location, Mapping, StringIndex, Symbols};
use std::sync::Arc;

/// Attribute of a mapping: the build id that the linker wrote.
pub(super) const BUILD_ID: &str = "process.executable.build_id.gnu";
/// Attribute of a location: how its code came to run.
pub(super) const FRAME_TYPE: &str = "profile.frame.type";

/// All tables, ready to be referred to.
#[derive(Default)]
pub(super) struct Dictionary {
    /// What all profiles share.
    pub(super) symbols: Arc<Symbols>,
    pub(super) locations: Arc<Vec<Location>>,
    /// For each entry of the string table its index in `symbols`.
    strings: Vec<StringIndex>,
    stacks: Stacks,
    pub(super) attributes: Vec<Attribute>,
    pub(super) links: Vec<Link>,
}

/// Key and value; index 0 where one is missing or no text.
#[derive(Clone, Copy)]
pub(super) struct Attribute {
    pub(super) key: StringIndex,
    pub(super) value: StringIndex,
    pub(super) role: Role,
}

/// What an attribute says, where that is not for people alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Label,
    Service,
    BuildId,
    FrameType(FrameKind),
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

impl Dictionary {
    /// Decodes all tables.
    pub(super) fn decode(raw: &RawTables<'_>, limits: &Limits, cuts: &mut Cuts) -> Result<Self, Error> {
        let mut dictionary = Self::default();
        let (indices, strings) = texts::copy(&raw.strings, limits, cuts);
        dictionary.strings = indices;
        dictionary.symbols = Arc::new(Symbols { strings, ..Symbols::default() });
        dictionary.attributes.reserve(raw.attributes.len());
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
        dictionary.stacks = Stacks::decode(&raw.stacks, &dictionary.locations, limits, cuts)?;
        Ok(dictionary)
    }

    fn copy(&mut self, bytes: &[u8], limits: &Limits, cuts: &mut Cuts) -> StringIndex {
        self.push(limits.cut_string(&String::from_utf8_lossy(bytes), cuts))
    }

    /// The index of `text`, which is added. Nobody shares the symbols yet.
    pub(super) fn push(&mut self, text: &str) -> StringIndex {
        Arc::make_mut(&mut self.symbols).strings.push(text)
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
            Text::Owned(text) => Ok(self.push(text)),
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
        let key = self.string(key, place)?;
        let role = match self.text(key) {
            _ if value == 0 => Role::Label,
            SERVICE => Role::Service,
            BUILD_ID => Role::BuildId,
            FRAME_TYPE => Role::FrameType(frame_kind(self.text(value))),
            _ => Role::Label,
        };
        Ok(Attribute { key, value, role })
    }

    fn link(&mut self, bytes: &[u8]) -> Result<Link, Fault> {
        let (mut trace, mut span) = (&[][..], &[][..]);
        let mut cursor = Cursor::new(bytes);
        while let Some((number, value)) = cursor.field()? {
            match number {
                1 => trace = value.bytes(number)?,
                2 => span = value.bytes(number)?,
                _ => {}
            }
        }
        Ok(Link { trace: self.id(trace, 16), span: self.id(span, 8) })
    }

    /// The text of an id; an id of zeros is no id.
    fn id(&mut self, id: &[u8], length: usize) -> StringIndex {
        if id.len() != length || id.iter().all(|&byte| byte == 0) {
            return 0;
        }
        let text: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        self.push(&text)
    }

    /// Hands on the attributes with `indices` that are there.
    pub(super) fn each_attribute(
        &self,
        indices: Value<'_>,
        mut each: impl FnMut(&Attribute),
    ) -> Result<(), Fault> {
        numbers(indices, |index| {
            if let Some(attribute) = usize::try_from(index).ok().and_then(|index| self.attributes.get(index))
            {
                each(attribute);
            }
        })
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
                        self.each_attribute(value, |attribute| {
                            if attribute.role == Role::BuildId {
                                mapping.build_id = attribute.value;
                            }
                        })
                        .map_err(broken)?;
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

    /// The number of stack `index`, for [`Dictionary::stack`].
    #[inline]
    pub(super) fn stack_number(&self, index: u64, place: Place) -> Result<u32, Error> {
        match u32::try_from(index) {
            // Without a dictionary there still is the zero value.
            Ok(number) if (number as usize) < self.stacks.len() || number == 0 => Ok(number),
            _ => Err(place.missing("stack", index, self.stacks.len())),
        }
    }

    /// The locations of a stack, leaf first.
    #[inline]
    pub(super) fn stack(&self, number: u32) -> &[u32] {
        self.stacks.get(number as usize).unwrap_or_default()
    }
}

/// The values that the semantic conventions give `profile.frame.type`.
fn frame_kind(name: &str) -> FrameKind {
    match name {
        "kernel" => FrameKind::Kernel,
        "native" | "go" | "rust" => FrameKind::Native,
        "jvm" => FrameKind::Jvm,
        "cpython" | "ruby" | "v8js" | "php" | "perl" | "dotnet" | "beam" | "luajit" | "interpreted" => {
            FrameKind::Interpreted
        }
        _ => FrameKind::Unknown,
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
