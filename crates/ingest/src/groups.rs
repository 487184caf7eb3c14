//! Splits the samples of a profile by label set, and takes span and trace ids out of their labels.
//!
//! Hot: a sample without labels costs nothing, one with labels a hash of their indices; texts are looked
//! at once a label set. Samples that differ in span or trace alone are in one group.

use crate::dropped::Reason;
use crate::labels::is_private;
use crate::limits::Limits;
use everflame_profile::{Labels, Profile, SampleLabel, StringIndex};
use hashbrown::{HashMap, HashSet};

/// The samples of a profile by label set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Groups {
    /// The complete label sets, the series' own labels included; each once.
    pub(crate) sets: Vec<Labels>,
    /// For each sample its position in `sets`.
    pub(crate) of_sample: Vec<u32>,
    /// For each sample span and trace, 0 when unknown. Empty when no sample has one.
    pub(crate) spans: Vec<(u64, u128)>,
    /// Names of labels that were dropped because of a bound, and of which.
    pub(crate) dropped: Vec<(Reason, String)>,
}

/// What a label of a sample is for.
#[derive(Clone, Copy)]
enum Role {
    Keep,
    Drop,
    Span,
    Trace,
}

/// Sample label with the id of the span during which it was taken, 16 hexadecimal digits.
const SPAN_ID: &str = "span_id";
/// What older agents call [`SPAN_ID`].
const PROFILE_ID: &str = "profile_id";
/// Sample label with the id of the trace, 32 hexadecimal digits.
const TRACE_ID: &str = "trace_id";

/// After so many labels were dropped one by one, all are: each round looks at every label set.
const MAX_ROUNDS: usize = 16;

/// Groups the samples of `profile`, which belongs to a series with the labels `own`.
pub(crate) fn group(profile: &Profile, own: &Labels, limits: &Limits) -> Groups {
    let samples = profile.samples.len();
    if profile.samples.labels.is_empty() {
        return Groups { sets: vec![own.clone()], of_sample: vec![0; samples], ..Groups::default() };
    }
    let strings = &profile.symbols.strings;
    let mut too_long: HashSet<StringIndex> = HashSet::new();
    let mut roles: HashMap<StringIndex, Role> = HashMap::new();
    // String tables may hold a text twice: the first index of each stands for all.
    let mut canonical: HashMap<&str, StringIndex> = HashMap::new();
    let mut indices: HashMap<Box<[SampleLabel]>, u32> = HashMap::new();
    let mut sets: Vec<Box<[SampleLabel]>> = Vec::new();
    let mut of_sample = Vec::with_capacity(samples);
    let mut spans: Vec<(u64, u128)> = Vec::new();
    let mut kept: Vec<SampleLabel> = Vec::new();
    for sample in 0..samples {
        kept.clear();
        let (mut span, mut trace) = (0, 0);
        for &label in profile.samples.labels(sample) {
            let (key, value) = (strings.get(label.key), strings.get(label.value));
            let label = SampleLabel {
                key: *canonical.entry(key).or_insert(label.key),
                value: *canonical.entry(value).or_insert(label.value),
            };
            let role = *roles.entry(label.key).or_insert_with(|| role(key, own, limits));
            match role {
                Role::Drop => {
                    if key.len() > limits.label_name_bytes {
                        too_long.insert(label.key);
                    }
                }
                Role::Span if span_id(value) != 0 => span = span_id(value),
                Role::Trace if trace_id(value) != 0 => trace = trace_id(value),
                _ if value.is_empty() => {}
                _ if value.len() > limits.label_value_bytes => drop(too_long.insert(label.key)),
                Role::Keep | Role::Span | Role::Trace => kept.push(label),
            }
        }
        if (span, trace) != (0, 0) || !spans.is_empty() {
            spans.resize(sample, (0, 0));
            spans.push((span, trace));
        }
        kept.sort_unstable();
        // Of equal keys the first value stays, so that the order of labels does not matter.
        kept.dedup_by_key(|label| label.key);
        let index = match indices.get(kept.as_slice()) {
            Some(&index) => index,
            None => {
                let (set, next): (Box<[SampleLabel]>, _) = (kept.as_slice().into(), sets.len() as u32);
                sets.push(set.clone());
                indices.insert(set, next);
                next
            }
        };
        of_sample.push(index);
    }
    let many = bound(&mut sets, limits.label_sets_per_upload);
    let name = |reason| move |&key: &StringIndex| (reason, strings.get(key).to_owned());
    let dropped = too_long
        .iter()
        .map(name(Reason::LabelTooLong))
        .chain(many.difference(&too_long).map(name(Reason::LabelSetsPerUpload)))
        .collect();
    let sets = sets.iter().map(|set| {
        let mut labels = own.clone();
        for label in set {
            let key = strings.get(label.key);
            if !labels.contains(key) {
                labels.set(key, strings.get(label.value));
            }
        }
        labels
    });
    let mut groups = Groups { sets: Vec::new(), of_sample, spans, dropped };
    groups.replace_sets(sets.collect());
    groups
}

impl Groups {
    /// Gives every group the label set at its position in `sets`; groups that are equal become one.
    pub(crate) fn replace_sets(&mut self, sets: Vec<Labels>) {
        let mut indices: HashMap<Labels, u32> = HashMap::with_capacity(sets.len());
        self.sets = Vec::with_capacity(sets.len());
        let mut targets = Vec::with_capacity(sets.len());
        for labels in sets {
            let next = self.sets.len() as u32;
            let index = *indices.entry(labels).or_insert_with_key(|labels| {
                self.sets.push(labels.clone());
                next
            });
            targets.push(index);
        }
        for index in &mut self.of_sample {
            *index = targets.get(*index as usize).copied().unwrap_or_default();
        }
    }
}

