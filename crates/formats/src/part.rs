//! What the readers of formats with several profiles in one file or message give back.

use crate::{Cuts, Error};
use everflame_profile::{
    Frame, Location, Mapping, MappingIndex, Nanos, Profile, SampleLabel, Samples, StringIndex, Strings,
    Symbols,
};
use std::fmt;

/// One of the profiles in a file or message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// What kind of profile it is: `process_cpu`, `wall`, `memory`, …; empty when the format does not say.
    pub name: String,
    /// Labels that hold for all of its samples, as the format gives them; a name may occur twice, of which
    /// the first counts.
    pub labels: Vec<(String, String)>,
    /// The profile.
    pub profile: Profile,
    /// For each sample when it was taken, nanoseconds since the epoch, 0 when unknown. Empty when no sample
    /// says it.
    pub timestamps: Vec<Nanos>,
}

/// What a reader made of its input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The profiles, in the order of the input.
    pub parts: Vec<Part>,
    /// What had to be shortened to stay within [`crate::Limits`], for a metric or a warning.
    pub cuts: Cuts,
}

/// Bytes of frames and texts that all profiles of one input may take out of its tables: 96 MiB. Many small
/// profiles that all refer to the same long texts would otherwise become much larger than their input.
const MOST_TAKEN_BYTES: usize = 96 << 20;

/// Entries for which room is made before they are taken.
const MOST_RESERVED: usize = 1024;

/// Takes profiles out of one table of frames, each with the frames that it uses and no others, so that many
/// small profiles over a large table cost what they hold and not what the table holds.
pub(crate) struct Extract<'a> {
    symbols: &'a Symbols,
    locations: &'a [Location],
    taken_locations: Taken,
    taken_strings: Taken,
    taken_mappings: Taken,
    out: Symbols,
    out_locations: Vec<Location>,
    taken_bytes: usize,
}

impl<'a> Extract<'a> {
    pub(crate) fn new(symbols: &'a Symbols, locations: &'a [Location]) -> Self {
        let mut extract = Self {
            symbols,
            locations,
            taken_locations: Taken::new(locations.len()),
            taken_strings: Taken::new(symbols.strings.len()),
            taken_mappings: Taken::new(symbols.mappings.len()),
            out: Symbols::default(),
            out_locations: Vec::new(),
            taken_bytes: 0,
        };
        extract.begin();
        extract
    }

    /// Entry 0 of strings and mappings is the empty one in every profile.
    fn begin(&mut self) {
        self.taken_locations.clear();
        self.taken_strings.clear();
        self.taken_mappings.clear();
        self.taken_strings.take(0);
        self.taken_mappings.take(0);
    }

    /// The part of the table that `samples` use, into `profile`, and `samples` themselves, whose locations
    /// and labels are positions in the whole table.
    pub(crate) fn fill(
        &mut self,
        place: impl fmt::Display,
        profile: &mut Profile,
        mut samples: Samples,
    ) -> Result<(), Error> {
        // Hot: samples that follow each other often have the same stack.
        let (mut last, mut last_start, mut start) = (Vec::new(), 0, 0);
        for &end in &samples.stack_ends {
            let (range, depth) = (start..end as usize, (end as usize).saturating_sub(start));
            start = end as usize;
            let Some(stack) = samples.locations.get_mut(range.clone()) else { break };
            if stack == last.as_slice() {
                samples.locations.copy_within(last_start..last_start + depth, range.start);
                continue;
            }
            last.clear();
            last.extend_from_slice(stack);
            last_start = range.start;
            for index in stack {
                *index = self.location(*index);
            }
        }
        for label in &mut samples.labels {
            *label = self.label(*label);
        }
        self.finish(place, profile, samples)
    }

    /// Ends a profile: what was taken since the last one is its own, as are `samples`, which refer to it.
    pub(crate) fn finish(
        &mut self,
        place: impl fmt::Display,
        profile: &mut Profile,
        samples: Samples,
    ) -> Result<(), Error> {
        profile.samples = samples;
        // The next profile is likely to be as large as this one.
        let Symbols { strings, frames, .. } = &self.out;
        let next = Symbols {
            strings: Strings::with_capacity(
                strings.len().min(MOST_RESERVED),
                strings.text_bytes().min(MOST_RESERVED * 32),
            ),
            mappings: Symbols::default().mappings,
            frames: Vec::with_capacity(frames.len().min(MOST_RESERVED)),
        };
        let next_locations = Vec::with_capacity(self.out_locations.len().min(MOST_RESERVED));
        profile.symbols = std::mem::replace(&mut self.out, next);
        profile.locations = std::mem::replace(&mut self.out_locations, next_locations);
        self.begin();
        let Symbols { strings, mappings, frames } = &profile.symbols;
        // Texts were counted one by one.
        let bytes = strings.len() * size_of::<StringIndex>()
            + size_of_val(mappings.as_slice())
            + size_of_val(frames.as_slice())
            + size_of_val(profile.locations.as_slice());
        self.taken_bytes = self.taken_bytes.saturating_add(bytes);
        if self.taken_bytes > MOST_TAKEN_BYTES {
            let fault = format_args!(
                "up to here the profiles have frames and names of more than {MOST_TAKEN_BYTES} bytes"
            );
            return Err(Error::too_large(place, fault, "send fewer profiles at once"));
        }
        Ok(())
    }

