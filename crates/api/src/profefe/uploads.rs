//! Which rows of the lake came with one upload, and which labels are those of the upload and not of samples.
//!
//! A profile is stored as a row for each of its sample types and label sets, so that what an upload was has to
//! be found again: its rows share service, profile name and time, and the ids of all but the first follow from
//! that of the first.

use super::MAX_ROWS;
use everflame_ingest::row_id;
use everflame_lake::ProfileId;
use everflame_profile::{Labels, Nanos, SERVICE_NAME};
use everflame_query::ProfileInfo;
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;

/// How often an id is looked for that could follow from another, for all rows together. An upload's own rows
/// take few; this bounds what many uploads of one moment cost.
const MAX_TRIES: usize = 1 << 24;

/// The rows of one upload.
pub(super) struct Upload<'a> {
    /// The row that has the id of the upload.
    pub(super) first: &'a ProfileInfo,
    /// The other ones.
    others: Vec<&'a ProfileInfo>,
    /// The labels of the upload.
    pub(super) labels: Labels,
}

impl<'a> Upload<'a> {
    /// All its rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = &'a ProfileInfo> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }

    /// The labels that samples brought to a row.
    pub(super) fn labels_of_samples(&self, row: &ProfileInfo) -> Labels {
        Labels::from_pairs(public(&row.series.labels).filter(|(name, _)| !self.labels.contains(name)))
    }

    /// Whether all rows have the same value of a label.
    fn is_shared(&self, (name, value): (&str, &str)) -> bool {
        self.rows().all(|row| row.series.labels.get(name) == value)
    }
}

/// The labels that wires show, without that of the service.
fn public(labels: &Labels) -> impl Iterator<Item = (&str, &str)> {
    labels.iter().filter(|(name, _)| *name != SERVICE_NAME && !name.starts_with("__"))
}

/// The uploads that `rows` came with.
///
/// All rows of an upload have its labels. What some of them lack, samples brought; and so they did where the
/// samples of another upload happen to be alike in it.
pub(super) fn of(rows: &[ProfileInfo]) -> Vec<Upload<'_>> {
    let mut groups: BTreeMap<(Nanos, &str, &str), Vec<&ProfileInfo>> = BTreeMap::new();
    for row in rows {
        groups.entry((row.time, row.series.service(), &row.series.profile_type.name)).or_default().push(row);
    }
    let mut groups: Vec<Vec<&ProfileInfo>> = groups.into_values().collect();
    // Small ones first: what they do not need is left for the large ones.
    groups.sort_by_key(Vec::len);
    let (mut tries, mut left) = (MAX_TRIES, rows.len());
    let mut uploads = Vec::new();
    for group in groups {
        let of_a_row = tries / left.max(1);
        left -= group.len();
        uploads.extend(of_group(group, of_a_row, &mut tries));
    }
    let of_samples: HashSet<&str> = uploads
        .iter()
        .flat_map(|upload| upload.rows().map(move |row| (upload, row)))
        .flat_map(|(upload, row)| {
            public(&row.series.labels).filter(move |&label| !upload.is_shared(label)).map(|(name, _)| name)
        })
        .collect();
    for upload in &mut uploads {
        let own = public(&upload.first.series.labels).filter(|(name, _)| !of_samples.contains(name));
        upload.labels = Labels::from_pairs(own);
    }
    uploads
}

