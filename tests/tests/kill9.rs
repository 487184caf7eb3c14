//! Whatever was acknowledged survives `kill -9` at any moment, and is there exactly once.
//!
//! `EVERFLAME_KILL_ROUNDS` sets the number of kills; `tests/kill9.sh` runs many.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use everflame_tests::{Bucket, Server, Upload, check_uploads, now_ms, push, skip};
use reqwest::StatusCode;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const CONNECTIONS: usize = 6;
const ROUNDS: u64 = 8;
const BUCKET_ROUNDS: u64 = 3;
/// So many of 1,000 requests to a bucket fail.
const FAILING: u64 = 50;
/// A round ends after at most so many acknowledgements, and a moment.
const MOST_ACKNOWLEDGED: u64 = 150;
/// The first answers may take so long on a busy machine.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_MOMENT: Duration = Duration::from_millis(30);
/// Flushes are nearly always under way.
const CONSTANT_FLUSHES: [&str; 4] = ["--flush-size", "32KiB", "--flush-interval", "40ms"];

/// What one connection sent in one round.
#[derive(Default)]
struct Sent {
    acknowledged: Vec<Upload>,
    /// The server died before it answered.
    unanswered: Vec<Upload>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_profiles_survive_kill_9() -> Result<()> {
    let mut server = Server::start_with(&CONSTANT_FLUSHES)?;
    let survived = survive(&mut server, rounds(ROUNDS)?).await;
    survived.with_context(|| format!("stderr of the server:\n{}", server.stderr()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_profiles_survive_kill_9_with_tables_in_a_bucket() -> Result<()> {
    let bucket = match Bucket::start(random(u64::MAX)).await? {
        Ok(bucket) => bucket,
        Err(reason) => return skip("kill -9 with tables in a bucket", &reason),
    };
    let url = bucket.url("killed");
    let args = [&CONSTANT_FLUSHES[..], &["--storage", &url, "--storage-timeout", "1s"]].concat();
    let mut server = Server::start_in(&bucket.environment(), &args)?;
    bucket.fail(FAILING);
    let survived = survive(&mut server, rounds(BUCKET_ROUNDS)?).await;
    survived.with_context(|| format!("stderr of the server:\n{}", server.stderr()))
}

fn rounds(default: u64) -> Result<u64> {
    match std::env::var("EVERFLAME_KILL_ROUNDS") {
        Ok(text) => text.parse().context("EVERFLAME_KILL_ROUNDS"),
        Err(_) => Ok(default),
    }
}

async fn survive(server: &mut Server, rounds: u64) -> Result<()> {
    let numbers = Arc::new(AtomicU64::new(1));
    let (mut kept, mut crashed_starts, mut unanswered) = (Vec::new(), 0, 0);
    for round in 1..=rounds {
        let sent = push_until_killed(server, &numbers).await?;
        if random(3) == 0 {
            server.crash_while_starting(moment(10 * LONGEST_MOMENT))?;
            crashed_starts += 1;
        }
        server.restart().with_context(|| format!("round {round}"))?;
        kept.extend(sent.acknowledged);
        unanswered += sent.unanswered.len();
        check_uploads(server, &kept, &sent.unanswered).await.with_context(|| format!("round {round}"))?;

        // A client sends what was not answered again; some send what was answered, too.
        let answered = (0..5).filter_map(|_| kept.get(random(kept.len() as u64) as usize).cloned());
        let again: Vec<Upload> = answered.chain(sent.unanswered.iter().cloned()).collect();
        for upload in &again {
            let answer = push(server.http(), server.base(), upload.message()).await?;
            ensure!(answer.status() == StatusCode::OK, "retry: {} {}", answer.status(), answer.text().await?);
        }
        kept.extend(sent.unanswered);
        check_uploads(server, &kept, &[]).await.with_context(|| format!("retries of round {round}"))?;
        if round.is_multiple_of(10) {
            eprintln!("{round} of {rounds} rounds, {} uploads kept", kept.len());
        }
    }
    server.shutdown()?;
    server.restart()?;
    check_uploads(server, &kept, &[]).await.context("after a clean shutdown")?;
    eprintln!(
        "{rounds} rounds: {} uploads kept, {unanswered} of them unanswered at first and sent again, \
         {crashed_starts} kills while starting",
        kept.len()
    );
    Ok(())
}

/// Pushes over several connections and kills the server at a random moment.
async fn push_until_killed(server: &mut Server, numbers: &Arc<AtomicU64>) -> Result<Sent> {
    let acknowledged = Arc::new(Semaphore::new(0));
    let mut connections = JoinSet::new();
    for worker in 0..CONNECTIONS {
        let (base, numbers) = (server.base().to_owned(), Arc::clone(numbers));
        connections.spawn(push_until_gone(base, numbers, Arc::clone(&acknowledged), worker));
    }
    let compacting = tokio::spawn(compact_until_gone(server.url("/api/v1/lake/compact")));
    let enough = u32::try_from(random(MOST_ACKNOWLEDGED))?;
    tokio::select! {
        permits = tokio::time::timeout(LONGEST_WAIT, acknowledged.acquire_many(enough)) => {
            permits.context("the server answers no pushes")??.forget();
        }
        Some(ended) = connections.join_next() => {
            ended??;
            bail!("a push got no answer though nobody had killed the server yet");
        }
    }
    tokio::time::sleep(moment(LONGEST_MOMENT)).await;
    server.kill9()?;
    compacting.await??;
    let mut all = Sent::default();
    while let Some(sent) = connections.join_next().await {
        let sent = sent??;
        all.acknowledged.extend(sent.acknowledged);
        all.unanswered.extend(sent.unanswered);
    }
    Ok(all)
}

/// Sums and merges, too, are nearly always under way.
async fn compact_until_gone(url: String) -> Result<()> {
    let http = reqwest::Client::new();
    while let Ok(answer) = http.post(&url).send().await {
        // A bucket that fails at times is a reason for it to end early.
        let status = answer.status();
        ensure!(status == StatusCode::OK || status.is_server_error(), "{status}: {}", answer.text().await?);
    }
    Ok(())
}

async fn push_until_gone(
    base: String,
    numbers: Arc<AtomicU64>,
    acknowledged: Arc<Semaphore>,
    worker: usize,
) -> Result<Sent> {
    let http = reqwest::Client::new();
    let mut sent = Sent::default();
    loop {
        let number = numbers.fetch_add(1, Relaxed);
        let upload = Upload::new(number.into(), now_ms()? * 1_000_000, worker);
        loop {
            match push(&http, &base, upload.message()).await {
                Ok(answer) if answer.status() == StatusCode::OK => {
                    sent.acknowledged.push(upload);
                    acknowledged.add_permits(1);
                    break;
                }
                // The head is full while a bucket does not answer: clients send it again.
                Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {}
                Ok(answer) => anyhow::bail!("push: {} {}", answer.status(), answer.text().await?),
                Err(_) => {
                    sent.unanswered.push(upload);
                    return Ok(sent);
                }
            }
        }
    }
}

/// A number below `bound`, another one each time; 0 when `bound` is 0.
fn random(bound: u64) -> u64 {
    RandomState::new().hash_one(()).checked_rem(bound).unwrap_or_default()
}

fn moment(longest: Duration) -> Duration {
    Duration::from_micros(random(longest.as_micros() as u64))
}