    /// The position in the profile of location `index` of the whole table.
    #[inline]
    pub(crate) fn location(&mut self, index: u32) -> u32 {
        let (new, is_new) = self.taken_locations.take(index);
        if is_new {
            self.take_location(index);
        }
        new
    }

    /// A label of the whole table as one of the profile.
    pub(crate) fn label(&mut self, label: SampleLabel) -> SampleLabel {
        SampleLabel { key: self.string(label.key), value: self.string(label.value) }
    }

    fn take_location(&mut self, index: u32) {
        let all = self.symbols;
        let Location { first, count } = self.locations.get(index as usize).copied().unwrap_or_default();
        let start = self.out.frames.len() as u32;
        let frames = all.frames.get(first as usize..first as usize + count as usize).unwrap_or_default();
        for frame in frames {
            let frame = Frame {
                function: self.string(frame.function),
                system_name: self.string(frame.system_name),
                file: self.string(frame.file),
                mapping: self.mapping(frame.mapping),
                ..*frame
            };
            self.out.frames.push(frame);
        }
        self.out_locations.push(Location { first: start, count: frames.len() as u32 });
    }

    fn string(&mut self, index: StringIndex) -> StringIndex {
        let (new, is_new) = self.taken_strings.take(index);
        if is_new {
            let text = self.symbols.strings.get(index);
            self.taken_bytes = self.taken_bytes.saturating_add(text.len());
            // Too much is refused when the profile is finished.
            if self.taken_bytes <= MOST_TAKEN_BYTES {
                self.out.strings.push(text);
            }
        }
        new
    }

    fn mapping(&mut self, index: MappingIndex) -> MappingIndex {
        let (new, is_new) = self.taken_mappings.take(index);
        if is_new {
            let mapping = self.symbols.mapping(index);
            let (file, build_id) = (self.string(mapping.file), self.string(mapping.build_id));
            self.out.mappings.push(Mapping { file, build_id, ..mapping });
        }
        new
    }
}

/// Which entries of a table were taken, and where they went. Forgetting costs what was taken.
struct Taken {
    new: Vec<u32>,
    taken: Vec<u32>,
}

const NOT_TAKEN: u32 = u32::MAX;

impl Taken {
    fn new(entries: usize) -> Self {
        Self { new: vec![NOT_TAKEN; entries], taken: Vec::new() }
    }

    fn clear(&mut self) {
        for index in self.taken.drain(..) {
            if let Some(new) = self.new.get_mut(index as usize) {
                *new = NOT_TAKEN;
            }
        }
    }

    /// The new position of `index`, and whether it is taken for the first time. What the table does not
    /// have goes to position 0.
    fn take(&mut self, index: u32) -> (u32, bool) {
        match self.new.get_mut(index as usize) {
            None => (0, false),
            Some(new) if *new != NOT_TAKEN => (*new, false),
            Some(new) => {
                *new = self.taken.len() as u32;
                self.taken.push(index);
                (*new, true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_holds_what_it_uses() {
        let mut symbols = Symbols::default();
        let mut locations = Vec::new();
        for at in 0..100u32 {
            let function = symbols.strings.push(&format!("f{at}"));
            let file = symbols.strings.push(&format!("file{}", at / 10));
            symbols.mappings.push(Mapping { file, ..Mapping::default() });
            symbols.frames.push(Frame { function, file, mapping: at + 1, ..Frame::default() });
            locations.push(Location { first: at, count: 1 });
        }
        let key = symbols.strings.push("key");
        let mut extract = Extract::new(&symbols, &locations);
        for first in [7, 93, 7] {
            let mut samples = Samples::default();
            samples.push(&[first, first + 1, first], &[5], &[SampleLabel { key, value: key }]);
            let mut profile = Profile::default();
            extract.fill("test", &mut profile, samples).unwrap();
            let names: Vec<_> = profile.frames(0).map(|frame| profile.symbols.name(frame)).collect();
            assert_eq!(names, [format!("f{first}"), format!("f{}", first + 1), format!("f{first}")]);
            assert_eq!((profile.symbols.frames.len(), profile.symbols.mappings.len()), (2, 3));
            let file = profile.symbols.mapping(profile.symbols.frames[0].mapping).file;
            assert_eq!(profile.symbols.strings.get(file), format!("file{}", first / 10));
            assert_eq!(profile.symbols.strings.get(profile.samples.labels(0)[0].value), "key");
        }
    }

    #[test]
    fn profiles_over_the_same_long_texts_are_bounded() {
        let mut symbols = Symbols::default();
        let function = symbols.strings.push(&"x".repeat(MOST_TAKEN_BYTES / 4));
        symbols.frames.push(Frame { function, ..Frame::default() });
        let locations = [Location { first: 0, count: 1 }];
        let mut extract = Extract::new(&symbols, &locations);
        let mut fill = || {
            let mut samples = Samples::default();
            samples.push(&[0], &[1], &[]);
            extract.fill("test", &mut Profile::default(), samples)
        };
        for _ in 0..3 {
            assert_eq!(fill(), Ok(()));
        }
        assert_eq!(fill().unwrap_err().kind(), crate::ErrorKind::TooLarge);
    }
}
