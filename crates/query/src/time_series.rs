//! How totals move over time, in steps, per group of labels.
//!
//! Points lie at `from + k·step` and cover `(point − step, point]`, so that what was taken within one step
//! before the range counts for its first point. Totals come from the table `profiles` and the head;
//! samples are read only when the question is about one call site.

use crate::buckets::{Bucket, Buckets, Largest};
use crate::plan::Unit;
use crate::row_group::{self, ids, numbers};
use crate::samples::{Lookup, NONE, head_profiles};
use crate::scan::{Control, Interrupt, Scan};
use crate::selection::{Selection, label_value};
use crate::{Error, Limits, ScanStats, Selector, TimeRange, Warning};
use everflame_lake::{HeadChunk, ProfileId};
use everflame_profile::{Labels, Nanos, ProfileType, StackId};
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

/// The smallest step: 1 ms.
const MIN_STEP: Nanos = 1_000_000;

/// What the profiles of one point make together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// Their sum.
    #[default]
    Sum,
    /// Their sum divided by their number.
    Average,
}

/// Whether points name a profile to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exemplars {
    /// They do not.
    #[default]
    None,
    /// Each names its largest one.
    Largest,
}

/// Asks for totals over time.
#[derive(Clone, Debug)]
pub struct SeriesQuery {
    /// What is measured.
    pub profile_type: ProfileType,
    /// Which series.
    pub selector: Selector,
    /// First and last point.
    pub range: TimeRange,
    /// Nanoseconds between two points.
    pub step: Nanos,
    /// One time series for each combination of values of these labels; one for all when empty.
    pub group_by: Vec<String>,
    /// What the profiles of one point make together.
    pub aggregation: Aggregation,
    /// At most so many time series, those with the largest sums.
    pub limit: Option<usize>,
    /// Only what was measured below these functions, root first; everything when empty.
    pub call_site: Vec<String>,
    /// Whether points name profiles. Not together with `call_site`.
    pub exemplars: Exemplars,
}

impl SeriesQuery {
    /// Sums of all series that `selector` takes, as one time series.
    pub fn new(profile_type: ProfileType, selector: Selector, range: TimeRange, step: Nanos) -> Self {
        Self {
            profile_type,
            selector,
            range,
            step,
            group_by: Vec::new(),
            aggregation: Aggregation::Sum,
            limit: None,
            call_site: Vec::new(),
            exemplars: Exemplars::None,
        }
    }

    /// Refuses what cannot be answered.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), Error> {
        self.range.check()?;
        if self.step < MIN_STEP {
            return Err(Error::Step { step: self.step });
        }
        let points = (i128::from(self.range.until) - i128::from(self.range.from)) / i128::from(self.step) + 1;
        let points = u64::try_from(points).unwrap_or(u64::MAX);
        crate::scan::within("points", points, limits.points.min(u64::from(u32::MAX)))
    }

    /// The time that the points cover.
    pub(crate) fn covered(&self) -> TimeRange {
        let TimeRange { from, until } = self.range;
        let last = i128::from(until) - (i128::from(until) - i128::from(from)) % i128::from(self.step);
        let first = i128::from(from) - i128::from(self.step) + 1;
        TimeRange { from: crate::merged::clamp(first), until: crate::merged::clamp(last) }
    }
}

/// A line of points.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeSeries {
    /// The labels it is grouped by.
    pub labels: Labels,
    /// Its points, ascending; times at which nothing was measured have none.
    pub points: Vec<Point>,
}

/// What was measured during one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// End of the step, nanoseconds since the epoch; it belongs to it.
    pub time: Nanos,
    /// Sum or average.
    pub value: f64,
    /// How many profiles it is made of; with a call site and without an average, 0.
    pub profiles: u64,
    /// Sum of their durations, nanoseconds; with a call site and without an average, 0.
    pub duration: Nanos,
    /// Its largest profile, when it was asked for.
    pub exemplar: Option<Exemplar>,
}

/// A profile worth a look.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Its identity.
    pub profile: ProfileId,
    /// When it started, nanoseconds since the epoch.
    pub time: Nanos,
    /// Its total.
    pub value: i64,
    /// The labels of its series by which it was not grouped.
    pub labels: Labels,
}

/// Time series, and how complete they are.
#[derive(Clone, Debug, Default)]
pub struct TimeSeriesAnswer {
    /// The time series, the largest sum first.
    pub series: Vec<TimeSeries>,
    /// What was read.
    pub stats: ScanStats,
    /// What could not be read.
    pub warnings: Vec<Warning>,
}

