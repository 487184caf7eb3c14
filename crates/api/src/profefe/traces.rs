//! Execution traces of Go, which are no profiles: kept as they came, in a folder of files beside the tables.
//!
//! A file is written under another name, synced and renamed, so that after a crash it is there as a whole or not
//! at all. Its name is its time and its id; it begins with the length of a head (4 bytes, little-endian) and the
//! head, JSON with service and labels; the rest is the trace. Traces go when they are as old as single profiles may
//! get, and the oldest go when all of them take too much.

use crate::app::blocking;
use crate::error::ApiError;
use crate::kept::Kept;
use bytes::Bytes;
use everflame_profile::{Clock, Labels, Nanos, ProfileType, SERVICE_NAME, Series, ValueType};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Most traces that are kept: each is a file and an entry in memory.
const MOST: usize = 10_000;
/// Length of a head's length.
const LENGTH_BYTES: usize = 4;
/// Longest head: labels within the bounds of uploads take less.
const MOST_HEAD: u64 = 256 << 10;
const MICROSECOND: Nanos = 1_000;

/// What is known about a trace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trace {
    pub(crate) id: Uuid,
    /// When it was taken, nanoseconds since the epoch, whole microseconds.
    pub(crate) time: Nanos,
    pub(crate) service: String,
    pub(crate) labels: Labels,
    /// Bytes of its file.
    bytes: u64,
}

impl Trace {
    /// What a selector sees of it: type `trace`, and its labels.
    pub(crate) fn series(&self) -> Series {
        let mut labels = self.labels.clone();
        labels.set(SERVICE_NAME, self.service.as_str());
        let nothing = || ValueType::new("", "");
        let profile_type = ProfileType { name: "trace".to_owned(), sample: nothing(), period: nothing() };
        Series { labels, profile_type }
    }
}

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) bytes: u64,
    /// None for ever.
    pub(crate) age: Option<Duration>,
}

/// What a file begins with.
#[derive(Deserialize, Serialize)]
struct Head {
    service: String,
    labels: Vec<(String, String)>,
}

/// All traces. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Traces(Arc<Inner>);

struct Inner {
    kept: Kept,
    bounds: Bounds,
    clock: Arc<dyn Clock>,
    /// By time and id; nothing until somebody asks. Held while files are written.
    known: Mutex<Option<BTreeMap<(Nanos, Uuid), Trace>>>,
}

type Known = BTreeMap<(Nanos, Uuid), Trace>;

impl Traces {
    pub(crate) fn new(kept: Kept, bounds: Bounds, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { kept, bounds, clock, known: Mutex::new(None) }))
    }

    /// Keeps a trace; when this returns it survives a crash.
    pub(crate) async fn store(
        &self,
        service: String,
        labels: Labels,
        time: Nanos,
        content: Bytes,
    ) -> Result<Trace, ApiError> {
        self.with(move |inner, known| inner.store(known, service, labels, time, &content)).await
    }

    /// The traces that `takes` takes, the oldest first.
    pub(crate) async fn find(
        &self,
        takes: impl Fn(&Trace) -> bool + Send + 'static,
    ) -> Result<Vec<Trace>, ApiError> {
        self.with(move |_, known| Ok(known.values().filter(|trace| takes(trace)).cloned().collect())).await
    }

    /// A trace as it came; nothing when there is none with this id.
    pub(crate) async fn read(&self, id: Uuid) -> Result<Option<Vec<u8>>, ApiError> {
        self.with(move |inner, known| {
            let Some(trace) = known.values().find(|trace| trace.id == id) else { return Ok(None) };
            Ok(inner.kept.read(&name(trace.time, id))?.and_then(|file| Some(split(file)?.1)))
        })
        .await
    }

    /// Deletes the traces that `takes` takes; how many there were.
    pub(crate) async fn delete(
        &self,
        takes: impl Fn(&Trace) -> bool + Send + 'static,
    ) -> Result<u64, ApiError> {
        self.with(move |inner, known| inner.remove(known, takes)).await
    }

    /// Deletes what is too old.
    pub(crate) async fn sweep(&self) -> Result<(), ApiError> {
        self.with(|_, _| Ok(())).await
    }

    /// Runs `work` where it may block, after what is too old has gone.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &mut Known) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let inner = self.0.clone();
        blocking(move || {
            let mut known = inner.known.lock();
            let known = match &mut *known {
                Some(known) => known,
                None => known.insert(inner.load()?),
            };
            if let Some(age) = inner.bounds.age {
                let age = Nanos::try_from(age.as_nanos()).unwrap_or(Nanos::MAX);
                let oldest = inner.clock.now().saturating_sub(age);
                if known.keys().next().is_some_and(|(time, _)| *time < oldest) {
                    inner.remove(known, |trace| trace.time < oldest)?;
                }
            }
            work(&inner, known)
        })
        .await?
    }
}

