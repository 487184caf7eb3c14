//! Uploads that hold several profiles: decoded and named as a whole, then stored as one batch for each
//! service.

use crate::error::Error;
use crate::ingest::{Ingest, Inner, Stored, Upload, YEAR, rows};
use crate::merge::Merged;
use crate::{decode, labels, name, naming, timestamps};
use bytes::Bytes;
use everflame_formats::{Format, Part, Parts, jfr};
use everflame_lake::{Batch, ProfileId};
use everflame_profile::{Nanos, SERVICE_NAME};
use std::collections::BTreeMap;

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

/// An upload and, when its samples say it, when each of them was taken.
pub(crate) struct Timed {
    pub(crate) upload: Upload,
    pub(crate) timestamps: Vec<Nanos>,
}

impl Ingest {
    /// Stores a file from `/ingest`. What comes back has one entry for each service.
    pub async fn ingest_file(&self, upload: IngestFile) -> Result<Vec<Stored>, Error> {
        let bytes = upload.body.len();
        let prepare = move |inner: &Inner| Ok((inner.ingest_file(upload)?, None));
        self.store_parts(bytes, prepare).await
    }

    /// Decodes with `decode`, and stores all of it. An id, where there is one, is the same for the same upload,
    /// which then is stored once.
    pub(crate) async fn store_parts(
        &self,
        bytes: usize,
        decode: impl FnOnce(&Inner) -> Result<(Vec<Timed>, Option<u128>), Error> + Send + 'static,
    ) -> Result<Vec<Stored>, Error> {
        self.0.counters.receive(bytes);
        let result = async {
            let work =
                move |inner: &Inner| decode(inner).map(|(uploads, id)| inner.prepare_parts(uploads, id));
            let prepared = self.work(bytes, work).await?;
            // At the same time, so that they share a sync.
            let stored = prepared.into_iter().map(|(stored, batch)| self.append(stored, Some(batch)));
            futures::future::try_join_all(stored).await
        };
        let result = result.await;
        self.0.counters.settle(
            result.as_ref().map(|stored| !stored.is_empty() && stored.iter().all(|stored| stored.duplicate)),
        );
        result
    }
}

impl Inner {
    fn ingest_file(&self, file: IngestFile) -> Result<Vec<Timed>, Error> {
        let parsed = name::parse_name(&file.name)?;
        let Parts { parts, cuts } = match file.format {
            Format::Jfr => {
                let period =
                    file.sample_rate.filter(|&rate| rate > 0).map(|rate| 1_000_000_000 / i64::from(rate));
                let options = jfr::Options { labels: file.labels.as_deref(), period };
                jfr::read(&file.body, &options, &self.limits.decode)?
            }
            format => format.read(&file.body, &self.limits.decode)?,
        };
        decode::count(cuts, &self.counters);
        let app = parsed.app.clone();
        let mut uploads = Vec::with_capacity(parts.len());
        for part in parts {
            let Part { name, labels: own, mut profile, timestamps } = part;
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
            let labels = labels::from_name(parsed, service, &file.spy_name, &self.limits)?;
            // The sender knows which window it sends; a recording may begin with the process.
            if file.from >= YEAR {
                (profile.time, profile.duration) = (0, 0);
            }
            let upload = self.upload(labels, profile_name, profile, file.from, file.until, None)?;
            uploads.push(Timed { upload, timestamps });
        }
        Ok(uploads)
    }

    /// One batch for each service, in the order of their names.
    fn prepare_parts(&self, uploads: Vec<Timed>, id: Option<u128>) -> Vec<(Stored, Batch)> {
        let mut services: BTreeMap<String, (Nanos, Merged)> = BTreeMap::new();
        let latest = self.clock.now().saturating_add(self.limits.future);
        for Timed { mut upload, timestamps } in uploads {
            let service = upload.labels.get(SERVICE_NAME).to_owned();
            let (_, merged) = services.entry(service).or_insert_with(|| (upload.time, Merged::default()));
            if timestamps.is_empty() {
                self.batch(&upload, ProfileId(0), false).into_iter().for_each(|batch| merged.add(batch));
                continue;
            }
            let samples = std::mem::take(&mut upload.profile.samples);
            let types = upload.profile.sample_types.len();
            let moments = timestamps::split(&samples, types, &timestamps, upload.time, YEAR..=latest);
            // Rates are sums over durations: the moments share the profile's.
            upload.duration /= moments.len().max(1) as Nanos;
            for (time, samples) in moments {
                (upload.time, upload.profile.samples) = (time, samples);
                self.batch(&upload, ProfileId(0), false).into_iter().for_each(|batch| merged.add(batch));
            }
        }
        let named = services.into_iter().enumerate().map(|(at, (_, (time, merged)))| {
            let own = id.map(|id| crate::row_id(ProfileId(id), at as u32).0);
            let id = ProfileId(own.unwrap_or_else(|| uuid::Uuid::new_v4().as_u128()));
            let batch = merged.into_batch(id, own.is_some());
            let rows = rows(&batch).collect();
            (Stored { id, time: time - time.rem_euclid(1_000), rows, duplicate: false }, batch)
        });
        named.filter(|(_, batch)| !batch.profiles.is_empty()).collect()
    }
}
