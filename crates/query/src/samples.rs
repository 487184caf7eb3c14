//! The scan kernel: adds up the values of samples by stack. Hot.
//!
//! The key of a dictionary-encoded stack id is the index into a dense array of sums; one pass at the end
//! of each row group moves them into the map by stack id. Sums have 128 bits, so that neither the layout
//! of files nor the order of rows can change a result; they are cut to 64 bits at the very end.

use crate::TimeRange;
use crate::cache::{Found, Fragment};
use crate::plan::Unit;
use crate::row_group::{self, Fault, binary, ids, numbers, same_dictionary};
use crate::scan::{Control, Interrupt, Scan};
use crate::selection::Selection;
use crate::spans::SpanKey;
use arrow::array::{Array, BinaryArray, RecordBatch};
use everflame_lake::{HeadChunk, HeadProfile};
use everflame_profile::StackId;
use hashbrown::{HashMap, HashSet};
use parquet::errors::ParquetError;
use std::ops::Range;
use std::sync::Arc;

/// Sums by stack; stacks whose values add up to zero stay in it.
pub(crate) type Sums = HashMap<StackId, i128>;

/// About what an entry of [`Sums`] takes, the spare room of the map included.
const SUM_BYTES: usize = 56;

/// Which samples of the selected series count.
#[derive(Debug, Default)]
pub(crate) struct SampleFilter {
    /// Only those of these spans; all when `None`.
    pub(crate) spans: Option<HashSet<u64>>,
    /// Only those of these traces; all when `None`.
    pub(crate) traces: Option<HashSet<u128>>,
    /// Only those of these spans of single profiles; all when `None`.
    pub(crate) spans_of_profiles: Option<HashSet<SpanKey>>,
    /// Only those of the profiles with this position in the selection and this time in microseconds.
    pub(crate) profiles: Option<HashSet<(u32, i64)>>,
}

impl SampleFilter {
    /// Whether all samples count.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self { spans: None, traces: None, spans_of_profiles: None, profiles: None })
    }
}

/// Adds up samples by stack.
pub(crate) struct StackScan {
    pub(crate) selection: Arc<Selection>,
    pub(crate) range: TimeRange,
    pub(crate) filter: SampleFilter,
}

impl Scan for StackScan {
    type Partial = Sums;

    fn selection(&self) -> &Arc<Selection> {
        &self.selection
    }

    fn columns(&self, unit: &Unit, control: &Control) -> Vec<&'static str> {
        match self.fragment(unit).is_some_and(|fragment| control.cache.knows(&fragment)) {
            true => Vec::new(),
            false => self.needed(unit),
        }
    }

    fn row_group(&self, unit: &Unit, control: &Control, into: &mut Sums) -> Result<(), Interrupt> {
        let fragment = self.fragment(unit);
        if let Some(found) = fragment.and_then(|fragment| control.cache.get(&fragment)) {
            control.go_on()?;
            return add(&found, into, control);
        }
        let mut found = Found::default();
        match self.add_pages(unit, control, &mut found) {
            Ok(()) => {}
            Err(Fault::Interrupted(interrupt)) => return Err(interrupt),
            Err(Fault::Unsupported) => self.add_batches(unit, control, &mut found)?,
        }
        add(&found, into, control)?;
        if let Some(fragment) = fragment {
            control.cache.insert(fragment, found);
        }
        Ok(())
    }

    fn head(&self, chunk: &HeadChunk, control: &Control, into: &mut Sums) -> Result<u64, Interrupt> {
        let mut dense = Dense::sized(chunk.stacks.len());
        let mut rows = 0;
        for (profile, samples) in head_profiles(chunk) {
            let Some(position) = self.selection.position(profile.series) else { continue };
            if !self.range.contains(profile.time) || !self.takes_profile(position, profile.time) {
                continue;
            }
            control.go_on()?;
            rows += samples.len() as u64;
            let stacks = chunk.sample_stacks.get(samples.clone()).unwrap_or_default();
            let values = chunk.sample_values.get(samples.clone()).unwrap_or_default();
            let spans = chunk.sample_spans.get(samples.clone()).unwrap_or_default();
            let traces = chunk.sample_traces.get(samples).unwrap_or_default();
            for (at, (&stack, &value)) in stacks.iter().zip(values).enumerate() {
                let has = |wanted: bool| if wanted { Some(()) } else { None };
                let span =
                    self.filter.spans.as_ref().map_or(Some(()), |wanted| {
                        has(spans.get(at).is_some_and(|span| wanted.contains(span)))
                    });
                let trace = self.filter.traces.as_ref().map_or(Some(()), |wanted| {
                    has(traces.get(at).is_some_and(|trace| wanted.contains(trace)))
                });
                let key = self.filter.spans_of_profiles.as_ref().map_or(Some(()), |wanted| {
                    let (&span, &trace) = (spans.get(at)?, traces.get(at)?);
                    has(wanted.contains(&SpanKey::new(profile.time, span, trace)))
                });
                if span.is_some() && trace.is_some() && key.is_some() {
                    dense.add_one(stack as usize, value);
                }
            }
        }
        add(&dense.found(&chunk.stacks), into, control)?;
        Ok(rows)
    }

    fn merge(into: &mut Sums, other: Sums) {
        let (small, large) =
            if into.len() < other.len() { (std::mem::replace(into, other), into) } else { (other, into) };
        for (stack, value) in small {
            *large.entry(stack).or_default() += value;
        }
    }
}

