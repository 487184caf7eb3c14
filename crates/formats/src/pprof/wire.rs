//! The protobuf encoding, as much of it as profiles use.

use std::fmt;

/// Bytes that are still to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a>(&'a [u8]);

/// A field's content.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Four or eight bytes, little-endian; pprof has no such field.
    Fixed(&'a [u8]),
}

/// How the encoding is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    CutOff,
    LongNumber,
    FieldZero,
    WireType(u8),
    WrongType(u32),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutOff => f.write_str("it ends in the middle of a field"),
            Self::LongNumber => f.write_str("a number has more than 64 bits"),
            Self::FieldZero => f.write_str("a field has the number 0"),
            Self::WireType(number) => write!(f, "a field has the wire type {number}, which is not used"),
            Self::WrongType(field) => write!(f, "field {field} has the wrong wire type"),
        }
    }
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes that are left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    /// Hot: most numbers are one byte.
    #[inline(always)]
    pub(crate) fn number(&mut self) -> Result<u64, Fault> {
        match self.0 {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.0 = rest;
                Ok(u64::from(*byte))
            }
            [low, high, rest @ ..] if *high < 0x80 => {
                self.0 = rest;
                Ok(u64::from(*low & 0x7f) | u64::from(*high) << 7)
            }
            _ => self.long_number(),
        }
    }

    /// Up to eight bytes at once: finds the last byte of the number and pushes the groups of seven bits
    /// together, without a loop. Values of heap profiles are mostly of this size.
    #[inline]
    fn long_number(&mut self) -> Result<u64, Fault> {
        let word = match self.0.first_chunk() {
            Some(&chunk) => u64::from_le_bytes(chunk),
            None => last_word(self.0),
        };
        let Some((number, length)) = long_number(word) else { return self.number_bytewise() };
        self.0 = self.0.get(length..).unwrap_or_default();
        Ok(number)
    }

    #[cold]
    fn number_bytewise(&mut self) -> Result<u64, Fault> {
        let mut number = 0;
        for (at, &byte) in self.0.iter().enumerate().take(10) {
            if at == 9 && byte > 1 {
                return Err(Fault::LongNumber);
            }
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.0 = self.0.get(at + 1..).unwrap_or_default();
                return Ok(number);
            }
        }
        Err(if self.0.len() < 10 { Fault::CutOff } else { Fault::LongNumber })
    }

    fn bytes(&mut self, length: u64) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(length).map_err(|_| Fault::CutOff)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Fault::CutOff)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// The next field's key, its number and wire type in one; `None` at the end.
    #[inline(always)]
    pub(super) fn key(&mut self) -> Result<Option<u64>, Fault> {
        if self.0.is_empty() { Ok(None) } else { self.number().map(Some) }
    }

    /// Whether the next field has this `key`, which is then behind us. Writers put fields in the order of
    /// their numbers: asking for one after the other is faster than looking at each key, because the answer
    /// is nearly always the same.
    #[inline(always)]
    pub(super) fn next_is(&mut self, key: u64) -> bool {
        match self.0 {
            [byte, rest @ ..] if u64::from(*byte) == key => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    /// The key of the next field, which is then behind us, when it is one of the fields of bytes from that with
    /// the key `first` to that with `last`, all of one byte.
    #[inline(always)]
    pub(super) fn next_within(&mut self, first: u64, last: u64) -> Option<u64> {
        match self.0 {
            [byte, rest @ ..] if u64::from(*byte).wrapping_sub(first) <= last - first && byte & 7 == 2 => {
                self.0 = rest;
                Some(u64::from(*byte))
            }
            _ => None,
        }
    }

    /// A number that may as well have one as two bytes: without a branch on that.
    #[inline(always)]
    pub(super) fn short_number(&mut self) -> Result<u64, Fault> {
        match self.0.first_chunk() {
            Some(&[low, high]) if low & high < 0x80 => {
                let more = low >> 7;
                self.0 = self.0.get(1 + usize::from(more)..).unwrap_or_default();
                Ok(u64::from(low & 0x7f) | u64::from(high * more) << 7)
            }
            _ => self.number(),
        }
    }

    /// As [`Self::short_number`], for what is probably the last number of `message`, the cursor's: whether it has
    /// one byte or two cannot be told from what follows.
    #[inline(always)]
    pub(super) fn last_short_number(&mut self, message: &[u8]) -> Result<u64, Fault> {
        let left = self.0.len();
        match message.last_chunk() {
            Some(&[before, last]) if last < 0x80 && (left == 1) | (left == 2 && before >= 0x80) => {
                self.0 = &[];
                let (first, shift) = if left == 2 { (before & 0x7f, 7) } else { (0, 0) };
                Ok(u64::from(first) | u64::from(last) << shift)
            }
            _ => self.short_number(),
        }
    }

    /// The bytes of a field.
    #[inline(always)]
    pub(super) fn sized(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.number()?;
        self.bytes(length)
    }

    /// Skips the field of `key`, which is wrong when its number is up to `known`: then it should have
    /// another wire type.
    #[cold]
    pub(super) fn skip(&mut self, key: u64, known: u32) -> Result<(), Fault> {
        let (field, _) = self.value(key)?;
        if field <= known { Err(Fault::WrongType(field)) } else { Ok(()) }
    }

    /// The next field and its number; `None` at the end.
    #[inline(always)]
    pub(crate) fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, Fault> {
        match self.key()? {
            Some(key) => self.value(key).map(Some),
            None => Ok(None),
        }
    }

    /// The content of the field with `key`, and its number.
    #[inline(always)]
    fn value(&mut self, key: u64) -> Result<(u32, Value<'a>), Fault> {
        let field = u32::try_from(key >> 3).map_err(|_| Fault::LongNumber)?;
        if field == 0 {
            return Err(Fault::FieldZero);
        }
        let value = match key & 7 {
            0 => Value::Number(self.number()?),
            1 => self.bytes(8).map(Value::Fixed)?,
            2 => {
                let length = self.number()?;
                Value::Bytes(self.bytes(length)?)
            }
            5 => self.bytes(4).map(Value::Fixed)?,
            other => return Err(Fault::WireType(other as u8)),
        };
        Ok((field, value))
    }
}

/// The key of a field with a number in it.
pub(super) const fn number_key(field: u32) -> u64 {
    (field as u64) << 3
}

/// The key of a field with bytes in it.
pub(super) const fn bytes_key(field: u32) -> u64 {
    (field as u64) << 3 | 2
}

/// The last up to seven bytes of a message, and behind them others that end no number.
#[inline]
fn last_word(bytes: &[u8]) -> u64 {
    let (low, high) = match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some(&low), Some(&high)) => (u32::from_le_bytes(low), u32::from_le_bytes(high)),
        _ => match (bytes.first_chunk::<2>(), bytes.last_chunk::<2>()) {
            (Some(&low), Some(&high)) => (u16::from_le_bytes(low).into(), u16::from_le_bytes(high).into()),
            _ => return CONTINUES | u64::from(bytes.first().copied().unwrap_or(0x80)),
        },
    };
    let chunk = if bytes.len() < 4 { 2 } else { 4 };
    u64::from(low) | u64::from(high) << (8 * (bytes.len() - chunk)) | CONTINUES << (8 * bytes.len())
}

