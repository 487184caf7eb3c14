//! Compares the pprof reader with a folder of profiles whose content is known.
//!
//! Runs only where `EVERFLAME_TRUTH` names a folder with a `truth.json`: an object from the path of a
//! profile to what an independent reader found in it. Each profile is also written and read again.
#![allow(clippy::print_stderr, reason = "tells what was compared")]

use everflame_formats::{Limits, pprof};
use everflame_profile::Profile;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[test]
fn profiles_hold_what_is_known_of_them() {
    let Ok(folder) = std::env::var("EVERFLAME_TRUTH") else {
        eprintln!("skipped: EVERFLAME_TRUTH names no folder");
        return;
    };
    let text = std::fs::read_to_string(Path::new(&folder).join("truth.json")).unwrap();
    let truth: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    let mut wrong = Vec::new();
    for (path, expected) in &truth {
        let bytes = std::fs::read(Path::new(&folder).join(path)).unwrap();
        let found = pprof::read(&bytes, &Limits::default());
        let accepted = expected["accepted"] == true;
        let expected = if accepted { expected } else { &expected["lenient"] };
        let mut faults = Vec::new();
        match found {
            Err(error) if accepted => faults.push(error.to_string()),
            Err(_) => {}
            Ok(_) if expected.is_null() => faults.push("must be refused".to_owned()),
            Ok(decoded) => {
                let profile = decoded.profile;
                let again = pprof::read(&pprof::write(&profile), &Limits::default()).unwrap().profile;
                for (which, profile) in [("read", &profile), ("written and read", &again)] {
                    for (field, found) in describe(profile) {
                        if found != expected[field] {
                            faults.push(format!("{which}: {field} is {found}, not {}", expected[field]));
                        }
                    }
                }
            }
        }
        eprintln!("{} {path}", if faults.is_empty() { "ok   " } else { "WRONG" });
        wrong.extend(faults.into_iter().map(|fault| format!("{path}: {fault}")));
    }
    eprintln!("{} profiles compared", truth.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is known of a profile, by the names of the fields in `truth.json`.
fn describe(profile: &Profile) -> Vec<(&'static str, Value)> {
    let types = profile.sample_types.len();
    let (mut selfs, mut totals) = (vec![BTreeMap::new(); types], vec![BTreeMap::new(); types]);
    let (mut by_name, mut by_line) = (BTreeSet::new(), BTreeSet::new());
    let (mut label_sets, mut label_keys) = (BTreeSet::new(), BTreeSet::new());
    let (mut zero, mut negative, mut bare, mut deepest) = (0, 0, 0, 0);
    for sample in 0..profile.samples.len() {
        let values = profile.values(sample);
        let names: Vec<String> =
            profile.frames(sample).map(|frame| profile.symbols.name(frame).into_owned()).collect();
        let lines: Vec<i64> = profile.frames(sample).map(|frame| frame.line).collect();
        for (at, &value) in values.iter().enumerate() {
            if let Some(leaf) = names.first() {
                *selfs[at].entry(leaf.clone()).or_insert(0) += value;
            }
            for name in names.iter().collect::<BTreeSet<_>>() {
                *totals[at].entry(name.clone()).or_insert(0) += value;
            }
        }
        zero += usize::from(values.iter().all(|&value| value == 0));
        negative += usize::from(values.iter().any(|&value| value < 0));
        bare +=
            usize::from(profile.frames(sample).any(|frame| frame.function == 0 && frame.system_name == 0));
        deepest = deepest.max(names.len());
        by_line.insert((names.clone(), lines));
        by_name.insert(names);
        let text = |index| profile.symbols.strings.get(index).to_owned();
        let labels: BTreeSet<_> =
            profile.samples.labels(sample).iter().map(|label| (text(label.key), text(label.value))).collect();
        label_keys.extend(labels.iter().map(|(key, _)| key.clone()));
        label_sets.insert(labels);
    }
    let sample_types: Vec<Value> = profile
        .sample_types
        .iter()
        .enumerate()
        .map(|(at, value_type)| {
            json!({
                "type": value_type.kind,
                "unit": value_type.unit,
                "total": profile.totals()[at],
                "top_self": top(&selfs[at]),
                "top_total": top(&totals[at]),
            })
        })
        .collect();
    let default = profile.default_sample_type.map_or("", |at| profile.sample_types[at].kind.as_str());
    vec![
        ("sample_types", json!(sample_types)),
        ("default_sample_type", json!(default)),
        ("samples", json!(profile.samples.len())),
        ("samples_all_zero", json!(zero)),
        ("samples_negative", json!(negative)),
        ("samples_with_unsymbolized_frame", json!(bare)),
        ("stacks_by_name", json!(by_name.len())),
        ("stacks_by_name_and_line", json!(by_line.len())),
        ("max_depth_frames", json!(deepest)),
        ("label_keys", json!(label_keys)),
        ("label_sets", json!(label_sets.len())),
        ("time_nanos", json!(profile.time)),
        ("duration_nanos", json!(profile.duration)),
        ("period", json!(profile.period)),
        ("period_type", json!({ "type": profile.period_type.kind, "unit": profile.period_type.unit })),
    ]
}

fn top(values: &BTreeMap<String, i64>) -> Value {
    let mut rows: Vec<_> = values.iter().filter(|&(_, &value)| value != 0).collect();
    rows.sort_by(|a, b| b.1.cmp(a.1).then(a.0.as_bytes().cmp(b.0.as_bytes())));
    rows.iter().take(10).map(|(name, value)| json!({ "name": name, "value": value })).collect()
}
