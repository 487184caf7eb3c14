//! Gzip (RFC 1952) through libdeflate, bounded in bytes and in ratio.

use crate::inflater::{Fault, Inflater};
use crate::{Error, Limits};
use libdeflater::{CompressionLvl, Compressor};
use std::borrow::Cow;
use std::cell::Cell;

const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Of 12.
const LEVEL: i32 = 3;

/// Whether `bytes` starts as gzip does. Names and content types of senders do not tell.
pub fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Hands `bytes` to `read`, inflated when they are gzip, as they are otherwise; never more than `limits`
/// allows. What was inflated lies in a buffer that this thread keeps.
pub(crate) fn with_inflated<T>(
    bytes: &[u8],
    limits: &Limits,
    read: impl FnOnce(&[u8]) -> Result<T, Error>,
) -> Result<T, Error> {
    if !is_gzip(bytes) {
        return match bytes.len() > limits.inflated_bytes {
            true => Err(too_large(limits.inflated_bytes)),
            false => read(bytes),
        };
    }
    // Taken out, so that `read` may inflate as well.
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let result = scratch.inflate(bytes, limits).and_then(|length| {
        let inflated = scratch.out.get(..length).unwrap_or_default();
        read(inflated)
    });
    scratch.shrink();
    SCRATCH.set(Some(scratch));
    result
}

/// `bytes` inflated when they are gzip, as they are otherwise; never more than `limits` allows.
pub fn inflate_if_gzip<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Cow<'a, [u8]>, Error> {
    if is_gzip(bytes) {
        return inflate(bytes, limits).map(Cow::Owned);
    }
    match bytes.len() > limits.inflated_bytes {
        true => Err(too_large(limits.inflated_bytes)),
        false => Ok(Cow::Borrowed(bytes)),
    }
}

/// Inflates one or several concatenated members; zero bytes after the last are padding.
pub fn inflate(bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let result = scratch.inflate(bytes, limits).map(|length| {
        if scratch.out.len() <= KEPT_BYTES {
            return scratch.out.get(..length).unwrap_or_default().to_vec();
        }
        let mut out = std::mem::take(&mut scratch.out);
        out.truncate(length);
        out
    });
    scratch.shrink();
    SCRATCH.set(Some(scratch));
    result
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Bytes of the output buffer that a thread keeps: most profiles fit when inflated.
const KEPT_BYTES: usize = 512 << 10;

/// Bytes of the output buffer to begin with.
const FIRST_BYTES: usize = 64 << 10;

/// What inflating needs and what is worth keeping: tables, and a buffer that needs no zeroing.
struct Scratch {
    inflater: Inflater,
    out: Vec<u8>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { inflater: Inflater::new(), out: Vec::new() }
    }
}

impl Scratch {
    fn shrink(&mut self) {
        if self.out.len() > KEPT_BYTES {
            self.out = Vec::new();
        }
    }

    /// Inflates `bytes` into `out` and returns how many bytes they became.
    fn inflate(&mut self, bytes: &[u8], limits: &Limits) -> Result<usize, Error> {
        let by_ratio = bytes.len().saturating_mul(limits.inflated_ratio).max(limits.inflated_floor);
        let most = limits.inflated_bytes.min(by_ratio);
        // The last four bytes are the length, exact for one member without padding. A smaller one is that
        // of the last member of several, which says nothing about the others.
        let hint = bytes.last_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length) as usize);
        let plausible = hint >= bytes.len() / 2 && hint <= most;
        let first = if plausible { hint } else { bytes.len().saturating_mul(4) };
        self.grow(0, first.max(FIRST_BYTES).min(most));
        let (mut filled, mut rest) = (0, bytes);
        loop {
            let end = self.out.len().min(most);
            let space = self.out.get_mut(filled..end).unwrap_or_default();
            match self.inflater.member(rest, space) {
                Ok(member) => {
                    filled += member.inflated;
                    rest = rest.get(member.compressed..).unwrap_or_default();
                    if is_gzip(rest) {
                        continue;
                    }
                    return match rest.iter().all(|&byte| byte == 0) {
                        true => Ok(filled),
                        false => Err(Error::malformed(
                            "gzip",
                            "other bytes follow the compressed data",
                            "send the gzip data alone",
                        )),
                    };
                }
                Err(Fault::NoRoom) if end < most => {
                    self.grow(filled, end.saturating_mul(2).max(4096).min(most));
                }
                Err(Fault::NoRoom) => return Err(too_large(most)),
                Err(Fault::Damaged) => {
                    return Err(Error::malformed(
                        "gzip",
                        format_args!("the member at byte {} is damaged or cut off", bytes.len() - rest.len()),
                        "send the whole body, unchanged",
                    ));
                }
            }
        }
    }

    /// Makes room for `length` bytes, of which the first `filled` are kept.
    fn grow(&mut self, filled: usize, length: usize) {
        if self.out.len() >= length {
            return;
        }
        if filled == 0 {
            // Nothing to keep: the old buffer goes first, so that not both are held.
            self.out = Vec::new();
            self.out = vec![0; length];
        } else {
            self.out.resize(length, 0);
        }
    }
}

