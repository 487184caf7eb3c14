//! Arrow records on Parca's wire: the layout with the stacks beside the samples (WriteArrow), and the one in
//! which the server asks for the stacks that it wants (Write).

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{
    Array, ArrayRef, BinaryArray, DictionaryArray, Int32Array, Int64Array, ListArray, ListViewArray,
    RunArray, StringArray, StringViewArray, StructArray, TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema, UInt32Type};
use arrow::record_batch::RecordBatch;
use arrow_ipc::CompressionType;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use everflame_formats::{Limits, pprof};
use everflame_tests::messages::{decode, encode};
use everflame_tests::parca::QUERY;
use everflame_tests::rpc::{Coding, Method, Wire, call, frame, http2};
use everflame_tests::{Server, now_ms};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const WRITE_ARROW: Method = Method {
    path: "parca.profilestore.v1alpha1.ProfileStoreService/WriteArrow",
    request: "ParcaWriteArrow",
    answer: "Empty",
};
const WRITE: &str = "/parca.profilestore.v1alpha1.ProfileStoreService/Write";

/// Each row its text, as a dictionary.
fn dictionary(texts: &[&str]) -> ArrayRef {
    let mut values: Vec<&str> = texts.to_vec();
    values.sort_unstable();
    values.dedup();
    let key = |text: &&str| {
        (!text.is_empty()).then(|| values.iter().position(|value| value == text).unwrap_or(0) as u32)
    };
    let keys: UInt32Array = texts.iter().map(key).collect();
    Arc::new(DictionaryArray::<UInt32Type>::new(keys, Arc::new(StringArray::from(values.clone()))))
}

/// The same with the bytes of texts.
fn binary_dictionary(texts: &[&str]) -> ArrayRef {
    let keys: UInt32Array = (0..texts.len() as u32).map(Some).collect();
    let values: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    Arc::new(DictionaryArray::<UInt32Type>::new(keys, Arc::new(BinaryArray::from_vec(values))))
}

/// `values`, each for as many rows as `ends` says.
fn runs(ends: &[i32], values: ArrayRef) -> Result<ArrayRef> {
    let ends = Int32Array::from(ends.to_vec());
    Ok(Arc::new(RunArray::<Int32Type>::try_new(&ends, values.as_ref())?))
}

fn structs(columns: Vec<(&str, ArrayRef)>) -> Result<ArrayRef> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    Ok(Arc::new(StructArray::try_new(Fields::from(fields), columns, None)?))
}

fn list_view(lists: &[(i32, i32)], values: ArrayRef) -> Result<ArrayRef> {
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    let offsets = ScalarBuffer::from(lists.iter().map(|(offset, _)| *offset).collect::<Vec<_>>());
    let sizes = ScalarBuffer::from(lists.iter().map(|(_, size)| *size).collect::<Vec<_>>());
    Ok(Arc::new(ListViewArray::try_new(field, offsets, sizes, values, None)?))
}

fn stream(batch: &RecordBatch, compression: Option<CompressionType>) -> Result<Vec<u8>> {
    let options = IpcWriteOptions::default().try_with_compression(compression)?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options)?;
    writer.write(batch)?;
    Ok(writer.into_inner()?)
}

fn batch(columns: Vec<(&str, ArrayRef)>, version: &str) -> Result<RecordBatch> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let metadata = HashMap::from([("parca_write_schema_version".to_owned(), version.to_owned())]);
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new_with_metadata(fields, metadata)), columns)?)
}

