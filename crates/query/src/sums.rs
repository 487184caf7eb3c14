//! Adds up the values of a row group by stack, straight from its pages. Hot.
//!
//! Rows of a window are sorted by stack, so that the column of stacks is runs: the values of a run are added
//! in one loop over neighbours, and the sum goes to the stack's place in a dense array once. Within a stack
//! they are sorted by series and time, so that those of a shorter time are runs, too.

use crate::cache::Found;
use crate::plan::Unit;
use crate::row_group::Fault;
use crate::samples::{NONE, StackScan};
use crate::scan::{Control, Interrupt};
use everflame_lake::columns::{self, Ids, Numbers};
use everflame_profile::StackId;
use memchr::memchr;
use std::ops::Range;

/// Rows that are masked and added at a time: a mask stays in the second-level cache.
const BATCH_ROWS: usize = 16_384;

/// Values up to this size can be added `BATCH_ROWS` times without leaving 64 bits.
const SMALL: u64 = i64::MAX as u64 / BATCH_ROWS as u64;

impl StackScan {
    /// Adds up a row group. With [`Fault::Unsupported`], `found` is as it was.
    pub(crate) fn add_pages(&self, unit: &Unit, control: &Control, found: &mut Found) -> Result<(), Fault> {
        let filter = &self.filter;
        if filter.spans.is_some() || filter.traces.is_some() || filter.spans_of_profiles.is_some() {
            return Err(Fault::Unsupported);
        }
        let ranges = unit.row_ranges();
        let by_profile = self.filter.profiles.is_some();
        let file = unit.source.handle().map_err(Interrupt::from)?;
        let group = unit.in_file(&file);
        let numbers = |name| Numbers::open(group, name, &ranges);
        let mut stacks = Ids::<16>::open(group, "stack_id", &ranges)?;
        let mut values = numbers("value")?;
        let mut bytes = stacks.bytes() + values.bytes();
        let mut mask = None;
        if unit.check_time || unit.check_series || by_profile {
            let times = match unit.check_time || by_profile {
                true => Some(numbers("time")?),
                false => None,
            };
            let series = match unit.check_series || by_profile {
                true => Some(Ids::<8>::open(group, "series_id", &ranges)?),
                false => None,
            };
            bytes += times.as_ref().map_or(0, Numbers::bytes) + series.as_ref().map_or(0, Ids::bytes);
            mask = Some(Mask {
                scan: self,
                times,
                series,
                positions: Vec::new(),
                rows: Vec::new(),
                kept: Vec::new(),
            });
        }
        control.charge_read(bytes)?;
        let mut dense = Dense::default();
        for range in ranges {
            let mut row = range.start;
            while row < range.end {
                control.go_on()?;
                let mut end = range.end.min(row.saturating_add(BATCH_ROWS));
                end = end.min(stacks.load(row)?).min(values.load(row)?);
                dense.grow(stacks.ids().len());
                let are_small = values.largest() <= SMALL;
                match &mut mask {
                    Some(mask) => {
                        end = end.min(mask.load(row)?);
                        for rows in mask.kept(unit.check_time, row..end) {
                            dense.add(&mut stacks, rows.clone(), values.values(rows.clone()), are_small)?;
                        }
                    }
                    None => dense.add(&mut stacks, row..end, values.values(row..end), are_small)?,
                }
                row = end;
            }
        }
        found.reserve(dense.seen.iter().filter(|&&seen| seen).count());
        for ((id, &sum), &seen) in stacks.ids().iter().zip(&dense.sums).zip(&dense.seen) {
            if seen {
                found.push(StackId(u128::from_be_bytes(*id)), sum);
            }
        }
        Ok(())
    }
}

/// Which rows count.
struct Mask<'a> {
    scan: &'a StackScan,
    times: Option<Numbers>,
    series: Option<Ids<8>>,
    /// For each id of the column its position in the selection, or [`NONE`].
    positions: Vec<u32>,
    /// 1 for the rows that count, and 0 for the others.
    rows: Vec<u8>,
    /// Runs of those that count.
    kept: Vec<Range<usize>>,
}

