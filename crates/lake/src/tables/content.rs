//! Reads a whole file of a table and says what is in it, for those who check and count.
//!
//! Rows are not kept: what is gathered is sums by service, type and day, and the ids that rows refer to.

use super::parquet_file::{self, reading_error};
use super::profile_files::ProfileRows;
use super::sample_rows::{self, SampleRow};
use super::{Series, SeriesDay, SeriesId, StackId, TableId, columns, frames, schema, series};
use crate::{DataFile, Error};
use arrow::array::{Array, ArrayRef, BinaryArray, DictionaryArray, ListArray, StringArray};
use arrow::datatypes::Int32Type;
use everflame_profile::{SymbolInterner, stack_id};
use hashbrown::{HashMap, HashSet};
use parquet::arrow::ProjectionMask;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// Rows of `stacks` that are in memory at once.
const STACK_ROWS: usize = 1_024;

/// What rows are added up by: service, profile type, and UTC day since the epoch.
pub(crate) type Group = (String, String, i32);

/// Rows of one [`Group`], added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    /// Values of samples, or totals of profiles.
    pub(crate) value: i128,
    /// Durations of profiles.
    pub(crate) duration: i128,
    /// How many profiles; 0 in tables of samples.
    pub(crate) profiles: i128,
    /// Whether a profile's total is at the end of what a number can hold, so that more may have been lost.
    pub(crate) is_capped: bool,
}

impl Sum {
    /// Adds `other`.
    pub(crate) fn add(&mut self, other: &Self) {
        self.value += other.value;
        self.duration += other.duration;
        self.profiles += other.profiles;
        self.is_capped |= other.is_capped;
    }
}

/// What is in a file.
#[derive(Debug, Default)]
pub(crate) struct FileContent {
    /// Rows that were read.
    pub(crate) rows: u64,
    /// The first row that does not come after the row before it.
    pub(crate) unsorted: Option<u64>,
    /// Smallest and largest service.
    pub(crate) services: Option<(String, String)>,
    /// Smallest and largest time, microseconds since the epoch, in tables that have one.
    pub(crate) times: Option<(i64, i64)>,
    /// Sums of samples or profiles.
    pub(crate) sums: BTreeMap<Group, Sum>,
    /// Stacks that samples refer to, or that are in the table `stacks`, by service.
    pub(crate) stacks: HashMap<String, HashSet<u128>>,
    /// Series and days that rows refer to.
    pub(crate) series: HashSet<(SeriesId, i32)>,
    /// Series and days in the table `series`.
    pub(crate) series_days: Vec<SeriesDay>,
    /// Stacks or series whose ids are not those of their frames or labels.
    pub(crate) false_ids: u64,
}

impl FileContent {
    fn add_service(&mut self, service: &str) {
        match &mut self.services {
            Some((min, max)) => {
                if service < min.as_str() {
                    service.clone_into(min);
                }
                if service > max.as_str() {
                    service.clone_into(max);
                }
            }
            None => self.services = Some((service.to_owned(), service.to_owned())),
        }
    }

    fn add_time(&mut self, micros: i64) {
        let (min, max) = self.times.get_or_insert((micros, micros));
        (*min, *max) = ((*min).min(micros), (*max).max(micros));
    }

    fn note_order(&mut self, is_sorted: bool) {
        if !is_sorted {
            self.unsorted.get_or_insert(self.rows);
        }
    }
}

/// Reads all of `file`, which is one of `table`. Blocking.
pub(crate) fn read_content(table: TableId, file: &Arc<DataFile>) -> Result<FileContent, Error> {
    match table {
        TableId::Samples | TableId::SampleTier(..) => samples(table, file),
        TableId::Profiles | TableId::ProfileTier(..) => profiles(table, file),
        TableId::Series => series_days(file),
        TableId::Stacks => stacks(file),
    }
}

