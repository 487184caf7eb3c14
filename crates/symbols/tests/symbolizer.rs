//! Names come from a process of its own; what happens to it happens to nobody else.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test that cannot go on has failed")]

use everflame_profile::{Clock, Nanos};
use everflame_symbols::{
    BuildId, Error, FileKind, FileWanted, PATIENCE, Place, Store, StoreLimits, Symbolizer, Upload,
    UploadRequest, Wanted, Worker,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

#[derive(Debug, Default)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Nanos {
        self.0.load(Relaxed)
    }
}

fn build() -> BuildId {
    BuildId::parse("c0ffee").unwrap()
}

/// A store with one file, which is some program of this machine.
fn store(folder: &Path, clock: Arc<Hand>) -> Arc<Store> {
    let store = Arc::new(Store::open(folder.to_owned(), StoreLimits::default(), clock).unwrap());
    put(&store, false);
    store
}

fn put(store: &Arc<Store>, force: bool) {
    let file = std::fs::read("/bin/sh").unwrap();
    let asked = UploadRequest { size: file.len() as u64, force, ..UploadRequest::default() };
    let id = store.initiate(&build(), FileKind::Debuginfo, asked).unwrap();
    let mut upload = Upload::begin(store, build(), FileKind::Debuginfo, Some(&id)).unwrap();
    file.chunks(10_000).for_each(|piece| upload.write(piece).unwrap());
    assert_eq!(upload.end().unwrap(), file.len() as u64);
    store.finish(&build(), FileKind::Debuginfo, Some(&id)).unwrap();
}

fn shell(script: &str) -> Worker {
    Worker { program: "/bin/sh".into(), arguments: vec!["-c".to_owned(), script.to_owned()] }
}

/// The names of the addresses 1 and 2, as far as they are known.
async fn ask(symbolizer: &Arc<Symbolizer>) -> Vec<(u64, String)> {
    let places = [1, 2].map(Place::Virtual);
    let wanted = Wanted::from([(build(), places.into_iter().collect())]);
    let symbolizer = symbolizer.clone();
    let mut patience = PATIENCE;
    let work = move || symbolizer.resolve(&wanted, &mut patience);
    let known = tokio::task::spawn_blocking(work).await.unwrap();
    let mut names = Vec::new();
    for (place, calls) in known.values().flatten() {
        let Place::Virtual(address) = place else { panic!("{place:?}") };
        names.push((*address, calls[0].function.clone()));
    }
    names.sort();
    names
}

#[tokio::test]
async fn answers_before_a_breakdown_count() {
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    let store = store(&folder.path().join("files"), Arc::default());
    let script = format!(
        "read order; echo x >> {}; echo '[{{\"Virtual\":1}},[{{\"f\":\"work\"}}]]'; kill -9 $$",
        count.display()
    );
    let symbolizer = Arc::new(Symbolizer::new(store.clone(), shell(&script), Vec::new()));
    for _ in 0..3 {
        assert_eq!(ask(&symbolizer).await, [(1, "work".to_owned())]);
    }
    let status = symbolizer.status();
    assert_eq!((status.resolved, status.failed, status.waiting), (1, 1, 0));
    // Twice for all, once without debug information for what was missing.
    assert_eq!(std::fs::read_to_string(&count).unwrap().lines().count(), 3);
    // Another start tries what broke off again, and knows the rest.
    let symbolizer = Arc::new(Symbolizer::new(store.clone(), shell("exit 1"), Vec::new()));
    assert_eq!(ask(&symbolizer).await, [(1, "work".to_owned())]);
    assert_eq!(symbolizer.status().failed, 1);
    // Another file, and all is asked anew.
    let script = "read order; echo '[{\"Virtual\":2},[{\"f\":\"other\"}]]'; echo '[{\"Virtual\":1},[]]'";
    let symbolizer = Arc::new(Symbolizer::new(store.clone(), shell(script), Vec::new()));
    put(&store, true);
    assert_eq!(ask(&symbolizer).await, [(2, "other".to_owned())]);
    let status = symbolizer.status();
    assert_eq!((status.resolved, status.unknown, status.failed), (1, 1, 0));
    store.remove(&build()).unwrap();
    assert_eq!(ask(&symbolizer).await, []);
    assert_eq!((store.status().files, store.status().bytes), (0, 0));
}

