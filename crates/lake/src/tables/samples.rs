//! The table `samples`: one row for each sample of each profile.
//!
//! Rows are sorted by service, profile type, window of five minutes, stack, series and time. The sort has two levels: the
//! profiles (few) are ordered by everything but the stack, which groups the rows by window; within a window
//! the rows (many) are sorted by one integer each, the rank of the stack above the position in the order
//! of the profiles.

use super::columns;
use super::parquet_file::{self, Bounds, MAX_ROW_GROUP_ROWS, NewFile, encoding_error};
use super::schema::{SAMPLES, Table};
use super::series_order::{FlushProfile, SeriesOrder};
use crate::store::TableFolder;
use crate::{Error, HeadChunk};
use arrow::array::{ArrayRef, BinaryBuilder, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::DataType;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterPropertiesBuilder;
use std::path::PathBuf;
use std::sync::Arc;

/// A row group ends with a service and profile type once it has this many rows: large enough for
/// dictionaries to pay off, small enough that a query for one service reads little of its neighbours.
pub(super) const MIN_ROW_GROUP_ROWS: usize = 32_768;

/// Rows that become Arrow arrays at once.
const BATCH_ROWS: usize = 65_536;

/// A row: the positions of its profile, of its sample in the profile's chunk, and of its stack.
#[derive(Clone, Copy)]
struct Row {
    profile: u32,
    sample: u32,
    stack: u32,
}

/// Writes the samples of a flush, one file for each day.
pub(super) fn write(
    folder: &TableFolder,
    sequence: u64,
    order: &SeriesOrder<'_>,
) -> Result<Vec<NewFile>, Error> {
    let stacks = StackOrder::new(order.chunks);
    let mut profiles = order.profiles.clone();
    profiles.sort_by_key(|p| (p.day, p.service, p.profile_type, p.window, p.series, p.time));
    let mut files = Vec::new();
    for day in profiles.chunk_by(|a, b| a.day == b.day) {
        let (encoded, bounds) = encode(folder, day, order, &stacks)?;
        if bounds.rows > 0 {
            let date = day.first().map(|profile| profile.day);
            files.push(parquet_file::store(folder, date, sequence, &encoded, bounds)?);
        }
    }
    Ok(files)
}

/// How the columns of `samples` and its tiers are encoded.
pub(super) fn properties(table: &Table) -> WriterPropertiesBuilder {
    let properties = parquet_file::number_dictionary(parquet_file::properties(table), "time");
    let properties = parquet_file::number_dictionary(properties, "window");
    parquet_file::number_dictionary(properties, "value")
}

/// Encodes the samples of the profiles of one day.
fn encode(
    folder: &TableFolder,
    profiles: &[FlushProfile<'_>],
    order: &SeriesOrder<'_>,
    stacks: &StackOrder,
) -> Result<(Vec<u8>, Bounds), Error> {
    let encoder = parquet_file::encoder(&SAMPLES, properties(&SAMPLES)).map_err(encoding_error(folder))?;
    let mut file = SampleFile { encoder, order, profiles, stacks, rows: Vec::new() };
    let mut bounds = Bounds::default();
    let mut start = 0;
    for group in profiles.chunk_by(|a, b| (a.service, a.profile_type) == (b.service, b.profile_type)) {
        for window in group.chunk_by(|a, b| a.window == b.window) {
            let rows = sorted_rows(window, start, order.chunks, stacks)?;
            start += window.len();
            let mut left = &rows[..];
            while !left.is_empty() {
                let room = MAX_ROW_GROUP_ROWS - file.rows.len();
                let (fitting, rest) = left.split_at(room.min(left.len()));
                file.rows.extend_from_slice(fitting);
                left = rest;
                if file.rows.len() == MAX_ROW_GROUP_ROWS {
                    file.end_row_group().map_err(encoding_error(folder))?;
                }
            }
            bounds.rows += rows.len() as u64;
            for profile in window.iter().filter(|p| p.samples_start < p.profile.samples_end) {
                bounds.add_service(order.service(profile.service));
                bounds.add_time("window", profile.window);
                bounds.add_time("time", profile.time);
            }
        }
        if file.rows.len() >= MIN_ROW_GROUP_ROWS {
            file.end_row_group().map_err(encoding_error(folder))?;
        }
    }
    file.end_row_group().map_err(encoding_error(folder))?;
    Ok((file.encoder.into_inner().map_err(encoding_error(folder))?, bounds))
}

/// The rows of profiles of one window, which come ordered by series and time and begin at position `start`
/// of their day.
fn sorted_rows(
    profiles: &[FlushProfile<'_>],
    start: usize,
    chunks: &[Arc<HeadChunk>],
    stacks: &StackOrder,
) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    let mut keys: Vec<u64> = Vec::new();
    for (at, profile) in profiles.iter().enumerate() {
        let range = profile.samples_start as usize..profile.profile.samples_end as usize;
        let samples = chunks
            .get(profile.chunk as usize)
            .filter(|chunk| chunk.sample_values.len() >= range.end)
            .and_then(|chunk| chunk.sample_stacks.get(range))
            .ok_or_else(|| damaged("has fewer samples than its profiles say"))?;
        for (sample, &stack) in (profile.samples_start..).zip(samples) {
            let stack = stacks.rank(profile.chunk, stack)?;
            keys.push(u64::from(stack) << 32 | rows.len() as u64);
            rows.push(Row { profile: (start + at) as u32, sample, stack });
        }
    }
    if u32::try_from(rows.len()).is_err() {
        return Err(damaged("has more samples in five minutes than can be sorted"));
    }
    keys.sort_unstable();
    Ok(keys.into_iter().map(|key| rows[(key & u64::from(u32::MAX)) as usize]).collect())
}

fn damaged(why: &str) -> Error {
    Error::Damaged { path: PathBuf::from("head"), why: format!("a chunk {why}") }
}

/// The distinct stacks of a flush in the order of their ids.
struct StackOrder {
    /// The ids as a column.
    values: ArrayRef,
    /// For each stack of each chunk its position among the distinct ones.
    ranks: Vec<u32>,
    /// For each chunk where its stacks begin in `ranks`.
    starts: Vec<usize>,
}

impl StackOrder {
    fn new(chunks: &[Arc<HeadChunk>]) -> Self {
        let mut starts = Vec::with_capacity(chunks.len() + 1);
        starts.push(0);
        let mut ids = Vec::new();
        for chunk in chunks {
            ids.extend(chunk.stacks.iter().map(|stack| stack.0).zip(ids.len()..));
            starts.push(ids.len());
        }
        ids.sort_unstable();
        let mut ranks = vec![0; ids.len()];
        let mut distinct: Vec<u128> = Vec::new();
        for (id, at) in ids {
            if distinct.last() != Some(&id) {
                distinct.push(id);
            }
            ranks[at] = (distinct.len() - 1) as u32;
        }
        Self { values: columns::binaries(distinct.into_iter().map(u128::to_be_bytes)), ranks, starts }
    }

    /// The position of a chunk's stack among the distinct ones.
    fn rank(&self, chunk: u32, stack: u32) -> Result<u32, Error> {
        let of_chunk = match self.starts.get(chunk as usize..) {
            Some(&[start, end, ..]) => self.ranks.get(start..end),
            _ => None,
        };
        let rank = of_chunk.and_then(|ranks| ranks.get(stack as usize)).copied();
        rank.ok_or_else(|| damaged("has a sample of a stack that it does not have"))
    }
}

/// A file that is being encoded, and the rows of its next row group.
struct SampleFile<'a> {
    encoder: ArrowWriter<Vec<u8>>,
    order: &'a SeriesOrder<'a>,
    profiles: &'a [FlushProfile<'a>],
    stacks: &'a StackOrder,
    rows: Vec<Row>,
}

