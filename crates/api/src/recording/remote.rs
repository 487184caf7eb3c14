//! Writes what recording rules make to a Prometheus, one minute after the other.
//!
//! There is no queue: what is kept is the last minute that was written, and the next ones are added up from the
//! stored profiles when it is their turn. So what the other end missed while it, or this server, was away is made
//! up for, within a bound.

use super::Rules;
use super::recorded::{self, MINUTE};
use crate::app::{App, blocking};
use crate::error::ApiError;
use everflame_forward::{RemoteWriter, Written};
use everflame_profile::Nanos;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Where it is kept how far everything was written.
const FILE: &str = "remote_write.json";
/// The oldest minute that is written is so much older than the newest. Receivers refuse older samples.
const MOST_BEHIND: Nanos = 55 * MINUTE;
/// How often it is looked whether a minute is over.
const TICK: Duration = Duration::from_secs(1);

/// How far everything was written.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Position {
    /// The end of the last minute.
    end: Nanos,
}

impl Rules {
    /// Writes minute after minute, for ever.
    pub(crate) async fn write_remotely(&self, app: &App, mut writer: RemoteWriter) {
        let written = self.position().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "it is not known how far recording rules were written; it begins anew");
            None
        });
        let mut written = written.map(|position| position.end);
        loop {
            let last = recorded::minute(app.now());
            let (next, missed) = next(written, last);
            let Some(end) = next else {
                tokio::time::sleep(TICK).await;
                continue;
            };
            if missed > 0 {
                app.metrics.recording.missed_minutes.inc_by(missed);
                tracing::warn!(missed, "minutes of recording rules are too old to be written");
            }
            self.write_minute(app, &mut writer, end).await;
            written = Some(end);
        }
    }

    async fn position(&self) -> Result<Option<Position>, ApiError> {
        let inner = self.0.clone();
        blocking(move || {
            if !inner.kept.is_somewhere() {
                return Ok(None);
            }
            let Some(content) = inner.kept.read(FILE)? else { return Ok(None) };
            serde_json::from_slice(&content).map(Some).map_err(ApiError::internal)
        })
        .await?
    }

    async fn keep_position(&self, position: Position) -> Result<(), ApiError> {
        let inner = self.0.clone();
        blocking(move || {
            if !inner.kept.is_somewhere() {
                return Ok(());
            }
            // The folder's files are written one at a time.
            let _turn = inner.known.lock();
            inner.kept.write(FILE, &serde_json::to_vec(&position).map_err(ApiError::internal)?)
        })
        .await?
    }

    /// Sends the samples of one minute until they are taken, refused, or too old.
    async fn write_minute(&self, app: &App, writer: &mut RemoteWriter, end: Nanos) {
        let rules = self.change(|rules| Ok((rules.clone(), false))).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "recording rules were not added up");
            Vec::new()
        });
        if rules.is_empty() {
            return;
        }
        let counters = &app.metrics.recording;
        let mut samples = recorded::samples(app, &rules, end).await;
        let all = samples.len();
        let mut is_first = true;
        loop {
            match writer.write(&mut samples, app.now()).await {
                Written::Taken => break,
                Written::Refused(why) => {
                    tracing::warn!(%why, "the other end does not take what recording rules made");
                    break;
                }
                Written::Later(..) if recorded::minute(app.now()) - end > MOST_BEHIND => break,
                Written::Later(wait, why) => {
                    counters.retries.inc();
                    if is_first {
                        tracing::warn!(%why, ?wait, "what recording rules made is sent again");
                    }
                    is_first = false;
                    tokio::time::sleep(wait).await;
                }
            }
        }
        if let Err(error) = self.keep_position(Position { end }).await {
            tracing::warn!(%error, "it cannot be kept how far recording rules were written; they may be written twice");
        }
        counters.dropped.inc_by(samples.len() as u64);
        counters.written.inc_by((all - samples.len()) as u64);
    }
}

/// The end of the minute that is to be written, when `written` was and `last` is over; and how many are left out.
fn next(written: Option<Nanos>, last: Nanos) -> (Option<Nanos>, u64) {
    let Some(written) = written else { return (Some(last), 0) };
    let oldest = last - MOST_BEHIND;
    let next = written.saturating_add(MINUTE);
    if next >= oldest {
        return ((next <= last).then_some(next), 0);
    }
    (Some(oldest), ((oldest - next) / MINUTE).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_minute_after_the_other() {
        let last = 1_000 * MINUTE;
        for (written, expect) in [
            (None, (Some(1_000), 0)),
            (Some(1_000), (None, 0)),
            // The clock went back.
            (Some(1_007), (None, 0)),
            (Some(999), (Some(1_000), 0)),
            (Some(950), (Some(951), 0)),
            (Some(944), (Some(945), 0)),
            (Some(940), (Some(945), 4)),
        ] {
            let expect = (expect.0.map(|minute: Nanos| minute * MINUTE), expect.1);
            assert_eq!(next(written.map(|minute: Nanos| minute * MINUTE), last), expect, "{written:?}");
        }
        assert_eq!(next(Some(Nanos::MAX), last), (None, 0));
    }
}
