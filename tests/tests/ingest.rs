//! `/ingest`, the wire of older SDKs, against its description; and what real SDKs sent, replayed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use everflame_formats::{Limits, gzip, pprof};
use everflame_tests::messages::decode;
use everflame_tests::{Server, now_ms, type_ids};
use serde_json::Value;

const FOLDED: &[u8] = b"main;work 3\nmain;idle 1\n";
const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

/// `/ingest?` with percent-encoded parameters.
fn ingest(params: &[(&str, &str)]) -> Result<String> {
    let url = reqwest::Url::parse_with_params("http://x/ingest", params)?;
    Ok(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
}

fn of(service: &str) -> String {
    format!("{{service_name=\"{service}\"}}")
}

#[tokio::test]
async fn names() -> Result<()> {
    let server = Server::start()?;
    let table = [
        ("a1", "a1", "pyroscope_spy=unknown service_name=a1"),
        ("a2.cpu{region=eu,pod=a}", "a2", "pod=a pyroscope_spy=unknown region=eu service_name=a2"),
        (" a3 { k = v w , x.y=1=2/3 }", "a3", "k=v w pyroscope_spy=unknown service_name=a3 x.y=1=2/3"),
        ("a4{a=1,b=2,a=3}", "a4", "a=3 b=2 pyroscope_spy=unknown service_name=a4"),
        ("a5{a=1,b=2", "a5", "a=1 pyroscope_spy=unknown service_name=a5"),
        ("a6{__name__=a6b,c=1}", "a6b", "c=1 pyroscope_spy=unknown service_name=a6b"),
        ("a7{service_name=svc}", "svc", "app_name=a7 pyroscope_spy=unknown service_name=svc"),
        ("a8{__hidden__=1}", "a8", "pyroscope_spy=unknown service_name=a8"),
        ("a/9-x_y.app", "a/9-x_y.app", "pyroscope_spy=unknown service_name=a/9-x_y.app"),
        ("b1{}", "b1", "pyroscope_spy=unknown service_name=b1"),
    ];
    for (name, service, labels) in table {
        let answer = server.post(&ingest(&[("name", name)])?, &[], FOLDED.to_vec()).await?;
        ensure!(answer == (200, String::new()), "{name}: {answer:?}");
        ensure!(
            server.label_sets(&of(service)).await? == [labels],
            "{name}: {:?}",
            server.label_sets(&of(service)).await?
        );
        ensure!(server.totals(&of(service)).await? == [(CPU.to_owned(), 40_000_000)].into(), "{name}");
    }
    for name in ["", " ", "{a=1}", "shop cart", "größe", "app{a-b=1}", "app{=1}"] {
        let (status, text) = server.post(&ingest(&[("name", name)])?, &[], FOLDED.to_vec()).await?;
        let error: Value = serde_json::from_str(&text).with_context(|| format!("{name}: {text}"))?;
        ensure!(status == 400 && error["code"] == "invalid_argument", "{name}: {status} {error}");
        ensure!(error["message"].as_str().is_some_and(|message| message.contains("name")), "{name}: {error}");
    }
    ensure!(server.post("/ingest", &[], FOLDED.to_vec()).await?.0 == 400);
    Ok(())
}

#[tokio::test]
async fn paths() -> Result<()> {
    let server = Server::start()?;
    for (at, path) in ["/ingest", "/pyroscope/ingest", "//ingest"].iter().enumerate() {
        let answer = server.post(&format!("{path}?name=p{at}&spyName=gospy"), &[], FOLDED.to_vec()).await?;
        ensure!(answer == (200, String::new()), "{path}: {answer:?}");
        let labels = format!("pyroscope_spy=gospy service_name=p{at}");
        ensure!(server.label_sets(&of(&format!("p{at}"))).await? == [labels], "{path}");
    }
    ensure!(server.get("/ingest", &[]).await?.0 == 405);
    Ok(())
}

#[tokio::test]
async fn suffixes_and_sample_rates() -> Result<()> {
    let server = Server::start()?;
    const WALL: &str = "wall:wall:nanoseconds:cpu:nanoseconds";
    let table = [
        ("cpu", "", CPU, 40_000_000),
        ("itimer", "100", CPU, 40_000_000),
        ("cpu", "250", CPU, 16_000_000),
        ("cpu", "3", CPU, 4 * 333_333_333),
        ("cpu", "-1", CPU, 40_000_000),
        ("cpu", "many", CPU, 40_000_000),
        ("cpu", "0", "process_cpu:samples:count::", 4),
        ("wall", "1000", WALL, 4_000_000),
        ("wall", "0", "wall:samples:count::", 4),
        ("seconds", "", WALL, 40_000_000),
        ("nanoseconds", "", WALL, 40_000_000),
        ("alloc_objects", "", "memory:alloc_objects:count::", 4),
        ("inuse_objects", "", "memory:inuse_objects:count::", 4),
        ("alloc_in_new_tlab_objects", "", "memory:alloc_in_new_tlab_objects:count::", 4),
        ("live", "", "memory:live:count::", 4),
        ("alloc_space", "", "memory:alloc_space:bytes::", 4),
        ("inuse_space", "", "memory:inuse_space:bytes::", 4),
        ("alloc_outside_tlab_bytes", "", "memory:alloc_outside_tlab_bytes:bytes::", 4),
        ("bytes", "", "memory:samples:bytes::", 4),
        ("goroutines", "", "goroutine:goroutines:count::", 4),
        ("mutex_count", "", "mutex:contentions:count::", 4),
        ("mutex_duration", "", "mutex:delay:nanoseconds::", 4),
        ("block_count", "", "block:contentions:count::", 4),
        ("lock_count", "", "block:contentions:count::", 4),
        ("block_duration", "", "block:delay:nanoseconds::", 4),
        ("lock_duration", "", "block:delay:nanoseconds::", 4),
        ("exceptions", "", "exceptions:samples:count::", 4),
    ];
    for (at, (suffix, rate, profile_type, total)) in table.into_iter().enumerate() {
        let (name, service) = (format!("s{at}.{suffix}"), format!("s{at}"));
        let mut params = vec![("name", name.as_str())];
        if !rate.is_empty() {
            params.push(("sampleRate", rate));
        }
        let answer = server.post(&ingest(&params)?, &[], FOLDED.to_vec()).await?;
        ensure!(answer == (200, String::new()), "{params:?}: {answer:?}");
        let totals = server.totals(&of(&service)).await?;
        ensure!(totals == [(profile_type.to_owned(), total)].into(), "{params:?}: {totals:?}");
    }
    Ok(())
}

#[tokio::test]
async fn times() -> Result<()> {
    let server = Server::start()?;
    let table = [
        ("1700000000", "2023-11-14T22:13:20Z"),
        ("1_700_000_000", "2023-11-14T22:13:20Z"),
        ("1700000000123", "2023-11-14T22:13:20.123Z"),
        ("1700000000123456", "2023-11-14T22:13:20.123456Z"),
        ("1700000000123456789", "2023-11-14T22:13:20.123456Z"),
        ("20231114", "2023-11-14T00:00:00Z"),
        ("2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z"),
        ("2023-11-15T00:13:20+02:00", "2023-11-14T22:13:20Z"),
    ];
    for (at, (from, time)) in table.into_iter().enumerate() {
        let service = format!("t{at}");
        let answer =
            server.post(&ingest(&[("name", &service), ("from", from)])?, &[], FOLDED.to_vec()).await?;
        ensure!(answer == (200, String::new()), "{from}: {answer:?}");
        // The list shows whole seconds; the range is at that very time.
        let range = [("service", service.as_str()), ("from", time), ("to", time)];
        let (_, list) = server.get_json("/api/0/profiles", &range).await?;
        let second = time.get(..19).map(|second| format!("{second}Z"));
        ensure!(list["body"][0]["created_at"].as_str() == second.as_deref(), "{from}: {list}");
    }
    const HOUR: i64 = 3_600_000;
    for (at, (from, ago)) in
        [("now", 0), ("", 0), ("now-1h", HOUR), ("now-1h30m", HOUR * 3 / 2), ("now-2d", 48 * HOUR)]
            .into_iter()
            .enumerate()
    {
        let service = format!("r{at}");
        let before = now_ms()? - ago;
        let answer =
            server.post(&ingest(&[("name", &service), ("from", from)])?, &[], FOLDED.to_vec()).await?;
        ensure!(answer == (200, String::new()), "{from}: {answer:?}");
        let request = serde_json::json!({
            "profileTypeID": CPU, "labelSelector": of(&service), "start": before, "end": now_ms()? - ago});
        let graph = server.connect("querier.v1.QuerierService/SelectMergeStacktraces", &request).await?;
        ensure!(graph["flamegraph"]["total"] == "40000000", "{from}: {graph}");
    }
    for from in ["yesterday", "now-", "12ab", "now-1fortnight"] {
        let (status, text) =
            server.post(&ingest(&[("name", "g"), ("from", from)])?, &[], FOLDED.to_vec()).await?;
        ensure!(status == 400 && text.contains("from"), "{from}: {status} {text}");
    }
    Ok(())
}

#[tokio::test]
async fn stacks_as_text() -> Result<()> {
    let server = Server::start()?;
    let long = format!("main;{} 2\nmain;short 3\n", "x".repeat(70_000)).into_bytes();
    let table: Vec<(&str, &str, Vec<u8>, i64)> = vec![
        ("folded", "", FOLDED.to_vec(), 4),
        ("groups", "", FOLDED.to_vec(), 4),
        ("nonsense", "text/plain", FOLDED.to_vec(), 4),
        ("lines", "", b"main;work\nmain;work\nmain;idle\n".to_vec(), 3),
        ("folded", "", b"a;b c 5\nnospace\n\na;d 1".to_vec(), 6),
        ("folded", "", b"a;b 5\r\na;c 1\r\n".to_vec(), 6),
        ("folded", "", gzip::deflate(FOLDED), 4),
        ("folded", "gzip", gzip::deflate(FOLDED), 4),
        ("folded", "", long, 5),
    ];
    for (at, (format, header, body, count)) in table.into_iter().enumerate() {
        let headers = match header {
            "" => vec![],
            "gzip" => vec![("content-encoding", "gzip")],
            other => vec![("content-type", other)],
        };
        let service = format!("f{at}");
        let path = ingest(&[("name", &service), ("format", format)])?;
        let answer = server.post(&path, &headers, body).await?;
        ensure!(answer == (200, String::new()), "{path}: {answer:?}");
        let totals = server.totals(&of(&service)).await?;
        ensure!(totals == [(CPU.to_owned(), count * 10_000_000)].into(), "{path}: {totals:?}");
    }
    let stacks = server.stacks(CPU, &of("f0")).await?;
    let expect = [
        (vec!["idle".to_owned(), "main".to_owned()], 10_000_000),
        (vec!["work".to_owned(), "main".to_owned()], 30_000_000),
    ];
    ensure!(stacks == BTreeMap::from(expect), "{stacks:?}");
    let (status, text) = server.post("/ingest?name=f", &[], b"main;work many\n".to_vec()).await?;
    ensure!(status == 422 && text.contains("many"), "{status} {text}");
    // What old agents sent twice.
    ensure!(server.post("/ingest?name=twice%7Bprofile_id%3D1%7D", &[], FOLDED.to_vec()).await?.0 == 200);
    ensure!(server.totals(&of("twice")).await?.is_empty());
    Ok(())
}

fn fixture(name: &str) -> Result<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    std::fs::read(&path).with_context(|| path.display().to_string())
}