impl StackScan {
    /// What of a unit this scan takes; `None` when samples are chosen one by one.
    fn fragment(&self, unit: &Unit) -> Option<Fragment> {
        if !self.filter.is_none() {
            return None;
        }
        Some(Fragment {
            file: unit.source.file.id,
            row_group: unit.row_group,
            series: unit.check_series.then(|| self.selection.identity()),
            range: unit.check_time.then(|| self.range.micros()),
        })
    }

    /// The columns that the rows of a unit are chosen by and added up from.
    fn needed(&self, unit: &Unit) -> Vec<&'static str> {
        let SampleFilter { spans, traces, spans_of_profiles, profiles } = &self.filter;
        let (by_profile, by_both) = (profiles.is_some(), spans_of_profiles.is_some());
        let wanted = [
            ("stack_id", true),
            ("value", true),
            ("series_id", unit.check_series || by_profile),
            ("time", unit.check_time || by_profile || by_both),
            ("span_id", spans.is_some() || by_both),
            ("trace_id", traces.is_some() || by_both),
        ];
        wanted.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name).collect()
    }

    /// Adds up a row group through Arrow.
    fn add_batches(&self, unit: &Unit, control: &Control, found: &mut Found) -> Result<(), Interrupt> {
        let columns = self.needed(unit);
        let masked = columns.len() > 2;
        let (batches, bytes) = row_group::read(unit, &columns)?;
        control.charge_read(bytes)?;
        let mut dense = Dense::default();
        let mut series = Lookup::default();
        let mut mask = Vec::new();
        for batch in batches {
            control.go_on()?;
            let batch = batch?;
            let stacks = ids(&batch, "stack_id")?;
            let values = numbers(&batch, "value")?;
            if !dense.belongs_to(stacks.values) {
                dense.drain(found)?;
                dense.start(stacks.values);
            }
            if !masked {
                dense.add(stacks.keys, values);
                continue;
            }
            self.fill_mask(unit, &batch, &mut series, &mut mask)?;
            dense.add_masked(stacks.keys, values, &mask);
        }
        dense.drain(found)
    }

    fn takes_profile(&self, position: u32, time: i64) -> bool {
        let wanted = self.filter.profiles.as_ref();
        wanted.is_none_or(|wanted| wanted.contains(&(position, time.div_euclid(1000))))
    }

    /// Sets `mask` to 1 for the rows of `batch` that count, one condition after the other: each loop is
    /// short enough to be done for many rows at once.
    fn fill_mask(
        &self,
        unit: &Unit,
        batch: &RecordBatch,
        series: &mut Lookup<u32>,
        mask: &mut Vec<u8>,
    ) -> Result<(), Interrupt> {
        mask.clear();
        mask.resize(batch.num_rows(), 1);
        if unit.check_time {
            let (from, until) = self.range.micros();
            for (keep, &time) in mask.iter_mut().zip(numbers(batch, "time")?) {
                *keep &= u8::from(time >= from) & u8::from(time <= until);
            }
        }
        if unit.check_series || self.filter.profiles.is_some() {
            let column = ids(batch, "series_id")?;
            series.update(column.values, |id| self.selection.position_of_bytes(id).unwrap_or(NONE));
            for (keep, &key) in mask.iter_mut().zip(column.keys) {
                *keep &= u8::from(series.get(key).is_some_and(|&position| position != NONE));
            }
            if let Some(profiles) = &self.filter.profiles {
                let rows = column.keys.iter().zip(numbers(batch, "time")?);
                for (keep, (&key, &time)) in mask.iter_mut().zip(rows) {
                    let position = series.get(key).copied().unwrap_or(NONE);
                    *keep &= u8::from(*keep != 0 && profiles.contains(&(position, time)));
                }
            }
        }
        if let Some(spans) = &self.filter.spans {
            keep_rows(mask, binary(batch, "span_id")?, |id| {
                <[u8; 8]>::try_from(id).is_ok_and(|id| spans.contains(&u64::from_be_bytes(id)))
            });
        }
        if let Some(traces) = &self.filter.traces {
            keep_rows(mask, binary(batch, "trace_id")?, |id| {
                <[u8; 16]>::try_from(id).is_ok_and(|id| traces.contains(&u128::from_be_bytes(id)))
            });
        }
        if let Some(wanted) = &self.filter.spans_of_profiles {
            let (spans, traces) = (binary(batch, "span_id")?, binary(batch, "trace_id")?);
            let rows = numbers(batch, "time")?.iter().zip(spans.iter()).zip(traces.iter());
            for (keep, ((&time, span), trace)) in mask.iter_mut().zip(rows) {
                let key = SpanKey::of_row(time, span, trace);
                *keep &= u8::from(*keep != 0 && key.is_some_and(|key| wanted.contains(&key)));
            }
        }
        Ok(())
    }
}

