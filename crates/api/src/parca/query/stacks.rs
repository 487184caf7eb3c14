//! The stacks that a report is made of: values of one side or of two, by group of labels and by time.

use everflame_lake::ResolvedStacks;
use everflame_profile::{Frame, FrameIndex, Nanos, Profile, SampleLabel, StackId, SymbolInterner, Symbols};
use everflame_query::Merged;
use hashbrown::HashMap;

/// One stack of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// Where its frames end in [`Stacks::frames`]; they begin where those of the row before end.
    pub(super) end: u32,
    /// What it weighs; in a comparison what it weighs on the right.
    pub(super) value: i64,
    /// Right less left in a comparison, 0 otherwise.
    pub(super) diff: i64,
    /// Its labels, as position in [`Stacks::groups`].
    pub(super) group: u32,
    /// When it was taken, 0 when that was not asked for.
    pub(super) time: Nanos,
}

/// Stacks with all that reports show of their frames.
#[derive(Clone, Debug, Default)]
pub(super) struct Stacks {
    /// The frames, each once, and each text once.
    pub(super) symbols: Symbols,
    /// Frames of all rows, leaf first.
    pub(super) frames: Vec<FrameIndex>,
    /// The rows.
    pub(super) rows: Vec<Row>,
    /// Label sets of the groups: name and value by the order in which the names were asked for.
    pub(super) groups: Vec<Vec<(String, String)>>,
}

impl Stacks {
    /// Each row and its frames, leaf first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&Row, &[FrameIndex])> {
        let starts = std::iter::once(0).chain(self.rows.iter().map(|row| row.end));
        let starts: Vec<u32> = starts.take(self.rows.len()).collect();
        self.rows
            .iter()
            .zip(starts)
            .map(|(row, start)| (row, self.frames.get(start as usize..row.end as usize).unwrap_or_default()))
    }

    /// The frame at `index`.
    pub(super) fn frame(&self, index: FrameIndex) -> Frame {
        self.symbols.frames.get(index as usize).copied().unwrap_or_default()
    }

    /// The text at `index`.
    pub(super) fn text(&self, index: u32) -> &str {
        self.symbols.strings.get(index)
    }

    /// Sum of all values.
    pub(super) fn total(&self) -> i64 {
        self.rows.iter().fold(0, |sum, row| row.value.saturating_add(sum))
    }

    /// Turns every stack around: leaves become roots.
    pub(super) fn invert(&mut self) {
        let mut start = 0;
        for row in &self.rows {
            if let Some(stack) = self.frames.get_mut(start..row.end as usize) {
                stack.reverse();
            }
            start = row.end as usize;
        }
    }

    /// The same with one value a row, for writers of formats that know no second side.
    pub(super) fn into_merged(self, value: impl Fn(&Row) -> i64) -> Merged {
        let values = self.rows.iter().map(value).collect();
        let ids = (0..self.rows.len()).map(|at| StackId(at as u128)).collect();
        let ends = self.rows.iter().map(|row| row.end).collect();
        let stacks = ResolvedStacks { symbols: self.symbols, frames: self.frames, ends, missing: Vec::new() };
        Merged { ids, stacks, values, ..Merged::default() }
    }
}

/// The labels of rows, for the samples that are made of them.
pub(super) struct RowLabels {
    sets: Vec<Vec<(String, String)>>,
    of_row: Vec<u32>,
}

impl RowLabels {
    pub(super) fn of(stacks: &Stacks) -> Self {
        let of_row = stacks.rows.iter().map(|row| row.group).collect();
        Self { sets: stacks.groups.clone(), of_row }
    }

    /// Gives them to the samples of `profile`, which are the rows in their order.
    pub(super) fn add_to(self, profile: &mut Profile) {
        let strings = &mut profile.symbols_mut().strings;
        let mut label = |(name, value): &(String, String)| {
            (!value.is_empty()).then(|| SampleLabel { key: strings.push(name), value: strings.push(value) })
        };
        let sets: Vec<Vec<SampleLabel>> =
            self.sets.iter().map(|set| set.iter().filter_map(&mut label).collect()).collect();
        let samples = &mut profile.samples;
        (samples.labels, samples.label_ends) = (Vec::new(), Vec::new());
        for group in self.of_row {
            samples.labels.extend(sets.get(group as usize).into_iter().flatten());
            samples.label_ends.push(samples.labels.len() as u32);
        }
    }
}

/// Puts the answers of several questions into one table of frames.
#[derive(Default)]
pub(super) struct StacksBuilder {
    interner: SymbolInterner,
    stacks: Stacks,
    groups: HashMap<Vec<(String, String)>, u32>,
}

