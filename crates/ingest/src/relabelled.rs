//! Applies relabelling rules to the label sets of an upload.
//!
//! Rules may treat each type and label set of an upload on its own: drop one, rename it, or move it to another
//! service. What stays is split into passes of one service each, in which every type has one name and every
//! label set is one other; without such rules, and with most of them, there is one pass.

use crate::groups::Groups;
use crate::labels;
use crate::relabel::Relabel;
use everflame_profile::{Labels, ProfileType, SERVICE_NAME, Samples};

/// A part of an upload that becomes one batch.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) service: String,
    /// For each type of the upload what it is called; none when it is not in this pass.
    pub(crate) types: Vec<Option<ProfileType>>,
    /// For each label set of the upload what it became; none when it is not in this pass.
    sets: Vec<Option<Labels>>,
}

/// What the rules made of an upload.
#[derive(Debug, Default)]
pub(crate) struct Relabelled {
    pub(crate) passes: Vec<Pass>,
    /// Types and label sets of what was dropped, and the number of the rule that did it.
    pub(crate) dropped: Vec<(ProfileType, Labels, usize)>,
    /// The share of the upload that was dropped, from 0 to 1, by samples and types.
    pub(crate) dropped_share: f64,
}

/// Applies `rules` to each of `types` and each label set of `groups`.
pub(crate) fn relabel(rules: &Relabel, types: &[ProfileType], groups: &Groups) -> Relabelled {
    let mut samples = vec![0usize; groups.sets.len()];
    for &set in &groups.of_sample {
        if let Some(count) = samples.get_mut(set as usize) {
            *count += 1;
        }
    }
    let (mut all, mut dropped_samples) = (Relabelled::default(), 0);
    for (at, profile_type) in types.iter().enumerate() {
        // What this type becomes, apart by service and new type.
        let mut outcomes: Vec<(ProfileType, String, Vec<Option<Labels>>)> = Vec::new();
        for (set, labels) in groups.sets.iter().enumerate() {
            let (labels_after, type_after) = match rules.apply(labels, profile_type) {
                Ok(after) => after,
                Err(rule) => {
                    dropped_samples += samples.get(set).copied().unwrap_or_default();
                    all.dropped.push((profile_type.clone(), labels.clone(), rule));
                    continue;
                }
            };
            let labels_after = labels::with_service(labels_after);
            let service = labels_after.get(SERVICE_NAME).to_owned();
            let found = outcomes.iter().position(|(name, other, _)| *name == type_after && *other == service);
            let found = found.unwrap_or_else(|| {
                outcomes.push((type_after, service, vec![None; groups.sets.len()]));
                outcomes.len() - 1
            });
            if let Some(slot) = outcomes.get_mut(found).and_then(|(_, _, sets)| sets.get_mut(set)) {
                *slot = Some(labels_after);
            }
        }
        for (type_after, service, sets) in outcomes {
            let like = |pass: &&mut Pass| {
                let free = pass.types.get(at).is_some_and(Option::is_none);
                pass.service == service && free && pass.sets == sets
            };
            if let Some(slot) = all.passes.iter_mut().find(like).and_then(|pass| pass.types.get_mut(at)) {
                *slot = Some(type_after);
                continue;
            }
            let before = std::iter::repeat_n(None, at);
            let after = std::iter::repeat_n(None, types.len() - at - 1);
            let types = before.chain([Some(type_after)]).chain(after).collect();
            all.passes.push(Pass { service, types, sets });
        }
    }
    let cells = types.len() * groups.of_sample.len();
    all.dropped_share = if cells == 0 { 0.0 } else { dropped_samples as f64 / cells as f64 };
    all
}

