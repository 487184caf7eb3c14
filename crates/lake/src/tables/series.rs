//! The table `series`: which series has profiles on which day, sorted by service and series id.
//!
//! Each flush adds a row for each series and day that it touches; the rows of one series and day are one
//! when they are read.

use super::days::micros;
use super::parquet_file::{self, Bounds, NewFile, encoding_error, reading_error};
use super::sample_files::{Place, partition};
use super::schema::{SERIES, map_entry};
use super::{SeriesDay, columns};
use crate::store::TableFolder;
use crate::{DataFile, Error};
use arrow::array::{
    Array, ArrayRef, BinaryArray, MapArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use everflame_profile::{Labels, ProfileType, Series, SeriesId};
use hashbrown::HashMap;
use parquet::arrow::ProjectionMask;
use parquet::errors::ParquetError;
use std::sync::Arc;

/// Writes the series of a flush, one file for each day.
pub(super) fn write(folder: &TableFolder, sequence: u64, rows: &[SeriesDay]) -> Result<Vec<NewFile>, Error> {
    let mut rows: Vec<&SeriesDay> = rows.iter().collect();
    rows.sort_by_key(|row| (row.day, row.series.service(), row.id));
    let mut files = Vec::new();
    for day in rows.chunk_by(|a, b| a.day == b.day) {
        let encoded = encode(day).map_err(encoding_error(folder))?;
        let date = day.first().map(|row| row.day);
        files.push(parquet_file::store(folder, date, sequence, &encoded, bounds(day))?);
    }
    Ok(files)
}

/// Writes the series of one day into one file.
pub(super) fn write_as(place: &Place, rows: &[SeriesDay]) -> Result<Vec<NewFile>, Error> {
    let mut rows: Vec<&SeriesDay> = rows.iter().collect();
    rows.sort_by_key(|row| (row.series.service(), row.id));
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let encoded = encode(&rows).map_err(encoding_error(&place.folder))?;
    let date = Some(place.date);
    Ok(vec![parquet_file::store_as(&place.folder, date, &place.name(0), &encoded, bounds(&rows))?])
}

fn bounds(rows: &[&SeriesDay]) -> Bounds {
    let mut bounds = Bounds { rows: rows.len() as u64, ..Bounds::default() };
    for row in rows {
        bounds.add_service(row.series.service());
        bounds.add_time("first_time", micros(row.first));
        bounds.add_time("last_time", micros(row.last));
    }
    bounds
}

fn encode(rows: &[&SeriesDay]) -> Result<Vec<u8>, ParquetError> {
    let mut encoder = parquet_file::encoder(&SERIES, parquet_file::properties(&SERIES))?;
    let types: Vec<String> = rows.iter().map(|row| row.series.profile_type.to_string()).collect();
    let columns = vec![
        columns::texts(rows.iter().map(|row| row.series.service())),
        columns::binaries(rows.iter().map(|row| row.id.0.to_be_bytes())),
        columns::texts(types.iter().map(String::as_str)),
        labels_column(rows)?,
        columns::times(rows.iter().map(|row| micros(row.first)).collect()),
        columns::times(rows.iter().map(|row| micros(row.last)).collect()),
    ];
    encoder.write(&RecordBatch::try_new(SERIES.schema.clone(), columns)?)?;
    encoder.into_inner()
}

fn labels_column(rows: &[&SeriesDay]) -> Result<ArrayRef, ParquetError> {
    let pairs = || rows.iter().flat_map(|row| row.series.labels.iter());
    let (names, values) =
        (columns::texts(pairs().map(|pair| pair.0)), columns::texts(pairs().map(|pair| pair.1)));
    let entry = map_entry();
    let DataType::Struct(fields) = entry.data_type() else {
        return Err(ParquetError::General("a map entry is a struct".into()));
    };
    let pairs = StructArray::try_new(fields.clone(), vec![names, values], None)?;
    let ends = OffsetBuffer::from_lengths(rows.iter().map(|row| row.series.labels.len()));
    Ok(Arc::new(MapArray::try_new(entry, ends, pairs, None, false)?))
}

/// The series of all days. A file that cannot be read is left out with an error in the log: the rest of
/// the data must stay reachable. A storage that does not answer, or a disk that is full or fails, is an error:
/// it will be there later, and sums of series that are not known would be wrong for ever.
pub(super) fn read(files: &[Arc<DataFile>]) -> Result<Vec<SeriesDay>, Error> {
    let mut days = Days::default();
    for file in files {
        match days.add(file) {
            Ok(()) => {}
            Err(error) if error.may_pass() => return Err(error),
            Err(error) => {
                tracing::error!(%error, "a file of the table series cannot be read; profiles of series that are named there alone cannot be found");
            }
        }
    }
    Ok(days.rows)
}

/// The series of `files`, one row for each series and day.
pub(super) fn read_all(files: &[Arc<DataFile>]) -> Result<Vec<SeriesDay>, Error> {
    let mut days = Days::default();
    files.iter().try_for_each(|file| days.add(file))?;
    Ok(days.rows)
}

/// The rows of files that were read so far.
#[derive(Default)]
struct Days {
    rows: Vec<SeriesDay>,
    positions: HashMap<(SeriesId, i32), usize>,
    series: HashMap<SeriesId, Arc<Series>>,
}

impl Days {
    fn add(&mut self, file: &DataFile) -> Result<(), Error> {
        let fault = reading_error(file);
        let day = partition(&file.path).ok_or_else(|| Error::Damaged {
            path: file.path.clone(),
            why: "its folder is not named date=YYYY-MM-DD".into(),
        })?;
        let reader = parquet_file::reader(file, &SERIES)?;
        let names = ["series_id", "profile_type", "labels", "first_time", "last_time"];
        let columns = ProjectionMask::columns(reader.parquet_schema(), names);
        for batch in reader.with_projection(columns).build().map_err(&fault)? {
            let batch = batch.map_err(ParquetError::from).map_err(&fault)?;
            self.add_batch(batch.columns(), day).map_err(&fault)?;
        }
        Ok(())
    }

    fn add_batch(&mut self, batch: &[ArrayRef], day: i32) -> Result<(), ParquetError> {
        let ids: &BinaryArray = columns::typed(batch, 0)?;
        let types: &StringArray = columns::typed(batch, 1)?;
        let labels: &MapArray = columns::typed(batch, 2)?;
        let firsts: &TimestampMicrosecondArray = columns::typed(batch, 3)?;
        let lasts: &TimestampMicrosecondArray = columns::typed(batch, 4)?;
        for row in 0..ids.len() {
            let id = SeriesId(u64::from_be_bytes(columns::bytes(ids.value(row))?));
            let nanos = |micros: i64| micros.saturating_mul(1_000);
            let (first, last) = (nanos(firsts.value(row)), nanos(lasts.value(row)));
            if let Some(known) = self.positions.get(&(id, day)).and_then(|&at| self.rows.get_mut(at)) {
                (known.first, known.last) = (known.first.min(first), known.last.max(last));
                continue;
            }
            let series = match self.series.get(&id) {
                Some(series) => series.clone(),
                None => {
                    let series = Arc::new(read_series(types.value(row), &labels.value(row))?);
                    self.series.insert(id, series.clone());
                    series
                }
            };
            self.positions.insert((id, day), self.rows.len());
            self.rows.push(SeriesDay { id, series, day, first, last });
        }
        Ok(())
    }
}

fn read_series(profile_type: &str, labels: &StructArray) -> Result<Series, ParquetError> {
    let profile_type: ProfileType =
        profile_type.parse().map_err(|error| ParquetError::General(format!("{error}")))?;
    let names: &StringArray = columns::typed(labels.columns(), 0)?;
    let values: &StringArray = columns::typed(labels.columns(), 1)?;
    let pairs = names.iter().zip(values).map(|(name, value)| (name.unwrap_or(""), value.unwrap_or("")));
    Ok(Series { labels: Labels::from_pairs(pairs), profile_type })
}
