//! Whatever was flushed, summed, merged and deleted in between: an answer is what a plain scan over all that
//! was pushed gives.

use crate::store::{AUGUST, DAY, HOUR, Pushed, SECOND, SetClock, TYPES, batch, forever, open, stack};
use everflame_lake::{Deletion, Retention};
use everflame_profile::{Nanos, ProfileType, StackId};
use everflame_query::{Engine, Limits, Selector, SeriesQuery, StackQuery, TimeRange};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<Pushed>),
    Flush,
    Compact,
    Reopen,
}

fn pushed() -> impl Strategy<Value = Pushed> {
    // Times on the edges of windows, and just beside them, in any order over six weeks.
    let extra = prop_oneof![Just(0i64), Just(-1), Just(1), 0..300 * SECOND];
    let time = (0i64..45, 0i64..24, 0i64..13, extra)
        .prop_map(|(day, hour, five, extra)| AUGUST + day * DAY + hour * HOUR + five * 300 * SECOND + extra);
    let value = prop_oneof![Just(0i64), 1i64..100, Just(i64::MAX / 2), -5i64..0];
    let samples = prop::collection::vec((0usize..5, value), 1..4);
    (0usize..3, 0usize..3, 0usize..2, time, samples).prop_map(|(service, pod, kind, time, mut samples)| {
        samples.sort_unstable();
        samples.dedup_by_key(|sample| sample.0);
        if samples.iter().filter(|sample| sample.1 > i64::MAX / 4).count() > 1 {
            samples.truncate(1);
        }
        Pushed { service, pod, kind, time, samples }
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::collection::vec(pushed(), 1..8).prop_map(Step::Push),
        2 => Just(Step::Flush),
        2 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..14)
}

fn ranges() -> impl Strategy<Value = TimeRange> {
    let time = (-1i64..46, 0i64..24, prop_oneof![Just(0i64), Just(-1), Just(1), 0..HOUR]);
    let time = time.prop_map(|(day, hour, extra)| AUGUST + day * DAY + hour * HOUR + extra);
    prop_oneof![
        1 => Just(TimeRange::ALL),
        6 => (time.clone(), time).prop_map(|(a, b)| TimeRange::new(a.min(b), a.max(b))),
    ]
}

/// Whether a file, which keeps whole microseconds, may tell the time from one on the other side of an end.
fn is_close(time: Nanos, range: TimeRange) -> bool {
    range.contains(time.div_euclid(1000) * 1000) != range.contains(time)
}

pub(crate) async fn check(engine: &Engine, all: &[Pushed], selector: &str, kind: usize, range: TimeRange) {
    let selector: Selector = selector.parse().unwrap();
    let taken = |pushed: &&Pushed| pushed.kind == kind && selector.matches(&pushed.series());
    let step = range.length().max(SECOND);
    let covered = match range {
        TimeRange::ALL => range,
        _ => TimeRange::new(range.from - step + 1, range.from),
    };
    if all.iter().filter(taken).any(|pushed| is_close(pushed.time, range) || is_close(pushed.time, covered)) {
        return;
    }
    let mut expect: BTreeMap<StackId, i128> = BTreeMap::new();
    let hits = || all.iter().filter(taken).filter(|pushed| range.contains(pushed.time));
    for &(at, value) in hits().flat_map(|pushed| &pushed.samples) {
        *expect.entry(stack(at)).or_default() += i128::from(value);
    }
    let clamp = |sum: i128| sum.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
    let expect: Vec<(StackId, i64)> = expect.into_iter().map(|(id, sum)| (id, clamp(sum))).collect();
    let kind: ProfileType = TYPES[kind].parse().unwrap();
    let merged = engine.stacks(&StackQuery::new(kind.clone(), selector.clone(), range)).await.unwrap();
    assert_eq!(merged.warnings, []);
    let found: Vec<(StackId, i64)> = merged.ids.iter().copied().zip(merged.values).collect();
    assert_eq!(found, expect, "{range:?}");
    if range == TimeRange::ALL {
        return;
    }
    // Two points: the step before the range, and the range.
    let mut points = BTreeMap::new();
    for pushed in all.iter().filter(taken) {
        let point = if covered.contains(pushed.time) {
            range.from
        } else if range.contains(pushed.time) && range.from + step <= range.until {
            range.from + step
        } else {
            continue;
        };
        let (sum, count) = points.entry(point).or_insert((0i128, 0u64));
        (*sum, *count) = (*sum + i128::from(pushed.total()), *count + 1);
    }
    let series = engine.time_series(&SeriesQuery::new(kind, selector.clone(), range, step)).await.unwrap();
    let found = series.iter().flat_map(|line| &line.points);
    let found: Vec<_> = found.map(|point| (point.time, point.value, point.profiles)).collect();
    let expect: Vec<_> = points.into_iter().map(|(time, (sum, count))| (time, sum as f64, count)).collect();
    assert_eq!(found, expect, "{range:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn answers_are_those_of_a_plain_scan(
        steps in steps(),
        queries in prop::collection::vec((0usize..4, 0usize..2, ranges()), 12),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let clock = Arc::new(SetClock(AtomicI64::new(AUGUST + 50 * DAY)));
            let mut lake = open(folder.path(), &forever(), &clock).await;
            let mut all = Vec::new();
            for step in steps {
                match step {
                    Step::Push(profiles) => for pushed in profiles {
                        lake.append(batch(&lake, &pushed, all.len() as u128)).await.unwrap();
                        all.push(pushed);
                    },
                    Step::Flush => lake.flush().await.unwrap(),
                    Step::Compact => lake.compact().await.unwrap(),
                    Step::Reopen => {
                        drop(lake);
                        lake = open(folder.path(), &forever(), &clock).await;
                    }
                }
            }
            let engine = Engine::new(lake, Limits::default());
            let selectors = [
                "{}",
                r#"{service_name="api"}"#,
                r#"{pod=~"pod-[12]"}"#,
                r#"{service_name!="web",pod="pod-0"}"#,
            ];
            for (selector, kind, range) in queries {
                check(&engine, &all, selectors[selector], kind, range).await;
            }
        });
    }
}

