//! The tables as a whole: what is committed reads back, once, with any Parquet reader.

mod on_disk;
mod retries;
mod rows;

use super::days::{day, micros, window};
use super::series_order::SeriesOrder;
use super::*;
use crate::HeadProfile;
use crate::batch::ProfileId;
use crate::disk::RealDisk;
use crate::stack_cache::{Generation, StackCache};
use crate::store::{Folder, TableFolder};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use everflame_profile::{Frame, FrameKind, Labels, Mapping, stack_id};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// 2026-08-01T12:00:00Z.
const NOON: Nanos = 1_785_585_600_000_000_000;
const HOUR: Nanos = 3_600_000_000_000;
const HOSTILE: [&str; 6] =
    ["", "a\0b", "line\nbreak \"quoted\" {}", "../../etc/date=2026-01-01", "🔥 función", "\u{7f}\u{202e}%2F"];

fn store(root: &Path) -> Arc<dyn Store> {
    Arc::new(Folder::new(Arc::new(RealDisk), root.to_owned()))
}

fn table(root: &Path, table: &'static str) -> TableFolder {
    TableFolder { store: store(root), table }
}

async fn open_tables(root: PathBuf) -> Result<(Tables, Opened), Error> {
    Tables::open(store(&root), &[], 0).await
}

/// What a flush borrows.
#[derive(Debug, Default)]
struct Head {
    chunks: Vec<Arc<HeadChunk>>,
    series: HashMap<SeriesId, Arc<Series>>,
    series_days: Vec<SeriesDay>,
    stacks: StackRows,
}

impl Head {
    fn flush(&self, sequence: u64) -> Flush<'_> {
        Flush {
            sequence,
            chunks: &self.chunks,
            series: &self.series,
            series_days: &self.series_days,
            stacks: &self.stacks,
        }
    }

    fn add_series(&mut self, service: &str, profile_type: &str, pod: &str) -> SeriesId {
        let labels = Labels::from_pairs([("service_name", service), ("pod", pod)]);
        let series = Series { labels, profile_type: profile_type.parse().unwrap() };
        let id = series.id();
        self.series.insert(id, Arc::new(series));
        id
    }

    /// Adds a chunk of one profile with samples of stack, value and span.
    fn add_profile(&mut self, series: SeriesId, time: Nanos, samples: &[(u128, i64, u64)]) {
        let mut chunk = HeadChunk::default();
        self.add_to(&mut chunk, series, time, samples);
        self.chunks.push(Arc::new(chunk));
    }

    fn add_to(&mut self, chunk: &mut HeadChunk, series: SeriesId, time: Nanos, samples: &[(u128, i64, u64)]) {
        for &(stack, value, span) in samples {
            let at = chunk.stacks.iter().position(|id| id.0 == stack).unwrap_or_else(|| {
                chunk.stacks.push(StackId(stack));
                chunk.stacks.len() - 1
            });
            chunk.sample_stacks.push(at as u32);
            chunk.sample_values.push(value);
            chunk.sample_spans.push(span);
            chunk.sample_traces.push(u128::from(span) << 64);
        }
        chunk.profiles.push(HeadProfile {
            series,
            id: ProfileId(time as u128),
            time,
            duration: 10_000_000_000,
            total: samples.iter().map(|sample| sample.1).sum(),
            samples_end: chunk.sample_values.len() as u32,
        });
        let (day, series_value) = (day(time), self.series[&series].clone());
        match self.series_days.iter_mut().find(|row| (row.id, row.day) == (series, day)) {
            Some(row) => (row.first, row.last) = (row.first.min(time), row.last.max(time)),
            None => self.series_days.push(SeriesDay {
                id: series,
                series: series_value,
                day,
                first: time,
                last: time,
            }),
        }
    }

    /// Adds a stack of frames that are called `names`, leaf first.
    fn add_stack(&mut self, service: &str, names: &[&str]) -> StackId {
        let symbols = &mut self.stacks.symbols;
        let mut ids = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let text = symbols.strings.push(name);
            symbols.mappings.push(Mapping {
                file: text,
                build_id: text,
                memory_start: u64::MAX - 1,
                memory_limit: u64::MAX,
                file_offset: 7,
            });
            let frame = Frame {
                function: text,
                system_name: 0,
                file: text,
                line: -1,
                start_line: at as i64,
                mapping: symbols.mappings.len() as u32 - 1,
                address: u64::MAX,
                kind: FrameKind::Jvm,
                inlined: at % 2 == 0,
            };
            symbols.frames.push(frame);
            self.stacks.frames.push(symbols.frames.len() as u32 - 1);
            ids.push(symbols.frame_id(&frame, &mut Vec::new()));
        }
        let id = stack_id(ids.into_iter(), &mut Vec::new());
        let position = self.stacks.services.iter().position(|other| other == service).unwrap_or_else(|| {
            self.stacks.services.push(service.to_owned());
            self.stacks.services.len() - 1
        });
        let end = self.stacks.frames.len() as u32;
        self.stacks.rows.push(StackRow { service: position as u32, id, end });
        id
    }
}

