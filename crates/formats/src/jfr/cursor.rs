//! JFR's encoding: compressed integers and strings.

use std::borrow::Cow;

/// Bytes that are still to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(&'a [u8]);

/// The bit of each byte that says that the number goes on.
const CONTINUES: u64 = 0x8080_8080_8080_8080;

/// Bytes end in the middle of something, or hold what is not defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// A string: its text, or where it stands in the pool of strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text<'a> {
    Inline(Cow<'a, str>),
    Pool(u64),
}

impl Default for Text<'_> {
    fn default() -> Self {
        Self::Inline(Cow::Borrowed(""))
    }
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Broken> {
        let (&byte, rest) = self.0.split_first().ok_or(Broken)?;
        self.0 = rest;
        Ok(byte)
    }

    /// Hot: seven bits a byte, the lowest first; the ninth byte has eight.
    #[inline(always)]
    pub(super) fn number(&mut self) -> Result<u64, Broken> {
        match self.0 {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.0 = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_number(),
        }
    }

    /// A number that may as well have one as two bytes: without a branch on that.
    #[inline(always)]
    pub(super) fn short_number(&mut self) -> Result<u64, Broken> {
        match self.0.first_chunk() {
            Some(&[low, high]) if low & high < 0x80 => {
                let more = low >> 7;
                self.0 = self.0.get(1 + usize::from(more)..).unwrap_or_default();
                Ok(u64::from(low & 0x7f) | u64::from(high * more) << 7)
            }
            _ => self.number(),
        }
    }

    /// Up to eight bytes at once: finds the last byte of the number and pushes the groups of seven bits
    /// together, without a loop.
    #[inline]
    fn long_number(&mut self) -> Result<u64, Broken> {
        let Some(&chunk) = self.0.first_chunk::<8>() else { return self.number_bytewise() };
        let word = u64::from_le_bytes(chunk);
        let ends = !word & CONTINUES;
        if ends == 0 {
            return self.number_bytewise();
        }
        // The lowest end bit and all bits below it.
        let bits = word & (ends ^ (ends - 1)) & !CONTINUES;
        let bits = bits & 0x007f_007f_007f_007f | (bits & 0x7f00_7f00_7f00_7f00) >> 1;
        let bits = bits & 0x0000_3fff_0000_3fff | (bits & 0x3fff_0000_3fff_0000) >> 2;
        let bits = bits & 0x0000_0000_0fff_ffff | (bits & 0x0fff_ffff_0000_0000) >> 4;
        let length = ends.trailing_zeros() as usize / 8 + 1;
        self.0 = self.0.get(length..).unwrap_or_default();
        Ok(bits)
    }

    /// Passes over `count` numbers. Hot: eight bytes at once, of which those are counted that end a number.
    pub(super) fn skip_numbers(&mut self, mut count: usize) -> Result<(), Broken> {
        while count > 0 {
            let ends = self.0.first_chunk::<8>().map_or(0, |&chunk| !u64::from_le_bytes(chunk) & CONTINUES);
            // Each end is one bit of a byte of its own: the product adds them up in the highest byte.
            let whole = ((ends >> 7).wrapping_mul(0x0101_0101_0101_0101) >> 56) as usize;
            if whole == 0 || whole > count {
                self.number()?;
                count -= 1;
                continue;
            }
            // The next chunk begins with a number, so that one of nine bytes is seen as such.
            let length = 8 - ends.leading_zeros() as usize / 8;
            self.0 = self.0.get(length..).unwrap_or_default();
            count -= whole;
        }
        Ok(())
    }

    #[cold]
    fn number_bytewise(&mut self) -> Result<u64, Broken> {
        let mut number = 0;
        for (at, &byte) in self.0.iter().enumerate().take(9) {
            if at == 8 || byte < 0x80 {
                self.0 = self.0.get(at + 1..).unwrap_or_default();
                return Ok(number | u64::from(byte) << (7 * at));
            }
            number |= u64::from(byte & 0x7f) << (7 * at);
        }
        Err(Broken)
    }

    pub(super) fn bytes(&mut self, length: u64) -> Result<&'a [u8], Broken> {
        let length = usize::try_from(length).map_err(|_| Broken)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Broken)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn text(&mut self) -> Result<Text<'a>, Broken> {
        Ok(Text::Inline(match self.byte()? {
            0 | 1 => Cow::Borrowed(""),
            2 => return self.number().map(Text::Pool),
            3 => {
                let length = self.number()?;
                String::from_utf8_lossy(self.bytes(length)?)
            }
            4 => {
                let length = self.number()?;
                // Each character takes a byte at least.
                if length > self.0.len() as u64 {
                    return Err(Broken);
                }
                let units = (0..length)
                    .map(|_| self.number().map(|unit| unit as u16))
                    .collect::<Result<Vec<_>, _>>()?;
                String::from_utf16_lossy(&units).into()
            }
            5 => {
                let length = self.number()?;
                let latin = self.bytes(length)?;
                match str::from_utf8(latin) {
                    Ok(ascii) if latin.is_ascii() => Cow::Borrowed(ascii),
                    _ => latin.iter().map(|&byte| char::from(byte)).collect::<String>().into(),
                }
            }
            _ => return Err(Broken),
        }))
    }

    pub(super) fn skip_text(&mut self) -> Result<(), Broken> {
        match self.byte()? {
            0 | 1 => {}
            2 => _ = self.number()?,
            3 | 5 => {
                let length = self.number()?;
                self.bytes(length)?;
            }
            4 => {
                let length = self.number()?;
                if length > self.0.len() as u64 {
                    return Err(Broken);
                }
                for _ in 0..length {
                    self.number()?;
                }
            }
            _ => return Err(Broken),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers() {
        for (bytes, expect) in [
            (&[5][..], Ok(5)),
            (&[0x80, 1], Ok(128)),
            (&[0xff; 9], Ok(u64::MAX)),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80], Ok(1 << 63)),
            (&[0x80; 8], Err(Broken)),
            (&[], Err(Broken)),
        ] {
            assert_eq!(Cursor::new(bytes).number(), expect, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_are_skipped_as_they_are_read(numbers in prop::collection::vec((any::<u64>(), 0u32..64), 0..40), skip in 0usize..40) {
            let mut bytes = Vec::new();
            for &(number, shift) in &numbers {
                let mut left = number >> shift;
                for at in 0u32.. {
                    if at == 8 || left < 0x80 {
                        bytes.push(left as u8);
                        break;
                    }
                    bytes.push(left as u8 | 0x80);
                    left >>= 7;
                }
            }
            let (mut read, mut skipped) = (Cursor::new(&bytes), Cursor::new(&bytes));
            for &(number, shift) in numbers.iter().take(skip) {
                prop_assert_eq!(read.number(), Ok(number >> shift));
            }
            prop_assert_eq!(skipped.skip_numbers(skip).is_ok(), skip <= numbers.len());
            if skip <= numbers.len() {
                prop_assert_eq!(skipped.len(), read.len());
            }
        }
    }

    #[test]
    fn texts() {
        let inline = |text: &'static str| Ok(Text::Inline(Cow::Borrowed(text)));
        for (bytes, expect) in [
            (&b"\x00"[..], inline("")),
            (b"\x01", inline("")),
            (b"\x02\x07", Ok(Text::Pool(7))),
            (b"\x03\x03a\xc3\x9f", inline("aß")),
            (b"\x04\x02a\xdf\x01", inline("aß")),
            (b"\x05\x02a\xdf", inline("aß")),
            (b"\x05\x02a", Err(Broken)),
            (b"\x04\xff\x7f", Err(Broken)),
            (b"\x06", Err(Broken)),
        ] {
            assert_eq!(Cursor::new(bytes).text(), expect, "{bytes:?}");
            assert_eq!(Cursor::new(bytes).skip_text().is_ok(), expect.is_ok(), "{bytes:?}");
        }
    }
}
