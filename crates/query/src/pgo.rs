//! What a compiler of Go wants for profile-guided optimisation: the leaves of stacks, added up by call site.

use crate::Merged;
use crate::merged::{clamp, runs};
use everflame_lake::ResolvedStacks;
use everflame_profile::{FrameIndex, stack_id};
use hashbrown::HashMap;

/// How stacks are shortened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoPgo {
    /// So many locations are kept, from the leaf on, each with what was inlined into it; all when 0.
    pub keep_locations: u32,
    /// Whether lines of leaves do not matter, so that all calls of a function from one place are one.
    pub aggregate_callees: bool,
}

impl Merged {
    /// The stacks as `pgo` wants them; those that become equal are added up.
    pub fn for_go_pgo(mut self, pgo: GoPgo) -> Self {
        let mut symbols = std::mem::take(&mut self.stacks.symbols);
        let mut without_line: HashMap<FrameIndex, FrameIndex> = HashMap::new();
        let mut known = HashMap::new();
        for (at, frame) in symbols.frames.iter().enumerate() {
            known.entry(*frame).or_insert(at as FrameIndex);
        }
        let mut sums: HashMap<Vec<FrameIndex>, i128> = HashMap::new();
        for (frames, &value) in runs(&self.stacks).zip(&self.values) {
            let mut kept = Vec::with_capacity(frames.len());
            let mut locations = 0;
            for &frame in frames {
                if pgo.keep_locations > 0 && locations >= pgo.keep_locations {
                    break;
                }
                kept.push(frame);
                let inlined = symbols.frames.get(frame as usize).is_some_and(|frame| frame.inlined);
                locations += u32::from(!inlined);
            }
            if let Some(leaf) = kept.first_mut().filter(|_| pgo.aggregate_callees) {
                let whole = *leaf;
                *leaf = *without_line.entry(whole).or_insert_with(|| {
                    let Some(mut frame) = symbols.frames.get(whole as usize).copied() else { return whole };
                    frame.line = 0;
                    *known.entry(frame).or_insert_with(|| {
                        symbols.frames.push(frame);
                        symbols.frames.len() as FrameIndex - 1
                    })
                });
            }
            *sums.entry(kept).or_default() += i128::from(value);
        }
        let ids = symbols.frame_ids();
        let mut buffer = Vec::new();
        let id = |&frame: &FrameIndex| ids.get(frame as usize).copied().unwrap_or_default();
        let mut stacks: Vec<_> = sums
            .into_iter()
            .map(|(frames, sum)| (stack_id(frames.iter().map(id), &mut buffer), frames, sum))
            .collect();
        stacks.sort_unstable_by_key(|(id, ..)| *id);
        let mut shorter =
            ResolvedStacks { symbols, missing: self.stacks.missing, ..ResolvedStacks::default() };
        let (mut ids, mut values) = (Vec::with_capacity(stacks.len()), Vec::with_capacity(stacks.len()));
        for (id, frames, sum) in stacks {
            shorter.frames.extend(frames);
            shorter.ends.push(shorter.frames.len() as u32);
            ids.push(id);
            values.push(clamp(sum));
        }
        Self { ids, values, stacks: shorter, stats: self.stats, warnings: self.warnings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everflame_profile::{Frame, StackId, SymbolInterner};

    /// Stacks from lines `leaf:line ~inlined root value`.
    fn check(stacks: &[&str], pgo: GoPgo, expect: &[&str]) {
        let mut interner = SymbolInterner::default();
        let mut merged = Merged::default();
        for (at, stack) in stacks.iter().enumerate() {
            let (frames, value) = stack.rsplit_once(' ').unwrap();
            for text in frames.split(' ') {
                let (name, line) = text.split_once(':').unwrap();
                let function = interner.intern_string(name.trim_start_matches('~'));
                let (inlined, line) = (name.starts_with('~'), line.parse().unwrap());
                let frame = Frame { function, line, inlined, ..Frame::default() };
                merged.stacks.frames.push(interner.intern_frame(frame));
            }
            merged.stacks.ends.push(merged.stacks.frames.len() as u32);
            merged.ids.push(StackId(at as u128));
            merged.values.push(value.parse().unwrap());
        }
        merged.stacks.symbols = interner.into_symbols();
        let (total, short) = (merged.total(), merged.for_go_pgo(pgo));
        let symbols = &short.stacks.symbols;
        let mut lines: Vec<String> = (0..short.ids.len())
            .map(|at| {
                let frames = short.stacks.stack(at).iter().map(|&frame| {
                    let frame = &symbols.frames[frame as usize];
                    format!("{}:{}", symbols.name(frame), frame.line)
                });
                format!("{} {}", frames.collect::<Vec<_>>().join(" "), short.values[at])
            })
            .collect();
        lines.sort();
        assert_eq!(lines, expect);
        assert_eq!(short.total(), total);
        assert!(short.ids.is_sorted());
    }

    #[test]
    fn leaves() {
        let stacks =
            ["f:3 main:7 start:1 5", "f:4 main:7 start:2 6", "f:0 main:7 start:1 7", "g:1 main:8 start:1 1"];
        let pgo = |keep_locations, aggregate_callees| GoPgo { keep_locations, aggregate_callees };
        check(&stacks, pgo(2, true), &["f:0 main:7 18", "g:0 main:8 1"]);
        check(&stacks, pgo(2, false), &["f:0 main:7 7", "f:3 main:7 5", "f:4 main:7 6", "g:1 main:8 1"]);
        check(&stacks, pgo(1, true), &["f:0 18", "g:0 1"]);
        check(&stacks[..2], pgo(0, true), &["f:0 main:7 start:1 5", "f:0 main:7 start:2 6"]);
        // What was inlined belongs to one location with what it was inlined into.
        check(&["~h:1 ~f:2 main:7 start:1 5"], pgo(1, false), &["h:1 f:2 main:7 5"]);
    }
}
