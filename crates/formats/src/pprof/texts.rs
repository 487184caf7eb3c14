//! The string table.

use super::place::{CUT_OFF, Place};
use crate::{Cuts, Error, Limits, texts};
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
        let (indices, strings) = texts::copy(table, limits, cuts);
        Ok(Self { indices, strings })
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
