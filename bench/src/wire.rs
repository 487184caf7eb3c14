//! Protobuf by hand: the few messages that the benchmark sends and the few fields that it checks.
//!
//! Generated code would cost more processor time in the generator than the whole request does here.

use anyhow::{Context, Result, bail};

/// Appends `number` as a base-128 varint.
pub(crate) fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes that [`varint`] appends for `number`.
pub(crate) fn varint_len(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends a varint field.
pub(crate) fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, u64::from(field) << 3);
    varint(out, value);
}

/// Appends a `double` field.
pub(crate) fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    varint(out, u64::from(field) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends the head of a length-delimited field of `len` bytes; they follow.
pub(crate) fn head(out: &mut Vec<u8>, field: u32, len: usize) {
    varint(out, u64::from(field) << 3 | 2);
    varint(out, len as u64);
}

/// Bytes that a length-delimited field takes, head included, when its content has `len` bytes and its
/// number is below 16.
pub(crate) fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// Appends a field of bytes, text or an encoded message.
pub(crate) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    head(out, field, value.len());
    out.extend_from_slice(value);
}

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// A varint or a fixed 32-bit number.
    Number(u64),
    /// A fixed 64-bit number, as a `double`.
    Double(f64),
    /// Bytes, text or a message.
    Bytes(&'a [u8]),
}

/// The fields of one message, in its order.
pub(crate) fn fields(mut message: &[u8]) -> Result<Vec<(u32, Value<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        let value = match key & 7 {
            0 => Value::Number(take_varint(&mut message)?),
            1 => {
                let raw: [u8; 8] = take(&mut message, 8)?.try_into().context("a double has 8 bytes")?;
                Value::Double(f64::from_le_bytes(raw))
            }
            2 => {
                let len = take_varint(&mut message)?;
                Value::Bytes(take(&mut message, len as usize)?)
            }
            5 => {
                let raw: [u8; 4] = take(&mut message, 4)?.try_into().context("a fixed32 has 4 bytes")?;
                Value::Number(u64::from(u32::from_le_bytes(raw)))
            }
            other => bail!("the answer holds protobuf of wire type {other}"),
        };
        fields.push(((key >> 3) as u32, value));
    }
    Ok(fields)
}

fn take<'a>(message: &mut &'a [u8], len: usize) -> Result<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(len).context("the answer's protobuf is cut off")?;
    *message = rest;
    Ok(taken)
}

fn take_varint(message: &mut &[u8]) -> Result<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first().context("the answer's protobuf is cut off")?;
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    bail!("the answer's protobuf has a number of more than 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut message = Vec::new();
        number(&mut message, 3, 1_700_000_000_000);
        double(&mut message, 6, 15.0);
        bytes(&mut message, 2, b"pod");
        let read = fields(&message).unwrap();
        let wanted = [
            (3, Value::Number(1_700_000_000_000)),
            (6, Value::Double(15.0)),
            (2, Value::Bytes(b"pod".as_slice())),
        ];
        assert_eq!(read, wanted);
        assert!(fields(&message[..message.len() - 1]).is_err());
    }

    #[test]
    fn lengths_are_known_ahead() {
        for len in [0usize, 1, 127, 128, 16_383, 16_384, 1 << 21] {
            let mut out = Vec::new();
            varint(&mut out, len as u64);
            assert_eq!(out.len(), varint_len(len as u64), "{len}");
        }
        let mut out = Vec::new();
        bytes(&mut out, 1, &[0; 300]);
        assert_eq!(out.len(), field_len(300));
    }
}
