//! Attributes and their values, as texts.

use crate::pprof::wire::{Cursor, Fault, Value};

/// A value that a label can hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Text<'a> {
    Bytes(&'a [u8]),
    Owned(String),
    /// Entry of the string table.
    Index(u64),
}

/// The text of an `AnyValue`: strings, numbers, booleans, and lists of one of them. Nothing for the rest.
pub(super) fn text(bytes: &[u8]) -> Result<Option<Text<'_>>, Fault> {
    let mut cursor = Cursor::new(bytes);
    let mut out = None;
    while let Some((number, value)) = cursor.field()? {
        out = match (number, value) {
            (1, value) => Some(Text::Bytes(value.bytes(number)?)),
            (2, value) => Some(Text::Owned((value.number(number)? != 0).to_string())),
            (3, value) => Some(Text::Owned((value.number(number)? as i64).to_string())),
            (4, Value::Fixed(bytes)) => {
                bytes.first_chunk().map(|bytes| Text::Owned(f64::from_le_bytes(*bytes).to_string()))
            }
            (5, value) => only_element(value.bytes(number)?)?,
            (8, value) => Some(Text::Index(value.number(number)?)),
            _ => out,
        };
    }
    Ok(out)
}

/// The only element of an `ArrayValue`, when it is no list itself.
fn only_element(bytes: &[u8]) -> Result<Option<Text<'_>>, Fault> {
    let mut cursor = Cursor::new(bytes);
    let mut only = None;
    let mut count = 0;
    while let Some((number, value)) = cursor.field()? {
        if number == 1 {
            only = Some(value.bytes(number)?);
            count += 1;
        }
    }
    match only {
        // A list's field has the number 5, its element is read without.
        Some(bytes) if count == 1 && bytes.first().is_some_and(|tag| tag >> 3 != 5) => text(bytes),
        _ => Ok(None),
    }
}

/// Key and value of a `KeyValue`.
pub(super) fn key_value(bytes: &[u8]) -> Result<(Text<'_>, Option<Text<'_>>), Fault> {
    let (mut key, mut value) = (Text::Bytes(&[]), None);
    let mut cursor = Cursor::new(bytes);
    while let Some((number, content)) = cursor.field()? {
        match number {
            1 => key = Text::Bytes(content.bytes(number)?),
            2 => value = text(content.bytes(number)?)?,
            3 => key = Text::Index(content.number(number)?),
            _ => {}
        }
    }
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (bytes, expect) in [
            (&b"\x0a\x02ab"[..], Some(Text::Bytes(b"ab"))),
            (b"\x10\x01", Some(Text::Owned("true".to_owned()))),
            (b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Some(Text::Owned("-1".to_owned()))),
            (b"\x21\x00\x00\x00\x00\x00\x00\xf8\x3f", Some(Text::Owned("1.5".to_owned()))),
            (b"\x2a\x05\x0a\x03\x0a\x01a", Some(Text::Bytes(b"a"))),
            (b"\x2a\x0a\x0a\x03\x0a\x01a\x0a\x03\x0a\x01b", None),
            (b"\x2a\x09\x0a\x07\x2a\x05\x0a\x03\x0a\x01a", None),
            (b"\x40\x07", Some(Text::Index(7))),
            (b"", None),
        ] {
            assert_eq!(text(bytes).unwrap(), expect, "{bytes:?}");
        }
    }
}
