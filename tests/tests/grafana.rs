//! What Grafana's Pyroscope data source and Profiles Drilldown ask in turn, replayed over the wires that they
//! use, and every field of the answers that they read.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use everflame_tests::messages::encode;
use everflame_tests::rpc::{self, Coding, Method, Wire, call, http2};
use everflame_tests::{FlameGraph, Server};
use serde_json::{Value, json};

const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
const SHOP: &str = "{service_name=\"shop\"}";
const SPANS: [&str; 2] = ["00000000000000f1", "00000000000000f2"];
/// Unix seconds of the first profile; a multiple of 15.
const T: i64 = 1_700_000_010;

/// (pod, seconds after T, (leaf below main, nanoseconds, span))
type Sent = (&'static str, i64, &'static [(&'static str, i64, &'static str)]);
const SENT: [Sent; 3] = [
    ("a", 0, &[("work", 30, SPANS[0]), ("idle", 10, "")]),
    ("a", 20, &[("work", 50, SPANS[1])]),
    ("b", 20, &[("work", 5, "")]),
];

/// The time so many seconds after T, as protobuf JSON writes it.
fn millis(after: i64) -> Value {
    json!(((T + after) * 1000).to_string())
}

fn push((pod, after, samples): Sent) -> Result<Value> {
    let texts = ["", "cpu", "nanoseconds", "span_id", SPANS[0], SPANS[1], "main", "work", "idle"];
    let at = |text: &str| texts.iter().position(|known| *known == text).unwrap_or(0);
    let function = |text: &str| json!({"id": at(text), "name": at(text)});
    let location =
        |text: &str| json!({"id": at(text), "line": [{"functionId": at(text), "line": 7 + at(text)}]});
    let sample = |(leaf, value, span): &(&str, i64, &str)| {
        let label =
            if span.is_empty() { json!([]) } else { json!([{"key": at("span_id"), "str": at(span)}]) };
        json!({"locationId": [at(leaf), at("main")], "value": [value], "label": label})
    };
    let names = ["main", "work", "idle"];
    let (locations, functions) = (names.map(location), names.map(function));
    let profile = json!({
        "sampleType": [{"type": 1, "unit": 2}], "periodType": {"type": 1, "unit": 2}, "period": 1,
        "timeNanos": (T + after) * 1_000_000_000, "durationNanos": 10_000_000_000_i64,
        "sample": samples.iter().map(sample).collect::<Vec<_>>(),
        "location": locations, "function": functions,
        "stringTable": texts,
    });
    let raw = base64::engine::general_purpose::STANDARD.encode(encode("Profile", &profile)?);
    let label = |name: &str, value: &str| json!({"name": name, "value": value});
    let labels = [label("__name__", "process_cpu"), label("service_name", "shop"), label("pod", pod)];
    Ok(json!({"series": [{"labels": labels, "samples": [{"rawProfile": raw}]}]}))
}

struct Grafana(Server);

impl Grafana {
    async fn new() -> Result<Self> {
        let grafana = Self(Server::start()?);
        for sent in SENT {
            grafana.ask(rpc::PUSH, push(sent)?).await?;
        }
        Ok(grafana)
    }

    /// Grafana speaks Connect with protobuf; that the other wires answer alike is checked on the way.
    async fn ask(&self, method: Method, question: Value) -> Result<Value> {
        let http = http2()?;
        let ask = async |wire| {
            let answer = call(&http, &self.0, wire, Coding::Plain, method, &question).await?;
            answer.message.map_err(|refusal| anyhow::anyhow!("{} {question}: {refusal:?}", method.path))
        };
        let answer = ask(Wire::ConnectProto).await?;
        if method.path != rpc::PUSH.path {
            for wire in [Wire::ConnectJson, Wire::Grpc, Wire::GrpcWeb] {
                ensure!(ask(wire).await? == answer, "{} over {wire:?}", method.path);
            }
        }
        Ok(answer)
    }
}

/// From T to T + 30 s, with `changes`.
fn question(changes: Value) -> Value {
    let mut question =
        json!({"profileTypeID": CPU, "labelSelector": SHOP, "start": T * 1000, "end": (T + 30) * 1000});
    for (name, value) in changes.as_object().into_iter().flatten() {
        question[name] = value.clone();
    }
    question
}

/// What each function spent itself, as `name value`.
fn own(answer: &Value) -> Result<Vec<String>> {
    let all = FlameGraph::from_json(answer)?.own_by_name();
    let some = all.into_iter().filter(|(_, own)| *own != 0);
    let mut lines: Vec<String> = some.map(|(name, own)| format!("{name} {own}")).collect();
    lines.sort();
    Ok(lines)
}

