//! What was dropped, refused or shortened, why, how much, and whose it was: since the start, in bounded memory.

use everflame_profile::{Labels, Nanos};
use hashbrown::HashMap;
use parking_lot::Mutex;

/// Services and reasons that are told apart; of more, those that were quiet for longest are added up.
const MAX_ENTRIES: usize = 1_024;
/// Longest name of a service, longest label and longest message that is kept, in bytes.
const MAX_TEXT: usize = 256;
/// Most labels of an example.
const MAX_LABELS: usize = 32;
/// An example is replaced at most so often: making one costs more than counting.
const EXAMPLE_INTERVAL: Nanos = 1_000_000_000;

/// Why something was not stored as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A relabelling rule dropped it. The sender is told that all is well.
    Relabel,
    /// The tenant sends too much.
    TenantRate,
    /// The service sends too much.
    ServiceRate,
    /// A size limit is exceeded.
    TooLarge,
    /// It is not what it claims to be.
    Unprocessable,
    /// Its name, its labels or its times are wrong.
    InvalidArgument,
    /// It could not be kept when it came.
    Unavailable,
    /// A fault of the server.
    Internal,
    /// A label of samples is longer than the bound.
    LabelTooLong,
    /// One upload has too many label sets.
    LabelSetsPerUpload,
    /// A service has too many label sets on one day.
    LabelSetsPerService,
    /// A profile has too many labels of its own.
    TooManyLabels,
    /// Stacks are deeper than the bound.
    StackDepth,
    /// Texts are longer than the bound.
    StringLength,
    /// It is stored here, and was not forwarded: the other end was away for too long.
    ForwardSpoolFull,
    /// It is stored here, and was not forwarded: the other end does not take it.
    ForwardRefused,
    /// It is stored here, and was not forwarded: the spool could not be written or read.
    ForwardSpool,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 17] = [
        Self::Relabel,
        Self::TenantRate,
        Self::ServiceRate,
        Self::TooLarge,
        Self::Unprocessable,
        Self::InvalidArgument,
        Self::Unavailable,
        Self::Internal,
        Self::LabelTooLong,
        Self::LabelSetsPerUpload,
        Self::LabelSetsPerService,
        Self::TooManyLabels,
        Self::StackDepth,
        Self::StringLength,
        Self::ForwardSpoolFull,
        Self::ForwardRefused,
        Self::ForwardSpool,
    ];

    /// A name for metrics and messages: `relabel`, `tenant_rate`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relabel => "relabel",
            Self::TenantRate => "tenant_rate",
            Self::ServiceRate => "service_rate",
            Self::TooLarge => "too_large",
            Self::Unprocessable => "unprocessable",
            Self::InvalidArgument => "invalid_argument",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
            Self::LabelTooLong => "label_too_long",
            Self::LabelSetsPerUpload => "label_sets_per_upload",
            Self::LabelSetsPerService => "label_sets_per_service",
            Self::TooManyLabels => "too_many_labels",
            Self::StackDepth => "stack_depth",
            Self::StringLength => "string_length",
            Self::ForwardSpoolFull => "forward_spool_full",
            Self::ForwardRefused => "forward_refused",
            Self::ForwardSpool => "forward_spool",
        }
    }

    /// What is counted: `profiles` were not stored; `labels`, `stacks`, `strings` were shortened or left out of
    /// profiles that were; `forwards` are profiles that were stored, and not sent on.
    pub fn what(self) -> &'static str {
        match self {
            Self::LabelTooLong
            | Self::LabelSetsPerUpload
            | Self::LabelSetsPerService
            | Self::TooManyLabels => "labels",
            Self::StackDepth => "stacks",
            Self::StringLength => "strings",
            Self::ForwardSpoolFull | Self::ForwardRefused | Self::ForwardSpool => "forwards",
            _ => "profiles",
        }
    }
}

/// What was dropped of one service for one reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropped {
    /// The service; nothing when it is not known, or when this adds up several services.
    pub service: Option<String>,
    /// Why.
    pub reason: Reason,
    /// How many, of what [`Reason::what`] says.
    pub count: u64,
    /// Bytes of uploads that were not stored, as they came.
    pub bytes: u64,
    /// When it happened first, nanoseconds since the epoch.
    pub first: Nanos,
    /// When it happened last.
    pub last: Nanos,
    /// A label set that it happened to.
    pub labels: Labels,
    /// What was said about it.
    pub message: String,
}

/// A reading of everything that was dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct DroppedReport {
    /// Whose uploads these are.
    pub tenant: String,
    /// From when on it was counted, nanoseconds since the epoch.
    pub since: Nanos,
    /// By service and reason, the latest first.
    pub entries: Vec<Dropped>,
    /// Count and bytes of each reason, of all services, in the order of [`Reason::ALL`].
    pub totals: [(Reason, u64, u64); Reason::ALL.len()],
}

/// Something that was dropped.
pub(crate) struct Event<'a> {
    pub(crate) service: &'a str,
    pub(crate) reason: Reason,
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    pub(crate) labels: Option<&'a Labels>,
    pub(crate) message: &'a dyn std::fmt::Display,
}

/// Counts what was dropped. Only what is dropped costs anything.
pub(crate) struct Ledger {
    since: Nanos,
    entries: Mutex<HashMap<(Option<String>, Reason), Dropped>>,
}

impl Ledger {
    pub(crate) fn new(since: Nanos) -> Self {
        Self { since, entries: Mutex::default() }
    }

