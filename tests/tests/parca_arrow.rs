//! Arrow records on Parca's wire: the layout with the stacks beside the samples (WriteArrow), and the one in
//! which the server asks for the stacks that it wants (Write).

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{Array, ArrayRef, BinaryArray, StringArray};
use arrow::datatypes::DataType;
use arrow_ipc::CompressionType;
use arrow_ipc::reader::StreamReader;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use everflame_formats::{Limits, pprof};
use everflame_tests::messages::{decode, encode};
use everflame_tests::parca::QUERY;
use everflame_tests::parca_records::{batch, first_layout, first_locations, second_layout, stream};
use everflame_tests::rpc::{Coding, Method, Wire, call, frame, http2};
use everflame_tests::{Server, now_ms};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const WRITE_ARROW: Method = Method {
    path: "parca.profilestore.v1alpha1.ProfileStoreService/WriteArrow",
    request: "ParcaWriteArrow",
    answer: "Empty",
};
const WRITE: &str = "/parca.profilestore.v1alpha1.ProfileStoreService/Write";

/// What a query for pprof gives: stacks by name, leaf first.
async fn stacks(server: &Server, query: &str) -> Result<BTreeMap<String, i64>> {
    let merge = json!({"query": query, "start": {"seconds": 1}, "end": {"seconds": 4_000_000_000_i64}});
    let request = json!({"mode": 2, "merge": merge, "reportType": 1});
    let answer = call(&http2()?, server, Wire::Grpc, Coding::Plain, QUERY, &request).await?.message;
    let answer = answer.map_err(|refusal| anyhow::anyhow!("{query}: {refusal:?}"))?;
    let bytes = BASE64.decode(answer["pprof"].as_str().context("pprof")?)?;
    let profile = pprof::read(&bytes, &Limits::default())?.profile;
    let mut stacks = BTreeMap::new();
    for sample in 0..profile.samples.len() {
        let names: Vec<_> =
            profile.frames(sample).map(|frame| profile.symbols.name(frame).into_owned()).collect();
        *stacks.entry(names.join(";")).or_default() += profile.values(sample)[0];
    }
    Ok(stacks)
}

fn owned(rows: &[(&str, i64)]) -> BTreeMap<String, i64> {
    rows.iter().map(|(stack, value)| ((*stack).to_owned(), *value)).collect()
}

#[tokio::test]
async fn samples_with_their_stacks() -> Result<()> {
    let time = now_ms()? * 1_000_000 - 60_000_000_000;
    for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
        let server = Server::start()?;
        let buffer = stream(&second_layout(time)?, compression)?;
        let request = json!({"ipcBuffer": BASE64.encode(&buffer)});
        for _ in 0..2 {
            // The second time it is the same upload.
            let answer = call(&http2()?, &server, Wire::Grpc, Coding::Plain, WRITE_ARROW, &request).await?;
            ensure!(answer.message == Ok(json!({})), "{compression:?}: {answer:?}");
        }
        let period = 52_631_578;
        let count = "parca_agent:samples:count:cpu:nanoseconds:delta";
        // Samples are worth their period.
        let web = stacks(&server, &format!("{count}{{container=\"web\"}}")).await?;
        ensure!(web == owned(&[("a.inner_with_a_long_name;a.work;a.main", 3 * period)]), "{web:?}");
        let db = stacks(&server, &format!("{count}{{service_name=\"db\", node=\"n1\", pod=\"\"}}")).await?;
        ensure!(db == owned(&[("0xbeef;a.main", 4 * period)]), "{db:?}");
        let pod = stacks(&server, &format!("{count}{{pod=\"p\"}}")).await?;
        ensure!(pod.values().sum::<i64>() == period, "{pod:?}");
        let cpu = stacks(&server, "parca_agent:cpu:nanoseconds:cpu:nanoseconds:delta{}").await?;
        ensure!(cpu.values().sum::<i64>() == 7 * period, "{cpu:?}");
        let (status, _) = server.get_json("/api/profiles/labels", &[]).await?;
        ensure!(status == 200);
    }
    Ok(())
}

/// A Write: `records` one after the other, each after an answer to the one before. What was answered, and the
/// status at the end with its message.
async fn exchange(server: &Server, records: &[Vec<u8>]) -> Result<(Vec<Vec<u8>>, String, String)> {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Result<Vec<u8>>>();
    let body =
        futures::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let message = |record: &Vec<u8>| -> Result<Vec<u8>> {
        frame(0, &encode("ParcaRecord", &json!({"record": BASE64.encode(record)}))?)
    };
    let mut records = records.iter();
    if let Some(record) = records.next() {
        sender.send(message(record))?;
    }
    let mut sender = Some(sender);
    if records.len() == 0 {
        sender = None;
    }
    let post =
        http2()?.post(server.url(WRITE)).header("content-type", "application/grpc").header("te", "trailers");
    let answer: http::Response<reqwest::Body> =
        post.body(reqwest::Body::wrap_stream(body)).send().await?.into();
    let (head, mut body) = answer.into_parts();
    let (mut answers, mut bytes, mut trailers) = (Vec::new(), Vec::new(), http::HeaderMap::new());
    while let Some(part) = body.frame().await {
        match part?.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(part) => trailers = part.into_trailers().unwrap_or_default(),
        }
        while let Some((length, _)) = bytes.get(1..5).and_then(|length| length.split_first_chunk::<4>()) {
            let end = 5 + u32::from_be_bytes(*length) as usize;
            let Some(whole) = bytes.get(5..end) else { break };
            let answer = decode("ParcaRecord", whole)?;
            answers.push(BASE64.decode(answer["record"].as_str().unwrap_or_default())?);
            bytes.drain(..end);
            match (records.next(), &sender) {
                (Some(record), Some(open)) => open.send(message(record))?,
                _ => sender = None,
            }
            if records.len() == 0 {
                sender = None;
            }
        }
    }
    let text = |name: &str| {
        let value = trailers.get(name).or(head.headers.get(name));
        value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    Ok((answers, text("grpc-status"), text("grpc-message")))
}

