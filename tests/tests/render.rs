//! `/pyroscope/render`, `render-diff` and `label-values`: the query wire before `querier.v1`.

use anyhow::{Context, Result, ensure};
use everflame_tests::Server;
use serde_json::{Value, json};

const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
const SHOP: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name=\"shop\"}";

/// Two regions of one service a minute apart, and a heap.
async fn filled() -> Result<Server> {
    let server = Server::start()?;
    for (name, from, body) in [
        ("shop%7Bregion%3Deu%7D", 1_700_000_001, "main;work 3\nmain;idle 1\n"),
        ("shop%7Bregion%3Dus%7D", 1_700_000_061, "main;work 1\nmain;idle 5\n"),
        ("heap.inuse_space", 1_700_000_001, "main;keep 4096\n"),
    ] {
        let path = format!("/ingest?name={name}&from={from}&until={}", from + 10);
        let answer = server.post(&path, &[], body.into()).await?;
        ensure!(answer.0 == 200, "{path}: {answer:?}");
    }
    Ok(server)
}

#[tokio::test]
async fn flame_graphs() -> Result<()> {
    let server = filled().await?;
    let range = [("from", "1700000000"), ("until", "1700000119")];
    let (status, answer) =
        server.get_json("/pyroscope/render", &[&[("query", SHOP)], &range[..]].concat()).await?;
    ensure!(status == 200, "{status} {answer}");
    ensure!(answer["version"] == 1 && answer["heatmap"].is_null() && answer["groups"].is_null(), "{answer}");
    ensure!(
        answer["flamebearer"]
            == json!({
                "names": ["total", "main", "idle", "work"],
                "levels": [
                    [0, 100_000_000, 0, 0], [0, 100_000_000, 0, 1],
                    [0, 60_000_000, 60_000_000, 2, 0, 40_000_000, 40_000_000, 3]],
                "numTicks": 100_000_000, "maxSelf": 60_000_000}),
        "{answer}"
    );
    let metadata = &answer["metadata"];
    ensure!(metadata["format"] == "single" && metadata["sampleRate"] == 1_000_000_000, "{metadata}");
    ensure!(metadata["units"] == "samples" && metadata["name"] == "cpu", "{metadata}");
    ensure!(metadata["spyName"].is_string(), "{metadata}");
    // 15 s a bucket, the first one snapped down, gaps are zeros.
    ensure!(
        answer["timeline"]
            == json!({"startTime": 1_699_999_995, "durationDelta": 15, "watermarks": null,
                "samples": [40_000_000, 0, 0, 0, 60_000_000, 0, 0, 0, 0]}),
        "{}",
        answer["timeline"]
    );

    let heap = [("query", "memory:inuse_space:bytes::{}"), ("from", "1700000000"), ("until", "1700000119")];
    let (_, answer) = server.get_json("/pyroscope/render", &heap).await?;
    ensure!(answer["metadata"]["units"] == "bytes" && answer["metadata"]["sampleRate"] == 100, "{answer}");
    ensure!(answer["flamebearer"]["numTicks"] == 4096, "{answer}");
    Ok(())
}

#[tokio::test]
async fn options() -> Result<()> {
    let server = filled().await?;
    let base = [("query", SHOP), ("from", "1700000000"), ("until", "1700000119")];
    let with = |more: &[(&'static str, &'static str)]| [&base[..], more].concat();
    let render = |more: &[(&'static str, &'static str)]| {
        let params = with(more);
        let server = &server;
        async move { server.get_json("/pyroscope/render", &params).await }
    };
    let (_, whole) = render(&[]).await?;
    for ignored in
        [[("aggregation", "median"), ("format", "png")], [("max-nodes", "many"), ("maxNodes", "-7")]]
    {
        let (status, answer) = render(&ignored).await?;
        ensure!(status == 200 && answer == whole, "{ignored:?}: {status} {answer}");
    }
    for cut in ["max-nodes", "maxNodes"] {
        let (_, answer) = render(&[(cut, "2")]).await?;
        let names = answer["flamebearer"]["names"].as_array().context("names")?;
        ensure!(names.contains(&json!("other")) && !names.contains(&json!("work")), "{cut}: {answer}");
        ensure!(answer["flamebearer"]["numTicks"] == 100_000_000, "{cut}: {answer}");
    }
    let (_, both) = render(&[("max-nodes", "2"), ("maxNodes", "100")]).await?;
    ensure!(both["flamebearer"] == whole["flamebearer"], "maxNodes wins: {both}");
    let (_, grouped) = render(&[("groupBy", "region,service_name")]).await?;
    ensure!(grouped["timeline"] == whole["timeline"], "the sum of the groups: {grouped}");
    ensure!(grouped["groups"]["eu"]["samples"][0] == 40_000_000, "{grouped}");
    ensure!(grouped["groups"]["us"]["samples"][4] == 60_000_000, "{grouped}");
    let (_, missing) = render(&[("groupBy", "nothing")]).await?;
    ensure!(missing["groups"]["*"]["samples"] == whole["timeline"]["samples"], "{missing}");
    let (status, nobody) = server
        .get_json(
            "/pyroscope/render",
            &[("query", &format!("{CPU}{{service_name=\"nobody\"}}")), base[1], base[2]],
        )
        .await?;
    ensure!(status == 200 && nobody["flamebearer"]["numTicks"] == 0, "{status} {nobody}");
    ensure!(nobody["flamebearer"]["names"] == json!(["total"]), "{nobody}");
    Ok(())
}

