//! The profiles of a flush with what they are sorted by: day, service, type, window, series and time,
//! as small integers.

use super::days::{day, micros, window};
use super::{Flush, columns};
use crate::{Error, HeadChunk, HeadProfile};
use arrow::array::ArrayRef;
use everflame_profile::SeriesId;
use hashbrown::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The profiles of a flush, and the series that they belong to.
pub(super) struct SeriesOrder<'a> {
    /// Where the samples lie.
    pub(super) chunks: &'a [Arc<HeadChunk>],
    /// All profiles, in the order of their arrival.
    pub(super) profiles: Vec<FlushProfile<'a>>,
    /// The distinct services, sorted.
    pub(super) services: Vec<&'a str>,
    /// The same as a column.
    pub(super) service_values: ArrayRef,
    /// The distinct profile types, sorted, as a column.
    pub(super) type_values: ArrayRef,
    /// The ids of the series, by service, profile type and id, as a column.
    pub(super) series_values: ArrayRef,
}

/// A profile of a flush.
#[derive(Clone, Copy)]
pub(super) struct FlushProfile<'a> {
    /// The profile.
    pub(super) profile: &'a HeadProfile,
    /// Position of its chunk.
    pub(super) chunk: u32,
    /// Where its samples begin in the chunk's columns.
    pub(super) samples_start: u32,
    /// Days since the epoch.
    pub(super) day: i32,
    /// Position of its service among the sorted ones.
    pub(super) service: i32,
    /// Position of its type among the sorted ones.
    pub(super) profile_type: i32,
    /// Start of the window by which samples are sorted, microseconds since the epoch.
    pub(super) window: i64,
    /// Position of its series among the sorted ones.
    pub(super) series: i32,
    /// Microseconds since the epoch.
    pub(super) time: i64,
}

impl<'a> SeriesOrder<'a> {
    /// Ranks the series of `flush`.
    pub(super) fn new(flush: &Flush<'a>) -> Result<Self, Error> {
        let mut types: HashMap<SeriesId, String> = HashMap::new();
        for profile in flush.chunks.iter().flat_map(|chunk| &chunk.profiles) {
            if let hashbrown::hash_map::Entry::Vacant(entry) = types.entry(profile.series) {
                let series = flush.series.get(entry.key()).ok_or_else(|| unknown_series(profile.series))?;
                entry.insert(series.profile_type.to_string());
            }
        }
        let service = |id: SeriesId| flush.series.get(&id).map_or("", |series| series.service());
        let mut order: Vec<(&str, &str, SeriesId)> =
            types.iter().map(|(&id, profile_type)| (service(id), profile_type.as_str(), id)).collect();
        order.sort_unstable();
        let services = distinct(order.iter().map(|&(service, _, _)| service));
        let type_names = distinct(order.iter().map(|&(_, profile_type, _)| profile_type));
        let ranks: HashMap<SeriesId, (i32, i32, i32)> = order
            .iter()
            .enumerate()
            .map(|(series, (service, profile_type, id))| {
                let position = |names: &[&str], name| names.binary_search(name).unwrap_or_default() as i32;
                (*id, (position(&services, service), position(&type_names, profile_type), series as i32))
            })
            .collect();

        let mut profiles = Vec::new();
        for (at, chunk) in flush.chunks.iter().enumerate() {
            let mut samples_start = 0;
            for profile in &chunk.profiles {
                let &(service, profile_type, series) =
                    ranks.get(&profile.series).ok_or_else(|| unknown_series(profile.series))?;
                profiles.push(FlushProfile {
                    profile,
                    chunk: at as u32,
                    samples_start,
                    day: day(profile.time),
                    service,
                    profile_type,
                    window: window(profile.time),
                    series,
                    time: micros(profile.time),
                });
                samples_start = profile.samples_end;
            }
        }
        Ok(Self {
            chunks: flush.chunks,
            profiles,
            service_values: columns::texts(services.iter().copied()),
            type_values: columns::texts(type_names.iter().copied()),
            series_values: columns::binaries(order.iter().map(|(_, _, id)| id.0.to_be_bytes())),
            services,
        })
    }

    /// The name of a service.
    pub(super) fn service(&self, position: i32) -> &'a str {
        usize::try_from(position).ok().and_then(|at| self.services.get(at)).copied().unwrap_or_default()
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn unknown_series(id: SeriesId) -> Error {
    let why = format!("a profile of the head refers to series {:016x}, which has no labels", id.0);
    Error::Damaged { path: PathBuf::from("head"), why }
}
