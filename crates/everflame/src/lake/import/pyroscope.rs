//! From a running server with Pyroscope's query API: the profiles of each series in each window, merged.
//!
//! `querier.v1.QuerierService` over Connect: `Series` and `SelectSeries` in JSON, `SelectMergeProfile` in
//! protobuf, whose answer is a pprof.

use super::{Target, client, retime, tell, windows};
use crate::client::Client;
use crate::lake::times;
use anyhow::{Context, bail};
use everflame_profile::{Nanos, PROFILE_NAME, ProfileType, SERVICE_NAME};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

const SECOND: Nanos = 1_000_000_000;
const MILLISECOND: Nanos = 1_000_000;
const DAY: Nanos = 86_400 * SECOND;

/// Labels and profile type.
type Series = (BTreeMap<String, String>, ProfileType);

/// Stores what the server at `url` has.
pub(super) async fn run(
    mut into: Target,
    url: &str,
    range: Range<Nanos>,
    step: u32,
    selector: &str,
) -> anyhow::Result<String> {
    if step == 0 || 86_400 % step != 0 {
        bail!("--step: a day of 86400 seconds has no whole number of {step} seconds; write 60, 300 or 3600");
    }
    let step = Nanos::from(step) * SECOND;
    // Whole windows: they, and so the ids of what is stored, are the same whenever this is started. The one
    // that has begun is left to the next time.
    let range = range.start - range.start.rem_euclid(step)..range.end - range.end.rem_euclid(step);
    if range.is_empty() {
        bail!("--from and --until: no whole window of {} seconds lies between them", step / SECOND);
    }
    let client = client("--from-pyroscope", url)?;
    let url = url.trim_end_matches('/');
    let mut progress =
        into.progress(&format!("pyroscope {url} {selector} {step} {} {:?}", range.start, into.labels))?;
    let series = series(&client, &range, selector).await?;
    let names: BTreeSet<&String> = series.iter().flat_map(|(labels, _)| labels.keys()).collect();
    for (at, one) in series.iter().enumerate() {
        let (labels, profile_type) = one;
        let selector = exactly(labels, &names);
        let key = format!("{profile_type}{selector}");
        let start = progress.done(&key).unwrap_or(range.start).max(range.start);
        tell(&format!("{} of {} series: {key}", at + 1, series.len()));
        for day in windows(start..range.end, DAY) {
            if has_any(&client, profile_type, &selector, &day).await? {
                for window in windows(day.clone(), step) {
                    fetch(&mut into, &client, url, one, &selector, &window)
                        .await
                        .with_context(|| format!("{key} at {}", times::profefe(window.start)))?;
                }
            }
            progress.note(&key, day.end)?;
        }
    }
    Ok(into.report())
}

/// All series, without the labels that the server adds or that begin with two underscores.
async fn series(client: &Client, range: &Range<Nanos>, selector: &str) -> anyhow::Result<BTreeSet<Series>> {
    let mut series = BTreeSet::new();
    // Servers refuse longer ranges than a day by default.
    for day in windows(range.clone(), DAY) {
        let request = json!({
            "matchers": [selector],
            "start": (day.start / MILLISECOND).max(1),
            "end": day.end / MILLISECOND,
        });
        let answer = call(client, "Series", &request).await?;
        for set in answer.get("labelsSet").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default() {
            series.insert(one_series(set)?);
        }
    }
    Ok(series)
}

fn one_series(set: &Value) -> anyhow::Result<Series> {
    let pairs = set.get("labels").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |pair: &Value, key: &str| pair.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut labels: BTreeMap<String, String> =
        pairs.iter().map(|pair| (text(pair, "name"), text(pair, "value"))).collect();
    let profile_type = labels.get("__profile_type__").cloned().unwrap_or_default();
    let profile_type = profile_type.parse().with_context(|| format!("a series has the labels {set}"))?;
    labels.retain(|name, _| !name.starts_with("__"));
    Ok((labels, profile_type))
}

/// A selector that takes the series with these labels, and none that has others of `names`.
fn exactly(labels: &BTreeMap<String, String>, names: &BTreeSet<&String>) -> String {
    let matchers = names.iter().map(|&name| {
        let value = labels.get(name).map_or("", String::as_str);
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let is_plain = is_plain && !name.starts_with(|first: char| first.is_ascii_digit());
        let name = if is_plain { (*name).clone() } else { quoted(name) };
        format!("{name}={}", quoted(value))
    });
    format!("{{{}}}", matchers.collect::<Vec<_>>().join(","))
}

