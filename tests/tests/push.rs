//! `push.v1.PusherService/Push` against its description: labels, sample labels, renames, ids, refusals.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use base64::Engine as _;
use everflame_formats::gzip;
use everflame_tests::messages::encode;
use everflame_tests::{Server, now_ms};
use serde_json::{Value, json};

const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

/// One sample: frames root first, its value, its labels.
type Sample<'a> = (&'a [&'a str], i64, &'a [(&'a str, &'a str)]);

/// A pprof file of type cpu, taken at `time` (nanoseconds).
fn pprof(time: i64, samples: &[Sample<'_>]) -> Result<Vec<u8>> {
    let mut texts = vec!["", "cpu", "nanoseconds"];
    let mut index = BTreeMap::new();
    for (stack, _, labels) in samples {
        for &name in stack.iter().chain(labels.iter().flat_map(|(key, value)| [key, value])) {
            index.entry(name).or_insert_with(|| {
                texts.push(name);
                texts.len() - 1
            });
        }
    }
    let functions: Vec<Value> = index.values().map(|at| json!({"id": at, "name": at})).collect();
    let locations: Vec<Value> =
        index.values().map(|at| json!({"id": at, "line": [{"functionId": at, "line": 1}]})).collect();
    let at = |name: &str| index.get(name).copied();
    let samples: Vec<Value> = samples
        .iter()
        .map(|(stack, value, labels)| {
            let stack: Vec<_> = stack.iter().rev().map(|&name| at(name)).collect();
            let labels: Vec<_> =
                labels.iter().map(|(key, value)| json!({"key": at(key), "str": at(value)})).collect();
            json!({"locationId": stack, "value": [value], "label": labels})
        })
        .collect();
    let profile = json!({
        "sampleType": [{"type": 1, "unit": 2}], "periodType": {"type": 1, "unit": 2}, "period": 10_000_000,
        "sample": samples, "location": locations, "function": functions, "stringTable": texts,
        "timeNanos": time,
    });
    encode("Profile", &profile)
}

fn series(labels: &[(&str, &str)], profiles: &[&[u8]]) -> Value {
    let labels: Vec<Value> =
        labels.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let encoded = profiles.iter().map(|raw| base64::engine::general_purpose::STANDARD.encode(raw));
    let samples: Vec<Value> = encoded.map(|raw| json!({"rawProfile": raw})).collect();
    json!({"series": [{"labels": labels, "samples": samples}]})
}

async fn push(server: &Server, message: &Value) -> Result<(u16, Value)> {
    let headers = [("content-type", "application/json")];
    let body = message.to_string().into_bytes();
    let (status, text) = server.post("/push.v1.PusherService/Push", &headers, body).await?;
    Ok((status, serde_json::from_str(&text)?))
}

fn of(service: &str) -> String {
    format!("{{service_name=\"{service}\"}}")
}

const NAME: (&str, &str) = ("__name__", "process_cpu");

#[tokio::test]
async fn labels_and_names() -> Result<()> {
    let server = Server::start()?;
    let profile = pprof(0, &[(&["main"], 7, &[])])?;
    type Labels = &'static [(&'static str, &'static str)];
    let table: [(Labels, &str, &str, &str); 6] = [
        (&[NAME], "unknown_service", "service_name=unknown_service", CPU),
        (&[NAME, ("service_name", "a"), ("b.c/d é", "x y")], "a", "b.c/d é=x y service_name=a", CPU),
        (&[NAME, ("service_name", "s"), ("__session_id__", "1")], "s", "service_name=s", CPU),
        (
            &[("__name__", "godeltaprof_memory"), ("service_name", "d")],
            "d",
            "service_name=d",
            "memory:cpu:nanoseconds:cpu:nanoseconds",
        ),
        (&[("__name__", "wall"), ("service_name", "w")], "w", "service_name=w", CPU),
        (
            &[("__name__", "own.name"), ("service_name", "o")],
            "o",
            "service_name=o",
            "own.name:cpu:nanoseconds:cpu:nanoseconds",
        ),
    ];
    for (labels, service, expect, profile_type) in table {
        let answer = push(&server, &series(labels, &[&profile])).await?;
        ensure!(answer == (200, json!({})), "{labels:?}: {answer:?}");
        let sets = server.label_sets(&of(service)).await?;
        ensure!(sets == [expect], "{labels:?}: {sets:?}");
        let totals = server.totals(&of(service)).await?;
        ensure!(totals == [(profile_type.to_owned(), 7)].into(), "{labels:?}: {totals:?}");
    }
    Ok(())
}

#[tokio::test]
async fn sample_labels_become_series_labels() -> Result<()> {
    let server = Server::start()?;
    let profile = pprof(
        0,
        &[
            (&["main", "work"], 1, &[("endpoint", "/a")]),
            (&["main", "work"], 2, &[("endpoint", "/b")]),
            (&["main", "work"], 4, &[("endpoint", "/a"), ("region", "sample")]),
            (&["main", "idle"], 8, &[]),
            (&["main", "idle"], 16, &[]),
            (&["main", "never"], 0, &[]),
        ],
    )?;
    let message = series(&[NAME, ("service_name", "s"), ("region", "eu")], &[&gzip::deflate(&profile)]);
    ensure!(push(&server, &message).await? == (200, json!({})));
    let mut sets = server.label_sets(&of("s")).await?;
    sets.sort();
    let expect = [
        "endpoint=/a region=eu service_name=s",
        "endpoint=/b region=eu service_name=s",
        "region=eu service_name=s",
    ];
    ensure!(sets == expect, "{sets:?}");
    for (matchers, total) in [
        ("{endpoint=\"/a\"}", 5),
        ("{endpoint=\"/b\"}", 2),
        ("{endpoint=\"\"}", 24),
        ("{endpoint=~\"/.*\"}", 7),
        ("{endpoint!~\"/b|\"}", 5),
        ("{}", 31),
    ] {
        let totals = server.totals(matchers).await?;
        ensure!(totals == [(CPU.to_owned(), total)].into(), "{matchers}: {totals:?}");
    }
    // Equal stacks are one, and what weighs nothing is none.
    let stacks = server.stacks(CPU, "{}").await?;
    let stack = |leaf: &str| vec![leaf.to_owned(), "main".to_owned()];
    ensure!(stacks == [(stack("work"), 7), (stack("idle"), 24)].into(), "{stacks:?}");
    Ok(())
}

#[tokio::test]
async fn an_id_is_stored_once() -> Result<()> {
    let server = Server::start()?;
    let profile = pprof(0, &[(&["main"], 7, &[])])?;
    let mut message = series(&[NAME, ("service_name", "s")], &[&profile]);
    message["series"][0]["samples"][0]["ID"] = json!("6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    for _ in 0..3 {
        ensure!(push(&server, &message).await? == (200, json!({})));
    }
    let totals = server.totals(&of("s")).await?;
    ensure!(totals == [(CPU.to_owned(), 7)].into(), "sent again, stored again: {totals:?}");
    // Without an id, or with one that is none, each is an upload of its own.
    message["series"][0]["samples"][0]["ID"] = json!("no uuid");
    for _ in 0..2 {
        ensure!(push(&server, &message).await? == (200, json!({})));
    }
    let totals = server.totals(&of("s")).await?;
    ensure!(totals == [(CPU.to_owned(), 21)].into(), "{totals:?}");
    Ok(())
}

#[tokio::test]
async fn uploads_that_share_an_id_are_all_stored() -> Result<()> {
    let server = Server::start()?;
    let id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    let upload = |name: &str, service: &str, time: i64, value| {
        let profile = pprof(time, &[(&["main"], value, &[])])?;
        let mut message = series(&[("__name__", name), ("service_name", service)], &[&profile]);
        message["series"][0]["samples"][0]["ID"] = json!(id);
        Ok::<_, anyhow::Error>(message["series"][0].take())
    };
    let now = now_ms()? * 1_000_000;
    let all = json!({"series": [
        upload("process_cpu", "s", now, 1)?,
        upload("process_cpu", "other", now, 2)?,
        upload("wall", "s", now, 4)?,
        upload("process_cpu", "s", now - 1_000_000_000, 8)?,
        upload("process_cpu", "s", now, 16)?,
    ]});
    for _ in 0..2 {
        ensure!(push(&server, &all).await? == (200, json!({})));
    }
    let total: i64 = server.totals(&of("s")).await?.into_values().sum();
    ensure!(total == 29, "{total}");
    ensure!(server.totals(&of("other")).await?.into_values().eq([2]));
    Ok(())
}

#[tokio::test]
async fn an_id_stands_for_all_of_its_upload() -> Result<()> {
    let server = Server::start()?;
    let id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    let samples: [Sample<'_>; 3] =
        [(&["main"], 1, &[]), (&["main"], 2, &[("thread", "1")]), (&["main"], 4, &[("thread", "2")])];
    let mut message = series(&[NAME, ("service_name", "s")], &[&pprof(0, &samples)?]);
    message["series"][0]["samples"][0]["ID"] = json!(id);
    ensure!(push(&server, &message).await? == (200, json!({})));
    for (selector, total) in [("{}", "7"), ("{thread=\"2\"}", "4")] {
        let question = json!({"profileTypeID": CPU, "labelSelector": selector, "start": 1, "end": 4_000_000_000_000_i64,
            "profileIdSelector": [id]});
        let answer = server.connect("querier.v1.QuerierService/SelectMergeStacktraces", &question).await?;
        ensure!(answer["flamegraph"]["total"] == total, "{selector}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn old_profiles_are_taken_at_their_time() -> Result<()> {
    let server = Server::start()?;
    let time = 1_500_000_000_000_000_000;
    let message = series(&[NAME, ("service_name", "old")], &[&pprof(time, &[(&["main"], 7, &[])])?]);
    ensure!(push(&server, &message).await? == (200, json!({})));
    let ms = time / 1_000_000;
    for (start, end, total) in
        [(ms, ms, "7"), (ms - 1000, ms + 1000, "7"), (ms + 1, ms + 1000, ""), (1, ms - 1, "")]
    {
        let question = json!({"profileTypeID": CPU, "labelSelector": "{}", "start": start, "end": end});
        let graph = server.connect("querier.v1.QuerierService/SelectMergeStacktraces", &question).await?;
        let found = graph["flamegraph"]["total"].as_str().unwrap_or_default();
        ensure!(found == total, "{start} to {end}: {found}");
    }
    let stats = server.connect("querier.v1.QuerierService/GetProfileStats", &json!({})).await?;
    let ms = ms.to_string();
    ensure!(
        stats == json!({"dataIngested": true, "oldestProfileTime": ms, "newestProfileTime": ms}),
        "{stats}"
    );
    Ok(())
}

#[tokio::test]
async fn refusals_leave_the_good_ones() -> Result<()> {
    let server = Server::start()?;
    let good = pprof(0, &[(&["main"], 7, &[])])?;
    let (long_name, long_value) = ("n".repeat(1025), "v".repeat(2049));
    let bad_type = encode(
        "Profile",
        &json!({"sampleType": [{"type": 1, "unit": 1}], "stringTable": ["", "x"],
            "sample": [{"locationId": [9], "value": [1]}]}),
    )?;
    let table = [
        json!({}),
        json!({"series": []}),
        series(&[NAME], &[]),
        series(&[], &[&good]),
        series(&[("service_name", "x")], &[&good]),
        series(&[("__name__", "")], &[&good]),
        series(&[NAME, ("a", "1"), ("a", "2")], &[&good]),
        series(&[NAME, (&long_name, "x")], &[&good]),
        series(&[NAME, ("x", &long_value)], &[&good]),
        series(&[NAME], &[b"nonsense"]),
        series(&[NAME], &[&bad_type]),
        series(&[NAME], &[good.get(..good.len() - 3).unwrap_or_default()]),
    ];
    let mut wrong = Vec::new();
    for message in table {
        let (status, error) = push(&server, &message).await?;
        if status != 400 || error["code"] != "invalid_argument" || !error["message"].is_string() {
            wrong.push(format!("{:.300}: {status} {error}", message.to_string()));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(server.totals("{}").await?.is_empty(), "something of it was stored");
    // The good one of three is kept, and the answer says which was not.
    let (status, error) =
        push(&server, &series(&[NAME, ("service_name", "mixed")], &[b"bad", &good, b"worse"])).await?;
    ensure!(
        status == 400 && error["message"].as_str().is_some_and(|text| text.contains("sample 0")),
        "{error}"
    );
    ensure!(server.totals(&of("mixed")).await? == [(CPU.to_owned(), 7)].into());
    Ok(())
}

#[tokio::test]
async fn the_tenant_header_is_ignored_by_default() -> Result<()> {
    let server = Server::start()?;
    let headers = [("content-type", "application/json"), ("x-scope-orgid", "team-a")];
    let message = series(&[NAME, ("service_name", "s")], &[&pprof(0, &[(&["main"], 7, &[])])?]);
    let path = "/push.v1.PusherService/Push";
    ensure!(server.post(path, &headers, message.to_string().into_bytes()).await?.0 == 200);
    ensure!(server.totals(&of("s")).await? == [(CPU.to_owned(), 7)].into());
    Ok(())
}
