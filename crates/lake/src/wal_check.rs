//! Looks through the write-ahead log without changing it.

use crate::Error;
use crate::wal::{HEADER_BYTES, MAGIC, MAX_RECORD_BYTES, Record, payload_crc};
use std::fs;
use std::path::{Path, PathBuf};

/// How far sequences of one segment may lie apart: a number beyond is no sequence, but other bytes.
const MAX_SEQUENCE_STEP: u64 = 1 << 32;

/// What a segment holds.
#[derive(Debug, Default)]
pub(crate) struct Segment {
    /// Whole records.
    pub(crate) records: u64,
    /// Sequences of records whose CRC is wrong.
    pub(crate) damaged: Vec<u64>,
    /// Bytes at the end that are no whole record.
    pub(crate) torn_bytes: u64,
    /// Whole records among those bytes. A crash leaves none there: they were written after what comes before
    /// them, so that this is damaged, and nobody would find them.
    pub(crate) lost_records: u64,
    /// Whether it does not begin as a segment does.
    pub(crate) is_foreign: bool,
}

/// The segments in `folder`, oldest first; none when it does not exist.
pub(crate) fn segments(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|source| Error::io(folder, source))?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    let mut paths = paths.map_err(|source| Error::io(folder, source))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    paths.sort();
    Ok(paths)
}

/// Reads the segment at `path` and hands its whole records to `each`.
pub(crate) fn check(path: &Path, each: &mut dyn FnMut(Record)) -> Result<Segment, Error> {
    let bytes = fs::read(path).map_err(|source| Error::io(path, source))?;
    let mut found = Segment::default();
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
        found.is_foreign = bytes.len() >= MAGIC.len();
        found.torn_bytes = bytes.len() as u64;
        return Ok(found);
    };
    let mut last = None;
    while let Some((length, sequence, crc)) = header(rest) {
        let Some((payload, next)) = rest.get(HEADER_BYTES..).and_then(|after| after.split_at_checked(length))
        else {
            break;
        };
        if record_crc(payload, sequence) == crc {
            found.records += 1;
            last = Some(sequence);
            each(Record { sequence, payload: payload.to_vec() });
        } else {
            found.damaged.push(sequence);
        }
        rest = next;
    }
    found.torn_bytes = rest.len() as u64;
    found.lost_records = lost_records(rest, last);
    Ok(found)
}

/// Length, sequence and CRC of the record that `bytes` begin with.
fn header(bytes: &[u8]) -> Option<(usize, u64, u32)> {
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    let (length, rest) = header.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let sequence = rest.first_chunk::<8>()?;
    let length = u32::from_le_bytes(*length) as usize;
    (length <= MAX_RECORD_BYTES).then(|| (length, u64::from_le_bytes(*sequence), u32::from_le_bytes(*crc)))
}

fn record_crc(payload: &[u8], sequence: u64) -> u32 {
    crc32c::crc32c_append(payload_crc(payload), &sequence.to_le_bytes())
}

/// How many whole records lie somewhere in `bytes`.
fn lost_records(mut bytes: &[u8], last: Option<u64>) -> u64 {
    let mut records = 0;
    let first = last.unwrap_or_default();
    while !bytes.is_empty() {
        let whole = header(bytes).and_then(|(length, sequence, crc)| {
            let plausible = length > 0 && sequence > first && sequence - first < MAX_SEQUENCE_STEP;
            let payload = bytes.get(HEADER_BYTES..HEADER_BYTES + length).filter(|_| plausible)?;
            (record_crc(payload, sequence) == crc).then_some(HEADER_BYTES + length)
        });
        records += u64::from(whole.is_some());
        bytes = bytes.get(whole.unwrap_or(1)..).unwrap_or_default();
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::Wal;

    #[test]
    fn what_is_wrong_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let (mut wal, _) = Wal::open(folder.path(), 0, &mut |_| Ok(())).unwrap();
        let payloads = ["first", "second", "third"].map(str::as_bytes);
        wal.append(payloads.iter().map(|payload| (*payload, payload_crc(payload)))).unwrap();
        let path = segments(folder.path()).unwrap().remove(0);
        let whole = fs::read(&path).unwrap();
        let look = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = whole.clone();
            change(&mut bytes);
            fs::write(&path, &bytes).unwrap();
            let found = check(&path, &mut |_| {}).unwrap();
            (found.records, found.damaged, found.torn_bytes, found.lost_records, found.is_foreign)
        };
        assert_eq!(look(&|_| {}), (3, vec![], 0, 0, false));
        // In the second payload, in its length, at the end, at the beginning.
        assert_eq!(look(&|bytes| bytes[8 + 16 + 5 + 16] ^= 1), (2, vec![2], 0, 0, false));
        assert_eq!(look(&|bytes| bytes[8 + 16 + 5 + 2] ^= 1), (1, vec![], 16 + 6 + 16 + 5, 1, false));
        assert_eq!(look(&|bytes| bytes.truncate(bytes.len() - 1)), (2, vec![], 16 + 4, 0, false));
        assert!(look(&|bytes| bytes[0] ^= 1).4);
    }
}
