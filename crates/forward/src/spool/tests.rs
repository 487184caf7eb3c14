use super::*;
use crate::outgoing::tests::batch;
use crate::via::tests::chain;
use proptest::prelude::*;
use std::path::Path;

struct At(AtomicI64);

impl Clock for At {
    fn now(&self) -> Nanos {
        self.0.fetch_add(1, Relaxed)
    }
}

fn open(folder: &Path, limit: u64) -> Spool {
    let select = Select::new(|series| series.labels.get("pod") != "silent");
    Spool::open(folder.to_owned(), limit, select, Arc::new(At(AtomicI64::new(100)))).unwrap()
}

fn write_through(spool: &Spool, service: &str, via: &Via) -> Vec<Unsent> {
    let frame = spool.frame(&batch(service, &["a", "b"]), via).unwrap();
    spool.write(&frame)
}

fn write(spool: &Spool, service: &str) -> Vec<Unsent> {
    write_through(spool, service, &Via::default())
}

fn names(chunk: &Chunk) -> Vec<&str> {
    chunk.entries.iter().map(|entry| entry.service.as_str()).collect()
}

#[test]
fn in_order_in_parts_and_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), 1 << 20);
    assert_eq!(spool.next(1 << 20, 10).unwrap(), None);
    for service in ["s1", "s2", "s3"] {
        assert_eq!(write(&spool, service), []);
    }
    assert!(spool.frame(&batch("s", &["silent"]), &Via::default()).is_none());
    let first = spool.next(1 << 20, 2).unwrap().unwrap();
    assert_eq!(names(&first), ["s1", "s2"]);
    assert_eq!(spool.next(1, 10).unwrap().unwrap().entries, first.entries[..1]);
    spool.advance(first.end).unwrap();
    assert!(spool.is_behind(first.entries[0].end) && spool.is_behind(first.end));

    // The process ends without a word, in the middle of a write.
    drop(spool);
    let last = segment::list(folder.path()).unwrap().pop().unwrap();
    let mut file = OpenOptions::new().append(true).open(segment::path(folder.path(), last.number)).unwrap();
    file.write_all(&[200, 0, 0, 0, 1, 2, 3, 4, 5]).unwrap();
    let spool = open(folder.path(), 1 << 20);
    assert_eq!(write(&spool, "s4"), []);
    let chunk = spool.next(1 << 20, 10).unwrap().unwrap();
    assert_eq!((names(&chunk), chunk.damaged.len()), (vec!["s3", "s4"], 0));
    assert!(spool.status().spool_bytes > 0);
    spool.sync().unwrap();
    spool.advance(chunk.end).unwrap();
    assert_eq!(spool.next(1 << 20, 10).unwrap(), None);
    assert_eq!(spool.status().spool_bytes, 0);
    // What was taken is gone from the disk; the last file is still written.
    assert_eq!(segment::list(folder.path()).unwrap().len(), 1);
}

#[test]
fn chains_are_kept_and_end_where_they_began() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), 1 << 20);
    let id = spool.id;
    for (service, ids) in [("s1", 0), ("s2", 2), ("s3", 15)] {
        assert!(!spool.is_back(&chain(ids)));
        assert_eq!(write_through(&spool, service, &chain(ids)), []);
    }
    assert!(spool.frame(&batch("s", &["a"]), &chain(16)).is_none());
    assert!(spool.is_back(&chain(2).then(id)) && spool.is_back(&Via::default().then(id)));
    assert_eq!(spool.status().returned, 2);
    drop(spool);
    let spool = open(folder.path(), 1 << 20);
    assert_eq!(spool.id, id);
    let chains: Vec<Via> =
        spool.next(1 << 20, 10).unwrap().unwrap().entries.into_iter().map(|entry| entry.via).collect();
    assert_eq!(chains, [chain(0), chain(2), chain(15)]);
}

