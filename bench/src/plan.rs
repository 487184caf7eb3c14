//! What is sent: which series, when, and which body; and therefore what a query must answer.

use crate::bodies::{Body, Random};
use crate::wire;
use everflame_profile::Nanos;

/// Nanoseconds in a second.
pub(crate) const SECOND: Nanos = 1_000_000_000;

/// One pod of one service.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) service: String,
    pub(crate) pod: String,
    /// `repeated LabelPair` as field 1, which Push and Parca's label set share.
    pub(crate) labels: Vec<u8>,
}

impl Series {
    fn new(service: String, pod: String) -> Self {
        let mut labels = Vec::new();
        let pairs = [("__name__", "process_cpu"), ("service_name", &service), ("pod", &pod)];
        for (name, value) in pairs {
            let mut pair = Vec::new();
            wire::bytes(&mut pair, 1, name.as_bytes());
            wire::bytes(&mut pair, 2, value.as_bytes());
            wire::bytes(&mut labels, 1, &pair);
        }
        Self { service, pod, labels }
    }
}

/// The whole load. Profile `i` is step `i / series` of series `i % series`, so time goes forward.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) series: Vec<Series>,
    pub(crate) bodies: Vec<Body>,
    pub(crate) start: Nanos,
    pub(crate) interval: Nanos,
    pub(crate) profiles: usize,
}

/// One profile of the plan.
pub(crate) struct Planned<'a> {
    pub(crate) series: &'a Series,
    pub(crate) body: &'a Body,
    pub(crate) time: Nanos,
}

impl Plan {
    /// `profiles` profiles of `services` × `pods` series, one per `interval`, the last ones at `end`.
    pub(crate) fn new(
        bodies: Vec<Body>,
        services: usize,
        pods: usize,
        interval: Nanos,
        profiles: usize,
        end: Nanos,
    ) -> Self {
        let series: Vec<_> = (1..=services)
            .flat_map(|service| {
                (0..pods).map(move |pod| {
                    Series::new(format!("svc-{service:03}"), format!("svc-{service:03}-{pod}"))
                })
            })
            .collect();
        let steps = profiles.div_ceil(series.len()) as Nanos;
        // Whole seconds, so that every wire's times hit the bounds exactly.
        let start = (end - steps * interval) / SECOND * SECOND;
        Self { series, bodies, start, interval, profiles }
    }

    /// End of the load, exclusive.
    pub(crate) fn end(&self) -> Nanos {
        self.start + self.profiles.div_ceil(self.series.len()) as Nanos * self.interval
    }

    /// Profile number `index`.
    pub(crate) fn profile(&self, index: usize) -> Planned<'_> {
        let (step, series) = (index / self.series.len(), index % self.series.len());
        let body = Random(index as u64).below(self.bodies.len() as u64) as usize;
        // Spread over the interval, and never on a millisecond that a query begins or ends at.
        let offset =
            self.interval / 1000 + self.interval / 1002 * 1000 * series as Nanos / self.series.len() as Nanos;
        Planned {
            series: &self.series[series],
            body: &self.bodies[body],
            time: self.start + step as Nanos * self.interval + offset,
        }
    }

    /// Nanoseconds of CPU in the profiles from `from` to `until` of `service`, or of all.
    pub(crate) fn cpu(&self, service: Option<&str>, from: Nanos, until: Nanos) -> i64 {
        (0..self.profiles)
            .map(|index| self.profile(index))
            .filter(|planned| (from..until).contains(&planned.time))
            .filter(|planned| service.is_none_or(|service| planned.series.service == service))
            .map(|planned| planned.body.cpu)
            .sum()
    }

    /// Stacks with values in all profiles.
    pub(crate) fn samples(&self) -> u64 {
        (0..self.profiles).map(|index| self.profile(index).body.samples).sum()
    }

    /// Values that are not zero in all profiles.
    pub(crate) fn rows(&self) -> u64 {
        (0..self.profiles).map(|index| self.profile(index).body.rows).sum()
    }

    /// Names of the services, sorted.
    pub(crate) fn services(&self) -> Vec<&str> {
        let mut services: Vec<_> = self.series.iter().map(|series| series.service.as_str()).collect();
        services.dedup();
        services
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn plan() -> Plan {
        let body = |cpu| Body { gzip: vec![0x1f, 0x8b], cpu, samples: 2, rows: 4 };
        Plan::new(vec![body(10), body(100)], 2, 2, 15 * SECOND, 960, 1_800_000_000 * SECOND + 7)
    }

    #[test]
    fn times_stay_within_their_interval() {
        let plan = plan();
        assert_eq!(plan.end(), 1_800_000_000 * SECOND);
        assert_eq!(plan.end() - plan.start, 3600 * SECOND);
        for index in 0..plan.profiles {
            let planned = plan.profile(index);
            let step = plan.start + (index / 4) as Nanos * plan.interval;
            assert!((step + 1..step + plan.interval).contains(&planned.time));
        }
        assert_eq!(plan.profile(3).series.pod, "svc-002-1");
    }

    #[test]
    fn parts_add_up() {
        let plan = plan();
        let middle = plan.start + 1800 * SECOND;
        let all = plan.cpu(None, plan.start, plan.end());
        assert_eq!(plan.cpu(None, plan.start, middle) + plan.cpu(None, middle, plan.end()), all);
        let by_service: i64 =
            plan.services().into_iter().map(|name| plan.cpu(Some(name), plan.start, plan.end())).sum();
        assert_eq!(by_service, all);
        assert_eq!(plan.samples(), 2 * 960);
    }
}
