//! Profiles made byte by byte, as a client sends them, so that tests can also make wrong ones.
//!
//! Protobuf, the pprof and the Push messages are written by hand here: a black-box test must not share a
//! mistake with the server.

use std::collections::HashMap;

use anyhow::{Context, Result};
use serde_json::json;

use crate::{FlameGraph, Server, now_ms};

/// Nodes of a flame graph that nothing is cut from.
const ALL_NODES: u32 = 1 << 20;

/// A protobuf message that is being written.
#[derive(Clone, Debug, Default)]
pub struct Message(Vec<u8>);

impl Message {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    /// Adds a text, bytes or a message.
    #[must_use]
    pub fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// Adds packed numbers.
    #[must_use]
    pub fn packed(self, field: u64, values: impl IntoIterator<Item = u64>) -> Self {
        let mut numbers = Self::new();
        values.into_iter().for_each(|value| numbers.varint(value));
        self.bytes(field, numbers)
    }

    /// The message as it goes over the wire.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The type of the profiles that [`pprof`] makes, when they are pushed with the name `process_cpu`.
pub const UPLOAD_TYPE: &str = "process_cpu:samples:count:cpu:nanoseconds";

/// A pprof of `stacks`, each with its frames from the leaf to the root, its value, and a text label that
/// may be empty.
#[must_use]
pub fn pprof(time_ns: i64, stacks: &[(&[u64], i64, &str)], functions: &[&str]) -> Vec<u8> {
    let stacks: Vec<_> = stacks
        .iter()
        .map(|&(frames, value, label)| {
            let labels = if label.is_empty() { Vec::new() } else { vec![("label", label)] };
            (frames, value, labels)
        })
        .collect();
    let stacks: Vec<_> =
        stacks.iter().map(|(frames, value, labels)| (*frames, *value, labels.as_slice())).collect();
    typed_pprof(time_ns, ("samples", "count"), &stacks, functions)
}

/// Frames from the leaf to the root, the value, and text labels.
pub type Stack<'a> = (&'a [u64], i64, &'a [(&'a str, &'a str)]);

/// Like [`pprof`], of CPU time in nanoseconds, and with any labels.
#[must_use]
pub fn pprof_labelled(time_ns: i64, stacks: &[Stack<'_>], functions: &[&str]) -> Vec<u8> {
    typed_pprof(time_ns, ("cpu", "nanoseconds"), stacks, functions)
}

fn typed_pprof(
    time_ns: i64,
    (kind, unit): (&str, &str),
    stacks: &[Stack<'_>],
    functions: &[&str],
) -> Vec<u8> {
    let mut strings: Vec<&str> = vec!["", kind, unit, "cpu", "nanoseconds"];
    let first_function = strings.len() as u64;
    strings.extend(functions);
    let mut profile = Message::new().bytes(1, Message::new().number(1, 1).number(2, 2));
    for (frames, value, labels) in stacks {
        let mut sample = Message::new().packed(1, frames.iter().copied()).packed(2, [*value as u64]);
        for (key, text) in *labels {
            let at = strings.len() as u64;
            sample = sample.bytes(3, Message::new().number(1, at).number(2, at + 1));
            strings.extend([key, text]);
        }
        profile = profile.bytes(2, sample);
    }
    for id in 1..=functions.len() as u64 {
        let line = Message::new().number(1, id);
        profile = profile.bytes(4, Message::new().number(1, id).bytes(4, line));
        profile = profile.bytes(5, Message::new().number(1, id).number(2, first_function + id - 1));
    }
    for text in strings {
        profile = profile.bytes(6, text);
    }
    profile
        .number(9, time_ns as u64)
        .number(10, 1_000_000_000)
        .bytes(11, Message::new().number(1, 3).number(2, 4))
        .number(12, 1)
        .finish()
}

/// The message of `push.v1.PusherService/Push` with one profile.
#[must_use]
pub fn push_message(labels: &[(&str, &str)], id: &str, profile: &[u8]) -> Vec<u8> {
    let mut series = Message::new();
    for (name, value) in labels {
        series = series.bytes(1, Message::new().bytes(1, name).bytes(2, value));
    }
    let sample = Message::new().bytes(1, profile).bytes(2, id);
    Message::new().bytes(1, series.bytes(2, sample)).finish()
}

/// A profile with one sample, whose function's name no other upload has: the flame graph tells how often
/// it is stored.
#[derive(Clone, Debug)]
pub struct Upload {
    number: u128,
    time_ns: i64,
    worker: String,
    padding: usize,
}

impl Upload {
    /// The upload with this number, which must be unique in a test, taken at `time_ns`.
    #[must_use]
    pub fn new(number: u128, time_ns: i64, worker: usize) -> Self {
        Self { number, time_ns, worker: format!("worker-{worker}"), padding: 0 }
    }

    /// The same with so many bytes that do not compress, in the names of its functions.
    #[must_use]
    pub fn padded(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    /// The name of its function, the leaf of its stack.
    #[must_use]
    pub fn function(&self) -> String {
        format!("upload_{}", self.number)
    }

    /// The value of its sample.
    #[must_use]
    pub fn value(&self) -> i64 {
        1 + i64::try_from(self.number % 1_000_000).unwrap_or_default()
    }

    /// The body of the push, the same for every try.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let (function, padding) = (self.function(), self.noise());
        let profile =
            pprof(self.time_ns, &[(&[1, 2], self.value(), "")], &[&function, &format!("root{padding}")]);
        // Any 128 bits are a UUID to a server that does not ask for its version.
        let id = format!("{:032x}", self.number | 0xe7e4_0000_0000_4000_8000_0000_0000_0000);
        let id = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-");
        let labels =
            [("__name__", "process_cpu"), ("service_name", "uploads"), ("worker", self.worker.as_str())];
        push_message(&labels, &id, &profile)
    }

    /// Hexadecimal digits from a generator that begins at the upload's number.
    fn noise(&self) -> String {
        let mut state = self.number as u64 ^ 0x9e37_79b9_7f4a_7c15;
        let mut text = String::with_capacity(self.padding + 16);
        while text.len() < self.padding {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.push_str(&format!("{state:016x}"));
        }
        text
    }
}

/// Sends one message to `push.v1.PusherService/Push` of the server at `base`.
///
/// # Errors
/// When no answer comes; refusals are answers.
pub async fn push(
    http: &reqwest::Client,
    base: &str,
    message: Vec<u8>,
) -> reqwest::Result<reqwest::Response> {
    let request = http.post(format!("{base}/push.v1.PusherService/Push"));
    request.header("content-type", "application/proto").body(message).send().await
}

/// What is stored of all uploads, as the sum of each function.
///
/// # Errors
/// When the server does not answer, or when its flame graph and its time series disagree.
pub async fn stored_uploads(server: &Server) -> Result<HashMap<String, i64>> {
    let end = now_ms()? + 600_000;
    let query = json!({"profileTypeID": UPLOAD_TYPE, "labelSelector": "{service_name=\"uploads\"}",
        "start": 1, "end": end, "maxNodes": ALL_NODES});
    let answer = server.connect("querier.v1.QuerierService/SelectMergeStacktraces", &query).await?;
    let graph = FlameGraph::from_json(&answer)?;
    let query = json!({"profileTypeID": UPLOAD_TYPE, "labelSelector": "{service_name=\"uploads\"}",
        "start": end - 86_400_000, "end": end, "step": 3600});
    let answer = server.connect("querier.v1.QuerierService/SelectSeries", &query).await?;
    let series = answer["series"].as_array().map(Vec::as_slice).unwrap_or_default();
    let points = series.iter().flat_map(|series| series["points"].as_array().into_iter().flatten());
    // A sum of zero is not written out.
    let sum: f64 = points.map(|point| point["value"].as_f64().unwrap_or_default()).sum();
    anyhow::ensure!(
        sum == graph.total as f64,
        "samples sum up to {}, profiles to {sum}: one of the two was stored more often",
        graph.total
    );
    Ok(graph.own_by_name())
}

/// Checks that every upload of `kept` is stored exactly once, and each of `unsure` once or not at all.
///
/// # Errors
/// Names the first uploads that are not, and counts them.
pub async fn check_uploads(server: &Server, kept: &[Upload], unsure: &[Upload]) -> Result<()> {
    let stored = stored_uploads(server).await.context("reading what is stored")?;
    let own = |upload: &Upload| stored.get(&upload.function()).copied().unwrap_or_default();
    let wrong: Vec<String> = kept
        .iter()
        .filter(|upload| own(upload) != upload.value())
        .chain(unsure.iter().filter(|upload| ![0, upload.value()].contains(&own(upload))))
        .map(|upload| format!("{} is {} instead of {}", upload.function(), own(upload), upload.value()))
        .collect();
    let log = server.stderr();
    let log_tail = log.get(log.len().saturating_sub(4000)..).unwrap_or_default();
    anyhow::ensure!(
        wrong.is_empty(),
        "{} of {} acknowledged and {} other uploads are wrong: {:?}\nend of the server's stderr:\n{log_tail}",
        wrong.len(),
        kept.len(),
        unsure.len(),
        wrong.iter().take(5).collect::<Vec<_>>()
    );
    Ok(())
}
