//! Bytes to [`everflame_profile::Profile`] and back, one module a format.
//!
//! Every reader treats its input as hostile: [`Limits`] bounds what it may allocate, and what it refuses
//! comes back as an [`Error`] that names the place and the remedy. Nothing here knows HTTP, storage, or
//! the labels of a request.
//!
//! | module | format | read | write |
//! | --- | --- | --- | --- |
//! | [`pprof`] | pprof's protobuf, gzip or plain | [`pprof::read`] | [`pprof::write`] |
//! | [`folded`] | `frame;frame count` lines | [`folded::read`] | [`folded::write`] |
//! | [`tree`] | Pyroscope's binary call tree | [`tree::read`], [`tree::read_profile`] | [`tree::write`] |
//! | [`trie`] | Pyroscope's binary trie of folded stacks | [`trie::read`] | |
//! | [`otlp`] | OpenTelemetry profiles, protobuf and JSON | [`otlp::read`], [`otlp::read_json`] | [`otlp::ExportWriter`] |
//! | [`jfr`] | recordings of the JDK and of async-profiler | [`jfr::read`] | |
//! | [`perf_script`] | what `perf script` prints | [`perf_script::read`] | |
//! | [`cpuprofile`] | `.cpuprofile` of V8: Node.js, Chrome | [`cpuprofile::read`] | |
//! | [`firefox`] | profiles of the Firefox Profiler | [`firefox::read`] | |
//! | [`speedscope`] | speedscope's JSON, sampled and evented | [`speedscope::read`] | [`speedscope::write`] |
//! | [`dot`] | call graphs for Graphviz | | [`dot::write`] |
//! | [`svg`] | flame graphs as pictures | | [`svg::write`] |
//! | [`json_tree`] | nested JSON | | [`json_tree::write`] |
//! | [`gzip`] | what the others may be wrapped in | [`gzip::inflate`] | [`gzip::deflate`] |

mod assembly;
pub mod cpuprofile;
pub mod dot;
mod error;
pub mod firefox;
pub mod flamebearer;
pub mod folded;
mod format;
pub mod gzip;
mod inflater;
pub mod jfr;
mod json_text;
pub mod json_tree;
mod leb;
mod limits;
mod list;
pub mod otlp;
mod part;
pub mod perf_script;
pub mod pprof;
pub mod speedscope;
pub mod svg;
mod texts;
pub mod tree;
pub mod trie;
pub mod units;

pub use error::{Error, ErrorKind};
pub use format::Format;
pub use limits::{Cuts, Limits};
pub use part::{Moments, Part, Parts};

use everflame_profile::Profile;

/// What a reader made of its input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The profile.
    pub profile: Profile,
    /// What had to be shortened to stay within [`Limits`], for a metric or a warning.
    pub cuts: Cuts,
}
