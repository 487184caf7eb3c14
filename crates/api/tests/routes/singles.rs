//! Single profiles and spans: heatmaps, lists, and flame graphs of a part of them.

use crate::fixture::{CPU, Fixture};
use serde_json::json;

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
