//! Single profiles: who sent one when, and how much it holds. Reads the table `profiles` and the head.

use crate::plan::Unit;
use crate::row_group::{self, binary, ids, numbers};
use crate::samples::{Lookup, NONE};
use crate::scan::{Control, Interrupt, Scan};
use crate::selection::Selection;
use crate::{ScanStats, Selector, TimeRange, ValueRange, Warning};
use everflame_lake::{HeadChunk, ProfileId};
use everflame_profile::{Nanos, ProfileType, Series, SeriesId};
use hashbrown::HashSet;
use std::sync::Arc;

/// Which end of a range is listed first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The latest profile first.
    #[default]
    NewestFirst,
    /// The earliest profile first.
    OldestFirst,
    /// The one with the largest total first.
    LargestFirst,
}

/// Asks for single profiles.
#[derive(Clone, Debug)]
pub struct ProfileQuery {
    /// What is measured; everything when `None`.
    pub profile_type: Option<ProfileType>,
    /// Which series.
    pub selector: Selector,
    /// When they started.
    pub range: TimeRange,
    /// Only profiles with one of these ids; all when empty.
    pub ids: Vec<ProfileId>,
    /// Only profiles with such a total.
    pub totals: ValueRange,
    /// What comes first.
    pub order: Order,
    /// At most so many.
    pub limit: usize,
}

/// A stored profile.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfileInfo {
    /// Its identity.
    pub id: ProfileId,
    /// The identity of its series.
    pub series_id: SeriesId,
    /// Labels and type.
    pub series: Arc<Series>,
    /// When it started, nanoseconds since the epoch.
    pub time: Nanos,
    /// How long it took, nanoseconds; 0 for a snapshot.
    pub duration: Nanos,
    /// Sum of its values.
    pub total: i64,
}

/// Profiles, and how complete the list is.
#[derive(Clone, Debug, Default)]
pub struct ProfileList {
    /// The profiles, in the order that was asked for.
    pub profiles: Vec<ProfileInfo>,
    /// What was read.
    pub stats: ScanStats,
    /// What could not be read.
    pub warnings: Vec<Warning>,
}

/// A row of the table `profiles`, its series as position in the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProfileRow {
    pub(crate) position: u32,
    pub(crate) id: ProfileId,
    pub(crate) time: Nanos,
    pub(crate) duration: Nanos,
    pub(crate) total: i64,
}

/// The columns of `profiles` that a [`ProfileRow`] is made of.
pub(crate) const COLUMNS: [&str; 5] = ["series_id", "time", "duration", "total", "profile_id"];

/// Gives `take` the rows of the selected series in a row group of `profiles`.
pub(crate) fn rows_of_unit(
    unit: &Unit,
    selection: &Selection,
    control: &Control,
    mut take: impl FnMut(ProfileRow) -> Result<(), Interrupt>,
) -> Result<(), Interrupt> {
    let (batches, bytes) = row_group::read(unit, &COLUMNS)?;
    control.charge_read(bytes)?;
    let mut lookup = Lookup::default();
    for batch in batches {
        control.go_on()?;
        let batch = batch?;
        let series = ids(&batch, "series_id")?;
        lookup.update(series.values, |id| selection.position_of_bytes(id).unwrap_or(NONE));
        let profile_ids = binary(&batch, "profile_id")?;
        let numbers = [numbers(&batch, "time")?, numbers(&batch, "duration")?, numbers(&batch, "total")?];
        let [times, durations, totals] = numbers;
        let rows = series.keys.iter().zip(times).zip(durations).zip(totals).zip(profile_ids.iter());
        for ((((&key, &time), &duration), &total), id) in rows {
            let Some(&position) = lookup.get(key).filter(|&&position| position != NONE) else { continue };
            let time = time.saturating_mul(1000);
            let Some(Ok(id)) = id.map(<[u8; 16]>::try_from) else { continue };
            let id = ProfileId(u128::from_be_bytes(id));
            take(ProfileRow { position, id, time, duration, total })?;
        }
    }
    Ok(())
}

