//! String tables of messages: all texts are copied at once, checked at once, and keep their order.

use crate::{Cuts, Limits};
use everflame_profile::{StringIndex, Strings};

/// Copies `table`; for each of its entries the index of the copy, where empty texts are all 0. A byte that is
/// not UTF-8 becomes U+FFFD.
pub(crate) fn copy(table: &[&[u8]], limits: &Limits, cuts: &mut Cuts) -> (Vec<StringIndex>, Strings) {
    at_once(table, limits).unwrap_or_else(|| one_by_one(table, limits, cuts))
}

/// Hot. Nothing when a text is too long or not UTF-8.
fn at_once(table: &[&[u8]], limits: &Limits) -> Option<(Vec<StringIndex>, Strings)> {
    let bytes: usize = table.iter().map(|text| text.len()).sum();
    u32::try_from(bytes).ok()?;
    let mut text = Vec::with_capacity(bytes);
    let mut ends = Vec::with_capacity(table.len() + 1);
    let mut indices = Vec::with_capacity(table.len());
    ends.push(0);
    for piece in table {
        if piece.len() > limits.string_bytes {
            return None;
        }
        if piece.is_empty() {
            indices.push(0);
            continue;
        }
        indices.push(ends.len() as u32);
        text.extend_from_slice(piece);
        ends.push(text.len() as u32);
    }
    Some((indices, Strings::from_pieces(text, ends)?))
}

#[cold]
fn one_by_one(table: &[&[u8]], limits: &Limits, cuts: &mut Cuts) -> (Vec<StringIndex>, Strings) {
    let mut strings = Strings::new();
    let indices = table
        .iter()
        .map(|bytes| match str::from_utf8(bytes) {
            Ok(text) => strings.push(limits.cut_string(text, cuts)),
            Err(_) => strings.push(limits.cut_string(&replace_bad_bytes(bytes), cuts)),
        })
        .collect();
    (indices, strings)
}

fn replace_bad_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}
