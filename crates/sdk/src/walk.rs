//! Walks a stack through frame pointers, in a signal handler or an allocator.
//!
//! A frame pointer may be anything (C code uses the register for data), so no address is read directly:
//! `process_vm_readv` on our own process answers EFAULT where a load would crash. One call reads a block
//! that holds several frames. Nothing here allocates, locks, or needs thread-local storage.
#![allow(unsafe_code)] // Inline assembly for the registers and one system call; each is explained below.

/// Most frames kept of a stack; deeper ones lose their root.
pub(crate) const MAX_DEPTH: usize = 253;

const WORD: usize = size_of::<usize>();
/// Words that a signal handler reads at once: several frames of usual size, and small enough for an
/// alternate signal stack of 8 KiB.
pub(crate) const SMALL_BLOCK: usize = 64;
/// Words that others read at once: 4 KiB, because a system call costs more than the bytes.
const BLOCK: usize = 512;
/// Return addresses carry a signature in the upper bits on aarch64; user addresses have 48 bits on both.
const ADDRESS_BITS: usize = (1 << 48) - 1;
/// No code lies in the first page.
const FIRST_CODE: usize = 4096;

/// Reads memory of this process into `into`; returns how many bytes could be read from `address` on.
pub(crate) fn read_memory(address: usize, into: &mut [usize]) -> usize {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: size_of_val(into) };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: size_of_val(into) };
    // SAFETY: `local` describes memory that we may write; the kernel checks `remote` itself. Both calls are
    // plain system calls, allowed in signal handlers.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    usize::try_from(read).unwrap_or(0)
}

/// A copy of some words of the stack.
struct Block<const WORDS: usize> {
    start: usize,
    bytes: usize,
    words: [usize; WORDS],
}

impl<const WORDS: usize> Block<WORDS> {
    /// The two words at `address`: the caller's frame pointer and the return address.
    fn frame(&mut self, address: usize) -> Option<(usize, usize)> {
        let inside = address >= self.start && address + 2 * WORD <= self.start + self.bytes;
        if !inside {
            self.start = address;
            self.bytes = read_memory(address, &mut self.words);
            if self.bytes < 2 * WORD {
                return None;
            }
        }
        let at = (address - self.start) / WORD;
        Some((*self.words.get(at)?, *self.words.get(at + 1)?))
    }
}

/// Appends the callers of the frame that `frame_pointer` names to `addresses` from `depth` on, leaf first,
/// and returns the new depth. Each is the address of the call, not of the instruction after it.
///
/// Frame pointers must grow from `stack_pointer` on, so the walk ends whatever they contain. `WORDS` of the
/// stack are read at once.
pub(crate) fn walk<const WORDS: usize>(
    stack_pointer: usize,
    mut frame_pointer: usize,
    addresses: &mut [usize],
    mut depth: usize,
) -> usize {
    let mut block = Block { start: 0, bytes: 0, words: [0; WORDS] };
    let mut above = stack_pointer;
    while depth < addresses.len()
        && frame_pointer >= above
        && frame_pointer.is_multiple_of(WORD)
        && frame_pointer <= ADDRESS_BITS
    {
        let Some((caller, return_address)) = block.frame(frame_pointer) else { break };
        let return_address = return_address & ADDRESS_BITS;
        if return_address < FIRST_CODE {
            break;
        }
        if let Some(slot) = addresses.get_mut(depth) {
            *slot = return_address - 1;
        }
        depth += 1;
        above = frame_pointer + 2 * WORD;
        frame_pointer = caller;
    }
    depth
}

/// Walks the stack of the caller.
#[inline(always)]
pub(crate) fn walk_own(addresses: &mut [usize]) -> usize {
    let frame_pointer: usize;
    // SAFETY: copies a register, changes nothing.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("mov {}, rbp", out(reg) frame_pointer, options(nomem, nostack, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!("mov {}, x29", out(reg) frame_pointer, options(nomem, nostack, preserves_flags));
    }
    walk::<BLOCK>(frame_pointer, frame_pointer, addresses, 0)
}

/// Program counter, stack pointer and frame pointer of the code that a signal interrupted.
///
/// # Safety
/// `context` must be the third argument of a handler that was installed with `SA_SIGINFO`, or null.
pub(crate) unsafe fn interrupted(context: *mut libc::c_void) -> Option<(usize, usize, usize)> {
    // SAFETY: by the contract above it points to the `ucontext_t` that the kernel wrote, or is null.
    let context = unsafe { context.cast::<libc::ucontext_t>().as_ref() }?;
    let machine = &context.uc_mcontext;
    #[cfg(target_arch = "x86_64")]
    {
        let register = |at: libc::c_int| machine.gregs.get(at as usize).map(|&value| value as usize);
        Some((register(libc::REG_RIP)?, register(libc::REG_RSP)?, register(libc::REG_RBP)?))
    }
    #[cfg(target_arch = "aarch64")]
    {
        Some((machine.pc as usize, machine.sp as usize, *machine.regs.get(29)? as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_frame_pointers_end_the_walk() {
        let mut addresses = [0; MAX_DEPTH];
        for bad in [0, 8, 7, 4096, usize::MAX, usize::MAX - 7, 1 << 47, (1 << 48) - 8] {
            assert_eq!(walk::<BLOCK>(0, bad, &mut addresses, 0), 0, "{bad:#x}");
        }
        // A frame pointer that points to itself.
        let mut frame = [0usize; 2];
        frame[0] = frame.as_ptr() as usize;
        frame[1] = 0x1234_5678;
        assert_eq!(walk::<SMALL_BLOCK>(0, frame.as_ptr() as usize, &mut addresses, 0), 1);
        assert_eq!(addresses[0], 0x1234_5677);
    }

    #[test]
    fn finds_its_own_callers() {
        let mut addresses = [0; MAX_DEPTH];
        assert!(walk_own(&mut addresses) > 3);
    }
}
