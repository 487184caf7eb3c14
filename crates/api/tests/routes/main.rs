//! Requests against the routes of a real store, without a socket.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod fixture;
mod health;
mod otlp;
mod patience;

use axum::body::Body;
use everflame_api::ServerConfig;
use fixture::{CPU, Fixture, NOW, base64, select};
use http::Request;
use serde_json::{Value, json};

#[tokio::test]
async fn the_first_questions_are_answered() {
    for fixture in [Fixture::new().await, Fixture::filled().await] {
        fixture.server.warm_up().await.unwrap();
    }
}

#[tokio::test]
async fn status_rules_of_the_query_wire() {
    let fixture = Fixture::filled().await;
    let table = [
        ("SelectMergeStacktraces", select(json!({})), 200),
        ("SelectMergeStacktraces", select(json!({ "labelSelector": "{service_name=\"none\"}" })), 200),
        ("SelectMergeStacktraces", select(json!({ "start": 1, "end": 2 })), 200),
        ("SelectMergeStacktraces", select(json!({ "start": null })), 400),
        ("SelectMergeStacktraces", select(json!({ "end": 0 })), 400),
        ("SelectMergeStacktraces", select(json!({ "start": 1_700_000_030_000_i64 })), 400),
        ("SelectMergeStacktraces", select(json!({ "start": "yesterday" })), 400),
        ("SelectMergeStacktraces", select(json!({ "profileTypeID": null })), 400),
        ("SelectMergeStacktraces", select(json!({ "profileTypeID": "cpu" })), 400),
        ("SelectMergeStacktraces", select(json!({ "profileTypeID": format!("{CPU}:delta") })), 200),
        ("SelectMergeStacktraces", select(json!({ "labelSelector": null })), 400),
        ("SelectMergeStacktraces", select(json!({ "labelSelector": "{" })), 400),
        ("SelectMergeStacktraces", select(json!({ "labelSelector": "{}" })), 200),
        ("SelectMergeStacktraces", select(json!({ "maxNodes": -1 })), 400),
        ("SelectMergeStacktraces", select(json!({ "maxNodes": 1_048_577 })), 400),
        ("SelectMergeStacktraces", select(json!({ "maxNodes": "0" })), 200),
        ("SelectMergeStacktraces", select(json!({ "format": "PROFILE_FORMAT_DOT" })), 200),
        ("SelectMergeStacktraces", select(json!({ "format": 4 })), 200),
        ("SelectMergeStacktraces", select(json!({ "format": 9 })), 200),
        ("SelectMergeStacktraces", select(json!({ "async": { "type": "ASYNC_QUERY_TYPE_FORCE" } })), 200),
        ("SelectMergeStacktraces", select(json!({ "spanSelector": ["xyz"] })), 400),
        ("SelectMergeProfile", select(json!({})), 200),
        ("SelectMergeSpanProfile", select(json!({ "spanSelector": ["00000000000000ff"] })), 200),
        ("SelectSeries", select(json!({ "step": 15 })), 200),
        ("SelectSeries", select(json!({})), 400),
        ("SelectSeries", select(json!({ "step": 0.0001 })), 400),
        ("SelectSeries", select(json!({ "step": 15, "limit": -1 })), 400),
        ("SelectSeries", select(json!({ "step": 15, "exemplarType": "EXEMPLAR_TYPE_SPAN" })), 200),
        ("ProfileTypes", json!({}), 200),
        ("ProfileTypes", json!({ "start": 5 }), 400),
        ("LabelNames", json!({ "start": 1, "end": 2 }), 200),
        ("LabelNames", json!({}), 400),
        ("LabelValues", json!({ "start": 1, "end": 2 }), 400),
        ("LabelValues", json!({ "name": "pod", "start": 1, "end": 2, "matchers": [""] }), 200),
        ("LabelValues", json!({ "name": "pod", "start": 1, "end": 2, "matchers": ["{pod"] }), 400),
        ("Series", json!({ "start": 1, "end": 2 }), 200),
        ("Diff", json!({ "left": select(json!({})), "right": select(json!({})) }), 200),
        ("Diff", json!({ "left": select(json!({})) }), 400),
        ("GetProfileStats", json!({}), 200),
        ("SelectHeatmap", json!({}), 400),
        ("Nonsense", json!({}), 404),
    ];
    for (method, body, status) in table {
        let answer = fixture.ask(method, body.clone()).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, status, "{method} {body}: {text}");
        if status != 200 {
            assert!(
                answer.json()["message"].as_str().is_some_and(|text| !text.is_empty()),
                "{method} {body}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn methods_and_content_types_are_checked() {
    let fixture = Fixture::new().await;
    let path = "/querier.v1.QuerierService/ProfileTypes";
    let answer = fixture.get(path).await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.headers["allow"], "POST");
    assert_eq!(fixture.post(path, "Application/JSON; charset=utf-8", "{}").await.status, 200);
    assert_eq!(fixture.post(path, "text/plain", "{}").await.status, 415);
    assert_eq!(fixture.post(path, "application/json", "").await.status, 400);
    assert_eq!(fixture.post(path, "application/json", "{").await.status, 400);
    assert_eq!(fixture.post(path, "application/proto", "").await.status, 200);
    assert_eq!(fixture.get("/ingest?name=a").await.status, 405);
    let lost = fixture.get("/nowhere").await;
    assert_eq!(lost.status, 404);
    for path in ["/nowhere", "/no.Service/Call", "/querier.v1.QuerierService/Nonsense"] {
        let lost = fixture.post(path, "application/json", "{}").await;
        assert_eq!(lost.status, 404, "{path}");
        assert!(!lost.headers.contains_key("allow"), "{path}");
        assert!(lost.json()["message"].is_string(), "{path}");
        let lost = fixture.post(path, "application/grpc+proto", vec![0_u8; 5]).await;
        assert_eq!(lost.status, 200, "{path}");
        assert_eq!(lost.headers["grpc-status"], "12", "{path}");
        let content_type = lost.headers["content-type"].to_str().unwrap();
        assert!(content_type.starts_with("application/grpc"), "{path}: {content_type}");
    }
    let otlp = fixture.post("/v1development/profiles", "text/plain", "").await;
    assert_eq!(otlp.status, 415);
    assert_eq!(otlp.json()["code"], 3);
    assert!(lost.json()["message"].as_str().unwrap().contains("/ingest"));
}

#[tokio::test]
async fn flame_graphs_series_and_diffs_hold_what_was_sent() {
    let fixture = Fixture::filled().await;
    let graph = fixture.ask("SelectMergeStacktraces", select(json!({}))).await;
    assert!(graph.headers.contains_key("x-everflame-scanned-rows"));
    let graph = graph.json()["flamegraph"].clone();
    assert_eq!(graph["names"], json!(["total", "main", "idle", "work"]));
    assert_eq!(graph["total"], json!("40000000"));
    assert_eq!(graph["levels"][0]["values"], json!(["0", "40000000", "0", "0"]));
    let nothing =
        fixture.ask("SelectMergeStacktraces", select(json!({ "labelSelector": "{a=\"b\"}" }))).await;
    assert_eq!(nothing.json()["flamegraph"]["names"], json!(["total"]));
    let series =
        fixture.ask("SelectSeries", select(json!({ "step": 30, "groupBy": ["region"] }))).await.json();
    assert_eq!(series["series"][0]["labels"], json!([{ "name": "region", "value": "eu" }]));
    assert_eq!(series["series"][0]["points"][0]["value"], json!(40_000_000.0));
    let diff = json!({ "left": select(json!({})), "right": select(json!({ "labelSelector": "{a=\"b\"}" })) });
    let diff = fixture.ask("Diff", diff).await.json();
    assert_eq!(diff["flamegraph"]["leftTicks"], json!("40000000"));
    let types = fixture.ask("ProfileTypes", json!({})).await.json();
    assert_eq!(types["profileTypes"][0]["ID"], json!(CPU));
    let profile = fixture.ask("SelectMergeProfile", select(json!({}))).await.json();
    assert_eq!(profile["sample"].as_array().map(Vec::len), Some(2));
    let pprof =
        fixture.ask("SelectMergeStacktraces", select(json!({ "format": "PROFILE_FORMAT_PPROF" }))).await;
    assert_eq!(pprof.json()["pprof"]["profile"]["sample"].as_array().map(Vec::len), Some(2));
    let names = fixture
        .ask("LabelNames", json!({ "start": 1_699_999_990_000_i64, "end": 1_700_000_020_000_i64 }))
        .await;
    assert!(names.json()["names"].as_array().unwrap().contains(&json!("region")));
}

#[tokio::test]
async fn statuses_of_ingest() {
    let fixture = Fixture::new().await;
    let multipart = "multipart/form-data; boundary=x";
    let empty_profile = "--x\r\nContent-Disposition: form-data; name=\"profile\"\r\n\r\n\r\n--x--\r\n";
    let no_profile = "--x\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\n\r\n--x--\r\n";
    let table = [
        ("/ingest?name=a", "", "main 1\n", 200),
        ("//ingest?name=a", "", "main 1\n", 200),
        ("/pyroscope/ingest?name=a", "", "main 1\n", 200),
        ("/ingest", "", "main 1\n", 400),
        ("/ingest?name=a%20b", "", "main 1\n", 400),
        ("/ingest?name=a&from=garbage", "", "main 1\n", 400),
        ("/ingest?name=a&from=now-1h30m&until=2023-11-14T22:13:20Z", "", "main 1\n", 200),
        ("/ingest?name=a&format=pprof", "", "not a pprof", 422),
        ("/ingest?name=a&format=pprof", "", "", 200),
        ("/ingest?name=a&format=jfr", "", "FLR", 422),
        ("/ingest?name=a", multipart, empty_profile, 200),
        ("/ingest?name=a", multipart, no_profile, 422),
        ("/ingest?name=a", multipart, "cut off", 422),
    ];
    for (path, content_type, body, status) in table {
        let answer = fixture.post(path, content_type, body).await;
        assert_eq!(answer.status, status, "{path}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.body.is_empty(), status == 200, "{path}");
    }
}

#[tokio::test]
async fn pushes_are_checked_and_deduplicated() {
    let fixture = Fixture::filled().await;
    let path = format!("/api/v1/pprof?query={CPU}{{service_name=\"shop\"}}&from=now-1h&until=now&seconds=5");
    let pprof = fixture.get(&path).await;
    assert_eq!(pprof.status, 200);
    let body: Vec<u8> = pprof.body;
    let encoded = base64(&body);
    let push = |labels: Value, profile: &str| json!({ "series": [{ "labels": labels, "samples": [{ "rawProfile": profile, "ID": "6f9619ff-8b86-d011-b42d-00c04fc964ff" }] }] });
    let labels = json!([{ "name": "__name__", "value": "process_cpu" }, { "name": "service_name", "value": "pushed" }]);
    let path = "/push.v1.PusherService/Push";
    for (body, status) in [
        (push(labels.clone(), &encoded), 200),
        (push(labels.clone(), &encoded), 200),
        (push(json!([]), &encoded), 400),
        (push(labels, "AAAA"), 400),
        (json!({}), 400),
        (json!({ "series": [{ "labels": [] }] }), 400),
    ] {
        let answer = fixture.post(path, "application/json", body.to_string()).await;
        assert_eq!(answer.status, status, "{}", String::from_utf8_lossy(&answer.body));
    }
    let graph = fixture.ask(
        "SelectMergeStacktraces",
        select(json!({ "labelSelector": "{service_name=\"pushed\"}", "end": NOW / 1_000_000 + 1_000_000 })),
    );
    assert_eq!(graph.await.json()["flamegraph"]["total"], json!("40000000"));
}

#[tokio::test]
async fn the_older_query_wire() {
    let fixture = Fixture::filled().await;
    let query = format!("{CPU}{{service_name=\"shop\"}}");
    let good =
        format!("/pyroscope/render?query={query}&from=1699999990&until=1700000020&groupBy=region&maxNodes=x");
    let answer = fixture.get(&good).await.json();
    assert_eq!(answer["flamebearer"]["numTicks"], json!(40_000_000));
    assert_eq!(answer["metadata"]["units"], json!("samples"));
    let sum = |timeline: &Value| {
        timeline["samples"].as_array().unwrap().iter().filter_map(Value::as_i64).sum::<i64>()
    };
    assert_eq!((sum(&answer["timeline"]), sum(&answer["groups"]["eu"])), (40_000_000, 40_000_000));
    let diff = format!(
        "/pyroscope/render-diff?leftQuery={query}&leftFrom=now-1h&rightQuery={query}&rightFrom=now-1h"
    );
    assert_eq!(fixture.get(&diff).await.json()["rightTicks"], json!(40_000_000));
    assert_eq!(fixture.get("/pyroscope/label-values?label=region").await.json(), json!(["eu"]));
    assert_eq!(fixture.get("/pyroscope/label-values?label=__name__").await.json(), json!([CPU]));
    for path in [
        "/pyroscope/render",
        "/pyroscope/render?query={a=\"b\"}",
        "/pyroscope/render?query=x{",
        &format!("/pyroscope/render?query={query}&from=0&until=5"),
        &format!("/pyroscope/render-diff?leftQuery={query}"),
        &format!("/pyroscope/render-diff?leftQuery={query}&rightQuery=a:b:c:d:e{{}}"),
        "/pyroscope/label-values",
    ] {
        assert_eq!(fixture.get(path).await.status, 400, "{path}");
    }
}

/// Three profiles of 1, 2 and 30 samples of 10 ms, ten seconds apart.
async fn with_an_outlier() -> Fixture {
    let fixture = Fixture::new().await;
    for (at, body) in [(0, "main;work 1\n"), (10, "main;work 2\n"), (20, "main;gc 30\n")] {
        let (from, until) = (1_700_000_000 + at, 1_700_000_010 + at);
        let path = format!("/ingest?name=shop.cpu{{pod=p{at}}}&format=folded&from={from}&until={until}");
        assert_eq!(fixture.post(&path, "", body).await.status, 200);
    }
    fixture
}

#[tokio::test]
async fn single_profiles_by_time_and_value() {
    let fixture = with_an_outlier().await;
    let query = format!("query={CPU}{{service_name=\"shop\"}}&from=1700000000000&until=1700000029999");
    let heatmap = fixture.get(&format!("/api/v1/heatmap?{query}&x=3&y=2")).await;
    assert!(heatmap.headers.contains_key("x-everflame-scanned-rows"));
    let heatmap = heatmap.json();
    assert_eq!(heatmap["cells"], json!([[0, 0, 1], [1, 0, 1], [2, 1, 1]]));
    assert_eq!(heatmap["values"], json!({ "min": 10_000_000, "max": 300_000_000 }));
    assert_eq!(heatmap["bands"], json!([10_000_000, 155_000_000]));
    assert_eq!((&heatmap["start"], &heatmap["step"]), (&json!(1_700_000_000_000_i64), &json!(10_000)));
    let small = fixture.get(&format!("/api/v1/heatmap?{query}&x=3&y=2&max=20000000&min=0")).await.json();
    assert_eq!(small["cells"], json!([[0, 1, 1], [1, 1, 1]]));
    // The side that is not given comes from the data.
    let above = fixture.get(&format!("/api/v1/heatmap?{query}&x=3&y=2&min=15000000")).await.json();
    assert_eq!(above["values"], json!({ "min": 15_000_000, "max": 300_000_000 }));
    assert_eq!(above["cells"], json!([[1, 0, 1], [2, 1, 1]]));
    let below = fixture.get(&format!("/api/v1/heatmap?{query}&x=3&y=2&max=20000000")).await.json();
    assert_eq!(below["values"], json!({ "min": 10_000_000, "max": 20_000_000 }));

    let list = fixture.get(&format!("/api/v1/profiles?{query}&min=15000000&order=largest")).await.json();
    let totals: Vec<_> =
        list["profiles"].as_array().unwrap().iter().map(|found| found["total"].clone()).collect();
    assert_eq!((totals, &list["more"]), (vec![json!(300_000_000), json!(20_000_000)], &json!(false)));
    let first = &list["profiles"][0];
    assert_eq!((&first["labels"]["pod"], &first["duration"]), (&json!("p20"), &json!(10_000)));
    let list = fixture.get(&format!("/api/v1/profiles?{query}&limit=1")).await.json();
    assert_eq!((&list["profiles"][0]["labels"]["pod"], &list["more"]), (&json!("p20"), &json!(true)));

    let id = first["id"].as_str().unwrap();
    let all = fixture.get(&format!("/api/v1/flamegraph?{query}&max-nodes=100")).await;
    assert!(String::from_utf8_lossy(&all.body).contains("work"));
    for part in
        ["min=100000000", &format!("id={id}"), "start=1700000020000", "end=1700000029999&min=20000001"]
    {
        let answer = fixture.get(&format!("/api/v1/flamegraph?{query}&{part}")).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status == 200 && text.contains("gc") && !text.contains("work"), "{part}: {text}");
    }
    assert_eq!(fixture.get(&format!("/api/v1/pprof?{query}&id={id}")).await.status, 200);
    let spans = fixture.get(&format!("/api/v1/spans?{query}")).await.json();
    assert_eq!(spans, json!({ "spans": [], "more": false }));
    let of_spans = fixture.get(&format!("/api/v1/heatmap?{query}&of=spans")).await.json();
    assert_eq!((&of_spans["values"], &of_spans["cells"]), (&json!(null), &json!([])));
    for path in [
        "/api/v1/heatmap".to_owned(),
        format!("/api/v1/heatmap?{query}&x=0"),
        format!("/api/v1/heatmap?{query}&y=70000"),
        format!("/api/v1/heatmap?{query}&min=2&max=1"),
        format!("/api/v1/heatmap?{query}&of=traces"),
        format!("/api/v1/profiles?{query}&order=random"),
        format!("/api/v1/profiles?{query}&id=x"),
        format!("/api/v1/profiles?{query}&min=much"),
        format!("/api/v1/flamegraph?{query}&id={id}&min=1"),
        format!("/api/v1/flamegraph?{query}&max-nodes=2000000"),
    ] {
        let answer = fixture.get(&path).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.json()["message"].as_str().is_some_and(|text| !text.is_empty()));
    }
}

