//! The engine: turns a question into scans over one snapshot of the lake, within the limits.

use crate::buckets::Buckets;
use crate::cover::{Detail, Part, Table, cover};
use crate::heatmap::{Area, Single};
use crate::merged::clamp;
use crate::profiles::ProfileScan;
use crate::samples::{SampleFilter, StackScan, Sums};
use crate::scan::{self, Control, Interrupt, Scan, ScanStats, Scanned, Shared};
use crate::selection::Selection;
use crate::symbolize::symbolize;
use crate::time_series::{CallSiteScan, Exemplars, Grouping};
use crate::totals::TotalScan;
use crate::{Aggregation, Error, Limits, Merged, Order, ProfileInfo, ProfileList, ProfileQuery};
use crate::{Matcher, Selector, SeriesQuery, TimeRange, TimeSeries, TimeSeriesAnswer};
use everflame_lake::{CacheStatus, Lake, Level, ProfileId, Snapshot};
use everflame_profile::{Nanos, ProfileType, StackId};
use everflame_symbols::Symbolizer;
use hashbrown::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;
use tokio::sync::Semaphore;

/// Asks for the samples of one type, added up by stack.
#[derive(Clone, Debug)]
pub struct StackQuery {
    /// What is measured.
    pub profile_type: ProfileType,
    /// Which series.
    pub selector: Selector,
    /// When the profiles started.
    pub range: TimeRange,
    /// Only stacks that begin with these function names, root first; all when empty.
    pub call_site: Vec<String>,
    /// Only samples taken during these spans; all when empty. Not together with `traces`.
    pub spans: Vec<u64>,
    /// Only samples of these profiles; all when empty.
    pub profiles: Vec<ProfileId>,
    /// Only samples taken during these traces; all when empty.
    pub traces: Vec<u128>,
    /// Only samples of the profiles, or spans, in this part of a heatmap. Not together with `spans`,
    /// `profiles` and `traces`.
    pub area: Option<Area>,
}

impl StackQuery {
    /// All samples of the series that `selector` takes.
    pub fn new(profile_type: ProfileType, selector: Selector, range: TimeRange) -> Self {
        Self {
            profile_type,
            selector,
            range,
            call_site: Vec::new(),
            spans: Vec::new(),
            profiles: Vec::new(),
            traces: Vec::new(),
            area: None,
        }
    }

    fn check(&self) -> Result<(), Error> {
        if !self.spans.is_empty() && !self.traces.is_empty() {
            return Err(Error::SpansAndTraces);
        }
        if let Some(area) = &self.area {
            area.check()?;
            if !(self.spans.is_empty() && self.profiles.is_empty() && self.traces.is_empty()) {
                return Err(Error::AreaAndIds);
            }
        }
        self.range.check()
    }
}

/// When the profiles in the lake were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first, nanoseconds since the epoch.
    pub first: Nanos,
    /// The last, nanoseconds since the epoch.
    pub last: Nanos,
    /// How many there are.
    pub profiles: u64,
}

/// Answers queries on one lake. Cheap to share through an [`Arc`].
pub struct Engine {
    lake: Arc<Lake>,
    limits: Limits,
    turns: Arc<Semaphore>,
    shared: Shared,
    symbolizer: Option<Arc<Symbolizer>>,
}

impl Engine {
    /// An engine on `lake`; every query keeps within `limits`.
    pub fn new(lake: Arc<Lake>, limits: Limits) -> Self {
        let turns = Arc::new(Semaphore::new(limits.concurrency.max(1)));
        let shared = Shared { footers: lake.footers().clone(), ..Shared::default() };
        Self { lake, limits, turns, shared, symbolizer: None }
    }

    /// The same, with names from debug files for what was stored without.
    pub fn with_symbolizer(self, symbolizer: Arc<Symbolizer>) -> Self {
        Self { symbolizer: Some(symbolizer), ..self }
    }

    /// What it gets names from, for what was stored without.
    pub fn symbolizer(&self) -> Option<&Arc<Symbolizer>> {
        self.symbolizer.as_ref()
    }

