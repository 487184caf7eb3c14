//! What the readers of formats with several profiles in one file or message give back.

use crate::Cuts;
use everflame_profile::{Location, Mapping, MappingIndex, Nanos, Profile, Samples, StringIndex, Symbols};

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

/// Takes profiles out of one table of frames, each with the frames that it uses and no others, so that many
/// small profiles over a large table cost what they hold and not what the table holds.
pub(crate) struct Extract<'a> {
    symbols: &'a Symbols,
    locations: &'a [Location],
    taken_locations: Taken,
    taken_strings: Taken,
    taken_mappings: Taken,
}

impl<'a> Extract<'a> {
    pub(crate) fn new(symbols: &'a Symbols, locations: &'a [Location]) -> Self {
        Self {
            symbols,
            locations,
            taken_locations: Taken::new(locations.len()),
            taken_strings: Taken::new(symbols.strings.len()),
            taken_mappings: Taken::new(symbols.mappings.len()),
        }
    }

    /// The part of the table that `samples` use, into `profile`, and `samples` themselves, whose locations
    /// and labels are positions in the whole table.
    pub(crate) fn fill(&mut self, profile: &mut Profile, mut samples: Samples) {
        self.taken_locations.clear();
        self.taken_strings.clear();
        self.taken_mappings.clear();
        self.taken_strings.take(0);
        self.taken_mappings.take(0);
        let (mut symbols, mut locations) = (Symbols::default(), Vec::new());
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
                let (new, is_new) = self.taken_locations.take(*index);
                if is_new {
                    locations.push(self.location(*index, &mut symbols));
                }
                *index = new;
            }
        }
        for label in &mut samples.labels {
            label.key = self.string(label.key, &mut symbols);
            label.value = self.string(label.value, &mut symbols);
        }
        (profile.symbols, profile.locations, profile.samples) = (symbols, locations, samples);
    }

    fn location(&mut self, index: u32, symbols: &mut Symbols) -> Location {
        let all = self.symbols;
        let Location { first, count } = self.locations.get(index as usize).copied().unwrap_or_default();
        let start = symbols.frames.len() as u32;
        let frames = all.frames.get(first as usize..first as usize + count as usize).unwrap_or_default();
        for frame in frames {
            let mut frame = *frame;
            frame.function = self.string(frame.function, symbols);
            frame.system_name = self.string(frame.system_name, symbols);
            frame.file = self.string(frame.file, symbols);
            frame.mapping = self.mapping(frame.mapping, symbols);
            symbols.frames.push(frame);
        }
        Location { first: start, count: frames.len() as u32 }
    }

    fn string(&mut self, index: StringIndex, symbols: &mut Symbols) -> StringIndex {
        let (new, is_new) = self.taken_strings.take(index);
        if is_new {
            symbols.strings.push(self.symbols.strings.get(index));
        }
        new
    }

    fn mapping(&mut self, index: MappingIndex, symbols: &mut Symbols) -> MappingIndex {
        let (new, is_new) = self.taken_mappings.take(index);
        if is_new {
            let mapping = self.symbols.mapping(index);
            let (file, build_id) =
                (self.string(mapping.file, symbols), self.string(mapping.build_id, symbols));
            symbols.mappings.push(Mapping { file, build_id, ..mapping });
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
    use everflame_profile::{Frame, SampleLabel};

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
            extract.fill(&mut profile, samples);
            let names: Vec<_> = profile.frames(0).map(|frame| profile.symbols.name(frame)).collect();
            assert_eq!(names, [format!("f{first}"), format!("f{}", first + 1), format!("f{first}")]);
            assert_eq!((profile.symbols.frames.len(), profile.symbols.mappings.len()), (2, 3));
            let file = profile.symbols.mapping(profile.symbols.frames[0].mapping).file;
            assert_eq!(profile.symbols.strings.get(file), format!("file{}", first / 10));
            assert_eq!(profile.symbols.strings.get(profile.samples.labels(0)[0].value), "key");
        }
    }
}
