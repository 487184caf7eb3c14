//! Bytes of strangers on the wires beside Pyroscope's: OpenTelemetry, Parca, profefe, SQL, files ad hoc.
//! Each refuses in its own form, and nothing of what was refused is stored.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use everflame_formats::gzip;
use everflame_tests::rpc::{frame, http2};
use everflame_tests::{Message, Server, now_ms, pprof};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

const MIB: usize = 1 << 20;
const OTLP: &str = "/v1development/profiles";
const OTLP_GRPC: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
const STORE: &str = "/parca.profilestore.v1alpha1.ProfileStoreService";
/// Statuses of gRPC.
const INVALID_ARGUMENT: u32 = 3;
const RESOURCE_EXHAUSTED: u32 = 8;
const UNIMPLEMENTED: u32 = 12;
const MOST_MEMORY_KIB: u64 = 600 << 10;

/// What is wrong with it, and the bytes.
type Bad = (&'static str, Vec<u8>);

/// Nothing here is a profile of any kind, nor an export or a record.
fn bad_bodies() -> Result<Vec<Bad>> {
    let good = pprof(now_ms()? * 1_000_000, &[(&[1, 2], 5, "")], &["work", "main"]);
    let zipped = gzip::deflate(&good);
    let garbage: Vec<u8> =
        (0..5_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x80).collect();
    Ok(vec![
        ("garbage", garbage),
        ("a text", b"main;work 1\n".to_vec()),
        ("half of it", good.get(..good.len() / 2).context("half")?.to_vec()),
        ("half of its gzip", zipped.get(..zipped.len() / 2).context("half")?.to_vec()),
        ("the magic of gzip", vec![0x1f, 0x8b]),
        ("a length beyond the end", vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("deep nesting", [0x0a, 0x7f].repeat(5_000)),
    ])
}

/// A gigabyte of zeros in a megabyte.
fn bomb() -> Vec<u8> {
    gzip::deflate(&vec![0; 16 * MIB]).repeat(64)
}

/// What a wire must say.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// `{"code": "invalid_argument", "message"}`
    Connect,
    /// `{"code": 3, "message", "details"}`
    Gateway,
    /// `{"code": 400, "error"}`
    Profefe,
    /// `google.rpc.Status` as protobuf, in the Content-Type of the request.
    StatusProtobuf,
    /// `google.rpc.Status` as JSON.
    StatusJson,
}

async fn check_form(answer: reqwest::Response, form: Form, statuses: &[u16]) -> Result<()> {
    let status = answer.status().as_u16();
    let content_type = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let body = answer.bytes().await?;
    let shown: String = String::from_utf8_lossy(&body).chars().take(300).collect();
    ensure!(statuses.contains(&status), "{status} instead of {statuses:?}: {shown}");
    ensure!(body.len() < 4096, "an answer of {} bytes", body.len());
    if let Form::StatusProtobuf = form {
        ensure!(content_type == "application/x-protobuf", "{content_type}");
        ensure!(body.first() == Some(&8) && body.get(2) == Some(&0x12) && body.len() > 10, "{body:?}");
        return Ok(());
    }
    ensure!(content_type.starts_with("application/json"), "{content_type}: {shown}");
    let json: Value = serde_json::from_slice(&body).with_context(|| shown.clone())?;
    let (code, message) = match form {
        Form::Connect => (json["code"].is_string(), &json["message"]),
        Form::Gateway => (json["code"].is_u64() && json["details"].is_array(), &json["message"]),
        Form::Profefe => (json["code"] == status, &json["error"]),
        Form::StatusJson | Form::StatusProtobuf => (json["code"].is_u64(), &json["message"]),
    };
    ensure!(code && message.as_str().is_some_and(|text| text.len() > 10), "{form:?}: {shown}");
    Ok(())
}

/// Sends `body` as it is to a method of gRPC; the status of gRPC and its message.
async fn grpc(server: &Server, path: &str, head: &[(&str, &str)], body: Vec<u8>) -> Result<(u32, String)> {
    let mut post = http2()?.post(server.url(path)).header("te", "trailers").body(body);
    post = post.header("content-type", "application/grpc");
    for (name, value) in head {
        post = post.header(*name, *value);
    }
    let answer: http::Response<reqwest::Body> = post.send().await?.into();
    let (head, body) = answer.into_parts();
    ensure!(head.status == 200, "{path}: HTTP {}", head.status);
    let body = body.collect().await?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let text = |name: &str| {
        let value = trailers.get(name).or(head.headers.get(name));
        value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    Ok((
        text("grpc-status").parse().with_context(|| format!("{path}: no grpc-status"))?,
        text("grpc-message"),
    ))
}

/// The series, the services of profefe, and the files ad hoc.
async fn stored(server: &Server) -> Result<(Vec<String>, u16, Value)> {
    Ok((
        server.label_sets("{}").await?,
        server.get("/api/0/services", &[]).await?.0,
        server.connect("adhocprofiles.v1.AdHocProfileService/List", &json!({})).await?,
    ))
}

async fn check_after(server: &Server, before: &(Vec<String>, u16, Value), faults: &[String]) -> Result<()> {
    ensure!(faults.is_empty(), "{} cases:\n{}", faults.len(), faults.join("\n"));
    ensure!(&stored(server).await? == before, "something was stored: {:?}", stored(server).await?);
    ensure!(!server.stderr().contains("panicked"), "{}", server.stderr());
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let peak: u64 = peak.trim().trim_end_matches("kB").trim().parse()?;
    ensure!(peak < MOST_MEMORY_KIB, "the server took {peak} KiB");
    Ok(())
}

#[tokio::test]
async fn uploads_are_refused_in_the_form_of_their_wire() -> Result<()> {
    let server = Server::start()?;
    let before = stored(&server).await?;
    let http = reqwest::Client::builder().pool_max_idle_per_host(0).build()?;
    let profefe = "/api/0/profiles?service=bad&type=cpu";
    let ad_hoc = "/adhocprofiles.v1.AdHocProfileService/Upload";
    let write_raw = |body: &[u8]| {
        let label = |name: &str, value: &str| Message::new().bytes(1, name).bytes(2, value);
        let labels = Message::new().bytes(1, label("__name__", "cpu")).bytes(1, label("job", "bad"));
        let series = Message::new().bytes(1, labels).bytes(2, Message::new().bytes(1, body));
        Message::new().bytes(2, series).finish()
    };
    let mut faults = Vec::new();
    let mut bodies = bad_bodies()?;
    bodies.push(("a bomb", bomb()));
    for (name, body) in bodies {
        let large = name == "a bomb";
        let statuses: &[u16] = if large { &[400, 413, 429] } else { &[400] };
        let raw_json = json!({"series": [{
            "labels": {"labels": [{"name": "__name__", "value": "cpu"}]},
            "samples": [{"rawProfile": BASE64.encode(&body)}],
        }]});
        let arrow_json = json!({"ipcBuffer": BASE64.encode(&body)});
        let ad_hoc_json = json!({"name": "bad.pb.gz", "profile": BASE64.encode(&body)});
        let mut cases = vec![
            (OTLP, Form::StatusProtobuf, "application/x-protobuf", body.clone()),
            (OTLP, Form::StatusJson, "application/json", body.clone()),
            ("/api/profiles/writeraw", Form::Gateway, "application/json", raw_json.to_string().into_bytes()),
            ("/api/profiles/writeraw", Form::Gateway, "application/json", body.clone()),
            (
                "/api/profiles/writearrow",
                Form::Gateway,
                "application/json",
                arrow_json.to_string().into_bytes(),
            ),
            (profefe, Form::Profefe, "application/octet-stream", body.clone()),
        ];
        // A text is a profile there: folded stacks.
        if name != "a text" {
            cases.push((ad_hoc, Form::Connect, "application/json", ad_hoc_json.to_string().into_bytes()));
        }
        for (path, form, content_type, sent) in cases {
            let post = http.post(server.url(path)).header("content-type", content_type).body(sent);
            let checked = match post.send().await {
                Ok(answer) => check_form(answer, form, statuses).await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = checked {
                faults.push(format!("{name} to {path}, {content_type}: {error:#}"));
            }
        }
        for (path, message) in [
            (OTLP_GRPC.to_owned(), body.clone()),
            (format!("{STORE}/WriteRaw"), write_raw(&body)),
            (format!("{STORE}/WriteArrow"), Message::new().bytes(1, &body).finish()),
            ("/push.v1.PusherService/Push".to_owned(), body.clone()),
        ] {
            match grpc(&server, &path, &[], frame(0, &message)?).await {
                Ok((INVALID_ARGUMENT | RESOURCE_EXHAUSTED, message)) if message.len() > 10 => {}
                other => faults.push(format!("{name} to {path} over gRPC: {other:?}")),
            }
        }
    }
    check_after(&server, &before, &faults).await
}

#[tokio::test]
async fn frames_and_encodings_of_rpc() -> Result<()> {
    let server = Server::start()?;
    let before = stored(&server).await?;
    let mut faults = Vec::new();
    let message = b"\x0a\x00";
    let gzip_head = [("grpc-encoding", "gzip")];
    for (name, head, body, expect) in [
        ("a frame without its end", &[][..], vec![0, 0, 0, 0, 9, 1], &[INVALID_ARGUMENT, 13][..]),
        (
            "a frame of 4 GiB",
            &[],
            vec![0, 0xff, 0xff, 0xff, 0xff, 1],
            &[INVALID_ARGUMENT, RESOURCE_EXHAUSTED, 13],
        ),
        ("half a head", &[], vec![0, 0], &[INVALID_ARGUMENT, 13]),
        ("no frame", &[], Vec::new(), &[INVALID_ARGUMENT, UNIMPLEMENTED, 13]),
        (
            "two messages",
            &[],
            [frame(0, message)?, frame(0, message)?].concat(),
            &[INVALID_ARGUMENT, UNIMPLEMENTED, 13],
        ),
        ("compressed without a name", &[], frame(1, message)?, &[INVALID_ARGUMENT, 13]),
        ("gzip that is none", &gzip_head, frame(1, message)?, &[INVALID_ARGUMENT, 13]),
        ("a bomb", &gzip_head, frame(1, &bomb())?, &[INVALID_ARGUMENT, RESOURCE_EXHAUSTED]),
        ("an unknown encoding", &[("grpc-encoding", "lzw")], frame(1, message)?, &[UNIMPLEMENTED]),
    ] {
        for path in [OTLP_GRPC, "/push.v1.PusherService/Push", &format!("{STORE}/WriteRaw")] {
            match grpc(&server, path, head, body.clone()).await {
                Ok((status, text)) if expect.contains(&status) && !text.is_empty() => {}
                other => faults.push(format!("{name} to {path}: {other:?}")),
            }
        }
    }
    let unknown = grpc(&server, "/parca.query.v1alpha1.QueryService/Nothing", &[], frame(0, b"")?).await?;
    ensure!(unknown.0 == UNIMPLEMENTED, "{unknown:?}");
    check_after(&server, &before, &faults).await
}

#[tokio::test]
async fn questions_are_refused_in_the_form_of_their_wire() -> Result<()> {
    let server = Server::start()?;
    let before = stored(&server).await?;
    let mut faults = Vec::new();
    let deep = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    let posts: [(&str, &str, Form, &[u16]); 12] = [
        ("/api/v1/sql", "", Form::Connect, &[400]),
        ("/api/v1/sql", "{", Form::Connect, &[400]),
        ("/api/v1/sql", r#"{"query": 7}"#, Form::Connect, &[400]),
        ("/api/v1/sql", r#"{"query": "DROP TABLE samples"}"#, Form::Connect, &[400]),
        ("/api/v1/sql", r#"{"query": "SELECT * FROM nothing"}"#, Form::Connect, &[400, 404]),
        ("/api/v1/sql", &json!({ "query": deep }).to_string(), Form::Connect, &[422]),
        ("/adhocprofiles.v1.AdHocProfileService/Get", r#"{"id": "../../etc/passwd"}"#, Form::Connect, &[400]),
        (
            "/adhocprofiles.v1.AdHocProfileService/Get",
            r#"{"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV-x"}"#,
            Form::Connect,
            &[404],
        ),
        (
            "/adhocprofiles.v1.AdHocProfileService/Upload",
            r#"{"name": "x", "profile": "%%%"}"#,
            Form::Connect,
            &[400],
        ),
        ("/parca.query.v1alpha1.QueryService/Query", "{", Form::Connect, &[400]),
        ("/parca.query.v1alpha1.QueryService/Query", r#"{"mode": "MODE_MERGE"}"#, Form::Connect, &[400]),
        ("/api/profiles/writeraw", "[]", Form::Gateway, &[400]),
    ];
    for (path, body, form, statuses) in posts {
        let post = server.http().post(server.url(path)).header("content-type", "application/json");
        if let Err(error) = check_form(post.body(body.to_owned()).send().await?, form, statuses).await {
            let body: String = body.chars().take(60).collect();
            faults.push(format!("{path} {body}: {error:#}"));
        }
    }
    let gets: [(&str, Form, &[u16]); 12] = [
        ("/api/profiles/query", Form::Gateway, &[400]),
        ("/api/profiles/query?mode=2&merge.query=x&merge.start=y", Form::Gateway, &[400]),
        ("/api/profiles/query?reportType=nonsense", Form::Gateway, &[400]),
        (
            "/api/profiles/query_range?query=%7B&start=2024-01-01T00:00:00Z&end=2024-01-02T00:00:00Z",
            Form::Gateway,
            &[400],
        ),
        ("/api/profiles/labels?match=%7B", Form::Gateway, &[400]),
        ("/api/0/profiles?service=a&from=x&to=y", Form::Profefe, &[400]),
        (
            "/api/0/profiles/merge?service=a&type=trace&from=2024-01-01T00:00:00&to=2024-01-02T00:00:00",
            Form::Profefe,
            &[405],
        ),
        ("/api/0/profiles/%2e%2e%2f%2e%2e%2fetc", Form::Profefe, &[404, 400]),
        ("/api/0/profiles/x+y+z", Form::Profefe, &[404, 400]),
        ("/api/v1/pprof?query=nonsense", Form::Connect, &[400]),
        ("/api/v1/flamegraph?query=nonsense", Form::Connect, &[400]),
        ("/api/v1/heatmap?query=nonsense", Form::Connect, &[400]),
    ];
    for (path, form, statuses) in gets {
        let answer = server.http().get(server.url(path)).send().await?;
        if let Err(error) = check_form(answer, form, statuses).await {
            faults.push(format!("{path}: {error:#}"));
        }
    }
    check_after(&server, &before, &faults).await
}
