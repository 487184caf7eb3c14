//! The series that a query is about, and what a planner must know of those that it is not about.

use crate::Selector;
use everflame_lake::SeriesMatch;
use everflame_profile::{PROFILE_NAME, ProfileType, Series, SeriesId};
use hashbrown::{HashMap, HashSet};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// The virtual label with the whole type.
pub(crate) const PROFILE_TYPE: &str = "__profile_type__";

/// Labels that every series has without storing them: they come from its profile type and service.
pub const VIRTUAL_LABELS: [&str; 7] = [
    PROFILE_NAME,
    "__period_type__",
    "__period_unit__",
    PROFILE_TYPE,
    "__service_name__",
    "__type__",
    "__unit__",
];

/// The value of a label of `series`, virtual ones included; "" when it has none of that name.
pub fn label_value<'a>(series: &'a Series, name: &str) -> Cow<'a, str> {
    if !name.starts_with("__") {
        return Cow::Borrowed(series.labels.get(name));
    }
    let ProfileType { name: profile, sample, period } = &series.profile_type;
    Cow::Borrowed(match name {
        PROFILE_NAME => profile,
        "__type__" => &sample.kind,
        "__unit__" => &sample.unit,
        "__period_type__" => &period.kind,
        "__period_unit__" => &period.unit,
        "__service_name__" => series.service(),
        PROFILE_TYPE => return Cow::Owned(series.profile_type.to_string()),
        _ => series.labels.get(name),
    })
}

/// The selected series, found by id, and the ranges of service and type in which they lie.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// The series.
    pub(crate) series: Vec<SeriesMatch>,
    positions: HashMap<SeriesId, u32>,
    /// Big-endian ids in order, as page statistics compare them.
    sorted_ids: Vec<[u8; 8]>,
    /// A hash of all ids.
    identity: u128,
    services: BTreeSet<String>,
    types: BTreeSet<String>,
    /// Services and types of which every known series is selected, so that rows need no look at theirs.
    whole: HashMap<String, HashSet<String>>,
}

impl Selection {
    /// Asks `find` (the lake) for the series of `profile_type` that `selector` takes. What `find` offers
    /// and the selector refuses is remembered, as far as service and type go.
    pub(crate) fn new(
        profile_type: Option<&ProfileType>,
        selector: &Selector,
        find: impl FnOnce(&dyn Fn(&Series) -> bool) -> Vec<SeriesMatch>,
    ) -> Self {
        let refused: RefCell<HashMap<String, HashSet<ProfileType>>> = RefCell::default();
        let matches = find(&|series| {
            if profile_type.is_some_and(|wanted| *wanted != series.profile_type) {
                return false;
            }
            let taken = selector.matches(series);
            if !taken {
                let mut refused = refused.borrow_mut();
                let types = refused.entry_ref(series.service()).or_default();
                if !types.contains(&series.profile_type) {
                    types.insert(series.profile_type.clone());
                }
            }
            taken
        });
        Self::of(matches, &refused.into_inner())
    }

    fn of(matches: Vec<SeriesMatch>, refused: &HashMap<String, HashSet<ProfileType>>) -> Self {
        let mut selection = Self::default();
        for found in &matches {
            let series = &found.series;
            if selection.positions.insert(found.id, selection.series.len() as u32).is_some() {
                continue;
            }
            selection.series.push(found.clone());
            let whole =
                !refused.get(series.service()).is_some_and(|types| types.contains(&series.profile_type));
            let profile_type = series.profile_type.to_string();
            if whole {
                selection
                    .whole
                    .entry_ref(series.service())
                    .or_default()
                    .get_or_insert_with(&profile_type, Clone::clone);
            }
            if !selection.services.contains(series.service()) {
                selection.services.insert(series.service().to_owned());
            }
            if !selection.types.contains(&profile_type) {
                selection.types.insert(profile_type);
            }
            selection.sorted_ids.push(found.id.0.to_be_bytes());
        }
        selection.sorted_ids.sort_unstable();
        selection.identity = xxh3_128(selection.sorted_ids.as_flattened());
        selection
    }

    /// Adds the series that the selected ones are without the labels `dropped`: sums for long ranges have
    /// their ids. The selector must not look at those labels.
    pub(crate) fn add_reduced(&mut self, dropped: &[String]) {
        for at in 0..self.series.len() {
            let Some(found) = self.series.get(at) else { continue };
            if self.positions.contains_key(&found.reduced) {
                continue;
            }
            let id = found.reduced;
            let series = Arc::new(found.series.without(dropped));
            let reduced = SeriesMatch { id, series, reduced: id, first: found.first, last: found.last };
            self.positions.insert(id, self.series.len() as u32);
            self.sorted_ids.push(id.0.to_be_bytes());
            self.series.push(reduced);
        }
        self.sorted_ids.sort_unstable();
        self.identity = xxh3_128(self.sorted_ids.as_flattened());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The same for equal sets of series, and different for others.
    pub(crate) fn identity(&self) -> u128 {
        self.identity
    }

    /// Position in `series` of the one with this id.
    pub(crate) fn position(&self, id: SeriesId) -> Option<u32> {
        self.positions.get(&id).copied()
    }

    /// The same, from the bytes that a file holds.
    pub(crate) fn position_of_bytes(&self, id: &[u8]) -> Option<u32> {
        let id = <[u8; 8]>::try_from(id).ok()?;
        self.position(SeriesId(u64::from_be_bytes(id)))
    }

    /// The services of the selected series.
    pub(crate) fn services(&self) -> Vec<&str> {
        self.services.iter().map(String::as_str).collect()
    }

    /// Whether a selected service lies between two texts, both inclusive.
    pub(crate) fn has_service_in(&self, min: &[u8], max: &[u8]) -> bool {
        any_between(&self.services, min, max)
    }

    /// Whether a selected type lies between two texts, both inclusive.
    pub(crate) fn has_type_in(&self, min: &[u8], max: &[u8]) -> bool {
        any_between(&self.types, min, max)
    }

    /// Whether a selected series id lies between two, both inclusive, big-endian.
    pub(crate) fn has_series_in(&self, min: &[u8], max: &[u8]) -> bool {
        let at = self.sorted_ids.partition_point(|id| id.as_slice() < min);
        self.sorted_ids.get(at).is_some_and(|id| id.as_slice() <= max)
    }

    /// Whether all series of `service` and `profile_type` are selected.
    pub(crate) fn is_whole(&self, service: &[u8], profile_type: &[u8]) -> bool {
        let (Ok(service), Ok(profile_type)) =
            (std::str::from_utf8(service), std::str::from_utf8(profile_type))
        else {
            return false;
        };
        self.whole.get(service).is_some_and(|types| types.contains(profile_type))
    }
}

/// Statistics may be cut in the middle of a character, hence bytes. Sets are small: services and types.
fn any_between(sorted: &BTreeSet<String>, min: &[u8], max: &[u8]) -> bool {
    if min > max {
        return false;
    }
    sorted.iter().any(|text| min <= text.as_bytes() && text.as_bytes() <= max)
}
