//! Samples allocations by bytes: an allocator around the program's own.
//!
//! Each thread counts down a random number of bytes (exponential, mean [`MEAN_BYTES`]); the allocation that
//! reaches zero is sampled with its stack. One of `size` bytes is sampled with probability
//! `1 - exp(-size / MEAN_BYTES)`, and counts for the inverse of that, so that sums are unbiased. Live
//! samples are remembered until they are freed; a bitmap of 8 KiB tells most frees that they are not meant.
//! The tables are static and nothing allocates under their lock, so this works before `main` and while
//! threads end.
#![allow(unsafe_code)] // `GlobalAlloc` is an unsafe trait; every call is passed on to the allocator inside.

use crate::assemble::Stacks;
use crate::heap_table::{Row, TABLE, may_be_live};
use crate::walk::walk_own;
use crate::{Error, symbolize};
use everflame_profile::{Nanos, Profile, ValueType};
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// Mean number of bytes between two samples, as in Go's and jemalloc's heap profiles.
pub const MEAN_BYTES: usize = 512 * 1024;

/// Most frames kept of an allocation's stack.
pub(crate) const MAX_FRAMES: usize = 126;

static INSTALLED: AtomicBool = AtomicBool::new(false);
static SEEDS: AtomicU64 = AtomicU64::new(1);
static SINCE: AtomicI64 = AtomicI64::new(0);

thread_local! {
    // Constants without a destructor: access neither allocates nor fails while a thread ends.
    static BYTES_LEFT: Cell<i64> = const { Cell::new(0) };
    static RANDOM: Cell<u64> = const { Cell::new(0) };
}

/// The allocator inside, with its allocations sampled.
///
/// `#[global_allocator] static ALLOCATOR: Sampled<System> = Sampled(System);`
#[derive(Debug, Default)]
pub struct Sampled<A>(pub A);

// SAFETY: all memory comes from and goes back to an allocator that keeps the contract, with the same layouts;
// the bookkeeping only looks at addresses.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Sampled<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract.
        let pointer = unsafe { self.0.alloc(layout) };
        count(pointer, layout.size());
        pointer
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract.
        let pointer = unsafe { self.0.alloc_zeroed(layout) };
        count(pointer, layout.size());
        pointer
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // Before the memory goes back: another thread may get and sample it at once.
        if may_be_live(pointer as usize) {
            forget(pointer as usize);
        }
        // SAFETY: the caller keeps the contract.
        unsafe { self.0.dealloc(pointer, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Counts as freed and allocated anew. One that fails leaves the old memory alive but unsampled.
        if may_be_live(pointer as usize) {
            forget(pointer as usize);
        }
        // SAFETY: the caller keeps the contract.
        let moved = unsafe { self.0.realloc(pointer, layout, size) };
        count(moved, size);
        moved
    }
}

/// Hot: a few nanoseconds for each allocation.
#[inline]
fn count(pointer: *mut u8, size: usize) {
    let left = BYTES_LEFT.get() - size as i64;
    BYTES_LEFT.set(left);
    if left < 0 {
        sample(pointer as usize, size);
    }
}

#[cold]
#[inline(never)]
fn sample(pointer: usize, size: usize) {
    let mut random = RANDOM.get();
    let is_first = random == 0;
    if is_first {
        // A new thread has no countdown yet: this allocation only starts it.
        random = SEEDS.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        INSTALLED.store(true, Ordering::Relaxed);
    }
    let mut left = BYTES_LEFT.get();
    // xorshift64: quality enough for sampling, one word of state.
    let mut draw = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let uniform = ((random >> 11) + 1) as f64 / (1u64 << 53) as f64;
        (-uniform.ln() * MEAN_BYTES as f64) as i64
    };
    if is_first {
        // The first numbers after a small seed are alike.
        for _ in 0..4 {
            draw();
        }
        left = draw() - size as i64;
    }
    let hit = left < 0;
    BYTES_LEFT.set(if hit { draw() } else { left });
    RANDOM.set(random);
    if hit && pointer != 0 {
        let mut addresses = [0; MAX_FRAMES];
        let depth = walk_own(&mut addresses);
        let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
        table.allocated(pointer, size, addresses.get(..depth).unwrap_or_default());
    }
}

#[cold]
#[inline(never)]
fn forget(pointer: usize) {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner).freed(pointer);
}

/// How many allocations one sampled allocation of `size` bytes stands for.
pub(crate) fn weight(size: usize) -> f64 {
    let size = size.max(1) as f64;
    -1.0 / (-size / MEAN_BYTES as f64).exp_m1()
}

/// What was allocated since the last call (since the program's start the first time), and what of all that
/// is alive now. Symbolizes, as [`crate::CpuProfiler::collect`] does.
pub fn collect(now: Nanos) -> Result<Profile, Error> {
    if !INSTALLED.load(Ordering::Relaxed) {
        return Err(Error::NoAllocator);
    }
    let (mut rows, mut addresses) = (Vec::<Row>::new(), Vec::<usize>::new());
    // Nothing may allocate under the lock: make room, try, and make more room if there was too little.
    loop {
        let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
        let (stacks, frames) = table.room();
        if rows.capacity() >= stacks && addresses.capacity() >= frames {
            table.take(&mut rows, &mut addresses);
            break;
        }
        drop(table);
        rows = Vec::with_capacity(stacks + 64);
        addresses = Vec::with_capacity(frames + 64 * MAX_FRAMES);
    }
    let mut stacks = Stacks::default();
    let mut first = 0;
    for row in &rows {
        let whole = |value: f64| value.round().max(0.0) as i64;
        let stack = addresses.get(first..first + row.depth).unwrap_or_default();
        first += row.depth;
        let values = [row.objects, row.bytes, row.live_objects, row.live_bytes].map(whole);
        if values != [0; 4] {
            stacks.add(stack, "", &values);
        }
    }
    let since = SINCE.swap(now, Ordering::Relaxed);
    let mut profile = Profile {
        sample_types: vec![
            ValueType::new("alloc_objects", "count"),
            ValueType::new("alloc_space", "bytes"),
            ValueType::new("inuse_objects", "count"),
            ValueType::new("inuse_space", "bytes"),
        ],
        default_sample_type: Some(3),
        period_type: ValueType::new("space", "bytes"),
        period: MEAN_BYTES as i64,
        time: if since == 0 { now } else { since },
        duration: if since == 0 { 0 } else { now.saturating_sub(since).max(0) },
        ..Profile::default()
    };
    symbolize::fill(&mut profile, stacks, is_allocator);
    Ok(profile)
}

/// Functions between the program's call and our sample. Of those that were inlined only the last part of the
/// name is known (`count`), which others may have, too: the file tells.
fn is_allocator(function: &str, file: &str) -> bool {
    file.ends_with(file!())
        || ["everflame_sdk::heap", "__rust_", "__rustc::", "__rdl_", "__rg_"]
            .iter()
            .any(|own| function.trim_start_matches('<').starts_with(own))
}
