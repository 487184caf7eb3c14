//! Chunks of the head as rows of the tables: what is not in files yet.

use super::columns::{dates, day, ids_at, labels as labels_field, texts_at, times};
use super::schema::Table;
use crate::TimeRange;
use arrow::array::{
    ArrayRef, BinaryArray, BinaryViewArray, Int64Array, MapBuilder, MapFieldNames, RecordBatch,
    RecordBatchOptions, StringArray, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::error::ArrowError;
use everflame_lake::{HeadChunk, Level, SeriesMatch};
use everflame_profile::{Labels, SeriesId};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Microseconds of the windows that `samples` is sorted by.
const HOUR: i64 = 3_600_000_000;

/// The rows of `chunk`, with the columns of `schema`, which are some of `table`'s.
pub(super) fn rows(
    table: Table,
    chunk: &HeadChunk,
    series: &HashMap<SeriesId, SeriesMatch>,
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    match table {
        Table::Samples | Table::SampleSums(..) => {
            let mut owners = Vec::with_capacity(chunk.sample_values.len());
            for (at, profile) in chunk.profiles.iter().enumerate() {
                owners.resize((profile.samples_end as usize).min(chunk.sample_values.len()), at as i32);
            }
            Rows { table, chunk, series, owners, of_samples: true }.batch(schema)
        }
        Table::Profiles | Table::ProfileSums(..) => {
            let owners = (0..chunk.profiles.len() as i32).collect();
            Rows { table, chunk, series, owners, of_samples: false }.batch(schema)
        }
        Table::Series => series_days(chunk, series, schema),
    }
}

struct Rows<'a> {
    table: Table,
    chunk: &'a HeadChunk,
    series: &'a HashMap<SeriesId, SeriesMatch>,
    /// For each row the position of its profile.
    owners: Vec<i32>,
    of_samples: bool,
}

impl Rows<'_> {
    fn batch(&self, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        let columns: Result<Vec<ArrayRef>, _> =
            schema.fields().iter().map(|field| self.column(field.name())).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.owners.len()));
        RecordBatch::try_new_with_options(schema.clone(), columns?, &options)
    }

    fn column(&self, name: &str) -> Result<ArrayRef, ArrowError> {
        let tier = self.table.sum().map(|(tier, _)| tier);
        let profiles = &self.chunk.profiles;
        match name {
            "service" => {
                let services = profiles.iter().map(|profile| self.service(profile.series));
                texts_at(self.owners.clone(), StringArray::from_iter_values(services))
            }
            "profile_type" => {
                let types = profiles.iter().map(|profile| self.profile_type(profile.series));
                texts_at(self.owners.clone(), StringArray::from_iter_values(types))
            }
            "series_id" => {
                let reduces = matches!(self.table.sum(), Some((_, Level::Service)));
                let id = |series: SeriesId| match self.series.get(&series) {
                    Some(found) if reduces => found.reduced,
                    _ => series,
                };
                let ids = profiles.iter().map(|profile| id(profile.series).0.to_be_bytes());
                ids_at(self.owners.clone(), BinaryArray::from_iter_values(ids))
            }
            "profile_id" => {
                let ids = profiles.iter().map(|profile| profile.id.0.to_be_bytes());
                ids_at(self.owners.clone(), BinaryArray::from_iter_values(ids))
            }
            "time" => Ok(times(self.times().map(|time| tier.map_or(time, |tier| tier.window(time))))),
            "window" => {
                let span = |time: i64| tier.map_or(time.div_euclid(HOUR) * HOUR, |tier| tier.span(time));
                Ok(times(self.times().map(span)))
            }
            "date" => Ok(dates(self.times().map(|time| tier.map_or(day(time), |tier| tier.partition(time))))),
            "duration" => Ok(self.numbers(|at| profiles.get(at).map_or(0, |profile| profile.duration))),
            "total" => Ok(self.numbers(|at| profiles.get(at).map_or(0, |profile| profile.total))),
            "profiles" => Ok(self.numbers(|_| 1)),
            "value" if self.of_samples => {
                let values = self.chunk.sample_values.iter().take(self.owners.len()).copied();
                Ok(Arc::new(Int64Array::from_iter_values(values)))
            }
            "stack_id" if self.of_samples => {
                let keys = self.chunk.sample_stacks.iter().take(self.owners.len());
                let ids = self.chunk.stacks.iter().map(|stack| stack.0.to_be_bytes());
                ids_at(keys.map(|&key| key.cast_signed()).collect(), BinaryArray::from_iter_values(ids))
            }
            "span_id" => {
                let id = |at: usize| self.chunk.sample_spans.get(at).filter(|&&id| id != 0);
                let all = (0..self.owners.len()).map(|at| id(at).map(|id| id.to_be_bytes()));
                Ok(Arc::new(all.collect::<BinaryViewArray>()))
            }
            "trace_id" => {
                let id = |at: usize| self.chunk.sample_traces.get(at).filter(|&&id| id != 0);
                let all = (0..self.owners.len()).map(|at| id(at).map(|id| id.to_be_bytes()));
                Ok(Arc::new(all.collect::<BinaryViewArray>()))
            }
            other => Err(ArrowError::SchemaError(format!("the head has no column {other}"))),
        }
    }

    fn service(&self, series: SeriesId) -> &str {
        self.series.get(&series).map_or("", |found| found.series.service())
    }

    fn profile_type(&self, series: SeriesId) -> String {
        self.series.get(&series).map_or_else(String::new, |found| found.series.profile_type.to_string())
    }

    /// The time of each row in microseconds.
    fn times(&self) -> impl Iterator<Item = i64> {
        let micros = |owner: &i32| {
            let profile = usize::try_from(*owner).ok().and_then(|at| self.chunk.profiles.get(at));
            profile.map_or(0, |profile| profile.time.div_euclid(1000))
        };
        self.owners.iter().map(micros)
    }

    fn numbers(&self, of: impl Fn(usize) -> i64) -> ArrayRef {
        let values = self.owners.iter().map(|&owner| of(usize::try_from(owner).unwrap_or(usize::MAX)));
        Arc::new(Int64Array::from_iter_values(values))
    }
}

