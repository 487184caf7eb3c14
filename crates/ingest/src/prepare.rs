//! From decoded uploads to batches: relabelling, bounds on label sets, rates, and the record of what was dropped.

use crate::batch::{self, Draft, Source, row_id};
use crate::dropped::{Event, Reason};
use crate::error::Error;
use crate::groups::{self, Groups};
use crate::ingest::{Inner, Stored, Upload, rows};
use crate::limits::Limits;
use crate::merge::{Ids, Merged};
use crate::rates::{Cost, Excess};
use crate::relabelled::{self, Relabelled};
use everflame_formats::Cuts;
use everflame_lake::{Batch, ProfileId};
use everflame_profile::{FrameId, Labels, Nanos, ProfileType};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::Ordering::Relaxed;

/// The batches of one upload have ids of their own, far from those of the rows of a batch.
const BATCH_IDS: u32 = 1 << 31;

/// The id of the batch number `at` of an upload: the upload's own for the first.
pub(crate) fn batch_id(upload: ProfileId, at: usize) -> ProfileId {
    if at == 0 { upload } else { row_id(upload, BATCH_IDS | at as u32) }
}

impl Inner {
    /// Decodes with `decode`, and builds the batches of the upload: one, unless rules make it several services.
    pub(crate) fn prepare(
        &self,
        bytes: usize,
        decode: impl FnOnce(&Self) -> Result<Option<Upload>, Error>,
    ) -> Result<(Stored, Vec<Batch>), Error> {
        let upload = decode(self)?;
        let identity = upload.as_ref().and_then(|upload| upload.identity);
        let once = identity.map(|identity| identity.once);
        let mut stored = Stored {
            id: identity.map_or_else(|| ProfileId(uuid::Uuid::new_v4().as_u128()), |identity| identity.id),
            time: upload.as_ref().map_or_else(|| self.clock.now(), |upload| upload.time),
            rows: Vec::new(),
            duplicate: false,
        };
        stored.time -= stored.time.rem_euclid(1_000);
        let Some(mut upload) = upload else { return Ok((stored, Vec::new())) };
        let frame_ids = upload.profile.symbols.frame_ids();
        let drafts = self.drafts(&mut upload, &frame_ids, stored.id, once, bytes as u64);
        let batches: Vec<Batch> = if drafts.len() > 1 {
            let mut services: BTreeMap<String, Merged> = BTreeMap::new();
            for draft in drafts {
                services.entry(draft.batch.service.clone()).or_default().add(draft, Ids::New);
            }
            let named = services.into_values().enumerate();
            let once = |at| once.map(|once| batch_id(once, at));
            named.map(|(at, all)| all.into_batch(batch_id(stored.id, at), once(at))).collect()
        } else {
            drafts.into_iter().map(Draft::into_batch).collect()
        };
        let cost = Cost { profiles: 1, bytes: bytes as u64 };
        let costs: Vec<(&Batch, Cost)> = batches.iter().map(|batch| (batch, cost)).collect();
        self.take(&costs, cost).map_err(|error| error.of(&upload.labels))?;
        stored.rows = batches.iter().flat_map(rows).collect();
        Ok((stored, batches))
    }

    /// The batches of one upload of so many bytes, as many as rules make of it; none when it has no samples or
    /// when rules drop it. `frame_ids` are those of its symbols.
    pub(crate) fn drafts(
        &self,
        upload: &mut Upload,
        frame_ids: &[FrameId],
        id: ProfileId,
        once: Option<ProfileId>,
        bytes: u64,
    ) -> Vec<Draft> {
        let groups = groups::group(&upload.profile, &upload.labels, &self.limits.of(&upload.labels));
        if self.relabel.is_empty() {
            let types: Vec<_> = upload.types.iter().cloned().map(Some).collect();
            return self.draft(upload, frame_ids, &types, groups, id, once).into_iter().collect();
        }
        let Relabelled { passes, dropped, dropped_share } =
            relabelled::relabel(&self.relabel, &upload.types, &groups);
        if let Some((profile_type, labels, rule)) = dropped.first() {
            let bytes = (bytes as f64 * dropped_share) as u64;
            let message = format_args!("rule {rule} of relabel drops {profile_type}");
            self.note(Reason::Relabel, dropped.len() as u64, bytes, labels, &message);
        }
        let types = upload.types.len();
        let mut whole = std::mem::take(&mut upload.profile.samples);
        let mut drafts = Vec::with_capacity(passes.len());
        for pass in &passes {
            let (kept, own) = pass.take(&whole, types, &groups);
            let all = kept.is_none();
            upload.profile.samples = kept.unwrap_or_else(|| std::mem::take(&mut whole));
            drafts.extend(self.draft(upload, frame_ids, &pass.types, own, id, once));
            if all {
                whole = std::mem::take(&mut upload.profile.samples);
            }
        }
        drafts
    }

