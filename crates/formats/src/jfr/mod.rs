//! JDK Flight Recorder recordings, of the JDK itself and of async-profiler.
//!
//! A recording is a sequence of chunks, each with events, constant pools and the metadata that says what
//! their fields are. Only what becomes a profile is taken; everything else is skipped by its length. Durations
//! are in ticks and become nanoseconds by the chunk's own clock.

mod chunk;
mod cursor;
mod events;
mod labels;
mod metadata;
mod names;
mod pools;
mod read;
mod totals;

pub use read::{Options, read};

/// The first bytes of a chunk.
pub(crate) const MAGIC: &[u8] = b"FLR\0";