    /// The same engine for queries that keep within other limits.
    pub(crate) fn with_limits(&self, limits: Limits) -> Self {
        let (lake, turns, shared) = (self.lake.clone(), self.turns.clone(), self.shared.clone());
        Self { lake, limits, turns, shared, symbolizer: self.symbolizer.clone() }
    }

    /// The limits that it keeps to.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How full the cache of results is.
    pub fn cache_status(&self) -> CacheStatus {
        self.shared.cache.status()
    }

    /// Bytes of memory that the queries which run came to need.
    pub fn memory(&self) -> u64 {
        self.shared.pool.load(Relaxed)
    }

    /// The control of a statement that is not one of the engine's own queries.
    #[cfg(feature = "sql")]
    pub(crate) fn control(&self) -> Control {
        Control::sharing(&self.limits, self.shared.clone())
    }

    pub(crate) fn lake(&self) -> &Arc<Lake> {
        &self.lake
    }

    /// Samples added up by stack. Dropping the future ends the scan.
    pub async fn stacks(&self, query: &StackQuery) -> Result<Merged, Error> {
        query.check()?;
        self.within_limits(|control| self.run_stacks(query.clone(), None, control)).await
    }

    /// The same over what was stored when `snapshot` was taken.
    #[cfg(feature = "sql")]
    pub(crate) async fn stacks_in(&self, snapshot: Snapshot, query: &StackQuery) -> Result<Merged, Error> {
        query.check()?;
        self.within_limits(|control| self.run_stacks(query.clone(), Some(snapshot), control)).await
    }

    /// Totals over time; see [`Engine::time_series_answer`]. Files that cannot be read are logged.
    pub async fn time_series(&self, query: &SeriesQuery) -> Result<Vec<TimeSeries>, Error> {
        Ok(self.time_series_answer(query).await?.series)
    }

    /// Totals over time, with what was read and what could not be. Dropping the future ends the scan.
    pub async fn time_series_answer(&self, query: &SeriesQuery) -> Result<TimeSeriesAnswer, Error> {
        query.check(&self.limits)?;
        self.within_limits(|control| self.run_time_series(query.clone(), control)).await
    }

    /// Single profiles; see [`Engine::profile_list`]. Files that cannot be read are logged.
    pub async fn profiles(&self, query: &ProfileQuery) -> Result<Vec<ProfileInfo>, Error> {
        Ok(self.profile_list(query).await?.profiles)
    }

    /// Single profiles, with what was read and what could not be. Dropping the future ends the scan.
    pub async fn profile_list(&self, query: &ProfileQuery) -> Result<ProfileList, Error> {
        query.range.check()?;
        query.totals.check()?;
        self.within_limits(|control| self.run_profiles(query.clone(), control)).await
    }

    /// When the first and the last profile were taken; `None` when there is none.
    pub fn bounds(&self) -> Option<Bounds> {
        let snapshot = self.lake.snapshot();
        let sums = snapshot.tiers.iter().flat_map(|tier| {
            // What is not summed yet is newer than all windows, or lies in the files.
            let last = tier.tier.micros() - 1;
            tier.profiles.iter().map(move |file| (&file.stats, last, 0))
        });
        let files = snapshot.profiles.iter().map(|file| (&file.stats, 0, file.stats.rows));
        let files = files.chain(sums).filter(|(stats, ..)| stats.rows > 0);
        let files = files.map(|(stats, last, rows)| {
            let until = stats.max_time.saturating_add(last);
            (stats.min_time.saturating_mul(1000), until.saturating_mul(1000), rows)
        });
        let head = snapshot.head.iter().flat_map(|chunk| &chunk.profiles);
        let head = head.map(|profile| (profile.time, profile.time, 1));
        files.chain(head).fold(None, |bounds: Option<Bounds>, (first, last, profiles)| {
            let known = bounds.unwrap_or(Bounds { first, last, profiles: 0 });
            Some(Bounds {
                first: known.first.min(first),
                last: known.last.max(last),
                profiles: known.profiles + profiles,
            })
        })
    }

