//! Reads columns of one row group through Arrow, with dictionaries kept: what [`everflame_lake::columns`] does
//! not read, because it has nulls or is encoded in a way that the lake does not write.
//!
//! Column chunks that are read as a whole come in one piece from the file; with a page selection only the
//! pages that are needed do.

use crate::plan::Unit;
use crate::scan::Interrupt;
use arrow::array::{Array, ArrayRef, BinaryArray, DictionaryArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit, TimestampMicrosecondType};
use bytes::{Buf, Bytes};
use everflame_lake::columns::{self, OpenFile};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_schema};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, Length};
use std::sync::Arc;

/// Rows decoded at a time: keys and values of a batch stay in the second-level cache.
const BATCH_ROWS: usize = 16_384;

/// Columns that are decoded as dictionaries.
const DICTIONARIES: [&str; 2] = ["stack_id", "series_id"];

/// A footer with the types that the scans read its columns as.
fn arrow_metadata(metadata: &Arc<ParquetMetaData>) -> Result<ArrowReaderMetadata> {
    let schema = parquet_to_arrow_schema(metadata.file_metadata().schema_descr(), None)?;
    let fields = schema.fields().iter().map(read_as).collect::<Vec<_>>();
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    ArrowReaderMetadata::try_new(metadata.clone(), ArrowReaderOptions::new().with_schema(schema))
}

fn read_as(field: &Arc<Field>) -> Arc<Field> {
    let binary = matches!(field.data_type(), DataType::Binary);
    if !binary || !DICTIONARIES.contains(&field.name().as_str()) {
        return field.clone();
    }
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Binary));
    Arc::new(field.as_ref().clone().with_data_type(dictionary))
}

/// Why a row group was not scanned page by page.
pub(crate) enum Fault {
    /// It is written in a way that needs Arrow; nothing was added to the result.
    Unsupported,
    /// The scan must not go on.
    Interrupted(Interrupt),
}

impl From<columns::Fault> for Fault {
    fn from(fault: columns::Fault) -> Self {
        fault.into_error().map_or(Self::Unsupported, |error| Self::Interrupted(error.into()))
    }
}

impl From<Interrupt> for Fault {
    fn from(interrupt: Interrupt) -> Self {
        Self::Interrupted(interrupt)
    }
}

/// Whether the file of a unit has a column of this name.
pub(crate) fn has_column(unit: &Unit, name: &str) -> bool {
    let schema = unit.source.metadata().file_metadata().schema_descr();
    schema.columns().iter().any(|column| column.path().string() == name)
}

/// Starts reading `columns` of a unit. The second value is how many compressed bytes they have; pages that
/// are skipped count too.
pub(crate) fn read(unit: &Unit, columns: &[&str]) -> Result<(ParquetRecordBatchReader, u64)> {
    let metadata = unit.source.metadata();
    let schema = metadata.file_metadata().schema_descr();
    let mut leaves = Vec::with_capacity(columns.len());
    for name in columns {
        let found = schema.columns().iter().position(|column| column.path().string() == *name);
        leaves.push(found.ok_or_else(|| ParquetError::General(format!("it has no column {name:?}")))?);
    }
    let mut source = Chunks { handle: unit.source.handle()?, chunks: Vec::new() };
    let group = metadata.row_group(unit.row_group);
    let mut bytes = 0u64;
    for &leaf in &leaves {
        let (start, length) = group.column(leaf).byte_range();
        bytes = bytes.saturating_add(length);
        if unit.rows.is_none() {
            source.load(start, length)?;
        }
    }
    let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(source, arrow_metadata(metadata)?)
        .with_row_groups(vec![unit.row_group])
        .with_projection(ProjectionMask::leaves(schema, leaves))
        .with_batch_size(BATCH_ROWS);
    if let Some(rows) = &unit.rows {
        builder = builder.with_row_selection(rows.clone());
    }
    Ok((builder.build()?, bytes))
}

/// An open file, some of its column chunks held in memory.
struct Chunks {
    handle: Arc<OpenFile>,
    chunks: Vec<(u64, Bytes)>,
}

impl Chunks {
    fn load(&mut self, start: u64, length: u64) -> Result<()> {
        let chunk = self.handle.read_shared(start, length)?;
        self.chunks.push((start, chunk));
        Ok(())
    }

    fn loaded(&self, start: u64) -> Option<Bytes> {
        self.chunks.iter().find_map(|(at, chunk)| {
            let offset = usize::try_from(start.checked_sub(*at)?).ok()?;
            (offset < chunk.len()).then(|| chunk.slice(offset..))
        })
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.handle.length()
    }
}

/// Most bytes that a page header is searched in.
const HEADER_WINDOW: u64 = 64 << 10;

impl ChunkReader for Chunks {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let rest = match self.loaded(start) {
            Some(rest) => rest,
            None => {
                let rest = self.handle.length().saturating_sub(start);
                self.handle.read_shared(start, rest.min(HEADER_WINDOW))?
            }
        };
        Ok(rest.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        match self.loaded(start) {
            Some(rest) if rest.len() >= length => Ok(rest.slice(..length)),
            _ => self.handle.read_shared(start, length as u64),
        }
    }
}

/// A column of ids: for each row the position of its value among `values`.
pub(crate) struct Ids<'a> {
    pub(crate) keys: &'a [i32],
    pub(crate) values: &'a BinaryArray,
}

/// The column `name` of `batch` as a dictionary.
pub(crate) fn ids<'a>(batch: &'a RecordBatch, name: &str) -> Result<Ids<'a>> {
    let array = column(batch, name)?.as_any().downcast_ref::<DictionaryArray<Int32Type>>();
    let (Some(array), true) = (array, array.is_some_and(|array| array.null_count() == 0)) else {
        return Err(wrong_type(name));
    };
    let values = array.values().as_any().downcast_ref().ok_or_else(|| wrong_type(name))?;
    Ok(Ids { keys: array.keys().values(), values })
}

/// The column `name` of `batch` as bytes, rows without a value allowed.
pub(crate) fn binary<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a BinaryArray> {
    column(batch, name)?.as_any().downcast_ref().ok_or_else(|| wrong_type(name))
}

/// The column `name` of `batch` as numbers.
pub(crate) fn numbers<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a [i64]> {
    let array = column(batch, name)?;
    if array.null_count() > 0 {
        return Err(wrong_type(name));
    }
    match array.data_type() {
        DataType::Int64 => array.as_any().downcast_ref::<Int64Array>().map(|array| &array.values()[..]),
        DataType::Timestamp(TimeUnit::Microsecond, _) => array
            .as_any()
            .downcast_ref::<arrow::array::PrimitiveArray<TimestampMicrosecondType>>()
            .map(|array| &array.values()[..]),
        _ => None,
    }
    .ok_or_else(|| wrong_type(name))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| ParquetError::General(format!("it has no column {name:?}")))
}

fn wrong_type(name: &str) -> ParquetError {
    ParquetError::General(format!("its column {name:?} is not of the type that was written, or has nulls"))
}

/// Whether two batches share one dictionary, so that keys mean the same. The caller keeps `a` alive.
pub(crate) fn same_dictionary(a: &BinaryArray, b: &BinaryArray) -> bool {
    a.len() == b.len()
        && a.value_offsets().as_ptr() == b.value_offsets().as_ptr()
        && a.value_data().as_ptr() == b.value_data().as_ptr()
}