/// A text in PromQL's quotes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out += "\\n",
            c => out.push(c),
        }
    }
    out + "\""
}

/// Whether the series has a profile on the day.
async fn has_any(
    client: &Client,
    profile_type: &ProfileType,
    selector: &str,
    day: &Range<Nanos>,
) -> anyhow::Result<bool> {
    let request = json!({
        "profileTypeID": profile_type.to_string(),
        "labelSelector": selector,
        "start": (day.start / MILLISECOND).max(1),
        "end": day.end / MILLISECOND,
        "step": 3600.0,
    });
    let answer = call(client, "SelectSeries", &request).await?;
    let series = answer.get("series").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(series
        .iter()
        .any(|one| one.get("points").and_then(Value::as_array).is_some_and(|points| !points.is_empty())))
}

async fn call(client: &Client, method: &str, request: &Value) -> anyhow::Result<Value> {
    let post = client.post(&format!("/querier.v1.QuerierService/{method}")).json(request);
    // Without it a server leaves out labels whose names are no identifiers.
    let post = post.header("accept", "*/*; allow-utf8-labelnames=true");
    Ok(client.send(post).await?.json().await?)
}

/// Stores the profiles of one series in one window as one.
async fn fetch(
    into: &mut Target,
    client: &Client,
    url: &str,
    (labels, profile_type): &Series,
    selector: &str,
    window: &Range<Nanos>,
) -> anyhow::Result<()> {
    let (start, end) = ((window.start / MILLISECOND).max(1), window.end / MILLISECOND - 1);
    let post = client.post("/querier.v1.QuerierService/SelectMergeProfile");
    let post = post.header("content-type", "application/proto");
    let post = post.body(merge_request(&profile_type.to_string(), selector, start, end));
    let answer = match client.send(post).await {
        Ok(response) => response.bytes().await?,
        // What a server says when there is nothing.
        Err(error) if error.to_string().contains("says 404") => return Ok(()),
        Err(error) => return Err(error),
    };
    if answer.is_empty() {
        return Ok(());
    }
    let pprof = retime(&answer, |profile| {
        (profile.time, profile.duration) = (window.start, window.end - window.start);
        profile.period_type = profile_type.period.clone();
        if let [sample_type] = &mut profile.sample_types[..] {
            *sample_type = profile_type.sample.clone();
        }
    })?;
    let Some(pprof) = pprof else { return Ok(()) };
    let mut pairs: Vec<_> = labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    pairs.push((PROFILE_NAME.to_owned(), profile_type.name.clone()));
    if !labels.contains_key(SERVICE_NAME) {
        pairs.push((SERVICE_NAME.to_owned(), "unknown_service".to_owned()));
    }
    let origin = format!("pyroscope {url} {profile_type}{selector} {}", window.start);
    into.store(&origin, pairs, pprof).await
}

/// `SelectMergeProfileRequest`: 1 profile_typeID, 2 label_selector, 3 start, 4 end in milliseconds.
fn merge_request(profile_type: &str, selector: &str, start: i64, end: i64) -> Vec<u8> {
    let mut out = Vec::new();
    for (field, text) in [(1, profile_type), (2, selector)] {
        out.push(field << 3 | 2);
        varint(text.len() as u64, &mut out);
        out.extend_from_slice(text.as_bytes());
    }
    for (field, number) in [(3, start), (4, end)] {
        out.push(field << 3);
        varint(number.cast_unsigned(), &mut out);
    }
    out
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_exact() {
        let labels =
            BTreeMap::from([("a".to_owned(), "x\"\\y".to_owned()), ("b.c".to_owned(), "1".to_owned())]);
        let names = ["a".to_owned(), "b.c".to_owned(), "d".to_owned()];
        let selector = exactly(&labels, &names.iter().collect());
        assert_eq!(selector, r#"{a="x\"\\y","b.c"="1",d=""}"#);
        assert!(selector.parse::<everflame_query::Selector>().is_ok());
    }

    #[test]
    fn requests() {
        assert_eq!(merge_request("t", "{}", 1, 300), [10, 1, b't', 18, 2, b'{', b'}', 24, 1, 32, 172, 2]);
    }
}