    /// Waits for a turn, runs, and ends all scans when the time is over or nobody waits any more.
    pub(crate) async fn within_limits<T: Answer, F: Future<Output = Result<T, Error>>>(
        &self,
        run: impl FnOnce(Arc<Control>) -> F,
    ) -> Result<T, Error> {
        let begin = Instant::now();
        let control = Arc::new(Control::sharing(&self.limits, self.shared.clone()));
        let _cancel = CancelOnDrop(control.clone());
        let answer = tokio::time::timeout(self.limits.time, async {
            let turn = self.turns.clone().acquire_owned().await;
            control.hold(turn.map_err(|error| Error::Stopped(error.to_string()))?);
            run(control.clone()).await
        });
        let mut answer = answer.await.map_err(|_| Error::Timeout(self.limits.time))??;
        let stats = answer.stats();
        (stats.bytes, stats.elapsed) = (control.bytes_read(), begin.elapsed());
        Ok(answer)
    }

    /// Where names come from.
    fn names(&self) -> Names {
        Names { lake: self.lake.clone(), symbolizer: self.symbolizer.clone() }
    }

    async fn run_stacks(
        &self,
        query: StackQuery,
        snapshot: Option<Snapshot>,
        control: Arc<Control>,
    ) -> Result<Merged, Error> {
        let (lake, shared) = (self.lake.clone(), control.clone());
        let asked = query.clone();
        let (snapshot, selection, level) = blocking(move || {
            let snapshot = snapshot.unwrap_or_else(|| lake.snapshot());
            let mut selection = select(&lake, Some(&asked.profile_type), &asked.selector, asked.range);
            let level = level(&snapshot, &asked.selector, &[], &mut selection);
            Ok((snapshot, selection, level))
        })
        .await?;
        let (snapshot, selection) = (Arc::new(snapshot), Arc::new(selection));
        let mut range = query.range;
        let mut filter = SampleFilter {
            spans: (!query.spans.is_empty()).then(|| query.spans.iter().copied().collect()),
            traces: (!query.traces.is_empty()).then(|| query.traces.iter().copied().collect()),
            ..SampleFilter::default()
        };
        let mut first = Scanned::<()>::default();
        let area = query.area.unwrap_or(Area::of_profiles());
        if query.area.is_some() && area.of == Single::Span {
            let found = self.spans_in(&area, range, &selection, &snapshot, &control).await?;
            range = range.both(area.times);
            filter.spans_of_profiles = Some(found.partial.iter().map(|span| span.key).collect());
            first = Scanned { partial: (), stats: found.stats, warnings: found.warnings };
        } else if query.area.is_some() || !query.profiles.is_empty() {
            range = range.both(area.times);
            let scan = ProfileScan {
                selection: selection.clone(),
                range,
                ids: query.profiles.iter().copied().collect(),
                totals: area.values,
                order: Order::OldestFirst,
                limit: usize::MAX,
            };
            let part = Part { range, window: 0, files: snapshot.profiles.clone() };
            let found = self.scan(vec![(Arc::new(scan), part)], &snapshot, &control).await?;
            let times = || found.partial.iter().map(|row| row.time);
            range = match (times().min(), times().max()) {
                (Some(from), Some(until)) => TimeRange { from, until },
                _ => TimeRange { from: 0, until: -1 },
            };
            let rows = found.partial.iter();
            filter.profiles = Some(rows.map(|row| (row.position, row.time.div_euclid(1000))).collect());
            first = Scanned { partial: (), stats: found.stats, warnings: found.warnings };
        }
        let parts = match filter.is_none() {
            true => cover(&snapshot, Table::Samples, level, range, Detail::Sum),
            // Sums know neither spans nor single profiles.
            false => vec![Part { range, window: 0, files: snapshot.samples.clone() }],
        };
        let mut filter = Some(filter);
        let scans = parts.into_iter().map(|part| {
            // There is one part when there is a filter.
            let filter = filter.take().unwrap_or_default();
            (Arc::new(StackScan { selection: selection.clone(), range: part.range, filter }), part)
        });
        let mut scanned = self.scan(scans.collect(), &snapshot, &control).await?;
        scanned.stats.add(&first.stats);
        scanned.warnings.extend(first.warnings);
        let names = self.names();
        blocking(move || {
            let resolved = merged(&names, &selection, scanned, &query.call_site, &shared);
            drop(snapshot);
            resolved
        })
        .await
    }