impl Pass {
    /// The samples of this pass and their groups; `types` is the number of values of a sample. The samples are
    /// none when all of them are in this pass.
    pub(crate) fn take(&self, samples: &Samples, types: usize, groups: &Groups) -> (Option<Samples>, Groups) {
        if self.sets.iter().all(Option::is_some) {
            let mut all = groups.clone();
            all.replace_sets(self.sets.iter().flatten().cloned().collect());
            return (None, all);
        }
        // Positions among the sets that stay.
        let mut positions = Vec::with_capacity(self.sets.len());
        let mut stay = Vec::new();
        for set in &self.sets {
            positions.push(set.as_ref().map(|set| {
                stay.push(set.clone());
                stay.len() as u32 - 1
            }));
        }
        let (mut own, mut kept) = (Groups::default(), Samples::default());
        for (sample, &set) in groups.of_sample.iter().enumerate() {
            let Some(Some(position)) = positions.get(set as usize) else { continue };
            own.of_sample.push(*position);
            own.spans.extend(groups.spans.get(sample));
            let values = samples.values.get(sample * types..(sample + 1) * types).unwrap_or_default();
            kept.push(samples.stack(sample), values, samples.labels(sample));
        }
        own.replace_sets(stay);
        (Some(kept), own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relabel::RelabelRule;

    fn groups() -> Groups {
        let set = |pod: &str, zone: &str| {
            Labels::from_pairs([("service_name", "shop"), ("pod", pod), ("zone", zone)])
        };
        Groups {
            sets: vec![set("a", "1"), set("b", "1"), set("c", "2")],
            of_sample: vec![0, 1, 2, 0],
            spans: vec![(1, 0), (2, 0), (3, 0), (4, 0)],
            dropped: Vec::new(),
        }
    }

    fn samples() -> Samples {
        let mut samples = Samples::default();
        for at in 0..4u32 {
            samples.push(&[at], &[i64::from(at), 10], &[]);
        }
        samples
    }

    /// One line a pass: types, label sets, group and first value of each sample.
    fn check(json: &str, expect: &[&str], share: f64) {
        let rules: Vec<RelabelRule> = serde_json::from_str(json).unwrap();
        let types = ["cpu:samples:count::", "cpu:cpu:ns::"].map(|text| text.parse().unwrap());
        let groups = groups();
        let all = relabel(&Relabel::new(&rules).unwrap(), &types, &groups);
        let line = |pass: &Pass| {
            let (kept, own) = pass.take(&samples(), 2, &groups);
            let kept = kept.unwrap_or_else(samples);
            let types: Vec<_> = pass
                .types
                .iter()
                .map(|kind| {
                    kind.as_ref().map_or("-".to_owned(), |kind| format!("{}:{}", kind.name, kind.sample.kind))
                })
                .collect();
            let sets: Vec<_> = own.sets.iter().map(Labels::to_string).collect();
            let values: Vec<_> = kept.values.chunks(2).map(|values| values[0]).collect();
            assert_eq!(own.spans.iter().map(|span| span.0 as i64 - 1).collect::<Vec<_>>(), values);
            format!(
                "{} {} | {} | {:?} {values:?}",
                pass.service,
                types.join(" "),
                sets.join(" "),
                own.of_sample
            )
        };
        assert_eq!(all.passes.iter().map(line).collect::<Vec<_>>(), expect, "{json}");
        assert_eq!(all.dropped_share, share);
    }

    #[test]
    fn passes() {
        let shop = r#"service_name="shop""#;
        check(
            r#"[{"regex":"pod","action":"labeldrop"}]"#,
            &[&format!(
                r#"shop cpu:samples cpu:cpu | {{{shop}, zone="1"}} {{{shop}, zone="2"}} | [0, 0, 1, 0] [0, 1, 2, 3]"#
            )],
            0.0,
        );
        check(
            r#"[{"source_labels":["zone"],"regex":"1","action":"drop"}]"#,
            &[&format!(r#"shop cpu:samples cpu:cpu | {{pod="c", {shop}, zone="2"}} | [0] [2]"#)],
            0.75,
        );
        check(
            r#"[{"source_labels":["__type__"],"regex":"samples","action":"drop"},{"regex":"pod|zone","action":"labeldrop"}]"#,
            &[&format!(r#"shop - cpu:cpu | {{{shop}}} | [0, 0, 0, 0] [0, 1, 2, 3]"#)],
            0.5,
        );
        check(
            r#"[{"source_labels":["pod"],"regex":"[ab]","target_label":"service_name","replacement":"cart"},
                {"regex":"pod|zone","action":"labeldrop"}]"#,
            &[
                r#"cart cpu:samples cpu:cpu | {service_name="cart"} | [0, 0, 0] [0, 1, 3]"#,
                r#"shop cpu:samples cpu:cpu | {service_name="shop"} | [0] [2]"#,
            ],
            0.0,
        );
        check(
            r#"[{"source_labels":["__type__"],"regex":"cpu","target_label":"__name__","replacement":"x"},
                {"regex":"pod|zone|service_name","action":"labeldrop"}]"#,
            &[
                r#"unknown_service cpu:samples x:cpu | {service_name="unknown_service"} | [0, 0, 0, 0] [0, 1, 2, 3]"#,
            ],
            0.0,
        );
        check(r#"[{"action":"drop"}]"#, &[], 1.0);
    }
}
