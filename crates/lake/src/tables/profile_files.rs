//! Reads and writes whole files of `profiles` and of its tiers. Their rows are few: all of those that are
//! merged at once are in memory.

use super::columns;
use super::parquet_file::{self, Bounds, NewFile, encoding_error, reading_error};
use super::sample_files::{Place, delete};
use super::sample_rows::Groups;
use super::schema::{PROFILES, Table};
use super::tiers::Tier;
use crate::{DataFile, Error};
use arrow::array::{
    Array, ArrayRef, BinaryArray, DictionaryArray, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;
use hashbrown::HashMap;
use parquet::errors::ParquetError;
use std::sync::Arc;

/// Rows of a file.
const FILE_ROWS: usize = 1 << 20;

/// A row of `profiles` or of one of its tiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProfileFileRow {
    /// Its service and profile type, as a position in [`Groups`].
    pub(super) group: u32,
    /// The series' id.
    pub(super) series: u64,
    /// Microseconds since the epoch; in a tier the start of the window that is summed.
    pub(super) time: i64,
    /// Nanoseconds.
    pub(super) duration: i64,
    /// Sum of the samples' values.
    pub(super) total: i64,
    /// The profile's id; 0 in a tier.
    pub(super) id: u128,
    /// How many profiles it stands for; 1 in `profiles`.
    pub(super) profiles: i64,
}

/// Some rows, and the services and types that they refer to.
#[derive(Default)]
pub(super) struct ProfileRows {
    pub(super) groups: Groups,
    pub(super) rows: Vec<ProfileFileRow>,
}

impl ProfileRows {
    /// All rows of `files`. Blocking.
    pub(super) fn read(table: &'static Table, files: &[Arc<DataFile>]) -> Result<Self, Error> {
        let mut all = Self::default();
        for file in files {
            let fault = reading_error(file);
            for batch in parquet_file::reader(file, table)?.build().map_err(&fault)? {
                let batch = batch.map_err(ParquetError::from).map_err(&fault)?;
                all.add(&batch, std::ptr::eq(table, &raw const PROFILES)).map_err(&fault)?;
            }
        }
        Ok(all)
    }

    /// Adds the rows of `other`.
    pub(super) fn append(&mut self, other: Self) {
        let names: Vec<u32> =
            other.groups.iter().map(|(service, kind)| self.groups.position(service, kind)).collect();
        let rows = other
            .rows
            .into_iter()
            .filter_map(|row| names.get(row.group as usize).map(|&group| ProfileFileRow { group, ..row }));
        self.rows.extend(rows);
    }

    /// Adds them up for a tier.
    pub(super) fn sum(&mut self, tier: Tier) {
        for row in &mut self.rows {
            (row.time, row.id) = (tier.window(row.time), 0);
        }
        self.sort();
        let rows = std::mem::take(&mut self.rows);
        for row in rows {
            if let Some(last) = self.rows.last_mut()
                && (last.group, last.series, last.time) == (row.group, row.series, row.time)
                && let (Some(total), Some(duration), Some(profiles)) = (
                    last.total.checked_add(row.total),
                    last.duration.checked_add(row.duration),
                    last.profiles.checked_add(row.profiles),
                )
            {
                (last.total, last.duration, last.profiles) = (total, duration, profiles);
                continue;
            }
            self.rows.push(row);
        }
    }

    /// Writes them, sorted, into files of one partition.
    pub(super) fn write(mut self, table: &'static Table, place: &Place) -> Result<Vec<NewFile>, Error> {
        self.sort();
        let mut written = Vec::new();
        for rows in self.rows.chunks(FILE_ROWS) {
            let file = self.write_file(table, place, rows, written.len());
            written.push(file.inspect_err(|_| delete(&place.folder, &written))?);
        }
        Ok(written)
    }

    fn sort(&mut self) {
        let ranks = self.groups.ranks();
        let rank = |group: u32| ranks.get(group as usize).copied().unwrap_or_default();
        self.rows.sort_unstable_by_key(|row| (rank(row.group), row.series, row.time, row.id, row.total));
    }