/// Stands for "not selected" among positions.
pub(crate) const NONE: u32 = u32::MAX;

fn keep_rows(mask: &mut [u8], ids: &BinaryArray, takes: impl Fn(&[u8]) -> bool) {
    for (row, keep) in mask.iter_mut().enumerate() {
        *keep &= u8::from(*keep != 0 && row < ids.len() && ids.is_valid(row) && takes(ids.value(row)));
    }
}

/// The profiles of a head chunk, each with the rows of its samples.
pub(crate) fn head_profiles(chunk: &HeadChunk) -> impl Iterator<Item = (&HeadProfile, Range<usize>)> {
    let mut start = 0;
    chunk.profiles.iter().map(move |profile| {
        let samples = start..(profile.samples_end as usize).max(start);
        start = samples.end;
        (profile, samples)
    })
}

/// What each key of a dictionary stands for, worked out once for each dictionary.
#[derive(Default)]
pub(crate) struct Lookup<T> {
    dictionary: Option<BinaryArray>,
    table: Vec<T>,
}

impl<T> Lookup<T> {
    /// Makes the table fit `dictionary`.
    pub(crate) fn update(&mut self, dictionary: &BinaryArray, value: impl FnMut(&[u8]) -> T) {
        if self.dictionary.as_ref().is_some_and(|known| same_dictionary(known, dictionary)) {
            return;
        }
        self.table = (0..dictionary.len()).map(|at| dictionary.value(at)).map(value).collect();
        self.dictionary = Some(dictionary.clone());
    }

    /// What `key` stands for; a damaged file may hold keys beyond its dictionary.
    pub(crate) fn get(&self, key: i32) -> Option<&T> {
        self.table.get(key as usize)
    }
}

/// Sums by dictionary key.
#[derive(Default)]
struct Dense {
    dictionary: Option<BinaryArray>,
    sums: Vec<i128>,
    seen: Vec<bool>,
}

impl Dense {
    fn sized(length: usize) -> Self {
        Self { dictionary: None, sums: vec![0; length], seen: vec![false; length] }
    }

    fn belongs_to(&self, dictionary: &BinaryArray) -> bool {
        self.dictionary.as_ref().is_some_and(|known| same_dictionary(known, dictionary))
    }

    fn start(&mut self, dictionary: &BinaryArray) {
        *self = Self { dictionary: Some(dictionary.clone()), ..Self::sized(dictionary.len()) };
    }

    fn add(&mut self, keys: &[i32], values: &[i64]) {
        for (&key, &value) in keys.iter().zip(values) {
            self.add_one(key as usize, value);
        }
    }

    fn add_masked(&mut self, keys: &[i32], values: &[i64], mask: &[u8]) {
        for ((&key, &value), &keep) in keys.iter().zip(values).zip(mask) {
            let key = key as usize;
            if let (Some(sum), Some(seen)) = (self.sums.get_mut(key), self.seen.get_mut(key)) {
                *sum += i128::from(value & -i64::from(keep));
                *seen |= keep != 0;
            }
        }
    }

    #[inline]
    fn add_one(&mut self, key: usize, value: i64) {
        if let (Some(sum), Some(seen)) = (self.sums.get_mut(key), self.seen.get_mut(key)) {
            *sum += i128::from(value);
            *seen = true;
        }
    }

    /// Moves all sums to what was found.
    fn drain(&mut self, found: &mut Found) -> Result<(), Interrupt> {
        let Some(dictionary) = self.dictionary.take() else { return Ok(()) };
        let rows = (0..dictionary.len()).zip(self.sums.iter().zip(&self.seen));
        for (at, (&sum, _)) in rows.filter(|(_, (_, seen))| **seen) {
            let id = <[u8; 16]>::try_from(dictionary.value(at))
                .map_err(|_| ParquetError::General("a stack id does not have 16 bytes".to_owned()))?;
            found.push(StackId(u128::from_be_bytes(id)), sum);
        }
        Ok(())
    }

    /// The sums of a head chunk's stacks.
    fn found(&self, stacks: &[StackId]) -> Found {
        let mut found = Found::default();
        for ((&stack, &sum), _) in stacks.iter().zip(&self.sums).zip(&self.seen).filter(|(_, seen)| **seen) {
            found.push(stack, sum);
        }
        found
    }
}

/// Adds what was found to the sums of a thread.
fn add(found: &Found, into: &mut Sums, control: &Control) -> Result<(), Interrupt> {
    let before = into.len();
    for (stack, sum) in found.iter() {
        *into.entry(stack).or_default() += sum;
    }
    control.charge((into.len() - before) * SUM_BYTES)
}
