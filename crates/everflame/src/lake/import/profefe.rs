//! From a running profefe: each profile by its id.

use super::{Target, client, retime, tell, windows};
use crate::client::Client;
use crate::lake::times;
use anyhow::Context;
use everflame_ingest::profefe_profile_name;
use everflame_profile::{Nanos, PROFILE_NAME, SERVICE_NAME};
use serde_json::Value;
use std::ops::Range;

const SECOND: Nanos = 1_000_000_000;

/// Nanoseconds for which profiles are listed at once.
const SPAN: Nanos = 3_600_000_000_000;

/// A list of so many may be cut.
const LIMIT: usize = 10_000;

/// Stores what the profefe at `url` has.
pub(super) async fn run(mut into: Target, url: &str, range: Range<Nanos>) -> anyhow::Result<String> {
    let client = client("--from-profefe", url)?;
    let url = url.trim_end_matches('/');
    let mut progress = into.progress(&format!("profefe {url} {} {:?}", range.start, into.labels))?;
    let services = get(&client, "/api/0/services", &[]).await?;
    let services: Vec<&str> = services.iter().filter_map(Value::as_str).collect();
    let mut skipped = 0;
    for (at, service) in services.iter().enumerate() {
        tell(&format!("{} of {} services: {service}", at + 1, services.len()));
        let start = progress.done(service).unwrap_or(range.start).max(range.start);
        for span in windows(start..range.end, SPAN) {
            for entry in list(&client, service, span.clone()).await? {
                let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
                let stored = store(&mut into, &client, url, service, &entry).await;
                skipped +=
                    u64::from(!stored.with_context(|| format!("profile {} of {service}", text("id")))?);
            }
            // What is just coming in is asked for again the next time.
            progress.note(service, if span.end < range.end { span.end } else { span.start })?;
        }
    }
    let skipped =
        if skipped > 0 { format!("{skipped} execution traces were left out\n") } else { String::new() };
    Ok(into.report() + &skipped)
}

/// The body of an answer; nothing when the server has found nothing, which it says with 404.
async fn get(client: &Client, path: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Vec<Value>> {
    let answer = match client.send(client.get(path).query(parameters)).await {
        Ok(response) if response.status() == reqwest::StatusCode::NO_CONTENT => return Ok(Vec::new()),
        Ok(response) => response.json::<Value>().await?,
        Err(error) if error.to_string().contains("nothing found") => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(answer.get("body").and_then(Value::as_array).cloned().unwrap_or_default())
}

/// The profiles of `service` in `span`, in shorter spans when there are many.
async fn list(client: &Client, service: &str, span: Range<Nanos>) -> anyhow::Result<Vec<Value>> {
    let mut found = Vec::new();
    let mut open = vec![span];
    while let Some(span) = open.pop() {
        let (from, to) = (times::profefe(span.start), times::profefe(span.end + SECOND - 1));
        let limit = LIMIT.to_string();
        let parameters = [("service", service), ("from", &from), ("to", &to), ("limit", &limit)];
        let entries = get(client, "/api/0/profiles", &parameters).await?;
        let half = (span.end - span.start) / 2;
        if entries.len() >= LIMIT && half >= SECOND {
            open.extend([span.start..span.start + half, span.start + half..span.end]);
        } else {
            found.extend(entries);
        }
    }
    Ok(found)
}

/// Stores the profile that `entry` of a list names. False when it is none.
async fn store(
    into: &mut Target,
    client: &Client,
    url: &str,
    service: &str,
    entry: &Value,
) -> anyhow::Result<bool> {
    let text =
        |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (id, kind) = (text(entry, "id"), text(entry, "type"));
    let Some(name) = profefe_profile_name(&kind) else { return Ok(false) };
    let created_at = text(entry, "created_at");
    let time = times::parse(&created_at, 0).map_err(|why| anyhow::anyhow!("created_at: {why}"))?;
    let path = format!("/api/0/profiles/{}", crate::lake::names::encode(&id));
    let pprof = client.send(client.get(&path)).await?.bytes().await?;
    // The list has whole seconds; the profile may know better.
    let retimed = retime(&pprof, |profile| {
        if profile.time.div_euclid(SECOND) != time.div_euclid(SECOND) {
            profile.time = time;
        }
    });
    let Some(pprof) = retimed? else { return Ok(true) };
    let mut labels =
        vec![(SERVICE_NAME.to_owned(), service.to_owned()), (PROFILE_NAME.to_owned(), name.to_owned())];
    let pairs = entry.get("labels").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for pair in pairs {
        let key = text(pair, "key");
        if key != SERVICE_NAME && key != PROFILE_NAME {
            labels.push((key, text(pair, "value")));
        }
    }
    into.store(&format!("profefe {url} {id}"), labels, pprof).await?;
    Ok(true)
}
