//! The write-ahead log: records appended to segment files, one fsync for as many as wait.
//!
//! A segment is named after the sequence of its first record and begins with [`MAGIC`]. A record is
//! `length u32 | crc u32 | sequence u64 | payload`, little-endian; the CRC-32C covers the payload and then
//! the sequence. A torn tail is cut at the next start; a record whose CRC is wrong is skipped alone.

use crate::Error;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// First bytes of every segment; the last one is the version of the format.
pub(crate) const MAGIC: &[u8; 8] = b"EVFWAL\0\x01";
pub(crate) const HEADER_BYTES: usize = 16;
/// No record is larger: uploads are bounded far below.
pub(crate) const MAX_RECORD_BYTES: usize = 512 << 20;

/// The log of one data folder, open for appending.
pub(crate) struct Wal {
    folder: PathBuf,
    segment: Segment,
    /// Segments before the open one, oldest first.
    closed: Vec<ClosedSegment>,
    next_sequence: u64,
    buffer: Vec<u8>,
    /// A write or sync failed: nobody knows what of the open segment's tail is on disk.
    uncertain_tail: bool,
}

struct Segment {
    path: PathBuf,
    file: File,
    /// Length up to which everything is written and synced.
    durable_bytes: u64,
    first_sequence: u64,
}

struct ClosedSegment {
    path: PathBuf,
    bytes: u64,
    last_sequence: u64,
}

/// A record as it was found at the start.
pub(crate) struct Record {
    pub(crate) sequence: u64,
    pub(crate) payload: Vec<u8>,
}

/// What replaying found besides whole records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    pub(crate) records: u64,
    /// Records with a wrong CRC, skipped.
    pub(crate) damaged: u64,
    /// Bytes cut from the ends of segments.
    pub(crate) torn_bytes: u64,
}

/// The CRC of a payload, to be finished with the sequence by the log. Callers compute it in parallel.
pub(crate) fn payload_crc(payload: &[u8]) -> u32 {
    crc32c::crc32c(payload)
}