    async fn run_time_series(
        &self,
        query: SeriesQuery,
        control: Arc<Control>,
    ) -> Result<TimeSeriesAnswer, Error> {
        let range = query.covered();
        let (lake, asked) = (self.lake.clone(), query.clone());
        let (snapshot, grouping, level) = blocking(move || {
            let snapshot = lake.snapshot();
            let mut selection = select(&lake, Some(&asked.profile_type), &asked.selector, range);
            let level = level(&snapshot, &asked.selector, &asked.group_by, &mut selection);
            Ok((snapshot, Grouping::new(&asked, Arc::new(selection)), level))
        })
        .await?;
        let (snapshot, grouping) = (Arc::new(snapshot), Arc::new(grouping));
        let selection = grouping.selection.clone();
        let mut answer = TimeSeriesAnswer::default();
        let (mut sums, mut counts) = (Buckets::default(), Buckets::default());
        if !query.call_site.is_empty() {
            let parts = cover(&snapshot, Table::Samples, level, range, Detail::Sum).into_iter();
            let scans = parts.map(|part| {
                let filter = SampleFilter::default();
                (Arc::new(StackScan { selection: selection.clone(), range: part.range, filter }), part)
            });
            let scanned = self.scan(scans.collect(), &snapshot, &control).await?;
            let (names, of, call_site) = (self.names(), selection.clone(), query.call_site.clone());
            let shared = control.clone();
            let below = blocking(move || merged(&names, &of, scanned, &call_site, &shared)).await?;
            let stacks: Arc<HashSet<_>> = Arc::new(below.ids.iter().copied().collect());
            let parts = cover(&snapshot, Table::Samples, level, range, Detail::Times).into_iter();
            let scans = parts.map(|part| {
                let (grouping, stacks) = (grouping.clone(), stacks.clone());
                (Arc::new(CallSiteScan { grouping, stacks, part: part.range, window: part.window }), part)
            });
            let scanned = self.scan(scans.collect(), &snapshot, &control).await?;
            answer.stats.add(&below.stats);
            answer.stats.add(&scanned.stats);
            answer.warnings.extend(below.warnings);
            sums = scanned.partial;
        }
        if query.call_site.is_empty() || query.aggregation == Aggregation::Average {
            let exemplars = if query.call_site.is_empty() { query.exemplars } else { Exemplars::None };
            let parts = cover(&snapshot, Table::Profiles, level, range, Detail::Times).into_iter();
            let scans = parts.map(|part| {
                let grouping = grouping.clone();
                (Arc::new(TotalScan { grouping, exemplars, part: part.range, window: part.window }), part)
            });
            let scanned = self.scan(scans.collect(), &snapshot, &control).await?;
            answer.stats.add(&scanned.stats);
            answer.warnings.extend(scanned.warnings);
            match query.call_site.is_empty() {
                true => sums = scanned.partial,
                false => counts = scanned.partial,
            }
        }
        answer.series = grouping.finish(&query, sums, &counts);
        Ok(answer)
    }

    async fn run_profiles(&self, query: ProfileQuery, control: Arc<Control>) -> Result<ProfileList, Error> {
        let (lake, asked) = (self.lake.clone(), query.clone());
        let (snapshot, selection) = blocking(move || {
            let snapshot = lake.snapshot();
            Ok((snapshot, select(&lake, asked.profile_type.as_ref(), &asked.selector, asked.range)))
        })
        .await?;
        let (snapshot, selection) = (Arc::new(snapshot), Arc::new(selection));
        let part = Part { range: query.range, window: 0, files: snapshot.profiles.clone() };
        let scan = Arc::new(ProfileScan {
            selection,
            range: query.range,
            ids: query.ids.iter().copied().collect(),
            totals: query.totals,
            order: query.order,
            limit: query.limit,
        });
        let scanned = self.scan(vec![(scan.clone(), part)], &snapshot, &control).await?;
        let profiles = scan.finish(scanned.partial);
        Ok(ProfileList { profiles, stats: scanned.stats, warnings: scanned.warnings })
    }

