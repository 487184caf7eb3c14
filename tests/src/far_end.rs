//! Another end of forwarding that misbehaves as it is told: a small HTTP/1.1 server on loopback.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What to do with a request.
#[derive(Clone, Debug)]
pub enum Manner {
    /// Answers with a status, headers, and a text.
    Answer(u16, &'static str, &'static str),
    /// Says nothing until [`FarEnd::let_go`], then closes the connection.
    Hang,
    /// Closes in the middle of the answer.
    Cut,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// The first line and the headers.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

#[derive(Debug, Default)]
struct Shared {
    manners: VecDeque<Manner>,
    received: Vec<Received>,
}

/// A server that answers each request as the next of its manners says, and with 200 when there is none.
#[derive(Debug)]
pub struct FarEnd {
    url: String,
    shared: Arc<Mutex<Shared>>,
    go: watch::Sender<bool>,
}

impl FarEnd {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(manners: &[Manner]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared =
            Arc::new(Mutex::new(Shared { manners: manners.iter().cloned().collect(), received: Vec::new() }));
        let (go, gone) = watch::channel(false);
        let own = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, gone) = (Arc::clone(&own), gone.clone());
                tokio::spawn(async move {
                    // A client that goes away is no fault here.
                    let _ = serve(stream, &shared, gone).await;
                });
            }
        });
        Ok(Self { url, shared, go })
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All requests so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).received.clone()
    }

    /// Closes connections that hang.
    pub fn let_go(&self) {
        let _ = self.go.send(true);
    }
}

async fn serve(mut stream: TcpStream, shared: &Mutex<Shared>, mut gone: watch::Receiver<bool>) -> Result<()> {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(buffer.get(..end).unwrap_or_default()).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("no length")?.trim().parse()?;
        while buffer.len() < end + length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let body = buffer.get(end..end + length).unwrap_or_default().to_vec();
        buffer.drain(..end + length);
        let manner = {
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.received.push(Received { head, body });
            shared.manners.pop_front()
        };
        match manner.unwrap_or(Manner::Answer(200, "", "")) {
            Manner::Answer(status, headers, text) => {
                let length = text.len();
                let answer =
                    format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{text}");
                stream.write_all(answer.as_bytes()).await?;
            }
            Manner::Hang => {
                gone.wait_for(|go| *go).await?;
                return Ok(());
            }
            Manner::Cut => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await?;
                return Ok(());
            }
        }
    }
}