fn samples(table: TableId, file: &Arc<DataFile>) -> Result<FileContent, Error> {
    let mut content = FileContent::default();
    let mut last: Option<SampleRow> = None;
    let mut group_of_last = (String::new(), String::new());
    // The sum that rows are added to until group or day change.
    let mut open: Option<(u32, i32, Sum)> = None;
    let close = |content: &mut FileContent, names: (&str, &str), day: i32, sum: &Sum| {
        let group = (names.0.to_owned(), names.1.to_owned(), day);
        content.sums.entry(group).or_default().add(sum);
    };
    let mut last_series = None;
    let groups = sample_rows::merge(table.table(), std::slice::from_ref(file), &mut |groups, run| {
        let Some(first) = run.first() else { return Ok(()) };
        let names = groups.names(first.group);
        let in_order = match &last {
            Some(last) if last.group == first.group => {
                (last.window, last.stack) <= (first.window, first.stack)
            }
            Some(_) => (group_of_last.0.as_str(), group_of_last.1.as_str()) <= names,
            None => true,
        };
        content.note_order(in_order);
        if last.is_none_or(|last| last.group != first.group) {
            content.add_service(names.0);
            group_of_last = (names.0.to_owned(), names.1.to_owned());
        }
        if let Some(stacks) = content.stacks.get_mut(names.0) {
            stacks.insert(first.stack);
        } else {
            content.stacks.insert(names.0.to_owned(), HashSet::from([first.stack]));
        }
        let mut before = (u64::MIN, i64::MIN);
        for row in run {
            content.note_order(before <= (row.series, row.time));
            before = (row.series, row.time);
            content.rows += 1;
            content.add_time(row.time);
            let day = day_of(row.time);
            if last_series != Some((row.series, day)) {
                last_series = Some((row.series, day));
                content.series.insert((SeriesId(row.series), day));
            }
            match &mut open {
                Some((group, of, sum)) if (*group, *of) == (row.group, day) => {
                    sum.value += i128::from(row.value);
                }
                _ => {
                    if let Some((group, day, sum)) = open.take() {
                        close(&mut content, groups.names(group), day, &sum);
                    }
                    let sum = Sum { value: row.value.into(), ..Sum::default() };
                    open = Some((row.group, day, sum));
                }
            }
        }
        last = run.last().copied();
        Ok(())
    })?;
    if let Some((group, day, sum)) = open {
        close(&mut content, groups.names(group), day, &sum);
    }
    Ok(content)
}

fn profiles(table: TableId, file: &Arc<DataFile>) -> Result<FileContent, Error> {
    let rows = ProfileRows::read(table.table(), std::slice::from_ref(file))?;
    let mut content = FileContent::default();
    let mut before = None;
    for row in &rows.rows {
        let (service, profile_type) = rows.groups.names(row.group);
        let key = (service, profile_type, row.series, row.time);
        content.note_order(before.is_none_or(|before| before <= key));
        if before.is_none_or(|before: (&str, &str, u64, i64)| before.0 != service) {
            content.add_service(service);
        }
        before = Some(key);
        content.rows += 1;
        content.add_time(row.time);
        let day = day_of(row.time);
        content.series.insert((SeriesId(row.series), day));
        let sum = Sum {
            value: row.total.into(),
            duration: row.duration.into(),
            profiles: row.profiles.into(),
            is_capped: row.total == i64::MAX || row.total == i64::MIN,
        };
        content.sums.entry((service.to_owned(), profile_type.to_owned(), day)).or_default().add(&sum);
    }
    Ok(content)
}

fn series_days(file: &Arc<DataFile>) -> Result<FileContent, Error> {
    let mut content = FileContent::default();
    let fault = reading_error(file);
    let reader = parquet_file::reader(file, &schema::SERIES)?;
    let key_columns = ProjectionMask::columns(reader.parquet_schema(), ["service", "series_id"]);
    let mut before: (String, Vec<u8>) = Default::default();
    for batch in reader.with_projection(key_columns).build().map_err(&fault)? {
        let batch = batch.map_err(ParquetError::from).map_err(&fault)?;
        let services: &StringArray = columns::typed(batch.columns(), 0).map_err(&fault)?;
        let ids: &BinaryArray = columns::typed(batch.columns(), 1).map_err(&fault)?;
        for row in 0..batch.num_rows() {
            let (service, id) = (services.value(row), ids.value(row));
            content.note_order((before.0.as_str(), before.1.as_slice()) <= (service, id));
            content.add_service(service);
            content.rows += 1;
            before = (service.to_owned(), id.to_owned());
        }
    }
    content.series_days = series::read_all(std::slice::from_ref(file))?;
    content.false_ids =
        content.series_days.iter().map(|day| u64::from(Series::id(&day.series) != day.id)).sum();
    Ok(content)
}

fn stacks(file: &Arc<DataFile>) -> Result<FileContent, Error> {
    let mut content = FileContent::default();
    let fault = reading_error(file);
    let reader = parquet_file::reader(file, &schema::STACKS)?.with_batch_size(STACK_ROWS);
    let mut before: (String, u128) = Default::default();
    for batch in reader.build().map_err(&fault)? {
        let batch = batch.map_err(ParquetError::from).map_err(&fault)?;
        let ids = stack_ids(batch.columns()).map_err(&fault)?;
        let actual = ids_of_frames(batch.columns()).map_err(&fault)?;
        for ((service, id), actual) in ids.into_iter().zip(actual) {
            let is_first = content.rows == 0;
            content.note_order(is_first || (before.0.as_str(), before.1) < (service.as_str(), id.0));
            content.false_ids += u64::from(actual != id);
            content.add_service(&service);
            content.rows += 1;
            if !content.stacks.contains_key(&service) {
                content.stacks.insert(service.clone(), HashSet::new());
            }
            if let Some(stacks) = content.stacks.get_mut(&service) {
                stacks.insert(id.0);
            }
            before = (service, id.0);
        }
    }
    Ok(content)
}

