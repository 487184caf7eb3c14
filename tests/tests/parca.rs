//! Parca's wire: profiles in, and every question of its pages and scripts, over gRPC, gRPC-Web and REST.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use everflame_formats::{Limits, pprof};
use everflame_profile::Profile;
use everflame_tests::rpc::{Coding, Method, Refusal, Wire, call, http2};

use everflame_tests::{Server, now_ms, pprof as made_pprof, stacks_of};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta";
const GOFMT: &[u8] = include_bytes!("../../bench/profiles/gofmt.pb.gz");
const COMPILE: &[u8] = include_bytes!("../../bench/profiles/go-compile.pb.gz");
const HEAP: &[u8] = include_bytes!("../fixtures/pprof/go-heap.pb.gz");

const fn store(path: &'static str, request: &'static str, answer: &'static str) -> Method {
    Method { path, request, answer }
}

const WRITE_RAW: Method =
    store("parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw", "ParcaWriteRaw", "Empty");
const AGENTS: Method = store("parca.profilestore.v1alpha1.AgentsService/Agents", "Empty", "ParcaAgents");
const QUERY: Method = store("parca.query.v1alpha1.QueryService/Query", "ParcaQuery", "ParcaAnswer");
const QUERY_BELOW_API: Method =
    store("api/parca.query.v1alpha1.QueryService/Query", "ParcaQuery", "ParcaAnswer");
const QUERY_RANGE: Method =
    store("parca.query.v1alpha1.QueryService/QueryRange", "ParcaRange", "ParcaRangeAnswer");
const TYPES: Method =
    store("parca.query.v1alpha1.QueryService/ProfileTypes", "ParcaTypesRequest", "ParcaTypes");
const LABELS: Method = store("parca.query.v1alpha1.QueryService/Labels", "ParcaLabels", "ParcaLabelNames");
const VALUES: Method = store("parca.query.v1alpha1.QueryService/Values", "ParcaValues", "ParcaLabelValues");
const SERIES: Method = store("parca.query.v1alpha1.QueryService/Series", "ParcaTypesRequest", "Empty");
const HAS_DATA: Method = store("parca.query.v1alpha1.QueryService/HasProfileData", "Empty", "ParcaHasData");
const SHARE: Method = store("parca.query.v1alpha1.QueryService/ShareProfile", "ParcaShare", "Empty");
const SHOULD: Method = store(
    "parca.debuginfo.v1alpha1.DebuginfoService/ShouldInitiateUpload",
    "ParcaShould",
    "ParcaShouldAnswer",
);
const INITIATE: Method =
    store("parca.debuginfo.v1alpha1.DebuginfoService/InitiateUpload", "ParcaInitiate", "Empty");
const FINISHED: Method =
    store("parca.debuginfo.v1alpha1.DebuginfoService/MarkUploadFinished", "ParcaFinished", "Empty");

/// The protocols that Parca's clients speak.
const WIRES: [Wire; 3] = [Wire::Grpc, Wire::GrpcWeb, Wire::ConnectProto];

/// Numbers of report types.
const PPROF: i64 = 1;
const TOP: i64 = 2;
const CALLGRAPH: i64 = 3;
const FLAMEGRAPH_TABLE: i64 = 4;
const FLAMEGRAPH_ARROW: i64 = 5;
const SOURCE: i64 = 6;
const METADATA: i64 = 8;

async fn ask_over(
    server: &Server,
    wire: Wire,
    coding: Coding,
    method: Method,
    request: &Value,
) -> Result<Result<Value, Refusal>> {
    Ok(call(&http2()?, server, wire, coding, method, request).await?.message)
}

async fn ask(server: &Server, method: Method, request: &Value) -> Result<Value> {
    let answer = ask_over(server, Wire::Grpc, Coding::Plain, method, request).await?;
    answer.map_err(|refusal| anyhow::anyhow!("{} {request}: {refusal:?}", method.path))
}

