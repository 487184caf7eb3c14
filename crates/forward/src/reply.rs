//! What an answer means: taken, later, less at once, or never.

use everflame_formats::otlp;
use everflame_profile::Nanos;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use http::response::Parts;
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
    /// The same, and the other end bounds how much it takes in a time.
    TooFast { after: Option<Duration>, why: String },
    /// It is too much at once.
    TooLarge { why: String },
    /// Something in it will not be taken.
    Invalid { why: String },
    /// Nothing will be taken.
    Refused { why: String },
}

/// Longest text of an answer that is repeated.
const MAX_TEXT: usize = 300;

/// What an HTTP answer means.
pub(crate) fn of_http(head: &Parts, after: Option<Duration>, body: &[u8]) -> Reply {
    let status = head.status;
    let why = || format!("{status} {}", text(body)).trim_end().to_owned();
    match status.as_u16() {
        200..=299 => {
            let rejected = if is_json(&head.headers, body) { otlp::rejected_json } else { otlp::rejected };
            taken(rejected(body))
        }
        // The operator is to look at the address; nothing is lost meanwhile.
        301 | 302 | 303 | 307 | 308 => Reply::Later { after, why: redirect(head) },
        400 => match refused_by_pyroscope(body) {
            0 => Reply::Invalid { why: why() },
            rejected => Reply::Taken { rejected, why: why() },
        },
        413 => Reply::TooLarge { why: why() },
        422 => Reply::Invalid { why: why() },
        429 => Reply::TooFast { after, why: why() },
        // What is not there, or another version, is not there later either.
        501 | 505 => Reply::Refused { why: why() },
        408 | 425 | 500.. => Reply::Later { after, why: why() },
        _ => Reply::Refused { why: why() },
    }
}

/// What the status of a gRPC answer means.
pub(crate) fn of_grpc(code: u32, message: &str, after: Option<Duration>, body: &[u8]) -> Reply {
    let why = format!("gRPC status {code} {}", text(message.as_bytes())).trim_end().to_owned();
    match (code, after) {
        (0, _) => taken(otlp::rejected(body)),
        (3, _) => Reply::Invalid { why },
        // Not found, there already, not permitted, not now, unimplemented, not authenticated.
        (5 | 6 | 7 | 9 | 12 | 16, _) => Reply::Refused { why },
        // Exhausted: who does not say when to come back does not want to be asked again, such as grpc-go, which says
        // it of a message that is too large.
        (8, None) => Reply::TooLarge { why },
        (8, after) => Reply::TooFast { after, why },
        _ => Reply::Later { after, why },
    }
}

fn taken(rejected: Option<(u64, String)>) -> Reply {
    let (rejected, why) = rejected.unwrap_or_default();
    Reply::Taken { rejected, why: text(why.as_bytes()) }
}

/// How many profiles Pyroscope says, in an answer 400, that it did not take. It took the others, and does not
/// recognise what is sent again: that would be counted twice. 0 where nothing like it is said.
fn refused_by_pyroscope(body: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(body);
    let count = |what: &str| text.matches(what).count() as u64;
    count("push series with index ") + count("uncompressed profile payload size exceeds limit of ")
}

/// Whether an answer of success is a page for people, or a proxy's word, and not that of an end that takes profiles.
pub(crate) fn is_page(headers: &HeaderMap, body: &[u8]) -> bool {
    media_type(headers).starts_with("text/") && !body.trim_ascii().is_empty() && !is_json(headers, body)
}

/// What is wrong when a page is the answer.
pub(crate) fn something_else(endpoint: &str, head: &Parts, body: &[u8]) -> String {
    let (status, kind) = (head.status, media_type(&head.headers));
    format!("something else answers at {endpoint}: {status} with {kind}: {}", text(body))
}

/// Some name no type, and what guesses it then finds text.
fn is_json(headers: &HeaderMap, body: &[u8]) -> bool {
    let media_type = media_type(headers);
    media_type == "application/json" || media_type.starts_with("text/") && body.trim_ascii().starts_with(b"{")
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text(value.split(';').next().unwrap_or_default().as_bytes()).to_ascii_lowercase()
}

