//! Names, files and lines from DWARF, with what was inlined.

use crate::call::{Call, MAX_CALLS};
use addr2line::Context;
use gimli::{DwarfSections, EndianSlice, RunTimeEndian, SectionId};
use object::{CompressionFormat, Object, ObjectSection};
use std::borrow::Cow;

/// Bytes that the compressed sections of a file may be in memory.
const MAX_INFLATED: u64 = 512 << 20;

/// The sections of a file, inflated where they are compressed.
pub(crate) struct Sections<'data> {
    sections: DwarfSections<Cow<'data, [u8]>>,
    endian: RunTimeEndian,
}

impl<'data> Sections<'data> {
    /// The debug information of `file`; none when there is none. A section that cannot be inflated is
    /// as if it were not there.
    pub(crate) fn of(file: &object::File<'data>) -> Option<Self> {
        let mut room = MAX_INFLATED;
        let load = |id: SectionId| -> Result<Cow<'data, [u8]>, std::convert::Infallible> {
            let section = file.section_by_name(id.name());
            let data = section.and_then(|section| inflated(section.compressed_data().ok()?, &mut room));
            Ok(data.unwrap_or_default())
        };
        let Ok(sections) = DwarfSections::load(load);
        let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
        let is_there = file.section_by_name(SectionId::DebugInfo.name()).is_some();
        is_there.then_some(Self { sections, endian })
    }

    /// What the sections say, ready to be asked.
    pub(crate) fn context(&self) -> Option<Dwarf<'_>> {
        let dwarf = self.sections.borrow(|data| EndianSlice::new(data, self.endian));
        Context::from_dwarf(dwarf).ok().map(Dwarf)
    }
}

fn inflated<'data>(section: object::CompressedData<'data>, room: &mut u64) -> Option<Cow<'data, [u8]>> {
    if section.format != CompressionFormat::None {
        *room = room.checked_sub(section.uncompressed_size)?;
    }
    section.decompress().ok()
}

/// Debug information that can be asked for addresses.
pub(crate) struct Dwarf<'a>(Context<EndianSlice<'a, RunTimeEndian>>);

impl Dwarf<'_> {
    /// The calls at `address`, innermost first. The outermost may have a place but no name.
    pub(crate) fn calls(&self, address: u64) -> Vec<Call> {
        let mut calls = Vec::new();
        let Ok(mut frames) = self.0.find_frames(address).skip_all_loads() else { return calls };
        while let Ok(Some(frame)) = frames.next() {
            let (file, line) = frame.location.as_ref().map_or(("", 0), |location| {
                (location.file.unwrap_or_default(), location.line.unwrap_or_default())
            });
            let name = frame.function.as_ref().and_then(|function| function.raw_name().ok());
            calls.push(Call::new(name.as_deref().unwrap_or_default(), file, line));
            if calls.len() == MAX_CALLS {
                break;
            }
        }
        calls
    }
}