impl SampleFile<'_> {
    fn end_row_group(&mut self) -> Result<(), ParquetError> {
        let rows = std::mem::take(&mut self.rows);
        for batch in rows.chunks(BATCH_ROWS) {
            let batch = self.batch(batch)?;
            self.encoder.write(&batch)?;
        }
        self.encoder.flush()
    }

    fn batch(&self, rows: &[Row]) -> Result<RecordBatch, ParquetError> {
        let order = self.order;
        let profile = |row: &Row| &self.profiles[row.profile as usize];
        let chunk = |row: &Row| &*order.chunks[profile(row).chunk as usize];
        let keys = |key: fn(&FlushProfile<'_>) -> i32| rows.iter().map(|row| key(profile(row))).collect();
        let times = |time: fn(&FlushProfile<'_>) -> i64| rows.iter().map(|row| time(profile(row))).collect();
        let values = rows.iter().map(|row| chunk(row).sample_values[row.sample as usize]);
        let span = |row: &Row| {
            let id = chunk(row).sample_spans.get(row.sample as usize).copied().unwrap_or_default();
            (id != 0).then(|| id.to_be_bytes())
        };
        let trace = |row: &Row| {
            let id = chunk(row).sample_traces.get(row.sample as usize).copied().unwrap_or_default();
            (id != 0).then(|| id.to_be_bytes())
        };
        let columns: Vec<ArrayRef> = vec![
            columns::dictionary(keys(|profile| profile.service), &order.service_values)?,
            columns::dictionary(keys(|profile| profile.profile_type), &order.type_values)?,
            columns::times(times(|profile| profile.window)),
            columns::dictionary(rows.iter().map(|row| row.stack as i32).collect(), &self.stacks.values)?,
            columns::dictionary(keys(|profile| profile.series), &order.series_values)?,
            columns::times(times(|profile| profile.time)),
            Arc::new(Int64Array::from_iter_values(values)),
            optional(
                rows.len(),
                order.chunks.iter().any(|chunk| !chunk.sample_spans.is_empty()),
                rows.iter().map(span),
            ),
            optional(
                rows.len(),
                order.chunks.iter().any(|chunk| !chunk.sample_traces.is_empty()),
                rows.iter().map(trace),
            ),
        ];
        Ok(RecordBatch::try_new(SAMPLES.schema.clone(), columns)?)
    }
}

/// A column of ids that are mostly absent.
pub(super) fn optional<const N: usize>(
    rows: usize,
    any: bool,
    ids: impl Iterator<Item = Option<[u8; N]>>,
) -> ArrayRef {
    if !any {
        return new_null_array(&DataType::Binary, rows);
    }
    let mut column = BinaryBuilder::with_capacity(rows, 0);
    ids.for_each(|id| column.append_option(id));
    Arc::new(column.finish())
}
