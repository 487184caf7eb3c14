//! Several batches of one service become one, which is stored as a whole or not at all.

use crate::batch::row_id;
use everflame_lake::{Batch, NewStacks, ProfileId, ProfileRow, Sample};
use everflame_profile::{Series, StackId, SymbolInterner};
use hashbrown::{HashMap, HashSet};

/// A batch that grows.
#[derive(Default)]
pub(crate) struct Merged {
    batch: Batch,
    series: HashMap<Series, u32>,
    stacks: HashMap<StackId, u32>,
    symbols: SymbolInterner,
}

impl Merged {
    /// Appends all profiles of `batch`, which belongs to the same service.
    pub(crate) fn add(&mut self, batch: Batch) {
        let Self { batch: all, series, stacks, symbols } = self;
        all.service = batch.service;
        let series_indices: Vec<u32> = batch
            .series
            .into_iter()
            .map(|one| {
                *series.entry(one).or_insert_with_key(|one| {
                    all.series.push(one.clone());
                    (all.series.len() - 1) as u32
                })
            })
            .collect();
        let first_new = all.stacks.len() as u32;
        let stack_indices: Vec<u32> = batch
            .stacks
            .into_iter()
            .map(|stack| {
                *stacks.entry(stack).or_insert_with(|| {
                    all.stacks.push(stack);
                    (all.stacks.len() - 1) as u32
                })
            })
            .collect();
        add_new_stacks(&mut all.new_stacks, &batch.new_stacks, &stack_indices, first_new, symbols);
        let samples = all.samples.len() as u32;
        all.samples.extend(
            batch.samples.iter().map(|sample| Sample { stack: at(&stack_indices, sample.stack), ..*sample }),
        );
        all.profiles.extend(batch.profiles.iter().map(|row| ProfileRow {
            series: at(&series_indices, row.series),
            samples_end: samples + row.samples_end,
            ..*row
        }));
    }

    /// Everything, as the upload `id`.
    pub(crate) fn into_batch(self, id: ProfileId, deduplicate: bool) -> Batch {
        let Self { mut batch, symbols, .. } = self;
        batch.upload = deduplicate.then_some(id);
        for (row, profile) in batch.profiles.iter_mut().enumerate() {
            profile.id = row_id(id, row as u32);
        }
        batch.new_stacks.symbols = symbols.into_symbols();
        batch
    }
}

/// Keeps the frames of the stacks `wanted`, positions in the batch, and no others.
pub(crate) fn keep_new_stacks(new: &NewStacks, wanted: &[u32]) -> NewStacks {
    let (mut kept, mut symbols) = (NewStacks::default(), SymbolInterner::default());
    let mut frames: Vec<Option<u32>> = vec![None; new.symbols.frames.len()];
    let wanted: HashSet<u32> = wanted.iter().copied().collect();
    let mut start = 0;
    for &(stack, end) in &new.stacks {
        let own = new.frames.get(start as usize..end as usize).unwrap_or_default();
        start = end;
        if !wanted.contains(&stack) {
            continue;
        }
        kept.frames.extend(intern(own, new, &mut frames, &mut symbols));
        kept.stacks.push((stack, kept.frames.len() as u32));
    }
    kept.symbols = symbols.into_symbols();
    kept
}

/// The positions of the frames `own` of `new` in `symbols`; `known` are those that are there already.
fn intern<'a>(
    own: &'a [u32],
    new: &'a NewStacks,
    known: &'a mut [Option<u32>],
    symbols: &'a mut SymbolInterner,
) -> impl Iterator<Item = u32> + 'a {
    own.iter().filter_map(move |&frame| {
        let slot = known.get_mut(frame as usize)?;
        let content = new.symbols.frames.get(frame as usize)?;
        Some(*slot.get_or_insert_with(|| symbols.intern(&new.symbols, content)))
    })
}

fn at(indices: &[u32], index: u32) -> u32 {
    indices.get(index as usize).copied().unwrap_or_default()
}

