//! Writes and opens the Parquet files of a table.
//!
//! A file is encoded in memory (a flush is bounded by the head, and a few bytes a row), then written and
//! synced in one go. Its Arrow schema is not embedded: readers see plain strings, binaries and timestamps.

use super::days::{date_text, time_text};
use super::schema::{DATE, Table};
use crate::Error;
use crate::files::{DataFile, FileStats};
use crate::store::TableFolder;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use std::fs::File;
use std::sync::Arc;

/// A row group never holds more rows.
pub(super) const MAX_ROW_GROUP_ROWS: usize = 1 << 20;

/// So many rows of a column are read at least: at both ends of a range, and before and after the rows of a
/// service in a larger row group.
const PAGE_ROWS: usize = 8_192;

/// Dictionaries of text and ids may grow to this size: a row group whose stack ids did not fit would lose
/// the dense numbering that the query kernel accumulates on. 1 M ids of 16 bytes and their lengths take 20 MiB.
const ID_DICTIONARY_BYTES: usize = 32 << 20;

/// Dictionaries of numbers stop paying off early.
const NUMBER_DICTIONARY_BYTES: usize = 1 << 20;

/// A Parquet file that was written and is not in the Delta log yet.
pub(super) struct NewFile {
    /// Path relative to the table's folder.
    pub(super) path: String,
    /// Its partition.
    pub(super) date: Option<i32>,
    /// Its size.
    pub(super) bytes: u64,
    /// Milliseconds since the epoch at which it was written, as the file system says.
    pub(super) modified: i64,
    /// What is in it.
    pub(super) bounds: Bounds,
}

/// The smallest and largest values in a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    /// Rows.
    pub(super) rows: u64,
    /// Smallest and largest service.
    pub(super) services: Option<(String, String)>,
    /// Names of time columns with their smallest and largest values, in microseconds.
    pub(super) times: Vec<(&'static str, i64, i64)>,
}

impl Bounds {
    /// Widens the bounds of the time column `name`.
    pub(super) fn add_time(&mut self, name: &'static str, micros: i64) {
        match self.times.iter_mut().find(|(other, _, _)| *other == name) {
            Some((_, min, max)) => (*min, *max) = ((*min).min(micros), (*max).max(micros)),
            None => self.times.push((name, micros, micros)),
        }
    }

    /// Adds a service; they come in order.
    pub(super) fn add_service(&mut self, service: &str) {
        match &mut self.services {
            Some((_, max)) if max != service => *max = service.to_owned(),
            Some(_) => {}
            None => self.services = Some((service.to_owned(), service.to_owned())),
        }
    }

    /// The statistics of an `add` action.
    pub(super) fn delta_stats(&self) -> serde_json::Value {
        let (mut min, mut max) = (serde_json::Map::new(), serde_json::Map::new());
        if let Some((first, last)) = &self.services {
            min.insert("service".into(), first.as_str().into());
            max.insert("service".into(), last.as_str().into());
        }
        for &(name, first, last) in &self.times {
            min.insert(name.into(), time_text(first).into());
            max.insert(name.into(), time_text(last).into());
        }
        serde_json::json!({ "numRecords": self.rows, "minValues": min, "maxValues": max })
    }

    /// The statistics for the planner.
    pub(super) fn file_stats(&self) -> FileStats {
        let (min_service, max_service) = self.services.clone().unwrap_or_default();
        let time = self.times.iter().find(|(name, _, _)| *name == "time");
        let (min_time, max_time) = time.map_or((0, 0), |&(_, min, max)| (min, max));
        FileStats { rows: self.rows, min_service, max_service, min_time, max_time }
    }
}

