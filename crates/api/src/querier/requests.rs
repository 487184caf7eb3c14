//! From the fields of a request to a query, or to a refusal that names the field.

use crate::error::ApiError;
use crate::wire::types::v1::StackTraceSelector;
use everflame_ingest::{MAX_ROWS, row_id};
use everflame_lake::ProfileId;
use everflame_profile::{Labels, Nanos, ProfileType};
use everflame_query::{GoPgo, Selector, StackQuery, TimeRange};
use http::HeaderMap;
use http::header::ACCEPT;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Nodes of a flame graph when the request does not say.
pub(crate) const DEFAULT_MAX_NODES: usize = 8192;
/// Most nodes of a flame graph.
pub(crate) const MOST_MAX_NODES: usize = 1 << 20;

const MILLISECOND: Nanos = 1_000_000;
const HOUR_MS: i64 = 3_600_000;

/// From the first nanosecond of `start` to the last of `end`, which are milliseconds.
pub(crate) fn range(start: i64, end: i64) -> Result<TimeRange, ApiError> {
    for (field, value) in [("start", start), ("end", end)] {
        if value <= 0 {
            return Err(ApiError::invalid(format_args!(
                "{field} is {value}; send it in milliseconds since 1970-01-01"
            )));
        }
    }
    if start > end {
        return Err(ApiError::invalid(format_args!("start {start} is after end {end}; swap them")));
    }
    let until = end.saturating_mul(MILLISECOND).saturating_add(MILLISECOND - 1);
    Ok(TimeRange::new(start.saturating_mul(MILLISECOND), until))
}

/// The first and last point of [`range`]. A profile belongs to the millisecond that it was taken in, so that points
/// end with the last nanosecond of theirs; rounded down it is what was asked for.
pub(crate) fn points(start: i64, end: i64) -> Result<TimeRange, ApiError> {
    let TimeRange { from, until } = range(start, end)?;
    Ok(TimeRange::new(from.saturating_add(MILLISECOND - 1), until))
}

/// As [`range`], but the last hour before `now` when both are missing.
pub(crate) fn range_or_last_hour(start: i64, end: i64, now: Nanos) -> Result<TimeRange, ApiError> {
    match (start, end) {
        (0, 0) => range(now / MILLISECOND - HOUR_MS, now / MILLISECOND),
        _ => range(start, end),
    }
}

/// The profile type in `profile_typeID`.
pub(crate) fn profile_type(text: &str) -> Result<ProfileType, ApiError> {
    text.parse().map_err(ApiError::invalid)
}

/// The selector in `label_selector`.
pub(crate) fn selector(text: &str) -> Result<Selector, ApiError> {
    text.parse().map_err(|error| ApiError::invalid(error).at("label_selector"))
}

/// The selectors in `matchers`, all of which must hold; an empty text takes everything.
pub(crate) fn matchers(texts: &[String]) -> Result<Vec<Selector>, ApiError> {
    let parse = |(at, text): (usize, &String)| {
        text.parse().map_err(|error| ApiError::invalid(error).at(format_args!("matchers[{at}]")))
    };
    texts.iter().enumerate().filter(|(_, text)| !text.trim().is_empty()).map(parse).collect()
}

/// The number of nodes to keep.
pub(crate) fn max_nodes(asked: Option<i64>) -> Result<usize, ApiError> {
    match asked {
        None | Some(0) => Ok(DEFAULT_MAX_NODES),
        Some(asked) => usize::try_from(asked).ok().filter(|&asked| asked <= MOST_MAX_NODES).ok_or_else(|| {
            ApiError::invalid(format_args!(
                "max_nodes is {asked}; send a number from 1 to {MOST_MAX_NODES}, or none for {DEFAULT_MAX_NODES}"
            ))
        }),
    }
}

/// Which samples of the selected series are asked for.
#[derive(Default)]
pub(crate) struct Filters<'a> {
    pub(crate) spans: &'a [String],
    pub(crate) traces: &'a [String],
    pub(crate) profiles: &'a [String],
    pub(crate) call_site: Vec<String>,
}

