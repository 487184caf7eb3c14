//! What a query is about: `name:sample_type:sample_unit:period_type:period_unit[:delta]{matchers}`.

use crate::error::ApiError;
use buffa_types::google::protobuf::{Duration, Timestamp};
use everflame_profile::{Nanos, ProfileType};
use everflame_query::{Selector, TimeRange};

const SECOND: i64 = 1_000_000_000;

/// A profile type, whether its profiles cover a duration, and the series that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) profile_type: ProfileType,
    pub(super) delta: bool,
    pub(super) selector: Selector,
}

/// Reads a query.
pub(super) fn query(text: &str) -> Result<Query, ApiError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ApiError::invalid(
            "query is missing; send one such as process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta{job=\"api\"}",
        ));
    }
    let (name, matchers) = text.split_at(text.find('{').unwrap_or(text.len()));
    let (profile_type, delta) = profile_type(name.trim_end())?;
    let selector = if matchers.is_empty() { Selector::all() } else { selector(matchers)? };
    Ok(Query { profile_type, delta, selector })
}

/// Reads a profile type and whether `:delta` follows.
pub(super) fn profile_type(text: &str) -> Result<(ProfileType, bool), ApiError> {
    let delta = match text.split(':').nth(5) {
        None => false,
        Some("delta") => true,
        Some(other) => {
            return Err(ApiError::invalid(format_args!(
                "profile type {text:?}: the sixth part is {other:?}; it is delta or nothing"
            )));
        }
    };
    Ok((text.parse().map_err(ApiError::invalid)?, delta))
}

/// The selectors in `match`: each is one with braces, or the matchers alone. All of them must hold in one
/// list of matchers, as the peer joins them; one with a type is held against the virtual labels.
pub(super) fn matches(texts: &[String]) -> Result<Selector, ApiError> {
    let mut all = Selector::all();
    for (at, text) in texts.iter().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let place = |error: ApiError| error.at(format_args!("match[{at}]"));
        let text = text.trim();
        let found = match text.find('{').filter(|_| text.ends_with('}')) {
            Some(0) => selector(text).map_err(place)?,
            Some(_) => {
                let Query { profile_type, selector, .. } = query(text).map_err(place)?;
                of_type(selector, &profile_type)
            }
            None => selector(&format!("{{{text}}}")).map_err(place)?,
        };
        for matcher in found.matchers() {
            all = all.with(matcher.clone());
        }
    }
    Ok(all)
}

/// `selector` for series of one type.
pub(super) fn of_type(selector: Selector, profile_type: &ProfileType) -> Selector {
    selector.with(everflame_query::Matcher::equal("__profile_type__", profile_type.to_string()))
}

fn selector(text: &str) -> Result<Selector, ApiError> {
    text.parse().map_err(ApiError::invalid)
}

/// Nanoseconds since the epoch.
pub(super) fn nanos(field: &str, time: &Timestamp) -> Result<Nanos, ApiError> {
    let within = (0..SECOND).contains(&i64::from(time.nanos));
    let nanos = time.seconds.checked_mul(SECOND).and_then(|nanos| nanos.checked_add(i64::from(time.nanos)));
    nanos.filter(|_| within).ok_or_else(|| {
        ApiError::invalid(format_args!(
            "{field} is {} s and {} ns, which is no time between 1677 and 2262; send seconds since 1970-01-01",
            time.seconds, time.nanos
        ))
    })
}

/// A time as the wire has it.
pub(super) fn timestamp(nanos: Nanos) -> Timestamp {
    Timestamp {
        seconds: nanos.div_euclid(SECOND),
        nanos: nanos.rem_euclid(SECOND) as i32,
        ..Default::default()
    }
}

/// A length of time in nanoseconds; 0 when it is missing.
pub(super) fn length(field: &str, duration: Option<&Duration>) -> Result<Nanos, ApiError> {
    let Some(duration) = duration else { return Ok(0) };
    let nanos =
        duration.seconds.checked_mul(SECOND).and_then(|nanos| nanos.checked_add(i64::from(duration.nanos)));
    nanos.filter(|&nanos| nanos >= 0).ok_or_else(|| {
        ApiError::invalid(format_args!(
            "{field} is {} s; send a length from 0 to 292 years",
            duration.seconds
        ))
    })
}