#[tokio::test]
async fn single_spans_by_time_and_value() {
    let fixture = Fixture::new().await;
    // One span that works for 30 ns and a minute later collects garbage for 900, beside another of 40.
    let profile = |at: i64, samples: &[(i64, i64, i64)]| {
        let sample = |&(stack, link, value): &(i64, i64, i64)| json!({"stackIndex": stack, "linkIndex": link, "values": [value.to_string()]});
        json!({
            "sampleType": {"typeStrindex": 1, "unitStrindex": 2},
            "samples": samples.iter().map(sample).collect::<Vec<_>>(),
            "timeUnixNano": (1_700_000_000_000_000_000 + at * 1_000_000_000).to_string(),
        })
    };
    let link = |id: &str| json!({"traceId": id.repeat(2), "spanId": id});
    let export = json!({
        "resourceProfiles": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "traced"}}]},
            "scopeProfiles": [{"profiles": [
                profile(0, &[(1, 1, 30)]), profile(60, &[(2, 1, 900), (1, 2, 40)]),
            ]}],
        }],
        "dictionary": {
            "functionTable": [{}, {"nameStrindex": 3}, {"nameStrindex": 4}],
            "locationTable": [{}, {"lines": [{"functionIndex": 1}]}, {"lines": [{"functionIndex": 2}]}],
            "stringTable": ["", "wall", "nanoseconds", "work", "gc"],
            "attributeTable": [{}], "mappingTable": [{}],
            "linkTable": [{}, link("00000000000000f1"), link("00000000000000f2")],
            "stackTable": [{}, {"locationIndices": [1]}, {"locationIndices": [2]}],
        },
    });
    let sent = fixture.post("/v1development/profiles", "application/json", export.to_string()).await;
    assert_eq!(sent.status, 200, "{:?}", String::from_utf8_lossy(&sent.body));
    let query =
        "query=wall:wall:nanoseconds::{service_name=\"traced\"}&from=1700000000000&until=1700000119999";
    let heatmap = fixture.get(&format!("/api/v1/heatmap?{query}&of=spans&x=2&y=2")).await.json();
    assert_eq!(heatmap["cells"], json!([[0, 0, 1], [1, 0, 1], [1, 1, 1]]));
    assert_eq!(heatmap["values"], json!({ "min": 30, "max": 900 }));
    let spans = async |part: &str| {
        let list = fixture.get(&format!("/api/v1/spans?{query}{part}")).await.json();
        let spans = list["spans"].as_array().unwrap().iter();
        spans
            .map(|span| (span["id"].clone(), span["time"].clone(), span["total"].clone()))
            .collect::<Vec<_>>()
    };
    let span = |id: &str, time: i64, total: i64| (json!(id), json!(time), json!(total));
    let all = [
        span("00000000000000f1", 1_700_000_060_000, 900),
        span("00000000000000f2", 1_700_000_060_000, 40),
        span("00000000000000f1", 1_700_000_000_000, 30),
    ];
    assert_eq!(spans("").await, all);
    assert_eq!(spans("&min=100").await, all[..1]);
    assert_eq!(spans("&end=1700000059999").await, all[2..]);
    // What a part adds up to is what these spans did in these profiles, not elsewhere.
    for (part, name, other) in
        [("min=100", "gc", "work"), ("max=35", "work", "gc"), ("end=1700000059999", "work", "gc")]
    {
        let answer = fixture.get(&format!("/api/v1/flamegraph?{query}&of=spans&{part}")).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status == 200 && text.contains(name) && !text.contains(other), "{part}: {text}");
    }
}

