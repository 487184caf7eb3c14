//! Prometheus' remote write, version 1.0: samples of metrics, as protobuf in snappy's block format.

use crate::backoff::{self, Jitter};
use crate::reply::{self, Reply};
use crate::send;
use crate::target::{TargetError, checked_url, header_map};
use crate::wire;
use bytes::Bytes;
use everflame_profile::Nanos;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use reqwest::Url;
use std::time::Duration;

/// Samples in one request; receivers have bounds for messages.
const REQUEST_SAMPLES: usize = 2_000;

/// A metric with its labels, and what it was at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSample {
    /// Names and values, sorted by name; `__name__` is the metric's own.
    pub labels: Vec<(String, String)>,
    /// What it was.
    pub value: f64,
    /// When, nanoseconds since the epoch.
    pub time: Nanos,
}

/// Where samples go. Values of headers are never shown.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteWrite {
    url: Url,
    headers: HeaderMap,
}

/// What became of samples.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// The other end took them.
    Taken,
    /// It cannot take them now: when to send them again, at the earliest.
    Later(Duration, String),
    /// It will not take them.
    Refused(String),
}

/// Sends samples to one place.
#[derive(Debug)]
pub struct RemoteWriter {
    http: reqwest::Client,
    target: RemoteWrite,
    jitter: Jitter,
    /// Attempts since something was taken.
    attempts: u32,
}

impl RemoteWrite {
    /// Samples go to `url`, the whole of it, with `headers` beside the wire's own.
    pub fn new(url: &str, headers: &[(String, String)]) -> Result<Self, TargetError> {
        Ok(Self { url: checked_url(url)?, headers: header_map(headers)? })
    }

    /// Where requests go, for people.
    pub fn endpoint(&self) -> &str {
        self.url.as_str()
    }
}

impl RemoteWriter {
    /// Sends to `target`.
    pub fn new(target: RemoteWrite, jitter: Jitter) -> Result<Self, reqwest::Error> {
        Ok(Self { http: send::client().build()?, target, jitter, attempts: 0 })
    }

    /// Sends the first of `samples`, and takes away what needs not be sent again. `now` is the time, for answers
    /// that name one.
    pub async fn write(&mut self, samples: &mut Vec<MetricSample>, now: Nanos) -> Written {
        while !samples.is_empty() {
            let count = samples.len().min(REQUEST_SAMPLES);
            let body = body(samples.get(..count).unwrap_or_default());
            match self.send(body, now).await {
                Reply::Taken { .. } => drop(samples.drain(..count)),
                Reply::Later { after, why } | Reply::TooFast { after, why } => {
                    self.attempts += 1;
                    return Written::Later(backoff::wait(self.attempts, after, &mut self.jitter), why);
                }
                Reply::TooLarge { why } | Reply::Invalid { why } | Reply::Refused { why } => {
                    return Written::Refused(why);
                }
            }
            self.attempts = 0;
        }
        Written::Taken
    }

    async fn send(&self, body: Bytes, now: Nanos) -> Reply {
        let request = self.http.post(self.target.url.clone()).headers(self.target.headers.clone()).body(body);
        let request = request
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(CONTENT_ENCODING, "snappy")
            .header("x-prometheus-remote-write-version", "0.1.0");
        match send::answer(request).await {
            Ok((head, body, _)) => reply::of_http(&head, send::retry_after(&head.headers, now), &body),
            Err(why) => Reply::Later { after: None, why },
        }
    }
}

/// `prometheus.WriteRequest`, compressed.
fn body(samples: &[MetricSample]) -> Bytes {
    let mut request = Vec::new();
    for MetricSample { labels, value, time } in samples {
        let mut series = Vec::new();
        for (name, value) in labels {
            let mut label = Vec::new();
            wire::bytes(&mut label, 1, name.as_bytes());
            wire::bytes(&mut label, 2, value.as_bytes());
            wire::bytes(&mut series, 1, &label);
        }
        let mut sample = Vec::new();
        wire::double(&mut sample, 1, *value);
        wire::number(&mut sample, 2, time.div_euclid(1_000_000).cast_unsigned());
        wire::bytes(&mut series, 2, &sample);
        wire::bytes(&mut request, 1, &series);
    }
    // It fails where something is larger than four gibibytes.
    snap::raw::Encoder::new().compress_vec(&request).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_on_the_wire() {
        let labels = [("__name__", "m"), ("a", "b")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let sample = MetricSample { labels: labels.to_vec(), value: 1.5, time: 1_700_000_000_123_456_789 };
        let message = snap::raw::Decoder::new().decompress_vec(&body(&[sample])).unwrap();
        let expect = [
            b"\x0a\x29\x0a\x0d\x0a\x08__name__\x12\x01m\x0a\x06\x0a\x01a\x12\x01b".as_slice(),
            b"\x12\x10\x09\0\0\0\0\0\0\xf8\x3f\x10\xfb\xd0\x95\xff\xbc\x31",
        ];
        assert_eq!(message, expect.concat());
    }

    #[test]
    fn urls_are_checked() {
        let of = |url| RemoteWrite::new(url, &[]).map(|target| target.endpoint().to_owned());
        assert_eq!(of("http://h/api/v1/write").unwrap(), "http://h/api/v1/write");
        for url in ["", "h:9090", "http://user:secret@h/api/v1/write"] {
            assert!(!of(url).unwrap_err().to_string().contains("secret"));
        }
    }
}
