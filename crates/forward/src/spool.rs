//! Files in the data folder that hold what is still to be sent.
//!
//! A frame is written before the upload is acknowledged, so that a killed process loses nothing; the files are
//! synced each second. Segments are read from the oldest on, and go when all of them was taken by the other end.
//! When there is no room, the oldest segment goes with whatever is in it, and that is counted. Nothing that
//! goes wrong here reaches the sender of a profile: it is stored already.

use crate::entry::{self, Entry};
use crate::position::Position;
use crate::segment::{self, MAGIC, MAGIC_BYTES, Next, Reader, Segment};
use crate::select::Select;
use crate::server_id;
use crate::status::{Counters, ForwardStatus, Unsent, UnsentReason};
use crate::via::Via;
use everflame_lake::Batch;
use everflame_profile::{Clock, Nanos};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use tokio::sync::Notify;
use uuid::Uuid;

/// The spool has so many segments or more before the oldest goes.
const SEGMENTS: u64 = 16;
const LARGEST_SEGMENT: u64 = 8 << 20;
const SMALLEST_SEGMENT: u64 = 4 << 10;

/// The spool cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the spool of what is to be forwarded, {path}: {source}; check the data folder")]
pub struct SpoolError {
    path: PathBuf,
    source: io::Error,
}

/// A batch as it goes into the spool.
#[derive(Debug)]
pub struct Frame {
    bytes: io::Result<Vec<u8>>,
    service: String,
    profiles: u64,
}

impl Frame {
    fn unsent(&self, why: impl std::fmt::Display) -> Unsent {
        Unsent {
            service: self.service.clone(),
            reason: UnsentReason::Spool,
            profiles: self.profiles,
            bytes: self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            message: format!("it is stored here, and not forwarded: the spool: {why}"),
        }
    }
}

/// What is to be sent, on disk.
pub struct Spool {
    folder: PathBuf,
    /// This server's, in the chains of what it sends.
    pub(crate) id: Uuid,
    limit: u64,
    select: Select,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    pub(crate) more: Notify,
    pub(crate) counters: Counters,
    /// When the oldest that is not sent yet came in; 0 when there is nothing.
    pub(crate) oldest: AtomicI64,
}

#[derive(Debug, Default)]
struct State {
    /// All segments, the oldest first.
    segments: VecDeque<Segment>,
    /// The file of the last segment, while it is written.
    file: Option<File>,
    /// What is before it was taken or given up.
    position: Position,
    last_number: u64,
    /// Files that were written since the last sync, and are not written any more.
    closed: Vec<File>,
    is_dirty: bool,
}

/// Some entries that follow each other.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Chunk {
    pub(crate) entries: Vec<Entry>,
    /// Where to go on behind it.
    pub(crate) end: Position,
    /// What could not be read.
    pub(crate) damaged: Vec<String>,
}

