//! What is read of an ELF file beside its tables of functions: its head, its ids, its segments.

use crate::build_id::hex;
use object::{Object, ObjectSection, ObjectSegment, SegmentFlags};
use std::fs::File;
use std::path::Path;

/// Bytes of a file that [`check_head`] looks at.
pub(crate) const HEAD: usize = 64;
/// Longest note that is read; Go's id has 83 bytes.
const MAX_NOTE: usize = 4096;
/// Most segments that are read; real files have a dozen.
const MAX_SEGMENTS: usize = 256;

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
    let segments = file.segments().take(MAX_SEGMENTS).map(|segment| {
        let (file_offset, file_size) = segment.file_range();
        let executable = match segment.flags() {
            SegmentFlags::Elf { p_flags } => p_flags & object::elf::PF_X != 0,
            _ => false,
        };
        Segment {
            address: segment.address(),
            file_offset,
            file_size,
            memory_size: segment.size(),
            executable,
        }
    });
    let mut segments: Vec<Segment> = segments.collect();
    segments.sort_by_key(|segment| segment.address);
    segments
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
}
