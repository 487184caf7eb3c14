//! JFR's encoding: compressed integers and strings.

use std::borrow::Cow;

/// Bytes that are still to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(&'a [u8]);

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

    fn long_number(&mut self) -> Result<u64, Broken> {
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
