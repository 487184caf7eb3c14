//! The same interface where profiling is not supported: starting and collecting say so.

use crate::Error;
use everflame_profile::{Nanos, Profile};

/// Cannot be made here: [`CpuProfiler::start`] always fails.
#[derive(Debug)]
pub enum CpuProfiler {}

impl CpuProfiler {
    /// Always [`Error::Unsupported`].
    pub fn start(_hz: u32, _now: Nanos) -> Result<Self, Error> {
        Err(Error::Unsupported)
    }

    /// Never called: there is no profiler.
    pub fn collect(&mut self, _now: Nanos) -> Profile {
        match *self {}
    }

    /// Never called: there is no profiler.
    pub fn lost(&self) -> u64 {
        match *self {}
    }
}

/// Heap profiling, which is not supported here.
#[allow(unsafe_code)]
pub mod heap {
    use super::{Error, Nanos, Profile};
    use std::alloc::{GlobalAlloc, Layout};

    /// Passes everything on to the allocator inside.
    #[derive(Debug, Default)]
    pub struct Sampled<A>(pub A);

    // SAFETY: every call is passed on unchanged to an allocator that keeps the contract.
    unsafe impl<A: GlobalAlloc> GlobalAlloc for Sampled<A> {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: the caller keeps the contract.
            unsafe { self.0.alloc(layout) }
        }
        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            // SAFETY: the caller keeps the contract.
            unsafe { self.0.dealloc(pointer, layout) }
        }
        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            // SAFETY: the caller keeps the contract.
            unsafe { self.0.alloc_zeroed(layout) }
        }
        unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            // SAFETY: the caller keeps the contract.
            unsafe { self.0.realloc(pointer, layout, size) }
        }
    }

    /// Always [`Error::Unsupported`].
    pub fn collect(_now: Nanos) -> Result<Profile, Error> {
        Err(Error::Unsupported)
    }
}
