//! How long to wait before the next attempt: twice as long each time, with jitter, within bounds.

use std::fmt;
use std::time::Duration;

/// The first wait, before jitter.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait that is chosen here.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest wait that the other end may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(600);

/// Draws random numbers, so that many senders do not come back at the same moment.
pub struct Jitter(Box<dyn FnMut() -> u64 + Send + Sync>);

impl Jitter {
    /// Numbers from `draw`.
    pub fn new(draw: impl FnMut() -> u64 + Send + Sync + 'static) -> Self {
        Self(Box::new(draw))
    }

    /// A number from 0 up to 1.
    fn share(&mut self) -> f64 {
        (self.0() >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl fmt::Debug for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jitter")
    }
}

/// The wait before attempt number `attempt` (from 1): half of the doubled time for sure, the rest by chance, and
/// at least what the other end `asked` for.
pub(crate) fn wait(attempt: u32, asked: Option<Duration>, jitter: &mut Jitter) -> Duration {
    let doubled = FIRST.saturating_mul(1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
    let doubled = doubled.min(LONGEST);
    let own = doubled.mul_f64(0.5 + 0.5 * jitter.share());
    let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
    // Who was asked to wait adds a little, so that not all that were come back at once.
    own.max(asked + asked.mul_f64(0.1 * jitter.share()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end() {
        let waits = |number: u64, asked: Option<u64>| {
            let mut jitter = Jitter::new(move || number);
            let asked = asked.map(Duration::from_secs);
            [1, 2, 3, 8, 40].map(|attempt| wait(attempt, asked, &mut jitter).as_millis())
        };
        assert_eq!(waits(0, None), [125, 250, 500, 15_000, 15_000]);
        let most = waits(u64::MAX, None);
        assert!(most.iter().zip([250, 500, 1_000, 30_000, 30_000]).all(|(wait, most)| *wait <= most));
        assert_eq!(waits(0, Some(7)), [7_000, 7_000, 7_000, 15_000, 15_000]);
        assert_eq!(waits(0, Some(1 << 40))[0], 600_000);
    }
}
