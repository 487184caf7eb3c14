//! A bucket for a test: a real S3-compatible server, behind a proxy that does what networks and services
//! do on a bad day.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Prepared, prepare};

/// The name of the bucket.
const NAME: &str = "lake";
/// How long the server may take to start; generous, because test machines are busy.
const START_LIMIT: Duration = Duration::from_secs(60);
/// A request that is not answered is held so long: longer than the time-out of who waits.
const HELD: Duration = Duration::from_secs(3);
/// An answer that is slow takes up to so long.
const SLOW: u64 = 300;
/// Signatures are not checked; who signs owns the bucket.
const CREDENTIAL: &str = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, \
                          SignedHeaders=host, Signature=none";

/// A running server with one bucket. Both end with this value.
#[derive(Debug)]
pub struct Bucket {
    server: Child,
    direct: String,
    proxied: String,
    faults: Arc<Faults>,
}

/// What the proxy does to requests.
#[derive(Debug)]
struct Faults {
    /// So many of 1,000 requests fail.
    rate: AtomicU64,
    random: AtomicU64,
    /// Requests that failed until now.
    count: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Slow(u64),
    Status(u16),
    /// Never answered.
    TimeOut,
    /// Closed before anything is done.
    Refused,
    /// Done, and closed before the answer.
    Lost,
}

impl Bucket {
    /// Starts the server; the inner error says why there is none on this machine. Faults are drawn from
    /// `seed`, and there are none at first.
    ///
    /// # Errors
    /// When the server is there and does not start.
    pub async fn start(seed: u64) -> Result<std::result::Result<Self, String>> {
        let command = match prepare("s3-server")? {
            Prepared::Ready(command) => command,
            Prepared::Missing(reason) => return Ok(Err(reason)),
        };
        let (server, direct) = tokio::task::spawn_blocking(move || start_server(&command)).await??;
        let faults = Arc::new(Faults {
            rate: AtomicU64::new(0),
            random: AtomicU64::new(seed),
            count: AtomicU64::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let proxied = format!("http://{}", listener.local_addr()?);
        tokio::spawn(accept(listener, direct.clone(), Arc::clone(&faults)));
        let bucket = Self { server, direct, proxied, faults };
        let make = reqwest::Client::new().put(format!("{}/{NAME}", bucket.direct));
        let made = make.header("authorization", CREDENTIAL).send().await?;
        ensure!(made.status().is_success(), "making the bucket: {}", made.status());
        Ok(Ok(bucket))
    }

    /// Lets so many of 1,000 requests fail from now on.
    pub fn fail(&self, of_a_thousand: u64) {
        self.faults.rate.store(of_a_thousand, Relaxed);
    }

    /// How many requests have failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.faults.count.load(Relaxed)
    }

    /// The URL of a prefix of the bucket.
    #[must_use]
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://{NAME}/{prefix}")
    }

    /// The names of the objects that begin with `prefix`.
    ///
    /// # Errors
    /// When the bucket cannot be listed.
    pub async fn objects(&self, prefix: &str) -> Result<Vec<String>> {
        let url = format!("{}/{NAME}", self.direct);
        let list = reqwest::Client::new().get(url).query(&[("list-type", "2"), ("prefix", prefix)]);
        let answer = list.header("authorization", CREDENTIAL).send().await?.error_for_status()?;
        let text = answer.text().await?;
        let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        Ok(keys.map(str::to_owned).collect())
    }

    /// Changes a byte in the middle of an object.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub async fn damage(&self, object: &str) -> Result<()> {
        let (client, url) = (reqwest::Client::new(), format!("{}/{NAME}/{object}", self.direct));
        let read = client.get(&url).header("authorization", CREDENTIAL).send().await?.error_for_status()?;
        let mut bytes = read.bytes().await?.to_vec();
        let middle = bytes.len() / 2;
        *bytes.get_mut(middle).context("an empty object")? ^= 0x55;
        let write = client.put(&url).header("authorization", CREDENTIAL).body(bytes);
        write.send().await?.error_for_status()?;
        Ok(())
    }

    /// What a program needs in its environment to reach the bucket through the proxy.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        environment(&self.proxied)
    }

    /// The same without the proxy.
    #[must_use]
    pub fn direct_environment(&self) -> Vec<(String, String)> {
        environment(&self.direct)
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn environment(endpoint: &str) -> Vec<(String, String)> {
    let pairs = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "a-secret-that-must-not-be-shown"),
    ];
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn start_server(command: &[String]) -> Result<(Child, String)> {
    let (program, args) = command.split_first().context("prepare.sh printed no command")?;
    let mut server = Command::new(program)
        .args(args)
        .args(["-H", "127.0.0.1", "-p", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| program.clone())?;
    let stderr = server.stderr.take().context("stderr of the S3 server")?;
    let (tell, told) = mpsc::channel();
    std::thread::Builder::new().name("s3-stderr".into()).spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some(at) = line.find("Running on http://") {
                let url = line.get(at + "Running on ".len()..).unwrap_or_default().trim().to_owned();
                // Later lines have no listener any more; the pipe must be emptied all the same.
                let _ = tell.send(url);
            }
        }
    })?;
    match told.recv_timeout(START_LIMIT) {
        Ok(url) => Ok((server, url)),
        Err(_) => {
            let _ = server.kill();
            let status = server.wait()?;
            bail!("{program} did not say where it listens ({status})")
        }
    }
}

