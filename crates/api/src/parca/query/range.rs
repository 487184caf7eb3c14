//! `QueryRange`: totals over time.
//!
//! Profiles with a duration are summed in buckets that begin at whole multiples of the step: whole buckets
//! from the sums that the lake keeps, the two at the ends of the range from single profiles. Of snapshots
//! each bucket has the first one as it is, and a count of the others.

use super::load::{self, Taken};
use super::selector::{self, Query, timestamp};
use crate::app::App;
use crate::error::ApiError;
use crate::scan_headers;
use crate::wire::parca::profilestore::v1alpha1::{Label, LabelSet};
use crate::wire::parca::query::v1alpha1::{
    self as wire, MetricsSample, MetricsSeries, QueryRangeRequest, QueryRangeResponse,
};
use everflame_lake::ProfileId;
use everflame_profile::{Labels, Nanos, ProfileType, ValueType};
use everflame_query::{
    Aggregation, Order, ProfileInfo, ProfileList, ProfileQuery, ScanStats, SeriesQuery, TimeRange,
    ValueRange, Warning,
};
use http::HeaderMap;
use std::collections::BTreeMap;

/// Profiles that one query may look at one by one.
const MAX_PROFILES: usize = 1_000_000;
/// The step when the request says none.
const DEFAULT_STEP: Nanos = 1_000_000_000;

/// What one step adds up to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    /// When the first of its profiles was taken.
    first: Nanos,
    value: f64,
    /// Of the first profile.
    duration: Nanos,
    profiles: u64,
    /// Whether all of them were taken at the same time.
    is_moment: bool,
}

/// Buckets by labels and position.
type Lines = BTreeMap<Labels, BTreeMap<i64, Bucket>>;

/// What a query is about, read from a request.
struct Asked {
    query: Query,
    profile_type: ProfileType,
    range: TimeRange,
    step: Nanos,
    /// Labels by which series are told apart: one series when there are none, all of them for snapshots.
    sum_by: Option<Vec<String>>,
}

/// What was read.
#[derive(Default)]
struct Read {
    stats: ScanStats,
    warnings: Vec<Warning>,
}

/// `QueryRange`, with the headers that say what was read.
pub(in super::super) async fn query_range(
    app: &App,
    request: QueryRangeRequest,
) -> Result<(HeaderMap, QueryRangeResponse), ApiError> {
    let range = selector::range(request.start.as_option(), request.end.as_option())?;
    let query = selector::query(&request.query)?;
    let step = match selector::length("step", request.step.as_option())? {
        0 => DEFAULT_STEP,
        step => step,
    };
    let sum_by = request.sum_by.iter().map(|name| name.strip_prefix("labels.").unwrap_or(name).to_owned());
    let profile_type = match query.delta {
        true => load::measured(app, &query.profile_type, &query.selector, range).await?,
        false => query.profile_type.clone(),
    };
    // What snapshots hold may not be added up: each series stands for itself, as the peer has it.
    let sum_by = query.delta.then(|| sum_by.collect());
    let asked = Asked { query, profile_type, range, step, sum_by };
    let mut read = Read::default();
    let lines = match asked.query.delta {
        true => sums(app, &asked, &mut read).await?,
        false => snapshots(app, &asked, &mut read).await?,
    };
    if lines.is_empty() {
        return Err(ApiError::not_found(format_args!(
            "no data for {:?} in this range; ask ProfileTypes and Labels for what there is{}",
            request.query,
            if asked.query.delta { "" } else { ", and add :delta to types that have it" }
        )));
    }
    let series = lines.iter().map(|(labels, line)| series(&asked, labels, line));
    let answer = QueryRangeResponse { series: series.collect(), ..Default::default() };
    Ok((scan_headers::of(&read.stats, &read.warnings), answer))
}

