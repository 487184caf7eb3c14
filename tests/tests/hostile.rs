//! Bytes of strangers: whatever is sent is refused with the right status and a message that helps, or
//! taken within bounds. Nothing of a refused upload is stored, memory stays bounded, and the server goes on.

use anyhow::{Context, Result, ensure};
use everflame_formats::gzip;
use everflame_tests::{
    Message, Server, UPLOAD_TYPE, Upload, check_uploads, now_ms, pprof, push_message, stored_uploads,
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

const MIB: usize = 1 << 20;
/// Peak memory of the server over everything below.
const MOST_MEMORY_KIB: u64 = 600 << 10;
const TRIES: usize = 9;
const INGEST: &str = "/ingest?format=pprof&name=hostile";
const PUSH: &str = "/push.v1.PusherService/Push";
const STACKS: &str = "/querier.v1.QuerierService/SelectMergeStacktraces";
const LABELS: [(&str, &str); 2] = [("__name__", "process_cpu"), ("service_name", "hostile")];

/// A request and how it must be refused.
struct Case {
    name: String,
    request: RequestBuilder,
    status: u16,
    code: &'static str,
    /// Parts of the message: the place, and what to do.
    says: [&'static str; 2],
}

struct Cases<'a> {
    server: &'a Server,
    /// Every request has a connection of its own.
    http: reqwest::Client,
    list: Vec<Case>,
}

impl Cases<'_> {
    fn add(
        &mut self,
        name: impl Into<String>,
        request: RequestBuilder,
        status: u16,
        code: &'static str,
        says: [&'static str; 2],
    ) {
        self.list.push(Case { name: name.into(), request, status, code, says });
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.server.url(path))
    }

    fn push(&self, message: Vec<u8>) -> RequestBuilder {
        self.request(Method::POST, PUSH).header("content-type", "application/proto").body(message)
    }

    /// The same profile by both ways: `/ingest` says 422 or 413, Push always 400.
    fn profile(
        &mut self,
        name: &str,
        profile: Vec<u8>,
        status: u16,
        code: &'static str,
        says: [&'static str; 2],
    ) {
        let push = self.push(push_message(&LABELS, "", &profile));
        self.add(format!("{name}, pushed"), push, 400, "invalid_argument", says);
        let ingest = self.request(Method::POST, INGEST).body(profile);
        self.add(format!("{name}, ingested"), ingest, status, code, says);
    }

    fn stacks(&mut self, name: &str, change: Value, says: [&'static str; 2]) {
        let mut request = json!({"profileTypeID": UPLOAD_TYPE, "labelSelector": "{}", "start": 1, "end": 2});
        if let (Some(request), Some(change)) = (request.as_object_mut(), change.as_object()) {
            request.extend(change.clone());
        }
        let request = self.request(Method::POST, STACKS).json(&request);
        self.add(name, request, 400, "invalid_argument", says);
    }
}

#[tokio::test]
async fn everything_hostile_is_refused_with_place_and_remedy() -> Result<()> {
    let server = Server::start()?;
    let kept = Upload::new(1, now_ms()? * 1_000_000, 0);
    let answer = everflame_tests::push(server.http(), server.base(), kept.message()).await?;
    ensure!(answer.status().is_success(), "{}", answer.text().await?);
    let before = series(&server).await?;

    let http = reqwest::Client::builder().pool_max_idle_per_host(0).build()?;
    let mut cases = Cases { server: &server, http, list: Vec::new() };
    bodies(&mut cases)?;
    profiles(&mut cases)?;
    labels_and_names(&mut cases);
    queries(&mut cases);
    methods(&mut cases);
    let mut faults = Vec::new();
    let count = cases.list.len();
    for case in cases.list {
        let name = case.name.clone();
        if let Err(error) = check(case).await {
            faults.push(format!("{name}: {error:#}"));
        }
        ensure!(server_is_up(&server).await, "{name} ended the server:\n{}", server.stderr());
    }
    ensure!(faults.is_empty(), "{} of {count} cases:\n{}", faults.len(), faults.join("\n"));

    ensure!(series(&server).await? == before, "a refused upload left a series behind");
    check_uploads(&server, &[kept], &[]).await?;
    ensure!(!server.stderr().contains("panicked"), "{}", server.stderr());
    let memory = peak_memory_kib(&server)?;
    ensure!(memory < MOST_MEMORY_KIB, "the server took {memory} KiB");
    eprintln!("{count} requests refused, {memory} KiB at the peak");
    Ok(())
}

#[tokio::test]
async fn what_is_odd_but_legal_is_taken_within_bounds() -> Result<()> {
    let server = Server::start()?;
    let now = now_ms()? * 1_000_000;
    let push = async |profile: Vec<u8>, labels: &[(&str, &str)]| {
        let message = push_message(labels, "", &profile);
        let answer = everflame_tests::push(server.http(), server.base(), message).await?;
        let status = answer.status();
        ensure!(status.is_success(), "{status} {}", answer.text().await?);
        Ok(())
    };
    let uploads = [("__name__", "process_cpu"), ("service_name", "uploads")];

    // Root first, as they are named; deeper frames than are kept are cut on the side of the leaf.
    let names: Vec<String> = (0..10_000).map(|depth| format!("depth_{depth}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let frames: Vec<u64> = (1..=10_000).rev().collect();
    push(pprof(now, &[(&frames, 7, "")], &names), &uploads).await.context("a deep stack")?;
    let stored = stored_uploads(&server).await?;
    ensure!(stored.contains_key("depth_0") && !stored.contains_key("depth_9999"), "not cut at the leaf");
    ensure!(stored.values().sum::<i64>() == 7, "{stored:?}");

    // Each sample its own label value: the label goes, not the samples.
    let values: Vec<String> = (0..10_000).map(|n| format!("value-{n}")).collect();
    let samples: Vec<(&[u64], i64, &str)> =
        values.iter().map(|value| (&[1_u64][..], 1, value.as_str())).collect();
    push(pprof(now, &samples, &["many_labels"]), &uploads).await.context("many label values")?;
    ensure!(stored_uploads(&server).await?.get("many_labels") == Some(&10_000), "samples were lost");
    let count = series(&server).await?.len();
    ensure!(count <= 64, "{count} series of one upload");

    // Markup is text like any other, on every way out.
    let markup = "<script>alert(1)</script>";
    let labels = [("__name__", "process_cpu"), ("service_name", "uploads"), ("page", markup)];
    push(pprof(now, &[(&[1], 3, "")], &[markup]), &labels).await.context("markup")?;
    ensure!(stored_uploads(&server).await?.get(markup) == Some(&3), "markup was changed");
    let query = [("query", format!("{UPLOAD_TYPE}{{service_name=\"uploads\"}}")), ("from", "now-1h".into())];
    for path in ["/pyroscope/render", "/api/v1/status", "/metrics", "/%3Cscript%3E"] {
        let answer = server.http().get(server.url(path)).query(&query).send().await?;
        let content_type = answer.headers().get("content-type").context("no content type")?.to_str()?;
        ensure!(!content_type.contains("html"), "{path} is {content_type}");
    }
    ensure!(!server.stderr().contains("panicked"), "{}", server.stderr());
    let memory = peak_memory_kib(&server)?;
    ensure!(memory < MOST_MEMORY_KIB, "the server took {memory} KiB");
    Ok(())
}

/// Bodies that are not what they say, or too much.
fn bodies(cases: &mut Cases<'_>) -> Result<()> {
    let profile = small_profile()?;
    let zipped = gzip::deflate(&profile);
    let cut = zipped.get(..zipped.len() / 2).context("half")?.to_vec();
    let mut damaged = zipped.clone();
    for byte in damaged.iter_mut().skip(12).take(20) {
        *byte ^= 0x5a;
    }
    let not_whole = ["gzip", "send the whole body"];
    cases.profile("truncated gzip", cut.clone(), 422, "invalid_argument", not_whole);
    cases.profile("damaged gzip", damaged, 422, "invalid_argument", not_whole);
    cases.profile("nothing but a gzip magic", vec![0x1f, 0x8b], 422, "invalid_argument", not_whole);
    for (path, status) in [(INGEST, 422), (PUSH, 400)] {
        let request = cases.request(Method::POST, path).header("content-encoding", "gzip");
        let request = request.header("content-type", "application/proto").body(cut.clone());
        cases.add(
            format!("truncated content encoding, {path}"),
            request,
            status,
            "invalid_argument",
            not_whole,
        );
    }
    let shorter = ["larger than", "send a shorter span"];
    for (name, bomb) in [("many members", member_bomb()), ("one member", single_bomb())] {
        cases.profile(&format!("bomb of {name}"), bomb.clone(), 413, "resource_exhausted", shorter);
        for (path, status) in [(INGEST, 413), (PUSH, 429)] {
            let request = cases.request(Method::POST, path).header("content-encoding", "gzip");
            let request = request.header("content-type", "application/proto").body(bomb.clone());
            cases.add(
                format!("bomb of {name} as content encoding, {path}"),
                request,
                status,
                "resource_exhausted",
                shorter,
            );
        }
    }
    let large = vec![b'a'; 257 * MIB];
    let request = cases.request(Method::POST, INGEST).body(large);
    cases.add("body over the limit", request, 413, "resource_exhausted", shorter);
    Ok(())
}

/// Protobuf that is no profile.
fn profiles(cases: &mut Cases<'_>) -> Result<()> {
    let now = now_ms()? * 1_000_000;
    let garbage: Vec<u8> =
        (0..5000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x80).collect();
    cases.profile("protobuf garbage", garbage, 422, "invalid_argument", ["pprof", ";"]);
    let profile = small_profile()?;
    let half = profile.get(..profile.len() / 2).context("half")?.to_vec();
    cases.profile("half a profile", half, 422, "invalid_argument", ["pprof", ";"]);
    cases.profile("a text", b"main;work 1\n".to_vec(), 422, "invalid_argument", ["pprof", ";"]);
    let nowhere = pprof(now, &[(&[77], 1, "")], &["main"]);
    cases.profile("a missing location", nowhere, 422, "invalid_argument", ["location 77", ";"]);
    let two_values = Message::new()
        .bytes(1, Message::new().number(1, 1).number(2, 2))
        .bytes(2, Message::new().packed(2, [1, 2]))
        .bytes(6, "")
        .bytes(6, "samples")
        .bytes(6, "count")
        .finish();
    cases.profile("two values for one type", two_values, 422, "invalid_argument", ["sample 0", ";"]);
    let no_string = Message::new().bytes(1, Message::new().number(1, 99)).bytes(6, "").finish();
    cases.profile("a missing string", no_string, 422, "invalid_argument", ["string", ";"]);
    let future = pprof(now + 86_400_000_000_000, &[(&[1], 1, "")], &["main"]);
    cases.profile("from tomorrow", future, 422, "invalid_argument", ["in the future", "clock"]);

    let mut samples = Message::new().bytes(1, Message::new().number(1, 1).number(2, 2)).finish();
    let sample = Message::new().bytes(2, Message::new().packed(1, [1]).packed(2, [1])).finish();
    samples.extend(sample.repeat(1_000_001));
    samples.extend(Message::new().bytes(4, Message::new().number(1, 1)).bytes(6, "").finish());
    cases.profile("a million samples and one", samples, 413, "resource_exhausted", ["sample", ";"]);
    // Two bytes each, which would become tables many times as large.
    for (field, name) in [(2, "samples"), (4, "locations"), (5, "functions"), (6, "strings")] {
        let empty = Message::new().bytes(field, "").finish().repeat(30 * MIB / 2);
        let message = push_message(&LABELS, "", &empty);
        cases.add(format!("empty {name}"), cases.push(message), 400, "invalid_argument", ["pprof", ";"]);
    }
    let series = Message::new().bytes(1, "").finish().repeat(4 * MIB);
    cases.add("empty series in a Push", cases.push(series), 400, "invalid_argument", ["limit", ""]);
    Ok(())
}

/// Labels and application names.
fn labels_and_names(cases: &mut Cases<'_>) {
    let profile = small_profile().unwrap_or_default();
    let numbers: Vec<String> = (0..10_000).map(|n| format!("label_{n}")).collect();
    let mut many = LABELS.to_vec();
    many.extend(numbers.iter().map(|name| (name.as_str(), "x")));
    let (long_name, long_value) = ("n".repeat(1025), "v".repeat(2049));
    let with = |name, value| [LABELS[0], LABELS[1], (name, value)];
    for (name, labels, says) in [
        ("10,000 labels", &many[..], ["labels", ";"]),
        ("a long name", &with(&long_name, "x"), ["label", ";"]),
        ("a long value", &with("x", &long_value), ["label", ";"]),
        ("a label twice", &with("service_name", "other"), ["service_name", ";"]),
        ("no name of a label", &with("", "x"), ["label", ";"]),
        ("no __name__", &LABELS[1..], ["__name__", ";"]),
        ("no labels", &[], ["__name__", ";"]),
    ] {
        let request = cases.push(push_message(labels, "", &profile));
        cases.add(format!("labels: {name}"), request, 400, "invalid_argument", says);
    }
    let pair = Message::new().bytes(1, [0xff, 0xfe]).bytes(2, "x");
    let series = Message::new().bytes(1, pair).bytes(2, Message::new().bytes(1, &profile));
    let request = cases.push(Message::new().bytes(1, series).finish());
    cases.add("labels: not UTF-8", request, 400, "invalid_argument", ["", ""]);
    for (name, says) in [
        ("%3Cscript%3Ealert(1)%3C/script%3E", ["name", ";"]),
        ("a%0d%0aSet-Cookie:x", ["name", ";"]),
        ("", ["name", ";"]),
        ("app%7B%3Cb%3E=1%7D", ["name", ";"]),
    ] {
        let request = cases.request(Method::POST, &format!("/ingest?format=pprof&name={name}"));
        cases.add(format!("name {name:?}"), request.body(profile.clone()), 400, "invalid_argument", says);
    }
    for time in ["garbage", "99999999999999999999", "now-"] {
        for field in ["from", "until"] {
            let request = cases.request(Method::POST, &format!("{INGEST}&{field}={time}"));
            let request = request.body(profile.clone());
            cases.add(format!("{field}={time}"), request, 400, "invalid_argument", [field, ";"]);
        }
    }
}

/// Selectors, times and ids of queries.
fn queries(cases: &mut Cases<'_>) {
    let deep = format!("{{a=~\"{}{}\"}}", "(".repeat(5000), ")".repeat(5000));
    let large = "{a=~\"((((x{100}){100}){100}){100})\"}";
    for selector in
        ["", "{", "{a=}", "{a=\"b\"", "{a=~\"(\"}", "{a==\"b\"}", "a=\"b\"", "{<b>=\"x\"}", large, &deep]
    {
        let name: String = format!("selector {selector}").chars().take(60).collect();
        cases.stacks(&name, json!({"labelSelector": selector}), ["label_selector", ""]);
    }
    for id in ["", "process_cpu", "a:b:c", "::::", "<b>:a:b:c:d:e:f:g"] {
        cases.stacks(&format!("type {id:?}"), json!({"profileTypeID": id}), ["type", ""]);
    }
    for (times, says) in [
        (json!({"start": 0}), ["start", "milliseconds"]),
        (json!({"end": -5}), ["end", "milliseconds"]),
        (json!({"start": 9, "end": 3}), ["start", "swap"]),
    ] {
        cases.stacks(&format!("times {times}"), times, says);
    }
    cases.stacks("a time in words", json!({"start": "yesterday"}), ["", ""]);
    cases.stacks("a time beyond 64 bits", json!({"end": 1e300}), ["", ""]);
    for nodes in [-1_i64, 1 << 21] {
        cases.stacks(&format!("max nodes {nodes}"), json!({"maxNodes": nodes}), ["max_nodes", "send"]);
    }
    for field in ["profileIdSelector", "spanSelector", "traceIdSelector"] {
        cases.stacks(
            &format!("{field} no id"),
            json!({field: ["<b>no id</b>"]}),
            ["selector", "hexadecimal"],
        );
    }
    for body in ["", "{", "[]", "null", "{\"start\": {}}"] {
        let request = cases.request(Method::POST, STACKS).header("content-type", "application/json");
        cases.add(format!("JSON {body:?}"), request.body(body), 400, "invalid_argument", ["", ""]);
    }
    let nested = "[".repeat(100_000);
    let request = cases.request(Method::POST, STACKS).header("content-type", "application/json");
    let request = request.body(format!("{{\"x\":{nested}"));
    cases.add("JSON, deeply nested", request, 400, "invalid_argument", ["", ""]);
    for (query, says) in [
        ("", ["query", ";"]),
        ("?query=%7B%7D", ["query", ";"]),
        ("?query=process_cpu:cpu%7Ba=", ["query", ";"]),
        ("?query=process_cpu:samples:count:cpu:nanoseconds%7B%7D&from=garbage", ["from", ";"]),
    ] {
        let request = cases.request(Method::GET, &format!("/pyroscope/render{query}"));
        cases.add(format!("render {query}"), request, 400, "invalid_argument", says);
    }
}

/// Methods and paths that are not there.
fn methods(cases: &mut Cases<'_>) {
    for (method, path, status, code, says) in [
        (Method::GET, "/ingest", 405, "unimplemented", ["/ingest", "Allow"]),
        (Method::DELETE, "/pyroscope/render", 405, "unimplemented", ["/pyroscope/render", "Allow"]),
        (Method::POST, "/nothing/<here>", 404, "not_found", ["/nothing/", "/ingest"]),
        (Method::GET, "/..%2f..%2fetc/passwd", 404, "not_found", ["passwd", "/ingest"]),
        (Method::POST, "/nothing.v1.Service/Method", 404, "not_found", ["Method", "/ingest"]),
        (Method::PUT, PUSH, 405, "unimplemented", [PUSH, "send POST"]),
        (Method::GET, STACKS, 405, "unimplemented", [STACKS, "send POST"]),
        (Method::POST, STACKS, 415, "invalid_argument", [STACKS, "application/json"]),
    ] {
        let request = cases.request(method.clone(), path);
        cases.add(format!("{method} {path}"), request, status, code, says);
    }
    let unknown = cases.request(Method::POST, "/querier.v1.QuerierService/Nothing").json(&json!({}));
    cases.add("an RPC that is not there", unknown, 404, "unimplemented", ["QuerierService/Nothing", ""]);
}

async fn check(case: Case) -> Result<()> {
    let mut answer = fresh(&case.request)?.send().await;
    for _ in 0..TRIES {
        // The server ends the connection while the body is still on its way; whether a client then sees
        // the answer or a broken connection depends on which it looks at first.
        if case.status != 413 || answer.is_ok() {
            break;
        }
        answer = fresh(&case.request)?.send().await;
    }
    let answer = answer.context("no answer")?;
    let status = answer.status().as_u16();
    let content_type = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
    let is_json = content_type.is_some_and(|value| value.starts_with("application/json"));
    let text = answer.text().await?;
    let shown: String = text.chars().take(300).collect();
    ensure!(status == case.status, "{status} instead of {}: {shown}", case.status);
    ensure!(is_json, "not JSON: {shown}");
    ensure!(text.len() < 4096, "an answer of {} bytes: {shown}", text.len());
    let body: Value = serde_json::from_str(&text).with_context(|| shown.clone())?;
    ensure!(body["code"] == case.code, "not {}: {shown}", case.code);
    let message = body["message"].as_str().unwrap_or_default();
    ensure!(!message.is_empty(), "no message: {shown}");
    for part in case.says {
        ensure!(message.contains(part), "{part:?} is not in: {shown}");
    }
    Ok(())
}

fn fresh(request: &RequestBuilder) -> Result<RequestBuilder> {
    request.try_clone().context("the body cannot be sent twice")
}

fn small_profile() -> Result<Vec<u8>> {
    Ok(pprof(now_ms()? * 1_000_000, &[(&[1, 2], 5, "")], &["work", "main"]))
}

/// Gzip members that are 1 GiB of zeros together, a thousand to one.
fn member_bomb() -> Vec<u8> {
    gzip::deflate(&vec![0; 16 * MIB]).repeat(64)
}

/// One gzip member that is 1 GiB of zeros, 160 to one, so that no bound on the ratio notices. The code of
/// "repeat the last byte 258 times" has 13 bits; eight of them are 13 bytes.
fn single_bomb() -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let (mut bits, mut filled) = (0_u32, 0);
    let mut put = |bytes: &mut Vec<u8>, code: &str| {
        for bit in code.bytes() {
            bits |= u32::from(bit == b'1') << filled;
            filled += 1;
            if filled == 8 {
                bytes.push(bits as u8);
                (bits, filled) = (0, 0);
            }
        }
    };
    // Last block, fixed codes, the byte 0; after 11 bits the repeats begin in the middle of a byte.
    put(&mut bytes, concat!("1", "10", "00110000"));
    let repeat = concat!("11000101", "00000");
    let start = bytes.len();
    for _ in 0..8 {
        put(&mut bytes, repeat);
    }
    let eight = bytes.get(start..).unwrap_or_default().to_vec();
    bytes.extend(eight.repeat((1 << 30) / 258 / 8));
    put(&mut bytes, concat!("0000000", "00000"));
    bytes.extend([0; 4]);
    bytes.extend((1_u32 << 30).to_le_bytes());
    bytes
}

async fn series(server: &Server) -> Result<Vec<String>> {
    let end = now_ms()? + 600_000;
    let request = json!({"matchers": [], "labelNames": [], "start": 1, "end": end});
    let answer = server.connect("querier.v1.QuerierService/Series", &request).await?;
    let mut labels: Vec<String> =
        answer["labelsSet"].as_array().into_iter().flatten().map(Value::to_string).collect();
    labels.sort();
    Ok(labels)
}

/// Over a connection of its own: others may have been ended with the answer.
async fn server_is_up(server: &Server) -> bool {
    matches!(reqwest::get(server.url("/ready")).await, Ok(answer) if answer.status().is_success())
}

/// `VmHWM` of the server.
fn peak_memory_kib(server: &Server) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
