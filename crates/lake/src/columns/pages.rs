//! The pages of one column chunk: found, read and decompressed one after the other.

use super::Fault;
use super::RowGroup;
use super::header::{Encoding, Header, Kind};
use parquet::basic::{Compression, Repetition, Type};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::page_index::offset_index::PageLocation;
use std::cell::RefCell;
use std::ops::Range;

/// A page never has more bytes; ours have one megabyte, and dictionaries 32.
const MAX_PAGE_BYTES: usize = 256 << 20;

thread_local! {
    /// A decompressor has 160 KB of tables: each thread makes one.
    static ZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// How many values of a column a row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nesting {
    /// One.
    Flat,
    /// Those of its list, which may be empty.
    List,
}

/// A page of lists never has more elements and empty lists: a thousand rows of the deepest stacks.
const MAX_PAGE_LEVELS: usize = 1 << 24;

/// Walks over the pages of a column chunk.
pub(super) struct Pages {
    nesting: Nesting,
    /// The column chunk up to its first data page: its dictionary, if it has one.
    head: Vec<u8>,
    /// The pages that are needed, and where in the chunk they begin.
    body: (usize, Vec<u8>),
    /// Where the next page begins in the chunk.
    at: usize,
    /// The row with which the next page begins.
    next_row: usize,
    /// Where each data page begins: position in the chunk, first row. Empty when the file does not say.
    locations: Vec<(usize, usize)>,
    /// The rows of the current page.
    rows: Range<usize>,
    /// Rows of the row group.
    row_count: usize,
    compressed: bool,
    page: Vec<u8>,
    /// Compressed bytes of the whole chunk.
    pub(super) chunk_bytes: u64,
}

/// The bytes of a file that some rows of a column chunk lie in.
pub(super) struct Needed {
    /// What comes before the first data page: the dictionary, if there is one.
    pub(super) head: Range<u64>,
    /// The pages.
    pub(super) body: Range<u64>,
}

impl Needed {
    /// What `rows` lie in, or all rows when there are none.
    pub(super) fn new(
        chunk: &ColumnChunkMetaData,
        locations: &[PageLocation],
        rows: &[Range<usize>],
    ) -> Result<Self, Fault> {
        let (start, length) = chunk.byte_range();
        let end = start.checked_add(length).ok_or(Fault::Damaged("a column chunk is too long"))?;
        let offset = |location: &PageLocation| u64::try_from(location.offset).unwrap_or(0).clamp(start, end);
        let starts_by = |location: &&PageLocation, row: usize| {
            usize::try_from(location.first_row_index).is_ok_and(|first| first <= row)
        };
        let first = rows.first().map_or(0, |rows| rows.start);
        let last = rows.last().map_or(usize::MAX, |rows| rows.end.saturating_sub(1));
        let from = locations.iter().rev().find(|location| starts_by(location, first)).map_or(start, offset);
        let until = locations.iter().find(|location| !starts_by(location, last)).map_or(end, offset);
        let head = locations.first().map_or(start, offset).min(from);
        Ok(Self { head: start..head, body: from..until.max(from) })
    }
}

/// Where the data pages of a column chunk begin; nothing when the file does not say.
pub(super) fn locations(footer: &ParquetMetaData, row_group: usize, column: usize) -> &[PageLocation] {
    let index = footer.offset_index().and_then(|index| index.get(row_group)?.get(column));
    index.map(|index| index.page_locations().as_slice()).unwrap_or_default()
}

/// A page, decompressed.
pub(super) struct Page<'a> {
    pub(super) is_dictionary: bool,
    pub(super) encoding: Encoding,
    pub(super) values: usize,
    pub(super) bytes: &'a [u8],
}

impl Pages {
    /// Reads what `rows` of a column lie in.
    pub(super) fn open(
        RowGroup { file, footer, at: row_group }: RowGroup<'_>,
        path: &[&str],
        physical: Type,
        nesting: Nesting,
        rows: &[Range<usize>],
    ) -> Result<Self, Fault> {
        let group = footer.row_groups().get(row_group).ok_or(Fault::Damaged("a row group is missing"))?;
        let columns = group.columns().iter().enumerate();
        let mut columns = columns.filter(|(_, chunk)| chunk.column_path().parts() == path);
        let (column, chunk) = columns.next().ok_or(Fault::Unsupported)?;
        let descriptor = chunk.column_descr();
        let repetition = descriptor.self_type().get_basic_info().repetition();
        let compressed = match chunk.compression() {
            Compression::UNCOMPRESSED => false,
            Compression::ZSTD(_) => true,
            _ => return Err(Fault::Unsupported),
        };
        let is_known = |encoding| {
            use parquet::basic::Encoding as E;
            #[allow(deprecated, reason = "files name the encoding of levels, though there are none")]
            let levels = matches!(encoding, E::RLE | E::BIT_PACKED);
            let dictionary = matches!(encoding, E::PLAIN_DICTIONARY | E::RLE_DICTIONARY);
            levels || dictionary || matches!(encoding, E::PLAIN | E::DELTA_BINARY_PACKED)
        };
        let is_known = chunk.encodings().all(is_known);
        let levels = match nesting {
            Nesting::Flat => 0,
            Nesting::List => 1,
        };
        let has_levels = descriptor.max_def_level() == levels && descriptor.max_rep_level() == levels;
        let is_required = repetition == Repetition::REQUIRED && has_levels;
        if chunk.column_type() != physical || !is_required || !is_known {
            return Err(Fault::Unsupported);
        }
        let row_count = usize::try_from(group.num_rows()).unwrap_or(0);
        let (start, chunk_bytes) = chunk.byte_range();
        let locations = locations(footer, row_group, column);
        let needed = Needed::new(chunk, locations, rows)?;
        if nesting == Nesting::List && locations.is_empty() {
            // Without them only the levels of each page tell its rows.
            return Err(Fault::Unsupported);
        }
        let mut pages = Self {
            nesting,
            head: Vec::new(),
            body: (0, Vec::new()),
            at: 0,
            next_row: 0,
            locations: Vec::with_capacity(locations.len()),
            rows: 0..0,
            row_count,
            compressed,
            page: Vec::new(),
            chunk_bytes,
        };
        for location in locations {
            let offset = u64::try_from(location.offset).ok().and_then(|offset| offset.checked_sub(start));
            let offset = offset.and_then(|offset| usize::try_from(offset).ok());
            let first = usize::try_from(location.first_row_index).ok();
            let (Some(offset), Some(first)) = (offset, first) else {
                return Err(Fault::Damaged("the offset index points outside of its column chunk"));
            };
            pages.locations.push((offset, first));
        }
        pages.head = file.read(needed.head.start, needed.head.end - needed.head.start)?;
        let Ok(at) = usize::try_from(needed.body.start - start) else { return Err(Fault::Unsupported) };
        pages.body = (at, file.read(needed.body.start, needed.body.end - needed.body.start)?);
        Ok(pages)
    }

