//! HTTP/1.1 over one kept-alive connection: as little work a request as a client can do, so that what is
//! measured is the server.

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes that an answer's head may have.
const MAX_HEAD: usize = 64 << 10;

/// A server's host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) String);

impl Address {
    /// The address in `http://host:port/…`.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let Some(rest) = url.trim().strip_prefix("http://") else {
            bail!("{url:?} is not an http:// URL; the benchmark speaks plain HTTP only");
        };
        let host = rest.split('/').next().unwrap_or_default();
        if host.is_empty() {
            bail!("{url:?} names no host");
        }
        Ok(Self(if host.contains(':') { host.to_owned() } else { format!("{host}:80") }))
    }
}

/// A status and a body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The body's beginning as text, for messages.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.body.get(..300).unwrap_or(&self.body)).into_owned()
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: &Address) -> Result<Self> {
        let stream =
            TcpStream::connect(&address.0).await.with_context(|| format!("connect to {}", address.0))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(16 << 10) })
    }

    /// Sends a whole request and reads its answer.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<Response> {
        self.stream.write_all(request).await.context("send the request")?;
        self.read.clear();
        let head_end = loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if self.read.len() > MAX_HEAD {
                bail!("the head of the answer has more than {MAX_HEAD} bytes");
            }
            self.more().await?;
        };
        let head = Head::parse(self.read.get(..head_end).unwrap_or_default())?;
        let body = match head.body {
            BodyLength::Known(len) => {
                self.fill(head_end + len).await?;
                self.read.get(head_end..head_end + len).unwrap_or_default().to_vec()
            }
            BodyLength::Chunked => self.chunks(head_end).await?,
        };
        Ok(Response { status: head.status, body })
    }

    async fn more(&mut self) -> Result<()> {
        if self.stream.read_buf(&mut self.read).await.context("read the answer")? == 0 {
            bail!("the server closed the connection within its answer");
        }
        Ok(())
    }

    async fn fill(&mut self, len: usize) -> Result<()> {
        self.read.reserve(len.saturating_sub(self.read.len()));
        while self.read.len() < len {
            self.more().await?;
        }
        Ok(())
    }

    async fn chunks(&mut self, mut at: usize) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                let rest = self.read.get(at..).unwrap_or_default();
                match rest.windows(2).position(|window| window == b"\r\n") {
                    Some(found) => break at + found,
                    None => self.more().await?,
                }
            };
            let line = String::from_utf8_lossy(self.read.get(at..end).unwrap_or_default()).into_owned();
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).with_context(|| format!("chunk size {line:?}"))?;
            at = end + 2;
            self.fill(at + size + 2).await?;
            body.extend_from_slice(self.read.get(at..at + size).unwrap_or_default());
            at += size + 2;
            if size == 0 {
                return Ok(body);
            }
        }
    }
}

/// A `POST` of `body`.
pub(crate) fn post(address: &Address, path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let mut request = Vec::with_capacity(256 + body.len());
    post_head(&mut request, address, path, content_type, body.len());
    request.extend_from_slice(body);
    request
}

/// A `GET`.
pub(crate) fn get(address: &Address, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: everflame-bench\r\n\r\n", address.0).into_bytes()
}

/// Appends the head of a `POST` whose body of `len` bytes follows.
pub(crate) fn post_head(out: &mut Vec<u8>, address: &Address, path: &str, content_type: &str, len: usize) {
    let Address(host) = address;
    out.extend_from_slice(b"POST ");
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    out.extend_from_slice(host.as_bytes());
    out.extend_from_slice(b"\r\nUser-Agent: everflame-bench\r\nContent-Type: ");
    out.extend_from_slice(content_type.as_bytes());
    out.extend_from_slice(format!("\r\nContent-Length: {len}\r\n\r\n").as_bytes());
}

#[derive(Debug, PartialEq, Eq)]
enum BodyLength {
    Known(usize),
    Chunked,
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    body: BodyLength,
}

impl Head {
    fn parse(head: &[u8]) -> Result<Self> {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default();
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("the answer begins with {first:?}, not with HTTP"))?;
        let mut body = BodyLength::Known(0);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                body = BodyLength::Known(value.parse().with_context(|| format!("length {value:?}"))?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") && value.contains("chunked") {
                body = BodyLength::Chunked;
            }
        }
        Ok(Self { status, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn addresses() {
        for (url, wanted) in [
            ("http://127.0.0.1:4040", Some("127.0.0.1:4040")),
            ("http://localhost:4040/x", Some("localhost:4040")),
            ("http://peer", Some("peer:80")),
            ("https://peer", None),
            ("http://", None),
        ] {
            assert_eq!(Address::parse(url).ok().map(|address| address.0).as_deref(), wanted, "{url}");
        }
    }

    async fn check(answer: &'static [u8], status: u16, body: &[u8]) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address(listener.local_addr().unwrap().to_string());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            for part in answer.chunks(7) {
                stream.write_all(part).await.unwrap();
                stream.flush().await.unwrap();
            }
            stream
        };
        let client = async {
            let mut connection = Connection::open(&address).await.unwrap();
            connection.send(&post(&address, "/x", "application/proto", b"")).await.unwrap()
        };
        let (_stream, response) = tokio::join!(server, client);
        assert_eq!((response.status, response.body.as_slice()), (status, body));
    }

    #[tokio::test]
    async fn answers_are_read_whole() {
        check(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 200, b"hello").await;
        check(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"").await;
        let chunked =
            b"HTTP/1.1 429 x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        check(chunked, 429, b"abcde").await;
    }
}
