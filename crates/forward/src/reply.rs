//! What an answer means: taken, later, or never.

use everflame_formats::otlp;
use everflame_profile::Nanos;
use http::StatusCode;
use std::time::Duration;
use time::PrimitiveDateTime;
use time::macros::format_description;

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    /// It was taken, but for some profiles.
    Taken { rejected: u64, why: String },
    /// It may be taken later; when, if the other end said so.
    Later { after: Option<Duration>, why: String },
    /// It is too much at once.
    TooLarge { why: String },
    /// It will not be taken.
    Refused { why: String },
}

/// Longest text of an answer that is repeated.
const MAX_TEXT: usize = 300;

/// What an HTTP answer means.
pub(crate) fn of_http(status: StatusCode, after: Option<Duration>, body: &[u8]) -> Reply {
    let why = || format!("{status} {}", text(body)).trim_end().to_owned();
    match status.as_u16() {
        200..=299 => {
            let (rejected, why) = otlp::rejected(body).unwrap_or_default();
            Reply::Taken { rejected, why: text(why.as_bytes()) }
        }
        413 => Reply::TooLarge { why: why() },
        // What is not there, or another version, is not there later either.
        501 | 505 => Reply::Refused { why: why() },
        408 | 425 | 429 | 500.. => Reply::Later { after, why: why() },
        _ => Reply::Refused { why: why() },
    }
}

/// What the status of a gRPC answer means.
pub(crate) fn of_grpc(code: u32, message: &str, after: Option<Duration>, body: &[u8]) -> Reply {
    let why = format!("gRPC status {code} {}", text(message.as_bytes())).trim_end().to_owned();
    match code {
        0 => {
            let (rejected, why) = otlp::rejected(body).unwrap_or_default();
            Reply::Taken { rejected, why: text(why.as_bytes()) }
        }
        // Invalid, not found, there already, not permitted, not now, unimplemented, not authenticated.
        3 | 5 | 6 | 7 | 9 | 12 | 16 => Reply::Refused { why },
        _ => Reply::Later { after, why },
    }
}

/// The start of what a person can read of an answer.
fn text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..MAX_TEXT).unwrap_or(body)).into_owned();
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// The header `Retry-After`: seconds, or a time.
pub(crate) fn retry_after(text: &str, now: Nanos) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let time = PrimitiveDateTime::parse(text, format).ok()?.assume_utc().unix_timestamp_nanos();
    let wait = time.saturating_sub(i128::from(now)).max(0);
    Some(Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        let kind = |reply: &Reply| match reply {
            Reply::Taken { .. } => "taken",
            Reply::Later { .. } => "later",
            Reply::TooLarge { .. } => "too large",
            Reply::Refused { .. } => "refused",
        };
        for (status, expect) in [
            (200, "taken"),
            (204, "taken"),
            (301, "refused"),
            (400, "refused"),
            (401, "refused"),
            (404, "refused"),
            (408, "later"),
            (413, "too large"),
            (422, "refused"),
            (429, "later"),
            (500, "later"),
            (501, "refused"),
            (502, "later"),
            (503, "later"),
            (504, "later"),
            (599, "later"),
        ] {
            let reply = of_http(StatusCode::from_u16(status).unwrap(), None, b"");
            assert_eq!(kind(&reply), expect, "{status}");
        }
        for code in 0..20 {
            let reply = of_grpc(code, "", None, b"");
            let expect = match code {
                0 => "taken",
                3 | 5 | 6 | 7 | 9 | 12 | 16 => "refused",
                _ => "later",
            };
            assert_eq!(kind(&reply), expect, "{code}");
        }
        let body = b"\x0a\x07\x08\x02\x12\x03why";
        assert_eq!(of_grpc(0, "", None, body), Reply::Taken { rejected: 2, why: "why".to_owned() });
        assert_eq!(
            of_http(StatusCode::BAD_REQUEST, None, b"no\n\x00t\xff"),
            Reply::Refused { why: "400 Bad Request no  t\u{fffd}".to_owned() }
        );
    }

    #[test]
    fn when_to_come_back() {
        let now = 1_700_000_000_000_000_000;
        assert_eq!(retry_after(" 7 ", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Tue, 14 Nov 2023 22:13:30 GMT", now), Some(Duration::from_secs(10)));
        assert_eq!(retry_after("Tue, 14 Nov 2013 22:13:30 GMT", now), Some(Duration::ZERO));
        for text in ["", "-1", "soon", "Tue, 99 Nov 2023 22:13:30 GMT"] {
            assert_eq!(retry_after(text, now), None);
        }
    }
}