/// How the columns of `table` are encoded.
pub(super) fn properties(table: &Table) -> WriterPropertiesBuilder {
    let path = |name: &&str| ColumnPath::from(*name);
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("everflame ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(compression())
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_dictionary_page_size_limit(ID_DICTIONARY_BYTES)
        .set_max_row_group_row_count(Some(MAX_ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS);
    for name in table.deltas {
        properties = properties
            .set_column_dictionary_enabled(path(name), false)
            .set_column_encoding(path(name), Encoding::DELTA_BINARY_PACKED);
    }
    for name in table.unique {
        properties = properties.set_column_dictionary_enabled(path(name), false);
    }
    properties
}

fn compression() -> Compression {
    #[cfg(test)]
    if crate::testing::is_plain() {
        return Compression::UNCOMPRESSED;
    }
    Compression::ZSTD(ZstdLevel::default())
}

/// Encodes `column` with a dictionary, and as differences when the dictionary grows too large.
pub(super) fn number_dictionary(
    properties: WriterPropertiesBuilder,
    column: &str,
) -> WriterPropertiesBuilder {
    let path = ColumnPath::from(column);
    properties
        .set_column_dictionary_page_size_limit(path.clone(), NUMBER_DICTIONARY_BYTES)
        .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
}

/// Encodes a file of `table` into memory.
pub(super) fn encoder(
    table: &Table,
    properties: WriterPropertiesBuilder,
) -> Result<ArrowWriter<Vec<u8>>, ParquetError> {
    let schema = table.schema.clone();
    // The leading columns of every table are flat, so that the position of a column is that of its leaf.
    let position = |name: &&str| schema.index_of(name).ok().and_then(|index| i32::try_from(index).ok());
    let order = table.order.iter().filter_map(position);
    let order = order.map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false });
    let properties = properties.set_sorting_columns(Some(order.collect())).build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    ArrowWriter::try_new_with_options(Vec::new(), schema, options)
}

/// Writes an encoded file of a flush durably: `<folder>/[date=<date>/]<sequence>.parquet`.
pub(super) fn store(
    folder: &TableFolder,
    date: Option<i32>,
    sequence: u64,
    encoded: &[u8],
    bounds: Bounds,
) -> Result<NewFile, Error> {
    store_as(folder, date, &format!("{sequence:020}"), encoded, bounds)
}

/// Writes an encoded file durably: `<folder>/[date=<date>/]<name>.parquet`. A name begins with a sequence,
/// see [`DataFile::sequence`], and gets the checksum of the file at its end, see [`DataFile::checksum`].
pub(super) fn store_as(
    folder: &TableFolder,
    date: Option<i32>,
    name: &str,
    encoded: &[u8],
    bounds: Bounds,
) -> Result<NewFile, Error> {
    let name = format!("{name}{}-crc{:08x}.parquet", folder.store.mark(), crc32c::crc32c(encoded));
    let path = date.map_or_else(|| name.clone(), |day| format!("{DATE}={}/{name}", date_text(day)));
    let modified = folder.store.put(&folder.name(&path), encoded)?;
    Ok(NewFile { path, date, bytes: encoded.len() as u64, modified, bounds })
}

/// An error of the Parquet library while a file in `folder` was encoded.
pub(super) fn encoding_error(folder: &TableFolder) -> impl Fn(ParquetError) -> Error + '_ {
    |source| Error::Parquet { path: folder.path().display().to_string(), source }
}

/// An error of the Parquet library while `file` was read.
pub(super) fn reading_error(file: &DataFile) -> impl Fn(ParquetError) -> Error + '_ {
    |source| Error::Parquet { path: file.path.display().to_string(), source }
}

/// Opens `file` for reading with the in-memory types of `table`.
pub(super) fn reader(file: &DataFile, table: &Table) -> Result<ParquetRecordBatchReaderBuilder<File>, Error> {
    reader_with(file, file.metadata()?, table)
}

/// The same with a footer that is known.
pub(super) fn reader_with(
    file: &DataFile,
    footer: Arc<ParquetMetaData>,
    table: &Table,
) -> Result<ParquetRecordBatchReaderBuilder<File>, Error> {
    let options = ArrowReaderOptions::new().with_schema(table.schema.clone());
    let metadata = ArrowReaderMetadata::try_new(footer, options).map_err(reading_error(file))?;
    Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file.open()?, metadata))
}
