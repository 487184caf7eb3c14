//! Positions in a dictionary: runs of one value, and groups of eight values of a few bits each. Hot.
//!
//! The format's "RLE/bit-packing hybrid": a varint says what follows. Its lowest bit is 0 for a run of
//! (varint / 2) times the value in the next bytes, and 1 for (varint / 2) groups of eight packed values.

use super::Fault;

/// Values of at most this many bits are positions in a dictionary.
const MAX_WIDTH: u8 = 32;

const CUT: Fault = Fault::Damaged("the positions of a page are cut off");

/// The same position several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) key: u32,
    pub(super) length: u32,
}

/// Decodes the `count` positions of a page, whose first byte is their width, one by one.
pub(super) fn keys(page: &[u8], count: usize, out: &mut Vec<u32>) -> Result<(), Fault> {
    out.clear();
    out.reserve(count);
    each(page, count, |piece| match piece {
        Piece::Run(run) => out.extend(std::iter::repeat_n(run.key, run.length as usize)),
        Piece::Keys(keys) => out.extend_from_slice(keys),
    })
}

/// Decodes the `count` positions of a page, whose first byte is their width, as runs.
pub(super) fn runs(page: &[u8], count: usize, out: &mut Vec<Run>) -> Result<(), Fault> {
    out.clear();
    let mut open = Run { key: 0, length: 0 };
    each(page, count, |piece| match piece {
        Piece::Run(run) => add(run, &mut open, out),
        Piece::Keys(keys) => keys.iter().for_each(|&key| add(Run { key, length: 1 }, &mut open, out)),
    })?;
    if open.length > 0 {
        out.push(open);
    }
    Ok(())
}

#[inline]
fn add(run: Run, open: &mut Run, out: &mut Vec<Run>) {
    if run.key == open.key {
        open.length += run.length;
        return;
    }
    if open.length > 0 {
        out.push(*open);
    }
    *open = run;
}

/// Decodes the `count` levels of a page that are 0 or 1.
pub(super) fn levels(bytes: &[u8], count: usize, out: &mut Vec<u32>) -> Result<(), Fault> {
    out.clear();
    out.reserve(count);
    pieces(1, bytes, count, |piece| match piece {
        Piece::Run(run) => out.extend(std::iter::repeat_n(run.key, run.length as usize)),
        Piece::Keys(keys) => out.extend_from_slice(keys),
    })
}

enum Piece<'a> {
    Run(Run),
    Keys(&'a [u32]),
}

