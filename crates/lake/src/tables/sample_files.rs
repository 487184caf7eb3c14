//! Writes rows of `samples` or of one of its tiers, which come in the order of the table, into files.

use super::columns;
use super::parquet_file::{self, Bounds, MAX_ROW_GROUP_ROWS, NewFile, encoding_error};
use super::sample_rows::{Groups, SampleRow};
use super::samples::{MIN_ROW_GROUP_ROWS, optional, properties};
use super::schema::Table;
use crate::Error;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use hashbrown::HashMap;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows that become Arrow arrays at once.
const BATCH_ROWS: usize = 32_768;

/// A file ends at the next stack when it has this many bytes: it is encoded in memory.
const FILE_BYTES: usize = 32 << 20;

/// Where files go, and how they are called.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The table's folder.
    pub(super) folder: PathBuf,
    /// The partition, days since the epoch.
    pub(super) date: i32,
    /// The last write-ahead log sequence that the rows go up to.
    pub(super) sequence: u64,
    /// Tells files of one sequence apart: the version of the commit that will name them.
    pub(super) version: u64,
    /// Tells files of one version apart that are not written together.
    pub(super) part: i64,
}

impl Place {
    /// The name of the file at `index` of those that are written together.
    pub(super) fn name(&self, index: usize) -> String {
        format!("{:020}-{:010}-{}-{index}.parquet", self.sequence, self.version, self.part)
    }
}

/// Writes the files of one partition. What it wrote is deleted again when it is dropped before
/// [`Self::finish`].
pub(super) struct SampleFiles {
    table: &'static Table,
    place: Place,
    open: Option<Open>,
    written: Vec<NewFile>,
}

/// The file that is being encoded.
struct Open {
    encoder: ArrowWriter<Vec<u8>>,
    bounds: Bounds,
    rows: Vec<SampleRow>,
    row_group_rows: usize,
    service: String,
    profile_type: String,
}

impl SampleFiles {
    pub(super) fn new(table: &'static Table, place: Place) -> Self {
        Self { table, place, open: None, written: Vec::new() }
    }

    /// Adds rows of one stack in one window; they come after those of the call before, unless a file was
    /// ended in between.
    pub(super) fn push(&mut self, groups: &Groups, run: &[SampleRow]) -> Result<(), Error> {
        let Some(first) = run.first() else { return Ok(()) };
        let folder = self.place.folder.clone();
        let (service, profile_type) = groups.names(first.group);
        if self.open.as_ref().is_some_and(|open| open.bytes() >= FILE_BYTES) {
            self.end_file()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(Open::new(self.table).map_err(encoding_error(&folder))?),
        };
        open.push(self.table, service, profile_type, run).map_err(encoding_error(&folder))
    }

    /// Ends the file, so that the rows to come may begin anywhere.
    pub(super) fn end_file(&mut self) -> Result<(), Error> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let fault = encoding_error(&self.place.folder);
        open.end_row_group(self.table).map_err(&fault)?;
        if open.bounds.rows > 0 {
            let encoded = open.encoder.into_inner().map_err(&fault)?;
            let name = self.place.name(self.written.len());
            let date = Some(self.place.date);
            let file = parquet_file::store_as(&self.place.folder, date, name, &encoded, open.bounds)?;
            self.written.push(file);
        }
        Ok(())
    }

    /// The files that were written.
    pub(super) fn finish(mut self) -> Result<Vec<NewFile>, Error> {
        self.end_file()?;
        Ok(std::mem::take(&mut self.written))
    }
}

impl Drop for SampleFiles {
    fn drop(&mut self) {
        delete(&self.place.folder, &self.written);
    }
}

/// Deletes files that were written and will not be committed. What stays goes at the next start.
pub(super) fn delete(folder: &Path, files: &[NewFile]) {
    for file in files {
        let path = folder.join(&file.path);
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "an unfinished file stays until the next start");
        }
    }
}

impl Open {
    fn new(table: &'static Table) -> Result<Self, ParquetError> {
        Ok(Self {
            encoder: parquet_file::encoder(table, properties(table))?,
            bounds: Bounds::default(),
            rows: Vec::new(),
            row_group_rows: 0,
            service: String::new(),
            profile_type: String::new(),
        })
    }

    fn bytes(&self) -> usize {
        self.encoder.bytes_written() + self.encoder.in_progress_size()
    }

