//! Uploads that hold several profiles: decoded and named as a whole, then stored as one batch for each
//! service.

use crate::error::{Error, ErrorKind};
use crate::ingest::{Ingest, Inner, Stored, Upload, YEAR, claimed_service, rows};
use crate::merge::{Ids, Merged};
use crate::prepare::batch_id;
use crate::rates::Cost;
use crate::{labels, name, naming, timestamps};
use bytes::Bytes;
use everflame_formats::{Format, Moments, Part, Parts, jfr};
use everflame_forward::Via;
use everflame_lake::{Batch, ProfileId};
use everflame_profile::{FrameId, Labels, Nanos, SERVICE_NAME, Symbols};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Hz of counts that are said to be times, when the sender does not say it.
const DEFAULT_SAMPLE_RATE: u32 = 100;

/// A file of a format that says itself what it measures, which came to `/ingest`.
#[derive(Clone, Debug)]
pub struct IngestFile {
    /// The parameter `name`: `app{key=value}`.
    pub name: String,
    /// The parameter `from`, nanoseconds since the epoch; 0 when absent.
    pub from: Nanos,
    /// The parameter `until`, nanoseconds since the epoch; 0 when absent.
    pub until: Nanos,
    /// The parameter `sampleRate`, Hz, when it was sent.
    pub sample_rate: Option<u32>,
    /// The parameter `spyName`.
    pub spy_name: String,
    /// The file, gzip or plain.
    pub body: Bytes,
    /// The part `labels` beside a recording of format [`Format::Jfr`].
    pub labels: Option<Bytes>,
    /// What it is.
    pub format: Format,
}

/// An upload and, when its samples say it, when they were taken.
pub(crate) struct Timed {
    pub(crate) upload: Upload,
    pub(crate) moments: Moments,
    /// The id that the profile has at the Everflame that sends it on, and is to keep.
    pub(crate) id: Option<ProfileId>,
}

impl Timed {
    /// Whether the sender says when all of it was taken. What is sent again is then stored once; equal profiles
    /// without a time may well be two.
    pub(crate) fn is_dated(&self) -> bool {
        let Self { upload, moments, .. } = self;
        let mut times = moments.times.iter();
        upload.profile.time >= YEAR || !moments.times.is_empty() && times.all(|&time| time >= YEAR)
    }
}

/// Bytes of frames and names that the batches of one upload may have: 96 MiB. Many small profiles of many
/// services that all refer to the same long names would otherwise become much larger than what was sent.
const MOST_FRAME_BYTES: usize = 96 << 20;

/// The ids of the frames that several profiles share, so that each is hashed once.
#[derive(Default)]
struct SharedFrameIds {
    symbols: Arc<Symbols>,
    ids: Arc<[FrameId]>,
}

impl SharedFrameIds {
    fn of(&mut self, symbols: &Arc<Symbols>) -> Arc<[FrameId]> {
        if Arc::ptr_eq(&self.symbols, symbols) {
            return self.ids.clone();
        }
        let ids: Arc<[FrameId]> = symbols.frame_ids().into();
        // What a profile has for itself is not asked for again.
        if Arc::strong_count(symbols) > 1 {
            (self.symbols, self.ids) = (symbols.clone(), ids.clone());
        }
        ids
    }
}

/// What several uploads became for one service.
pub(crate) struct Prepared {
    pub(crate) stored: Stored,
    pub(crate) batch: Batch,
    /// What it costs: the profiles in it, and their share of the bytes.
    pub(crate) cost: Cost,
}

impl Ingest {
    /// Stores a file from `/ingest`. What comes back has one entry for each service.
    pub async fn ingest_file(&self, upload: IngestFile) -> Result<Vec<Stored>, Error> {
        let (bytes, service) = (upload.body.len(), claimed_service(&upload.name));
        let prepare = move |inner: &Inner| {
            let uploads = inner.ingest_file(upload)?;
            let labels = uploads.first().map(|timed| timed.upload.labels.clone()).unwrap_or_default();
            let prepared = inner.prepare_parts(uploads, None, bytes as u64)?;
            let costs: Vec<_> = prepared.iter().map(|one| (&one.batch, one.cost)).collect();
            // One file counts as one profile.
            let total = Cost { profiles: 1, bytes: bytes as u64 };
            inner.take(&costs, total).map_err(|error| error.of(&labels))?;
            Ok(prepared)
        };
        self.store_parts(bytes, &service, &Via::default(), prepare).await
    }

    /// Stores all that `prepare` makes of an upload of `service`, as the sender calls it, that came through `via`.
    pub(crate) async fn store_parts(
        &self,
        bytes: usize,
        service: &str,
        via: &Via,
        prepare: impl FnOnce(&Inner) -> Result<Vec<Prepared>, Error> + Send + 'static,
    ) -> Result<Vec<Stored>, Error> {
        self.0.counters.receive(bytes);
        let result = async {
            self.0.is_exhausted()?;
            let prepared = self.work(bytes, prepare).await?;
            // At the same time, so that they share a sync.
            let stored = prepared.into_iter().map(async |Prepared { mut stored, batch, .. }| {
                stored.duplicate = self.append(batch, via).await?.is_duplicate();
                Ok(stored)
            });
            futures::future::try_join_all(stored).await
        };
        let result = result.await;
        self.0.counters.settle(
            result.as_ref().map(|stored| !stored.is_empty() && stored.iter().all(|stored| stored.duplicate)),
        );
        result.map_err(|error| self.0.note_refusal(error, service, 1, bytes as u64))
    }
}