fn series(asked: &Asked, labels: &Labels, line: &BTreeMap<i64, Bucket>) -> MetricsSeries {
    let label =
        |(name, value): (&str, &str)| Label { name: name.into(), value: value.into(), ..Default::default() };
    let labels: Vec<Label> = labels.iter().map(label).collect();
    let mut series = MetricsSeries {
        labelset: LabelSet { labels, ..Default::default() }.into(),
        samples: line.iter().map(|(&at, bucket)| sample(asked, at, bucket)).collect(),
        ..Default::default()
    };
    if asked.query.delta {
        let value_type = |of: &ValueType| wire::ValueType {
            r#type: of.kind.clone(),
            unit: of.unit.clone(),
            ..Default::default()
        };
        series.period_type = value_type(&asked.profile_type.period).into();
        series.sample_type = value_type(&asked.profile_type.sample).into();
    }
    series
}

fn sample(asked: &Asked, at: i64, bucket: &Bucket) -> MetricsSample {
    let value = bucket.value.round() as i64;
    let count = i32::try_from(bucket.profiles).unwrap_or(i32::MAX);
    if !asked.query.delta {
        return MetricsSample {
            timestamp: timestamp(bucket.first).into(),
            value,
            value_per_second: bucket.value,
            count,
            ..Default::default()
        };
    }
    // Profiles of one moment cover their duration together, those of several the step.
    let duration = if bucket.is_moment && bucket.duration > 0 { bucket.duration } else { asked.step };
    // Nanoseconds of CPU a nanosecond: how many cores. The peer's pages take all else for values a second.
    let ValueType { kind, unit } = &asked.profile_type.sample;
    let unit = if kind == "cpu" && unit == "nanoseconds" { 1.0 } else { 1e9 };
    MetricsSample {
        timestamp: timestamp(at.saturating_mul(asked.step)).into(),
        value,
        value_per_second: bucket.value / (duration as f64 / unit),
        duration,
        count,
        ..Default::default()
    }
}

/// Sums of profiles with a duration.
async fn sums(app: &App, asked: &Asked, read: &mut Read) -> Result<Lines, ApiError> {
    let mut lines = Lines::new();
    let TimeRange { from, until } = asked.range;
    let mut single = Lines::new();
    match load::taken(app, &asked.query, &asked.profile_type, asked.range).await? {
        Taken::Only(ids) => {
            if !ids.is_empty() {
                add_profiles(asked, &profiles(app, asked, asked.range, ids, read).await?, &mut lines);
            }
            return Ok(lines);
        }
        Taken::All(newest) => add_profiles(asked, &newest, &mut single),
    }
    let step = i128::from(asked.step);
    // The first bucket that begins in the range, and the first that does not end in it.
    let first = (i128::from(from) + step - 1).div_euclid(step) * step;
    let end = (i128::from(until) + 1).div_euclid(step) * step;
    let nanos = |time: i128| Nanos::try_from(time).unwrap_or(if time < 0 { Nanos::MIN } else { Nanos::MAX });
    if first >= end {
        add_profiles(asked, &profiles(app, asked, asked.range, Vec::new(), read).await?, &mut lines);
        return Ok(lines);
    }
    for (from, until) in [(from, nanos(first - 1)), (nanos(end), until)] {
        if from <= until {
            let range = TimeRange::new(from, until);
            add_profiles(asked, &profiles(app, asked, range, Vec::new(), read).await?, &mut lines);
        }
    }
    let range = TimeRange::new(nanos(first + step - 1), nanos(end - 1));
    let found = app.time_series(&series_query(app, asked, range, Aggregation::Sum).await?).await?;
    read.stats.add(&found.stats);
    read.warnings.extend(found.warnings);
    for series in found.series {
        let single = single.remove(&series.labels).unwrap_or_default();
        let line = lines.entry(series.labels).or_default();
        for point in series.points {
            let at = point.time.div_euclid(asked.step);
            let mut bucket = Bucket {
                first: at.saturating_mul(asked.step),
                value: point.value,
                duration: point.duration,
                profiles: point.profiles,
                is_moment: point.profiles == 1,
            };
            // Sums do not say whether several profiles are of one moment; the single ones do, if all are there.
            if let Some(single) = single.get(&at).filter(|single| single.profiles == point.profiles) {
                (bucket.duration, bucket.is_moment) = (single.duration, single.is_moment);
            }
            line.insert(at, bucket);
        }
    }
    Ok(lines)
}

