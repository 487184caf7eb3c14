//! Bodies: read whole within the limit, and inflated within bounds when they are compressed.

use crate::app::App;
use crate::error::ApiError;
use crate::load::{BodyBudget, Hold};
use axum::body::Body;
use bytes::Bytes;
use connectrpc::{CompressionProvider, ConnectError};
use everflame_formats::{ErrorKind, Limits, gzip};
use futures::StreamExt;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::io::{Cursor, Read};
use std::time::Duration;

/// Largest body that is taken, compressed or not: 256 MiB, as Pyroscope's.
pub(crate) const MAX_BODY_BYTES: usize = 256 << 20;

/// How long what comes anyway is taken in after it was refused.
const DRAIN: Duration = Duration::from_secs(2);

/// Refuses a body that says it is larger than [`MAX_BODY_BYTES`], before any of it is read and before the client is
/// told to go on.
pub(crate) fn check_announced(headers: &HeaderMap, body: Body) -> Result<Body, ApiError> {
    let length: Option<u64> =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_none_or(|length| length <= MAX_BODY_BYTES as u64) {
        return Ok(body);
    }
    // Who does not ask whether to go on would find the connection closed before it reads why.
    if !headers.contains_key(EXPECT) {
        tokio::spawn(tokio::time::timeout(DRAIN, async move {
            let mut pieces = body.into_data_stream();
            while let Some(Ok(_)) = pieces.next().await {}
        }));
    }
    Err(too_large())
}

fn too_large() -> ApiError {
    ApiError::too_large(format_args!(
        "the body is larger than {MAX_BODY_BYTES} bytes; send a shorter span at once"
    ))
}

/// The body of a request, inflated within `budget` when `Content-Encoding` says gzip.
pub(crate) async fn read(headers: &HeaderMap, body: Body, budget: &BodyBudget) -> Result<Bytes, ApiError> {
    let body = check_announced(headers, body)?;
    let bytes = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            return Err(too_large());
        }
        Err(error) => {
            return Err(ApiError::unreadable(format_args!(
                "the body could not be read: {error}; send it again"
            )));
        }
    };
    let encoding = headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?").trim());
    match encoding {
        None | Some("" | "identity") => Ok(bytes),
        // Some senders set the header for a body that they did not compress.
        Some("gzip" | "x-gzip") if gzip::is_gzip(&bytes) => inflate(&bytes, MAX_BODY_BYTES, budget),
        Some("gzip" | "x-gzip") => Ok(bytes),
        Some(other) => Err(ApiError::invalid(format_args!(
            "Content-Encoding {other:?} is not known; send gzip, or the body as it is"
        ))),
    }
}

/// As [`read`], for a profile of `service`: a body that is too large is in the record of what was dropped.
pub(crate) async fn read_upload(
    headers: &HeaderMap,
    body: Body,
    app: &App,
    service: &str,
) -> Result<Bytes, ApiError> {
    let says = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    read(headers, body, app.load.budget()).await.inspect_err(|error| {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            app.ingest.refused_as_too_large(service, says.unwrap_or(0), &error.to_string());
        }
    })
}

/// Inflates `bytes` when they begin as gzip does.
pub(crate) fn inflate_by_magic(bytes: Bytes, budget: &BodyBudget) -> Result<Bytes, ApiError> {
    if gzip::is_gzip(&bytes) { inflate(&bytes, MAX_BODY_BYTES, budget) } else { Ok(bytes) }
}

/// What is tried first when a body does not say how large it gets; real ones become 3 to 10 times as large.
const USUAL_RATIO: usize = 8;

/// A body that counts against the budget for as long as anyone reads it.
struct Inflated {
    bytes: Vec<u8>,
    _hold: Hold,
}

impl AsRef<[u8]> for Inflated {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Inflates `bytes` to at most `most`, of which the budget must have as much room as it takes.
fn inflate(bytes: &[u8], most: usize, budget: &BodyBudget) -> Result<Bytes, ApiError> {
    let limits = Limits { inflated_bytes: most, ..Limits::default() };
    let by_ratio = bytes.len().saturating_mul(limits.inflated_ratio).max(limits.inflated_floor);
    let most = most.min(by_ratio);
    // The last four bytes say the length, unless there are several members or somebody lies.
    let says = bytes.last_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
    let mut room = says.max(bytes.len().saturating_mul(USUAL_RATIO)).min(most);
    loop {
        let hold = budget.hold(room).ok_or_else(|| {
            ApiError::exhausted(
                "the server holds as many bytes of requests as it may; send this one again later",
            )
        })?;
        match gzip::inflate(bytes, &Limits { inflated_bytes: room, ..limits.clone() }) {
            Ok(inflated) => {
                let _hold = hold.shrink(inflated.len());
                return Ok(Bytes::from_owner(Inflated { bytes: inflated, _hold }));
            }
            Err(error) if error.kind() == ErrorKind::TooLarge && room < most => {
                room = room.saturating_mul(4).min(most);
            }
            Err(error) if error.kind() == ErrorKind::TooLarge => return Err(ApiError::too_large(error)),
            Err(error) => return Err(ApiError::unprocessable(error)),
        }
    }
}

/// Gzip of the RPC wires: libdeflate, bounded in bytes and in ratio, and by the budget of all requests.
pub(crate) struct BoundedGzip(pub(crate) BodyBudget);

impl CompressionProvider for BoundedGzip {
    fn name(&self) -> &'static str {
        "gzip"
    }

    fn compress(&self, data: &[u8]) -> Result<Bytes, ConnectError> {
        Ok(gzip::deflate(data).into())
    }

    fn decompressor<'a>(&self, data: &'a [u8]) -> Result<Box<dyn Read + 'a>, ConnectError> {
        Ok(Box::new(Cursor::new(self.decompress_with_limit(data, MAX_BODY_BYTES)?)))
    }

    fn decompress_with_limit(&self, data: &[u8], max_size: usize) -> Result<Bytes, ConnectError> {
        Ok(inflate(data, max_size, &self.0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inflated_bodies_count_while_they_are_read() {
        let budget = BodyBudget::new(100_000);
        let body = gzip::deflate(&vec![7; 60_000]);
        let first = inflate(&body, MAX_BODY_BYTES, &budget).unwrap();
        assert_eq!(first.len(), 60_000);
        let refusal = inflate(&body, MAX_BODY_BYTES, &budget).unwrap_err();
        assert_eq!(refusal.status(), 503);
        let slice = first.slice(10..20);
        drop(first);
        assert_eq!(inflate(&body, MAX_BODY_BYTES, &budget).unwrap_err().status(), 503);
        drop(slice);
        assert!(inflate(&body, MAX_BODY_BYTES, &budget).is_ok());
        assert!(budget.hold(100_000).is_some());
    }

    #[test]
    fn bodies_that_say_nothing_of_their_size_are_tried_larger() {
        let budget = BodyBudget::new(2 << 20);
        // Two members: the last one's length says little about both.
        let members = [gzip::deflate(&vec![7; 900_000]), gzip::deflate(b"x")].concat();
        assert_eq!(inflate(&members, MAX_BODY_BYTES, &budget).unwrap().len(), 900_001);
        let refusal = inflate(&members, 500_000, &budget).unwrap_err();
        assert_eq!(refusal.status(), 413);
        assert!(budget.hold(2 << 20).is_some());
    }
}
