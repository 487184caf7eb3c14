//! Heatmaps: how many single profiles, or spans, fell into each step of time and each band of values.
//!
//! Bands are of equal width between two values, which are found by a scan of their own when the question
//! does not name them. Cells are kept only where something fell into; their number counts as memory.

use crate::bands::Bands;
use crate::cover::Part;
use crate::engine::{Answer, blocking, select};
use crate::plan::Unit;
use crate::profiles::{COLUMNS, ProfileRow, rows_of_head, rows_of_unit};
use crate::scan::{Control, Interrupt, Scan, Scanned};
use crate::selection::Selection;
use crate::spans::{self, SpanKey, SpanRow, SpanScan};
use crate::time_series::Grouping;
use crate::{
    Engine, Error, Exemplars, Limits, ScanStats, Selector, SeriesQuery, TimeRange, ValueRange, Warning,
};
use everflame_lake::{HeadChunk, ProfileId};
use everflame_profile::{Labels, Nanos, ProfileType};
use hashbrown::HashMap;
use std::mem::size_of;
use std::num::NonZeroU16;
use std::sync::Arc;

/// What is counted: each has a time and a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Single {
    /// A profile, with its total.
    #[default]
    Profile,
    /// A span of a profile, with the sum of its samples there, at the time of the profile.
    Span,
}

/// A part of a heatmap: what lies between two times and two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// What is looked at.
    pub of: Single,
    /// Their times.
    pub times: TimeRange,
    /// Their values.
    pub values: ValueRange,
}

impl Area {
    /// All profiles.
    pub fn of_profiles() -> Self {
        Self { of: Single::Profile, times: TimeRange::ALL, values: ValueRange::ALL }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        self.times.check()?;
        self.values.check()
    }
}

/// Asks how many profiles, or spans, there are by time and value.
#[derive(Clone, Debug)]
pub struct HeatmapQuery {
    /// What is counted.
    pub of: Single,
    /// What is measured.
    pub profile_type: ProfileType,
    /// Which series.
    pub selector: Selector,
    /// First and last point; each covers what lies within one step before it.
    pub range: TimeRange,
    /// The end of what is counted, nanoseconds since the epoch: the last point, or before it when that is not
    /// over.
    pub until: Nanos,
    /// Nanoseconds between two points.
    pub step: Nanos,
    /// How many bands of values there are.
    pub bands: NonZeroU16,
    /// The values that the bands lie between. Where it is open it ends at the smallest or the largest value that
    /// is there.
    pub values: ValueRange,
    /// One heatmap for each combination of values of these labels; one for all when empty.
    pub group_by: Vec<String>,
    /// At most so many heatmaps, those that count most.
    pub limit: Option<usize>,
    /// Whether cells name what is largest in them.
    pub exemplars: Exemplars,
}

impl HeatmapQuery {
    /// The question about totals over time that has the same groups and points.
    pub(crate) fn over_time(&self) -> SeriesQuery {
        let (profile_type, selector) = (self.profile_type.clone(), self.selector.clone());
        let mut query = SeriesQuery::new(profile_type, selector, self.range, self.step);
        query.group_by = self.group_by.clone();
        query
    }

    fn check(&self, limits: &Limits) -> Result<(), Error> {
        self.values.check()?;
        self.over_time().check(limits)
    }
}

/// How many profiles, or spans, there are by time and value.
#[derive(Clone, Debug, Default)]
pub struct Heatmap {
    /// The values that the bands lie between: where the question left an end open, the least or the largest that
    /// was found, or 0 when all are below. `None` when nothing was found.
    pub values: Option<ValueRange>,
    /// Where each band begins: its first value.
    pub bands: Vec<i64>,
    /// The heatmaps, the one that counts most first.
    pub series: Vec<HeatmapSeries>,
    /// What was read.
    pub stats: ScanStats,
    /// What could not be read.
    pub warnings: Vec<Warning>,
}