/// Points lie at the last nanosecond of each bucket, so that they cover it and nothing else.
async fn series_query(
    app: &App,
    asked: &Asked,
    range: TimeRange,
    aggregation: Aggregation,
) -> Result<SeriesQuery, ApiError> {
    let selector = asked.query.selector.clone();
    let mut query = SeriesQuery::new(asked.profile_type.clone(), selector.clone(), range, asked.step);
    query.aggregation = aggregation;
    query.group_by = match &asked.sum_by {
        Some(names) => names.clone(),
        None => {
            let selector = selector::of_type(selector, &asked.profile_type);
            let over = asked.range;
            let names = app.catalogue(move |engine| engine.label_names(&[selector], over)).await?;
            names.into_iter().filter(|name| !name.starts_with("__")).collect()
        }
    };
    Ok(query)
}

/// Snapshots as they are; averages where single ones are no longer kept.
async fn snapshots(app: &App, asked: &Asked, read: &mut Read) -> Result<Lines, ApiError> {
    let mut lines = Lines::new();
    let found = profiles(app, asked, asked.range, Vec::new(), read).await?;
    if !found.is_empty() {
        let mut snapshots = found;
        snapshots.retain(|profile| profile.duration == 0);
        add_snapshots(asked, &snapshots, &mut lines);
        return Ok(lines);
    }
    let query = series_query(app, asked, asked.range, Aggregation::Average).await?;
    let found = app.time_series(&query).await?;
    read.stats.add(&found.stats);
    read.warnings.extend(found.warnings);
    for series in found.series.into_iter() {
        let points = series.points.into_iter().filter(|point| point.duration == 0);
        for point in points {
            let bucket = Bucket {
                first: point.time,
                value: point.value,
                duration: 0,
                profiles: point.profiles,
                is_moment: false,
            };
            lines.entry(series.labels.clone()).or_default().insert(point.time.div_euclid(asked.step), bucket);
        }
    }
    Ok(lines)
}

/// Single profiles, oldest first.
async fn profiles(
    app: &App,
    asked: &Asked,
    range: TimeRange,
    ids: Vec<ProfileId>,
    read: &mut Read,
) -> Result<Vec<ProfileInfo>, ApiError> {
    let list = ProfileQuery {
        profile_type: Some(asked.profile_type.clone()),
        selector: asked.query.selector.clone(),
        range,
        ids,
        order: Order::OldestFirst,
        totals: ValueRange::ALL,
        limit: MAX_PROFILES + 1,
    };
    let ProfileList { profiles, stats, warnings } = app.profiles(&list).await?;
    read.stats.add(&stats);
    read.warnings.extend(warnings);
    if profiles.len() > MAX_PROFILES {
        return Err(ApiError::invalid(format_args!(
            "more than {MAX_PROFILES} profiles are in this range; ask for a shorter one, or for fewer series"
        )));
    }
    Ok(profiles)
}

fn labels_of(asked: &Asked, profile: &ProfileInfo) -> Labels {
    let labels = &profile.series.labels;
    match &asked.sum_by {
        None => labels.clone(),
        Some(names) => {
            Labels::from_pairs(names.iter().map(|name| (name.as_str(), labels.get(name.as_str()))))
        }
    }
}

fn add_profiles(asked: &Asked, profiles: &[ProfileInfo], lines: &mut Lines) {
    for profile in profiles {
        let line = lines.entry(labels_of(asked, profile)).or_default();
        let new = Bucket {
            first: profile.time,
            value: 0.0,
            duration: profile.duration,
            profiles: 0,
            is_moment: true,
        };
        let bucket = line.entry(profile.time.div_euclid(asked.step)).or_insert(new);
        bucket.value += profile.total as f64;
        bucket.profiles += 1;
        bucket.is_moment &= bucket.first == profile.time;
        bucket.duration = bucket.duration.min(profile.duration);
    }
}

