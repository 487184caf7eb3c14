//! The string table: a text is copied when something first refers to it, and once only, whatever the
//! number of its entries.

use super::place::{CUT_OFF, Place};
use crate::{Cuts, Error, Limits};
use everflame_profile::{StringIndex, StringInterner, Strings};

const UNKNOWN: StringIndex = StringIndex::MAX;

pub(super) struct Texts<'a> {
    table: Vec<&'a [u8]>,
    /// For each entry of the table its index among the strings kept.
    kept: Vec<StringIndex>,
    strings: StringInterner,
}

impl<'a> Texts<'a> {
    pub(super) fn new(table: Vec<&'a [u8]>) -> Result<Self, Error> {
        if table.first().is_some_and(|first| !first.is_empty()) {
            return Err(Error::malformed(
                "pprof: string table",
                "its first entry is not empty, so that what index 0 means is open",
                "begin the string table with \"\"",
            ));
        }
        let kept = vec![UNKNOWN; table.len()];
        Ok(Self { table, kept, strings: StringInterner::default() })
    }

    /// The text that `index` of the message stands for. Invalid UTF-8 is kept byte by byte as U+FFFD.
    #[inline]
    pub(super) fn keep(
        &mut self,
        index: u64,
        place: Place,
        limits: &Limits,
        cuts: &mut Cuts,
    ) -> Result<StringIndex, Error> {
        if index == 0 {
            return Ok(0);
        }
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        match self.kept.get(at) {
            None => Err(self.missing(index, place)),
            Some(&UNKNOWN) => Ok(self.copy(at, limits, cuts)),
            Some(&known) => Ok(known),
        }
    }

    fn copy(&mut self, at: usize, limits: &Limits, cuts: &mut Cuts) -> StringIndex {
        let bytes = self.table.get(at).copied().unwrap_or_default();
        let index = match str::from_utf8(bytes) {
            Ok(text) => self.strings.intern(limits.cut_string(text, cuts)),
            Err(_) => self.strings.intern(limits.cut_string(&replace_bad_bytes(bytes), cuts)),
        };
        if let Some(kept) = self.kept.get_mut(at) {
            *kept = index;
        }
        index
    }

    #[cold]
    fn missing(&self, index: u64, place: Place) -> Error {
        let fault =
            format!("it refers to string {}, which is missing ({} strings)", index as i64, self.table.len());
        Error::malformed(place, fault, CUT_OFF)
    }

    pub(super) fn get(&self, index: StringIndex) -> &str {
        self.strings.strings().get(index)
    }

    pub(super) fn into_strings(self) -> Strings {
        self.strings.into_strings()
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
