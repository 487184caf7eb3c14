//! How fast the kernel is, on files like those of a busy day: 10 services with 4 pods each, a profile every
//! 15 s for 6 h, two types. Run with
//! `cargo test --release -p everflame-query speed -- --ignored --nocapture`.

use crate::samples::{SampleFilter, StackScan};
use crate::scan::{self, Control};
use crate::selection::Selection;
use crate::test_tables::*;
use crate::time_series::{Buckets, Grouping, TotalScan};
use crate::*;
use everflame_lake::{ProfileId, ResolvedStacks, SeriesMatch};
use everflame_profile::{Labels, Series, StackId, SymbolInterner};
use std::sync::Arc;
use std::time::Instant;

const FILES: i64 = 25;
const HOURS: i64 = 6;
const SECOND: i64 = 1_000_000_000;
const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

fn series() -> Vec<SeriesMatch> {
    let mut all = Vec::new();
    for service in 0..10 {
        for profile_type in [CPU, "process_cpu:samples:count:cpu:nanoseconds"] {
            for pod in 0..4 {
                let labels = [("service_name", format!("svc-{service}")), ("pod", format!("{pod}"))];
                let profile_type = profile_type.parse().unwrap();
                all.push(series_match(Series { labels: Labels::from_pairs(labels), profile_type }));
            }
        }
    }
    all
}

/// 95 of the 2,000 stacks of a service in each profile.
fn profiles(series: &[SeriesMatch], from: i64, until: i64) -> Vec<TestProfile> {
    let mut random = 88_172_645_463_325_252u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut all = Vec::new();
    for time in (from..until).step_by(15) {
        for at in 0..series.len() {
            let service = at as u128 / 8;
            let sample = |random: u64| {
                let stack = u128::from(random % 2000) | service << 32;
                let stack = stack.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
                TestSample { stack, value: 10_000_000 * (1 + random as i64 % 7).abs(), span: 0 }
            };
            let samples = (0..95).map(|_| sample(next())).collect();
            let id = ProfileId(u128::from(next()) << 64 | u128::from(next()));
            all.push(TestProfile { series: at, id, time: time * 1_000_000, duration: 15 * SECOND, samples });
        }
    }
    all
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let folder = tempfile::tempdir().unwrap();
    let series = series();
    let layout = Layout { group_rows: 1_000_000, page_rows: 20_000, dictionary: true, cut: true };
    let length = HOURS * 3600 / FILES;
    let (mut samples, mut totals) = (Vec::new(), Vec::new());
    for file in 0..FILES {
        let profiles = profiles(&series, file * length, (file + 1) * length);
        samples.push(write_samples(&folder.path().join(format!("s{file}")), &series, &profiles, layout));
        totals.push(write_profiles(&folder.path().join(format!("p{file}")), &series, &profiles, layout));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let hours = |from: i64, until: i64| TimeRange::new(from * 3600 * SECOND, until * 3600 * SECOND - 1);
    let select = |text: &str| {
        let selector: Selector = text.parse().unwrap();
        Arc::new(Selection::new(Some(&CPU.parse().unwrap()), &selector, |taken| {
            series.iter().filter(|found| taken(&found.series)).cloned().collect()
        }))
    };
    let one = r#"{service_name="svc-3"}"#;
    let questions = [
        ("one service, 1 h", one, hours(2, 3)),
        ("one service, 6 h", one, hours(0, 6)),
        ("one pod, 6 h", r#"{service_name="svc-3",pod="1"}"#, hours(0, 6)),
        ("all services, 1 h", "{}", hours(2, 3)),
        ("all services, 6 h", "{}", hours(0, 6)),
    ];
    for (what, selector, range) in questions {
        let selection = select(selector);
        let mut best = f64::MAX;
        let mut stats = ScanStats::default();
        let mut sums = 0;
        for _ in 0..7 {
            let begin = Instant::now();
            let control = Arc::new(Control::new(&Limits::default()));
            let plan = scan::plan(&samples, &[], &selection, range, &control).unwrap();
            let scan = StackScan { selection: selection.clone(), range, filter: SampleFilter::default() };
            let scanned = runtime.block_on(scan::run(Arc::new(scan), plan, &control, 2)).unwrap();
            best = best.min(begin.elapsed().as_secs_f64());
            stats = ScanStats { bytes: control.bytes_read(), ..scanned.stats };
            sums = scanned.partial.len();
        }
        println!(
            "{what}: {:.2} ms, {} files, {} row groups, {} rows, {} bytes, {sums} stacks, {:.0} M rows/s",
            best * 1e3,
            stats.files,
            stats.row_groups,
            stats.rows,
            stats.bytes,
            stats.rows as f64 / best / 1e6
        );
    }
    let mut query = SeriesQuery::new(CPU.parse().unwrap(), Selector::all(), hours(0, 6), 15 * SECOND);
    query.group_by = vec!["service_name".into(), "pod".into()];
    let (selection, range) = (select("{}"), query.covered());
    let mut best = f64::MAX;
    for _ in 0..7 {
        let begin = Instant::now();
        let control = Arc::new(Control::new(&Limits::default()));
        let grouping = Arc::new(Grouping::new(&query, selection.clone()));
        let plan = scan::plan(&totals, &[], &selection, range, &control).unwrap();
        let scan = TotalScan { grouping: grouping.clone(), exemplars: Exemplars::None };
        let scanned = runtime.block_on(scan::run(Arc::new(scan), plan, &control, 2)).unwrap();
        assert_eq!(grouping.finish(&query, scanned.partial, &Buckets::default()).len(), 40);
        best = best.min(begin.elapsed().as_secs_f64());
    }
    println!("timeline of 40 pods, 6 h at 15 s: {:.2} ms", best * 1e3);
    tree();
}

/// A tree of 2,000 stacks, 30 frames each.
fn tree() {
    let mut interner = SymbolInterner::default();
    let mut stacks = ResolvedStacks::default();
    for stack in 0..2000u32 {
        for depth in (0..30u32).rev() {
            let name =
                format!("package/path.Function{}", stack / (1 << (30 - depth).min(12)) + depth * 10_000);
            let function = interner.intern_string(&name);
            let frame = everflame_profile::Frame { function, ..Default::default() };
            stacks.frames.push(interner.intern_frame(frame));
        }
        stacks.ends.push(stacks.frames.len() as u32);
    }
    stacks.symbols = interner.into_symbols();
    let ids = (0..2000).map(StackId).collect();
    let merged = Merged { ids, stacks, values: vec![10; 2000], ..Merged::default() };
    let begin = Instant::now();
    let nodes = merged.tree().nodes().len();
    println!("tree of 2,000 stacks, {nodes} nodes: {:.2} ms", begin.elapsed().as_secs_f64() * 1e3);
}
