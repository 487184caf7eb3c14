//! Single spans: which piece of work took how much, when. Reads samples that know their span.
//!
//! As Pyroscope has it, a span is counted once for each profile that knows it: what its samples add up to there, at
//! the time of that profile. One that lasts over three profiles is three entries.

use crate::cover::Part;
use crate::engine::{Answer, blocking, select};
use crate::heatmap::Area;
use crate::merged::clamp;
use crate::plan::Unit;
use crate::row_group::{self, binary, ids, numbers};
use crate::samples::{Lookup, NONE, head_profiles};
use crate::scan::{Control, Interrupt, Scan, Scanned};
use crate::selection::Selection;
use crate::{Engine, Error, ScanStats, Selector, TimeRange, Warning};
use everflame_lake::{HeadChunk, Snapshot};
use everflame_profile::{Nanos, ProfileType, Series};
use hashbrown::HashMap;
use parquet::file::statistics::Statistics;
use std::mem::size_of;
use std::sync::Arc;

/// Asks for single spans.
#[derive(Clone, Debug)]
pub struct SpanQuery {
    /// What is measured.
    pub profile_type: ProfileType,
    /// Which series.
    pub selector: Selector,
    /// When the profiles started.
    pub range: TimeRange,
    /// Which of the spans: their time is that of the profile.
    pub area: Area,
    /// At most so many.
    pub limit: usize,
}

/// A span, as far as one profile knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanInfo {
    /// Its identity.
    pub span: u64,
    /// The trace that it belongs to; 0 when that is not known.
    pub trace: u128,
    /// Labels and type of the series of the profile; of the first, when several of the same time know it.
    pub series: Arc<Series>,
    /// When the profile started, nanoseconds since the epoch.
    pub time: Nanos,
    /// What its samples in the profile add up to.
    pub total: i64,
}

/// Spans, the largest first, and how complete the list is.
#[derive(Clone, Debug, Default)]
pub struct SpanList {
    /// The spans.
    pub spans: Vec<SpanInfo>,
    /// What was read.
    pub stats: ScanStats,
    /// What could not be read.
    pub warnings: Vec<Warning>,
}

impl Answer for SpanList {
    fn stats(&mut self) -> &mut ScanStats {
        &mut self.stats
    }
}

/// What samples have in common that count as one: the profiles that one upload makes differ in their labels only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SpanKey {
    /// The millisecond of their profile, as clients know times.
    millis: i64,
    pub(crate) span: u64,
    /// 0 when it is not known.
    pub(crate) trace: u128,
}

impl SpanKey {
    pub(crate) fn new(time: Nanos, span: u64, trace: u128) -> Self {
        Self { millis: time.div_euclid(1_000_000), span, trace }
    }

    /// That of a row of a file; `None` when it does not know its span.
    pub(crate) fn of_row(micros: i64, span: Option<&[u8]>, trace: Option<&[u8]>) -> Option<Self> {
        let span = <[u8; 8]>::try_from(span?).ok().map(u64::from_be_bytes)?;
        let trace = trace.and_then(|id| <[u8; 16]>::try_from(id).ok()).map_or(0, u128::from_be_bytes);
        Some(Self::new(micros.saturating_mul(1000), span, trace))
    }
}

/// A span of one profile and one group of series, added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanRow {
    pub(crate) group: u32,
    pub(crate) key: SpanKey,
    /// Position in the selection of the series of the profile.
    pub(crate) position: u32,
    pub(crate) time: Nanos,
    pub(crate) total: i64,
}

/// What is known of a span of one profile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpanSum {
    sum: i128,
    /// Time and position of its first sample: the same whatever order they come in.
    first: (Nanos, u32),
}

/// Sums by group and span.
pub(crate) type SpanSums = HashMap<(u32, SpanKey), SpanSum>;

/// About what an entry of [`SpanSums`] takes, the spare room of the map included.
const SPAN_BYTES: usize = 2 * size_of::<((u32, SpanKey), SpanSum)>();

/// Adds up samples by span and profile.
pub(crate) struct SpanScan {
    pub(crate) selection: Arc<Selection>,
    pub(crate) range: TimeRange,
    /// The group of each selected series; all in one when empty.
    pub(crate) group_of: Vec<u32>,
}

const COLUMNS: [&str; 5] = ["series_id", "time", "value", "span_id", "trace_id"];

impl Scan for SpanScan {
    type Partial = SpanSums;

    fn selection(&self) -> &Arc<Selection> {
        &self.selection
    }

