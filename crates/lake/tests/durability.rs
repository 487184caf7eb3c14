//! A lake from outside: what was acknowledged is there exactly once, whatever happened in between.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use everflame_lake::{
    Appended, Batch, Error, Lake, LakeConfig, NewStacks, ProfileId, ProfileRow, Retention, Sample, Snapshot,
    StorageConfig,
};
use everflame_profile::{Clock, Frame, Labels, Nanos, Series, StackId, SymbolInterner, Symbols, stack_id};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

fn config(path: &Path) -> LakeConfig {
    LakeConfig {
        path: path.to_owned(),
        tenant: "anonymous".to_owned(),
        flush_interval: Duration::from_secs(3600),
        flush_bytes: 32 << 20,
        storage: StorageConfig::default(),
        retention: Retention { raw: None, five_minutes: None, hour: None, ..Retention::default() },
        retention_overrides: Vec::new(),
        instance_labels: vec!["pod".to_owned()],
    }
}

/// 1970-01-01, always.
struct Epoch;

impl Clock for Epoch {
    fn now(&self) -> Nanos {
        0
    }
}

async fn open(config: LakeConfig) -> Result<Arc<Lake>, Error> {
    Lake::open(config, Arc::new(Epoch)).await
}

fn stack(functions: &[&str]) -> StackId {
    let mut buffer = Vec::new();
    let ids: Vec<_> = functions
        .iter()
        .map(|function| {
            let mut symbols = Symbols::default();
            let function = symbols.strings.push(function);
            symbols.frame_id(&Frame { function, ..Frame::default() }, &mut buffer)
        })
        .collect();
    stack_id(ids.into_iter(), &mut buffer)
}

/// One profile at `second` with two stacks; frames go along only when the lake asks for them.
fn batch(lake: &Lake, service: &str, second: i64, value: i64) -> Batch {
    let stacks: Vec<&[&str]> = vec![&["leaf", "main"], &["main"]];
    let ids: Vec<StackId> = stacks.iter().map(|functions| stack(functions)).collect();
    let (mut interner, mut new) = (SymbolInterner::default(), NewStacks::default());
    for at in lake.unknown_stacks(service, &ids) {
        for function in stacks[at as usize] {
            let function = interner.intern_string(function);
            new.frames.push(interner.intern_frame(Frame { function, ..Frame::default() }));
        }
        new.stacks.push((at, new.frames.len() as u32));
    }
    new.symbols = interner.into_symbols();
    let id = ProfileId(u128::from(second.unsigned_abs()) << 64 | u128::from(value.unsigned_abs()) | 1 << 127);
    Batch {
        service: service.to_owned(),
        upload: Some(ProfileId(!id.0)),
        series: vec![Series {
            labels: Labels::from_pairs([("service_name", service), ("pod", "a")]),
            profile_type: "process_cpu:cpu:nanoseconds:cpu:nanoseconds".parse().unwrap(),
        }],
        profiles: vec![ProfileRow {
            series: 0,
            id,
            time: second * 1_000_000_000,
            duration: 0,
            total: value + 1,
            samples_end: 2,
        }],
        samples: vec![
            Sample { stack: 0, value, span_id: 0, trace_id: 0 },
            Sample { stack: 1, value: 1, span_id: 0, trace_id: 0 },
        ],
        stacks: ids,
        new_stacks: new,
    }
}

async fn push(lake: &Lake, service: &str, second: i64, value: i64) -> Appended {
    lake.append(batch(lake, service, second, value)).await.unwrap()
}

/// Sums by stack over head and files, the slow way.
fn sums(snapshot: &Snapshot) -> BTreeMap<u128, i64> {
    let mut sums = BTreeMap::new();
    for chunk in &snapshot.head {
        for (&stack, value) in chunk.sample_stacks.iter().zip(&chunk.sample_values) {
            *sums.entry(chunk.stacks[stack as usize].0).or_default() += value;
        }
    }
    for file in &snapshot.samples {
        let reader = parquet::file::reader::SerializedFileReader::new(file.open().unwrap()).unwrap();
        for row in parquet::file::reader::FileReader::get_row_iter(&reader, None).unwrap() {
            let row = row.unwrap();
            let (mut stack, mut value) = (0, 0);
            for (name, field) in row.get_column_iter() {
                match (name.as_str(), field) {
                    ("stack_id", parquet::record::Field::Bytes(id)) => {
                        stack = u128::from_be_bytes(id.data().try_into().unwrap());
                    }
                    ("value", parquet::record::Field::Long(long)) => value = *long,
                    _ => {}
                }
            }
            *sums.entry(stack).or_default() += value;
        }
    }
    sums
}