#[tokio::test]
async fn the_data_source() -> Result<()> {
    let grafana = Grafana::new().await?;
    let range = json!({"start": T * 1000, "end": (T + 30) * 1000});
    let with = |name: &str, value: Value| {
        let mut question = range.clone();
        question[name] = value;
        question
    };

    // The list of types, also what "Save & test" asks.
    let types = grafana.ask(rpc::PROFILE_TYPES, range.clone()).await?;
    let cpu = json!({"ID": CPU, "name": "process_cpu", "sampleType": "cpu", "sampleUnit": "nanoseconds",
        "periodType": "cpu", "periodUnit": "nanoseconds"});
    ensure!(types["profileTypes"].as_array().is_some_and(|types| types.contains(&cpu)), "{types}");
    ensure!(grafana.ask(rpc::PROFILE_TYPES, json!({})).await?.is_object());

    // Variables and the label browser.
    let names = grafana.ask(rpc::LABEL_NAMES, with("matchers", json!([SHOP]))).await?;
    for name in ["pod", "service_name"] {
        ensure!(names["names"].as_array().is_some_and(|names| names.contains(&json!(name))), "{names}");
    }
    let mut values = with("matchers", json!([SHOP]));
    values["name"] = json!("pod");
    ensure!(grafana.ask(rpc::LABEL_VALUES, values).await?["names"] == json!(["a", "b"]));

    // A panel: metrics and profile.
    let points = grafana.ask(rpc::SELECT_SERIES, question(json!({"step": 15.0}))).await?;
    let point = |after: i64, value: f64| json!({"timestamp": millis(after), "value": value});
    ensure!(points == json!({"series": [{"points": [point(0, 40.0), point(30, 55.0)]}]}), "{points}");
    let grouped = question(json!({"step": 15.0, "groupBy": ["pod"], "limit": 1, "aggregation": 1}));
    let points = grafana.ask(rpc::SELECT_SERIES, grouped).await?;
    let pod = |pod: &str| json!([{"name": "pod", "value": pod}]);
    ensure!(
        points == json!({"series": [{"labels": pod("a"), "points": [point(0, 40.0), point(30, 50.0)]}]}),
        "{points}"
    );
    let graph = grafana.ask(rpc::STACKTRACES, question(json!({"maxNodes": 16384}))).await?;
    ensure!(graph["flamegraph"]["names"][0] == "total", "{graph}");
    ensure!(graph["flamegraph"]["levels"][0]["values"] == json!(["0", "95", "0", "0"]), "{graph}");
    ensure!(graph["flamegraph"]["total"] == "95" && graph["flamegraph"]["maxSelf"] == "85", "{graph}");
    ensure!(own(&graph)? == ["idle 10", "work 85"], "{:?}", own(&graph)?);
    let nothing = grafana.ask(rpc::STACKTRACES, question(json!({"labelSelector": "{pod=\"none\"}"}))).await?;
    ensure!(nothing["flamegraph"]["names"] == json!(["total"]), "{nothing}");

    // From a trace: the profile of a span.
    let span = grafana.ask(rpc::SPAN_PROFILE, question(json!({"spanSelector": [SPANS[0]]}))).await?;
    ensure!(own(&span)? == ["work 30"], "{span}");
    let both = grafana.ask(rpc::STACKTRACES, question(json!({"spanSelector": SPANS}))).await?;
    ensure!(own(&both)? == ["work 80"], "{both}");

    // Exemplars on the timeline, and the profile behind one.
    let points = grafana.ask(rpc::SELECT_SERIES, question(json!({"step": 15.0, "exemplarType": 2}))).await?;
    let exemplar = &points["series"][0]["points"][1]["exemplars"][0];
    ensure!(exemplar["value"] == "50" && exemplar["timestamp"] == millis(20), "{points}");
    ensure!(exemplar["labels"].as_array().is_some_and(|labels| labels.contains(&pod("a")[0])), "{points}");
    let behind = question(json!({"profileIdSelector": [exemplar["profileId"]]}));
    ensure!(own(&grafana.ask(rpc::STACKTRACES, behind).await?)? == ["work 50"]);
    Ok(())
}

