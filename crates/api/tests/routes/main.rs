//! Requests against the routes of a real store, without a socket.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod fixture;
mod health;
mod otlp;
mod patience;
mod singles;

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
