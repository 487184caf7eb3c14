//! How much an upload may ask for, and how much may come in.

use everflame_forward::Via;
use everflame_profile::{Labels, Nanos};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// How much may come in within a second; what comes at once may be more, see [`Limits::burst`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Profiles a second; none for any number.
    pub profiles: Option<u64>,
    /// Bytes of bodies a second, as they came; none for any number.
    pub bytes: Option<u64>,
}

impl Rates {
    /// Whether there is no bound.
    pub fn is_unlimited(self) -> bool {
        self.profiles.is_none() && self.bytes.is_none()
    }
}

/// Bounds of uploads. What a limit says "dropped" about is dropped and counted; the rest is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bounds of the readers: inflated bytes, samples, depth, …
    pub decode: everflame_formats::Limits,
    /// Labels of a request, its own ones but for `__name__` among them: 30, as Pyroscope takes. Of profiles of
    /// OpenTelemetry and of Arrow records those behind the first 30 are dropped. What another Everflame sends on may
    /// have as many as its series may have.
    pub labels: usize,
    /// Bytes of a label's name: 1,024. Labels of samples that exceed it are dropped, and those of
    /// profiles of OpenTelemetry and of Arrow records.
    pub label_name_bytes: usize,
    /// Bytes of a label's value: 2,048. Labels of samples that exceed it are dropped, and those of
    /// profiles of OpenTelemetry and of Arrow records.
    pub label_value_bytes: usize,
    /// Distinct label sets of one upload: 64. Past it the sample label with the most values is dropped.
    pub label_sets_per_upload: usize,
    /// Distinct label sets of a service on one day: 2,000. Past it the label with the most values is
    /// dropped.
    pub label_sets_per_service: usize,
    /// How far in the future a profile may lie: 10 minutes.
    pub future: Nanos,
    /// How much the tenant may send: as much as it wants.
    pub tenant: Rates,
    /// How much each of its services may send: as much as it wants.
    pub service: Rates,
    /// For how long a rate may be used up at once after a pause: 10 seconds.
    pub burst: Nanos,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            decode: everflame_formats::Limits::default(),
            labels: 30,
            label_name_bytes: 1_024,
            label_value_bytes: 2_048,
            label_sets_per_upload: 64,
            label_sets_per_service: 2_000,
            future: 600_000_000_000,
            tenant: Rates::default(),
            service: Rates::default(),
            burst: 10_000_000_000,
        }
    }
}

impl Limits {
    /// The same for what another server has stored, and sends on: there, labels of samples became labels of series.
    fn of_stored(&self) -> Self {
        let mut stored = self.clone();
        // One more for the service.
        stored.labels = self.labels.saturating_add(self.decode.labels_per_sample).saturating_add(1);
        stored.decode.labels_per_sample = stored.labels;
        stored
    }
}

/// Bounds of some uploads that differ from those of the others; what is none does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceLimits {
    /// Profiles a second of a service; none of none for any number.
    pub profiles: Option<Option<u64>>,
    /// Bytes a second of a service.
    pub bytes: Option<Option<u64>>,
    /// [`Limits::label_sets_per_service`].
    pub label_sets: Option<usize>,
    /// Inflated bytes of a profile.
    pub profile_bytes: Option<usize>,
    /// Samples of a profile.
    pub samples: Option<usize>,
    /// Frames of a stack.
    pub depth: Option<usize>,
    /// [`Limits::label_sets_per_upload`].
    pub upload_label_sets: Option<usize>,
}

/// Which uploads have other bounds. Sizes are found by the labels that an upload comes with, rates and label
/// sets by those that it has after relabelling.
#[derive(Clone)]
pub struct LimitOverride {
    /// Whether this is for uploads with these labels.
    pub select: Arc<dyn Fn(&Labels) -> bool + Send + Sync>,
    /// Their bounds.
    pub limits: ServiceLimits,
}

impl fmt::Debug for LimitOverride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitOverride").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// The bounds of all uploads and those of some.
#[derive(Debug)]
pub(crate) struct AllLimits {
    pub(crate) general: Limits,
    pub(crate) overrides: Vec<LimitOverride>,
}

impl AllLimits {
    fn own(&self, labels: &Labels) -> ServiceLimits {
        let found = self.overrides.iter().find(|other| (other.select)(labels));
        found.map(|other| other.limits).unwrap_or_default()
    }

    /// Bounds of reading an upload with these labels.
    pub(crate) fn decode(&self, labels: &Labels) -> everflame_formats::Limits {
        let (own, mut decode) = (self.own(labels), self.general.decode.clone());
        decode.inflated_bytes = own.profile_bytes.unwrap_or(decode.inflated_bytes);
        decode.samples = own.samples.unwrap_or(decode.samples);
        decode.depth = own.depth.unwrap_or(decode.depth);
        decode
    }

    /// The bounds of an upload that came through `via`.
    pub(crate) fn of_chain(&self, via: &Via) -> Cow<'_, Limits> {
        match via.is_empty() {
            true => Cow::Borrowed(&self.general),
            false => Cow::Owned(self.general.of_stored()),
        }
    }

    /// Samples of a profile with these labels.
    pub(crate) fn samples(&self, labels: &Labels) -> usize {
        self.own(labels).samples.unwrap_or(self.general.decode.samples)
    }

    /// The bounds for the labels of the samples of an upload with these labels.
    pub(crate) fn of(&self, labels: &Labels) -> Cow<'_, Limits> {
        match self.own(labels).upload_label_sets {
            None => Cow::Borrowed(&self.general),
            Some(label_sets_per_upload) => {
                Cow::Owned(Limits { label_sets_per_upload, ..self.general.clone() })
            }
        }
    }

    /// Label sets of a day of a service with these labels.
    pub(crate) fn label_sets(&self, labels: &Labels) -> usize {
        self.own(labels).label_sets.unwrap_or(self.general.label_sets_per_service)
    }

    /// Rates of a service with these labels.
    pub(crate) fn rates(&self, labels: &Labels) -> Rates {
        let (own, service) = (self.own(labels), self.general.service);
        Rates {
            profiles: own.profiles.unwrap_or(service.profiles),
            bytes: own.bytes.unwrap_or(service.bytes),
        }
    }
}