/// The uploads of rows that may be of one. For each row, at most `of_a_row` ids are looked for, which are taken
/// off `tries`.
fn of_group<'a>(mut group: Vec<&'a ProfileInfo>, of_a_row: usize, tries: &mut usize) -> Vec<Upload<'a>> {
    let ids: HashSet<ProfileId> = group.iter().map(|row| row.id).collect();
    let most = u32::try_from(group.len().min(of_a_row)).unwrap_or(MAX_ROWS).min(MAX_ROWS);
    // Uploads have UUIDs; of the ids that follow from them, one in 64 looks like one.
    group.sort_by_key(|row| Uuid::from_u128(row.id.0).get_version().is_none());
    let mut firsts: HashMap<ProfileId, ProfileId> = HashMap::new();
    for row in &group {
        // Once it is known to follow from another, nothing follows from it.
        if !firsts.contains_key(&row.id) {
            let derived = (1..most).map(|number| row_id(row.id, number)).filter(|id| ids.contains(id));
            firsts.extend(derived.map(|id| (id, row.id)));
            *tries = tries.saturating_sub(most as usize);
        }
    }
    let (others, first): (Vec<_>, Vec<_>) = group.into_iter().partition(|row| firsts.contains_key(&row.id));
    let mut others_of: HashMap<ProfileId, Vec<&ProfileInfo>> = HashMap::new();
    for row in others {
        if let Some(&first) = firsts.get(&row.id) {
            others_of.entry(first).or_default().push(row);
        }
    }
    first
        .into_iter()
        .map(|first| {
            let others = others_of.remove(&first.id).unwrap_or_default();
            Upload { first, others, labels: Labels::default() }
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use everflame_profile::{ProfileType, Series};
    use std::sync::Arc;

    /// Row `number` of the upload `upload` of the service `s`.
    pub(in crate::profefe) fn row(upload: u128, number: u32, labels: &[(&str, &str)]) -> ProfileInfo {
        let profile_type: ProfileType = "process_cpu:cpu:nanoseconds:cpu:nanoseconds".parse().unwrap();
        let labels = Labels::from_pairs([("service_name", "s")].into_iter().chain(labels.iter().copied()));
        let series = Series { labels, profile_type };
        ProfileInfo {
            id: row_id(ProfileId(upload), number),
            series_id: series.id(),
            series: Arc::new(series),
            time: 1_000,
            duration: 7,
            total: 1,
        }
    }

    #[test]
    fn rows_are_grouped_by_upload_and_keep_the_labels_that_all_have() {
        let check = |rows: &[ProfileInfo], expect: &[(u128, usize, &str)]| {
            let mut found: Vec<_> = of(rows)
                .iter()
                .map(|upload| (upload.first.id.0, upload.rows().count(), upload.labels.to_string()))
                .collect();
            found.sort();
            let expect: Vec<_> =
                expect.iter().map(|&(id, rows, labels)| (id, rows, labels.to_owned())).collect();
            assert_eq!(found, expect);
        };
        check(&[], &[]);
        check(&[row(5, 0, &[("pod", "p")])], &[(5, 1, r#"{pod="p"}"#)]);
        let rows = [
            row(5, 2, &[("pod", "p"), ("handler", "/b")]),
            row(5, 0, &[("pod", "p"), ("handler", "/a")]),
            row(6, 0, &[("pod", "q"), ("__x", "y")]),
            row(5, 1, &[("pod", "p")]),
        ];
        check(&rows, &[(5, 3, r#"{pod="p"}"#), (6, 1, r#"{pod="q"}"#)]);
        let alike = row(7, 0, &[("pod", "p"), ("handler", "/a")]);
        check(std::slice::from_ref(&alike), &[(7, 1, r#"{handler="/a", pod="p"}"#)]);
        let rows = [alike, row(8, 0, &[("pod", "q"), ("handler", "/a")]), row(8, 1, &[("pod", "q")])];
        check(&rows, &[(7, 1, r#"{pod="p"}"#), (8, 2, r#"{pod="q"}"#)]);
    }

    #[test]
    fn the_rows_of_a_large_upload_are_found_and_many_uploads_of_one_moment_are_bounded() {
        let uuid = Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef).as_u128();
        let mut rows: Vec<_> = (0..3_000).rev().map(|number| row(uuid, number, &[])).collect();
        let mut group = of(&rows);
        assert_eq!(group.len(), 1);
        assert_eq!(group.remove(0).rows().count(), 3_000);
        // Of so many of one moment, each is tried as often as is allowed, and not more.
        rows.extend((0..2_000).map(|upload| row(upload, 0, &[])));
        let tries = |rows: &[ProfileInfo], of_a_row| {
            let mut tries = MAX_TRIES;
            of_group(rows.iter().collect(), of_a_row, &mut tries);
            MAX_TRIES - tries
        };
        assert_eq!(tries(&rows[3_000..3_500], 1_000), 500 * 500);
        assert_eq!(tries(&rows[3_000..], 100), 2_000 * 100);
    }
}