impl Wal {
    /// Opens the log in `folder`, hands every whole record to `replay` in order, and starts a new segment.
    /// Sequences go on after the last one found, and after `after`.
    pub(crate) fn open(
        folder: &Path,
        after: u64,
        replay: &mut dyn FnMut(Record) -> Result<(), Error>,
    ) -> Result<(Self, Replayed), Error> {
        fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
        let mut paths: Vec<PathBuf> = fs::read_dir(folder)
            .map_err(|source| Error::io(folder, source))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "wal"))
            .collect();
        paths.sort();
        let mut found = Replayed::default();
        let mut last_sequence = after;
        let mut closed = Vec::new();
        for path in paths {
            let (end, last) = replay_segment(&path, &mut found, replay)?;
            if last == 0 {
                // Without a record; its name may be the one that the next segment gets.
                fs::remove_file(&path).map_err(|source| Error::io(&path, source))?;
                continue;
            }
            last_sequence = last_sequence.max(last);
            closed.push(ClosedSegment { path, bytes: end, last_sequence });
        }
        let next_sequence = last_sequence + 1;
        let segment = Segment::create(folder, next_sequence)?;
        let wal = Self {
            folder: folder.to_owned(),
            segment,
            closed,
            next_sequence,
            buffer: Vec::new(),
            uncertain_tail: false,
        };
        Ok((wal, found))
    }

    /// Writes `payloads` with their CRCs behind each other and syncs once. Returns the sequence of the
    /// first. On an error nothing of them stays in the log.
    pub(crate) fn append<'a>(
        &mut self,
        payloads: impl Iterator<Item = (&'a [u8], u32)>,
    ) -> Result<u64, Error> {
        if self.uncertain_tail {
            self.abandon_tail()?;
        }
        let first = self.next_sequence;
        let mut sequence = first;
        self.buffer.clear();
        for (payload, crc) in payloads {
            let crc = crc32c::crc32c_append(crc, &sequence.to_le_bytes());
            self.buffer.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            self.buffer.extend_from_slice(&crc.to_le_bytes());
            self.buffer.extend_from_slice(&sequence.to_le_bytes());
            self.buffer.extend_from_slice(payload);
            sequence += 1;
        }
        let written = self.segment.file.write_all(&self.buffer).and_then(|()| self.segment.file.sync_data());
        if let Err(source) = written {
            let error = Error::io(&self.segment.path, source);
            self.uncertain_tail = true;
            // When this fails, too, it is tried again before the next write.
            let _ = self.abandon_tail();
            return Err(error);
        }
        self.segment.durable_bytes += self.buffer.len() as u64;
        if self.buffer.capacity() > 16 << 20 {
            self.buffer = Vec::new();
        }
        self.next_sequence = sequence;
        Ok(first)
    }

    /// Closes the open segment and begins a new one. Returns the last sequence that was written.
    pub(crate) fn rotate(&mut self) -> Result<u64, Error> {
        let last_sequence = self.next_sequence - 1;
        if self.next_sequence == self.segment.first_sequence {
            return Ok(last_sequence);
        }
        let next = Segment::create(&self.folder, self.next_sequence)?;
        let old = std::mem::replace(&mut self.segment, next);
        self.closed.push(ClosedSegment { path: old.path, bytes: old.durable_bytes, last_sequence });
        Ok(last_sequence)
    }

    /// Deletes the closed segments whose records are all at or before `sequence`.
    pub(crate) fn delete_through(&mut self, sequence: u64) -> Result<(), Error> {
        while let Some(oldest) = self.closed.first() {
            if oldest.last_sequence > sequence {
                break;
            }
            match fs::remove_file(&oldest.path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(&oldest.path, source));
                }
                _ => drop(self.closed.remove(0)),
            }
        }
        Ok(())
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.segment.durable_bytes + self.closed.iter().map(|segment| segment.bytes).sum::<u64>()
    }

    /// After a failed write or sync the tail is cut off, for it was not acknowledged, and writing goes on
    /// in a new segment. Until that is made nothing is written.
    fn abandon_tail(&mut self) -> Result<(), Error> {
        let segment = &self.segment;
        let cut = segment.file.set_len(segment.durable_bytes).and_then(|()| segment.file.sync_data());
        cut.map_err(|source| Error::io(&segment.path, source))?;
        if self.next_sequence == self.segment.first_sequence {
            // Nothing in it: one of the same name takes its place.
            self.segment = Segment::create(&self.folder, self.next_sequence)?;
        } else {
            self.rotate()?;
        }
        self.uncertain_tail = false;
        Ok(())
    }
}

impl Segment {
    fn create(folder: &Path, first_sequence: u64) -> Result<Self, Error> {
        let path = folder.join(format!("{first_sequence:020}.wal"));
        // Made whole before it gets its name: on a full disk the one that is there must stay, because
        // what is written to a file without a name is lost in a crash.
        let draft = path.with_extension("wal.tmp");
        let make = || {
            let _ = fs::remove_file(&draft);
            // Appending, so that a cut tail is really where the next record goes.
            let mut file = OpenOptions::new().create_new(true).append(true).open(&draft)?;
            file.write_all(MAGIC)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            File::open(folder)?.sync_all()?;
            Ok(file)
        };
        let file = make().map_err(|source| Error::io(&path, source))?;
        Ok(Self { path, file, durable_bytes: MAGIC.len() as u64, first_sequence })
    }
}

