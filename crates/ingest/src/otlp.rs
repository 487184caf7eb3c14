//! Exports of OpenTelemetry profiles.

use crate::error::Error;
use crate::ingest::{Ingest, Inner, YEAR};
use crate::parts::Timed;
use crate::{decode, labels, naming};
use bytes::Bytes;
use everflame_formats::otlp::{self, Export};
use everflame_profile::{Nanos, SERVICE_NAME};
use parking_lot::Mutex;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// How an export is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpEncoding {
    /// Protobuf.
    Protobuf,
    /// OTLP's JSON.
    Json,
}

/// What became of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtlpStored {
    /// Profiles that it held.
    pub profiles: usize,
    /// Profiles that were not stored.
    pub rejected: usize,
    /// Why the first of those was not.
    pub reason: String,
}

/// What a profile without a duration is taken to cover.
const DEFAULT_DURATION: Nanos = 10_000_000_000;

impl Ingest {
    /// Stores all profiles of an export that can be read; an export of which none can be read is refused.
    /// The same bytes are stored once, so that senders may try again.
    pub async fn otlp(&self, body: Bytes, encoding: OtlpEncoding) -> Result<OtlpStored, Error> {
        let (bytes, receipt) = (body.len(), Arc::new(Mutex::default()));
        let decoded = receipt.clone();
        let decode = move |inner: &Inner| {
            let uploads = inner.otlp(&body, encoding, &mut decoded.lock())?;
            // Without a time of their own, equal profiles may well be two.
            let dated = uploads.iter().all(|Timed { upload, .. }| upload.profile.time >= YEAR);
            Ok((uploads, dated.then(|| xxh3_128(&body))))
        };
        self.store_parts(bytes, decode).await?;
        let stored = std::mem::take(&mut *receipt.lock());
        Ok(stored)
    }
}

impl Inner {
    fn otlp(
        &self,
        body: &[u8],
        encoding: OtlpEncoding,
        stored: &mut OtlpStored,
    ) -> Result<Vec<Timed>, Error> {
        let limits = &self.limits.decode;
        let Export { parts, cuts, profiles, rejected } = match encoding {
            OtlpEncoding::Protobuf => otlp::read(body, limits)?,
            OtlpEncoding::Json => otlp::read_json(body, limits)?,
        };
        decode::count(cuts, &self.counters);
        stored.profiles = profiles;
        let mut first = None;
        if let Some((rejected, error)) = rejected {
            (stored.rejected, first) = (rejected, Some(Error::from(error)));
        }
        let mut uploads = Vec::with_capacity(parts.len());
        for part in parts {
            let name = match part.name.is_empty() {
                true => naming::profile_name(&part.profile),
                false => part.name.clone(),
            };
            match self.otlp_part(part, &name) {
                Ok(upload) => uploads.push(upload),
                Err(error) => {
                    stored.rejected = (stored.rejected + 1).min(profiles);
                    first.get_or_insert(error);
                }
            }
        }
        match first {
            Some(error) if uploads.is_empty() => Err(error),
            Some(error) => {
                stored.reason = error.to_string();
                Ok(uploads)
            }
            None => Ok(uploads),
        }
    }

    fn otlp_part(&self, part: everflame_formats::Part, name: &str) -> Result<Timed, Error> {
        let everflame_formats::Part { labels: mut pairs, mut profile, timestamps, .. } = part;
        let service = pairs.iter().find(|(key, _)| key == SERVICE_NAME).map(|(_, value)| value.clone());
        // Senders describe themselves at length; what is too much goes from the end, never the profile.
        pairs.retain(|(key, value)| {
            key.len() <= self.limits.label_name_bytes && value.len() <= self.limits.label_value_bytes
        });
        pairs.truncate(self.limits.labels.saturating_sub(1));
        let service = service.unwrap_or_default();
        let labels = labels::of_service(&service, pairs, &self.limits)?;
        if profile.duration == 0 {
            profile.duration = DEFAULT_DURATION;
        }
        let upload = self.upload(labels, name, profile, 0, 0, None)?;
        Ok(Timed { upload, timestamps })
    }
}
