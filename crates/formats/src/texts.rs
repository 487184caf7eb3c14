//! String tables of messages: all texts are copied at once, checked at once, and keep their order.

use crate::{Cuts, Limits};
use everflame_profile::{StringIndex, Strings};
use std::borrow::Cow;

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
    let mut strings = Strings::with_capacity(table.len(), table.iter().map(|text| text.len()).sum());
    let mut larger = 0;
    let indices = table
        .iter()
        .map(|bytes| match str::from_utf8(bytes) {
            Ok(text) => strings.push(limits.cut_string(text, cuts)),
            Err(_) => strings.push(limits.cut_string(&replace_bad_bytes(bytes, &mut larger), cuts)),
        })
        .collect();
    (indices, strings)
}

/// U+FFFD is three times as large as what it stands for. Past so many bytes `?` does: 16 MiB.
const MOST_LARGER: usize = 16 << 20;

fn push_replacement(text: &mut String, larger: &mut usize) {
    *larger += char::REPLACEMENT_CHARACTER.len_utf8() - 1;
    text.push(if *larger > MOST_LARGER { '?' } else { char::REPLACEMENT_CHARACTER });
}

/// A whole text, of which invalid UTF-8 becomes U+FFFD. Checking all at once is several times as fast as looking
/// for the first fault.
pub(crate) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(lossy_copy(bytes)),
    }
}

#[cold]
fn lossy_copy(bytes: &[u8]) -> String {
    let (mut text, mut larger) = (String::with_capacity(bytes.len()), 0);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            push_replacement(&mut text, &mut larger);
        }
    }
    text
}

fn replace_bad_bytes(bytes: &[u8], larger: &mut usize) -> String {
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|_| push_replacement(&mut text, larger));
    }
    text
}