/// A query for stacks from the fields that all requests of that kind share.
pub(crate) fn stack_query(
    profile_type_id: &str,
    label_selector: &str,
    (start, end): (i64, i64),
    filters: Filters<'_>,
) -> Result<StackQuery, ApiError> {
    let range = range(start, end)?;
    let mut query = StackQuery::new(profile_type(profile_type_id)?, selector(label_selector)?, range);
    query.call_site = filters.call_site;
    query.spans = ids("span_selector", filters.spans, span)?;
    query.traces = ids("trace_id_selector", filters.traces, trace)?;
    query.profiles = rows_of(&ids("profile_id_selector", filters.profiles, profile)?);
    if !query.spans.is_empty() && !query.traces.is_empty() {
        return Err(ApiError::invalid("span_selector and trace_id_selector were both sent; choose one"));
    }
    Ok(query)
}

/// Most ids of rows that one request may be about.
const MOST_ROWS: u32 = 1 << 18;

/// The rows that profiles with these ids may have. To clients an id stands for a whole upload, of which there is
/// a row for each type and each set of labels; the type and the selector choose among them.
fn rows_of(profiles: &[ProfileId]) -> Vec<ProfileId> {
    let count = u32::try_from(profiles.len()).unwrap_or(u32::MAX).max(1);
    let rows = (MOST_ROWS / count).clamp(1, MAX_ROWS);
    profiles.iter().flat_map(|&profile| (0..rows).map(move |row| row_id(profile, row))).collect()
}

/// How many there may be; all when the request does not say, or says 0.
pub(crate) fn limit(asked: Option<i64>) -> Result<Option<usize>, ApiError> {
    match asked {
        None | Some(0) => Ok(None),
        Some(limit) => usize::try_from(limit).map(Some).map_err(|_| {
            ApiError::invalid(format_args!(
                "limit is {limit}; send how many series there may be, or 0 for all"
            ))
        }),
    }
}

/// How stacks are to be shortened for a compiler of Go.
pub(crate) fn go_pgo(selector: Option<&StackTraceSelector>) -> Option<GoPgo> {
    let asked = selector?.go_pgo.as_option()?;
    Some(GoPgo { keep_locations: asked.keep_locations, aggregate_callees: asked.aggregate_callees })
}

/// The names in a stack trace selector, root first.
pub(crate) fn call_site(selector: Option<&StackTraceSelector>) -> Vec<String> {
    let sites = selector.map_or(&[][..], |selector| &selector.call_site);
    sites.iter().map(|site| site.name.clone()).collect()
}

