//! Page headers, as the Parquet format writes them: Thrift structs in the compact protocol.
//!
//! Only the fields that a scan needs are kept, everything else is skipped, within a depth. Field numbers
//! are those of `parquet.thrift` in the Parquet format's specification.

use super::Fault;

/// Structs in structs that are skipped; statistics are two deep.
const MAX_DEPTH: u32 = 16;

/// What kind of page follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Values without levels, version 1 of data pages.
    Data,
    /// The dictionary of the column chunk.
    Dictionary,
    /// Anything else.
    Other,
}

/// How the values of a page are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// One after the other.
    Plain,
    /// Positions in the dictionary.
    Dictionary,
    /// Differences.
    Deltas,
    /// Anything else.
    Other,
}

/// The header of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) encoding: Encoding,
    /// Number of values in the page.
    pub(super) values: usize,
    /// Bytes of the page in the file, the header not counted.
    pub(super) compressed: usize,
    /// Bytes of the page once decompressed.
    pub(super) uncompressed: usize,
    /// Bytes of the header itself.
    pub(super) length: usize,
}

impl Header {
    /// Reads the header at the start of `bytes`.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let mut thrift = Thrift { bytes, at: 0 };
        let mut header = Self {
            kind: Kind::Other,
            encoding: Encoding::Other,
            values: 0,
            compressed: 0,
            uncompressed: 0,
            length: 0,
        };
        let mut field = 0;
        while let Some(wire) = thrift.field(&mut field)? {
            match (field, wire) {
                (1, I32) => {
                    header.kind = match thrift.number()? {
                        0 => Kind::Data,
                        2 => Kind::Dictionary,
                        _ => Kind::Other,
                    }
                }
                (2, I32) => header.uncompressed = thrift.size()?,
                (3, I32) => header.compressed = thrift.size()?,
                // The headers of data and of dictionary pages begin alike: number of values, encoding.
                (5 | 7, STRUCT) => {
                    let mut inner = 0;
                    while let Some(wire) = thrift.field(&mut inner)? {
                        match (inner, wire) {
                            (1, I32) => header.values = thrift.size()?,
                            (2, I32) => {
                                header.encoding = match thrift.number()? {
                                    0 => Encoding::Plain,
                                    2 | 8 => Encoding::Dictionary,
                                    5 => Encoding::Deltas,
                                    _ => Encoding::Other,
                                }
                            }
                            _ => thrift.skip(wire, 1)?,
                        }
                    }
                }
                _ => thrift.skip(wire, 0)?,
            }
        }
        header.length = thrift.at;
        Ok(header)
    }
}

/// Numbers of the compact protocol's types.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const STRUCT: u8 = 12;

struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Thrift<'_> {
    fn byte(&mut self) -> Result<u8, Fault> {
        let byte = self.bytes.get(self.at).copied().ok_or(Fault::Damaged("a page header is cut off"))?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Fault::Damaged("a number in a page header is too long"))
    }

    fn number(&mut self) -> Result<i64, Fault> {
        let zigzag = self.varint()?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    fn size(&mut self) -> Result<usize, Fault> {
        usize::try_from(self.number()?).map_err(|_| Fault::Damaged("a size in a page header is negative"))
    }

    /// The type of the next field, whose number goes to `number`; `None` at the end of the struct.
    fn field(&mut self, number: &mut i64) -> Result<Option<u8>, Fault> {
        let byte = self.byte()?;
        let (delta, wire) = (byte >> 4, byte & 0x0f);
        if wire == 0 {
            return Ok(None);
        }
        *number = match delta {
            0 => self.number()?,
            delta => number.saturating_add(i64::from(delta)),
        };
        Ok(Some(wire))
    }

    fn skip(&mut self, wire: u8, depth: u32) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::Damaged("a page header is nested too deep"));
        }
        match wire {
            TRUE | FALSE => {}
            BYTE => self.at += 1,
            I16 | I32 | I64 => {
                self.varint()?;
            }
            DOUBLE => self.at += 8,
            BINARY => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                self.at = self.at.saturating_add(length);
            }
            LIST | SET => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                for _ in 0..count {
                    if self.at >= self.bytes.len() {
                        return Err(Fault::Damaged("a page header is cut off"));
                    }
                    match head & 0x0f {
                        TRUE | FALSE => self.at += 1,
                        wire => self.skip(wire, depth + 1)?,
                    }
                }
            }
            STRUCT => {
                let mut number = 0;
                while let Some(wire) = self.field(&mut number)? {
                    self.skip(wire, depth + 1)?;
                }
            }
            _ => return Err(Fault::Damaged("a page header has a field of an unknown type")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_it_needs_and_skips_the_rest() {
        // type 0, uncompressed 100, compressed 50, data page header { values 7, encoding 8, levels 3 3,
        // statistics { max "x", null count 0 } }.
        let bytes = [
            0x15, 0, 0x15, 0xc8, 1, 0x15, 100, 0x2c, 0x15, 14, 0x15, 16, 0x15, 6, 0x15, 6, 0x1c, 0x18, 1,
            b'x', 0x26, 0, 0, 0, 0, 0xff,
        ];
        let header = Header::read(&bytes).unwrap();
        assert_eq!((header.kind, header.encoding), (Kind::Data, Encoding::Dictionary));
        assert_eq!((header.values, header.compressed, header.uncompressed), (7, 50, 100));
        assert_eq!(header.length, bytes.len() - 1);
        assert!((0..header.length).all(|end| Header::read(&bytes[..end]).is_err()));
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Header::read(&bytes);
        }
    }
}
