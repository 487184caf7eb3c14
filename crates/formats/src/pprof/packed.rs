//! Ids of one byte or two, sixty-four bytes of them at a time: no branch depends on how long each is.

/// Appends to `out` the position of each of the packed `ids` in a table whose entries have the ids 1, 2, 3, … up to
/// `count`. `false`, and nothing is appended, where this processor cannot do that at once, where an id takes more
/// than two bytes or is missing, and where the last one is cut off.
#[inline]
pub(super) fn ascending(ids: &[u8], count: u32, out: &mut Vec<u32>) -> bool {
    !ids.is_empty() && ascending_fields::<PACKED>(ids, count, out) == ids.len()
}

/// As [`ascending`], for the ids that `fields` begins with, each behind the same `KEY` of one byte. Returns how many
/// bytes of it they take. Makes room for as many ids as `fields` has bytes.
#[inline(always)]
pub(super) fn ascending_fields<const KEY: u8>(fields: &[u8], count: u32, out: &mut Vec<u32>) -> usize {
    #[cfg(target_arch = "x86_64")]
    if avx512::is_there() {
        #[expect(unsafe_code, reason = "the processor was asked for what the function needs")]
        // SAFETY: it has what is needed.
        return unsafe { avx512::ascending::<KEY>(fields, count, out) };
    }
    let _ = (fields, count, out);
    0
}

