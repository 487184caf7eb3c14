//! What is read of an ELF file beside its tables of functions: its head, its ids, its segments.

use crate::build_id::hex;
use object::{Object, ObjectSection, ObjectSegment, SectionFlags, SegmentFlags};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Bytes of a file that [`check_head`] looks at.
pub(crate) const HEAD: usize = 64;
/// Longest note that is read; Go's id has 83 bytes.
const MAX_NOTE: usize = 4096;
/// Most segments that are read; real files have a dozen.
const MAX_SEGMENTS: usize = 256;
/// Sections with names of functions: of DWARF, of the linker, of Go.
const NAMES: [&str; 5] = [".debug_info", ".zdebug_info", ".symtab", ".gopclntab", ".data.rel.ro.gopclntab"];
/// Most sections that are looked at for their alignment.
const MAX_SECTIONS: usize = 4096;

/// A part of the file that is loaded into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where the file wants it.
    pub(crate) address: u64,
    /// Where its bytes are in the file.
    pub(crate) file_offset: u64,
    /// How many bytes of the file it has.
    pub(crate) file_size: u64,
    /// How many bytes it has in memory.
    pub(crate) memory_size: u64,
    /// Offset and address are equal modulo this.
    pub(crate) align: u64,
    /// Whether there is code in it.
    pub(crate) executable: bool,
}

/// The ids that a file has of itself, in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    /// What the linker wrote.
    pub(crate) gnu: Option<String>,
    /// What Go's linker wrote; its text in hexadecimal.
    pub(crate) go: Option<String>,
}

/// Says what is wrong with the first bytes of a file that should be an ELF file of 32 or 64 bits.
pub(crate) fn check_head(head: &[u8]) -> Result<(), &'static str> {
    match head {
        [0x7f, b'E', b'L', b'F', class, order, 1, ..] if head.len() >= 52 => match (class, order) {
            (1 | 2, 1 | 2) => Ok(()),
            _ => Err("it is an ELF file of an unknown class or byte order"),
        },
        [0x7f, b'E', b'L', b'F', ..] => Err("its ELF header is cut off, or of an unknown version"),
        [] => Err("it is empty"),
        _ => Err("it is no ELF file"),
    }
}

/// A file in memory. The files of the store are never written to once they have their name: they are
/// replaced or removed, and what is mapped of them stays.
pub(crate) fn map(path: &Path) -> std::io::Result<memmap2::Mmap> {
    let file = File::open(path)?;
    #[allow(unsafe_code)]
    // SAFETY: nobody writes to or cuts a file of the store, see above.
    unsafe {
        memmap2::Mmap::map(&file)
    }
}

/// The ids of the file whose bytes are `data`.
pub(crate) fn ids(data: &[u8]) -> Result<Ids, object::Error> {
    let file = object::File::parse(data)?;
    let gnu = file.build_id()?.filter(|id| !id.is_empty() && id.len() <= MAX_NOTE).map(hex);
    let go = file.section_by_name(".note.go.buildid").and_then(|section| section.data().ok());
    let go = go.and_then(|note| go_note(note, file.is_little_endian())).map(hex);
    Ok(Ids { gnu, go })
}

/// Whether the file at `path` has names of functions, beside those that other files may call.
pub(crate) fn has_names(path: &Path) -> bool {
    let read = || {
        let map = map(path).ok()?;
        let file = object::File::parse(&*map).ok()?;
        let mut sections = file.sections();
        let found = sections
            .any(|section| section.size() > 0 && section.name().is_ok_and(|name| NAMES.contains(&name)));
        Some(found)
    };
    catch_unwind(AssertUnwindSafe(read)).ok().flatten().unwrap_or(false)
}

/// The description in a note: three numbers (lengths of name and description, kind), the name, the
/// description, each filled up to four bytes.
fn go_note(note: &[u8], little_endian: bool) -> Option<&[u8]> {
    let number = |at: usize| {
        let bytes: [u8; 4] = note.get(at..at.checked_add(4)?)?.try_into().ok()?;
        let number = if little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
        usize::try_from(number).ok()
    };
    let (name, description) = (number(0)?, number(4)?);
    let start = 12usize.checked_add(name.checked_next_multiple_of(4)?)?;
    let found = note.get(start..start.checked_add(description)?)?;
    (!found.is_empty() && found.len() <= MAX_NOTE).then_some(found)
}

