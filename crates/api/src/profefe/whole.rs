//! Puts the series of profiles with several sample types and label sets together again.

use super::uploads::{self, Upload};
use crate::app::{App, blocking};
use crate::error::ApiError;
use everflame_lake::ProfileId;
use everflame_profile::{Labels, Nanos, Profile, ProfileType, SampleLabel, Samples, StackId};
use everflame_query::{Merged, ProfileInfo, Selector, StackQuery, TimeRange};
use std::collections::{BTreeMap, HashMap};

/// Label sets of samples that are told apart; each asks for the stacks of each type once more. Of more, the
/// labels are left out.
const MAX_LABEL_SETS: usize = 64;

/// What a profile is put together from.
pub(super) struct Parts<'a> {
    pub(super) types: Vec<ProfileType>,
    pub(super) selector: &'a Selector,
    pub(super) range: TimeRange,
    /// Only of these profiles, when there are any.
    pub(super) ids: &'a [ProfileId],
    /// The rows of what is taken; none when there are too many to look at.
    pub(super) rows: Vec<ProfileInfo>,
}

/// Values of one type by stack. Their frames are with the whole.
type Values = (Vec<StackId>, Vec<i64>);

/// A profile of all types, with the labels of samples, the sum of the durations and the time of the earliest
/// profile. Without rows it has no such labels, and the range stands for time and duration. Nothing when
/// nothing was found.
pub(super) async fn of(app: &App, parts: Parts<'_>) -> Result<Option<Profile>, ApiError> {
    let Parts { mut types, selector, range, ids, rows } = parts;
    // Go writes CPU time behind the count of samples; the others are in alphabetical order.
    types.sort_by_cached_key(|found| (found.sample.kind == "cpu", found.to_string()));
    let wanted = types.clone();
    let (times, by_labels) = blocking(move || {
        let uploads = uploads::of(&rows);
        (times(&uploads), by_labels(&uploads, &wanted))
    })
    .await?;
    let stacks = async |profile_type: &ProfileType, ids: Vec<ProfileId>| {
        let mut query = StackQuery::new(profile_type.clone(), selector.clone(), range);
        query.profiles = ids;
        app.stacks(&query).await
    };
    // What has labels is asked for first, so that it is a part of the whole even while more comes in.
    let mut labelled = Vec::with_capacity(by_labels.len());
    for (labels, ids_of_types) in by_labels {
        let mut values = Vec::with_capacity(types.len());
        for (profile_type, ids) in types.iter().zip(ids_of_types) {
            values.push(match ids.is_empty() {
                true => Values::default(),
                false => {
                    let merged = stacks(profile_type, ids).await?;
                    (merged.ids, merged.values)
                }
            });
        }
        labelled.push((labels, values));
    }
    let mut whole = Vec::with_capacity(types.len());
    for profile_type in &types {
        whole.push(stacks(profile_type, ids.to_vec()).await?);
    }
    let (time, duration) = times.unwrap_or((range.from, range.length()));
    blocking(move || {
        let profile = combine(types, whole, labelled, range);
        profile.map(|profile| Profile { time, duration, ..profile })
    })
    .await
}

