//! From what a client sent to what the lake stores: naming, labels, limits, accounting.
//!
//! One upload becomes one [`everflame_lake::Batch`], stored as a whole or not at all. Values keep their
//! sign, no stack is lost, and nothing is renamed that a wire does not ask to rename. No HTTP here: the
//! API hands over bytes and fields, and maps [`ErrorKind`] to its status codes.

mod batch;
mod blobs;
mod counters;
mod decode;
mod dropped;
mod error;
mod forward;
mod go_names;
mod groups;
mod identity;
mod ingest;
mod label_sets;
mod labels;
mod limits;
mod merge;
mod name;
mod naming;
mod otlp;
mod parca;
mod parts;
mod prepare;
mod rates;
mod relabel;
mod relabelled;
mod spy;
mod timestamps;

pub use batch::{MAX_ROWS, row_id};
pub use counters::Counters;
pub use dropped::{Dropped, DroppedReport, Reason};
pub use error::{Error, ErrorKind};
pub use ingest::{
    FoldedFormat, Ingest, IngestFolded, IngestPprof, Profefe, PushSample, Rules, Stored, StoredRow,
};
pub use limits::{LimitOverride, Limits, Rates, ServiceLimits};
pub use name::{AppName, parse_name};
pub use naming::{profefe_profile_name, profefe_type, profile_name};
pub use otlp::{OtlpEncoding, OtlpStored};
pub use parca::ParcaSeries;
pub use parts::IngestFile;
pub use relabel::{Relabel, RelabelAction, RelabelError, RelabelRule};
