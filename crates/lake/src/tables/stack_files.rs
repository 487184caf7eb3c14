//! Merges files of the table `stacks`: each stack of a service once, in the table's order.

use super::columns;
use super::parquet_file::{self, Bounds, NewFile, encoding_error, reading_error};
use super::rewrite::Pace;
use super::sample_files::{Place, delete};
use super::schema::PLAIN_STACKS;
use super::stacks::properties;
use crate::{DataFile, Error};
use arrow::array::{BinaryArray, RecordBatch, StringArray};
use arrow::compute::interleave_record_batch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::errors::ParquetError;
use std::sync::Arc;

/// Rows of a file that are in memory at once.
const BATCH_ROWS: usize = 512;

/// Rows that are handed to the encoder at once.
const WRITTEN_ROWS: usize = 2_048;

/// A file ends when it has this many bytes: it is encoded in memory.
const FILE_BYTES: usize = 32 << 20;

/// Says which stacks stay, by service and id.
pub(crate) type KeepStack<'a> = &'a dyn Fn(&str, &[u8]) -> bool;

/// Writes the stacks of `files` into as few files as may be, without those that `keep` refuses. Blocking.
pub(super) fn rewrite(
    files: &[Arc<DataFile>],
    place: Place,
    keep: Option<KeepStack<'_>>,
    pace: Pace<'_>,
) -> Result<Vec<NewFile>, Error> {
    let mut out = StackFiles { place, open: None, written: Vec::new() };
    let mut cursors = Vec::with_capacity(files.len());
    for file in files {
        let reader = parquet_file::reader(file, &PLAIN_STACKS)?.with_batch_size(BATCH_ROWS);
        let reader = reader.build().map_err(reading_error(file))?;
        let mut cursor = Cursor { file: file.clone(), reader, batch: None, at: 0 };
        if cursor.fill()? {
            cursors.push(cursor);
        }
    }
    // Batches that rows waiting to be written lie in, and the rows: batch and position.
    let (mut batches, mut rows): (Vec<RecordBatch>, Vec<(usize, usize)>) = (Vec::new(), Vec::new());
    let mut places: Vec<Option<usize>> = vec![None; cursors.len()];
    let mut services: Option<(String, String)> = None;
    while let Some(key) = cursors.iter().filter_map(Cursor::key).min() {
        let is_kept = keep.is_none_or(|keep| keep(&key.0, &key.1));
        let mut is_taken = !is_kept;
        let mut at = 0;
        while at < cursors.len() {
            let Some(cursor) = cursors.get_mut(at) else { break };
            if cursor.key().as_ref() != Some(&key) {
                at += 1;
                continue;
            }
            if !is_taken && let Some(batch) = &cursor.batch {
                is_taken = true;
                let position =
                    *places.get_mut(at).ok_or_else(|| lost(&cursor.file))?.get_or_insert_with(|| {
                        batches.push(batch.record.clone());
                        batches.len() - 1
                    });
                rows.push((position, cursor.at));
            }
            if cursor.next()? {
                at += 1;
            } else if cursor.fill()? {
                if let Some(place) = places.get_mut(at) {
                    *place = None;
                }
                at += 1;
            } else {
                cursors.swap_remove(at);
                places.swap_remove(at);
            }
        }
        if is_kept {
            services.get_or_insert_with(|| (key.0.clone(), String::new())).1.clone_from(&key.0);
        }
        if rows.len() >= WRITTEN_ROWS {
            pace()?;
            out.push(&batches, &rows, services.take())?;
            (batches, rows) = (Vec::new(), Vec::new());
            places.fill(None);
        }
    }
    out.push(&batches, &rows, services)?;
    out.end_file()?;
    Ok(std::mem::take(&mut out.written))
}

fn lost(file: &DataFile) -> Error {
    Error::Damaged { path: file.path.clone(), why: "its place among the files was lost".into() }
}

/// A file that is being read.
struct Cursor {
    file: Arc<DataFile>,
    reader: ParquetRecordBatchReader,
    batch: Option<Batch>,
    at: usize,
}

struct Batch {
    record: RecordBatch,
    services: StringArray,
    ids: BinaryArray,
}

impl Cursor {
    /// Service and stack id of the next row.
    fn key(&self) -> Option<(String, Vec<u8>)> {
        let batch = self.batch.as_ref()?;
        Some((batch.services.value(self.at).to_owned(), batch.ids.value(self.at).to_vec()))
    }

    /// Goes to the next row of the batch. False when there is none.
    fn next(&mut self) -> Result<bool, Error> {
        self.at += 1;
        Ok(self.batch.as_ref().is_some_and(|batch| self.at < batch.record.num_rows()))
    }

    /// Reads the next batch. False when there is none.
    fn fill(&mut self) -> Result<bool, Error> {
        self.at = 0;
        self.batch = None;
        let fault = reading_error(&self.file);
        for record in self.reader.by_ref() {
            let record = record.map_err(ParquetError::from).map_err(&fault)?;
            if record.num_rows() == 0 {
                continue;
            }
            let services: &StringArray = columns::typed(record.columns(), 0).map_err(&fault)?;
            let ids: &BinaryArray = columns::typed(record.columns(), 1).map_err(&fault)?;
            let (services, ids) = (services.clone(), ids.clone());
            self.batch = Some(Batch { record, services, ids });
            return Ok(true);
        }
        Ok(false)
    }
}

/// The files that are being written; those are deleted when this is dropped before they were taken out.
struct StackFiles {
    place: Place,
    open: Option<(ArrowWriter<Vec<u8>>, Bounds)>,
    written: Vec<NewFile>,
}

impl StackFiles {
    fn push(
        &mut self,
        batches: &[RecordBatch],
        rows: &[(usize, usize)],
        services: Option<(String, String)>,
    ) -> Result<(), Error> {
        let Some((first, last)) = services.filter(|_| !rows.is_empty()) else { return Ok(()) };
        let folder = self.place.folder.clone();
        let fault = encoding_error(&folder);
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        let batch = interleave_record_batch(&batches, rows).map_err(ParquetError::from).map_err(&fault)?;
        let (encoder, bounds) = match &mut self.open {
            Some(open) => open,
            None => {
                let encoder = parquet_file::encoder(&PLAIN_STACKS, properties()).map_err(&fault)?;
                self.open.insert((encoder, Bounds::default()))
            }
        };
        encoder.write(&batch).map_err(&fault)?;
        bounds.add_service(&first);
        bounds.add_service(&last);
        bounds.rows += rows.len() as u64;
        if encoder.bytes_written() + encoder.in_progress_size() >= FILE_BYTES {
            self.end_file()?;
        }
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), Error> {
        let Some((encoder, bounds)) = self.open.take() else { return Ok(()) };
        let folder = &self.place.folder;
        let encoded = encoder.into_inner().map_err(encoding_error(folder))?;
        let name = self.place.name(self.written.len());
        self.written.push(parquet_file::store_as(folder, None, name, &encoded, bounds)?);
        Ok(())
    }
}

impl Drop for StackFiles {
    fn drop(&mut self) {
        delete(&self.place.folder, &self.written);
    }
}
