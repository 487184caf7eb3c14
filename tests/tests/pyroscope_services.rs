//! Pyroscope's services beside the querier: settings, files ad hoc, source code, feature flags, configuration.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use everflame_formats::gzip;
use everflame_tests::rpc::{self, Coding, Method, Refusal, Wire, call, http2};
use everflame_tests::{Server, pprof};
use serde_json::{Value, json};

async fn ask(server: &Server, wire: Wire, method: Method, request: Value) -> Result<Result<Value, Refusal>> {
    Ok(call(&http2()?, server, wire, Coding::Plain, method, &request).await?.message)
}

async fn answer(server: &Server, wire: Wire, method: Method, request: Value) -> Result<Value> {
    let place = format!("{} {wire:?} {request}", method.path);
    ask(server, wire, method, request).await?.map_err(|refusal| anyhow::anyhow!("{place}: {refusal:?}"))
}

async fn code(server: &Server, wire: Wire, method: Method, request: Value) -> Result<String> {
    Ok(ask(server, wire, method, request)
        .await?
        .map_or_else(|refusal| refusal.code, |answer| answer.to_string()))
}

#[tokio::test]
async fn recording_rules_are_kept() -> Result<()> {
    let mut server = Server::start()?;
    let matchers =
        ["{__profile_type__=\"process_cpu:cpu:nanoseconds:cpu:nanoseconds\"}", "{service_name=~\"s.*\"}"];
    let label = json!({"name": "team", "value": "a"});
    let mut kept = Vec::new();
    for wire in Wire::ALL {
        let request = json!({"metricName": "profiles_recorded_cpu", "matchers": matchers, "groupBy": ["pod"],
            "externalLabels": [label], "stacktraceFilter": {"functionName": {"functionName": "work"}}});
        let rule = answer(&server, wire, rpc::RULE_UPSERT, request).await?["rule"].clone();
        ensure!(rule["profileType"] == "process_cpu:cpu:nanoseconds:cpu:nanoseconds", "{rule}");
        ensure!(rule["generation"] == "1" && rule["externalLabels"] == json!([label]), "{rule}");
        ensure!(rule["stacktraceFilter"]["functionName"]["functionName"] == "work", "{rule}");
        let id = rule["id"].clone();
        ensure!(answer(&server, wire, rpc::RULE_GET, json!({"id": id})).await?["rule"] == rule);
        // An update says which state it has seen.
        let update = |generation: i64| json!({"id": id, "metricName": "profiles_recorded_b", "matchers": matchers, "generation": generation});
        ensure!(code(&server, wire, rpc::RULE_UPSERT, update(7)).await? == "already_exists");
        let changed = answer(&server, wire, rpc::RULE_UPSERT, update(1)).await?["rule"].clone();
        ensure!(changed["generation"] == "2" && changed["metricName"] == "profiles_recorded_b", "{changed}");
        kept.push(changed);
        for wrong in [
            json!({}),
            json!({"metricName": "cpu", "matchers": matchers}),
            json!({"metricName": "profiles_recorded_cpu", "matchers": ["{service_name=\"s\"}"]}),
            json!({"metricName": "profiles_recorded_cpu", "matchers": matchers, "groupBy": ["a b"]}),
            json!({"id": "a-b", "metricName": "profiles_recorded_cpu", "matchers": matchers}),
        ] {
            ensure!(code(&server, wire, rpc::RULE_UPSERT, wrong).await? == "invalid_argument");
        }
        for (method, request) in
            [(rpc::RULE_GET, json!({"id": "none"})), (rpc::RULE_DELETE, json!({"id": "none"}))]
        {
            ensure!(code(&server, wire, method, request).await? == "not_found");
            ensure!(code(&server, wire, method, json!({})).await? == "invalid_argument");
        }
    }
    let gone = kept.remove(0);
    ensure!(answer(&server, Wire::Grpc, rpc::RULE_DELETE, json!({"id": gone["id"]})).await? == json!({}));
    server.kill9()?;
    server.restart()?;
    ensure!(answer(&server, Wire::Grpc, rpc::RULE_LIST, json!({})).await? == json!({"rules": kept}));
    let rule = json!({"metricName": "profiles_recorded_c", "matchers": matchers});
    for _ in kept.len()..25 {
        answer(&server, Wire::ConnectProto, rpc::RULE_UPSERT, rule.clone()).await?;
    }
    ensure!(code(&server, Wire::ConnectProto, rpc::RULE_UPSERT, rule).await? == "resource_exhausted");
    Ok(())
}