#[inline]
fn each(page: &[u8], count: usize, take: impl FnMut(Piece<'_>)) -> Result<(), Fault> {
    let (&width, bytes) = page.split_first().ok_or(CUT)?;
    pieces(width, bytes, count, take)
}

#[inline]
fn pieces(width: u8, mut bytes: &[u8], count: usize, mut take: impl FnMut(Piece<'_>)) -> Result<(), Fault> {
    if width > MAX_WIDTH {
        return Err(Fault::Damaged("the positions of a page are too wide"));
    }
    let mut left = u32::try_from(count).map_err(|_| CUT)?;
    let mut unpacked = [[0u32; 8]; GROUPS];
    while left > 0 {
        let (head, rest) = varint(bytes)?;
        bytes = rest;
        if head >> 1 == 0 {
            return Err(Fault::Damaged("the positions of a page have an empty run"));
        }
        if head & 1 == 0 || width == 0 {
            let values = if head & 1 == 0 { head >> 1 } else { (head >> 1).saturating_mul(8) };
            let length = u32::try_from(values).unwrap_or(u32::MAX).min(left);
            let (value, rest) = bytes.split_at_checked(usize::from(width).div_ceil(8)).ok_or(CUT)?;
            bytes = rest;
            let key = value.iter().rev().fold(0u32, |key, &byte| key << 8 | u32::from(byte));
            take(Piece::Run(Run { key, length }));
            left -= length;
            continue;
        }
        let groups = usize::try_from(head >> 1).unwrap_or(usize::MAX);
        let length = groups.saturating_mul(usize::from(width)).min(bytes.len());
        let (mut packed, rest) = bytes.split_at_checked(length).ok_or(CUT)?;
        bytes = rest;
        while left > 0 && packed.len() >= usize::from(width) {
            let groups = unpack(width, packed, &mut unpacked);
            packed = packed.get(groups * usize::from(width)..).unwrap_or_default();
            let keys = unpacked.get(..groups).unwrap_or_default().as_flattened();
            let keys = keys.get(..left as usize).unwrap_or(keys);
            take(Piece::Keys(keys));
            left -= keys.len() as u32;
        }
        if left > 0 && length < groups.saturating_mul(usize::from(width)) {
            return Err(CUT);
        }
    }
    Ok(())
}

/// So many groups of eight values are unpacked at a time.
const GROUPS: usize = 64;

/// Bytes that the eight values of a group are cut out of: those of the widest, and what a word read at the
/// last one reaches beyond.
const WINDOW: usize = 40;

/// Unpacks the first groups of `packed`, each of as many bytes as one value has bits; returns how many.
#[inline]
fn unpack(width: u8, packed: &[u8], out: &mut [[u32; 8]; GROUPS]) -> usize {
    macro_rules! by_width {
        ($($width:literal)*) => {
            match width {
                $($width => unpack_width::<$width>(packed, out),)*
                _ => 0,
            }
        };
    }
    by_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)
}

fn unpack_width<const WIDTH: usize>(packed: &[u8], out: &mut [[u32; 8]; GROUPS]) -> usize {
    let groups = (packed.len() / WIDTH).min(GROUPS);
    for (at, values) in out.iter_mut().take(groups).enumerate() {
        let rest = packed.get(at * WIDTH..).unwrap_or_default();
        match rest.first_chunk::<WINDOW>() {
            Some(window) => unpack_group::<WIDTH>(window, values),
            None => {
                let mut window = [0; WINDOW];
                window.iter_mut().zip(rest).for_each(|(to, &byte)| *to = byte);
                unpack_group::<WIDTH>(&window, values);
            }
        }
    }
    groups
}

#[inline]
fn unpack_group<const WIDTH: usize>(window: &[u8; WINDOW], values: &mut [u32; 8]) {
    let mask = u64::MAX >> (64 - WIDTH);
    for (at, value) in values.iter_mut().enumerate() {
        let bit = at * WIDTH;
        let word = window.get(bit / 8..).and_then(|rest| rest.first_chunk::<8>());
        let word = word.map_or(0, |word| u64::from_le_bytes(*word));
        *value = (word >> (bit % 8) & mask) as u32;
    }
}

/// An unsigned LEB128 number and what follows it.
#[inline]
pub(super) fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), Fault> {
    let mut value = 0u64;
    for (at, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at).min(63);
        if byte < 0x80 {
            return Ok((value, bytes.get(at + 1..).unwrap_or_default()));
        }
    }
    Err(CUT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Packs pieces: runs, and values that fill up groups of eight.
    fn page(width: u8, pieces: &[(bool, Vec<u32>)]) -> (Vec<u8>, Vec<u32>) {
        let (mut page, mut expect) = (vec![width], Vec::new());
        for (is_run, values) in pieces {
            let mask = if width == 0 { 0 } else { u32::MAX >> (32 - width) };
            let values: Vec<u32> = values.iter().map(|value| value & mask).collect();
            if *is_run {
                let (key, length) = (values[0], values.len() as u32);
                write(&mut page, u64::from(length) << 1);
                page.extend_from_slice(&key.to_le_bytes()[..usize::from(width).div_ceil(8)]);
                expect.extend(std::iter::repeat_n(key, length as usize));
                continue;
            }
            for group in values.chunks_exact(8) {
                page.push(1 << 1 | 1);
                let bits = group.iter().enumerate();
                let bits = bits.fold([0u128; 2], |mut bits, (at, &value)| {
                    let shift = at * usize::from(width);
                    bits[shift / 128] |= u128::from(value) << (shift % 128);
                    if shift % 128 + usize::from(width) > 128 {
                        bits[1] |= u128::from(value) >> (128 - shift % 128);
                    }
                    bits
                });
                let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
                page.extend_from_slice(&bytes[..usize::from(width)]);
                expect.extend_from_slice(group);
            }
        }
        (page, expect)
    }

    fn write(page: &mut Vec<u8>, mut value: u64) {
        while value >= 0x80 {
            page.push(value as u8 | 0x80);
            value >>= 7;
        }
        page.push(value as u8);
    }

    proptest! {
        #[test]
        fn both_forms_decode(
            width in 0u8..=32,
            pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u32>(), 8..200)), 0..12),
            cut in 0usize..8,
        ) {
            let (page, mut expect) = page(width, &pieces);
            expect.truncate(expect.len().saturating_sub(cut));
            let (mut flat, mut run_list) = (Vec::new(), Vec::new());
            keys(&page, expect.len(), &mut flat).unwrap();
            prop_assert_eq!(&flat, &expect);
            runs(&page, expect.len(), &mut run_list).unwrap();
            let unrolled = run_list.iter().flat_map(|run| std::iter::repeat_n(run.key, run.length as usize));
            prop_assert_eq!(unrolled.collect::<Vec<_>>(), expect);
            prop_assert!(run_list.windows(2).all(|pair| pair[0].key != pair[1].key));
        }

        #[test]
        fn any_bytes_end(page in prop::collection::vec(any::<u8>(), 0..100), count in 0usize..10_000) {
            let (mut flat, mut run_list) = (Vec::new(), Vec::new());
            let whole = keys(&page, count, &mut flat).is_ok();
            prop_assert!(!whole || flat.len() == count);
            prop_assert_eq!(runs(&page, count, &mut run_list).is_ok(), whole);
        }
    }
}
