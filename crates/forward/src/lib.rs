//! Sends on what was accepted to another OTLP or Pyroscope endpoint.
//!
//! Ingest hands every stored batch to the [`Spool`], files in the data folder with a bound, and goes on; a
//! [`Forwarder`] reads them in order, sends them as the other end wants them, and tries again until they are
//! taken. What was spooled survives a crash and is sent at least once. When the other end is away for too
//! long the oldest goes first, and is counted. A [`Via`] says through which servers something came, so that what goes
//! round in a circle ends. A [`RemoteWriter`] sends samples of metrics to Prometheus.

mod backoff;
mod entry;
mod forwarder;
mod outgoing;
mod position;
mod push;
mod remote_write;
mod reply;
mod segment;
mod select;
mod send;
mod server_id;
mod spool;
mod status;
mod target;
mod via;
mod wire;

pub use backoff::Jitter;
pub use forwarder::Forwarder;
pub use remote_write::{MetricSample, RemoteWrite, RemoteWriter, Written};
pub use select::Select;
pub use spool::{Frame, Spool, SpoolError};
pub use status::{ForwardStatus, Unsent, UnsentReason};
pub use target::{Protocol, Target, TargetError};
pub use via::Via;
