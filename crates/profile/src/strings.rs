//! Many strings in one allocation, addressed by a dense index.
//!
//! Index 0 is always the empty string, as in pprof.

use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// Position of a string in a [`Strings`] table.
pub type StringIndex = u32;

/// Bytes of text from which on a table is large: 1 MiB.
const LARGE: usize = 1 << 20;

/// An append-only table of strings. It does not look for duplicates: who needs unique entries interns
/// through a map of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strings {
    text: String,
    ends: Vec<u32>,
}

impl Strings {
    /// A table with the empty string alone.
    pub fn new() -> Self {
        Self { text: String::new(), ends: vec![0] }
    }

    /// An empty table with room for `count` strings of `bytes` bytes in all.
    pub fn with_capacity(count: usize, bytes: usize) -> Self {
        let mut ends = Vec::with_capacity(count + 1);
        ends.push(0);
        Self { text: String::with_capacity(bytes), ends }
    }

    /// A table of the pieces of `text` that end at `ends`: the first is the empty string, none of the others
    /// is. Nothing when that is not so, or when a piece is not UTF-8 by itself. Checking all at once is
    /// several times as fast as piece by piece.
    pub fn from_pieces(text: Vec<u8>, ends: Vec<u32>) -> Option<Self> {
        let ascending = ends.windows(2).all(|pair| pair[0] < pair[1]);
        let whole = ends.first() == Some(&0) && ends.last().is_some_and(|&end| end as usize == text.len());
        if !ascending || !whole {
            return None;
        }
        let text = String::from_utf8(text).ok()?;
        ends.iter().all(|&end| text.is_char_boundary(end as usize)).then_some(Self { text, ends })
    }

    /// Appends `text` and returns its index. The empty string is always index 0.
    ///
    /// The table holds at most 4 GiB of text; past that the empty string is returned, which readers that
    /// bound their input never reach.
    pub fn push(&mut self, text: &str) -> StringIndex {
        if text.is_empty() {
            return 0;
        }
        let Ok(end) = u32::try_from(self.text.len() + text.len()) else { return 0 };
        // What is large grows by an eighth: doubling it would waste as much again.
        if self.text.len() > LARGE && self.text.capacity() - self.text.len() < text.len() {
            self.text.reserve_exact(text.len() + self.text.len() / 8);
        }
        self.text.push_str(text);
        self.ends.push(end);
        (self.ends.len() - 1) as StringIndex
    }

    /// The string at `index`; empty when there is none.
    pub fn get(&self, index: StringIndex) -> &str {
        let index = index as usize;
        let Some(&end) = self.ends.get(index) else { return "" };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start as usize..end as usize]
    }

    /// The bytes of the string at `index`; empty when there is none. Hot: without a look at characters.
    pub fn bytes(&self, index: StringIndex) -> &[u8] {
        let index = index as usize;
        let Some(&end) = self.ends.get(index) else { return &[] };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text.as_bytes()[start as usize..end as usize]
    }

    /// Number of strings, the empty one included.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether the empty string is the only one.
    pub fn is_empty(&self) -> bool {
        self.ends.len() <= 1
    }

    /// All strings, one behind the other: to look for what none of them may have.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Bytes of text held.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// All strings in the order of their indices.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).map(|index| self.get(index as StringIndex))
    }
}

impl Default for Strings {
    fn default() -> Self {
        Self::new()
    }
}

/// A [`Strings`] table in which every text occurs once.
#[derive(Clone, Debug, Default)]
pub struct StringInterner {
    strings: Strings,
    indices: HashTable<StringIndex>,
    hasher: DefaultHashBuilder,
}

impl StringInterner {
    /// The index of `text`, which is added when it is new.
    pub fn intern(&mut self, text: &str) -> StringIndex {
        if text.is_empty() {
            return 0;
        }
        let (strings, hasher) = (&mut self.strings, &self.hasher);
        let hash = hasher.hash_one(text);
        if let Some(&index) = self.indices.find(hash, |&index| strings.get(index) == text) {
            return index;
        }
        let index = strings.push(text);
        self.indices.insert_unique(hash, index, |&index| hasher.hash_one(strings.get(index)));
        index
    }

    /// The strings, in the order in which they were first seen.
    pub fn strings(&self) -> &Strings {
        &self.strings
    }

    /// Gives up the index and keeps the table.
    pub fn into_strings(self) -> Strings {
        self.strings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interning_finds_what_is_there() {
        let mut interner = StringInterner::default();
        let indices: Vec<_> = ["a", "b", "a", "", "b"].iter().map(|text| interner.intern(text)).collect();
        assert_eq!(indices, [1, 2, 1, 0, 2]);
        assert_eq!(interner.strings().len(), 3);
    }

    #[test]
    fn pieces_are_checked() {
        let pieces = |text: &str, ends: &[u32]| Strings::from_pieces(text.as_bytes().to_vec(), ends.to_vec());
        let strings = pieces("aβγ", &[0, 1, 3, 5]).unwrap();
        assert_eq!(strings.iter().collect::<Vec<_>>(), ["", "a", "β", "γ"]);
        assert_eq!((strings.bytes(2), strings.bytes(9)), ("β".as_bytes(), [].as_slice()));
        for (text, ends) in [
            ("aβ", &[0, 2, 3][..]),
            ("a", &[0]),
            ("ab", &[0, 1, 1, 2]),
            ("a", &[1]),
            ("a", &[]),
            ("a", &[0, 2]),
        ] {
            assert_eq!(pieces(text, ends), None, "{text} {ends:?}");
        }
        assert_eq!(Strings::from_pieces(vec![0xff], vec![0, 1]), None);
        assert_eq!(pieces("", &[0]), Some(Strings::new()));
    }

    #[test]
    fn indices_are_dense_and_zero_is_empty() {
        let mut strings = Strings::new();
        assert_eq!(strings.push(""), 0);
        let a = strings.push("alpha");
        let b = strings.push("βeta");
        assert_eq!(
            (strings.get(a), strings.get(b), strings.get(0), strings.get(99)),
            ("alpha", "βeta", "", "")
        );
        assert_eq!(strings.iter().collect::<Vec<_>>(), ["", "alpha", "βeta"]);
    }
}
