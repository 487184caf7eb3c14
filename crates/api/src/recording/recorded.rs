//! What recording rules make of profiles: for every rule the sum of a whole minute, as text of `/metrics` and as
//! samples.
//!
//! A minute is added up when it has been over for a while, so that senders who are a little late count. The
//! text is kept until the next minute: however often somebody scrapes, each is added up once.

use super::rule::{Rule, Selection};
use crate::app::{App, blocking};
use crate::error::ApiError;
use everflame_forward::MetricSample;
use everflame_profile::{Labels, Nanos, TopTable};
use everflame_query::{Matcher, SeriesQuery, StackQuery, TimeRange};
use std::collections::BTreeMap;
use std::fmt::Write;

pub(super) const MINUTE: Nanos = 60 * 1_000_000_000;
/// For how long a minute has been over when it is added up.
const GRACE: Nanos = 15 * 1_000_000_000;
/// Most series that one rule makes, those with the largest sums.
const MOST_SERIES: usize = 1_000;
/// The same of a rule about a function, which asks for the stacks of each.
const MOST_FUNCTION_SERIES: usize = 100;
/// Labels that a rule's own cannot replace.
const RULE_ID: &str = "profiles_rule_id";

/// The end of the minute that is added up at `now`.
pub(super) fn minute(now: Nanos) -> Nanos {
    let over = now.saturating_sub(GRACE);
    over - over.rem_euclid(MINUTE)
}

/// The metrics of `rules` for the minute that ends at `end`. A rule that cannot be answered is left out.
pub(super) async fn text(app: &App, rules: &[Rule], end: Nanos) -> String {
    let mut families: BTreeMap<&str, String> = BTreeMap::new();
    for rule in rules {
        match series(app, rule, end).await {
            Ok(series) => {
                let family = families
                    .entry(&rule.metric_name)
                    .or_insert_with(|| format!("# TYPE {} gauge\n", rule.metric_name));
                for (labels, value) in series {
                    write_line(family, rule, &labels, value);
                }
            }
            Err(error) => tracing::warn!(rule = %rule.id, %error, "a recording rule was not added up"),
        }
    }
    families.into_values().collect()
}

/// The metrics of `rules` for the minute that ends at `end`, with that time. A rule that cannot be answered is left
/// out.
pub(super) async fn samples(app: &App, rules: &[Rule], end: Nanos) -> Vec<MetricSample> {
    let mut samples = Vec::new();
    for rule in rules {
        match series(app, rule, end).await {
            Ok(series) => {
                samples.extend(series.iter().map(|(labels, value)| sample(rule, labels, *value, end)))
            }
            Err(error) => tracing::warn!(rule = %rule.id, %error, "a recording rule was not added up"),
        }
    }
    samples
}

fn sample(rule: &Rule, labels: &Labels, value: f64, time: Nanos) -> MetricSample {
    let mut all = all_labels(rule, labels);
    all.insert("__name__", &rule.metric_name);
    // A label without a value is one that is not there.
    let labels = all.into_iter().filter(|(_, value)| !value.is_empty());
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    MetricSample { labels, value, time }
}

/// The sums of `rule` by the labels that it groups by.
async fn series(app: &App, rule: &Rule, end: Nanos) -> Result<Vec<(Labels, f64)>, ApiError> {
    let Selection { profile_type, selector } = rule.selection()?;
    let mut query =
        SeriesQuery::new(profile_type.clone(), selector.clone(), TimeRange::new(end, end), MINUTE);
    query.group_by.clone_from(&rule.group_by);
    query.limit = Some(if rule.function.is_some() { MOST_FUNCTION_SERIES } else { MOST_SERIES });
    let found = app.time_series(&query).await?.series;
    let sums = found.into_iter().map(|series| {
        let sum = series.points.iter().map(|point| point.value).sum();
        (series.labels, sum)
    });
    let Some(function) = &rule.function else { return Ok(sums.collect()) };
    let mut of_function = Vec::new();
    for (labels, _) in sums {
        let mut selector = selector.clone();
        for name in &rule.group_by {
            // A label that is not there equals nothing.
            selector = selector.with(Matcher::equal(name, labels.get(name)));
        }
        let range = TimeRange::new(end - MINUTE + 1, end);
        let merged = app.stacks(&StackQuery::new(profile_type.clone(), selector, range)).await?;
        let function = function.clone();
        let value = blocking(move || {
            let table = TopTable::new(&merged.tree());
            table.rows.into_iter().find(|row| row.name == function).map(|row| row.total)
        });
        of_function.extend(value.await?.map(|value| (labels, value as f64)));
    }
    Ok(of_function)
}

/// The labels of a metric of `rule`: its own, those of the series, and its id.
fn all_labels<'a>(rule: &'a Rule, labels: &'a Labels) -> BTreeMap<&'a str, &'a str> {
    let mut all: BTreeMap<&str, &str> = BTreeMap::new();
    let own = rule.external_labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    all.extend(own.filter(|(name, _)| *name != "__name__"));
    all.extend(labels.iter());
    all.insert(RULE_ID, &rule.id);
    all
}

fn write_line(out: &mut String, rule: &Rule, labels: &Labels, value: f64) {
    let all = all_labels(rule, labels);
    out.push_str(&rule.metric_name);
    for (at, (name, value)) in all.iter().enumerate() {
        let _ = write!(out, "{}{name}=\"", if at == 0 { '{' } else { ',' });
        for c in value.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                c => out.push(c),
            }
        }
        out.push('"');
    }
    let _ = writeln!(out, "}} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_end_a_while_ago() {
        let second = 1_000_000_000;
        assert_eq!(minute(74 * second), 0);
        assert_eq!(minute(75 * second), 60 * second);
        assert_eq!(minute(134 * second), 60 * second);
    }

    #[test]
    fn lines_are_escaped() {
        let rule = Rule {
            id: "x".to_owned(),
            metric_name: "profiles_recorded_a".to_owned(),
            matchers: Vec::new(),
            group_by: Vec::new(),
            external_labels: vec![
                ("z".to_owned(), "a\"b\\c\nd".to_owned()),
                (RULE_ID.to_owned(), "y".to_owned()),
            ],
            generation: 1,
            function: None,
        };
        let mut out = String::new();
        write_line(&mut out, &rule, &Labels::from_pairs([("pod", "p")]), 1.5);
        assert_eq!(out, "profiles_recorded_a{pod=\"p\",profiles_rule_id=\"x\",z=\"a\\\"b\\\\c\\nd\"} 1.5\n");
        let sample = sample(&rule, &Labels::from_pairs([("pod", "p"), ("none", "")]), 1.5, 7);
        let labels: Vec<_> =
            sample.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expect = [("__name__", "profiles_recorded_a"), ("pod", "p"), (RULE_ID, "x"), ("z", "a\"b\\c\nd")];
        assert_eq!((labels.as_slice(), sample.value, sample.time), (&expect[..], 1.5, 7));
    }
}