/// Backfill of a month in any order, single profiles kept for a week.
#[tokio::test(flavor = "multi_thread")]
async fn late_profiles_outlive_the_single_ones() {
    let folder = tempfile::tempdir().unwrap();
    let now = AUGUST + 31 * DAY + 5 * HOUR;
    let clock = Arc::new(SetClock(AtomicI64::new(now)));
    let retention = Retention::default();
    let lake = open(folder.path(), &retention, &clock).await;
    let late = |at: i64| Pushed {
        service: (at % 2) as usize,
        pod: 0,
        kind: 0,
        // 30 days back, in an order that goes back and forth.
        time: now - (at * 389 % 600) * 30 * DAY / 600,
        samples: vec![((at % 5) as usize, 1 + at)],
    };
    let mut all: Vec<Pushed> = (0..600).map(late).collect();
    for (at, pushed) in all.iter().enumerate() {
        lake.append(batch(&lake, pushed, at as u128)).await.unwrap();
        if at % 150 == 100 {
            lake.flush().await.unwrap();
        }
        if at % 300 == 299 {
            lake.compact().await.unwrap();
        }
    }
    lake.flush().await.unwrap();
    lake.compact().await.unwrap();
    let snapshot = lake.snapshot();
    let oldest = snapshot.samples.iter().map(|file| file.stats.min_time).min().unwrap();
    assert!(oldest * 1000 >= now - 8 * DAY, "single samples of more than a week ago are gone");
    assert_eq!(snapshot.horizon % (DAY / 1000), 0);
    drop(snapshot);
    let engine = Engine::new(lake.clone(), Limits::default());
    check(&engine, &all, "{}", 0, TimeRange::ALL).await;
    for text in ["{}", r#"{service_name="api"}"#] {
        for (from, until) in [(AUGUST, AUGUST + 32 * DAY), (AUGUST + 3 * DAY, AUGUST + 9 * DAY - 1)] {
            let (selector, range): (Selector, _) = (text.parse().unwrap(), TimeRange::new(from, until));
            let hits = all.iter().filter(|pushed| range.contains(pushed.time));
            let hits = hits.filter(|pushed| selector.matches(&pushed.series()));
            let expect: i64 = hits.map(Pushed::total).sum();
            let query = StackQuery::new(TYPES[0].parse().unwrap(), selector, range);
            assert_eq!(engine.stacks(&query).await.unwrap().total(), expect);
        }
    }
    // A year later only the sums of hours and days are left, and all is still counted.
    clock.0.store(now + 365 * DAY, Relaxed);
    lake.compact().await.unwrap();
    assert!(lake.snapshot().samples.is_empty() && lake.snapshot().tiers[0].samples.is_empty());
    check(&engine, &all, "{}", 0, TimeRange::ALL).await;
    // And what comes so late is counted, too, and leaves no single profile behind.
    let pushed = Pushed { service: 0, pod: 1, kind: 0, time: AUGUST + 7, samples: vec![(1, 1)] };
    lake.append(batch(&lake, &pushed, 1_000)).await.unwrap();
    all.push(pushed);
    check(&engine, &all, "{}", 0, TimeRange::ALL).await;
    lake.flush().await.unwrap();
    check(&engine, &all, "{}", 0, TimeRange::ALL).await;
    lake.compact().await.unwrap();
    assert!(lake.snapshot().samples.is_empty());
    check(&engine, &all, "{}", 0, TimeRange::ALL).await;
    drop(engine);
    drop(lake);
    let lake = open(folder.path(), &retention, &clock).await;
    check(&Engine::new(lake, Limits::default()), &all, "{}", 0, TimeRange::ALL).await;
}