/// The same for a chunk of the head; returns how many profiles it looked at.
pub(crate) fn rows_of_head(
    chunk: &HeadChunk,
    selection: &Selection,
    control: &Control,
    mut take: impl FnMut(ProfileRow) -> Result<(), Interrupt>,
) -> Result<u64, Interrupt> {
    control.go_on()?;
    for profile in &chunk.profiles {
        let Some(position) = selection.position(profile.series) else { continue };
        let (id, time, duration, total) = (profile.id, profile.time, profile.duration, profile.total);
        take(ProfileRow { position, id, time, duration, total })?;
    }
    Ok(chunk.profiles.len() as u64)
}

/// Collects the first `limit` profiles.
pub(crate) struct ProfileScan {
    pub(crate) selection: Arc<Selection>,
    pub(crate) range: TimeRange,
    pub(crate) ids: HashSet<ProfileId>,
    pub(crate) totals: ValueRange,
    pub(crate) order: Order,
    pub(crate) limit: usize,
}

impl Scan for ProfileScan {
    type Partial = Vec<ProfileRow>;

    fn selection(&self) -> &Arc<Selection> {
        &self.selection
    }

    fn columns(&self, _: &Unit, _: &Control) -> Vec<&'static str> {
        COLUMNS.to_vec()
    }

    fn row_group(&self, unit: &Unit, control: &Control, into: &mut Vec<ProfileRow>) -> Result<(), Interrupt> {
        rows_of_unit(unit, &self.selection, control, |row| self.take(row, control, into))
    }

    fn head(
        &self,
        chunk: &HeadChunk,
        control: &Control,
        into: &mut Vec<ProfileRow>,
    ) -> Result<u64, Interrupt> {
        rows_of_head(chunk, &self.selection, control, |row| self.take(row, control, into))
    }

    fn merge(into: &mut Vec<ProfileRow>, other: Vec<ProfileRow>) {
        into.extend(other);
    }
}

impl ProfileScan {
    /// Keeps a row that was asked for. The list is cut before it has twice the rows that are wanted.
    fn take(&self, row: ProfileRow, control: &Control, into: &mut Vec<ProfileRow>) -> Result<(), Interrupt> {
        if !self.range.contains(row.time)
            || !self.totals.contains(row.total)
            || (!self.ids.is_empty() && !self.ids.contains(&row.id))
        {
            return Ok(());
        }
        if into.len() >= self.limit.saturating_mul(2).max(1024) {
            self.first(into);
        }
        if into.len() == into.capacity() {
            control.charge(into.len().max(4) * size_of::<ProfileRow>())?;
        }
        into.push(row);
        Ok(())
    }

    /// Sorts, and keeps what was asked for.
    pub(crate) fn first(&self, rows: &mut Vec<ProfileRow>) {
        rows.sort_unstable_by(|a, b| {
            let wanted = match self.order {
                Order::NewestFirst => b.time.cmp(&a.time),
                Order::OldestFirst => a.time.cmp(&b.time),
                Order::LargestFirst => b.total.cmp(&a.total).then_with(|| b.time.cmp(&a.time)),
            };
            wanted.then_with(|| a.id.cmp(&b.id)).then_with(|| a.position.cmp(&b.position))
        });
        rows.truncate(self.limit);
    }

    /// The rows with labels and types, sorted and cut.
    pub(crate) fn finish(&self, mut rows: Vec<ProfileRow>) -> Vec<ProfileInfo> {
        self.first(&mut rows);
        let infos = rows.into_iter().filter_map(|row| {
            let series = self.selection.series.get(row.position as usize)?;
            Some(ProfileInfo {
                id: row.id,
                series_id: series.id,
                series: series.series.clone(),
                time: row.time,
                duration: row.duration,
                total: row.total,
            })
        });
        infos.collect()
    }
}