/// The number of up to eight bytes that `word` begins with, and how many bytes those are.
#[inline(always)]
pub(super) fn long_number(word: u64) -> Option<(u64, usize)> {
    let ends = !word & CONTINUES;
    if ends == 0 {
        return None;
    }
    // The lowest end bit and all bits below it.
    let bits = word & (ends ^ (ends - 1)) & !CONTINUES;
    let bits = bits & 0x007f_007f_007f_007f | (bits & 0x7f00_7f00_7f00_7f00) >> 1;
    let bits = bits & 0x0000_3fff_0000_3fff | (bits & 0x3fff_0000_3fff_0000) >> 2;
    let bits = bits & 0x0000_0000_0fff_ffff | (bits & 0x0fff_ffff_0000_0000) >> 4;
    Some((bits, ends.trailing_zeros() as usize / 8 + 1))
}

/// Two numbers, and how many bytes the field takes that they are in.
type Pair = ((u64, u64), usize);

/// Hot: the field with `key` at `at` of a message, if it is a message of two numbers with the fields 1 and 2, each of
/// one byte or two. Taken from one word, because a branch on how long each number is
/// would be mispredicted.
#[inline(always)]
pub(super) fn short_pair(message: &[u8], at: usize, key: u64) -> Option<Pair> {
    // The word may begin before the field, but not end behind the message.
    let from = at.min(message.len().checked_sub(8)?);
    let word = u64::from_le_bytes(*message.get(from..)?.first_chunk()?) >> (8 * (at - from) % 64);
    let (first, more, is_longer) = short_number(word >> 16);
    let rest = word >> (32 + 8 * more);
    let (second, more_too, is_longer_too) = short_number(rest);
    let is_other = (word & 0xff00ff ^ (key | number_key(1) << 16))
        | (word >> 8 & 0xff ^ (4 + more + more_too))
        | (rest & 0xff ^ number_key(2))
        | is_longer
        | is_longer_too;
    let length = (6 + more + more_too) as usize;
    (is_other == 0 && at + length <= message.len()).then_some(((first, second), length))
}

