//! The four protocols of the RPC port: what was pushed through any of them, each of them answers alike.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use everflame_tests::rpc::{self, Answer, Coding, Method, Wire, call, http2};
use everflame_tests::{FlameGraph, Server};
use serde_json::{Value, json};

const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
const COMPILE: &[u8] = include_bytes!("../../bench/profiles/go-compile.pb.gz");
const GOFMT: &[u8] = include_bytes!("../../bench/profiles/gofmt.pb.gz");

fn push(service: &str, profile: &[u8]) -> Value {
    let label = |name: &str, value: &str| json!({"name": name, "value": value});
    json!({"series": [{
        "labels": [label("__name__", "process_cpu"), label("service_name", service), label("region", "eu")],
        "samples": [{"rawProfile": base64::engine::general_purpose::STANDARD.encode(profile)}],
    }]})
}

fn question(service: &str) -> Value {
    json!({
        "profileTypeID": CPU, "labelSelector": format!("{{service_name=\"{service}\"}}"),
        "start": 1, "end": 4_000_000_000_000_i64,
    })
}

fn with(mut question: Value, name: &str, value: Value) -> Value {
    question[name] = value;
    question
}

fn questions() -> Vec<(Method, Value)> {
    let all = json!({"start": 1, "end": 4_000_000_000_000_i64});
    let wide = |service| with(question(service), "maxNodes", json!(1_048_576));
    vec![
        (rpc::PROFILE_TYPES, all.clone()),
        (rpc::LABEL_NAMES, all.clone()),
        (rpc::LABEL_VALUES, with(all.clone(), "name", json!("service_name"))),
        (rpc::LABEL_VALUES, with(all.clone(), "name", json!("__profile_type__"))),
        (rpc::SERIES, with(all.clone(), "labelNames", json!(["service_name", "__profile_type__"]))),
        (rpc::SERIES, with(all, "matchers", json!(["{region=\"eu\"}"]))),
        (rpc::STACKTRACES, wide("compile")),
        (rpc::STACKTRACES, with(question("compile"), "maxNodes", json!(20))),
        (rpc::STACKTRACES, with(wide("compile"), "format", json!(2))),
        (rpc::STACKTRACES, with(question("compile"), "format", json!(4))),
        (rpc::STACKTRACES, question("nobody")),
        (rpc::MERGE_PROFILE, question("gofmt")),
        (
            rpc::SELECT_SERIES,
            with(with(question("compile"), "start", json!(1_700_000_000_000_i64)), "step", json!(86_400)),
        ),
        (rpc::DIFF, json!({"left": wide("compile"), "right": wide("gofmt")})),
        (rpc::PROFILE_STATS, json!({})),
        (rpc::VERSION, json!({})),
    ]
}

/// A server with two services, each pushed through another protocol.
async fn filled() -> Result<Server> {
    let server = Server::start()?;
    let http = http2()?;
    for (wire, service, profile) in [(Wire::Grpc, "compile", COMPILE), (Wire::ConnectJson, "gofmt", GOFMT)] {
        let answer = call(&http, &server, wire, Coding::Plain, rpc::PUSH, &push(service, profile)).await?;
        ensure!(answer.message == Ok(json!({})), "{wire:?}: {answer:?}");
    }
    Ok(server)
}

