//! How large a flush becomes and how long it takes, on synthetic profiles.

use super::series_order::SeriesOrder;
use super::*;
use crate::HeadProfile;
use crate::batch::ProfileId;
use everflame_profile::Labels;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const START: Nanos = 1_785_585_600_000_000_000;
const INTERVAL: Nanos = 15_000_000_000;

/// A generator of numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }

    /// Small numbers are likelier, as stacks of a real program are.
    fn skewed(&mut self, below: u64) -> u64 {
        self.next(below) * self.next(below) / below
    }
}

/// `rounds` profiles of 10 services of 4 pods, CPU time and counts of about 190 samples each, the times
/// of a pod at its own phase and to the nanosecond.
fn head(rounds: i64) -> (Vec<Arc<HeadChunk>>, HashMap<SeriesId, Arc<Series>>) {
    let mut numbers = Numbers(42);
    let (mut chunks, mut all_series) = (Vec::new(), HashMap::new());
    let pools: Vec<Vec<StackId>> = (0..10u128)
        .map(|service| {
            (0..1_500u128)
                .map(|at| {
                    StackId((service << 64 | at).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
                })
                .collect()
        })
        .collect();
    for round in 0..rounds {
        let mut chunk = HeadChunk::default();
        let mut positions: HashMap<StackId, u32> = HashMap::new();
        for (service, pool) in pools.iter().enumerate() {
            for pod in 0..4 {
                let phase = (service * 4 + pod) as i64 * 370_123_457;
                let time = START + phase + round * INTERVAL + numbers.next(3_000_000) as i64;
                let samples: Vec<(StackId, i64)> = (0..150 + numbers.next(80))
                    .map(|_| (pool[numbers.skewed(1_500) as usize], 1 + numbers.skewed(12) as i64))
                    .collect();
                for (profile_type, scale) in [
                    ("process_cpu:cpu:nanoseconds:cpu:nanoseconds", 10_000_000),
                    ("process_cpu:samples:count:cpu:nanoseconds", 1),
                ] {
                    let labels = Labels::from_pairs([
                        ("service_name", format!("service-{service}")),
                        ("pod", format!("pod-{pod}")),
                    ]);
                    let series = Series { labels, profile_type: profile_type.parse().unwrap() };
                    let id = series.id();
                    all_series.entry(id).or_insert_with(|| Arc::new(series));
                    for &(stack, value) in &samples {
                        let next = chunk.stacks.len() as u32;
                        let position = *positions.entry(stack).or_insert(next);
                        if position == next {
                            chunk.stacks.push(stack);
                        }
                        chunk.sample_stacks.push(position);
                        chunk.sample_values.push(value * scale);
                    }
                    chunk.profiles.push(HeadProfile {
                        series: id,
                        id: ProfileId(
                            u128::from(numbers.next(u64::MAX)) << 64 | u128::from(numbers.next(u64::MAX)),
                        ),
                        time,
                        duration: INTERVAL,
                        total: samples.iter().map(|sample| sample.1 * scale).sum(),
                        samples_end: chunk.sample_values.len() as u32,
                    });
                }
            }
        }
        chunks.push(Arc::new(chunk));
    }
    (chunks, all_series)
}

/// `cargo test --release -p everflame-lake -- --ignored --nocapture size_of_a_flush`
#[test]
#[ignore = "a measurement; prints its figures"]
fn size_of_a_flush() {
    for rounds in [4, 30] {
        let (chunks, series) = head(rounds);
        let stacks = StackRows::default();
        let flush =
            Flush { sequence: 1, chunks: &chunks, series: &series, series_days: &[], stacks: &stacks };
        let folder = tempfile::tempdir().unwrap();
        let start = std::time::Instant::now();
        let order = SeriesOrder::new(&flush).unwrap();
        let files = samples::write(folder.path(), 1, &order).unwrap();
        let elapsed = start.elapsed();
        let rows: u64 = files.iter().map(|file| file.bounds.rows).sum();
        let bytes: u64 = files.iter().map(|file| file.bytes).sum();
        println!(
            "{rows} rows: {:.2} bytes and {:.0} ns a row",
            bytes as f64 / rows as f64,
            elapsed.as_nanos() as f64 / rows as f64
        );
        assert!(bytes <= rows * 5);
        let file = std::fs::File::open(folder.path().join(&files[0].path)).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let groups = reader.metadata().row_groups();
        for at in 0..groups[0].num_columns() {
            let column =
                |group: &parquet::file::metadata::RowGroupMetaData| group.column(at).compressed_size();
            let size: i64 = groups.iter().map(column).sum();
            println!(
                "  {}: {:.3} bytes a row",
                groups[0].column(at).column_path(),
                size as f64 / rows as f64
            );
        }
    }
}