#[tokio::test]
async fn settings_survive_a_crash() -> Result<()> {
    let mut server = Server::start()?;
    for (at, wire) in Wire::ALL.into_iter().enumerate() {
        let name = format!("pluginSettings.{at}");
        let setting = json!({"name": name, "value": "{\"a\":1}", "modifiedAt": "1000"});
        ensure!(
            answer(&server, wire, rpc::SETTINGS_SET, json!({"setting": setting})).await?["setting"]
                == setting
        );
        let newer = json!({"setting": {"name": name, "value": "x", "modifiedAt": "2000"}});
        ensure!(answer(&server, wire, rpc::SETTINGS_SET, newer.clone()).await? == newer);
        let older = json!({"setting": {"name": name, "value": "y", "modifiedAt": "1999"}});
        ensure!(code(&server, wire, rpc::SETTINGS_SET, older).await? == "already_exists");
        ensure!(code(&server, wire, rpc::SETTINGS_SET, json!({})).await? == "invalid_argument");
        let nameless = json!({"setting": {"value": "y"}});
        ensure!(code(&server, wire, rpc::SETTINGS_SET, nameless).await? == "invalid_argument");
        let long = json!({"setting": {"name": "long", "value": "y".repeat(100_000)}});
        ensure!(code(&server, wire, rpc::SETTINGS_SET, long).await? == "invalid_argument");
    }
    let gone = json!({"name": "pluginSettings.0"});
    ensure!(answer(&server, Wire::ConnectJson, rpc::SETTINGS_DELETE, gone.clone()).await? == json!({}));
    ensure!(answer(&server, Wire::ConnectJson, rpc::SETTINGS_DELETE, gone).await? == json!({}));
    ensure!(code(&server, Wire::Grpc, rpc::SETTINGS_DELETE, json!({})).await? == "invalid_argument");
    // Without a time it is now.
    let setting = json!({"setting": {"name": "now", "value": "z"}});
    let set = answer(&server, Wire::ConnectJson, rpc::SETTINGS_SET, setting).await?;
    let modified: i64 = set["setting"]["modifiedAt"].as_str().context("modifiedAt")?.parse()?;
    ensure!((everflame_tests::now_ms()? - modified).abs() < 600_000, "{set}");
    server.kill9()?;
    server.restart()?;
    for wire in Wire::ALL {
        let found = answer(&server, wire, rpc::SETTINGS_GET, json!({})).await?;
        let names: Vec<_> =
            found["settings"].as_array().into_iter().flatten().map(|one| &one["name"]).collect();
        let kept = (1..Wire::ALL.len()).map(|at| format!("pluginSettings.{at}"));
        ensure!(
            names
                .iter()
                .map(|name| name.as_str().unwrap_or_default())
                .eq(std::iter::once("now".to_owned()).chain(kept)),
            "{found}"
        );
    }
    Ok(())
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[tokio::test]
async fn files_are_looked_at_ad_hoc() -> Result<()> {
    let mut server = Server::start()?;
    let stacks: [(&[u64], i64, &str); 2] = [(&[1], 3, ""), (&[2, 1], 4, "")];
    let file = gzip::deflate(&pprof(1_700_000_000_000_000_000, &stacks, &["main", "work"]));
    let mut ids = Vec::new();
    for wire in Wire::ALL {
        let upload = json!({"name": "a b.pb.gz", "profile": base64(&file)});
        let found = answer(&server, wire, rpc::AD_HOC_UPLOAD, upload).await?;
        let graph: Value = serde_json::from_str(found["flamebearerProfile"].as_str().context("no graph")?)?;
        ensure!(
            graph["flamebearer"]["numTicks"] == 7 && graph["flamebearer"]["names"][0] == "total",
            "{graph}"
        );
        ensure!(graph["metadata"]["format"] == "single" && graph["timeline"].is_null(), "{graph}");
        ensure!(found["profileTypes"] == json!(["samples"]) && found["profileType"] == "samples", "{found}");
        let id = found["id"].as_str().context("no id")?;
        ensure!(id.len() == 26 + 1 + 9 && id.ends_with("-a_b.pb.gz"), "{id}");
        let get = json!({"id": id, "profileType": "samples", "maxNodes": 100});
        ensure!(answer(&server, wire, rpc::AD_HOC_GET, get).await? == found);
        ids.push(id.to_owned());
        for (name, what) in [
            ("folded", "main;work 3\nmain 4\n".to_owned()),
            ("perf", "a 1 [000] 1.0: 1 cycles:\n\t1 work (/bin/a)\n\t2 main (/bin/a)\n\n".to_owned()),
            ("flamebearer", graph.to_string()),
        ] {
            let upload = json!({"name": name, "profile": base64(what.as_bytes())});
            let found = answer(&server, wire, rpc::AD_HOC_UPLOAD, upload).await?;
            let graph = found["flamebearerProfile"].as_str().unwrap_or_default();
            ensure!(graph.contains("\"work\"") && graph.contains("\"main\""), "{name}: {found}");
            if name == "flamebearer" {
                let diff = json!({"leftId": ids[0], "rightId": found["id"]});
                let diff = answer(&server, wire, rpc::AD_HOC_DIFF, diff).await?;
                let graph: Value =
                    serde_json::from_str(diff["flamebearerProfile"].as_str().unwrap_or_default())?;
                ensure!(graph["leftTicks"] == 7 && graph["rightTicks"] == 7, "{graph}");
                ensure!(
                    graph["metadata"]["format"] == "double" && diff["profileTypes"] == json!(["samples"])
                );
            }
        }
        let unnamed = answer(&server, wire, rpc::AD_HOC_UPLOAD, json!({"profile": base64(&file)})).await?;
        let id_of_it = unnamed["id"].as_str().context("no id")?;
        ensure!(id_of_it.len() == 26 + 1 && id_of_it.ends_with('-'), "{id_of_it}");
        let get = json!({"id": id_of_it, "profileType": "samples"});
        ensure!(answer(&server, wire, rpc::AD_HOC_GET, get).await? == unnamed);
        for (method, request, expect) in [
            (rpc::AD_HOC_UPLOAD, json!({"name": "x", "profile": base64(b"{}")}), "invalid_argument"),
            (rpc::AD_HOC_UPLOAD, json!({"name": "x", "profile": "no base64!"}), "invalid_argument"),
            (rpc::AD_HOC_GET, json!({"id": "../../etc/passwd"}), "invalid_argument"),
            (rpc::AD_HOC_GET, json!({"id": "01HF7YAT3VZZZZZZZZZZZZZZZZ-x"}), "not_found"),
            (rpc::AD_HOC_GET, json!({"id": id, "profileType": "cpu"}), "invalid_argument"),
            (rpc::AD_HOC_DIFF, json!({"leftId": id, "rightId": "x"}), "invalid_argument"),
        ] {
            let actual = code(&server, wire, method, request.clone()).await?;
            ensure!(actual == expect, "{} {request}: {actual}", method.path);
        }
    }
    server.kill9()?;
    server.restart()?;
    let found = answer(&server, Wire::Grpc, rpc::AD_HOC_LIST, json!({})).await?;
    let listed = found["profiles"].as_array().context("no list")?;
    ensure!(listed.len() == 5 * Wire::ALL.len(), "{}", listed.len());
    ensure!(listed.last().is_some_and(|oldest| oldest["id"] == ids[0].as_str()), "{found}");
    let is_named =
        |one: &Value| one["name"].is_string() != one["id"].as_str().unwrap_or_default().ends_with('-');
    ensure!(listed.iter().all(|one| is_named(one) && one["uploadedAt"].is_string()), "{found}");
    Ok(())
}

#[tokio::test]
async fn probes() -> Result<()> {
    let server = Server::start_with(&["--max-bytes-per-second=1MiB", "--rate-burst=2s"])?;
    for wire in Wire::ALL {
        for method in [rpc::GITHUB_APP, rpc::GITHUB_LOGIN, rpc::GITHUB_REFRESH] {
            let refusal = ask(&server, wire, method, json!({})).await?.err().context("it is configured")?;
            ensure!(
                refusal.code == "unimplemented" && refusal.message.contains("not configured"),
                "{refusal:?}"
            );
        }
        let flags = answer(&server, wire, rpc::FEATURE_FLAGS, json!({})).await?;
        for name in ["utf8LabelNames", "pyroscopeRuler", "pyroscopeRulerFunctions"] {
            let all = flags["featureFlags"].as_array().into_iter().flatten();
            ensure!(
                all.filter(|flag| flag["name"] == name && flag["enabled"] == true).count() == 1,
                "{flags}"
            );
        }
        let query = json!({"start": 1, "end": 2, "query": "{}"});
        ensure!(answer(&server, wire, rpc::ANALYZE, query).await? == json!({}));
    }
    let get = async |path: &str| {
        let answer = server.http().get(server.url(path)).send().await?.error_for_status()?;
        anyhow::Ok(answer.text().await?)
    };
    let limits: Value = serde_json::from_str(&get("/api/v1/tenant_limits").await?)?;
    ensure!(limits["ingestion_rate"] == 1 << 20 && limits["ingestion_burst_size"] == 2 << 20, "{limits}");
    ensure!(get("/api/v1/status/config").await?.contains("rate-burst: 2s\n"));
    ensure!(get("/api/v1/status/config/default").await?.contains("rate-burst: 10s\n"));
    let diff = get("/api/v1/status/config/diff").await?;
    ensure!(diff.contains("rate-burst: 2s\n") && !diff.contains("max-samples"), "{diff}");
    let build: Value = serde_json::from_str(&get("/api/v1/status/buildinfo").await?)?;
    ensure!(build["status"] == "success" && build["data"]["version"].is_string(), "{build}");
    Ok(())
}
