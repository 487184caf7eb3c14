//! Requests to an object store: bounded in time, tried again with growing, random pauses, counted.
//!
//! They run on threads of their own, so that they can be waited for from any thread, blocking or not.

use crate::random::Random;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path as Name;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::runtime::Handle;

/// What errors call this store.
const NAME: &str = "storage";

/// A body may take so much longer than the time-out for each MiB: 256 KiB a second are slow, and still move.
const TIME_A_MIB: Duration = Duration::from_secs(4);

/// How often a request is tried, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Attempts in all.
    pub(crate) attempts: u32,
    /// Bound of an attempt without a body.
    pub(crate) timeout: Duration,
    /// Bound of the first pause; each further one is twice as long.
    pub(crate) pause: Duration,
    /// Bound of all pauses.
    pub(crate) longest_pause: Duration,
}

/// What was asked and what failed since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Attempts.
    pub(crate) requests: AtomicU64,
    /// Attempts that failed and were followed by another.
    pub(crate) retries: AtomicU64,
    /// Requests that failed for good.
    pub(crate) failures: AtomicU64,
}

/// An object store whose requests are tried again.
#[derive(Clone)]
pub(crate) struct Requests {
    inner: Arc<dyn ObjectStore>,
    threads: Handle,
    policy: Policy,
    random: Arc<Mutex<Random>>,
    pub(super) counters: Arc<Counters>,
}

impl Requests {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, threads: Handle, policy: Policy, seed: u64) -> Self {
        let random = Arc::new(Mutex::new(Random::new(seed)));
        Self { inner, threads, policy, random, counters: Arc::default() }
    }

    /// Does `request`, whose body has `bytes`, as often as the policy says.
    async fn run<T, F>(
        &self,
        bytes: u64,
        request: impl Fn(Arc<dyn ObjectStore>) -> F + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let this = self.clone();
        let limit = this.policy.timeout + TIME_A_MIB.mul_f64(bytes as f64 / f64::from(1 << 20));
        let attempts = async move {
            let mut attempt = 1;
            loop {
                this.counters.requests.fetch_add(1, Relaxed);
                let result = match tokio::time::timeout(limit, request(this.inner.clone())).await {
                    Ok(result) => result,
                    Err(_) => Err(Error::Generic { store: NAME, source: "no answer in time".into() }),
                };
                let error = match result {
                    Err(error) if !is_final(&error) => error,
                    result => return result,
                };
                if attempt >= this.policy.attempts {
                    this.counters.failures.fetch_add(1, Relaxed);
                    return Err(error);
                }
                tracing::debug!(%error, attempt, "a request to the storage is tried again");
                this.counters.retries.fetch_add(1, Relaxed);
                let pause = this.pause(attempt);
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                attempt += 1;
            }
        };
        self.threads.spawn(attempts).await?
    }

    /// Between half of the pause after `attempt` and all of it.
    fn pause(&self, attempt: u32) -> Duration {
        let whole = self.policy.pause.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let whole = whole.min(self.policy.longest_pause);
        let micros = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX);
        whole / 2 + Duration::from_micros(self.random.lock().below(micros / 2 + 1))
    }

    async fn delete_one(&self, name: Name) -> Result<Name> {
        let deleted = name.clone();
        let result = self.run(0, move |inner| {
            let name = deleted.clone();
            async move { inner.delete(&name).await }
        });
        match result.await {
            // It was there at the first attempt, or never.
            Ok(()) | Err(Error::NotFound { .. }) => Ok(name),
            Err(error) => Err(error),
        }
    }
}

/// Whether another attempt would be answered in the same way.
fn is_final(error: &Error) -> bool {
    !matches!(error, Error::Generic { .. } | Error::JoinError { .. })
}

impl fmt::Debug for Requests {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not more: the store below knows credentials.
        out.debug_struct("Requests").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(NAME)
    }
}

#[async_trait]
impl ObjectStore for Requests {
    async fn put_opts(&self, name: &Name, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let name = name.clone();
        self.run(payload.content_length() as u64, move |inner| {
            let (name, payload, options) = (name.clone(), payload.clone(), options.clone());
            async move { inner.put_opts(&name, payload, options).await }
        })
        .await
    }

    /// Passed on: only a large checkpoint comes in parts, and it is made again when it fails.
    async fn put_multipart_opts(
        &self,
        name: &Name,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(name, options).await
    }

    async fn get_opts(&self, name: &Name, options: GetOptions) -> Result<GetResult> {
        let name = name.clone();
        let (result, bytes) = self
            .run(MOST_READ, move |inner| {
                let (name, options) = (name.clone(), options.clone());
                async move {
                    let is_head = options.head;
                    let mut result = inner.get_opts(&name, options).await?;
                    if is_head {
                        return Ok((result, Bytes::new()));
                    }
                    // The body is read here, so that it is within the time-out and read again when it breaks.
                    let end = GetResultPayload::Stream(stream::empty().boxed());
                    let payload = std::mem::replace(&mut result.payload, end);
                    let body = GetResult {
                        payload,
                        meta: result.meta.clone(),
                        range: result.range.clone(),
                        attributes: Default::default(),
                    };
                    let bytes = body.bytes().await?;
                    Ok((result, bytes))
                }
            })
            .await?;
        let payload = GetResultPayload::Stream(stream::iter([Ok(bytes)]).boxed());
        Ok(GetResult { payload, ..result })
    }

    fn delete_stream(&self, names: BoxStream<'static, Result<Name>>) -> BoxStream<'static, Result<Name>> {
        let this = self.clone();
        names
            .then(move |name| {
                let this = this.clone();
                async move { this.delete_one(name?).await }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Name>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix) = (self.clone(), prefix.cloned());
        let found = async move {
            this.run(MOST_READ, move |inner| {
                let prefix = prefix.clone();
                async move { inner.list(prefix.as_ref()).try_collect::<Vec<_>>().await }
            })
            .await
        };
        let found = stream::once(found).map_ok(|found| stream::iter(found.into_iter().map(Ok)));
        found.try_flatten().boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Name>,
        offset: &Name,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix, offset) = (self.clone(), prefix.cloned(), offset.clone());
        let found = async move {
            this.run(MOST_READ, move |inner| {
                let (prefix, offset) = (prefix.clone(), offset.clone());
                async move { inner.list_with_offset(prefix.as_ref(), &offset).try_collect::<Vec<_>>().await }
            })
            .await
        };
        let found = stream::once(found).map_ok(|found| stream::iter(found.into_iter().map(Ok)));
        found.try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Name>) -> Result<ListResult> {
        let prefix = prefix.cloned();
        self.run(MOST_READ, move |inner| {
            let prefix = prefix.clone();
            async move { inner.list_with_delimiter(prefix.as_ref()).await }
        })
        .await
    }

    async fn copy_opts(&self, from: &Name, to: &Name, options: CopyOptions) -> Result<()> {
        let (from, to) = (from.clone(), to.clone());
        self.run(0, move |inner| {
            let (from, to, options) = (from.clone(), to.clone(), options.clone());
            async move { inner.copy_opts(&from, &to, options).await }
        })
        .await
    }
}

/// What one answer is expected to have at most: pieces of files, a page of names.
const MOST_READ: u64 = 8 << 20;
