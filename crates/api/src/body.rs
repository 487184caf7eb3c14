//! Bodies: read whole within the limit, and inflated within bounds when they are compressed.

use crate::error::ApiError;
use axum::body::Body;
use bytes::Bytes;
use connectrpc::{CompressionProvider, ConnectError};
use everflame_formats::{Limits, gzip};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::io::{Cursor, Read};

/// Largest body that is taken, compressed or not: 256 MiB, as Pyroscope's.
pub(crate) const MAX_BODY_BYTES: usize = 256 << 20;

/// The body of a request, inflated when `Content-Encoding` says gzip.
pub(crate) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let bytes = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            return Err(ApiError::too_large(format_args!(
                "the body is larger than {MAX_BODY_BYTES} bytes; send a shorter span at once"
            )));
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
        Some("gzip" | "x-gzip") if gzip::is_gzip(&bytes) => inflate(&bytes),
        Some("gzip" | "x-gzip") => Ok(bytes),
        Some(other) => Err(ApiError::invalid(format_args!(
            "Content-Encoding {other:?} is not known; send gzip, or the body as it is"
        ))),
    }
}

/// Inflates `bytes` when they begin as gzip does.
pub(crate) fn inflate_by_magic(bytes: Bytes) -> Result<Bytes, ApiError> {
    if gzip::is_gzip(&bytes) { inflate(&bytes) } else { Ok(bytes) }
}

fn inflate(bytes: &[u8]) -> Result<Bytes, ApiError> {
    gzip::inflate(bytes, &body_limits(MAX_BODY_BYTES)).map(Bytes::from).map_err(|error| match error.kind() {
        everflame_formats::ErrorKind::TooLarge => ApiError::too_large(error),
        _ => ApiError::unprocessable(error),
    })
}

fn body_limits(inflated_bytes: usize) -> Limits {
    Limits { inflated_bytes, ..Limits::default() }
}

/// Gzip of the RPC wires: libdeflate, bounded in bytes and in ratio.
pub(crate) struct BoundedGzip;

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
        let inflated = gzip::inflate(data, &body_limits(max_size));
        inflated.map(Bytes::from).map_err(|error| match error.kind() {
            everflame_formats::ErrorKind::TooLarge => ConnectError::resource_exhausted(error.to_string()),
            _ => ConnectError::invalid_argument(error.to_string()),
        })
    }
}
