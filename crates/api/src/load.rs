//! How much the server takes on at once: requests, and bytes of bodies. What exceeds it is turned away
//! early, with a hint when to come back, instead of filling the memory.

use crate::error::ApiError;
use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The server's load and its bounds.
pub(crate) struct Load {
    requests: Arc<Semaphore>,
    body_bytes: BodyBudget,
}

/// Bytes of bodies that may be in memory, as they arrived and inflated, of all requests together.
#[derive(Clone)]
pub(crate) struct BodyBudget(Arc<BodyBytes>);

struct BodyBytes {
    held: AtomicU64,
    limit: u64,
}

/// A part of the budget, free again when this is dropped.
pub(crate) struct Hold {
    budget: BodyBudget,
    bytes: u64,
}

/// A request that was let in. Its share of the bounds is free again when this is dropped.
pub(crate) struct Admission {
    _request: OwnedSemaphorePermit,
    share: Arc<Share>,
}

/// Bytes of one request's body that count against the bound.
struct Share {
    total: BodyBudget,
    bytes: AtomicU64,
    refused: AtomicBool,
}

impl Load {
    pub(crate) fn new(max_requests: usize, max_body_bytes: u64) -> Self {
        let body_bytes = BodyBudget::new(max_body_bytes);
        Self { requests: Arc::new(Semaphore::new(max_requests)), body_bytes }
    }

    /// Lets a request in, or turns it away.
    pub(crate) fn admit(&self) -> Result<Admission, ApiError> {
        let request = self.requests.clone().try_acquire_owned().map_err(|_| {
            ApiError::unavailable("the server works on as many requests as it may; send this one again later")
        })?;
        let total = self.body_bytes.clone();
        let share = Share { total, bytes: AtomicU64::new(0), refused: AtomicBool::new(false) };
        Ok(Admission { _request: request, share: Arc::new(share) })
    }

    /// Bytes of bodies in memory, and their bound.
    pub(crate) fn body_bytes(&self) -> (u64, u64) {
        let BodyBytes { held, limit } = &*self.body_bytes.0;
        (held.load(Ordering::Relaxed), *limit)
    }

    /// What inflated bodies must fit into.
    pub(crate) fn budget(&self) -> &BodyBudget {
        &self.body_bytes
    }

    /// How many more requests may come in now.
    pub(crate) fn free_requests(&self) -> usize {
        self.requests.available_permits()
    }
}

impl BodyBudget {
    pub(crate) fn new(limit: u64) -> Self {
        Self(Arc::new(BodyBytes { held: AtomicU64::new(0), limit }))
    }

    /// Takes `bytes` of the budget; nothing when they do not fit.
    pub(crate) fn hold(&self, bytes: usize) -> Option<Hold> {
        let hold = Hold { budget: self.clone(), bytes: bytes as u64 };
        let held = self.0.held.fetch_add(hold.bytes, Ordering::Relaxed);
        (held.saturating_add(hold.bytes) <= self.0.limit).then_some(hold)
    }
}

impl Hold {
    /// Gives back what is more than `bytes`.
    pub(crate) fn shrink(mut self, bytes: usize) -> Self {
        let spare = self.bytes.saturating_sub(bytes as u64);
        self.budget.0.held.fetch_sub(spare, Ordering::Relaxed);
        self.bytes -= spare;
        self
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.0.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Admission {
    /// Counts the bytes of `body` as they arrive; it breaks off when the bound is reached.
    pub(crate) fn meter(&self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(MeteredBody { body, share: self.share.clone() })
    }

    /// The refusal, when the body had to be broken off.
    pub(crate) fn refusal(&self) -> Option<ApiError> {
        self.share.refused.load(Ordering::Relaxed).then(|| {
            ApiError::unavailable(
                "the server holds as many bytes of requests as it may; send this one again later",
            )
        })
    }
}

impl Share {
    fn take(&self, bytes: u64) -> bool {
        let total = &self.total.0;
        let held = total.held.fetch_add(bytes, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = held.saturating_add(bytes) <= total.limit;
        if !fits {
            self.refused.store(true, Ordering::Relaxed);
        }
        fits
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.total.0.held.fetch_sub(self.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

struct MeteredBody {
    body: Body,
    share: Arc<Share>,
}

impl HttpBody for MeteredBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let frame = std::task::ready!(Pin::new(&mut this.body).poll_frame(cx));
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        if bytes > 0 && !this.share.take(bytes as u64) {
            return Poll::Ready(Some(Err(axum::Error::new("too many bytes of requests at once"))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn bodies_over_the_bound_break_off_and_free_their_share() {
        let load = Load::new(2, 10);
        let first = load.admit().unwrap();
        assert!(first.meter(Body::from("12345678")).collect().await.is_ok());
        let second = load.admit().unwrap();
        assert!(second.meter(Body::from("123")).collect().await.is_err());
        assert_eq!(second.refusal().unwrap().status(), 503);
        assert_eq!(load.admit().err().unwrap().status(), 503);
        drop((first, second));
        assert_eq!((load.body_bytes(), load.free_requests()), ((0, 10), 2));
    }
}
