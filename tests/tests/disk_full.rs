//! A full disk: pushes are turned away with a hint to come back, reads go on, and when there is space
//! again pushes succeed by themselves. Nothing acknowledged is lost.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use everflame_tests::{Server, Upload, check_uploads, now_ms, push, skip};
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

const DISK: &str = "size=24m";
/// Bytes of names in each upload, so that a disk fills in a few.
const PADDING: usize = 64 << 10;
const BEFORE: usize = 40;
const REFUSALS: usize = 30;
/// After space is there again the server must take pushes within this time.
const RECOVERY_LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn pushes_wait_for_space_and_reads_go_on() -> Result<()> {
    let disk = match SmallDisk::mount()? {
        Ok(disk) => disk,
        Err(reason) => return skip("full disk", &reason),
    };
    let data = disk.path().join("data");
    let mut server = Server::start_on(&data, &["--flush-interval", "200ms", "--flush-size", "1MiB"])?;
    let mut uploads = (1..).map(|number| (number, number as usize % 4));
    let mut next = || -> Result<Upload> {
        let (number, worker) = uploads.next().context("numbers end")?;
        Ok(Upload::new(number, now_ms()? * 1_000_000, worker).padded(PADDING))
    };
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    for _ in 0..BEFORE {
        let upload = next()?;
        let status = try_push(&server, &upload).await?;
        ensure!(status == StatusCode::OK, "before the disk is full: {status}");
        kept.push(upload);
    }

    // The server frees space now and then, when a part of its log is no longer needed.
    while refused.len() < REFUSALS {
        disk.fill()?;
        let upload = next()?;
        match try_push(&server, &upload).await? {
            StatusCode::OK => kept.push(upload),
            _ => refused.push(upload),
        }
    }
    check_uploads(&server, &kept, &refused).await.context("on a full disk")?;
    let status = server.http().get(server.url("/api/v1/status")).send().await?;
    ensure!(status.status() == StatusCode::OK, "status on a full disk: {}", status.status());

    disk.free()?;
    let again = async {
        for upload in &refused {
            while try_push(&server, upload).await? != StatusCode::OK {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(RECOVERY_LIMIT, again)
        .await
        .context("there is space, but pushes do not go on")??;
    kept.append(&mut refused);
    check_uploads(&server, &kept, &[]).await.context("after space was freed")?;

    server.kill9()?;
    server.restart()?;
    check_uploads(&server, &kept, &[]).await.context("after a crash")?;
    server.shutdown()?;
    server.restart()?;
    check_uploads(&server, &kept, &[]).await.context("after a shutdown")
}

#[tokio::test]
async fn a_crash_on_a_full_disk_loses_nothing() -> Result<()> {
    let disk = match SmallDisk::mount()? {
        Ok(disk) => disk,
        Err(reason) => return skip("crash on a full disk", &reason),
    };
    let data = disk.path().join("data");
    let mut server = Server::start_on(&data, &["--flush-interval", "50ms", "--flush-size", "256KiB"])?;
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    for number in 1.. {
        let upload = Upload::new(number, now_ms()? * 1_000_000, 0).padded(PADDING);
        match try_push(&server, &upload).await? {
            StatusCode::OK => kept.push(upload),
            _ => refused.push(upload),
        }
        if refused.len() == REFUSALS {
            break;
        }
        if kept.len() >= BEFORE {
            disk.fill()?;
        }
    }
    server.kill9()?;
    disk.free()?;
    server.restart()?;
    check_uploads(&server, &kept, &refused).await.context("after a crash on a full disk")
}

#[tokio::test]
async fn the_first_push_after_a_full_disk_survives_a_crash() -> Result<()> {
    let disk = match SmallDisk::mount()? {
        Ok(disk) => disk,
        Err(reason) => return skip("first push after a full disk", &reason),
    };
    let mut server = Server::start_on(&disk.path().join("data"), &["--flush-interval", "1h"])?;
    disk.fill()?;
    let upload = Upload::new(1, now_ms()? * 1_000_000, 0).padded(PADDING);
    ensure!(try_push(&server, &upload).await? != StatusCode::OK, "it fits on a full disk");
    disk.free()?;
    let status = try_push(&server, &upload).await?;
    ensure!(status == StatusCode::OK, "after space was freed: {status}");
    server.kill9()?;
    server.restart()?;
    check_uploads(&server, &[upload], &[]).await
}

/// Pushes; the only refusal that is right on a full disk is 503 with a hint to come back.
async fn try_push(server: &Server, upload: &Upload) -> Result<StatusCode> {
    let answer = push(server.http(), server.base(), upload.message()).await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = answer.text().await?;
    if status == StatusCode::OK {
        return Ok(status);
    }
    ensure!(status == StatusCode::SERVICE_UNAVAILABLE, "{status} {text}");
    let seconds = headers.get("retry-after").context("no Retry-After")?.to_str()?;
    ensure!(seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0), "Retry-After: {seconds}");
    let body: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    let message = body["message"].as_str().unwrap_or_default();
    ensure!(body["code"] == "unavailable" && message.contains("space"), "{text}");
    Ok(status)
}

/// A file system in memory of a few megabytes.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts one; the inner error says why that is not possible here.
    fn mount() -> Result<std::result::Result<Self, String>> {
        let folder = tempfile::Builder::new().prefix("everflame-disk-").tempdir()?;
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(folder.path()).output();
        Ok(match mount {
            Ok(out) if out.status.success() => Ok(Self { folder }),
            Ok(out) => Err(format!("mount: {}", String::from_utf8_lossy(&out.stderr).trim())),
            Err(error) => Err(format!("mount: {error}")),
        })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Takes all space that is left.
    fn fill(&self) -> Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(self.ballast())?;
        for size in [1 << 20, 4096, 1] {
            loop {
                match file.write(&vec![0; size]) {
                    Ok(0) => bail!("nothing is written, and no error"),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Gives back what [`SmallDisk::fill`] took.
    fn free(&self) -> Result<()> {
        File::create(self.ballast()).context("emptying the ballast")?;
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server may be about to end.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