/// What was deleted is in no answer, and what stays is whole.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_profiles_are_gone_from_all_sums() {
    let folder = tempfile::tempdir().unwrap();
    let now = AUGUST + 40 * DAY;
    let clock = Arc::new(SetClock(AtomicI64::new(now)));
    let lake = open(folder.path(), &forever(), &clock).await;
    let mut all: Vec<Pushed> = (0..400)
        .map(|at: i64| Pushed {
            service: (at % 3) as usize,
            pod: (at / 3 % 3) as usize,
            kind: (at / 9 % 2) as usize,
            time: AUGUST + at * 2 * HOUR + at,
            samples: vec![((at % 5) as usize, 1 + at), (4, 2)],
        })
        .map(|mut pushed| {
            pushed.samples.dedup_by_key(|sample| sample.0);
            pushed
        })
        .collect();
    for (at, pushed) in all.iter().enumerate() {
        lake.append(batch(&lake, pushed, at as u128)).await.unwrap();
        if at == 200 {
            lake.flush().await.unwrap();
            lake.compact().await.unwrap();
        }
    }
    let deletions = [
        // A pod for some days, of which the sums of its service must go on without it.
        (r#"{service_name="api",pod="pod-1"}"#, Some((3, 9))),
        (r#"{service_name="shop"}"#, None),
    ];
    let first_day = (AUGUST / DAY) as i32;
    for (text, days) in deletions {
        let selector: Selector = text.parse().unwrap();
        let is_gone = |pushed: &Pushed| {
            let day = (pushed.time.div_euclid(DAY)) as i32 - first_day;
            selector.matches(&pushed.series())
                && days.is_none_or(|(first, last)| (first..=last).contains(&day))
        };
        let expect = all.iter().filter(|pushed| is_gone(pushed)).count() as u64;
        let select = selector.clone();
        let deletion = Deletion {
            select: Arc::new(move |series| select.matches(series)),
            days: days.map(|(first, last)| (first_day + first, first_day + last)),
        };
        let deleted = lake.delete(deletion).await.unwrap();
        assert_eq!(deleted.profiles, expect);
        all.retain(|pushed| !is_gone(pushed));
        let engine = Engine::new(lake.clone(), Limits::default());
        for text in ["{}", r#"{service_name="api"}"#, r#"{pod="pod-1"}"#, r#"{service_name="shop"}"#] {
            for (kind, from, until) in [(0, 0, 40), (1, 0, 40), (0, 4, 8), (1, 2, 9)] {
                let range = TimeRange::new(AUGUST + from * DAY, AUGUST + until * DAY);
                check(&engine, &all, text, kind, range).await;
            }
        }
        assert_eq!(
            engine.label_values("service_name", &[], TimeRange::ALL).contains(&"shop".to_owned()),
            days.is_some()
        );
    }
    drop(lake);
    let lake = open(folder.path(), &forever(), &clock).await;
    let engine = Engine::new(lake, Limits::default());
    check(&engine, &all, "{}", 0, TimeRange::ALL).await;
    assert_eq!(engine.label_values("service_name", &[], TimeRange::ALL), ["api", "web"]);
}
