//! The uploads of a schedule: each number stands for one, always the same.

use super::{DAY_SECONDS, MIDNIGHT};
use crate::batch::{Batch, ProfileId};
use crate::lake::Lake;
use crate::testing;
use everflame_profile::{Labels, StackId};

pub(super) const SERVICES: [&str; 2] = ["api", "web"];
pub(super) const PODS: [&str; 3] = ["a", "b", "c"];

const STACKS: [&[&str]; 5] =
    [&["leaf", "work", "main"], &["work", "main"], &["main"], &["idle", "main"], &["gc"]];

/// Days before or after the first one. Some uploads come late, some a month late.
const DAYS: [i64; 8] = [0, 0, -1, 0, -3, 1, -6, -40];

/// The upload with this number, but for the frames that the lake knows already.
pub(super) fn upload(lake: &Lake, number: u64) -> Batch {
    let (service, pod) = (SERVICES[number as usize % 2], PODS[number as usize / 2 % 3]);
    let day = DAYS[number as usize / 3 % DAYS.len()] * DAY_SECONDS;
    // Several in one window of five minutes, and some in other hours.
    let micros = MIDNIGHT / 1_000 + (day + number as i64 * 97 % 9_000) * 1_000_000;
    let stacks = (0..1 + number % 3).map(|at| STACKS[(number + at) as usize % STACKS.len()]);
    let samples: Vec<(&[&str], i64)> =
        stacks.zip(1..).map(|(stack, at)| (stack, number as i64 * 10 + at)).collect();
    let mut batch = testing::batch(service, micros, &samples);
    batch.series[0].labels = Labels::from_pairs([("service_name", service), ("pod", pod)]);
    let id = ProfileId(u128::from(number) << 64 | 1);
    // As of a sender whose ids may stand for several uploads.
    batch.upload = Some(ProfileId(!id.0));
    batch.profiles[0].id = id;
    batch.profiles[0].duration = number as i64 + 1;
    let ids: Vec<StackId> = batch.stacks.clone();
    testing::keep_new_stacks(&mut batch, &lake.unknown_stacks(service, &ids));
    batch
}
