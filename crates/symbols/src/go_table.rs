//! Names, files and lines from the table of functions (`.gopclntab`) that every Go program carries, also a
//! stripped one. The layouts are those of Go 1.16 and later.
//!
//! What was inlined is in trees outside of the table, in the data of the program; where they begin is written in a
//! record that the table does not point to (see `go_module`). What is found there is tried on some functions first.
//!
//! A function has an entry, offsets into tables of names and files, and several streams of (change of value,
//! change of address) pairs. All numbers come from the file: every look-up is checked, every stream bounded.

use crate::call::{Call, MAX_CALLS};
use crate::elf;
use crate::go_module::{GoModule, number};
use object::{Object, ObjectSection, ObjectSymbol};

/// Most pairs of a stream that are read; a function of a mebibyte has some 100,000.
const MAX_PAIRS: usize = 1 << 20;
/// Longest name that is read.
const MAX_NAME: usize = 4096;

/// Functions on which a place for the trees of inlined calls is tried.
const TRIED: usize = 64;
/// What the functions begin with that programs without C are started at.
const START: &str = "_rt0_";

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
    /// The sections of the program, by address.
    memory: Vec<(u64, &'data [u8])>,
    /// The address from which trees of inlined calls are counted.
    trees: Option<u64>,
}

impl<'data> GoTable<'data> {
    /// The table of `file`; none when it is no Go program or of a version that is not known.
    pub(crate) fn of(file: &object::File<'data>) -> Option<Self> {
        let sections = [".gopclntab", ".data.rel.ro.gopclntab", "__gopclntab"];
        let section = sections.iter().find_map(|name| file.section_by_name(name))?;
        let mut table = Self::read(section.data().ok()?, file.is_little_endian())?;
        if table.layout >= Layout::Go118 {
            let modules = GoModule::all(file, section.address(), table.pointer);
            if table.text == 0 {
                // A program that can be anywhere has it filled in at its start, and newer ones not at all.
                table.text = table.find_text(file, &modules)?;
            }
            let sections = file.sections().filter(|section| section.address() > 0);
            let sections = sections.filter_map(|section| Some((section.address(), section.data().ok()?)));
            table.memory = sections.collect();
            table.trees = table.find_trees(file, &modules);
        }
        Some(table)
    }

    /// The address that entries are counted from.
    fn find_text(&self, file: &object::File<'data>, modules: &[GoModule]) -> Option<u64> {
        let symbol = file.symbols().find(|symbol| symbol.name_bytes() == Ok(b"runtime.text"));
        if let Some(symbol) = symbol {
            return Some(symbol.address());
        }
        let (first, end) = (self.entry(0)?, self.entry(self.functions)?);
        let segments = elf::segments(file);
        let of_module = modules.iter().find_map(|module| module.text(first, end, &segments));
        of_module.or_else(|| {
            // The code of C comes first in the section when there is some: then the program starts with that.
            let text = file.section_by_name(".text")?.address();
            let start = self.function(file.entry().checked_sub(text)?)?;
            let name = self.text(self.names.checked_add(start.number(self, 1)?)?)?;
            let is_start = start.entry == file.entry() - text && name.starts_with(START);
            is_start.then_some(text)
        })
    }

    /// Where the trees of inlined calls are.
    fn find_trees(&self, file: &object::File<'data>, modules: &[GoModule]) -> Option<u64> {
        let names: [&[u8]; 2] = [b"go:func.*", b"go.func.*"];
        let mut symbols = file.symbols();
        let symbol = symbols.find(|symbol| symbol.name_bytes().is_ok_and(|name| names.contains(&name)));
        let tried = self.functions_with_trees();
        let fits = |&base: &u64| !tried.is_empty() && tried.iter().all(|at| self.fits(at, base));
        let symbol = symbol.map(|symbol| symbol.address()).filter(fits);
        symbol.or_else(|| modules.iter().flat_map(GoModule::trees).find(fits))
    }

    /// Some functions that calls were inlined into.
    fn functions_with_trees(&self) -> Vec<Function> {
        let all = (0..self.functions).filter_map(|at| self.function_at(at));
        all.filter(|function| self.tree(function).is_some()).take(TRIED).collect()
    }