impl Spool {
    /// Opens the spool in `folder`, which is made when it is not there; it takes at most `limit` bytes on disk.
    pub fn open(
        folder: PathBuf,
        limit: u64,
        select: Select,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SpoolError> {
        let open = || {
            fs::create_dir_all(&folder)?;
            let id = server_id::load(&folder)?;
            let position = Position::load(&folder);
            let (mut segments, mut last_number) = (VecDeque::new(), position.segment);
            for segment in segment::list(&folder)? {
                last_number = last_number.max(segment.number);
                if segment.number < position.segment {
                    fs::remove_file(segment::path(&folder, segment.number))?;
                } else {
                    segments.push_back(segment);
                }
            }
            Ok((id, State { segments, position, last_number, ..State::default() }))
        };
        match open() {
            Ok((id, state)) => Ok(Self {
                id,
                limit,
                select,
                clock,
                state: Mutex::new(state),
                more: Notify::new(),
                counters: Counters::default(),
                oldest: AtomicI64::new(0),
                folder,
            }),
            Err(source) => Err(SpoolError { path: folder, source }),
        }
    }

    /// Whether what came through `via` was sent by this very server. Then it is there, and goes no further; it is
    /// counted.
    pub fn is_back(&self, via: &Via) -> bool {
        let is_back = via.contains(self.id);
        if is_back {
            self.counters.returned.fetch_add(1, Relaxed);
            tracing::debug!(%via, "what this server forwarded has come back to it, and is not stored again");
        }
        is_back
    }

    /// What is to be written of a batch that came through `via` and has the frames of all its stacks; nothing when
    /// none of it is to be sent. Costs about as much as reading the upload did.
    pub fn frame(&self, batch: &Batch, via: &Via) -> Option<Frame> {
        if via.is_full() {
            tracing::debug!(%via, "what came through so many servers is stored, and not forwarded");
            return None;
        }
        let part = self.select.of(batch)?;
        let bytes = entry::frame(&part, via, self.clock.now());
        Some(Frame { bytes, service: part.service.clone(), profiles: part.profiles.len() as u64 })
    }

    /// Writes `frame`. What comes back is what will not be sent: it, or something older that had to make room.
    pub fn write(&self, frame: &Frame) -> Vec<Unsent> {
        let mut unsent = Vec::new();
        let written = match &frame.bytes {
            Ok(bytes) => self.append(bytes, &mut unsent).map_err(|error| frame.unsent(error)),
            Err(error) => Err(frame.unsent(error)),
        };
        match written {
            Ok(()) => self.more.notify_one(),
            Err(own) => unsent.push(own),
        }
        unsent.iter().for_each(|unsent| self.counters.drop(unsent));
        unsent
    }

    /// Makes what was written survive a loss of power.
    pub fn sync(&self) -> io::Result<()> {
        let mut files = {
            let mut state = self.state.lock();
            let open = state.file.as_ref().filter(|_| state.is_dirty).map(File::try_clone).transpose()?;
            state.is_dirty = false;
            open.into_iter().chain(state.closed.drain(..)).collect::<Vec<_>>().into_iter()
        };
        files.try_for_each(|file| file.sync_data())
    }

    /// A reading of all counters.
    pub fn status(&self) -> ForwardStatus {
        let oldest = self.oldest.load(Relaxed);
        let lag = if oldest == 0 { 0 } else { (self.clock.now() - oldest).max(0) };
        let spool_bytes = self.state.lock().unsent();
        ForwardStatus { spool_bytes, spool_limit: self.limit, lag, ..self.counters.read() }
    }

    /// Drops `unsent` for good, in the counters.
    pub(crate) fn give_up(&self, unsent: &Unsent) {
        self.counters.drop(unsent);
    }

    /// Says when the oldest that is not sent came in.
    pub(crate) fn wait_since(&self, arrived: Nanos) {
        self.oldest.store(arrived, Relaxed);
    }

    /// The oldest entries that are not sent, of about `bytes` bytes and at most `most`; nothing when there are none.
    pub(crate) fn next(&self, bytes: u64, most: usize) -> io::Result<Option<Chunk>> {
        let (segments, position, open) = {
            let state = self.state.lock();
            let open = state.file.is_some().then_some(state.last_number);
            (state.segments.clone(), state.position, open)
        };
        let mut chunk = Chunk { end: position, ..Chunk::default() };
        let mut taken = 0;
        for segment in segments {
            let offset = if segment.number == position.segment { position.offset } else { 0 };
            let mut reader = match Reader::open(&self.folder, segment, offset) {
                Ok(reader) => Some(reader),
                // It was dropped in the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    chunk.damaged.push(format!("segment {}: {error}", segment.number));
                    None
                }
                Err(error) => return Err(error),
            };
            while let Some(read) = &mut reader {
                if taken >= bytes || chunk.entries.len() >= most {
                    return Ok(Some(chunk));
                }
                match read.next()? {
                    Next::Entry(entry) => {
                        (taken, chunk.end) = (taken + entry.bytes, entry.end);
                        chunk.entries.push(entry);
                    }
                    Next::End => reader = None,
                    Next::Damaged => {
                        chunk.damaged.push(format!("segment {} is damaged", segment.number));
                        reader = None;
                    }
                }
            }
            if open != Some(segment.number) {
                chunk.end = Position { segment: segment.number + 1, offset: 0 };
            }
        }
        Ok((chunk.end != position || !chunk.damaged.is_empty()).then_some(chunk))
    }

