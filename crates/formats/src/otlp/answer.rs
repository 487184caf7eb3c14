//! What the other end of an export says: partial success, and when to come back.

use crate::pprof::wire::{Cursor, Value};
use serde_json::Value as Json;
use std::time::Duration;

/// Profiles that were not taken and why, as an `ExportProfilesServiceResponse` says it; nothing when all
/// were, or when the bytes are no such answer.
pub fn rejected(answer: &[u8]) -> Option<(u64, String)> {
    let partial = find(answer, 1)?.bytes(1).ok()?;
    let count = find(partial, 1).and_then(|value| value.number(1).ok()).unwrap_or_default();
    let message = find(partial, 2).and_then(|value| value.bytes(2).ok()).unwrap_or_default();
    let message = String::from_utf8_lossy(message).into_owned();
    (count > 0 || !message.is_empty()).then_some((count, message))
}

/// The same of an answer in JSON, in which numbers of 64 bits are texts.
pub fn rejected_json(answer: &[u8]) -> Option<(u64, String)> {
    let answer: Json = serde_json::from_slice(answer).ok()?;
    let partial = answer.get("partialSuccess").or_else(|| answer.get("partial_success"))?;
    let count = partial.get("rejectedProfiles").or_else(|| partial.get("rejected_profiles"));
    let count = count.and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()));
    let message = partial.get("errorMessage").or_else(|| partial.get("error_message"));
    let message = message.and_then(Json::as_str).unwrap_or_default().to_owned();
    let count = count.unwrap_or_default();
    (count > 0 || !message.is_empty()).then_some((count, message))
}

/// The delay in a `google.rpc.RetryInfo` among the details of a `google.rpc.Status`.
pub fn retry_delay(status: &[u8]) -> Option<Duration> {
    let mut cursor = Cursor::new(status);
    while let Some((number, value)) = cursor.field().ok()? {
        let (3, Value::Bytes(detail)) = (number, value) else { continue };
        let name = find(detail, 1)?.bytes(1).ok()?;
        if !name.ends_with(b"google.rpc.RetryInfo") {
            continue;
        }
        let delay = find(find(detail, 2)?.bytes(2).ok()?, 1)?.bytes(1).ok()?;
        let part = |field| find(delay, field).and_then(|value| value.number(field).ok()).unwrap_or_default();
        let nanos = u32::try_from(part(2)).unwrap_or_default().min(999_999_999);
        return Some(Duration::new(part(1).min(u64::from(u32::MAX)), nanos));
    }
    None
}

/// The last field `field` of a message.
fn find(message: &[u8], field: u32) -> Option<Value<'_>> {
    let (mut cursor, mut found) = (Cursor::new(message), None);
    while let Some((number, value)) = cursor.field().ok()? {
        if number == field {
            found = Some(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        assert_eq!(rejected(b""), None);
        assert_eq!(rejected(b"\x0a\x00"), None);
        assert_eq!(rejected(b"\x0a\x07\x08\x02\x12\x03why"), Some((2, "why".to_owned())));
        assert_eq!(rejected(b"\x0a\x07\x08\x02\x12\x03wh"), None);
        assert_eq!(rejected(b"<html>"), None);
    }

    #[test]
    fn answers_in_json() {
        for (answer, expect) in [
            (r#"{"partialSuccess":{"rejectedProfiles":"3","errorMessage":"why"}}"#, Some((3, "why"))),
            (r#"{"partial_success":{"rejected_profiles":3}}"#, Some((3, ""))),
            (r#"{"partialSuccess":{"errorMessage":"a warning"}}"#, Some((0, "a warning"))),
            (r#"{"partialSuccess":{"rejectedProfiles":-1}}"#, None),
            (r#"{"partialSuccess":{}}"#, None),
            (r#"{"partialSuccess":null}"#, None),
            ("{}", None),
            ("[]", None),
            ("3", None),
            ("", None),
        ] {
            let expect = expect.map(|(count, why)| (count, why.to_owned()));
            assert_eq!(rejected_json(answer.as_bytes()), expect, "{answer}");
        }
    }

    #[test]
    fn delays() {
        let detail = |name: &str, value: &[u8]| {
            let mut any = vec![0x0a, name.len() as u8];
            any.extend_from_slice(name.as_bytes());
            any.extend([0x12, value.len() as u8]);
            any.extend_from_slice(value);
            [&[0x08, 8, 0x1a, any.len() as u8][..], &any].concat()
        };
        let name = "type.googleapis.com/google.rpc.RetryInfo";
        assert_eq!(retry_delay(&detail(name, &[0x0a, 2, 0x08, 7])), Some(Duration::from_secs(7)));
        assert_eq!(retry_delay(&detail(name, &[0x0a, 2, 0x10, 7])), Some(Duration::from_nanos(7)));
        assert_eq!(retry_delay(&detail("google.rpc.Other", &[0x0a, 2, 0x08, 7])), None);
        assert_eq!(retry_delay(b"\x08\x08"), None);
        assert_eq!(retry_delay(b"\xff"), None);
    }
}
