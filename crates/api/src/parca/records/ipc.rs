//! Arrow IPC streams from the network, bounded before they are read.
//!
//! Arrow's reader takes lengths and offsets of a message as they are, and inflates LZ4 without an end. So
//! each message is looked at first: that its parts lie in it, and what they would become.

use crate::error::ApiError;
use arrow::record_batch::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::{CompressionType, MessageHeader, root_as_message};
use std::io::{Read, sink};

/// Bytes that the buffers of a stream may become in all: 256 MiB.
const MAX_INFLATED: u64 = 256 << 20;
/// Record batches of a stream.
const MAX_BATCHES: usize = 1_024;
/// Messages of a stream, dictionaries among them.
const MAX_MESSAGES: usize = 65_536;
/// What begins a message, before its length.
const CONTINUATION: u32 = u32::MAX;
/// In place of a length: the buffer is not compressed.
const NOT_COMPRESSED: i64 = -1;
/// Fields may nest so deep.
const MAX_NESTING: usize = 16;

/// The batches of a stream.
pub(super) fn read(stream: &[u8]) -> Result<Vec<RecordBatch>, ApiError> {
    check(stream)?;
    let read = || {
        let reader = StreamReader::try_new(stream, None)?;
        check_nesting(reader.schema().fields(), 0)?;
        reader.take(MAX_BATCHES + 1).collect::<Result<Vec<_>, _>>()
    };
    let batches = read().map_err(|error| invalid(format_args!("it cannot be read: {error}")))?;
    if batches.len() > MAX_BATCHES {
        return Err(invalid(format_args!("more than {MAX_BATCHES} batches; send them in several streams")));
    }
    Ok(batches)
}

fn invalid(message: impl std::fmt::Display) -> ApiError {
    ApiError::invalid(format_args!("Arrow IPC stream: {message}"))
}

fn check_nesting(fields: &arrow::datatypes::Fields, depth: usize) -> Result<(), arrow::error::ArrowError> {
    use arrow::datatypes::DataType::*;
    if depth > MAX_NESTING {
        let message = format!("fields are nested deeper than {MAX_NESTING}");
        return Err(arrow::error::ArrowError::SchemaError(message));
    }
    for field in fields {
        match field.data_type() {
            Struct(own) => check_nesting(own, depth + 1)?,
            List(own)
            | LargeList(own)
            | ListView(own)
            | LargeListView(own)
            | FixedSizeList(own, _)
            | Map(own, _)
            | RunEndEncoded(_, own) => {
                check_nesting(&vec![own.clone()].into(), depth + 1)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a stream whose messages do not hold what they say, or would become too large.
fn check(stream: &[u8]) -> Result<(), ApiError> {
    let cut_off = || invalid("it ends in the middle of a message; send it whole");
    let (mut rest, mut inflated) = (stream, 0u64);
    for number in 0.. {
        if rest.is_empty() {
            break;
        }
        if number >= MAX_MESSAGES {
            return Err(invalid(format_args!(
                "more than {MAX_MESSAGES} messages; send them in several streams"
            )));
        }
        let mut length = take_u32(&mut rest).ok_or_else(cut_off)?;
        if length == CONTINUATION {
            length = take_u32(&mut rest).ok_or_else(cut_off)?;
        }
        if length == 0 {
            break;
        }
        let (head, tail) = rest.split_at_checked(length as usize).ok_or_else(cut_off)?;
        let message = root_as_message(head)
            .map_err(|error| invalid(format_args!("message {number} cannot be read: {error}")))?;
        let body_length = usize::try_from(message.bodyLength()).ok();
        let (body, tail) =
            body_length.and_then(|length| tail.split_at_checked(length)).ok_or_else(cut_off)?;
        rest = tail;
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => {
                message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data())
            }
            _ => None,
        };
        let Some(batch) = batch else { continue };
        let codec = batch.compression().map(|compression| compression.codec());
        for buffer in batch.buffers().iter().flatten() {
            let start = usize::try_from(buffer.offset()).ok();
            let end = start.and_then(|start| start.checked_add(usize::try_from(buffer.length()).ok()?));
            let bytes = start.zip(end).and_then(|(start, end)| body.get(start..end));
            let bytes = bytes
                .ok_or_else(|| invalid(format_args!("message {number}: a buffer lies outside of it")))?;
            inflated = inflated.saturating_add(inflated_length(bytes, codec).ok_or_else(|| {
                invalid(format_args!("message {number}: a compressed buffer is not what it says"))
            })?);
            if inflated > MAX_INFLATED {
                return Err(invalid(format_args!(
                    "it becomes larger than {MAX_INFLATED} bytes; send it in several streams"
                )));
            }
        }
    }
    Ok(())
}

/// What a buffer becomes; nothing when it does not become what it says.
fn inflated_length(mut buffer: &[u8], codec: Option<CompressionType>) -> Option<u64> {
    let Some(codec) = codec.filter(|_| !buffer.is_empty()) else { return Some(buffer.len() as u64) };
    let said = i64::from_le_bytes(*buffer.split_off(..8)?.first_chunk()?);
    match said {
        NOT_COMPRESSED => Some(buffer.len() as u64),
        0 => Some(0),
        _ => {
            let said = u64::try_from(said).ok()?;
            // zstd is inflated into as much room as the length says, LZ4 to its end.
            if codec == CompressionType::LZ4_FRAME && said <= MAX_INFLATED {
                let mut frame = lz4_flex::frame::FrameDecoder::new(buffer).take(said + 1);
                let becomes = std::io::copy(&mut frame, &mut sink()).ok()?;
                return (becomes == said).then_some(said);
            }
            Some(said)
        }
    }
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.split_off(..4)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
    use std::sync::Arc;

    fn stream(rows: usize, compression: Option<CompressionType>) -> Vec<u8> {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![7; rows]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["text"; rows]));
        let batch = RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap();
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    #[test]
    fn streams_of_every_compression() {
        for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
            let batches = read(&stream(1_000, compression)).unwrap();
            assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [1_000, 1_000]);
        }
        assert!(read(b"").is_err());
    }

    #[test]
    fn nothing_breaks_the_reader() {
        for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
            let whole = stream(100, compression);
            for length in (0..whole.len()).step_by(3) {
                let _ = read(&whole[..length]);
            }
            for at in 0..whole.len() {
                for byte in [0, 0x7f, 0xff] {
                    let mut damaged = whole.clone();
                    damaged[at] = byte;
                    let _ = std::panic::catch_unwind(|| read(&damaged).map(drop));
                }
            }
        }
    }

    #[test]
    fn bombs_are_refused() {
        for compression in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
            let bomb = stream(40_000_000, Some(compression));
            let error = read(&bomb).unwrap_err().to_string();
            assert!(error.contains("becomes larger"), "{error}");
        }
    }
}
