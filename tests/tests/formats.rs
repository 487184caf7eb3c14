//! `/ingest` with formats that say themselves what they measure, and binary call trees; and the forms that
//! answers can have.

use anyhow::{Context, Result, ensure};
use everflame_formats::gzip;
use everflame_tests::{Message, Server};
use serde_json::json;

const SCHEMA: &str = "https://www.speedscope.app/file-format-schema.json";

fn ingest(params: &[(&str, &str)]) -> Result<String> {
    let url = reqwest::Url::parse_with_params("http://x/ingest", params)?;
    Ok(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
}

fn of(service: &str) -> String {
    format!("{{service_name=\"{service}\"}}")
}

/// Types and totals of a service, one a line.
async fn totals(server: &Server, service: &str) -> Result<Vec<String>> {
    let totals = server.totals(&of(service)).await?;
    Ok(totals.into_iter().map(|(profile_type, total)| format!("{profile_type} {total}")).collect())
}

#[tokio::test]
async fn trees_and_tries() -> Result<()> {
    let server = Server::start()?;
    let tree = b"\x00\x00\x01\x04main\x00\x02\x04work\x03\x00\x04idle\x01\x00".to_vec();
    let trie = b"\x00\x00\x01\x05main;\x00\x02\x04work\x03\x00\x04idle\x01\x00".to_vec();
    for (service, format, content_type, body) in [
        ("a", "tree", "", tree.clone()),
        ("b", "trie", "", trie.clone()),
        ("c", "", "binary/octet-stream+tree", tree.clone()),
        ("d", "", "binary/octet-stream+trie", trie.clone()),
        ("e", "tree", "", gzip::deflate(&tree)),
    ] {
        let path =
            ingest(&[("name", &format!("{service}.cpu")), ("format", format), ("sampleRate", "1000")])?;
        let answer = server.post(&path, &[("content-type", content_type)], body).await?;
        ensure!(answer == (200, String::new()), "{service}: {answer:?}");
        let expect = ["process_cpu:cpu:nanoseconds:cpu:nanoseconds 4000000"];
        ensure!(totals(&server, service).await? == expect, "{service}");
    }
    let bytes = ingest(&[("name", "f.alloc_space"), ("format", "tree")])?;
    ensure!(server.post(&bytes, &[], tree.clone()).await?.0 == 200);
    ensure!(totals(&server, "f").await? == ["memory:alloc_space:bytes:: 4"]);
    for (format, body) in [("tree", &tree[..9]), ("trie", &trie[..9]), ("tree", b"\x00\x00\x01")] {
        let path = ingest(&[("name", "g"), ("format", format)])?;
        let (status, text) = server.post(&path, &[], body.to_vec()).await?;
        ensure!(status == 422 && text.contains(format), "{status} {text}");
    }
    ensure!(totals(&server, "g").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn speedscope_units_and_suffixes() -> Result<()> {
    let server = Server::start()?;
    let profile = |name: &str, unit: &str| {
        json!({"type": "sampled", "name": name, "unit": unit, "startValue": 0, "endValue": 3,
               "samples": [[0], [0, 1]], "weights": [1, 2]})
    };
    let file = |profiles: &[serde_json::Value]| {
        json!({"$schema": SCHEMA, "shared": {"frames": [{"name": "a"}, {"name": "b"}]}, "profiles": profiles})
            .to_string()
            .into_bytes()
    };
    let several = [profile("one", "milliseconds"), profile("two", "bytes"), profile("three", "none")];
    let path = ingest(&[("name", "several"), ("format", "speedscope")])?;
    ensure!(server.post(&path, &[], file(&several)).await? == (200, String::new()));
    ensure!(
        totals(&server, "several").await?
            == [
                "memory:samples:bytes:: 3",
                "process_cpu:samples:count:: 3",
                "wall:wall:nanoseconds:cpu:nanoseconds 3000000",
            ]
    );
    let labels = server.label_sets(&of("several")).await?;
    ensure!(labels.iter().any(|set| set.contains("profile_name=two")), "{labels:?}");
    for (name, unit, expect) in [
        ("s1.cpu", "seconds", "process_cpu:cpu:nanoseconds:cpu:nanoseconds 3000000000"),
        ("s2.inuse_space", "bytes", "memory:inuse_space:bytes:: 3"),
        ("s3.cpu", "none", "process_cpu:cpu:nanoseconds:cpu:nanoseconds 30000000"),
        // What does not fit is decided by the unit.
        ("s4.cpu", "bytes", "memory:samples:bytes:: 3"),
    ] {
        let path = ingest(&[("name", name), ("format", "speedscope")])?;
        ensure!(server.post(&path, &[], file(&[profile("", unit)])).await?.0 == 200, "{name}");
        let service = name.split('.').next().unwrap_or_default();
        ensure!(totals(&server, service).await? == [expect], "{name}: {:?}", totals(&server, service).await?);
    }
    let (status, text) = server.post(&path, &[], b"{}".to_vec()).await?;
    ensure!(status == 422 && text.contains("speedscope"), "{status} {text}");
    Ok(())
}

fn recording(name: &str) -> Result<Vec<u8>> {
    let path = format!("{}/../crates/formats/tests/fixtures/jfr/{name}.jfr.gz", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).context(path)
}

#[tokio::test]
async fn recordings_alone_and_with_labels() -> Result<()> {
    let server = Server::start()?;
    let bytes = recording("async-profiler-2.9")?;
    let expect = [
        "block:contentions:count:block:count 13",
        "block:delay:nanoseconds:block:count 332947518",
        "memory:alloc_in_new_tlab_bytes:bytes:space:bytes 13194352",
        "memory:alloc_in_new_tlab_objects:count:space:bytes 5",
        "mutex:contentions:count:mutex:count 13",
        "mutex:delay:nanoseconds:mutex:count 366410847",
    ];
    let raw = [
        ("name", "raw.app"),
        ("format", "jfr"),
        ("sampleRate", "50"),
        ("spyName", "javaspy"),
        ("from", "now-20s"),
        ("until", "now-10s"),
    ];
    ensure!(server.post(&ingest(&raw)?, &[], bytes.clone()).await? == (200, String::new()));
    let found = totals(&server, "raw.app").await?;
    ensure!(found[..6] == expect, "{found:?}");
    ensure!(found[6] == "process_cpu:cpu:nanoseconds:cpu:nanoseconds 280000000", "{found:?}");
    ensure!(
        server.label_sets(&of("raw.app")).await?
            == ["jfr_event=itimer pyroscope_spy=javaspy service_name=raw.app"]
    );
    // contexts {7: {labels {1: 2}}}, strings {1: region, 2: eu}: nothing in the recording is in context 7.
    let entry = |key: u64, value: Message| Message::new().number(1, key).bytes(2, value.finish());
    let text = |id: u64, text: &str| Message::new().number(1, id).bytes(2, text);
    let labels = Message::new()
        .bytes(
            1,
            entry(7, Message::new().bytes(1, Message::new().number(1, 1).number(2, 2).finish())).finish(),
        )
        .bytes(2, text(1, "region").finish())
        .bytes(2, text(2, "eu").finish())
        .finish();
    let mut body = Vec::new();
    for (name, content) in [("jfr", &bytes), ("labels", &gzip::deflate(&labels))] {
        body.extend(
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n")
                .bytes(),
        );
        body.extend(content);
        body.extend(b"\r\n");
    }
    body.extend(b"--x--\r\n");
    let multipart = [("content-type", "multipart/form-data; boundary=x")];
    let path = ingest(&[("name", "parts{a=1}"), ("format", "jfr")])?;
    ensure!(server.post(&path, &multipart, body).await? == (200, String::new()));
    let found = totals(&server, "parts").await?;
    ensure!(found[..6] == expect && found[6].ends_with(" 70000000"), "{found:?}");
    let (status, text) = server.post(&path, &[], bytes[..900].to_vec()).await?;
    ensure!(status == 422, "{status} {text}");
    let (status, text) = server
        .post(&path, &multipart, b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--x--".to_vec())
        .await?;
    ensure!(status == 422 && text.contains("no part is called jfr"), "{status} {text}");
    Ok(())
}

#[tokio::test]
async fn perf_v8_and_firefox() -> Result<()> {
    let server = Server::start()?;
    let perf =
        "burn 41 1.5: 10101010 cpu-clock:\n\t113b fib+0x12 (/bin/burn)\n\t1152 main+0x9 (/bin/burn)\n\n";
    let frame = |name: &str| json!({"functionName": name, "scriptId": "1", "url": "app.js", "lineNumber": 1, "columnNumber": 1});
    let v8 = json!({
        "nodes": [{"id": 1, "callFrame": frame("(root)"), "children": [2]}, {"id": 2, "callFrame": frame("work")}],
        "startTime": 0, "endTime": 50, "samples": [2, 2], "timeDeltas": [10, 20],
    });
    let firefox = json!({
        "meta": {"interval": 1, "startTime": 0}, "threads": [{
            "name": "GeckoMain", "samples": {"stack": [0, 0, null], "weight": null, "weightType": "samples"},
            "stringArray": ["main"], "funcTable": {"name": [0]}, "frameTable": {"func": [0]},
            "stackTable": {"frame": [0], "prefix": [null]},
        }],
    });
    for (format, body, expect) in [
        (
            "perf_script",
            perf.to_owned(),
            &[
                "process_cpu:cpu:nanoseconds:cpu:nanoseconds 10101010",
                "process_cpu:samples:count:cpu:nanoseconds 1",
            ][..],
        ),
        (
            "cpuprofile",
            v8.to_string(),
            &["wall:samples:count:wall:nanoseconds 2", "wall:wall:nanoseconds:wall:nanoseconds 40000"],
        ),
        ("firefox", firefox.to_string(), &["wall:samples:count:: 2", "wall:wall:nanoseconds:: 2000000"]),
    ] {
        let path = ingest(&[("name", format), ("format", format)])?;
        let answer = server.post(&path, &[], body.into_bytes()).await?;
        ensure!(answer == (200, String::new()), "{format}: {answer:?}");
        ensure!(totals(&server, format).await? == expect, "{format}: {:?}", totals(&server, format).await?);
        let (status, text) = server.post(&path, &[], b"{\"x\": 1}".to_vec()).await?;
        ensure!(status == 422, "{format}: {status} {text}");
    }
    Ok(())
}

#[tokio::test]
async fn answers_in_many_forms() -> Result<()> {
    let server = Server::start()?;
    let path = ingest(&[("name", "shop"), ("from", "now-1m")])?;
    ensure!(server.post(&path, &[], b"main;work<1> 3\nmain;idle 1\n".to_vec()).await?.0 == 200);
    let query = format!("process_cpu:cpu:nanoseconds:cpu:nanoseconds{}", of("shop"));
    for (format, content_type, expect) in [
        ("dot", "text/plain; charset=utf-8", "N1 -> N2 [label=\" 30.0 ms\""),
        ("svg", "image/svg+xml", "<title>work&lt;1&gt; 30.0 ms (75.0%)</title>"),
        ("folded", "text/plain; charset=utf-8", "main;idle 10000000\nmain;work<1> 30000000\n"),
        ("speedscope", "application/json", "\"unit\":\"nanoseconds\""),
        ("json_tree", "application/json", "{\"name\":\"total\",\"value\":40000000,\"self\":0,\"children\":["),
        ("json", "application/json", "\"numTicks\":40000000"),
    ] {
        let params = [("query", query.as_str()), ("from", "now-1h"), ("format", format)];
        let answer = server.http().get(server.url("/pyroscope/render")).query(&params).send().await?;
        let found = answer.headers()["content-type"].to_str()?.to_owned();
        let text = answer.text().await?;
        ensure!(found == content_type && text.contains(expect), "{format}: {found} {text}");
    }
    let nothing = [("query", "a:b:c::{}"), ("from", "now-1h"), ("format", "dot")];
    ensure!(server.get("/pyroscope/render", &nothing).await? == (200, Vec::new()));
    let request = json!({
        "profileTypeID": "process_cpu:cpu:nanoseconds:cpu:nanoseconds", "labelSelector": of("shop"),
        "start": 1, "end": 4_000_000_000_000_i64, "format": "PROFILE_FORMAT_DOT",
    });
    let answer = server.connect("querier.v1.QuerierService/SelectMergeStacktraces", &request).await?;
    ensure!(answer["dot"].as_str().is_some_and(|dot| dot.starts_with("digraph")), "{answer}");
    Ok(())
}
