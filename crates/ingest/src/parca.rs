//! What comes over Parca's wire: pprof files under label sets, and the profiles of its Arrow records.
//!
//! A message is decoded as a whole before any of it is stored, so that one bad profile refuses all.

use crate::error::{Error, ErrorKind};
use crate::ingest::{Ingest, Inner};
use crate::labels::{self, is_private};
use crate::parts::{Prepared, Timed};
use crate::rates::Cost;
use bytes::Bytes;
use everflame_formats::{Moments, Part};
use everflame_forward::Via;
use everflame_profile::{Labels, PROFILE_NAME, Profile, SERVICE_NAME, SampleLabel, Samples};
use hashbrown::HashMap;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// A series of `parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw`.
#[derive(Clone, Debug, Default)]
pub struct ParcaSeries {
    /// Its labels, `__name__` among them.
    pub labels: Vec<(String, String)>,
    /// Its profiles, gzip or plain pprof.
    pub profiles: Vec<Bytes>,
}

/// Labels that say which service it is when `service_name` does not, the most telling first: what people
/// set themselves, what Prometheus' scrapers set, what Parca's agent finds out.
const SERVICE_SOURCES: [&str; 5] = ["service", "app", "job", "container", "comm"];

/// What a sample label is called when its series has a label of that name.
const EXPORTED: &str = "exported_";

/// Sample labels that are ids of spans and traces, and never series labels.
const SPANS: [&str; 3] = ["span_id", "trace_id", "profile_id"];

impl Ingest {
    /// Stores all profiles of a WriteRaw, whose bytes are `body`, or none. The same bytes are stored once, so
    /// that senders may try again.
    pub async fn parca_raw(&self, body: Bytes, series: Vec<ParcaSeries>) -> Result<(), Error> {
        let bytes = body.len();
        let decode = move |inner: &Inner| {
            let (mut uploads, mut entries) = (Vec::new(), 0usize);
            for (at, ParcaSeries { labels, profiles }) in series.into_iter().enumerate() {
                let (name, labels) =
                    series_labels(labels, inner).map_err(|error| error.at(format_args!("series {at}")))?;
                for (sample, pprof) in profiles.iter().enumerate() {
                    let upload = inner
                        .pprof(pprof, &labels)
                        .and_then(|profile| {
                            entries = entries.saturating_add(weight(&profile));
                            match entries > inner.limits.general.decode.entries {
                                true => Err(too_much(inner.limits.general.decode.entries)),
                                false => {
                                    inner.parca_upload(&name, labels.clone(), profile, Moments::default())
                                }
                            }
                        })
                        .map_err(|error| error.at(format_args!("series {at}, sample {sample}")))?;
                    uploads.push(upload);
                }
            }
            inner.prepare_message(uploads, &body)
        };
        self.store_parts(bytes, "", &Via::default(), decode).await.map(drop)
    }

    /// Stores the profiles that were made of Arrow records, whose bytes are `body`, or none. What is too
    /// much of their labels is left out and counted; the same bytes are stored once.
    pub async fn parca_parts(&self, body: Bytes, parts: Vec<Part>) -> Result<(), Error> {
        let bytes = body.len();
        let decode = move |inner: &Inner| {
            let mut uploads = Vec::with_capacity(parts.len());
            for Part { name, mut labels, profile, moments } in parts {
                let sender = service(&labels);
                inner.bounded(&mut labels, &sender, &inner.limits.general);
                labels.retain(|(key, _)| key != PROFILE_NAME);
                let labels = labels::of_service(&service(&labels), labels, &inner.limits.general)?;
                uploads.push(inner.parca_upload(&name, labels, profile, moments)?);
            }
            inner.prepare_message(uploads, &body)
        };
        self.store_parts(bytes, "", &Via::default(), decode).await.map(drop)
    }
}

impl Inner {
    /// The batches of a message, within the rates of its tenant and its services, or none.
    fn prepare_message(&self, uploads: Vec<Timed>, body: &[u8]) -> Result<Vec<Prepared>, Error> {
        let (id, bytes) = (once(&uploads, body), body.len() as u64);
        let labels = uploads.first().map(|timed| timed.upload.labels.clone()).unwrap_or_default();
        let total = Cost { profiles: uploads.len() as u64, bytes };
        let prepared = self.prepare_parts(uploads, id, bytes)?;
        let costs: Vec<_> = prepared.iter().map(|one| (&one.batch, one.cost)).collect();
        self.take(&costs, total).map_err(|error| error.of(&labels))?;
        Ok(prepared)
    }

    fn parca_upload(
        &self,
        name: &str,
        labels: Labels,
        mut profile: Profile,
        mut moments: Moments,
    ) -> Result<Timed, Error> {
        rename_sample_labels(&mut profile, &labels);
        add_period_type(&mut profile, &mut moments);
        self.timed(self.upload(labels, name, profile, 0, 0, None)?, moments)
    }
}

/// What a profile takes while the others of its message are decoded: it is bounded as one profile is.
fn weight(profile: &Profile) -> usize {
    let Samples { locations, values, labels, .. } = &profile.samples;
    let tables = profile.symbols.frames.len() + profile.symbols.strings.len() + profile.locations.len();
    locations.len() + values.len() + labels.len() + tables
}

fn too_much(entries: usize) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!(
            "the profiles of this message have more than {entries} frames, values and labels; send it in parts"
        ),
    )
}

