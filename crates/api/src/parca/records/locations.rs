//! Locations of Arrow records: where code was, and the functions that it belongs to.
//!
//! The first layout has names in columns of the lines, the second has a column of functions. Each column
//! may be missing.

use super::columns::{Lists, Numbers, Structs, Texts};
use crate::error::ApiError;
use everflame_profile::{Frame, FrameIndex, FrameKind, Mapping, StringIndex, SymbolInterner, Symbols};

/// Most locations of a message, and most frames of all of them.
const MAX_LOCATIONS: usize = 2 << 20;

/// Locations of all records of a message, by number.
#[derive(Default)]
pub(super) struct Locations {
    interner: SymbolInterner,
    /// Frames of all locations, innermost first.
    frames: Vec<FrameIndex>,
    ends: Vec<u32>,
}

/// The locations when there are no more.
pub(super) struct LocationTable {
    pub(super) symbols: Symbols,
    frames: Vec<FrameIndex>,
    ends: Vec<u32>,
}

impl LocationTable {
    /// The frames of a location, innermost first.
    pub(super) fn frames(&self, location: u32) -> &[FrameIndex] {
        let location = location as usize;
        let start = match location.checked_sub(1) {
            None => 0,
            Some(before) => self.ends.get(before).copied().unwrap_or(u32::MAX),
        };
        let end = self.ends.get(location).copied().unwrap_or(start);
        self.frames.get(start as usize..end as usize).unwrap_or_default()
    }
}

/// The columns of the locations of one record.
struct Columns {
    address: Option<Numbers>,
    kind: Option<Texts>,
    mapping: MappingColumns,
    lines: Option<(Lists, LineColumns)>,
}

struct MappingColumns {
    file: Option<Texts>,
    build_id: Option<Texts>,
    start: Option<Numbers>,
    limit: Option<Numbers>,
    offset: Option<Numbers>,
}

struct LineColumns {
    rows: Structs,
    line: Option<Numbers>,
    name: Option<Texts>,
    system_name: Option<Texts>,
    file: Option<Texts>,
    start_line: Option<Numbers>,
    /// The second layout: the function of each line.
    functions: Option<(Structs, FunctionColumns)>,
}

struct FunctionColumns {
    name: Option<Texts>,
    file: Option<Texts>,
    start_line: Option<Numbers>,
}

fn texts(structs: &Structs, name: &str) -> Result<Option<Texts>, ApiError> {
    structs.field(name).map(|column| Texts::of(name, column)).transpose()
}

fn numbers(structs: &Structs, name: &str) -> Result<Option<Numbers>, ApiError> {
    structs.field(name).map(|column| Numbers::of(name, column)).transpose()
}

impl Columns {
    fn of(structs: &Structs) -> Result<Self, ApiError> {
        let lines = match structs.field("lines") {
            None => None,
            Some(column) => {
                let lists = Lists::of("lines", column)?;
                let columns = LineColumns::of(Structs::of("lines", &lists.values)?)?;
                Some((lists, columns))
            }
        };
        let mapping = MappingColumns {
            file: texts(structs, "mapping_file")?,
            build_id: texts(structs, "mapping_build_id")?,
            start: numbers(structs, "mapping_start")?,
            limit: numbers(structs, "mapping_limit")?,
            offset: numbers(structs, "mapping_offset")?,
        };
        Ok(Self {
            address: numbers(structs, "address")?,
            kind: texts(structs, "frame_type")?,
            mapping,
            lines,
        })
    }
}

impl LineColumns {
    fn of(rows: Structs) -> Result<Self, ApiError> {
        let functions = match rows.field("function") {
            None => None,
            Some(column) => {
                let functions = Structs::of("function", column)?;
                let columns = FunctionColumns {
                    name: texts(&functions, "system_name")?,
                    file: texts(&functions, "filename")?,
                    start_line: numbers(&functions, "start_line")?,
                };
                Some((functions, columns))
            }
        };
        Ok(Self {
            line: numbers(&rows, "line")?,
            name: texts(&rows, "function_name")?,
            system_name: texts(&rows, "function_system_name")?,
            file: texts(&rows, "function_filename")?,
            start_line: numbers(&rows, "function_start_line")?,
            functions,
            rows,
        })
    }
}

