//! Reads columns of a row group page by page, without a row becoming anything but a number. Hot.
//!
//! What the tables of the lake have is read here: flat columns without nulls, pages of version 1, plain,
//! as positions in a dictionary or as differences, compressed with Zstandard or not. Anything else is
//! [`Fault::Unsupported`], and the caller reads the row group through Arrow instead
//! ([`crate::row_group`]), which takes several times as long: Arrow makes a new decompressor for each
//! column chunk, and writes out every key, value and null mask.

mod deltas;
mod header;
mod packed;
mod pages;

use crate::scan::Interrupt;
use crate::source::Source;
use header::Encoding;
pub(crate) use packed::Run;
use pages::Pages;
use parquet::errors::ParquetError;
use std::ops::Range;

/// Why a column could not be read.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It is written in a way that this reader does not know.
    Unsupported,
    /// It does not follow the format.
    Damaged(&'static str),
    /// The file cannot be read.
    Unreadable(ParquetError),
    /// The query must not go on.
    Interrupted(Interrupt),
}

impl Fault {
    /// What a scan ends with; `None` when the row group can still be read through Arrow.
    pub(crate) fn interrupt(self) -> Option<Interrupt> {
        match self {
            Self::Unsupported => None,
            Self::Damaged(why) => Some(ParquetError::General(format!("damaged: {why}")).into()),
            Self::Unreadable(error) => Some(error.into()),
            Self::Interrupted(interrupt) => Some(interrupt),
        }
    }
}

impl From<Interrupt> for Fault {
    fn from(interrupt: Interrupt) -> Self {
        Self::Interrupted(interrupt)
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

/// A column of numbers; times are microseconds.
pub(crate) struct Numbers {
    pages: Pages,
    dictionary: Vec<i64>,
    keys: Vec<u32>,
    /// The values of the page that was loaded last.
    values: Vec<i64>,
    /// The largest of them, the sign left out; for values of the dictionary the largest of that.
    largest: u64,
    largest_in_dictionary: u64,
}

impl Numbers {
    /// The column `name` of a row group; only `rows` will be asked for.
    pub(crate) fn open(
        source: &Source,
        row_group: usize,
        name: &str,
        rows: &[Range<usize>],
    ) -> Result<Self, Fault> {
        let pages = Pages::open(source, row_group, name, parquet::basic::Type::INT64, rows)?;
        let (dictionary, keys, values) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { pages, dictionary, keys, values, largest: 0, largest_in_dictionary: 0 })
    }

    /// Makes the page that has `row` the current one; returns the row after its last.
    pub(crate) fn load(&mut self, row: usize) -> Result<usize, Fault> {
        while !self.pages.rows().contains(&row) {
            let page = self.pages.next(row)?;
            if page.is_dictionary {
                plain_numbers(page.bytes, page.values, &mut self.dictionary)?;
                self.largest_in_dictionary = largest(&self.dictionary);
                continue;
            }
            match page.encoding {
                Encoding::Plain => plain_numbers(page.bytes, page.values, &mut self.values)?,
                Encoding::Deltas => deltas::numbers(page.bytes, page.values, &mut self.values)?,
                Encoding::Dictionary => {
                    packed::keys(page.bytes, page.values, &mut self.keys)?;
                    self.values.clear();
                    let dictionary = &self.dictionary;
                    let mut beyond = false;
                    self.values.extend(self.keys.iter().map(|&key| {
                        dictionary.get(key as usize).copied().unwrap_or_else(|| {
                            beyond = true;
                            0
                        })
                    }));
                    if beyond {
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
    pub(crate) fn largest(&self) -> u64 {
        self.largest
    }

    /// The numbers of `rows`, which lie in the current page.
    pub(crate) fn values(&self, rows: Range<usize>) -> &[i64] {
        let start = self.pages.rows().start;
        let rows = rows.start.saturating_sub(start)..rows.end.saturating_sub(start);
        self.values.get(rows).unwrap_or_default()
    }

    /// Compressed bytes of the whole column chunk.
    pub(crate) fn bytes(&self) -> u64 {
        self.pages.chunk_bytes
    }
}

fn largest(numbers: &[i64]) -> u64 {
    numbers.iter().fold(0, |largest, number| largest.max(number.unsigned_abs()))
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
pub(crate) struct Ids<const LENGTH: usize> {
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
    pub(crate) fn open(
        source: &Source,
        row_group: usize,
        name: &str,
        rows: &[Range<usize>],
    ) -> Result<Self, Fault> {
        let pages = Pages::open(source, row_group, name, parquet::basic::Type::BYTE_ARRAY, rows)?;
        Ok(Self { pages, ids: Vec::new(), runs: Vec::new(), taken: (0, 0), next: 0 })
    }

    /// Makes the page that has `row` the current one; returns the row after its last.
    pub(crate) fn load(&mut self, row: usize) -> Result<usize, Fault> {
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
    pub(crate) fn runs(&mut self, rows: Range<usize>, mut take: impl FnMut(u32, usize)) {
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
    pub(crate) fn ids(&self) -> &[[u8; LENGTH]] {
        &self.ids
    }

    /// Compressed bytes of the whole column chunk.
    pub(crate) fn bytes(&self) -> u64 {
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
