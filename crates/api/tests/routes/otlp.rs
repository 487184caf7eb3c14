//! OpenTelemetry profiles: what is left out, and what is stored once.

use crate::fixture::{Fixture, NOW};
use serde_json::{Value, json};

const PATH: &str = "/v1development/profiles";

/// A resource of `service` with one profile of one sample.
fn resource(service: &str) -> Value {
    json!({
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
        "scopeProfiles": [{"profiles": [{
            "sampleType": {"typeStrindex": 1, "unitStrindex": 2},
            "samples": [{"stackIndex": 1, "values": ["7"]}],
            "timeUnixNano": NOW.to_string(),
        }]}],
    })
}

fn export(resources: &[Value]) -> Value {
    json!({
        "resourceProfiles": resources,
        "dictionary": {
            "functionTable": [{}, {"nameStrindex": 3}],
            "locationTable": [{}, {"lines": [{"functionIndex": 1}]}],
            "stringTable": ["", "wall", "nanoseconds", "main"],
            "attributeTable": [{}], "mappingTable": [{}], "linkTable": [{}],
            "stackTable": [{}, {"locationIndices": [1]}],
        },
    })
}

fn profile(resource: &mut Value) -> &mut Value {
    &mut resource["scopeProfiles"][0]["profiles"][0]
}

impl Fixture {
    /// The number of profiles that were rejected, and why.
    async fn rejected(&self, export: &Value) -> (String, String) {
        let answer = self.post(PATH, "application/json", export.to_string()).await;
        assert_eq!(answer.status, 200, "{:?}", String::from_utf8_lossy(&answer.body));
        let partial = &answer.json()["partialSuccess"];
        let text = |name: &str| partial[name].as_str().unwrap_or_default().to_owned();
        (text("rejectedProfiles"), text("errorMessage"))
    }

    async fn dropped(&self, reason: &str) -> Value {
        self.get(&format!("/api/v1/status/dropped?reason={reason}")).await.json()["dropped"].clone()
    }

    /// How many profiles `service` has.
    async fn profiles(&self, service: &str) -> usize {
        let path = format!(
            "/api/v1/profiles?query=wall:wall:nanoseconds::{{service_name=\"{service}\"}}&from=1&until={}",
            NOW / 1_000_000 + 1_000
        );
        let answer = self.get(&path).await;
        assert_eq!(answer.status, 200, "{:?}", String::from_utf8_lossy(&answer.body));
        answer.json()["profiles"].as_array().unwrap().len()
    }
}

#[tokio::test]
async fn a_profile_with_too_much_is_rejected_alone() {
    let fixture = Fixture::new().await;
    let mut large = resource("large");
    profile(&mut large)["samples"][0]["attributeIndices"] = vec![1; 101].into();
    let mut export = export(&[resource("a"), large, resource("b")]);
    export["dictionary"]["attributeTable"] = json!([{}, {"keyStrindex": 3, "value": {"stringValue": "x"}}]);
    let (rejected, message) = fixture.rejected(&export).await;
    assert!(rejected == "1" && message.contains("a sample has 101 attributes"), "{rejected} {message}");
    for (service, count) in [("a", 1), ("large", 0), ("b", 1)] {
        assert_eq!(fixture.profiles(service).await, count, "{service}");
    }
}

