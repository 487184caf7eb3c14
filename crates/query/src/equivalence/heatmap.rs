//! Heatmaps of profiles and of spans are what a plain loop over all rows counts.

use super::*;
use crate::bands::Bands;
use crate::heatmap::{BoundsScan, CellScan};
use crate::spans::{self, SpanRow, SpanScan};
use std::num::NonZeroU16;

/// Count, and the time and value of the largest, by group, point and band.
type Counted = BTreeMap<(Labels, i64, u16), (u64, i64, i64)>;

/// Counts entries of group, time and value as the documentation of a heatmap says.
fn count(query: &HeatmapQuery, entries: &[(Labels, i64, i64)]) -> (Option<ValueRange>, Counted) {
    let covered = |time: i64| {
        let mut point = query.range.from;
        while point <= query.range.until {
            if TimeRange::new(point - query.step + 1, point).contains(time) {
                return Some(point);
            }
            point += query.step;
        }
        None
    };
    let entries: Vec<_> = entries.iter().filter_map(|entry| Some((entry, covered(entry.1)?))).collect();
    let found = entries.iter().map(|((.., value), _)| *value).filter(|value| query.values.contains(*value));
    let found = ValueRange::around(found);
    let mut counted = Counted::new();
    let Some(bands) = Bands::new(query.values, found, query.bands) else { return (None, counted) };
    let values = bands.values;
    for ((labels, time, value), point) in entries {
        if values.contains(*value) {
            let band = bands.starts.iter().rposition(|start| start <= value).unwrap() as u16;
            let cell = counted.entry((labels.clone(), point, band)).or_insert((0, *time, *value));
            *cell = match (*value, -*time) > (cell.2, -cell.1) {
                true => (cell.0 + 1, *time, *value),
                false => (cell.0 + 1, cell.1, cell.2),
            };
        }
    }
    (Some(values), counted)
}

fn counted(series: Vec<HeatmapSeries>) -> Counted {
    let cells = series.into_iter().flat_map(|series| {
        series.cells.into_iter().map(move |cell| {
            let exemplar = cell.exemplar.unwrap();
            ((series.labels.clone(), cell.time, cell.band), (cell.count, exemplar.time, exemplar.value))
        })
    });
    cells.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn heatmaps_count(
        case in cases(), layout in layouts(), step in 1i64..4000, bands in 1u16..30, by_pod in any::<bool>(),
        of_spans in any::<bool>(), values in (prop::option::of(-50i64..500), prop::option::of(0i64..2000)),
    ) {
        prop_assume!(case.range != TimeRange::ALL);
        let tables = store(&case.series, &case.rows, layout);
        let mut over_time = SeriesQuery::new(
            case.profile_type.clone(), case.selector.clone(), case.range, step * SECOND / 2,
        );
        over_time.group_by = if by_pod { vec!["pod".into()] } else { Vec::new() };
        let query = HeatmapQuery {
            of: if of_spans { Single::Span } else { Single::Profile },
            profile_type: case.profile_type.clone(),
            selector: case.selector.clone(),
            range: case.range,
            until: case.range.until,
            step: over_time.step,
            bands: NonZeroU16::new(bands).unwrap(),
            values: ValueRange {
                min: values.0.unwrap_or(i64::MIN),
                max: values.1.map_or(i64::MAX, |length| values.0.unwrap_or_default() + length),
            },
            group_by: over_time.group_by.clone(),
            limit: None,
            exemplars: Exemplars::Largest,
        };
        let selection = selection(&case.series, Some(&case.profile_type), &case.selector);
        let grouping = Arc::new(Grouping::new(&over_time, selection.clone()));
        let range = over_time.covered();
        let group = |profile: &TestProfile| {
            let series = &case.series[profile.series].series;
            Labels::from_pairs(query.group_by.iter().map(|name| (name.clone(), label_value(series, name))))
        };
        let control = Control::new(&Limits::default());
        let (got, expect) = if of_spans {
            let group_of = (0..selection.series.len() as u32).map(|position| grouping.group(position)).collect();
            let scan = Arc::new(SpanScan { selection: selection.clone(), range, group_of });
            let found = run(&scan, &tables.samples, &tables.head, range);
            prop_assert_eq!(&found.warnings, &[]);
            let rows: Vec<SpanRow> = spans::rows(&found.partial).collect();
            prop_assert!(rows.iter().all(|row| row.key.trace == u128::from(row.key.span) * 10));
            let totals = rows.iter().map(|row| row.total).filter(|&total| query.values.contains(total));
            let bands = Bands::new(query.values, ValueRange::around(totals), query.bands);
            let mut sums: BTreeMap<(Labels, i64, u64), (i64, i128)> = BTreeMap::new();
            for profile in case.taken(range) {
                for sample in profile.samples.iter().filter(|sample| sample.span > 0) {
                    let time = profile.time * 1000;
                    let key = (group(profile), time.div_euclid(1_000_000), sample.span);
                    let sum = sums.entry(key).or_insert((time, 0));
                    *sum = (sum.0.min(time), sum.1 + i128::from(sample.value));
                }
            }
            let entries: Vec<_> = sums.into_iter().map(|((labels, ..), (time, sum))| (labels, time, clamp(sum))).collect();
            let cells = bands.as_ref().map(|bands| grouping.cells_of_spans(rows.iter().copied(), bands, &control).unwrap());
            ((bands, cells), count(&query, &entries))
        } else {
            let scan = Arc::new(BoundsScan { grouping: grouping.clone(), within: query.values });
            let found = run(&scan, &tables.profiles, &tables.head, range);
            let bands = Bands::new(query.values, found.partial, query.bands);
            let cells = bands.clone().map(|bands| {
                let scan = Arc::new(CellScan { grouping: grouping.clone(), bands });
                run(&scan, &tables.profiles, &tables.head, range).partial
            });
            let entries: Vec<_> = case.taken(range).map(|profile| (group(profile), profile.time * 1000, profile.total())).collect();
            ((bands, cells), count(&query, &entries))
        };
        let (bands, cells) = got;
        let got = cells.map(|cells| grouping.finish_heatmap(&query, cells)).unwrap_or_default();
        let counts: Vec<u64> =
            got.iter().map(|series| series.cells.iter().map(|cell| cell.count).sum()).collect();
        prop_assert!(counts.is_sorted_by(|a, b| a >= b));
        prop_assert_eq!((bands.map(|bands| bands.values), counted(got)), expect);
    }
}

