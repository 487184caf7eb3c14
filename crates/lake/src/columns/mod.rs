//! Reads columns of a row group page by page, without a row becoming anything but a number. Hot.
//!
//! What the tables of the lake have is read here: columns without nulls, flat or of lists, pages of version
//! 1, plain, as positions in a dictionary or as differences, compressed with Zstandard or not. Anything else
//! is [`Fault::Unsupported`], and the caller reads the row group through Arrow instead, which takes several
//! times as long: Arrow makes a new decompressor for each column chunk, and writes out every key, value and
//! null mask.

mod deltas;
mod distinct;
mod file;
mod header;
mod packed;
mod pages;
mod read_ahead;

pub(crate) use distinct::Distinct;
pub use file::OpenFile;
use header::Encoding;
use packed::Run;
use pages::{Nesting, Pages};
use parquet::basic::Type;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use std::ops::Range;

/// Why a column could not be read.
#[derive(Debug)]
pub enum Fault {
    /// It is written in a way that this reader does not know.
    Unsupported,
    /// It does not follow the format.
    Damaged(&'static str),
    /// The file cannot be read.
    Unreadable(ParquetError),
}

impl Fault {
    /// What is wrong with the file; `None` when it can still be read through Arrow.
    pub fn into_error(self) -> Option<ParquetError> {
        match self {
            Self::Unsupported => None,
            Self::Damaged(why) => Some(ParquetError::General(format!("damaged: {why}"))),
            Self::Unreadable(error) => Some(error),
        }
    }
}

impl From<ParquetError> for Fault {
    fn from(error: ParquetError) -> Self {
        Self::Unreadable(error)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Unreadable(error.into())
    }
}

/// A row group of an open file.
#[derive(Clone, Copy)]
pub struct RowGroup<'a> {
    /// The file.
    pub file: &'a OpenFile,
    /// Its footer.
    pub footer: &'a ParquetMetaData,
    /// Position of the row group.
    pub at: usize,
}

/// A column of numbers; times are microseconds.
pub struct Numbers {
    pages: Pages,
    dictionary: Vec<i64>,
    /// For each number of the dictionary 1 when it lies in the bounds that [`Self::mask`] was asked for
    /// last, otherwise 0.
    inside: (Option<(i64, i64)>, Vec<u8>),
    /// Positions in the dictionary for the rows of the current page; empty when it has none.
    keys: Vec<u32>,
    /// The values of the current page, or of the rows that were asked for last.
    values: Vec<i64>,
    /// None of them is larger, the signs left out; for values of the dictionary none of those.
    largest: u64,
    largest_in_dictionary: u64,
}

impl Numbers {
    /// The column `name` of a row group; only `rows` will be asked for.
    pub fn open(group: RowGroup<'_>, name: &str, rows: &[Range<usize>]) -> Result<Self, Fault> {
        let pages = Pages::open(group, &[name], Type::INT64, Nesting::Flat, rows)?;
        let (dictionary, keys, values) = (Vec::new(), Vec::new(), Vec::new());
        let inside = (None, Vec::new());
        Ok(Self { pages, dictionary, inside, keys, values, largest: 0, largest_in_dictionary: 0 })
    }

    /// Makes the page that has `row` the current one; returns the row after its last.
    pub fn load(&mut self, row: usize) -> Result<usize, Fault> {
        while !self.pages.rows().contains(&row) {
            let page = self.pages.next(row)?;
            if page.is_dictionary {
                plain_numbers(page.bytes, page.values, &mut self.dictionary)?;
                self.largest_in_dictionary = largest(&self.dictionary);
                self.inside = (None, Vec::new());
                continue;
            }
            self.keys.clear();
            match page.encoding {
                Encoding::Plain => plain_numbers(page.bytes, page.values, &mut self.values)?,
                Encoding::Deltas => deltas::numbers(page.bytes, page.values, &mut self.values)?,
                Encoding::Dictionary => {
                    packed::keys(page.bytes, page.values, &mut self.keys)?;
                    let length = u32::try_from(self.dictionary.len()).unwrap_or(u32::MAX);
                    // Without a branch, and without the maximum that the oldest processors have no vectors for.
                    if self.keys.iter().fold(false, |beyond, &key| beyond | (key >= length)) {
                        return Err(BEYOND);
                    }
                }
                Encoding::Other => return Err(Fault::Unsupported),
            }
            self.largest = match page.encoding {
                Encoding::Dictionary => self.largest_in_dictionary,
                _ => largest(&self.values),
            };
        }
        Ok(self.pages.rows().end)
    }

    /// A bound of the numbers in the current page, their signs left out.
    pub fn largest(&self) -> u64 {
        self.largest
    }

    /// The numbers of `rows`, which lie in the current page.
    pub fn values(&mut self, rows: Range<usize>) -> &[i64] {
        let rows = self.in_page(rows);
        if self.keys.is_empty() {
            return self.values.get(rows).unwrap_or_default();
        }
        let (keys, dictionary) = (self.keys.get(rows).unwrap_or_default(), &self.dictionary);
        self.values.clear();
        self.values.extend(keys.iter().map(|&key| dictionary.get(key as usize).copied().unwrap_or_default()));
        &self.values
    }