impl Inner {
    /// What there is on disk. A file that is not one of a trace is left alone.
    fn load(&self) -> Result<Known, ApiError> {
        let mut known = Known::new();
        if !self.kept.is_somewhere() {
            return Ok(known);
        }
        for (name, bytes) in self.kept.list()? {
            let Some((time, id)) = parse_name(&name) else { continue };
            let Some((head, _)) = self.kept.read_start(&name, MOST_HEAD)?.and_then(split) else {
                tracing::warn!(file = %name, "this file should be a trace and is damaged");
                continue;
            };
            let labels = Labels::from_pairs(head.labels);
            known.insert((time, id), Trace { id, time, service: head.service, labels, bytes });
        }
        Ok(known)
    }

    fn store(
        &self,
        known: &mut Known,
        service: String,
        labels: Labels,
        time: Nanos,
        content: &[u8],
    ) -> Result<Trace, ApiError> {
        let pairs = labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let head = Head { service: service.clone(), labels: pairs };
        let head = serde_json::to_vec(&head).map_err(ApiError::internal)?;
        let length = u32::try_from(head.len()).map_err(ApiError::internal)?;
        let file = [&length.to_le_bytes(), head.as_slice(), content].concat();
        let bytes = file.len() as u64;
        if bytes > self.bounds.bytes {
            return Err(ApiError::too_large(format_args!(
                "the trace takes {bytes} bytes, and all traces may take {}; take a shorter one, or raise traces-size",
                self.bounds.bytes
            )));
        }
        let time = time - time.rem_euclid(MICROSECOND);
        let trace = Trace { id: Uuid::new_v4(), time, service, labels, bytes };
        let mut room = self.bounds.bytes.saturating_sub(bytes);
        // From the newest on: what does not fit beside the new one goes.
        let mut gone = Vec::new();
        for (before, (key, old)) in known.iter().rev().enumerate() {
            match room.checked_sub(old.bytes).filter(|_| before + 1 < MOST && gone.is_empty()) {
                Some(left) => room = left,
                None => gone.push(*key),
            }
        }
        self.remove(known, |trace| gone.contains(&(trace.time, trace.id)))?;
        self.kept.write(&name(time, trace.id), &file)?;
        known.insert((time, trace.id), trace.clone());
        Ok(trace)
    }

    fn remove(&self, known: &mut Known, takes: impl Fn(&Trace) -> bool) -> Result<u64, ApiError> {
        let gone: Vec<(Nanos, Uuid)> =
            known.iter().filter(|(_, trace)| takes(trace)).map(|(key, _)| *key).collect();
        for key in &gone {
            self.kept.remove(&name(key.0, key.1))?;
            known.remove(key);
        }
        Ok(gone.len() as u64)
    }
}

/// What the file of a trace is called.
fn name(time: Nanos, id: Uuid) -> String {
    format!("{:020}-{}", time.div_euclid(MICROSECOND), id.simple())
}