    /// The rows of the current page.
    #[inline]
    pub(super) fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// The next page on the way to the one that has `row`.
    pub(super) fn next(&mut self, row: usize) -> Result<Page<'_>, Fault> {
        if row < self.next_row || row >= self.row_count {
            return Err(Fault::Damaged("a column chunk has fewer rows than its row group"));
        }
        let has_dictionary = self.at == 0 && !self.head.is_empty();
        let page = self.locations.partition_point(|(_, first)| *first <= row).wrapping_sub(1);
        if let Some(&(at, first)) = self.locations.get(page)
            && at > self.at
            && !has_dictionary
        {
            (self.at, self.next_row) = (at, first);
        }
        let mut header = self.header()?;
        if !(self.at == 0 && header.kind == Kind::Dictionary) {
            while header.kind == Kind::Data && self.end_of_page(&header) <= row {
                self.next_row = self.end_of_page(&header);
                self.at = self.at.saturating_add(header.length).saturating_add(header.compressed);
                header = self.header()?;
            }
        }
        let is_dictionary = match header.kind {
            Kind::Data => false,
            Kind::Dictionary if self.at == 0 => true,
            Kind::Dictionary | Kind::Other => return Err(Fault::Unsupported),
        };
        let first = self.at.saturating_add(header.length);
        let end = first.saturating_add(header.compressed);
        let raw = bytes_from(&self.head, &self.body, first).and_then(|rest| rest.get(..header.compressed));
        let raw = raw.ok_or(Fault::Damaged("a page is cut off"))?;
        self.at = end;
        if !is_dictionary {
            let end = self.end_of_page(&header);
            if header.values == 0 || end <= self.next_row || end > self.row_count {
                return Err(Fault::Damaged("a page has an impossible number of rows"));
            }
            if self.nesting == Nesting::List && header.values > MAX_PAGE_LEVELS {
                return Err(Fault::Unsupported);
            }
            self.rows = self.next_row..end;
            self.next_row = end;
        }
        let bytes = match self.compressed {
            true => {
                decompress(raw, header.uncompressed, &mut self.page)?;
                self.page.as_slice()
            }
            false => raw,
        };
        Ok(Page { is_dictionary, encoding: header.encoding, values: header.values, bytes })
    }

    /// The row after the last of the page that comes next.
    fn end_of_page(&self, header: &Header) -> usize {
        match self.nesting {
            Nesting::Flat => self.next_row.saturating_add(header.values),
            Nesting::List => {
                let next = self.locations.partition_point(|(_, first)| *first <= self.next_row);
                self.locations.get(next).map_or(self.row_count, |(_, first)| *first)
            }
        }
    }

    fn header(&self) -> Result<Header, Fault> {
        Header::read(bytes_from(&self.head, &self.body, self.at).unwrap_or_default())
    }
}

/// What was read of a column chunk from the position `at` on.
fn bytes_from<'a>(head: &'a [u8], (start, body): &'a (usize, Vec<u8>), at: usize) -> Option<&'a [u8]> {
    head.get(at..).filter(|rest| !rest.is_empty()).or_else(|| body.get(at.checked_sub(*start)?..))
}

fn decompress(raw: &[u8], length: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
    if length > MAX_PAGE_BYTES {
        return Err(Fault::Damaged("a page is too large"));
    }
    out.clear();
    out.reserve(length);
    ZSTD.with_borrow_mut(|zstd| {
        let zstd = match zstd {
            Some(zstd) => zstd,
            None => zstd.insert(zstd::bulk::Decompressor::new()?),
        };
        zstd.decompress_to_buffer(raw, out)?;
        match out.len() == length {
            true => Ok(()),
            false => Err(Fault::Damaged("a page has another size than its header says")),
        }
    })
}