#[tokio::test]
async fn heatmaps() -> Result<()> {
    let grafana = Grafana::new().await?;
    let ask = async |changes: Value| {
        let mut question = question(json!({"step": 15.0}));
        for (name, value) in changes.as_object().into_iter().flatten() {
            question[name] = value.clone();
        }
        grafana.ask(rpc::HEATMAP, question).await
    };
    let counts = |slot: &Value| -> Vec<(usize, String)> {
        let counts = slot["counts"].as_array().into_iter().flatten().enumerate();
        counts.filter(|(_, count)| *count != "0").map(|(at, count)| (at, count.to_string())).collect()
    };
    let one = |band: usize| (band, "\"1\"".to_owned());

    let found = ask(json!({"queryType": 1, "exemplarType": 2})).await?;
    let slots = found["series"][0]["slots"].as_array().context("no slots")?;
    ensure!(
        found["series"].as_array().is_some_and(|series| series.len() == 1) && slots.len() == 2,
        "{found}"
    );
    ensure!(slots[0]["timestamp"] == millis(0), "{found}");
    ensure!(slots[1]["timestamp"] == millis(30), "{found}");
    // Twenty bands from the least value to the largest.
    let bands = slots[0]["yMin"].as_array().context("no bands")?;
    ensure!(bands.len() == 20 && bands[0] == 5.0 && slots[0]["counts"].as_array().map(Vec::len) == Some(20));
    ensure!(counts(&slots[0]) == [one(15)] && counts(&slots[1]) == [one(0), one(19)], "{found}");
    let exemplars = slots[1]["exemplars"].as_array().context("no exemplars")?;
    ensure!(exemplars.len() == 2 && exemplars[1]["value"] == "50", "{found}");
    ensure!(exemplars[1]["spanId"].is_null() && exemplars[1]["profileId"].as_str().is_some(), "{found}");
    let behind = question(json!({"profileIdSelector": [exemplars[1]["profileId"]]}));
    ensure!(own(&grafana.ask(rpc::STACKTRACES, behind).await?)? == ["work 50"]);

    let found = ask(json!({"queryType": 2, "exemplarType": 3})).await?;
    let slots = found["series"][0]["slots"].as_array().context("no slots")?;
    ensure!(counts(&slots[0]) == [one(0)] && counts(&slots[1]) == [one(19)], "{found}");
    let exemplar = &slots[1]["exemplars"][0];
    ensure!(exemplar["spanId"] == SPANS[1] && exemplar["value"] == "50", "{found}");
    ensure!(exemplar["profileId"].is_null(), "{found}");

    let found = ask(json!({"queryType": 1, "groupBy": ["pod"], "limit": 1})).await?;
    ensure!(found["series"].as_array().map(Vec::len) == Some(1), "{found}");
    ensure!(found["series"][0]["labels"] == json!([{"name": "pod", "value": "a"}]), "{found}");
    ensure!(found["series"][0]["slots"][0]["exemplars"].is_null(), "{found}");

    for wrong in [
        json!({}),
        json!({"queryType": 1, "exemplarType": 3}),
        json!({"queryType": 2, "exemplarType": 2}),
        json!({"queryType": 1, "limit": -1}),
        json!({"queryType": 1, "step": 0.0}),
        json!({"queryType": 1, "end": T * 1000}),
    ] {
        let fault = ask(wrong.clone()).await.err().with_context(|| format!("{wrong} is answered"))?;
        ensure!(fault.to_string().contains("invalid_argument"), "{wrong}: {fault}");
    }
    let nothing = ask(json!({"queryType": 1, "labelSelector": "{pod=\"none\"}"})).await?;
    ensure!(nothing == json!({}), "{nothing}");
    Ok(())
}

#[tokio::test]
async fn points_with_their_spans() -> Result<()> {
    let grafana = Grafana::new().await?;
    let ask = async |changes: Value| {
        let mut question = question(json!({"step": 15.0, "exemplarType": 3}));
        for (name, value) in changes.as_object().into_iter().flatten() {
            question[name] = value.clone();
        }
        grafana.ask(rpc::SELECT_SERIES, question).await
    };
    let found = ask(json!({})).await?;
    let points = found["series"][0]["points"].as_array().context("no points")?;
    ensure!(points.len() == 2 && points[0]["value"] == 40.0 && points[1]["value"] == 55.0, "{found}");
    for (at, (span, value)) in [(SPANS[0], "30"), (SPANS[1], "50")].into_iter().enumerate() {
        let exemplars = points[at]["exemplars"].as_array().context("no exemplar")?;
        ensure!(exemplars.len() == 1, "{found}");
        let exemplar = &exemplars[0];
        ensure!(exemplar["spanId"] == span && exemplar["value"] == value, "{found}");
        ensure!(exemplar["profileId"].is_null(), "{found}");
        // What is behind it can be asked for.
        let behind = grafana.ask(rpc::STACKTRACES, question(json!({"spanSelector": [span]}))).await?;
        ensure!(own(&behind)? == [format!("work {value}")], "{behind}");
    }
    let found = ask(json!({"groupBy": ["pod"]})).await?;
    let of = |pod: &str| {
        let labels = json!([{"name": "pod", "value": pod}]);
        let mut series = found["series"].as_array().into_iter().flatten();
        series.find(|series| series["labels"] == labels).cloned().unwrap_or_default()
    };
    ensure!(of("a")["points"][1]["exemplars"][0]["spanId"] == SPANS[1], "{found}");
    ensure!(of("b")["points"][0]["value"] == 5.0 && of("b")["points"][0]["exemplars"].is_null(), "{found}");
    let plain = ask(json!({"exemplarType": 1})).await?;
    ensure!(!plain.to_string().contains("exemplars"), "{plain}");
    let fault = ask(json!({"exemplarType": 9})).await.err().context("it is answered")?;
    ensure!(fault.to_string().contains("invalid_argument"), "{fault}");
    Ok(())
}

