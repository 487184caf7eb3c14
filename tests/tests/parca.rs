//! Parca's wire: profiles in, what there is, and refusals, over gRPC, gRPC-Web and REST.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use everflame_tests::debug_files::UPLOAD;
use everflame_tests::parca::*;
use everflame_tests::rpc::{Coding, Wire, call_with, http2};
use everflame_tests::{Message, Server, stacks_of};
use serde_json::{Value, json};

#[tokio::test]
async fn what_was_written_comes_back_as_it_was() -> Result<()> {
    let server = filled().await?;
    for (job, file, types) in [
        ("gofmt", GOFMT, &[CPU][..]),
        ("compile", COMPILE, &[CPU]),
        ("gofmt", HEAP, &["memory:alloc_space:bytes:space:bytes", "memory:inuse_objects:count:space:bytes"]),
    ] {
        let truth = read(file)?;
        for profile_type in types {
            let kind = profile_type.split(':').nth(1).context("kind")?;
            let column = truth.sample_types.iter().position(|own| own.kind == kind).context("column")?;
            let query = format!("{profile_type}{{job=\"{job}\"}}");
            let answer = ask(&server, QUERY, &report(&query, PPROF)).await?;
            let bytes = BASE64.decode(answer["pprof"].as_str().with_context(|| format!("{answer}"))?)?;
            ensure!(bytes.starts_with(&[0x1f, 0x8b]), "not gzip");
            let found = read(&bytes)?;
            ensure!(
                found.sample_types == truth.sample_types[column..=column],
                "{query}: {:?}",
                found.sample_types
            );
            let (found, mut expect) = (stacks_of(&found, 0), stacks_of(&truth, column));
            expect.retain(|_, value| *value != 0);
            ensure!(found == expect, "{query}: {} stacks, and not {}", found.len(), expect.len());
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_protocol_gives_the_same_answers() -> Result<()> {
    let server = filled().await?;
    let query = format!("{CPU}{{job=\"gofmt\"}}");
    let (start, end) = ever();
    for (method, request) in [
        (QUERY, report(&query, TOP)),
        (QUERY, report(&query, FLAMEGRAPH_TABLE)),
        (QUERY, report(&query, METADATA)),
        (TYPES, json!({})),
        (LABELS, json!({"start": start, "end": end})),
        (VALUES, json!({"labelName": "job"})),
        (HAS_DATA, json!({})),
        (QUERY_RANGE, json!({"query": query, "start": start, "end": end, "step": {"seconds": 86_400 * 365}})),
    ] {
        let first = ask(&server, method, &request).await?;
        for wire in WIRES {
            for coding in [Coding::Plain, Coding::Gzip] {
                let answer = ask_over(&server, wire, coding, method, &request).await?;
                ensure!(answer.as_ref() == Ok(&first), "{} over {wire:?}: {answer:?}", method.path);
            }
        }
    }
    // Where Parca's pages look.
    let request = report(&query, TOP);
    let below = ask_over(&server, Wire::GrpcWeb, Coding::Plain, QUERY_BELOW_API, &request).await?;
    ensure!(below == Ok(ask(&server, QUERY, &request).await?), "{below:?}");
    Ok(())
}

#[tokio::test]
async fn types_labels_and_values() -> Result<()> {
    let server = Server::start()?;
    ensure!(ask(&server, HAS_DATA, &json!({})).await? == json!({}), "there is something");
    ensure!(ask(&server, TYPES, &json!({})).await? == json!({}), "there is something");
    drop(server);
    let server = filled().await?;
    ensure!(ask(&server, HAS_DATA, &json!({})).await? == json!({"hasData": true}));
    let types = ask(&server, TYPES, &json!({})).await?;
    let types: Vec<String> = types["types"]
        .as_array()
        .context("types")?
        .iter()
        .map(|found| {
            let part = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
            let delta = if found["delta"] == true { ":delta" } else { "" };
            let parts = ["name", "sampleType", "sampleUnit", "periodType", "periodUnit"].map(part);
            format!("{}{delta}", parts.join(":"))
        })
        .collect();
    ensure!(
        types
            == [
                "memory:alloc_objects:count:space:bytes",
                "memory:alloc_space:bytes:space:bytes",
                "memory:inuse_objects:count:space:bytes",
                "memory:inuse_space:bytes:space:bytes",
                CPU,
                "process_cpu:samples:count:cpu:nanoseconds:delta",
            ],
        "{types:?}"
    );
    ensure!(
        ask(&server, LABELS, &json!({})).await? == json!({"labelNames": ["job", "node", "service_name"]}),
        "{}",
        ask(&server, LABELS, &json!({})).await?
    );
    let values = |request: Value| {
        let server = &server;
        async move { Ok::<_, anyhow::Error>(ask(server, VALUES, &request).await?["labelValues"].clone()) }
    };
    ensure!(values(json!({"labelName": "job"})).await? == json!(["compile", "gofmt"]));
    ensure!(
        values(json!({"labelName": "service_name", "match": ["job=\"gofmt\""]})).await? == json!(["gofmt"])
    );
    let memory = "memory:alloc_space:bytes:space:bytes";
    ensure!(values(json!({"labelName": "job", "profileType": memory})).await? == json!(["gofmt"]));
    ensure!(values(json!({"labelName": "nothing"})).await? == Value::Null);
    let early = json!({"labelName": "job", "start": {"seconds": 1}, "end": {"seconds": 2}});
    ensure!(values(early).await? == Value::Null);
    Ok(())
}

#[tokio::test]
async fn the_gateway_answers_as_the_services_do() -> Result<()> {
    let server = filled().await?;
    let (start, end) = ("1970-01-01T00:00:01Z", "2096-10-02T07:06:40Z");
    let query = format!("{CPU}{{job=\"gofmt\"}}");
    let (status, types) = server.get_json("/api/profiles/types", &[]).await?;
    ensure!(status == 200 && types["types"].as_array().map(Vec::len) == Some(6), "{types}");
    let (status, labels) = server.get_json("/api/profiles/labels", &[("start", start), ("end", end)]).await?;
    ensure!((status, &labels["labelNames"]) == (200, &json!(["job", "node", "service_name"])), "{labels}");
    let (status, values) =
        server.get_json("/api/profiles/labels/job/values", &[("match", "{job=~\"g.*\"}")]).await?;
    ensure!((status, &values["labelValues"]) == (200, &json!(["gofmt"])), "{values}");
    let (status, has) = server.get_json("/api/profiles/has_profile_data", &[]).await?;
    ensure!((status, has) == (200, json!({"hasData": true})));
    let parameters = [
        ("mode", "MODE_MERGE"),
        ("merge.query", &query),
        ("merge.start", start),
        ("merge.end", end),
        ("report_type", "REPORT_TYPE_TOP"),
        ("node_trim_threshold", "0.5"),
    ];
    let (status, top) = server.get_json("/api/profiles/query", &parameters).await?;
    let rpc = ask(&server, QUERY, &report(&query, TOP)).await?;
    ensure!(status == 200 && top["total"] == rpc["total"], "{top}");
    ensure!(top["top"]["list"].as_array().map(Vec::len) == rpc["top"]["list"].as_array().map(Vec::len));
    let parameters =
        [("query", query.as_str()), ("start", start), ("end", end), ("step", "3600s"), ("sum_by", "job")];
    let (status, range) = server.get_json("/api/profiles/query_range", &parameters).await?;
    ensure!(status == 400 && range["code"] == 3, "a million points: {range}");
    let truth = read(GOFMT)?;
    let day = truth.time / 86_400_000_000_000 * 86_400;
    let rfc = |seconds: i64| format!("{}Z", chrono_less(seconds));
    let (from, until) = (rfc(day), rfc(day + 86_399));
    let parameters =
        [("query", query.as_str()), ("start", &from), ("end", &until), ("step", "3600s"), ("sum_by", "job")];
    let (status, range) = server.get_json("/api/profiles/query_range", &parameters).await?;
    ensure!(status == 200 && range["series"][0]["labelset"]["labels"][0]["value"] == "gofmt", "{range}");
    let body = serde_json::to_vec(&write(&[raw(&[("__name__", "process_cpu"), ("job", "rest")], &[GOFMT])]))?;
    let json_type = [("content-type", "application/json")];
    ensure!(server.post("/api/profiles/writeraw", &json_type, body).await? == (200, "{}".to_owned()));
    let (_, values) = server.get_json("/api/profiles/labels/job/values", &[]).await?;
    ensure!(values["labelValues"] == json!(["compile", "gofmt", "rest"]), "{values}");

    for (path, expect) in [
        ("/api/profiles/query", "mode and options do not match"),
        (
            "/api/profiles/query?mode=MODE_MERGE&merge.query=cpu&merge.start=2026-01-01T00:00:00Z&merge.end=2026-01-02T00:00:00Z",
            "merge: profile type \"cpu\" has 1 parts",
        ),
        (
            "/api/profiles/query?mode=MODE_MERGE&merge.query=a:b:c:d:e&merge.start=2026-01-02T00:00:00Z&merge.end=2026-01-01T00:00:00Z",
            "merge: end",
        ),
        ("/api/profiles/query_range?query=a:b:c:d:e", "start is missing"),
        ("/api/profiles/query?mode=MODE_NONE", "the parameters are no such request"),
        ("/api/profiles/types?start=yesterday", "the parameters are no such request"),
    ] {
        let (status, answer) = server.get_json(path, &[]).await?;
        ensure!((status, &answer["code"]) == (400, &json!(3)), "{path}: {status} {answer}");
        ensure!(
            answer["message"].as_str().is_some_and(|message| message.starts_with(expect)),
            "{path}: {answer}"
        );
        ensure!(answer["details"] == json!([]), "{path}: {answer}");
    }
    let (status, answer) = server.get_json("/api/profiles/series", &[]).await?;
    ensure!((status, &answer["code"]) == (501, &json!(12)), "{answer}");
    ensure!(server.post("/api/profiles/share", &json_type, b"{}".to_vec()).await?.0 == 501);
    let (status, should) = server
        .post("/api/shouldinitiateupload", &json_type, br#"{"buildId": "abcdef", "hash": "1"}"#.to_vec())
        .await?;
    ensure!(status == 200 && should.contains("reason"), "{should}");
    // What an answer does not say is there as well.
    let (_, none) = server.get_json("/api/profiles/labels", &[("match", "{job=\"nobody\"}")]).await?;
    ensure!(none == json!({"labelNames": [], "warnings": []}), "{none}");
    ensure!(top["filtered"] == "0" && top["top"]["list"][0]["diff"] == "0", "{top}");
    ensure!(
        range["series"][0]["labelset"]["labels"][0] == json!({"name": "job", "value": "gofmt"}),
        "{range}"
    );
    let (status, targets) = server.get_json("/api/targets", &[("state", "STATE_ACTIVE")]).await?;
    ensure!((status, &targets) == (200, &json!({"targets": {}})), "{targets}");
    // The other wires are where they were.
    ensure!(server.get_json("/api/v1/status", &[]).await?.0 == 200);
    ensure!(server.get("/api/0/services", &[]).await?.0 == 200);
    Ok(())
}

/// `YYYY-MM-DDThh:mm:ss` of seconds since 1970.
fn chrono_less(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day = shifted.rem_euclid(146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", rest / 3_600, rest / 60 % 60, rest % 60)
}

#[tokio::test]
async fn refusals_say_what_and_where() -> Result<()> {
    let server = Server::start()?;
    let good = || raw(&[("__name__", "process_cpu"), ("job", "good")], &[GOFMT]);
    let many: Vec<(String, String)> = (0..40).map(|at| (format!("l{at}"), "x".to_owned())).collect();
    let many: Vec<(&str, &str)> = std::iter::once(("__name__", "a"))
        .chain(many.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        .collect();
    let (start, end) = ever();
    let cases = [
        (
            WRITE_RAW,
            write(&[good(), raw(&[("job", "x")], &[GOFMT])]),
            "invalid_argument",
            "series 1: labels: __name__ is missing",
        ),
        (
            WRITE_RAW,
            write(&[good(), raw(&[("__name__", "a"), ("a.b", "x")], &[GOFMT])]),
            "invalid_argument",
            "series 1: labels: \"a.b\" is no name",
        ),
        (
            WRITE_RAW,
            write(&[good(), raw(&[("__name__", "a"), ("b", "x"), ("b", "y")], &[GOFMT])]),
            "invalid_argument",
            "series 1: labels: label \"b\" occurs twice",
        ),
        (WRITE_RAW, write(&[good(), raw(&many, &[GOFMT])]), "invalid_argument", "series 1: labels: 4"),
        (
            WRITE_RAW,
            write(&[good(), raw(&[("__name__", "a")], &[GOFMT, b"not a profile"])]),
            "invalid_argument",
            "series 1, sample 1: ",
        ),
        (
            WRITE_RAW,
            write(&[good(), raw(&[("__name__", "a")], &[&GOFMT[..GOFMT.len() / 2]])]),
            "invalid_argument",
            "series 1, sample 0: ",
        ),
        (QUERY, json!({"mode": 2}), "invalid_argument", "mode and options do not match"),
        (QUERY, json!({"mode": 9, "merge": merge(CPU)}), "invalid_argument", "mode 9 is not known"),
        (
            QUERY,
            json!({"mode": 2, "merge": {"query": CPU, "start": end, "end": start}}),
            "invalid_argument",
            "merge: end",
        ),
        (
            QUERY,
            json!({"mode": 2, "merge": {"query": "", "start": start, "end": end}}),
            "invalid_argument",
            "merge: query is missing",
        ),
        (
            QUERY,
            json!({"mode": 2, "merge": {"query": CPU, "end": end}}),
            "invalid_argument",
            "merge: start is missing",
        ),
        (
            QUERY,
            json!({"mode": 1, "diff": {"a": {"mode": 1, "merge": merge(CPU)}}}),
            "invalid_argument",
            "diff.b: it is missing",
        ),
        (QUERY, report(CPU, 77), "invalid_argument", "report_type 77"),
        (
            QUERY,
            with(report(CPU, TOP), "sourceReference", json!({"buildId": "abc", "sourceOnly": true})),
            "not_found",
            "there are no sources of build \"abc\"",
        ),
        (QUERY, report(CPU, SOURCE), "invalid_argument", "source_reference.filename is missing"),
        (QUERY, report(&format!("{CPU}{{job="), TOP), "invalid_argument", "merge: selector, character"),
        (
            QUERY,
            with(report(CPU, TOP), "groupBy", json!({"fields": ["color"]})),
            "invalid_argument",
            "group_by: \"color\"",
        ),
        (
            QUERY,
            with(report(CPU, TOP), "nodeTrimThreshold", json!(101.0)),
            "invalid_argument",
            "node_trim_threshold is 101",
        ),
        (QUERY_RANGE, json!({"query": CPU, "start": start}), "invalid_argument", "end is missing"),
        (
            QUERY_RANGE,
            json!({"query": CPU, "start": start, "end": end, "step": {"seconds": -1}}),
            "invalid_argument",
            "step is -1 s",
        ),
        (
            QUERY_RANGE,
            json!({"query": CPU, "start": start, "end": end, "step": {"seconds": 86_400_000}}),
            "not_found",
            "no data for",
        ),
        (VALUES, json!({}), "invalid_argument", "label_name is missing"),
        (LABELS, json!({"match": ["{"]}), "invalid_argument", "match[0]: "),
        (LABELS, json!({"profileType": "cpu"}), "invalid_argument", "profile_type: profile type \"cpu\""),
        (SERIES, json!({}), "unimplemented", "Series has no answer"),
        (SHARE, json!({}), "unimplemented", "profiles are not shared"),
        (INITIATE, json!({"buildId": "abcdef", "size": 5}), "invalid_argument", "hash is missing"),
        (FINISHED, json!({"buildId": "abcdef"}), "not_found", "no upload of debuginfo"),
        (SHOULD, json!({"buildId": "ab"}), "invalid_argument", "\"ab\" is no build id"),
    ];
    for (method, request, code, message) in cases {
        for wire in WIRES {
            match ask_over(&server, wire, Coding::Plain, method, &request).await? {
                Err(refusal) => ensure!(
                    refusal.code == code && refusal.message.starts_with(message),
                    "{} over {wire:?}: {refusal:?}, and not {code} {message}",
                    method.path
                ),
                Ok(answer) => bail!("{} took {request}: {answer}", method.path),
            }
        }
    }
    // Nothing of a message with a fault was stored.
    ensure!(ask(&server, HAS_DATA, &json!({})).await? == json!({}), "something was stored");
    Ok(())
}

#[tokio::test]
async fn agents_go_on() -> Result<()> {
    let server = filled().await?;
    let should =
        ask(&server, SHOULD, &json!({"buildId": "d4c1b9a7e2", "hash": "x", "buildIdType": 1})).await?;
    ensure!(
        should["shouldInitiateUpload"] == json!(true)
            && should["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
        "{should}"
    );
    let agents = ask(&server, AGENTS, &json!({})).await?;
    ensure!(
        agents["agents"].as_array().map(Vec::len) == Some(1) && agents["agents"][0]["id"] == "n1",
        "{agents}"
    );
    let (status, rest) = server.get_json("/api/agents", &[]).await?;
    ensure!(status == 200 && rest["agents"][0]["id"] == "n1", "{rest}");
    ensure!(server.get_json("/api/targets", &[]).await? == (200, json!({"targets": {}})));
    let (json_type, crash) =
        ([("content-type", "application/json")], br#"{"stderr": "panic: why"}"#.to_vec());
    ensure!(server.post("/api/telemetry/panic", &json_type, crash).await? == (200, "{}".to_owned()));
    // Its log is read by another thread.
    let is_logged = async {
        while !server.stderr().contains("panic: why") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), is_logged)
        .await
        .context("nothing in the log")?;
    // The same message again is the same upload.
    let again = write(&[raw(&[("__name__", "process_cpu"), ("job", "compile"), ("node", "n1")], &[COMPILE])]);
    let before = ask(&server, QUERY, &report(&format!("{CPU}{{job=\"compile\"}}"), TOP)).await?;
    ask(&server, WRITE_RAW, &again).await?;
    ensure!(ask(&server, QUERY, &report(&format!("{CPU}{{job=\"compile\"}}"), TOP)).await? == before);
    Ok(())
}

#[tokio::test]
async fn sources_are_refused_with_a_word() -> Result<()> {
    let server = Server::start()?;
    // SOURCES and SOURCE_MAP.
    for kind in [2_u64, 3] {
        let file = json!({"buildId": "d4c1b9a7e2", "hash": "x", "type": kind, "force": true});
        let should = ask(&server, SHOULD, &file).await?;
        ensure!(should == json!({"reason": "Sources are not kept by this server."}), "{should}");
        let info = Message::new().bytes(1, "d4c1b9a7e2").bytes(2, "x").number(3, kind);
        let first = Message::new().bytes(1, info).finish();
        let file = with(file, "size", json!(5));
        let initiated = ask_over(&server, Wire::Grpc, Coding::Plain, INITIATE, &file).await?;
        let uploaded = call_with(&http2()?, &server, UPLOAD, &[first]).await?.message;
        for refused in [initiated, uploaded] {
            let refusal = refused.err().context("sources were taken")?;
            ensure!(
                refusal.code == "failed_precondition" && refusal.message.starts_with("sources are not kept"),
                "{refusal:?}"
            );
        }
        let finished = json!({"buildId": "d4c1b9a7e2", "uploadId": "x", "type": kind});
        let refusal = ask_over(&server, Wire::Grpc, Coding::Plain, FINISHED, &finished).await?.err();
        ensure!(refusal.as_ref().is_some_and(|refusal| refusal.code == "not_found"), "{refusal:?}");
    }
    Ok(())
}

#[tokio::test]
async fn labels_of_samples_and_metadata() -> Result<()> {
    let server = Server::start()?;
    let labelled = include_bytes!("../fixtures/pprof/go-cpu-labels.pb.gz");
    let series = raw(&[("__name__", "process_cpu"), ("job", "go"), ("controller", "own")], &[labelled]);
    ask(&server, WRITE_RAW, &write(&[series])).await?;
    let names = ask(&server, LABELS, &json!({})).await?;
    let names: Vec<&str> =
        names["labelNames"].as_array().context("names")?.iter().filter_map(Value::as_str).collect();
    ensure!(
        names.len() > 3 && names.contains(&"job") && !names.iter().any(|name| name.starts_with("__")),
        "{names:?}"
    );
    let answer = ask(&server, QUERY, &report(&format!("{CPU}{{job=\"go\"}}"), METADATA)).await?;
    let metadata = &answer["profileMetadata"];
    ensure!(metadata["labels"] == json!(names), "{metadata}");
    ensure!(metadata["mappingFiles"].as_array().is_some_and(|files| !files.is_empty()), "{metadata}");
    Ok(())
}