/// Where an answer points, without what may be a secret in it.
fn redirect(head: &Parts) -> String {
    let place = head.headers.get(LOCATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let place = place.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    format!("{} points to {:?}; redirects are not followed, name the right address", head.status, text(place))
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

    fn head(status: u16, headers: &[(&str, &str)]) -> Parts {
        let answer = http::Response::builder().status(status);
        let answer = headers.iter().fold(answer, |answer, (name, value)| answer.header(*name, *value));
        answer.body(()).unwrap().into_parts().0
    }

    fn kind(reply: &Reply) -> &'static str {
        match reply {
            Reply::Taken { .. } => "taken",
            Reply::Later { .. } => "later",
            Reply::TooFast { .. } => "too fast",
            Reply::TooLarge { .. } => "too large",
            Reply::Invalid { .. } => "invalid",
            Reply::Refused { .. } => "refused",
        }
    }

    #[test]
    fn statuses() {
        for (status, expect) in [
            (200, "taken"),
            (204, "taken"),
            (300, "refused"),
            (301, "later"),
            (302, "later"),
            (303, "later"),
            (304, "refused"),
            (307, "later"),
            (308, "later"),
            (400, "invalid"),
            (401, "refused"),
            (403, "refused"),
            (404, "refused"),
            (408, "later"),
            (413, "too large"),
            (422, "invalid"),
            (429, "too fast"),
            (500, "later"),
            (501, "refused"),
            (502, "later"),
            (503, "later"),
            (504, "later"),
            (599, "later"),
        ] {
            assert_eq!(kind(&of_http(&head(status, &[]), None, b"")), expect, "{status}");
        }
        let second = Some(Duration::from_secs(1));
        for (code, after) in (0..20).flat_map(|code| [(code, None), (code, second)]) {
            let reply = of_grpc(code, "", after, b"");
            let expect = match (code, after) {
                (0, _) => "taken",
                (3, _) => "invalid",
                (5 | 6 | 7 | 9 | 12 | 16, _) => "refused",
                (8, None) => "too large",
                (8, _) => "too fast",
                _ => "later",
            };
            assert_eq!(kind(&reply), expect, "{code}");
        }
        let body = b"\x0a\x07\x08\x02\x12\x03why";
        assert_eq!(of_grpc(0, "", None, body), Reply::Taken { rejected: 2, why: "why".to_owned() });
        assert_eq!(
            of_http(&head(403, &[]), None, b"no\n\x00t\xff"),
            Reply::Refused { why: "403 Forbidden no  t\u{fffd}".to_owned() }
        );
    }

    #[test]
    fn partial_success() {
        let partial = |content_type: &str, body: &[u8]| match of_http(
            &head(200, &[("content-type", content_type)]),
            None,
            body,
        ) {
            Reply::Taken { rejected, why } => (rejected, why),
            other => panic!("{other:?}"),
        };
        let three = (3, "nope".to_owned());
        let json = br#"{"partialSuccess":{"rejectedProfiles":"3","errorMessage":"nope"}}"#;
        assert_eq!(partial("application/json", json), three);
        assert_eq!(partial("Application/JSON; charset=utf-8", json), three);
        assert_eq!(partial("text/plain; charset=utf-8", json), three);
        assert_eq!(partial("application/x-protobuf", b"\x0a\x08\x08\x03\x12\x04nope"), three);
        for (content_type, body) in
            [("application/json", &b"{}"[..]), ("application/json", b"no"), ("application/x-protobuf", json)]
        {
            assert_eq!(partial(content_type, body), Default::default());
        }
    }

    #[test]
    fn pyroscope_takes_the_others() {
        let body = br#"{"code":"invalid_argument","message":"2 errors: push series with index 0 and id a failed: x; push series with index 7 and id b failed: y"}"#;
        let Reply::Taken { rejected: 2, why } = of_http(&head(400, &[]), None, body) else { panic!() };
        assert!(why.starts_with("400 Bad Request {"), "{why}");
    }

    #[test]
    fn pages_and_redirects() {
        for (content_type, body, expect) in [
            ("text/html", "<html>log in</html>", true),
            ("Text/Plain; charset=utf-8", "welcome", true),
            ("text/plain", " \n", false),
            ("text/plain", "{}", false),
            ("text/html", "", false),
            ("application/proto", "\n\0", false),
            ("application/json", "{}", false),
        ] {
            let head = head(200, &[("content-type", content_type)]);
            assert_eq!(is_page(&head.headers, body.as_bytes()), expect, "{content_type} {body}");
        }
        assert!(!is_page(&HeaderMap::new(), b"<html>"));
        let page = head(200, &[("content-type", "text/html")]);
        assert_eq!(
            something_else("http://h/x", &page, b"<html>"),
            "something else answers at http://h/x: 200 OK with text/html: <html>"
        );
        let reply = of_http(&head(307, &[("location", "https://h/login?token=secret")]), None, b"");
        let Reply::Later { why, .. } = reply else { panic!("{reply:?}") };
        assert_eq!(
            why,
            "307 Temporary Redirect points to \"https://h/login\"; redirects are not followed, name the right address"
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