/// Which group each selected series belongs to, and which point a time.
pub(crate) struct Grouping {
    pub(crate) selection: Arc<Selection>,
    pub(crate) covered: TimeRange,
    from: Nanos,
    step: u64,
    /// How much of the first step lies before the beginning of time, and so before `covered`.
    lead: u128,
    group_of: Vec<u32>,
    groups: Vec<Labels>,
}

impl Grouping {
    pub(crate) fn new(query: &SeriesQuery, selection: Arc<Selection>) -> Self {
        let mut groups: HashMap<Labels, u32> = HashMap::new();
        let mut group_of = Vec::with_capacity(selection.series.len());
        for found in &selection.series {
            let names = query.group_by.iter();
            let pairs = names.map(|name| (name.as_str(), label_value(&found.series, name).into_owned()));
            let next = groups.len() as u32;
            group_of.push(*groups.entry(Labels::from_pairs(pairs)).or_insert(next));
        }
        let mut sorted: Vec<(Labels, u32)> = groups.into_iter().collect();
        sorted.sort_unstable_by_key(|(_, group)| *group);
        let groups = sorted.into_iter().map(|(labels, _)| labels).collect();
        let covered = query.covered();
        let first = i128::from(query.range.from) - i128::from(query.step) + 1;
        Self {
            selection,
            covered,
            from: query.range.from,
            step: query.step.unsigned_abs().max(1),
            lead: u128::try_from(i128::from(covered.from) - first).unwrap_or(0),
            group_of,
            groups,
        }
    }

    pub(crate) fn group(&self, position: u32) -> u32 {
        self.group_of.get(position as usize).copied().unwrap_or(NONE)
    }

    /// The point that a time belongs to.
    #[inline]
    pub(crate) fn point(&self, time: Nanos) -> Option<u32> {
        if !self.covered.contains(time) {
            return None;
        }
        let since = u128::from(time.abs_diff(self.covered.from)) + self.lead;
        // A division of 128 bits takes ten times as long as one of 64.
        let point = match u64::try_from(since) {
            Ok(since) => u128::from(since / self.step),
            Err(_) => since / u128::from(self.step),
        };
        u32::try_from(point).ok()
    }

    /// The first and last time that belong to a point.
    pub(crate) fn times(&self, point: u32) -> (Nanos, Nanos) {
        let last = self.time(point);
        let first = i128::from(last) - i128::from(self.step) + 1;
        (crate::merged::clamp(first).max(self.covered.from), last.min(self.covered.until))
    }

    /// The time of a point: the end of what it covers.
    pub(crate) fn time(&self, point: u32) -> Nanos {
        let time = i128::from(self.from) + i128::from(point) * i128::from(self.step);
        crate::merged::clamp(time)
    }

    /// The labels of a group.
    pub(crate) fn labels(&self, group: u32) -> Option<&Labels> {
        self.groups.get(group as usize)
    }

    /// The labels of a selected series by which it is not grouped.
    pub(crate) fn other_labels(&self, position: u32, group_by: &[String]) -> Option<Labels> {
        let found = self.selection.series.get(position as usize)?;
        let rest = found.series.labels.iter().filter(|(name, _)| !group_by.iter().any(|by| by == name));
        Some(Labels::from_pairs(rest))
    }

    /// The time at which the sum of a window counts: its end, or the end of the range when that lies in it.
    pub(crate) fn end_of_window(&self, start: Nanos, window: Nanos) -> Nanos {
        let end = start.saturating_add(window - 1);
        if start <= self.covered.until { end.min(self.covered.until) } else { end }
    }

    /// Makes time series of `sums`, the number of profiles taken from `counts`.
    pub(crate) fn finish(&self, query: &SeriesQuery, sums: Buckets, counts: &Buckets) -> Vec<TimeSeries> {
        let mut series: Vec<(i128, TimeSeries)> = Vec::new();
        sums.for_each_group(|group, found| {
            let Some(labels) = self.labels(group) else { return };
            let mut sum = 0i128;
            let points = found.map(|mut found| {
                sum += found.bucket.sum;
                let bucket = match counts.get(group, found.point) {
                    Some(&Bucket { profiles, duration, .. }) => {
                        Bucket { sum: found.bucket.sum, profiles, duration }
                    }
                    None => *found.bucket,
                };
                self.finish_point(query, found.point, &bucket, found.largest.take())
            });
            let points = points.collect();
            series.push((sum, TimeSeries { labels: labels.clone(), points }));
        });
        series.sort_by(|(a, left), (b, right)| b.cmp(a).then_with(|| left.labels.cmp(&right.labels)));
        series.into_iter().map(|(_, series)| series).take(query.limit.unwrap_or(usize::MAX)).collect()
    }