/// A profile with one sample.
fn profile(id: u128, series: usize, second: i64, value: i64, span: u64) -> (TestProfile, usize) {
    let samples = vec![TestSample { stack: 1, value, span }];
    (TestProfile { series, id: ProfileId(id), time: second * 1_000_000, duration: 0, samples }, 0)
}

/// Asks for CPU time of all services by pod, with points a minute apart until the third minute.
fn question(of: Single) -> HeatmapQuery {
    HeatmapQuery {
        of,
        profile_type: CPU.parse().unwrap(),
        selector: Selector::all(),
        range: TimeRange::new(0, 180 * SECOND),
        until: 180 * SECOND,
        step: 60 * SECOND,
        bands: NonZeroU16::new(20).unwrap(),
        values: ValueRange::ALL,
        group_by: Vec::new(),
        limit: None,
        exemplars: Exemplars::Largest,
    }
}

fn grouped(series: &[SeriesMatch], query: &HeatmapQuery) -> Arc<Grouping> {
    let selection = selection(series, Some(&query.profile_type), &query.selector);
    Arc::new(Grouping::new(&query.over_time(), selection))
}

const LAYOUT: Layout = Layout { group_rows: 10, page_rows: 10, dictionary: true, deltas: false, cut: true };

#[test]
fn heatmaps_that_count_most_are_kept() {
    let series = series();
    // Three small ones of a pod, two of another, and a huge one.
    let rows = [(3, 5000), (4, 5), (4, 5), (4, 5), (5, 7), (5, 7)].into_iter().zip(1..);
    let rows: Vec<_> = rows.map(|((series, value), at)| profile(at, series, at as i64, value, 0)).collect();
    let tables = store(&series, &rows, LAYOUT);
    let check = |limit: Option<usize>, expect: &[(&str, u64)]| {
        let query = HeatmapQuery { group_by: vec!["pod".into()], limit, ..question(Single::Profile) };
        let grouping = grouped(&series, &query);
        let bands = Bands::new(query.values, Some(ValueRange { min: 5, max: 5000 }), query.bands).unwrap();
        let scan = Arc::new(CellScan { grouping: grouping.clone(), bands });
        let cells = run(&scan, &tables.profiles, &tables.head, grouping.covered).partial;
        let got = grouping.finish_heatmap(&query, cells);
        let count = |series: &HeatmapSeries| series.cells.iter().map(|cell| cell.count).sum();
        let got: Vec<(&str, u64)> =
            got.iter().map(|series| (series.labels.get("pod"), count(series))).collect();
        assert_eq!(got, expect);
    };
    check(None, &[("1", 3), ("2", 2), ("", 1)]);
    check(Some(2), &[("1", 3), ("2", 2)]);
}

#[test]
fn a_span_counts_once_for_each_profile() {
    let series = series();
    let rows = [
        profile(1, 3, 0, 30, 170),
        // Two label sets of one upload.
        profile(2, 3, 60, 40, 170),
        profile(2, 4, 60, 10, 170),
        profile(3, 3, 120, 20, 170),
        profile(3, 3, 120, 5, 0),
    ];
    let tables = store(&series, &rows, LAYOUT);
    let query = question(Single::Span);
    let grouping = grouped(&series, &query);
    let scan =
        SpanScan { selection: grouping.selection.clone(), range: grouping.covered, group_of: Vec::new() };
    let found = run(&Arc::new(scan), &tables.samples, &tables.head, grouping.covered).partial;
    let bands = Bands::new(query.values, Some(ValueRange { min: 20, max: 50 }), query.bands).unwrap();
    let cells = grouping.cells_of_spans(spans::rows(&found), &bands, &Control::new(&Limits::default()));
    let found = grouping.finish_heatmap(&query, cells.unwrap());
    let cells = found.iter().flat_map(|series| &series.cells);
    let got = cells.map(|cell| {
        let HeatmapExemplar { span, trace, time, value, .. } = *cell.exemplar.as_ref().unwrap();
        (cell.time / SECOND, cell.count, span, trace, time / SECOND, value)
    });
    let expect = [(0, 1, 170, 1700, 0, 30), (60, 1, 170, 1700, 60, 50), (120, 1, 170, 1700, 120, 20)];
    assert_eq!(got.collect::<Vec<_>>(), expect);
}
