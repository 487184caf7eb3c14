//! profefe's API, as its agent and its users call it.

use anyhow::{Context, Result, ensure};
use everflame_formats::{Limits, pprof};
use everflame_profile::{Frame, Location, Profile, SampleLabel, ValueType};
use everflame_tests::{Server, Stacks, go_pprof_top, skip, stacks_of};
use serde_json::{Value, json};

const COMPILE: &[u8] = include_bytes!("../../bench/profiles/go-compile.pb.gz");
const GOFMT: &[u8] = include_bytes!("../../bench/profiles/gofmt.pb.gz");
const HEAP: &[u8] = include_bytes!("../fixtures/pprof/go-heap.pb.gz");
const RANGE: [(&str, &str); 2] = [("from", "2020-01-01T00:00:00"), ("to", "2090-01-01T00:00:00")];

fn read(bytes: &[u8]) -> Result<Profile> {
    Ok(pprof::read(bytes, &Limits::default())?.profile)
}

fn cpu(profile: &Profile) -> Result<Stacks> {
    let at = profile.sample_types.iter().position(|found| found.kind == "cpu").context("no cpu")?;
    Ok(stacks_of(profile, at))
}

async fn store(server: &Server, query: &str, body: &[u8]) -> Result<Value> {
    let (status, text) = server.post(&format!("/api/0/profiles?{query}"), &[], body.to_vec()).await?;
    let answer: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    ensure!(status == 200 && answer["code"] == 200, "{query}: {status} {answer}");
    Ok(answer["body"].clone())
}

#[tokio::test]
async fn stored_listed_and_fetched() -> Result<()> {
    let server = Server::start()?;
    let (status, empty) = server.get_json("/api/0/services", &[]).await?;
    ensure!(status == 404 && empty == json!({"code": 404, "error": "nothing found"}), "{status} {empty}");

    let first =
        store(&server, "service=api&type=cpu&labels=region%3Deu%2Cversion%3D1%25202", COMPILE).await?;
    let second = store(&server, "service=api&type=cpu&labels=region%3Dus", GOFMT).await?;
    let heap = store(&server, "service=api&type=heap", HEAP).await?;
    ensure!(first["type"] == "cpu" && first["service"] == "api", "{first}");
    ensure!(
        first["labels"] == json!([{"key": "region", "value": "eu"}, {"key": "version", "value": "1 2"}]),
        "{first}"
    );
    ensure!(heap.get("labels").is_none(), "{heap}");
    ensure!(first["created_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{first}");
    let (_, services) = server.get_json("/api/0/services", &[]).await?;
    ensure!(services == json!({"code": 200, "body": ["api"]}), "{services}");

    let list = |more: &'static [(&'static str, &'static str)]| {
        let server = &server;
        let params = [&[("service", "api")], &RANGE[..], more].concat();
        async move { server.get_json("/api/0/profiles", &params).await }
    };
    let (_, all) = list(&[]).await?;
    let mut expect = vec![first.clone(), second.clone(), heap.clone()];
    expect.sort_by_key(|entry| entry["created_at"].as_str().map(str::to_owned));
    ensure!(all["body"] == json!(expect), "{all}\nnot {expect:?}");
    ensure!(list(&[("type", "heap")]).await?.1["body"] == json!([heap]), "by type");
    ensure!(list(&[("labels", "region=us")]).await?.1["body"] == json!([second]), "by label");
    ensure!(list(&[("limit", "1")]).await?.1["body"] == json!(expect.get(..1)), "limit");
    ensure!(list(&[("type", "mutex")]).await?.0 == 404, "nothing of a type");

    let id = |entry: &Value| entry["id"].as_str().map(str::to_owned).context("id");
    let (status, one) = server.get(&format!("/api/0/profiles/{}", id(&first)?), &[]).await?;
    ensure!(status == 200, "by id: {status}");
    let (one, compile, gofmt) = (read(&one)?, read(COMPILE)?, read(GOFMT)?);
    ensure!(cpu(&one)? == cpu(&compile)?, "by id: other stacks");
    ensure!(one.sample_types == compile.sample_types, "by id: {:?}", one.sample_types);
    ensure!(one.totals() == compile.totals(), "by id: {:?}", one.totals());
    let joined = format!("/api/0/profiles/{}+{}", id(&first)?, id(&second)?);
    let (status, both) = server.get(&joined, &[]).await?;
    ensure!(status == 200, "joined: {status}");
    let mut sum = cpu(&compile)?;
    for (stack, value) in cpu(&gofmt)? {
        *sum.entry(stack).or_default() += value;
    }
    ensure!(cpu(&read(&both)?)? == sum, "joined: other stacks");
    let merge = [&[("service", "api"), ("type", "cpu")], &RANGE[..]].concat();
    let (status, merged) = server.get("/api/0/profiles/merge", &merge).await?;
    ensure!(status == 200 && cpu(&read(&merged)?)? == sum, "merged: {status}");
    let merge = [&[("service", "api"), ("type", "cpu"), ("labels", "region=us")], &RANGE[..]].concat();
    let (_, merged) = server.get("/api/0/profiles/merge", &merge).await?;
    ensure!(cpu(&read(&merged)?)? == cpu(&gofmt)?, "merged by label");
    let (_, whole) = server.get(&format!("/api/0/profiles/{}", id(&heap)?), &[]).await?;
    let (mut whole, mut expect) = (read(&whole)?, read(HEAP)?);
    whole.sample_types.sort_by(|a, b| a.kind.cmp(&b.kind));
    expect.sample_types.sort_by(|a, b| a.kind.cmp(&b.kind));
    ensure!(whole.sample_types == expect.sample_types, "heap: {:?}", whole.sample_types);
    Ok(())
}

