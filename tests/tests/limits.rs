//! Relabelling rules, rates and sizes, and what the server says about whatever it dropped.

use anyhow::{Result, ensure};
use everflame_tests::rpc::{frame, http2};
use everflame_tests::{Server, pprof, push_message};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

const FOLDED: &str = "main;work 3\nmain;idle 1\n";

/// Sends folded stacks to `/ingest`; the status, `Retry-After` and the message of a refusal.
async fn ingest(server: &Server, name: &str, body: &str) -> Result<(u16, Option<u64>, String)> {
    let query = [("name", name), ("format", "folded")];
    let answer = server.http().post(server.url("/ingest")).query(&query).body(body.to_owned()).send().await?;
    refusal(answer).await
}

async fn refusal(answer: reqwest::Response) -> Result<(u16, Option<u64>, String)> {
    let status = answer.status().as_u16();
    let retry = answer.headers().get("retry-after").map(|value| value.to_str()).transpose()?;
    let retry = retry.map(str::parse).transpose()?;
    Ok((status, retry, answer.text().await?))
}

async fn series(server: &Server) -> Result<Vec<String>> {
    let question = json!({"start": 1, "end": 99_999_999_999_999_i64});
    let answer = server.connect("querier.v1.QuerierService/Series", &question).await?;
    let text = |labels: &Value| {
        let pairs = labels["labels"].as_array().into_iter().flatten();
        let pairs = pairs.filter(|pair| !pair["name"].as_str().unwrap_or_default().starts_with("__"));
        let pairs = pairs.map(|pair| format!("{}={}", pair["name"], pair["value"]).replace('"', ""));
        pairs.collect::<Vec<_>>().join(" ")
    };
    let mut found: Vec<String> = answer["labelsSet"].as_array().into_iter().flatten().map(text).collect();
    found.sort();
    found.dedup();
    Ok(found)
}

async fn dropped(server: &Server, query: &str) -> Result<Vec<Value>> {
    let url = server.url(&format!("/api/v1/status/dropped?{query}"));
    let answer: Value = server.http().get(url).send().await?.error_for_status()?.json().await?;
    ensure!(answer["since"].as_str() <= answer["now"].as_str(), "{answer}");
    Ok(answer["dropped"].as_array().cloned().unwrap_or_default())
}

#[tokio::test]
async fn rules_rewrite_and_drop() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("everflame.yaml");
    std::fs::write(
        &file,
        "relabel:\n\
         - source_labels: [env]\n\
         \x20 regex: dev|test\n\
         \x20 action: drop\n\
         - regex: secret|pyroscope_spy\n\
         \x20 action: labeldrop\n\
         - source_labels: [team, service_name]\n\
         \x20 regex: (.+);(.*)\n\
         \x20 target_label: service_name\n\
         \x20 replacement: $1/$2\n\
         - source_labels: [__name__]\n\
         \x20 regex: block\n\
         \x20 action: drop\n",
    )?;
    let server = Server::start_with(&["--config", &file.display().to_string()])?;
    for name in ["shop{env=dev}", "shop{env=prod,secret=1}", "shop{team=web}", "shop.block_count"] {
        let answer = ingest(&server, name, FOLDED).await?;
        // What a rule drops is no fault of the sender.
        ensure!(answer == (200, None, String::new()), "{name}: {answer:?}");
    }
    ensure!(series(&server).await? == ["env=prod service_name=shop", "service_name=web/shop team=web"]);

    let found = dropped(&server, "reason=relabel").await?;
    ensure!(found.len() == 1 && found[0]["count"] == 2 && found[0]["what"] == "profiles", "{found:?}");
    ensure!(found[0]["service"] == "shop" && found[0]["tenant"] == "anonymous", "{found:?}");
    ensure!(found[0]["bytes"] == FOLDED.len() * 2, "{found:?}");
    let first = ingest(&server, "other{env=test}", FOLDED).await?;
    ensure!(first.0 == 200);
    let found = dropped(&server, "service=other").await?;
    ensure!(found[0]["example"]["labels"]["env"] == "test", "{found:?}");
    let message = found[0]["example"]["message"].as_str().unwrap_or_default();
    ensure!(message.starts_with("rule 1 of relabel drops process_cpu:cpu:"), "{message}");
    ensure!(server.metric("everflame_dropped_total{reason=\"relabel\"").await? == 3.0);
    Ok(())
}