/// Two services with hostile names, two types, two days.
fn hostile() -> Head {
    let mut head = Head::default();
    for (at, text) in HOSTILE.iter().enumerate().skip(1) {
        let id = head.add_stack(text, &HOSTILE);
        let other = head.add_stack(text, &[text, "main"]);
        for profile_type in ["process_cpu:cpu:nanoseconds:cpu:nanoseconds", "memory:inuse_space:bytes::"] {
            let series = head.add_series(text, profile_type, HOSTILE[at]);
            for time in [NOON, NOON + 13 * HOUR, NOON + 5_999] {
                head.add_profile(
                    series,
                    time,
                    &[(id.0, 0, 0), (other.0, -3, at as u64), (id.0, i64::MIN, 0)],
                );
            }
        }
    }
    head
}

type SampleRow = (String, String, i64, u128, u64, i64, i64, Option<u64>, Option<u128>);

/// All rows of a samples file, through a reader that knows nothing of Everflame.
fn read_samples(path: &Path) -> Vec<SampleRow> {
    let mut rows = Vec::new();
    for batch in plain_batches(path) {
        let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        let binary = |name: &str| batch.column_by_name(name).unwrap().as_binary::<i32>().clone();
        let time = |name: &str| {
            batch.column_by_name(name).unwrap().as_primitive::<TimestampMicrosecondType>().clone()
        };
        let (services, types) = (text("service"), text("profile_type"));
        let (stacks, series) = (binary("stack_id"), binary("series_id"));
        let (spans, traces) = (binary("span_id"), binary("trace_id"));
        let (windows, times) = (time("window"), time("time"));
        let values = batch.column_by_name("value").unwrap().as_primitive::<Int64Type>();
        for at in 0..batch.num_rows() {
            let u64_at =
                |array: &arrow::array::BinaryArray| u64::from_be_bytes(array.value(at).try_into().unwrap());
            let u128_at =
                |array: &arrow::array::BinaryArray| u128::from_be_bytes(array.value(at).try_into().unwrap());
            rows.push((
                services.value(at).to_owned(),
                types.value(at).to_owned(),
                windows.value(at),
                u128_at(&stacks),
                u64_at(&series),
                times.value(at),
                values.value(at),
                spans.is_valid(at).then(|| u64_at(&spans)),
                traces.is_valid(at).then(|| u128_at(&traces)),
            ));
        }
    }
    rows
}

fn plain_batches(path: &Path) -> Vec<RecordBatch> {
    let file = std::fs::File::open(path).unwrap();
    ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().map(Result::unwrap).collect()
}

