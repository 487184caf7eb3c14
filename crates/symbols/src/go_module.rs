//! The record of a Go program (`runtime.moduledata`) that says where the things are which its table of functions
//! counts from. Nothing points to it in a stripped program, but it begins with the address of the table.
//!
//! Up to the bounds of the code its layout has been the same since Go 1.16; what follows differs between versions.

use crate::elf::Segment;
use object::{Object, ObjectSection, RelocationFlags};
use std::ops::Range;

/// Sections that the record may be in.
const SECTIONS: [&str; 4] = [".go.module", ".noptrdata", ".data", ".data.rel.ro"];
/// Records that are tried.
const MAX_RECORDS: usize = 16;
/// Which words of the record are the addresses of the first function and of the end of the last one.
const FUNCTIONS: [usize; 2] = [20, 21];
/// Which word is the address that functions are counted from.
const TEXT: usize = 22;
/// The words among which the address of the trees of inlined calls is.
const TREES: Range<usize> = 20..72;

/// What may be the record of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GoModule {
    words: Vec<u64>,
}

impl GoModule {
    /// What begins in `file` with the address `table`, in words of `pointer` bytes.
    pub(crate) fn all(file: &object::File<'_>, table: u64, pointer: usize) -> Vec<Self> {
        let mut found = Vec::new();
        for name in SECTIONS {
            let words = words(file, name, pointer).unwrap_or_default();
            let starts = words.iter().enumerate().filter(|(_, word)| **word == table);
            let records = starts.map(|(start, _)| {
                let record = words.get(start..).unwrap_or_default();
                Self { words: record.iter().take(TREES.end).copied().collect() }
            });
            found.extend(records.take(MAX_RECORDS - found.len()));
        }
        found
    }

    /// The address that functions are counted from, when the record agrees with a table whose first function
    /// begins `first` bytes behind it and whose last one ends `end` bytes behind it, and the code is where
    /// `segments` have some.
    pub(crate) fn text(&self, first: u64, end: u64, segments: &[Segment]) -> Option<u64> {
        let text = *self.words.get(TEXT)?;
        let bounds = [text.checked_add(first)?, text.checked_add(end)?];
        let is_code = segments.iter().any(|segment| {
            let limit = segment.address.saturating_add(segment.memory_size);
            segment.executable && segment.address <= text && bounds[1] <= limit
        });
        let fits =
            is_code && FUNCTIONS.iter().zip(bounds).all(|(at, bound)| self.words.get(*at) == Some(&bound));
        fits.then_some(text)
    }

    /// Addresses from which the trees of inlined calls may be counted.
    pub(crate) fn trees(&self) -> impl Iterator<Item = u64> {
        self.words.get(TREES.start..).unwrap_or_default().iter().copied().filter(|&word| word > 0)
    }
}

/// A section as words, those filled in that the loader does when the program can be anywhere.
fn words(file: &object::File<'_>, section: &str, pointer: usize) -> Option<Vec<u64>> {
    let section = file.section_by_name(section)?;
    let (start, data) = (section.address(), section.data().ok()?);
    let little_endian = file.is_little_endian();
    let mut words: Vec<u64> = data.chunks_exact(pointer).map(|word| number(word, little_endian)).collect();
    for (address, relocation) in file.dynamic_relocations().into_iter().flatten() {
        let RelocationFlags::Elf { r_type } = relocation.flags() else { continue };
        // Where the addend is in the word itself, as in files of 32 bits, there is nothing to fill in.
        if relocation.has_implicit_addend() || Some(r_type) != relative(file.architecture()) {
            continue;
        }
        let at =
            address.checked_sub(start).and_then(|into| usize::try_from(into).ok()).map(|into| into / pointer);
        if let Some(word) = at.and_then(|at| words.get_mut(at)) {
            *word = relocation.addend().cast_unsigned();
        }
    }
    Some(words)
}

/// The number in up to eight bytes.
pub(crate) fn number(bytes: &[u8], little_endian: bool) -> u64 {
    let digit = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
    match little_endian {
        true => bytes.iter().rfold(0, digit),
        false => bytes.iter().fold(0, digit),
    }
}

/// The kind of relocation that adds where the program was put.
fn relative(architecture: object::Architecture) -> Option<u32> {
    match architecture {
        object::Architecture::X86_64 => Some(object::elf::R_X86_64_RELATIVE),
        object::Architecture::Aarch64 => Some(object::elf::R_AARCH64_RELATIVE),
        object::Architecture::Riscv64 => Some(object::elf::R_RISCV_RELATIVE),
        object::Architecture::PowerPc64 => Some(object::elf::R_PPC64_RELATIVE),
        object::Architecture::S390x => Some(object::elf::R_390_RELATIVE),
        object::Architecture::LoongArch64 => Some(object::elf::R_LARCH_RELATIVE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_disagrees_with_the_table_says_nothing_of_the_code() {
        let code = Segment {
            address: 0x40_0000,
            file_offset: 0,
            file_size: 0x10_0000,
            memory_size: 0x10_0000,
            align: 0x1000,
            executable: true,
        };
        let record = |first: u64, end: u64, text: u64| {
            let mut words = vec![0; TREES.end];
            (words[FUNCTIONS[0]], words[FUNCTIONS[1]], words[TEXT]) = (first, end, text);
            GoModule { words }
        };
        let data = Segment { executable: false, ..code };
        for (record, segment, expect) in [
            (record(0x40_2490, 0x4e_9461, 0x40_2480), code, Some(0x40_2480)),
            (record(0x40_2480, 0x4e_9461, 0x40_2480), code, None),
            (record(0x40_2490, 0x4e_9470, 0x40_2480), code, None),
            (record(0x40_2490, 0x4e_9461, 0x40_2480), data, None),
            (record(0x10_2490, 0x1e_9461, 0x10_2480), code, None),
            (record(0x47_2490, 0x55_9461, 0x47_2480), code, None),
            (record(0xf, 0xe_6fe0, u64::MAX), code, None),
            (GoModule { words: vec![1] }, code, None),
        ] {
            assert_eq!(record.text(0x10, 0xe_6fe1, &[segment]), expect, "{:x?}", record.words.get(20..23));
        }
    }
}