/// A process that does `then` when it may read all, which it notes in `count`, and knows a name without lines
/// otherwise.
fn shell_with_tables(count: &Path, then: &str) -> Worker {
    let stopgap = "echo '[{\"Virtual\":1},[{\"f\":\"stopgap\"}]]'; echo '[{\"Virtual\":2},[]]'";
    let count = count.display();
    shell(&format!("read order; case $order in *Tables*) {stopgap};; *) echo x >> {count}; {then};; esac"))
}

const BOTH: &str = "echo '[{\"Virtual\":1},[{\"f\":\"work\",\"l\":7}]]'; echo '[{\"Virtual\":2},[]]'";

#[tokio::test]
async fn a_process_that_was_killed_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    let times = || std::fs::read_to_string(&count).unwrap().lines().count();
    let clock = Arc::new(Hand::default());
    let store = store(&folder.path().join("files"), clock.clone());
    // Once, and it goes on at once.
    let killed = |times| format!("test $(wc -l < {}) -gt {times} || kill -9 $$; {BOTH}", count.display());
    let worker = shell_with_tables(&count, &killed(1));
    let symbolizer = Arc::new(Symbolizer::new(store.clone(), worker, Vec::new()));
    assert_eq!(ask(&symbolizer).await, [(1, "work".to_owned())]);
    assert_eq!((times(), symbolizer.status().failed), (2, 0));
    // Again, and what the symbol tables say stands for a while, and is not kept.
    put(&store, true);
    let worker = shell_with_tables(&count, &killed(4));
    let symbolizer = Arc::new(Symbolizer::new(store.clone(), worker, Vec::new()));
    for _ in 0..3 {
        assert_eq!(ask(&symbolizer).await, [(1, "stopgap".to_owned())]);
    }
    assert_eq!((times(), symbolizer.status().failed, symbolizer.status().resolved), (4, 2, 0));
    clock.0.store(30_000_000_000, Relaxed);
    for _ in 0..3 {
        assert_eq!(ask(&symbolizer).await, [(1, "work".to_owned())]);
    }
    assert_eq!((times(), symbolizer.status().resolved), (5, 1));
    let symbolizer = Arc::new(Symbolizer::new(store.clone(), shell("exit 1"), Vec::new()));
    assert_eq!(ask(&symbolizer).await, [(1, "work".to_owned())]);
}

#[tokio::test]
async fn files_that_break_the_process_are_tried_again_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    let clock = Arc::new(Hand::default());
    let store = store(&folder.path().join("files"), clock.clone());
    for (round, then) in
        ["exit 1", "kill -ABRT $$", "kill -XCPU $$", "echo nonsense; exec sleep 1000"].iter().enumerate()
    {
        let worker = shell_with_tables(&count, then);
        let symbolizer = Arc::new(Symbolizer::new(store.clone(), worker, Vec::new()));
        for hour in 0..5 {
            clock.0.store(hour * 3_600_000_000_000, Relaxed);
            assert_eq!(ask(&symbolizer).await, [(1, "stopgap".to_owned())], "{then}");
        }
        assert_eq!(std::fs::read_to_string(&count).unwrap().lines().count(), round + 1, "{then}");
    }
    let symbolizer = Arc::new(Symbolizer::new(store, shell_with_tables(&count, BOTH), Vec::new()));
    assert_eq!(ask(&symbolizer).await, [(1, "work".to_owned())]);
}

#[tokio::test]
async fn nothing_is_asked_or_kept_after_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (files, count) = (folder.path().join("files"), folder.path().join("count"));
    let worker = shell_with_tables(&count, &format!("{BOTH}; exec sleep 1000"));
    let store = store(&files, Arc::default());
    let symbolizer = Arc::new(Symbolizer::new(store, worker, Vec::new()));
    let asking = tokio::spawn({
        let symbolizer = symbolizer.clone();
        async move { ask(&symbolizer).await }
    });
    while !count.exists() {
        tokio::task::yield_now().await;
    }
    symbolizer.close();
    assert_eq!(asking.await.unwrap(), []);
    assert_eq!(ask(&symbolizer).await, []);
    assert_eq!(std::fs::read_to_string(&count).unwrap().lines().count(), 1);
    assert!(!files.join("c0ffee").join("names.jsonl").exists());
}