/// The rows that the samples of `head` must become, by day.
fn expected_samples(head: &Head) -> BTreeMap<i32, Vec<SampleRow>> {
    let mut days: BTreeMap<i32, Vec<SampleRow>> = BTreeMap::new();
    for chunk in &head.chunks {
        let mut start = 0;
        for profile in &chunk.profiles {
            let series = &head.series[&profile.series];
            for at in start..profile.samples_end as usize {
                let (span, trace) = (chunk.sample_spans[at], chunk.sample_traces[at]);
                days.entry(day(profile.time)).or_default().push((
                    series.service().to_owned(),
                    series.profile_type.to_string(),
                    window(profile.time),
                    chunk.stacks[chunk.sample_stacks[at] as usize].0,
                    profile.series.0,
                    micros(profile.time),
                    chunk.sample_values[at],
                    (span != 0).then_some(span),
                    (trace != 0).then_some(trace),
                ));
            }
            start = profile.samples_end as usize;
        }
    }
    days
}

#[track_caller]
fn check_samples(head: &Head, paths: &[PathBuf]) {
    let mut days = expected_samples(head);
    for path in paths {
        let rows = read_samples(path);
        let key = |row: &SampleRow| (row.0.clone(), row.1.clone(), row.2, row.3, row.4, row.5);
        assert!(rows.is_sorted_by_key(key), "{path:?} is not sorted");
        let (mut rows, mut expected) = (rows.clone(), days.remove(&day(rows[0].5 * 1_000)).unwrap());
        rows.sort();
        expected.sort();
        assert_eq!(rows, expected);
    }
    assert!(days.is_empty(), "{} days are missing", days.len());
}

/// The files that a commit added to a table.
fn added(committed: &Committed, table: TableId) -> &[Arc<DataFile>] {
    let applied = committed.iter().find(|(of, _)| *of == table).and_then(|(_, applied)| applied.last());
    applied.map_or(&[], |applied| &applied.added)
}

/// The sequences of the four tables that a flush goes into.
fn sequences(opened: &Opened) -> Sequences {
    let of = |table| opened.tables[table].sequence;
    Sequences {
        stacks: of(TableId::Stacks),
        series: of(TableId::Series),
        profiles: of(TableId::Profiles),
        samples: of(TableId::Samples),
    }
}

fn paths(files: &[Arc<DataFile>]) -> Vec<PathBuf> {
    files.iter().map(|file| file.path.clone()).collect()
}