#[tokio::test]
async fn recording_rules_make_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let config = ServerConfig { data: Some(folder.path().into()), ..Default::default() };
    let fixture = Fixture::with(config).await;
    // The minute that is added up ends at 1700000040; the last of these is not in it.
    for (name, from, body) in [
        ("shop.cpu{pod=a}", 1_700_000_000, "main;work 3\nmain;idle 1\nmain;work;work 1\n"),
        ("shop.cpu{pod=a}", 1_700_000_039, "main;work 2\n"),
        ("shop.cpu{pod=b}", 1_700_000_010, "main;idle 8\n"),
        ("cart.cpu{pod=c}", 1_700_000_010, "main;work 16\n"),
        ("shop.cpu{pod=a}", 1_700_000_041, "main;work 32\n"),
    ] {
        let path = format!("/ingest?name={name}&format=folded&from={from}");
        assert_eq!(fixture.post(&path, "", body).await.status, 200);
    }
    let add = async |rule: Value| {
        let path = "/settings.v1.RecordingRulesService/UpsertRecordingRule";
        let answer = fixture.post(path, "application/json", rule.to_string()).await;
        assert_eq!(answer.status, 200, "{:?}", String::from_utf8_lossy(&answer.body));
        answer.json()["rule"]["id"].as_str().unwrap().to_owned()
    };
    let matchers = [format!("{{__profile_type__=\"{CPU}\"}}"), "{service_name=\"shop\"}".to_owned()];
    let recorded = async || {
        let text = String::from_utf8(fixture.get("/metrics").await.body).unwrap();
        assert!(text.ends_with("# EOF\n"));
        let lines = text.lines().filter(|line| line.contains("profiles_recorded"));
        let mut lines: Vec<_> = lines.map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert!(recorded().await.is_empty());
    let all = add(json!({"metricName": "profiles_recorded_a", "matchers": matchers})).await;
    let pods = add(json!({"metricName": "profiles_recorded_a", "matchers": matchers, "groupBy": ["pod"],
        "externalLabels": [{"name": "team", "value": "x"}]}))
    .await;
    let work = add(json!({"metricName": "profiles_recorded_b", "matchers": matchers, "groupBy": ["pod"],
        "stacktraceFilter": {"functionName": {"functionName": "work"}}}))
    .await;
    let mut expect = vec![
        "# TYPE profiles_recorded_a gauge".to_owned(),
        "# TYPE profiles_recorded_b gauge".to_owned(),
        format!("profiles_recorded_a{{profiles_rule_id=\"{all}\"}} 150000000"),
        format!("profiles_recorded_a{{pod=\"a\",profiles_rule_id=\"{pods}\",team=\"x\"}} 70000000"),
        format!("profiles_recorded_a{{pod=\"b\",profiles_rule_id=\"{pods}\",team=\"x\"}} 80000000"),
        format!("profiles_recorded_b{{pod=\"a\",profiles_rule_id=\"{work}\"}} 60000000"),
    ];
    expect.sort();
    assert_eq!(recorded().await, expect);
    assert_eq!(recorded().await, expect);
}

