//! The entrances: one function for each way in which profiles come.

use crate::counters::{Counters, LiveCounters};
use crate::dropped::{DroppedReport, Ledger};
use crate::error::Error;
use crate::identity::Identity;
use crate::label_sets::LabelSets;
use crate::limits::{AllLimits, LimitOverride, Limits};
use crate::naming::{self, SampleTypeConfig};
use crate::rates::Meters;
use crate::relabel::Relabel;
use crate::{go_names, labels, name, spy};
use bytes::Bytes;
use everflame_formats::folded::{self, Lines};
use everflame_formats::{Decoded, pprof, tree, trie};
use everflame_forward::{Spool, Via};
use everflame_lake::{Appended, Batch, Lake, ProfileId};
use everflame_profile::{Clock, Labels, Nanos, Profile, ProfileType, SERVICE_NAME};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::Semaphore;

/// Bodies from this size on are decoded on a thread for blocking work: 128 KiB take about a millisecond.
const BLOCKING_BYTES: usize = 128 << 10;

/// A year, in nanoseconds. Times before 1971 are absent, or were sent in another unit.
pub(crate) const YEAR: Nanos = 365 * 86_400_000_000_000;

/// Takes profiles in and stores them in one lake. Cheap to clone.
#[derive(Clone)]
pub struct Ingest(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) lake: Arc<Lake>,
    pub(crate) limits: AllLimits,
    pub(crate) relabel: Relabel,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) label_sets: LabelSets,
    pub(crate) meters: Meters,
    pub(crate) counters: LiveCounters,
    pub(crate) dropped: Ledger,
    /// Where what is stored goes, too.
    pub(crate) spool: Option<Arc<Spool>>,
    /// Large bodies that may be decoded at once: each may need a hundred megabytes.
    decoders: Semaphore,
}

/// What an operator says about some uploads.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// How labels are rewritten, and what is dropped.
    pub relabel: Relabel,
    /// Other bounds for some; the first that takes an upload counts.
    pub overrides: Vec<LimitOverride>,
    /// Where what is stored goes, too, to be forwarded.
    pub forward: Option<Arc<Spool>>,
}

/// One sample of `push.v1.PusherService/Push`.
#[derive(Clone, Debug, Default)]
pub struct PushSample {
    /// Labels of its series, `__name__` among them.
    pub labels: Vec<(String, String)>,
    /// The profile, gzip or plain.
    pub pprof: Bytes,
    /// The client's UUID. A second upload with the same one is not stored again when its labels and its profile
    /// are the same, too.
    pub id: Option<u128>,
    /// The servers that it came through.
    pub via: Via,
}

/// A pprof that came to `/ingest`.
#[derive(Clone, Debug, Default)]
pub struct IngestPprof {
    /// The parameter `name`: `app{key=value}`.
    pub name: String,
    /// The parameter `from`, nanoseconds since the epoch; 0 when absent.
    pub from: Nanos,
    /// The parameter `until`, nanoseconds since the epoch; 0 when absent.
    pub until: Nanos,
    /// The parameter `spyName`.
    pub spy_name: String,
    /// The profile, gzip or plain; empty bodies are accepted and store nothing.
    pub profile: Bytes,
    /// The part `prev_profile`, which only outdated agents send.
    pub prev_profile: Option<Bytes>,
    /// The part `sample_type_config`, JSON.
    pub sample_type_config: Option<Bytes>,
}

/// How the body of an [`IngestFolded`] is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FoldedFormat {
    /// `frame;frame count`.
    #[default]
    Folded,
    /// `frame;frame`, each line counts 1.
    Lines,
    /// Pyroscope's binary call tree.
    Tree,
    /// Pyroscope's binary trie of folded stacks.
    Trie,
}

/// Stacks without types that came to `/ingest`.
#[derive(Clone, Debug, Default)]
pub struct IngestFolded {
    /// The parameter `name`: `app.suffix{key=value}`.
    pub name: String,
    /// The parameter `from`, nanoseconds since the epoch; 0 when absent.
    pub from: Nanos,
    /// The parameter `until`, nanoseconds since the epoch; 0 when absent.
    pub until: Nanos,
    /// The parameter `sampleRate`, Hz.
    pub sample_rate: u32,
    /// The parameter `spyName`.
    pub spy_name: String,
    /// The stacks, gzip or plain.
    pub body: Bytes,
    /// How to read it.
    pub format: FoldedFormat,
}

/// A pprof that came to profefe's `/api/0/profiles`.
#[derive(Clone, Debug, Default)]
pub struct Profefe {
    /// The parameter `service`.
    pub service: String,
    /// The parameter `type`.
    pub profile_type: String,
    /// The parameter `labels`, unescaped.
    pub labels: Vec<(String, String)>,
    /// The parameter `created_at`, nanoseconds since the epoch; 0 when absent.
    pub created_at: Nanos,
    /// The profile, gzip or plain.
    pub body: Bytes,
}

