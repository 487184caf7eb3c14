//! Repeated numbers, packed or not, of any width.

use crate::pprof::wire::{Fault, Value, each_number};

/// Hands on the numbers of a repeated field.
#[inline]
pub(super) fn numbers(value: Value<'_>, mut each: impl FnMut(u64)) -> Result<(), Fault> {
    match value {
        Value::Number(number) => each(number),
        Value::Bytes(bytes) => each_number(bytes, each)?,
        Value::Fixed(bytes) => each(fixed(bytes)),
    }
    Ok(())
}

/// The number that four or eight bytes hold.
#[inline]
pub(super) fn fixed(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk(), bytes.first_chunk()) {
        (Some(eight), _) => u64::from_le_bytes(*eight),
        (None, Some(four)) => u64::from(u32::from_le_bytes(*four)),
        (None, None) => 0,
    }
}
