//! The time grammar of `/ingest` and `/pyroscope/*`: dates, epochs in four units, seconds with a fraction,
//! `now-1h30m`, RFC 3339.
//!
//! Underscores, commas and spaces are ignored. What is no time is refused: reading garbage as "now", as
//! older servers did, hides the mistake.

use crate::error::ApiError;
use everflame_profile::Nanos;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

const SECOND: i128 = 1_000_000_000;
const MINUTE: i128 = 60 * SECOND;
const HOUR: i128 = 60 * MINUTE;
const DAY: i128 = 24 * HOUR;

/// Reads `text`, the value of `parameter`, relative to `now`.
pub(crate) fn parse(parameter: &str, text: &str, now: Nanos) -> Result<Nanos, ApiError> {
    let time = absolute(text).or_else(|| relative(text, now));
    time.and_then(|nanos| Nanos::try_from(nanos).ok()).ok_or_else(|| {
        ApiError::invalid(format_args!(
            "{parameter}={text:?} is not a time; write Unix seconds, milliseconds, microseconds or nanoseconds, \
             YYYYMMDD, RFC 3339, or an offset such as now-1h30m (in a URL, + is written %2B)"
        ))
    })
}

/// As [`parse`]; `now` when the parameter is missing or empty.
pub(crate) fn parse_or_now(parameter: &str, text: Option<&str>, now: Nanos) -> Result<Nanos, ApiError> {
    match text.map(str::trim) {
        None | Some("") => Ok(now),
        Some(text) => parse(parameter, text, now),
    }
}

/// `2006-01-02T15:04:05` in UTC, profefe's form, in which seconds may have a fraction; RFC 3339 is taken as
/// well.
pub(crate) fn parse_profefe(parameter: &str, text: &str) -> Result<Nanos, ApiError> {
    let plain = format_description!(
        version = 2,
        "[year]-[month]-[day]T[hour]:[minute]:[second][optional [.[subsecond]]]"
    );
    let time = PrimitiveDateTime::parse(text, plain)
        .map(PrimitiveDateTime::assume_utc)
        .ok()
        .or_else(|| rfc3339(text));
    time.and_then(|time| Nanos::try_from(time.unix_timestamp_nanos()).ok()).ok_or_else(|| {
        ApiError::invalid(format_args!(
            "{parameter}={text:?} is not a time; write it in UTC as in 2026-01-02T15:04:05"
        ))
    })
}

/// A time in microseconds since the epoch, in RFC 3339; empty when the calendar does not reach that far.
pub(crate) fn rfc3339_micros(micros: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000);
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

fn absolute(text: &str) -> Option<i128> {
    let digits: String = text.chars().filter(|&c| !is_ignored(c)).collect();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let with_fraction =
            digits.split_once('.').and_then(|(whole, rest)| seconds_with_fraction(whole, rest));
        return with_fraction.or_else(|| rfc3339(text).map(OffsetDateTime::unix_timestamp_nanos));
    }
    let number: i128 = digits.parse().ok()?;
    match digits.len() {
        8 => match Date::parse(&digits, format_description!("[year][month][day]")) {
            Ok(date) => Some(date.midnight().assume_utc().unix_timestamp_nanos()),
            Err(_) => Some(number * SECOND),
        },
        13 => Some(number * 1_000_000),
        16 => Some(number * 1_000),
        19 => Some(number),
        0..13 => Some(number * SECOND),
        _ => None,
    }
}

/// Unix seconds as scripts have them, `1700000000.25`. What is finer than nanoseconds is cut.
fn seconds_with_fraction(seconds: &str, fraction: &str) -> Option<i128> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(seconds) || !is_number(fraction) || seconds.len() > 12 {
        return None;
    }
    let nanos: i128 = fraction.get(..9).unwrap_or(fraction).parse().ok()?;
    let missing = 9usize.saturating_sub(fraction.len()) as u32;
    Some(seconds.parse::<i128>().ok()? * SECOND + nanos * 10i128.pow(missing))
}

fn rfc3339(text: &str) -> Option<OffsetDateTime> {
    // A plus sign that was not escaped in the URL arrives as a space.
    OffsetDateTime::parse(&text.replace(' ', "+"), &Rfc3339).ok()
}

