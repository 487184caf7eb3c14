//! Several batches of one service become one, which is stored as a whole or not at all.

use crate::batch::{Draft, row_id};
use everflame_lake::{Batch, NewStacks, ProfileId, ProfileRow, Sample};
use everflame_profile::{Frame, FrameIndex, Series, StackId, SymbolInterner, Symbols};
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

/// Which ids the profiles of a batch have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// They get some that follow from the upload's.
    New,
    /// They keep theirs.
    Kept,
}

/// A batch that grows.
#[derive(Default)]
pub(crate) struct Merged {
    batch: Batch,
    series: HashMap<Series, u32>,
    stacks: HashMap<StackId, u32>,
    symbols: SymbolInterner,
    /// The table that the last one had its frames in, and where those that it brought along went.
    table: Arc<Symbols>,
    known: HashMap<FrameIndex, FrameIndex>,
    /// Rows whose ids stay, in order.
    kept_ids: Vec<usize>,
}

impl Merged {
    /// Appends all profiles of a batch that belongs to the same service.
    pub(crate) fn add(&mut self, Draft { batch, symbols: table }: Draft, ids: Ids) {
        if ids == Ids::Kept {
            let first = self.batch.profiles.len();
            self.kept_ids.extend(first..first + batch.profiles.len());
        }
        if !Arc::ptr_eq(&self.table, &table) {
            self.known.clear();
            self.table = table;
        }
        let Self { batch: all, series, stacks, symbols, table, known, .. } = self;
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
        // Stacks before the first new one brought their frames along already, when the lake asked for them.
        for (stack, own) in stacks_of(&batch.new_stacks) {
            let stack = at(&stack_indices, stack);
            if stack >= first_new {
                all.new_stacks.frames.extend(intern(own, table, known, symbols));
                all.new_stacks.stacks.push((stack, all.new_stacks.frames.len() as u32));
            }
        }
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

    /// Bytes of the frames and names so far.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.symbols.strings().text_bytes() + self.symbols.len() * size_of::<Frame>()
    }

    /// Everything, as the upload `id`, which is stored once when `once` tells it from others.
    pub(crate) fn into_batch(self, id: ProfileId, once: Option<ProfileId>) -> Batch {
        let Self { mut batch, symbols, kept_ids, .. } = self;
        let mut kept_ids = kept_ids.into_iter().peekable();
        batch.upload = once;
        for (row, profile) in batch.profiles.iter_mut().enumerate() {
            if kept_ids.next_if_eq(&row).is_none() {
                profile.id = row_id(id, row as u32);
            }
        }
        batch.new_stacks.symbols = symbols.into_symbols();
        batch
    }
}

/// Keeps the frames of the stacks `wanted`, positions in the batch, and no others.
pub(crate) fn keep_new_stacks(new: &NewStacks, wanted: &[u32]) -> NewStacks {
    let wanted: HashSet<u32> = wanted.iter().copied().collect();
    own_frames(new, &new.symbols, |stack| wanted.contains(&stack))
}

/// The stacks of `new` that are wanted, with the frames of `table` that they have and no others.
pub(crate) fn own_frames(new: &NewStacks, table: &Symbols, wanted: impl Fn(u32) -> bool) -> NewStacks {
    let (mut kept, mut symbols, mut known) =
        (NewStacks::default(), SymbolInterner::default(), HashMap::new());
    for (stack, own) in stacks_of(new).filter(|(stack, _)| wanted(*stack)) {
        kept.frames.extend(intern(own, table, &mut known, &mut symbols));
        kept.stacks.push((stack, kept.frames.len() as u32));
    }
    kept.symbols = symbols.into_symbols();
    kept
}

/// The stacks of `new`, positions in the batch, and their frames.
fn stacks_of(new: &NewStacks) -> impl Iterator<Item = (u32, &[FrameIndex])> {
    let mut start = 0;
    new.stacks.iter().map(move |&(stack, end)| {
        let own = new.frames.get(start as usize..end as usize).unwrap_or_default();
        start = end;
        (stack, own)
    })
}

/// The positions of the frames `own` of `table` in `symbols`; `known` are those that are there already.
fn intern<'a>(
    own: &'a [FrameIndex],
    table: &'a Symbols,
    known: &'a mut HashMap<FrameIndex, FrameIndex>,
    symbols: &'a mut SymbolInterner,
) -> impl Iterator<Item = FrameIndex> + 'a {
    own.iter().filter_map(move |&frame| {
        let content = table.frames.get(frame as usize)?;
        Some(*known.entry(frame).or_insert_with(|| symbols.intern(table, content)))
    })
}

fn at(indices: &[u32], index: u32) -> u32 {
    indices.get(index as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use everflame_profile::{Labels, ProfileType};

    /// A batch of one profile whose stacks are single frames with these names and values.
    fn batch(pod: &str, stacks: &[(&str, i64)], known: &[&str]) -> Draft {
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
        let total = stacks.iter().map(|(_, value)| value).sum();
        let samples_end = batch.samples.len() as u32;
        let (id, time) = (ProfileId(1), 7);
        batch.profiles.push(ProfileRow { series: 0, id, time, duration: 1, total, samples_end });
        Draft { batch, symbols: Arc::new(symbols) }
    }

    #[test]
    fn stacks_that_are_known_go() {
        let stacks = [("main", 1), ("work", 2), ("idle", 3)];
        let new = batch("x", &stacks, &[]).into_batch().new_stacks;
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
    fn frames_count_once() {
        let mut merged = Merged::default();
        for pod in ["x", "y"] {
            merged.add(batch(pod, &[("main", 1)], &[]), Ids::New);
            assert_eq!(merged.frame_bytes(), "main".len() + size_of::<Frame>());
        }
    }

    #[test]
    fn series_and_stacks_occur_once() {
        let mut merged = Merged::default();
        merged.add(batch("x", &[("main", 3), ("idle", 4)], &[]), Ids::New);
        merged.add(batch("y", &[("work", 1), ("main", 2)], &["work"]), Ids::New);
        merged.add(batch("x", &[("idle", 5), ("new", 6)], &[]), Ids::New);
        let batch = merged.into_batch(ProfileId(9), Some(ProfileId(9)));
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

    #[test]
    fn ids_are_kept_or_made() {
        let mut merged = Merged::default();
        for (at, ids) in [Ids::New, Ids::Kept, Ids::New, Ids::Kept].into_iter().enumerate() {
            let mut draft = batch(&at.to_string(), &[("main", 1)], &[]);
            draft.batch.profiles[0].id = ProfileId(70 + at as u128);
            merged.add(draft, ids);
        }
        let ids = merged.into_batch(ProfileId(9), None).profiles.into_iter().map(|row| row.id);
        let new = |row| row_id(ProfileId(9), row);
        assert_eq!(ids.collect::<Vec<_>>(), [new(0), ProfileId(71), new(2), ProfileId(73)]);
    }
}
