//! Programs that say where they are, profiles of them without names, and the wires that debug files come over.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use everflame_formats::{Limits, pprof};
use serde_json::{Value, json};

use crate::parca::{FINISHED, INITIATE, SHOULD, ask};
use crate::rpc::{Method, Refusal, call_with, http2};
use crate::upload::{Message, push_message};
use crate::{Server, now_ms};

/// `DebuginfoService/Upload` of Parca.
pub const UPLOAD: Method =
    Method { path: "parca.debuginfo.v1alpha1.DebuginfoService/Upload", request: "", answer: "ParcaUploaded" };
/// `DebuginfoService/Upload` of Pyroscope before 2.2.
pub const UPLOAD_STREAM: Method =
    Method { path: "debuginfo.v1alpha1.DebuginfoService/Upload", request: "", answer: "StreamUploaded" };
/// The type of the profiles of [`Sampled::profile`].
pub const TYPE: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
/// A function, the last part of its file's path, a line.
pub type Call = (String, String, i64);
/// Bytes of a piece of a file.
const PIECE: usize = 20_000;

/// Runs a tool. `None` when it is not on this machine.
///
/// # Errors
/// When it fails.
pub fn tool(program: &str, args: &[&str], folder: &Path) -> Result<Option<String>> {
    let out = match Command::new(program).args(args).current_dir(folder).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        out => out?,
    };
    ensure!(
        out.status.success(),
        "{program} {args:?}: {}\n{}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(Some(String::from_utf8_lossy(&out.stdout).into_owned()))
}

/// The source of a program in `tests/programs/`.
#[must_use]
pub fn source(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name).display().to_string()
}

/// An address of a program that ran, and the mapping that it was in.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// The program.
    pub program: PathBuf,
    /// Its build id.
    pub build_id: String,
    /// The address in memory.
    pub address: u64,
    /// The first address of the mapping.
    pub start: u64,
    /// The one past its last.
    pub limit: u64,
    /// Where in the file it begins.
    pub offset: u64,
}

impl Sampled {
    /// Runs `program`, which prints an address and then its mappings.
    ///
    /// # Errors
    /// When it does not.
    pub fn run(program: &Path, build_id: &str) -> Result<Self> {
        let name = program.display().to_string();
        let out = tool(&name, &[], Path::new("/"))?.with_context(|| name.clone())?;
        let (address, maps) = out.split_once('\n').context("an address and the mappings")?;
        let number = |text: &str| u64::from_str_radix(text, 16);
        let address = number(address)?;
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let (range, _, offset) = (words.next(), words.next(), words.next());
            let Some((start, limit)) = range.and_then(|range| range.split_once('-')) else { continue };
            let (start, limit) = (number(start)?, number(limit)?);
            if (start..limit).contains(&address) {
                let offset = number(offset.context("an offset")?)?;
                let (program, build_id) = (program.to_owned(), build_id.to_owned());
                return Ok(Self { program, build_id, address, start, limit, offset });
            }
        }
        bail!("{address:x} is in no mapping of\n{maps}")
    }

    /// What the server calls the address as long as it knows no name.
    #[must_use]
    pub fn unresolved(&self) -> String {
        format!("0x{:x}", self.address)
    }

    /// The same as another start of the program has it: elsewhere in memory.
    #[must_use]
    pub fn moved(&self, by: u64) -> Self {
        let (address, start, limit) = (self.address + by, self.start + by, self.limit + by);
        Self { address, start, limit, ..self.clone() }
    }

    /// The same with the address that the file itself has, as agents send it.
    #[must_use]
    pub fn normalised(&self) -> Self {
        // GNU ld gives the code of a program that can be anywhere its place in the file as its address.
        Self { address: self.address - self.start + self.offset, ..self.clone() }
    }

    /// A pprof with one sample of the address, `value` nanoseconds, below nothing.
    ///
    /// # Errors
    /// When there is no clock.
    pub fn profile(&self, value: u64) -> Result<Vec<u8>> {
        let kind = || Message::new().number(1, 1).number(2, 2);
        let mapping = Message::new()
            .number(1, 1)
            .number(2, self.start)
            .number(3, self.limit)
            .number(4, self.offset)
            .number(5, 3)
            .number(6, 4);
        let location = Message::new().number(1, 1).number(2, 1).number(3, self.address);
        let mut profile = Message::new()
            .bytes(1, kind())
            .bytes(2, Message::new().packed(1, [1]).packed(2, [value]))
            .bytes(3, mapping)
            .bytes(4, location);
        let path = self.program.display().to_string();
        for text in ["", "cpu", "nanoseconds", &path, &self.build_id] {
            profile = profile.bytes(6, text);
        }
        let time = u64::try_from(now_ms()?)? * 1_000_000;
        Ok(profile.number(9, time).number(10, 1_000_000_000).bytes(11, kind()).number(12, 1).finish())
    }

    /// Sends [`Sampled::profile`] as `service`.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn push(&self, server: &Server, service: &str, value: u64) -> Result<()> {
        let labels = [("__name__", "process_cpu"), ("service_name", service)];
        let message = push_message(&labels, "", &self.profile(value)?);
        let headers = [("content-type", "application/proto")];
        let answer = server.post("/push.v1.PusherService/Push", &headers, message).await?;
        ensure!(answer.0 == 200, "{answer:?}");
        Ok(())
    }
}

