//! What rbspy records of a Ruby program, in each of its formats that hold stacks, sent as it is.

use anyhow::{Context, Result, ensure};
use everflame_tests::{FlameGraph, Prepared, Server, everflame, now_ms, prepare, program, run, skip};
use serde_json::json;

const HOT: &str = "everflame_hot_ruby";
/// Long enough for a hundred samples and more.
const SECONDS: &str = "3";
/// The hot method's own part; Ruby needs some time to start.
const SHARE: f64 = 0.7;

/// The hot method must be what `service` shows, in the only type that it has.
async fn check_hot(server: &Server, service: &str, expect: &str) -> Result<()> {
    let selector = format!("{{service_name=\"{service}\"}}");
    let totals = server.totals(&selector).await?;
    let [(id, total)] = totals.iter().collect::<Vec<_>>()[..] else { anyhow::bail!("{service}: {totals:?}") };
    ensure!(id == expect, "{service}: {id} instead of {expect}");
    let end = now_ms()? + 3_600_000;
    let question = json!({"profileTypeID": id, "labelSelector": selector, "start": 1, "end": end});
    let answer = server.connect("querier.v1.QuerierService/SelectMergeStacktraces", &question).await?;
    let graph = FlameGraph::from_json(&answer)?;
    ensure!(graph.total == *total, "{service}: {} of {total}", graph.total);
    let found = graph.self_share(HOT);
    ensure!(found >= SHARE, "{service}: {HOT} has {found:.2}: {:?}", graph.heaviest());
    // It samples now and then more seldom than it was told, and never for longer.
    ensure!((1_000_000_000..10_000_000_000).contains(total), "{service}: {total} ns of {SECONDS} s");
    Ok(())
}

#[tokio::test]
async fn all_that_it_writes() -> Result<()> {
    let command = match prepare("rbspy")? {
        Prepared::Ready(command) => command,
        Prepared::Missing(reason) => return skip("rbspy", &reason),
    };
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_str().map(str::to_owned).context("no text");
    let (raw, work) = (path("raw.gz")?, program("ruby/work.rb"));
    let record = ["record", "--silent", "--no-drop-root", "--rate", "100", "--format", "collapsed"];
    let files = ["--raw-file", &raw, "--file", &path("first")?, "--", "ruby", &work, SECONDS];
    run(&command, &[&record[..], &files].concat())?;

    let server = Server::start()?;
    for (format, ingested, profile_type) in [
        ("pprof", "pprof&spyName=rbspy", "wall:wall:nanoseconds::"),
        ("speedscope", "speedscope", "wall:wall:nanoseconds:cpu:nanoseconds"),
        ("collapsed", "folded&spyName=rbspy&sampleRate=100", "process_cpu:cpu:nanoseconds:cpu:nanoseconds"),
    ] {
        let file = path(format)?;
        run(&command, &["report", "--input", &raw, "--output", &file, "--format", format])?;
        let service = format!("ingested-{format}");
        let url = format!("/ingest?name={service}&format={ingested}");
        let (status, answer) = server.post(&url, &[], std::fs::read(&file)?).await?;
        ensure!(status == 200, "{format}: {status} {answer}");
        check_hot(&server, &service, profile_type).await?;
        let service = format!("pushed-{format}");
        let sent = everflame(&["push", "--url", server.base(), "--service", &service, &file])?;
        ensure!(sent.code == Some(0), "{format}: {sent:?}");
        check_hot(&server, &service, profile_type).await?;
    }
    Ok(())
}