/// The number behind the first byte of `word`: its value, 1 when it takes a second byte, and 1 when it takes a third,
/// which is not read.
#[inline(always)]
pub(super) fn short_number(word: u64) -> (u64, u64, u64) {
    let more = word >> 15 & 1;
    let is_longer = more & word >> 23;
    let (low, high) = (word >> 8 & 0x7f, word >> 9 & 0x3f80);
    (low + high * more, more, is_longer)
}

/// Of eight bytes of numbers, what says that more bytes follow.
const CONTINUES: u64 = 0x8080_8080_8080_8080;

/// Hands on the numbers in `packed`. Hot: numbers of one and of two bytes take turns at random, so that
/// nothing may branch on which it is. Eight bytes are looked at together: where their numbers end is one
/// bit mask, and walking it does not wait for the bytes.
#[inline(always)]
pub(crate) fn each_number(packed: &[u8], mut each: impl FnMut(u64)) -> Result<(), Fault> {
    let mut rest = packed;
    while let Some(&chunk) = rest.first_chunk::<8>() {
        let word = u64::from_le_bytes(chunk);
        let continues = word & CONTINUES;
        if continues & continues >> 8 != 0 {
            // One of three bytes or more.
            let mut cursor = Cursor(rest);
            each(cursor.number()?);
            rest = cursor.0;
            continue;
        }
        let (mut ends, mut start) = (continues ^ CONTINUES, 0);
        while ends != 0 {
            let end = ends.trailing_zeros() + 1;
            let bits = word << (64 - end) >> (64 - end + start);
            each(bits & 0x7f | bits >> 1 & 0x3f80);
            start = end;
            ends &= ends - 1;
        }
        rest = rest.get(start as usize / 8..).unwrap_or_default();
    }
    let mut cursor = Cursor(rest);
    while !cursor.is_empty() {
        each(cursor.number()?);
    }
    Ok(())
}

impl<'a> Value<'a> {
    #[inline(always)]
    pub(crate) fn number(self, field: u32) -> Result<u64, Fault> {
        match self {
            Self::Number(number) => Ok(number),
            _ => Err(Fault::WrongType(field)),
        }
    }

    #[inline(always)]
    pub(crate) fn bytes(self, field: u32) -> Result<&'a [u8], Fault> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Fault::WrongType(field)),
        }
    }
}

