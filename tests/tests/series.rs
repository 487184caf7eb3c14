//! Values over time and the formats of merged stacks, computed by hand from five uploads.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use everflame_formats::{Limits, tree};
use everflame_tests::{FlameGraph, Server};
use serde_json::{Value, json};

const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
const SELECT_SERIES: &str = "querier.v1.QuerierService/SelectSeries";
const STACKTRACES: &str = "querier.v1.QuerierService/SelectMergeStacktraces";
/// Unix seconds of the first upload; a multiple of 15.
const T: i64 = 1_700_000_010;

/// (pod, seconds after T, folded stacks at 10 ms a sample)
const UPLOADS: [(&str, i64, &str); 5] = [
    ("a", 0, "main;work 1"),
    ("a", 5, "main;work 2\nmain;idle 1"),
    ("a", 15, "main;work;inner 4"),
    ("b", 16, "main;work 8"),
    ("b", 60, "main;idle 16"),
];

async fn filled() -> Result<Server> {
    let server = Server::start()?;
    for (pod, after, body) in UPLOADS {
        let path = format!("/ingest?name=s%7Bpod%3D{pod}%7D&from={}", T + after);
        ensure!(server.post(&path, &[], body.into()).await?.0 == 200, "{path}");
    }
    Ok(server)
}

/// From T to T + 60 in steps of 15 s, with `changes`.
fn question(changes: Value) -> Value {
    let mut question = json!({
        "profileTypeID": CPU, "labelSelector": "{service_name=\"s\"}",
        "start": T * 1000, "end": (T + 60) * 1000, "step": 15.0,
    });
    for (name, value) in changes.as_object().into_iter().flatten() {
        question[name] = value.clone();
    }
    question
}

/// `labels: seconds=samples …` of each series.
fn outline(answer: &Value) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for series in answer["series"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let mut line = String::new();
        for label in series["labels"].as_array().map(Vec::as_slice).unwrap_or_default() {
            line += &format!(
                "{}={}",
                label["name"].as_str().context("name")?,
                label["value"].as_str().context("value")?
            );
        }
        line.push(':');
        for point in series["points"].as_array().context("points")? {
            let time: i64 = point["timestamp"].as_str().context("a text")?.parse()?;
            line += &format!(" {}={}", time / 1000 - T, point["value"].as_f64().context("value")? / 1e7);
        }
        lines.push(line);
    }
    Ok(lines)
}