#[tokio::test]
async fn profefes_wire() {
    let fixture = Fixture::filled().await;
    assert_eq!(fixture.get("/api/0/services").await.json(), json!({ "code": 200, "body": ["shop"] }));
    let pprof = fixture.get(&format!("/api/v1/pprof?query={CPU}{{}}&from=now-1h")).await.body;
    let stored = fixture.post("/api/0/profiles?service=web&type=cpu&labels=a%3Db%252Cc", "", pprof).await;
    assert_eq!(stored.status, 200, "{:?}", String::from_utf8_lossy(&stored.body));
    let stored = stored.json()["body"].clone();
    assert_eq!(stored["labels"], json!([{ "key": "a", "value": "b,c" }]));
    let times = "from=2023-11-14T00:00:00&to=2023-11-15T00:00:00";
    let list = fixture.get(&format!("/api/0/profiles?service=web&type=cpu&{times}")).await.json();
    assert_eq!(list["body"][0], stored);
    let id = stored["id"].as_str().unwrap();
    assert_eq!(fixture.get(&format!("/api/0/profiles/{id}+{id}")).await.status, 200);
    assert_eq!(fixture.get(&format!("/api/0/profiles/merge?service=web&type=cpu&{times}")).await.status, 200);
    for (path, status) in [
        ("/api/0/profiles/00000000000000000000000000000001", 404),
        ("/api/0/profiles/x", 404),
        ("/api/0/profiles?service=web&type=cpu", 400),
        ("/api/0/profiles?service=none&from=2023-11-14T00:00:00&to=2023-11-15T00:00:00", 404),
        ("/api/0/profiles/merge?service=web&type=trace", 405),
        ("/api/0/version", 200),
    ] {
        assert_eq!(fixture.get(path).await.status, status, "{path}");
    }
    assert_eq!(fixture.post("/api/0/profiles?service=web&type=trace", "", "x").await.status, 501);
    assert_eq!(fixture.post("/api/0/profiles?service=web&type=cpu", "", "x").await.status, 400);
    assert_eq!(fixture.post("/api/0/services", "", "x").await.status, 405);
}

