//! Days and times as the Delta log writes them: UTC dates, and timestamps with microseconds.

use everflame_profile::Nanos;
use time::format_description::well_known::Rfc3339;
use time::macros::{format_description, time};
use time::{Date, Duration, OffsetDateTime, PrimitiveDateTime};

const NANOS_A_MICRO: i64 = 1_000;
const NANOS_A_DAY: i64 = 86_400 * 1_000_000_000;
const NANOS_A_WINDOW: i64 = 300 * 1_000_000_000;
const EPOCH: PrimitiveDateTime = PrimitiveDateTime::new(time::macros::date!(1970 - 01 - 01), time!(0:00));

/// Microseconds since the epoch, rounded down.
pub(super) fn micros(time: Nanos) -> i64 {
    time.div_euclid(NANOS_A_MICRO)
}

/// Days since the epoch.
pub(super) fn day(time: Nanos) -> i32 {
    // A time of 64 bits is less than 106,752 days away from the epoch.
    time.div_euclid(NANOS_A_DAY) as i32
}

/// Start of the five minutes by which samples are sorted, microseconds since the epoch.
pub(super) fn window(time: Nanos) -> i64 {
    time.div_euclid(NANOS_A_WINDOW) * (NANOS_A_WINDOW / NANOS_A_MICRO)
}

/// The first day of the month of `day`.
pub(super) fn month(day: i32) -> i32 {
    let date = EPOCH.date().saturating_add(Duration::days(i64::from(day)));
    day - i32::from(date.day() - 1)
}

/// `2026-08-01`; the day that is nearest when the calendar does not reach that far.
pub(crate) fn date_text(day: i32) -> String {
    let date = EPOCH.date().saturating_add(Duration::days(i64::from(day)));
    date.format(format_description!("[year]-[month]-[day]")).unwrap_or_default()
}

/// The day that [`date_text`] wrote.
pub(super) fn parse_date(text: &str) -> Option<i32> {
    let date = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
    i32::try_from((date - EPOCH.date()).whole_days()).ok()
}

/// `2026-08-01T12:00:00.000000Z` from microseconds since the epoch.
pub(super) fn time_text(micros: i64) -> String {
    let time = EPOCH.saturating_add(Duration::microseconds(micros));
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    time.format(format).unwrap_or_default()
}

/// Microseconds since the epoch from a time as a Delta log has it.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos().div_euclid(i128::from(NANOS_A_MICRO))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written() {
        assert_eq!(date_text(day(1_785_585_600_123_456_789)), "2026-08-01");
        assert_eq!(time_text(micros(1_785_585_600_123_456_789)), "2026-08-01T12:00:00.123456Z");
        assert_eq!(time_text(window(1_785_585_600_123_456_789)), "2026-08-01T12:00:00.000000Z");
        assert_eq!(time_text(window(1_785_586_199_999_999_999)), "2026-08-01T12:05:00.000000Z");
        assert_eq!((day(-1), micros(-1), date_text(-1)), (-1, -1, "1969-12-31".to_owned()));
        assert_eq!([month(0), month(30), month(31), month(-1)], [0, 0, 31, -31]);
    }

    proptest! {
        #[test]
        fn texts_read_back(nanos in any::<i64>()) {
            prop_assert_eq!(parse_date(&date_text(day(nanos))), Some(day(nanos)));
            prop_assert_eq!(parse_time(&time_text(micros(nanos))), Some(micros(nanos)));
        }
    }
}