#[tokio::test]
async fn differences() -> Result<()> {
    let server = filled().await?;
    let side = |region: &str| format!("{CPU}{{service_name=\"shop\",region=\"{region}\"}}");
    let (left, right) = (side("eu"), side("us"));
    let times = [
        ("leftFrom", "1700000000"),
        ("leftUntil", "1700000119"),
        ("rightFrom", "1700000000"),
        ("rightUntil", "1700000119"),
    ];
    let params = [&[("leftQuery", left.as_str()), ("rightQuery", right.as_str())], &times[..]].concat();
    let (status, answer) = server.get_json("/pyroscope/render-diff", &params).await?;
    ensure!(status == 200, "{status} {answer}");
    ensure!(answer["metadata"]["format"] == "double", "{answer}");
    ensure!(answer["leftTicks"] == 40_000_000 && answer["rightTicks"] == 60_000_000, "{answer}");
    let graph = &answer["flamebearer"];
    ensure!(
        graph["numTicks"] == 100_000_000 && graph["names"] == json!(["total", "main", "idle", "work"]),
        "{graph}"
    );
    ensure!(
        graph["levels"]
            == json!([
                [0, 40_000_000, 0, 0, 60_000_000, 0, 0],
                [0, 40_000_000, 0, 0, 60_000_000, 0, 1],
                [
                    0, 10_000_000, 10_000_000, 0, 50_000_000, 50_000_000, 2, 0, 30_000_000, 30_000_000, 0,
                    10_000_000, 10_000_000, 3
                ]
            ]),
        "{graph}"
    );
    let other_type =
        [&[("leftQuery", left.as_str()), ("rightQuery", "memory:inuse_space:bytes::{}")], &times[..]]
            .concat();
    for params in [other_type, vec![("leftQuery", left.as_str())], vec![]] {
        let (status, answer) = server.get_json("/pyroscope/render-diff", &params).await?;
        ensure!(status == 400 && answer["code"] == "invalid_argument", "{params:?}: {status} {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn label_values() -> Result<()> {
    let server = filled().await?;
    let table: [(&[(&str, &str)], Value); 6] = [
        (&[("label", "__name__")], json!(["memory:inuse_space:bytes::", CPU])),
        (&[("label", "service_name")], json!(["heap", "shop"])),
        (&[("label", "region")], json!(["eu", "us"])),
        (&[("label", "nothing")], json!([])),
        (&[("label", "service_name"), ("query", SHOP)], json!(["shop"])),
        (
            &[("label", "region"), ("query", "{region!=\"eu\"}"), ("from", "1"), ("until", "now")],
            json!(["us"]),
        ),
    ];
    for (params, values) in table {
        let (status, answer) = server.get_json("/pyroscope/label-values", params).await?;
        ensure!(status == 200 && answer == values, "{params:?}: {status} {answer}");
    }
    ensure!(server.get("/pyroscope/label-values", &[]).await?.0 == 400);
    Ok(())
}

#[tokio::test]
async fn refusals() -> Result<()> {
    let server = Server::start()?;
    let table: [&[(&str, &str)]; 9] = [
        &[],
        &[("query", "")],
        &[("query", "{service_name=\"shop\"}")],
        &[("query", "cpu{}")],
        &[("query", "process_cpu:cpu:nanoseconds:cpu:nanoseconds{a=")],
        &[("query", "process_cpu:cpu:nanoseconds:cpu:nanoseconds{a=~\"(\"}")],
        &[("query", SHOP), ("from", "0")],
        &[("query", SHOP), ("from", "1"), ("until", "0")],
        &[("query", SHOP), ("from", "2000"), ("until", "1000")],
    ];
    for params in table {
        let (status, answer) = server.get_json("/pyroscope/render", params).await?;
        ensure!(status == 400 && answer["code"] == "invalid_argument", "{params:?}: {status} {answer}");
        ensure!(
            answer["message"].as_str().is_some_and(|message| !message.is_empty()),
            "{params:?}: {answer}"
        );
    }
    for path in ["/pyroscope/render", "/pyroscope/render-diff", "/pyroscope/label-values"] {
        let (status, text) = server.post(path, &[], Vec::new()).await?;
        ensure!(status == 405, "{path}: {status} {text}");
    }
    Ok(())
}