#[tokio::test]
async fn health_metrics_and_pages() {
    let fixture = Fixture::filled().await;
    for path in ["/ready", "/-/ready", "/-/healthy", "/api/v1/status", "/api/v1/status/buildinfo"] {
        assert_eq!(fixture.get(path).await.status, 200, "{path}");
    }
    let older = Request::get("/metrics").header("accept", "text/plain;version=0.0.4").body(Body::empty());
    let older = fixture.send(older.unwrap()).await;
    assert_eq!(older.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(
        String::from_utf8(older.body).unwrap().contains("# TYPE everflame_ingest_received_total counter\n")
    );
    let metrics = String::from_utf8(fixture.get("/metrics").await.body).unwrap();
    for line in
        ["everflame_ingest_received_total 1", "everflame_http_requests_total{", "everflame_head_profiles 1"]
    {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert_eq!(metrics.matches("# EOF").count(), 1);
    let page = fixture.get("/explore").await;
    assert_eq!(page.status, 200);
    assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    assert!(page.headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn short_links_lead_to_pages() {
    let folder = tempfile::tempdir().unwrap();
    let fixture =
        Fixture::with(ServerConfig { data: Some(folder.path().into()), ..Default::default() }).await;
    let store = async |url: &str| {
        let body = json!({ "url": url }).to_string();
        fixture.post("/api/v1/links", "application/json", body).await
    };
    let stored = store("/explore?v=1&service=shop").await.json();
    assert_eq!(store("/explore?v=1&service=shop").await.json(), stored);
    let followed = fixture.get(stored["url"].as_str().unwrap()).await;
    assert_eq!(
        (followed.status.as_u16(), &followed.headers["location"]),
        (302, &"/explore?v=1&service=shop".parse().unwrap())
    );
    for url in ["https://evil.example/", "//evil.example/", "/a b", "", &format!("/{}", "a".repeat(9000))] {
        assert_eq!(store(url).await.status, 400, "{url}");
    }
    assert_eq!(fixture.get("/l/nothing").await.status, 404);
    assert_eq!(Fixture::new().await.post("/api/v1/links", "", "{\"url\":\"/\"}").await.status, 501);
}

#[tokio::test]
async fn slow_queries_and_clients_are_told() {
    let fixture = Fixture::filled().await;
    fixture.ask("SelectMergeStacktraces", select(json!({}))).await;
    let queries = fixture.get("/api/v1/status/queries").await.json();
    let query = &queries["queries"][0];
    assert_eq!(
        (&query["kind"], &query["query"]),
        (&json!("stacks"), &json!(format!("{CPU}{{service_name=\"shop\"}}")))
    );
    assert_eq!((&query["from"], &query["rows"]), (&json!(1_699_999_990_000_i64), &json!(2)));
    let clients = fixture.get("/api/v1/status/clients").await.json();
    let wires: Vec<_> =
        clients["clients"].as_array().unwrap().iter().map(|client| client["wire"].clone()).collect();
    for wire in ["ingest", "querier", "api"] {
        assert!(wires.contains(&json!(wire)), "{wires:?}");
    }
}

#[tokio::test]
async fn overload_is_answered_with_retry_after() {
    let fixture = Fixture::with(ServerConfig { max_body_bytes: 4, ..Default::default() }).await;
    let answer = fixture.post("/ingest?name=a", "", "main 1\n").await;
    assert_eq!((answer.status.as_u16(), answer.headers.contains_key("retry-after")), (503, true));
    let fixture = Fixture::with(ServerConfig { max_requests: 0, ..Default::default() }).await;
    assert_eq!(fixture.post("/ingest?name=a", "", "main 1\n").await.status, 503);
    assert_eq!(fixture.get("/ready").await.status, 200);
}
