//! libdeflate's reader of gzip members. `libdeflater`, its safe interface, does not say where a member ended.
#![expect(unsafe_code, reason = "a C library has no safe interface")]

use libdeflate_sys::{
    libdeflate_alloc_decompressor, libdeflate_decompressor, libdeflate_free_decompressor,
    libdeflate_gzip_decompress_ex, libdeflate_result_LIBDEFLATE_INSUFFICIENT_SPACE,
    libdeflate_result_LIBDEFLATE_SUCCESS,
};
use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;

/// 11 KiB of tables, worth keeping.
pub(crate) struct Inflater(NonNull<libdeflate_decompressor>);

/// Why a member was not inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not gzip, or its checksum or length is not that of its content.
    Damaged,
    /// It becomes more bytes than there is room for.
    NoRoom,
}

/// Bytes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// As it is sent.
    pub(crate) compressed: usize,
    /// What it became.
    pub(crate) inflated: usize,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        // SAFETY: it takes nothing; a null pointer says that there was no memory.
        match NonNull::new(unsafe { libdeflate_alloc_decompressor() }) {
            Some(inflater) => Self(inflater),
            None => handle_alloc_error(Layout::new::<[u8; 11 << 10]>()),
        }
    }

    /// Inflates the member that `bytes` begins with to the beginning of `out`.
    pub(crate) fn member(&mut self, bytes: &[u8], out: &mut [u8]) -> Result<Member, Fault> {
        let mut member = Member { compressed: 0, inflated: 0 };
        // SAFETY: the lengths are those of the slices, and nobody else has this pointer.
        let result = unsafe {
            libdeflate_gzip_decompress_ex(
                self.0.as_ptr(),
                bytes.as_ptr().cast(),
                bytes.len(),
                out.as_mut_ptr().cast(),
                out.len(),
                &mut member.compressed,
                &mut member.inflated,
            )
        };
        #[expect(non_upper_case_globals, reason = "the library's names")]
        match result {
            libdeflate_result_LIBDEFLATE_SUCCESS => Ok(member),
            libdeflate_result_LIBDEFLATE_INSUFFICIENT_SPACE => Err(Fault::NoRoom),
            _ => Err(Fault::Damaged),
        }
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        // SAFETY: this is the pointer that was handed out, and nobody else has it.
        unsafe { libdeflate_free_decompressor(self.0.as_ptr()) };
    }
}