impl Mask<'_> {
    fn load(&mut self, row: usize) -> Result<usize, columns::Fault> {
        let mut end = usize::MAX;
        if let Some(times) = &mut self.times {
            end = end.min(times.load(row)?);
        }
        if let Some(series) = &mut self.series {
            end = end.min(series.load(row)?);
            let selection = &self.scan.selection;
            let new = series.ids().get(self.positions.len()..).unwrap_or_default();
            self.positions.extend(new.iter().map(|id| selection.position_of_bytes(id).unwrap_or(NONE)));
        }
        Ok(end)
    }

    /// Those of `rows`, a batch of the current page, that count, as runs.
    fn kept(&mut self, check_time: bool, rows: Range<usize>) -> &[Range<usize>] {
        self.rows.clear();
        match (&mut self.times, check_time) {
            (Some(times), true) => {
                let (from, until) = self.scan.range.micros();
                times.mask(rows.clone(), from, until, &mut self.rows);
            }
            _ => self.rows.resize(rows.len(), 1),
        }
        self.keep_series(rows.clone());
        self.kept.clear();
        let mut at = 0;
        // Runs are long, those that do not count most of all.
        while let Some(rest) = self.rows.get(at..) {
            let Some(start) = memchr(1, rest) else { break };
            let length = memchr(0, rest.get(start..).unwrap_or_default()).unwrap_or(rest.len() - start);
            at += start + length;
            self.kept.push(rows.start + at - length..rows.start + at);
        }
        &self.kept
    }

    fn keep_series(&mut self, rows: Range<usize>) {
        let Some(series) = &mut self.series else { return };
        let (positions, profiles) = (&self.positions, self.scan.filter.profiles.as_ref());
        let mut times = match (profiles, &mut self.times) {
            (Some(_), Some(times)) => times.values(rows.clone()),
            _ => &[],
        };
        let mut mask = self.rows.as_mut_slice();
        series.runs(rows, |key, length| {
            let length = length.min(mask.len());
            let (run, rest) = std::mem::take(&mut mask).split_at_mut(length);
            mask = rest;
            let (run_times, rest) = times.split_at(length.min(times.len()));
            times = rest;
            match positions.get(key as usize) {
                Some(&position) if position != NONE => {
                    let Some(profiles) = profiles else { return };
                    for (keep, &time) in run.iter_mut().zip(run_times) {
                        *keep &= u8::from(profiles.contains(&(position, time)));
                    }
                }
                _ => run.fill(0),
            }
        });
    }
}

/// Sums by position of the stack.
#[derive(Default)]
struct Dense {
    sums: Vec<i128>,
    seen: Vec<bool>,
}

impl Dense {
    fn grow(&mut self, length: usize) {
        self.sums.resize(length.max(self.sums.len()), 0);
        self.seen.resize(length.max(self.seen.len()), false);
    }

    /// Adds `values`, which are those of `rows`; `are_small` when none is beyond [`SMALL`].
    fn add(
        &mut self,
        stacks: &mut Ids<16>,
        rows: Range<usize>,
        values: &[i64],
        are_small: bool,
    ) -> Result<(), columns::Fault> {
        if values.len() != rows.len() {
            return Err(columns::Fault::Damaged("columns have different numbers of rows"));
        }
        let mut values = values;
        stacks.runs(rows, |key, length| {
            let (run, rest) = values.split_at(length.min(values.len()));
            values = rest;
            let (Some(sum), Some(seen)) = (self.sums.get_mut(key as usize), self.seen.get_mut(key as usize))
            else {
                return;
            };
            *seen = true;
            *sum += match are_small {
                true => i128::from(run.iter().sum::<i64>()),
                false => run.iter().map(|&value| i128::from(value)).sum(),
            };
        });
        Ok(())
    }
}
