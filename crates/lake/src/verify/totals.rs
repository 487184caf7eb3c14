//! Compares what tables that hold the same values add up to.

use super::{BOTH, Check, DAY, KINDS};
use crate::tables::{Group, Sum, TableId, date_text};
use hashbrown::HashMap;

impl Check<'_> {
    /// Whether each tier adds up to the rows that it sums.
    pub(super) fn check_tiers(&mut self) {
        for (position, kind) in KINDS.into_iter().enumerate() {
            for (at, id) in kind.tiers().enumerate() {
                let table = kind.table();
                let horizon = self.look.tables[table].horizon.max(self.look.tables[id].horizon);
                let sums = self.tiers.remove(&id).unwrap_or_default();
                let mut groups: Vec<Group> = sums.keys().cloned().collect();
                groups.extend(self.raw[position].keys().filter(|group| !sums.contains_key(*group)).cloned());
                groups.sort_unstable();
                for group in groups {
                    let expect = self.raw[position].get(&group).map_or_else(Sum::default, |sums| sums[at]);
                    let found = sums.get(&group).copied().unwrap_or_default();
                    self.compare(id, horizon, &group, [table, id], (expect, found));
                }
            }
        }
    }

    fn compare(
        &mut self,
        place: TableId,
        horizon: i64,
        group: &Group,
        tables: [TableId; 2],
        (expect, found): (Sum, Sum),
    ) {
        let (service, profile_type, day) = group;
        if i64::from(*day) * DAY < horizon || tables.iter().any(|&table| self.is_broken(table, *day)) {
            return;
        }
        self.result.totals += 1;
        let numbers = |sum: &Sum| (sum.value, sum.duration, sum.profiles);
        if numbers(&expect) == numbers(&found) {
            return;
        }
        let path = self.lake.table(place);
        let text = |sum: &Sum| match sum.profiles {
            0 => sum.value.to_string(),
            profiles => format!("{} in {profiles} profiles", sum.value),
        };
        let what = format!(
            "{service}, {profile_type} on {}: {} has {}, {} has {}",
            date_text(*day),
            tables[1].name(),
            text(&found),
            tables[0].name(),
            text(&expect)
        );
        self.find(&path, what);
    }

    /// Whether the totals of profiles are what their samples add up to.
    pub(super) fn check_profiles(&mut self) {
        let horizon = KINDS.map(|kind| self.look.tables[kind.table()].horizon).into_iter().max();
        let mut groups: Vec<Group> = self.raw.iter().flat_map(HashMap::keys).cloned().collect();
        groups.sort_unstable();
        groups.dedup();
        for group in groups {
            let sums = [0, 1].map(|kind: usize| {
                let sums = self.raw.get(kind).and_then(|raw| raw.get(&group));
                sums.map_or_else(Sum::default, |sums| sums[BOTH])
            });
            if sums.iter().any(|sum| sum.is_capped) {
                continue;
            }
            let [profiles, samples] = sums.map(|sum| Sum { value: sum.value, ..Sum::default() });
            let tables = [TableId::Profiles, TableId::Samples];
            self.compare(TableId::Samples, horizon.unwrap_or(i64::MIN), &group, tables, (profiles, samples));
        }
    }
}
