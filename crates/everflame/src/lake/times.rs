//! Times as people write them on the command line, and whole UTC days.

use everflame_profile::Nanos;
use std::ops::Range;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime, Time};

const SECOND: Nanos = 1_000_000_000;
const DAY: Nanos = 86_400 * SECOND;

/// `now`, `now-7d`, `2026-01-31`, `2026-01-31T12:00:00Z`, or seconds since the epoch.
pub(crate) fn parse(text: &str, now: Nanos) -> Result<Nanos, String> {
    let text = text.trim();
    let wrong = || {
        format!("{text:?} is no time; write 2026-01-31, 2026-01-31T12:00:00Z, now-7d, or seconds since 1970")
    };
    if text == "now" {
        return Ok(now);
    }
    if let Some(back) = text.strip_prefix("now-") {
        let units = [("d", DAY), ("h", 3_600 * SECOND), ("m", 60 * SECOND), ("s", SECOND)];
        let back = units
            .iter()
            .find_map(|(suffix, unit)| back.strip_suffix(suffix)?.parse::<Nanos>().ok()?.checked_mul(*unit));
        return Ok(now.saturating_sub(back.ok_or_else(wrong)?));
    }
    let time = if let Ok(seconds) = text.parse::<i64>() {
        OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| wrong())?
    } else if let Ok(date) = Date::parse(text, format_description!("[year]-[month]-[day]")) {
        date.with_time(Time::MIDNIGHT).assume_utc()
    } else {
        OffsetDateTime::parse(text, &Rfc3339).map_err(|_| wrong())?
    };
    Nanos::try_from(time.unix_timestamp_nanos()).map_err(|_| wrong())
}

/// The UTC days from that of `from` to the one before `until`; the day of `until` too when it has begun.
pub(crate) fn days(from: Nanos, until: Nanos) -> Range<i32> {
    let end = until.div_euclid(DAY) + i64::from(until.rem_euclid(DAY) > 0);
    // A time of 64 bits is less than 106,752 days away from the epoch.
    from.div_euclid(DAY) as i32..end as i32
}

/// The time as `format` writes it, UTC.
fn write(time: Nanos, format: &(impl time::formatting::Formattable + ?Sized)) -> String {
    let time = OffsetDateTime::UNIX_EPOCH + Duration::nanoseconds(time);
    time.format(format).unwrap_or_default()
}

/// `2026-01-31T12`, for the name of a file.
pub(crate) fn hour(time: Nanos) -> String {
    write(time, format_description!("[year]-[month]-[day]T[hour]"))
}

/// `2026-01-31T12:00:00`, as profefe takes it.
pub(crate) fn profefe(time: Nanos) -> String {
    write(time, format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let now = 10 * DAY + 5 * SECOND;
        for (text, expect) in [
            ("now", now),
            ("now-2d", 8 * DAY + 5 * SECOND),
            ("now-5s", 10 * DAY),
            ("1970-01-03", 2 * DAY),
            ("1970-01-03T00:00:01Z", 2 * DAY + SECOND),
            ("1970-01-03T01:00:01+01:00", 2 * DAY + SECOND),
            ("86400", DAY),
        ] {
            assert_eq!(parse(text, now), Ok(expect), "{text}");
        }
        for text in ["", "yesterday", "now-", "now-5", "now-5y", "1970-13-01", "99999999999999999999"] {
            assert!(parse(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn whole_days() {
        assert_eq!(days(DAY, 3 * DAY), 1..3);
        assert_eq!(days(DAY + 1, 3 * DAY + 1), 1..4);
        assert_eq!(days(-1, 0), -1..0);
        assert_eq!((hour(DAY + 3_600 * SECOND), hour(-1)), ("1970-01-02T01".into(), "1969-12-31T23".into()));
        assert_eq!(profefe(DAY + SECOND), "1970-01-02T00:00:01");
    }
}
