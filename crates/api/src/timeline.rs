//! Timelines of Flamebearer answers: totals in buckets of one length, gaps as zeros.

use crate::app::App;
use crate::error::ApiError;
use everflame_profile::{Nanos, ProfileType};
use everflame_query::{Aggregation, Point, Selector, SeriesQuery, TimeRange};
use serde::Serialize;
use std::collections::BTreeMap;

const SECOND: Nanos = 1_000_000_000;
/// Most buckets before the step grows.
const MAX_POINTS: Nanos = 1500;
/// The lengths of buckets in seconds.
const STEPS: [Nanos; 19] = [
    15,
    20,
    30,
    60,
    120,
    300,
    600,
    900,
    1200,
    1800,
    3600,
    7200,
    10_800,
    21_600,
    43_200,
    86_400,
    7 * 86_400,
    30 * 86_400,
    365 * 86_400,
];

/// A timeline as Flamebearer has it.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Timeline {
    start_time: i64,
    samples: Vec<i64>,
    duration_delta: i64,
    watermarks: Option<()>,
}

/// Seconds of a bucket for `range`.
fn step(range: TimeRange) -> Nanos {
    let least = range.length() / SECOND / MAX_POINTS;
    STEPS.iter().copied().find(|&step| step >= least).unwrap_or(365 * 86_400)
}

/// Buckets over `range`: the start of the first in seconds, their length in seconds, their number.
fn buckets(range: TimeRange) -> (i64, i64, usize) {
    let step = step(range);
    let start = range.from.div_euclid(SECOND).div_euclid(step) * step;
    let count = (range.until.div_euclid(SECOND) - start) / step + 1;
    (start, step, usize::try_from(count).unwrap_or(1))
}

/// Timelines of the series that `selector` takes, one for each value of `group_by`, or one for all.
pub(crate) async fn ask(
    app: &App,
    profile_type: &ProfileType,
    selector: &Selector,
    range: TimeRange,
    aggregation: Aggregation,
    group_by: Option<&str>,
) -> Result<BTreeMap<String, Timeline>, ApiError> {
    let (start, step, count) = buckets(range);
    // A point covers what lies after the point before it, up to and including itself.
    let first = start.saturating_add(step).saturating_mul(SECOND) - 1;
    let last = first.saturating_add((count as i64 - 1).saturating_mul(step * SECOND));
    let points = TimeRange::new(first, last);
    let mut query = SeriesQuery::new(profile_type.clone(), selector.clone(), points, step * SECOND);
    query.aggregation = aggregation;
    query.group_by = group_by.map(str::to_owned).into_iter().collect();
    let answer = app.time_series(&query).await?;
    let group = |labels: &everflame_profile::Labels| match group_by.map(|name| labels.get(name)) {
        None | Some("") => "*".to_owned(),
        Some(value) => value.to_owned(),
    };
    let timelines =
        answer.series.iter().map(|series| (group(&series.labels), fill(start, step, count, &series.points)));
    Ok(timelines.collect())
}

/// One timeline for all series.
pub(crate) async fn of_all(
    app: &App,
    profile_type: &ProfileType,
    selector: &Selector,
    range: TimeRange,
    aggregation: Aggregation,
) -> Result<Timeline, ApiError> {
    let found = ask(app, profile_type, selector, range, aggregation, None).await?;
    let (start, step, count) = buckets(range);
    Ok(found.into_values().next().unwrap_or_else(|| fill(start, step, count, &[])))
}

fn fill(start: i64, step: i64, count: usize, points: &[Point]) -> Timeline {
    let mut samples = vec![0; count];
    for point in points {
        let at = (point.time.div_euclid(SECOND) - start).div_euclid(step);
        if let Some(sample) = usize::try_from(at).ok().and_then(|at| samples.get_mut(at)) {
            *sample = point.value.round() as i64;
        }
    }
    Timeline { start_time: start, samples, duration_delta: step, watermarks: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_with_the_range() {
        let check = |seconds: i64, expect: (i64, i64, usize)| {
            let range = TimeRange::new(1_000_000_007 * SECOND, (1_000_000_007 + seconds) * SECOND);
            assert_eq!(buckets(range), expect, "{seconds}");
        };
        check(0, (1_000_000_005, 15, 1));
        check(60, (1_000_000_005, 15, 5));
        check(6 * 3600, (1_000_000_005, 15, 1441));
        check(24 * 3600, (999_999_960, 60, 1441));
        check(365 * 86_400, (999_993_600, 21_600, 1461));
    }

    #[test]
    fn points_fall_into_their_buckets() {
        let point = |time: i64, value: f64| Point { time, value, profiles: 1, duration: 0, exemplar: None };
        let timeline = fill(30, 15, 3, &[point(45 * SECOND - 1, 2.0), point(75 * SECOND - 1, 3.0)]);
        assert_eq!(timeline.samples, [2, 0, 3]);
    }
}
