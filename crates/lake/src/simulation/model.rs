//! What a lake should hold, kept in the plainest way, and the comparison with what it holds.

use super::DAY_MICROS;
use super::held::{Held, HeldTier, ProfileRow, SampleRow};
use super::uploads::SERVICES;
use crate::batch::Batch;
use crate::error::Error;
use crate::lake::{Appended, Lake};
use crate::retention::Retention;
use crate::series::day_of;
use crate::tables::{Level, Tier, date_text};
use everflame_profile::{Nanos, Series, SeriesId, StackId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

/// What became of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The client was told that it is stored.
    Acknowledged,
    /// The client was told that it is not, or nothing. A process that is killed before it has taken back
    /// what it could not write leaves it in the log; it may be there at the next start.
    Refused,
    /// It was refused, and a restart has not found it.
    Gone,
    /// Somebody asked for it to be deleted, and it was.
    Deleted,
}

/// All uploads by number.
#[derive(Clone, Debug)]
pub(super) struct Model {
    uploads: BTreeMap<u64, Upload>,
    pub(super) policy: Policy,
}

/// How long what is kept.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) all: Retention,
    /// Another one for the second service.
    pub(super) second: Option<Retention>,
}

/// What is to be deleted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deletes {
    pub(super) service: &'static str,
    /// One of its instances, or all.
    pub(super) pod: Option<&'static str>,
    /// First and last day.
    pub(super) days: Option<(i32, i32)>,
}

impl Deletes {
    pub(super) fn selects(&self, series: &Series) -> bool {
        series.service() == self.service && self.pod.is_none_or(|pod| series.labels.get("pod") == pod)
    }
}

#[derive(Clone, Debug)]
struct Upload {
    fate: Fate,
    /// A deletion of it has begun and did not end: some tables may have it.
    is_doomed: bool,
    /// It was there and was deleted.
    was_deleted: bool,
    /// Its id may be remembered although it is not there: sent again, it may be taken for a retry.
    may_be_known: bool,
    series: Series,
    reduced: SeriesId,
    profile: ProfileRow,
    samples: Vec<SampleRow>,
}

impl Upload {
    fn day(&self) -> i32 {
        day_of(self.profile.time * 1_000)
    }
}

/// How much of something must be there, may be there besides, and is there.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    sure: i64,
    possible: i64,
    held: i64,
}

impl Weight {
    fn expect(&mut self, upload: &Upload, value: i64) {
        *(if upload.is_doomed { &mut self.possible } else { &mut self.sure }) += value;
    }
}

impl Model {
    pub(super) fn new(policy: Policy) -> Self {
        Self { uploads: BTreeMap::new(), policy }
    }

    /// How many uploads there are; their numbers begin at 0.
    pub(super) fn len(&self) -> u64 {
        self.uploads.len() as u64
    }

    /// Whether a lake that has let go of what lies before `horizon` would notice that an upload is sent again.
    pub(super) fn may_repeat(&self, number: u64, horizon: i64) -> bool {
        self.uploads.get(&number).is_none_or(|upload| {
            !upload.is_doomed && (upload.fate != Fate::Acknowledged || upload.profile.time >= horizon)
        })
    }

    /// Those that clients will send again.
    pub(super) fn refused(&self) -> Vec<u64> {
        let refused =
            self.uploads.iter().filter(|(_, upload)| matches!(upload.fate, Fate::Refused | Fate::Gone));
        refused.map(|(number, _)| *number).collect()
    }

    pub(super) fn sent(&mut self, number: u64, batch: &Batch) {
        let profile = batch.profiles[0];
        let (series, time) = (batch.series[0].clone(), profile.time / 1_000);
        let id = series.id().0;
        let samples = batch.samples.iter().map(|sample| {
            let stack = batch.stacks[sample.stack as usize].0;
            SampleRow { series: id, stack, time, value: sample.value }
        });
        let upload = Upload {
            fate: Fate::Refused,
            is_doomed: false,
            was_deleted: false,
            may_be_known: false,
            reduced: series.without(&["pod".to_owned()]).id(),
            series,
            profile: ProfileRow {
                id: profile.id.0,
                series: id,
                time,
                duration: profile.duration,
                total: profile.total,
                profiles: 1,
            },
            samples: samples.collect(),
        };
        self.uploads.entry(number).or_insert(upload);
    }

    pub(super) fn answered(&mut self, number: u64, answer: Result<Appended, Error>) {
        let upload = self.uploads.get_mut(&number).unwrap();
        match answer {
            Ok(Appended::Stored) => (upload.fate, upload.may_be_known) = (Fate::Acknowledged, false),
            Ok(Appended::Duplicate | Appended::DuplicateOfLog) => {
                let was_there = upload.fate == Fate::Acknowledged || upload.may_be_known;
                assert!(was_there, "upload {number} is not stored, but {:?}", upload.fate);
            }
            // What was deleted and is sent again may be in the log, too.
            Err(_) if upload.fate != Fate::Acknowledged => upload.fate = Fate::Refused,
            Err(_) => {}
        }
    }