/// Stacks before `first_new` brought their frames along already, when the lake asked for them.
fn add_new_stacks(
    all: &mut NewStacks,
    new: &NewStacks,
    indices: &[u32],
    first_new: u32,
    symbols: &mut SymbolInterner,
) {
    let mut frames: Vec<Option<u32>> = vec![None; new.symbols.frames.len()];
    let mut start = 0;
    for &(stack, end) in &new.stacks {
        let own = new.frames.get(start as usize..end as usize).unwrap_or_default();
        start = end;
        let stack = at(indices, stack);
        if stack < first_new {
            continue;
        }
        all.frames.extend(intern(own, new, &mut frames, symbols));
        all.stacks.push((stack, all.frames.len() as u32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everflame_profile::{Frame, Labels, ProfileType, Symbols};

    /// A batch of one profile whose stacks are single frames with these names and values.
    fn batch(pod: &str, stacks: &[(&str, i64)], known: &[&str]) -> Batch {
        let profile_type: ProfileType = "a:b:c::".parse().unwrap();
        let labels = Labels::from_pairs([("service_name", "s"), ("pod", pod)]);
        let mut batch = Batch { service: "s".to_owned(), ..Batch::default() };
        batch.series.push(Series { labels, profile_type });
        let mut symbols = Symbols::default();
        for (at, &(name, value)) in stacks.iter().enumerate() {
            batch.stacks.push(StackId(name.bytes().map(u128::from).sum()));
            batch.samples.push(Sample { stack: at as u32, value, span_id: 0, trace_id: 0 });
            if !known.contains(&name) {
                let function = symbols.strings.push(name);
                symbols.frames.push(Frame { function, ..Frame::default() });
                batch.new_stacks.frames.push(symbols.frames.len() as u32 - 1);
                batch.new_stacks.stacks.push((at as u32, batch.new_stacks.frames.len() as u32));
            }
        }
        batch.new_stacks.symbols = symbols;
        let total = stacks.iter().map(|(_, value)| value).sum();
        let samples_end = batch.samples.len() as u32;
        let (id, time) = (ProfileId(1), 7);
        batch.profiles.push(ProfileRow { series: 0, id, time, duration: 1, total, samples_end });
        batch
    }

    #[test]
    fn stacks_that_are_known_go() {
        let stacks = [("main", 1), ("work", 2), ("idle", 3)];
        let new = batch("x", &stacks, &[]).new_stacks;
        let kept = keep_new_stacks(&new, &[2, 1]);
        let names: Vec<_> = kept
            .frames
            .iter()
            .map(|&frame| kept.symbols.name(&kept.symbols.frames[frame as usize]))
            .collect();
        assert_eq!((names.join(" ").as_str(), &kept.stacks[..]), ("work idle", &[(1, 1), (2, 2)][..]));
        assert_eq!(keep_new_stacks(&new, &[]), NewStacks::default());
    }

    #[test]
    fn series_and_stacks_occur_once() {
        let mut merged = Merged::default();
        merged.add(batch("x", &[("main", 3), ("idle", 4)], &[]));
        merged.add(batch("y", &[("work", 1), ("main", 2)], &["work"]));
        merged.add(batch("x", &[("idle", 5), ("new", 6)], &[]));
        let batch = merged.into_batch(ProfileId(9), true);
        assert_eq!((batch.service.as_str(), batch.upload), ("s", Some(ProfileId(9))));
        assert_eq!((batch.series.len(), batch.stacks.len()), (2, 4));
        let rows: Vec<_> =
            batch.profiles.iter().map(|row| (row.series, row.total, row.samples_end)).collect();
        assert_eq!(rows, [(0, 7, 2), (1, 3, 4), (0, 11, 6)]);
        assert_eq!(batch.samples.iter().map(|sample| sample.stack).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 3]);
        let symbols = &batch.new_stacks.symbols;
        let names: Vec<_> = batch
            .new_stacks
            .stacks
            .iter()
            .zip(&batch.new_stacks.frames)
            .map(|((stack, _), frame)| (*stack, symbols.name(&symbols.frames[*frame as usize]).into_owned()))
            .collect();
        assert_eq!(names, [(0, "main".to_owned()), (1, "idle".to_owned()), (3, "new".to_owned())]);
        let mut ids: Vec<_> = batch.profiles.iter().map(|row| row.id.0).collect();
        ids.dedup();
        assert_eq!((ids.len(), ids[0]), (3, 9));
    }
}
