//! What a snapshot of the lake holds, read in the plainest way: all rows of all files, and of the head.

use crate::files::DataFile;
use crate::snapshot::Snapshot;
use crate::tables::{Level, Tier};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use hashbrown::HashMap;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::io::Read;
use std::sync::Arc;

/// A row of `samples` or of one of its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SampleRow {
    pub(super) series: u64,
    pub(super) stack: u128,
    /// Microseconds since the epoch.
    pub(super) time: i64,
    pub(super) value: i64,
}

/// A row of `profiles` or of one of its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ProfileRow {
    /// 0 in a sum.
    pub(super) id: u128,
    pub(super) series: u64,
    /// Microseconds since the epoch.
    pub(super) time: i64,
    pub(super) duration: i64,
    pub(super) total: i64,
    /// 1 in `profiles`.
    pub(super) profiles: i64,
}

/// Everything in a snapshot.
pub(super) struct Held {
    pub(super) samples: Vec<SampleRow>,
    pub(super) profiles: Vec<ProfileRow>,
    /// What lies before it may be gone.
    pub(super) horizon: i64,
    pub(super) tiers: Vec<HeldTier>,
}

/// The sums of a tier, and the rows that are not summed yet.
pub(super) struct HeldTier {
    pub(super) tier: Tier,
    pub(super) level: Level,
    pub(super) horizon: i64,
    pub(super) samples: Vec<SampleRow>,
    pub(super) unsummed_samples: Vec<SampleRow>,
    pub(super) profiles: Vec<ProfileRow>,
    pub(super) unsummed_profiles: Vec<ProfileRow>,
}

/// Reads files, and remembers what was in them: most are looked at many times. Their bytes are read each time.
#[derive(Default)]
pub(super) struct Reader {
    samples: HashMap<(u32, usize), Arc<[SampleRow]>>,
    profiles: HashMap<(u32, usize), Arc<[ProfileRow]>>,
}

impl Reader {
    /// What is in `snapshot`. `None` when a file cannot be read.
    pub(super) fn read(&mut self, snapshot: &Snapshot) -> Option<Held> {
        let mut head_samples = Vec::new();
        let mut head_profiles = Vec::new();
        for chunk in &snapshot.head {
            let mut start = 0;
            for profile in &chunk.profiles {
                let (series, time) = (profile.series.0, profile.time / 1_000);
                for at in start..profile.samples_end as usize {
                    let stack = chunk.stacks[chunk.sample_stacks[at] as usize].0;
                    head_samples.push(SampleRow { series, stack, time, value: chunk.sample_values[at] });
                }
                start = profile.samples_end as usize;
                let (id, duration, total) = (profile.id.0, profile.duration, profile.total);
                head_profiles.push(ProfileRow { id, series, time, duration, total, profiles: 1 });
            }
        }
        let mut held = Held {
            samples: head_samples.clone(),
            profiles: head_profiles.clone(),
            horizon: snapshot.horizon,
            tiers: Vec::new(),
        };
        for file in &snapshot.samples {
            held.samples.extend(self.samples(file)?.iter());
        }
        for file in &snapshot.profiles {
            held.profiles.extend(self.profiles(file)?.iter());
        }
        for tier in &snapshot.tiers {
            let mut sums = HeldTier {
                tier: tier.tier,
                level: tier.level,
                horizon: tier.horizon,
                samples: Vec::new(),
                unsummed_samples: head_samples.clone(),
                profiles: Vec::new(),
                unsummed_profiles: head_profiles.clone(),
            };
            for file in &tier.samples {
                sums.samples.extend(self.samples(file)?.iter());
            }
            for file in snapshot.samples.iter().filter(|file| file.sequence() > tier.samples_sequence) {
                sums.unsummed_samples.extend(self.samples(file)?.iter());
            }
            for file in &tier.profiles {
                sums.profiles.extend(self.profiles(file)?.iter());
            }
            for file in snapshot.profiles.iter().filter(|file| file.sequence() > tier.profiles_sequence) {
                sums.unsummed_profiles.extend(self.profiles(file)?.iter());
            }
            held.tiers.push(sums);
        }
        Some(held)
    }

    fn samples(&mut self, file: &DataFile) -> Option<Arc<[SampleRow]>> {
        let (bytes, key) = content(file)?;
        let rows = self.samples.entry(key).or_insert_with(|| {
            let mut rows = Vec::new();
            for batch in batches(bytes, &["series_id", "stack_id", "time", "value"]) {
                let (times, values) = (times(&batch), numbers(&batch, "value"));
                for row in 0..batch.num_rows() {
                    let series = u64::from_be_bytes(id(&batch, "series_id", row).try_into().unwrap());
                    let stack = u128::from_be_bytes(id(&batch, "stack_id", row).try_into().unwrap());
                    rows.push(SampleRow { series, stack, time: times[row], value: values[row] });
                }
            }
            rows.into()
        });
        Some(rows.clone())
    }

    fn profiles(&mut self, file: &DataFile) -> Option<Arc<[ProfileRow]>> {
        let (bytes, key) = content(file)?;
        let rows = self.profiles.entry(key).or_insert_with(|| {
            let mut rows = Vec::new();
            let columns = ["series_id", "time", "duration", "total", "profile_id", "profiles"];
            for batch in batches(bytes, &columns) {
                let (times, durations) = (times(&batch), numbers(&batch, "duration"));
                let totals = numbers(&batch, "total");
                let is_sum = batch.column_by_name("profiles").is_some();
                for row in 0..batch.num_rows() {
                    rows.push(ProfileRow {
                        id: match is_sum {
                            true => 0,
                            false => u128::from_be_bytes(id(&batch, "profile_id", row).try_into().unwrap()),
                        },
                        series: u64::from_be_bytes(id(&batch, "series_id", row).try_into().unwrap()),
                        time: times[row],
                        duration: durations[row],
                        total: totals[row],
                        profiles: if is_sum { numbers(&batch, "profiles")[row] } else { 1 },
                    });
                }
            }
            rows.into()
        });
        Some(rows.clone())
    }
}

/// The bytes of a file, and what stands for them.
fn content(file: &DataFile) -> Option<(Bytes, (u32, usize))> {
    let mut bytes = Vec::new();
    file.open().ok()?.read_to_end(&mut bytes).unwrap();
    let key = (crc32c::crc32c(&bytes), bytes.len());
    assert_eq!(file.checksum(), Some(key.0), "{} is damaged", file.path.display());
    Some((bytes.into(), key))
}

fn batches(bytes: Bytes, columns: &[&str]) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let columns = ProjectionMask::columns(reader.parquet_schema(), columns.iter().copied());
    reader.with_projection(columns).build().unwrap().map(Result::unwrap).collect()
}

fn times(batch: &RecordBatch) -> &[i64] {
    batch.column_by_name("time").unwrap().as_primitive::<TimestampMicrosecondType>().values()
}

fn numbers<'a>(batch: &'a RecordBatch, name: &str) -> &'a [i64] {
    batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().values()
}

fn id<'a>(batch: &'a RecordBatch, name: &str, row: usize) -> &'a [u8] {
    let column = batch.column_by_name(name).unwrap();
    assert!(!column.is_null(row));
    column.as_binary::<i32>().value(row)
}