    /// A deletion begins.
    pub(super) fn doom(&mut self, deletes: &Deletes) {
        for upload in self.uploads.values_mut() {
            let is_meant = deletes.selects(&upload.series)
                && deletes.days.is_none_or(|(first, last)| (first..=last).contains(&upload.day()));
            upload.is_doomed |= is_meant && upload.fate == Fate::Acknowledged;
        }
    }

    /// A deletion is done. Single profiles from before `horizon` may have been gone before, because of their
    /// age: then their uploads stay remembered.
    pub(super) fn deleted(&mut self, horizon: i64) {
        for upload in self.uploads.values_mut().filter(|upload| upload.is_doomed) {
            upload.may_be_known |= upload.profile.time < horizon;
            (upload.fate, upload.is_doomed, upload.was_deleted) = (Fate::Deleted, false, true);
        }
    }

    /// A deletion has failed. What it had deleted already is remembered until the next start.
    pub(super) fn not_deleted(&mut self) {
        self.uploads.values_mut().for_each(|upload| upload.may_be_known |= upload.is_doomed);
    }

    /// A process starts: the write-ahead log may still have what was deleted.
    pub(super) fn starts(&mut self) {
        let gone = self.uploads.values_mut().filter(|upload| upload.was_deleted || upload.is_doomed);
        gone.for_each(|upload| upload.may_be_known = true);
    }

    /// After a crash: what was refused may be there, and then stays.
    pub(super) fn restarted(&mut self, held: &Held) {
        let there: BTreeSet<u128> = held.profiles.iter().map(|profile| profile.id).collect();
        for upload in self.uploads.values_mut().filter(|upload| upload.fate == Fate::Refused) {
            let is_there = there.contains(&upload.profile.id);
            upload.fate = if is_there { Fate::Acknowledged } else { Fate::Gone };
        }
    }

    fn stored(&self) -> impl Iterator<Item = &Upload> {
        self.uploads.values().filter(|upload| upload.fate == Fate::Acknowledged)
    }

    /// What a query reads: single rows, and each tier with what is not summed yet.
    pub(super) fn check(&self, held: &Held, now: Nanos) {
        self.check_horizon(None, held.horizon, now);
        let mut profiles = BTreeMap::<ProfileRow, Weight>::new();
        let mut samples = BTreeMap::<SampleRow, Weight>::new();
        for upload in self.stored() {
            profiles.entry(upload.profile).or_default().expect(upload, 1);
            for row in &upload.samples {
                samples.entry(*row).or_default().expect(upload, 1);
            }
        }
        held.profiles.iter().for_each(|row| profiles.entry(*row).or_default().held += 1);
        held.samples.iter().for_each(|row| samples.entry(*row).or_default().held += 1);
        compare("profiles", &profiles, |row| row.time >= held.horizon);
        compare("samples", &samples, |row| row.time >= held.horizon);
        for tier in &held.tiers {
            self.check_horizon(Some(tier.tier), tier.horizon, now);
            self.check_tier(tier);
        }
    }

    fn check_tier(&self, held: &HeldTier) {
        let what = format!("{:?} by {:?}", held.tier, held.level);
        let window = |time: i64| time.div_euclid(held.tier.micros()) * held.tier.micros();
        let reduced: BTreeMap<u64, u64> =
            self.uploads.values().map(|upload| (upload.profile.series, upload.reduced.0)).collect();
        let reduce = |series: u64| match held.level {
            Level::Series => series,
            Level::Service => reduced[&series],
        };
        // By series, stack and window; those of profiles without a stack.
        let mut samples = BTreeMap::<(u64, u128, i64), Weight>::new();
        let mut profiles = [(); 3].map(|()| BTreeMap::<(u64, i64), Weight>::new());
        for upload in self.stored() {
            let profile = &upload.profile;
            let (series, time) = (reduce(profile.series), window(profile.time));
            for (sums, value) in profiles.iter_mut().zip([profile.total, profile.duration, profile.profiles])
            {
                sums.entry((series, time)).or_default().expect(upload, value);
            }
            for row in &upload.samples {
                samples.entry((series, row.stack, time)).or_default().expect(upload, row.value);
            }
        }
        let unsummed = held.unsummed_samples.iter();
        let unsummed = unsummed.map(|row| (reduce(row.series), row.stack, window(row.time), row.value));
        let summed = held.samples.iter().map(|row| (row.series, row.stack, row.time, row.value));
        for (series, stack, time, value) in unsummed.chain(summed) {
            samples.entry((series, stack, time)).or_default().held += value;
        }
        let unsummed = held.unsummed_profiles.iter();
        let unsummed = unsummed.map(|row| (reduce(row.series), window(row.time), row));
        for (series, time, row) in unsummed.chain(held.profiles.iter().map(|row| (row.series, row.time, row)))
        {
            for (sums, value) in profiles.iter_mut().zip([row.total, row.duration, row.profiles]) {
                sums.entry((series, time)).or_default().held += value;
            }
        }
        compare(&what, &samples, |(_, _, time)| *time >= held.horizon);
        for (name, sums) in ["totals", "durations", "numbers"].iter().zip(&profiles) {
            compare(&format!("{what}, {name} of profiles"), sums, |(_, time)| *time >= held.horizon);
        }
    }