/// The calls of the one stack of `service`, from the leaf to the root: function, last part of the file's path, line.
///
/// # Errors
/// When there is not exactly one stack.
pub async fn calls(server: &Server, service: &str) -> Result<Vec<Call>> {
    let query = format!("{TYPE}{{service_name=\"{service}\"}}");
    let params = [("query", query.as_str()), ("from", "now-1h"), ("until", "now+1h")];
    let (status, bytes) = server.get("/api/v1/pprof", &params).await?;
    ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&bytes));
    let profile = pprof::read(&bytes, &Limits::default())?.profile;
    let stacks: std::collections::BTreeSet<Vec<Call>> = (0..profile.samples.len())
        .map(|sample| {
            let frames = profile.frames(sample).map(|frame| {
                let file = profile.symbols.strings.get(frame.file);
                let file = file.rsplit('/').next().unwrap_or_default().to_owned();
                (profile.symbols.name(frame).into_owned(), file, frame.line)
            });
            frames.collect()
        })
        .collect();
    let mut stacks = stacks.into_iter();
    match (stacks.next(), stacks.next()) {
        (Some(stack), None) => Ok(stack),
        (first, second) => bail!("{service}: {first:?}, {second:?}"),
    }
}

/// The names of [`calls`], once they begin with `leaf`: what is looked up in the background may take a moment.
///
/// # Errors
/// When they do not for a minute.
pub async fn calls_once(server: &Server, service: &str, leaf: &str) -> Result<Vec<Call>> {
    let mut last = Vec::new();
    for _ in 0..600 {
        last = calls(server, service).await?;
        if last.first().is_some_and(|(name, ..)| name == leaf) {
            return Ok(last);
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    bail!("{leaf} does not appear: {last:?}\n{}", server.stderr())
}

/// Names alone.
#[must_use]
pub fn names(calls: &[Call]) -> Vec<&str> {
    calls.iter().map(|(name, ..)| name.as_str()).collect()
}

/// The messages of an upload: which file it is, then its pieces.
#[must_use]
pub fn messages(build_id: &str, upload_id: &str, file: &[u8]) -> Vec<Vec<u8>> {
    let info = Message::new().bytes(1, build_id).bytes(2, upload_id);
    let mut messages = vec![Message::new().bytes(1, info).finish()];
    messages.extend(file.chunks(PIECE).map(|piece| Message::new().bytes(2, piece).finish()));
    messages
}

/// Asks for an upload as Parca's agent does; its id.
///
/// # Errors
/// When it is refused.
pub async fn initiate(server: &Server, build_id: &str, size: usize) -> Result<Result<String, Refusal>> {
    let request = json!({"buildId": build_id, "buildIdType": 1, "hash": "some", "size": size});
    let wire = crate::rpc::Wire::Grpc;
    let answer = crate::parca::ask_over(server, wire, crate::rpc::Coding::Plain, INITIATE, &request).await?;
    answer
        .map(|answer| {
            ensure!(crate::parca::number(&answer["uploadInstructions"]["uploadStrategy"]) == 1, "{answer}");
            let id = answer["uploadInstructions"]["uploadId"].as_str();
            Ok(id.context("an id")?.to_owned())
        })
        .map_or_else(|refusal| Ok(Err(refusal)), |id| id.map(Ok))
}

/// Sends the pieces of a file over gRPC.
///
/// # Errors
/// When the exchange does not follow the protocol.
pub async fn send(
    server: &Server,
    build_id: &str,
    upload_id: &str,
    file: &[u8],
) -> Result<Result<Value, Refusal>> {
    let messages = messages(build_id, upload_id, file);
    Ok(call_with(&http2()?, server, UPLOAD, &messages).await?.message)
}

/// Asks for `file` and sends it at once, as agents did before Pyroscope 2.2. The answer is the one to the question.
///
/// # Errors
/// When the exchange does not follow the protocol; a refusal by its rules is no error.
pub async fn send_in_a_stream(
    server: &Server,
    build_id: &str,
    file: &[u8],
) -> Result<Result<Value, Refusal>> {
    let asked = Message::new().bytes(1, build_id).bytes(4, "inlined");
    let mut messages = vec![Message::new().bytes(1, Message::new().bytes(1, asked)).finish()];
    let chunk = |piece| Message::new().bytes(2, Message::new().bytes(1, piece)).finish();
    messages.extend(file.chunks(PIECE).map(chunk));
    Ok(call_with(&http2()?, server, UPLOAD_STREAM, &messages).await?.message)
}

/// Uploads `file` as Parca's agent does.
///
/// # Errors
/// When something is refused.
pub async fn upload(server: &Server, build_id: &str, file: &[u8]) -> Result<()> {
    let should = json!({"buildId": build_id, "buildIdType": 1});
    let wanted = ask(server, SHOULD, &should).await?;
    ensure!(wanted["shouldInitiateUpload"] == json!(true), "{wanted}");
    let id =
        initiate(server, build_id, file.len()).await?.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    let uploaded = send(server, build_id, &id, file).await?;
    let uploaded = uploaded.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    ensure!(crate::parca::number(&uploaded["size"]) == i64::try_from(file.len())?, "{uploaded}");
    ask(server, FINISHED, &json!({"buildId": build_id, "uploadId": id})).await?;
    let wanted = ask(server, SHOULD, &should).await?;
    ensure!(wanted["shouldInitiateUpload"] == Value::Null, "{wanted}");
    Ok(())
}
