//! Each real SDK, end to end: it profiles a program with one hot function, and that function must be
//! what the flame graph and `go tool pprof -top` show.

use anyhow::{Context, Result, bail, ensure};
use everflame_tests::{Client, FlameGraph, Prepared, Server, go_pprof_top, now_ms, skip};
use serde_json::{Value, json};

/// Several windows of a second each, so that at least one is whole.
const RUN_SECONDS: f64 = 4.5;
const HOUR_MS: i64 = 3_600_000;

struct Expect {
    client: Client,
    service: &'static str,
    /// How the id of the type that shows the hot function begins.
    hot_type: &'static str,
    hot_function: &'static str,
    /// At least this part of the samples must be in the hot function itself.
    share: f64,
    /// Other types that the SDK sends: how their ids begin.
    also: &'static [&'static str],
    /// Labels of the hot function's series: those that the program was started with, and one that it set
    /// while it ran.
    labels: &'static str,
    /// What else to look at: the client printed the text.
    spans: Spans,
}

#[derive(PartialEq)]
enum Spans {
    /// It prints `span_id=…` and `trace_id=…`, in which the hot function ran.
    Printed,
    None,
}

#[tokio::test]
async fn go_sdk() -> Result<()> {
    check(Expect {
        client: Client::Go,
        service: "client-go",
        hot_type: "process_cpu:cpu:nanoseconds:",
        hot_function: "everflameHotGo",
        share: 0.7,
        also: &["memory:alloc_space:bytes:", "memory:inuse_space:bytes:", "goroutine", "mutex:", "block:"],
        labels: r#"region="test",endpoint="cart""#,
        spans: Spans::Printed,
    })
    .await
}

#[tokio::test]
async fn python_sdk() -> Result<()> {
    check(Expect {
        client: Client::Python,
        service: "client-python",
        hot_type: "process_cpu:cpu:nanoseconds:",
        hot_function: "everflame_hot_python",
        share: 0.7,
        also: &["memory:alloc_space:bytes:"],
        labels: r#"region="test",endpoint="cart""#,
        spans: Spans::None,
    })
    .await
}

#[tokio::test]
async fn rust_sdk() -> Result<()> {
    check(Expect {
        client: Client::Rust,
        service: "client-rust",
        hot_type: "process_cpu:cpu:nanoseconds:",
        hot_function: "everflame_hot_rust",
        share: 0.7,
        also: &[],
        labels: r#"region="test",endpoint="cart""#,
        spans: Spans::None,
    })
    .await
}

#[tokio::test]
async fn node_sdk() -> Result<()> {
    check(Expect {
        client: Client::Node,
        service: "client-node",
        hot_type: "wall:wall:nanoseconds:",
        hot_function: "everflameHotNode",
        share: 0.5,
        also: &["memory:inuse_space:bytes:"],
        labels: r#"region="test",endpoint="cart""#,
        spans: Spans::None,
    })
    .await
}

#[tokio::test]
async fn java_agent() -> Result<()> {
    check(Expect {
        client: Client::Java,
        service: "client-java",
        hot_type: "process_cpu:cpu:nanoseconds:",
        hot_function: "Work.everflameHotJava",
        share: 0.7,
        also: &[
            "memory:alloc_in_new_tlab_bytes:bytes:",
            "memory:alloc_in_new_tlab_objects:count:",
            "memory:live:count:",
            "mutex:contentions:count:",
            "mutex:delay:nanoseconds:",
        ],
        labels: r#"region="test",endpoint="cart",jfr_event="itimer""#,
        spans: Spans::None,
    })
    .await
}

async fn check(expect: Expect) -> Result<()> {
    let name = format!("client {}", expect.client.name());
    let command = match expect.client.prepare()? {
        Prepared::Ready(command) => command,
        Prepared::Missing(reason) => return skip(&name, &reason),
    };
    let server = Server::start()?;
    let from = now_ms()? - HOUR_MS;
    let printed = expect.client.run(&command, server.base(), RUN_SECONDS)?;
    let until = now_ms()? + HOUR_MS;

    let types = profile_types(&server, expect.service, from, until).await?;
    for prefix in expect.also {
        ensure!(types.iter().any(|t| t.starts_with(prefix)), "no type {prefix}… among {types:?}");
    }
    let hot_type = types
        .iter()
        .find(|t| t.starts_with(expect.hot_type))
        .with_context(|| format!("no type {}… among {types:?}", expect.hot_type))?;

    let selector = format!("{{service_name=\"{}\"}}", expect.service);
    let labelled = format!("{{service_name=\"{}\",{}}}", expect.service, expect.labels);
    let mut questions = vec![json!({"labelSelector": selector}), json!({"labelSelector": labelled})];
    if expect.spans == Spans::Printed {
        let id =
            |name: &str| printed.lines().find_map(|line| line.strip_prefix(name)).context("no ids printed");
        questions.push(json!({"labelSelector": selector, "spanSelector": [id("span_id=")?]}));
        questions.push(json!({"labelSelector": selector, "traceIdSelector": [id("trace_id=")?]}));
    }
    for mut question in questions {
        question["profileTypeID"] = json!(hot_type);
        question["start"] = json!(from);
        question["end"] = json!(until);
        let answer = server.connect("querier.v1.QuerierService/SelectMergeStacktraces", &question).await?;
        let graph = FlameGraph::from_json(&answer)?;
        let share = graph.self_share(expect.hot_function);
        ensure!(
            share >= expect.share,
            "{question}: {} has {share:.2}: {:?}",
            expect.hot_function,
            graph.heaviest()
        );
    }

    let query = [
        ("query", format!("{hot_type}{selector}")),
        ("from", from.to_string()),
        ("until", until.to_string()),
    ];
    let url = server.http().get(server.url("/api/v1/pprof")).query(&query).build()?.url().to_string();
    match go_pprof_top(&url)? {
        Ok(top) if top.contains(expect.hot_function) => Ok(()),
        Ok(top) => bail!("{} is not in\n{top}", expect.hot_function),
        Err(reason) => skip(&format!("{name}: go tool pprof"), &reason),
    }
}

/// The types that `service` has, as their ids.
async fn profile_types(server: &Server, service: &str, from: i64, until: i64) -> Result<Vec<String>> {
    let answer = server
        .connect(
            "querier.v1.QuerierService/LabelValues",
            &json!({
                "name": "__profile_type__",
                "matchers": [format!("{{service_name=\"{service}\"}}")],
                "start": from, "end": until,
            }),
        )
        .await?;
    let names = answer["names"].as_array().with_context(|| format!("no names in {answer}"))?;
    Ok(names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}
