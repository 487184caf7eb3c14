//! Content-addressed identity of frames and stack traces.

use xxhash_rust::xxh3::xxh3_128;

/// Content address of a frame; see [`crate::Symbols::frame_id`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId(pub u128);

/// Content address of a stack trace. The same stack has the same id on every machine and for ever, so that
/// merging across files, tiers and machines is adding numbers by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StackId(pub u128);

/// The id of a stack: XXH3-128 over its frames' ids from root to leaf, 16 bytes little-endian each.
///
/// `frames` comes leaf first, as stacks do everywhere else; `buffer` is scratch space.
pub fn stack_id(frames: impl DoubleEndedIterator<Item = FrameId>, buffer: &mut Vec<u8>) -> StackId {
    buffer.clear();
    for frame in frames.rev() {
        buffer.extend_from_slice(&frame.0.to_le_bytes());
    }
    StackId(xxh3_128(buffer))
}
