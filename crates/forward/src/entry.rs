//! One batch in the spool, and how it is written.
//!
//! A frame is the length of its body and the CRC-32C of it (4 bytes each, little-endian), then the body: when
//! it came (8 bytes), how many profiles it has (4), the length of the service's name (2), the name, how many
//! servers it came through (1), their ids (16 each), and the batch as the lake's log has it, compressed with
//! zstd. What a drop has to know stands in front, so that counting what is dropped inflates nothing. In segments
//! of version 1 there is nothing about servers.

use crate::position::Position;
use crate::segment::Version;
use crate::via::Via;
use everflame_lake::Batch;
use everflame_profile::Nanos;

/// Length and checksum.
pub(crate) const FRAME_BYTES: usize = 8;
/// Time, profiles, length of the name.
const HEAD_BYTES: usize = 14;
/// Largest body: a batch is never larger, and a length beyond it is damage.
pub(crate) const MAX_BODY: usize = 256 << 20;
/// Most bytes that a batch may inflate to.
const MAX_BATCH: usize = 1 << 30;
/// The quickest useful level: one core does some hundred megabytes a second.
const LEVEL: i32 = 1;

/// An entry as it is read from the spool.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// When it came, nanoseconds since the epoch.
    pub(crate) arrived: Nanos,
    pub(crate) profiles: u32,
    pub(crate) service: String,
    /// The servers that it came through.
    pub(crate) via: Via,
    /// Bytes that it takes in the spool.
    pub(crate) bytes: u64,
    /// Where the next one begins.
    pub(crate) end: Position,
    batch: Vec<u8>,
}

/// The frame of `batch`, which came through `via`; nothing when it is too large to be read again.
pub(crate) fn frame(batch: &Batch, via: &Via, arrived: Nanos) -> std::io::Result<Vec<u8>> {
    let mut name = batch.service.as_bytes();
    name = name.get(..usize::from(u16::MAX)).unwrap_or(name);
    let profiles = u32::try_from(batch.profiles.len()).unwrap_or(u32::MAX);
    let mut out = vec![0; FRAME_BYTES];
    out.extend_from_slice(&arrived.to_le_bytes());
    out.extend_from_slice(&profiles.to_le_bytes());
    out.extend_from_slice(&(name.len() as u16).to_le_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(&via.to_bytes());
    zstd::stream::copy_encode(batch.to_bytes().as_slice(), &mut out, LEVEL)?;
    let (head, body) = out.split_at_mut(FRAME_BYTES);
    if body.len() > MAX_BODY {
        return Err(std::io::Error::other("the batch is too large for the spool"));
    }
    let [length, crc] = [body.len() as u32, crc32c::crc32c(body)].map(u32::to_le_bytes);
    head.copy_from_slice(&[length, crc].concat());
    Ok(out)
}

/// The length of a frame's body and its checksum.
pub(crate) fn frame_head(bytes: [u8; FRAME_BYTES]) -> (usize, u32) {
    let [a, b, c, d, e, f, g, h] = bytes;
    (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]))
}

/// Reads the body of a frame that ends at `end`; nothing when it is damaged.
pub(crate) fn read(body: &[u8], crc: u32, version: Version, end: Position) -> Option<Entry> {
    if crc32c::crc32c(body) != crc {
        return None;
    }
    let (head, rest) = body.split_at_checked(HEAD_BYTES)?;
    let (arrived, head) = head.split_first_chunk::<8>()?;
    let (profiles, head) = head.split_first_chunk::<4>()?;
    let (length, _) = head.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let (via, batch) = match version {
        Version::WithoutVia => (Via::default(), rest),
        Version::WithVia => Via::from_bytes(rest)?,
    };
    Some(Entry {
        arrived: Nanos::from_le_bytes(*arrived),
        profiles: u32::from_le_bytes(*profiles),
        service: String::from_utf8_lossy(name).into_owned(),
        via,
        bytes: (FRAME_BYTES + body.len()) as u64,
        end,
        batch: batch.to_vec(),
    })
}

impl Entry {
    /// The batch; the error says what is wrong with it.
    pub(crate) fn batch(&self) -> Result<Batch, String> {
        let mut bytes = Vec::new();
        let decoder = zstd::stream::Decoder::new(self.batch.as_slice()).map_err(|error| error.to_string())?;
        let mut bounded = std::io::Read::take(decoder, MAX_BATCH as u64);
        std::io::Read::read_to_end(&mut bounded, &mut bytes).map_err(|error| error.to_string())?;
        Batch::from_bytes(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outgoing::tests::batch;
    use crate::via::tests::chain;

    #[test]
    fn what_was_written_is_read() {
        let batch = batch("shop", &["a", "b"]);
        let frame = frame(&batch, &chain(2), 77).unwrap();
        let (head, body) = frame.split_first_chunk::<FRAME_BYTES>().unwrap();
        let (length, crc) = frame_head(*head);
        assert_eq!(length, body.len());
        let end = Position { segment: 3, offset: 9 };
        let entry = read(body, crc, Version::WithVia, end).unwrap();
        assert_eq!((entry.arrived, entry.profiles, entry.service.as_str()), (77, 2, "shop"));
        assert_eq!((entry.bytes, entry.end), (frame.len() as u64, end));
        assert_eq!((entry.via.clone(), entry.batch().unwrap()), (chain(2), batch));
        for at in 0..body.len() {
            let mut damaged = body.to_vec();
            damaged[at] ^= 1;
            assert_eq!(read(&damaged, crc, Version::WithVia, end), None);
        }
        assert_eq!(read(&[], crc32c::crc32c(&[]), Version::WithVia, end), None);
    }
}
