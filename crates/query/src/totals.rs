//! The scan of the table `profiles` and its tiers: totals by group and point.

use crate::TimeRange;
use crate::buckets::{Bucket, Buckets, Largest};
use crate::plan::Unit;
use crate::row_group::{self, Fault, binary, ids, numbers};
use crate::samples::{Lookup, NONE};
use crate::scan::{Control, Interrupt, Scan};
use crate::selection::Selection;
use crate::time_series::{Exemplars, Grouping};
use everflame_lake::columns::{Ids, Numbers};
use everflame_lake::{HeadChunk, HeadProfile, ProfileId};
use everflame_profile::Nanos;
use std::ops::Range;
use std::sync::Arc;

/// Adds up the totals of profiles.
pub(crate) struct TotalScan {
    pub(crate) grouping: Arc<Grouping>,
    pub(crate) exemplars: Exemplars,
    /// The part of the range that is scanned.
    pub(crate) part: TimeRange,
    /// Length of the windows that rows of tiers are sums of.
    pub(crate) window: Nanos,
}

impl Scan for TotalScan {
    type Partial = Buckets;

    fn selection(&self) -> &Arc<Selection> {
        &self.grouping.selection
    }

    fn columns(&self, unit: &Unit, _: &Control) -> Vec<&'static str> {
        let mut columns = vec!["series_id", "time", "duration", "total"];
        if row_group::has_column(unit, COUNT) {
            columns.push(COUNT);
        } else if self.exemplars == Exemplars::Largest {
            columns.push("profile_id");
        }
        columns
    }

    fn row_group(&self, unit: &Unit, control: &Control, into: &mut Buckets) -> Result<(), Interrupt> {
        match self.add_pages(unit, control, into) {
            Ok(()) => Ok(()),
            Err(Fault::Interrupted(interrupt)) => Err(interrupt),
            Err(Fault::Unsupported) => self.add_batches(unit, control, into),
        }
    }

    fn head(&self, chunk: &HeadChunk, control: &Control, into: &mut Buckets) -> Result<u64, Interrupt> {
        control.go_on()?;
        for profile in &chunk.profiles {
            let &HeadProfile { id, time, duration, total, .. } = profile;
            let Some(position) = self.grouping.selection.position(profile.series) else { continue };
            if !self.part.contains(time) {
                continue;
            }
            let wanted = self.exemplars == Exemplars::Largest;
            let largest = wanted.then_some(Largest { value: total, time, id, position });
            let bucket = bucket(total, duration, 1);
            self.take(self.grouping.group(position), time, &bucket, largest, control, into)?;
        }
        Ok(chunk.profiles.len() as u64)
    }

    fn merge(into: &mut Buckets, other: Buckets) {
        into.merge(other);
    }
}

impl TotalScan {
    /// Adds up a row group straight from its pages. With [`Fault::Unsupported`] nothing was added: what a
    /// column is written in is known before its first page, but for the kind of its pages, which is one.
    fn add_pages(&self, unit: &Unit, control: &Control, into: &mut Buckets) -> Result<(), Fault> {
        let is_sum = row_group::has_column(unit, COUNT);
        if self.exemplars == Exemplars::Largest && !is_sum {
            return Err(Fault::Unsupported);
        }
        let ranges = unit.row_ranges();
        let file = unit.source.handle().map_err(Interrupt::from)?;
        let group = unit.in_file(&file);
        let numbers = |name| Numbers::open(group, name, &ranges);
        let mut series = Ids::<8>::open(group, "series_id", &ranges)?;
        let mut columns = vec![numbers("time")?, numbers("duration")?, numbers("total")?];
        if is_sum {
            columns.push(numbers(COUNT)?);
        }
        control.charge_read(series.bytes() + columns.iter().map(Numbers::bytes).sum::<u64>())?;
        let mut groups: Vec<u32> = Vec::new();
        for range in ranges {
            let mut row = range.start;
            while row < range.end {
                control.go_on()?;
                let mut end = range.end.min(series.load(row)?);
                for column in &mut columns {
                    end = end.min(column.load(row)?);
                }
                let new = series.ids().get(groups.len()..).unwrap_or_default();
                groups.extend(new.iter().map(|id| {
                    let position = self.grouping.selection.position_of_bytes(id);
                    position.map_or(NONE, |position| self.grouping.group(position))
                }));
                let mut of_rows = columns.iter_mut().map(|column| column.values(row..end));
                let [times, durations, totals, counts] =
                    std::array::from_fn(|_| of_rows.next().unwrap_or_default());
                let mut at = 0;
                let mut result = Ok(());
                series.runs(row..end, |key, length| {
                    let run = at..at + length;
                    at = run.end;
                    let group = groups.get(key as usize).copied().unwrap_or(NONE);
                    if group == NONE || result.is_err() {
                        return;
                    }
                    let [times, durations, totals, counts] = [times, durations, totals, counts]
                        .map(|column| column.get(run.clone()).unwrap_or_default());
                    let rows = Rows { times, durations, totals, counts: is_sum.then_some(counts) };
                    result = self.add_rows(group, &rows, control, into);
                });
                result?;
                row = end;
            }
        }
        Ok(())
    }