/// Service and id of each stack in a batch of the table `stacks`.
fn stack_ids(batch: &[ArrayRef]) -> Result<Vec<(String, StackId)>, ParquetError> {
    let services: &DictionaryArray<Int32Type> = columns::typed(batch, 0)?;
    let names: &StringArray = columns::typed(std::slice::from_ref(services.values()), 0)?;
    let ids: &BinaryArray = columns::typed(batch, 1)?;
    let keys = services.keys().values().iter();
    let rows = keys.zip(ids).map(|(&key, id)| {
        let key = usize::try_from(key).ok().filter(|&key| key < names.len());
        let service = names.value(key.ok_or_else(sample_rows::beyond_dictionary)?).to_owned();
        Ok((service, StackId(u128::from_be_bytes(columns::bytes(id.unwrap_or_default())?))))
    });
    rows.collect()
}

/// The ids that the stacks of a batch must have because of their frames.
fn ids_of_frames(batch: &[ArrayRef]) -> Result<Vec<StackId>, ParquetError> {
    let lists: &ListArray = columns::typed(batch, 2)?;
    let mut symbols = SymbolInterner::default();
    let frames = frames::read(lists.values(), &mut symbols)?;
    let symbols = symbols.into_symbols();
    let mut buffer = Vec::new();
    let ids: Vec<_> = symbols.frames.iter().map(|frame| symbols.frame_id(frame, &mut buffer)).collect();
    let stacks = lists.value_offsets().windows(2).map(|ends| {
        let &[start, end] = ends else { return StackId(0) };
        let frames = frames.get(start as usize..end as usize).unwrap_or_default();
        let ids = frames.iter().filter_map(|&frame| ids.get(frame as usize).copied());
        stack_id(ids.collect::<Vec<_>>().into_iter(), &mut buffer)
    });
    Ok(stacks.collect())
}

/// Rows and compressed bytes of each service in `file`. What services share is split by their rows. Blocking.
pub(crate) fn services_of(table: TableId, file: &DataFile) -> Result<BTreeMap<String, (u64, u64)>, Error> {
    let fault = reading_error(file);
    let metadata = file.metadata()?;
    let mut services: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (at, group) in metadata.row_groups().iter().enumerate() {
        let bytes = u64::try_from(group.compressed_size()).unwrap_or_default();
        let total = u64::try_from(group.num_rows()).unwrap_or_default();
        let rows = match only_service(group) {
            Some(service) => BTreeMap::from([(service, total)]),
            None => {
                let reader = parquet_file::reader(file, table.table())?.with_row_groups(vec![at]);
                let column = ProjectionMask::columns(reader.parquet_schema(), ["service"]);
                let mut rows = BTreeMap::new();
                for batch in reader.with_projection(column).build().map_err(&fault)? {
                    let batch = batch.map_err(ParquetError::from).map_err(&fault)?;
                    count(batch.columns(), &mut rows).map_err(&fault)?;
                }
                rows
            }
        };
        for (service, count) in rows {
            let sum = services.entry(service).or_default();
            sum.0 += count;
            sum.1 += (u128::from(bytes) * u128::from(count) / u128::from(total.max(1))) as u64;
        }
    }
    Ok(services)
}

/// The service of all rows of `group`, when its statistics say that there is one.
fn only_service(group: &RowGroupMetaData) -> Option<String> {
    let Some(Statistics::ByteArray(statistics)) = group.columns().first()?.statistics() else { return None };
    let (min, max) = (statistics.min_opt()?, statistics.max_opt()?);
    let exact = statistics.min_is_exact() && statistics.max_is_exact();
    (exact && min == max).then(|| String::from_utf8_lossy(min.data()).into_owned())
}

/// Counts the rows of each service.
fn count(batch: &[ArrayRef], rows: &mut BTreeMap<String, u64>) -> Result<(), ParquetError> {
    if let Ok(services) = columns::typed::<StringArray>(batch, 0) {
        for service in services.iter().flatten() {
            match rows.get_mut(service) {
                Some(rows) => *rows += 1,
                None => drop(rows.insert(service.to_owned(), 1)),
            }
        }
        return Ok(());
    }
    let services: &DictionaryArray<Int32Type> = columns::typed(batch, 0)?;
    let names: &StringArray = columns::typed(std::slice::from_ref(services.values()), 0)?;
    let mut counts = vec![0; names.len()];
    for &key in services.keys().values() {
        if let Some(count) = usize::try_from(key).ok().and_then(|key| counts.get_mut(key)) {
            *count += 1;
        }
    }
    for (service, count) in names.iter().zip(counts).filter(|(_, count)| *count > 0) {
        *rows.entry(service.unwrap_or_default().to_owned()).or_default() += count;
    }
    Ok(())
}

/// Days since the epoch.
fn day_of(micros: i64) -> i32 {
    // A time of 64 bits is less than 107 million days away from the epoch.
    micros.div_euclid(DAY) as i32
}