/// A multipart body of `parts` and its Content-Type.
fn multipart(parts: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, bytes) in parts {
        let head = format!(
            "--b0undary\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n"
        );
        body.extend([head.as_bytes(), bytes, b"\r\n"].concat());
    }
    body.extend(b"--b0undary--\r\n");
    ("multipart/form-data; boundary=b0undary".to_owned(), body)
}

#[tokio::test]
async fn pprof_in_every_wrapping() -> Result<()> {
    let server = Server::start()?;
    let gzipped = fixture("pprof/node-heap.pb.gz")?;
    let plain = gzip::inflate(&gzipped, &Limits::default())?;
    let profile = pprof::read(&plain, &Limits::default())?.profile;
    let expect: BTreeMap<String, i64> =
        type_ids("memory", &profile).into_iter().zip(profile.totals()).collect();
    let (multipart_type, form) = multipart(&[("profile", &gzipped)]);
    let (_, plain_form) = multipart(&[("profile", &plain)]);
    let form_header = vec![("content-type", multipart_type.as_str())];
    let table = [
        ("pprof", vec![], gzipped.clone()),
        ("pprof", vec![], plain.clone()),
        ("pprof", vec![("content-encoding", "gzip")], gzip::deflate(&plain)),
        ("pprof", form_header.clone(), form.clone()),
        ("", form_header.clone(), form.clone()),
        ("", form_header.clone(), plain_form),
        ("", [form_header.clone(), vec![("content-encoding", "gzip")]].concat(), gzip::deflate(&form)),
    ];
    for (at, (format, headers, body)) in table.into_iter().enumerate() {
        // No suffix is cut from the name of a pprof.
        let service = format!("w{at}.cpu");
        let path = ingest(&[("name", &service), ("format", format)])?;
        let answer = server.post(&path, &headers, body).await?;
        ensure!(answer == (200, String::new()), "{at} {path}: {answer:?}");
        let totals = server.totals(&of(&service)).await?;
        ensure!(totals == expect, "{at} {path}: {totals:?}");
    }
    let (_, empty) = multipart(&[("profile", b"")]);
    ensure!(server.post("/ingest?name=empty", &form_header, empty).await?.0 == 200);
    ensure!(server.totals(&of("empty")).await?.is_empty());
    let (_, previous) = multipart(&[("profile", &gzipped), ("prev_profile", &gzipped)]);
    let (status, text) = server.post("/ingest?name=p", &form_header, previous).await?;
    ensure!(status == 422 && text.contains("update the client"), "{status} {text}");
    for body in [b"nonsense".to_vec(), plain.get(..plain.len() / 2).unwrap_or_default().to_vec()] {
        let (status, text) = server.post("/ingest?name=p&format=pprof", &[], body).await?;
        let error: Value = serde_json::from_str(&text)?;
        ensure!(status == 422 && error["message"].is_string(), "{status} {text}");
    }
    Ok(())
}