async fn accept(listener: TcpListener, upstream: String, faults: Arc<Faults>) {
    let client = reqwest::Client::new();
    while let Ok((connection, _)) = listener.accept().await {
        let (client, upstream, faults) = (client.clone(), upstream.clone(), Arc::clone(&faults));
        tokio::spawn(async move {
            // A connection that breaks is what this proxy is for.
            let _ = serve(connection, &client, &upstream, &faults).await;
        });
    }
}

/// Answers the requests of one connection, one after the other, until it is closed.
async fn serve(
    mut connection: TcpStream,
    client: &reqwest::Client,
    upstream: &str,
    faults: &Faults,
) -> Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = Request::read(&mut connection, &mut buffer).await? {
        match faults.next() {
            Some(Fault::Status(status)) => {
                let answer = format!("HTTP/1.1 {status} Fault\r\ncontent-length: 0\r\n\r\n");
                connection.write_all(answer.as_bytes()).await?;
                continue;
            }
            Some(Fault::TimeOut) => {
                tokio::time::sleep(HELD).await;
                return Ok(());
            }
            Some(Fault::Refused) => return Ok(()),
            Some(Fault::Lost) => {
                request.forward(client, upstream).await?;
                return Ok(());
            }
            Some(Fault::Slow(millis)) => tokio::time::sleep(Duration::from_millis(millis)).await,
            None => {}
        }
        let answer = request.forward(client, upstream).await?;
        connection.write_all(&answer).await?;
    }
    Ok(())
}

impl Faults {
    fn next(&self) -> Option<Fault> {
        // SplitMix64, shared by all connections.
        let state = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let random = mixed ^ (mixed >> 31);
        if random % 1_000 >= self.rate.load(Relaxed) {
            return None;
        }
        self.count.fetch_add(1, Relaxed);
        let kind = random >> 32;
        Some(match kind % 16 {
            0..4 => Fault::Status(500),
            4..8 => Fault::Status(503),
            8..10 => Fault::Slow(kind % SLOW),
            10..13 => Fault::Lost,
            13..15 => Fault::Refused,
            _ => Fault::TimeOut,
        })
    }
}

struct Request {
    method: Method,
    target: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    /// The next request of the connection; `None` when it was closed. `buffer` holds what came after it.
    async fn read(connection: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Option<Self>> {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            if connection.read_buf(buffer).await? == 0 {
                return Ok(None);
            }
        };
        let head = String::from_utf8(buffer.drain(..end).collect())?;
        let mut lines = head.lines();
        let mut first = lines.next().context("a request line")?.split(' ');
        let method = Method::from_bytes(first.next().context("a method")?.as_bytes())?;
        let target = first.next().context("a target")?.to_owned();
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length: usize = headers.get("content-length").map_or(Ok(0), |length| length.parse())?;
        while buffer.len() < length {
            if connection.read_buf(buffer).await? == 0 {
                bail!("the connection was closed in a body");
            }
        }
        Ok(Some(Self { method, target, headers, body: buffer.drain(..length).collect() }))
    }

    /// Has the server do it; the bytes of the answer.
    async fn forward(self, client: &reqwest::Client, upstream: &str) -> Result<Vec<u8>> {
        const OF_A_CONNECTION: [&str; 4] = ["connection", "content-length", "host", "transfer-encoding"];
        let is_head = self.method == Method::HEAD;
        let mut request = client.request(self.method, format!("{upstream}{}", self.target));
        for (name, value) in self.headers.iter().filter(|(name, _)| !OF_A_CONNECTION.contains(&name.as_str()))
        {
            request = request.header(name, value);
        }
        let answer = request.body(self.body).send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await?;
        let mut head = format!("HTTP/1.1 {} Answer\r\n", status.as_u16());
        let has_length = is_head || status == StatusCode::NOT_MODIFIED;
        for (name, value) in &headers {
            if !OF_A_CONNECTION.contains(&name.as_str()) || (has_length && name == "content-length") {
                head += &format!("{name}: {}\r\n", value.to_str()?);
            }
        }
        if !has_length {
            head += &format!("content-length: {}\r\n", body.len());
        }
        head += "\r\n";
        Ok([head.as_bytes(), &body].concat())
    }
}
