//! Reads the spool and sends what is in it, in order, until it is taken.

use crate::backoff::{self, Jitter};
use crate::entry::Entry;
use crate::outgoing;
use crate::push::PushWriter;
use crate::reply::Reply;
use crate::send::Client;
use crate::spool::Spool;
use crate::status::{Unsent, UnsentReason};
use crate::target::{Protocol, Target};
use bytes::Bytes;
use everflame_formats::otlp::ExportWriter;
use everflame_profile::Clock;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// What one request holds: bytes of the spool, which are compressed, and batches.
const REQUEST_BYTES: u64 = 1 << 20;
const REQUEST_ENTRIES: usize = 256;
/// How often the spool is synced, and looked at when nobody says that there is more.
const TICK: Duration = Duration::from_secs(1);

/// After so many answers that it is too much for now, less is sent at once: some ends never take what is more than
/// they take in a second.
const TOO_FAST: u32 = 2;

type OnUnsent = Box<dyn Fn(Unsent) + Send + Sync>;

/// What is still to be sent, request by request, with the bodies of those that were made already.
type Parts = VecDeque<(Vec<Entry>, Option<Bytes>)>;

/// Sends what is in a spool to one place.
pub struct Forwarder {
    spool: Arc<Spool>,
    client: Client,
    target: Target,
    clock: Arc<dyn Clock>,
    jitter: Jitter,
    on_unsent: OnUnsent,
}

impl Forwarder {
    /// Sends what is in `spool` to `target`; `on_unsent` hears of what the other end does not take.
    pub fn new(
        spool: Arc<Spool>,
        target: Target,
        clock: Arc<dyn Clock>,
        jitter: Jitter,
        on_unsent: impl Fn(Unsent) + Send + Sync + 'static,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::new(target.clone())?;
        Ok(Self { spool, client, target, clock, jitter, on_unsent: Box::new(on_unsent) })
    }

    /// Sends until the task is aborted, which loses nothing.
    pub async fn run(mut self) {
        tracing::info!(
            endpoint = self.target.endpoint(),
            protocol = self.target.protocol.as_str(),
            "forwarding"
        );
        let sync = tokio::spawn(sync_often(self.spool.clone()));
        let _stop = Stop(sync);
        loop {
            let spool = self.spool.clone();
            let next = tokio::task::spawn_blocking(move || spool.next(REQUEST_BYTES, REQUEST_ENTRIES)).await;
            let chunk = match next {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => {
                    self.spool.wait_since(0);
                    let _ = tokio::time::timeout(TICK, self.spool.more.notified()).await;
                    continue;
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the spool of what is to be forwarded cannot be read");
                    tokio::time::sleep(TICK).await;
                    continue;
                }
                Err(_) => return,
            };
            for why in chunk.damaged {
                self.give_up(Unsent {
                    service: String::new(),
                    reason: UnsentReason::Spool,
                    profiles: 1,
                    bytes: 0,
                    message: format!(
                        "the spool: {why}; the rest of it is not forwarded, and nobody knows how many profiles that is \
                         (they count as one)"
                    ),
                });
            }
            if let Some(first) = chunk.entries.first() {
                self.spool.wait_since(first.arrived);
            }
            self.deliver(chunk.entries).await;
            self.advance(chunk.end).await;
        }
    }

    /// Sends `entries` until all of them were taken, refused, or dropped to make room.
    async fn deliver(&mut self, entries: Vec<Entry>) {
        // A request names one chain.
        let runs = entries.chunk_by(|one, next| one.via == next.via);
        let mut parts: Parts = runs.map(|run| (run.to_vec(), None)).collect();
        let (mut attempt, mut too_fast) = (0, 0);
        while let Some((mut part, made)) = parts.pop_front() {
            let before = part.len();
            part.retain(|entry| !self.spool.is_behind(entry.end));
            let (Some(first), Some(last)) = (part.first(), part.last()) else { continue };
            self.spool.wait_since(first.arrived);
            let (end, via) = (last.end, first.via.then(self.spool.id));
            let made: Option<Bytes> = made.filter(|_| part.len() == before);
            let made = if made.is_some() { made } else { self.body(&part).await };
            let Some(body) = made else {
                self.advance(end).await;
                continue;
            };
            let reply = self.client.send(body.clone(), &via, self.clock.now()).await;
            too_fast = if matches!(reply, Reply::TooFast { .. }) { too_fast + 1 } else { 0 };
            match reply {
                Reply::Taken { rejected, why } => {
                    attempt = 0;
                    self.taken(&part, rejected, why);
                    self.advance(end).await;
                }
                Reply::Later { after, why } | Reply::TooFast { after, why } => {
                    attempt += 1;
                    self.spool.counters.retries.fetch_add(1, Relaxed);
                    let wait = backoff::wait(attempt, after, &mut self.jitter);
                    if attempt == 1 {
                        tracing::warn!(%why, ?wait, "the other end does not take what is forwarded; it is tried again");
                    } else {
                        tracing::debug!(%why, ?wait, attempt, "forwarding is tried again");
                    }
                    if too_fast >= TOO_FAST && part.len() > 1 {
                        too_fast = 0;
                        halve(part, &mut parts);
                    } else {
                        parts.push_front((part, Some(body)));
                    }
                    tokio::time::sleep(wait).await;
                }
                // One of them may be at fault, and the others are taken without it.
                Reply::TooLarge { .. } | Reply::Invalid { .. } if part.len() > 1 => halve(part, &mut parts),
                Reply::TooLarge { why } | Reply::Invalid { why } | Reply::Refused { why } => {
                    attempt = 0;
                    self.refused(&part, &why);
                    self.advance(end).await;
                }
            }
        }
    }

