//! The string table: all texts are copied at once, checked at once, and keep their order.

use super::place::{CUT_OFF, Place};
use crate::{Cuts, Error, Limits};
use everflame_profile::{StringIndex, Strings};

pub(super) struct Texts {
    /// For each entry of the table its index among `strings`, where empty texts are all 0.
    indices: Vec<StringIndex>,
    strings: Strings,
}

impl Texts {
    /// Copies `table`. Invalid UTF-8 is kept byte by byte as U+FFFD.
    pub(super) fn new(table: &[&[u8]], limits: &Limits, cuts: &mut Cuts) -> Result<Self, Error> {
        if table.first().is_some_and(|first| !first.is_empty()) {
            return Err(Error::malformed(
                "pprof: string table",
                "its first entry is not empty, so that what index 0 means is open",
                "begin the string table with \"\"",
            ));
        }
        Ok(Self::at_once(table, limits).unwrap_or_else(|| Self::one_by_one(table, limits, cuts)))
    }

    /// Hot. Nothing when a text is too long or not UTF-8.
    fn at_once(table: &[&[u8]], limits: &Limits) -> Option<Self> {
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
        Some(Self { indices, strings: Strings::from_pieces(text, ends)? })
    }

    #[cold]
    fn one_by_one(table: &[&[u8]], limits: &Limits, cuts: &mut Cuts) -> Self {
        let mut strings = Strings::new();
        let indices = table
            .iter()
            .map(|bytes| match str::from_utf8(bytes) {
                Ok(text) => strings.push(limits.cut_string(text, cuts)),
                Err(_) => strings.push(limits.cut_string(&replace_bad_bytes(bytes), cuts)),
            })
            .collect();
        Self { indices, strings }
    }

    /// The text that `index` of the message stands for.
    #[inline]
    pub(super) fn keep(&self, index: u64, place: Place) -> Result<StringIndex, Error> {
        match usize::try_from(index).ok().and_then(|at| self.indices.get(at)) {
            Some(&known) => Ok(known),
            None if index == 0 => Ok(0),
            None => Err(self.missing(index, place)),
        }
    }

    #[cold]
    fn missing(&self, index: u64, place: Place) -> Error {
        let count = self.indices.len();
        let fault = format!("it refers to string {}, which is missing ({count} strings)", index as i64);
        Error::malformed(place, fault, CUT_OFF)
    }

    pub(super) fn get(&self, index: StringIndex) -> &str {
        self.strings.get(index)
    }

    /// Whether two texts are equal; a table may hold one several times.
    #[inline]
    pub(super) fn are_equal(&self, a: StringIndex, b: StringIndex) -> bool {
        a == b || self.strings.bytes(a) == self.strings.bytes(b)
    }

    pub(super) fn into_strings(self) -> Strings {
        self.strings
    }
}

fn replace_bad_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}
