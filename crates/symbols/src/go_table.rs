//! Names, files and lines from the table of functions (`.gopclntab`) that every Go program carries, also a
//! stripped one. The layouts are those of Go 1.16 and later.
//!
//! A function has an entry, offsets into tables of names and files, and several streams of (change of value,
//! change of address) pairs. All numbers come from the file: every look-up is checked, every stream bounded.

use crate::call::Call;
use object::{Object, ObjectSection, ObjectSymbol};

/// Most pairs of a stream that are read; a function of a mebibyte has some 100,000.
const MAX_PAIRS: usize = 1 << 20;
/// Longest name that is read.
const MAX_NAME: usize = 4096;

/// The layouts, by the version of Go that began with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layout {
    Go116,
    Go118,
    Go120,
}

/// The table of a program.
pub(crate) struct GoTable<'data> {
    data: &'data [u8],
    layout: Layout,
    little_endian: bool,
    /// Addresses of the machine's instructions are multiples of this.
    quantum: u64,
    pointer: usize,
    functions: usize,
    /// What entries are counted from.
    text: u64,
    names: usize,
    units: usize,
    files: usize,
    streams: usize,
    table: usize,
}

impl<'data> GoTable<'data> {
    /// The table of `file`; none when it is no Go program or of a version that is not known.
    pub(crate) fn of(file: &object::File<'data>) -> Option<Self> {
        let sections = [".gopclntab", ".data.rel.ro.gopclntab", "__gopclntab"];
        let section = sections.iter().find_map(|name| file.section_by_name(name))?;
        let mut table = Self::read(section.data().ok()?, file.is_little_endian())?;
        if table.layout >= Layout::Go118 && table.text == 0 {
            // A program that can be anywhere has it filled in at its start, and newer ones not at all.
            let symbol = file.symbols().find(|symbol| symbol.name_bytes() == Ok(b"runtime.text"));
            let section = || file.section_by_name(".text").map(|section| section.address());
            table.text = symbol.map(|symbol| symbol.address()).or_else(section)?;
        }
        Some(table)
    }

    fn read(data: &'data [u8], little_endian: bool) -> Option<Self> {
        let mut table = Self {
            data,
            layout: Layout::Go116,
            little_endian,
            quantum: u64::from(*data.get(6)?),
            pointer: usize::from(*data.get(7)?),
            functions: 0,
            text: 0,
            names: 0,
            units: 0,
            files: 0,
            streams: 0,
            table: 0,
        };
        table.layout = match table.u32(0)? {
            0xffff_fffa => Layout::Go116,
            0xffff_fff0 => Layout::Go118,
            0xffff_fff1 => Layout::Go120,
            _ => return None,
        };
        if !matches!(table.pointer, 4 | 8) || !matches!(table.quantum, 1 | 2 | 4) {
            return None;
        }
        let word = |at: usize| table.word(8 + at * table.pointer);
        let (functions, mut at) = (word(0)?, 2);
        let mut text = 0;
        if table.layout >= Layout::Go118 {
            (text, at) = (word(2)?, 3);
        }
        let offset = |of: usize| usize::try_from(word(at + of)?).ok();
        let [names, units, files, streams, start] = [offset(0)?, offset(1)?, offset(2)?, offset(3)?, offset(4)?];
        let functions = usize::try_from(functions).ok()?;
        let table = Self { functions, text, names, units, files, streams, table: start, ..table };
        // The last entry is the end of the code.
        table.entry(functions)?;
        Some(table)
    }

    /// The calls at `address`.
    pub(crate) fn calls(&self, address: u64) -> Vec<Call> {
        self.call(address).into_iter().collect()
    }

    fn call(&self, address: u64) -> Option<Call> {
        let function = self.function(address)?;
        let (file, line) = self.source(&function, address);
        let name = self.text(self.names.checked_add(function.number(self, 1)?)?)?;
        Some(Call::new(&name, &file, line))
    }