const START: i64 = 1_700_000_000_250_000_000;
const SECOND: i64 = 1_000_000_000;

/// Ten seconds of CPU time in samples of 10 ms: name of the function, handler (a label of the sample), count.
fn cpu_profile(time: i64, samples: &[(&str, &str, i64)]) -> Vec<u8> {
    let cpu = ValueType::new("cpu", "nanoseconds");
    let mut profile = Profile {
        sample_types: vec![ValueType::new("samples", "count"), cpu.clone()],
        period_type: cpu,
        period: 10_000_000,
        time,
        duration: 10 * SECOND,
        ..Profile::default()
    };
    let mut locations = Vec::new();
    for &(name, handler, count) in samples {
        let symbols = profile.symbols_mut();
        let mut text = |text: &str| symbols.strings.push(text);
        let (function, key, value) = (text(name), text("handler"), text(handler));
        let location = u32::try_from(symbols.frames.len()).unwrap_or_default();
        symbols.frames.push(Frame { function, ..Frame::default() });
        locations.push(Location { first: location, count: 1 });
        let labels = [SampleLabel { key, value }];
        let labels = if handler.is_empty() { &[][..] } else { &labels[..] };
        profile.samples.push(&[location], &[count, count * 10_000_000], labels);
    }
    profile.locations = std::sync::Arc::new(locations);
    pprof::write(&profile)
}

/// `name{handler} values`, sorted.
fn samples(profile: &Profile) -> Vec<String> {
    let of_sample = |sample| {
        let name: String =
            profile.frames(sample).map(|frame| profile.symbols.name(frame).into_owned()).collect();
        let labels = profile.samples.labels(sample).iter();
        let labels: String = labels
            .map(|label| [label.key, label.value].map(|text| profile.symbols.strings.get(text)).join("="))
            .collect();
        format!("{name}{{{labels}}} {:?}", profile.values(sample))
    };
    let mut samples: Vec<_> = (0..profile.samples.len()).map(of_sample).collect();
    samples.sort();
    samples
}

