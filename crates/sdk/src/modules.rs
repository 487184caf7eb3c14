//! Which executable and libraries are loaded where.
#![allow(unsafe_code)] // `dl_iterate_phdr` hands out raw pointers to the loader's tables.

use std::ffi::{CStr, c_int, c_void};
use std::fmt::Write;
use std::ops::Range;

/// An executable or library of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// What to add to an address of the file to get that in memory.
    pub(crate) base: usize,
    /// Where its code lies in memory.
    pub(crate) code: Vec<Range<usize>>,
    /// Path for people.
    pub(crate) path: String,
    /// Path to open: the executable may have been replaced on disk since.
    pub(crate) open: String,
    /// Build id, hexadecimal; empty when it has none.
    pub(crate) build_id: String,
}

/// All modules, the executable first.
pub(crate) fn loaded() -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    // SAFETY: the callback gets `modules` back as its data and does not outlive this call.
    unsafe { libc::dl_iterate_phdr(Some(add), (&raw mut modules).cast()) };
    modules
}

unsafe extern "C" fn add(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
    // SAFETY: the loader passes a valid entry, and `data` is the vector that `loaded` passed.
    let (info, modules) = unsafe { (&*info, &mut *data.cast::<Vec<Module>>()) };
    // SAFETY: the loader says that so many headers follow; they stay mapped during the call.
    let headers = match info.dlpi_phdr.is_null() {
        true => &[],
        false => unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) },
    };
    let base = info.dlpi_addr as usize;
    let range = |header: &libc::Elf64_Phdr| {
        let start = base.wrapping_add(header.p_vaddr as usize);
        start..start.saturating_add(header.p_memsz as usize)
    };
    let executable =
        |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0;
    let code = headers.iter().filter(executable).map(range).collect();
    let build_id = headers
        .iter()
        .filter(|header| header.p_type == libc::PT_NOTE)
        .find_map(|header| {
            let notes = range(header);
            // SAFETY: the loader mapped this segment at that address; it stays so during the call.
            find_build_id(unsafe { std::slice::from_raw_parts(notes.start as *const u8, notes.len()) })
        })
        .unwrap_or_default();
    // SAFETY: the name is null or a string that ends with a zero.
    let name = match info.dlpi_name.is_null() {
        true => c"",
        false => unsafe { CStr::from_ptr(info.dlpi_name) },
    };
    let (path, open) = if name.is_empty() && modules.is_empty() {
        let path = std::fs::read_link("/proc/self/exe").unwrap_or_default();
        let path = path.to_string_lossy();
        (path.trim_end_matches(" (deleted)").to_owned(), "/proc/self/exe".to_owned())
    } else {
        let path = name.to_string_lossy().into_owned();
        (path.clone(), path)
    };
    modules.push(Module { base, code, path, open, build_id });
    0
}

/// Looks for the note of type 3 by "GNU".
fn find_build_id(mut notes: &[u8]) -> Option<String> {
    const BUILD_ID: u32 = 3;
    loop {
        let (head, rest) = notes.split_at_checked(12)?;
        let word = |at: usize| Some(u32::from_ne_bytes(head.get(at..at + 4)?.try_into().ok()?));
        let (name_len, text_len, kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
        let (name, rest) = rest.split_at_checked(name_len.next_multiple_of(4))?;
        let text = rest.get(..text_len)?;
        if kind == BUILD_ID && name.starts_with(b"GNU\0") {
            return Some(text.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            }));
        }
        notes = rest.get(text_len.next_multiple_of(4)..)?;
    }
}