/// Instead of a key.
const PACKED: u8 = 0;

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    /// Bytes looked at together.
    const WINDOW: usize = 64;
    /// Numbers below this have one or two bytes.
    const SHORT: u32 = 1 << 14;
    /// Every second bit.
    const EVERY_OTHER: u64 = 0x5555_5555_5555_5555;

    #[inline(always)]
    pub(super) fn is_there() -> bool {
        is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi2")
            && is_x86_feature_detected!("bmi2")
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,bmi2")]
    #[expect(unsafe_code, reason = "loads and stores of vectors take pointers")]
    pub(super) fn ascending<const KEY: u8>(ids: &[u8], count: u32, out: &mut Vec<u32>) -> usize {
        // An id takes a byte at least, and whole vectors are stored.
        out.reserve(ids.len() + WINDOW);
        let (mut at, mut length, mut missing) = (0, out.len(), 0);
        let count = _mm512_set1_epi16(count.min(SHORT) as i16);
        while at < ids.len() {
            let left = (ids.len() - at).min(WINDOW);
            let valid = u64::MAX >> (WINDOW - left);
            // SAFETY: only the bytes of `valid` are read, which lie in `ids`.
            let bytes = unsafe { _mm512_maskz_loadu_epi8(valid, ids.as_ptr().add(at).cast()) };
            let continues = _mm512_movepi8_mask(bytes);
            let mut ends = !continues & valid;
            // Third bytes of numbers.
            let mut other = continues & continues << 1;
            if KEY != super::PACKED {
                let keys = _pdep_u64(EVERY_OTHER, ends);
                other |=
                    keys & (_mm512_cmpneq_epi8_mask(bytes, _mm512_set1_epi8(KEY as i8)) | continues << 1);
                ends &= !keys;
            }
            // What is below the first of them.
            ends &= other.wrapping_sub(1) & !other;
            if ends == 0 {
                break;
            }
            // SAFETY: each byte read is the one before a byte of `ids`, and itself one of them.
            let before = unsafe {
                _mm512_maskz_loadu_epi8(continues << 1, ids.as_ptr().add(at).wrapping_sub(1).cast())
            };
            // Of each number the last byte, and the one before when it has two; that one has its highest bit set.
            let last = _mm512_maskz_compress_epi8(ends, bytes);
            let first = _mm512_maskz_compress_epi8(ends, before);
            let numbers = ends.count_ones() as usize;
            let halves = [
                (_mm512_castsi512_si256(last), _mm512_castsi512_si256(first)),
                (_mm512_extracti64x4_epi64::<1>(last), _mm512_extracti64x4_epi64::<1>(first)),
            ];
            for (half, (last, first)) in halves.into_iter().enumerate() {
                let done = half * WINDOW / 2;
                if numbers <= done {
                    break;
                }
                let last = _mm512_cvtepu8_epi16(last);
                let first = _mm512_cvtepu8_epi16(first);
                let two = _mm512_test_epi16_mask(first, _mm512_set1_epi16(0x80));
                let low = _mm512_and_si512(first, _mm512_set1_epi16(0x7f));
                let longer = _mm512_or_si512(low, _mm512_slli_epi16::<7>(last));
                let ids = _mm512_mask_blend_epi16(two, last, longer);
                let positions = _mm512_sub_epi16(ids, _mm512_set1_epi16(1));
                let lanes = (u64::MAX >> (WINDOW - numbers) >> done) as u32;
                missing |= _mm512_mask_cmpge_epu16_mask(lanes, positions, count);
                let low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(positions));
                let high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(positions));
                // SAFETY: `ids.len() + WINDOW` more were reserved, and no more numbers than bytes were read.
                unsafe {
                    let to = out.as_mut_ptr().add(length + done);
                    _mm512_storeu_si512(to.cast(), low);
                    _mm512_storeu_si512(to.add(16).cast(), high);
                }
            }
            at += WINDOW - ends.leading_zeros() as usize;
            length += numbers;
            if other != 0 {
                break;
            }
        }
        if missing != 0 || KEY == super::PACKED && at < ids.len() {
            return 0;
        }
        // SAFETY: the numbers up to here were stored.
        unsafe { out.set_len(length) };
        at
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::super::wire::{Cursor, Writer};
    use super::*;
    use proptest::prelude::*;

    fn packed(ids: &[u32]) -> Vec<u8> {
        let mut writer = Writer::default();
        ids.iter().for_each(|&id| writer.varint(id.into()));
        writer.0
    }

    proptest! {
        #[test]
        fn positions_are_ids_less_one(ids in prop::collection::vec((1..1u32 << 14, 0..14u32), 1..400), more in 0..3u32) {
            let ids: Vec<u32> = ids.iter().map(|(id, shift)| (id >> shift).max(1)).collect();
            let count = ids.iter().copied().max().unwrap_or_default();
            let mut out = vec![7, 8];
            prop_assert_eq!(ascending(&packed(&ids), count + more, &mut out), avx512::is_there());
            if avx512::is_there() {
                let expected: Vec<u32> = [7, 8].into_iter().chain(ids.iter().map(|id| id - 1)).collect();
                prop_assert_eq!(&out, &expected);
            }
        }

        #[test]
        fn ids_behind_their_keys_are_read_as_far_as_they_go(
            ids in prop::collection::vec((1..1u32 << 14, 0..14u32), 0..200),
            behind in prop::collection::vec(prop_oneof![Just(8), any::<u8>()], 0..20),
            at in any::<prop::sample::Index>(),
            wrong in prop::option::of(prop_oneof![Just(0), 1 << 14..1u32 << 20]),
        ) {
            let mut ids: Vec<u32> = ids.iter().map(|(id, shift)| (id >> shift).max(1)).collect();
            if let Some(wrong) = wrong {
                ids.insert(at.index(ids.len() + 1), wrong);
            }
            let mut writer = Writer::default();
            for &id in &ids {
                writer.varint(8);
                writer.varint(id.into());
            }
            let length = writer.0.len();
            let bytes = [writer.0, behind].concat();
            let mut out = vec![7];
            let read = ascending_fields::<8>(&bytes, 1 << 14, &mut out);
            // What was read are pairs of the key and a number, by the readers of fields.
            let mut cursor = Cursor::new(&bytes[..read]);
            let mut expected = vec![7];
            while let Some((field, value)) = cursor.field().unwrap() {
                prop_assert_eq!(field, 1);
                expected.push(value.number(1).unwrap() as u32 - 1);
            }
            prop_assert_eq!(out, expected);
            if avx512::is_there() && wrong.is_none() && bytes.get(length).is_none_or(|&key| key != 8) {
                prop_assert_eq!(read, length);
            }
        }

        #[test]
        fn nothing_is_appended_where_one_is_missing_or_long(
            ids in prop::collection::vec((1..1u32 << 14, 0..14u32), 0..200),
            at in any::<prop::sample::Index>(),
            (wrong, count) in prop_oneof![
                Just((0, 1 << 20)),
                (1 << 14..1u32 << 28).prop_map(|id| (id, 1 << 30)),
                (1 << 13..1u32 << 14).prop_map(|id| (id, id - 1)),
            ],
        ) {
            let mut ids: Vec<u32> = ids.iter().map(|(id, shift)| (id >> shift).max(1)).collect();
            ids.insert(at.index(ids.len() + 1), wrong);
            let mut out = vec![7];
            prop_assert!(!ascending(&packed(&ids), count, &mut out));
            prop_assert_eq!(out, [7]);
        }

        #[test]
        fn nothing_is_appended_where_the_last_is_cut_off(ids in prop::collection::vec(1..1u32 << 14, 0..200)) {
            let mut bytes = packed(&ids);
            bytes.push(0x81);
            let mut out = Vec::new();
            prop_assert!(!ascending(&bytes, 1 << 14, &mut out));
            prop_assert!(out.is_empty());
        }
    }
}