    /// Whether what is before `end` was taken or given up already.
    pub(crate) fn is_behind(&self, end: Position) -> bool {
        self.state.lock().position >= end
    }

    /// Everything before `end` was taken or given up.
    pub(crate) fn advance(&self, end: Position) -> io::Result<()> {
        let mut state = self.state.lock();
        if end <= state.position {
            return Ok(());
        }
        state.position = end;
        while let Some(first) = state.segments.front().copied().filter(|first| first.number < end.segment) {
            state.remove_first(first, &self.folder)?;
        }
        state.position.store(&self.folder)
    }

    fn append(&self, frame: &[u8], unsent: &mut Vec<Unsent>) -> io::Result<()> {
        let length = frame.len() as u64;
        let segment_bytes = (self.limit / SEGMENTS).clamp(SMALLEST_SEGMENT, LARGEST_SEGMENT);
        if length + MAGIC_BYTES > self.limit {
            return Err(io::Error::other(format!("{length} bytes are more than all of it may take")));
        }
        let mut state = self.state.lock();
        let is_full = |last: &Segment| last.bytes + length > segment_bytes;
        if state.segments.back().is_some_and(is_full) {
            state.close();
        }
        loop {
            let more = if state.file.is_some() { length } else { length + MAGIC_BYTES };
            if state.bytes() + more <= self.limit {
                break;
            }
            let Some(first) = state.segments.front().copied() else { break };
            self.drop_first(&mut state, first, unsent)?;
        }
        state.write(&self.folder, frame)
    }

    /// Removes the oldest segment, and says what of it was not sent.
    fn drop_first(&self, state: &mut State, first: Segment, unsent: &mut Vec<Unsent>) -> io::Result<()> {
        if state.segments.len() == 1 {
            state.close();
        }
        let offset = if first.number == state.position.segment { state.position.offset } else { 0 };
        let mut services: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        if let Ok(mut reader) = Reader::open(&self.folder, first, offset) {
            while let Ok(Next::Entry(entry)) = reader.next() {
                let (profiles, bytes) = services.entry(entry.service).or_default();
                *profiles += u64::from(entry.profiles);
                *bytes += entry.bytes;
            }
        }
        unsent.extend(services.into_iter().map(|(service, (profiles, bytes))| Unsent {
            service,
            reason: UnsentReason::SpoolFull,
            profiles,
            bytes,
            message: format!(
                "they are stored here, and not forwarded: the other end took nothing for so long that the spool of {} \
                 bytes was full; see forward-spool",
                self.limit
            ),
        }));
        state.position = state.position.max(Position { segment: first.number + 1, offset: 0 });
        state.remove_first(first, &self.folder)?;
        state.position.store(&self.folder)
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool")
            .field("folder", &self.folder)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Bytes that are still to be sent.
    fn unsent(&self) -> u64 {
        let of = |segment: &Segment| {
            let sent = if segment.number == self.position.segment { self.position.offset } else { 0 };
            segment.bytes.saturating_sub(sent.max(MAGIC_BYTES))
        };
        self.segments.iter().map(of).sum()
    }

    /// Nothing more is written to the last segment.
    fn close(&mut self) {
        self.closed.extend(self.file.take());
        self.is_dirty = false;
    }

    fn remove_first(&mut self, first: Segment, folder: &std::path::Path) -> io::Result<()> {
        if self.segments.len() == 1 {
            self.file = None;
        }
        match fs::remove_file(segment::path(folder, first.number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                self.segments.pop_front();
                Ok(())
            }
        }
    }

    fn write(&mut self, folder: &std::path::Path, frame: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.last_number += 1;
            let path = segment::path(folder, self.last_number);
            let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
            file.write_all(&MAGIC)?;
            self.segments.push_back(Segment { number: self.last_number, bytes: MAGIC_BYTES });
            self.file = Some(file);
        }
        let (Some(file), Some(last)) = (&mut self.file, self.segments.back_mut()) else { return Ok(()) };
        if let Err(error) = file.write_all(frame) {
            // What was begun is cut off by starting anew: a segment that ends too early is read up to there.
            self.file = None;
            return Err(error);
        }
        last.bytes += frame.len() as u64;
        self.is_dirty = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