fn parse_name(name: &str) -> Option<(Nanos, Uuid)> {
    let (time, id) = name.split_once('-')?;
    Some((time.parse::<Nanos>().ok()?.checked_mul(MICROSECOND)?, Uuid::try_parse(id).ok()?))
}

/// Head and content of a file.
fn split(mut file: Vec<u8>) -> Option<(Head, Vec<u8>)> {
    let length = u32::from_le_bytes(*file.first_chunk::<LENGTH_BYTES>()?) as usize;
    let end = LENGTH_BYTES.checked_add(length)?;
    let head = serde_json::from_slice(file.get(LENGTH_BYTES..end)?).ok()?;
    file.drain(..end);
    Some((head, file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

    struct At(AtomicI64);

    impl Clock for At {
        fn now(&self) -> Nanos {
            self.0.load(Relaxed)
        }
    }

    const HOUR: Nanos = 3_600_000_000_000;

    fn open(folder: &std::path::Path, bytes: u64, clock: &Arc<At>) -> Traces {
        let bounds = Bounds { bytes, age: Some(Duration::from_secs(3_600)) };
        Traces::new(Kept::new(Some(folder), "anonymous", "traces"), bounds, clock.clone())
    }

    async fn store(
        traces: &Traces,
        service: &str,
        time: Nanos,
        content: &'static [u8],
    ) -> Result<Trace, ApiError> {
        let labels = Labels::from_pairs([("pod", "a")]);
        traces.store(service.to_owned(), labels, time, Bytes::from_static(content)).await
    }

    async fn services(traces: &Traces) -> Vec<String> {
        traces.find(|_| true).await.unwrap().into_iter().map(|trace| trace.service).collect()
    }

    #[tokio::test]
    async fn kept_byte_by_byte_and_over_restarts() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(At(AtomicI64::new(10 * HOUR))));
        let traces = open(folder.path(), 1 << 20, &clock);
        let first = store(&traces, "a", 10 * HOUR - 1, b"go 1.22 trace\0\xff").await.unwrap();
        store(&traces, "b", 10 * HOUR - 2_000, b"").await.unwrap();
        assert_eq!(
            (first.time, services(&traces).await),
            (10 * HOUR - 1_000, vec!["b".to_owned(), "a".to_owned()])
        );
        let traces = open(folder.path(), 1 << 20, &clock);
        assert_eq!(traces.read(first.id).await.unwrap().unwrap(), b"go 1.22 trace\0\xff");
        assert_eq!(traces.read(Uuid::nil()).await.unwrap(), None);
        assert_eq!(traces.find(|trace| trace.service == "a").await.unwrap(), [first]);
        // What is no trace is no fault.
        traces.0.kept.write("00000000000000000001-x", b"?").unwrap();
        traces.0.kept.write(&name(1_000, Uuid::nil()), b"\xff\xff\xff\xff").unwrap();
        assert_eq!(services(&open(folder.path(), 1 << 20, &clock)).await, ["b", "a"]);
        clock.0.store(11 * HOUR - 1_500, Relaxed);
        assert_eq!(services(&traces).await, ["a"]);
        assert_eq!(traces.delete(|trace| trace.labels.get("pod") == "a").await.unwrap(), 1);
        assert_eq!(services(&open(folder.path(), 1 << 20, &clock)).await, [""; 0]);
    }

    #[tokio::test]
    async fn the_oldest_make_room() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(At(AtomicI64::new(HOUR))));
        let traces = open(folder.path(), 300, &clock);
        for (at, service) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
            store(&traces, service, HOUR + at as Nanos * 1_000, &[7; 50]).await.unwrap();
        }
        assert_eq!(services(&traces).await, ["c", "d", "e"]);
        let refusal = store(&traces, "f", HOUR, &[7; 400]).await.unwrap_err();
        assert_eq!(refusal.status(), 413);
        assert_eq!(services(&traces).await, ["c", "d", "e"]);
    }
}
