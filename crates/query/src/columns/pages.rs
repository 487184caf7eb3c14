//! The pages of one column chunk: found, read and decompressed one after the other.

use super::Fault;
use super::header::{Encoding, Header, Kind};
use crate::source::Source;
use parquet::basic::{Compression, Repetition, Type};
use std::cell::RefCell;
use std::ops::Range;

/// A page never has more bytes; ours have one megabyte, and dictionaries 32.
const MAX_PAGE_BYTES: usize = 256 << 20;

thread_local! {
    /// A decompressor has 160 KB of tables: each thread makes one.
    static ZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Walks over the pages of a column chunk.
pub(super) struct Pages {
    /// The column chunk, up to the last page that is needed.
    bytes: Vec<u8>,
    /// Where the next page begins, as a position in `bytes`.
    at: usize,
    /// The row with which the next page begins.
    next_row: usize,
    /// Where each data page begins: position in `bytes`, first row. Empty when the file does not say.
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
        source: &Source,
        row_group: usize,
        name: &str,
        physical: Type,
        rows: &[Range<usize>],
    ) -> Result<Self, Fault> {
        let metadata = source.metadata();
        let group = metadata.row_groups().get(row_group).ok_or(Fault::Damaged("a row group is missing"))?;
        let columns = group.columns().iter().enumerate();
        let mut columns = columns.filter(|(_, chunk)| chunk.column_path().parts() == [name]);
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
        if chunk.column_type() != physical || repetition != Repetition::REQUIRED || !is_known {
            return Err(Fault::Unsupported);
        }
        let row_count = usize::try_from(group.num_rows()).unwrap_or(0);
        let (start, chunk_bytes) = chunk.byte_range();
        let end = start.checked_add(chunk_bytes).ok_or(Fault::Damaged("a column chunk is too long"))?;
        let index = metadata.offset_index().and_then(|index| index.get(row_group)?.get(column));
        let locations = index.map(|index| index.page_locations().as_slice()).unwrap_or_default();
        let mut pages = Self {
            bytes: Vec::new(),
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
        // The dictionary comes first, so that what is read always begins with the chunk.
        let last = rows.last().map_or(row_count, |rows| rows.end);
        let after = pages.locations.iter().find(|(_, first)| *first >= last);
        let end = after
            .and_then(|(offset, _)| start.checked_add(*offset as u64))
            .map_or(end, |after| after.min(end));
        pages.bytes = source.read(start, end - start)?;
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
        let mut header = self.header()?;
        if !(self.at == 0 && header.kind == Kind::Dictionary) {
            if let Some(&(at, first)) =
                self.locations.get(self.locations.partition_point(|(_, first)| *first <= row).wrapping_sub(1))
                && at > self.at
            {
                (self.at, self.next_row) = (at, first);
                header = self.header()?;
            }
            while header.kind == Kind::Data && self.next_row.saturating_add(header.values) <= row {
                self.next_row += header.values;
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
        let raw = self.bytes.get(first..end).ok_or(Fault::Damaged("a page is cut off"))?;
        self.at = end;
        if !is_dictionary {
            let end = self.next_row.saturating_add(header.values);
            if header.values == 0 || end > self.row_count {
                return Err(Fault::Damaged("a page has an impossible number of rows"));
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

    fn header(&self) -> Result<Header, Fault> {
        Header::read(self.bytes.get(self.at..).unwrap_or_default())
    }
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
