//! Where an instruction is, in a way that does not depend on where the kernel put the file in memory.

use crate::elf::Segment;
use everflame_profile::{Frame, Mapping};
use serde::{Deserialize, Serialize};

/// The size of a page, to which mappings are rounded. Some machines have larger ones, and then round to a
/// multiple of it.
const PAGE: u64 = 4096;

/// The place of an instruction in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Place {
    /// An address as the file itself numbers them: the sender has taken off where the file was put.
    Virtual(u64),
    /// So many bytes (`.1`) into a mapping that begins at this offset (`.0`) in the file.
    Mapped(u64, u64),
}

impl Place {
    /// The place of a frame that has an address in `mapping`.
    ///
    /// An address within the mapping is one of memory. One outside is normalised already: agents send the
    /// mapping as the kernel told it beside addresses as the file has them.
    pub fn of(frame: &Frame, mapping: &Mapping) -> Self {
        let within = (mapping.memory_start..mapping.memory_limit).contains(&frame.address);
        if mapping.memory_start > 0 && within {
            Self::Mapped(mapping.file_offset, frame.address - mapping.memory_start)
        } else {
            Self::Virtual(frame.address)
        }
    }

    /// The address as the file numbers them; none when `segments`, which are in the order of addresses, say
    /// nothing about it.
    pub(crate) fn address(self, segments: &[Segment]) -> Option<u64> {
        let (offset, into) = match self {
            Self::Virtual(address) => return Some(address),
            Self::Mapped(offset, into) => (offset, into),
        };
        let at = offset.checked_add(into)?;
        let holding = |segment: &&Segment| {
            let end = segment.file_offset.saturating_add(segment.file_size);
            // The kernel maps whole pages: what lies before and behind a segment comes along.
            let start = segment.file_offset & !(PAGE - 1);
            segment.executable && segment.file_size > 0 && (start..end.saturating_add(PAGE)).contains(&at)
        };
        let exact = |segment: &&Segment| {
            let end = segment.file_offset.saturating_add(segment.file_size);
            (segment.file_offset..end).contains(&at)
        };
        let found = segments.iter().filter(|segment| segment.executable).find(exact);
        let found = found.or_else(|| segments.iter().find(holding)).or_else(|| segments.iter().find(exact));
        if let Some(segment) = found {
            // `at` may lie before the segment's own offset, in the same page.
            return segment.address.checked_add(at)?.checked_sub(segment.file_offset);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(address: u64, file_offset: u64, file_size: u64, executable: bool) -> Segment {
        Segment { address, file_offset, file_size, memory_size: file_size, align: PAGE, executable }
    }

    #[test]
    fn addresses_of_memory_become_those_of_the_file() {
        // As GNU ld lays out an executable that can be anywhere, Go one that cannot, and lld a library.
        let pie = [segment(0, 0, 0x600, false), segment(0x1000, 0x1000, 0x200, true)];
        let go = [segment(0x40_0000, 0, 0x8_0000, true), segment(0x48_0000, 0x8_0000, 0x9_0000, false)];
        let lld = [segment(0, 0, 0x5a0, false), segment(0x15a0, 0x5a0, 0x300, true)];
        let fixed = [segment(0x1000, 0x1000, 0x200, true), segment(0x70_0000, 0x4000, 0x20, true)];
        let mapping = |start, limit, offset| Mapping {
            memory_start: start,
            memory_limit: limit,
            file_offset: offset,
            ..Mapping::default()
        };
        let there = mapping(0x5555_5555_5000, 0x5555_5555_6000, 0x1000);
        for (address, mapping, segments, expect) in [
            (0x5555_5555_5139, there, &pie, Some(0x1139)),
            (0x1139, there, &pie, Some(0x1139)),
            (0x40_1234, mapping(0x40_0000, 0x48_0000, 0), &go, Some(0x40_1234)),
            (0x7f00_0000_05b0, mapping(0x7f00_0000_0000, 0x7f00_0000_1000, 0), &lld, Some(0x15b0)),
            (0x5555_5555_5139, there, &fixed, Some(0x1139)),
            (0x5555_5600_0008, mapping(0x5555_5600_0000, 0x5555_5600_1000, 0x4000), &fixed, Some(0x70_0008)),
            // A mapping that begins within its segment.
            (0x5555_5558_2139, mapping(0x5555_5558_2000, 0x5555_5558_3000, 0x2000), &go, Some(0x40_2139)),
            (0x5555_5555_5139, mapping(0x5555_5555_5000, 0x5555_5555_6000, 0x9_0000), &pie, None),
            (u64::MAX - 1, mapping(1, u64::MAX, u64::MAX - 4), &pie, None),
            (0x1139, mapping(0, u64::MAX, 0), &pie, Some(0x1139)),
        ] {
            let frame = Frame { address, ..Frame::default() };
            assert_eq!(Place::of(&frame, &mapping).address(segments), expect, "{address:#x} {mapping:?}");
        }
    }
}
