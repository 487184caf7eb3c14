//! Sums by stack that earlier queries found in row groups, so that a panel which refreshes reads only
//! what is new.
//!
//! Files never change, and a row group that is selected as a whole has the same sums in every query. What
//! a range or a selector cuts is kept for that range and that set of series.

use everflame_lake::CacheStatus;
use everflame_profile::StackId;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes of sums that an engine keeps: those of about 1,300 row groups of 1,000 stacks.
const CACHE_BYTES: u64 = 32 << 20;

/// What an entry takes beside its sums.
const ENTRY_BYTES: u64 = 160;

/// The rows of a row group that a query took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fragment {
    /// [`everflame_lake::DataFile::id`].
    pub(crate) file: u64,
    pub(crate) row_group: usize,
    /// The set of series; `None` when no row is of another.
    pub(crate) series: Option<u128>,
    /// First and last microsecond; `None` when no row lies outside.
    pub(crate) range: Option<(i64, i64)>,
}

/// Sums by stack. A stack may occur several times.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) stacks: Vec<StackId>,
    pub(crate) sums: Vec<i64>,
    /// Sums that 64 bits do not hold; what has any is not kept.
    pub(crate) large: Vec<(StackId, i128)>,
}

impl Found {
    /// Makes room for so many more stacks.
    pub(crate) fn reserve(&mut self, stacks: usize) {
        self.stacks.reserve_exact(stacks);
        self.sums.reserve_exact(stacks);
    }

    /// Adds the sum of a stack.
    pub(crate) fn push(&mut self, stack: StackId, sum: i128) {
        match i64::try_from(sum) {
            Ok(sum) => {
                self.stacks.push(stack);
                self.sums.push(sum);
            }
            Err(_) => self.large.push((stack, sum)),
        }
    }

    /// All sums.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (StackId, i128)> {
        let small = self.stacks.iter().zip(&self.sums).map(|(&stack, &sum)| (stack, i128::from(sum)));
        small.chain(self.large.iter().copied())
    }
}

/// Sums by fragment. The least useful ones go when there are too many.
#[derive(Debug)]
pub(crate) struct SumCache {
    found: Cache<Fragment, Arc<Found>, Size>,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Clone, Debug)]
struct Size;

impl Weighter<Fragment, Arc<Found>> for Size {
    fn weight(&self, _fragment: &Fragment, found: &Arc<Found>) -> u64 {
        let sums = found.stacks.capacity() * size_of::<StackId>() + found.sums.capacity() * size_of::<i64>();
        sums as u64 + ENTRY_BYTES
    }
}

impl Default for SumCache {
    fn default() -> Self {
        Self {
            found: Cache::with_weighter(1024, CACHE_BYTES, Size),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }
}

impl SumCache {
    /// What was found in a fragment before.
    pub(crate) fn get(&self, fragment: &Fragment) -> Option<Arc<Found>> {
        let found = self.found.get(fragment);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Relaxed);
        found
    }

    /// Whether [`Self::get`] will have an answer, most likely. Not counted.
    pub(crate) fn knows(&self, fragment: &Fragment) -> bool {
        self.found.contains_key(fragment)
    }

    /// Keeps what was found in a fragment.
    pub(crate) fn insert(&self, fragment: Fragment, mut found: Found) {
        if found.large.is_empty() {
            found.stacks.shrink_to_fit();
            found.sums.shrink_to_fit();
            self.found.insert(fragment, Arc::new(found));
        }
    }

    /// Figures for metrics.
    pub(crate) fn status(&self) -> CacheStatus {
        CacheStatus {
            bytes: self.found.weight(),
            limit: CACHE_BYTES,
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
        }
    }
}
