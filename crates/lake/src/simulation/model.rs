//! What a lake should hold, kept in the plainest way, and the comparison with what it holds.

use crate::batch::Batch;
use crate::files::DataFile;
use crate::lake::Lake;
use crate::snapshot::Snapshot;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use everflame_profile::StackId;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::{BTreeMap, BTreeSet};

/// What became of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The client was told that it is stored.
    Acknowledged,
    /// The client was told that it is not, or nothing. A process that is killed before it has taken back
    /// what it could not write leaves it in the log; it may be there at the next start.
    Refused,
    /// It was refused, and a restart has not found it.
    Gone,
}

/// All uploads by number.
#[derive(Debug, Default)]
pub(super) struct Model {
    uploads: BTreeMap<u64, Upload>,
}

#[derive(Debug)]
struct Upload {
    fate: Fate,
    profile: u128,
    samples: Vec<Row>,
}

/// Time in microseconds, stack, value.
type Row = (i64, u128, i64);

/// What a lake gives out.
#[derive(Debug, Default, PartialEq)]
struct Held {
    profiles: BTreeMap<u128, u64>,
    samples: BTreeMap<Row, u64>,
}

impl Model {
    /// How many uploads there are; their numbers begin at 0.
    pub(super) fn len(&self) -> u64 {
        self.uploads.len() as u64
    }

    pub(super) fn fate(&self, number: u64) -> Fate {
        self.uploads.get(&number).map_or(Fate::Gone, |upload| upload.fate)
    }

    /// Those that clients will send again.
    pub(super) fn refused(&self) -> Vec<u64> {
        let refused = self.uploads.iter().filter(|(_, upload)| upload.fate != Fate::Acknowledged);
        refused.map(|(number, _)| *number).collect()
    }

    pub(super) fn sent(&mut self, number: u64, batch: &Batch) {
        let profile = batch.profiles[0];
        let samples = batch.samples.iter();
        let samples = samples
            .map(|sample| (profile.time / 1_000, batch.stacks[sample.stack as usize].0, sample.value))
            .collect();
        let upload = Upload { fate: Fate::Refused, profile: profile.id.0, samples };
        self.uploads.entry(number).or_insert(upload);
    }

    pub(super) fn answered(&mut self, number: u64, fate: Fate) {
        let upload = self.uploads.get_mut(&number).unwrap();
        if upload.fate != Fate::Acknowledged {
            upload.fate = fate;
        }
    }

    /// After a crash: what was refused may be there, and then stays.
    pub(super) fn check_restart(&mut self, lake: &Lake) {
        let held = held(lake);
        for upload in self.uploads.values_mut() {
            if upload.fate == Fate::Refused {
                let is_there = held.profiles.contains_key(&upload.profile);
                upload.fate = if is_there { Fate::Acknowledged } else { Fate::Gone };
            }
        }
        self.compare(lake, &held);
    }

    /// While a process runs, what was refused is not there.
    pub(super) fn check_running(&self, lake: &Lake) {
        // A bucket that fails leaves an answer partial, and it says so; then there is nothing to compare.
        if let Some(held) = try_held(lake) {
            self.compare_rows(&held);
        }
    }

    /// Without faults everything can be read.
    pub(super) fn check_calm(&self, lake: &Lake) {
        self.compare(lake, &held(lake));
    }

    fn compare(&self, lake: &Lake, held: &Held) {
        self.compare_rows(held);
        check_tiers(&lake.snapshot(), held).expect("everything can be read");
        let stacks: BTreeSet<StackId> = held.samples.keys().map(|row| StackId(row.1)).collect();
        let stacks: Vec<StackId> = stacks.into_iter().collect();
        let resolved = lake.resolve_stacks(&["api", "web"], &stacks).unwrap();
        assert_eq!(resolved.missing, [], "stacks without frames");
        let series = lake.series(i64::MIN, i64::MAX, &|_| true).len();
        assert!(series >= usize::from(!held.profiles.is_empty()), "no series");
    }

    fn compare_rows(&self, held: &Held) {
        let mut expected = Held::default();
        for upload in self.uploads.values().filter(|upload| upload.fate == Fate::Acknowledged) {
            *expected.profiles.entry(upload.profile).or_default() += 1;
            for row in &upload.samples {
                *expected.samples.entry(*row).or_default() += 1;
            }
        }
        assert_eq!(expected.profiles, held.profiles, "profiles (left: acknowledged, right: stored)");
        assert_eq!(expected.samples, held.samples, "samples (left: acknowledged, right: stored)");
    }
}

/// The sums of each tier, with the rows that are not summed yet, weigh what all rows weigh.
fn check_tiers(snapshot: &Snapshot, held: &Held) -> Option<()> {
    let mut total = BTreeMap::<u128, i64>::new();
    for (row, count) in &held.samples {
        *total.entry(row.1).or_default() += row.2 * *count as i64;
    }
    for tier in snapshot.tiers.iter().filter(|tier| tier.samples_sequence > 0) {
        let mut sums = BTreeMap::<u128, i64>::new();
        head_rows(snapshot, |row| *sums.entry(row.1).or_default() += row.2);
        let unsummed = snapshot.samples.iter().filter(|file| file.sequence() > tier.samples_sequence);
        for file in tier.samples.iter().chain(unsummed) {
            file_rows(file, |row| *sums.entry(row.1).or_default() += row.2)?;
        }
        assert_eq!(total, sums, "sums of {:?} {:?} (left: all rows)", tier.tier, tier.level);
    }
    Some(())
}

fn held(lake: &Lake) -> Held {
    try_held(lake).expect("everything can be read")
}

/// All profiles and samples of head and files, each with how often it is there. `None` when a file cannot
/// be read.
fn try_held(lake: &Lake) -> Option<Held> {
    let snapshot = lake.snapshot();
    let mut held = Held::default();
    for chunk in &snapshot.head {
        for profile in &chunk.profiles {
            *held.profiles.entry(profile.id.0).or_default() += 1;
        }
    }
    head_rows(&snapshot, |row| *held.samples.entry(row).or_default() += 1);
    for file in &snapshot.profiles {
        for id in crate::tables::read_profile_ids(file).ok()? {
            *held.profiles.entry(id.0).or_default() += 1;
        }
    }
    for file in &snapshot.samples {
        file_rows(file, |row| *held.samples.entry(row).or_default() += 1)?;
    }
    Some(held)
}

fn head_rows(snapshot: &Snapshot, mut take: impl FnMut(Row)) {
    for chunk in &snapshot.head {
        let mut start = 0;
        for profile in &chunk.profiles {
            for at in start..profile.samples_end as usize {
                let stack = chunk.stacks[chunk.sample_stacks[at] as usize].0;
                take((profile.time / 1_000, stack, chunk.sample_values[at]));
            }
            start = profile.samples_end as usize;
        }
    }
}

fn file_rows(file: &DataFile, mut take: impl FnMut(Row)) -> Option<()> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.open().ok()?).unwrap().build().unwrap();
    for batch in reader {
        let batch = batch.unwrap();
        let column = |name| batch.column_by_name(name).unwrap();
        let (stacks, times, values) = (column("stack_id"), column("time"), column("value"));
        let (times, values) =
            (times.as_primitive::<TimestampMicrosecondType>(), values.as_primitive::<Int64Type>());
        for row in 0..stacks.len() {
            let stack = u128::from_be_bytes(stacks.as_binary::<i32>().value(row).try_into().unwrap());
            take((times.value(row), stack, values.value(row)));
        }
    }
    Some(())
}