    fn columns(&self, unit: &Unit, _: &Control) -> Vec<&'static str> {
        match has_no_spans(unit) {
            true => Vec::new(),
            false => COLUMNS.to_vec(),
        }
    }

    fn row_group(&self, unit: &Unit, control: &Control, into: &mut SpanSums) -> Result<(), Interrupt> {
        if has_no_spans(unit) {
            return Ok(());
        }
        let (batches, bytes) = row_group::read(unit, &COLUMNS)?;
        control.charge_read(bytes)?;
        let (from, until) = self.range.micros();
        let mut lookup = Lookup::default();
        for batch in batches {
            control.go_on()?;
            let batch = batch?;
            let series = ids(&batch, "series_id")?;
            lookup.update(series.values, |id| self.selection.position_of_bytes(id).unwrap_or(NONE));
            let (times, values) = (numbers(&batch, "time")?, numbers(&batch, "value")?);
            let (spans, traces) = (binary(&batch, "span_id")?, binary(&batch, "trace_id")?);
            let rows = series.keys.iter().zip(times).zip(values).zip(spans.iter()).zip(traces.iter());
            for ((((&key, &time), &value), span), trace) in rows {
                let Some(span) = SpanKey::of_row(time, span, trace) else { continue };
                let position = lookup.get(key).copied().unwrap_or(NONE);
                if position == NONE || time < from || time > until {
                    continue;
                }
                self.take(span, value, (time.saturating_mul(1000), position), control, into)?;
            }
        }
        Ok(())
    }

    fn head(&self, chunk: &HeadChunk, control: &Control, into: &mut SpanSums) -> Result<u64, Interrupt> {
        if chunk.sample_spans.is_empty() {
            return Ok(0);
        }
        let mut rows = 0;
        for (profile, samples) in head_profiles(chunk) {
            let Some(position) = self.selection.position(profile.series) else { continue };
            if !self.range.contains(profile.time) {
                continue;
            }
            control.go_on()?;
            rows += samples.len() as u64;
            let values = chunk.sample_values.get(samples.clone()).unwrap_or_default();
            let spans = chunk.sample_spans.get(samples.clone()).unwrap_or_default();
            let traces = chunk.sample_traces.get(samples).unwrap_or_default();
            for ((&value, &span), &trace) in
                values.iter().zip(spans).zip(traces).filter(|((_, span), _)| **span != 0)
            {
                let key = SpanKey::new(profile.time, span, trace);
                self.take(key, value, (profile.time, position), control, into)?;
            }
        }
        Ok(rows)
    }

    fn merge(into: &mut SpanSums, other: SpanSums) {
        for (key, sum) in other {
            into.entry(key).and_modify(|known| known.add(&sum)).or_insert(sum);
        }
    }
}

impl SpanScan {
    fn take(
        &self,
        key: SpanKey,
        value: i64,
        first: (Nanos, u32),
        control: &Control,
        into: &mut SpanSums,
    ) -> Result<(), Interrupt> {
        let group = self.group_of.get(first.1 as usize).copied().unwrap_or_default();
        let sum = SpanSum { sum: i128::from(value), first };
        let before = into.len();
        into.entry((group, key)).and_modify(|known| known.add(&sum)).or_insert(sum);
        match into.len() > before {
            true => control.charge(SPAN_BYTES),
            false => Ok(()),
        }
    }
}

impl SpanSum {
    fn add(&mut self, other: &Self) {
        self.sum += other.sum;
        self.first = self.first.min(other.first);
    }
}

/// The spans as rows, in no order.
pub(crate) fn rows(sums: &SpanSums) -> impl Iterator<Item = SpanRow> {
    sums.iter().map(|(&(group, key), sum)| {
        let (time, position) = sum.first;
        SpanRow { group, key, position, time, total: clamp(sum.sum) }
    })
}

/// Whether statistics say that no sample of a row group has a span: most programs send none.
fn has_no_spans(unit: &Unit) -> bool {
    let metadata = unit.source.metadata();
    let columns = metadata.file_metadata().schema_descr().columns();
    let Some(at) = columns.iter().position(|column| column.path().string() == "span_id") else { return true };
    let Some(group) = metadata.row_groups().get(unit.row_group) else { return false };
    let nulls =
        group.columns().get(at).and_then(|column| column.statistics()).and_then(Statistics::null_count_opt);
    nulls.is_some_and(|nulls| i64::try_from(nulls).is_ok_and(|nulls| nulls == group.num_rows()))
}

impl Engine {
    /// Single spans, the largest first. Dropping the future ends the scan.
    pub async fn span_list(&self, query: &SpanQuery) -> Result<SpanList, Error> {
        query.range.check()?;
        query.area.check()?;
        self.within_limits(|control| self.run_spans(query.clone(), control)).await
    }

    async fn run_spans(&self, query: SpanQuery, control: Arc<Control>) -> Result<SpanList, Error> {
        let (lake, asked) = (self.lake().clone(), query.clone());
        let (snapshot, selection) = blocking(move || {
            let snapshot = lake.snapshot();
            Ok((snapshot, select(&lake, Some(&asked.profile_type), &asked.selector, asked.range)))
        })
        .await?;
        let (snapshot, selection) = (Arc::new(snapshot), Arc::new(selection));
        let found = self.spans_in(&query.area, query.range, &selection, &snapshot, &control).await?;
        let mut rows = found.partial;
        rows.sort_unstable_by(|a, b| {
            b.total.cmp(&a.total).then_with(|| (a.time, a.key).cmp(&(b.time, b.key)))
        });
        rows.truncate(query.limit);
        let spans = rows.into_iter().filter_map(|SpanRow { key, position, time, total, .. }| {
            let series = selection.series.get(position as usize)?.series.clone();
            Some(SpanInfo { span: key.span, trace: key.trace, series, time, total })
        });
        Ok(SpanList { spans: spans.collect(), stats: found.stats, warnings: found.warnings })
    }

    /// The spans of an area, of profiles within `range`, in no order.
    pub(crate) async fn spans_in(
        &self,
        area: &Area,
        range: TimeRange,
        selection: &Arc<Selection>,
        snapshot: &Arc<Snapshot>,
        control: &Arc<Control>,
    ) -> Result<Scanned<Vec<SpanRow>>, Error> {
        let range = range.both(area.times);
        let part = Part { range, window: 0, files: snapshot.samples.clone() };
        let scan = SpanScan { selection: selection.clone(), range, group_of: Vec::new() };
        let found = self.scan(vec![(Arc::new(scan), part)], snapshot, control).await?;
        let Scanned { partial, stats, warnings } = found;
        let partial = rows(&partial).filter(|span| area.values.contains(span.total)).collect();
        Ok(Scanned { partial, stats, warnings })
    }
}
