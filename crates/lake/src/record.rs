//! How a [`Batch`] is written into the write-ahead log.
//!
//! Little-endian; `n` is an unsigned LEB128 number, `text` is `n` bytes of UTF-8, `z` is a zigzag `n`.
//! The layout stands in `docs/rfcs/0001-lake-format.md`; the first byte is its version.

use crate::batch::{Batch, NewStacks, ProfileId, ProfileRow, Sample};
use everflame_profile::{Frame, FrameKind, Labels, Mapping, Series, StackId, Strings, Symbols};

const VERSION: u8 = 1;

impl Batch {
    /// The batch as bytes: as the write-ahead log has it.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads what [`Batch::to_bytes`] wrote. The error says what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        decode(bytes)
    }
}

/// Writes `batch`.
pub(crate) fn encode(batch: &Batch) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(256 + batch.stacks.len() * 16 + batch.samples.len() * 8));
    out.0.push(VERSION);
    out.text(&batch.service);
    out.wide(batch.upload.map_or(0, |id| id.0));
    out.number(batch.series.len() as u64);
    for series in &batch.series {
        out.text(&series.profile_type.to_string());
        out.number(series.labels.len() as u64);
        for (name, value) in series.labels.iter() {
            out.text(name);
            out.text(value);
        }
    }
    out.number(batch.profiles.len() as u64);
    for profile in &batch.profiles {
        out.number(profile.series.into());
        out.wide(profile.id.0);
        out.signed(profile.time);
        out.signed(profile.duration);
        out.signed(profile.total);
        out.number(profile.samples_end.into());
    }
    out.number(batch.stacks.len() as u64);
    for stack in &batch.stacks {
        out.wide(stack.0);
    }
    out.number(batch.samples.len() as u64);
    let has_spans = batch.samples.iter().any(|sample| sample.span_id != 0 || sample.trace_id != 0);
    out.0.push(u8::from(has_spans));
    for sample in &batch.samples {
        out.number(sample.stack.into());
        out.signed(sample.value);
        if has_spans {
            out.number(sample.span_id);
            out.wide(sample.trace_id);
        }
    }
    encode_new_stacks(&mut out, &batch.new_stacks);
    out.0
}

/// Reads what [`encode`] wrote. The error says what is wrong.
pub(crate) fn decode(bytes: &[u8]) -> Result<Batch, String> {
    let mut input = Reader(bytes);
    let version = input.byte()?;
    if version != VERSION {
        return Err(format!(
            "record version {version}; this Everflame reads version {VERSION}, use a newer one"
        ));
    }
    let service = input.text()?.to_owned();
    let upload = Some(input.wide()?).filter(|&id| id != 0).map(ProfileId);
    let series = input.list(3, |input| {
        let profile_type = input.text()?.parse().map_err(|error| format!("{error}"))?;
        let labels = input.list(2, |input| Ok((input.text()?.to_owned(), input.text()?.to_owned())))?;
        Ok(Series { labels: Labels::from_pairs(labels), profile_type })
    })?;
    let profiles = input.list(21, |input| {
        Ok(ProfileRow {
            series: input.index(series.len())?,
            id: ProfileId(input.wide()?),
            time: input.signed()?,
            duration: input.signed()?,
            total: input.signed()?,
            samples_end: input.index(usize::MAX)?,
        })
    })?;
    let stacks = input.list(16, |input| Ok(StackId(input.wide()?)))?;
    let sample_count = input.number()? as usize;
    let has_spans = input.byte()? != 0;
    input.room(sample_count, 2)?;
    let mut samples = Vec::with_capacity(sample_count);
    for _ in 0..sample_count {
        let (stack, value) = (input.index(stacks.len())?, input.signed()?);
        let (span_id, trace_id) = if has_spans { (input.number()?, input.wide()?) } else { (0, 0) };
        samples.push(Sample { stack, value, span_id, trace_id });
    }
    let mut end = 0;
    for profile in &profiles {
        if profile.samples_end < end || profile.samples_end as usize > samples.len() {
            return Err(format!("profile ends at sample {} of {}", profile.samples_end, samples.len()));
        }
        end = profile.samples_end;
    }
    let new_stacks = decode_new_stacks(&mut input, stacks.len())?;
    Ok(Batch { service, upload, series, profiles, samples, stacks, new_stacks })
}

