//! The reports of Parca's Query and QueryRange, each against what a plain count of the samples gives.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use everflame_tests::parca::*;
use everflame_tests::rpc::{Coding, Wire};
use everflame_tests::{Repository, Server, now_ms, pprof as made_pprof, pprof_labelled};
use serde_json::{Value, json};
use std::collections::BTreeMap;

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

/// The rows of `columns`, in the order of their texts.
fn lines_of(columns: &[Vec<String>]) -> Vec<String> {
    let count = columns.first().map_or(0, Vec::len);
    let line = |row: usize| columns.iter().map(|column| column[row].as_str()).collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = (0..count).map(line).collect();
    lines.sort();
    lines
}

/// What the record of `answer` has in the columns that are wanted, a line a row, sorted.
fn rows(answer: &Value, names: &[&str]) -> Result<Vec<String>> {
    Ok(lines_of(&columns(answer, names)?))
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
    let rows = lines_of(&shown);
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

    let answer = ask(&server, QUERY, &report(&query, TABLE_ARROW)).await?;
    let shown =
        columns(&answer["tableArrow"], &["function_name", "flat", "cumulative", "callers", "callees"])?;
    ensure!(shown[0].len() == 3, "{shown:?}");
    let row = shown[0].iter().position(|name| name == "main.main").context("main.main")?;
    ensure!(shown[1][row] == "0" && shown[2][row] == "82" && shown[3][row] == "-", "{shown:?}");
    Ok(())
}

#[tokio::test]
async fn source_files_and_their_lines() -> Result<()> {
    let truth = read(GOFMT)?;
    let column = truth.sample_types.iter().position(|own| own.kind == "cpu").context("cpu")?;
    let text = |index| truth.symbols.strings.get(index);
    // Of each file what its lines add up to: once in each stack, and by themselves.
    let mut files: BTreeMap<&str, BTreeMap<i64, (i64, i64)>> = BTreeMap::new();
    for sample in 0..truth.samples.len() {
        let value = truth.values(sample)[column];
        let lines: Vec<(&str, i64)> =
            truth.frames(sample).map(|frame| (text(frame.file), frame.line)).collect();
        let mut once = lines.clone();
        once.sort_unstable();
        once.dedup();
        for (file, line) in once.into_iter().filter(|_| value != 0) {
            files.entry(file).or_default().entry(line).or_default().0 += value;
        }
        if let Some((file, line)) = lines.first().filter(|_| value != 0) {
            files.entry(file).or_default().entry(*line).or_default().1 += value;
        }
    }
    let name = |file: &str| file.rsplit('/').next().unwrap_or_default().to_owned();
    let alone =
        files.iter().filter(|(file, _)| files.keys().filter(|other| name(other) == name(file)).count() == 1);
    let (&file, lines) = alone.max_by_key(|(_, lines)| lines.len()).context("a file")?;
    let (folder, name) = file.rsplit_once('/').context("a path")?;
    let build = truth.symbols.frames.iter().find(|frame| text(frame.file) == file).context("a frame")?;
    let build = text(truth.symbols.mapping(build.mapping).build_id);
    let code = "package main\n\nfunc main() {}\n";
    let repository = Repository::new()?;
    repository.commit("v1", &[(name, code.as_bytes())])?;
    let places = format!("{{}} git={} strip={folder}", repository.path().display());

    let series = raw(&[("__name__", "process_cpu"), ("job", "gofmt")], &[GOFMT]);
    let asked = |reference: Value| {
        let query = report(&format!("{CPU}{{job=\"gofmt\"}}"), SOURCE);
        with(query, "sourceReference", reference)
    };
    let without = Server::start()?;
    let server = Server::start_with(&["--source-code", &places])?;
    for server in [&without, &server] {
        ask(server, WRITE_RAW, &write(std::slice::from_ref(&series))).await?;
    }
    for (server, filename, build, source, rows) in [
        (&server, file, build, code, lines.len()),
        (&server, name, "", code, lines.len()),
        (&server, file, "0123456789abcdef", code, 0),
        (&server, "elsewhere.go", build, "", 0),
        (&without, file, build, "", lines.len()),
    ] {
        let answer = ask(server, QUERY, &asked(json!({"filename": filename, "buildId": build}))).await?;
        let found = &answer["source"];
        let text = found["source"].as_str().unwrap_or_default();
        ensure!(text == source && found["unit"] == "nanoseconds", "{filename} {build}: {found}");
        ensure!(number(&answer["total"]) == truth.totals()[column], "{}", answer["total"]);
        let shown = columns(found, &["filename", "line_number", "cumulative", "flat"])?;
        ensure!(shown[0].len() == rows, "{filename} {build}: {shown:?}");
        for (at, (line, (cumulative, flat))) in lines.iter().enumerate().take(rows) {
            let row: Vec<&str> = shown.iter().map(|column| column[at].as_str()).collect();
            let expect = [file, &line.to_string(), &cumulative.to_string(), &flat.to_string()];
            ensure!(row == expect, "{row:?} {expect:?}");
        }
    }
    let only = asked(json!({"buildId": build, "sourceOnly": true}));
    let answer = ask(&server, QUERY, &only).await?;
    ensure!(answer["source"].is_object() && answer["source"]["source"].is_null(), "{answer}");
    let refusal = ask_over(&without, Wire::Grpc, Coding::Plain, QUERY, &only).await?.err();
    ensure!(refusal.as_ref().is_some_and(|refusal| refusal.code == "not_found"), "{refusal:?}");
    let outside = asked(json!({"filename": "../secret.go"}));
    let refusal = ask_over(&server, Wire::Grpc, Coding::Plain, QUERY, &outside).await?.err();
    ensure!(refusal.as_ref().is_some_and(|refusal| refusal.code == "invalid_argument"), "{refusal:?}");
    Ok(())
}