impl Answer for Heatmap {
    fn stats(&mut self) -> &mut ScanStats {
        &mut self.stats
    }
}

/// The heatmap of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatmapSeries {
    /// The labels it is grouped by.
    pub labels: Labels,
    /// The cells that something fell into, by time and band.
    pub cells: Vec<HeatmapCell>,
}

/// A step of time and a band of values that something fell into.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatmapCell {
    /// End of the step, nanoseconds since the epoch; it belongs to it.
    pub time: Nanos,
    /// Position of the band, the lowest is 0.
    pub band: u16,
    /// How many fell into it.
    pub count: u64,
    /// The one with the largest value, when it was asked for.
    pub exemplar: Option<HeatmapExemplar>,
}

/// A profile or a span worth a look.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatmapExemplar {
    /// The profile; `None` for a span.
    pub profile: Option<ProfileId>,
    /// The span; 0 for a profile.
    pub span: u64,
    /// The trace that the span belongs to; 0 when that is not known.
    pub trace: u128,
    /// When it began, nanoseconds since the epoch.
    pub time: Nanos,
    /// Its value.
    pub value: i64,
    /// The labels of its series by which it was not grouped.
    pub labels: Labels,
}

/// The one with the largest value in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Largest {
    value: i64,
    time: Nanos,
    position: u32,
    profile: Option<ProfileId>,
    span: u64,
    trace: u128,
}

impl Largest {
    /// The same one is chosen in whatever order they come.
    fn beats(&self, other: &Self) -> bool {
        let key = |of: &Self| (of.time, of.profile, of.span, of.trace, of.position);
        self.value > other.value || self.value == other.value && key(self) < key(other)
    }
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    count: u64,
    largest: Largest,
}

/// What fell into cells, by group, point and band.
#[derive(Debug, Default)]
pub(crate) struct Cells(HashMap<(u32, u32, u16), Cell>);

/// About what a cell takes, the spare room of the map included, and again in the answer.
const CELL_BYTES: usize = 2 * size_of::<((u32, u32, u16), Cell)>() + size_of::<HeatmapCell>();

impl Cells {
    fn add(
        &mut self,
        group: u32,
        point: u32,
        band: u16,
        largest: Largest,
        control: &Control,
    ) -> Result<(), Interrupt> {
        let before = self.0.len();
        let cell = self.0.entry((group, point, band)).or_insert(Cell { count: 0, largest });
        cell.add(&Cell { count: 1, largest });
        match self.0.len() > before {
            true => control.charge(CELL_BYTES),
            false => Ok(()),
        }
    }

    fn merge(&mut self, other: Self) {
        for (key, cell) in other.0 {
            self.0.entry(key).and_modify(|known| known.add(&cell)).or_insert(cell);
        }
    }
}

impl Cell {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        if other.largest.beats(&self.largest) {
            self.largest = other.largest;
        }
    }
}

/// Finds the smallest and the largest total within a range.
pub(crate) struct BoundsScan {
    pub(crate) grouping: Arc<Grouping>,
    pub(crate) within: ValueRange,
}

impl Scan for BoundsScan {
    type Partial = Option<ValueRange>;

    fn selection(&self) -> &Arc<Selection> {
        &self.grouping.selection
    }

    fn columns(&self, _: &Unit, _: &Control) -> Vec<&'static str> {
        COLUMNS.to_vec()
    }

    fn row_group(&self, unit: &Unit, control: &Control, into: &mut Self::Partial) -> Result<(), Interrupt> {
        rows_of_unit(unit, &self.grouping.selection, control, |row| self.take(&row, into))
    }

    fn head(&self, chunk: &HeadChunk, control: &Control, into: &mut Self::Partial) -> Result<u64, Interrupt> {
        rows_of_head(chunk, &self.grouping.selection, control, |row| self.take(&row, into))
    }

    fn merge(into: &mut Self::Partial, other: Self::Partial) {
        *into = ValueRange::around(into.iter().chain(&other).flat_map(|range| [range.min, range.max]));
    }
}

