//! What the heap profiler remembers: sampled stacks with their sums, and which samples are alive.
//!
//! Static and bounded. What does not fit is still counted, under a stack without frames.

use crate::heap::{MAX_FRAMES, weight};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Different stacks between two cleanings; 1 KiB each, touched when used.
const STACKS: usize = 4096;
const STACK_INDEX: usize = 2 * STACKS;
/// Live samples; at one in 512 KiB this is a heap of 6 GiB.
const MAX_LIVE: usize = 12_288;
const LIVE_SLOTS: usize = 16_384;
/// Bits of the filter that most frees ask alone: 8 KiB.
const FILTER_BITS: usize = 1 << 16;

pub(crate) static TABLE: Mutex<Table> = Mutex::new(Table::EMPTY);
static FILTER: [AtomicU64; FILTER_BITS / 64] = [const { AtomicU64::new(0) }; FILTER_BITS / 64];

fn mix(value: usize) -> u64 {
    (value as u64 >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn filter_bit(pointer: usize) -> usize {
    (mix(pointer) >> 48) as usize
}

/// Whether `pointer` may be a live sample. No lock: who frees a pointer got it from the thread that
/// allocated it, so that thread's bit is seen.
#[inline]
pub(crate) fn may_be_live(pointer: usize) -> bool {
    let bit = filter_bit(pointer);
    FILTER[bit / 64].load(Ordering::Relaxed) >> (bit % 64) & 1 != 0
}

/// Sums of a stack, weighted.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    /// Number of frames.
    pub(crate) depth: usize,
    /// Allocations since the last take.
    pub(crate) objects: f64,
    /// Their bytes.
    pub(crate) bytes: f64,
    /// Allocations alive.
    pub(crate) live_objects: f64,
    /// Their bytes.
    pub(crate) live_bytes: f64,
    samples_alive: u32,
}

#[derive(Clone, Copy)]
struct Live {
    pointer: usize,
    size: usize,
    stack: usize,
}

/// See the module.
pub(crate) struct Table {
    used: usize,
    rows: [Row; STACKS],
    addresses: [[usize; MAX_FRAMES]; STACKS],
    /// Open addressing over `rows`: index, 0 is free (row 0 is the stack without frames).
    index: [u16; STACK_INDEX],
    lives: usize,
    /// Open addressing by pointer, 0 is free.
    live: [Live; LIVE_SLOTS],
    /// Live samples behind each bit of the filter.
    bit_counts: [u16; FILTER_BITS],
}

impl Table {
    const EMPTY: Self = Self {
        used: 0,
        rows: [Row {
            depth: 0,
            objects: 0.0,
            bytes: 0.0,
            live_objects: 0.0,
            live_bytes: 0.0,
            samples_alive: 0,
        }; STACKS],
        addresses: [[0; MAX_FRAMES]; STACKS],
        index: [0; STACK_INDEX],
        lives: 0,
        live: [Live { pointer: 0, size: 0, stack: 0 }; LIVE_SLOTS],
        bit_counts: [0; FILTER_BITS],
    };

    /// Notes a sampled allocation.
    pub(crate) fn allocated(&mut self, pointer: usize, size: usize, stack: &[usize]) {
        let at = self.stack(stack);
        let weight = weight(size);
        let is_tracked = self.lives < MAX_LIVE;
        let row = &mut self.rows[at];
        row.objects += weight;
        row.bytes += weight * size as f64;
        if !is_tracked {
            return;
        }
        row.live_objects += weight;
        row.live_bytes += weight * size as f64;
        row.samples_alive += 1;
        let mut slot = home(pointer);
        while self.live[slot].pointer != 0 {
            slot = (slot + 1) % LIVE_SLOTS;
        }
        self.live[slot] = Live { pointer, size, stack: at };
        self.lives += 1;
        let bit = filter_bit(pointer);
        self.bit_counts[bit] += 1;
        FILTER[bit / 64].fetch_or(1 << (bit % 64), Ordering::Relaxed);
    }

    /// Notes that `pointer` is freed; most often it is no sample but shares a bit with one.
    pub(crate) fn freed(&mut self, pointer: usize) {
        let mut slot = home(pointer);
        while self.live[slot].pointer != pointer {
            if self.live[slot].pointer == 0 {
                return;
            }
            slot = (slot + 1) % LIVE_SLOTS;
        }
        let Live { size, stack, .. } = self.live[slot];
        let (row, weight) = (&mut self.rows[stack], weight(size));
        row.samples_alive -= 1;
        // Sums of fractions do not come back to zero by themselves.
        let alive = if row.samples_alive == 0 { 0.0 } else { 1.0 };
        row.live_objects = (row.live_objects - weight) * alive;
        row.live_bytes = (row.live_bytes - weight * size as f64) * alive;
        self.lives -= 1;
        let bit = filter_bit(pointer);
        self.bit_counts[bit] -= 1;
        if self.bit_counts[bit] == 0 {
            FILTER[bit / 64].fetch_and(!(1 << (bit % 64)), Ordering::Relaxed);
        }
        // Close the gap, so that later entries of the same run are still found.
        let mut next = (slot + 1) % LIVE_SLOTS;
        while self.live[next].pointer != 0 {
            let distance = |from: usize, to: usize| (to + LIVE_SLOTS - from) % LIVE_SLOTS;
            if distance(home(self.live[next].pointer), next) >= distance(slot, next) {
                self.live[slot] = self.live[next];
                slot = next;
            }
            next = (next + 1) % LIVE_SLOTS;
        }
        self.live[slot].pointer = 0;
    }

    /// Number of rows and of frames that [`Table::take`] would write.
    pub(crate) fn room(&self) -> (usize, usize) {
        (self.used, self.rows[..self.used].iter().map(|row| row.depth).sum())
    }

    /// Appends all rows and their frames, and begins new sums of allocations. Writes into the capacity that
    /// is there: the caller made room.
    pub(crate) fn take(&mut self, rows: &mut Vec<Row>, addresses: &mut Vec<usize>) {
        for at in 0..self.used {
            let row = &mut self.rows[at];
            rows.push(*row);
            (row.objects, row.bytes) = (0.0, 0.0);
            addresses.extend_from_slice(&self.addresses[at][..row.depth]);
        }
        if self.used > STACKS / 2 {
            self.clean();
        }
    }

    /// The row of `stack`; row 0 when there is no room.
    fn stack(&mut self, stack: &[usize]) -> usize {
        self.used = self.used.max(1);
        if stack.is_empty() {
            return 0;
        }
        let mut slot = stack_home(stack);
        while self.index[slot] != 0 {
            let at = usize::from(self.index[slot]);
            if &self.addresses[at][..self.rows[at].depth] == stack {
                return at;
            }
            slot = (slot + 1) % STACK_INDEX;
        }
        if self.used == STACKS {
            return 0;
        }
        let at = self.used;
        self.used += 1;
        self.index[slot] = at as u16;
        self.addresses[at][..stack.len()].copy_from_slice(stack);
        self.rows[at] = Row { depth: stack.len(), ..Self::EMPTY_ROW };
        at
    }

    const EMPTY_ROW: Row =
        Row { depth: 0, objects: 0.0, bytes: 0.0, live_objects: 0.0, live_bytes: 0.0, samples_alive: 0 };

    /// Drops the stacks of which nothing is alive and moves the others together.
    fn clean(&mut self) {
        self.index = [0; STACK_INDEX];
        let mut moved = [0u16; STACKS];
        let mut kept = 1;
        for (at, moved) in moved.iter_mut().enumerate().take(self.used).skip(1) {
            if self.rows[at].samples_alive == 0 {
                continue;
            }
            self.rows[kept] = self.rows[at];
            self.addresses[kept] = self.addresses[at];
            *moved = kept as u16;
            let mut slot = stack_home(&self.addresses[kept][..self.rows[kept].depth]);
            while self.index[slot] != 0 {
                slot = (slot + 1) % STACK_INDEX;
            }
            self.index[slot] = kept as u16;
            kept += 1;
        }
        self.used = kept;
        for live in self.live.iter_mut().filter(|live| live.pointer != 0) {
            live.stack = usize::from(moved[live.stack]);
        }
    }
}

fn home(pointer: usize) -> usize {
    (mix(pointer) >> 32) as usize % LIVE_SLOTS
}

fn stack_home(stack: &[usize]) -> usize {
    let hash = stack.iter().fold(0u64, |hash, &address| {
        (hash.rotate_left(5) ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    (hash >> 40) as usize % STACK_INDEX
}
