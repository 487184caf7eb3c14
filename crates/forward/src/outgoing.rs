//! From a batch to single profiles, as both wires send them.

use everflame_lake::{Batch, ProfileId};
use everflame_profile::{Location, Profile, SampleLabel, Series, StringIndex, Strings};
use hashbrown::HashMap;
use std::sync::Arc;

/// Hands on every profile of `batch` with its identity and its series. The same profile is filled again and
/// again, so that many small ones share one table of frames.
pub(crate) fn each(batch: Batch, mut hand: impl FnMut(ProfileId, &Series, &Profile)) {
    let Batch { series, profiles, samples, stacks, new_stacks, .. } = batch;
    // Frames of each stack, as a range of `new_stacks.frames`.
    let mut ranges = vec![0..0; stacks.len()];
    let mut start = 0;
    for &(stack, end) in &new_stacks.stacks {
        if let Some(range) = ranges.get_mut(stack as usize) {
            *range = start as usize..end as usize;
        }
        start = end;
    }
    let mut profile = Profile { symbols: Arc::new(new_stacks.symbols), ..Profile::default() };
    let locations = (0..profile.symbols.frames.len()).map(|frame| Location { first: frame as u32, count: 1 });
    profile.locations = Arc::new(locations.collect());
    let mut texts = Texts::default();
    let mut start = 0;
    for row in &profiles {
        let end = row.samples_end as usize;
        let own = samples.get(start..end).unwrap_or_default();
        start = end;
        let Some(series) = series.get(row.series as usize) else { continue };
        profile.sample_types = vec![series.profile_type.sample.clone()];
        profile.period_type = series.profile_type.period.clone();
        (profile.time, profile.duration) = (row.time, row.duration);
        profile.samples = Default::default();
        for sample in own {
            let frames = ranges.get(sample.stack as usize).cloned().unwrap_or_default();
            let frames = new_stacks.frames.get(frames).unwrap_or_default();
            let labels = texts.labels(&mut profile.symbols_mut().strings, sample.span_id, sample.trace_id);
            profile.samples.push(frames, &[sample.value], labels.as_slice());
        }
        hand(row.id, series, &profile);
    }
}

/// Texts of spans and traces in the table of strings, each once.
#[derive(Default)]
struct Texts(HashMap<String, StringIndex>);

impl Texts {
    fn index(&mut self, strings: &mut Strings, text: String) -> StringIndex {
        *self.0.entry(text).or_insert_with_key(|text| strings.push(text))
    }

    fn labels(&mut self, strings: &mut Strings, span: u64, trace: u128) -> Vec<SampleLabel> {
        let mut labels = Vec::new();
        if span != 0 {
            labels.push(("span_id", format!("{span:016x}")));
        }
        if trace != 0 {
            labels.push(("trace_id", format!("{trace:032x}")));
        }
        let label = |(key, value): (&str, String)| SampleLabel {
            key: self.index(strings, key.to_owned()),
            value: self.index(strings, value),
        };
        labels.into_iter().map(label).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use everflame_lake::{NewStacks, ProfileRow, Sample};
    use everflame_profile::{Frame, Labels, StackId};

    /// A batch with one series for each of `pods`, each with two samples, `main` and `work` above `main`.
    pub(crate) fn batch(service: &str, pods: &[&str]) -> Batch {
        let mut new_stacks = NewStacks::default();
        for name in ["main", "work"] {
            let function = new_stacks.symbols.strings.push(name);
            new_stacks.symbols.frames.push(Frame { function, line: 7, ..Frame::default() });
        }
        new_stacks.frames = vec![0, 1, 0];
        new_stacks.stacks = vec![(0, 1), (1, 3)];
        let mut batch = Batch {
            service: service.to_owned(),
            stacks: vec![StackId(1), StackId(2)],
            new_stacks,
            ..Batch::default()
        };
        for (at, pod) in pods.iter().enumerate() {
            let labels = Labels::from_pairs([("service_name", service), ("pod", pod)]);
            let profile_type = "process_cpu:cpu:nanoseconds:cpu:nanoseconds".parse().unwrap();
            batch.series.push(Series { labels, profile_type });
            let value = 10 * (at as i64 + 1);
            batch.samples.push(Sample { stack: 0, value, span_id: 0, trace_id: 0 });
            batch.samples.push(Sample { stack: 1, value: 1, span_id: 0xab, trace_id: 0xcd });
            batch.profiles.push(ProfileRow {
                series: at as u32,
                id: ProfileId(at as u128 + 1),
                time: 1_700_000_000_000_000_000,
                duration: 5,
                total: value + 1,
                samples_end: batch.samples.len() as u32,
            });
        }
        batch
    }

    #[test]
    fn rows_become_profiles() {
        let mut shown = Vec::new();
        each(batch("shop", &["a", "b"]), |id, series, profile| {
            for at in 0..profile.samples.len() {
                let frames: Vec<_> = profile.frames(at).map(|frame| profile.symbols.name(frame)).collect();
                let text = |index| profile.symbols.strings.get(index);
                let labels: Vec<_> = profile
                    .samples
                    .labels(at)
                    .iter()
                    .map(|label| format!("{}={}", text(label.key), text(label.value)))
                    .collect();
                let pod = series.labels.get("pod");
                shown.push(format!(
                    "{} {pod} {} {:?} {}",
                    id.0,
                    frames.join(";"),
                    profile.values(at),
                    labels.join(" ")
                ));
            }
        });
        assert_eq!(
            shown,
            [
                "1 a main [10] ",
                "1 a work;main [1] span_id=00000000000000ab trace_id=000000000000000000000000000000cd",
                "2 b main [20] ",
                "2 b work;main [1] span_id=00000000000000ab trace_id=000000000000000000000000000000cd",
            ]
        );
    }
}