impl BoundsScan {
    fn take(&self, row: &ProfileRow, into: &mut Option<ValueRange>) -> Result<(), Interrupt> {
        if self.grouping.covered.contains(row.time) && self.within.contains(row.total) {
            let known = into.iter().flat_map(|range| [range.min, range.max]);
            *into = ValueRange::around(known.chain([row.total]));
        }
        Ok(())
    }
}

/// Counts profiles by cell.
pub(crate) struct CellScan {
    pub(crate) grouping: Arc<Grouping>,
    pub(crate) bands: Bands,
}

impl Scan for CellScan {
    type Partial = Cells;

    fn selection(&self) -> &Arc<Selection> {
        &self.grouping.selection
    }

    fn columns(&self, _: &Unit, _: &Control) -> Vec<&'static str> {
        COLUMNS.to_vec()
    }

    fn row_group(&self, unit: &Unit, control: &Control, into: &mut Cells) -> Result<(), Interrupt> {
        rows_of_unit(unit, &self.grouping.selection, control, |row| self.take(&row, control, into))
    }

    fn head(&self, chunk: &HeadChunk, control: &Control, into: &mut Cells) -> Result<u64, Interrupt> {
        rows_of_head(chunk, &self.grouping.selection, control, |row| self.take(&row, control, into))
    }

    fn merge(into: &mut Cells, other: Cells) {
        into.merge(other);
    }
}

impl CellScan {
    fn take(&self, row: &ProfileRow, control: &Control, into: &mut Cells) -> Result<(), Interrupt> {
        let &ProfileRow { position, id, time, total, .. } = row;
        let (Some(point), Some(band)) = (self.grouping.point(time), self.bands.of(total)) else {
            return Ok(());
        };
        let largest = Largest { value: total, time, position, profile: Some(id), span: 0, trace: 0 };
        into.add(self.grouping.group(position), point, band, largest, control)
    }
}

impl Grouping {
    /// The cells of spans.
    pub(crate) fn cells_of_spans(
        &self,
        rows: impl Iterator<Item = SpanRow>,
        bands: &Bands,
        control: &Control,
    ) -> Result<Cells, Interrupt> {
        let mut cells = Cells::default();
        for SpanRow { group, key, position, time, total } in rows {
            let (Some(point), Some(band)) = (self.point(time), bands.of(total)) else { continue };
            let SpanKey { span, trace, .. } = key;
            let largest = Largest { value: total, time, position, profile: None, span, trace };
            cells.add(group, point, band, largest, control)?;
        }
        Ok(cells)
    }

    /// Makes heatmaps of what fell into cells.
    pub(crate) fn finish_heatmap(&self, query: &HeatmapQuery, cells: Cells) -> Vec<HeatmapSeries> {
        let mut sorted: Vec<_> = cells.0.into_iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        let groups = sorted.chunk_by(|((a, ..), _), ((b, ..), _)| a == b).filter_map(|cells| {
            let ((group, ..), _) = cells.first()?;
            let count: u64 = cells.iter().map(|(_, cell)| cell.count).sum();
            let cells = cells.iter().map(|((_, point, band), cell)| HeatmapCell {
                time: self.time(*point),
                band: *band,
                count: cell.count,
                exemplar: match query.exemplars {
                    Exemplars::Largest => self.exemplar(query, &cell.largest),
                    Exemplars::None => None,
                },
            });
            let series = HeatmapSeries { labels: self.labels(*group)?.clone(), cells: cells.collect() };
            Some((count, series))
        });
        let mut groups: Vec<_> = groups.collect();
        groups.sort_by(|(a, left), (b, right)| b.cmp(a).then_with(|| left.labels.cmp(&right.labels)));
        groups.into_iter().map(|(_, series)| series).take(query.limit.unwrap_or(usize::MAX)).collect()
    }

