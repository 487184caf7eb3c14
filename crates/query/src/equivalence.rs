//! Tests that every scan gives what a plain loop over all rows gives, however rows are laid out over files,
//! row groups, pages and the head.

use crate::buckets::Buckets;
use crate::cover::Part;
use crate::merged::clamp;
use crate::profiles::ProfileScan;
use crate::samples::{SampleFilter, StackScan};
use crate::scan::{self, Control, Interrupt, Scan, Scanned, Shared};
use crate::selection::{Selection, label_value};
use crate::spans::SpanKey;
use crate::test_tables::*;
use crate::time_series::{CallSiteScan, Grouping};
use crate::totals::TotalScan;
use crate::*;
use everflame_lake::{DataFile, HeadChunk, ProfileId, SeriesMatch};
use everflame_profile::{Labels, ProfileType, StackId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

mod heatmap;

const SECOND: i64 = 1_000_000_000;
const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

const SELECTORS: [&str; 9] = [
    "{}",
    r#"{service_name="a"}"#,
    r#"{service_name=~"a.*"}"#,
    r#"{service_name!="a"}"#,
    r#"{pod="1"}"#,
    r#"{pod=""}"#,
    r#"{service_name="b", pod!~"1|2"}"#,
    r#"{__service_name__="ab", __type__="cpu"}"#,
    r#"{service_name="nobody"}"#,
];

/// Profiles over three hours, each with the number of the file that it is in (5: the head).
fn profiles() -> impl Strategy<Value = Vec<(TestProfile, usize)>> {
    let value = prop_oneof![8 => -5i64..1000, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    let sample = (0u128..12, value, 0u64..4);
    let profile = (0usize..12, 0i64..10_800, 0i64..20, prop::collection::vec(sample, 0..12), 0usize..6);
    prop::collection::vec(profile, 0..60).prop_map(|all| {
        let profile = |(at, (series, second, duration, samples, file)): (usize, (_, i64, i64, Vec<_>, _))| {
            let samples = samples.into_iter();
            let samples = samples.map(|(stack, value, span)| TestSample { stack, value, span });
            let id = ProfileId(at as u128 + 1);
            let time = second * 1_000_000 + at as i64 % 3;
            let duration = duration * SECOND;
            (TestProfile { series, id, time, duration, samples: samples.collect() }, file)
        };
        all.into_iter().enumerate().map(profile).collect()
    })
}

fn layouts() -> impl Strategy<Value = Layout> {
    let sizes = (1usize..80, 1usize..20);
    (sizes, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |((group_rows, page_rows), dictionary, deltas, cut)| Layout {
            group_rows,
            page_rows,
            dictionary,
            deltas,
            cut,
        },
    )
}

fn ranges() -> impl Strategy<Value = TimeRange> {
    prop_oneof![
        1 => Just(TimeRange::ALL),
        3 => (0i64..10_800, 0i64..10_800, 0i64..2001).prop_map(|(from, length, nanos)| {
            TimeRange::new(from * SECOND + nanos, (from + length) * SECOND + nanos)
        }),
    ]
}

struct Tables {
    samples: Vec<Arc<DataFile>>,
    profiles: Vec<Arc<DataFile>>,
    head: Vec<Arc<HeadChunk>>,
    _folder: tempfile::TempDir,
}

fn store(series: &[SeriesMatch], rows: &[(TestProfile, usize)], layout: Layout) -> Tables {
    let folder = tempfile::tempdir().unwrap();
    let mut tables = Tables { samples: Vec::new(), profiles: Vec::new(), head: Vec::new(), _folder: folder };
    for file in 0..6 {
        let rows = rows.iter().filter(|(_, at)| *at == file).map(|(profile, _)| profile.clone());
        let rows: Vec<TestProfile> = rows.collect();
        if rows.is_empty() {
            continue;
        }
        if file == 5 {
            tables.head.extend(rows.chunks(7).map(|rows| head_chunk(series, rows)));
            continue;
        }
        let path = |table: &str| tables._folder.path().join(format!("{table}-{file}.parquet"));
        if rows.iter().any(|profile| !profile.samples.is_empty()) {
            tables.samples.push(write_samples(&path("samples"), series, &rows, layout));
        }
        tables.profiles.push(write_profiles(&path("profiles"), series, &rows, layout));
    }
    tables
}

fn selection(
    series: &[SeriesMatch],
    profile_type: Option<&ProfileType>,
    selector: &Selector,
) -> Arc<Selection> {
    Arc::new(Selection::new(profile_type, selector, |taken| {
        series.iter().filter(|found| taken(&found.series)).cloned().collect()
    }))
}

/// Plans and runs a scan on two threads.
fn run<S: Scan>(
    scan: &Arc<S>,
    files: &[Arc<DataFile>],
    head: &[Arc<HeadChunk>],
    range: TimeRange,
) -> Scanned<S::Partial> {
    run_after(Shared::default(), scan, files, head, range)
}

/// The same, with what earlier scans left in `shared`.
fn run_after<S: Scan>(
    shared: Shared,
    scan: &Arc<S>,
    files: &[Arc<DataFile>],
    head: &[Arc<HeadChunk>],
    range: TimeRange,
) -> Scanned<S::Partial> {
    let control = Control::sharing(&Limits::default(), shared);
    let part = Part { range, window: 0, files: files.to_vec() };
    let plan = scan::plan(vec![(scan.clone(), part)], head, &control).unwrap();
    let parts = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(|| scan::work(&plan, &control))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap().unwrap()).collect()
    });
    scan::gather(&plan, parts)
}

