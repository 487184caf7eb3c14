//! Debug files by build id, and the functions that addresses belong to.
//!
//! Profilers that look at programs from outside send addresses; names come later, from the debug file of the
//! build. Stored stacks keep their addresses for ever. [`Store`] keeps the files, [`Symbolizer`] finds what lies
//! at an address and remembers it, [`Worker`] reads the files in a process of its own.

mod breakdowns;
mod build_id;
mod call;
mod debuginfod;
mod dwarf;
mod elf;
mod error;
mod go_module;
mod go_table;
mod place;
mod resolve;
mod store;
mod symbol_table;
mod symbolizer;
mod tables;
mod upload;
mod wanted;
mod worker;

pub use build_id::{BuildId, NotABuildId};
pub use call::Call;
pub use debuginfod::check_server;
pub use error::Error;
pub use place::Place;
pub use resolve::{Reading, resolve};
pub use store::{FileKind, Store, StoreLimits, StoreStatus, UploadRequest, UploadState};
pub use symbolizer::{Known, PATIENCE, Symbolizer, SymbolizerStatus, Wanted};
pub use upload::Upload;
pub use wanted::Wanted as FileWanted;
pub use worker::{Worker, serve};