/// A row for each series and day of `chunk`, as a flush of it would write.
fn series_days(
    chunk: &HeadChunk,
    series: &HashMap<SeriesId, SeriesMatch>,
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let mut days: BTreeMap<(SeriesId, i32), TimeRange> = BTreeMap::new();
    for profile in &chunk.profiles {
        let time = profile.time.div_euclid(1000);
        let range = days.entry((profile.series, day(time))).or_insert(TimeRange { from: time, until: time });
        *range = TimeRange { from: range.from.min(time), until: range.until.max(time) };
    }
    let rows: Vec<(&SeriesMatch, i32, TimeRange)> =
        days.into_iter().filter_map(|((id, day), range)| Some((series.get(&id)?, day, range))).collect();
    let column = |name: &str| -> Result<ArrayRef, ArrowError> {
        match name {
            "first_time" => Ok(times(rows.iter().map(|row| row.2.from))),
            "last_time" => Ok(times(rows.iter().map(|row| row.2.until))),
            "date" => Ok(dates(rows.iter().map(|row| row.1))),
            other => series_column(other, rows.iter().map(|row| row.0)),
        }
    };
    let columns: Result<Vec<ArrayRef>, _> =
        schema.fields().iter().map(|field| column(field.name())).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema.clone(), columns?, &options)
}

/// A column that says something of series, a row for each of them.
pub(super) fn series_column<'a>(
    name: &str,
    rows: impl Iterator<Item = &'a SeriesMatch> + Clone,
) -> Result<ArrayRef, ArrowError> {
    let plain: ArrayRef = match name {
        "service" => Arc::new(StringArray::from_iter_values(rows.map(|row| row.series.service()))),
        "profile_type" => {
            Arc::new(StringArray::from_iter_values(rows.map(|row| row.series.profile_type.to_string())))
        }
        "series_id" => Arc::new(BinaryArray::from_iter_values(rows.map(|row| row.id.0.to_be_bytes()))),
        "labels" => return labels(rows.map(|row| &row.series.labels)),
        "first_time" => return Ok(times(rows.map(|row| row.first.div_euclid(1000)))),
        "last_time" => return Ok(times(rows.map(|row| row.last.div_euclid(1000)))),
        other => return Err(ArrowError::SchemaError(format!("a series has no column {other}"))),
    };
    let view = if name == "series_id" { super::columns::id(name) } else { super::columns::text(name) };
    cast(&plain, view.data_type())
}

fn labels<'a>(sets: impl Iterator<Item = &'a Labels>) -> Result<ArrayRef, ArrowError> {
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
        .with_values_field(Field::new("value", DataType::Utf8, false));
    for labels in sets {
        for (name, value) in labels.iter() {
            builder.keys().append_value(name);
            builder.values().append_value(value);
        }
        builder.append(true)?;
    }
    super::columns::as_type(Arc::new(builder.finish()), labels_field().data_type())
}
