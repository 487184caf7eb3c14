//! What a JVM records of itself, by async-profiler and by its own Flight Recorder, sent as it is.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use everflame_tests::{FlameGraph, Prepared, Server, everflame, now_ms, prepare, run, skip};
use serde_json::json;

const HOT: &str = "Work.everflameHotJava";
const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
/// Long enough for a hundred samples and more.
const SECONDS: &str = "3";
/// The hot function's part of the samples of its thread.
const SHARE: f64 = 0.7;

/// The program that works, and the folder for what it records.
fn recorder(name: &str) -> Result<Option<(Vec<String>, tempfile::TempDir)>> {
    match prepare("java")? {
        Prepared::Ready(command) => Ok(Some((command, tempfile::tempdir()?))),
        Prepared::Missing(reason) => skip(name, &reason).map(|()| None),
    }
}

fn path(folder: &Path, name: &str) -> Result<String> {
    folder.join(name).to_str().map(str::to_owned).context("a folder that is no text")
}

/// The hot function must be what `profile_type` of `service` shows, in at least `share`.
async fn check_hot(server: &Server, service: &str, profile_type: &str, share: f64) -> Result<()> {
    let question = json!({
        "profileTypeID": profile_type,
        "labelSelector": format!("{{service_name=\"{service}\"}}"),
        "start": 1,
        "end": now_ms()? + 3_600_000,
    });
    let answer = server.connect("querier.v1.QuerierService/SelectMergeStacktraces", &question).await?;
    let graph = FlameGraph::from_json(&answer)?;
    let found = graph.self_share(HOT);
    ensure!(found >= share, "{service}, {profile_type}: {HOT} has {found:.2}: {:?}", graph.heaviest());
    Ok(())
}

async fn check_types(server: &Server, service: &str, expect: &[&str]) -> Result<()> {
    let totals = server.totals(&format!("{{service_name=\"{service}\"}}")).await?;
    for id in expect {
        ensure!(totals.get(*id).is_some_and(|total| *total > 0), "{service}: no {id} among {totals:?}");
    }
    Ok(())
}

#[tokio::test]
async fn async_profiler() -> Result<()> {
    let Some((command, folder)) = recorder("async-profiler")? else { return Ok(()) };
    let server = Server::start()?;
    for (service, start, format, types, hot) in [
        (
            "recorded",
            "jfr,event=itimer,alloc=64k,lock=1ms",
            "jfr",
            &[
                CPU,
                "memory:alloc_in_new_tlab_bytes:bytes:space:bytes",
                "memory:alloc_in_new_tlab_objects:count:space:bytes",
                "mutex:contentions:count:mutex:count",
                "mutex:delay:nanoseconds:mutex:count",
            ][..],
            CPU,
        ),
        (
            "waited",
            "jfr,event=wall,interval=5ms",
            "jfr",
            &["wall:wall:nanoseconds:wall:nanoseconds", CPU],
            CPU,
        ),
        ("live", "jfr,event=ctimer,live,alloc=64k", "jfr", &["memory:live:count:objects:count"], CPU),
        ("text", "collapsed,event=itimer", "folded", &[CPU], CPU),
    ] {
        let file = path(folder.path(), service)?;
        run(&command, &["Recorder", SECONDS, start, &file])?;
        let body = std::fs::read(&file)?;
        let (status, answer) =
            server.post(&format!("/ingest?name={service}&format={format}"), &[], body).await?;
        ensure!(status == 200, "{start}: {status} {answer}");
        check_types(&server, service, types).await?;
        check_hot(&server, service, hot, SHARE).await?;
    }
    Ok(())
}

/// It writes OTLP as well: lists that are not packed, in the current layout.
#[tokio::test]
async fn async_profiler_in_otlp() -> Result<()> {
    let Some((command, folder)) = recorder("async-profiler in OTLP")? else { return Ok(()) };
    let server = Server::start()?;
    for (name, start) in [("stacks", "otlp,event=itimer"), ("threads", "otlp,event=itimer,threads")] {
        let file = path(folder.path(), name)?;
        run(&command, &["Recorder", SECONDS, start, &file])?;
        let headers = [("content-type", "application/x-protobuf")];
        let (status, answer) =
            server.post("/v1development/profiles", &headers, std::fs::read(&file)?).await?;
        ensure!(status == 200 && answer.is_empty(), "{start}: {status} {answer}");
    }
    let totals = server.totals("{service_name=\"unknown_service\"}").await?;
    let [id] = totals.keys().collect::<Vec<_>>()[..] else { anyhow::bail!("{totals:?}") };
    ensure!(id.starts_with("itimer:"), "{id}");
    check_hot(&server, "unknown_service", id, SHARE).await
}

#[tokio::test]
async fn flight_recorder() -> Result<()> {
    let Some((command, folder)) = recorder("Flight Recorder")? else { return Ok(()) };
    let server = Server::start()?;
    let file = path(folder.path(), "own.jfr")?;
    let option = format!("-XX:StartFlightRecording=filename={file},settings=profile");
    run(&command, &[&option, "Recorder", SECONDS])?;
    let pushed = everflame(&["push", "--url", server.base(), "--service", "pushed", &file])?;
    ensure!(pushed.code == Some(0), "{pushed:?}");
    let (status, answer) =
        server.post("/ingest?name=ingested&format=jfr", &[], std::fs::read(&file)?).await?;
    ensure!(status == 200, "{status} {answer}");
    for service in ["pushed", "ingested"] {
        let types = [
            CPU,
            "memory:alloc_sample_bytes:bytes:space:bytes",
            "block:delay:nanoseconds:block:count",
            "block:contentions:count:block:count",
        ];
        check_types(&server, service, &types).await?;
        check_hot(&server, service, CPU, SHARE).await?;
    }
    Ok(())
}
