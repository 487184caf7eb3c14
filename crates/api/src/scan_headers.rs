//! What a query read, in the headers of its answer.

use everflame_query::{ScanStats, Warning};
use http::{HeaderMap, HeaderName, HeaderValue};

/// `X-Everflame-Scanned-*`, and `X-Everflame-Partial` when something could not be read.
pub(crate) fn of(stats: &ScanStats, warnings: &[Warning]) -> HeaderMap {
    let elapsed = u64::try_from(stats.elapsed.as_millis()).unwrap_or(u64::MAX);
    let numbers = [
        ("x-everflame-scanned-rows", stats.rows),
        ("x-everflame-scanned-bytes", stats.bytes),
        ("x-everflame-scanned-files", stats.files),
        ("x-everflame-scan-milliseconds", elapsed),
    ];
    let mut headers: HeaderMap = numbers
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from(value)))
        .collect();
    if let Some(first) = warnings.first() {
        let text = format!("{} of the data could not be read; the first: {first}", warnings.len());
        let value = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("yes"));
        headers.insert(HeaderName::from_static("x-everflame-partial"), value);
    }
    headers
}