#[tokio::test]
async fn every_protocol_gives_the_same_answers() -> Result<()> {
    let server = filled().await?;
    let http2 = http2()?;
    for (method, question) in questions() {
        let mut first: Option<Value> = None;
        for wire in Wire::ALL {
            for coding in [Coding::Plain, Coding::Gzip] {
                for http in [server.http(), &http2] {
                    if wire == Wire::Grpc && !std::ptr::eq(http, &http2) {
                        continue;
                    }
                    let Answer { message, compressed } =
                        call(http, &server, wire, coding, method, &question).await?;
                    let place = format!("{} {question} over {wire:?} {coding:?}", method.path);
                    let message = message.map_err(|refusal| anyhow::anyhow!("{place}: {refusal:?}"))?;
                    ensure!(!compressed || coding == Coding::Gzip, "{place}: compressed without being asked");
                    let large = message.to_string().len() > 100_000;
                    ensure!(compressed || !large || coding == Coding::Plain, "{place}: not compressed");
                    let first = first.get_or_insert_with(|| message.clone());
                    ensure!(*first == message, "{place}: {message}\nbut the first protocol: {first}");
                }
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_push_through_any_protocol_stores_the_same() -> Result<()> {
    let server = Server::start()?;
    let http2 = http2()?;
    let mut graphs = Vec::new();
    for wire in Wire::ALL {
        for coding in [Coding::Plain, Coding::Gzip] {
            let service = format!("{wire:?}-{coding:?}");
            let answer = call(&http2, &server, wire, coding, rpc::PUSH, &push(&service, GOFMT)).await?;
            ensure!(answer.message == Ok(json!({})), "{service}: {answer:?}");
            let question = with(question(&service), "maxNodes", json!(1_048_576));
            graphs.push(server.connect(rpc::STACKTRACES.path, &question).await?);
        }
    }
    let first = graphs.first().context("no graphs")?;
    ensure!(FlameGraph::from_json(first)?.total > 0, "nothing was stored");
    ensure!(graphs.iter().all(|graph| graph == first), "the protocols stored different things");
    Ok(())
}

#[tokio::test]
async fn the_answers_hold_what_the_descriptions_say() -> Result<()> {
    let server = filled().await?;
    let all = json!({"start": 1, "end": 4_000_000_000_000_i64});
    let types = server.connect(rpc::PROFILE_TYPES.path, &all).await?;
    ensure!(
        types["profileTypes"][0]
            == json!({"ID": CPU, "name": "process_cpu", "sampleType": "cpu", "sampleUnit": "nanoseconds",
                "periodType": "cpu", "periodUnit": "nanoseconds"}),
        "{types}"
    );
    ensure!(types["profileTypes"][1]["ID"] == "process_cpu:samples:count:cpu:nanoseconds", "{types}");
    let series = with(all.clone(), "labelNames", json!(["service_name"]));
    let series = server.connect(rpc::SERIES.path, &series).await?;
    ensure!(series["labelsSet"].as_array().map(Vec::len) == Some(2), "{series}");
    let names = with(all.clone(), "name", json!("service_name"));
    ensure!(server.connect(rpc::LABEL_VALUES.path, &names).await? == json!({"names": ["compile", "gofmt"]}));
    let names = server.connect(rpc::LABEL_NAMES.path, &all).await?;
    let names: Vec<&str> =
        names["names"].as_array().context("names")?.iter().filter_map(Value::as_str).collect();
    ensure!(names.is_sorted(), "{names:?}");
    for name in ["region", "service_name", "__profile_type__"] {
        ensure!(names.contains(&name), "{name} is not in {names:?}");
    }
    // The proto names and enums by name are taken as well.
    let by_proto_names = json!({
        "profile_typeID": CPU, "label_selector": "{service_name=\"gofmt\"}", "start": "1",
        "end": "4000000000000", "max_nodes": "1048576", "format": "PROFILE_FORMAT_FLAMEGRAPH", "unknown": [1],
    });
    let whole = server.connect(rpc::STACKTRACES.path, &by_proto_names).await?;
    let graph = &whole["flamegraph"];
    ensure!(graph["names"][0] == "total", "{}", graph["names"]);
    ensure!(
        graph["levels"][0] == json!({"values": ["0", graph["total"], "0", "0"]}),
        "{}",
        graph["levels"][0]
    );
    // What is cut stays in the totals.
    let cut = with(question("gofmt"), "maxNodes", json!(20));
    let cut = server.connect(rpc::STACKTRACES.path, &cut).await?;
    let names = cut["flamegraph"]["names"].as_array().context("names")?;
    ensure!(cut["flamegraph"]["total"] == graph["total"] && names.contains(&json!("other")), "{cut}");
    // Nobody's flame graph is one bar of nothing.
    let nobody = server.connect(rpc::STACKTRACES.path, &question("nobody")).await?;
    ensure!(nobody["flamegraph"]["names"] == json!(["total"]), "{nobody}");
    ensure!(nobody["flamegraph"]["levels"] == json!([{"values": ["0", "0", "0", "0"]}]), "{nobody}");
    // Both sides of a difference are their own totals.
    let sides = json!({"left": question("compile"), "right": question("gofmt")});
    let diff = server.connect(rpc::DIFF.path, &sides).await?;
    ensure!(diff["flamegraph"]["rightTicks"] == graph["total"], "{}", diff["flamegraph"]["rightTicks"]);
    // The larger number of nodes counts for both, also beside one that is no number of nodes.
    for (left, right, names) in [
        (json!(3), Value::Null, 3),
        (Value::Null, json!(3), 3),
        (json!(-1), json!(3), 3),
        (json!(9), json!(3), 9),
    ] {
        let sides = json!({
            "left": with(question("compile"), "maxNodes", left),
            "right": with(question("compile"), "maxNodes", right),
        });
        let diff = server.connect(rpc::DIFF.path, &sides).await?;
        let found = diff["flamegraph"]["names"].as_array().map_or(0, Vec::len);
        ensure!(found > 2 && found <= names + 2, "{found} names");
    }
    // Sides may be of two types, which is for whoever asks to know.
    let other = with(question("compile"), "profileTypeID", json!("memory:alloc_space:bytes:space:bytes"));
    let sides = json!({"left": question("gofmt"), "right": other});
    let diff = server.connect(rpc::DIFF.path, &sides).await?;
    ensure!(diff["flamegraph"]["leftTicks"] == graph["total"], "{diff}");
    let stats = server.connect(rpc::PROFILE_STATS.path, &json!({})).await?;
    ensure!(stats["dataIngested"] == true, "{stats}");
    Ok(())
}

#[tokio::test]
async fn a_refusal_has_the_same_code_and_message_everywhere() -> Result<()> {
    let server = Server::start()?;
    let http2 = http2()?;
    let (no_type, no_selector) = (json!({"labelSelector": "{}", "start": 1, "end": 2}), question("x"));
    let table = [
        (rpc::STACKTRACES, no_type, "invalid_argument", 400),
        (rpc::STACKTRACES, with(no_selector.clone(), "labelSelector", json!("{a=")), "invalid_argument", 400),
        (rpc::STACKTRACES, with(no_selector.clone(), "maxNodes", json!(-1)), "invalid_argument", 400),
        (rpc::STACKTRACES, with(no_selector, "maxNodes", json!(1_048_577)), "invalid_argument", 400),
        (rpc::LABEL_VALUES, json!({"start": 1, "end": 2}), "invalid_argument", 400),
        (rpc::PUSH, json!({"series": [{"labels": [], "samples": []}]}), "invalid_argument", 400),
        (rpc::PUSH, push("x", b"no profile"), "invalid_argument", 400),
        (
            Method { path: "querier.v1.QuerierService/Nonsense", ..rpc::VERSION },
            json!({}),
            "unimplemented",
            501,
        ),
    ];
    for (method, request, code, http) in table {
        let mut messages = Vec::new();
        for wire in Wire::ALL {
            let answer = call(&http2, &server, wire, Coding::Plain, method, &request).await?;
            let place = format!("{} {request} over {wire:?}", method.path);
            let Err(refusal) = answer.message else { anyhow::bail!("{place}: {answer:?}") };
            let http = if wire.is_framed() { 200 } else { http };
            let unknown_path = refusal.http == 404 && code == "unimplemented";
            ensure!(refusal.code == code && (refusal.http == http || unknown_path), "{place}: {refusal:?}");
            ensure!(!refusal.message.is_empty(), "{place}: no message");
            messages.push(refusal.message);
        }
        messages.dedup();
        ensure!(messages.len() == 1, "{}: {messages:?}", method.path);
    }
    Ok(())
}

#[tokio::test]
async fn http_itself_is_checked() -> Result<()> {
    let server = Server::start()?;
    let url = server.url("/querier.v1.QuerierService/ProfileTypes");
    for http in [server.http(), &http2()?] {
        ensure!(http.get(&url).send().await?.status() == 405);
        ensure!(http.put(&url).json(&json!({})).send().await?.status() == 405);
        let table = [
            ("text/plain", "{}", 415),
            ("application/json", "", 400),
            ("application/json", "{", 400),
            ("application/json", "{\"start\":\"now\"}", 400),
            ("application/json", "{}", 200),
            ("application/json; charset=utf-8", "{}", 200),
            ("application/proto", "", 200),
            ("application/proto", "\u{8}", 400),
        ];
        for (content_type, body, status) in table {
            let answer = http.post(&url).header("content-type", content_type).body(body).send().await?;
            ensure!(answer.status() == status, "{content_type} {body:?}: {}", answer.status());
        }
        let unknown = http.post(&url).header("content-encoding", "br").json(&json!({})).send().await?;
        let (status, error) = (unknown.status(), unknown.json::<Value>().await?);
        ensure!(error["code"] == "unimplemented" && status == 501, "{status} {error}");
    }
    Ok(())
}

#[tokio::test]
async fn odd_label_names_are_for_those_who_ask() -> Result<()> {
    let server = Server::start()?;
    let mut push = push("odd", GOFMT);
    push["series"][0]["labels"][2]["name"] = json!("k8s.pod/größe");
    server.connect(rpc::PUSH.path, &push).await?;
    let url = server.url(&format!("/{}", rpc::LABEL_NAMES.path));
    let table = [
        (None, false),
        (Some("*/*"), false),
        (Some("*/*;allow-utf8-labelnames=true"), true),
        (Some("*/*; allow-utf8-labelnames=true"), true),
        (Some("*/*; allow-utf8-labelnames=false"), false),
    ];
    for (accept, shown) in table {
        let mut post = server.http().post(&url).json(&json!({"start": 1, "end": 4_000_000_000_000_i64}));
        if let Some(accept) = accept {
            post = post.header("accept", accept);
        }
        let names: Value = post.send().await?.json().await?;
        let names = names["names"].as_array().with_context(|| format!("{accept:?}: {names}"))?;
        ensure!(names.contains(&json!("k8s.pod/größe")) == shown, "{accept:?}: {names:?}");
        ensure!(names.contains(&json!("service_name")), "{accept:?}: {names:?}");
    }
    let malformed = server.http().post(&url).header("accept", ";;;").json(&json!({"start": 1, "end": 2}));
    ensure!(malformed.send().await?.status() == 400);
    Ok(())
}

#[tokio::test]
async fn bodies_may_come_in_small_frames() -> Result<()> {
    let server = Server::start()?;
    let lines = (0..3_000).map(|at| Ok::<_, std::io::Error>(format!("main;f{at} 1\n")));
    let body = reqwest::Body::wrap_stream(futures::stream::iter(lines));
    let query = [("name", "lines"), ("format", "folded")];
    let answer = http2()?.post(server.url("/ingest")).query(&query).body(body).send().await?;
    ensure!(answer.status() == 200, "{}", answer.text().await?);
    Ok(())
}
