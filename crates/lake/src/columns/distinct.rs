//! A column as positions among its distinct values, flat or of lists.

use super::header::Encoding;
use super::pages::{Nesting, Pages};
use super::{BEYOND, Fault, RowGroup, packed, plain_numbers};
use parquet::basic::Type;
use std::ops::Range;

const CUT: Fault = Fault::Damaged("a page of a list is cut off");

/// The distinct values of a column chunk.
enum Values {
    /// Texts lie one after the other; each has its end.
    Texts {
        bytes: Vec<u8>,
        ends: Vec<u32>,
    },
    Numbers(Vec<i64>),
    Small(Vec<i32>),
    /// Position 0 is false, 1 is true.
    Flags,
}

/// A column whose rows are read as positions among its distinct values.
pub(crate) struct Distinct {
    pages: Pages,
    nesting: Nesting,
    values: Values,
    /// The positions of the page that was loaded last.
    positions: Vec<u32>,
    lists: Lists,
}

/// The lists of the page that was loaded last. The fields of a struct have the same ones: what was worked
/// out for one is known for the next.
#[derive(Clone, Default)]
struct Lists {
    /// The levels as the page has them.
    encoded: Vec<u8>,
    /// Elements and empty lists.
    count: usize,
    /// Where in the positions each row begins, and the end of the last one.
    starts: Vec<u32>,
}

impl Distinct {
    /// The flat column of texts `name`; only `rows` will be asked for.
    pub(crate) fn texts(group: RowGroup<'_>, name: &str, rows: &[Range<usize>]) -> Result<Self, Fault> {
        let values = Values::Texts { bytes: Vec::new(), ends: Vec::new() };
        Self::open(group, &[name], values, Nesting::Flat, rows)
    }

    /// The texts at `path`, a leaf of lists.
    pub(crate) fn listed_texts(
        group: RowGroup<'_>,
        path: &[&str],
        rows: &[Range<usize>],
    ) -> Result<Self, Fault> {
        let values = Values::Texts { bytes: Vec::new(), ends: Vec::new() };
        Self::open(group, path, values, Nesting::List, rows)
    }

    /// The numbers of 64 bits at `path`, a leaf of lists.
    pub(crate) fn listed_numbers(
        group: RowGroup<'_>,
        path: &[&str],
        rows: &[Range<usize>],
    ) -> Result<Self, Fault> {
        Self::open(group, path, Values::Numbers(Vec::new()), Nesting::List, rows)
    }

    /// The numbers of up to 32 bits at `path`, a leaf of lists.
    pub(crate) fn listed_small_numbers(
        group: RowGroup<'_>,
        path: &[&str],
        rows: &[Range<usize>],
    ) -> Result<Self, Fault> {
        Self::open(group, path, Values::Small(Vec::new()), Nesting::List, rows)
    }

    /// The truth values at `path`, a leaf of lists.
    pub(crate) fn listed_flags(
        group: RowGroup<'_>,
        path: &[&str],
        rows: &[Range<usize>],
    ) -> Result<Self, Fault> {
        Self::open(group, path, Values::Flags, Nesting::List, rows)
    }

    fn open(
        group: RowGroup<'_>,
        path: &[&str],
        values: Values,
        nesting: Nesting,
        rows: &[Range<usize>],
    ) -> Result<Self, Fault> {
        let physical = match values {
            Values::Texts { .. } => Type::BYTE_ARRAY,
            Values::Numbers(_) => Type::INT64,
            Values::Small(_) => Type::INT32,
            Values::Flags => Type::BOOLEAN,
        };
        let pages = Pages::open(group, path, physical, nesting, rows)?;
        Ok(Self { pages, nesting, values, positions: Vec::new(), lists: Lists::default() })
    }

    /// Makes the page that has `row` the current one; returns the row after its last.
    pub(crate) fn load(&mut self, row: usize) -> Result<usize, Fault> {
        self.load_beside(row, None)
    }

    /// The same for a field of the structs that `other`, which has loaded `row`, is another field of.
    pub(crate) fn load_with(&mut self, row: usize, other: &Self) -> Result<usize, Fault> {
        self.load_beside(row, Some(&other.lists))
    }