fn label(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

fn raw(labels: &[(&str, &str)], profiles: &[&[u8]]) -> Value {
    let labels: Vec<_> = labels.iter().map(|(name, value)| label(name, value)).collect();
    let samples: Vec<_> =
        profiles.iter().map(|profile| json!({"rawProfile": BASE64.encode(profile)})).collect();
    json!({"labels": {"labels": labels}, "samples": samples})
}

fn write(series: &[Value]) -> Value {
    json!({ "series": series, "normalized": true })
}

fn time(nanos: i64) -> Value {
    json!({"seconds": nanos.div_euclid(1_000_000_000), "nanos": nanos.rem_euclid(1_000_000_000)})
}

fn ever() -> (Value, Value) {
    (json!({"seconds": 1}), json!({"seconds": 4_000_000_000_i64}))
}

fn merge(query: &str) -> Value {
    let (start, end) = ever();
    json!({"query": query, "start": start, "end": end})
}

fn report(query: &str, report: i64) -> Value {
    json!({"mode": 2, "merge": merge(query), "reportType": report})
}

fn with(mut request: Value, name: &str, value: Value) -> Value {
    request[name] = value;
    request
}

fn read(pprof: &[u8]) -> Result<Profile> {
    Ok(pprof::read(pprof, &Limits::default())?.profile)
}

fn number(value: &Value) -> i64 {
    value.as_str().and_then(|text| text.parse().ok()).or(value.as_i64()).unwrap_or_default()
}

/// A server with two services, each written through another protocol.
async fn filled() -> Result<Server> {
    let server = Server::start()?;
    let gofmt = raw(&[("__name__", "process_cpu"), ("job", "gofmt"), ("node", "n1")], &[GOFMT]);
    let compile = raw(&[("__name__", "process_cpu"), ("job", "compile"), ("node", "n1")], &[COMPILE]);
    let heap = raw(&[("__name__", "memory"), ("job", "gofmt"), ("node", "n1")], &[HEAP]);
    let message = ask_over(&server, Wire::Grpc, Coding::Gzip, WRITE_RAW, &write(&[gofmt, heap])).await?;
    ensure!(message == Ok(json!({})), "{message:?}");
    let message = ask_over(&server, Wire::GrpcWeb, Coding::Plain, WRITE_RAW, &write(&[compile])).await?;
    ensure!(message == Ok(json!({})), "{message:?}");
    Ok(server)
}

#[tokio::test]
async fn what_was_written_comes_back_as_it_was() -> Result<()> {
    let server = filled().await?;
    for (job, file, types) in [
        ("gofmt", GOFMT, &[CPU][..]),
        ("compile", COMPILE, &[CPU]),
        ("gofmt", HEAP, &["memory:alloc_space:bytes:space:bytes", "memory:inuse_objects:count:space:bytes"]),
    ] {
        let truth = read(file)?;
        for profile_type in types {
            let kind = profile_type.split(':').nth(1).context("kind")?;
            let column = truth.sample_types.iter().position(|own| own.kind == kind).context("column")?;
            let query = format!("{profile_type}{{job=\"{job}\"}}");
            let answer = ask(&server, QUERY, &report(&query, PPROF)).await?;
            let bytes = BASE64.decode(answer["pprof"].as_str().with_context(|| format!("{answer}"))?)?;
            ensure!(bytes.starts_with(&[0x1f, 0x8b]), "not gzip");
            let found = read(&bytes)?;
            ensure!(
                found.sample_types == truth.sample_types[column..=column],
                "{query}: {:?}",
                found.sample_types
            );
            let (found, mut expect) = (stacks_of(&found, 0), stacks_of(&truth, column));
            expect.retain(|_, value| *value != 0);
            ensure!(found == expect, "{query}: {} stacks, and not {}", found.len(), expect.len());
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_protocol_gives_the_same_answers() -> Result<()> {
    let server = filled().await?;
    let query = format!("{CPU}{{job=\"gofmt\"}}");
    let (start, end) = ever();
    for (method, request) in [
        (QUERY, report(&query, TOP)),
        (QUERY, report(&query, FLAMEGRAPH_TABLE)),
        (QUERY, report(&query, METADATA)),
        (TYPES, json!({})),
        (LABELS, json!({"start": start, "end": end})),
        (VALUES, json!({"labelName": "job"})),
        (HAS_DATA, json!({})),
        (QUERY_RANGE, json!({"query": query, "start": start, "end": end, "step": {"seconds": 86_400 * 365}})),
    ] {
        let first = ask(&server, method, &request).await?;
        for wire in WIRES {
            for coding in [Coding::Plain, Coding::Gzip] {
                let answer = ask_over(&server, wire, coding, method, &request).await?;
                ensure!(answer.as_ref() == Ok(&first), "{} over {wire:?}: {answer:?}", method.path);
            }
        }
    }
    // Where Parca's pages look.
    let request = report(&query, TOP);
    let below = ask_over(&server, Wire::GrpcWeb, Coding::Plain, QUERY_BELOW_API, &request).await?;
    ensure!(below == Ok(ask(&server, QUERY, &request).await?), "{below:?}");
    Ok(())
}

#[tokio::test]
async fn types_labels_and_values() -> Result<()> {
    let server = Server::start()?;
    ensure!(ask(&server, HAS_DATA, &json!({})).await? == json!({}), "there is something");
    ensure!(ask(&server, TYPES, &json!({})).await? == json!({}), "there is something");
    drop(server);
    let server = filled().await?;
    ensure!(ask(&server, HAS_DATA, &json!({})).await? == json!({"hasData": true}));
    let types = ask(&server, TYPES, &json!({})).await?;
    let types: Vec<String> = types["types"]
        .as_array()
        .context("types")?
        .iter()
        .map(|found| {
            let part = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
            let delta = if found["delta"] == true { ":delta" } else { "" };
            let parts = ["name", "sampleType", "sampleUnit", "periodType", "periodUnit"].map(part);
            format!("{}{delta}", parts.join(":"))
        })
        .collect();
    ensure!(
        types
            == [
                "memory:alloc_objects:count:space:bytes",
                "memory:alloc_space:bytes:space:bytes",
                "memory:inuse_objects:count:space:bytes",
                "memory:inuse_space:bytes:space:bytes",
                CPU,
                "process_cpu:samples:count:cpu:nanoseconds:delta",
            ],
        "{types:?}"
    );
    ensure!(
        ask(&server, LABELS, &json!({})).await? == json!({"labelNames": ["job", "node", "service_name"]}),
        "{}",
        ask(&server, LABELS, &json!({})).await?
    );
    let values = |request: Value| {
        let server = &server;
        async move { Ok::<_, anyhow::Error>(ask(server, VALUES, &request).await?["labelValues"].clone()) }
    };
    ensure!(values(json!({"labelName": "job"})).await? == json!(["compile", "gofmt"]));
    ensure!(
        values(json!({"labelName": "service_name", "match": ["job=\"gofmt\""]})).await? == json!(["gofmt"])
    );
    let memory = "memory:alloc_space:bytes:space:bytes";
    ensure!(values(json!({"labelName": "job", "profileType": memory})).await? == json!(["gofmt"]));
    ensure!(values(json!({"labelName": "nothing"})).await? == Value::Null);
    let early = json!({"labelName": "job", "start": {"seconds": 1}, "end": {"seconds": 2}});
    ensure!(values(early).await? == Value::Null);
    Ok(())
}

#[tokio::test]
async fn tops_flame_graphs_and_call_graphs_agree() -> Result<()> {
    let server = filled().await?;
    let query = format!("{CPU}{{job=\"gofmt\"}}");
    let truth = read(GOFMT)?;
    let column = truth.sample_types.iter().position(|own| own.kind == "cpu").context("cpu")?;
    let total = truth.totals()[column];
    // By name of the function: with all it called, and by itself.
    let mut expect: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for sample in 0..truth.samples.len() {
        let value = truth.values(sample)[column];
        let names: Vec<String> =
            truth.frames(sample).map(|frame| truth.symbols.name(frame).into_owned()).collect();
        let mut once = names.clone();
        once.sort();
        once.dedup();
        once.into_iter().for_each(|name| expect.entry(name).or_default().0 += value);
        if let Some(leaf) = names.first() {
            expect.entry(leaf.clone()).or_default().1 += value;
        }
    }
    expect.retain(|_, (cumulative, _)| *cumulative != 0);
    let answer = ask(&server, QUERY, &report(&query, TOP)).await?;
    ensure!(
        number(&answer["total"]) == total && answer["top"]["unit"] == "nanoseconds",
        "{}",
        answer["total"]
    );
    let list = answer["top"]["list"].as_array().context("list")?;
    let name = |node: &Value| node["meta"]["function"]["name"].as_str().unwrap_or("?").to_owned();
    let found: BTreeMap<String, (i64, i64)> =
        list.iter().map(|node| (name(node), (number(&node["cumulative"]), number(&node["flat"])))).collect();
    ensure!(found == expect, "{found:?}\nbut it is\n{expect:?}");
    let flats: Vec<i64> = list.iter().map(|node| number(&node["flat"])).collect();
    ensure!(flats.is_sorted_by(|a, b| a >= b), "{flats:?}");

    for kind in [0, FLAMEGRAPH_TABLE] {
        let answer = ask(&server, QUERY, &report(&query, kind)).await?;
        let graph = &answer["flamegraph"];
        ensure!(number(&graph["root"]["cumulative"]) == total && graph["unit"] == "nanoseconds");
        let text =
            |index: &Value| graph["stringTable"][number(index) as usize].as_str().unwrap_or("?").to_owned();
        let mut waiting: Vec<&Value> =
            graph["root"]["children"].as_array().context("children")?.iter().collect();
        let mut leaves: BTreeMap<String, i64> = BTreeMap::new();
        while let Some(node) = waiting.pop() {
            let children = node["children"].as_array().map(Vec::as_slice).unwrap_or_default();
            let below: i64 = children.iter().map(|child| number(&child["cumulative"])).sum();
            let location = &graph["locations"][number(&node["meta"]["locationIndex"]) as usize - 1];
            let function = &graph["function"][number(&location["lines"][0]["functionIndex"]) as usize - 1];
            *leaves.entry(text(&function["nameStringIndex"])).or_default() +=
                number(&node["cumulative"]) - below;
            waiting.extend(children);
        }
        leaves.retain(|_, value| *value != 0);
        let own: BTreeMap<String, i64> = expect
            .iter()
            .filter(|(_, (_, own))| *own != 0)
            .map(|(name, (_, own))| (name.clone(), *own))
            .collect();
        ensure!(leaves == own, "{leaves:?}\nbut it is\n{own:?}");
    }

    let answer = ask(&server, QUERY, &report(&query, CALLGRAPH)).await?;
    let nodes = answer["callgraph"]["nodes"].as_array().context("nodes")?;
    ensure!(nodes.iter().all(|node| expect[&name(node)].0 == number(&node["cumulative"])), "{nodes:?}");
    let ids: Vec<&Value> = nodes.iter().map(|node| &node["id"]).collect();
    let edges = answer["callgraph"]["edges"].as_array().context("edges")?;
    ensure!(edges.iter().all(|edge| ids.contains(&&edge["source"]) && ids.contains(&&edge["target"])));
    Ok(())
}

/// Root, then the columns that are wanted, as texts.
fn columns(answer: &Value, names: &[&str]) -> Result<Vec<Vec<String>>> {
    let record = BASE64.decode(answer["record"].as_str().context("record")?)?;
    let mut reader = arrow_ipc::reader::StreamReader::try_new(record.as_slice(), None)?;
    let batch = reader.next().context("a batch")??;
    let options = arrow::util::display::FormatOptions::default().with_null("-");
    let column = |name: &&str| {
        let column = batch.column_by_name(name).with_context(|| format!("no column {name}"))?;
        let column = match column.data_type() {
            arrow::datatypes::DataType::Dictionary(..) => {
                arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8)?
            }
            _ => column.clone(),
        };
        let texts = arrow::util::display::ArrayFormatter::try_new(column.as_ref(), &options)?;
        Ok((0..batch.num_rows()).map(|row| texts.value(row).to_string()).collect())
    };
    names.iter().map(column).collect()
}

#[tokio::test]
async fn arrow_flame_graphs_and_tables() -> Result<()> {
    let server = Server::start()?;
    let now = now_ms()? * 1_000_000;
    let functions = ["main.work", "main.main", "main.idle"];
    let profile = made_pprof(now, &[(&[1, 2], 30, "a"), (&[3, 2], 10, "a"), (&[3, 2], 1, "b")], &functions);
    let series: Vec<_> = ["x", "y"]
        .map(|pod| raw(&[("__name__", "process_cpu"), ("job", "made"), ("pod", pod)], &[&profile]))
        .into();
    ask(&server, WRITE_RAW, &write(&series)).await?;
    let types = ask(&server, TYPES, &json!({})).await?;
    let part = |name: &str| types["types"][0][name].as_str().unwrap_or_default();
    let delta = if types["types"][0]["delta"] == true { ":delta" } else { "" };
    let parts = ["name", "sampleType", "sampleUnit", "periodType", "periodUnit"].map(part).join(":");
    let query = format!("{parts}{delta}{{job=\"made\"}}");

    let answer = ask(&server, QUERY, &report(&query, FLAMEGRAPH_ARROW)).await?;
    let shown = columns(
        &answer["flamegraphArrow"],
        &["function_name", "cumulative", "flat", "parent", "depth", "value_offset"],
    )?;
    let mut rows: Vec<String> = (0..shown[0].len())
        .map(|row| shown.iter().map(|column| column[row].as_str()).collect::<Vec<_>>().join(" "))
        .collect();
    rows.sort();
    ensure!(shown[0][0] == "-" && shown[1][0] == "82" && shown[3][0] == "-1", "{shown:?}");
    ensure!(rows.iter().any(|row| row.starts_with("main.main 82 0 0 1 0")), "{rows:?}");
    ensure!(rows.iter().any(|row| row.starts_with("main.work 60 60 1 2")), "{rows:?}");
    ensure!(answer["flamegraphArrow"]["height"] == "3" && answer["total"] == "82", "{answer}");

    let trimmed = with(report(&query, FLAMEGRAPH_ARROW), "nodeTrimThreshold", json!(50.0));
    let answer = ask(&server, QUERY, &trimmed).await?;
    ensure!(columns(&answer["flamegraphArrow"], &["function_name"])?[0].len() == 3);
    ensure!(answer["flamegraphArrow"]["trimmed"] == "22", "{answer}");

    let by_pod = with(report(&query, FLAMEGRAPH_ARROW), "groupBy", json!({"fields": ["labels.pod"]}));
    let answer = ask(&server, QUERY, &by_pod).await?;
    let shown = columns(&answer["flamegraphArrow"], &["labels_only", "labels.pod", "cumulative"])?;
    let pods: Vec<_> = (0..shown[0].len())
        .filter(|&row| shown[0][row] == "true")
        .map(|row| (shown[1][row].as_str(), shown[2][row].as_str()))
        .collect();
    ensure!(pods == [("x", "41"), ("y", "41")], "{shown:?}");

    let chart = ask(&server, QUERY, &report(&query, 9)).await?;
    ensure!(
        columns(&chart["flamegraphArrow"], &["timestamp"])?[0].contains(&(now - now % 1_000).to_string())
    );

    let answer = ask(&server, QUERY, &report(&query, 7)).await?;
    let shown =
        columns(&answer["tableArrow"], &["function_name", "flat", "cumulative", "callers", "callees"])?;
    ensure!(shown[0].len() == 3, "{shown:?}");
    let row = shown[0].iter().position(|name| name == "main.main").context("main.main")?;
    ensure!(shown[1][row] == "0" && shown[2][row] == "82" && shown[3][row] == "-", "{shown:?}");
    Ok(())
}

#[tokio::test]
async fn filters_and_differences() -> Result<()> {
    let server = Server::start()?;
    let now = now_ms()? * 1_000_000;
    let functions = ["main.work", "main.main", "main.idle"];
    let one = made_pprof(now - 60_000_000_000, &[(&[1, 2], 30, ""), (&[3, 2], 10, "")], &functions);
    let two = made_pprof(now, &[(&[1, 2], 30, ""), (&[3, 2], 50, "")], &functions);
    let series = raw(&[("__name__", "process_cpu"), ("job", "made")], &[&one, &two]);
    ask(&server, WRITE_RAW, &write(&[series])).await?;
    let types = ask(&server, TYPES, &json!({})).await?;
    let part = |name: &str| types["types"][0][name].as_str().unwrap_or_default();
    let delta = if types["types"][0]["delta"] == true { ":delta" } else { "" };
    let parts = ["name", "sampleType", "sampleUnit", "periodType", "periodUnit"].map(part).join(":");
    let query = format!("{parts}{delta}{{job=\"made\"}}");
    let names = |answer: &Value| -> Vec<(String, i64, i64)> {
        let list = answer["top"]["list"].as_array().map(Vec::as_slice).unwrap_or_default();
        let name = |node: &Value| node["meta"]["function"]["name"].as_str().unwrap_or("?").to_owned();
        list.iter().map(|node| (name(node), number(&node["cumulative"]), number(&node["diff"]))).collect()
    };
    let owned = |rows: &[(&str, i64, i64)]| -> Vec<(String, i64, i64)> {
        rows.iter().map(|(name, value, diff)| ((*name).to_owned(), *value, *diff)).collect()
    };

    let stack = json!([{"stackFilter": {"criteria": {"functionName": {"contains": "IDLE"}}}}]);
    let answer = ask(&server, QUERY, &with(report(&query, TOP), "filter", stack)).await?;
    ensure!(names(&answer) == owned(&[("main.idle", 60, 0), ("main.main", 60, 0)]), "{answer}");
    ensure!(answer["filtered"] == "60" && answer["total"] == "60", "{answer}");
    let frame = json!([{"frameFilter": {"criteria": {"functionName": {"notEqual": "main.main"}}}}]);
    let answer = ask(&server, QUERY, &with(report(&query, TOP), "filter", frame)).await?;
    ensure!(names(&answer) == owned(&[("main.idle", 60, 0), ("main.work", 60, 0)]), "{answer}");
    let sandwich = with(report(&query, TOP), "sandwichByFunction", json!("main.work"));
    ensure!(
        names(&ask(&server, QUERY, &sandwich).await?) == owned(&[("main.work", 60, 0), ("main.main", 60, 0)])
    );
    let inverted = with(report(&query, TOP), "invertCallStack", json!(true));
    let answer = ask(&server, QUERY, &inverted).await?;
    ensure!(answer["top"]["list"][0]["meta"]["function"]["name"] == "main.main", "{answer}");

    let single = |time_ns: i64| json!({"mode": 0, "single": {"query": query, "time": time(time_ns)}});
    let request = |absolute: bool| {
        let diff = json!({"a": single(now - 60_000_000_000), "b": single(now), "absolute": absolute});
        json!({"mode": 1, "diff": diff, "reportType": TOP})
    };
    let answer = ask(&server, QUERY, &request(true)).await?;
    ensure!(
        names(&answer) == owned(&[("main.idle", 50, 40), ("main.work", 30, 0), ("main.main", 80, 40)]),
        "{answer}"
    );
    // The lighter side is scaled up from 40 to 80.
    let answer = ask(&server, QUERY, &request(false)).await?;
    ensure!(
        names(&answer) == owned(&[("main.idle", 50, 30), ("main.work", 30, -30), ("main.main", 80, 0)]),
        "{answer}"
    );
    let answer = ask(&server, QUERY, &with(request(true), "reportType", json!(PPROF))).await?;
    let found = read(&BASE64.decode(answer["pprof"].as_str().context("pprof")?)?)?;
    ensure!(found.totals() == [40], "{:?}", found.totals());

    // One moment alone.
    let answer =
        ask(&server, QUERY, &with(with(single(now), "reportType", json!(TOP)), "mode", json!(0))).await?;
    ensure!(answer["total"] == "80", "{answer}");
    let nothing = with(single(now + 5_000_000_000), "reportType", json!(TOP));
    let refusal = ask_over(&server, Wire::Grpc, Coding::Plain, QUERY, &nothing).await?;
    ensure!(refusal.as_ref().is_err_and(|refusal| refusal.code == "not_found"), "{refusal:?}");
    Ok(())
}

#[tokio::test]
async fn totals_over_time() -> Result<()> {
    let server = Server::start()?;
    let step = 10_000_000_000;
    let base = (now_ms()? * 1_000_000 - 3_600_000_000_000) / step * step;
    let functions = ["main.work"];
    let mut series = Vec::new();
    for (pod, values) in [("x", [(1, 5), (2, 7), (11, 9)]), ("y", [(1, 1), (2, 2), (31, 4)])] {
        let profiles: Vec<Vec<u8>> = values
            .iter()
            .map(|&(second, value)| {
                made_pprof(base + second * 1_000_000_000, &[(&[1], value, "")], &functions)
            })
            .collect();
        let profiles: Vec<&[u8]> = profiles.iter().map(Vec::as_slice).collect();
        series.push(raw(&[("__name__", "process_cpu"), ("job", "made"), ("pod", pod)], &profiles));
    }
    ask(&server, WRITE_RAW, &write(&series)).await?;
    let types = ask(&server, TYPES, &json!({})).await?;
    let part = |name: &str| types["types"][0][name].as_str().unwrap_or_default();
    let is_delta = types["types"][0]["delta"] == true;
    let parts = ["name", "sampleType", "sampleUnit", "periodType", "periodUnit"].map(part).join(":");
    let query = format!("{parts}{}{{job=\"made\"}}", if is_delta { ":delta" } else { "" });
    let request = |sum_by: Value| json!({"query": query, "start": time(base), "end": time(base + 60_000_000_000), "step": time(step), "sumBy": sum_by});
    let lines = |answer: &Value| -> Vec<(String, Vec<(i64, i64, i64)>)> {
        let series = answer["series"].as_array().map(Vec::as_slice).unwrap_or_default();
        let line = |series: &Value| {
            let labels = series["labelset"]["labels"].as_array().map(Vec::as_slice).unwrap_or_default();
            let text = |label: &Value| {
                format!(
                    "{}={}",
                    label["name"].as_str().unwrap_or("?"),
                    label["value"].as_str().unwrap_or("?")
                )
            };
            let samples = series["samples"].as_array().map(Vec::as_slice).unwrap_or_default();
            let sample = |sample: &Value| {
                let at = number(&sample["timestamp"]["seconds"]) * 1_000_000_000
                    + number(&sample["timestamp"]["nanos"]);
                ((at - base) / 1_000_000_000, number(&sample["value"]), number(&sample["count"]))
            };
            (labels.iter().map(text).collect::<Vec<_>>().join(" "), samples.iter().map(sample).collect())
        };
        series.iter().map(line).collect()
    };
    let by_job = lines(&ask(&server, QUERY_RANGE, &request(json!(["job"]))).await?);
    let expect = match is_delta {
        true => vec![(0, 15, 4), (10, 9, 1), (30, 4, 1)],
        // The first of each step, of both pods at that moment.
        false => vec![(1, 6, 4), (11, 9, 1), (31, 4, 1)],
    };
    ensure!(by_job == [("job=made".to_owned(), expect)], "{by_job:?}");
    let all = lines(&ask(&server, QUERY_RANGE, &request(json!([]))).await?);
    let labels: Vec<&str> = all.iter().map(|(labels, _)| labels.as_str()).collect();
    ensure!(labels == ["job=made pod=x service_name=made", "job=made pod=y service_name=made"], "{all:?}");
    let one = lines(&ask(&server, QUERY_RANGE, &with(request(json!(["pod"])), "limit", json!(1))).await?);
    ensure!(one.len() == 1 && one[0].0 == "pod=x", "{one:?}");
    Ok(())
}

#[tokio::test]
async fn durations_make_rates() -> Result<()> {
    let server = filled().await?;
    let truth = read(GOFMT)?;
    let (total, column) =
        (truth.totals(), truth.sample_types.iter().position(|own| own.kind == "cpu").context("cpu")?);
    let ask_for = |query: &str| json!({"query": query, "start": time(truth.time - 1_000_000_000), "end": time(truth.time + 1_000_000_000), "step": {"seconds": 1}});
    let answer = ask(&server, QUERY_RANGE, &ask_for(&format!("{CPU}{{job=\"gofmt\"}}"))).await?;
    let sample = &answer["series"][0]["samples"][0];
    ensure!(
        number(&sample["value"]) == total[column] && number(&sample["duration"]) == truth.duration,
        "{answer}"
    );
    let cores = total[column] as f64 / truth.duration as f64;
    ensure!((sample["valuePerSecond"].as_f64().context("rate")? - cores).abs() < 1e-9, "{answer}");
    ensure!(answer["series"][0]["sampleType"] == json!({"type": "cpu", "unit": "nanoseconds"}), "{answer}");
    ensure!(number(&sample["timestamp"]["seconds"]) == truth.time / 1_000_000_000, "{answer}");
    // Samples are worth their period.
    let counts =
        ask(&server, QUERY_RANGE, &ask_for("process_cpu:samples:count:cpu:nanoseconds:delta{job=\"gofmt\"}"))
            .await?;
    ensure!(counts == answer, "{counts}");
    // Without a duration there are none of them.
    let query = "process_cpu:cpu:nanoseconds:cpu:nanoseconds{job=\"gofmt\"}";
    let refusal = ask_over(&server, Wire::Grpc, Coding::Plain, QUERY_RANGE, &ask_for(query)).await?;
    ensure!(refusal.as_ref().is_err_and(|refusal| refusal.code == "not_found"), "{refusal:?}");
    Ok(())
}

#[tokio::test]
async fn the_gateway_answers_as_the_services_do() -> Result<()> {
    let server = filled().await?;
    let (start, end) = ("1970-01-01T00:00:01Z", "2096-10-02T07:06:40Z");
    let query = format!("{CPU}{{job=\"gofmt\"}}");
    let (status, types) = server.get_json("/api/profiles/types", &[]).await?;
    ensure!(status == 200 && types["types"].as_array().map(Vec::len) == Some(6), "{types}");
    let (status, labels) = server.get_json("/api/profiles/labels", &[("start", start), ("end", end)]).await?;
    ensure!((status, &labels["labelNames"]) == (200, &json!(["job", "node", "service_name"])), "{labels}");
    let (status, values) =
        server.get_json("/api/profiles/labels/job/values", &[("match", "{job=~\"g.*\"}")]).await?;
    ensure!((status, &values["labelValues"]) == (200, &json!(["gofmt"])), "{values}");
    let (status, has) = server.get_json("/api/profiles/has_profile_data", &[]).await?;
    ensure!((status, has) == (200, json!({"hasData": true})));
    let parameters = [
        ("mode", "MODE_MERGE"),
        ("merge.query", &query),
        ("merge.start", start),
        ("merge.end", end),
        ("report_type", "REPORT_TYPE_TOP"),
        ("node_trim_threshold", "0.5"),
    ];
    let (status, top) = server.get_json("/api/profiles/query", &parameters).await?;
    let rpc = ask(&server, QUERY, &report(&query, TOP)).await?;
    ensure!(status == 200 && top["total"] == rpc["total"], "{top}");
    ensure!(top["top"]["list"].as_array().map(Vec::len) == rpc["top"]["list"].as_array().map(Vec::len));
    let parameters =
        [("query", query.as_str()), ("start", start), ("end", end), ("step", "3600s"), ("sum_by", "job")];
    let (status, range) = server.get_json("/api/profiles/query_range", &parameters).await?;
    ensure!(status == 400 && range["code"] == 3, "a million points: {range}");
    let truth = read(GOFMT)?;
    let day = truth.time / 86_400_000_000_000 * 86_400;
    let rfc = |seconds: i64| format!("{}Z", chrono_less(seconds));
    let (from, until) = (rfc(day), rfc(day + 86_399));
    let parameters =
        [("query", query.as_str()), ("start", &from), ("end", &until), ("step", "3600s"), ("sum_by", "job")];
    let (status, range) = server.get_json("/api/profiles/query_range", &parameters).await?;
    ensure!(status == 200 && range["series"][0]["labelset"]["labels"][0]["value"] == "gofmt", "{range}");
    let body = serde_json::to_vec(&write(&[raw(&[("__name__", "process_cpu"), ("job", "rest")], &[GOFMT])]))?;
    let json_type = [("content-type", "application/json")];
    ensure!(server.post("/api/profiles/writeraw", &json_type, body).await? == (200, "{}".to_owned()));
    let (_, values) = server.get_json("/api/profiles/labels/job/values", &[]).await?;
    ensure!(values["labelValues"] == json!(["compile", "gofmt", "rest"]), "{values}");

    for (path, expect) in [
        ("/api/profiles/query", "mode and options do not match"),
        (
            "/api/profiles/query?mode=MODE_MERGE&merge.query=cpu&merge.start=2026-01-01T00:00:00Z&merge.end=2026-01-02T00:00:00Z",
            "merge: profile type \"cpu\" has 1 parts",
        ),
        (
            "/api/profiles/query?mode=MODE_MERGE&merge.query=a:b:c:d:e&merge.start=2026-01-02T00:00:00Z&merge.end=2026-01-01T00:00:00Z",
            "merge: end",
        ),
        ("/api/profiles/query_range?query=a:b:c:d:e", "start is missing"),
        ("/api/profiles/query?mode=MODE_NONE", "the parameters are no such request"),
        ("/api/profiles/types?start=yesterday", "the parameters are no such request"),
    ] {
        let (status, answer) = server.get_json(path, &[]).await?;
        ensure!((status, &answer["code"]) == (400, &json!(3)), "{path}: {status} {answer}");
        ensure!(
            answer["message"].as_str().is_some_and(|message| message.starts_with(expect)),
            "{path}: {answer}"
        );
        ensure!(answer["details"] == json!([]), "{path}: {answer}");
    }
    let (status, answer) = server.get_json("/api/profiles/series", &[]).await?;
    ensure!((status, &answer["code"]) == (501, &json!(12)), "{answer}");
    ensure!(server.post("/api/profiles/share", &json_type, b"{}".to_vec()).await?.0 == 501);
    let (status, should) = server
        .post("/api/shouldinitiateupload", &json_type, br#"{"buildId": "abcdef", "hash": "1"}"#.to_vec())
        .await?;
    ensure!(status == 200 && should.contains("reason"), "{should}");
    // The other wires are where they were.
    ensure!(server.get_json("/api/v1/status", &[]).await?.0 == 200);
    ensure!(server.get("/api/0/services", &[]).await?.0 == 200);
    Ok(())
}

/// `YYYY-MM-DDThh:mm:ss` of seconds since 1970.
fn chrono_less(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day = shifted.rem_euclid(146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", rest / 3_600, rest / 60 % 60, rest % 60)
}

#[tokio::test]
async fn refusals_say_what_and_where() -> Result<()> {
    let server = Server::start()?;
    let good = || raw(&[("__name__", "process_cpu"), ("job", "good")], &[GOFMT]);
    let many: Vec<(String, String)> = (0..40).map(|at| (format!("l{at}"), "x".to_owned())).collect();
    let many: Vec<(&str, &str)> = std::iter::once(("__name__", "a"))
        .chain(many.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        .collect();
    let (start, end) = ever();
    let cases = [
        (
            WRITE_RAW,
            write(&[good(), raw(&[("job", "x")], &[GOFMT])]),
            "invalid_argument",
            "series 1: labels: __name__ is missing",
        ),
        (
            WRITE_RAW,
            write(&[good(), raw(&[("__name__", "a"), ("a.b", "x")], &[GOFMT])]),
            "invalid_argument",
            "series 1: labels: \"a.b\" is no name",
        ),
        (
            WRITE_RAW,
            write(&[good(), raw(&[("__name__", "a"), ("b", "x"), ("b", "y")], &[GOFMT])]),
            "invalid_argument",
            "series 1: labels: label \"b\" occurs twice",
        ),
        (WRITE_RAW, write(&[good(), raw(&many, &[GOFMT])]), "invalid_argument", "series 1: labels: 4"),
        (
            WRITE_RAW,
            write(&[good(), raw(&[("__name__", "a")], &[GOFMT, b"not a profile"])]),
            "invalid_argument",
            "series 1, sample 1: ",
        ),
        (
            WRITE_RAW,
            write(&[good(), raw(&[("__name__", "a")], &[&GOFMT[..GOFMT.len() / 2]])]),
            "invalid_argument",
            "series 1, sample 0: ",
        ),
        (QUERY, json!({"mode": 2}), "invalid_argument", "mode and options do not match"),
        (QUERY, json!({"mode": 9, "merge": merge(CPU)}), "invalid_argument", "mode 9 is not known"),
        (
            QUERY,
            json!({"mode": 2, "merge": {"query": CPU, "start": end, "end": start}}),
            "invalid_argument",
            "merge: end",
        ),
        (
            QUERY,
            json!({"mode": 2, "merge": {"query": "", "start": start, "end": end}}),
            "invalid_argument",
            "merge: query is missing",
        ),
        (
            QUERY,
            json!({"mode": 2, "merge": {"query": CPU, "end": end}}),
            "invalid_argument",
            "merge: start is missing",
        ),
        (
            QUERY,
            json!({"mode": 1, "diff": {"a": {"mode": 1, "merge": merge(CPU)}}}),
            "invalid_argument",
            "diff.b: it is missing",
        ),
        (QUERY, report(CPU, 77), "invalid_argument", "report_type 77"),
        (QUERY, report(CPU, SOURCE), "unimplemented", "there are no sources"),
        (QUERY, report(&format!("{CPU}{{job="), TOP), "invalid_argument", "merge: selector, character"),
        (
            QUERY,
            with(report(CPU, TOP), "groupBy", json!({"fields": ["color"]})),
            "invalid_argument",
            "group_by: \"color\"",
        ),
        (
            QUERY,
            with(report(CPU, TOP), "nodeTrimThreshold", json!(101.0)),
            "invalid_argument",
            "node_trim_threshold is 101",
        ),
        (QUERY_RANGE, json!({"query": CPU, "start": start}), "invalid_argument", "end is missing"),
        (
            QUERY_RANGE,
            json!({"query": CPU, "start": start, "end": end, "step": {"seconds": -1}}),
            "invalid_argument",
            "step is -1 s",
        ),
        (
            QUERY_RANGE,
            json!({"query": CPU, "start": start, "end": end, "step": {"seconds": 86_400_000}}),
            "not_found",
            "no data for",
        ),
        (VALUES, json!({}), "invalid_argument", "label_name is missing"),
        (LABELS, json!({"match": ["{"]}), "invalid_argument", "match[0]: "),
        (LABELS, json!({"profileType": "cpu"}), "invalid_argument", "profile_type: profile type \"cpu\""),
        (SERIES, json!({}), "unimplemented", "Series has no answer"),
        (SHARE, json!({}), "unimplemented", "profiles are not shared"),
        (
            INITIATE,
            json!({"buildId": "abcdef", "hash": "x", "size": 5}),
            "failed_precondition",
            "debug files are not kept",
        ),
        (INITIATE, json!({"buildId": "abcdef", "size": 5}), "invalid_argument", "hash is missing"),
        (FINISHED, json!({"buildId": "abcdef"}), "not_found", "no upload of build"),
        (SHOULD, json!({"buildId": "ab"}), "invalid_argument", "build_id \"ab\" is too short"),
    ];
    for (method, request, code, message) in cases {
        for wire in WIRES {
            match ask_over(&server, wire, Coding::Plain, method, &request).await? {
                Err(refusal) => ensure!(
                    refusal.code == code && refusal.message.starts_with(message),
                    "{} over {wire:?}: {refusal:?}, and not {code} {message}",
                    method.path
                ),
                Ok(answer) => bail!("{} took {request}: {answer}", method.path),
            }
        }
    }
    // Nothing of a message with a fault was stored.
    ensure!(ask(&server, HAS_DATA, &json!({})).await? == json!({}), "something was stored");
    Ok(())
}

#[tokio::test]
async fn agents_go_on() -> Result<()> {
    let server = filled().await?;
    let should =
        ask(&server, SHOULD, &json!({"buildId": "d4c1b9a7e2", "hash": "x", "buildIdType": 1})).await?;
    ensure!(
        should["shouldInitiateUpload"] == Value::Null
            && should["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
        "{should}"
    );
    let agents = ask(&server, AGENTS, &json!({})).await?;
    ensure!(
        agents["agents"].as_array().map(Vec::len) == Some(1) && agents["agents"][0]["id"] == "n1",
        "{agents}"
    );
    let (status, rest) = server.get_json("/api/agents", &[]).await?;
    ensure!(status == 200 && rest["agents"][0]["id"] == "n1", "{rest}");
    // The same message again is the same upload.
    let again = write(&[raw(&[("__name__", "process_cpu"), ("job", "compile"), ("node", "n1")], &[COMPILE])]);
    let before = ask(&server, QUERY, &report(&format!("{CPU}{{job=\"compile\"}}"), TOP)).await?;
    ask(&server, WRITE_RAW, &again).await?;
    ensure!(ask(&server, QUERY, &report(&format!("{CPU}{{job=\"compile\"}}"), TOP)).await? == before);
    Ok(())
}

#[tokio::test]
async fn labels_of_samples_and_metadata() -> Result<()> {
    let server = Server::start()?;
    let labelled = include_bytes!("../fixtures/pprof/go-cpu-labels.pb.gz");
    let series = raw(&[("__name__", "process_cpu"), ("job", "go"), ("controller", "own")], &[labelled]);
    ask(&server, WRITE_RAW, &write(&[series])).await?;
    let names = ask(&server, LABELS, &json!({})).await?;
    let names: Vec<&str> =
        names["labelNames"].as_array().context("names")?.iter().filter_map(Value::as_str).collect();
    ensure!(
        names.len() > 3 && names.contains(&"job") && !names.iter().any(|name| name.starts_with("__")),
        "{names:?}"
    );
    let answer = ask(&server, QUERY, &report(&format!("{CPU}{{job=\"go\"}}"), METADATA)).await?;
    let metadata = &answer["profileMetadata"];
    ensure!(metadata["labels"] == json!(names), "{metadata}");
    ensure!(metadata["mappingFiles"].as_array().is_some_and(|files| !files.is_empty()), "{metadata}");
    Ok(())
}