    fn push(
        &mut self,
        table: &'static Table,
        service: &str,
        profile_type: &str,
        run: &[SampleRow],
    ) -> Result<(), ParquetError> {
        if (self.service.as_str(), self.profile_type.as_str()) != (service, profile_type) {
            self.encode_rows(table)?;
            if self.row_group_rows >= MIN_ROW_GROUP_ROWS {
                self.end_row_group(table)?;
            }
            (self.service, self.profile_type) = (service.to_owned(), profile_type.to_owned());
        }
        self.bounds.add_service(service);
        let times = || run.iter().map(|row| row.time);
        self.bounds.add_time("window", run.first().map_or(0, |row| row.window));
        self.bounds.add_time("time", times().min().unwrap_or_default());
        self.bounds.add_time("time", times().max().unwrap_or_default());
        self.bounds.rows += run.len() as u64;
        let mut left = run;
        while !left.is_empty() {
            let room = MAX_ROW_GROUP_ROWS.saturating_sub(self.row_group_rows + self.rows.len());
            let (fitting, rest) = left.split_at(room.min(left.len()));
            self.rows.extend_from_slice(fitting);
            left = rest;
            if self.row_group_rows + self.rows.len() >= MAX_ROW_GROUP_ROWS {
                self.end_row_group(table)?;
            } else if self.rows.len() >= BATCH_ROWS {
                self.encode_rows(table)?;
            }
        }
        Ok(())
    }

    fn end_row_group(&mut self, table: &'static Table) -> Result<(), ParquetError> {
        self.encode_rows(table)?;
        self.row_group_rows = 0;
        self.encoder.flush()
    }

    /// Hands the waiting rows, which are of one service and type, to the encoder.
    fn encode_rows(&mut self, table: &'static Table) -> Result<(), ParquetError> {
        let rows = std::mem::take(&mut self.rows);
        for rows in rows.chunks(BATCH_ROWS) {
            let batch = batch(table, &self.service, &self.profile_type, rows)?;
            self.encoder.write(&batch)?;
            self.row_group_rows += rows.len();
        }
        self.rows = rows;
        self.rows.clear();
        Ok(())
    }
}

fn batch(
    table: &'static Table,
    service: &str,
    profile_type: &str,
    rows: &[SampleRow],
) -> Result<RecordBatch, ParquetError> {
    let (mut stacks, mut series) = (Vec::new(), Vec::new());
    let mut series_positions: HashMap<u64, i32> = HashMap::new();
    let (mut stack_keys, mut series_keys) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for row in rows {
        if stacks.last() != Some(&row.stack) {
            stacks.push(row.stack);
        }
        stack_keys.push(stacks.len() as i32 - 1);
        series_keys.push(*series_positions.entry(row.series).or_insert_with(|| {
            series.push(row.series);
            series.len() as i32 - 1
        }));
    }
    let constant = |text: &str| columns::dictionary(vec![0; rows.len()], &columns::texts([text]));
    let stacks = columns::binaries(stacks.into_iter().map(u128::to_be_bytes));
    let series = columns::binaries(series.into_iter().map(u64::to_be_bytes));
    let mut all: Vec<ArrayRef> = vec![
        constant(service)?,
        constant(profile_type)?,
        columns::times(rows.iter().map(|row| row.window).collect()),
        columns::dictionary(stack_keys, &stacks)?,
        columns::dictionary(series_keys, &series)?,
        columns::times(rows.iter().map(|row| row.time).collect()),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.value))),
    ];
    if table.schema.fields().len() > all.len() {
        let (mut any_span, mut any_trace) = (false, false);
        for row in rows {
            (any_span, any_trace) = (any_span | (row.span != 0), any_trace | (row.trace != 0));
        }
        let spans = rows.iter().map(|row| (row.span != 0).then(|| row.span.to_be_bytes()));
        all.push(optional(rows.len(), any_span, spans));
        let traces = rows.iter().map(|row| (row.trace != 0).then(|| row.trace.to_be_bytes()));
        all.push(optional(rows.len(), any_trace, traces));
    }
    Ok(RecordBatch::try_new(table.schema.clone(), all)?)
}

/// The partition of a file, from its path in the table's folder: days since the epoch.
pub(super) fn partition(path: &Path) -> Option<i32> {
    let folder = path.parent()?.file_name()?.to_str()?;
    super::days::parse_date(folder.strip_prefix(super::schema::DATE)?.strip_prefix('=')?)
}