/// One recorded request.
struct Recorded {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn recorded(name: &str) -> Result<Recorded> {
    let head = String::from_utf8(fixture(&format!("requests/{name}.head"))?)?;
    let mut lines = head.lines();
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).context("request line")?.to_owned();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.filter(|(name, _)| {
        !["host", "content-length", "connection"].contains(&name.to_lowercase().as_str())
    });
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok(Recorded { path, headers, body: fixture(&format!("requests/{name}.body"))? })
}

/// The pprof files in a request, with the profile names that they get by their series.
fn profiles(request: &Recorded, name: &str) -> Result<Vec<(String, Vec<u8>)>> {
    if request.path.ends_with("/Push") {
        let message = decode("PushRequest", &gzip::inflate(&request.body, &Limits::default())?)?;
        let mut found = Vec::new();
        for series in message["series"].as_array().context("series")? {
            let labels = series["labels"].as_array().context("labels")?;
            let name = labels.iter().find(|label| label["name"] == "__name__").context("__name__")?;
            for sample in series["samples"].as_array().context("samples")? {
                let raw = sample["rawProfile"].as_str().context("rawProfile")?;
                let raw = base64::engine::general_purpose::STANDARD.decode(raw)?;
                found.push((name["value"].as_str().unwrap_or_default().to_owned(), raw));
            }
        }
        return Ok(found);
    }
    let content_type = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let boundary =
        content_type.and_then(|(_, value)| value.split_once("boundary=")).map(|(_, boundary)| boundary);
    let Some(boundary) = boundary else { return Ok(vec![(name.to_owned(), request.body.clone())]) };
    let end = format!("\r\n--{boundary}").into_bytes();
    let start = find(&request.body, b"\r\n\r\n").context("the head of the first part")? + 4;
    let part = request.body.get(start..).unwrap_or_default();
    let length = find(part, &end).context("the end of the first part")?;
    Ok(vec![(name.to_owned(), part.get(..length).unwrap_or_default().to_vec())])
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[tokio::test]
async fn what_real_sdks_sent() -> Result<()> {
    let server = Server::start()?;
    let table = [
        ("go-cpu", "client-go", "process_cpu"),
        ("go-heap", "client-go", "memory"),
        ("go-goroutine", "client-go", "goroutines"),
        ("go-mutex", "client-go", "mutex"),
        ("go-block", "client-go", "block"),
        ("python-push", "client-python", ""),
        ("rust-push", "client-rust", ""),
        ("node-wall", "client-node", "wall"),
        ("node-heap", "client-node", "memory"),
    ];
    let mut expect: BTreeMap<&str, BTreeMap<String, i64>> = BTreeMap::new();
    for (fixture, service, name) in table {
        let request = recorded(fixture)?;
        for (name, bytes) in profiles(&request, name)? {
            let profile = pprof::read(&bytes, &Limits::default())?.profile;
            for (mut id, total) in type_ids(&name, &profile).into_iter().zip(profile.totals()) {
                // CPU time that a wall profiler took.
                if let Some(rest) = id.strip_prefix("wall:cpu:") {
                    id = format!("process_cpu:cpu:{rest}");
                }
                if total != 0 {
                    *expect.entry(service).or_default().entry(id).or_default() += total;
                }
            }
        }
        let headers: Vec<(&str, &str)> =
            request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = server.post(&request.path, &headers, request.body.clone()).await?;
        ensure!(answer == (200, String::new()), "{fixture}: {answer:?}");
    }
    for (service, expect) in expect {
        let mut totals = server.totals(&of(service)).await?;
        totals.retain(|_, total| *total != 0);
        ensure!(totals == expect, "{service}: {totals:#?}\nbut the files say {expect:#?}");
        for labels in server.label_sets(&of(service)).await? {
            ensure!(labels.contains("region=test"), "{service}: {labels}");
        }
    }
    Ok(())
}
