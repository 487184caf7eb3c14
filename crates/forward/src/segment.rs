//! The files of the spool: eight bytes that say what it is, then frames.

use crate::entry::{self, Entry, FRAME_BYTES, MAX_BODY};
use crate::position::Position;
use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// What a segment begins with; the last byte is the version.
pub(crate) const MAGIC: [u8; 8] = *b"EFSPOOL\x02";
pub(crate) const MAGIC_BYTES: u64 = MAGIC.len() as u64;
const EXTENSION: &str = "spool";

/// What the frames of a segment hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// 1: they do not say which servers they came through.
    WithoutVia,
    /// 2: they do.
    WithVia,
}

impl Version {
    /// That of a segment that begins with `magic`.
    fn of(magic: [u8; MAGIC.len()]) -> Option<Self> {
        let ([own @ .., _], [name @ .., version]) = (MAGIC, magic);
        match version {
            1 if name == own => Some(Self::WithoutVia),
            2 if name == own => Some(Self::WithVia),
            _ => None,
        }
    }
}

/// A segment on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    /// Bytes that are written as a whole.
    pub(crate) bytes: u64,
}

pub(crate) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.{EXTENSION}"))
}

/// All segments of `folder`, the oldest first.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for file in fs::read_dir(folder)? {
        let file = file?;
        let name = file.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_suffix(EXTENSION)?.strip_suffix('.')?.parse().ok());
        if let Some(number) = number {
            segments.push(Segment { number, bytes: file.metadata()?.len() });
        }
    }
    segments.sort_by_key(|segment| segment.number);
    Ok(segments)
}

/// What comes next in a segment.
#[derive(Debug)]
pub(crate) enum Next {
    Entry(Entry),
    /// There is no more; a frame that was not written to its end is no more, too.
    End,
    /// What is there is not what was written.
    Damaged,
}

/// Reads a segment frame by frame.
pub(crate) struct Reader {
    file: BufReader<File>,
    version: Version,
    position: Position,
    until: u64,
}

impl Reader {
    /// Reads `segment` from `offset` on.
    pub(crate) fn open(folder: &Path, segment: Segment, offset: u64) -> io::Result<Self> {
        let mut file = File::open(path(folder, segment.number))?;
        let position = Position { segment: segment.number, offset: offset.max(MAGIC_BYTES) };
        let mut magic = [0; MAGIC.len()];
        let read = file.read_exact(&mut magic);
        let (version, until) = match (read, Version::of(magic)) {
            (Err(error), _) if error.kind() == ErrorKind::UnexpectedEof => (Version::WithVia, 0),
            (Err(error), _) => return Err(error),
            (Ok(()), None) => {
                return Err(io::Error::new(ErrorKind::InvalidData, "it is not of this version of the spool"));
            }
            (Ok(()), Some(version)) => (version, segment.bytes),
        };
        file.seek(SeekFrom::Start(position.offset))?;
        Ok(Self { file: BufReader::with_capacity(1 << 16, file), version, position, until })
    }

    pub(crate) fn next(&mut self) -> io::Result<Next> {
        let left = self.until.saturating_sub(self.position.offset);
        if left < FRAME_BYTES as u64 {
            return Ok(Next::End);
        }
        let mut head = [0; FRAME_BYTES];
        if !self.fill(&mut head)? {
            return Ok(Next::Damaged);
        }
        let (length, crc) = entry::frame_head(head);
        if length > MAX_BODY {
            return Ok(Next::Damaged);
        }
        if left < (FRAME_BYTES + length) as u64 {
            return Ok(Next::End);
        }
        let mut body = vec![0; length];
        if !self.fill(&mut body)? {
            return Ok(Next::Damaged);
        }
        self.position.offset += (FRAME_BYTES + length) as u64;
        Ok(entry::read(&body, crc, self.version, self.position).map_or(Next::Damaged, Next::Entry))
    }

    /// Whether there was enough to fill `bytes`: somebody may have cut the file off.
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<bool> {
        match self.file.read_exact(bytes) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            read => read.map(|()| true),
        }
    }
}
