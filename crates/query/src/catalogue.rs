//! What there is: profile types, label names and values, series.

use crate::selection::{VIRTUAL_LABELS, label_value};
use crate::{Engine, Selector, TimeRange};
use everflame_lake::SeriesMatch;
use everflame_profile::{Labels, ProfileType};
use std::collections::BTreeSet;

impl Engine {
    /// The types of the profiles in `range`, in order of their text.
    pub fn profile_types(&self, range: TimeRange) -> Vec<ProfileType> {
        let mut types: Vec<ProfileType> = Vec::new();
        let found = self.matching(&[], range);
        let unique: std::collections::HashSet<&ProfileType> =
            found.iter().map(|found| &found.series.profile_type).collect();
        types.extend(unique.into_iter().cloned());
        types.sort_by_cached_key(ProfileType::to_string);
        types
    }

    /// Names of the labels of the series that all of `selectors` take, virtual ones included, sorted.
    pub fn label_names(&self, selectors: &[Selector], range: TimeRange) -> Vec<String> {
        label_names(&self.matching(selectors, range))
    }

    /// Values of the label `name`, virtual ones included, sorted.
    pub fn label_values(&self, name: &str, selectors: &[Selector], range: TimeRange) -> Vec<String> {
        label_values(&self.matching(selectors, range), name)
    }

    /// Label sets of the series, cut down to `label_names`, each once, sorted. Without names all labels
    /// are there, virtual ones included.
    pub fn series(&self, selectors: &[Selector], names: &[String], range: TimeRange) -> Vec<Labels> {
        series(&self.matching(selectors, range), names)
    }

    fn matching(&self, selectors: &[Selector], range: TimeRange) -> Vec<SeriesMatch> {
        self.lake().series(range.from, range.until, &|series| {
            selectors.iter().all(|selector| selector.matches(series))
        })
    }
}

fn label_names(found: &[SeriesMatch]) -> Vec<String> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for found in found {
        names.extend(found.series.labels.iter().map(|(name, _)| name));
        let virtual_names = VIRTUAL_LABELS.iter().copied();
        names.extend(virtual_names.filter(|name| !label_value(&found.series, name).is_empty()));
    }
    names.into_iter().map(str::to_owned).collect()
}

fn label_values(found: &[SeriesMatch], name: &str) -> Vec<String> {
    let values = found.iter().map(|found| label_value(&found.series, name));
    let values: BTreeSet<_> = values.filter(|value| !value.is_empty()).collect();
    values.into_iter().map(std::borrow::Cow::into_owned).collect()
}

fn series(found: &[SeriesMatch], names: &[String]) -> Vec<Labels> {
    let of_series = |found: &SeriesMatch| {
        if names.is_empty() {
            let mut labels = found.series.labels.clone();
            for name in VIRTUAL_LABELS {
                labels.set(name, label_value(&found.series, name));
            }
            return labels;
        }
        Labels::from_pairs(names.iter().map(|name| (name.as_str(), label_value(&found.series, name))))
    };
    let unique: BTreeSet<Labels> = found.iter().map(of_series).filter(|labels| !labels.is_empty()).collect();
    unique.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_values_and_series() {
        let found = crate::test_tables::series();
        let names = label_names(&found);
        assert_eq!(names.len(), VIRTUAL_LABELS.len() + 2);
        assert_eq!(names[names.len() - 2..], ["pod", "service_name"]);
        assert_eq!(label_values(&found, "__name__"), ["memory", "process_cpu"]);
        assert_eq!(label_values(&found, "pod"), ["1", "2"]);
        assert_eq!(label_values(&found, "nothing"), [""; 0]);
        let by = ["service_name".to_owned(), "__type__".to_owned()];
        assert_eq!(series(&found, &by).len(), 6);
        assert_eq!(series(&found, &[]).len(), found.len());
        assert_eq!(series(&found, &[])[0].get("__profile_type__"), "memory:alloc_space:bytes:space:bytes");
    }
}
