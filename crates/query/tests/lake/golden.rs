//! A store that format version 1 wrote, with everything that can be in one: it opens, for ever.
//!
//! `EVERFLAME_WRITE_GOLDEN=1 cargo test -p everflame-query --test lake golden` writes it again, which nothing
//! but a mistake in it is a reason for: a new version of the format gets a folder of its own.

use crate::store::{AUGUST, DAY, HOUR, Pushed, SetClock, batch, forever, open};
use crate::tiers::check;
use everflame_query::{Engine, Limits, TimeRange};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lake/golden-v1")
}

/// The profiles in the store: ten days of three services.
fn profiles() -> Vec<Pushed> {
    let profile = |at: i64| Pushed {
        service: (at % 3) as usize,
        pod: (at / 3 % 3) as usize,
        kind: (at / 9 % 2) as usize,
        time: AUGUST + at * 2 * HOUR + at * 1_000,
        samples: vec![((at % 5) as usize, 1 + at), (5 + (at % 2) as usize, -at)],
    };
    (0..120).map(profile).collect()
}

/// Pushes the profiles: some are in compacted files and sums, some in files of a flush, some in the log.
async fn write(path: &Path) {
    let clock = Arc::new(SetClock(AtomicI64::new(AUGUST + 90 * DAY)));
    let lake = open(path, &forever(), &clock).await;
    for (at, pushed) in profiles().iter().enumerate() {
        lake.append(batch(&lake, pushed, at as u128)).await.unwrap();
        match at {
            30 => lake.flush().await.unwrap(),
            80 => {
                lake.flush().await.unwrap();
                lake.compact().await.unwrap();
            }
            100 => lake.flush().await.unwrap(),
            _ => {}
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_version_1_opens() {
    if std::env::var_os("EVERFLAME_WRITE_GOLDEN").is_some() {
        let made = tempfile::tempdir().unwrap();
        write(made.path()).await;
        let _ = std::fs::remove_dir_all(folder());
        copy(made.path(), &folder());
        let _ = std::fs::remove_file(folder().join("lock"));
    }
    let opened = tempfile::tempdir().unwrap();
    copy(&folder(), opened.path());
    let clock = Arc::new(SetClock(AtomicI64::new(AUGUST + 90 * DAY)));
    let lake = open(opened.path(), &forever(), &clock).await;
    let snapshot = lake.snapshot();
    assert!(snapshot.tiers.iter().all(|tier| !tier.samples.is_empty() && !tier.profiles.is_empty()));
    assert!(!snapshot.head.is_empty(), "the log is replayed");
    drop(snapshot);
    let all = profiles();
    for round in 0..2 {
        let engine = Engine::new(lake.clone(), Limits::default());
        for selector in ["{}", r#"{service_name="shop"}"#, r#"{pod="pod-1"}"#] {
            for kind in 0..2 {
                check(&engine, &all, selector, kind, TimeRange::ALL).await;
                let range = TimeRange::new(AUGUST + 5 * HOUR, AUGUST + 8 * DAY + 3 * HOUR);
                check(&engine, &all, selector, kind, range).await;
            }
        }
        // And it goes on from there.
        if round == 0 {
            lake.flush().await.unwrap();
            lake.compact().await.unwrap();
        }
    }
}
