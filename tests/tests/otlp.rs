//! OpenTelemetry profiles over HTTP and gRPC, on the main port and on another.

use anyhow::{Result, ensure};
use base64::Engine as _;
use everflame_formats::{Limits, gzip, otlp};
use everflame_tests::rpc::{frame, http2};
use everflame_tests::{Server, now_ms};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

const HTTP: &str = "/v1development/profiles";
const GRPC: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

/// CPU samples of `service` at `times` (nanoseconds), 10 ms each; one of them within a span.
fn export(service: &str, start: i64, times: &[i64]) -> Value {
    let times: Vec<String> = times.iter().map(i64::to_string).collect();
    json!({
        "resourceProfiles": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}, {"key": "pod", "value": {"stringValue": "a"}}]},
            "scopeProfiles": [{"profiles": [{
                "sampleType": {"typeStrindex": 1, "unitStrindex": 2},
                "samples": [
                    {"stackIndex": 1, "timestampsUnixNano": times},
                    {"stackIndex": 2, "linkIndex": 1, "attributeIndices": [1], "values": ["1"]},
                ],
                "timeUnixNano": start.to_string(), "durationNano": "60000000000",
                "periodType": {"typeStrindex": 3, "unitStrindex": 4}, "period": "10000000",
            }]}],
        }],
        "dictionary": {
            "mappingTable": [{}], "functionTable": [{}, {"nameStrindex": 5}, {"nameStrindex": 6}],
            "locationTable": [{}, {"lines": [{"functionIndex": 1}]}, {"lines": [{"functionIndex": 2}]}],
            "linkTable": [{}, {"traceId": "000102030405060708090a0b0c0d0e0f", "spanId": "00000000000000ff"}],
            "stringTable": ["", "samples", "count", "cpu", "nanoseconds", "main", "work", "thread.name"],
            "attributeTable": [{}, {"keyStrindex": 7, "value": {"stringValue": "w1"}}],
            "stackTable": [{}, {"locationIndices": [1]}, {"locationIndices": [2, 1]}],
        },
    })
}

fn of(service: &str) -> String {
    format!("{{service_name=\"{service}\"}}")
}

fn protobuf(export: &Value) -> Result<Vec<u8>> {
    Ok(otlp::to_protobuf(export.to_string().as_bytes(), &Limits::default())?)
}