/// The name and the labels of a series of WriteRaw.
fn series_labels(pairs: Vec<(String, String)>, inner: &Inner) -> Result<(String, Labels), Error> {
    if let Some((name, _)) = pairs.iter().find(|(name, _)| !is_label_name(name)) {
        return Err(Error::invalid(format!(
            "labels: {name:?} is no name for a label; write letters, digits and _, not a digit first"
        )));
    }
    let mut pairs = pairs;
    if !pairs.iter().any(|(name, value)| name == SERVICE_NAME && !value.is_empty()) {
        pairs.retain(|(name, _)| name != SERVICE_NAME);
        pairs.push((SERVICE_NAME.to_owned(), service(&pairs)));
    }
    labels::from_push(pairs, &inner.limits.general)
}

/// The service that a series belongs to; empty when its labels do not say it.
fn service(pairs: &[(String, String)]) -> String {
    let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let names = std::iter::once(SERVICE_NAME).chain(SERVICE_SOURCES);
    names.filter_map(value).find(|value| !value.is_empty()).unwrap_or_default().to_owned()
}

fn is_label_name(name: &str) -> bool {
    let head = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    head && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What makes an upload tell itself from another: its bytes, when its profiles say when they were taken.
/// Without a time of their own, equal ones may well be two.
fn once(uploads: &[Timed], body: &[u8]) -> Option<u128> {
    uploads.iter().all(Timed::is_dated).then(|| xxh3_128(body))
}

/// Gives the labels of samples names that Prometheus' grammar knows, and that no label of the series has.
fn rename_sample_labels(profile: &mut Profile, own: &Labels) {
    let mut names: HashMap<u32, u32> = HashMap::new();
    let strings = &mut Arc::make_mut(&mut profile.symbols).strings;
    for SampleLabel { key, .. } in &mut profile.samples.labels {
        *key = *names.entry(*key).or_insert_with(|| {
            let name = strings.get(*key);
            if SPANS.contains(&name) || is_private(name) || name.is_empty() {
                return *key;
            }
            let plain: String =
                name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
            let plain =
                if plain.starts_with(|c: char| c.is_ascii_digit()) { format!("_{plain}") } else { plain };
            let plain = if own.contains(&plain) { format!("{EXPORTED}{plain}") } else { plain };
            if plain == name { *key } else { strings.push(&plain) }
        });
    }
}

/// Adds what the samples are worth in the unit of their period to a profile that counts samples alone, as
/// Parca's agent sends it: queries for the count are answered in that unit.
fn add_period_type(profile: &mut Profile, moments: &mut Moments) {
    let types = profile.sample_types.len();
    let count = profile
        .sample_types
        .iter()
        .position(|sample_type| sample_type.kind == "samples" && sample_type.unit == "count");
    let (Some(count), true) = (count, profile.period > 0 && !profile.period_type.kind.is_empty()) else {
        return;
    };
    if profile.sample_types.contains(&profile.period_type) {
        return;
    }
    for values in [&mut profile.samples.values, &mut moments.values] {
        let mut wider = Vec::with_capacity(values.len() / types * (types + 1));
        for row in values.chunks_exact(types) {
            wider.extend_from_slice(row);
            wider.push(row.get(count).copied().unwrap_or_default().saturating_mul(profile.period));
        }
        *values = wider;
    }
    profile.sample_types.push(profile.period_type.clone());
}

#[cfg(test)]
mod tests {
    use super::*;
    use everflame_profile::ValueType;

    #[test]
    fn services() {
        for (labels, expect) in [
            (&[("job", "api"), ("instance", "x")][..], "api"),
            (&[("job", "api"), ("service_name", "own")], "own"),
            (&[("comm", "nginx"), ("container", "web")], "web"),
            (&[("service", ""), ("comm", "nginx")], "nginx"),
            (&[("node", "n")], ""),
        ] {
            let pairs: Vec<_> =
                labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(service(&pairs), expect, "{labels:?}");
        }
    }

    #[test]
    fn label_names() {
        assert!(["a", "_a1", "__name__", "A_b"].into_iter().all(is_label_name));
        assert!(!["", "1a", "a.b", "a-b", "ä"].into_iter().any(is_label_name));
    }

    #[test]
    fn sample_labels_do_not_clash() {
        let mut profile = Profile::default();
        let names = ["thread.id", "job", "span_id", "ok", "1st"];
        for name in names {
            let key = profile.symbols_mut().strings.push(name);
            profile.samples.push(&[], &[], &[SampleLabel { key, value: key }]);
        }
        rename_sample_labels(&mut profile, &Labels::from_pairs([("job", "api"), ("service_name", "api")]));
        let renamed: Vec<_> =
            profile.samples.labels.iter().map(|label| profile.symbols.strings.get(label.key)).collect();
        assert_eq!(renamed, ["thread_id", "exported_job", "span_id", "ok", "_1st"]);
        assert_eq!(profile.symbols.strings.get(profile.samples.labels[0].value), "thread.id");
    }

    #[test]
    fn counts_get_what_they_are_worth() {
        let count = ValueType::new("samples", "count");
        let cpu = ValueType::new("cpu", "nanoseconds");
        let profile = |types: &[&ValueType], period| {
            let mut profile = Profile {
                sample_types: types.iter().map(|&one| one.clone()).collect(),
                period_type: cpu.clone(),
                period,
                ..Profile::default()
            };
            profile.samples.push(&[], &[3, 7][..types.len()], &[]);
            profile.samples.push(&[], &[4, i64::MAX][..types.len()], &[]);
            let mut moments = Moments { values: profile.samples.values.clone(), ..Moments::default() };
            add_period_type(&mut profile, &mut moments);
            assert_eq!(moments.values, profile.samples.values);
            profile.totals()
        };
        assert_eq!(profile(&[&count], 10), [7, 70]);
        assert_eq!(profile(&[&count], 0), [7]);
        assert_eq!(profile(&[&count, &cpu], 10).len(), 2);
        assert_eq!(profile(&[&ValueType::new("wall", "x"), &count], 1), [7, i64::MAX, i64::MAX]);
    }
}
