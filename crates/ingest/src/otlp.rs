//! Exports of OpenTelemetry profiles.

use crate::error::Error;
use crate::ingest::{Ingest, Inner};
use crate::limits::Limits;
use crate::parts::{Prepared, Timed};
use crate::rates::Cost;
use crate::{labels, naming};
use bytes::Bytes;
use everflame_formats::Part;
use everflame_formats::otlp::{self, Export};
use everflame_forward::Via;
use everflame_lake::ProfileId;
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

/// What a profile without a duration is taken to cover, unless an Everflame says so, which knows snapshots.
const DEFAULT_DURATION: Nanos = 10_000_000_000;

impl Ingest {
    /// Stores all profiles of an export that can be read; an export of which none can be read is refused.
    /// The same bytes are stored once, so that senders may try again; what this server sent on itself is not stored.
    pub async fn otlp(&self, body: Bytes, encoding: OtlpEncoding, via: Via) -> Result<OtlpStored, Error> {
        let (bytes, receipt) = (body.len(), Arc::new(Mutex::default()));
        if self.is_back(&via, bytes) {
            return Ok(OtlpStored::default());
        }
        let (filled, chain) = (receipt.clone(), via.clone());
        let prepare = move |inner: &Inner| inner.prepare_otlp(&body, encoding, &chain, &mut filled.lock());
        self.store_parts(bytes, "", &via, prepare).await?;
        let stored = std::mem::take(&mut *receipt.lock());
        Ok(stored)
    }
}

impl Inner {
    fn prepare_otlp(
        &self,
        body: &[u8],
        encoding: OtlpEncoding,
        via: &Via,
        stored: &mut OtlpStored,
    ) -> Result<Vec<Prepared>, Error> {
        let bytes = body.len() as u64;
        let (uploads, mut first) = self.otlp(body, encoding, &self.limits.of_chain(via), stored)?;
        let dated = uploads.iter().all(Timed::is_dated);
        let mut any = !uploads.is_empty();
        let mut prepared = self.prepare_parts(uploads, dated.then(|| xxh3_128(body)), bytes)?;
        // The others of an export are not to wait for a service that sends too much, but the tenant's bound is
        // that of the whole.
        let total = Cost { profiles: stored.profiles as u64, bytes };
        self.take(&[], total)?;
        let readable = prepared.len();
        prepared.retain(|Prepared { batch, cost, .. }| {
            let none = Cost { profiles: 0, bytes: 0 };
            let Err(error) = self.take(&[(batch, *cost)], none) else { return true };
            let labels = batch.series.first().map(|series| series.labels.clone()).unwrap_or_default();
            let error = error.of(&labels);
            stored.rejected += cost.profiles as usize;
            first.get_or_insert(self.note_refusal(error, "", cost.profiles, cost.bytes));
            false
        });
        any &= readable == 0 || !prepared.is_empty();
        stored.rejected = stored.rejected.min(stored.profiles);
        match first {
            Some(error) if !any => Err(error),
            Some(error) => {
                stored.reason = error.to_string();
                Ok(prepared)
            }
            None => Ok(prepared),
        }
    }

    /// The uploads of an export that can be read, and why the first of the others cannot.
    fn otlp(
        &self,
        body: &[u8],
        encoding: OtlpEncoding,
        limits: &Limits,
        stored: &mut OtlpStored,
    ) -> Result<(Vec<Timed>, Option<Error>), Error> {
        let Export { parts, ids, cuts, profiles, rejected } = match encoding {
            OtlpEncoding::Protobuf => otlp::read(body, &limits.decode)?,
            OtlpEncoding::Json => otlp::read_json(body, &limits.decode)?,
        };
        self.note_cuts(cuts, "");
        stored.profiles = profiles;
        let mut first = None;
        if let Some((rejected, error)) = rejected {
            stored.rejected = rejected;
            first = Some(self.note_refusal(error.into(), "", rejected as u64, 0));
        }
        let mut uploads = Vec::with_capacity(parts.len());
        for (mut part, id) in parts.into_iter().zip(ids) {
            let named = part.labels.iter().position(|(key, _)| key == otlp::PROFILE_NAME_ATTRIBUTE);
            // An Everflame sends on what it has stored: as long as it was, and with its id.
            let is_stored = named.is_some();
            if !is_stored && part.profile.duration == 0 {
                part.profile.duration = DEFAULT_DURATION;
            }
            let id = id.filter(|_| is_stored).map(ProfileId);
            let name = match named.map(|at| part.labels.remove(at).1) {
                Some(name) => name,
                None if part.name.is_empty() => naming::profile_name(&part.profile),
                None => part.name.clone(),
            };
            match self.otlp_part(part, &name, limits) {
                Ok(timed) => uploads.push(Timed { id, ..timed }),
                Err(error) => {
                    stored.rejected = (stored.rejected + 1).min(profiles);
                    first.get_or_insert(self.note_refusal(error, "", 1, 0));
                }
            }
        }
        Ok((uploads, first))
    }

    fn otlp_part(&self, part: Part, name: &str, limits: &Limits) -> Result<Timed, Error> {
        let Part { labels: mut pairs, profile, moments, .. } = part;
        let service = pairs.iter().find(|(key, _)| key == SERVICE_NAME).map(|(_, value)| value.clone());
        let service = service.unwrap_or_default();
        pairs.retain(|(key, _)| key != SERVICE_NAME);
        self.bounded(&mut pairs, &service, limits);
        let labels = labels::of_service(&service, pairs, limits)?;
        self.timed(self.upload(labels, name, profile, 0, 0, None)?, moments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::tests::{Fixture, labels, profile, through};
    use everflame_formats::otlp::ExportWriter;

    #[tokio::test]
    async fn what_an_everflame_sends_on_stays_as_it_was() {
        let fixture = Fixture::new().await;
        let id = 0xabcdef;
        for (name, others, via, expect) in [
            // Another exporter, which does not say what kind of profile it is.
            ("", 28, 0, (DEFAULT_DURATION, false, 29)),
            ("memory", 28, 0, (0, true, 29)),
            ("memory", 60, 0, (0, true, 30)),
            ("memory", 60, 1, (0, true, 61)),
            ("memory", 120, 1, (0, true, 121)),
        ] {
            let mut writer = ExportWriter::default();
            let pairs = labels(others);
            let own = pairs.iter().filter(|(key, _)| !key.starts_with("__"));
            let own = own.map(|(key, value)| (key.as_str(), value.as_str()));
            writer.add(own, name, &u128::to_be_bytes(id), &profile(1));
            let inner = &fixture.ingest.0;
            let mut stored = OtlpStored::default();
            let prepared = inner.prepare_otlp(
                &writer.finish(),
                OtlpEncoding::Protobuf,
                &through(&vec![Fixture::OTHER; via]),
                &mut stored,
            );
            let prepared = prepared.unwrap();
            let (row, series) = (&prepared[0].batch.profiles[0], &prepared[0].batch.series[0]);
            let actual = (row.duration, row.id == ProfileId(id), series.labels.iter().count());
            assert_eq!(actual, expect, "{name} {others} {via}");
            assert_eq!(prepared[0].batch.profiles.len(), 1);
        }
    }
}