pub(crate) fn ids<T>(
    field: &str,
    texts: &[String],
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, ApiError> {
    let check = |text: &String| {
        parse(text.trim()).ok_or_else(|| {
            ApiError::invalid(format_args!(
                "{field}: {text:?} is not an id; profiles have UUIDs, spans 16 and traces 32 hexadecimal digits"
            ))
        })
    };
    texts.iter().map(check).collect()
}

pub(crate) fn profile(text: &str) -> Option<ProfileId> {
    Uuid::try_parse(text).ok().map(|id| ProfileId(id.as_u128()))
}

pub(crate) fn span(text: &str) -> Option<u64> {
    is_hex(text, 16).then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

fn trace(text: &str) -> Option<u128> {
    is_hex(text, 32).then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether the client takes label names outside `[a-zA-Z_][a-zA-Z0-9_]*`, which it says in `Accept`.
pub(crate) fn takes_any_label_name(headers: &HeaderMap) -> Result<bool, ApiError> {
    let mut takes = false;
    for value in headers.get_all(ACCEPT) {
        let malformed = || {
            ApiError::invalid(format_args!(
                "the Accept header {value:?} is malformed; write it as in */*; allow-utf8-labelnames=true"
            ))
        };
        for range in
            value.to_str().map_err(|_| malformed())?.split(',').filter(|range| !range.trim().is_empty())
        {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let is_media = |c: char| c.is_ascii_alphanumeric() || "!#$&^_.+-*/".contains(c);
            if media.is_empty() || !media.chars().all(is_media) || media.matches('/').count() > 1 {
                return Err(malformed());
            }
            for parameter in parts.filter(|parameter| !parameter.is_empty()) {
                let (name, value) = parameter.split_once('=').ok_or_else(malformed)?;
                let value = value.trim().trim_matches('"');
                takes |= name.trim().eq_ignore_ascii_case("allow-utf8-labelnames") && value == "true";
            }
        }
    }
    Ok(takes)
}

/// Whether every client takes this label name.
pub(crate) fn is_plain_label_name(name: &str) -> bool {
    let head = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    head && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The labels whose names every client takes, each set of them once; none of it is empty.
pub(crate) fn with_plain_names(sets: &[Labels]) -> Vec<Labels> {
    let plain = sets
        .iter()
        .map(|labels| Labels::from_pairs(labels.iter().filter(|(name, _)| is_plain_label_name(name))));
    let unique: BTreeSet<Labels> = plain.filter(|labels| !labels.is_empty()).collect();
    unique.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn node_numbers() {
        let check = |asked, expect: Option<usize>| assert_eq!(max_nodes(asked).ok(), expect, "{asked:?}");
        check(None, Some(8192));
        check(Some(0), Some(8192));
        check(Some(1), Some(1));
        check(Some(1 << 20), Some(1 << 20));
        check(Some((1 << 20) + 1), None);
        check(Some(-1), None);
        check(Some(i64::MIN), None);
    }

    #[test]
    fn points_are_whole_milliseconds() {
        assert_eq!(points(3, 5).ok(), Some(TimeRange::new(3_999_999, 5_999_999)));
        assert!(points(5, 3).is_err());
    }

    #[test]
    fn ids_stand_for_whole_uploads() {
        let rows = rows_of(&[ProfileId(7), ProfileId(8)]);
        assert_eq!(rows.len(), 2 * MAX_ROWS as usize);
        assert!(rows.contains(&ProfileId(7)) && rows.contains(&row_id(ProfileId(8), 9)));
        assert_eq!(rows_of(&vec![ProfileId(7); MOST_ROWS as usize + 1]).len(), MOST_ROWS as usize + 1);
        assert!(rows_of(&[]).is_empty());
    }

    #[test]
    fn accept_headers() {
        let check = |text: &'static str, expect: Option<bool>| {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(text))]);
            assert_eq!(takes_any_label_name(&headers).ok(), expect, "{text}");
        };
        check("*/*", Some(false));
        check("*/*; allow-utf8-labelnames=true", Some(true));
        check("application/json;q=0.5, */*;allow-utf8-labelnames=\"true\"", Some(true));
        check("*/*; allow-utf8-labelnames=false", Some(false));
        check("text/html, *; q=.2", Some(false));
        check(";;", None);
        check("a/b/c", None);
        check("*/*; broken", None);
        assert!(!takes_any_label_name(&HeaderMap::new()).unwrap());
    }

    #[test]
    fn sets_that_differ_in_other_names_are_one() {
        let set = |version: &str, service: &str| {
            Labels::from_pairs([("service.version", version), ("service_name", service)])
        };
        let plain = with_plain_names(&[set("1", "a"), set("2", "a"), set("1", ""), set("1", "b")]);
        assert_eq!(plain, [set("", "a"), set("", "b")]);
    }

    #[test]
    fn ids_are_checked() {
        let query = |spans: &[&str], traces: &[&str], profiles: &[&str]| {
            let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            let (spans, traces, profiles) = (own(spans), own(traces), own(profiles));
            let filters =
                Filters { spans: &spans, traces: &traces, profiles: &profiles, call_site: Vec::new() };
            stack_query("a:b:c:d:e", "{}", (1, 2), filters)
        };
        assert_eq!(query(&["00000000000000ff"], &[], &[]).unwrap().spans, [255]);
        assert!(query(&["ff"], &[], &[]).is_err());
        assert!(query(&["+0000000000000ff"], &[], &[]).is_err());
        assert!(query(&[], &["00000000000000ff"], &[]).is_err());
        assert!(query(&[], &[], &["not-a-uuid"]).is_err());
        assert!(query(&["00000000000000ff"], &["000000000000000000000000000000ff"], &[]).is_err());
    }
}