    fn finish_point(
        &self,
        query: &SeriesQuery,
        point: u32,
        bucket: &Bucket,
        largest: Option<Largest>,
    ) -> Point {
        let value = match query.aggregation {
            Aggregation::Average if bucket.profiles > 0 => bucket.sum as f64 / bucket.profiles as f64,
            _ => bucket.sum as f64,
        };
        let exemplar = largest.and_then(|largest| {
            Some(Exemplar {
                profile: largest.id,
                time: largest.time,
                value: largest.value,
                labels: self.other_labels(largest.position, &query.group_by)?,
            })
        });
        Point {
            time: self.time(point),
            value,
            profiles: bucket.profiles,
            duration: crate::merged::clamp(bucket.duration),
            exemplar,
        }
    }
}

/// Adds up the samples of some stacks.
pub(crate) struct CallSiteScan {
    pub(crate) grouping: Arc<Grouping>,
    pub(crate) stacks: Arc<HashSet<StackId>>,
    /// The part of the range that is scanned.
    pub(crate) part: TimeRange,
    /// Length of the windows that rows of tiers are sums of.
    pub(crate) window: Nanos,
}

impl Scan for CallSiteScan {
    type Partial = Buckets;

    fn selection(&self) -> &Arc<Selection> {
        &self.grouping.selection
    }

    fn columns(&self, _: &Unit, _: &Control) -> Vec<&'static str> {
        vec!["stack_id", "series_id", "time", "value"]
    }

    fn row_group(&self, unit: &Unit, control: &Control, into: &mut Buckets) -> Result<(), Interrupt> {
        let (batches, bytes) = row_group::read(unit, &self.columns(unit, control))?;
        control.charge_read(bytes)?;
        let (from, until) = self.part.micros();
        let is_sum = !row_group::has_column(unit, "span_id");
        let (mut groups, mut wanted) = (Lookup::default(), Lookup::default());
        for batch in batches {
            control.go_on()?;
            let batch = batch?;
            let (stacks, series) = (ids(&batch, "stack_id")?, ids(&batch, "series_id")?);
            let selection = &self.grouping.selection;
            groups.update(series.values, |id| {
                selection.position_of_bytes(id).map_or(NONE, |position| self.grouping.group(position))
            });
            wanted.update(stacks.values, |id| {
                <[u8; 16]>::try_from(id)
                    .is_ok_and(|id| self.stacks.contains(&StackId(u128::from_be_bytes(id))))
            });
            let (times, values) = (numbers(&batch, "time")?, numbers(&batch, "value")?);
            for (((&stack, &series), &time), &value) in
                stacks.keys.iter().zip(series.keys).zip(times).zip(values)
            {
                if wanted.get(stack) != Some(&true) || time < from || time > until {
                    continue;
                }
                let group = groups.get(series).copied().unwrap_or(NONE);
                let time = time.saturating_mul(1000);
                let time = if is_sum { self.grouping.end_of_window(time, self.window) } else { time };
                let Some(point) = self.grouping.point(time).filter(|_| group != NONE) else { continue };
                let bucket = Bucket { sum: i128::from(value), ..Bucket::default() };
                into.add(group, point, &bucket, control)?;
            }
        }
        Ok(())
    }

    fn head(&self, chunk: &HeadChunk, control: &Control, into: &mut Buckets) -> Result<u64, Interrupt> {
        let wanted: Vec<bool> = chunk.stacks.iter().map(|stack| self.stacks.contains(stack)).collect();
        let mut rows = 0;
        for (profile, samples) in head_profiles(chunk) {
            let Some(position) = self.grouping.selection.position(profile.series) else { continue };
            let point = self.grouping.point(profile.time).filter(|_| self.part.contains(profile.time));
            let Some(point) = point else { continue };
            control.go_on()?;
            rows += samples.len() as u64;
            let stacks = chunk.sample_stacks.get(samples.clone()).unwrap_or_default();
            let values = chunk.sample_values.get(samples).unwrap_or_default();
            for (&stack, &value) in stacks.iter().zip(values) {
                if wanted.get(stack as usize) == Some(&true) {
                    let bucket = Bucket { sum: i128::from(value), ..Bucket::default() };
                    into.add(self.grouping.group(position), point, &bucket, control)?;
                }
            }
        }
        Ok(rows)
    }

    fn merge(into: &mut Buckets, other: Buckets) {
        into.merge(other);
    }
}