    fn load_beside(&mut self, row: usize, other: Option<&Lists>) -> Result<usize, Fault> {
        while !self.pages.rows().contains(&row) {
            let page = self.pages.next(row)?;
            if page.is_dictionary {
                match &mut self.values {
                    Values::Texts { bytes, ends } => plain_texts(page.bytes, page.values, bytes, ends)?,
                    Values::Numbers(numbers) => plain_numbers(page.bytes, page.values, numbers)?,
                    Values::Small(numbers) => plain_small_numbers(page.bytes, page.values, numbers)?,
                    Values::Flags => return Err(Fault::Unsupported),
                }
                continue;
            }
            let (bytes, count, encoding) = (page.bytes, page.values, page.encoding);
            let (bytes, count) = match self.nesting {
                Nesting::Flat => (bytes, count),
                Nesting::List => self.lists.read(bytes, count, other)?,
            };
            match (encoding, &self.values) {
                (Encoding::Plain, Values::Flags) => flags(bytes, count, &mut self.positions)?,
                (_, Values::Flags) => return Err(Fault::Unsupported),
                // A page without a value has no width either.
                (Encoding::Dictionary, _) if count == 0 => self.positions.clear(),
                (Encoding::Dictionary, _) => packed::keys(bytes, count, &mut self.positions)?,
                _ => return Err(Fault::Unsupported),
            }
            let distinct = self.distinct();
            if self.positions.iter().any(|&position| position as usize >= distinct) {
                return Err(BEYOND);
            }
            if self.nesting == Nesting::List && self.lists.starts.len() != self.pages.rows().len() + 1 {
                return Err(Fault::Damaged("a page of lists has another number of rows than its index says"));
            }
        }
        Ok(self.pages.rows().end)
    }

    /// The positions of the values that `row`, a row of the current page, has.
    pub(crate) fn row(&self, row: usize) -> &[u32] {
        let at = row.wrapping_sub(self.pages.rows().start);
        let range = match self.nesting {
            Nesting::Flat => at..at.saturating_add(1),
            Nesting::List => match (self.lists.starts.get(at), self.lists.starts.get(at.saturating_add(1))) {
                (Some(&start), Some(&end)) => start as usize..end as usize,
                _ => 0..0,
            },
        };
        self.positions.get(range).unwrap_or_default()
    }

    /// How many distinct values there are; texts and numbers are known when a page was loaded.
    pub(crate) fn distinct(&self) -> usize {
        match &self.values {
            Values::Texts { ends, .. } => ends.len(),
            Values::Numbers(numbers) => numbers.len(),
            Values::Small(numbers) => numbers.len(),
            Values::Flags => 2,
        }
    }

    /// The text at `position`; the empty one where there is none, or no UTF-8.
    pub(crate) fn text(&self, position: u32) -> &str {
        let Values::Texts { bytes, ends } = &self.values else { return "" };
        let at = position as usize;
        let start = at.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied());
        let range = start.zip(ends.get(at)).map(|(start, &end)| start as usize..end as usize);
        let text = range.and_then(|range| bytes.get(range)).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// The number at `position`; 0 where there is none.
    pub(crate) fn number(&self, position: u32) -> i64 {
        let at = position as usize;
        match &self.values {
            Values::Texts { .. } => 0,
            Values::Numbers(numbers) => numbers.get(at).copied().unwrap_or_default(),
            Values::Small(numbers) => numbers.get(at).copied().unwrap_or_default().into(),
            Values::Flags => position.into(),
        }
    }
}

impl Lists {
    /// Reads the levels of `count` elements and empty lists. Returns what follows them in the page, and how
    /// many values that has.
    ///
    /// Repetition levels come first, definition levels second, each after their length in four bytes. Level
    /// 0 of the first kind begins a row, level 0 of the second stands for an empty list.
    fn read<'a>(
        &mut self,
        page: &'a [u8],
        count: usize,
        other: Option<&Self>,
    ) -> Result<(&'a [u8], usize), Fault> {
        let (repetitions, bytes) = with_length(page)?;
        let (definitions, bytes) = with_length(bytes)?;
        let encoded = page.get(..page.len() - bytes.len()).unwrap_or_default();
        match other.filter(|other| other.count == count && other.encoded == encoded) {
            Some(other) => {
                self.starts.clone_from(&other.starts);
                (self.count, self.encoded) = (0, Vec::new());
            }
            None => {
                starts(repetitions, definitions, count, &mut self.starts)?;
                self.count = count;
                self.encoded.clear();
                self.encoded.extend_from_slice(encoded);
            }
        }
        Ok((bytes, self.starts.last().copied().unwrap_or_default() as usize))
    }
}