/// A series of a stored upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// Identity of the profile.
    pub id: ProfileId,
    /// What it measures.
    pub profile_type: ProfileType,
    /// Its labels.
    pub labels: Labels,
}

/// What became of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its identity, and that of its first profile; the others follow from it, see [`crate::row_id`].
    pub id: ProfileId,
    /// When it was taken, nanoseconds since the epoch, whole microseconds.
    pub time: Nanos,
    /// Its profiles, empty when it had no samples.
    pub rows: Vec<StoredRow>,
    /// Whether it was there already.
    pub duplicate: bool,
}

/// A decoded upload, named and labelled.
pub(crate) struct Upload {
    pub(crate) labels: Labels,
    pub(crate) types: Vec<ProfileType>,
    pub(crate) profile: Profile,
    pub(crate) time: Nanos,
    pub(crate) duration: Nanos,
    pub(crate) identity: Option<Identity>,
}

impl Ingest {
    /// Takes profiles in for `lake`.
    pub fn new(lake: Arc<Lake>, limits: Limits, clock: Arc<dyn Clock>) -> Self {
        Self::with_rules(lake, limits, Rules::default(), clock)
    }

    /// Takes profiles in for `lake` as `rules` say.
    pub fn with_rules(lake: Arc<Lake>, limits: Limits, rules: Rules, clock: Arc<dyn Clock>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get());
        let Rules { relabel, overrides, forward: spool } = rules;
        Self(Arc::new(Inner {
            lake,
            limits: AllLimits { general: limits, overrides },
            relabel,
            label_sets: LabelSets::default(),
            meters: Meters::default(),
            counters: LiveCounters::default(),
            dropped: Ledger::new(clock.now()),
            spool,
            decoders: Semaphore::new(cores.max(2)),
            clock,
        }))
    }

    /// Stores one sample of a Push; not what this server sent on itself.
    pub async fn push(&self, sample: PushSample) -> Result<Stored, Error> {
        if self.is_back(&sample.via, sample.pprof.len()) {
            let id = sample.id.unwrap_or_else(|| uuid::Uuid::new_v4().as_u128());
            let time = self.0.clock.now();
            let time = time - time.rem_euclid(1_000);
            return Ok(Stored { id: ProfileId(id), time, rows: Vec::new(), duplicate: true });
        }
        let service = sample.labels.iter().find(|(name, _)| name == SERVICE_NAME);
        let service = service.map(|(_, value)| value.clone()).unwrap_or_default();
        let via = sample.via.clone();
        self.store(sample.pprof.len(), service, &via, move |inner| inner.push(sample)).await
    }

    /// Stores a pprof from `/ingest`.
    pub async fn ingest_pprof(&self, upload: IngestPprof) -> Result<Stored, Error> {
        let (bytes, service) = (upload.profile.len(), claimed_service(&upload.name));
        self.store(bytes, service, &Via::default(), move |inner| inner.ingest_pprof(upload)).await
    }

    /// Stores stacks without types from `/ingest`.
    pub async fn ingest_folded(&self, upload: IngestFolded) -> Result<Stored, Error> {
        let (bytes, service) = (upload.body.len(), claimed_service(&upload.name));
        self.store(bytes, service, &Via::default(), move |inner| inner.ingest_folded(upload)).await
    }

    /// Stores a pprof from profefe's API. A profile without samples is refused there.
    pub async fn profefe(&self, upload: Profefe) -> Result<Stored, Error> {
        let (bytes, service) = (upload.body.len(), upload.service.clone());
        self.store(bytes, service, &Via::default(), move |inner| inner.profefe(upload).map(Some)).await
    }

    /// Stores a profile that was taken in this process.
    pub async fn profile(
        &self,
        service: &str,
        labels: Vec<(String, String)>,
        profile_name: &str,
        profile: Profile,
    ) -> Result<Stored, Error> {
        let (service, profile_name) = (service.to_owned(), profile_name.to_owned());
        self.store(0, service.clone(), &Via::default(), move |inner| {
            let labels = labels::of_service(&service, labels, &inner.limits.general)?;
            inner.upload(labels, &profile_name, profile, 0, 0, None).map(Some)
        })
        .await
    }

    /// What became of the uploads so far.
    pub fn counters(&self) -> Counters {
        self.0.counters.read()
    }

    /// The bounds of all uploads that have none of their own.
    pub fn limits(&self) -> &Limits {
        &self.0.limits.general
    }

    /// What was dropped, refused or shortened since the start.
    pub fn dropped(&self) -> DroppedReport {
        self.0.dropped.report(self.0.lake.tenant())
    }

    /// Records an upload of `service` that was refused before it came here, for being too large.
    pub fn refused_as_too_large(&self, service: &str, bytes: u64, message: &str) {
        let error = Error::new(crate::ErrorKind::TooLarge, message);
        self.0.counters.receive(usize::try_from(bytes).unwrap_or(usize::MAX));
        self.0.counters.settle(Err(&error));
        self.0.note_refusal(error, service, 1, bytes);
    }

    /// Decodes with `decode`, builds the batches, appends them, and counts what happened. `service` is what the
    /// sender calls it, `via` what it came through.
    async fn store(
        &self,
        bytes: usize,
        service: String,
        via: &Via,
        decode: impl FnOnce(&Inner) -> Result<Option<Upload>, Error> + Send + 'static,
    ) -> Result<Stored, Error> {
        self.0.counters.receive(bytes);
        let result = self.prepare_and_append(bytes, via, decode).await;
        self.0.counters.settle(result.as_ref().map(|stored| stored.duplicate));
        result.map_err(|error| self.0.note_refusal(error, &service, 1, bytes as u64))
    }

    async fn prepare_and_append(
        &self,
        bytes: usize,
        via: &Via,
        decode: impl FnOnce(&Inner) -> Result<Option<Upload>, Error> + Send + 'static,
    ) -> Result<Stored, Error> {
        self.0.is_exhausted()?;
        let (mut stored, batches) = self.work(bytes, move |inner| inner.prepare(bytes, decode)).await?;
        // At the same time, so that they share a sync.
        let appended =
            futures::future::try_join_all(batches.into_iter().map(|batch| self.append(batch, via))).await?;
        stored.duplicate = !appended.is_empty() && appended.iter().all(|appended| appended.is_duplicate());
        Ok(stored)
    }

    /// Runs `work` here when there is little to do, on a thread for blocking work otherwise.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if bytes < BLOCKING_BYTES {
            return work(&self.0);
        }
        let inner = self.0.clone();
        // Fails only when it is closed, which nobody does.
        let _turn = self.0.decoders.acquire().await;
        let task = tokio::task::spawn_blocking(move || work(&inner));
        task.await.map_err(|error| {
            let message = format!("decoding stopped: {error}; please report it with the profile");
            Error::new(crate::ErrorKind::Internal, message)
        })?
    }

    pub(crate) async fn append(&self, batch: Batch, via: &Via) -> Result<Appended, Error> {
        let samples = batch.samples.len() as u64;
        let appended = match &self.0.spool {
            None => self.0.lake.append(batch).await?,
            Some(spool) => self.append_and_spool(spool, batch, via).await?,
        };
        if appended == Appended::Stored {
            self.0.counters.samples.fetch_add(samples, Relaxed);
        }
        Ok(appended)
    }
}