/// Appends a message's fields to a buffer, in the order of the calls.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// A number, left out when it is 0.
    pub(crate) fn number(&mut self, field: u32, number: u64) {
        if number != 0 {
            self.varint(u64::from(field) << 3);
            self.varint(number);
        }
    }

    /// Eight bytes, written also when they are 0.
    pub(crate) fn fixed(&mut self, field: u32, number: u64) {
        self.varint(u64::from(field) << 3 | 1);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Numbers in packed form, left out when there are none. `scratch` is scratch space.
    pub(crate) fn packed(&mut self, field: u32, numbers: impl Iterator<Item = u64>, scratch: &mut Self) {
        scratch.0.clear();
        numbers.for_each(|number| scratch.varint(number));
        if !scratch.0.is_empty() {
            self.bytes(field, &scratch.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn broken_numbers() {
        let read = |bytes: &[u8]| Cursor::new(bytes).number();
        assert_eq!(read(&[]), Err(Fault::CutOff));
        assert_eq!(read(&[0x80]), Err(Fault::CutOff));
        assert_eq!(read(&[0x80, 0x80]), Err(Fault::CutOff));
        assert_eq!(read(&[0xff; 9]), Err(Fault::CutOff));
        assert_eq!(read(&[0xff; 10]), Err(Fault::LongNumber));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), Err(Fault::LongNumber));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Ok(u64::MAX));
        // Not the shortest form, but a number all the same.
        assert_eq!(read(&[0x81, 0x80, 0x00]), Ok(1));
    }

    /// As [`short_pair`], by the readers of fields; numbers of any length.
    fn pair(message: &[u8], key: u64) -> Result<Option<Pair>, Fault> {
        let mut cursor = Cursor::new(message);
        let Some((field, Value::Bytes(inner))) = cursor.field()? else { return Ok(None) };
        let length = message.len() - cursor.0.len();
        let mut cursor = Cursor::new(inner);
        let fields = (cursor.field()?, cursor.field()?);
        Ok(match fields {
            (Some((1, Value::Number(first))), Some((2, Value::Number(second)))) if cursor.is_empty() => {
                (bytes_key(field) == key).then_some(((first, second), length))
            }
            _ => None,
        })
    }

    proptest! {
        #[test]
        fn short_pairs_are_read_alike(
            before in prop::collection::vec(any::<u8>(), 0..12),
            after in prop::collection::vec(any::<u8>(), 0..12),
            (first, first_shift) in (any::<u64>(), 48..64u32),
            (second, second_shift) in (any::<u64>(), 48..64u32),
            flipped in prop::option::of((0..8usize, 0..8u32)),
            cut in 0..3usize,
        ) {
            let (first, second) = (first >> first_shift, second >> second_shift);
            let mut inner = Writer::default();
            inner.varint(number_key(1));
            inner.varint(first);
            inner.varint(number_key(2));
            inner.varint(second);
            let mut message = Writer(before.clone());
            message.bytes(4, &inner.0);
            let (at, mut message) = (before.len(), message.0);
            message.extend_from_slice(&after);
            message.truncate(message.len() - cut.min(inner.0.len()));
            if let Some((byte, bit)) = flipped && at + byte < message.len() {
                message[at + byte] ^= 1u8 << bit;
            }
            let short = short_pair(&message, at, bytes_key(4));
            if let Some(short) = short {
                prop_assert_eq!(pair(&message[at..], bytes_key(4)), Ok(Some(short)));
            } else {
                let is_short = first < 1 << 14 && second < 1 << 14;
                prop_assert!(flipped.is_some() || !is_short || cut > after.len() || message.len() < 8);
            }
        }
    }

    proptest! {
        #[test]
        fn packed_numbers_come_back(numbers in prop::collection::vec((any::<u64>(), 0..64), 0..40)) {
            let numbers: Vec<u64> = numbers.iter().map(|(number, shift)| number >> shift).collect();
            let mut writer = Writer::default();
            numbers.iter().for_each(|&number| writer.varint(number));
            let mut read = Vec::new();
            prop_assert_eq!(each_number(&writer.0, |number| read.push(number)), Ok(()));
            prop_assert_eq!(&read, &numbers);
            if let Some(last) = writer.0.last_mut() {
                *last |= 0x80;
                prop_assert!(each_number(&writer.0, |_| ()).is_err());
            }
        }

        #[test]
        fn the_last_number_comes_back(before in prop::collection::vec(any::<u8>(), 0..4), number in any::<u64>(), shift in 44..64, cut in any::<bool>()) {
            let mut writer = Writer(before.clone());
            writer.varint(number >> shift);
            if cut && let Some(last) = writer.0.last_mut() {
                *last |= 0x80;
            }
            let mut cursor = Cursor::new(&writer.0[before.len()..]);
            let read = cursor.last_short_number(&writer.0);
            prop_assert_eq!(read, if cut { Err(Fault::CutOff) } else { Ok(number >> shift) });
            prop_assert!(cut || cursor.is_empty());
        }

        #[test]
        fn numbers_come_back(number in any::<u64>(), shift in 0..64, padding in prop::collection::vec(any::<u8>(), 0..9)) {
            let number = number >> shift;
            let mut writer = Writer::default();
            writer.varint(number);
            let length = writer.0.len();
            writer.0.extend_from_slice(&padding);
            let mut cursor = Cursor::new(&writer.0);
            prop_assert_eq!(cursor.number(), Ok(number));
            prop_assert_eq!(cursor.0.len(), writer.0.len() - length);
        }
    }
}
