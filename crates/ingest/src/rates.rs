//! How much a tenant and each of its services may send: buckets of tokens that fill up with time.
//!
//! An upload that is larger than a full bucket passes when the bucket is full, and those after it wait until
//! the debt is paid, so that no size is refused for ever.

use crate::limits::Rates;
use everflame_profile::Nanos;
use hashbrown::HashMap;
use parking_lot::Mutex;

/// Services whose buckets are remembered. Past it those that are full are forgotten, which changes nothing,
/// then all.
const MAX_SERVICES: usize = 16_384;

const SECOND: f64 = 1e9;

/// What an upload costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) profiles: u64,
    pub(crate) bytes: u64,
}

/// Why an upload has to wait.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Excess {
    /// The service whose bound it is, or none when it is the tenant's.
    pub(crate) service: Option<String>,
    /// What there is too much of: `profiles` or `bytes`.
    pub(crate) what: &'static str,
    /// How much of it may come in a second.
    pub(crate) rate: u64,
    /// After how many nanoseconds it would pass.
    pub(crate) wait: Nanos,
}

/// The buckets of one tenant.
#[derive(Debug, Default)]
pub(crate) struct Meters(Mutex<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    tenant: Option<Pair>,
    services: HashMap<String, Pair>,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    profiles: f64,
    bytes: f64,
    at: Nanos,
}

/// A bucket's rate and what fits into it.
#[derive(Clone, Copy)]
struct Bound {
    rate: u64,
    capacity: f64,
}

impl Bound {
    fn new(rate: u64, burst: Nanos) -> Self {
        let rate = rate.max(1);
        Self { rate, capacity: (rate as f64 * burst as f64 / SECOND).max(1.0) }
    }

    fn refill(self, level: &mut f64, elapsed: Nanos) {
        *level = (*level + self.rate as f64 * elapsed as f64 / SECOND).min(self.capacity);
    }

    /// How long until `cost` may be taken; nothing when it may be now, and what costs nothing may always.
    fn wait(self, level: f64, cost: u64) -> Option<Nanos> {
        if cost == 0 {
            return None;
        }
        let lacking = (cost as f64).min(self.capacity) - level;
        // A token that is there but for rounding is there.
        (lacking > 1e-6).then(|| (lacking / self.rate as f64 * SECOND).ceil() as Nanos)
    }
}

impl Pair {
    fn refill(&mut self, rates: Rates, burst: Nanos, now: Nanos) {
        let elapsed = now.saturating_sub(self.at).max(0);
        self.at = now;
        for (rate, level) in [(rates.profiles, &mut self.profiles), (rates.bytes, &mut self.bytes)] {
            if let Some(rate) = rate {
                Bound::new(rate, burst).refill(level, elapsed);
            }
        }
    }

    fn full(rates: Rates, burst: Nanos, now: Nanos) -> Self {
        let full = |rate: Option<u64>| rate.map_or(0.0, |rate| Bound::new(rate, burst).capacity);
        Self { profiles: full(rates.profiles), bytes: full(rates.bytes), at: now }
    }

    fn excess(&self, rates: Rates, burst: Nanos, cost: Cost) -> Option<(&'static str, u64, Nanos)> {
        let sides = [
            ("profiles", rates.profiles, self.profiles, cost.profiles),
            ("bytes", rates.bytes, self.bytes, cost.bytes),
        ];
        let waits = sides.into_iter().filter_map(|(what, rate, level, cost)| {
            let bound = Bound::new(rate?, burst);
            bound.wait(level, cost).map(|wait| (what, bound.rate, wait))
        });
        waits.max_by_key(|(_, _, wait)| *wait)
    }

    fn pay(&mut self, rates: Rates, cost: Cost) {
        self.profiles -= rates.profiles.map_or(0.0, |_| cost.profiles as f64);
        self.bytes -= rates.bytes.map_or(0.0, |_| cost.bytes as f64);
    }
}

impl Meters {
    /// Whether the tenant has nothing left, so that decoding more would be for nothing.
    pub(crate) fn exhausted(&self, tenant: Rates, burst: Nanos, now: Nanos) -> Option<Excess> {
        if tenant.is_unlimited() {
            return None;
        }
        let mut buckets = self.0.lock();
        let pair = buckets.tenant.get_or_insert_with(|| Pair::full(tenant, burst, now));
        pair.refill(tenant, burst, now);
        let least = Cost { profiles: 1, bytes: 1 };
        pair.excess(tenant, burst, least).map(|(what, rate, wait)| Excess { service: None, what, rate, wait })
    }

