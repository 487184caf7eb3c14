//! The loads that our own server is measured with.

use crate::bodies::{Size, bodies};
use crate::options::Options;
use crate::plan::{Plan, SECOND, Shape};
use anyhow::Result;
use everflame_profile::Nanos;
use std::rc::Rc;

const MINUTE: Nanos = 60 * SECOND;
const DAYS_OF_BACKFILL: usize = 30;
const DAYS_OF_YEAR: usize = 365;
const MINUTES_A_DAY: usize = 24 * 60;

/// Profiles that travel in one request of the year: as much as a spool sends that was cut off for a while.
const YEAR_BATCH: usize = 64;

/// A load and the questions that go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Dataset {
    /// The load of --services, --pods, --interval and --hours, and what starting and acknowledging cost.
    Dense,
    /// 69,120 profiles of the last 30 days (2 services of 4 pods, one each 5 minutes), sent late and in
    /// random order; beside the dense load when there is one.
    Backfill,
    /// A year of one service: 4 pods at any time, replaced daily, a small profile a minute from each,
    /// 2.1 million in all.
    Year,
}

/// The dense load of `profiles` profiles.
pub(crate) fn dense(options: &Options, profiles: usize, now: Nanos) -> Result<Rc<Plan>> {
    let shape = Shape {
        prefix: "svc",
        services: options.services as usize,
        pods: options.pods as usize,
        interval: Nanos::from(options.interval) * SECOND,
        profiles,
        pod_life: None,
    };
    Ok(Rc::new(Plan::new(bodies(Size::Full)?, &shape, now)))
}

/// Thirty days in random order.
pub(crate) fn backfill(now: Nanos) -> Result<Rc<Plan>> {
    let interval = 5 * MINUTE;
    let (services, pods) = (2, 4);
    let profiles = DAYS_OF_BACKFILL * MINUTES_A_DAY / 5 * services * pods;
    let shape = Shape { prefix: "late", services, pods, interval, profiles, pod_life: None };
    Ok(Rc::new(Plan::new(bodies(Size::Full)?, &shape, now / interval * interval).shuffled()))
}

/// A year of small profiles.
pub(crate) fn year(now: Nanos) -> Result<Rc<Plan>> {
    let pods = 4;
    let shape = Shape {
        prefix: "year",
        services: 1,
        pods,
        interval: MINUTE,
        profiles: DAYS_OF_YEAR * MINUTES_A_DAY * pods,
        pod_life: Some(MINUTES_A_DAY),
    };
    Ok(Rc::new(Plan::new(bodies(Size::Small)?, &shape, now / MINUTE * MINUTE).batched(YEAR_BATCH)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Nanos = 1_800_000_123 * SECOND;

    #[test]
    fn sizes_are_the_promised_ones() {
        let backfill = backfill(NOW).unwrap();
        assert_eq!((backfill.profiles, backfill.series.len()), (69_120, 8));
        assert_eq!(backfill.end() - backfill.start, 30 * 24 * 60 * MINUTE);
        assert!(NOW - backfill.end() < 5 * MINUTE);
        let year = year(NOW).unwrap();
        assert_eq!((year.profiles, year.series.len(), year.width), (2_102_400, 4 * 365, 4));
        assert_eq!(year.end(), NOW / MINUTE * MINUTE);
    }
}
