//! The table `profiles`: one row for each profile, sorted by service, profile type, series and time.

use super::columns;
use super::parquet_file::{self, Bounds, NewFile, encoding_error};
use super::profile_files::ProfileRows;
use super::rewrite::Keep;
use super::schema::PROFILES;
use super::series_order::{FlushProfile, SeriesOrder};
use crate::store::TableFolder;
use crate::{DataFile, Error, HeadProfile, ProfileId};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use everflame_profile::SeriesId;
use parquet::errors::ParquetError;
use std::sync::Arc;

/// Writes the profiles of a flush, one file for each day.
pub(super) fn write(
    folder: &TableFolder,
    sequence: u64,
    order: &SeriesOrder<'_>,
) -> Result<Vec<NewFile>, Error> {
    let mut profiles = order.profiles.clone();
    profiles.sort_by_key(|profile| (profile.day, profile.series, profile.time));
    let mut files = Vec::new();
    for day in profiles.chunk_by(|a, b| a.day == b.day) {
        let encoded = encode(day, order).map_err(encoding_error(folder))?;
        let mut bounds = Bounds { rows: day.len() as u64, ..Bounds::default() };
        for profile in day {
            bounds.add_service(order.service(profile.service));
            bounds.add_time("time", profile.time);
        }
        let date = day.first().map(|profile| profile.day);
        files.push(parquet_file::store(folder, date, sequence, &encoded, bounds)?);
    }
    Ok(files)
}

fn encode(profiles: &[FlushProfile<'_>], order: &SeriesOrder<'_>) -> Result<Vec<u8>, ParquetError> {
    let properties = parquet_file::number_dictionary(parquet_file::properties(&PROFILES), "duration");
    let mut encoder = parquet_file::encoder(&PROFILES, properties)?;
    let keys = |key: fn(&FlushProfile<'_>) -> i32| profiles.iter().map(key).collect();
    let numbers = |number: fn(&HeadProfile) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(profiles.iter().map(|row| number(row.profile))))
    };
    let columns = vec![
        columns::dictionary(keys(|profile| profile.service), &order.service_values)?,
        columns::dictionary(keys(|profile| profile.profile_type), &order.type_values)?,
        columns::dictionary(keys(|profile| profile.series), &order.series_values)?,
        columns::times(profiles.iter().map(|profile| profile.time).collect()),
        numbers(|profile| profile.duration),
        numbers(|profile| profile.total),
        columns::binaries(profiles.iter().map(|row| row.profile.id.0.to_be_bytes())),
    ];
    encoder.write(&RecordBatch::try_new(PROFILES.schema.clone(), columns)?)?;
    encoder.into_inner()
}

/// The ids of the profiles in `files` that `keep` refuses. Blocking.
pub(crate) fn refused_profile_ids(files: &[Arc<DataFile>], keep: Keep<'_>) -> Result<Vec<ProfileId>, Error> {
    let all = ProfileRows::read(&PROFILES, files)?;
    let refused = all.rows.iter().filter(|row| !keep(SeriesId(row.series), row.time));
    Ok(refused.map(|row| ProfileId(row.id)).collect())
}

/// What a file says of a profile.
pub(crate) struct StoredProfile {
    pub(crate) id: ProfileId,
    pub(crate) series: SeriesId,
    /// Microseconds since the epoch.
    pub(crate) time: i64,
    /// Sum of the values of its samples.
    pub(crate) total: i64,
}

/// All profiles in `file`. Blocking.
pub(crate) fn read_profiles(
    file: &Arc<DataFile>,
) -> Result<impl Iterator<Item = StoredProfile> + use<>, Error> {
    let all = ProfileRows::read(&PROFILES, std::slice::from_ref(file))?;
    Ok(all.rows.into_iter().map(|row| StoredProfile {
        id: ProfileId(row.id),
        series: SeriesId(row.series),
        time: row.time,
        total: row.total,
    }))
}