    /// Adds up rows of one series. They come in the order of time, so that most belong to the point of the one
    /// before: all those of a point are added at once.
    fn add_rows(
        &self,
        group: u32,
        rows: &Rows<'_>,
        control: &Control,
        into: &mut Buckets,
    ) -> Result<(), Interrupt> {
        let (from, until) = self.part.micros();
        let counts_at = |time: i64| match rows.counts {
            Some(_) => self.grouping.end_of_window(time.saturating_mul(1000), self.window),
            None => time.saturating_mul(1000),
        };
        let mut at = 0;
        while let Some(&time) = rows.times.get(at) {
            let start = at;
            at += 1;
            let point = self.grouping.point(counts_at(time)).filter(|_| time >= from && time <= until);
            let Some(point) = point else { continue };
            let (first, last) = self.grouping.times(point);
            let belongs = |&&time: &&i64| {
                let counts_at = counts_at(time);
                time >= from && time <= until && counts_at >= first && counts_at <= last
            };
            at += rows.times.get(at..).unwrap_or_default().iter().take_while(belongs).count();
            into.add(group, point, &rows.sum(start..at), control)?;
        }
        Ok(())
    }

    /// Adds up a row group through Arrow.
    fn add_batches(&self, unit: &Unit, control: &Control, into: &mut Buckets) -> Result<(), Interrupt> {
        let is_sum = row_group::has_column(unit, COUNT);
        let exemplars = if is_sum { Exemplars::None } else { self.exemplars };
        let (batches, bytes) = row_group::read(unit, &self.columns(unit, control))?;
        control.charge_read(bytes)?;
        let (from, until) = self.part.micros();
        let mut lookup = Lookup::default();
        for batch in batches {
            control.go_on()?;
            let batch = batch?;
            let series = ids(&batch, "series_id")?;
            lookup.update(series.values, |id| {
                let position = self.grouping.selection.position_of_bytes(id)?;
                Some((position, self.grouping.group(position)))
            });
            let (times, durations) = (numbers(&batch, "time")?, numbers(&batch, "duration")?);
            let totals = numbers(&batch, "total")?;
            let counts = if is_sum { Some(numbers(&batch, COUNT)?) } else { None };
            let profile_ids = match exemplars {
                Exemplars::Largest => Some(binary(&batch, "profile_id")?),
                Exemplars::None => None,
            };
            let rows = series.keys.iter().zip(times).zip(durations).zip(totals).enumerate();
            for (row, (((&key, &time), &duration), &total)) in rows {
                if time < from || time > until {
                    continue;
                }
                let Some(&Some((position, group))) = lookup.get(key) else { continue };
                let time = time.saturating_mul(1000);
                let id = profile_ids.and_then(|ids| <[u8; 16]>::try_from(ids.value(row)).ok());
                let id = id.map(|id| ProfileId(u128::from_be_bytes(id)));
                let largest = id.map(|id| Largest { value: total, time, id, position });
                let count = counts.and_then(|counts| counts.get(row)).map_or(1, |&count| count);
                let time = if is_sum { self.grouping.end_of_window(time, self.window) } else { time };
                self.take(group, time, &bucket(total, duration, count), largest, control, into)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn take(
        &self,
        group: u32,
        time: Nanos,
        bucket: &Bucket,
        largest: Option<Largest>,
        control: &Control,
        into: &mut Buckets,
    ) -> Result<(), Interrupt> {
        let Some(point) = self.grouping.point(time).filter(|_| group != NONE) else { return Ok(()) };
        match largest {
            Some(largest) => into.add_profile(group, point, bucket, largest, control),
            None => into.add(group, point, bucket, control),
        }
    }
}

/// Rows of one series.
struct Rows<'a> {
    times: &'a [i64],
    durations: &'a [i64],
    totals: &'a [i64],
    /// How many profiles each is the sum of; none where each is a profile.
    counts: Option<&'a [i64]>,
}

impl Rows<'_> {
    /// What some of them make together.
    fn sum(&self, rows: Range<usize>) -> Bucket {
        let sum = |column: &[i64]| {
            let column = column.get(rows.clone()).unwrap_or_default();
            column.iter().map(|&value| i128::from(value)).sum()
        };
        let profiles = match self.counts {
            None => rows.len() as u64,
            Some(counts) => u64::try_from(sum(counts)).unwrap_or_default(),
        };
        Bucket { sum: sum(self.totals), duration: sum(self.durations), profiles }
    }
}

/// The column of tiers that says how many profiles a row is the sum of.
const COUNT: &str = "profiles";

fn bucket(total: i64, duration: i64, profiles: i64) -> Bucket {
    Bucket {
        sum: i128::from(total),
        duration: i128::from(duration),
        profiles: u64::try_from(profiles).unwrap_or_default(),
    }
}