/// Three samples of two containers, 19 a second: `main;work` twice and `main;0xbeef`; `work` has `inner`
/// inlined into it.
fn second_layout(time: i64) -> Result<RecordBatch> {
    let functions = structs(vec![
        (
            "system_name",
            Arc::new(StringViewArray::from(vec!["a.main", "a.work", "a.inner_with_a_long_name"])),
        ),
        ("filename", dictionary(&["main.go", "work.go", "work.go"])),
        ("start_line", Arc::new(UInt64Array::from(vec![1, 10, 20]))),
    ])?;
    let function = DictionaryArray::<UInt32Type>::new(UInt32Array::from(vec![0, 2, 1]), functions);
    let lines = structs(vec![
        ("line", Arc::new(UInt64Array::from(vec![3, 21, 12]))),
        ("column", Arc::new(UInt64Array::from(vec![0, 0, 0]))),
        ("function", Arc::new(function)),
    ])?;
    let locations = structs(vec![
        ("address", Arc::new(UInt64Array::from(vec![0x10, 0x20, 0xbeef]))),
        ("frame_type", dictionary(&["native", "native", "kernel"])),
        ("mapping_file", dictionary(&["/bin/app", "/bin/app", "[kernel.kallsyms]"])),
        ("mapping_build_id", dictionary(&["abc", "abc", ""])),
        ("lines", list_view(&[(0, 1), (1, 2), (0, 0)], lines)?),
    ])?;
    let keys = UInt32Array::from(vec![1, 0, 2, 0]);
    let location = DictionaryArray::<UInt32Type>::new(keys, locations);
    let stacks = list_view(&[(0, 2), (0, 2), (2, 2)], Arc::new(location))?;
    let all = |text: &str| runs(&[3], Arc::new(StringArray::from(vec![text])));
    let labels = structs(vec![
        ("node", runs(&[3], dictionary(&["n1"]))?),
        ("container", runs(&[2, 3], dictionary(&["web", "db"]))?),
        ("pod", runs(&[1, 3], dictionary(&["p", ""]))?),
    ])?;
    batch(
        vec![
            ("labels", labels),
            ("stacktrace", stacks),
            ("value", Arc::new(Int64Array::from(vec![1, 2, 4]))),
            ("producer", all("parca_agent")?),
            ("sample_type", all("samples")?),
            ("sample_unit", all("count")?),
            ("period_type", all("cpu")?),
            ("period_unit", all("nanoseconds")?),
            ("temporality", all("delta")?),
            ("period", runs(&[3], Arc::new(Int64Array::from(vec![52_631_578])))?),
            ("duration", runs(&[3], Arc::new(UInt64Array::from(vec![10_000_000_000])))?),
            ("timestamp", Arc::new(TimestampNanosecondArray::from(vec![time; 3]))),
        ],
        "v2",
    )
}

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

/// Samples of the first layout: stacks are named by their ids.
fn first_layout(time: i64) -> Result<RecordBatch> {
    let all = |text: &str| runs(&[3], binary_dictionary(&[text]));
    let numbers = |number: i64| runs(&[3], Arc::new(Int64Array::from(vec![number])));
    batch(
        vec![
            ("duration", numbers(10_000_000_000)?),
            ("labels.job", runs(&[3], binary_dictionary(&["first"]))?),
            ("period", numbers(10_000_000)?),
            ("period_type", all("cpu")?),
            ("period_unit", all("nanoseconds")?),
            ("producer", all("process_cpu")?),
            ("sample_type", all("samples")?),
            ("sample_unit", all("count")?),
            ("stacktrace_id", runs(&[1, 2, 3], binary_dictionary(&["stack-a", "stack-b", "stack-a"]))?),
            ("timestamp", numbers(time)?),
            ("value", Arc::new(Int64Array::from(vec![1, 2, 4]))),
        ],
        "v1",
    )
}

/// Their locations: `main;work` and `main`.
fn first_locations() -> Result<RecordBatch> {
    let lines = structs(vec![
        ("line", Arc::new(Int64Array::from(vec![7, 3, 3]))),
        ("column", Arc::new(UInt64Array::from(vec![0, 0, 0]))),
        ("function_name", binary_dictionary(&["work", "main", "main"])),
        ("function_system_name", binary_dictionary(&["_Zwork", "main", "main"])),
        ("function_filename", runs(&[3], binary_dictionary(&["a.c"]))?),
        ("function_start_line", Arc::new(Int64Array::from(vec![5, 1, 1]))),
    ])?;
    let list = |offsets: Vec<i32>, values: ArrayRef| -> Result<ArrayRef> {
        let field = Arc::new(Field::new("item", values.data_type().clone(), true));
        Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::new(offsets.into()), values, None)?))
    };
    let numbers = |number: u64| runs(&[3], Arc::new(UInt64Array::from(vec![number])));
    let locations = structs(vec![
        ("address", Arc::new(UInt64Array::from(vec![0x10, 0x20, 0x20]))),
        ("mapping_start", numbers(0x1000)?),
        ("mapping_limit", numbers(0x2000)?),
        ("mapping_offset", numbers(0)?),
        ("mapping_file", runs(&[3], binary_dictionary(&["/bin/app"]))?),
        ("mapping_build_id", runs(&[3], binary_dictionary(&["abc"]))?),
        ("lines", list(vec![0, 1, 2, 3], lines)?),
    ])?;
    batch(
        vec![
            ("stacktrace_id", Arc::new(BinaryArray::from_vec(vec![b"stack-a", b"stack-b"]))),
            ("locations", list(vec![0, 2, 3], locations)?),
            ("is_complete", Arc::new(arrow::array::BooleanArray::from(vec![true, true]))),
        ],
        "v1",
    )
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
    ensure!(has == json!({}), "{has}");
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
    ensure!(has == json!({}), "something was stored: {has}");
    let body = serde_json::to_vec(&json!({"ipcBuffer": BASE64.encode(&good)}))?;
    let answer =
        server.post("/api/profiles/writearrow", &[("content-type", "application/json")], body).await?;
    ensure!(answer == (200, "{}".to_owned()), "{answer:?}");
    Ok(())
}