/// The range that both ends of must be given of.
pub(super) fn range(start: Option<&Timestamp>, end: Option<&Timestamp>) -> Result<TimeRange, ApiError> {
    let missing = |field| ApiError::invalid(format_args!("{field} is missing; send start and end"));
    let from = nanos("start", start.ok_or_else(|| missing("start"))?)?;
    let until = nanos("end", end.ok_or_else(|| missing("end"))?)?;
    if from > until {
        return Err(ApiError::invalid(format_args!(
            "end ({until} ns since 1970) is before start ({from} ns); swap them"
        )));
    }
    Ok(TimeRange::new(from, until))
}

/// The range, or all of time when both ends are missing or the beginning of time.
pub(super) fn range_or_all(
    start: Option<&Timestamp>,
    end: Option<&Timestamp>,
) -> Result<TimeRange, ApiError> {
    let is_set = |time: &&Timestamp| time.seconds != 0 || time.nanos != 0;
    match (start.filter(is_set), end.filter(is_set)) {
        (None, None) => Ok(TimeRange::ALL),
        (from, until) => {
            let from = from.map_or(Ok(Nanos::MIN), |time| nanos("start", time))?;
            let until = until.map_or(Ok(Nanos::MAX), |time| nanos("end", time))?;
            if from > until {
                return Err(ApiError::invalid("end is before start; swap them"));
            }
            Ok(TimeRange::new(from, until))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let check = |text: &str, expect: &str| {
            let read = match query(text) {
                Ok(query) => format!("{} {} {}", query.profile_type, query.delta, query.selector),
                Err(error) => error.to_string(),
            };
            assert!(read.starts_with(expect), "{text}: {read}");
        };
        let cpu = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
        check(cpu, &format!("{cpu} false {{}}"));
        check(&format!("{cpu}:delta"), &format!("{cpu} true {{}}"));
        check(
            &format!(" {cpu}:delta {{job=\"a\", x!~\"b:c.*\"}} "),
            &format!("{cpu} true {{job=\"a\", x!~\"b:c.*\"}}"),
        );
        check("memory:inuse_space:bytes::{}", "memory:inuse_space:bytes:: false {}");
        check("", "query is missing");
        check("process_cpu{}", "profile type \"process_cpu\" has 1 parts");
        check(
            &format!("{cpu}:rate{{}}"),
            &format!("profile type \"{cpu}:rate\": the sixth part is \"rate\""),
        );
        check(&format!("{cpu}{{job=}}"), "selector, character 6:");
        check(&format!("{cpu}:delta:more{{}}"), "profile type");
    }

    #[test]
    fn lists_of_matchers() {
        let read = |texts: &[&str]| {
            let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
            matches(&texts).map_or_else(|error| error.to_string(), |selector| selector.to_string())
        };
        assert_eq!(read(&[]), "{}");
        assert_eq!(read(&["job=\"a\"", "{x=\"b\"}", ""]), r#"{job="a", x="b"}"#);
        assert_eq!(read(&["a:b:c:d:e:delta{x=\"b\"}"]), r#"{x="b", __profile_type__="a:b:c:d:e"}"#);
        assert!(
            read(&["", "job=a"]).starts_with("match[1]: selector, character"),
            "{}",
            read(&["", "job=a"])
        );
    }

    #[test]
    fn times() {
        let time = |seconds, nanos| Timestamp { seconds, nanos, ..Default::default() };
        assert_eq!(nanos("x", &time(1, 5)).unwrap(), 1_000_000_005);
        assert_eq!(nanos("x", &time(-1, 999_999_999)).unwrap(), -1);
        assert!(nanos("x", &time(i64::MAX, 0)).is_err() && nanos("x", &time(0, -1)).is_err());
        assert_eq!(nanos("x", &timestamp(-1)).unwrap(), -1);
        assert!(range(Some(&time(2, 0)), Some(&time(1, 0))).is_err());
        assert!(range(None, Some(&time(1, 0))).unwrap_err().to_string().starts_with("start is missing"));
        assert_eq!(range_or_all(Some(&time(0, 0)), None).unwrap(), TimeRange::ALL);
        assert_eq!(range_or_all(None, Some(&time(1, 0))).unwrap().until, SECOND);
        let length_of = |seconds| length("step", Some(&Duration { seconds, ..Default::default() }));
        assert_eq!(length_of(15).unwrap(), 15 * SECOND);
        assert!(length_of(-1).is_err() && length_of(i64::MAX).is_err());
        assert_eq!(length("step", None).unwrap(), 0);
    }
}
