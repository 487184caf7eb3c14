//! What browsers, `go tool pprof`, Prometheus and load balancers fetch.

use anyhow::{Context, Result, ensure};
use everflame_formats::{Limits, pprof};
use everflame_tests::{Server, stacks_of};
use serde_json::Value;

const GOFMT: &[u8] = include_bytes!("../../bench/profiles/gofmt.pb.gz");
const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name=\"gofmt\"}";

#[tokio::test]
async fn pprof_of_a_query() -> Result<()> {
    let server = Server::start()?;
    ensure!(server.post("/ingest?name=gofmt&format=pprof", &[], GOFMT.to_vec()).await?.0 == 200);
    let url = server.url("/api/v1/pprof");
    let params = [("query", CPU), ("from", "1"), ("until", "now"), ("seconds", "5")];
    let answer = server.http().get(&url).query(&params).send().await?.error_for_status()?;
    let disposition =
        answer.headers().get("content-disposition").context("no name for the file")?.to_str()?;
    ensure!(disposition.starts_with("attachment") && disposition.contains(".pb.gz"), "{disposition}");
    ensure!(answer.headers().get("content-encoding").is_none(), "gzip around gzip");
    let body = answer.bytes().await?;
    ensure!(body.starts_with(&[0x1f, 0x8b]), "not gzip");
    let (found, sent) =
        (pprof::read(&body, &Limits::default())?.profile, pprof::read(GOFMT, &Limits::default())?.profile);
    ensure!(stacks_of(&found, 0) == stacks_of(&sent, 1), "other stacks");
    ensure!(found.sample_types.first() == sent.sample_types.get(1), "{:?}", found.sample_types);
    ensure!(found.period_type == sent.period_type, "{:?}", found.period_type);

    let nobody = [("query", "process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name=\"nobody\"}")];
    let (status, body) = server.get("/api/v1/pprof", &nobody).await?;
    ensure!(status == 200 && pprof::read(&body, &Limits::default())?.profile.samples.is_empty(), "{status}");
    for query in ["", "{}", "cpu{}", "process_cpu:cpu:nanoseconds:cpu:nanoseconds{a"] {
        let (status, error) = server.get_json("/api/v1/pprof", &[("query", query)]).await?;
        ensure!(status == 400 && error["code"] == "invalid_argument", "{query}: {status} {error}");
    }
    Ok(())
}

#[tokio::test]
async fn health_and_build() -> Result<()> {
    let server = Server::start()?;
    let (status, body) = server.get("/ready", &[]).await?;
    ensure!(status == 200 && body.starts_with(b"ready"), "{status} {body:?}");
    for path in ["/-/healthy", "/-/ready", "/"] {
        ensure!(server.get(path, &[]).await?.0 == 200, "{path}");
    }
    let (_, build) = server.get_json("/api/v1/status/buildinfo", &[]).await?;
    ensure!(build["status"] == "success", "{build}");
    for field in ["version", "revision", "branch", "buildUser", "buildDate", "goVersion"] {
        ensure!(build["data"][field].is_string(), "{field}: {build}");
    }
    ensure!(build["data"]["version"].as_str().is_some_and(|version| !version.is_empty()), "{build}");
    let (status, missing) = server.get_json("/api/v1/nothing", &[]).await?;
    ensure!(status == 404 && missing["message"].is_string(), "{status} {missing}");
    Ok(())
}

/// One line of Prometheus text that is no comment: name, labels, value.
fn sample(line: &str) -> Result<(&str, f64)> {
    let (series, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
    let name = series.split('{').next().unwrap_or_default();
    let valid = |(at, c): (usize, char)| {
        c.is_ascii_alphabetic() || "_:".contains(c) || (at > 0 && c.is_ascii_digit())
    };
    ensure!(!name.is_empty() && name.chars().enumerate().all(valid), "{line}");
    ensure!(series.contains('{') == series.ends_with('}'), "{line}");
    Ok((name, value.parse().with_context(|| line.to_owned())?))
}

#[tokio::test]
async fn metrics_are_prometheus_text() -> Result<()> {
    let server = Server::start()?;
    ensure!(server.post("/ingest?name=gofmt&format=pprof", &[], GOFMT.to_vec()).await?.0 == 200);
    ensure!(server.post("/ingest?name=gofmt&format=pprof", &[], b"nonsense".to_vec()).await?.0 == 422);
    let answer = server.http().get(server.url("/metrics")).send().await?;
    let content_type = answer.headers().get("content-type").context("no type")?.to_str()?.to_owned();
    ensure!(content_type.contains("text"), "{content_type}");
    let text = answer.text().await?;
    let mut samples = 0;
    for line in text.lines() {
        match line.strip_prefix('#') {
            Some(comment) => {
                let word = comment.split_whitespace().next().unwrap_or_default();
                ensure!(["HELP", "TYPE", "UNIT", "EOF"].contains(&word), "{line}");
            }
            None => {
                let (name, value) = sample(line)?;
                ensure!(name.starts_with("everflame_") || name.starts_with("process_"), "{line}");
                ensure!(!value.is_nan(), "{line}");
                samples += 1;
            }
        }
    }
    ensure!(samples > 10, "{text}");
    Ok(())
}

#[tokio::test]
async fn methods_that_are_not_there() -> Result<()> {
    let server = Server::start()?;
    for path in ["/metrics", "/ready", "/api/v1/pprof", "/api/v1/status/buildinfo"] {
        let (status, text) = server.post(path, &[], Vec::new()).await?;
        let error: Value = serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))?;
        ensure!(status == 405 && error["message"].is_string(), "{path}: {status} {text}");
    }
    Ok(())
}

/// `go tool pprof` gives up on a profile with bare addresses when nobody answers this.
#[tokio::test]
async fn names_of_bare_addresses_are_asked_for_and_answered() -> Result<()> {
    let server = Server::start()?;
    let (status, text) = server.post("/api/v1/symbolz", &[], b"0x4e354b+0x891f4".to_vec()).await?;
    assert_eq!((status, text.as_str()), (200, "num_symbols: 0\n"));
    Ok(())
}
