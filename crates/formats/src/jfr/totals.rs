//! Sums of a recording: per kind of profile, stack and labels.

use crate::assembly::Assembly;
use crate::{Error, Part};
use everflame_profile::{Profile, SampleLabel, ValueType};
use hashbrown::HashMap;

/// A profile that recordings have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Cpu,
    /// CPU time as the JDK itself measures it, from 25 on.
    CpuTime,
    Wall,
    AllocInNewTlab,
    AllocOutsideTlab,
    AllocSample,
    Mutex,
    Block,
    Live,
    Malloc,
}

/// Types of the values.
type Types = &'static [(&'static str, &'static str)];

impl Kind {
    /// Name of the profile, types of its values, type of its period.
    fn describe(self) -> (&'static str, Types, (&'static str, &'static str)) {
        const DELAYS: Types = &[("contentions", "count"), ("delay", "nanoseconds")];
        const SPACE: (&str, &str) = ("space", "bytes");
        match self {
            Self::Cpu | Self::CpuTime => ("process_cpu", &[("cpu", "nanoseconds")], ("cpu", "nanoseconds")),
            Self::Wall => ("wall", &[("wall", "nanoseconds")], ("wall", "nanoseconds")),
            Self::AllocInNewTlab => (
                "memory",
                &[("alloc_in_new_tlab_objects", "count"), ("alloc_in_new_tlab_bytes", "bytes")],
                SPACE,
            ),
            Self::AllocOutsideTlab => (
                "memory",
                &[("alloc_outside_tlab_objects", "count"), ("alloc_outside_tlab_bytes", "bytes")],
                SPACE,
            ),
            Self::AllocSample => {
                ("memory", &[("alloc_sample_objects", "count"), ("alloc_sample_bytes", "bytes")], SPACE)
            }
            Self::Mutex => ("mutex", DELAYS, ("mutex", "count")),
            Self::Block => ("block", DELAYS, ("block", "count")),
            Self::Live => ("memory", &[("live", "count")], ("objects", "count")),
            Self::Malloc => ("memory", &[("malloc_objects", "count"), ("malloc_bytes", "bytes")], ("", "")),
        }
    }
}

/// The stacks and label sets of a recording, each once, and what they weigh.
#[derive(Default)]
pub(super) struct Totals {
    stacks: HashMap<Box<[u32]>, u32>,
    label_sets: HashMap<Box<[SampleLabel]>, u32>,
    sums: HashMap<(Kind, u32, u32), [i64; 2]>,
    entries: usize,
}

impl Totals {
    /// The number of a stack, leaf first.
    pub(super) fn stack(&mut self, stack: &[u32]) -> u32 {
        number(&mut self.stacks, stack, &mut self.entries)
    }

    /// The number of a label set.
    pub(super) fn labels(&mut self, labels: &[SampleLabel]) -> u32 {
        number(&mut self.label_sets, labels, &mut self.entries)
    }

    /// Adds to what a stack weighs in a kind of profile. Hot: once per stack and chunk.
    pub(super) fn add(&mut self, kind: Kind, stack: u32, labels: u32, values: [i64; 2]) {
        let sums = self.sums.entry((kind, stack, labels)).or_insert([0; 2]);
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum = sum.saturating_add(value);
        }
    }

    /// Whether there is anything of a kind.
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.sums.keys().any(|&(other, ..)| other == kind)
    }

    /// Forgets all of a kind.
    pub(super) fn forget(&mut self, kind: Kind) {
        self.sums.retain(|&(other, ..), _| other != kind);
    }

    /// Frames, labels and sums held.
    pub(super) fn entries(&self) -> usize {
        self.entries + self.sums.len()
    }

    /// One part for each kind, with `profile` as the template. The frames are left to the caller.
    pub(super) fn into_parts(
        self,
        profile: &Profile,
        period_of: impl Fn(Kind) -> i64,
        assembly: &mut Assembly<'_>,
    ) -> Result<Vec<Part>, Error> {
        let stacks = in_order(self.stacks);
        let label_sets = in_order(self.label_sets);
        let mut sums: Vec<((Kind, u32, u32), [i64; 2])> = self.sums.into_iter().collect();
        sums.sort_unstable_by_key(|(key, _)| *key);
        let mut parts: Vec<Part> = Vec::new();
        for of_kind in sums.chunk_by(|((a, ..), _), ((b, ..), _)| a == b) {
            let Some(&((kind, ..), _)) = of_kind.first() else { continue };
            let (name, types, period) = kind.describe();
            for &((_, stack, labels), values) in of_kind {
                let stack = stacks.get(stack as usize).map(|stack| &stack[..]).unwrap_or_default();
                let labels = label_sets.get(labels as usize).map(|labels| &labels[..]).unwrap_or_default();
                assembly.push("JFR", stack, values.get(..types.len()).unwrap_or_default(), labels)?;
            }
            let period_type = ValueType::new(period.0, period.1);
            let profile = Profile {
                sample_types: types.iter().map(|(kind, unit)| ValueType::new(*kind, *unit)).collect(),
                period_type,
                period: period_of(kind),
                samples: std::mem::take(&mut assembly.samples),
                ..profile.clone()
            };
            parts.push(Part { name: name.to_owned(), profile, ..Part::default() });
        }
        Ok(parts)
    }
}

fn number<T: Clone + Eq + std::hash::Hash>(
    known: &mut HashMap<Box<[T]>, u32>,
    entry: &[T],
    entries: &mut usize,
) -> u32 {
    if let Some(&number) = known.get(entry) {
        return number;
    }
    let number = known.len() as u32;
    *entries += entry.len() + 1;
    known.insert(entry.into(), number);
    number
}

fn in_order<T>(numbered: HashMap<Box<[T]>, u32>) -> Vec<Box<[T]>> {
    let mut pairs: Vec<(Box<[T]>, u32)> = numbered.into_iter().collect();
    pairs.sort_unstable_by_key(|(_, number)| *number);
    pairs.into_iter().map(|(entry, _)| entry).collect()
}