#[tokio::test]
async fn samples_of_one_upload_may_go_different_ways() -> Result<()> {
    let rules = r#"[{source_labels: [label], regex: noise, action: drop}, {source_labels: [label], regex: (x.*), target_label: service_name}]"#;
    let server = Server::start_with(&["--relabel", rules])?;
    let stacks: [(&[u64], i64, &str); 3] = [(&[1], 5, "noise"), (&[2], 7, "x1"), (&[1, 2], 9, "y")];
    let profile = pprof(everflame_tests::now_ms()? * 1_000_000, &stacks, &["a", "b"]);
    let labels = [("__name__", "process_cpu"), ("service_name", "cart")];
    let id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    for _ in 0..2 {
        let answer = server.http().post(server.url("/push.v1.PusherService/Push"));
        let answer =
            answer.header("content-type", "application/proto").body(push_message(&labels, id, &profile));
        ensure!(answer.send().await?.status() == 200);
    }
    let found = series(&server).await?;
    ensure!(found == ["label=x1 service_name=x1", "label=y service_name=cart"], "{found:?}");
    // The second upload has the id of the first: nothing counts twice.
    let now = everflame_tests::now_ms()?;
    for (service, total) in [("cart", "9"), ("x1", "7")] {
        let question = json!({"profileTypeID": everflame_tests::UPLOAD_TYPE, "start": now - 60_000, "end": now + 1,
            "labelSelector": format!("{{service_name=\"{service}\"}}")});
        let answer = server.connect("querier.v1.QuerierService/SelectMergeStacktraces", &question).await?;
        ensure!(answer["flamegraph"]["total"] == total, "{service}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn rates_say_when_to_come_back() -> Result<()> {
    let server = Server::start_with(&[
        "--rate-burst=3600s",
        "--max-service-bytes-per-second=1",
        "--limit-overrides={service_name=\"slow\"} profiles=1 bytes=unlimited; {service_name=\"small\"} samples=1",
    ])?;
    // A bucket of an hour is emptied at once; then a thousand bytes take a thousand seconds.
    ensure!(ingest(&server, "shop", &format!("{} 1\n", "a".repeat(4_000))).await?.0 == 200);
    let (status, retry, message) = ingest(&server, "shop", &"a 1\n".repeat(250)).await?;
    ensure!(status == 429 && message.contains("\"resource_exhausted\""), "{status} {message}");
    ensure!(message.contains(r#"the service \"shop\" may send 1 bytes a second"#), "{message}");
    let retry = retry.unwrap_or_default();
    ensure!((1_000..=1_410).contains(&retry), "{retry}");
    // Others are not held up.
    ensure!(ingest(&server, "cart", FOLDED).await?.0 == 200);
    ensure!(ingest(&server, "slow", FOLDED).await?.0 == 200);
    let (status, _, message) = ingest(&server, "small", FOLDED).await?;
    ensure!(status == 413, "{status} {message}");

    // The same on the other wires, each in its own form.
    let profile = pprof(0, &[(&[1], 5, "")], &["a"]);
    let labels = [("__name__", "process_cpu"), ("service_name", "shop")];
    let message = push_message(&labels, "", &profile);
    let push = server.url("/push.v1.PusherService/Push");
    let answer = server.http().post(&push).header("content-type", "application/proto").body(message.clone());
    let (status, retry, text) = refusal(answer.send().await?).await?;
    let body: Value = serde_json::from_str(&text)?;
    ensure!(status == 429 && retry.is_some() && body["code"] == "resource_exhausted", "{status} {body}");
    ensure!(body["details"][0]["type"] == "google.rpc.RetryInfo", "{body}");
    let answer = http2()?.post(&push).header("content-type", "application/grpc").header("te", "trailers");
    let answer: http::Response<reqwest::Body> = answer.body(frame(0, &message)?).send().await?.into();
    let trailers = answer.into_body().collect().await?.trailers().cloned().unwrap_or_default();
    ensure!(trailers.get("grpc-status").is_some_and(|status| status == "8"), "{trailers:?}");
    ensure!(trailers.contains_key("grpc-status-details-bin"), "{trailers:?}");
    let url = server.url("/api/0/profiles?service=shop&type=cpu");
    let (status, retry, text) = refusal(server.http().post(url).body(profile).send().await?).await?;
    ensure!(status == 429 && retry.is_some() && text.contains("\"code\":429"), "{status} {text}");

    let found = dropped(&server, "reason=service_rate&service=shop").await?;
    ensure!(found.len() == 1 && found[0]["count"] == 4, "{found:?}");
    ensure!(found[0]["example"]["labels"]["service_name"] == "shop", "{found:?}");
    let found = dropped(&server, "service=small").await?;
    ensure!(found.len() == 1 && found[0]["reason"] == "too_large", "{found:?}");
    Ok(())
}

#[tokio::test]
async fn the_tenant_has_a_rate_of_its_own() -> Result<()> {
    let server = Server::start_with(&["--rate-burst=1h", "--max-profiles-per-second=1"])?;
    for at in 0..3_600 / 100 {
        ensure!(ingest(&server, &format!("s{at}"), FOLDED).await?.0 == 200);
    }
    // An export counts as many profiles as it has.
    let profile = json!({"sampleType": {"typeStrindex": 1, "unitStrindex": 2}, "timeUnixNano": "1700000000000000000",
        "samples": [{"stackIndex": 1, "values": ["1"]}]});
    let export = json!({
        "resourceProfiles": [{"scopeProfiles": [{"profiles": vec![profile; 4_000]}]}],
        "dictionary": {
            "mappingTable": [{}], "functionTable": [{}, {"nameStrindex": 3}], "linkTable": [{}], "attributeTable": [{}],
            "locationTable": [{}, {"lines": [{"functionIndex": 1}]}], "stringTable": ["", "samples", "count", "main"],
            "stackTable": [{}, {"locationIndices": [1]}],
        },
    });
    let send = async |server: &Server| {
        let answer = server.http().post(server.url("/v1development/profiles")).json(&export).send().await?;
        refusal(answer).await
    };
    let (status, retry, text) = send(&server).await?;
    let body: Value = serde_json::from_str(&text)?;
    ensure!(status == 429 && body["code"] == 8 && retry.is_some(), "{status} {body}");
    ensure!(
        body["message"].as_str().unwrap_or_default().contains("this tenant may send 1 profiles"),
        "{body}"
    );
    let found = dropped(&server, "reason=tenant_rate").await?;
    ensure!(found.len() == 1 && found[0]["service"].is_null(), "{found:?}");
    // What is larger than a full bucket passes when it is full, all of it, and is paid for once.
    let server = Server::start_with(&["--rate-burst=1h", "--max-profiles-per-second=1"])?;
    let (status, _, text) = send(&server).await?;
    ensure!(status == 200 && !text.contains("rejected"), "{status} {text}");
    ensure!(ingest(&server, "next", FOLDED).await?.0 == 429);
    Ok(())
}

#[tokio::test]
async fn a_message_that_is_refused_in_part_says_whether_to_come_again() -> Result<()> {
    let server =
        Server::start_with(&["--rate-burst=1h", "--limit-overrides={service_name=\"slow\"} bytes=1"])?;
    ensure!(ingest(&server, "slow", &format!("{} 1\n", "a".repeat(4_000))).await?.0 == 200);
    let profile = pprof(0, &[(&[1], 5, "")], &["a"]);
    let of = |name, service| push_message(&[("__name__", name), ("service_name", service)], "", &profile);
    let (good, slow, wrong) = (of("process_cpu", "shop"), of("process_cpu", "slow"), of("", "shop"));
    for (parts, status) in
        [([&good, &wrong, &slow], 429), ([&slow, &wrong, &good], 429), ([&good, &wrong, &good], 400)]
    {
        let message = parts.map(|part| part.as_slice()).concat();
        let push = server.http().post(server.url("/push.v1.PusherService/Push"));
        let answer = push.header("content-type", "application/proto").body(message).send().await?;
        let (found, retry, text) = refusal(answer).await?;
        ensure!(found == status && retry.is_some() == (status == 429), "{found} {retry:?} {text}");
    }
    Ok(())
}

#[tokio::test]
async fn sizes_of_services_hold_on_every_wire() -> Result<()> {
    let rules = "{service_name=\"small\"} samples=1; {service_name=\"flat\"} depth=1; {service_name=\"plain\"} upload-label-sets=1";
    let server = Server::start_with(&["--limit-overrides", rules])?;
    ensure!(ingest(&server, "small", FOLDED).await?.0 == 413);
    ensure!(ingest(&server, "large", FOLDED).await?.0 == 200);
    ensure!(ingest(&server, "flat", FOLDED).await?.0 == 200);
    let found = dropped(&server, "service=flat").await?;
    ensure!(found.len() == 1 && found[0]["reason"] == "stack_depth" && found[0]["count"] == 2, "{found:?}");

    // Of an export the others are taken.
    let of = |service: &str| {
        json!({
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
            "scopeProfiles": [{"profiles": [{
                "sampleType": {"typeStrindex": 1, "unitStrindex": 2}, "timeUnixNano": "1700000000000000000",
                "samples": [{"stackIndex": 1, "values": ["1"]}, {"stackIndex": 1, "values": ["2"]}],
            }]}],
        })
    };
    let export = json!({
        "resourceProfiles": [of("small"), of("large")],
        "dictionary": {
            "mappingTable": [{}], "functionTable": [{}, {"nameStrindex": 3}], "linkTable": [{}], "attributeTable": [{}],
            "locationTable": [{}, {"lines": [{"functionIndex": 1}]}], "stringTable": ["", "samples", "count", "main"],
            "stackTable": [{}, {"locationIndices": [1]}],
        },
    });
    let answer = server.http().post(server.url("/v1development/profiles")).json(&export).send().await?;
    let (status, _, text) = refusal(answer).await?;
    let body: Value = serde_json::from_str(&text)?;
    ensure!(status == 200 && body["partialSuccess"]["rejectedProfiles"] == "1", "{status} {body}");
    ensure!(
        body["partialSuccess"]["errorMessage"].as_str().unwrap_or_default().contains("2 samples"),
        "{body}"
    );
    let found = dropped(&server, "service=small").await?;
    ensure!(found.len() == 1 && found[0]["reason"] == "too_large" && found[0]["count"] == 2, "{found:?}");

    let stacks: [(&[u64], i64, &str); 2] = [(&[1], 5, "x"), (&[1], 7, "y")];
    let profile = pprof(everflame_tests::now_ms()? * 1_000_000, &stacks, &["a"]);
    for service in ["plain", "many"] {
        let labels = [("__name__", "process_cpu"), ("service_name", service)];
        let answer = server.http().post(server.url("/push.v1.PusherService/Push"));
        let answer =
            answer.header("content-type", "application/proto").body(push_message(&labels, "", &profile));
        ensure!(answer.send().await?.status() == 200);
    }
    let mut found = series(&server).await?;
    found.retain(|labels| labels.contains("plain") || labels.contains("many"));
    let expect = ["label=x service_name=many", "label=y service_name=many", "service_name=plain"];
    ensure!(found == expect, "{found:?}");
    Ok(())
}

#[tokio::test]
async fn nonsense_is_refused_at_the_start() -> Result<()> {
    for (flag, expect) in [
        ("--relabel=[{action: hashmod, target_label: a}]", "rule 1: hashmod needs a modulus"),
        ("--relabel=[{regex: '(', action: drop}]", "rule 1: regex"),
        ("--relabel=drop", "write a list of rules"),
        ("--limit-overrides={a=\"b\"} rows=1", "there is no bound \"rows\""),
        ("--max-profiles-per-second=many", "is not a whole number above zero"),
    ] {
        let ran = everflame_tests::everflame(&["config", flag])?;
        ensure!(ran.code == Some(2) && ran.stderr.contains(expect), "{flag}: {}", ran.stderr);
    }
    Ok(())
}