    /// The function that holds `address`.
    fn function(&self, address: u64) -> Option<Function> {
        let (mut low, mut high) = (0, self.functions);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(middle)? <= address {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        let at = low.checked_sub(1)?;
        if address >= self.entry(low)? {
            return None;
        }
        let width = self.width();
        let offset = self.table.checked_add(at.checked_mul(2)?.checked_add(1)?.checked_mul(width)?)?;
        let start = match width {
            4 => usize::try_from(self.u32(offset)?).ok()?,
            _ => usize::try_from(self.word(offset)?).ok()?,
        };
        Some(Function { entry: self.entry(at)?, at: self.table.checked_add(start)? })
    }

    /// The address of a function; behind the last one the end of the code.
    fn entry(&self, at: usize) -> Option<u64> {
        let width = self.width();
        let offset = self.table.checked_add(at.checked_mul(2)?.checked_mul(width)?)?;
        match self.layout {
            Layout::Go116 => self.word(offset),
            _ => self.text.checked_add(u64::from(self.u32(offset)?)),
        }
    }

    /// Bytes of a number in the table of entries.
    fn width(&self) -> usize {
        if self.layout == Layout::Go116 { self.pointer } else { 4 }
    }

    /// File and line of `address` in `function`.
    fn source(&self, function: &Function, address: u64) -> (String, u32) {
        let line = || u32::try_from(self.value(function, function.number(self, 6)?, address)?).ok();
        let file = || {
            let file = usize::try_from(self.value(function, function.number(self, 5)?, address)?).ok()?;
            let unit = function.number(self, 8)?.checked_add(file)?;
            let offset = self.u32(self.units.checked_add(unit.checked_mul(4)?)?)?;
            self.text(self.files.checked_add(usize::try_from(offset).ok()?)?)
        };
        (file().unwrap_or_default(), line().unwrap_or_default())
    }

    /// The value that the stream at `stream` has for `address`.
    fn value(&self, function: &Function, stream: usize, address: u64) -> Option<i64> {
        let mut rest = self.data.get(self.streams.checked_add(stream)?..)?;
        let (mut value, mut end) = (-1i64, function.entry);
        for pair in 0..MAX_PAIRS {
            let change = varint(&mut rest)?;
            if change == 0 && pair > 0 {
                return None;
            }
            value += i64::from((change >> 1) as i32 ^ -((change & 1) as i32));
            end = end.checked_add(u64::from(varint(&mut rest)?).checked_mul(self.quantum)?)?;
            if address < end {
                return Some(value);
            }
        }
        None
    }

    fn text(&self, at: usize) -> Option<String> {
        let rest = self.data.get(at..)?;
        let text = rest.get(..rest.len().min(MAX_NAME))?.split(|&byte| byte == 0).next()?;
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes: [u8; 4] = self.data.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    /// A number of the size of a pointer.
    fn word(&self, at: usize) -> Option<u64> {
        if self.pointer == 4 {
            return self.u32(at).map(u64::from);
        }
        let bytes: [u8; 8] = self.data.get(at..at.checked_add(8)?)?.try_into().ok()?;
        Some(if self.little_endian { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) })
    }
}

/// An entry of the table.
struct Function {
    /// Its address.
    entry: u64,
    /// Where in the table what is known of it begins.
    at: usize,
}

impl Function {
    /// The number at `at` of those that follow the entry's address: 1 name, 5 stream of files, 6 stream of
    /// lines, 7 how many more streams, 8 unit. Counted as if the address took one place.
    fn number(&self, table: &GoTable<'_>, at: usize) -> Option<usize> {
        let address = table.width();
        let offset = address.checked_add((at - 1) * 4)?;
        usize::try_from(table.u32(self.at.checked_add(offset)?)?).ok()
    }
}

/// Takes an unsigned LEB128 number off the front.
fn varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0u32;
    for shift in (0..35).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or_default();
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