#[tokio::test]
async fn what_was_stored_comes_back_with_its_durations_labels_and_types() -> Result<()> {
    let server = Server::start()?;
    let first = cpu_profile(START, &[("f", "/a", 1), ("f", "/b", 2), ("g", "", 4)]);
    let second = cpu_profile(START + 15 * SECOND, &[("f", "/a", 5), ("h", "/a", 1)]);
    let query = "service=api&type=cpu&labels=pod%3Dp";
    let first = store(&server, query, &first).await?;
    let second = store(&server, query, &second).await?;
    let heap = store(&server, "service=api&type=heap", HEAP).await?;
    ensure!(first["created_at"] == "2023-11-14T22:13:20Z", "{first}");
    let listed = |more: &[(&'static str, &'static str)]| {
        // Of equal parameters the first counts.
        let params = [more, &[("service", "api"), ("type", "cpu")], &RANGE[..]].concat();
        let server = &server;
        async move { server.get_json("/api/0/profiles", &params).await }
    };
    let (_, list) = listed(&[]).await?;
    ensure!(list["body"] == json!([first, second]), "{list}");
    let until = [("to", "2023-11-14T22:13:20.2"), ("from", "2023-11-14T22:13:20")];
    ensure!(listed(&until).await?.0 == 404, "a fraction of a second is not read");

    let get = async |path: String| {
        let (status, body) = server.get(&format!("/api/0/profiles/{path}"), &[]).await?;
        ensure!(status == 200, "{path}: {status}");
        read(&body)
    };
    let [first, second, heap] =
        [first, second, heap].map(|entry| entry["id"].as_str().unwrap_or("").to_owned());
    let one = ["f{handler=/a} [1, 10000000]", "f{handler=/b} [2, 20000000]", "g{} [4, 40000000]"];
    let sum = [
        "f{handler=/a} [6, 60000000]",
        "f{handler=/b} [2, 20000000]",
        "g{} [4, 40000000]",
        "h{handler=/a} [1, 10000000]",
    ];
    let merge = "merge?service=api&type=cpu&from=2020-01-01T00:00:00&to=2090-01-01T00:00:00";
    for (path, duration, expect) in [
        (first.clone(), 10, &one[..]),
        (format!("{first}/"), 10, &one[..]),
        (format!("{second}+{first}"), 20, &sum[..]),
        (merge.to_owned(), 20, &sum[..]),
        (merge.replace('?', "/?"), 20, &sum[..]),
    ] {
        let profile = get(path.clone()).await?;
        ensure!(samples(&profile) == expect, "{path}: {:?}", samples(&profile));
        let head = (profile.time, profile.duration, profile.period);
        ensure!(head == (START, duration * SECOND, 10_000_000), "{path}: {head:?}");
    }

    let (status, answer) = server.get_json(&format!("/api/0/profiles/{first}+{heap}"), &[]).await?;
    let error = answer["error"].as_str().unwrap_or_default();
    ensure!(status == 400 && answer["code"] == 400, "{status} {answer}");
    ensure!(error.contains("memory") && error.contains("process_cpu"), "{answer}");
    ensure!(get(format!("{heap}+{heap}")).await?.totals().len() > 1, "types of one upload");
    Ok(())
}

