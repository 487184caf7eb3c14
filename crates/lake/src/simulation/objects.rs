//! A bucket in memory that fails, answers late, or does what it was asked and loses the answer.

use crate::random::Random;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path as Name;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// A bucket in memory. It outlives the processes that use it.
#[derive(Clone, Debug)]
pub(super) struct SimObjects {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    objects: BTreeMap<Name, (Bytes, i64)>,
    /// What was given up by who asked for it, and comes to be done later.
    late: Vec<(Name, Bytes, bool)>,
    random: Random,
    /// So many of 1,000 requests fail.
    failures: u64,
    /// How often each thing was read: reads come in any order, and must not depend on one another.
    reads: BTreeMap<Name, u64>,
    seed: u64,
    now: i64,
}

impl SimObjects {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                objects: BTreeMap::new(),
                late: Vec::new(),
                random: Random::new(seed),
                failures: 0,
                reads: BTreeMap::new(),
                seed,
                now: 0,
            })),
        }
    }

    /// Sets how many of 1,000 requests fail from now on.
    pub(super) fn set_failures(&self, failures: u64) {
        self.state.lock().failures = failures;
    }

    /// Sets the time that objects are stamped with, in milliseconds since the epoch.
    pub(super) fn set_time(&self, millis: i64) {
        self.state.lock().now = millis;
    }

    fn look(&self, name: &Name) -> Result<()> {
        let mut state = self.state.lock();
        let reads = state.reads.entry(name.clone()).or_default();
        *reads += 1;
        let mut random =
            Random::new(*reads ^ state.seed ^ u64::from(crc32c::crc32c(name.as_ref().as_bytes())));
        if random.below(1_000) < state.failures { Err(lost("before it was done")) } else { Ok(()) }
    }

    fn meta(name: &Name, bytes: &Bytes, modified: i64) -> ObjectMeta {
        let modified = UNIX_EPOCH + Duration::from_millis(modified as u64);
        ObjectMeta {
            location: name.clone(),
            last_modified: modified.into(),
            size: bytes.len() as u64,
            e_tag: None,
            version: None,
        }
    }

    fn list_all(&self, prefix: Option<&Name>) -> Result<Vec<ObjectMeta>> {
        let prefix = prefix.cloned().unwrap_or_default();
        self.look(&prefix)?;
        let state = self.state.lock();
        let inside =
            state.objects.iter().filter(|(name, _)| name.prefix_matches(&prefix) && **name != prefix);
        Ok(inside.map(|(name, (bytes, modified))| Self::meta(name, bytes, *modified)).collect())
    }
}

impl State {
    fn put(&mut self, name: &Name, bytes: Bytes, only_new: bool) -> Result<()> {
        if only_new && self.objects.contains_key(name) {
            return Err(Error::AlreadyExists { path: name.to_string(), source: "it is there".into() });
        }
        self.objects.insert(name.clone(), (bytes, self.now));
        Ok(())
    }

    /// Some of what is late arrives now.
    fn catch_up(&mut self) {
        while !self.late.is_empty() && self.random.below(3) == 0 {
            let at = self.random.below(self.late.len() as u64) as usize;
            let (name, bytes, only_new) = self.late.remove(at);
            let _ = self.put(&name, bytes, only_new);
        }
    }
}

#[async_trait]
impl ObjectStore for SimObjects {
    async fn put_opts(&self, name: &Name, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let mut state = self.state.lock();
        state.catch_up();
        let (bytes, only_new) = (Bytes::from(payload), options.mode == PutMode::Create);
        if state.random.below(1_000) < state.failures {
            match state.random.below(3) {
                0 => return Err(lost("before it was done")),
                1 => {
                    state.late.push((name.clone(), bytes, only_new));
                    return Err(lost("on the way"));
                }
                _ => {
                    state.put(name, bytes, only_new)?;
                    return Err(lost("after it was done"));
                }
            }
        }
        state.put(name, bytes, only_new)?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        _name: &Name,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotSupported { source: "parts".into() })
    }

    async fn get_opts(&self, name: &Name, options: GetOptions) -> Result<GetResult> {
        self.look(name)?;
        let state = self.state.lock();
        let Some((bytes, modified)) = state.objects.get(name) else {
            return Err(Error::NotFound { path: name.to_string(), source: "it is not there".into() });
        };
        let meta = Self::meta(name, bytes, *modified);
        let range = match options.range {
            Some(range) => range
                .as_range(bytes.len() as u64)
                .map_err(|error| Error::Generic { store: "sim", source: Box::new(error) })?,
            None => 0..bytes.len() as u64,
        };
        let part = bytes.slice(range.start as usize..range.end as usize);
        let payload = GetResultPayload::Stream(stream::iter([Ok(part)]).boxed());
        Ok(GetResult { payload, meta, range, attributes: Default::default() })
    }

    fn delete_stream(&self, names: BoxStream<'static, Result<Name>>) -> BoxStream<'static, Result<Name>> {
        let this = self.clone();
        names
            .map(move |name| {
                let name = name?;
                let mut state = this.state.lock();
                if state.random.below(1_000) < state.failures {
                    return Err(lost("before it was done"));
                }
                state.objects.remove(&name);
                Ok(name)
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Name>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.list_all(prefix) {
            Ok(found) => stream::iter(found.into_iter().map(Ok)).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Name>) -> Result<ListResult> {
        Ok(ListResult { common_prefixes: Vec::new(), objects: self.list_all(prefix)? })
    }

    async fn copy_opts(&self, _from: &Name, _to: &Name, _options: CopyOptions) -> Result<()> {
        Err(Error::NotSupported { source: "copies".into() })
    }
}

impl fmt::Display for SimObjects {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("sim")
    }
}

fn lost(when: &str) -> Error {
    Error::Generic { store: "sim", source: format!("the connection broke {when}").into() }
}