#[tokio::test]
async fn a_profile_belongs_to_its_millisecond() -> Result<()> {
    let server = Server::start()?;
    let path = format!("/ingest?name=s&from={T}.0004");
    ensure!(server.post(&path, &[], "main;work 1".into()).await?.0 == 200);
    for changes in [json!({}), json!({"start": (T - 15) * 1000, "end": T * 1000})] {
        let answer = server.connect(SELECT_SERIES, &question(changes)).await?;
        ensure!(outline(&answer)? == [": 0=1"], "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn points() -> Result<()> {
    let server = filled().await?;
    let table: [(Value, &[&str]); 9] = [
        // A point at t covers (t - 15 s, t]: what lies on the edge belongs to it.
        (json!({}), &[": 0=1 15=7 30=8 60=16"]),
        (json!({"groupBy": ["pod"]}), &["pod=b: 30=8 60=16", "pod=a: 0=1 15=7"]),
        (json!({"groupBy": ["pod"], "limit": 1}), &["pod=b: 30=8 60=16"]),
        (json!({"groupBy": ["service_name"]}), &["service_name=s: 0=1 15=7 30=8 60=16"]),
        (json!({"step": 60}), &[": 0=1 60=31"]),
        (json!({"labelSelector": "{pod=\"a\"}"}), &[": 0=1 15=7"]),
        (json!({"labelSelector": "{pod=\"c\"}"}), &[]),
        (json!({"start": (T + 10) * 1000, "end": (T + 40) * 1000}), &[": 10=4 25=12"]),
        (
            json!({"stackTraceSelector": {"callSite": [{"name": "main"}, {"name": "work"}]}}),
            &[": 0=1 15=6 30=8"],
        ),
    ];
    let mut wrong = Vec::new();
    for (changes, expect) in table {
        let found = outline(&server.connect(SELECT_SERIES, &question(changes.clone())).await?)?;
        if found != expect {
            wrong.push(format!("{changes}: {found:?}, not {expect:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn exemplars_are_the_largest_of_their_points() -> Result<()> {
    let server = filled().await?;
    let answer = server.connect(SELECT_SERIES, &question(json!({"exemplarType": 2}))).await?;
    let points = answer["series"][0]["points"].as_array().context("points")?;
    let mut found = Vec::new();
    for point in points {
        let exemplars = point["exemplars"].as_array().with_context(|| format!("no exemplar in {point}"))?;
        ensure!(exemplars.len() == 1, "{point}");
        found.push(exemplars[0]["value"].as_str().context("value")?.to_owned());
        // The profile of an exemplar can be asked for by its id.
        let id = exemplars[0]["profileId"].clone();
        let one = server.connect(STACKTRACES, &question(json!({"profileIdSelector": [id]}))).await?;
        ensure!(one["flamegraph"]["total"] == exemplars[0]["value"], "{point}: {one}");
    }
    ensure!(found == ["10000000", "40000000", "80000000", "160000000"], "{found:?}");
    let none = server.connect(SELECT_SERIES, &question(json!({"exemplarType": 1}))).await?;
    ensure!(none["series"][0]["points"][0].get("exemplars").is_none_or(|list| *list == json!([])), "{none}");
    Ok(())
}

#[tokio::test]
async fn formats_of_merged_stacks() -> Result<()> {
    let server = filled().await?;
    let tree_of = |changes: Value| {
        let server = &server;
        async move {
            let answer = server.connect(STACKTRACES, &question(changes)).await?;
            let bytes = answer["tree"].as_str().with_context(|| format!("no tree in {answer}"))?;
            let bytes = base64::engine::general_purpose::STANDARD.decode(bytes)?;
            anyhow::Ok(tree::read(&bytes, &Limits::default())?.outline())
        }
    };
    let outline = tree_of(json!({"format": "PROFILE_FORMAT_TREE"})).await?;
    let single = outline.replace("0000000", "");
    ensure!(
        single.contains("main 32") && single.contains("work 15") && single.contains("inner 4"),
        "{outline}"
    );

    let site = json!({"stackTraceSelector": {"callSite": [{"name": "main"}, {"name": "work"}]}});
    let graph = FlameGraph::from_json(&server.connect(STACKTRACES, &question(site)).await?)?;
    ensure!(graph.total == 150_000_000 && graph.own("inner") == 40_000_000, "{graph:?}");
    ensure!(graph.own("idle") == 0, "{graph:?}");

    let answer = server.connect(STACKTRACES, &question(json!({"format": 4}))).await?;
    let profile = &answer["pprof"]["profile"];
    let texts = profile["stringTable"].as_array().context("stringTable")?;
    let text = |index: &Value| {
        let index: usize = index.as_str().unwrap_or("0").parse().unwrap_or_default();
        texts.get(index).and_then(Value::as_str).unwrap_or_default()
    };
    ensure!(text(&profile["sampleType"][0]["type"]) == "cpu", "{profile}");
    ensure!(text(&profile["defaultSampleType"]) == "cpu", "{profile}");
    ensure!(text(&profile["periodType"]["type"]) == "cpu" && profile["period"] == "1000000000", "{profile}");
    let time = profile["timeNanos"].as_str().context("timeNanos")?;
    ensure!(time == ((T + 60) * 1_000_000_000).to_string(), "not the end: {time}");
    ensure!(profile["durationNanos"] == "60000000000", "{profile}");
    let values: i64 = profile["sample"]
        .as_array()
        .context("sample")?
        .iter()
        .filter_map(|sample| sample["value"][0].as_str()?.parse::<i64>().ok())
        .sum();
    ensure!(values == 320_000_000, "{values}");
    let nothing = json!({"format": 4, "labelSelector": "{service_name=\"nobody\"}"});
    let nothing = server.connect(STACKTRACES, &question(nothing)).await?;
    ensure!(nothing["pprof"]["profile"]["sample"].is_null(), "{nothing}");
    Ok(())
}
