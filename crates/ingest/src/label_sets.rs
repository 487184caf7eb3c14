//! The bound on distinct label sets of a service and day.
//!
//! Below the bound this is one question to the lake (it counts series, of which a label set has one for
//! each profile type, so that the answer errs on the safe side). At the bound the label sets that the lake knows are
//! read once; they go on unchanged, and of new ones the label with the most values is dropped, then the
//! next one, until few new sets come. What is kept here is a cache: a restart reads it from the lake again.

use crate::dropped::Reason;
use crate::groups::Groups;
use everflame_lake::Lake;
use everflame_profile::{Labels, Nanos, SERVICE_NAME};
use hashbrown::{DefaultHashBuilder, HashMap, HashSet};
use parking_lot::Mutex;
use std::hash::BuildHasher;

const DAY: Nanos = 86_400_000_000_000;

/// Services over their bound that are remembered; past it all are forgotten and read again.
const MAX_SERVICES: usize = 256;

/// Services over their bound.
#[derive(Debug, Default)]
pub(crate) struct LabelSets {
    services: Mutex<HashMap<(String, Nanos), Overflow>>,
    hasher: DefaultHashBuilder,
}

#[derive(Debug, Default)]
struct Overflow {
    /// Hashes of the label sets that go through unchanged.
    known: HashSet<u64>,
    /// All labels but the service, those with the most values first.
    order: Vec<String>,
    /// How many of `order` are dropped from new sets.
    dropped: usize,
    /// Sets that were new since the last label was dropped.
    added: usize,
}

impl LabelSets {
    /// Drops labels from `groups` where its service has too many label sets on the day of `time`.
    pub(crate) fn bound(&self, lake: &Lake, groups: &mut Groups, time: Nanos, max: usize) {
        let service = groups.sets.first().map(|labels| labels.get(SERVICE_NAME)).unwrap_or_default();
        if lake.series_count(service, time) + groups.sets.len() <= max {
            return;
        }
        let key = (service.to_owned(), time.div_euclid(DAY));
        let mut services = self.services.lock();
        if services.len() >= MAX_SERVICES && !services.contains_key(&key) {
            services.clear();
        }
        let overflow = services.entry(key).or_insert_with_key(|(service, day)| {
            let matches = lake.series(day * DAY, day * DAY + DAY - 1, &|series| series.service() == *service);
            self.overflow(matches.iter().map(|found| &found.series.labels))
        });
        self.reduce(overflow, groups, max);
    }

    fn overflow<'a>(&self, known: impl Iterator<Item = &'a Labels>) -> Overflow {
        let mut overflow = Overflow::default();
        let mut values: HashMap<&str, HashSet<&str>> = HashMap::new();
        for labels in known {
            overflow.known.insert(self.hasher.hash_one(labels));
            for (name, value) in labels.iter().filter(|(name, _)| *name != SERVICE_NAME) {
                values.entry(name).or_default().insert(value);
            }
        }
        let mut order: Vec<(usize, &str)> =
            values.iter().map(|(name, values)| (values.len(), *name)).collect();
        order.sort_unstable_by(|a, b| b.cmp(a));
        overflow.order = order.into_iter().map(|(_, name)| name.to_owned()).collect();
        overflow
    }

    fn reduce(&self, overflow: &mut Overflow, groups: &mut Groups, max: usize) {
        let mut sets = groups.sets.clone();
        let mut dropped: HashSet<String> = HashSet::new();
        for labels in &mut sets {
            loop {
                let hash = self.hasher.hash_one(&*labels);
                if overflow.known.contains(&hash) {
                    break;
                }
                let present = overflow.order[..overflow.dropped].iter().find(|name| labels.contains(name));
                if let Some(name) = present {
                    labels.remove(name);
                    dropped.insert(name.clone());
                    continue;
                }
                if overflow.known.len() < max || (overflow.dropped > 0 && overflow.added < max / 4) {
                    overflow.added += 1;
                    overflow.known.insert(hash);
                    break;
                }
                if overflow.dropped < overflow.order.len() {
                    (overflow.dropped, overflow.added) = (overflow.dropped + 1, 0);
                    continue;
                }
                // Labels that the day has not seen before; only the service is left of such a set.
                dropped.extend(
                    labels.iter().map(|(name, _)| name.to_owned()).filter(|name| name != SERVICE_NAME),
                );
                *labels = Labels::from_pairs([(SERVICE_NAME, labels.get(SERVICE_NAME).to_owned())]);
                break;
            }
        }
        groups.dropped.extend(dropped.into_iter().map(|name| (Reason::LabelSetsPerService, name)));
        groups.replace_sets(sets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pod: usize) -> Labels {
        let pairs =
            [("service_name", "s".to_owned()), ("pod", pod.to_string()), ("zone", (pod % 2).to_string())];
        Labels::from_pairs(pairs)
    }

    fn reduced(sets: &LabelSets, overflow: &mut Overflow, pod: usize) -> String {
        let mut groups = Groups { sets: vec![labels(pod)], of_sample: vec![0], ..Groups::default() };
        sets.reduce(overflow, &mut groups, 8);
        groups.sets[0].to_string()
    }

    #[test]
    fn known_sets_stay_and_new_ones_lose_the_label_with_the_most_values() {
        let sets = LabelSets::default();
        let known: Vec<Labels> = (0..8).map(labels).collect();
        let mut overflow = sets.overflow(known.iter());
        assert_eq!(reduced(&sets, &mut overflow, 3), r#"{pod="3", service_name="s", zone="1"}"#);
        assert_eq!(reduced(&sets, &mut overflow, 100), r#"{service_name="s", zone="0"}"#);
        assert_eq!(reduced(&sets, &mut overflow, 101), r#"{service_name="s", zone="1"}"#);
        for pod in 0..1_000 {
            reduced(&sets, &mut overflow, pod);
        }
        assert!(overflow.known.len() <= 10);
    }
}