impl Locations {
    /// Adds all that are in `structs`; the number of the first of them.
    pub(super) fn add(&mut self, structs: &Structs) -> Result<u32, ApiError> {
        let first = self.ends.len();
        if first.saturating_add(structs.len()) > MAX_LOCATIONS {
            return Err(too_many());
        }
        let columns = Columns::of(structs)?;
        for at in 0..structs.len() {
            self.add_location(&columns, at);
            if self.frames.len() > MAX_LOCATIONS {
                return Err(too_many());
            }
            self.ends.push(self.frames.len() as u32);
        }
        Ok(first as u32)
    }

    pub(super) fn finish(self) -> LocationTable {
        LocationTable { symbols: self.interner.into_symbols(), frames: self.frames, ends: self.ends }
    }

    fn add_location(&mut self, columns: &Columns, at: usize) {
        let kind = kind(columns.kind.as_ref().map(|kinds| kinds.text(at)).as_deref().unwrap_or_default());
        let address = number(&columns.address, at).cast_unsigned();
        let lines = columns.lines.as_ref().map(|(lists, lines)| (lists.run(at), lines));
        let lines = lines.filter(|(run, _)| !run.is_empty());
        let mut own = Symbols::default();
        let mapping = mapping(&columns.mapping, at, lines.is_none(), &mut own);
        let Some((run, lines)) = lines else {
            let frame = Frame { address, mapping, kind, ..Frame::default() };
            self.frames.push(self.interner.intern(&own, &frame));
            return;
        };
        let last = run.end.saturating_sub(1);
        for row in run.clone() {
            let frame = lines.frame(row, &mut own);
            // Symbolized frames have no address of their own, so that those of two builds are one.
            let address = if frame.function == 0 { address } else { 0 };
            let frame = Frame { mapping, kind, address, inlined: row < last, ..frame };
            self.frames.push(self.interner.intern(&own, &frame));
        }
    }
}

impl LineColumns {
    fn frame(&self, row: usize, own: &mut Symbols) -> Frame {
        let Some(at) = self.rows.position(row) else { return Frame::default() };
        let line = number(&self.line, at);
        if let Some((functions, columns)) = &self.functions {
            let Some(function) = functions.position(at) else { return Frame { line, ..Frame::default() } };
            return Frame {
                function: text(&columns.name, function, own),
                file: text(&columns.file, function, own),
                start_line: number(&columns.start_line, function),
                line,
                ..Frame::default()
            };
        }
        let (name, system_name) = (text(&self.name, at, own), text(&self.system_name, at, own));
        let function = if name == 0 { system_name } else { name };
        let is_same = own.strings.get(function) == own.strings.get(system_name);
        Frame {
            function,
            system_name: if is_same { 0 } else { system_name },
            file: text(&self.file, at, own),
            start_line: number(&self.start_line, at),
            line,
            ..Frame::default()
        }
    }
}

/// The mapping of a location. Symbolized frames do not tell addresses apart.
fn mapping(columns: &MappingColumns, at: usize, with_addresses: bool, own: &mut Symbols) -> u32 {
    let (file, build_id) = (text(&columns.file, at, own), text(&columns.build_id, at, own));
    let address = |column| if with_addresses { number(column, at).cast_unsigned() } else { 0 };
    let mapping = Mapping {
        file,
        build_id,
        memory_start: address(&columns.start),
        memory_limit: address(&columns.limit),
        file_offset: address(&columns.offset),
    };
    if mapping == Mapping::default() {
        return 0;
    }
    own.mappings.push(mapping);
    1
}

fn text(column: &Option<Texts>, at: usize, own: &mut Symbols) -> StringIndex {
    column.as_ref().map_or(0, |column| own.strings.push(&column.text(at)))
}

fn number(column: &Option<Numbers>, at: usize) -> i64 {
    column.as_ref().and_then(|column| column.number(at)).unwrap_or_default()
}

/// How the agent calls kinds of frames.
fn kind(text: &str) -> FrameKind {
    match text {
        "" => FrameKind::Unknown,
        "kernel" => FrameKind::Kernel,
        "native" | "go" => FrameKind::Native,
        "jvm" | "hotspot" => FrameKind::Jvm,
        _ => FrameKind::Interpreted,
    }
}

fn too_many() -> ApiError {
    ApiError::invalid(format_args!(
        "more than {MAX_LOCATIONS} locations or lines in one message; send it in parts"
    ))
}
