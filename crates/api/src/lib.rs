//! All wires of the server on one port: Connect, gRPC and gRPC-Web for Pyroscope's and Parca's services,
//! `/ingest`, OpenTelemetry profiles, Parca's JSON gateway, `/pyroscope/*`, profefe's API, pprof for `go tool pprof`, metrics, health, and the UI's files.
//!
//! A request is parsed here into the types of `everflame_ingest` and `everflame_query`, and their answers
//! are written in the form that the wire asks for. There is no profiling logic in this crate.

// The generated service traits return opaque futures; an implementation may well name what it returns.
#![allow(refining_impl_trait)]

mod adhoc;
mod app;
mod body;
mod capabilities;
mod debug_file_metrics;
mod debug_files;
mod debuginfo;
mod deletion;
mod dropped;
mod error;
mod figures;
mod flamebearer;
mod form;
mod grpc_web_text;
mod guard;
mod health;
mod ingest;
mod json_messages;
mod kept;
mod lake;
mod links;
mod load;
mod metrics;
mod metrics_text;
mod multipart;
mod not_found;
mod openapi;
mod otlp;
mod params;
mod parca;
mod patience;
mod pprof;
mod profefe;
mod push;
mod querier;
mod recording;
mod reflection;
mod render;
mod scan_headers;
mod server;
mod settings;
mod singles;
mod source;
#[cfg_attr(not(feature = "sql"), path = "sql/absent.rs")]
mod sql;
mod status;
mod timeline;
mod times;
mod ui;
mod vcs;
mod warm_up;
mod watch;

/// What the protocol files in `proto/` say, generated.
#[allow(
    missing_docs,
    unreachable_pub,
    unexpected_cfgs,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
mod wire {
    include!(concat!(env!("OUT_DIR"), "/wire.rs"));
}

pub use app::{BuildInfo, ServerConfig};
pub use patience::Patience;
pub use server::{Server, ServerError};
pub use source::{CodePlace, CodeSource, check_revision};