/// The status, the `grpc-status` and the message of a call of gRPC.
async fn grpc(url: &str, message: &[u8]) -> Result<(String, String, Vec<u8>)> {
    let post = http2()?.post(url).header("content-type", "application/grpc").header("te", "trailers");
    let answer: http::Response<reqwest::Body> = post.body(frame(0, message)?).send().await?.into();
    let (head, body) = answer.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let text = |name: &str| {
        let value = trailers.get(name).or(head.headers.get(name));
        value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    Ok((text("grpc-status"), text("grpc-message"), body.to_bytes().to_vec()))
}

#[tokio::test]
async fn all_wires_store_the_same() -> Result<()> {
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let server = Server::start_with(&["--extra-listen", &free.to_string()])?;
    let start = (now_ms()? - 120_000) * 1_000_000;
    let times = [start + 1_000_000_000, start + 30_000_000_000];
    let protobuf_type = [("content-type", "application/x-protobuf")];
    let json_type = [("content-type", "application/json; charset=utf-8")];
    let gzip_json = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let bytes = |service: &str| protobuf(&export(service, start, &times));
    let text = |service: &str| export(service, start, &times).to_string().into_bytes();
    ensure!(server.post(HTTP, &protobuf_type, bytes("a")?).await? == (200, String::new()));
    ensure!(server.post(HTTP, &json_type, text("b")).await? == (200, "{}".to_owned()));
    ensure!(server.post(HTTP, &gzip_json, gzip::deflate(&text("c"))).await?.0 == 200);
    ensure!(server.post(GRPC, &protobuf_type, bytes("d")?).await? == (200, String::new()));
    for (service, url) in [("e", server.url(GRPC)), ("f", format!("http://{free}{GRPC}"))] {
        let (status, message, answer) = grpc(&url, &bytes(service)?).await?;
        ensure!(status == "0" && answer == [0, 0, 0, 0, 0], "{service}: {status} {message} {answer:?}");
    }
    for service in ["a", "b", "c", "d", "e", "f"] {
        ensure!(server.totals(&of(service)).await? == [(CPU.to_owned(), 30_000_000)].into(), "{service}");
        let mut labels = server.label_sets(&of(service)).await?;
        labels.sort();
        ensure!(
            labels
                == [
                    format!("pod=a service_name={service}"),
                    format!("pod=a service_name={service} thread.name=w1")
                ],
            "{labels:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn times_spans_and_retries() -> Result<()> {
    let server = Server::start()?;
    let start = (now_ms()? / 60_000 - 3) * 60_000 * 1_000_000;
    let times = [start + 1_000_000_000, start + 31_000_000_000, start + 31_000_000_001];
    let body = protobuf(&export("shop", start, &times))?;
    for _ in 0..3 {
        ensure!(
            server.post(HTTP, &[("content-type", "application/x-protobuf")], body.clone()).await?.0 == 200
        );
    }
    // Each sample where it was taken; the one without a time at the start of the profile.
    let request = json!({
        "profileTypeID": CPU, "labelSelector": of("shop"), "start": start / 1_000_000, "end": start / 1_000_000 + 60_000, "step": 15.0,
    });
    let answer = server.connect("querier.v1.QuerierService/SelectSeries", &request).await?;
    let points: Vec<(i64, f64)> = answer["series"][0]["points"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|point| {
            let time: i64 =
                point["timestamp"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
            (time - start / 1_000_000, point["value"].as_f64().unwrap_or_default())
        })
        .collect();
    ensure!(points == [(0, 1e7), (15_000, 1e7), (45_000, 2e7)], "{answer}");
    let span = json!({
        "profileTypeID": CPU, "labelSelector": of("shop"), "start": 1, "end": 4_000_000_000_000_i64, "spanSelector": ["00000000000000ff"],
    });
    let answer = server.connect("querier.v1.QuerierService/SelectMergeStacktraces", &span).await?;
    ensure!(answer["flamegraph"]["total"] == "10000000", "{answer}");
    Ok(())
}

/// A name that all profiles share is kept once for each service: here a gibibyte of a few mebibytes.
#[tokio::test]
async fn what_grows_beyond_all_bounds_is_refused() -> Result<()> {
    let server = Server::start()?;
    let start = (now_ms()? - 60_000) * 1_000_000;
    let mut large = export("service-0", start, &[]);
    large["dictionary"]["stringTable"][6] = json!("x".repeat(60_000));
    let one = large["resourceProfiles"][0].clone();
    let of_service = |number: usize| {
        let mut resource = one.clone();
        resource["resource"]["attributes"][0]["value"]["stringValue"] = json!(format!("service-{number}"));
        resource
    };
    large["resourceProfiles"] = (0..18_000).map(of_service).collect();
    let body = protobuf(&large)?;
    ensure!(body.len() < 8 << 20, "{}", body.len());
    let expect = "have frames and names of more than 100663296 bytes up to here; send fewer at once";
    for content_type in ["application/x-protobuf", "application/json"] {
        let body = if content_type.ends_with("json") { large.to_string().into_bytes() } else { body.clone() };
        let (status, answer) = server.post(HTTP, &[("content-type", content_type)], body).await?;
        ensure!(status == 413 && answer.contains(expect), "{content_type}: {status} {answer}");
    }
    let (status, message, answer) = grpc(&server.url(GRPC), &body).await?;
    ensure!(
        status == "8" && message.contains("send%20fewer") | message.contains(expect),
        "{status} {message}"
    );
    ensure!(answer.is_empty());
    // None of the services that would have fitted is there, and the process is as large as one refused export.
    ensure!(server.label_sets("{}").await?.is_empty());
    let peak = server.peak_memory()?;
    eprintln!("{peak} bytes at the peak");
    ensure!(peak < 768 << 20, "{peak} bytes at the peak");
    large["resourceProfiles"] = (0..3).map(of_service).collect();
    let answer = server.post(HTTP, &[("content-type", "application/x-protobuf")], protobuf(&large)?).await?;
    ensure!(answer == (200, String::new()), "{answer:?}");
    ensure!(server.label_sets("{}").await?.len() == 3);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_read_is_said() -> Result<()> {
    let server = Server::start()?;
    let start = (now_ms()? - 60_000) * 1_000_000;
    // A second profile refers to a stack that is not there: the first is stored.
    let mut half = export("half", start, &[]);
    let profiles = &mut half["resourceProfiles"][0]["scopeProfiles"][0]["profiles"];
    let mut broken = profiles[0].clone();
    broken["samples"][0]["stackIndex"] = json!(99);
    if let Some(profiles) = profiles.as_array_mut() {
        profiles.push(broken);
    }
    let (status, text) =
        server.post(HTTP, &[("content-type", "application/json")], half.to_string().into_bytes()).await?;
    let answer: Value = serde_json::from_str(&text)?;
    ensure!(status == 200 && answer["partialSuccess"]["rejectedProfiles"] == "1", "{status} {text}");
    ensure!(
        answer["partialSuccess"]["errorMessage"]
            .as_str()
            .is_some_and(|message| message.contains("profile 1: it refers to stack 99")),
        "{text}"
    );
    ensure!(server.totals(&of("half")).await?.contains_key(CPU));

    for (content_type, body, expect) in [
        ("application/x-protobuf", &b"nonsense"[..], 400),
        ("application/json", b"nonsense", 400),
        ("application/json", b"", 400),
        ("application/x-protobuf", b"", 200),
        ("application/json", b"{}", 200),
        ("text/plain", b"", 415),
    ] {
        let (status, text) = server.post(HTTP, &[("content-type", content_type)], body.to_vec()).await?;
        ensure!(status == expect, "{content_type} {body:?}: {status} {text}");
        if expect == 400 && content_type.ends_with("json") {
            let error: Value = serde_json::from_str(&text)?;
            ensure!(error["code"] == 3 && error["message"].is_string(), "{text}");
        }
    }
    ensure!(server.get(HTTP, &[]).await?.0 == 405);
    let (status, message, _) = grpc(&server.url(GRPC), b"nonsense").await?;
    ensure!(status == "3", "{status} {message}");
    // All of it wrong is no success in part.
    let mut wrong = export("wrong", start, &[]);
    wrong["resourceProfiles"][0]["scopeProfiles"][0]["profiles"][0]["samples"][0]["stackIndex"] = json!(99);
    let (status, message, _) = grpc(&server.url(GRPC), &protobuf(&wrong)?).await?;
    ensure!(status == "3" && message.contains("stack"), "{status} {message}");
    ensure!(server.totals(&of("wrong")).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_export_is_looked_at_ad_hoc() -> Result<()> {
    let server = Server::start()?;
    let start = now_ms()? * 1_000_000;
    let export = export("shop", start, &[start, start + 1_000_000_000]);
    for file in [export.to_string().into_bytes(), protobuf(&export)?] {
        let upload =
            json!({"name": "export", "profile": base64::engine::general_purpose::STANDARD.encode(&file)});
        let found = server.connect("adhocprofiles.v1.AdHocProfileService/Upload", &upload).await?;
        let graph: Value = serde_json::from_str(found["flamebearerProfile"].as_str().unwrap_or_default())?;
        let names = &graph["flamebearer"]["names"];
        ensure!(*names == json!(["total", "main", "work"]), "{found}");
    }
    Ok(())
}