    fn write_file(
        &self,
        table: &'static Table,
        place: &Place,
        rows: &[ProfileFileRow],
        index: usize,
    ) -> Result<NewFile, Error> {
        let mut bounds = Bounds { rows: rows.len() as u64, ..Bounds::default() };
        for row in rows {
            bounds.add_service(self.groups.names(row.group).0);
            bounds.add_time("time", row.time);
        }
        let encoded = self.encode(table, rows).map_err(encoding_error(&place.folder))?;
        parquet_file::store_as(&place.folder, Some(place.date), place.name(index), &encoded, bounds)
    }

    fn encode(&self, table: &'static Table, rows: &[ProfileFileRow]) -> Result<Vec<u8>, ParquetError> {
        let properties = parquet_file::number_dictionary(parquet_file::properties(table), "duration");
        let mut encoder = parquet_file::encoder(table, properties)?;
        let services = columns::texts(self.groups.iter().map(|(service, _)| service));
        let types = columns::texts(self.groups.iter().map(|(_, kind)| kind));
        let mut series: Vec<u64> = Vec::new();
        let mut positions: HashMap<u64, i32> = HashMap::new();
        let series_keys = rows.iter().map(|row| {
            *positions.entry(row.series).or_insert_with(|| {
                series.push(row.series);
                series.len() as i32 - 1
            })
        });
        let series_keys = series_keys.collect();
        let series = columns::binaries(series.into_iter().map(u64::to_be_bytes));
        let groups = || rows.iter().map(|row| row.group as i32).collect();
        let numbers = |number: fn(&ProfileFileRow) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(number)))
        };
        let last = match std::ptr::eq(table, &raw const PROFILES) {
            true => columns::binaries(rows.iter().map(|row| row.id.to_be_bytes())),
            false => numbers(|row| row.profiles),
        };
        let all = vec![
            columns::dictionary(groups(), &services)?,
            columns::dictionary(groups(), &types)?,
            columns::dictionary(series_keys, &series)?,
            columns::times(rows.iter().map(|row| row.time).collect()),
            numbers(|row| row.duration),
            numbers(|row| row.total),
            last,
        ];
        encoder.write(&RecordBatch::try_new(table.schema.clone(), all)?)?;
        encoder.into_inner()
    }

    fn add(&mut self, batch: &RecordBatch, with_ids: bool) -> Result<(), ParquetError> {
        type Dictionary = DictionaryArray<Int32Type>;
        let all = batch.columns();
        let (services, types): (&Dictionary, &Dictionary) =
            (columns::typed(all, 0)?, columns::typed(all, 1)?);
        let series: &Dictionary = columns::typed(all, 2)?;
        let service_names: &StringArray = columns::typed(std::slice::from_ref(services.values()), 0)?;
        let type_names: &StringArray = columns::typed(std::slice::from_ref(types.values()), 0)?;
        let series_ids: &BinaryArray = columns::typed(std::slice::from_ref(series.values()), 0)?;
        let times: &TimestampMicrosecondArray = columns::typed(all, 3)?;
        let (durations, totals): (&Int64Array, &Int64Array) =
            (columns::typed(all, 4)?, columns::typed(all, 5)?);
        let ids: Option<&BinaryArray> = with_ids.then(|| columns::typed(all, 6)).transpose()?;
        let counts: Option<&Int64Array> = (!with_ids).then(|| columns::typed(all, 6)).transpose()?;
        let key = |column: &Dictionary, at: usize| {
            let key = usize::try_from(column.keys().value(at)).ok();
            key.filter(|&key| key < column.values().len()).ok_or_else(super::sample_rows::beyond_dictionary)
        };
        for at in 0..batch.num_rows() {
            let (service, kind) = (key(services, at)?, key(types, at)?);
            self.rows.push(ProfileFileRow {
                group: self.groups.position(service_names.value(service), type_names.value(kind)),
                series: u64::from_be_bytes(columns::bytes(series_ids.value(key(series, at)?))?),
                time: times.value(at),
                duration: durations.value(at),
                total: totals.value(at),
                id: ids.map_or(Ok(0), |ids| columns::bytes(ids.value(at)).map(u128::from_be_bytes))?,
                profiles: counts.map_or(1, |counts| counts.value(at)),
            });
        }
        Ok(())
    }
}