/// The segments of a file in the order of their addresses.
pub(crate) fn segments(file: &object::File<'_>) -> Vec<Segment> {
    let sections: Vec<(u64, u64)> =
        file.sections().take(MAX_SECTIONS).map(|section| (section.address(), section.align())).collect();
    let segments = file.segments().take(MAX_SEGMENTS).map(|segment| {
        let (file_offset, file_size) = segment.file_range();
        let executable = match segment.flags() {
            SegmentFlags::Elf { p_flags } => p_flags & object::elf::PF_X != 0,
            _ => false,
        };
        let (address, memory_size) = (segment.address(), segment.size());
        // GNU ld moves a segment for the sake of its sections, and does not say so.
        let within =
            sections.iter().filter(|(at, _)| at.checked_sub(address).is_some_and(|into| into < memory_size));
        let align = within.map(|&(_, align)| align).fold(segment.align(), u64::max);
        Segment { address, file_offset, file_size, memory_size, align, executable }
    });
    let mut segments: Vec<Segment> = segments.collect();
    segments.sort_by_key(|segment| segment.address);
    segments
}

/// Whether the code of a file was taken out of it, and where it was with it.
///
/// `objcopy --only-keep-debug` leaves the segments' addresses, but neither offsets nor sizes in the file;
/// `eu-strip` leaves all.
pub(crate) fn has_lost_offsets(file: &object::File<'_>, segments: &[Segment]) -> bool {
    let is_gone = |section: object::Section<'_, '_>| match section.flags() {
        SectionFlags::Elf { sh_flags } => {
            sh_flags & u64::from(object::elf::SHF_EXECINSTR) != 0 && section.file_range().is_none()
        }
        _ => false,
    };
    let is_cut = |segment: &Segment| segment.executable && segment.file_size < segment.memory_size;
    segments.iter().any(is_cut) && file.sections().any(is_gone)
}

/// The segments as they were before their offsets were lost, as far as that can be told: linkers put each at the
/// first offset behind the one before that its address allows.
pub(crate) fn with_likely_offsets(segments: &[Segment]) -> Vec<Segment> {
    let mut end = 0u64;
    let likely = segments.iter().map(|segment| {
        let align = if segment.align.is_power_of_two() { segment.align } else { 1 };
        let file_offset = end.saturating_add(segment.address.wrapping_sub(end) & (align - 1));
        end = file_offset.saturating_add(segment.memory_size);
        Segment { file_offset, file_size: segment.memory_size, ..*segment }
    });
    likely.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let mut head = [0; HEAD];
        head[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        assert_eq!(check_head(&head), Ok(()));
        assert!(check_head(&head[..20]).is_err());
        head[4] = 7;
        assert!(check_head(&head).is_err());
        assert!(check_head(b"").is_err() && check_head(b"MZ").is_err());
    }

    #[test]
    fn notes() {
        let note = [&[4, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0][..], b"Go\0\0", b"a/b\0"].concat();
        assert_eq!(go_note(&note, true), Some(&b"a/b"[..]));
        assert_eq!(go_note(&note, false), None);
        assert_eq!(go_note(&note[..17], true), None);
        assert_eq!(go_note(&[255; 16], true), None);
    }

    #[test]
    fn offsets_that_were_lost_are_those_that_linkers_choose() {
        type Shape<'a> = (&'a str, &'a [(u64, u64, u64)]);
        // Address, offset and size in memory, as the linkers wrote them.
        let shapes: [Shape<'_>; 5] = [
            (
                "GNU ld",
                &[(0, 0, 0xe70), (0x1000, 0x1000, 0x1275), (0x3000, 0x3000, 0x500), (0x4da0, 0x3da0, 0x350)],
            ),
            ("GNU ld, code with the head", &[(0, 0, 0x2578), (0x3da0, 0x2da0, 0x350)]),
            ("lld", &[(0x20_0000, 0, 0x11f0), (0x20_21f0, 0x11f0, 0x1260), (0x20_4450, 0x2450, 0xbb0)]),
            ("lld, a small library", &[(0, 0, 0x5a0), (0x15a0, 0x5a0, 0x300)]),
            ("code far away", &[(0, 0, 0x650), (0x1000, 0x1000, 0x16d), (0x70_0000, 0x2000, 0x20)]),
        ];
        for (name, shape) in shapes {
            let segment = |file_offset, file_size, (address, _, memory_size): (u64, u64, u64)| Segment {
                address,
                file_offset,
                file_size,
                memory_size,
                align: 0x1000,
                executable: true,
            };
            let lost: Vec<Segment> = shape.iter().map(|&shape| segment(shape.0 & 0xfff, 0, shape)).collect();
            let whole: Vec<Segment> = shape.iter().map(|&shape| segment(shape.1, shape.2, shape)).collect();
            assert_eq!(with_likely_offsets(&lost), whole, "{name}");
        }
        // What no linker writes ends all the same.
        let odd = Segment {
            address: u64::MAX,
            file_offset: 0,
            file_size: 0,
            memory_size: u64::MAX,
            align: u64::MAX,
            executable: true,
        };
        assert_eq!(with_likely_offsets(&[odd, odd]).len(), 2);
    }
}