/// Files with all that is known of them, in the order of their paths.
fn sorted_files(files: &[Arc<DataFile>]) -> Vec<(PathBuf, u64, crate::FileStats)> {
    let mut files: Vec<_> =
        files.iter().map(|file| (file.path.clone(), file.bytes, file.stats.clone())).collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_before_the_first_commit() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tenant");
    let (_, opened) = open_tables(root.clone()).await.unwrap();
    assert_eq!(sequences(&opened), Sequences::default());
    assert!(!root.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a tenant #1");
    let head = hostile();
    let (tables, _) = open_tables(root.clone()).await.unwrap();
    let committed = tables.commit(&head.flush(7), Sequences::default()).await.unwrap();
    check_samples(&head, &paths(added(&committed, TableId::Samples)));

    let (_, opened) = open_tables(root).await.unwrap();
    assert_eq!(sequences(&opened), Sequences { stacks: 7, series: 7, profiles: 7, samples: 7 });
    assert_eq!(
        sorted_files(&opened.tables[TableId::Samples].files),
        sorted_files(added(&committed, TableId::Samples))
    );
    assert_eq!(
        sorted_files(&opened.tables[TableId::Profiles].files),
        sorted_files(added(&committed, TableId::Profiles))
    );
    assert_eq!(
        sorted_files(&opened.tables[TableId::Stacks].files),
        sorted_files(added(&committed, TableId::Stacks))
    );
    let key = |row: &SeriesDay| (row.day, row.id);
    let (mut series, mut expected) = (opened.series, head.series_days.clone());
    series.sort_by_key(key);
    expected.sort_by_key(key);
    for row in &mut expected {
        (row.first, row.last) = (row.first / 1_000 * 1_000, row.last / 1_000 * 1_000);
    }
    assert_eq!(series, expected);

    let ids = opened.tables[TableId::Profiles].files.iter().flat_map(|file| read_profiles(file).unwrap());
    let mut ids: Vec<u128> = ids.map(|profile| profile.id.0).collect();
    ids.sort_unstable();
    let mut expected: Vec<u128> =
        head.chunks.iter().flat_map(|chunk| &chunk.profiles).map(|profile| profile.id.0).collect();
    expected.sort_unstable();
    assert_eq!(ids, expected);

    let file = &opened.tables[TableId::Stacks].files[0];
    let footer = file.metadata().unwrap();
    let read = |services: &[&str], wanted: &mut dyn FnMut(StackId) -> bool| {
        let mut found = Generation::default();
        read_stacks(file, &footer, Some(services), wanted, &mut found).unwrap();
        let mut ids: Vec<StackId> = head.stacks.rows.iter().map(|row| row.id).collect();
        ids.retain(|&id| found.contains(id));
        ids.sort();
        ids.dedup();
        let mut cache = StackCache::default();
        cache.load(found);
        (cache.resolve(&ids), ids)
    };
    for service in &HOSTILE[1..] {
        let (found, ids) = read(&[service], &mut |_| true);
        assert_eq!(ids.len(), 2, "{service:?}");
        for (at, id) in ids.into_iter().enumerate() {
            let mut buffer = Vec::new();
            let frames = found.stack(at).iter();
            let ids: Vec<_> = frames
                .map(|&at| found.symbols.frame_id(&found.symbols.frames[at as usize], &mut buffer))
                .collect();
            assert_eq!(stack_id(ids.into_iter(), &mut buffer), id);
        }
    }
    let wanted = head.stacks.rows[0].id;
    assert_eq!(read(&[HOSTILE[1]], &mut |id| id == wanted).1, [wanted]);
    assert!(read(&["no such service"], &mut |_| true).1.is_empty());
    let (mut left, mut asked) = (true, 0);
    let mut once = |id| {
        asked += usize::from(id == wanted);
        id == wanted && std::mem::take(&mut left)
    };
    assert_eq!(read(&HOSTILE[1..], &mut once).1, [wanted]);
    assert!(asked > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_is_committed_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tenant");
    let head = hostile();
    let (tables, _) = open_tables(root.clone()).await.unwrap();
    let first = tables.commit(&head.flush(3), Sequences::default()).await.unwrap();
    let again = tables.commit(&head.flush(3), Sequences::default()).await.unwrap();
    assert!(
        added(&again, TableId::Samples).is_empty()
            && added(&again, TableId::Profiles).is_empty()
            && added(&again, TableId::Stacks).is_empty()
    );
    drop(tables);
    let (tables, opened) = open_tables(root.clone()).await.unwrap();
    let after = tables.commit(&head.flush(3), sequences(&opened)).await.unwrap();
    assert!(added(&after, TableId::Samples).is_empty());
    assert_eq!(
        sorted_files(&open_tables(root).await.unwrap().1.tables[TableId::Samples].files),
        sorted_files(added(&first, TableId::Samples))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_two_tables_is_made_good() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tenant");
    let head = hostile();
    let (tables, _) = open_tables(root.clone()).await.unwrap();
    let done = Sequences { profiles: u64::MAX, samples: u64::MAX, ..Sequences::default() };
    let committed = tables.commit(&head.flush(9), done).await.unwrap();
    assert!(added(&committed, TableId::Samples).is_empty() && !added(&committed, TableId::Stacks).is_empty());
    drop(tables);
    // The crash was while the third table was written: a file, and no commit that names it.
    let partition = root.join("profiles/date=2026-08-01");
    std::fs::create_dir_all(&partition).unwrap();
    std::fs::create_dir_all(root.join("profiles/_delta_log")).unwrap();
    std::fs::write(partition.join("00000000000000000009.parquet"), "half").unwrap();
    std::fs::write(root.join("profiles/_delta_log/00000000000000000000.json.tmp"), "{").unwrap();
    let (tables, opened) = open_tables(root.clone()).await.unwrap();
    assert_eq!(sequences(&opened), Sequences { stacks: 9, series: 9, profiles: 0, samples: 0 });
    assert_eq!(std::fs::read_dir(&partition).unwrap().count(), 0);
    let committed = tables.commit(&head.flush(9), sequences(&opened)).await.unwrap();
    assert!(added(&committed, TableId::Stacks).is_empty());
    check_samples(&head, &paths(added(&committed, TableId::Samples)));
    let (_, opened) = open_tables(root).await.unwrap();
    assert_eq!(sequences(&opened), Sequences { stacks: 9, series: 9, profiles: 9, samples: 9 });
    assert_eq!(
        sorted_files(&opened.tables[TableId::Profiles].files),
        sorted_files(added(&committed, TableId::Profiles))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_failed_can_be_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tenant");
    let head = hostile();
    let (tables, _) = open_tables(root.clone()).await.unwrap();
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join("samples"), "in the way").unwrap();
    tables.commit(&head.flush(2), Sequences::default()).await.unwrap_err();
    std::fs::remove_file(root.join("samples")).unwrap();
    let committed = tables.commit(&head.flush(2), Sequences::default()).await.unwrap();
    assert!(
        !added(&committed, TableId::Stacks).is_empty() && !added(&committed, TableId::Profiles).is_empty(),
        "files of the first try"
    );
    let (_, opened) = open_tables(root).await.unwrap();
    assert_eq!(
        sorted_files(&opened.tables[TableId::Profiles].files),
        sorted_files(added(&committed, TableId::Profiles))
    );
    assert_eq!(
        sorted_files(&opened.tables[TableId::Samples].files),
        sorted_files(added(&committed, TableId::Samples))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (tables, _) = open_tables(folder.path().to_owned()).await.unwrap();
    tables.commit(&hostile().flush(1), Sequences::default()).await.unwrap();
    let entry = folder.path().join("series/_delta_log/00000000000000000000.json");
    let text = std::fs::read_to_string(&entry).unwrap();
    let newer = text.replace(r#""everflame.formatVersion":"1""#, r#""everflame.formatVersion":"2""#);
    assert_ne!(text, newer);
    std::fs::write(&entry, newer).unwrap();
    let error = open_tables(folder.path().to_owned()).await.err().unwrap().to_string();
    assert!(error.contains("start the version that wrote it"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_checkpointed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = DeltaLog::look(&store(folder.path()), &schema::SERIES).await.unwrap();
    let head = hostile();
    log.commit(1, 1, |folder| series::write(folder, 1, &head.series_days)).unwrap();
    for sequence in 2..=101 {
        log.commit(sequence, sequence, |_| Ok(Vec::new())).unwrap();
        log.checkpoint_when_due().await;
    }
    assert!(folder.path().join("series/_delta_log/_last_checkpoint").exists());
    let files: Vec<_> = log.take_flushes().into_iter().flat_map(|applied| applied.added).collect();
    let (log, opened) = DeltaLog::look(&store(folder.path()), &schema::SERIES).await.unwrap();
    assert_eq!(log.sequence(), 101);
    assert_eq!(sorted_files(&opened), sorted_files(&files));
}

/// The types under which the query engine reads.
#[test]
fn samples_read_as_dictionaries() {
    let folder = tempfile::tempdir().unwrap();
    let head = hostile();
    let flush = head.flush(1);
    let order = SeriesOrder::new(&flush).unwrap();
    for new in samples::write(&table(folder.path(), "samples"), 1, &order).unwrap() {
        let file =
            DataFile::new(folder.path().join("samples").join(&new.path), new.bytes, new.bounds.file_stats());
        let reader = parquet_file::reader(&file, &schema::SAMPLES).unwrap().build().unwrap();
        let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        assert!(
            batches
                .iter()
                .all(|batch| batch.schema().field(3).data_type()
                    == schema::SAMPLES.schema.field(3).data_type())
        );
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64, new.bounds.rows);
    }
}
