//! The questions that profilecli asks, put by the generated client that it is built on, over each of its
//! protocols; and `go tool pprof` on every URL that gives it a profile.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use everflame_tests::{Prepared, Server, go_pprof_top, now_ms, pprof_labelled, prepare, run, skip};
use serde::Deserialize;
use serde_json::Value;

const TYPE: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
const SPAN: &str = "00000000000000ab";

/// What the client prints of one protocol; it says what each is.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    protocol: String,
    pprof_total: i64,
    merged_total: i64,
    tree_bytes: usize,
    span_tree_bytes: usize,
    pgo_depth: usize,
    series: Vec<HashMap<String, String>>,
    label_names: Vec<String>,
    values: Vec<String>,
    top_sum: f64,
    top_group: String,
    exemplars: Vec<String>,
    span_ids: Vec<String>,
    heatmap_sum: i32,
    types: Vec<String>,
    ingested: bool,
    diff_totals: [i64; 2],
    flame: Vec<String>,
    empty: Vec<String>,
}

#[tokio::test]
async fn what_profilecli_asks() -> Result<()> {
    let command = match prepare("pyroscope-api")? {
        Prepared::Ready(command) => command,
        Prepared::Missing(reason) => return skip("the client of profilecli", &reason),
    };
    let server = Server::start()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("profile.pb");
    let deep: Vec<u64> = (1..=9).collect();
    let names = ["work", "b", "c", "d", "e", "f", "g", "h", "main"];
    let labels = [("span_id", SPAN), ("span_name", "checkout")];
    let profile = pprof_labelled(now_ms()? * 1_000_000, &[(&deep, 50, &labels), (&[9], 7, &[])], &names);
    std::fs::write(&file, profile)?;
    let printed = run(&command, &[server.base(), file.to_str().context("no text")?])?;

    let mut protocols = Vec::new();
    for line in printed.lines() {
        let found: Found = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let service = format!("api-{}", found.protocol);
        ensure!((found.pprof_total, found.merged_total) == (57, 57), "{line}");
        ensure!(found.diff_totals == [57, 57], "{line}");
        ensure!((found.top_sum, found.top_group.as_str()) == (57.0, service.as_str()), "{line}");
        ensure!(found.tree_bytes >= found.span_tree_bytes && found.span_tree_bytes > 0, "{line}");
        ensure!(found.pgo_depth == 5, "{line}");
        ensure!(found.series.iter().all(|set| set.get("service_name") == Some(&service)), "{line}");
        ensure!(found.series.iter().any(|set| set.get("span_name").is_some_and(|name| name == "checkout")));
        ensure!(found.label_names.iter().any(|name| name == "service_name"), "{line}");
        ensure!(found.values == [service], "{line}");
        ensure!(found.types == [TYPE] && found.ingested, "{line}");
        ensure!(found.exemplars.len() == 1 && found.exemplars.iter().all(|id| id.len() == 36), "{line}");
        ensure!(found.span_ids == [SPAN] && found.heatmap_sum == 1, "{line}");
        ensure!(found.flame.first().is_some_and(|name| name == "total") && found.flame.len() == 10, "{line}");
        ensure!(found.empty == ["total"], "{line}");
        protocols.push(found.protocol);
    }
    ensure!(protocols == ["connect", "grpc", "grpc-web", "connect-json-gzip"], "{printed}");
    Ok(())
}

#[tokio::test]
async fn go_tool_pprof_on_every_url() -> Result<()> {
    let server = Server::start()?;
    let profile = pprof_labelled(now_ms()? * 1_000_000, &[(&[1, 2], 50, &[])], &["everflameWork", "main"]);
    for created in ["2026-05-01T10:00:00", "2026-05-01T10:01:00"] {
        let path = format!("/api/0/profiles?service=shop&type=cpu&labels=region%3Deu&created_at={created}");
        let (status, answer) = server.post(&path, &[], profile.clone()).await?;
        ensure!(status == 200, "{answer}");
    }
    let (_, list) = server
        .get_json(
            "/api/0/profiles",
            &[
                ("service", "shop"),
                ("type", "cpu"),
                ("from", "2026-01-01T00:00:00"),
                ("to", "2096-01-01T00:00:00"),
            ],
        )
        .await?;
    let ids: Vec<&str> =
        list["body"].as_array().context("body")?.iter().filter_map(|one| one["id"].as_str()).collect();
    let [first, ..] = ids[..] else { anyhow::bail!("{list}") };
    let query = format!("{TYPE}{{service_name=\"shop\"}}");
    let encoded = |name: &str, value: &str| -> Result<String> {
        let url = server.http().get(server.url("/api/v1/pprof")).query(&[(name, value)]).build()?;
        Ok(url.url().query().unwrap_or_default().to_owned())
    };
    for path in [
        format!("/api/0/profiles/{first}"),
        "/api/0/profiles/merge?service=shop&type=cpu&from=2026-01-01T00:00:00&to=2096-01-01T00:00:00&labels=region%3Deu"
            .to_owned(),
        format!("/api/v1/pprof?{}&from=1&until=now", encoded("query", &query)?),
    ] {
        match go_pprof_top(&server.url(&path))? {
            Ok(top) => ensure!(top.contains("everflameWork"), "{path}:\n{top}"),
            Err(reason) => return skip("go tool pprof", &reason),
        }
    }
    Ok(())
}

#[tokio::test]
async fn reflection_describes_every_service() -> Result<()> {
    let python = match prepare("grpc-python")? {
        Prepared::Ready(command) => command,
        Prepared::Missing(reason) => return skip("gRPC reflection", &reason),
    };
    let server = Server::start()?;
    let printed = run(&python, &[&everflame_tests::program("grpc-python/reflection.py"), server.base()])?;
    for service in [
        "querier.v1.QuerierService",
        "push.v1.PusherService",
        "parca.query.v1alpha1.QueryService",
        "parca.profilestore.v1alpha1.ProfileStoreService",
        "opentelemetry.proto.collector.profiles.v1development.ProfilesService Export",
        "grpc.health.v1.Health Check Watch",
    ] {
        ensure!(printed.lines().any(|line| line.starts_with(service)), "no {service} in\n{printed}");
    }
    let called: Value = serde_json::from_str(printed.lines().last().context("nothing printed")?)?;
    ensure!(called.is_object(), "{called}");
    Ok(())
}

#[tokio::test]
async fn health_is_asked_and_watched() -> Result<()> {
    let python = match prepare("grpc-python")? {
        Prepared::Ready(command) => command,
        Prepared::Missing(reason) => return skip("gRPC health", &reason),
    };
    let mut server = Server::start()?;
    let pid = server.pid().to_string();
    let program = everflame_tests::program("grpc-python/health.py");
    let printed = run(&python, &[&program, server.base(), &pid])?;
    ensure!(
        printed.lines().collect::<Vec<_>>()
            == [
                "Check  SERVING",
                "Check parca.query.v1alpha1.QueryService SERVING",
                "Check no.Service NOT_FOUND",
                "Watch parca.query.v1alpha1.QueryService SERVING",
                "Watch no.Service SERVICE_UNKNOWN",
                "Watch parca.query.v1alpha1.QueryService NOT_SERVING",
                "Watch parca.query.v1alpha1.QueryService ended OK",
                "Watch no.Service ended OK",
            ],
        "{printed}"
    );
    // Nobody who listens keeps the server from ending.
    server.shutdown()?;
    ensure!(!server.stderr().contains("grace period"), "{}", server.stderr());
    Ok(())
}
