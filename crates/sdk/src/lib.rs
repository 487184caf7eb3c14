//! Profiles a Rust program from inside: CPU time by sampling ([`CpuProfiler`]) and heap by an allocator
//! wrapper ([`heap::Sampled`]).
//!
//! Stacks are walked through frame pointers, so the program must be compiled with
//! `-C force-frame-pointers=yes`; callers above code without them are missing. The result is an
//! [`everflame_profile::Profile`]; sending or storing it is the caller's business. Collecting symbolizes,
//! which reads the executable: call it off the threads that serve requests.
//!
//! Real on Linux (x86_64, aarch64); elsewhere everything compiles and says [`Error::Unsupported`].

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod assemble;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod cpu;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub mod heap;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod heap_table;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod modules;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod ring;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod symbolize;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod walk;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub use cpu::CpuProfiler;

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod unsupported;
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub use unsupported::{CpuProfiler, heap};

/// Samples per second of CPU time that suit a server which is always profiled. Not a divisor of the
/// kernel's tick rates (100, 250, 1000), so that work done on every tick is not seen in lockstep.
pub const DEFAULT_HZ: u32 = 99;

/// Why profiling cannot start or deliver.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No support for this operating system or processor.
    #[error("profiling from inside works on Linux x86_64 and aarch64 only; profile this host by other means")]
    Unsupported,
    /// A rate out of bounds.
    #[error("a rate of {0} Hz is out of bounds; choose 1 to 1000, 99 is a good one")]
    Rate(u32),
    /// A [`CpuProfiler`] is running already.
    #[error("a CPU profiler is running in this process already; collect from that one or drop it first")]
    AlreadyRunning,
    /// Somebody else uses the signal or its timer.
    #[error("SIGPROF or ITIMER_PROF is used by other code in this process; turn that profiler off")]
    SignalTaken,
    /// The kernel refused a call.
    #[error("{call} failed: {source}; is it forbidden by a seccomp filter?")]
    System {
        /// The system call.
        call: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// No allocation ever passed through [`heap::Sampled`].
    #[error("no allocation was seen; set #[global_allocator] to everflame_sdk::heap::Sampled")]
    NoAllocator,
}