/// Time, value and number of profiles of each point.
type Points = Vec<(i64, f64, u64)>;

#[derive(Debug)]
struct Case {
    series: Vec<SeriesMatch>,
    rows: Vec<(TestProfile, usize)>,
    selector: Selector,
    profile_type: ProfileType,
    range: TimeRange,
}

impl Case {
    /// The profiles that count, by a plain loop.
    fn taken(&self, range: TimeRange) -> impl Iterator<Item = &TestProfile> {
        self.rows.iter().map(|(profile, _)| profile).filter(move |profile| {
            let series = &self.series[profile.series].series;
            series.profile_type == self.profile_type
                && self.selector.matches(series)
                && range.contains(profile.time * 1000)
        })
    }
}

fn cases() -> impl Strategy<Value = Case> {
    (profiles(), 0..SELECTORS.len(), ranges()).prop_map(|(rows, selector, range)| Case {
        series: series(),
        rows,
        selector: SELECTORS[selector].parse().unwrap(),
        profile_type: CPU.parse().unwrap(),
        range,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn stacks_add_up(case in cases(), layout in layouts(), by in 0..5usize) {
        let tables = store(&case.series, &case.rows, layout);
        let selection = selection(&case.series, Some(&case.profile_type), &case.selector);
        let asked: BTreeSet<ProfileId> = (0..30).map(|id| ProfileId(id * 2)).collect();
        let mut filter = SampleFilter::default();
        match by {
            1 => filter.spans = Some([1, 3].into_iter().collect()),
            2 => filter.traces = Some([20].into_iter().collect()),
            3 => {
                let ids = asked.iter().copied().collect();
                let limit = usize::MAX;
                let scan = Arc::new(ProfileScan { selection: selection.clone(), range: case.range, ids, totals: ValueRange::ALL, order: Order::NewestFirst, limit });
                let found = run(&scan, &tables.profiles, &tables.head, case.range);
                filter.profiles = Some(found.partial.iter().map(|row| (row.position, row.time / 1000)).collect());
            }
            _ => {}
        }
        // Some spans of some profiles; one of a trace that nothing belongs to.
        let is_asked = |profile: &TestProfile, span: u64| span > 0 && (profile.time / 1_000_000 + span as i64) % 2 == 0;
        if by == 4 {
            let samples = case.rows.iter().flat_map(|(profile, _)| profile.samples.iter().map(move |sample| (profile, sample.span)));
            let asked = samples.filter(|(profile, span)| is_asked(profile, *span));
            let keys = asked.map(|(profile, span)| SpanKey::new(profile.time * 1000, span, u128::from(span) * 10));
            let other = case.rows.iter().map(|(profile, _)| SpanKey::new(profile.time * 1000, 1, 7));
            filter.spans_of_profiles = Some(keys.chain(other).collect());
        }
        let times: BTreeSet<(usize, i64)> = case.taken(case.range).filter(|profile| asked.contains(&profile.id))
            .map(|profile| (profile.series, profile.time)).collect();
        let mut expect: BTreeMap<StackId, i128> = BTreeMap::new();
        for profile in case.taken(case.range) {
            for sample in &profile.samples {
                let counts = match by {
                    1 => [1, 3].contains(&sample.span),
                    2 => sample.span == 2,
                    3 => times.contains(&(profile.series, profile.time)),
                    4 => is_asked(profile, sample.span),
                    _ => true,
                };
                if counts {
                    *expect.entry(StackId(sample.stack)).or_default() += i128::from(sample.value);
                }
            }
        }
        let scan = Arc::new(StackScan { selection: selection.clone(), range: case.range, filter });
        let scanned = run(&scan, &tables.samples, &tables.head, case.range);
        prop_assert_eq!(&scanned.warnings, &[]);
        prop_assert_eq!(scanned.partial.into_iter().collect::<BTreeMap<_, _>>(), expect);
    }

    #[test]
    fn sums_that_were_kept_are_those_of_a_scan(
        case in cases(), layout in layouts(),
        asked in prop::collection::vec((0..SELECTORS.len(), ranges()), 1..8),
    ) {
        let tables = store(&case.series, &case.rows, layout);
        let shared = Shared::default();
        // Everything twice: the second time most of it is there.
        for (selector, range) in asked.iter().chain(&asked) {
            let selector: Selector = SELECTORS[*selector].parse().unwrap();
            let selection = selection(&case.series, Some(&case.profile_type), &selector);
            let filter = SampleFilter::default();
            let scan = Arc::new(StackScan { selection: selection.clone(), range: *range, filter });
            let fresh = run(&scan, &tables.samples, &tables.head, *range);
            let kept = run_after(shared.clone(), &scan, &tables.samples, &tables.head, *range);
            prop_assert_eq!(kept.partial, fresh.partial);
            prop_assert_eq!(kept.stats, fresh.stats);
        }
    }

    #[test]
    fn time_series_add_up(
        case in cases(), layout in layouts(), step in 1i64..4000, average in any::<bool>(),
        call_site in any::<bool>(), by_pod in any::<bool>(), limit in 1usize..4,
    ) {
        prop_assume!(case.range != TimeRange::ALL);
        let tables = store(&case.series, &case.rows, layout);
        let mut query = SeriesQuery::new(
            case.profile_type.clone(), case.selector.clone(), case.range, step * SECOND / 2,
        );
        query.group_by = if by_pod { vec!["pod".into(), "__unit__".into()] } else { Vec::new() };
        query.limit = Some(limit);
        query.aggregation = if average { Aggregation::Average } else { Aggregation::Sum };
        query.exemplars = Exemplars::Largest;
        query.check(&Limits::default()).unwrap();
        let range = query.covered();
        let selection = selection(&case.series, Some(&case.profile_type), &case.selector);
        let grouping = Arc::new(Grouping::new(&query, selection.clone()));
        let (part, window) = (TimeRange::ALL, 0);
        let totals = Arc::new(TotalScan { grouping: grouping.clone(), exemplars: Exemplars::Largest, part, window });
        let totals = run(&totals, &tables.profiles, &tables.head, range);
        prop_assert_eq!(&totals.warnings, &[]);
        let stacks = [1, 4, 7];
        let got = if call_site {
            let stacks = Arc::new(stacks.into_iter().map(StackId).collect());
            let scan = Arc::new(CallSiteScan { grouping: grouping.clone(), stacks, part, window });
            let scanned = run(&scan, &tables.samples, &tables.head, range);
            grouping.finish(&query, scanned.partial, &totals.partial)
        } else {
            grouping.finish(&query, totals.partial, &Buckets::default())
        };
        let mut expect: Vec<(i128, Labels, Points)> = Vec::new();
        let group = |profile: &TestProfile| {
            let series = &case.series[profile.series].series;
            Labels::from_pairs(query.group_by.iter().map(|name| (name.clone(), label_value(series, name))))
        };
        let groups: BTreeSet<Labels> = case.taken(TimeRange::ALL).map(group).collect();
        for labels in groups {
            let (mut all, mut points) = (0, Vec::new());
            let mut point = case.range.from;
            while point <= case.range.until {
                let step = TimeRange::new(point - query.step + 1, point);
                let profiles: Vec<_> = case.taken(step).filter(|profile| group(profile) == labels).collect();
                let samples = profiles.iter().flat_map(|profile| &profile.samples);
                let values: Vec<i64> = match call_site {
                    true => samples.filter(|sample| stacks.contains(&sample.stack)).map(|sample| sample.value).collect(),
                    false => profiles.iter().map(|profile| profile.total()).collect(),
                };
                if !values.is_empty() {
                    let sum: i128 = values.iter().map(|&value| i128::from(value)).sum();
                    let count = profiles.len() as u64;
                    let value = if average { sum as f64 / count as f64 } else { sum as f64 };
                    points.push((point, value, count));
                    all += sum;
                }
                point += query.step;
            }
            if !points.is_empty() {
                expect.push((all, labels, points));
            }
        }
        expect.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        expect.truncate(limit);
        let expect: Vec<_> = expect.into_iter().map(|(_, labels, points)| (labels, points)).collect();
        let largest_is_there = got.iter().flat_map(|line| &line.points).all(|point| {
            call_site || point.exemplar.as_ref().is_some_and(|exemplar| {
                let profile = case.rows.iter().find(|(profile, _)| profile.id == exemplar.profile).map(|(profile, _)| profile);
                profile.is_some_and(|profile| profile.total() == exemplar.value && profile.time * 1000 == exemplar.time)
            })
        });
        prop_assert!(largest_is_there);
        let got: Vec<_> = got.into_iter().map(|line| {
            let points = line.points.into_iter().map(|point| (point.time, point.value, point.profiles));
            (line.labels, points.collect::<Vec<_>>())
        }).collect();
        prop_assert_eq!(got, expect);
    }

    #[test]
    fn profiles_are_listed(
        case in cases(), layout in layouts(), order in 0..3usize, limit in 0usize..20, min in -100i64..2000,
    ) {
        let tables = store(&case.series, &case.rows, layout);
        let selection = selection(&case.series, Some(&case.profile_type), &case.selector);
        let order = [Order::NewestFirst, Order::OldestFirst, Order::LargestFirst][order];
        let totals = ValueRange { min, max: i64::MAX };
        let ids = Default::default();
        let scan = Arc::new(ProfileScan { selection: selection.clone(), range: case.range, ids, totals, order, limit });
        let scanned = run(&scan, &tables.profiles, &tables.head, case.range);
        let got = scan.finish(scanned.partial);
        let mut expect: Vec<_> = case.taken(case.range).filter(|profile| profile.total() >= min).collect();
        expect.sort_by_key(|profile| {
            let total = if order == Order::LargestFirst { -i128::from(profile.total()) } else { 0 };
            (total, if order == Order::OldestFirst { profile.time } else { -profile.time }, profile.id)
        });
        expect.truncate(limit);
        let got: Vec<_> = got.iter().map(|info| (info.id, info.series_id, info.time, info.duration, info.total)).collect();
        let expect: Vec<_> = expect.into_iter().map(|profile| {
            (profile.id, case.series[profile.series].id, profile.time * 1000, profile.duration, profile.total())
        }).collect();
        prop_assert_eq!(got, expect);
    }

    #[test]
    fn damaged_files_are_named_and_the_rest_answers(at in 0.0f64..1.0, byte in any::<u8>(), length in 1usize..200) {
        let series = series();
        let profile = |id: u128| TestProfile {
            series: 1, id: ProfileId(id), time: 0, duration: 0,
            samples: (0..50).map(|stack| TestSample { stack, value: 1, span: 0 }).collect(),
        };
        let layout = Layout { group_rows: 20, page_rows: 5, dictionary: true, deltas: false, cut: true };
        let tables = store(&series, &[(profile(1), 0), (profile(2), 1), (profile(3), 5)], layout);
        let broken = &tables.samples[0];
        let mut bytes = std::fs::read(&broken.path).unwrap();
        let at = (bytes.len() as f64 * at) as usize;
        let end = (at + length).min(bytes.len());
        bytes[at..end].fill(byte);
        std::fs::write(&broken.path, bytes).unwrap();
        let selection = selection(&series, None, &Selector::all());
        let scan = Arc::new(StackScan { selection: selection.clone(), range: TimeRange::ALL, filter: SampleFilter::default() });
        let scanned = run(&scan, &tables.samples, &tables.head, TimeRange::ALL);
        prop_assert!(scanned.warnings.iter().all(|warning| warning.path == broken.path));
        prop_assert!((0..50).all(|stack| scanned.partial.contains_key(&StackId(stack))));
    }
}

#[test]
fn a_missing_file_is_named() {
    let series = series();
    let samples = vec![TestSample { stack: 1, value: 5, span: 0 }];
    let profile = TestProfile { series: 3, id: ProfileId(1), time: 0, duration: 0, samples };
    let layout = Layout { group_rows: 10, page_rows: 10, dictionary: true, deltas: false, cut: true };
    let tables = store(&series, &[(profile.clone(), 0), (profile, 1)], layout);
    std::fs::remove_file(&tables.samples[1].path).unwrap();
    let selection = selection(&series, None, &Selector::all());
    let scan =
        StackScan { selection: selection.clone(), range: TimeRange::ALL, filter: SampleFilter::default() };
    let scanned = run(&Arc::new(scan), &tables.samples, &[], TimeRange::ALL);
    assert_eq!(scanned.partial.get(&StackId(1)).map(|&sum| clamp(sum)), Some(5));
    let [warning] = &scanned.warnings[..] else { panic!("{:?}", scanned.warnings) };
    assert_eq!(warning.path, tables.samples[1].path);
}

#[test]
fn limits_end_a_scan() {
    let series = series();
    let samples = (0..500).map(|stack| TestSample { stack, value: 5, span: 0 }).collect();
    let profile = TestProfile { series: 3, id: ProfileId(1), time: 0, duration: 0, samples };
    let layout = Layout { group_rows: 1000, page_rows: 100, dictionary: true, deltas: false, cut: true };
    let tables = store(&series, &[(profile, 0)], layout);
    let selection = selection(&series, None, &Selector::all());
    let check = |limits: Limits, expect: &str| {
        let control = Control::new(&limits);
        let filter = SampleFilter::default();
        let scan = StackScan { selection: selection.clone(), range: TimeRange::ALL, filter };
        let part = Part { range: TimeRange::ALL, window: 0, files: tables.samples.clone() };
        let plan = scan::plan(vec![(Arc::new(scan), part)], &[], &control);
        let error = plan.and_then(|plan| scan::work(&plan, &control).map(|_| ())).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().contains(expect)),
            (ErrorKind::TooLarge, true),
            "{error}"
        );
    };
    check(Limits { rows: 499, ..Limits::default() }, "500 rows");
    check(Limits { bytes: 10, ..Limits::default() }, "bytes of files");
    check(Limits { memory: 1000, ..Limits::default() }, "bytes of memory");
}

#[test]
fn queries_share_their_memory() {
    let limits = Limits { memory: 1000, ..Limits::default() };
    let shared = Shared::default();
    let (first, second) =
        (Control::sharing(&limits, shared.clone()), Control::sharing(&limits, shared.clone()));
    first.charge(700).unwrap();
    second.charge(300).unwrap();
    let Err(Interrupt::TooLarge(error)) = second.charge(1) else { panic!("1001 bytes") };
    assert_eq!((error.kind(), shared.pool.load(Relaxed)), (ErrorKind::Unavailable, 1001));
    drop(second);
    first.charge(300).unwrap();
    drop(first);
    assert_eq!(shared.pool.load(Relaxed), 0);
}
