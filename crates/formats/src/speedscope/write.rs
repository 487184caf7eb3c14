//! Writes speedscope's JSON: one sampled profile for each sample type, over the same frames.

use super::SCHEMA;
use everflame_profile::{Profile, ValueType};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use serde::Serialize;
use std::borrow::Cow;

#[derive(Serialize)]
struct File<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    exporter: &'static str,
    name: &'a str,
    #[serde(rename = "activeProfileIndex")]
    active: usize,
    shared: Shared<'a>,
    profiles: Vec<Sampled<'a>>,
}

#[derive(Serialize)]
struct Shared<'a> {
    frames: Vec<Frame<'a>>,
}

#[derive(Serialize)]
struct Frame<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    file: &'a str,
    #[serde(skip_serializing_if = "is_unknown")]
    line: i64,
}

fn is_unknown(line: &i64) -> bool {
    *line <= 0
}

#[derive(Serialize)]
struct Sampled<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    unit: &'a str,
    #[serde(rename = "startValue")]
    start: i64,
    #[serde(rename = "endValue")]
    end: i64,
    samples: Vec<Vec<u32>>,
    weights: Vec<i64>,
}

/// Writes all sample types of `profile`, the default one active. `name` is the title.
///
/// speedscope refuses files with negative weights. Stacks that weigh less than nothing altogether, as those of
/// a difference may, are left out, so that what is written weighs more than the profile.
pub fn write(profile: &Profile, name: &str) -> String {
    let symbols = &profile.symbols;
    let frames = symbols.frames.iter().map(|frame| Frame {
        name: symbols.name(frame),
        file: symbols.strings.get(frame.file),
        line: frame.line,
    });
    let file = File {
        schema: SCHEMA,
        exporter: concat!("everflame ", env!("CARGO_PKG_VERSION")),
        name,
        active: profile.default_sample_type.unwrap_or(0),
        shared: Shared { frames: frames.collect() },
        profiles: profile
            .sample_types
            .iter()
            .enumerate()
            .map(|(at, types)| sampled(profile, at, types))
            .collect(),
    };
    // Names and numbers: nothing in it can fail.
    serde_json::to_string(&file).unwrap_or_default()
}

fn sampled<'a>(profile: &'a Profile, at: usize, types: &'a ValueType) -> Sampled<'a> {
    let mut positions: HashMap<&[u32], usize> = HashMap::new();
    let mut sums: Vec<(usize, i64)> = Vec::new();
    for sample in 0..profile.samples.len() {
        let weight = profile.values(sample).get(at).copied().unwrap_or_default();
        match positions.entry(profile.samples.stack(sample)) {
            Entry::Occupied(known) => {
                if let Some((_, sum)) = sums.get_mut(*known.get()) {
                    *sum = sum.saturating_add(weight);
                }
            }
            Entry::Vacant(new) => {
                new.insert(sums.len());
                sums.push((sample, weight));
            }
        }
    }
    sums.retain(|&(_, weight)| weight > 0);
    let samples = sums.iter().map(|&(sample, _)| stack(profile, sample)).collect();
    let weights: Vec<i64> = sums.iter().map(|&(_, weight)| weight).collect();
    let unit = match types.unit.as_str() {
        unit @ ("nanoseconds" | "microseconds" | "milliseconds" | "seconds" | "bytes") => unit,
        _ => "none",
    };
    let end = weights.iter().fold(0i64, |sum, &weight| sum.saturating_add(weight));
    Sampled { kind: "sampled", name: &types.kind, unit, start: 0, end, samples, weights }
}

/// Positions of the frames of a sample, root first.
fn stack(profile: &Profile, sample: usize) -> Vec<u32> {
    let locations = profile.samples.stack(sample).iter().rev();
    let locations = locations.filter_map(|&location| profile.locations.get(location as usize));
    locations
        .flat_map(|location| (location.first..location.first.saturating_add(location.count)).rev())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, folded, speedscope};
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        #[test]
        fn what_is_written_can_be_read(stacks in prop::collection::btree_map("[a-c](;[a-c]){0,4}", 1i64..1_000_000, 0..20)) {
            let text: String = stacks.iter().map(|(stack, value)| format!("{stack} {value}\n")).collect();
            let mut profile = folded::read(text.as_bytes(), folded::Lines::Counted, &Limits::default()).unwrap().profile;
            for unit in ["count", "nanoseconds", "bytes"] {
                profile.sample_types = vec![ValueType::new("x", unit)];
                let written = write(&profile, "title");
                let again = speedscope::read(written.as_bytes(), &Limits::default()).unwrap().parts;
                prop_assert_eq!(again.len(), 1);
                prop_assert_eq!(folded::write(&again[0].profile, 0), folded::write(&profile, 0));
            }
        }
    }

    #[test]
    fn weights_are_positive() {
        let text = b"main;a 3\nmain;b -2\nmain;c 5\nmain;c -1\nmain;d -1\nmain;d 1\n";
        let profile = folded::read(text, folded::Lines::Counted, &Limits::default()).unwrap().profile;
        let written: serde_json::Value = serde_json::from_str(&write(&profile, "t")).unwrap();
        let shown = &written["profiles"][0];
        assert_eq!((&shown["weights"], &shown["endValue"]), (&json!([3, 4]), &json!(7)));
        assert_eq!(shown["samples"], json!([[1, 2], [1, 4]]));
    }

    #[test]
    fn all_types_over_the_same_frames() {
        let mut profile =
            folded::read(b"main;a\"<b> 3", folded::Lines::Counted, &Limits::default()).unwrap().profile;
        profile.sample_types.push(ValueType::new("cpu", "nanoseconds"));
        profile.samples.values = vec![3, 0];
        profile.symbols_mut().frames[2].line = 7;
        insta::assert_snapshot!(write(&profile, "t").replace(env!("CARGO_PKG_VERSION"), "VERSION"), @r#"{"$schema":"https://www.speedscope.app/file-format-schema.json","exporter":"everflame VERSION","name":"t","activeProfileIndex":0,"shared":{"frames":[{"name":"0x0"},{"name":"main"},{"name":"a\"<b>","line":7}]},"profiles":[{"type":"sampled","name":"samples","unit":"none","startValue":0,"endValue":3,"samples":[[1,2]],"weights":[3]},{"type":"sampled","name":"cpu","unit":"nanoseconds","startValue":0,"endValue":0,"samples":[],"weights":[]}]}"#);
    }
}