#[test]
fn segments_of_version_1_have_no_chains() {
    let folder = tempfile::tempdir().unwrap();
    {
        let spool = open(folder.path(), 1 << 20);
        write(&spool, "s1");
    }
    // The same frame as the first version wrote it: without the byte behind the name that says that no ids follow.
    let only = segment::list(folder.path()).unwrap()[0];
    let path = segment::path(folder.path(), only.number);
    let bytes = fs::read(&path).unwrap();
    let mut body = bytes[MAGIC.len() + entry::FRAME_BYTES..].to_vec();
    assert_eq!(body.remove(14 + "s1".len()), 0);
    let head = [body.len() as u32, crc32c::crc32c(&body)].map(u32::to_le_bytes).concat();
    fs::write(&path, [&b"EFSPOOL\x01"[..], &head, &body].concat()).unwrap();

    let spool = open(folder.path(), 1 << 20);
    write_through(&spool, "s2", &chain(1));
    let chunk = spool.next(1 << 20, 10).unwrap().unwrap();
    assert_eq!((names(&chunk), chunk.damaged.len()), (vec!["s1", "s2"], 0));
    assert_eq!(chunk.entries[0].batch().unwrap(), batch("s1", &["a", "b"]));
    assert_eq!([0, 1].map(|at| chunk.entries[at].via.clone()), [chain(0), chain(1)]);
}

#[test]
fn the_oldest_makes_room_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let limit = 20 << 10;
    let spool = open(folder.path(), limit);
    let (mut written, mut lost) = (0, 0);
    let mut taken = 0;
    for round in 0..400 {
        lost += write(&spool, &format!("s{round}")).iter().map(|unsent| unsent.profiles).sum::<u64>();
        written += 2;
        let disk: u64 = segment::list(folder.path()).unwrap().iter().map(|segment| segment.bytes).sum();
        assert!(disk <= limit, "{disk}");
        if round == 100 {
            let chunk = spool.next(1 << 20, 3).unwrap().unwrap();
            taken = chunk.entries.iter().map(|entry| u64::from(entry.profiles)).sum();
            spool.advance(chunk.end).unwrap();
        }
    }
    let left: u64 = spool
        .next(1 << 20, 10_000)
        .unwrap()
        .unwrap()
        .entries
        .iter()
        .map(|entry| u64::from(entry.profiles))
        .sum();
    assert!(lost > 0 && left > 0);
    assert_eq!(taken + lost + left, written);
    assert_eq!(spool.status().dropped, [lost, 0, 0]);
    // The newest are there.
    let last = spool.next(1 << 20, 10_000).unwrap().unwrap();
    assert_eq!(last.entries.last().unwrap().service, "s399");
}

#[test]
fn one_that_is_larger_than_all_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), 64);
    let unsent = write(&spool, "s");
    assert_eq!((unsent.len(), unsent[0].reason, unsent[0].profiles), (1, UnsentReason::Spool, 2));
    assert_eq!(spool.next(1 << 20, 10).unwrap(), None);
}

#[test]
fn damage_costs_the_rest_of_a_segment_alone() {
    let folder = tempfile::tempdir().unwrap();
    {
        let spool = open(folder.path(), 1 << 20);
        write(&spool, "s1");
        write(&spool, "s2");
    }
    let only = segment::list(folder.path()).unwrap()[0];
    let path = segment::path(folder.path(), only.number);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() * 3 / 4;
    bytes[middle] ^= 0xff;
    fs::write(&path, &bytes).unwrap();
    let spool = open(folder.path(), 1 << 20);
    write(&spool, "s3");
    let chunk = spool.next(1 << 20, 10).unwrap().unwrap();
    assert_eq!((names(&chunk), chunk.damaged.len()), (vec!["s1", "s3"], 1));
    fs::write(&path, b"what is this?").unwrap();
    let chunk = spool.next(1 << 20, 10).unwrap().unwrap();
    assert_eq!((names(&chunk), chunk.damaged.len()), (vec!["s3"], 1));
    fs::write(&path, b"").unwrap();
    assert_eq!(names(&spool.next(1 << 20, 10).unwrap().unwrap()), ["s3"]);
}