fn add_snapshots(asked: &Asked, profiles: &[ProfileInfo], lines: &mut Lines) {
    for profile in profiles {
        let line = lines.entry(labels_of(asked, profile)).or_default();
        let new = Bucket { first: profile.time, value: 0.0, duration: 0, profiles: 0, is_moment: true };
        let bucket = line.entry(profile.time.div_euclid(asked.step)).or_insert(new);
        // What was taken at the same moment is one profile in several series.
        if bucket.first == profile.time {
            bucket.value += profile.total as f64;
        }
        bucket.profiles += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everflame_lake::ProfileId;
    use everflame_profile::{Series, SeriesId};
    use std::sync::Arc;

    fn asked(query: &str, step: Nanos, sum_by: Option<&[&str]>) -> Asked {
        let query = selector::query(query).unwrap();
        Asked {
            profile_type: query.profile_type.clone(),
            query,
            range: TimeRange::new(0, 100),
            step,
            sum_by: sum_by.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        }
    }

    fn profile(pod: &str, time: Nanos, duration: Nanos, total: i64) -> ProfileInfo {
        let labels = Labels::from_pairs([("pod", pod), ("job", "api")]);
        let series = Arc::new(Series { labels, profile_type: "a:b:c:d:e".parse().unwrap() });
        ProfileInfo { id: ProfileId(1), series_id: SeriesId(1), series, time, duration, total }
    }

    #[test]
    fn buckets_of_sums() {
        let asked = asked("cpu:cpu:nanoseconds:cpu:nanoseconds:delta", 10, Some(&["job"]));
        let mut lines = Lines::new();
        let found =
            [profile("x", 12, 5, 3), profile("y", 12, 4, 2), profile("x", 19, 5, 1), profile("x", 20, 5, 9)];
        add_profiles(&asked, &found, &mut lines);
        let samples: Vec<_> =
            lines.values().next().unwrap().iter().map(|(&at, bucket)| sample(&asked, at, bucket)).collect();
        let rows: Vec<_> = samples
            .iter()
            .map(|sample| {
                (sample.timestamp.nanos, sample.value, sample.value_per_second, sample.duration, sample.count)
            })
            .collect();
        // Two moments make a whole step, one its own duration.
        assert_eq!((lines.len(), rows), (1, vec![(10, 6, 0.6, 10, 3), (20, 9, 1.8, 5, 1)]));
    }

    #[test]
    fn only_cpu_time_is_cores() {
        let bucket = Bucket { first: 0, value: 5e6, duration: 10_000_000_000, profiles: 1, is_moment: true };
        for (query, expect) in [
            ("cpu:cpu:nanoseconds:cpu:nanoseconds:delta", 0.0005),
            ("mutex:delay:nanoseconds:contentions:count:delta", 500_000.0),
        ] {
            let sample = sample(&asked(query, 1, None), 0, &bucket);
            assert_eq!(sample.value_per_second, expect, "{query}");
        }
    }

    #[test]
    fn first_snapshots() {
        let asked = asked("memory:inuse_space:bytes:space:bytes", 10, None);
        let mut lines = Lines::new();
        add_snapshots(
            &asked,
            &[profile("x", 12, 0, 3), profile("x", 19, 0, 7), profile("y", 33, 0, 1)],
            &mut lines,
        );
        let rows: Vec<Vec<_>> = lines
            .values()
            .map(|line| {
                line.iter()
                    .map(|(&at, bucket)| sample(&asked, at, bucket))
                    .map(|s| (s.timestamp.nanos, s.value, s.count))
                    .collect()
            })
            .collect();
        assert_eq!(rows, [vec![(12, 3, 2)], vec![(33, 1, 1)]]);
    }
}