#[tokio::test]
async fn statuses() -> Result<()> {
    let server = Server::start()?;
    store(&server, "service=api&type=cpu&created_at=2023-11-14T22:13:20", GOFMT).await?;
    let unknown = "/api/0/profiles/00000000000000000000000000000001";
    let gets: [(&str, u16); 24] = [
        ("/api/0/profiles?service=api", 400),
        ("/api/0/profiles?service=api&from=2023-01-01T00:00:00", 400),
        ("/api/0/profiles?service=api&from=yesterday&to=2023-01-01T00:00:00", 400),
        ("/api/0/profiles?from=2023-01-01T00:00:00&to=2023-01-02T00:00:00", 400),
        ("/api/0/profiles?service=nobody&from=2023-01-01T00:00:00&to=2023-01-02T00:00:00", 404),
        ("/api/0/profiles/merge?service=api&type=trace&from=2023-01-01T00:00:00&to=2023-01-02T00:00:00", 405),
        ("/api/0/profiles/merge?service=api&type=what&from=2023-01-01T00:00:00&to=2023-01-02T00:00:00", 405),
        ("/api/0/profiles/merge?service=no&type=cpu&from=2023-01-01T00:00:00&to=2023-01-02T00:00:00", 404),
        (unknown, 404),
        ("/api/0/profiles/nonsense", 404),
        ("/api/0/profiles/00000000000000000000000000000001+", 400),
        ("/api/0/profiles/", 400),
        ("/api/0/profiles?service=api&limit=x&from=2023-01-01T00:00:00&to=2023-01-02T00:00:00", 400),
        ("/api/0/profiles?service=api&type=what&from=2020-01-01T00:00:00&to=2090-01-01T00:00:00", 200),
        ("/api/0/profiles/?service=api&limit=-1&from=2020-01-01T00:00:00&to=2090-01-01T00:00:00", 200),
        ("/api/0/version", 200),
        ("/api/0/version/", 404),
        ("/api/0/services/", 404),
        ("/api/0/", 404),
        ("/api/0/nothing", 404),
        ("/api/0/profiles/a/b", 404),
        ("/api/0/profiles/nonsense/", 404),
        ("/api/0/profiles/%ff", 400),
        ("/api/0/profiles?service=api&labels=a%3D%25zz&from=2020-01-01T00:00:00&to=2090-01-01T00:00:00", 400),
    ];
    for (path, expect) in gets {
        let (status, answer) = server.get_json(path, &[]).await?;
        ensure!(status == expect && answer["code"] == expect, "{path}: {status} {answer}");
        ensure!(status == 200 || answer["error"].is_string(), "{path}: {answer}");
    }
    let posts: [(&str, &[u8]); 7] = [
        ("type=cpu", GOFMT),
        ("service=api", GOFMT),
        ("service=api&type=what", GOFMT),
        ("service=api&type=cpu&created_at=now", GOFMT),
        ("service=api&type=cpu&labels=a%3D%25zz", GOFMT),
        ("service=api&type=cpu", b"nonsense"),
        ("service=api&type=cpu", b""),
    ];
    for (query, body) in posts {
        let (status, text) = server.post(&format!("/api/0/profiles?{query}"), &[], body.to_vec()).await?;
        let answer: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        ensure!(
            status == 400 && answer["code"] == 400 && answer["error"].is_string(),
            "{query}: {status} {text}"
        );
    }
    for path in ["/api/0/profiles", "/api/0/services", "/api/0/version", unknown] {
        let answer = server.http().delete(server.url(path)).send().await?;
        let (status, answer) = (answer.status(), answer.json::<Value>().await?);
        ensure!(status == 405 && answer["code"] == 405, "DELETE {path}: {status} {answer}");
    }
    let (_, version) = server.get_json("/api/0/version", &[]).await?;
    for field in ["version", "commit", "build_time", "go_version"] {
        ensure!(version["body"][field].is_string(), "{field}: {version}");
    }
    Ok(())
}