    fn exemplar(&self, query: &HeatmapQuery, largest: &Largest) -> Option<HeatmapExemplar> {
        let &Largest { value, time, position, profile, span, trace } = largest;
        let labels = self.other_labels(position, &query.group_by)?;
        Some(HeatmapExemplar { profile, span, trace, time, value, labels })
    }
}

impl Engine {
    /// How many profiles, or spans, there are by time and value. Dropping the future ends the scan.
    pub async fn heatmap(&self, query: &HeatmapQuery) -> Result<Heatmap, Error> {
        query.check(self.limits())?;
        self.within_limits(|control| self.run_heatmap(query.clone(), control)).await
    }

    async fn run_heatmap(&self, query: HeatmapQuery, control: Arc<Control>) -> Result<Heatmap, Error> {
        let (lake, asked) = (self.lake().clone(), query.over_time());
        let (snapshot, grouping) = blocking(move || {
            let snapshot = lake.snapshot();
            let covered = asked.covered().both(TimeRange { from: Nanos::MIN, until: query.until });
            let selection = select(&lake, Some(&asked.profile_type), &asked.selector, covered);
            let mut grouping = Grouping::new(&asked, Arc::new(selection));
            grouping.covered = covered;
            Ok((snapshot, grouping))
        })
        .await?;
        let (snapshot, grouping) = (Arc::new(snapshot), Arc::new(grouping));
        let range = grouping.covered;
        let profiles = || Part { range, window: 0, files: snapshot.profiles.clone() };
        let mut heatmap = Heatmap::default();
        let cells = match query.of {
            Single::Profile => {
                let mut bounds = None;
                if query.values.is_open() {
                    let scan = Arc::new(BoundsScan { grouping: grouping.clone(), within: query.values });
                    let found = self.scan(vec![(scan, profiles())], &snapshot, &control).await?;
                    heatmap.took(found.stats, found.warnings);
                    bounds = found.partial;
                }
                let Some(bands) = Bands::new(query.values, bounds, query.bands) else { return Ok(heatmap) };
                heatmap.between(&bands);
                let scan = Arc::new(CellScan { grouping: grouping.clone(), bands });
                let Scanned { partial, stats, warnings } =
                    self.scan(vec![(scan, profiles())], &snapshot, &control).await?;
                heatmap.took(stats, warnings);
                partial
            }
            Single::Span => {
                let selection = grouping.selection.clone();
                let positions = 0..selection.series.len() as u32;
                let group_of = positions.map(|position| grouping.group(position)).collect();
                let scan = Arc::new(SpanScan { selection, range, group_of });
                let part = Part { range, window: 0, files: snapshot.samples.clone() };
                let Scanned { partial, stats, warnings } =
                    self.scan(vec![(scan, part)], &snapshot, &control).await?;
                heatmap.took(stats, warnings);
                let totals = spans::rows(&partial).map(|row| row.total);
                let bounds = ValueRange::around(totals.filter(|&total| query.values.contains(total)));
                let Some(bands) = Bands::new(query.values, bounds, query.bands) else { return Ok(heatmap) };
                heatmap.between(&bands);
                let (grouping, control) = (grouping.clone(), control.clone());
                blocking(move || {
                    grouping.cells_of_spans(spans::rows(&partial), &bands, &control).map_err(|error| {
                        match error {
                            Interrupt::TooLarge(error) => error,
                            other => Error::Stopped(format!("{other:?}")),
                        }
                    })
                })
                .await?
            }
        };
        heatmap.series = grouping.finish_heatmap(&query, cells);
        Ok(heatmap)
    }
}

impl Heatmap {
    fn took(&mut self, stats: ScanStats, warnings: Vec<Warning>) {
        self.stats.add(&stats);
        self.warnings.extend(warnings);
        self.warnings.dedup();
    }

    fn between(&mut self, bands: &Bands) {
        self.values = Some(bands.values);
        self.bands.clone_from(&bands.starts);
    }
}
