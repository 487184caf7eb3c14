//! What a server has stored of a service, asked through the query wire.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use everflame_formats::{Limits, pprof};
use everflame_profile::Profile;
use serde_json::{Value, json};

use crate::Server;

/// The end of every range: the year 2096, in milliseconds.
const END: i64 = 4_000_000_000_000;

/// Stacks of function names, leaf first, and what each weighs.
pub type Stacks = BTreeMap<Vec<String>, i64>;

impl Server {
    /// Posts `body` to `path`; the status and the text of the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<(u16, String)> {
        let mut post = self.http().post(self.url(path)).body(body);
        for (name, value) in headers {
            post = post.header(*name, *value);
        }
        let answer = post.send().await.with_context(|| path.to_owned())?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// Gets `path`; the status and the bytes of the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str, params: &[(&str, &str)]) -> Result<(u16, Vec<u8>)> {
        let answer = self.http().get(self.url(path)).query(params).send().await?;
        Ok((answer.status().as_u16(), answer.bytes().await?.to_vec()))
    }

    /// Gets the JSON at `path`.
    ///
    /// # Errors
    /// When there is no answer, or none in JSON.
    pub async fn get_json(&self, path: &str, params: &[(&str, &str)]) -> Result<(u16, Value)> {
        let (status, body) = self.get(path, params).await?;
        let json = serde_json::from_slice(&body)
            .with_context(|| format!("{path} {params:?}: {status} {}", String::from_utf8_lossy(&body)))?;
        Ok((status, json))
    }

    /// The label sets of the series that `matchers` take, without those that the server adds (`__…`),
    /// as `name=value name=value`.
    ///
    /// # Errors
    /// When the server does not answer them.
    pub async fn label_sets(&self, matchers: &str) -> Result<Vec<String>> {
        let request = json!({"matchers": [matchers], "start": 1, "end": END});
        let post = self.http().post(self.url("/querier.v1.QuerierService/Series")).json(&request);
        // Without it names that are no identifiers stay out.
        let post = post.header("accept", "*/*; allow-utf8-labelnames=true");
        let answer: Value = post.send().await?.error_for_status()?.json().await?;
        let mut sets = Vec::new();
        for set in answer["labelsSet"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let labels = set["labels"].as_array().context("labels")?;
            let pairs =
                labels.iter().filter_map(|pair| Some((pair["name"].as_str()?, pair["value"].as_str()?)));
            let pairs = pairs.filter(|(name, _)| !name.starts_with("__"));
            let set = pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ");
            if !sets.contains(&set) {
                sets.push(set);
            }
        }
        Ok(sets)
    }

    /// The total of each profile type of the series that `matchers` take.
    ///
    /// # Errors
    /// When the server does not answer them.
    pub async fn totals(&self, matchers: &str) -> Result<BTreeMap<String, i64>> {
        let request = json!({"name": "__profile_type__", "matchers": [matchers], "start": 1, "end": END});
        let answer = self.connect("querier.v1.QuerierService/LabelValues", &request).await?;
        let mut totals = BTreeMap::new();
        let types = answer["names"].as_array().map(Vec::as_slice).unwrap_or_default();
        for profile_type in types.iter().filter_map(Value::as_str) {
            let request = json!({
                "profileTypeID": profile_type, "labelSelector": matchers, "start": 1, "end": END, "maxNodes": 1,
            });
            let answer = self.connect("querier.v1.QuerierService/SelectMergeStacktraces", &request).await?;
            let total = answer["flamegraph"]["total"].as_str().unwrap_or("0").parse()?;
            totals.insert(profile_type.to_owned(), total);
        }
        Ok(totals)
    }

    /// The stacks of `profile_type` in the series that `matchers` take, as `/api/v1/pprof` answers them.
    ///
    /// # Errors
    /// When the server does not answer them, or not as a pprof of this one type.
    pub async fn stacks(&self, profile_type: &str, matchers: &str) -> Result<Stacks> {
        let query = format!("{profile_type}{matchers}");
        let params = [("query", query.as_str()), ("from", "1"), ("until", "4000000000")];
        let (status, body) = self.get("/api/v1/pprof", &params).await?;
        ensure!(status == 200, "{query}: {status} {}", String::from_utf8_lossy(&body));
        let profile = pprof::read(&body, &Limits::default())?.profile;
        ensure!(profile.sample_types.len() == 1, "{query}: {:?}", profile.sample_types);
        Ok(stacks_of(&profile, 0))
    }
}

/// The stacks of `profile` that weigh something in its sample type number `sample_type`.
#[must_use]
pub fn stacks_of(profile: &Profile, sample_type: usize) -> Stacks {
    let mut stacks = Stacks::new();
    for sample in 0..profile.samples.len() {
        let value = profile.values(sample).get(sample_type).copied().unwrap_or_default();
        if value != 0 {
            let names = profile.frames(sample).map(|frame| profile.symbols.name(frame).into_owned());
            *stacks.entry(names.collect()).or_default() += value;
        }
    }
    stacks
}

/// The ids of the types of `profile` under the profile name `name`.
#[must_use]
pub fn type_ids(name: &str, profile: &Profile) -> Vec<String> {
    let period = &profile.period_type;
    let types = profile.sample_types.iter();
    types
        .map(|found| format!("{name}:{}:{}:{}:{}", found.kind, found.unit, period.kind, period.unit))
        .collect()
}