fn encode_new_stacks(out: &mut Writer, new: &NewStacks) {
    let Symbols { strings, mappings, frames } = &new.symbols;
    out.number(strings.len() as u64 - 1);
    strings.iter().skip(1).for_each(|text| out.text(text));
    out.number(mappings.len() as u64 - 1);
    for mapping in mappings.iter().skip(1) {
        for number in
            [u64::from(mapping.file), mapping.build_id.into(), mapping.memory_start, mapping.memory_limit]
        {
            out.number(number);
        }
        out.number(mapping.file_offset);
    }
    out.number(frames.len() as u64);
    for frame in frames {
        for number in [frame.function, frame.system_name, frame.file, frame.mapping] {
            out.number(number.into());
        }
        out.signed(frame.line);
        out.signed(frame.start_line);
        out.number(frame.address);
        out.0.extend([frame.kind as u8, u8::from(frame.inlined)]);
    }
    out.number(new.stacks.len() as u64);
    for &(stack, end) in &new.stacks {
        out.number(stack.into());
        out.number(end.into());
    }
    out.number(new.frames.len() as u64);
    for &frame in &new.frames {
        out.number(frame.into());
    }
}

fn decode_new_stacks(input: &mut Reader<'_>, stack_count: usize) -> Result<NewStacks, String> {
    let texts = input.list(1, |input| input.text())?;
    let mut strings = Strings::with_capacity(texts.len(), texts.iter().map(|text| text.len()).sum());
    for text in &texts {
        strings.push(text);
    }
    let mut mappings = vec![Mapping::default()];
    mappings.extend(input.list(5, |input| {
        Ok(Mapping {
            file: input.index(strings.len())?,
            build_id: input.index(strings.len())?,
            memory_start: input.number()?,
            memory_limit: input.number()?,
            file_offset: input.number()?,
        })
    })?);
    let frames = input.list(9, |input| {
        Ok(Frame {
            function: input.index(strings.len())?,
            system_name: input.index(strings.len())?,
            file: input.index(strings.len())?,
            mapping: input.index(mappings.len())?,
            line: input.signed()?,
            start_line: input.signed()?,
            address: input.number()?,
            kind: FrameKind::from_number(input.byte()?),
            inlined: input.byte()? != 0,
        })
    })?;
    let stacks = input.list(2, |input| Ok((input.index(stack_count)?, input.index(usize::MAX)?)))?;
    let indices = input.list(1, |input| input.index(frames.len()))?;
    let mut last = 0;
    for &(_, end) in &stacks {
        if end < last || end as usize > indices.len() {
            return Err(format!("a new stack ends at frame {end} of {}", indices.len()));
        }
        last = end;
    }
    Ok(NewStacks { symbols: Symbols { strings, mappings, frames }, stacks, frames: indices })
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn signed(&mut self, number: i64) {
        self.number((number << 1 ^ number >> 63) as u64);
    }

    fn wide(&mut self, number: u128) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

const CUT: &str = "the record ends too early";

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, String> {
        let (&byte, rest) = self.0.split_first().ok_or(CUT)?;
        self.0 = rest;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64, String> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("a number is longer than 64 bits".to_owned())
    }

    fn signed(&mut self) -> Result<i64, String> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn wide(&mut self) -> Result<u128, String> {
        let (bytes, rest) = self.0.split_first_chunk::<16>().ok_or(CUT)?;
        self.0 = rest;
        Ok(u128::from_le_bytes(*bytes))
    }

    fn text(&mut self) -> Result<&'a str, String> {
        let length = usize::try_from(self.number()?).map_err(|_| CUT)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(CUT)?;
        self.0 = rest;
        std::str::from_utf8(bytes).map_err(|error| format!("a text is not UTF-8: {error}"))
    }

    /// A number below `count`.
    fn index(&mut self, count: usize) -> Result<u32, String> {
        let number = self.number()?;
        match u32::try_from(number) {
            Ok(index) if (index as usize) < count => Ok(index),
            _ => Err(format!("index {number} of {count}")),
        }
    }

    /// Whether `count` items of at least `bytes` bytes each can follow.
    fn room(&self, count: usize, bytes: usize) -> Result<(), String> {
        if count > self.0.len() / bytes { Err(CUT.to_owned()) } else { Ok(()) }
    }

    fn list<T>(
        &mut self,
        bytes: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let count = usize::try_from(self.number()?).map_err(|_| CUT)?;
        self.room(count, bytes)?;
        (0..count).map(|_| item(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::batch;
    use proptest::prelude::*;

    #[test]
    fn a_batch_comes_back() {
        let batch = batch("api", 7, &[(&["leaf", "mid", "root"], 3), (&["leaf"], -1), (&[], i64::MAX)]);
        assert_eq!(decode(&encode(&batch)).unwrap(), batch);
        assert_eq!(decode(&encode(&Batch::default())).unwrap(), Batch::default());
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = encode(&batch("api", 7, &[(&["leaf", "root"], 3)]));
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn the_layout_is_on_disk() {
        let bytes = encode(&batch("a", 7, &[(&["f"], 3)]));
        insta::assert_snapshot!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..200, byte: u8) {
            let _ = decode(&bytes);
            let mut mutated = encode(&batch("api", 7, &[(&["leaf", "root"], 3), (&["x"], 4)]));
            if let Some(target) = mutated.get_mut(at) {
                *target = byte;
            }
            let _ = decode(&mutated);
        }
    }
}
