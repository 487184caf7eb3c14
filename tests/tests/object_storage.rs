//! Tables in a bucket of a real S3-compatible server that fails: nothing acknowledged is lost, and it is
//! there once.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use everflame_tests::{
    Bucket, Prepared, Ran, Server, UPLOAD_TYPE, Upload, check_uploads, everflame_in, now_ms, prepare, push,
    skip,
};
use reqwest::StatusCode;
use serde_json::Value;

/// Flushes are nearly always under way, and a request that hangs is given up soon.
const BUSY: [&str; 6] = ["--flush-interval", "100ms", "--flush-size", "256KiB", "--storage-timeout", "1s"];
const TENTH: u64 = 100;
const ALL: u64 = 1_000;
const UPLOADS: u128 = 120;
/// What a server may take to get over an outage.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);

fn start(bucket: &Bucket, prefix: &str, args: &[&str]) -> Result<Server> {
    let url = bucket.url(prefix);
    let args = [&["--storage", url.as_str()], args].concat();
    Server::start_in(&bucket.environment(), &args)
}

async fn push_ok(server: &Server, upload: &Upload) -> Result<()> {
    let answer = push(server.http(), server.base(), upload.message()).await?;
    ensure!(answer.status() == StatusCode::OK, "{} {}", answer.status(), answer.text().await?);
    Ok(())
}

async fn lake_status(server: &Server) -> Result<Value> {
    let (_, status) = server.get_json("/api/v1/status", &[]).await?;
    Ok(status["lake"].clone())
}