impl StacksBuilder {
    /// Adds what a question found; `weigh` makes value and difference of a sum. Stacks without either are
    /// left out.
    pub(super) fn add(
        &mut self,
        found: &Merged,
        labels: Vec<(String, String)>,
        time: Nanos,
        weigh: impl Fn(i64) -> (i64, i64),
    ) {
        let next = self.groups.len() as u32;
        let group = *self.groups.entry(labels).or_insert_with_key(|labels| {
            self.stacks.groups.push(labels.clone());
            next
        });
        let symbols = &found.stacks.symbols;
        let mut known: Vec<Option<FrameIndex>> = vec![None; symbols.frames.len()];
        let mut start = 0;
        for (&end, &sum) in found.stacks.ends.iter().zip(&found.values) {
            let frames = found.stacks.frames.get(start..end as usize).unwrap_or_default();
            start = end as usize;
            let (value, diff) = weigh(sum);
            if value == 0 && diff == 0 {
                continue;
            }
            for &frame in frames {
                let (Some(known), Some(content)) =
                    (known.get_mut(frame as usize), symbols.frames.get(frame as usize))
                else {
                    continue;
                };
                self.stacks.frames.push(*known.get_or_insert_with(|| self.interner.intern(symbols, content)));
            }
            let end = self.stacks.frames.len() as u32;
            self.stacks.rows.push(Row { end, value, diff, group, time });
        }
    }

    pub(super) fn finish(self) -> Stacks {
        Stacks { symbols: self.interner.into_symbols(), ..self.stacks }
    }
}

/// Made of lines for tests.
#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// From lines `root;leaf value diff`; a frame is `name`, `name@file`, `name%binary` or `0xADDRESS%binary`.
    pub(in super::super) fn stacks(lines: &str) -> Stacks {
        let mut stacks = Stacks { groups: vec![Vec::new()], ..Stacks::default() };
        let mut interner = SymbolInterner::default();
        for line in lines.lines() {
            let mut words = line.split(' ');
            for text in words.next().unwrap().rsplit(';').filter(|text| !text.is_empty()) {
                let (text, binary) = text.split_once('%').unwrap_or((text, ""));
                let (name, file) = text.split_once('@').unwrap_or((text, ""));
                let mut frame = Frame::default();
                if let Some(address) = name.strip_prefix("0x") {
                    frame.address = u64::from_str_radix(address, 16).unwrap();
                } else {
                    frame.function = interner.intern_string(name);
                }
                let mut symbols = Symbols::default();
                frame.function = symbols.strings.push(if frame.address == 0 { name } else { "" });
                frame.file = symbols.strings.push(file);
                let file = symbols.strings.push(binary);
                symbols.mappings.push(everflame_profile::Mapping { file, ..Default::default() });
                frame.mapping = u32::from(!binary.is_empty());
                stacks.frames.push(interner.intern(&symbols, &frame));
            }
            let value = words.next().unwrap().parse().unwrap();
            let diff = words.next().map_or(0, |diff| diff.parse().unwrap());
            stacks.rows.push(Row { end: stacks.frames.len() as u32, value, diff, ..Row::default() });
        }
        stacks.symbols = interner.into_symbols();
        stacks
    }

    /// Lines as they went in, without files and binaries.
    pub(in super::super) fn lines(stacks: &Stacks) -> Vec<String> {
        let line = |(row, frames): (&Row, &[FrameIndex])| {
            let names: Vec<_> = frames
                .iter()
                .rev()
                .map(|&frame| stacks.symbols.name(&stacks.frame(frame)).into_owned())
                .collect();
            format!("{} {}", names.join(";"), row.value)
        };
        stacks.iter().map(line).collect()
    }

    #[test]
    fn frames_of_two_sides_are_one_table() {
        let left = stacks("main;a 3\nmain;b 1").into_merged(|row| row.value);
        let right = stacks("main;b 4\nmain;c 0").into_merged(|row| row.value);
        let mut both = StacksBuilder::default();
        both.add(&right, Vec::new(), 0, |value| (value, value));
        both.add(&left, Vec::new(), 0, |value| (0, -value));
        let mut both = both.finish();
        assert_eq!(lines(&both), ["main;b 4", "main;a 0", "main;b 0"]);
        assert_eq!((both.symbols.frames.len(), both.groups.len(), both.total()), (3, 1, 4));
        assert_eq!(both.rows.iter().map(|row| row.diff).collect::<Vec<_>>(), [4, -3, -1]);
        both.invert();
        assert_eq!(lines(&both)[0], "b;main 4");
    }
}