#[tokio::test]
async fn names_that_have_no_room_together_are_all_answered() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(
        Store::open(folder.path().to_owned(), StoreLimits::default(), Arc::new(Hand::default())).unwrap(),
    );
    let file = std::fs::read("/bin/sh").unwrap();
    let builds = ["aaaa", "bbbb", "cccc"].map(|id| BuildId::parse(id).unwrap());
    for build in &builds {
        let asked = UploadRequest { size: file.len() as u64, ..UploadRequest::default() };
        let id = store.initiate(build, FileKind::Debuginfo, asked).unwrap();
        let mut upload = Upload::begin(&store, build.clone(), FileKind::Debuginfo, Some(&id)).unwrap();
        upload.write(&file).unwrap();
        upload.end().unwrap();
        store.finish(build, FileKind::Debuginfo, Some(&id)).unwrap();
    }
    // Any two are more than tables may take in memory.
    let worker = shell(
        "read order; printf '[{\"Virtual\":1},[{\"f\":\"'; head -c 40000000 /dev/zero | tr '\\0' x; echo '\"}]]'",
    );
    let place = || std::iter::once(Place::Virtual(1)).collect();
    let wanted: Wanted = builds.iter().map(|build| (build.clone(), place())).collect();
    for worker in [worker, shell("exit 1")] {
        let symbolizer = Arc::new(Symbolizer::new(store.clone(), worker, Vec::new()));
        for _ in 0..2 {
            let (symbolizer, wanted) = (symbolizer.clone(), wanted.clone());
            let work = move || symbolizer.resolve(&wanted, &mut std::time::Duration::from_secs(60));
            let known = tokio::task::spawn_blocking(work).await.unwrap();
            let lengths =
                |build| known[build].values().map(|calls| calls[0].function.len()).collect::<Vec<_>>();
            assert_eq!(builds.each_ref().map(lengths), [[40_000_000], [40_000_000], [40_000_000]]);
        }
        assert_eq!(symbolizer.status().failed, 0);
        assert!(symbolizer.status().cache_bytes <= symbolizer.status().cache_bytes_limit);
    }
}

#[tokio::test]
async fn nonsense_from_the_process_is_no_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder.path().join("files"), Arc::default());
    for worker in [shell("echo nonsense"), Worker { program: "/nowhere".into(), arguments: Vec::new() }] {
        let symbolizer = Arc::new(Symbolizer::new(store.clone(), worker, Vec::new()));
        assert_eq!(ask(&symbolizer).await, []);
        assert_eq!(symbolizer.status().failed, 2);
    }
}

#[test]
fn uploads_that_are_not_finished_go_stale() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hand::default());
    let store = Store::open(folder.path().to_owned(), StoreLimits::default(), clock.clone()).unwrap();
    let store = Arc::new(store);
    let wanted = || store.wanted(&build(), FileKind::Executable, false).unwrap().is_wanted();
    let begin = || store.initiate(&build(), FileKind::Executable, UploadRequest::default());
    assert!(wanted());
    let first = begin().unwrap();
    assert!(!wanted() && begin().is_err());
    let mut part = Upload::begin(&store, build(), FileKind::Executable, Some(&first)).unwrap();
    part.write(b"\x7fELF").unwrap();
    clock.0.store(16 * 60 * 1_000_000_000, Relaxed);
    assert!(wanted());
    let second = begin().unwrap();
    assert!(first != second);
    assert!(Upload::begin(&store, build(), FileKind::Executable, Some(&first)).is_err());
    drop(part);
    assert_eq!(store.status().bytes, 0);
    // A part that a crash left is no file, and goes with the next start.
    let part = folder.path().join("c0ffee").join("executable.x.part");
    std::fs::write(&part, b"half").unwrap();
    let store = Store::open(folder.path().to_owned(), StoreLimits::default(), clock).unwrap();
    assert!(!part.exists());
    assert_eq!((store.status().files, store.status().bytes), (0, 0));
}