    pub(crate) fn record(&self, event: Event<'_>, now: Nanos) {
        let Event { service, reason, count, bytes, labels, message } = event;
        if count == 0 {
            return;
        }
        let service = Some(start(service).to_owned()).filter(|service| !service.is_empty());
        let mut entries = self.entries.lock();
        let key = (service, reason);
        if entries.len() >= MAX_ENTRIES && !entries.contains_key(&key) {
            forget_quiet(&mut entries);
        }
        let entry = entries.entry(key).or_insert_with_key(|(service, _)| Dropped {
            service: service.clone(),
            reason,
            count: 0,
            bytes: 0,
            first: now,
            last: Nanos::MIN,
            labels: Labels::default(),
            message: String::new(),
        });
        entry.count = entry.count.saturating_add(count);
        entry.bytes = entry.bytes.saturating_add(bytes);
        if now.saturating_sub(entry.last) >= EXAMPLE_INTERVAL {
            entry.message = start(&message.to_string()).to_owned();
            if let Some(labels) = labels {
                let pairs = labels.iter().take(MAX_LABELS);
                entry.labels = Labels::from_pairs(pairs.map(|(name, value)| (start(name), start(value))));
            }
            entry.last = now;
        }
    }

    pub(crate) fn report(&self, tenant: &str) -> DroppedReport {
        let mut entries: Vec<Dropped> = self.entries.lock().values().cloned().collect();
        entries.sort_by(|a, b| (b.last, &a.service, a.reason).cmp(&(a.last, &b.service, b.reason)));
        let mut totals = Reason::ALL.map(|reason| (reason, 0u64, 0u64));
        for entry in &entries {
            for total in totals.iter_mut().filter(|total| total.0 == entry.reason) {
                total.1 = total.1.saturating_add(entry.count);
                total.2 = total.2.saturating_add(entry.bytes);
            }
        }
        DroppedReport { tenant: tenant.to_owned(), since: self.since, entries, totals }
    }
}

/// Adds the longer quiet half up, so that totals stay exact.
fn forget_quiet(entries: &mut HashMap<(Option<String>, Reason), Dropped>) {
    let mut times: Vec<Nanos> = entries.values().map(|entry| entry.last).collect();
    let middle = times.len() / 2;
    let (_, &mut limit, _) = times.select_nth_unstable(middle);
    // Those of one moment go all together, or many at once would stay for ever.
    let quiet: Vec<_> = entries
        .iter()
        .filter(|((service, _), entry)| service.is_some() && entry.last <= limit)
        .map(|(key, _)| key.clone())
        .collect();
    for key in quiet {
        let Some(gone) = entries.remove(&key) else { continue };
        let all = entries.entry((None, gone.reason)).or_insert_with(|| Dropped {
            service: None,
            count: 0,
            bytes: 0,
            ..gone.clone()
        });
        all.count = all.count.saturating_add(gone.count);
        all.bytes = all.bytes.saturating_add(gone.bytes);
        all.first = all.first.min(gone.first);
        if gone.last >= all.last {
            (all.last, all.labels, all.message) = (gone.last, gone.labels, gone.message);
        }
    }
}

/// The first bytes of a text.
fn start(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn record(ledger: &Ledger, service: &str, reason: Reason, now: Nanos) {
        let labels = Labels::from_pairs([("service_name", service), ("at", &now.to_string())]);
        let message = format!("at {now}");
        let event = Event { service, reason, count: 2, bytes: 10, labels: Some(&labels), message: &message };
        ledger.record(event, now);
    }

    #[test]
    fn counts_by_service_and_reason() {
        let ledger = Ledger::new(5);
        record(&ledger, "a", Reason::Relabel, 10 * SECOND);
        record(&ledger, "a", Reason::Relabel, 20 * SECOND);
        record(&ledger, "b", Reason::TooLarge, 15 * SECOND);
        record(&ledger, "", Reason::TooLarge, 1);
        let report = ledger.report("t");
        let shown: Vec<_> = report
            .entries
            .iter()
            .map(|e| format!("{:?} {} {} {} {}", e.service, e.reason.as_str(), e.count, e.bytes, e.message))
            .collect();
        assert_eq!(
            shown,
            [
                "Some(\"a\") relabel 4 20 at 20000000000",
                "Some(\"b\") too_large 2 10 at 15000000000",
                "None too_large 2 10 at 1"
            ]
        );
        let first = &report.entries[0];
        assert_eq!(
            (first.first, first.last, first.labels.get("at")),
            (10 * SECOND, 20 * SECOND, "20000000000")
        );
        assert_eq!((report.tenant.as_str(), report.since), ("t", 5));
        assert_eq!(report.totals[3], (Reason::TooLarge, 4, 20));
    }

    #[test]
    fn many_services_are_added_up() {
        let ledger = Ledger::new(0);
        for at in 0..10_000 {
            record(&ledger, &format!("s{at}"), Reason::ServiceRate, at * SECOND);
        }
        for at in 0..10_000 {
            record(&ledger, &format!("t{at}"), Reason::ServiceRate, 99_999 * SECOND);
        }
        let report = ledger.report("t");
        assert!(report.entries.len() <= MAX_ENTRIES, "{}", report.entries.len());
        assert_eq!(report.totals[2], (Reason::ServiceRate, 40_000, 200_000));
        assert!(report.entries.iter().any(|entry| entry.service.is_none()));
    }

    #[test]
    fn long_texts_are_cut() {
        let ledger = Ledger::new(0);
        record(&ledger, &"ä".repeat(1_000), Reason::Internal, 0);
        let entry = &ledger.report("t").entries[0];
        assert!(entry.service.as_ref().unwrap().len() <= MAX_TEXT);
        assert!(entry.labels.get("service_name").len() <= MAX_TEXT);
    }
}