    /// Takes what an upload costs from its tenant's and its services' buckets, or nothing at all.
    pub(crate) fn take(
        &self,
        tenant: Rates,
        services: &[(&str, Rates, Cost)],
        total: Cost,
        burst: Nanos,
        now: Nanos,
    ) -> Result<(), Excess> {
        let limited = || services.iter().filter(|(_, rates, _)| !rates.is_unlimited());
        if tenant.is_unlimited() && limited().next().is_none() {
            return Ok(());
        }
        let mut buckets = self.0.lock();
        if !tenant.is_unlimited() {
            let pair = buckets.tenant.get_or_insert_with(|| Pair::full(tenant, burst, now));
            pair.refill(tenant, burst, now);
            if let Some((what, rate, wait)) = pair.excess(tenant, burst, total) {
                return Err(Excess { service: None, what, rate, wait });
            }
        }
        for &(service, rates, cost) in limited() {
            buckets.make_room(service, burst, now);
            let pair = buckets.services.entry_ref(service).or_insert_with(|| Pair::full(rates, burst, now));
            pair.refill(rates, burst, now);
            if let Some((what, rate, wait)) = pair.excess(rates, burst, cost) {
                return Err(Excess { service: Some(service.to_owned()), what, rate, wait });
            }
        }
        if let Some(pair) = &mut buckets.tenant {
            pair.pay(tenant, total);
        }
        for &(service, rates, cost) in limited() {
            if let Some(pair) = buckets.services.get_mut(service) {
                pair.pay(rates, cost);
            }
        }
        Ok(())
    }
}

impl Buckets {
    fn make_room(&mut self, service: &str, burst: Nanos, now: Nanos) {
        if self.services.len() < MAX_SERVICES || self.services.contains_key(service) {
            return;
        }
        // A bucket that nobody took from for a whole burst is full again, unless it was in debt.
        self.services
            .retain(|_, pair| now.saturating_sub(pair.at) < burst || pair.profiles < 0.0 || pair.bytes < 0.0);
        if self.services.len() >= MAX_SERVICES {
            self.services.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Nanos = 1_000_000_000;
    const NONE: Rates = Rates { profiles: None, bytes: None };

    fn profiles(rate: u64) -> Rates {
        Rates { profiles: Some(rate), bytes: None }
    }

    fn one(bytes: u64) -> Cost {
        Cost { profiles: 1, bytes }
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let meters = Meters::default();
        let take = |now| meters.take(profiles(2), &[], one(1), 5 * S, now).map_err(|excess| excess.wait);
        for _ in 0..10 {
            assert_eq!(take(0), Ok(()));
        }
        assert_eq!(take(0), Err(S / 2));
        assert_eq!(take(S / 4), Err(S / 4));
        assert_eq!(take(S / 2), Ok(()));
        assert_eq!(take(S / 2), Err(S / 2));
        // The clock may step back.
        assert_eq!(take(0), Err(S / 2));
        assert!(meters.exhausted(profiles(2), 5 * S, 0).is_some());
        assert_eq!(take(100 * S), Ok(()));
    }

    #[test]
    fn large_uploads_pass_when_the_bucket_is_full_and_leave_a_debt() {
        let (meters, rates) = (Meters::default(), Rates { profiles: None, bytes: Some(100) });
        let take = |bytes, now| meters.take(rates, &[], one(bytes), S, now).map_err(|excess| excess.wait);
        assert_eq!(take(1_000, 0), Ok(()));
        assert_eq!(take(1, S), Err(8 * S + S / 100));
        assert_eq!(take(1_000, 9 * S), Err(S));
        assert_eq!(take(1_000, 10 * S), Ok(()));
        // What was paid for as a whole is not asked for again in parts.
        assert_eq!(take(0, 10 * S), Ok(()));
    }

    #[test]
    fn services_have_their_own_and_a_refusal_takes_nothing() {
        let meters = Meters::default();
        let take = |services: &[(&str, Rates, Cost)]| {
            meters.take(profiles(3), services, one(1), S, 0).map_err(|excess| excess.service)
        };
        assert_eq!(take(&[("a", profiles(1), one(1))]), Ok(()));
        assert_eq!(
            take(&[("b", profiles(1), one(1)), ("a", profiles(1), one(1))]),
            Err(Some("a".to_owned()))
        );
        assert_eq!(take(&[("b", profiles(1), one(1))]), Ok(()));
        assert_eq!(take(&[("c", NONE, one(1))]), Ok(()));
        assert_eq!(take(&[("c", NONE, one(1))]), Err(None));
    }

    #[test]
    fn services_are_forgotten_in_the_end() {
        let meters = Meters::default();
        for at in 0..3 * MAX_SERVICES {
            let name = format!("s{at}");
            meters.take(NONE, &[(&name, profiles(1), one(1))], one(1), S, at as Nanos).unwrap();
        }
        assert!(meters.0.lock().services.len() <= MAX_SERVICES);
    }

    proptest! {
        /// Whatever comes when, no more passes than the burst and what the rate allows since.
        #[test]
        fn the_rate_holds(steps in prop::collection::vec((0i64..S, 1u64..50), 1..200), rate in 1u64..100) {
            let meters = Meters::default();
            let (mut now, mut passed) = (0, 0);
            for (step, bytes) in steps {
                now += step;
                if meters.take(Rates { profiles: None, bytes: Some(rate) }, &[], one(bytes), S, now).is_ok() {
                    passed += bytes;
                }
            }
            // One upload may overdraw the bucket.
            prop_assert!(passed as f64 <= rate as f64 * (1.0 + now as f64 / SECOND) + 50.0);
        }
    }
}