impl Inner {
    pub(crate) fn pprof(&self, bytes: &[u8], labels: &Labels) -> Result<Profile, Error> {
        self.decoded(pprof::read(bytes, &self.limits.decode(labels)), labels)
    }

    fn decoded(
        &self,
        result: Result<Decoded, everflame_formats::Error>,
        labels: &Labels,
    ) -> Result<Profile, Error> {
        let Decoded { profile, cuts } = result.map_err(|error| Error::from(error).of(labels))?;
        self.note_cuts(cuts, labels.get(SERVICE_NAME));
        Ok(profile)
    }

    fn push(&self, sample: PushSample) -> Result<Option<Upload>, Error> {
        let limits = self.limits.of_chain(&sample.via);
        let (name, labels) = labels::from_push(sample.labels, &limits)?;
        let mut profile = self.pprof(&sample.pprof, &labels)?;
        go_names::drop_type_parameters(&mut profile);
        let identity = sample.id.map(|id| Identity::of_push(id, &name, &labels, &sample.pprof));
        self.upload(labels, &name, profile, 0, 0, identity).map(Some)
    }

    fn ingest_pprof(&self, upload: IngestPprof) -> Result<Option<Upload>, Error> {
        let name = name::parse_name(&upload.name)?;
        let service = name.app.clone();
        let labels = labels::from_name(name, &service, &upload.spy_name, &self.limits.general)?;
        if upload.prev_profile.is_some_and(|previous| !previous.is_empty()) {
            return Err(Error::unprocessable(
                "prev_profile: differences to an earlier profile are no longer computed here; update the \
                 client to a version that sends them itself",
            ));
        }
        if upload.profile.is_empty() {
            return Ok(None);
        }
        let config = SampleTypeConfig::parse(upload.sample_type_config.as_deref())?;
        let mut profile = self.pprof(&upload.profile, &labels)?;
        go_names::drop_type_parameters(&mut profile);
        spy::adapt(&mut profile, &upload.spy_name, config.contains("inuse-space"));
        let name = naming::name_by_types(&profile.sample_types, &config);
        self.upload(labels, &name, profile, upload.from, upload.until, None).map(Some)
    }