/// `now`, followed by offsets that each may have a sign; one without goes in the direction of the one
/// before it. `-1h` alone counts from now as well.
fn relative(text: &str, now: Nanos) -> Option<i128> {
    let is_plus_lost = text.trim().starts_with("now ");
    let text: String = text.chars().filter(|&c| !is_ignored(c)).collect();
    let mut rest = text.strip_prefix("now").unwrap_or(&text);
    if rest.is_empty() {
        return (!text.is_empty()).then_some(i128::from(now));
    }
    // `now 5m` was `now+5m` with a plus sign that was not escaped in the URL.
    let begins_with_digit = rest.starts_with(|c: char| c.is_ascii_digit());
    let is_offset = rest.starts_with(['+', '-']) || is_plus_lost && begins_with_digit;
    if !is_offset {
        return None;
    }
    let (mut time, mut sign) = (i128::from(now), 1);
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix(['+', '-']) {
            sign = if rest.starts_with('-') { -1 } else { 1 };
            rest = tail;
        }
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let (unit, tail) = tail.split_at(tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len()));
        let number: i128 = number.parse::<u32>().ok()?.into();
        let unit = if number == 0 && unit.is_empty() { 0 } else { unit_length(unit)? };
        time += sign * number * unit;
        rest = tail;
    }
    Some(time)
}

fn unit_length(unit: &str) -> Option<i128> {
    let prefixes = [
        ("ms", 1_000_000),
        ("s", SECOND),
        ("mon", 30 * DAY),
        ("M", 30 * DAY),
        ("m", MINUTE),
        ("h", HOUR),
        ("d", DAY),
        ("w", 7 * DAY),
        ("y", 365 * DAY),
    ];
    prefixes.iter().find(|(prefix, _)| unit.starts_with(prefix)).map(|&(_, length)| length)
}

fn is_ignored(c: char) -> bool {
    matches!(c, '_' | ',' | ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Nanos = 1_800_000_000_000_000_000;

    #[test]
    fn reads_every_form() {
        let table: &[(&str, i128)] = &[
            ("1700000000", 1_700_000_000 * SECOND),
            ("1_700_000_000", 1_700_000_000 * SECOND),
            ("1700000000123", 1_700_000_000_123 * 1_000_000),
            ("1700000000123456", 1_700_000_000_123_456 * 1_000),
            ("1700000000123456789", 1_700_000_000_123_456_789),
            ("1700000000.25", 1_700_000_000 * SECOND + 250_000_000),
            ("1700000000.1234567891", 1_700_000_000_123_456_789),
            ("0.5", SECOND / 2),
            ("20231114", 1_699_920_000 * SECOND),
            ("20239999", 20_239_999 * SECOND),
            ("0", 0),
            ("now", NOW.into()),
            ("now-1h", i128::from(NOW) - HOUR),
            ("now-1h30m", i128::from(NOW) - HOUR - 30 * MINUTE),
            ("now - 1d + 2min", i128::from(NOW) - DAY + 2 * MINUTE),
            ("now 5s", i128::from(NOW) + 5 * SECOND),
            ("-3mon", i128::from(NOW) - 90 * DAY),
            ("now-2M", i128::from(NOW) - 60 * DAY),
            ("now-1y2weeks", i128::from(NOW) - 379 * DAY),
            ("now-0", NOW.into()),
            ("2023-11-14T22:13:20.5Z", 1_700_000_000 * SECOND + SECOND / 2),
            ("2023-11-14T22:13:20Z", 1_700_000_000 * SECOND),
            ("2023-11-15T00:13:20+02:00", 1_700_000_000 * SECOND),
            ("2023-11-15T00:13:20 02:00", 1_700_000_000 * SECOND),
        ];
        for (text, expected) in table {
            assert_eq!(i128::from(parse("from", text, NOW).unwrap()), *expected, "{text}");
        }
    }

    #[test]
    fn refuses_garbage() {
        for text in [
            "",
            "yesterday",
            "now-",
            "now-5",
            "now-1x",
            "now1h",
            "12ab",
            "1.",
            ".5",
            "1.2.3",
            "1700000000123.5",
            "99999999999999999999",
            "now-1h;",
            "١٢٣",
        ] {
            let error = parse("from", text, NOW).unwrap_err();
            assert_eq!(error.status(), 400, "{text}");
        }
        assert_eq!(parse_or_now("from", Some(" "), NOW).unwrap(), NOW);
    }

    #[test]
    fn reads_profefes_form() {
        assert_eq!(parse_profefe("from", "2023-11-14T22:13:20").unwrap(), 1_700_000_000_000_000_000);
        assert_eq!(parse_profefe("from", "2023-11-14T22:13:20.5").unwrap(), 1_700_000_000_500_000_000);
        for broken in ["1700000000", "2023-11-14T22:13:20.", "2023-11-14T22:13"] {
            assert!(parse_profefe("from", broken).is_err(), "{broken}");
        }
    }
}