#[tokio::test]
async fn stacks_follow_on_demand() -> Result<()> {
    let server = Server::start()?;
    let samples = stream(&first_layout(now_ms()? * 1_000_000)?, None)?;
    let locations = stream(&first_locations()?, Some(CompressionType::LZ4_FRAME))?;
    let (answers, status, message) = exchange(&server, &[samples.clone(), locations]).await?;
    ensure!(status == "0" && answers.len() == 1, "{status} {message} {}", answers.len());
    let wanted = answers.first().context("an answer")?;
    let wanted = StreamReader::try_new(wanted.as_slice(), None)?.next().context("a batch")??;
    let ids = wanted.column_by_name("stacktrace_id").context("stacktrace_id")?;
    ensure!(ids.data_type() == &DataType::Binary, "{:?}", ids.data_type());
    let ids = ids.as_any().downcast_ref::<BinaryArray>().context("bytes")?;
    ensure!(ids.iter().flatten().collect::<Vec<_>>() == [&b"stack-a"[..], b"stack-b"], "{ids:?}");
    let query = "process_cpu:samples:count:cpu:nanoseconds:delta{job=\"first\"}";
    let found = stacks(&server, query).await?;
    ensure!(found == owned(&[("work;main", 50_000_000), ("main", 20_000_000)]), "{found:?}");

    // Half of an exchange stores nothing.
    let server = Server::start()?;
    let (answers, status, message) = exchange(&server, &[samples]).await?;
    ensure!(
        status == "3" && message.contains("the stream ended before the locations"),
        "{status} {message} {answers:?}"
    );
    let (_, has) = server.get_json("/api/profiles/has_profile_data", &[]).await?;
    ensure!(has == json!({"hasData": false}), "{has}");
    Ok(())
}

#[tokio::test]
async fn what_is_no_record_is_refused() -> Result<()> {
    let server = Server::start()?;
    let time = now_ms()? * 1_000_000;
    let whole = second_layout(time)?;
    let good = stream(&whole, None)?;
    let without = |name: &str| -> Result<Vec<u8>> {
        let kept = (0..whole.num_columns()).filter(|&at| whole.schema().field(at).name() != name);
        stream(&whole.project(&kept.collect::<Vec<_>>())?, None)
    };
    let mut outside = good.clone();
    // A length in the last message that is far too large: the body of the stream is cut instead.
    outside.truncate(good.len() - 64);
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    for (buffer, expect) in [
        (b"nonsense".to_vec(), "Arrow IPC stream: "),
        (Vec::new(), "Arrow IPC stream: "),
        (good[..good.len() / 2].to_vec(), "Arrow IPC stream: "),
        (outside, "Arrow IPC stream: "),
        (without("value")?, "Arrow record: it has neither"),
        (without("producer")?, "Arrow record: the column \"producer\" is missing"),
        (stream(&batch(vec![("value", texts)], "v2")?, None)?, "Arrow record: column \"value\" is"),
        (stream(&first_layout(time)?, None)?, "2 stacks have no locations"),
        (stream(&second_layout(time + 86_400_000_000_000)?, None)?, "time: the profile lies"),
    ] {
        let request = json!({"ipcBuffer": BASE64.encode(&buffer)});
        for wire in [Wire::Grpc, Wire::GrpcWeb] {
            match call(&http2()?, &server, wire, Coding::Plain, WRITE_ARROW, &request).await?.message {
                Err(refusal) => ensure!(
                    refusal.code == "invalid_argument" && refusal.message.starts_with(expect),
                    "{refusal:?}, and not {expect}"
                ),
                Ok(_) => bail!("{expect}: taken"),
            }
        }
    }
    let body = serde_json::to_vec(&json!({"ipcBuffer": BASE64.encode(b"nonsense")}))?;
    let (status, answer) =
        server.post("/api/profiles/writearrow", &[("content-type", "application/json")], body).await?;
    let answer: Value = serde_json::from_str(&answer)?;
    ensure!((status, &answer["code"]) == (400, &json!(3)), "{status} {answer}");
    let (_, has) = server.get_json("/api/profiles/has_profile_data", &[]).await?;
    ensure!(has == json!({"hasData": false}), "something was stored: {has}");
    let body = serde_json::to_vec(&json!({"ipcBuffer": BASE64.encode(&good)}))?;
    let answer =
        server.post("/api/profiles/writearrow", &[("content-type", "application/json")], body).await?;
    ensure!(answer == (200, "{}".to_owned()), "{answer:?}");
    Ok(())
}
