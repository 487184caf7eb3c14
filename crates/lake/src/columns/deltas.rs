//! Numbers as differences, the format's DELTA_BINARY_PACKED: blocks of miniblocks, each with a width of
//! its own, on top of the smallest difference of the block.

use super::Fault;
use super::packed::varint;

const CUT: Fault = Fault::Damaged("the differences of a page are cut off");

/// A miniblock has at most so many values; writers use 32 or 64.
const MAX_MINIBLOCK: u64 = 1 << 16;

/// Decodes the `count` numbers of a page.
pub(super) fn numbers(page: &[u8], count: usize, out: &mut Vec<i64>) -> Result<(), Fault> {
    out.clear();
    let (block, bytes) = varint(page)?;
    let (miniblocks, bytes) = varint(bytes)?;
    let (total, bytes) = varint(bytes)?;
    let (first, mut bytes) = zigzag(bytes)?;
    if total != count as u64 {
        return Err(Fault::Damaged("a page has another number of differences than of values"));
    }
    if count == 0 {
        return Ok(());
    }
    let per_miniblock = block.checked_div(miniblocks).unwrap_or(0);
    if per_miniblock == 0 || per_miniblock > MAX_MINIBLOCK || per_miniblock % 8 != 0 {
        return Err(Fault::Damaged("the differences of a page lie in blocks of an impossible size"));
    }
    let (per_miniblock, miniblocks) = (per_miniblock as usize, usize::try_from(miniblocks).map_err(|_| CUT)?);
    out.reserve(count);
    out.push(first);
    let mut last = first;
    let mut left = count - 1;
    while left > 0 {
        let (least, rest) = zigzag(bytes)?;
        let (widths, rest) = rest.split_at_checked(miniblocks).ok_or(CUT)?;
        bytes = rest;
        for &width in widths {
            if left == 0 {
                break;
            }
            if width > 64 {
                return Err(Fault::Damaged("the differences of a page are too wide"));
            }
            let taken = left.min(per_miniblock);
            // The last miniblock of a page is padded by most writers, and cut by others.
            let whole = per_miniblock / 8 * usize::from(width);
            let needed = (taken * usize::from(width)).div_ceil(8);
            let packed =
                bytes.get(..whole.min(bytes.len())).filter(|packed| packed.len() >= needed).ok_or(CUT)?;
            bytes = bytes.get(packed.len()..).unwrap_or_default();
            out.extend((0..taken).map(|at| {
                let difference = bits(packed, at * usize::from(width), width);
                last = last.wrapping_add(least).wrapping_add(difference.cast_signed());
                last
            }));
            left -= taken;
        }
    }
    Ok(())
}

/// Values of so many bits never reach beyond the eight bytes that begin with their first one.
const WITHIN_WORD: u8 = 57;

/// The `width` bits from `bit` on.
#[inline]
fn bits(packed: &[u8], bit: usize, width: u8) -> u64 {
    if width == 0 {
        return 0;
    }
    let (start, shift) = (bit / 8, bit % 8);
    let rest = packed.get(start..).unwrap_or_default();
    let bits = match rest.first_chunk::<8>() {
        Some(word) if width <= WITHIN_WORD => u64::from_le_bytes(*word) >> shift,
        _ => wide_bits(rest, shift),
    };
    bits & (u64::MAX >> (64 - width))
}

#[inline(never)]
fn wide_bits(rest: &[u8], shift: usize) -> u64 {
    let word = rest.iter().take(16).rev().fold(0u128, |word, &byte| word << 8 | u128::from(byte));
    (word >> shift) as u64
}

fn zigzag(bytes: &[u8]) -> Result<(i64, &[u8]), Fault> {
    let (value, rest) = varint(bytes)?;
    Ok(((value >> 1).cast_signed() ^ -(value & 1).cast_signed(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_of_every_width_come_back(numbers in prop::collection::vec(any::<u64>(), 1..40), width in 1u8..=64) {
            let mut packed = vec![0u8; (numbers.len() * usize::from(width)).div_ceil(8)];
            for (at, number) in numbers.iter().enumerate() {
                for bit in (0..usize::from(width)).filter(|bit| number >> bit & 1 != 0) {
                    let place = at * usize::from(width) + bit;
                    packed[place / 8] |= 1 << (place % 8);
                }
            }
            for (at, number) in numbers.iter().enumerate() {
                let kept = number & (u64::MAX >> (64 - width));
                prop_assert_eq!(bits(&packed, at * usize::from(width), width), kept);
            }
        }

        #[test]
        fn any_bytes_end(page in prop::collection::vec(any::<u8>(), 0..100), count in 0usize..10_000) {
            let mut out = Vec::new();
            let whole = numbers(&page, count, &mut out).is_ok();
            prop_assert!(!whole || out.len() == count);
        }
    }
}