#[tokio::test]
async fn payloads_that_are_not_read_are_rejected() {
    let fixture = Fixture::new().await;
    let mut payload = resource("payload");
    profile(&mut payload)["samples"] = json!([]);
    profile(&mut payload)["originalPayloadFormat"] = json!("linux_perf");
    profile(&mut payload)["originalPayload"] = json!("UEVSRklMRTI");
    let (rejected, message) = fixture.rejected(&export(&[resource("a"), payload.clone()])).await;
    assert!(rejected == "1" && message.contains("\"linux_perf\", which is not read"), "{rejected} {message}");
    // "main 7", as speedscope has it.
    let file = json!({
        "$schema": "https://www.speedscope.app/file-format-schema.json", "shared": {"frames": [{"name": "main"}]},
        "profiles": [{"type": "sampled", "name": "p", "unit": "nanoseconds", "startValue": 0, "endValue": 7, "samples": [[0]], "weights": [7]}],
    });
    profile(&mut payload)["originalPayloadFormat"] = json!("speedscope");
    profile(&mut payload)["originalPayload"] = json!(crate::base64(file.to_string().as_bytes()));
    assert_eq!(fixture.rejected(&export(&[payload])).await, Default::default());
    let series = fixture.ask("Series", json!({"start": 1, "end": NOW / 1_000_000 + 1_000})).await.json();
    assert!(series.to_string().contains("\"payload\""), "{series}");
}

#[tokio::test]
async fn codings_have_names_in_any_case_and_damage_is_a_fault_of_the_export() {
    let fixture = Fixture::new().await;
    let body = export(&[resource("a")]).to_string();
    let zipped = everflame_formats::gzip::deflate(body.as_bytes());
    for (coding, body, status) in [
        ("GZIP", zipped.clone(), 200),
        ("X-GZip", zipped.clone(), 200),
        ("gzip", zipped[..zipped.len() / 2].to_vec(), 400),
        ("Identity", body.into_bytes(), 200),
        ("br", zipped, 400),
    ] {
        let request = http::Request::post(PATH).header("content-type", "application/json");
        let request = request.header("content-encoding", coding).body(body.into()).unwrap();
        let answer = fixture.send(request).await;
        assert_eq!(answer.status, status, "{coding}: {:?}", String::from_utf8_lossy(&answer.body));
    }
}

#[tokio::test]
async fn labels_that_are_left_out_are_counted() {
    let fixture = Fixture::new().await;
    let mut talkative = resource("talkative");
    let attributes = talkative["resource"]["attributes"].as_array_mut().unwrap();
    let mut attribute =
        |key: String, value: String| attributes.push(json!({"key": key, "value": {"stringValue": value}}));
    attribute("long".to_owned(), "x".repeat(3_000));
    (0..130).for_each(|at| attribute(format!("a{at}"), "v".to_owned()));
    assert_eq!(fixture.rejected(&export(&[talkative])).await, Default::default());
    // 100 are read, the service among them; of the rest that is not too long 29 stay.
    let long = fixture.dropped("label_too_long").await;
    assert!(
        long[0]["count"] == 1 && long[0]["service"] == "talkative" && long[0]["what"] == "labels",
        "{long}"
    );
    let many = fixture.dropped("too_many_labels").await;
    let count: i64 = many.as_array().unwrap().iter().filter_map(|entry| entry["count"].as_i64()).sum();
    assert_eq!(count, 32 + 98 - 29, "{many}");
    let metrics = fixture.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body);
    assert!(metrics.contains("everflame_labels_dropped_total 102\n"), "{metrics}");
}

#[tokio::test]
async fn what_is_sent_again_is_stored_once_when_its_samples_say_when_they_were_taken() {
    let fixture = Fixture::new().await;
    let mut dated = resource("dated");
    profile(&mut dated)["timeUnixNano"] = json!("0");
    profile(&mut dated)["samples"][0]["timestampsUnixNano"] = json!([(NOW - 5_000_000_000).to_string()]);
    let mut undated = dated.clone();
    undated["resource"]["attributes"][0]["value"]["stringValue"] = json!("undated");
    profile(&mut undated)["samples"][0]["timestampsUnixNano"] = json!([]);
    for (service, resource, count) in [("dated", dated, 1), ("undated", undated, 2)] {
        for _ in 0..2 {
            assert_eq!(fixture.rejected(&export(std::slice::from_ref(&resource))).await, Default::default());
        }
        assert_eq!(fixture.profiles(service).await, count, "{service}");
    }
}