impl Inner {
    fn ingest_file(&self, file: IngestFile) -> Result<Vec<Timed>, Error> {
        let parsed = name::parse_name(&file.name)?;
        let service = [(SERVICE_NAME, parsed.app.as_str())];
        let given = parsed.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let limits = self.limits.decode(&Labels::from_pairs(service.into_iter().chain(given)));
        let Parts { parts, cuts } = match file.format {
            Format::Jfr => {
                let period =
                    file.sample_rate.filter(|&rate| rate > 0).map(|rate| 1_000_000_000 / i64::from(rate));
                let options = jfr::Options { labels: file.labels.as_deref(), period };
                jfr::read(&file.body, &options, &limits)?
            }
            format => format.read(&file.body, &limits)?,
        };
        let app = parsed.app.clone();
        self.note_cuts(cuts, &app);
        let mut uploads = Vec::with_capacity(parts.len());
        for part in parts {
            let Part { name, labels: own, mut profile, moments } = part;
            let name = if name.is_empty() { naming::profile_name(&profile) } else { name };
            let (mut service, mut profile_name) = (app.as_str(), name.as_str());
            // A suffix of the application says more than a bare unit.
            if file.format == Format::Speedscope {
                let (before, suffix) = naming::split_suffix(&app);
                if before != app && profile.sample_types.iter().all(|types| suffix.fits(&types.unit)) {
                    suffix.rename(&mut profile, file.sample_rate.unwrap_or(DEFAULT_SAMPLE_RATE));
                    profile_name = suffix.name;
                }
                service = before;
            }
            let mut parsed = parsed.clone();
            for (key, value) in own {
                if !parsed.labels.iter().any(|(other, _)| *other == key) {
                    parsed.labels.push((key, value));
                }
            }
            let labels = labels::from_name(parsed, service, &file.spy_name, &self.limits.general)?;
            // The sender knows which window it sends; a recording may begin with the process.
            if file.from >= YEAR {
                (profile.time, profile.duration) = (0, 0);
            }
            let upload = self.upload(labels, profile_name, profile, file.from, file.until, None)?;
            uploads.push(self.timed(upload, moments)?);
        }
        Ok(uploads)
    }

    /// An upload with the moments at which its samples were taken, each of which counts as a sample.
    pub(crate) fn timed(&self, upload: Upload, moments: Moments) -> Result<Timed, Error> {
        self.check_samples(moments.times.len(), &upload.labels)?;
        Ok(Timed { upload, moments, id: None })
    }

    /// One batch for each service, in the order of their names. An id, where there is one, is the same for the
    /// same upload, which then is stored once. `bytes` is the size of all uploads.
    pub(crate) fn prepare_parts(
        &self,
        uploads: Vec<Timed>,
        id: Option<u128>,
        bytes: u64,
    ) -> Result<Vec<Prepared>, Error> {
        let (mut shared, mut frame_bytes) = (SharedFrameIds::default(), 0);
        let mut services: BTreeMap<String, (Nanos, u64, Merged)> = BTreeMap::new();
        let latest = self.clock.now().saturating_add(self.limits.general.future);
        let share = bytes / (uploads.len() as u64).max(1);
        for Timed { mut upload, moments, id } in uploads {
            let first = upload.time;
            let frame_ids = shared.of(&upload.profile.symbols);
            let mut drafts = if moments.times.is_empty() {
                self.drafts(&mut upload, &frame_ids, id.unwrap_or(ProfileId(0)), None, share)
            } else {
                let samples = std::mem::take(&mut upload.profile.samples);
                let types = upload.profile.sample_types.len();
                let moments = timestamps::split(&samples, types, &moments, upload.time, YEAR..=latest);
                // Rates are sums over durations: the moments share the profile's.
                let count = moments.len().max(1) as u64;
                upload.duration /= count as Nanos;
                let mut drafts = Vec::with_capacity(moments.len());
                for (time, samples) in moments {
                    (upload.time, upload.profile.samples) = (time, samples);
                    drafts.extend(self.drafts(&mut upload, &frame_ids, ProfileId(0), None, share / count));
                }
                drafts
            };
            // Those of one service come together, so that each upload counts once for it.
            drafts.sort_by(|a, b| a.batch.service.cmp(&b.batch.service));
            let mut last = None;
            // What rules make several of one cannot all have its id.
            let ids = if id.is_some() && moments.times.is_empty() && drafts.len() == 1 {
                Ids::Kept
            } else {
                Ids::New
            };
            for draft in drafts {
                let service = draft.batch.service.clone();
                let (_, profiles, merged) =
                    services.entry(service.clone()).or_insert_with(|| (first, 0, Merged::default()));
                *profiles += u64::from(last.as_ref() != Some(&service));
                last = Some(service);
                let before = merged.frame_bytes();
                merged.add(draft, ids);
                frame_bytes += merged.frame_bytes() - before;
            }
            if frame_bytes > MOST_FRAME_BYTES {
                return Err(too_many_frames().of(&upload.labels));
            }
        }
        let named = services.into_values().enumerate().map(|(at, (time, profiles, merged))| {
            let own = id.map(|id| batch_id(ProfileId(id), at));
            let id = own.unwrap_or_else(|| ProfileId(uuid::Uuid::new_v4().as_u128()));
            let batch = merged.into_batch(id, own);
            let stored = Stored {
                id,
                time: time - time.rem_euclid(1_000),
                rows: rows(&batch).collect(),
                duplicate: false,
            };
            Prepared { stored, batch, cost: Cost { profiles, bytes: share * profiles } }
        });
        Ok(named.filter(|one| !one.batch.profiles.is_empty()).collect())
    }
}

#[cold]
fn too_many_frames() -> Error {
    let message = format!(
        "the profiles have frames and names of more than {MOST_FRAME_BYTES} bytes up to here; send fewer at once"
    );
    Error::new(ErrorKind::TooLarge, message)
}