/// Reads one segment; returns where its last whole record ends, and that record's sequence (0 when none).
fn replay_segment(
    path: &Path,
    found: &mut Replayed,
    replay: &mut dyn FnMut(Record) -> Result<(), Error>,
) -> Result<(u64, u64), Error> {
    let bytes = fs::read(path).map_err(|source| Error::io(path, source))?;
    let mut last = 0;
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
        if bytes.len() > MAGIC.len() {
            let why = "it is not a write-ahead log segment of version 1; move it away to start without it"
                .to_owned();
            return Err(Error::Damaged { path: path.to_owned(), why });
        }
        found.torn_bytes += bytes.len() as u64;
        return Ok((bytes.len() as u64, 0));
    };
    while let Some((header, after)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let number = |from: usize| {
            u32::from_le_bytes([header[from], header[from + 1], header[from + 2], header[from + 3]])
        };
        let (length, crc) = (number(0) as usize, number(4));
        let sequence = u64::from(number(8)) | u64::from(number(12)) << 32;
        if length > MAX_RECORD_BYTES || after.len() < length {
            break;
        }
        let (payload, next) = after.split_at(length);
        if crc32c::crc32c_append(payload_crc(payload), &sequence.to_le_bytes()) == crc {
            found.records += 1;
            last = last.max(sequence);
            replay(Record { sequence, payload: payload.to_vec() })?;
        } else {
            found.damaged += 1;
            tracing::warn!(path = %path.display(), sequence, "skipping a damaged record of the write-ahead log");
        }
        rest = next;
    }
    if !rest.is_empty() {
        found.torn_bytes += rest.len() as u64;
        tracing::warn!(path = %path.display(), bytes = rest.len(), "the write-ahead log ends in a torn record, which is cut");
    }
    Ok(((bytes.len() - rest.len()) as u64, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(wal: &mut Wal, payloads: &[&str]) -> u64 {
        wal.append(payloads.iter().map(|text| (text.as_bytes(), payload_crc(text.as_bytes())))).unwrap()
    }

    fn reopen(folder: &Path) -> (Wal, Replayed, Vec<(u64, String)>) {
        let mut records = Vec::new();
        let (wal, replayed) = Wal::open(folder, 0, &mut |record| {
            records.push((record.sequence, String::from_utf8(record.payload).unwrap()));
            Ok(())
        })
        .unwrap();
        (wal, replayed, records)
    }

    fn only_segment_with_records(folder: &Path) -> PathBuf {
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| fs::metadata(path).unwrap().len() > 8);
        paths.pop().unwrap()
    }

    #[test]
    fn what_was_appended_comes_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (mut wal, ..) = reopen(folder.path());
        assert_eq!(append(&mut wal, &["one", "two"]), 1);
        assert_eq!(wal.rotate().unwrap(), 2);
        assert_eq!(append(&mut wal, &["three"]), 3);
        drop(wal);
        let (mut wal, replayed, records) = reopen(folder.path());
        assert_eq!(records, [(1, "one".into()), (2, "two".into()), (3, "three".into())]);
        assert_eq!(replayed, Replayed { records: 3, ..Replayed::default() });
        assert_eq!(append(&mut wal, &["four"]), 4);
        wal.delete_through(2).unwrap();
        drop(wal);
        assert_eq!(reopen(folder.path()).2, [(3, "three".into()), (4, "four".into())]);
    }

    #[test]
    fn a_segment_byte_by_byte() {
        let folder = tempfile::tempdir().unwrap();
        let (mut wal, ..) = reopen(folder.path());
        append(&mut wal, &["x"]);
        let bytes = fs::read(only_segment_with_records(folder.path())).unwrap();
        let expect =
            [b"EVFWAL\0\x01".as_slice(), &[1, 0, 0, 0], &bytes[12..16], &[1, 0, 0, 0, 0, 0, 0, 0], b"x"]
                .concat();
        assert_eq!(bytes, expect);
        assert_eq!(bytes[12..16], crc32c::crc32c(b"x\x01\0\0\0\0\0\0\0").to_le_bytes());
    }

    #[test]
    fn a_torn_tail_is_cut_at_every_length() {
        let folder = tempfile::tempdir().unwrap();
        let (mut wal, ..) = reopen(folder.path());
        append(&mut wal, &["first", "second"]);
        drop(wal);
        let path = only_segment_with_records(folder.path());
        let whole = fs::read(&path).unwrap();
        for length in (8 + 16 + 5..whole.len()).rev() {
            fs::write(&path, &whole[..length]).unwrap();
            let (wal, _, records) = reopen(folder.path());
            assert_eq!(records, [(1, "first".into())], "{length}");
            fs::remove_file(&wal.segment.path).unwrap();
        }
    }

    #[test]
    fn a_bad_crc_costs_that_record_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (mut wal, ..) = reopen(folder.path());
        append(&mut wal, &["first", "second", "third"]);
        drop(wal);
        let path = only_segment_with_records(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        bytes[8 + 16 + 5 + 16] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let (_, replayed, records) = reopen(folder.path());
        assert_eq!(records, [(1, "first".into()), (3, "third".into())]);
        assert_eq!(replayed.damaged, 1);
    }
}