    fn ingest_folded(&self, upload: IngestFolded) -> Result<Option<Upload>, Error> {
        let name = name::parse_name(&upload.name)?;
        // Old agents repeat under a `profile_id` what they also send without.
        if name.labels.iter().any(|(key, value)| key == "profile_id" && !value.is_empty()) {
            return Ok(None);
        }
        let app = name.app.clone();
        let (service, suffix) = naming::split_suffix(&app);
        let labels = labels::from_name(name, service, &upload.spy_name, &self.limits.general)?;
        let (body, limits) = (&upload.body, &self.limits.decode(&labels));
        let decoded = match upload.format {
            FoldedFormat::Folded => folded::read(body, Lines::Counted, limits),
            FoldedFormat::Lines => folded::read(body, Lines::Single, limits),
            FoldedFormat::Tree => tree::read_profile(body, limits),
            FoldedFormat::Trie => trie::read(body, limits),
        };
        let mut profile = self.decoded(decoded, &labels)?;
        suffix.apply(&mut profile, upload.sample_rate);
        (profile.time, profile.duration) = (0, 0);
        self.upload(labels, suffix.name, profile, upload.from, upload.until, None).map(Some)
    }

    fn profefe(&self, upload: Profefe) -> Result<Upload, Error> {
        if upload.service.is_empty() {
            return Err(Error::invalid("service: it is empty; send the name of the service"));
        }
        let Some(name) = naming::profefe_profile_name(&upload.profile_type) else {
            return Err(Error::invalid(format!(
                "type: {:?} is not stored here; send one of cpu, heap, block, mutex, goroutine, threadcreate, other",
                upload.profile_type
            )));
        };
        let labels = labels::of_service(&upload.service, upload.labels, &self.limits.general)?;
        let profile = self.pprof(&upload.body, &labels)?;
        if profile.samples.is_empty() {
            let message = "pprof: the profile has no samples; take it while the program works";
            return Err(Error::invalid(message).of(&labels));
        }
        self.upload(labels, name, profile, upload.created_at, 0, None)
    }

    /// Names the types and settles the time: the profile's own, else `from`, else now.
    pub(crate) fn upload(
        &self,
        labels: Labels,
        name: &str,
        profile: Profile,
        from: Nanos,
        until: Nanos,
        identity: Option<Identity>,
    ) -> Result<Upload, Error> {
        let types = naming::profile_types(name, &profile).map_err(|error| error.of(&labels))?;
        self.check_samples(profile.samples.len(), &labels)?;
        let now = self.clock.now();
        let future = self.limits.general.future;
        let time = [profile.time, from].into_iter().find(|&time| time >= YEAR).unwrap_or(now);
        if time > now.saturating_add(future) {
            return Err(Error::unprocessable(format!(
                "time: the profile lies {} s in the future, at most {} s are taken; set the sender's clock",
                (time - now) / 1_000_000_000,
                future / 1_000_000_000
            ))
            .of(&labels));
        }
        let asked = if from > 0 { until.saturating_sub(from).max(0) } else { 0 };
        let duration = if profile.duration > 0 { profile.duration } else { asked };
        Ok(Upload { labels, types, profile, time, duration, identity })
    }

    /// Refuses more samples than a profile of this service may have: messages with profiles of many services
    /// are read within the bounds of all.
    pub(crate) fn check_samples(&self, samples: usize, labels: &Labels) -> Result<(), Error> {
        let most = self.limits.samples(labels);
        if samples <= most {
            return Ok(());
        }
        let message = format!(
            "the profile has {samples} samples, at most {most} are taken of this service; send a shorter span at \
             once, or raise the limit"
        );
        Err(Error::new(crate::ErrorKind::TooLarge, message).of(labels))
    }
}

/// The application of an upload to `/ingest`, before anybody has checked its name.
pub(crate) fn claimed_service(name: &str) -> String {
    name.split('{').next().unwrap_or_default().trim().to_owned()
}

pub(crate) fn rows(batch: &Batch) -> impl Iterator<Item = StoredRow> {
    batch.profiles.iter().filter_map(|row| {
        let series = batch.series.get(row.series as usize)?;
        Some(StoredRow {
            id: row.id,
            profile_type: series.profile_type.clone(),
            labels: series.labels.clone(),
        })
    })
}