    /// Appends to `mask` for each of `rows`, which lie in the current page, 1 when its number is one of
    /// `from` to `until`, and 0 otherwise.
    pub fn mask(&mut self, rows: Range<usize>, from: i64, until: i64, mask: &mut Vec<u8>) {
        let rows = self.in_page(rows);
        let is_inside = |&number: &i64| u8::from((number >= from) & (number <= until));
        if self.keys.is_empty() {
            mask.extend(self.values.get(rows).unwrap_or_default().iter().map(is_inside));
            return;
        }
        if self.inside.0 != Some((from, until)) {
            self.inside = (Some((from, until)), self.dictionary.iter().map(is_inside).collect());
        }
        let (keys, inside) = (self.keys.get(rows).unwrap_or_default(), &self.inside.1);
        mask.extend(keys.iter().map(|&key| inside.get(key as usize).copied().unwrap_or_default()));
    }

    fn in_page(&self, rows: Range<usize>) -> Range<usize> {
        let start = self.pages.rows().start;
        rows.start.saturating_sub(start)..rows.end.saturating_sub(start)
    }

    /// Compressed bytes of the whole column chunk.
    pub fn bytes(&self) -> u64 {
        self.pages.chunk_bytes
    }
}

/// A bound that is less than twice the largest of `numbers`, their signs left out: all their bits together, which
/// takes a fraction of the time of comparing them.
fn largest(numbers: &[i64]) -> u64 {
    numbers.iter().fold(0, |bits, number| bits | number.unsigned_abs())
}

const BEYOND: Fault = Fault::Damaged("a position lies beyond its dictionary");

fn plain_numbers(bytes: &[u8], count: usize, out: &mut Vec<i64>) -> Result<(), Fault> {
    out.clear();
    let (numbers, _) = bytes.as_chunks::<8>();
    let numbers = numbers.get(..count).ok_or(Fault::Damaged("the numbers of a page are cut off"))?;
    out.extend(numbers.iter().map(|bytes| i64::from_le_bytes(*bytes)));
    Ok(())
}

/// A column of ids of `LENGTH` bytes: runs of positions among its distinct ids. Ids of pages that have no
/// dictionary get positions of their own, so that an id may have several.
pub struct Ids<const LENGTH: usize> {
    pages: Pages,
    ids: Vec<[u8; LENGTH]>,
    /// The runs of the page that was loaded last.
    runs: Vec<Run>,
    /// How many of `runs`, and how many rows of the one after them, were given out.
    taken: (usize, u32),
    /// The row that is given out next.
    next: usize,
}

impl<const LENGTH: usize> Ids<LENGTH> {
    /// The column `name` of a row group; only `rows` will be asked for.
    pub fn open(group: RowGroup<'_>, name: &str, rows: &[Range<usize>]) -> Result<Self, Fault> {
        let pages = Pages::open(group, &[name], Type::BYTE_ARRAY, Nesting::Flat, rows)?;
        Ok(Self { pages, ids: Vec::new(), runs: Vec::new(), taken: (0, 0), next: 0 })
    }

    /// Makes the page that has `row` the current one; returns the row after its last.
    pub fn load(&mut self, row: usize) -> Result<usize, Fault> {
        while !self.pages.rows().contains(&row) {
            let page = self.pages.next(row)?;
            if page.is_dictionary {
                plain_ids(page.bytes, page.values, &mut self.ids)?;
                continue;
            }
            match page.encoding {
                Encoding::Plain => {
                    let first = self.ids.len();
                    plain_ids(page.bytes, page.values, &mut self.ids)?;
                    self.runs.clear();
                    let keys = first..first + page.values;
                    self.runs.extend(keys.map(|key| Run { key: key as u32, length: 1 }));
                }
                Encoding::Dictionary => {
                    packed::runs(page.bytes, page.values, &mut self.runs)?;
                    if self.runs.iter().any(|run| run.key as usize >= self.ids.len()) {
                        return Err(BEYOND);
                    }
                }
                Encoding::Deltas | Encoding::Other => return Err(Fault::Unsupported),
            }
            (self.taken, self.next) = ((0, 0), self.pages.rows().start);
        }
        Ok(self.pages.rows().end)
    }

    /// Calls `take` with the position of an id and how many of `rows` have it, run after run. The rows lie
    /// in the current page, and come after those of the last call.
    #[inline]
    pub fn runs(&mut self, rows: Range<usize>, mut take: impl FnMut(u32, usize)) {
        while self.next < rows.end {
            let Some(run) = self.runs.get(self.taken.0) else { return };
            let left = (run.length - self.taken.1) as usize;
            let skipped = rows.start.saturating_sub(self.next).min(left);
            let taken = (rows.end - self.next - skipped).min(left - skipped);
            if taken > 0 {
                take(run.key, taken);
            }
            self.next += skipped + taken;
            self.taken = match skipped + taken == left {
                true => (self.taken.0 + 1, 0),
                false => (self.taken.0, self.taken.1 + (skipped + taken) as u32),
            };
        }
    }

    /// The ids; more may come with the next page.
    pub fn ids(&self) -> &[[u8; LENGTH]] {
        &self.ids
    }

    /// Compressed bytes of the whole column chunk.
    pub fn bytes(&self) -> u64 {
        self.pages.chunk_bytes
    }
}

/// Each id comes after its length in four bytes.
fn plain_ids<const LENGTH: usize>(
    mut bytes: &[u8],
    count: usize,
    out: &mut Vec<[u8; LENGTH]>,
) -> Result<(), Fault> {
    out.reserve(count.min(bytes.len() / LENGTH.max(1)));
    for _ in 0..count {
        let id = bytes
            .split_first_chunk::<4>()
            .filter(|(length, _)| u32::from_le_bytes(**length) as usize == LENGTH);
        let id = id.and_then(|(_, rest)| rest.split_first_chunk::<LENGTH>());
        let (id, rest) = id.ok_or(Fault::Damaged("an id is cut off or has another length"))?;
        out.push(*id);
        bytes = rest;
    }
    Ok(())
}