fn expect(leaf: i64, main: i64) -> BTreeMap<u128, i64> {
    BTreeMap::from([(stack(&["leaf", "main"]).0, leaf), (stack(&["main"]).0, main)])
}

/// A copy of the folder, as a crash would leave it.
fn crashed(path: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let status =
        std::process::Command::new("cp").arg("-a").arg(path.join(".")).arg(copy.path()).status().unwrap();
    assert!(status.success());
    copy
}

fn names(lake: &Arc<Lake>, service: &str) -> Vec<String> {
    let resolved = lake.resolve_stacks(&[service], &[stack(&["leaf", "main"])]).unwrap();
    assert!(resolved.missing.is_empty());
    let frames = resolved.stack(0).iter();
    frames
        .map(|&frame| resolved.symbols.name(&resolved.symbols.frames[frame as usize]).into_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_profiles_survive_in_log_and_tables() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(config(folder.path())).await.unwrap();
    push(&lake, "api", 10, 5).await;
    assert_eq!(sums(&lake.snapshot()), expect(5, 1));
    // A crash with everything in the log.
    let copy = crashed(folder.path());
    let again = open(config(copy.path())).await.unwrap();
    assert_eq!(sums(&again.snapshot()), expect(5, 1));
    assert_eq!(names(&again, "api"), ["leaf", "main"]);
    // One in the tables, one in the log.
    lake.flush().await.unwrap();
    push(&lake, "api", 20, 7).await;
    assert_eq!(lake.snapshot().head.len(), 1);
    let copy = crashed(folder.path());
    let again = open(config(copy.path())).await.unwrap();
    assert_eq!(sums(&again.snapshot()), expect(12, 2));
    assert_eq!(names(&again, "api"), ["leaf", "main"]);
    assert_eq!(again.series(0, i64::MAX, &|_| true).len(), 1);
    // Everything in the tables.
    again.close().await.unwrap();
    drop(again);
    let copy = crashed(copy.path());
    let again = open(config(copy.path())).await.unwrap();
    assert!(again.snapshot().head.is_empty());
    assert_eq!(sums(&again.snapshot()), expect(12, 2));
    assert_eq!(names(&again, "api"), ["leaf", "main"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_two_commits_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(config(folder.path())).await.unwrap();
    push(&lake, "api", 10, 5).await;
    let before = crashed(folder.path());
    lake.flush().await.unwrap();
    let after = crashed(folder.path());
    // Each prefix of the four commits, with the log as it was before them.
    for committed in 0..=4 {
        let mixed = crashed(before.path());
        for table in ["stacks", "series", "profiles", "samples"].into_iter().take(committed) {
            let (from, to) = (after.path().join("anonymous").join(table), mixed.path().join("anonymous"));
            let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
            assert!(status.success());
        }
        let lake = open(config(mixed.path())).await.unwrap();
        assert_eq!(sums(&lake.snapshot()), expect(5, 1), "{committed} commits");
        push(&lake, "api", 20, 1).await;
        lake.close().await.unwrap();
        drop(lake);
        let copy = crashed(mixed.path());
        let lake = open(config(copy.path())).await.unwrap();
        assert_eq!(sums(&lake.snapshot()), expect(6, 2), "{committed} commits, closed");
        let profiles: u64 = lake.snapshot().profiles.iter().map(|file| file.stats.rows).sum();
        assert_eq!(profiles, 2, "{committed} commits, profiles");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(config(folder.path())).await.unwrap();
    assert_eq!(push(&lake, "api", 10, 5).await, Appended::Stored);
    assert_eq!(push(&lake, "api", 10, 5).await, Appended::Duplicate);
    let (first, second) = tokio::join!(push(&lake, "api", 20, 5), push(&lake, "api", 20, 5));
    assert_ne!(first, second);
    lake.flush().await.unwrap();
    assert_eq!(push(&lake, "api", 10, 5).await, Appended::Duplicate);
    for copy in [crashed(folder.path())] {
        let lake = open(config(copy.path())).await.unwrap();
        assert_eq!(push(&lake, "api", 20, 5).await, Appended::Duplicate);
        assert_eq!(push(&lake, "api", 30, 5).await, Appended::Stored);
        let again = crashed(copy.path());
        drop(lake);
        let lake = open(config(again.path())).await.unwrap();
        // The first who asks may be the one who had no answer.
        for expected in [Appended::DuplicateOfLog, Appended::Duplicate] {
            assert_eq!(push(&lake, "api", 30, 5).await, expected);
        }
        lake.flush().await.unwrap();
        let third = crashed(again.path());
        let lake = open(config(third.path())).await.unwrap();
        assert_eq!(push(&lake, "api", 30, 5).await, Appended::Duplicate);
        assert_eq!(sums(&lake.snapshot()), expect(15, 3));
    }
}

/// Senders that give all that they send one id.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_share_an_id_are_all_kept() {
    let mut folder = tempfile::tempdir().unwrap();
    let shared = |lake: &Lake, second, value| {
        let mut batch = batch(lake, "api", second, value);
        batch.profiles[0].id = ProfileId(7);
        batch
    };
    let uploads = [(10, 5), (10, 6), (20, 5)];
    let mut lake = open(config(folder.path())).await.unwrap();
    for (second, value) in uploads {
        assert_eq!(lake.append(shared(&lake, second, value)).await.unwrap(), Appended::Stored);
    }
    // Retries are known by the log and by the tables.
    for flushes in [false, true] {
        if flushes {
            lake.flush().await.unwrap();
        }
        let copy = crashed(folder.path());
        drop(lake);
        folder = copy;
        lake = open(config(folder.path())).await.unwrap();
        for (second, value) in uploads {
            assert!(lake.append(shared(&lake, second, value)).await.unwrap().is_duplicate(), "{flushes}");
        }
    }
    assert_eq!(lake.append(shared(&lake, 10, 7)).await.unwrap(), Appended::Stored);
    assert_eq!(sums(&lake.snapshot()), expect(23, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_kept_out() {
    let folder = tempfile::tempdir().unwrap();
    let _lake = open(config(folder.path())).await.unwrap();
    let error = open(config(folder.path())).await.err().unwrap();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_head_flushes_by_itself_and_pushes_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(LakeConfig { flush_bytes: 2_000, ..config(folder.path()) }).await.unwrap();
    for second in 0..300 {
        push(&lake, "api", second, 1).await;
    }
    lake.flush().await.unwrap();
    let status = lake.status();
    assert!(status.flushes > 1 && status.flush_failures == 0, "{status:?}");
    assert_eq!(sums(&lake.snapshot()), expect(300, 300));
    assert_eq!(status.head_profiles, 0);
}

/// Far more than the uploads take; who waits for so long waits for ever.
const HANGS: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn pushes_go_on_while_figures_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(config(folder.path())).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let (reader, ends) = (lake.clone(), done.clone());
    let reads = std::thread::Builder::new()
        .name("reads".into())
        .spawn(move || {
            let mut reads = 0;
            while !ends.load(Relaxed) {
                let status = reader.status();
                reads += u64::from(status.head_bytes <= status.head_bytes_limit);
            }
            reads
        })
        .unwrap();
    for second in 0..500 {
        let pushed = tokio::time::timeout(HANGS, push(&lake, "api", second, 1));
        assert_eq!(pushed.await.expect("pushes and figures wait for each other"), Appended::Stored);
    }
    done.store(true, Relaxed);
    assert!(reads.join().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_close_nothing_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(config(folder.path())).await.unwrap();
    push(&lake, "api", 10, 5).await;
    lake.close().await.unwrap();
    let refused = lake.append(batch(&lake, "api", 20, 5)).await;
    assert!(matches!(refused, Err(Error::Closed)));
    assert_eq!(sums(&lake.snapshot()), expect(5, 1));
}