    fn draft(
        &self,
        upload: &Upload,
        frame_ids: &[FrameId],
        types: &[Option<ProfileType>],
        mut groups: Groups,
        id: ProfileId,
        once: Option<ProfileId>,
    ) -> Option<Draft> {
        let labels = groups.sets.first()?;
        let most = self.limits.label_sets(labels);
        self.label_sets.bound(&self.lake, &mut groups, upload.time, most);
        self.counters.labels_dropped.fetch_add(groups.dropped.len() as u64, Relaxed);
        if let Some(labels) = groups.sets.first() {
            for (reason, name) in &groups.dropped {
                self.note(*reason, 1, 0, labels, &format_args!("label {name:?}"));
            }
        }
        let source = Source {
            profile: &upload.profile,
            frame_ids,
            types,
            groups: &groups,
            time: upload.time,
            duration: upload.duration,
            upload: id,
            once,
        };
        // What is forwarded needs the frames of all stacks, also of those that the lake knows.
        match &self.spool {
            None => batch::build_for(&self.lake, &source),
            Some(_) => batch::build(&source, |_, stacks| (0..stacks.len() as u32).collect()),
        }
    }

    /// Takes what uploads cost from the rates of the tenant and of the batches' services, or refuses them all.
    pub(crate) fn take(&self, batches: &[(&Batch, Cost)], total: Cost) -> Result<(), Error> {
        let none = Labels::default();
        let services: Vec<_> = batches
            .iter()
            .map(|(batch, cost)| {
                let labels = batch.series.first().map_or(&none, |series| &series.labels);
                (batch.service.as_str(), labels, *cost)
            })
            .collect();
        self.take_from(&services, total)
    }

    /// The same of services with these labels.
    pub(crate) fn take_from(&self, services: &[(&str, &Labels, Cost)], total: Cost) -> Result<(), Error> {
        let limits = &self.limits.general;
        let services: Vec<_> = services
            .iter()
            .map(|(service, labels, cost)| (*service, self.limits.rates(labels), *cost))
            .collect();
        let taken = self.meters.take(limits.tenant, &services, total, limits.burst, self.clock.now());
        taken.map_err(refusal)
    }

    /// Refuses an upload early when its tenant has sent too much already.
    pub(crate) fn is_exhausted(&self) -> Result<(), Error> {
        let limits = &self.limits.general;
        self.meters
            .exhausted(limits.tenant, limits.burst, self.clock.now())
            .map_or(Ok(()), |excess| Err(refusal(excess)))
    }

    /// Records what was dropped or shortened of a series.
    pub(crate) fn note(
        &self,
        reason: Reason,
        count: u64,
        bytes: u64,
        labels: &Labels,
        message: &dyn Display,
    ) {
        let service = labels.get(everflame_profile::SERVICE_NAME);
        let event = Event { service, reason, count, bytes, labels: Some(labels), message };
        self.dropped.record(event, self.clock.now());
    }

    /// Records, once, uploads that were refused. `service` is what the sender said, when nothing better is known.
    pub(crate) fn note_refusal(&self, error: Error, service: &str, count: u64, bytes: u64) -> Error {
        if error.is_noted() {
            return error;
        }
        match error.labels() {
            Some(labels) => self.note(error.reason(), count, bytes, labels, &error),
            None => {
                let event =
                    Event { service, reason: error.reason(), count, bytes, labels: None, message: &error };
                self.dropped.record(event, self.clock.now());
            }
        }
        error.noted()
    }

    /// `pairs` without those that are too long, and without the last where they are more than a profile of
    /// `service` may have beside its name: senders describe themselves at length. What goes is counted.
    pub(crate) fn bounded(&self, pairs: &mut Vec<(String, String)>, service: &str, limits: &Limits) {
        let all = pairs.len();
        pairs.retain(|(key, value)| {
            key.len() <= limits.label_name_bytes && value.len() <= limits.label_value_bytes
        });
        let short = pairs.len();
        pairs.truncate(limits.labels.saturating_sub(1));
        for (reason, count) in
            [(Reason::LabelTooLong, all - short), (Reason::TooManyLabels, short - pairs.len())]
        {
            self.counters.labels_dropped.fetch_add(count as u64, Relaxed);
            let message = &format_args!("{count} of one profile");
            let event = Event { service, reason, count: count as u64, bytes: 0, labels: None, message };
            self.dropped.record(event, self.clock.now());
        }
    }

    /// Counts what a reader had to shorten.
    pub(crate) fn note_cuts(&self, Cuts { stacks, strings, labels }: Cuts, service: &str) {
        for (reason, count, counter) in [
            (Reason::TooManyLabels, labels, &self.counters.labels_dropped),
            (Reason::StackDepth, stacks, &self.counters.stacks_cut),
            (Reason::StringLength, strings, &self.counters.strings_cut),
        ] {
            counter.fetch_add(u64::from(count), Relaxed);
            let message = &format_args!("{count} in one upload");
            let event = Event { service, reason, count: u64::from(count), bytes: 0, labels: None, message };
            self.dropped.record(event, self.clock.now());
        }
    }
}

fn refusal(Excess { service, what, rate, wait }: Excess) -> Error {
    let seconds = seconds(wait);
    let (reason, whose) = match service {
        None => (Reason::TenantRate, "this tenant".to_owned()),
        Some(service) => (Reason::ServiceRate, format!("the service {service:?}")),
    };
    let message = format!(
        "rate: {whose} may send {rate} {what} a second and has sent more; send this again after {seconds} s, or \
         raise the limit"
    );
    Error::rate_limited(reason, wait, message)
}

/// Whole seconds, rounded up, for people.
fn seconds(wait: Nanos) -> i64 {
    wait.max(0).saturating_add(999_999_999) / 1_000_000_000
}
