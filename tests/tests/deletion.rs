//! Profiles are deleted over the wire and by the command line, in whole days, and stay deleted.

use anyhow::{Context, Result, ensure};
use everflame_tests::{Server, Upload, binary, check_uploads, now_ms, push};
use serde_json::Value;
use std::process::Command;

/// 2026-08-01T00:00:00Z.
const AUGUST: i64 = 1_785_542_400;
const DAY: i64 = 86_400;

/// A profile of one sample a day for two pods, for four days.
async fn filled() -> Result<Server> {
    let server = Server::start()?;
    for day in 0..4 {
        for pod in ["a", "b"] {
            let from = AUGUST + day * DAY + 3_600;
            let path = format!("/ingest?name=shop%7Bpod%3D{pod}%7D&from={from}&until={}", from + 10);
            let answer = server.http().post(server.url(&path)).body("main;work 1\n").send().await?;
            ensure!(answer.status() == 200, "{}", answer.text().await?);
        }
    }
    Ok(server)
}

/// How many samples a selector finds in all.
async fn samples(server: &Server, selector: &str) -> Result<i64> {
    let query = format!("process_cpu:samples:count:cpu:nanoseconds{selector}");
    let mut total = 0;
    for kind in [query, format!("process_cpu:cpu:nanoseconds:cpu:nanoseconds{selector}")] {
        let (from, until) = (AUGUST.to_string(), (AUGUST + 5 * DAY).to_string());
        let pairs = [("query", kind.as_str()), ("from", &from), ("until", &until), ("format", "json")];
        let answer = server.http().get(server.url("/pyroscope/render")).query(&pairs).send().await?;
        let answer: Value = answer.json().await?;
        total += answer["flamebearer"]["numTicks"].as_i64().unwrap_or_default();
    }
    Ok(total)
}

#[tokio::test]
async fn whole_days_are_deleted_for_good() -> Result<()> {
    let mut server = filled().await?;
    let all = samples(&server, "{}").await?;
    ensure!(all > 0 && all % 8 == 0, "{all}");
    let one = all / 8;
    let url = server.url("/api/v1/profiles");
    let pairs = [
        ("query", r#"{service_name="shop",pod="a"}"#),
        ("from", "2026-08-02T00:00:00Z"),
        ("until", "2026-08-04T00:00:00Z"),
    ];
    let answer = server.http().delete(&url).query(&pairs).send().await?;
    ensure!(answer.status() == 200, "{}", answer.text().await?);
    let answer: Value = answer.json().await?;
    ensure!(answer["profiles"].as_u64() == Some(2), "{answer}");
    ensure!(samples(&server, "{}").await? == all - 2 * one);
    ensure!(samples(&server, r#"{pod="a"}"#).await? == 2 * one);
    let command =
        Command::new(binary()?).args(["delete", "--url", server.base(), r#"{pod="b"}"#]).output()?;
    ensure!(command.status.success(), "{}", String::from_utf8_lossy(&command.stderr));
    ensure!(String::from_utf8_lossy(&command.stdout).contains("4 single ones"));
    ensure!(samples(&server, "{}").await? == 2 * one);
    server.kill9()?;
    server.restart()?;
    ensure!(samples(&server, "{}").await? == 2 * one);
    ensure!(samples(&server, r#"{pod="b"}"#).await? == 0);
    Ok(())
}

#[tokio::test]
async fn what_was_deleted_can_be_stored_again() -> Result<()> {
    let server = Server::start()?;
    let now = now_ms()? * 1_000_000;
    let uploads: Vec<Upload> = (1..=8).map(|number| Upload::new(number, now, number as usize % 4)).collect();
    // Two times each: a retry is still one.
    for round in 0..3 {
        for upload in uploads.iter().chain(&uploads) {
            let answer = push(server.http(), server.base(), upload.message()).await?;
            ensure!(answer.status() == 200, "{}", answer.text().await?);
        }
        check_uploads(&server, &uploads, &[]).await.context(format!("round {round}"))?;
        let delete = [r#"{service_name!=""}"#, r#"{service_name=~".+"}"#][round % 2];
        let answer =
            server.http().delete(server.url("/api/v1/profiles")).query(&[("query", delete)]).send().await?;
        ensure!(answer.status() == 200, "{}", answer.text().await?);
        let answer: Value = answer.json().await?;
        ensure!(answer["profiles"].as_u64() == Some(8), "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn mistakes_delete_nothing() -> Result<()> {
    let server = filled().await?;
    let all = samples(&server, "{}").await?;
    for (query, from, until, why) in [
        ("{}", None, None, "takes everything"),
        ("", None, None, "parameter query is missing"),
        ("{pod=", None, None, "query: "),
        (r#"{pod="a"}"#, Some("2026-08-02T00:00:00Z"), None, "both from and until"),
        (r#"{pod="a"}"#, Some("2026-08-02T01:00:00Z"), Some("2026-08-04T00:00:00Z"), "not a midnight"),
        (r#"{pod="a"}"#, Some("2026-08-04T00:00:00Z"), Some("2026-08-04T00:00:00Z"), "from is not before"),
    ] {
        let mut pairs = vec![("query", query)];
        pairs.extend(from.map(|from| ("from", from)));
        pairs.extend(until.map(|until| ("until", until)));
        let answer = server.http().delete(server.url("/api/v1/profiles")).query(&pairs).send().await?;
        ensure!(answer.status() == 400, "{query} {}", answer.status());
        let text = answer.text().await?;
        ensure!(text.contains(why), "{text}");
    }
    ensure!(samples(&server, "{}").await? == all);
    Ok(())
}