    /// The body of a request with `entries`; nothing when none of them can be read.
    async fn body(&self, entries: &[Entry]) -> Option<Bytes> {
        let (entries, protocol) = (entries.to_vec(), self.target.protocol);
        let made = tokio::task::spawn_blocking(move || {
            let (mut any, mut faults) = (false, Vec::new());
            let (mut push, mut export) = (PushWriter::default(), ExportWriter::default());
            for entry in entries {
                let batch = match entry.batch() {
                    Ok(batch) => batch,
                    Err(why) => {
                        faults.push((entry, why));
                        continue;
                    }
                };
                any = true;
                outgoing::each(batch, |id, series, profile| match protocol {
                    Protocol::Push => push.add(id, series, profile),
                    Protocol::OtlpHttp | Protocol::OtlpGrpc => {
                        export.add(
                            series.labels.iter(),
                            &series.profile_type.name,
                            &id.0.to_be_bytes(),
                            profile,
                        );
                    }
                });
            }
            let message = match protocol {
                Protocol::Push => push.finish(),
                Protocol::OtlpHttp | Protocol::OtlpGrpc => export.finish(),
            };
            (any.then(|| Client::body(protocol, &message)), faults)
        });
        let (body, faults) = made.await.unwrap_or_default();
        for (entry, why) in faults {
            self.give_up(Unsent {
                service: entry.service,
                reason: UnsentReason::Spool,
                profiles: entry.profiles.into(),
                bytes: entry.bytes,
                message: format!("the spool: {why}"),
            });
        }
        body
    }

    fn taken(&self, entries: &[Entry], rejected: u64, why: String) {
        let all: u64 = entries.iter().map(|entry| u64::from(entry.profiles)).sum();
        let rejected = rejected.min(all);
        let counters = &self.spool.counters;
        counters.sent.fetch_add(all - rejected, Relaxed);
        counters.sent_bytes.fetch_add(entries.iter().map(|entry| entry.bytes).sum(), Relaxed);
        if rejected > 0 {
            let mut services = entries.iter().map(|entry| &entry.service);
            let first = services.next().cloned().unwrap_or_default();
            // It does not say which ones.
            let service = if services.all(|other| *other == first) { first } else { String::new() };
            let message = format!("{} did not take it: {why}", self.target.endpoint());
            let reason = UnsentReason::Refused;
            self.give_up(Unsent { service, reason, profiles: rejected, bytes: 0, message });
        }
    }

    fn refused(&self, entries: &[Entry], why: &str) {
        let mut services: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for entry in entries {
            let (profiles, bytes) = services.entry(&entry.service).or_default();
            *profiles += u64::from(entry.profiles);
            *bytes += entry.bytes;
        }
        tracing::warn!(why, "the other end refuses what is forwarded");
        for (service, (profiles, bytes)) in services {
            let message = format!("{} did not take it: {why}", self.target.endpoint());
            let (service, reason) = (service.to_owned(), UnsentReason::Refused);
            self.give_up(Unsent { service, reason, profiles, bytes, message });
        }
    }

    fn give_up(&self, unsent: Unsent) {
        self.spool.give_up(&unsent);
        (self.on_unsent)(unsent);
    }

    async fn advance(&self, end: crate::position::Position) {
        let spool = self.spool.clone();
        let advanced = tokio::task::spawn_blocking(move || spool.advance(end)).await;
        if let Ok(Err(error)) = advanced {
            tracing::warn!(%error, "the spool of what is to be forwarded cannot be written; it may be sent again");
        }
    }
}

impl std::fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forwarder").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Puts both halves of `part` in front, in their order.
fn halve(mut part: Vec<Entry>, parts: &mut Parts) {
    let rest = part.split_off(part.len() / 2);
    parts.push_front((rest, None));
    parts.push_front((part, None));
}

/// Ends a task when it goes.
struct Stop(tokio::task::JoinHandle<()>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn sync_often(spool: Arc<Spool>) {
    loop {
        tokio::time::sleep(TICK).await;
        let spool = spool.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || spool.sync()).await {
            tracing::warn!(%error, "the spool of what is to be forwarded cannot be synced");
        }
    }
}

#[cfg(test)]
mod tests;
