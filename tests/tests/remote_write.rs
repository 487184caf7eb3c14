//! What recording rules make is written to a Prometheus: the request, attempts after failures, and what is refused.

use anyhow::{Context, Result, ensure};
use everflame_tests::messages::decode;
use everflame_tests::{FarEnd, Manner, Server, now_ms, until};
use serde_json::{Value, json};

const POSITION: &str = ".server/anonymous/recording/remote_write.json";

/// The labels of a series as `name=value name=value`, its value and its time.
fn series(series: &Value) -> Result<(String, f64, i64)> {
    let pair = |label: &Value| Some(format!("{}={}", label["name"].as_str()?, label["value"].as_str()?));
    let labels: Vec<String> =
        series["labels"].as_array().context("labels")?.iter().filter_map(pair).collect();
    let [sample] = series["samples"].as_array().context("samples")?.as_slice() else {
        anyhow::bail!("{series}")
    };
    let time = sample["timestamp"].as_str().context("timestamp")?.parse()?;
    Ok((labels.join(" "), sample["value"].as_f64().context("value")?, time))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rules_make_goes_to_a_prometheus() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut before = Server::start_on(folder.path(), &[])?;
    // The same in each of the last minutes: which of them is over is not known here.
    let minute = now_ms()? / 60_000;
    for at in minute - 4..=minute {
        let time = at * 60 + 30;
        let path = format!(
            "/ingest?name=shop.cpu%7Bpod%3Da%7D&sampleRate=1000000000&from={time}&until={}",
            time + 10
        );
        ensure!(before.post(&path, &[], b"main;work 7\nmain;idle 3\n".to_vec()).await?.0 == 200);
    }
    let mut ids = Vec::new();
    for (name, filter) in [("all", Value::Null), ("work", json!({"functionName": {"functionName": "work"}}))]
    {
        let rule = json!({
            "metricName": format!("profiles_recorded_{name}"),
            "matchers": ["{__profile_type__=\"process_cpu:cpu:nanoseconds:cpu:nanoseconds\"}", "{service_name=\"shop\"}"],
            "groupBy": ["pod", "zone"], "externalLabels": [{"name": "team", "value": "a"}], "stacktraceFilter": filter,
        });
        let rule = before.connect("settings.v1.RecordingRulesService/UpsertRecordingRule", &rule).await?;
        ids.push(rule["rule"]["id"].as_str().context("an id")?.to_owned());
    }
    before.shutdown()?;

    let busy =
        [Manner::Answer(500, "", "broken"), Manner::Answer(429, "retry-after: 1\r\n", ""), Manner::Cut];
    let far = FarEnd::start(&busy).await?;
    let (url, secret) = (format!("{}/api/v1/write", far.url()), "authorization=Bearer tell-nobody");
    let flags = ["--remote-write-url", &url, "--remote-write-headers", secret];
    let mut server = Server::start_on(folder.path(), &flags)?;
    until("it is taken", async || Ok(server.metric("everflame_remote_write_samples_total ").await? >= 2.0))
        .await?;
    ensure!(
        server.metric("everflame_remote_write_retries_total ").await? == 3.0
            && server.metric("everflame_remote_write_dropped_samples_total ").await? == 0.0
    );
    let received = far.received();
    let [first, .., last] = received.get(..4).context("four requests")? else { anyhow::bail!("none") };
    ensure!(received[..4].iter().all(|request| request.body == first.body), "it changed on the way");
    for expect in [
        "post /api/v1/write http/1.1\r\n",
        "content-type: application/x-protobuf\r\n",
        "content-encoding: snappy\r\n",
        "x-prometheus-remote-write-version: 0.1.0\r\n",
        "authorization: bearer tell-nobody\r\n",
        "user-agent: everflame/",
    ] {
        ensure!(last.head.contains(expect), "{expect}: {}", last.head);
    }
    let message = decode("MetricWrite", &snap::raw::Decoder::new().decompress_vec(&last.body)?)?;
    let written = message["timeseries"].as_array().context("series")?;
    let written: Vec<_> = written.iter().map(series).collect::<Result<_>>()?;
    let time = written.first().context("no series")?.2;
    let labels = |name: &str, id: &str| {
        format!("__name__=profiles_recorded_{name} pod=a profiles_rule_id={id} team=a")
    };
    ensure!(
        written == [(labels("all", &ids[0]), 10.0, time), (labels("work", &ids[1]), 7.0, time)],
        "{written:?}"
    );
    ensure!(time % 60_000 == 0 && (15_000..200_000).contains(&(now_ms()? - time)), "{time}");
    let position: Value = serde_json::from_slice(&std::fs::read(folder.path().join(POSITION))?)?;
    ensure!(position["end"].as_i64() >= Some(time * 1_000_000), "{position}");
    let config = server.http().get(server.url("/api/v1/status/config")).send().await?.text().await?;
    ensure!(config.contains("authorization=<hidden>") && !config.contains("tell-nobody"), "{config}");
    ensure!(!server.stderr().contains("tell-nobody"), "{}", server.stderr());
    server.shutdown()?;

    // Who does not want it does not get it twice.
    std::fs::remove_file(folder.path().join(POSITION))?;
    let far = FarEnd::start(&[Manner::Answer(400, "", "out of order sample")]).await?;
    let url = format!("{}/api/v1/write", far.url());
    let server = Server::start_on(folder.path(), &["--remote-write-url", &url])?;
    until("it is refused", async || {
        Ok(server.metric("everflame_remote_write_dropped_samples_total ").await? == 2.0)
    })
    .await?;
    ensure!(server.metric("everflame_remote_write_retries_total ").await? == 0.0);
    ensure!(server.stderr().contains("out of order sample"), "{}", server.stderr());
    Ok(())
}
