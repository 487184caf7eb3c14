//! The answer to "what did it spend its time on": values by stack, and what can be made of them.

use crate::{ScanStats, TimeRange, Warning};
use everflame_lake::ResolvedStacks;
use everflame_profile::{
    FrameIndex, Location, Profile, ProfileType, Samples, StackId, SymbolInterner, Symbols, Tree,
};
use hashbrown::HashMap;
use std::sync::Arc;

/// Sums by stack over the samples that a query took.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    /// Content addresses of the stacks, ascending.
    pub ids: Vec<StackId>,
    /// The frames of each of them.
    pub stacks: ResolvedStacks,
    /// The sum of each of them; those that add up to zero are there too.
    pub values: Vec<i64>,
    /// What was read.
    pub stats: ScanStats,
    /// What could not be read: the answer is partial when there are any.
    pub warnings: Vec<Warning>,
}

impl Merged {
    /// Sum of all values; stops at the largest number.
    pub fn total(&self) -> i64 {
        clamp(self.values.iter().map(|&value| i128::from(value)).sum())
    }

    /// Whether no sample was taken.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether something could not be read.
    pub fn is_partial(&self) -> bool {
        !self.warnings.is_empty() || !self.stacks.missing.is_empty()
    }

    /// The call tree by function name. Stacks that add up to zero leave no node.
    pub fn tree(&self) -> Tree {
        Tree::of_stacks(&self.stacks.symbols, &self.stacks.frames, &self.stacks.ends, &self.values)
    }

    /// As a profile with one sample type, for a pprof file: it ends at the end of `range`. Inlined calls
    /// share a location with the function that they were inlined into. How often CPU time was sampled is not
    /// stored, and differs from profiler to profiler: its period is 0, unknown.
    pub fn to_profile(&self, profile_type: &ProfileType, range: TimeRange) -> Profile {
        let period = match profile_type.name.as_str() {
            "process_cpu" => 0,
            "memory" => 524_288,
            _ => 1,
        };
        let mut profile = Profile {
            sample_types: vec![profile_type.sample.clone()],
            default_sample_type: Some(0),
            period_type: profile_type.period.clone(),
            period,
            time: range.until,
            duration: range.length(),
            ..Profile::default()
        };
        let symbols = self.stacks.symbols.clone();
        let mut locations = Locations { symbols, all: Vec::new(), known: HashMap::new() };
        let mut samples = Samples::default();
        let mut stack = Vec::new();
        for (frames, &value) in runs(&self.stacks).zip(&self.values) {
            stack.clear();
            locations.of_stack(frames, &mut stack);
            samples.push(&stack, &[value], &[]);
        }
        profile.samples = samples;
        (profile.symbols, profile.locations) = (Arc::new(locations.symbols), Arc::new(locations.all));
        profile
    }

    /// Adds several answers up.
    pub fn merge(parts: Vec<Self>) -> Self {
        if parts.len() <= 1 {
            return parts.into_iter().next().unwrap_or_default();
        }
        let mut sums: HashMap<StackId, (i128, usize, usize)> = HashMap::new();
        for (part_at, part) in parts.iter().enumerate() {
            for (at, (&id, &value)) in part.ids.iter().zip(&part.values).enumerate() {
                let entry = sums.entry(id).or_insert((0, part_at, at));
                entry.0 += i128::from(value);
                // Frames that one part did not find, another may have.
                if run(&part.stacks, at).len() > run_of(&parts, entry.1, entry.2).len() {
                    (entry.1, entry.2) = (part_at, at);
                }
            }
        }
        let mut sorted: Vec<_> = sums.into_iter().collect();
        sorted.sort_unstable_by_key(|(id, _)| *id);
        let mut interner = SymbolInterner::default();
        let mut frame_maps: Vec<HashMap<FrameIndex, FrameIndex>> = vec![HashMap::new(); parts.len()];
        let mut merged = Self::default();
        for (id, (value, part_at, at)) in sorted {
            if let (Some(part), Some(frame_map)) = (parts.get(part_at), frame_maps.get_mut(part_at)) {
                for &frame in run(&part.stacks, at) {
                    let Some(content) = part.stacks.symbols.frames.get(frame as usize) else { continue };
                    let intern = || interner.intern(&part.stacks.symbols, content);
                    merged.stacks.frames.push(*frame_map.entry(frame).or_insert_with(intern));
                }
                if part.stacks.missing.contains(&id) {
                    merged.stacks.missing.push(id);
                }
            }
            merged.stacks.ends.push(merged.stacks.frames.len() as u32);
            merged.ids.push(id);
            merged.values.push(clamp(value));
        }
        merged.stacks.symbols = interner.into_symbols();
        for part in parts {
            merged.stats.add(&part.stats);
            merged.warnings.extend(part.warnings);
        }
        merged.warnings.sort_by(|a, b| (&a.path, &a.why).cmp(&(&b.path, &b.why)));
        merged.warnings.dedup();
        merged
    }

    /// Keeps the stacks whose frames from the root on have the names of `call_site`.
    pub(crate) fn keep_below(mut self, call_site: &[String]) -> Self {
        if call_site.is_empty() {
            return self;
        }
        let symbols = &self.stacks.symbols;
        let mut kept = ResolvedStacks::default();
        let (mut ids, mut values) = (Vec::new(), Vec::new());
        for (frames, (&id, &value)) in runs(&self.stacks).zip(self.ids.iter().zip(&self.values)) {
            let mut from_root = frames.iter().rev().filter_map(|&frame| symbols.frames.get(frame as usize));
            let below = call_site
                .iter()
                .all(|name| from_root.next().is_some_and(|frame| symbols.name(frame) == *name));
            if below {
                kept.frames.extend_from_slice(frames);
                kept.ends.push(kept.frames.len() as u32);
                ids.push(id);
                values.push(value);
            }
        }
        kept.missing = std::mem::take(&mut self.stacks.missing);
        kept.symbols = std::mem::take(&mut self.stacks.symbols);
        Self { ids, values, stacks: kept, ..self }
    }
}