/// Compresses `bytes`: one member, no name and no time, so that equal input gives equal output.
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::new(LEVEL).unwrap_or_default());
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    // The buffer has the size that libdeflate asks for, so that this cannot fail.
    let written = compressor.gzip_compress(bytes, &mut out).unwrap_or_default();
    out.truncate(written);
    out
}

fn too_large(most: usize) -> Error {
    Error::too_large(
        "body",
        format_args!("it is larger than {most} bytes when inflated"),
        "send a shorter span or fewer samples at once",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use proptest::prelude::*;

    fn inflate_all(bytes: &[u8]) -> Result<Vec<u8>, Error> {
        inflate(bytes, &Limits::default())
    }

    #[test]
    fn members_follow_each_other_and_zeros_pad() {
        // Equal members end in equal bytes.
        let members = [b"one".as_slice(), b"", b"two and more", b"one", b""];
        let mut bytes: Vec<u8> = members.iter().flat_map(|member| deflate(member)).collect();
        assert_eq!(inflate_all(&bytes).unwrap(), b"onetwo and moreone");
        bytes.extend([0; 700]);
        assert_eq!(inflate_all(&bytes).unwrap(), b"onetwo and moreone");
        bytes.push(1);
        let error = inflate_all(&bytes).unwrap_err();
        assert!(error.to_string().contains("other bytes follow"), "{error}");
    }

    #[test]
    fn bombs_are_stopped() {
        let bomb = deflate(&vec![0; 5 << 20]);
        assert_eq!(inflate_all(&bomb).unwrap_err().kind(), ErrorKind::TooLarge);
        // One that lies about its length is stopped as well.
        let mut liar = bomb.clone();
        let length = liar.len() - 4;
        liar[length..].copy_from_slice(&7u32.to_le_bytes());
        assert_eq!(inflate_all(&liar).unwrap_err().kind(), ErrorKind::TooLarge);
        let many: Vec<u8> = (0..400).flat_map(|_| deflate(&[0; 8 << 10])).collect();
        let limits = Limits { inflated_bytes: 2 << 20, ..Limits::default() };
        assert_eq!(inflate(&many, &limits).unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(inflate_all(&many).unwrap().len(), 400 * (8 << 10));
    }

    #[test]
    fn damage_is_refused() {
        let mut bytes = deflate(b"some text that is compressed");
        for cut in 2..bytes.len() {
            assert_eq!(inflate_all(&bytes[..cut]).unwrap_err().kind(), ErrorKind::Malformed, "{cut}");
        }
        bytes[15] ^= 0xff;
        assert_eq!(inflate_all(&bytes).unwrap_err().kind(), ErrorKind::Malformed);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5), padding in 0usize..20) {
            let mut bytes: Vec<u8> = parts.iter().flat_map(|part| deflate(part)).collect();
            bytes.resize(bytes.len() + padding, 0);
            prop_assert_eq!(inflate_all(&bytes).unwrap(), parts.concat());
        }
    }
}