/// What happens to a spool.
#[derive(Clone, Debug)]
enum Step {
    Write,
    /// So many entries are sent and taken.
    Send(usize),
    /// The process is killed and started again, perhaps in the middle of a write.
    Restart(Vec<u8>),
    /// The file of the position is gone: what was taken may come again.
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Write),
        3 => (1usize..6).prop_map(Step::Send),
        1 => prop::collection::vec(any::<u8>(), 0..7).prop_map(Step::Restart),
        1 => Just(Step::Forget),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// In order, each entry is sent or counted as dropped, whatever happens.
    #[test]
    fn nothing_is_lost_in_silence(steps in steps(), limit in 3_000u64..30_000) {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = open(folder.path(), limit);
        let (mut waiting, mut written) = (VecDeque::new(), 0u64);
        let (mut again, mut is_written) = (0, false);
        for step in steps.into_iter().chain([Step::Send(usize::MAX)]) {
            match step {
                Step::Write => {
                    let own = format!("s{written}");
                    written += 1;
                    is_written = true;
                    let dropped = write(&spool, &own);
                    waiting.push_back(own);
                    for unsent in dropped {
                        // What was taken already may be dropped when nobody remembers that.
                        let at = waiting.iter().position(|name| *name == unsent.service);
                        prop_assert!(at.is_some() || again > 0, "{}", unsent.service);
                        if let Some(at) = at {
                            waiting.remove(at);
                        }
                    }
                }
                Step::Send(most) => {
                    while let Some(chunk) = spool.next(u64::MAX, most).unwrap() {
                        prop_assert!(chunk.damaged.is_empty());
                        for entry in &chunk.entries {
                            if waiting.front() == Some(&entry.service) {
                                waiting.pop_front();
                            } else {
                                prop_assert!(again > 0, "{} instead of {:?}", entry.service, waiting.front());
                            }
                        }
                        spool.advance(chunk.end).unwrap();
                        if most != usize::MAX {
                            break;
                        }
                    }
                }
                Step::Restart(torn) => {
                    drop(spool);
                    let last = segment::list(folder.path()).unwrap().pop();
                    if let Some(last) = last.filter(|_| std::mem::take(&mut is_written)) {
                        let path = segment::path(folder.path(), last.number);
                        OpenOptions::new().append(true).open(path).unwrap().write_all(&torn).unwrap();
                    }
                    spool = open(folder.path(), limit);
                }
                Step::Forget => {
                    drop(spool);
                    let _ = fs::remove_file(folder.path().join("position"));
                    again += 1;
                    spool = open(folder.path(), limit);
                }
            }
            let disk: u64 = segment::list(folder.path()).unwrap().iter().map(|segment| segment.bytes).sum();
            prop_assert!(disk <= limit + 7 * 60, "{disk}");
        }
        prop_assert!(waiting.is_empty(), "{waiting:?}");
        prop_assert_eq!(spool.status().spool_bytes, 0);
    }

    /// Whatever is in a file, reading it ends, and what comes after it is sent.
    #[test]
    fn hostile_files_are_passed_by(content in prop::collection::vec(any::<u8>(), 0..200), magic in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let head = if magic { &MAGIC[..] } else { &[] };
        fs::write(segment::path(folder.path(), 1), [head, &content].concat()).unwrap();
        let spool = open(folder.path(), 1 << 20);
        write(&spool, "after");
        let chunk = spool.next(u64::MAX, 100).unwrap().unwrap();
        prop_assert_eq!(names(&chunk), ["after"]);
        spool.advance(chunk.end).unwrap();
        prop_assert_eq!(spool.next(u64::MAX, 100).unwrap(), None);
    }
}
