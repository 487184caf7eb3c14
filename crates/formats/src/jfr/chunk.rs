//! Chunks: a head of 68 bytes (big-endian), then events. Each stands for itself.

use super::MAGIC;
use crate::{Error, ErrorKind};
use everflame_profile::Nanos;

/// Length of the head.
pub(super) const HEAD_BYTES: usize = 68;
/// Flag of the head: integers are compressed.
const COMPRESSED: u32 = 1;

/// A chunk of a recording.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk<'a> {
    /// Number of the chunk, from 0.
    pub(super) at: usize,
    /// The whole chunk, its head included: positions in it count from its start.
    pub(super) bytes: &'a [u8],
    pub(super) pools: u64,
    pub(super) metadata: u64,
    /// Nanoseconds since the epoch.
    pub(super) start: Nanos,
    pub(super) duration: Nanos,
    ticks_per_second: u64,
}

/// Splits a recording.
pub(super) fn split(recording: &[u8]) -> Result<Vec<Chunk<'_>>, Error> {
    let mut chunks = Vec::new();
    let mut rest = recording;
    while !rest.is_empty() {
        let at = chunks.len();
        let chunk = Chunk::read(rest, at)?;
        rest = rest.get(chunk.bytes.len()..).unwrap_or_default();
        chunks.push(chunk);
    }
    if chunks.is_empty() {
        return Err(Error::malformed("JFR", "it is empty", "send a recording"));
    }
    Ok(chunks)
}

impl<'a> Chunk<'a> {
    fn read(bytes: &'a [u8], at: usize) -> Result<Self, Error> {
        let place = format_args!("JFR: chunk {at}");
        if !bytes.starts_with(MAGIC) {
            return Err(Error::malformed(
                place,
                "it does not begin with FLR",
                "send a recording as the JVM or async-profiler wrote it",
            ));
        }
        let cut_off = || {
            Error::malformed(
                place,
                "it is cut off",
                "send the whole recording, after it was stopped or dumped",
            )
        };
        let head = bytes.get(..HEAD_BYTES).ok_or_else(cut_off)?;
        let number = |at: usize| {
            head.get(at..).and_then(|tail| tail.first_chunk()).map_or(0, |bytes| u64::from_be_bytes(*bytes))
        };
        let half = |at: usize| {
            head.get(at..).and_then(|tail| tail.first_chunk()).map_or(0, |bytes| u32::from_be_bytes(*bytes))
        };
        let major = half(4) >> 16;
        if !(1..=2).contains(&major) || half(64) & COMPRESSED == 0 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                place,
                format_args!(
                    "it has format {major}.{}, or integers that are not compressed",
                    half(4) & 0xffff
                ),
                "record with JDK 11 or later, or with async-profiler 2 or later",
            ));
        }
        // A recorder that is still at work has not written the length.
        let length = match number(8) {
            0 => return Err(cut_off()),
            length => usize::try_from(length).map_err(|_| cut_off())?,
        };
        let bytes = bytes.get(..length).filter(|bytes| bytes.len() >= HEAD_BYTES).ok_or_else(cut_off)?;
        Ok(Self {
            at,
            bytes,
            pools: number(16),
            metadata: number(24),
            start: number(32) as Nanos,
            duration: number(40) as Nanos,
            ticks_per_second: number(56),
        })
    }

    /// Ticks of the chunk's clock as nanoseconds.
    pub(super) fn nanos(&self, ticks: u64) -> i64 {
        let rate = u128::from(self.ticks_per_second.max(1));
        let nanos = (u128::from(ticks) * 1_000_000_000 + rate / 2) / rate;
        i64::try_from(nanos).unwrap_or(i64::MAX)
    }

    /// What stands at `position`, up to the end of the chunk.
    pub(super) fn from(&self, position: u64) -> Option<&'a [u8]> {
        self.bytes.get(usize::try_from(position).ok()?..).filter(|rest| !rest.is_empty())
    }

    #[cold]
    pub(super) fn broken(&self, what: impl std::fmt::Display) -> Error {
        let at = self.at;
        Error::malformed(
            format_args!("JFR: chunk {at}"),
            what,
            "send the whole recording, unchanged (was it cut off?)",
        )
    }
}
