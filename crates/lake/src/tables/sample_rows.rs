//! Rows of `samples` and of its tiers, read from several files in their common order.
//!
//! Each file is sorted by service, profile type, window, stack, series and time. [`merge`] hands out the
//! rows of all of them in that order, as runs: the rows of one stack in one window. Of each file one batch
//! of rows is in memory.

use super::columns;
use super::parquet_file::{self, reading_error};
use super::schema::Table;
use crate::{DataFile, Error};
use arrow::array::{
    Array, BinaryArray, DictionaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;
use hashbrown::HashMap;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::errors::ParquetError;
use std::cmp::Ordering;
use std::sync::Arc;

/// Rows of a file that are in memory at once.
const BATCH_ROWS: usize = 4_096;

/// A row of `samples` or of one of its tiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SampleRow {
    /// Its service and profile type, as a position in [`Groups`].
    pub(super) group: u32,
    /// Start of the span of time by which rows are sorted, microseconds since the epoch.
    pub(super) window: i64,
    /// The stack's id.
    pub(super) stack: u128,
    /// The series' id.
    pub(super) series: u64,
    /// Microseconds since the epoch; in a tier the start of the window that is summed.
    pub(super) time: i64,
    /// The value.
    pub(super) value: i64,
    /// 0 when there is none.
    pub(super) span: u64,
    /// 0 when there is none.
    pub(super) trace: u128,
}

/// The distinct pairs of service and profile type of some rows.
#[derive(Debug, Default)]
pub(super) struct Groups {
    names: Vec<(String, String)>,
    positions: HashMap<(String, String), u32>,
    last: Option<u32>,
}

impl Groups {
    /// The position of a pair, a new one when it is not there yet.
    pub(super) fn position(&mut self, service: &str, profile_type: &str) -> u32 {
        let is_pair = |&at: &u32| self.names(at) == (service, profile_type);
        if let Some(at) = self.last.filter(is_pair) {
            return at;
        }
        let pair = (service.to_owned(), profile_type.to_owned());
        let position = *self.positions.entry(pair).or_insert_with_key(|pair| {
            self.names.push(pair.clone());
            (self.names.len() - 1) as u32
        });
        self.last = Some(position);
        position
    }

    /// All of them, by position.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().map(|(service, kind)| (service.as_str(), kind.as_str()))
    }

    /// For each position its place in the order of the names.
    pub(super) fn ranks(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.names.len()).collect();
        order.sort_unstable_by(|&a, &b| self.names.get(a).cmp(&self.names.get(b)));
        let mut ranks = vec![0; order.len()];
        for (rank, at) in order.into_iter().enumerate() {
            if let Some(slot) = ranks.get_mut(at) {
                *slot = rank;
            }
        }
        ranks
    }

    /// Service and profile type.
    pub(super) fn names(&self, group: u32) -> (&str, &str) {
        self.names.get(group as usize).map_or(("", ""), |(service, kind)| (service, kind))
    }

    fn compare(&self, a: u32, b: u32) -> Ordering {
        if a == b { Ordering::Equal } else { self.names(a).cmp(&self.names(b)) }
    }
}

/// Takes the rows of one stack in one window, sorted by series, time, value, span and trace.
pub(super) type Sink<'a> = &'a mut dyn FnMut(&Groups, &[SampleRow]) -> Result<(), Error>;

/// Calls `sink` with all rows of `files`, run by run, and returns their groups. Blocking.
pub(super) fn merge(table: &'static Table, files: &[Arc<DataFile>], sink: Sink<'_>) -> Result<Groups, Error> {
    let mut groups = Groups::default();
    let mut cursors = Vec::with_capacity(files.len());
    for file in files {
        let mut cursor = Cursor::open(table, file)?;
        if cursor.fill(&mut groups)? {
            cursors.push(cursor);
        }
    }
    let mut run: Vec<SampleRow> = Vec::new();
    while let Some(first) = smallest(&cursors, &groups) {
        run.clear();
        let mut sources = 0;
        let mut at = 0;
        while let Some(cursor) = cursors.get_mut(at) {
            let before = run.len();
            let more = cursor.take_run(&first, &mut run, &mut groups)?;
            sources += usize::from(run.len() > before);
            if more {
                at += 1;
            } else {
                cursors.swap_remove(at);
            }
        }
        if sources > 1 {
            run.sort_unstable_by_key(|row| (row.series, row.time, row.value, row.span, row.trace));
        }
        sink(&groups, &run)?;
    }
    Ok(groups)
}

/// The first row in the common order.
fn smallest(cursors: &[Cursor], groups: &Groups) -> Option<SampleRow> {
    let heads = cursors.iter().filter_map(Cursor::head);
    heads.copied().min_by(|a, b| {
        groups.compare(a.group, b.group).then_with(|| (a.window, a.stack).cmp(&(b.window, b.stack)))
    })
}

/// A file that is being read.
struct Cursor {
    file: Arc<DataFile>,
    reader: ParquetRecordBatchReader,
    rows: Vec<SampleRow>,
    at: usize,
}