#[tokio::test]
async fn answers_that_come_later() -> Result<()> {
    let grafana = Grafana::new().await?;
    let http = http2()?;
    for wire in [Wire::ConnectProto, Wire::Grpc, Wire::GrpcWeb] {
        let ask = async |question: &Value| {
            let answer = call(&http, &grafana.0, wire, Coding::Plain, rpc::STACKTRACES, question).await?;
            answer.message.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))
        };
        for format in [1, 2, 3, 4] {
            let now = ask(&question(json!({"format": format}))).await?;
            let begun = ask(&question(json!({"format": format, "async": {"type": 1}}))).await?;
            let id = begun["async"]["requestId"].as_str().context("no id")?;
            ensure!(begun.as_object().map(serde_json::Map::len) == Some(1), "{begun}");
            // All but the id is ignored from now on.
            let poll = json!({"async": {"type": 1, "requestId": id}});
            let mut then = begun.clone();
            while then["async"]["status"] == "1" {
                then = ask(&poll).await?;
            }
            let end = then.as_object_mut().and_then(|answer| answer.remove("async")).context("no state")?;
            ensure!(end == json!({"requestId": id, "status": "2"}), "{end}");
            ensure!(then == now, "{wire:?} {format}: {then}\nnot {now}");
            // It is there for whoever asks again.
            ensure!(ask(&poll).await?["async"]["status"] == "2");
        }
        for (changes, expect) in [
            (json!({"async": {"type": 1, "requestId": "00000000-0000-0000-0000-000000000001"}}), "not_found"),
            (json!({"async": {"type": 1, "requestId": "nonsense"}}), "not_found"),
            (json!({"async": {"type": 1}, "labelSelector": "{"}), "invalid_argument"),
        ] {
            let fault = ask(&question(changes.clone())).await.err().with_context(|| changes.to_string())?;
            ensure!(fault.to_string().contains(expect), "{changes}: {fault}");
        }
        let now = ask(&question(json!({"async": {"requestId": "x"}}))).await?;
        ensure!(now["async"].is_null() && own(&now)? == ["idle 10", "work 85"], "{now}");
    }
    let begun = question(json!({"async": {"type": "ASYNC_QUERY_TYPE_FORCE"}}));
    let begun = grafana.0.connect("querier.v1.QuerierService/SelectMergeStacktraces", &begun).await?;
    ensure!(
        begun["async"]["status"].as_str().is_some_and(|text| text.starts_with("ASYNC_QUERY_STATUS_")),
        "{begun}"
    );
    Ok(())
}

