//! Ends and starts of the server: a clean shutdown, a second process on the same data, a torn log.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use everflame_tests::{Server, Upload, check_uploads, now_ms, push};
use reqwest::StatusCode;

/// Only a shutdown flushes.
const NO_FLUSHES: [&str; 2] = ["--flush-interval", "1h"];
const UPLOADS: u128 = 50;

#[tokio::test]
async fn a_clean_shutdown_keeps_everything_and_empties_the_log() -> Result<()> {
    let mut server = Server::start_with(&NO_FLUSHES)?;
    let kept = push_some(&server, 1).await?;
    let before: Vec<_> = records(server.data())?;
    ensure!(!before.is_empty(), "the log has no records although nothing was flushed");
    server.shutdown()?;
    let left = records(server.data())?;
    ensure!(left.is_empty(), "the log still has {left:?}");
    server.restart()?;
    check_uploads(&server, &kept, &[]).await?;
    // Retries are known beyond a restart.
    for upload in &kept {
        ensure!(push(server.http(), server.base(), upload.message()).await?.status() == StatusCode::OK);
    }
    check_uploads(&server, &kept, &[]).await
}

#[tokio::test]
async fn a_second_server_on_the_same_data_refuses() -> Result<()> {
    let server = Server::start()?;
    let kept = push_some(&server, 1).await?;
    let Err(error) = Server::start_on(server.data(), &[]) else {
        anyhow::bail!("two servers run on {}", server.data().display());
    };
    let message = error.to_string();
    let data = server.data().display().to_string();
    ensure!(message.contains("exit status: 1") || message.contains("exit status: 2"), "{message}");
    for part in [data.as_str(), "in use by another process", "--data"] {
        ensure!(message.contains(part), "{part:?} is not in {message}");
    }
    ensure!(!message.contains("panicked"), "{message}");
    check_uploads(&server, &kept, &[]).await
}

#[tokio::test]
async fn a_torn_log_loses_only_what_was_torn() -> Result<()> {
    let mut server = Server::start_with(&NO_FLUSHES)?;
    let mut kept = push_some(&server, 1).await?;
    // In turn: half a record, a length beyond all bounds, zeros as a file system may leave them, a cut.
    let tails: [&[u8]; 3] = [&[40, 0, 0, 0, 1, 2, 3, 4, 9, 0], &[0xff; 64], &[0; 4096]];
    for (round, tail) in tails.into_iter().enumerate() {
        server.kill9()?;
        let segment = records(server.data())?.pop().context("no segment")?;
        OpenOptions::new().append(true).open(&segment)?.write_all(tail)?;
        server.restart().with_context(|| format!("tail {round}"))?;
        check_uploads(&server, &kept, &[]).await.with_context(|| format!("tail {round}"))?;
        kept.extend(push_some(&server, 1 + UPLOADS * (round as u128 + 1)).await?);
        check_uploads(&server, &kept, &[]).await.with_context(|| format!("tail {round}, pushes after it"))?;
    }
    server.kill9()?;
    let segment = records(server.data())?.pop().context("no segment")?;
    let length = fs::metadata(&segment)?.len();
    OpenOptions::new().write(true).open(&segment)?.set_len(length - 3)?;
    server.restart()?;
    let torn = kept.pop().context("the last upload")?;
    check_uploads(&server, &kept, &[torn.clone()]).await.context("the last record is cut")?;
    ensure!(server.stderr().contains("torn"), "the cut is not reported:\n{}", server.stderr());
    // Its sender may send it again.
    ensure!(push(server.http(), server.base(), torn.message()).await?.status() == StatusCode::OK);
    kept.push(torn);
    check_uploads(&server, &kept, &[]).await?;
    server.shutdown()?;
    server.restart()?;
    check_uploads(&server, &kept, &[]).await
}

/// Pushes one after the other, so that the last in the log is the last pushed.
async fn push_some(server: &Server, first: u128) -> Result<Vec<Upload>> {
    let mut uploads = Vec::new();
    for number in first..first + UPLOADS {
        let upload = Upload::new(number, now_ms()? * 1_000_000, 0);
        let answer = push(server.http(), server.base(), upload.message()).await?;
        ensure!(answer.status() == StatusCode::OK, "{}", answer.text().await?);
        uploads.push(upload);
    }
    Ok(uploads)
}

/// The segments of the log that hold records, oldest first. A segment without has 8 bytes.
fn records(data: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(data.join("wal"))? {
        let entry = entry?;
        if entry.metadata()?.len() > 8 {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