#[tokio::test]
async fn a_recursive_function_counts_once_a_stack() -> Result<()> {
    let server = Server::start()?;
    let stacks: [(&[u64], i64, &str); 2] = [(&[2, 2, 2, 1], 10, ""), (&[2, 1], 1, "")];
    let profile = made_pprof(now_ms()? * 1_000_000, &stacks, &["main.main", "main.fib"]);
    let series = raw(&[("__name__", "process_cpu"), ("job", "made")], &[&profile]);
    ask(&server, WRITE_RAW, &write(&[series])).await?;
    let query = "process_cpu:samples:count:cpu:nanoseconds:delta{job=\"made\"}";
    let expect = ["main.fib 11 11", "main.main 11 0"];
    let answer = ask(&server, QUERY, &report(query, TABLE_ARROW)).await?;
    let shown = rows(&answer["tableArrow"], &["function_name", "cumulative", "flat"])?;
    ensure!(shown == expect, "{shown:?}");
    for (kind, list) in [(TOP, "/top/list"), (CALLGRAPH, "/callgraph/nodes")] {
        let answer = ask(&server, QUERY, &report(query, kind)).await?;
        let node = |node: &Value| {
            let name = node["meta"]["function"]["name"].as_str().unwrap_or("?");
            format!("{name} {} {}", number(&node["cumulative"]), number(&node["flat"]))
        };
        let nodes = answer.pointer(list).and_then(Value::as_array).context("nodes")?;
        let mut shown: Vec<String> = nodes.iter().map(node).collect();
        shown.sort();
        ensure!(shown == expect, "{list}: {shown:?}");
    }
    Ok(())
}