    /// Whether the first inlined call of `function` makes sense when trees are counted from `base`.
    fn fits(&self, function: &Function, base: u64) -> bool {
        let read = || {
            let offset = self.tree(function)?;
            let inlined = self.inlined(base.checked_add(offset)?, 0)?;
            // A name begins behind the end of another one.
            let before = inlined.name.checked_sub(1).and_then(|at| self.names.checked_add(at))?;
            let is_name = self.data.get(before) == Some(&0) && self.text(before + 1).is_some();
            let caller = function.entry.checked_add(inlined.caller)?;
            let is_own = self.function(caller).is_some_and(|found| found.entry == function.entry);
            (is_name && is_own).then_some(())
        };
        read().is_some()
    }

    /// The call number `at` of the tree at `address`.
    fn inlined(&self, address: u64, at: usize) -> Option<Inlined> {
        let (size, name, caller) = if self.layout >= Layout::Go120 { (16, 4, 8) } else { (20, 12, 16) };
        let address = address.checked_add(at.checked_mul(size)? as u64)?;
        let holds = |(start, data): &&(u64, &[u8])| {
            address.checked_sub(*start).is_some_and(|into| into < data.len() as u64)
        };
        let (start, data) = self.memory.iter().find(holds)?;
        let from = usize::try_from(address - start).ok()?;
        let entry = data.get(from..from.checked_add(size)?)?;
        let word = |at: usize| Some(number(entry.get(at..at + 4)?, self.little_endian));
        Some(Inlined { name: usize::try_from(word(name)?).ok()?, caller: word(caller)? })
    }

    /// Where the tree of `function` is, from the beginning of all trees; none when nothing was inlined into it.
    fn tree(&self, function: &Function) -> Option<u64> {
        /// Which of the data of a function it is.
        const TREE: usize = 3;
        let fixed = if self.layout >= Layout::Go120 { 44 } else { 40 };
        let count = usize::from(*self.data.get(function.at.checked_add(fixed - 1)?)?);
        if count <= TREE {
            return None;
        }
        let streams = function.number(self, 7)?.checked_mul(4)?;
        let at = function.at.checked_add(fixed)?.checked_add(streams)?.checked_add(TREE * 4)?;
        self.u32(at).filter(|&offset| offset != u32::MAX).map(u64::from)
    }

    /// Which inlined call of `function` `address` belongs to.
    fn inlined_at(&self, function: &Function, address: u64) -> Option<usize> {
        /// Which of the further streams of a function it is.
        const INDEX: usize = 2;
        if function.number(self, 7)? <= INDEX {
            return None;
        }
        let fixed = if self.layout >= Layout::Go120 { 44 } else { 40 };
        let stream = self.u32(function.at.checked_add(fixed)?.checked_add(INDEX * 4)?)?;
        let stream = usize::try_from(stream).ok().filter(|&stream| stream > 0)?;
        usize::try_from(self.value(function, stream, address)?).ok()
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
            memory: Vec::new(),
            trees: None,
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
        let [names, units, files, streams, start] =
            [offset(0)?, offset(1)?, offset(2)?, offset(3)?, offset(4)?];
        let functions = usize::try_from(functions).ok()?;
        let table = Self { functions, text, names, units, files, streams, table: start, ..table };
        // The last entry is the end of the code.
        table.entry(functions)?;
        Some(table)
    }

    /// The calls at `address`.
    pub(crate) fn calls(&self, address: u64) -> Vec<Call> {
        let mut calls = Vec::new();
        let Some(function) = self.function(address) else { return calls };
        let mut at = address;
        if let Some(tree) = self.trees.and_then(|trees| trees.checked_add(self.tree(&function)?)) {
            while calls.len() + 1 < MAX_CALLS
                && let Some(inlined) =
                    self.inlined_at(&function, at).and_then(|index| self.inlined(tree, index))
            {
                calls.extend(self.call(&function, at, inlined.name));
                at = function.entry.saturating_add(inlined.caller);
            }
        }
        let name = function.number(self, 1);
        calls.extend(name.and_then(|name| self.call(&function, at, name)));
        calls
    }

    /// The function whose name is at `name`, and the place of `address`.
    fn call(&self, function: &Function, address: u64, name: usize) -> Option<Call> {
        let (file, line) = self.source(function, address);
        let name = self.text(self.names.checked_add(name)?)?;
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
        if address >= self.entry(low)? {
            return None;
        }
        self.function_at(low.checked_sub(1)?)
    }

    fn function_at(&self, at: usize) -> Option<Function> {
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

/// A call that was inlined.
struct Inlined {
    /// Where its name is among the names.
    name: usize,
    /// An instruction of the caller, from the beginning of the function.
    caller: u64,
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