    /// What is young enough is there.
    fn check_horizon(&self, tier: Option<Tier>, horizon: i64, now: Nanos) {
        if self.policy.all.bytes.is_some() {
            return;
        }
        let all = SERVICES.iter().filter_map(|service| self.oldest_kept(service, tier, now)).max();
        // A partition ends at a midnight.
        assert!(horizon <= all.unwrap_or(i64::MIN), "{tier:?} says that what is young is gone");
    }

    /// The first microsecond of which rows of `service` are kept; `None` for all.
    fn oldest_kept(&self, service: &str, tier: Option<Tier>, now: Nanos) -> Option<i64> {
        let policy = match &self.policy.second {
            Some(second) if service == SERVICES[1] => second,
            _ => &self.policy.all,
        };
        let age: Duration = match tier {
            None => policy.raw?,
            Some(Tier::FiveMinutes) => policy.five_minutes?,
            Some(Tier::Hour) => policy.hour?,
            Some(Tier::Day) => policy.day?,
        };
        Some((now / 1_000 - age.as_micros() as i64).div_euclid(DAY_MICROS) * DAY_MICROS)
    }

    /// After all that is due was done nothing is there that is too old.
    pub(super) fn check_expired(&self, held: &Held, now: Nanos) {
        let mut services = BTreeMap::new();
        for upload in self.uploads.values() {
            services.insert(upload.profile.series, upload.series.service());
            services.insert(upload.reduced.0, upload.series.service());
        }
        let is_kept = |series: u64, time: i64, tier: Option<Tier>| {
            let oldest = self.oldest_kept(services[&series], tier, now);
            oldest.is_none_or(|oldest| partition_end(time, tier) > oldest)
        };
        for row in &held.samples {
            assert!(is_kept(row.series, row.time, None), "{row:?} is too old");
        }
        for row in &held.profiles {
            assert!(is_kept(row.series, row.time, None), "{row:?} is too old");
        }
        for sums in &held.tiers {
            let rows = sums.samples.iter().map(|row| (row.series, row.time));
            for (series, time) in rows.chain(sums.profiles.iter().map(|row| (row.series, row.time))) {
                let what = (sums.tier, sums.level);
                assert!(is_kept(series, time, Some(sums.tier)), "a sum of {what:?} is too old");
            }
        }
    }

    /// Selectors find what is there, on its day, and nothing else.
    pub(super) fn check_series(&self, lake: &Lake) {
        let mut days = BTreeMap::<(SeriesId, i32), bool>::new();
        for upload in self.stored() {
            *days.entry((upload.series.id(), upload.day())).or_default() |= !upload.is_doomed;
        }
        let mut found = BTreeSet::new();
        for day in days.keys().map(|(_, day)| *day).collect::<BTreeSet<i32>>() {
            let start = i64::from(day) * DAY_MICROS * 1_000;
            let series = lake.series(start, start + DAY_MICROS * 1_000 - 1, &|_| true);
            found.extend(series.into_iter().map(|series| (series.id, day)));
        }
        for (series, is_sure) in &days {
            assert!(!is_sure || found.contains(series), "{series:?} is not found");
        }
        for series in &found {
            assert!(days.contains_key(series), "{series:?} is found, and has nothing");
        }
    }

    /// All stacks have frames.
    pub(super) fn check_stacks(&self, held: &Held, lake: &Lake) {
        let mut stacks: BTreeSet<StackId> = held.samples.iter().map(|row| StackId(row.stack)).collect();
        stacks.extend(held.tiers.iter().flat_map(|tier| &tier.samples).map(|row| StackId(row.stack)));
        let stacks: Vec<StackId> = stacks.into_iter().collect();
        let resolved = lake.resolve_stacks(&SERVICES, &stacks).unwrap();
        assert_eq!(resolved.missing, [], "stacks without frames");
    }
}

/// Fails unless there is as much of everything as should be; of what is not `complete` there may be less.
fn compare<K: Debug>(what: &str, weights: &BTreeMap<K, Weight>, complete: impl Fn(&K) -> bool) {
    for (key, weight) in weights {
        let most = weight.sure + weight.possible;
        let least = if complete(key) { weight.sure } else { 0 };
        assert!(
            (least..=most).contains(&weight.held),
            "{what}: {key:?} should be {least} to {most}: {weight:?}"
        );
    }
}

/// The end of the partition that `time` lies in, microseconds since the epoch.
fn partition_end(time: i64, tier: Option<Tier>) -> i64 {
    let mut day = time.div_euclid(DAY_MICROS) as i32 + 1;
    if matches!(tier, Some(Tier::Hour | Tier::Day)) {
        while !date_text(day).ends_with("-01") {
            day += 1;
        }
    }
    i64::from(day) * DAY_MICROS
}
