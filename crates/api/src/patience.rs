//! How long the server waits for what a client says it is going to send, so that clients that say nothing hold no
//! place for ever. Idle connections of clients that have spoken are not meant: HTTP itself sees to those.

use crate::error::ApiError;
use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// How long the server waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the first bytes of a connection, until they tell HTTP/1 from HTTP/2: 30 s.
    pub first_bytes: Duration,
    /// For the head of an HTTP/1 request: 30 s.
    pub head: Duration,
    /// For the next piece of a body, and for all of a body beyond what [`Patience::bytes_per_second`] allows: 30 s.
    pub body: Duration,
    /// A body that comes more slowly than this is waited for no longer than [`Patience::body`] in all: 4 KiB.
    pub bytes_per_second: u32,
}

impl Default for Patience {
    fn default() -> Self {
        let half_a_minute = Duration::from_secs(30);
        Self {
            first_bytes: half_a_minute,
            head: half_a_minute,
            body: half_a_minute,
            bytes_per_second: 4 << 10,
        }
    }
}

/// Whether a body was given up.
#[derive(Clone, Default)]
pub(crate) struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    /// `body`, which breaks off when the patience with it ends.
    pub(crate) fn wait_for(&self, body: Body, patience: Patience) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let (received, waited, since, timer) = (0, Duration::ZERO, None, Box::pin(sleep(patience.body)));
        Body::new(AwaitedBody { body, patience, received, waited, since, timer, given_up: self.clone() })
    }

    /// The refusal, when the body did not come in time.
    pub(crate) fn refusal(&self) -> Option<ApiError> {
        self.0.load(Ordering::Relaxed).then(|| {
            ApiError::unreadable("the body of the request did not come, or came too slowly; send it again")
        })
    }
}

struct AwaitedBody {
    body: Body,
    patience: Patience,
    /// Bytes so far.
    received: u64,
    /// For how long nothing came although it was asked for. What the server itself takes does not count.
    waited: Duration,
    /// Since when nothing comes.
    since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    given_up: GivenUp,
}

impl AwaitedBody {
    /// Until when the next piece must be here.
    fn deadline(&self, now: Instant) -> Instant {
        let Patience { body: most, bytes_per_second, .. } = self.patience;
        let earned = self.received / u64::from(bytes_per_second.max(1));
        let left = most.saturating_add(Duration::from_secs(earned)).saturating_sub(self.waited);
        now + left.min(most)
    }
}

impl HttpBody for AwaitedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            if let Some(since) = this.since.take() {
                this.waited += since.elapsed();
            }
            if let Some(Ok(frame)) = &frame {
                this.received += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            return Poll::Ready(frame);
        }
        if this.since.is_none() {
            let now = Instant::now();
            this.since = Some(now);
            let deadline = this.deadline(now);
            this.timer.as_mut().reset(deadline);
        }
        std::task::ready!(this.timer.as_mut().poll(cx));
        this.given_up.0.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(axum::Error::new("the body does not come"))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a connection of HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that breaks off when its first bytes do not come in time. What comes later has deadlines of its own,
/// which begin when it is known what is spoken.
pub(crate) struct FirstBytes<S> {
    stream: S,
    /// Nothing once the bytes so far tell.
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes of the preface so far.
    seen: usize,
}

impl<S> FirstBytes<S> {
    pub(crate) fn new(stream: S, patience: Patience) -> Self {
        let timer = Some(Box::pin(sleep_until(Instant::now() + patience.first_bytes)));
        Self { stream, timer, seen: 0 }
    }

    fn see(&mut self, bytes: &[u8]) {
        let expected = PREFACE.get(self.seen..).unwrap_or_default();
        self.seen += bytes.len();
        if bytes.is_empty() || bytes.len() >= expected.len() || !expected.starts_with(bytes) {
            self.timer = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstBytes<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        let Some(timer) = &mut this.timer else { return read };
        if read.is_ready() {
            this.see(buf.filled().get(before..).unwrap_or_default());
            return read;
        }
        std::task::ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was sent that is a request")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstBytes<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn first_bytes_tell_what_is_spoken() {
        let check = |pieces: &[&[u8]], expect: bool| {
            let mut first = FirstBytes::new((), Patience::default());
            pieces.iter().for_each(|piece| first.see(piece));
            assert_eq!(first.timer.is_none(), expect, "{pieces:?}");
        };
        check(&[], false);
        check(&[b"PRI * HT"], false);
        check(&[b"P", b"RI"], false);
        check(&[b"P", b"OST"], true);
        check(&[b"GET / HTTP/1.1\r\n"], true);
        check(&[PREFACE], true);
        check(&[b"PRI * HT", b"TP/2.0\r\n\r\nSM\r\n\r\n\0\0\0"], true);
        // The end.
        check(&[b"PRI", b""], true);
    }

    #[tokio::test]
    async fn a_body_earns_time_by_its_bytes() {
        let patience =
            Patience { body: Duration::from_secs(30), bytes_per_second: 100, ..Patience::default() };
        let now = Instant::now();
        let check = |received: u64, waited: u64, expect: u64| {
            let body = AwaitedBody {
                body: Body::empty(),
                patience,
                received,
                waited: Duration::from_secs(waited),
                since: None,
                timer: Box::pin(sleep(Duration::ZERO)),
                given_up: GivenUp::default(),
            };
            assert_eq!(body.deadline(now) - now, Duration::from_secs(expect), "{received} bytes, {waited} s");
        };
        check(0, 0, 30);
        check(6, 25, 5);
        check(6, 31, 0);
        check(2_000, 31, 19);
        check(1 << 30, 31, 30);
    }
}