/// Waits until all that was pushed is in the tables.
async fn wait_until_flushed(server: &Server) -> Result<()> {
    let flushed = async {
        while lake_status(server).await?["headProfiles"] != 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    let result = tokio::time::timeout(RECOVERY_LIMIT, flushed).await;
    result.with_context(|| format!("the head is not flushed; stderr:\n{}", server.stderr()))?
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_a_tenth_of_all_requests_fails() -> Result<()> {
    let bucket = match Bucket::start(7).await? {
        Ok(bucket) => bucket,
        Err(reason) => return skip("tables in a bucket", &reason),
    };
    let mut server = start(&bucket, "tenth", &BUSY)?;
    bucket.fail(TENTH);
    let now = now_ms()? * 1_000_000;
    let mut kept = Vec::new();
    for number in 1..=UPLOADS {
        let upload = Upload::new(number, now, number as usize % 4);
        push_ok(&server, &upload).await?;
        kept.push(upload);
        if number % 40 == 0 {
            wait_until_flushed(&server).await?;
        }
    }
    check_uploads(&server, &kept, &[]).await?;
    ensure!(bucket.failed() > 0, "the proxy did nothing");

    server.kill9()?;
    server.restart().context("after a crash")?;
    check_uploads(&server, &kept, &[]).await.context("after a crash")?;

    // Without its copies, and with copies that are damaged, the server fetches what it reads.
    server.shutdown()?;
    let cache = server.data().join("cache");
    std::fs::remove_dir_all(&cache)?;
    server.restart()?;
    check_uploads(&server, &kept, &[]).await.context("without copies")?;
    ensure!(lake_status(&server).await?["storage"]["fetchedBytes"].as_u64() > Some(0), "nothing was fetched");
    server.shutdown()?;
    damage_files(&cache)?;
    server.restart()?;
    check_uploads(&server, &kept, &[]).await.context("with damaged copies")?;

    let shown = server.stderr();
    ensure!(!shown.contains("a-secret"), "a credential in the log:\n{shown}");
    server.shutdown()?;
    readers_agree(&bucket, &format!("{}/anonymous", bucket.url("tenth")), &kept)
}

/// The Python readers find in the bucket what was pushed.
fn readers_agree(bucket: &Bucket, tenant: &str, kept: &[Upload]) -> Result<()> {
    let command = match prepare("lake-readers")? {
        Prepared::Ready(command) => command,
        Prepared::Missing(reason) => return skip("lake readers of a bucket", &reason),
    };
    let (program, args) = command.split_first().context("prepare.sh printed no command")?;
    let out = Command::new(program).args(args).arg(tenant).envs(bucket.direct_environment()).output()?;
    if !out.status.success() {
        bail!("lake_readers.py {tenant}: {}\n{}", out.status, String::from_utf8_lossy(&out.stderr));
    }
    let read: Value = serde_json::from_slice(&out.stdout)?;
    let expect: i64 = kept.iter().map(Upload::value).sum();
    for reader in ["deltalake", "polars"] {
        let total = &read[reader][UPLOAD_TYPE]["uploads"];
        ensure!(*total == expect, "{reader} finds {total} instead of {expect}");
    }
    Ok(())
}

/// Overwrites all Parquet files below `folder` with as many zeros.
fn damage_files(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            damage_files(&path)?;
        } else {
            let length = std::fs::metadata(&path)?.len() as usize;
            std::fs::write(&path, vec![0; length])?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_turns_pushes_away_only_when_memory_is_full() -> Result<()> {
    let bucket = match Bucket::start(8).await? {
        Ok(bucket) => bucket,
        Err(reason) => return skip("outage of a bucket", &reason),
    };
    let mut server = start(&bucket, "outage", &BUSY)?;
    let now = now_ms()? * 1_000_000;
    let mut numbers = 1..;
    let mut next = || Upload::new(numbers.next().unwrap_or_default(), now, 0).padded(32 << 10);
    let mut kept = vec![next()];
    push_ok(&server, &kept[0]).await?;
    wait_until_flushed(&server).await?;

    bucket.fail(ALL);
    let mut refused = Vec::new();
    while refused.is_empty() {
        let upload = next();
        let answer = push(server.http(), server.base(), upload.message()).await?;
        if answer.status() == StatusCode::OK {
            kept.push(upload);
            ensure!(kept.len() < 10_000, "the head has no bound");
            continue;
        }
        ensure!(answer.status() == StatusCode::SERVICE_UNAVAILABLE, "{}", answer.status());
        ensure!(answer.headers().contains_key("retry-after"), "no Retry-After");
        let text = answer.text().await?;
        ensure!(text.contains(&bucket.url("outage")), "{text}");
        refused.push(upload);
    }
    ensure!(kept.len() > 3, "the log takes nothing during an outage");
    check_uploads(&server, &kept, &refused).await.context("during the outage")?;

    bucket.fail(0);
    let again = async {
        for upload in &refused {
            while push_ok(&server, upload).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    tokio::time::timeout(RECOVERY_LIMIT, again)
        .await
        .context("the storage answers, but pushes do not go on")?;
    kept.append(&mut refused);
    wait_until_flushed(&server).await?;
    check_uploads(&server, &kept, &[]).await.context("after the outage")?;
    server.kill9()?;
    server.restart()?;
    check_uploads(&server, &kept, &[]).await.context("after a crash")
}

/// Two servers that are given the same storage by mistake are told, and lose nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_writer_is_noticed() -> Result<()> {
    let bucket = match Bucket::start(9).await? {
        Ok(bucket) => bucket,
        Err(reason) => return skip("two writers of a bucket", &reason),
    };
    let mut servers = [start(&bucket, "shared", &BUSY)?, start(&bucket, "shared", &BUSY)?];
    let now = now_ms()? * 1_000_000;
    let mut kept = Vec::new();
    for number in 1..=20 {
        let upload = Upload::new(number, now, 0);
        push_ok(&servers[number as usize % 2], &upload).await?;
        kept.push(upload);
    }
    let told = async {
        while !servers.iter().any(|server| server.stderr().contains("another process writes this table")) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(RECOVERY_LIMIT, told).await.context("no server says that it is not alone")?;
    // One after the other they bring in what they hold.
    for server in &mut servers {
        server.kill9()?;
    }
    for server in &mut servers {
        server.restart()?;
        wait_until_flushed(server).await?;
        server.shutdown()?;
    }
    servers[0].restart()?;
    check_uploads(&servers[0], &kept, &[]).await
}

/// Runs `everflame lake …` with the bucket in its environment.
fn lake(bucket: &Bucket, args: &[&str]) -> Result<Ran> {
    everflame_in(&bucket.environment(), &[&["lake"], args].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn lakes_in_buckets_are_looked_at_copied_out_and_copied_in() -> Result<()> {
    let bucket = match Bucket::start(10).await? {
        Ok(bucket) => bucket,
        Err(reason) => return skip("commands on a bucket", &reason),
    };
    let good = |args: &[&str]| -> Result<String> {
        let ran = lake(&bucket, args)?;
        ensure!(ran.code == Some(0), "lake {args:?}: {ran:?}");
        Ok(ran.stdout)
    };
    let [here, copy, empty] = ["here", "copy", "empty"].map(|prefix| bucket.url(prefix));
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut server = start(&bucket, "here", &BUSY)?;
    let now = now_ms()? * 1_000_000;
    let kept: Vec<Upload> = (1..=12).map(|number| Upload::new(number, now, number as usize % 4)).collect();
    for upload in &kept {
        push_ok(&server, upload).await?;
    }
    wait_until_flushed(&server).await?;

    // From any machine, beside the server.
    let elsewhere = path("elsewhere");
    let inspected = good(&["inspect", "--data", &elsewhere, "--storage", &here, "--json"])?;
    let inspected: Value = serde_json::from_str(&inspected)?;
    let profiles = inspected["tables"].as_array().context("tables")?.iter();
    let profiles = profiles.filter(|table| table["name"] == "profiles").map(|table| &table["rows"]);
    ensure!(profiles.clone().all(|rows| rows.as_u64() >= Some(12)), "{inspected}");
    good(&["verify", "--data", &elsewhere, "--storage", &here])?;
    let ran = lake(&bucket, &["verify", "--storage", &empty])?;
    ensure!(ran.code == Some(1) && ran.stderr.contains("there is no lake here"), "{ran:?}");
    let ran = lake(&bucket, &["import", "--data", &path("none"), &empty])?;
    ensure!(ran.code == Some(1) && ran.stderr.contains("there is no lake here"), "{ran:?}");

    server.shutdown()?;
    let data = server.data().display().to_string();
    good(&["export", "--data", &data, "--storage", &here, "--from", "now-2d", &copy])?;
    let ran = lake(&bucket, &["export", "--data", &data, "--storage", &here, &copy])?;
    ensure!(ran.code == Some(1) && ran.stderr.contains("there is a lake already"), "{ran:?}");
    good(&["verify", "--data", &elsewhere, "--storage", &copy])?;
    let mut other = start(&bucket, "copy", &BUSY)?;
    check_uploads(&other, &kept, &[]).await.context("of the copy")?;
    other.shutdown()?;

    let imported = path("imported");
    good(&["import", "--data", &imported, &copy])?;
    good(&["verify", "--data", &imported])?;
    let mut other = Server::start_on(folder.path().join("imported").as_path(), &[])?;
    check_uploads(&other, &kept, &[]).await.context("of what was copied in")?;
    other.shutdown()
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_a_bucket_is_found() -> Result<()> {
    let bucket = match Bucket::start(11).await? {
        Ok(bucket) => bucket,
        Err(reason) => return skip("damage in a bucket", &reason),
    };
    let mut server = start(&bucket, "hurt", &BUSY)?;
    push_ok(&server, &Upload::new(1, now_ms()? * 1_000_000, 0)).await?;
    wait_until_flushed(&server).await?;
    server.shutdown()?;
    let object = bucket.objects("hurt/anonymous/samples/date=").await?.pop().context("a file of samples")?;
    bucket.damage(&object).await?;
    let ran = lake(&bucket, &["verify", "--storage", &bucket.url("hurt")])?;
    ensure!(ran.code == Some(1), "{ran:?}");
    ensure!(
        ran.stdout.contains(&format!("fault: {}", bucket.url(&object))),
        "the object's own name: {ran:?}"
    );
    Ok(())
}