#[tokio::test]
async fn traces_are_kept_as_they_are() -> Result<()> {
    let mut server =
        Server::start_with(&["--retention-raw=2d", "--traces-size=1MiB", "--max-profile-size=512KiB"])?;
    // No reader knows these bytes.
    let trace: Vec<u8> = (0..100_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let first = store(&server, "service=api&type=trace&labels=region%3Deu", &trace).await?;
    ensure!(first["type"] == "trace" && first["service"] == "api", "{first}");
    ensure!(first["labels"] == json!([{"key": "region", "value": "eu"}]), "{first}");
    // Gzip is bytes like any other.
    let second = store(&server, "service=other&type=trace", GOFMT).await?;
    let profile = store(&server, "service=api&type=cpu", GOFMT).await?;
    let id = |entry: &Value| entry["id"].as_str().map(str::to_owned).context("id");
    let (trace_id, other_id, profile_id) = (id(&first)?, id(&second)?, id(&profile)?);

    server.kill9()?;
    server.restart()?;
    for (id, bytes) in [(&trace_id, trace.as_slice()), (&other_id, GOFMT)] {
        let url = server.url(&format!("/api/0/profiles/{id}"));
        let answer = server.http().get(url).send().await?.error_for_status()?;
        let name = answer.headers().get("content-disposition").context("no name")?.to_str()?.to_owned();
        ensure!(name == format!("attachment; filename=\"{id}\""), "{name}");
        ensure!(answer.bytes().await? == bytes, "{id}: other bytes");
    }
    let (_, services) = server.get_json("/api/0/services", &[]).await?;
    ensure!(services["body"] == json!(["api", "other"]), "{services}");
    let list = async |more: &[(&str, &str)]| {
        let params = [&[("service", "api")], &RANGE[..], more].concat();
        server.get_json("/api/0/profiles", &params).await
    };
    ensure!(list(&[("type", "trace")]).await?.1["body"] == json!([first]), "by type");
    ensure!(list(&[("labels", "region=eu")]).await?.1["body"] == json!([first]), "by label");
    let all = list(&[]).await?.1["body"].as_array().map(Vec::len);
    ensure!(all == Some(2), "{all:?}");
    ensure!(list(&[("type", "cpu")]).await?.1["body"][0]["type"] == "cpu", "by another type");

    // What cannot be merged says so.
    for ids in [format!("{trace_id}+{profile_id}"), format!("{other_id}+{trace_id}")] {
        let (status, answer) = server.get_json(&format!("/api/0/profiles/{ids}"), &[]).await?;
        ensure!(status == 405 && answer["code"] == 405, "{status} {answer}");
    }
    // Bounds: of one, of all, and of time.
    let large = vec![7; 600 << 10];
    let (status, text) = server.post("/api/0/profiles?service=api&type=trace", &[], large).await?;
    ensure!(status == 413 && text.contains("\"code\":413"), "{status} {text}");
    let (status, text) = server
        .post("/api/0/profiles?service=api&type=trace&created_at=2091-01-01T00:00:00", &[], vec![1])
        .await?;
    ensure!(status == 400, "{status} {text}");
    store(&server, "service=api&type=trace&created_at=2023-11-14T22:13:20", b"old").await?;
    let (status, _) = list(&[("to", "2024-01-01T00:00:00"), ("type", "trace")]).await?;
    ensure!(status == 200, "{status}");
    let found = list(&[("type", "trace")]).await?.1;
    ensure!(found["body"] == json!([first]), "an old trace is there: {found}");
    for _ in 0..2 {
        store(&server, "service=new&type=trace", &vec![7; 500 << 10]).await?;
    }
    ensure!(server.get(&format!("/api/0/profiles/{trace_id}"), &[]).await?.0 == 404, "the oldest did not go");
    let url = server.url("/api/v1/profiles?query=%7Bservice_name%3D%22new%22%7D");
    let deleted: Value = server.http().delete(url).send().await?.error_for_status()?.json().await?;
    ensure!(deleted["traces"] == 2, "{deleted}");
    let (_, services) = server.get_json("/api/0/services", &[]).await?;
    ensure!(services["body"] == json!(["api"]), "{services}");
    Ok(())
}

#[tokio::test]
async fn go_tool_pprof_reads_its_urls() -> Result<()> {
    let server = Server::start()?;
    let first = store(&server, "service=api&type=cpu", COMPILE).await?;
    let second = store(&server, "service=api&type=cpu", GOFMT).await?;
    let [first, second] = [&first, &second].map(|entry| entry["id"].as_str().unwrap_or_default());
    let merge = "merge?service=api&type=cpu&from=2020-01-01T00:00:00&to=2090-01-01T00:00:00";
    for path in [first.to_owned(), format!("{first}+{second}"), merge.to_owned()] {
        match go_pprof_top(&server.url(&format!("/api/0/profiles/{path}")))? {
            Err(reason) => return skip("go tool pprof", &reason),
            Ok(top) => ensure!(top.contains("runtime.") && top.contains("flat%"), "{path}: {top}"),
        }
    }
    Ok(())
}
