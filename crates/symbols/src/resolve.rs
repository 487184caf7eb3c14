//! From places to functions, with all that the files of one build say.
//!
//! For each address the first of these that knows it: DWARF, Go's table of functions, symbol tables. Runs in
//! a process of its own (see `worker`), because the files come from anywhere.

use crate::call::Call;
use crate::dwarf::{Dwarf, Sections};
use crate::elf;
use crate::go_table::GoTable;
use crate::place::Place;
use crate::symbol_table::SymbolTable;
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// How much of the files is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reading {
    /// All that names something.
    Whole,
    /// Not DWARF, which can cost what a small file does not show.
    Tables,
}

/// Hands to `each` what `files` say of each of `places`: an empty list where they say nothing. The first of
/// several files counts most. A file that cannot be read is as if it were not there.
pub fn resolve(
    files: &[impl AsRef<Path>],
    places: &[Place],
    reading: Reading,
    mut each: impl FnMut(Place, Vec<Call>),
) {
    let maps: Vec<_> = files.iter().filter_map(|path| elf::map(path.as_ref()).ok()).collect();
    let objects: Vec<_> = maps.iter().filter_map(|map| object::File::parse(&**map).ok()).collect();
    let sections = objects.iter().map(|file| match reading {
        Reading::Whole => caught(|| Sections::of(file)).flatten(),
        Reading::Tables => None,
    });
    let sections: Vec<_> = sections.collect();
    let layouts: Vec<Layout> = objects.iter().map(Layout::of).collect();
    // All files are of one build: what one has lost of its layout another may have.
    let intact = layouts.iter().find(|layout| layout.is_known);
    let sources: Vec<_> = objects
        .iter()
        .zip(&sections)
        .zip(&layouts)
        .map(|((file, sections), layout)| Source {
            layout: intact.unwrap_or(layout),
            dwarf: caught(|| sections.as_ref()?.context()).flatten(),
            go: caught(|| GoTable::of(file)).flatten(),
            symbols: caught(|| SymbolTable::of(file)),
        })
        .collect();
    for &place in places {
        each(place, caught(|| calls(&sources, place)).unwrap_or_default());
    }
}

/// A fault in the reading of one part leaves the others.
fn caught<T>(read: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(read)).ok()
}

/// Where the parts of a file are, and where they are wanted.
struct Layout {
    segments: Vec<elf::Segment>,
    /// Whether the file says it itself.
    is_known: bool,
}

impl Layout {
    fn of(file: &object::File<'_>) -> Self {
        let segments = elf::segments(file);
        match elf::has_lost_offsets(file, &segments) {
            true => Self { segments: elf::with_likely_offsets(&segments), is_known: false },
            false => Self { is_known: segments.iter().any(|segment| segment.executable), segments },
        }
    }
}

/// What one file knows.
struct Source<'a> {
    layout: &'a Layout,
    dwarf: Option<Dwarf<'a>>,
    go: Option<GoTable<'a>>,
    symbols: Option<SymbolTable<'a>>,
}

fn calls(sources: &[Source<'_>], place: Place) -> Vec<Call> {
    let at = |source: &Source<'_>| place.address(&source.layout.segments);
    let mut place_only = Vec::new();
    for source in sources {
        let Some((dwarf, address)) = source.dwarf.as_ref().zip(at(source)) else { continue };
        let mut calls = dwarf.calls(address);
        let is_named = calls.last().is_some_and(|call| !call.function.is_empty());
        calls.retain(|call| !call.function.is_empty() || call.line > 0);
        if is_named {
            return named(with_whole_name(calls, source, address));
        }
        if place_only.is_empty() {
            place_only = calls;
        }
    }
    for source in sources {
        let Some((go, address)) = source.go.as_ref().zip(at(source)) else { continue };
        let calls = named(go.calls(address));
        if !calls.is_empty() {
            return calls;
        }
    }
    for source in sources {
        let Some((symbols, address)) = source.symbols.as_ref().zip(at(source)) else { continue };
        if let Some(name) = symbols.name(address) {
            // Lines without a function are those of assembly, whose name is in the symbol table alone.
            let place = place_only.pop().unwrap_or_default();
            place_only.push(Call::new(&name, &place.file, place.line));
            return named(place_only);
        }
    }
    Vec::new()
}

/// Line tables alone have the last part of a function's name; the linker's name has all of it.
fn with_whole_name(mut calls: Vec<Call>, source: &Source<'_>, address: u64) -> Vec<Call> {
    if let Some(call) = calls.last_mut().filter(|call| call.system_name.is_empty())
        && let Some(name) = source.symbols.as_ref().and_then(|symbols| symbols.name(address))
    {
        let whole = Call::new(&name, &call.file, call.line);
        if !whole.system_name.is_empty() {
            *call = whole;
        }
    }
    calls
}

fn named(mut calls: Vec<Call>) -> Vec<Call> {
    calls.retain(|call| !call.function.is_empty());
    calls
}
