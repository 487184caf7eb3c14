//! Black-box tests: they start the real binary on a data folder of its own and talk real wires to it.
//!
//! The tests themselves are in `tests/tests/`; the programs that some of them run in `tests/clients/`.
//! Nothing here knows the inside of the server.

mod bucket;
mod clients;
pub mod debug_files;
mod debuginfod;
mod far_end;
mod flame_graph;
pub mod messages;
pub mod parca;
pub mod parca_records;
mod repository;
pub mod rpc;
mod server;
mod skip;
mod stored;
mod upload;
mod waiting;

pub use bucket::Bucket;
pub use clients::{Client, Prepared, go_pprof_top, prepare, program, run};
pub use debuginfod::debuginfod;
pub use far_end::{FarEnd, Manner, Received};
pub use flame_graph::FlameGraph;
pub use repository::Repository;
pub use server::{Ran, Server, binary, everflame, everflame_in, now_ms};
pub use skip::skip;
pub use stored::{Stacks, stacks_of, type_ids};
pub use upload::{
    Message, Stack, UPLOAD_TYPE, Upload, check_uploads, pprof, pprof_labelled, push, push_message,
    stored_uploads,
};
pub use waiting::until;