/// The time of the earliest upload, and the sum of the durations of all.
fn times(uploads: &[Upload<'_>]) -> Option<(Nanos, Nanos)> {
    let first = uploads.iter().map(|upload| upload.first.time).min()?;
    let durations = uploads.iter().map(|upload| upload.first.duration);
    Some((first, durations.fold(0, Nanos::saturating_add)))
}

/// The rows whose samples have labels, by these: their ids, for each type.
fn by_labels(uploads: &[Upload<'_>], types: &[ProfileType]) -> BTreeMap<Labels, Vec<Vec<ProfileId>>> {
    let mut sets: BTreeMap<Labels, Vec<Vec<ProfileId>>> = BTreeMap::new();
    for upload in uploads {
        for row in upload.rows() {
            let labels = upload.labels_of_samples(row);
            let at = types.iter().position(|found| *found == row.series.profile_type);
            let Some(at) = at.filter(|_| !labels.is_empty()) else { continue };
            if let Some(ids) = sets.entry(labels).or_insert_with(|| vec![Vec::new(); types.len()]).get_mut(at)
            {
                ids.push(row.id);
            }
            if sets.len() > MAX_LABEL_SETS {
                return BTreeMap::new();
            }
        }
    }
    sets
}

/// `whole` and each of `labelled`, which are parts of it, have an answer for each type.
fn combine(
    types: Vec<ProfileType>,
    whole: Vec<Merged>,
    labelled: Vec<(Labels, Vec<Values>)>,
    range: TimeRange,
) -> Option<Profile> {
    let found: Vec<usize> = (0..types.len()).filter(|&at| !whole[at].is_empty()).collect();
    let first = types.get(*found.first()?)?.clone();
    let columns = |of_types: &[Values]| {
        let mut rows: BTreeMap<StackId, Vec<i64>> = BTreeMap::new();
        for (column, &at) in found.iter().enumerate() {
            let (ids, values) = &of_types[at];
            for (&id, &value) in ids.iter().zip(values) {
                rows.entry(id).or_insert_with(|| vec![0; found.len()])[column] = value;
            }
        }
        rows
    };
    let of_whole: Vec<Values> =
        whole.iter().map(|merged| (merged.ids.clone(), merged.values.clone())).collect();
    let mut rest = columns(&of_whole);
    let union = Merged::merge(whole);
    let mut profile = union.to_profile(&first, range);
    let stacks = std::mem::take(&mut profile.samples);
    let stack = |id: &StackId| union.ids.binary_search(id).map_or(&[][..], |at| stacks.stack(at));
    let mut samples = Samples::default();
    let mut strings: HashMap<String, u32> = HashMap::new();
    for (labels, of_types) in labelled {
        let mut text = |text: &str| {
            let push = || profile.symbols_mut().strings.push(text);
            *strings.entry(text.to_owned()).or_insert_with(push)
        };
        let labels: Vec<SampleLabel> =
            labels.iter().map(|(key, value)| SampleLabel { key: text(key), value: text(value) }).collect();
        for (id, values) in columns(&of_types) {
            samples.push(stack(&id), &values, &labels);
            if let Some(left) = rest.get_mut(&id) {
                left.iter_mut().zip(&values).for_each(|(left, value)| *left = left.saturating_sub(*value));
                if left.iter().all(|&left| left == 0) {
                    rest.remove(&id);
                }
            }
        }
    }
    for (id, values) in rest {
        samples.push(stack(&id), &values, &[]);
    }
    profile.samples = samples;
    profile.sample_types = found.iter().map(|&at| types[at].sample.clone()).collect();
    profile.default_sample_type = found.len().checked_sub(1);
    profile.period = sampling_period(&profile).unwrap_or(profile.period);
    Some(profile)
}

/// Nanoseconds between two samples of CPU time. It is not stored, but follows where samples are counted as
/// well: Go's profiler makes the one from the other.
fn sampling_period(profile: &Profile) -> Option<i64> {
    let at = |kind, unit| profile.sample_types.iter().position(|of| of.kind == kind && of.unit == unit);
    let (counts, times) = (at("samples", "count")?, at("cpu", "nanoseconds")?);
    let mut period = None;
    for sample in 0..profile.samples.len() {
        let values = profile.values(sample);
        let (&count, &time) = (values.get(counts)?, values.get(times)?);
        if (count, time) == (0, 0) {
            continue;
        }
        let own = time.checked_div(count).filter(|own| *own > 0 && own.checked_mul(count) == Some(time))?;
        if *period.get_or_insert(own) != own {
            return None;
        }
    }
    period
}

#[cfg(test)]
mod tests {
    use super::super::uploads::tests::row;
    use super::*;
    use everflame_profile::{Frame, SymbolInterner};

    const COUNTS: &str = "process_cpu:samples:count:cpu:nanoseconds";
    const TIMES: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

    /// Stacks of one frame, ids as given, ascending.
    fn merged(lines: &[(u128, i64)]) -> Merged {
        let mut interner = SymbolInterner::default();
        let mut merged = Merged::default();
        for &(id, value) in lines {
            let function = interner.intern_string(&format!("f{id}"));
            merged.stacks.frames.push(interner.intern_frame(Frame { function, ..Frame::default() }));
            merged.stacks.ends.push(merged.stacks.frames.len() as u32);
            merged.ids.push(StackId(id));
            merged.values.push(value);
        }
        merged.stacks.symbols = interner.into_symbols();
        merged
    }

    /// `name{labels} values`, a line for each sample.
    fn outline(profile: &Profile) -> Vec<String> {
        let text = |index| profile.symbols.strings.get(index);
        let of_sample = |sample| {
            let name = profile.frames(sample).map(|frame| profile.symbols.name(frame).into_owned());
            let labels = profile.samples.labels(sample).iter();
            let labels: Vec<_> =
                labels.map(|label| format!("{}={}", text(label.key), text(label.value))).collect();
            format!("{}{{{}}} {:?}", name.collect::<String>(), labels.join(","), profile.values(sample))
        };
        (0..profile.samples.len()).map(of_sample).collect()
    }

    #[test]
    fn samples_get_their_labels_and_the_period_follows() {
        let types = || vec![COUNTS.parse().unwrap(), TIMES.parse().unwrap()];
        let whole = || vec![merged(&[(1, 3), (2, 4), (3, 0)]), merged(&[(1, 30), (2, 40)])];
        let values = |values: &[(u128, i64)]| values.iter().map(|&(id, value)| (StackId(id), value)).unzip();
        let handler =
            |value: &str, values: [Values; 2]| (Labels::from_pairs([("handler", value)]), Vec::from(values));
        let labelled = || {
            vec![
                handler("/a", [values(&[(1, 1)]), values(&[(1, 10)])]),
                handler("/b", [values(&[(1, 2), (2, 1)]), values(&[(1, 20), (2, 10)])]),
            ]
        };
        let profile = combine(types(), whole(), labelled(), TimeRange::new(5, 25)).unwrap();
        let expect = [
            "f1{handler=/a} [1, 10]",
            "f1{handler=/b} [2, 20]",
            "f2{handler=/b} [1, 10]",
            "f2{} [3, 30]",
            "f3{} [0, 0]",
        ];
        assert_eq!(outline(&profile), expect);
        assert_eq!((profile.period, profile.totals()), (10, vec![7, 70]));

        let profile = combine(types(), whole(), Vec::new(), TimeRange::new(5, 25)).unwrap();
        assert_eq!(outline(&profile), ["f1{} [3, 30]", "f2{} [4, 40]", "f3{} [0, 0]"]);
        let uneven = vec![merged(&[(1, 3), (2, 4)]), merged(&[(1, 30), (2, 41)])];
        assert_eq!(combine(types(), uneven, Vec::new(), TimeRange::new(5, 25)).unwrap().period, 0);
        let none = vec![Merged::default(), merged(&[(1, 7)])];
        let profile = combine(types(), none, Vec::new(), TimeRange::new(5, 25)).unwrap();
        assert_eq!((profile.sample_types.len(), profile.period), (1, 0));
        assert!(combine(types(), vec![Merged::default(); 2], Vec::new(), TimeRange::new(5, 25)).is_none());
    }

    #[test]
    fn durations_of_uploads_add_up_and_the_first_time_stays() {
        assert_eq!(times(&[]), None);
        let later = ProfileInfo { time: 4_000, duration: 5, ..row(6, 0, &[]) };
        let rows = [later, row(5, 0, &[("handler", "/a")]), row(5, 1, &[("handler", "/b")])];
        assert_eq!(times(&uploads::of(&rows)), Some((1_000, 12)));
    }

    #[test]
    fn rows_are_told_apart_by_the_labels_of_samples() {
        let rows = [
            row(5, 0, &[("pod", "p"), ("handler", "/a")]),
            row(5, 1, &[("pod", "p")]),
            row(6, 0, &[("pod", "q"), ("handler", "/b")]),
            row(6, 1, &[("pod", "q"), ("handler", "/a")]),
        ];
        let types = [COUNTS.parse().unwrap(), TIMES.parse().unwrap()];
        let check = |rows: &[ProfileInfo], expect: &[(&str, usize)]| {
            let found = by_labels(&uploads::of(rows), &types);
            let found: Vec<_> = found
                .iter()
                .map(|(labels, ids)| {
                    assert!(ids[0].is_empty());
                    (labels.get("handler"), ids[1].len())
                })
                .collect();
            assert_eq!(found, expect);
        };
        check(&rows, &[("/a", 2), ("/b", 1)]);
        let many = |count: usize| -> Vec<_> {
            let row = |number: usize| row(5, number as u32, &[("handler", &format!("{number:03}"))]);
            (0..count).map(row).collect()
        };
        assert_eq!(by_labels(&uploads::of(&many(MAX_LABEL_SETS)), &types).len(), MAX_LABEL_SETS);
        check(&many(MAX_LABEL_SETS + 1), &[]);
    }
}