#[test]
fn forced_uploads_begin_anew_and_leave_nothing_of_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_owned(), StoreLimits::default(), Arc::new(Hand::default()));
    let store = Arc::new(store.unwrap());
    let file = std::fs::read("/bin/sh").unwrap();
    let kind = FileKind::Debuginfo;
    let asked = |force| UploadRequest { size: file.len() as u64, force, ..UploadRequest::default() };
    let receive = |id: &str| {
        let mut upload = Upload::begin(&store, build(), kind, Some(id)).unwrap();
        upload.write(&file).unwrap();
        upload
    };
    let is_wanted = |force| store.wanted(&build(), kind, force).unwrap();
    let first = store.initiate(&build(), kind, asked(false)).unwrap();
    let part = receive(&first);
    assert_eq!((is_wanted(false), is_wanted(true)), (FileWanted::InProgress, FileWanted::Restarted));
    assert!(store.initiate(&build(), kind, asked(false)).is_err());
    // While the first is being received.
    let second = store.initiate(&build(), kind, asked(true)).unwrap();
    let refusal = part.end().unwrap_err().to_string();
    assert!(refusal.contains("is not that of the upload"), "{refusal}");
    assert!(store.finish(&build(), kind, Some(&first)).is_err());
    // When the second was received and is not finished.
    receive(&second).end().unwrap();
    let third = store.initiate(&build(), kind, asked(true)).unwrap();
    assert!(store.finish(&build(), kind, Some(&second)).is_err());
    assert_eq!(store.status().bytes, 0);
    receive(&third).end().unwrap();
    store.finish(&build(), kind, Some(&third)).unwrap();
    assert_eq!((store.status().files, store.status().bytes), (1, file.len() as u64));
    let mut names: Vec<_> = std::fs::read_dir(folder.path().join("c0ffee"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["debuginfo", "debuginfo.json"]);
}

#[test]
fn a_full_store_wants_no_more_and_lets_files_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = std::fs::read("/bin/sh").unwrap();
    let size = file.len() as u64;
    let limits = StoreLimits { total_bytes: size + size / 2, ..StoreLimits::default() };
    let store = Arc::new(Store::open(folder.path().to_owned(), limits, Arc::new(Hand::default())).unwrap());
    put(&store, false);
    let other = BuildId::parse("facade").unwrap();
    let wanted = |build: &BuildId, force| store.wanted(build, FileKind::Debuginfo, force).unwrap();
    let initiate = |build: &BuildId, hash: &str, size, force| {
        let hash = hash.to_owned();
        store.initiate(
            build,
            FileKind::Debuginfo,
            UploadRequest { size, hash, force, ..UploadRequest::default() },
        )
    };
    // Its size is known once it was refused.
    assert_eq!(wanted(&other, false), FileWanted::New);
    assert!(matches!(initiate(&other, "x", size, false), Err(Error::Full(_))));
    assert_eq!((wanted(&other, false), wanted(&other, true)), (FileWanted::Full, FileWanted::Full));
    assert!(wanted(&other, false).reason().contains("debug-files-size"));
    // The one that is there goes when it is replaced.
    assert_eq!((wanted(&build(), false), wanted(&build(), true)), (FileWanted::Exists, FileWanted::Forced));
    put(&store, true);
    assert_eq!((store.status().files, store.status().bytes), (1, size));
    assert!(matches!(initiate(&build(), "x", 2 * size, true), Err(Error::Full(_))));
    // Whether it is the same tells the hash.
    assert!(matches!(initiate(&build(), "", size, false), Err(Error::Exists(_))));
    assert!(matches!(initiate(&build(), "another", size, false), Err(Error::NotNow(_))));
    assert!(matches!(initiate(&other, "x", u64::MAX, false), Err(Error::Invalid(_))));
    store.remove(&build()).unwrap();
    assert_eq!(wanted(&other, false), FileWanted::New);
    initiate(&other, "x", size, false).unwrap();
}