#[tokio::test]
async fn drilldown() -> Result<()> {
    let grafana = Grafana::new().await?;
    let range = json!({"start": T * 1000, "end": (T + 30) * 1000});
    let stats = grafana.ask(rpc::PROFILE_STATS, json!({})).await?;
    let expect = json!({"dataIngested": true, "oldestProfileTime": (T * 1000).to_string()});
    ensure!(
        stats["dataIngested"] == true && stats["oldestProfileTime"] == expect["oldestProfileTime"],
        "{stats}"
    );
    ensure!(grafana.ask(rpc::VERSION, json!({})).await? == json!({"QuerierAPI": "1"}));
    ensure!(grafana.ask(rpc::SETTINGS_GET, json!({})).await? == json!({}));

    // Services and what there is of each.
    let mut question_of_series = range.clone();
    question_of_series["labelNames"] = json!(["__profile_type__", "service_name"]);
    question_of_series["matchers"] = json!([]);
    let series = grafana.ask(rpc::SERIES, question_of_series).await?;
    let pair = |name: &str, value: &str| json!({"name": name, "value": value});
    let labels = json!({"labels": [pair("__profile_type__", CPU), pair("service_name", "shop")]});
    ensure!(series["labelsSet"].as_array().is_some_and(|sets| sets.contains(&labels)), "{series}");

    // Labels side by side, and their difference.
    let of =
        |pod: &str| question(json!({"labelSelector": format!("{{service_name=\"shop\",pod=\"{pod}\"}}")}));
    let diff = grafana.ask(rpc::DIFF, json!({"left": of("a"), "right": of("b")})).await?;
    ensure!(diff["flamegraph"]["leftTicks"] == "90" && diff["flamegraph"]["rightTicks"] == "5", "{diff}");

    // One function: its history, and what it calls.
    let below = json!({"callSite": [{"name": "main"}, {"name": "work"}]});
    let points =
        grafana.ask(rpc::SELECT_SERIES, question(json!({"step": 15.0, "stackTraceSelector": below}))).await?;
    ensure!(points["series"][0]["points"][1]["value"] == 55.0, "{points}");
    let graph = grafana.ask(rpc::STACKTRACES, question(json!({"stackTraceSelector": below}))).await?;
    ensure!(own(&graph)? == ["work 85"], "{graph}");

    // For a compiler: the leaves alone, without their lines.
    let pgo = json!({"goPgo": {"keepLocations": 1, "aggregateCallees": true}});
    let profile = grafana.ask(rpc::MERGE_PROFILE, question(json!({"stackTraceSelector": pgo}))).await?;
    let samples = profile["sample"].as_array().context("no samples")?;
    ensure!(
        samples.iter().all(|sample| sample["locationId"].as_array().map(Vec::len) == Some(1)),
        "{profile}"
    );
    let mut values: Vec<_> = samples.iter().map(|sample| sample["value"][0].to_string()).collect();
    values.sort();
    ensure!(values == ["\"10\"", "\"85\""], "{profile}");
    ensure!(!profile["location"].to_string().contains("\"line\":\""), "{profile}");
    let graph = grafana.ask(rpc::STACKTRACES, question(json!({"stackTraceSelector": pgo}))).await?;
    ensure!(own(&graph)? == ["idle 10", "work 85"], "{graph}");
    ensure!(graph["flamegraph"]["levels"].as_array().map(Vec::len) == Some(2), "{graph}");
    Ok(())
}

#[tokio::test]
async fn a_span_of_several_profiles() -> Result<()> {
    const LONG: [Sent; 4] = [
        ("a", 0, &[("work", 30, SPANS[0])]),
        ("a", 60, &[("work", 40, SPANS[0]), ("idle", 7, "")]),
        ("b", 60, &[("work", 10, SPANS[0])]),
        ("a", 120, &[("work", 20, SPANS[0])]),
    ];
    let grafana = Grafana(Server::start()?);
    for sent in LONG {
        grafana.ask(rpc::PUSH, push(sent)?).await?;
    }
    // It counts in each of them; that of the same time in another pod is the same.
    let expect = [(0, "30"), (60, "50"), (120, "20")];
    let at = json!({"end": (T + 120) * 1000, "step": 60.0, "exemplarType": 3});
    let mut of_spans = at.clone();
    of_spans["queryType"] = json!(2);
    let found = grafana.ask(rpc::HEATMAP, question(of_spans)).await?;
    let slots = found["series"][0]["slots"].as_array().context("no slots")?;
    let series = grafana.ask(rpc::SELECT_SERIES, question(at)).await?;
    let points = series["series"][0]["points"].as_array().context("no points")?;
    ensure!((slots.len(), points.len()) == (3, 3), "{found} {series}");
    for (entry, (after, value)) in slots.iter().chain(points).zip(expect.iter().chain(&expect)) {
        ensure!(entry["timestamp"] == millis(*after), "{entry}");
        let exemplars = entry["exemplars"].as_array().context("no exemplars")?;
        ensure!(exemplars.len() == 1 && exemplars[0]["spanId"] == SPANS[0], "{entry}");
        ensure!(exemplars[0]["value"] == *value && exemplars[0]["timestamp"] == millis(*after), "{entry}");
    }
    let counts = slots.iter().flat_map(|slot| slot["counts"].as_array().into_iter().flatten());
    ensure!(counts.filter(|count| **count == "1").count() == 3, "{found}");
    Ok(())
}
