//! Every field of the querier's requests: what the answer is with it, on a store of three small profiles.

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use everflame_tests::{Server, Stack, pprof_labelled};
use serde_json::{Value, json};

const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
/// Unix seconds of the first profile; a multiple of 15.
const T: i64 = 1_700_000_010;
const SPANS: [&str; 2] = ["00000000000000f1", "00000000000000f2"];
const TRACE: &str = "000000000000000000000000000000aa";
const IDS: [&str; 3] = [
    "00000000-0000-4000-8000-0000000000a1",
    "00000000-0000-4000-8000-0000000000a2",
    "00000000-0000-4000-8000-0000000000b1",
];

async fn filled() -> Result<Server> {
    let server = Server::start()?;
    let (main, work, idle) = (1, 2, 3);
    let first = [("span_id", SPANS[0]), ("trace_id", TRACE)];
    let second = [("span_id", SPANS[1])];
    let sent: [(&str, i64, &str, &[Stack<'_>]); 3] = [
        ("a", 0, IDS[0], &[(&[work, main], 30, &first), (&[idle, main], 10, &[])]),
        ("a", 20, IDS[1], &[(&[work, main], 50, &second)]),
        ("b", 20, IDS[2], &[(&[work, main], 5, &[])]),
    ];
    for (pod, after, id, stacks) in sent {
        let profile = pprof_labelled((T + after) * 1_000_000_000, stacks, &["main", "work", "idle"]);
        let labels = [("__name__", "process_cpu"), ("service_name", "shop"), ("pod", pod)]
            .map(|(name, value)| json!({"name": name, "value": value}));
        let request = json!({"series": [{
            "labels": labels,
            "samples": [{"rawProfile": BASE64.encode(profile), "ID": id}],
            // Clients send them, nobody keeps them.
            "annotations": [{"key": "k", "value": "v"}],
        }]});
        server.connect("push.v1.PusherService/Push", &request).await?;
    }
    Ok(server)
}

fn millis(after: i64) -> i64 {
    (T + after) * 1_000
}

/// `base` with the fields of `changes`.
fn with(base: &Value, changes: &Value) -> Value {
    let mut request = base.clone();
    for (name, value) in changes.as_object().into_iter().flatten() {
        request[name] = value.clone();
    }
    request
}

/// Method, fields, a place in the answer, what is there.
type Row = (&'static str, Value, &'static str, Value);

async fn check(base: &Value, rows: Vec<Row>) -> Result<()> {
    let server = filled().await?;
    let mut wrong = Vec::new();
    for (method, changes, pointer, expect) in rows {
        let request = with(base, &changes);
        let answer = server.connect(&format!("querier.v1.QuerierService/{method}"), &request).await?;
        let found = answer.pointer(pointer).unwrap_or(&Value::Null);
        if *found != expect {
            wrong.push(format!("{method} {changes}: {pointer} is {found} instead of {expect}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn of_merged_stacks() -> Result<()> {
    let base = json!({
        "profileTypeID": CPU, "labelSelector": "{service_name=\"shop\"}", "start": millis(-60), "end": millis(60),
    });
    let stacks = "SelectMergeStacktraces";
    let (total, names) = ("/flamegraph/total", "/flamegraph/names");
    let idle = json!({"callSite": [{"name": "main"}, {"name": "idle"}]});
    let tree = BASE64.encode(b"\0\0\x01\x04main\0\x02\x04idle\x0a\0\x04work\x55\0");
    let span_tree = BASE64.encode(b"\0\0\x01\x04main\0\x01\x04work\x1e\0");
    let sample = "/sample/0/value/0";
    check(
        &base,
        vec![
            (stacks, json!({}), total, json!("95")),
            (stacks, json!({}), names, json!(["total", "main", "idle", "work"])),
            (
                stacks,
                json!({}),
                "/flamegraph/levels/2/values",
                json!(["0", "10", "10", "2", "0", "85", "85", "3"]),
            ),
            (stacks, json!({}), "/flamegraph/maxSelf", json!("85")),
            (stacks, json!({"profileTypeID": "wall:wall:nanoseconds::"}), names, json!(["total"])),
            (stacks, json!({"profileTypeID": format!("{CPU}:delta")}), total, json!("95")),
            (stacks, json!({"labelSelector": "{pod=\"b\"}"}), total, json!("5")),
            (stacks, json!({"labelSelector": "{pod!~\"a|c\"}"}), total, json!("5")),
            (stacks, json!({"start": millis(10)}), total, json!("55")),
            (stacks, json!({"end": millis(10)}), total, json!("40")),
            (stacks, json!({"maxNodes": 2}), names, json!(["total", "main", "work", "other"])),
            (stacks, json!({"format": "PROFILE_FORMAT_FLAMEGRAPH"}), total, json!("95")),
            (stacks, json!({"format": "PROFILE_FORMAT_TREE"}), "/tree", json!(tree)),
            (stacks, json!({"format": "PROFILE_FORMAT_OF_LATER"}), total, json!("95")),
            (stacks, json!({"format": 77}), total, json!("95")),
            (stacks, json!({"format": 4, "maxNodes": -1}), "/pprof/profile/sample/0/value/0", json!("85")),
            (stacks, json!({"format": 4}), "/pprof/profile/sample/0/value/0", json!("85")),
            (stacks, json!({"stackTraceSelector": idle}), total, json!("10")),
            (
                stacks,
                json!({"stackTraceSelector": {"goPgo": {"keepLocations": 1}}}),
                names,
                json!(["total", "idle", "work"]),
            ),
            (stacks, json!({"profileIdSelector": [IDS[1]]}), total, json!("50")),
            (stacks, json!({"traceIdSelector": [TRACE]}), total, json!("30")),
            (stacks, json!({"spanSelector": [SPANS[1]]}), total, json!("50")),
            (stacks, json!({"spanSelector": SPANS}), total, json!("80")),
            ("SelectMergeSpanProfile", json!({"spanSelector": [SPANS[0]]}), total, json!("30")),
            (
                "SelectMergeSpanProfile",
                json!({"spanSelector": [SPANS[0]], "format": 2}),
                "/tree",
                json!(span_tree),
            ),
            (
                "SelectMergeSpanProfile",
                json!({"spanSelector": [SPANS[0]], "maxNodes": 1}),
                names,
                json!(["total", "main", "other"]),
            ),
            (
                "SelectMergeSpanProfile",
                json!({"spanSelector": [SPANS[0]], "start": millis(10)}),
                names,
                json!(["total"]),
            ),
            ("SelectMergeProfile", json!({}), sample, json!("85")),
            ("SelectMergeProfile", json!({"maxNodes": 1}), sample, json!("85")),
            ("SelectMergeProfile", json!({"maxNodes": -1}), sample, json!("85")),
            ("SelectMergeProfile", json!({"stackTraceSelector": idle}), sample, json!("10")),
            ("SelectMergeProfile", json!({"profileIdSelector": [IDS[1]]}), sample, json!("50")),
            ("SelectMergeProfile", json!({"traceIdSelector": [TRACE]}), sample, json!("30")),
            ("SelectMergeProfile", json!({"labelSelector": "{pod=\"b\"}"}), sample, json!("5")),
        ],
    )
    .await
}

#[tokio::test]
async fn of_series_and_heatmaps() -> Result<()> {
    let base = json!({
        "profileTypeID": CPU, "labelSelector": "{service_name=\"shop\"}", "start": millis(-60), "end": millis(60), "step": 120.0,
    });
    let (series, heatmap) = ("SelectSeries", "SelectHeatmap");
    let value = "/series/0/points/0/value";
    let exemplar = "/series/0/points/0/exemplars/0";
    let mut counts = vec![0; 20];
    (counts[0], counts[15], counts[19]) = (1, 1, 1);
    check(
        &base,
        vec![
            (series, json!({}), value, json!(95.0)),
            (series, json!({}), "/series/0/points/0/timestamp", json!(millis(60).to_string())),
            (series, json!({"step": 15}), value, json!(40.0)),
            (series, json!({"step": 15}), "/series/0/points/1/timestamp", json!(millis(30).to_string())),
            (series, json!({"start": millis(10), "step": 15}), value, json!(40.0)),
            (series, json!({"labelSelector": "{pod=\"b\"}"}), value, json!(5.0)),
            (series, json!({"groupBy": ["pod"]}), "/series/1/labels", json!([{"name": "pod", "value": "b"}])),
            (series, json!({"groupBy": ["pod"], "limit": 1}), "/series/1", Value::Null),
            (series, json!({"aggregation": 0}), value, json!(95.0)),
            (series, json!({"step": 15, "aggregation": 1}), "/series/0/points/1/value", json!(27.5)),
            (
                series,
                json!({"stackTraceSelector": {"callSite": [{"name": "main"}, {"name": "idle"}]}}),
                value,
                json!(10.0),
            ),
            (series, json!({"exemplarType": "EXEMPLAR_TYPE_NONE"}), exemplar, Value::Null),
            (series, json!({"exemplarType": 2}), "/series/0/points/0/exemplars/0/profileId", json!(IDS[1])),
            (series, json!({"exemplarType": 2}), "/series/0/points/0/exemplars/0/value", json!("50")),
            (
                series,
                json!({"exemplarType": 2}),
                "/series/0/points/0/exemplars/0/timestamp",
                json!(millis(20).to_string()),
            ),
            (heatmap, json!({"queryType": 1}), "/series/0/slots/0/counts", json!(counts)),
            (heatmap, json!({"queryType": 1}), "/series/0/slots/0/yMin/0", json!(5.0)),
            (
                heatmap,
                json!({"queryType": 1, "step": 15}),
                "/series/0/slots/0/timestamp",
                json!(millis(0).to_string()),
            ),
            // What is left after the last whole step is a point, too, up to the end of the range.
            (
                heatmap,
                json!({"queryType": 1, "start": millis(-30), "end": millis(25), "step": 15}),
                "/series/0/slots/1/timestamp",
                json!(millis(30).to_string()),
            ),
            (
                heatmap,
                json!({"queryType": 1, "start": millis(-30), "end": millis(19), "step": 15}),
                "/series/0/slots/1",
                Value::Null,
            ),
            (heatmap, json!({"queryType": 1, "groupBy": ["pod"]}), "/series/1/labels/0/value", json!("b")),
            (heatmap, json!({"queryType": 1, "groupBy": ["pod"], "limit": 1}), "/series/1", Value::Null),
            (
                heatmap,
                json!({"queryType": 1, "exemplarType": 2}),
                "/series/0/slots/0/exemplars/0/profileId",
                json!(IDS[2]),
            ),
            (
                heatmap,
                json!({"queryType": 2, "exemplarType": 3}),
                "/series/0/slots/0/exemplars/0/spanId",
                json!(SPANS[0]),
            ),
            (heatmap, json!({"queryType": 2, "exemplarType": 1}), "/series/0/slots/0/exemplars", Value::Null),
        ],
    )
    .await
}

#[tokio::test]
async fn of_the_catalogue_and_the_rest() -> Result<()> {
    let base = json!({"matchers": ["{service_name=\"shop\"}"], "start": millis(-60), "end": millis(60)});
    let side = |selector: &str| {
        json!({
            "profileTypeID": CPU, "labelSelector": selector, "start": millis(-60), "end": millis(60),
        })
    };
    let pod = |value: &str| json!([{"name": "pod", "value": value}]);
    check(
        &base,
        vec![
            ("ProfileTypes", json!({}), "/profileTypes/0/ID", json!(CPU)),
            ("ProfileTypes", json!({}), "/profileTypes/0/sampleUnit", json!("nanoseconds")),
            ("ProfileTypes", json!({"start": 0, "end": 0}), "/profileTypes/0", Value::Null),
            ("LabelNames", json!({}), "/names/7", json!("pod")),
            ("LabelNames", json!({"matchers": ["{service_name=\"no\"}"]}), "/names", Value::Null),
            ("LabelValues", json!({"name": "pod"}), "/names", json!(["a", "b"])),
            ("LabelValues", json!({"name": "pod", "matchers": ["{pod=\"b\"}"]}), "/names", json!(["b"])),
            (
                "LabelValues",
                json!({"name": "pod", "matchers": ["{service_name=\"shop\"}", "", "{pod=\"b\"}"]}),
                "/names",
                json!(["b"]),
            ),
            (
                "LabelValues",
                json!({"name": "pod", "matchers": [format!("{CPU}{{pod=\"b\"}}")]}),
                "/names",
                json!(["b"]),
            ),
            ("LabelValues", json!({"name": "pod", "matchers": [CPU]}), "/names", json!(["a", "b"])),
            ("LabelValues", json!({"name": "pod", "end": millis(10)}), "/names", json!(["a"])),
            ("Series", json!({"labelNames": ["pod"]}), "/labelsSet/1/labels", pod("b")),
            (
                "Series",
                json!({"labelNames": ["pod"], "matchers": ["{pod=\"b\"}"]}),
                "/labelsSet/0/labels",
                pod("b"),
            ),
            ("Series", json!({"labelNames": ["pod"], "end": millis(10)}), "/labelsSet/1", Value::Null),
            ("Series", json!({}), "/labelsSet/0/labels/7/name", json!("pod")),
            (
                "Diff",
                json!({"left": side("{}"), "right": side("{pod=\"b\"}")}),
                "/flamegraph/levels/2/values",
                json!(["0", "10", "10", "0", "0", "0", "2", "0", "85", "85", "0", "5", "5", "3"]),
            ),
            (
                "Diff",
                json!({"left": side("{}"), "right": side("{pod=\"b\"}")}),
                "/flamegraph/rightTicks",
                json!("5"),
            ),
            ("GetProfileStats", json!({}), "/dataIngested", json!(true)),
            ("GetProfileStats", json!({}), "/oldestProfileTime", json!(millis(0).to_string())),
            ("GetProfileStats", json!({}), "/newestProfileTime", json!(millis(20).to_string())),
            ("AnalyzeQuery", json!({"start": 1, "end": 2, "query": "{}"}), "/queryImpact", Value::Null),
        ],
    )
    .await
}