/// The 64-bit number that is nearest.
pub(crate) fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// The frames of each stack, leaf first.
pub(crate) fn runs(stacks: &ResolvedStacks) -> impl Iterator<Item = &[FrameIndex]> {
    (0..stacks.ends.len()).map(|at| run(stacks, at))
}

fn run(stacks: &ResolvedStacks, at: usize) -> &[FrameIndex] {
    let start = if at == 0 { Some(0) } else { stacks.ends.get(at - 1).copied() };
    let (Some(start), Some(&end)) = (start, stacks.ends.get(at)) else { return &[] };
    stacks.frames.get(start as usize..end as usize).unwrap_or_default()
}

fn run_of(parts: &[Merged], part: usize, at: usize) -> &[FrameIndex] {
    parts.get(part).map_or(&[], |part| run(&part.stacks, at))
}

/// Makes locations of runs of frames: each run ends with a frame that was not inlined.
struct Locations {
    symbols: Symbols,
    all: Vec<Location>,
    known: HashMap<Vec<FrameIndex>, u32>,
}

impl Locations {
    fn of_stack(&mut self, frames: &[FrameIndex], out: &mut Vec<u32>) {
        let mut start = 0;
        for (at, &frame) in frames.iter().enumerate() {
            let inlined = self.symbols.frames.get(frame as usize).is_some_and(|frame| frame.inlined);
            if inlined && at + 1 < frames.len() {
                continue;
            }
            let location = self.location(&frames[start..=at]);
            out.push(location);
            start = at + 1;
        }
    }

    fn location(&mut self, frames: &[FrameIndex]) -> u32 {
        if let Some(&known) = self.known.get(frames) {
            return known;
        }
        let first = match frames {
            [frame] => *frame,
            _ => {
                // A location is a range of the frames, so that a run of several gets frames of its own.
                let all = &mut self.symbols.frames;
                let first = all.len() as u32;
                for &frame in frames {
                    let copy = all.get(frame as usize).copied().unwrap_or_default();
                    all.push(copy);
                }
                first
            }
        };
        let location = self.all.len() as u32;
        self.all.push(Location { first, count: frames.len() as u32 });
        self.known.insert(frames.to_vec(), location);
        location
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everflame_profile::Frame;

    /// From lines `root;leaf value`; a name that begins with `~` was inlined. Ids count from `first`.
    fn merged(first: u128, lines: &[(&str, i64)]) -> Merged {
        let mut interner = SymbolInterner::default();
        let mut merged = Merged::default();
        for (at, (stack, value)) in lines.iter().enumerate() {
            for name in stack.rsplit(';').filter(|name| !name.is_empty()) {
                let function = interner.intern_string(name.trim_start_matches('~'));
                let frame = Frame { function, inlined: name.starts_with('~'), ..Frame::default() };
                merged.stacks.frames.push(interner.intern_frame(frame));
            }
            merged.stacks.ends.push(merged.stacks.frames.len() as u32);
            merged.ids.push(StackId(first + at as u128));
            merged.values.push(*value);
        }
        merged.stacks.symbols = interner.into_symbols();
        merged
    }

    #[test]
    fn trees_have_no_node_for_nothing() {
        let merged = merged(0, &[("main;work", 3), ("main;idle", 0), ("main;~inner", 2)]);
        assert_eq!(merged.total(), 5);
        assert_eq!(merged.tree().outline(), "total 5\nmain 5 0\n  inner 2 2\n  work 3 3\n");
    }

    #[test]
    fn call_sites_are_prefixes_from_the_root() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let all = merged(0, &[("main;work;a", 3), ("main;idle", 1), ("work;main", 7)]);
        assert_eq!(all.clone().keep_below(&names(&["main"])).total(), 4);
        assert_eq!(all.clone().keep_below(&names(&["main", "work"])).ids, [StackId(0)]);
        assert_eq!(all.clone().keep_below(&names(&["main", "idle", "deeper"])).total(), 0);
        assert_eq!(all.keep_below(&[]).total(), 11);
    }

    #[test]
    fn profiles_keep_every_stack() {
        let merged = merged(0, &[("main;f;~g;~h", 3), ("main;f", 0), ("", 2), ("main;f;~g;~h;leaf", 1)]);
        let profile_type: ProfileType = "process_cpu:cpu:nanoseconds:cpu:nanoseconds".parse().unwrap();
        let profile = merged.to_profile(&profile_type, TimeRange::new(5, 25));
        assert_eq!((profile.time, profile.duration, profile.period), (25, 20, 0));
        assert_eq!(profile.totals(), [6]);
        let names = |sample| {
            let frames = profile.frames(sample).map(|frame| profile.symbols.name(frame).into_owned());
            frames.collect::<Vec<_>>().join(" ")
        };
        assert_eq!((0..4).map(names).collect::<Vec<_>>(), ["h g f main", "f main", "", "leaf h g f main"]);
        assert_eq!(profile.samples.stack(0).len(), 2);
        assert_eq!(profile.samples.stack(3)[1..], *profile.samples.stack(0));
    }

    #[test]
    fn merging_adds_by_stack() {
        let left = merged(0, &[("main;a", 3), ("main;b", i64::MAX)]);
        let right = merged(1, &[("main;b", 2), ("main;c", 4)]);
        let both = Merged::merge(vec![left, right]);
        assert_eq!((both.ids.len(), &both.values), (3, &vec![3, i64::MAX, 4]));
        assert_eq!(both.tree().outline().lines().count(), 5);
    }
}