    /// Scans parts of a range, and the head for each.
    pub(crate) async fn scan<S: Scan>(
        &self,
        parts: Vec<(Arc<S>, Part)>,
        snapshot: &Arc<Snapshot>,
        control: &Arc<Control>,
    ) -> Result<Scanned<S::Partial>, Error> {
        let (snapshot, planned) = (snapshot.clone(), control.clone());
        let plan = blocking(move || scan::plan(parts, &snapshot.head, &planned)).await?;
        scan::run(plan, control, self.limits.threads).await
    }
}

/// What every answer tells of its making.
pub(crate) trait Answer {
    fn stats(&mut self) -> &mut ScanStats;
}

impl Answer for Merged {
    fn stats(&mut self) -> &mut ScanStats {
        &mut self.stats
    }
}

impl Answer for TimeSeriesAnswer {
    fn stats(&mut self) -> &mut ScanStats {
        &mut self.stats
    }
}

impl Answer for ProfileList {
    fn stats(&mut self) -> &mut ScanStats {
        &mut self.stats
    }
}

struct CancelOnDrop(Arc<Control>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Stopped(error.to_string()))?
}

pub(crate) fn select(
    lake: &Lake,
    profile_type: Option<&ProfileType>,
    selector: &Selector,
    range: TimeRange,
) -> Selection {
    Selection::new(profile_type, selector, |taken| lake.series(range.from, range.until, taken))
}

/// Of which series sums may be read: without the labels that have many values when the question names none
/// of them. The series that those sums are of become a part of `selection`.
fn level(snapshot: &Snapshot, selector: &Selector, group_by: &[String], selection: &mut Selection) -> Level {
    let dropped = &snapshot.dropped_labels;
    let names = selector.matchers().iter().map(Matcher::name).chain(group_by.iter().map(String::as_str));
    if names.into_iter().any(|name| dropped.iter().any(|label| label == name)) {
        return Level::Series;
    }
    selection.add_reduced(dropped);
    Level::Service
}

/// What a frame of a stack takes in an answer and in the tree that is made of it, at most.
const FRAME_BYTES: usize = 48;

/// What a distinct frame takes in an answer beside its texts.
const SYMBOL_BYTES: usize = 80;

/// What names the frames of stacks.
struct Names {
    lake: Arc<Lake>,
    symbolizer: Option<Arc<Symbolizer>>,
}

/// Looks up the frames of what a scan found.
fn merged(
    names: &Names,
    selection: &Selection,
    scanned: Scanned<Sums>,
    call_site: &[String],
    control: &Control,
) -> Result<Merged, Error> {
    let Scanned { partial, stats, warnings } = scanned;
    let mut sums: Vec<(StackId, i128)> = partial.into_iter().collect();
    sums.sort_unstable_by_key(|(id, _)| *id);
    let ids: Vec<StackId> = sums.iter().map(|(id, _)| *id).collect();
    let values = sums.iter().map(|(_, sum)| clamp(*sum)).collect();
    let stacks = names.lake.resolve_stacks(&selection.services(), &ids)?;
    let stacks = match &names.symbolizer {
        Some(symbolizer) => symbolize(stacks, symbolizer),
        None => stacks,
    };
    let symbols = &stacks.symbols;
    let bytes = stacks.frames.len() * FRAME_BYTES
        + symbols.frames.len() * SYMBOL_BYTES
        + symbols.strings.text_bytes();
    if let Err(Interrupt::TooLarge(error)) = control.charge(bytes) {
        return Err(error);
    }
    Ok(Merged { ids, stacks, values, stats, warnings }.keep_below(call_site))
}