impl Cursor {
    fn open(table: &'static Table, file: &Arc<DataFile>) -> Result<Self, Error> {
        let builder = parquet_file::reader(file, table)?.with_batch_size(BATCH_ROWS);
        let reader = builder.build().map_err(reading_error(file))?;
        Ok(Self { file: file.clone(), reader, rows: Vec::new(), at: 0 })
    }

    fn head(&self) -> Option<&SampleRow> {
        self.rows.get(self.at)
    }

    /// Moves the rows of the run that begins with `first` to `run`. False when there are no more rows.
    fn take_run(
        &mut self,
        first: &SampleRow,
        run: &mut Vec<SampleRow>,
        groups: &mut Groups,
    ) -> Result<bool, Error> {
        loop {
            let rest = self.rows.get(self.at..).unwrap_or_default();
            let same = |row: &&SampleRow| {
                (row.group, row.window, row.stack) == (first.group, first.window, first.stack)
            };
            let taken = rest.iter().take_while(same).count();
            run.extend(rest.iter().take(taken));
            self.at += taken;
            if self.at < self.rows.len() {
                return Ok(true);
            }
            if !self.fill(groups)? {
                return Ok(false);
            }
        }
    }

    /// Reads the next rows. False when there are none.
    fn fill(&mut self, groups: &mut Groups) -> Result<bool, Error> {
        self.rows.clear();
        self.at = 0;
        while self.rows.is_empty() {
            let Some(batch) = self.reader.next() else { return Ok(false) };
            let fault = reading_error(&self.file);
            let batch = batch.map_err(ParquetError::from).map_err(&fault)?;
            read_rows(&batch, groups, &mut self.rows).map_err(&fault)?;
        }
        Ok(true)
    }
}

type Dictionary = DictionaryArray<Int32Type>;

fn read_rows(
    batch: &RecordBatch,
    groups: &mut Groups,
    rows: &mut Vec<SampleRow>,
) -> Result<(), ParquetError> {
    let all = batch.columns();
    let (services, types): (&Dictionary, &Dictionary) = (columns::typed(all, 0)?, columns::typed(all, 1)?);
    let service_names: &StringArray = columns::typed(std::slice::from_ref(services.values()), 0)?;
    let type_names: &StringArray = columns::typed(std::slice::from_ref(types.values()), 0)?;
    let windows: &TimestampMicrosecondArray = columns::typed(all, 2)?;
    let (stacks, series): (&Dictionary, &Dictionary) = (columns::typed(all, 3)?, columns::typed(all, 4)?);
    let stack_ids: Vec<u128> = numbers(stacks, u128::from_be_bytes)?;
    let series_ids: Vec<u64> = numbers(series, u64::from_be_bytes)?;
    let times: &TimestampMicrosecondArray = columns::typed(all, 5)?;
    let values: &Int64Array = columns::typed(all, 6)?;
    let spans: Option<&BinaryArray> = all.get(7).map(|_| columns::typed(all, 7)).transpose()?;
    let traces: Option<&BinaryArray> = all.get(8).map(|_| columns::typed(all, 8)).transpose()?;
    let name = |names: &StringArray, key: i32| match usize::try_from(key) {
        Ok(key) if key < names.len() => Ok(names.value(key).to_owned()),
        _ => Err(beyond_dictionary()),
    };
    let mut group = (-1, -1, 0);
    rows.reserve(batch.num_rows());
    for at in 0..batch.num_rows() {
        let (service, kind) = (services.keys().value(at), types.keys().value(at));
        if (service, kind) != (group.0, group.1) {
            let position = groups.position(&name(service_names, service)?, &name(type_names, kind)?);
            group = (service, kind, position);
        }
        rows.push(SampleRow {
            group: group.2,
            window: windows.value(at),
            stack: id_at(&stack_ids, stacks.keys().value(at))?,
            series: id_at(&series_ids, series.keys().value(at))?,
            time: times.value(at),
            value: values.value(at),
            span: optional(spans, at, u64::from_be_bytes)?,
            trace: optional(traces, at, u128::from_be_bytes)?,
        });
    }
    Ok(())
}

/// The values of a dictionary of ids as numbers.
fn numbers<const N: usize, T>(ids: &Dictionary, number: fn([u8; N]) -> T) -> Result<Vec<T>, ParquetError> {
    let values: &BinaryArray = columns::typed(std::slice::from_ref(ids.values()), 0)?;
    values.iter().map(|id| columns::bytes(id.unwrap_or_default()).map(number)).collect()
}

fn id_at<T: Copy>(ids: &[T], key: i32) -> Result<T, ParquetError> {
    usize::try_from(key).ok().and_then(|key| ids.get(key)).copied().ok_or_else(beyond_dictionary)
}

pub(super) fn beyond_dictionary() -> ParquetError {
    ParquetError::General("a row refers to something beyond the dictionary of its column".into())
}

fn optional<const N: usize, T: Default>(
    column: Option<&BinaryArray>,
    at: usize,
    number: fn([u8; N]) -> T,
) -> Result<T, ParquetError> {
    match column {
        Some(column) if column.is_valid(at) => columns::bytes(column.value(at)).map(number),
        _ => Ok(T::default()),
    }
}