fn starts(repetitions: &[u8], definitions: &[u8], count: usize, starts: &mut Vec<u32>) -> Result<(), Fault> {
    let (mut of_rows, mut of_values) = (Vec::new(), Vec::new());
    packed::levels(repetitions, count, &mut of_rows)?;
    packed::levels(definitions, count, &mut of_values)?;
    if of_rows.first() != Some(&0) {
        return Err(Fault::Damaged("a page begins in the middle of a list"));
    }
    starts.clear();
    let mut values = 0;
    for (&repetition, &definition) in of_rows.iter().zip(&of_values) {
        if repetition == 0 {
            starts.push(values);
        }
        values += definition;
    }
    starts.push(values);
    Ok(())
}

fn with_length(bytes: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let (length, bytes) = bytes.split_first_chunk::<4>().ok_or(CUT)?;
    bytes.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(CUT)
}

/// Each text comes after its length in four bytes.
fn plain_texts(mut page: &[u8], count: usize, bytes: &mut Vec<u8>, ends: &mut Vec<u32>) -> Result<(), Fault> {
    bytes.clear();
    ends.clear();
    ends.reserve(count.min(page.len() / 4));
    for _ in 0..count {
        let (text, rest) = with_length(page).map_err(|_| Fault::Damaged("a text is cut off"))?;
        bytes.extend_from_slice(text);
        ends.push(u32::try_from(bytes.len()).map_err(|_| Fault::Damaged("texts are too long"))?);
        page = rest;
    }
    Ok(())
}

fn plain_small_numbers(bytes: &[u8], count: usize, out: &mut Vec<i32>) -> Result<(), Fault> {
    out.clear();
    let (numbers, _) = bytes.as_chunks::<4>();
    let numbers = numbers.get(..count).ok_or(Fault::Damaged("the numbers of a page are cut off"))?;
    out.extend(numbers.iter().map(|bytes| i32::from_le_bytes(*bytes)));
    Ok(())
}

/// One bit a value, the lowest one first.
fn flags(bytes: &[u8], count: usize, out: &mut Vec<u32>) -> Result<(), Fault> {
    out.clear();
    let bytes = bytes.get(..count.div_ceil(8)).ok_or(CUT)?;
    let bits = bytes.iter().flat_map(|&byte| (0..8).map(move |bit| u32::from(byte >> bit & 1)));
    out.extend(bits.take(count));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_end(page in prop::collection::vec(any::<u8>(), 0..100), count in 0usize..10_000) {
            let (mut lists, mut out) = (Lists::default(), Vec::new());
            if let Ok((rest, values)) = lists.read(&page, count, None) {
                prop_assert!(rest.len() <= page.len() && values <= count);
                prop_assert!(lists.starts.is_sorted());
                let mut beside = Lists::default();
                prop_assert_eq!(beside.read(&page, count, Some(&lists)).unwrap().1, values);
                prop_assert_eq!(beside.starts, lists.starts);
            }
            prop_assert!(flags(&page, count, &mut out).is_err() || out.len() == count);
            let (mut bytes, mut ends) = (Vec::new(), Vec::new());
            prop_assert!(plain_texts(&page, count, &mut bytes, &mut ends).is_err() || ends.len() == count);
        }
    }

    #[test]
    fn lists_begin_where_the_levels_say() {
        // Rows of 2, 0 and 1 elements: repetition 0 1 0 0, definition 1 1 0 1, as one group of eight each.
        let page = [2, 0, 0, 0, 3, 0b0010, 2, 0, 0, 0, 3, 0b1011, 9];
        let mut lists = Lists::default();
        let (rest, values) = lists.read(&page, 4, None).unwrap();
        assert_eq!((rest, values, lists.starts), (&[9][..], 3, vec![0, 2, 2, 3]));
    }
}