/// Leaves at most `max` distinct sets by removing, again and again, the key with the most values. Sets stay
/// in their places, also when they become equal. Returns the removed keys.
fn bound(sets: &mut [Box<[SampleLabel]>], max: usize) -> HashSet<StringIndex> {
    let mut removed = HashSet::new();
    loop {
        let distinct: HashSet<&[SampleLabel]> = sets.iter().map(|set| &set[..]).collect();
        if distinct.len() <= max.max(1) {
            return removed;
        }
        let values: HashSet<SampleLabel> = distinct.iter().copied().flatten().copied().collect();
        let mut counts: HashMap<StringIndex, usize> = HashMap::new();
        values.iter().for_each(|label| *counts.entry(label.key).or_default() += 1);
        let all = removed.len() >= MAX_ROUNDS;
        let most = counts.iter().max_by_key(|(key, count)| (**count, **key)).map(|(key, _)| *key);
        let Some(most) = most else { return removed };
        drop(distinct);
        if all {
            removed.extend(counts.into_keys());
        } else {
            removed.insert(most);
        }
        for set in sets.iter_mut().filter(|set| set.iter().any(|label| all || label.key == most)) {
            *set = set.iter().filter(|label| !removed.contains(&label.key)).copied().collect();
        }
    }
}

fn role(key: &str, own: &Labels, limits: &Limits) -> Role {
    match key {
        SPAN_ID | PROFILE_ID => Role::Span,
        TRACE_ID => Role::Trace,
        _ if key.is_empty() || is_private(key) || own.contains(key) => Role::Drop,
        _ if key.len() > limits.label_name_bytes => Role::Drop,
        _ => Role::Keep,
    }
}

/// The number of a span id, 0 when `text` is none.
fn span_id(text: &str) -> u64 {
    let is_id = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { u64::from_str_radix(text, 16).unwrap_or_default() } else { 0 }
}

/// The number of a trace id, 0 when `text` is none.
fn trace_id(text: &str) -> u128 {
    let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { u128::from_str_radix(text, 16).unwrap_or_default() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One sample a line, `key=value` pairs apart by spaces.
    fn profile(samples: &str) -> Profile {
        let mut profile = Profile::default();
        for line in samples.lines() {
            let labels: Vec<SampleLabel> = line
                .split_whitespace()
                .map(|pair| {
                    // Pushed again and again: equal texts have many indices, as in real files.
                    let (key, value) = pair.split_once('=').unwrap();
                    let mut push = |text| profile.symbols_mut().strings.push(text);
                    SampleLabel { key: push(key), value: push(value) }
                })
                .collect();
            profile.samples.push(&[], &[], &labels);
        }
        profile
    }

    #[track_caller]
    fn check(samples: &str, limits: &Limits, expect: &[&str]) -> Groups {
        let own = Labels::from_pairs([("service_name", "s"), ("pod", "own")]);
        let groups = group(&profile(samples), &own, limits);
        let short = |labels: &Labels| {
            let pairs = labels.iter().filter(|(name, _)| !own.contains(name));
            pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        assert!(groups.sets.iter().all(|labels| labels.get("pod") == "own"));
        let actual: Vec<_> = groups.of_sample.iter().map(|&set| short(&groups.sets[set as usize])).collect();
        assert_eq!(actual, expect);
        groups
    }

    #[test]
    fn equal_texts_are_one_set() {
        let groups = check("a=1 b=2\nb=2 a=1\n\na=1", &Limits::default(), &["a=1 b=2", "a=1 b=2", "", "a=1"]);
        assert_eq!(groups.sets.len(), 3);
    }

    #[test]
    fn own_labels_win_and_private_ones_go() {
        check("pod=x a=1\n__x=1 service_name=y", &Limits::default(), &["a=1", ""]);
    }

    #[test]
    fn spans_are_kept_per_sample() {
        let groups = check(
            "span_id=00000000000000ff\n\nprofile_id=0123456789abcdef trace_id=000102030405060708090a0b0c0d0e0f\n\
             profile_id=not-one",
            &Limits::default(),
            &["", "", "", "profile_id=not-one"],
        );
        let trace = 0x000102030405060708090a0b0c0d0e0f;
        assert_eq!(groups.spans, [(255, 0), (0, 0), (0x0123456789abcdef, trace), (0, 0)]);
    }

    #[test]
    fn the_label_with_the_most_values_is_dropped() {
        let limits = Limits { label_sets_per_upload: 2, ..Limits::default() };
        let groups = check("a=1 id=1\na=1 id=2\na=2 id=3", &limits, &["a=1", "a=1", "a=2"]);
        assert_eq!(groups.dropped, [(Reason::LabelSetsPerUpload, "id".to_owned())]);
        assert_eq!(groups.sets.len(), 2);
    }

    #[test]
    fn many_keys_do_not_cost_a_round_each() {
        let limits = Limits { label_sets_per_upload: 2, ..Limits::default() };
        let samples: Vec<_> = (0..2_000).map(|at| format!("k{at}=1")).collect();
        let groups = group(&profile(&samples.join("\n")), &Labels::default(), &limits);
        assert_eq!((groups.dropped.len(), groups.sets.len()), (2_000, 1));
    }

    #[test]
    fn long_labels_are_dropped() {
        let limits = Limits { label_name_bytes: 4, label_value_bytes: 4, ..Limits::default() };
        assert_eq!(check("abcde=1 b=12345 c=1", &limits, &["c=1"]).dropped.len(), 2);
    }
}
