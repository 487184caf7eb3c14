//! The buffer between the signal handler and `collect`: preallocated slots, each handed over by one atomic.
//!
//! Slots are used from the first on and the cursor goes back to the first at each drain, so that only as
//! much memory is touched as samples come between two drains. A full buffer loses samples and counts them.
#![allow(unsafe_code)] // Slots are shared through `UnsafeCell`; the state of a slot says who may touch it.

use crate::walk::MAX_DEPTH;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Samples that fit: 41 s of two busy threads at 99 Hz. A slot has 2 KiB.
const SLOTS: usize = 8192;

const EMPTY: u32 = 0;
const WRITING: u32 = 1;
const READY: u32 = 2;

/// One sample as the handler leaves it.
#[repr(C)]
pub(crate) struct Sample {
    /// Number of `addresses` in use.
    pub(crate) depth: u32,
    /// Name of the thread, padded with zeros.
    pub(crate) thread: [u8; 16],
    /// The stack, leaf first.
    pub(crate) addresses: [usize; MAX_DEPTH],
}

#[repr(C)]
struct Slot {
    state: AtomicU32,
    sample: UnsafeCell<Sample>,
}

/// See the module.
pub(crate) struct Ring {
    slots: Box<[Slot]>,
    next: AtomicUsize,
    high: AtomicUsize,
    lost: AtomicU64,
}

// SAFETY: a sample is touched only by the one who moved its slot out of EMPTY (the handler) or who found it
// READY (the only drainer); both orders are made by acquire and release on `state`.
unsafe impl Sync for Ring {}

impl Ring {
    /// Takes address space for all slots; memory comes with their use.
    pub(crate) fn new() -> Self {
        // SAFETY: all-zero bytes are a valid slot: state EMPTY and integers.
        let slots = unsafe { Box::new_zeroed_slice(SLOTS).assume_init() };
        Self { slots, next: AtomicUsize::new(0), high: AtomicUsize::new(0), lost: AtomicU64::new(0) }
    }

    /// Lets `fill` write a sample. Called in signal handlers: no lock, no allocation.
    pub(crate) fn record(&self, fill: impl FnOnce(&mut Sample)) {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(slot) = self.slots.get(at) else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if slot.state.compare_exchange(EMPTY, WRITING, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // SAFETY: the exchange above made the slot ours until the store below.
        fill(unsafe { &mut *slot.sample.get() });
        slot.state.store(READY, Ordering::Release);
    }

    /// Shows every finished sample to `see` and frees its slot. One caller at a time.
    pub(crate) fn drain(&self, mut see: impl FnMut(&Sample)) {
        let used = self.next.load(Ordering::Relaxed).max(self.high.load(Ordering::Relaxed));
        for slot in self.slots.iter().take(used) {
            if slot.state.load(Ordering::Acquire) == READY {
                // SAFETY: READY slots belong to the drainer until the store below.
                see(unsafe { &*slot.sample.get() });
                slot.state.store(EMPTY, Ordering::Release);
            }
        }
        // What came while we looked lies past `used`; the next drain looks there too.
        let used = self.next.swap(0, Ordering::Relaxed).min(SLOTS);
        self.high.store(used, Ordering::Relaxed);
    }

    /// Samples lost since the last call because no slot was free.
    pub(crate) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_does_not_fit() {
        let ring = Ring::new();
        for depth in 0..SLOTS as u32 + 5 {
            ring.record(|sample| sample.depth = depth);
        }
        let mut seen = Vec::new();
        ring.drain(|sample| seen.push(sample.depth));
        assert_eq!(seen, (0..SLOTS as u32).collect::<Vec<_>>());
        assert_eq!((ring.take_lost(), ring.take_lost()), (5, 0));
        ring.record(|sample| sample.depth = 7);
        seen.clear();
        ring.drain(|sample| seen.push(sample.depth));
        ring.drain(|_| panic!("drained twice"));
        assert_eq!(seen, [7]);
    }
}