#[tokio::test]
async fn filters_of_runtimes_change_nothing() -> Result<()> {
    let server = Server::start()?;
    let stacks: [(&[u64], i64, &str); 2] = [(&[3, 2, 1], 10, ""), (&[4, 1], 1, "")];
    let functions = ["main", "_PyEval_EvalFrameDefault", "work.py", "rb_vm_exec"];
    let profile = made_pprof(now_ms()? * 1_000_000, &stacks, &functions);
    let series = raw(&[("__name__", "process_cpu"), ("job", "made")], &[&profile]);
    ask(&server, WRITE_RAW, &write(&[series])).await?;
    let plain = report("process_cpu:samples:count:cpu:nanoseconds:delta{job=\"made\"}", TOP);
    let answer = ask(&server, QUERY, &plain).await?;
    ensure!(answer["top"]["list"].as_array().map(Vec::len) == Some(4), "{answer}");
    for filter in [
        json!({}),
        json!({"showPython": true}),
        json!({"showRuby": true}),
        json!({"showPython": true, "showRuby": true, "showInterpretedOnly": true}),
    ] {
        let filtered = ask(&server, QUERY, &with(plain.clone(), "runtimeFilter", filter.clone())).await?;
        ensure!(filtered == answer, "{filter}: {filtered}");
    }
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
    // What it called, and what called it.
    let callees = with(report(&query, TOP), "sandwichByFunction", json!("main.main"));
    let answer = ask(&server, QUERY, &callees).await?;
    ensure!(
        names(&answer) == owned(&[("main.idle", 60, 0), ("main.work", 60, 0), ("main.main", 120, 0)]),
        "{answer}"
    );
    let of_work = with(report(&query, TOP), "sandwichByFunction", json!("main.work"));
    ensure!(names(&ask(&server, QUERY, &of_work).await?) == owned(&[("main.work", 60, 0)]));
    let callers = with(of_work.clone(), "invertCallStack", json!(true));
    ensure!(
        names(&ask(&server, QUERY, &callers).await?) == owned(&[("main.main", 60, 0), ("main.work", 60, 0)])
    );
    let part = with(report(&query, TOP), "sandwichByFunction", json!("work"));
    ensure!(names(&ask(&server, QUERY, &part).await?).is_empty());
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
    // So is the side that is shown when it is the lighter one, in every report.
    let swapped = |kind: i64| {
        let diff = json!({"a": single(now), "b": single(now - 60_000_000_000)});
        json!({"mode": 1, "diff": diff, "reportType": kind})
    };
    let answer = ask(&server, QUERY, &swapped(TOP)).await?;
    ensure!(
        names(&answer) == owned(&[("main.work", 60, 30), ("main.idle", 20, -30), ("main.main", 80, 0)]),
        "{answer}"
    );
    ensure!(answer["total"] == "80", "{answer}");
    let answer = ask(&server, QUERY, &swapped(FLAMEGRAPH_ARROW)).await?;
    let shown = rows(&answer["flamegraphArrow"], &["function_name", "cumulative", "diff"])?;
    ensure!(shown == ["- 80 0", "main.idle 20 -30", "main.main 80 0", "main.work 60 30"], "{shown:?}");
    let answer = ask(&server, QUERY, &swapped(TABLE_ARROW)).await?;
    let shown = rows(&answer["tableArrow"], &["function_name", "cumulative", "cumulative_diff"])?;
    ensure!(shown == ["main.idle 20 -30", "main.main 80 -", "main.work 60 30"], "{shown:?}");
    let answer = ask(&server, QUERY, &swapped(CALLGRAPH)).await?;
    ensure!(answer["callgraph"]["cumulative"] == "80" && answer["total"] == "80", "{answer}");
    let answer = ask(&server, QUERY, &swapped(FLAMEGRAPH_TABLE)).await?;
    ensure!(answer["flamegraph"]["root"]["cumulative"] == "80" && answer["total"] == "80", "{answer}");
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

/// Labels of a series; of each sample the second, the value and the count.
type Line = (String, Vec<(i64, i64, i64)>);

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
    ensure!(types["types"][0]["delta"] == true, "{types}");
    let parts = ["name", "sampleType", "sampleUnit", "periodType", "periodUnit"].map(part).join(":");
    let query = format!("{parts}:delta{{job=\"made\"}}");
    let request = |sum_by: Value| json!({"query": query, "start": time(base), "end": time(base + 60_000_000_000), "step": time(step), "sumBy": sum_by});
    let lines = |answer: &Value| -> Vec<Line> {
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
    let expect = vec![(0, 15, 4), (10, 9, 1), (30, 4, 1)];
    ensure!(by_job == [("job=made".to_owned(), expect.clone())], "{by_job:?}");
    let all = lines(&ask(&server, QUERY_RANGE, &request(json!([]))).await?);
    ensure!(all == [(String::new(), expect)], "{all:?}");
    // A limit is read by nobody, as in the peer.
    let pods = lines(&ask(&server, QUERY_RANGE, &with(request(json!(["pod"])), "limit", json!(1))).await?);
    let pods: Vec<&str> = pods.iter().map(|(labels, _)| labels.as_str()).collect();
    ensure!(pods == ["pod=x", "pod=y"], "{pods:?}");
    Ok(())
}

#[tokio::test]
async fn label_sets_of_one_moment_share_its_duration() -> Result<()> {
    let server = Server::start()?;
    let at = now_ms()? * 1_000_000 - 600_000_000_000;
    let functions = ["main.work"];
    // 400 ms of CPU in a second.
    let profile = pprof_labelled(
        at,
        &[(&[1], 300_000_000, &[("handler", "/a")]), (&[1], 100_000_000, &[("handler", "/b")])],
        &functions,
    );
    let series = raw(&[("__name__", "process_cpu"), ("job", "made")], &[&profile]);
    ask(&server, WRITE_RAW, &write(&[series])).await?;
    for step in [1, 5, 15, 60, 300] {
        let request = json!({
            "query": format!("{CPU}{{job=\"made\"}}"), "sumBy": ["job"], "step": {"seconds": step},
            "start": time(at - 400_000_000_000), "end": time(at + 400_000_000_000),
        });
        let answer = ask(&server, QUERY_RANGE, &request).await?;
        let samples = answer["series"][0]["samples"].as_array().context("samples")?;
        let [sample] = samples.as_slice() else { bail!("{answer}") };
        ensure!((sample["valuePerSecond"].as_f64().context("rate")? - 0.4).abs() < 1e-9, "{step}: {answer}");
        ensure!(number(&sample["count"]) == 2 && number(&sample["duration"]) == 1_000_000_000, "{answer}");
    }

    // The label comes with the samples of a pprof.
    let by_handler = with(
        report(&format!("{CPU}{{job=\"made\"}}"), PPROF),
        "groupBy",
        json!({"fields": ["labels.handler"]}),
    );
    let answer = ask(&server, QUERY, &by_handler).await?;
    let found = read(&BASE64.decode(answer["pprof"].as_str().context("pprof")?)?)?;
    let mut values: Vec<(String, i64)> = (0..found.samples.len())
        .map(|sample| {
            let labels = found.samples.labels(sample).iter();
            let texts = labels.map(|label| found.symbols.strings.get(label.value).to_owned());
            (texts.collect(), found.values(sample)[0])
        })
        .collect();
    values.sort();
    ensure!(values == [("/a".to_owned(), 300_000_000), ("/b".to_owned(), 100_000_000)], "{values:?}");
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
