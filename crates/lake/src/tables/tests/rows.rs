//! The rows of a flush: all are there, in order.

use super::*;
use proptest::prelude::*;

fn heads() -> impl Strategy<Value = Head> {
    let sample = (0u128..6, prop_oneof![Just(0i64), any::<i64>(), 1i64..5], 0u64..3);
    let profile = (0usize..6, -30i64..30, 0i64..3, prop::collection::vec(sample, 0..12));
    prop::collection::vec(prop::collection::vec(profile, 0..6), 0..6).prop_map(|chunks| {
        let mut head = Head::default();
        let series: Vec<SeriesId> = (0..6)
            .map(|at| {
                head.add_series(["b", "a", "a\0"][at % 3], ["t:s:u::", "s:s:u:p:u"][at % 2], HOSTILE[at])
            })
            .collect();
        for profiles in chunks {
            let mut chunk = HeadChunk::default();
            for (at, hours, extra, samples) in profiles {
                // Few distinct ids that lie far apart, some with the highest bit.
                let samples: Vec<_> = samples
                    .into_iter()
                    .map(|(stack, value, span)| (stack << 125 | stack, value.clamp(-1 << 50, 1 << 50), span))
                    .collect();
                head.add_to(&mut chunk, series[at], NOON + hours * HOUR + extra * 999, &samples);
            }
            head.chunks.push(Arc::new(chunk));
        }
        head
    })
}

#[test]
fn bounds_are_those_of_rows() {
    const SECOND: Nanos = 1_000_000_000;
    let mut head = Head::default();
    let series = head.add_series("a", "t:s:u::", "x");
    let mut chunk = HeadChunk::default();
    head.add_to(&mut chunk, series, NOON, &[]);
    head.add_to(&mut chunk, series, NOON + SECOND, &[(1, 1, 0)]);
    head.add_to(&mut chunk, series, NOON + 2 * SECOND, &[]);
    head.chunks.push(Arc::new(chunk));
    check_flush(&head);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn rows_are_kept_and_sorted(head in heads()) {
        check_flush(&head);
    }
}

/// What a flush writes has all rows in order, and each file says what is in it.
fn check_flush(head: &Head) {
    let folder = tempfile::tempdir().unwrap();
    let flush = head.flush(1);
    let order = SeriesOrder::new(&flush).unwrap();
    let files = samples::write(&table(folder.path(), "samples"), 1, &order).unwrap();
    for file in &files {
        let rows = read_samples(&folder.path().join("samples").join(&file.path));
        let stats = file.bounds.file_stats();
        assert_eq!(rows.len() as u64, stats.rows);
        assert_eq!(rows.iter().map(|row| row.5).min(), Some(stats.min_time));
        assert_eq!(rows.iter().map(|row| row.5).max(), Some(stats.max_time));
        assert_eq!(rows.iter().map(|row| &row.0).min(), Some(&stats.min_service));
        assert_eq!(rows.iter().map(|row| &row.0).max(), Some(&stats.max_service));
    }
    let paths: Vec<_> = files.iter().map(|file| folder.path().join("samples").join(&file.path)).collect();
    check_samples(head, &paths);
}
