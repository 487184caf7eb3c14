//! Samples what all threads of the process spend CPU time on.
//!
//! `ITIMER_PROF` counts the CPU time of the process (its own and the kernel's on its behalf) and sends
//! SIGPROF to the thread that is running when the period is over. A late timer catches up at the next tick,
//! so no time is lost until the samples a second exceed the kernel's ticks on all cores. A sleeping thread
//! is never woken. The handler stays installed after the last profiler is gone: a signal that was already
//! under way would end the process otherwise.
#![allow(unsafe_code)] // Signals and timers have no safe interface; each call is explained below.

use crate::assemble::{Stacks, thread_group};
use crate::ring::{Ring, Sample};
use crate::walk::{SMALL_BLOCK, interrupted, read_memory, walk};
use crate::{Error, symbolize};
use everflame_profile::{Nanos, Profile, ValueType};
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static RING: OnceLock<Ring> = OnceLock::new();
static RUNNING: AtomicBool = AtomicBool::new(false);
static RECORDING: AtomicBool = AtomicBool::new(false);

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const MICROS_PER_SECOND: u32 = 1_000_000;
const MAX_HZ: u32 = 1000;

/// A running CPU profiler; there is at most one in a process. Dropping it stops the sampling.
#[derive(Debug)]
pub struct CpuProfiler {
    period: i64,
    since: Nanos,
    lost: u64,
}

impl CpuProfiler {
    /// Starts to take `hz` samples per second of CPU time, 1 to 1000; `now` is the time of the start.
    pub fn start(hz: u32, now: Nanos) -> Result<Self, Error> {
        if !(1..=MAX_HZ).contains(&hz) {
            return Err(Error::Rate(hz));
        }
        if RUNNING.swap(true, Ordering::AcqRel) {
            return Err(Error::AlreadyRunning);
        }
        // From here on dropping `profiler` undoes everything.
        let micros = MICROS_PER_SECOND / hz;
        let profiler = Self { period: i64::from(micros) * 1000, since: now, lost: 0 };
        let probe = [0x5eed_usize];
        let mut copy = [0usize];
        if read_memory(probe.as_ptr() as usize, &mut copy) != size_of_val(&copy) || copy != probe {
            return Err(Error::System { call: "process_vm_readv", source: io::Error::last_os_error() });
        }
        let ring = RING.get_or_init(Ring::new);
        ring.drain(|_| {});
        ring.take_lost();
        install_handler()?;
        RECORDING.store(true, Ordering::Release);
        set_timer(micros)?;
        Ok(profiler)
    }

    /// What was sampled since the start or the last call; `now` ends this profile. Symbolizes: takes a
    /// while the first time, do not call it where requests are served.
    pub fn collect(&mut self, now: Nanos) -> Profile {
        let mut stacks = Stacks::default();
        let mut lost = 0;
        if let Some(ring) = RING.get() {
            ring.drain(|sample| {
                let addresses = sample.addresses.get(..sample.depth as usize).unwrap_or_default();
                stacks.add(addresses, thread_group(&sample.thread), &[1, self.period]);
            });
            lost = ring.take_lost();
        }
        self.lost += lost;
        let mut profile = Profile {
            sample_types: vec![ValueType::new("samples", "count"), ValueType::new("cpu", "nanoseconds")],
            default_sample_type: Some(1),
            period_type: ValueType::new("cpu", "nanoseconds"),
            period: self.period,
            time: self.since,
            duration: now.saturating_sub(self.since).max(0),
            ..Profile::default()
        };
        if lost > 0 {
            let nanos = i64::try_from(lost).unwrap_or(i64::MAX).saturating_mul(self.period);
            let seconds = nanos / NANOS_PER_SECOND;
            profile.comments.push(format!(
                "{lost} samples ({seconds} s of CPU time) were lost: the buffer was full; collect more often"
            ));
        }
        self.since = now;
        symbolize::fill(&mut profile, stacks, |_, _| false);
        profile
    }

    /// Samples lost since the start because the buffer was full.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

impl Drop for CpuProfiler {
    fn drop(&mut self) {
        RECORDING.store(false, Ordering::Release);
        // Only fails for arguments that we do not pass; then samples go on to be ignored.
        let _ = set_timer(0);
        RUNNING.store(false, Ordering::Release);
    }
}

/// Sets the timer to fire every `micros`; 0 stops it.
fn set_timer(micros: u32) -> Result<(), Error> {
    let every = libc::timeval {
        tv_sec: (micros / MICROS_PER_SECOND).into(),
        tv_usec: (micros % MICROS_PER_SECOND).into(),
    };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: `timer` is initialised; the old value is not asked for.
    match unsafe { libc::setitimer(libc::ITIMER_PROF, &timer, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(Error::System { call: "setitimer", source: io::Error::last_os_error() }),
    }
}

/// Makes `on_sigprof` the handler, unless other code has one or uses the timer.
fn install_handler() -> Result<(), Error> {
    let ours = on_sigprof as *const () as usize;
    // SAFETY: both structures are plain data for which zero is valid; `sigaction` and `getitimer` fill them.
    let (mut present, mut timer): (libc::sigaction, libc::itimerval) = unsafe { std::mem::zeroed() };
    // SAFETY: as above; asks only.
    let asked = unsafe {
        libc::sigaction(libc::SIGPROF, std::ptr::null(), &mut present)
            | libc::getitimer(libc::ITIMER_PROF, &mut timer)
    };
    if asked != 0 {
        return Err(Error::System { call: "sigaction", source: io::Error::last_os_error() });
    }
    let free = [libc::SIG_DFL, libc::SIG_IGN, ours].contains(&present.sa_sigaction);
    if !free || timer.it_value.tv_sec != 0 || timer.it_value.tv_usec != 0 {
        return Err(Error::SignalTaken);
    }
    // SAFETY: zero is valid for every field that is not set.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = ours;
    // SA_ONSTACK: std gives its threads an alternate stack, so that a stack that is nearly full survives us.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: `on_sigprof` has the signature that SA_SIGINFO asks for and is async-signal-safe.
    match unsafe { libc::sigaction(libc::SIGPROF, &action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(Error::System { call: "sigaction", source: io::Error::last_os_error() }),
    }
}

/// The handler. Makes three kinds of system calls (getpid, prctl, process_vm_readv), writes one slot, and
/// leaves errno as it was.
extern "C" fn on_sigprof(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if !RECORDING.load(Ordering::Acquire) {
        return;
    }
    let Some(ring) = RING.get() else { return };
    // SAFETY: errno is a valid location of this thread.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: the kernel gave us `context`.
    if let Some((counter, stack_pointer, frame_pointer)) = unsafe { interrupted(context) } {
        ring.record(|sample| {
            let Sample { depth, thread, addresses } = sample;
            // SAFETY: PR_GET_NAME writes at most 16 bytes, ended by a zero.
            unsafe { libc::prctl(libc::PR_GET_NAME, thread.as_mut_ptr()) };
            addresses[0] = counter;
            *depth = walk::<SMALL_BLOCK>(stack_pointer, frame_pointer, addresses, 1) as u32;
        });
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}
