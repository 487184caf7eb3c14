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

/// The shape of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// What the names of its services begin with.
    pub(crate) prefix: &'static str,
    pub(crate) services: usize,
    /// Pods of each service at any time.
    pub(crate) pods: usize,
    /// Time between two profiles of a pod.
    pub(crate) interval: Nanos,
    pub(crate) profiles: usize,
    /// After so many profiles of each pod all pods are replaced by new ones.
    pub(crate) pod_life: Option<usize>,
}

/// A whole load. Profile `i` is step `i / width` of pod `i % width`, so time goes forward.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// All series that ever send: `width` for each generation of pods.
    pub(crate) series: Vec<Series>,
    pub(crate) bodies: Vec<Body>,
    pub(crate) start: Nanos,
    pub(crate) interval: Nanos,
    pub(crate) profiles: usize,
    /// Series that send at any time.
    pub(crate) width: usize,
    /// Steps of a generation of pods.
    pod_life: usize,
    /// Profiles that travel in one request.
    pub(crate) per_request: usize,
    /// The order in which profiles are sent; empty when it is their own.
    order: Vec<u32>,
}

/// One profile of the plan.
pub(crate) struct Planned<'a> {
    pub(crate) series: &'a Series,
    pub(crate) body: &'a Body,
    pub(crate) time: Nanos,
}

impl Plan {
    /// A load of `shape` with the last profiles at `end`.
    pub(crate) fn new(bodies: Vec<Body>, shape: &Shape, end: Nanos) -> Self {
        let Shape { prefix, services, pods, interval, profiles, pod_life } = *shape;
        let steps = profiles.div_ceil(services * pods);
        let pod_life = pod_life.unwrap_or(steps).max(1);
        let generations = steps.div_ceil(pod_life).max(1);
        let mut series = Vec::with_capacity(generations * services * pods);
        for generation in 0..generations {
            for service in 1..=services {
                let service = format!("{prefix}-{service:03}");
                let first = generation * pods;
                series.extend(
                    (first..first + pods).map(|pod| Series::new(service.clone(), format!("{service}-{pod}"))),
                );
            }
        }
        // Whole seconds, so that every wire's times hit the bounds exactly.
        let start = (end - steps as Nanos * interval) / SECOND * SECOND;
        let width = services * pods;
        Self { series, bodies, start, interval, profiles, width, pod_life, per_request: 1, order: Vec::new() }
    }

    /// The same load, sent in a random order that is the same each time.
    pub(crate) fn shuffled(mut self) -> Self {
        let mut random = Random(self.profiles as u64);
        self.order = (0..self.profiles as u32).collect();
        for last in (1..self.order.len()).rev() {
            self.order.swap(last, random.below(last as u64 + 1) as usize);
        }
        self
    }

    /// The same load with `count` profiles in a request.
    pub(crate) fn batched(self, count: usize) -> Self {
        Self { per_request: count.max(1), ..self }
    }

    /// End of the load, exclusive.
    pub(crate) fn end(&self) -> Nanos {
        self.start + self.profiles.div_ceil(self.width) as Nanos * self.interval
    }

    /// Profile number `index`.
    pub(crate) fn profile(&self, index: usize) -> Planned<'_> {
        let (step, pod) = (index / self.width, index % self.width);
        let body = Random(index as u64).below(self.bodies.len() as u64) as usize;
        // Spread over the interval, and never on a millisecond that a query begins or ends at.
        let offset = self.interval / 1000 + self.interval / 1002 * 1000 * pod as Nanos / self.width as Nanos;
        Planned {
            series: &self.series[step / self.pod_life * self.width + pod],
            body: &self.bodies[body],
            time: self.start + step as Nanos * self.interval + offset,
        }
    }

    /// The profiles that request number `index` carries; none past the last.
    pub(crate) fn request(&self, index: usize) -> impl Iterator<Item = Planned<'_>> {
        let first = index.saturating_mul(self.per_request).min(self.profiles);
        let last = first.saturating_add(self.per_request).min(self.profiles);
        (first..last).map(|at| self.profile(self.order.get(at).map_or(at, |&at| at as usize)))
    }

    /// Nanoseconds of CPU in the profiles from `from` to `until` of `service`, or of all.
    pub(crate) fn cpu(&self, service: Option<&str>, from: Nanos, until: Nanos) -> i64 {
        self.within(service, from, until).map(|planned| planned.body.cpu).sum()
    }

    /// The profiles from `from` to `until` of `service`, or of all.
    pub(crate) fn within<'a>(
        &'a self,
        service: Option<&'a str>,
        from: Nanos,
        until: Nanos,
    ) -> impl Iterator<Item = Planned<'a>> {
        (0..self.profiles)
            .map(|index| self.profile(index))
            .filter(move |planned| (from..until).contains(&planned.time))
            .filter(move |planned| service.is_none_or(|service| planned.series.service == service))
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
        services.sort_unstable();
        services.dedup();
        services
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn plan() -> Plan {
        let body = |cpu| Body { gzip: vec![0x1f, 0x8b], cpu, samples: 2, rows: 4 };
        let shape = Shape {
            prefix: "svc",
            services: 2,
            pods: 2,
            interval: 15 * SECOND,
            profiles: 960,
            pod_life: None,
        };
        Plan::new(vec![body(10), body(100)], &shape, 1_800_000_000 * SECOND + 7)
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

    #[test]
    fn pods_are_replaced() {
        let plan = plan();
        let shape = Shape {
            prefix: "year",
            services: 1,
            pods: 4,
            interval: 60 * SECOND,
            profiles: 35,
            pod_life: Some(3),
        };
        let end = plan.end();
        let plan = Plan::new(plan.bodies, &shape, end);
        assert_eq!((plan.series.len(), plan.services()), (12, vec!["year-001"]));
        let pods: Vec<_> =
            [0, 11, 12, 34].iter().map(|&at| plan.profile(at).series.pod.as_str().to_owned()).collect();
        assert_eq!(pods, ["year-001-0", "year-001-3", "year-001-4", "year-001-10"]);
    }

    #[test]
    fn each_profile_is_sent_once_whatever_the_order() {
        let (plain, shuffled) = (plan(), plan().shuffled().batched(7));
        let times = |plan: &Plan, requests: usize| -> Vec<_> {
            (0..requests).flat_map(|at| plan.request(at)).map(|planned| planned.time).collect()
        };
        let (sent, mut late) = (times(&plain, 960), times(&shuffled, 138));
        assert_ne!(sent[..960], late[..960]);
        late.sort_unstable();
        let mut sorted = sent.clone();
        sorted.sort_unstable();
        assert_eq!(late, sorted);
        assert_eq!(shuffled.request(138).count(), 0);
    }
}
