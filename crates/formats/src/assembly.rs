//! Puts a profile together from frames and stacks that come one by one, within [`Limits`].

use crate::{Cuts, Error, Limits};
use everflame_profile::{Frame, Location, Profile, SampleLabel, Samples, StringIndex, SymbolInterner};
use hashbrown::HashMap;
use std::fmt;
use std::sync::Arc;

/// Frames, each a location of its own, and samples so far.
pub(crate) struct Assembly<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) symbols: SymbolInterner,
    pub(crate) samples: Samples,
    pub(crate) cuts: Cuts,
    entries: usize,
}

/// Remedy where a profile is too large.
pub(crate) const SMALLER: &str = "send a shorter span or fewer samples at once";

impl<'a> Assembly<'a> {
    pub(crate) fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            symbols: SymbolInterner::default(),
            samples: Samples::default(),
            cuts: Cuts::default(),
            entries: 0,
        }
    }

    /// The index of `text`, shortened when it is too long.
    pub(crate) fn string(&mut self, text: &str) -> StringIndex {
        let text = self.limits.cut_string(text, &mut self.cuts);
        self.symbols.intern_string(text)
    }

    /// The location of a frame whose strings and mapping are indices of this assembly.
    pub(crate) fn frame(&mut self, frame: Frame) -> u32 {
        self.symbols.intern_frame(frame)
    }

    /// The location of a frame of which only the name is known.
    pub(crate) fn named(&mut self, name: &str) -> u32 {
        let function = self.string(name);
        self.frame(Frame { function, ..Frame::default() })
    }

    /// Appends a sample. `stack` is leaf first; its leaf side is cut when it is too deep.
    pub(crate) fn push(
        &mut self,
        place: impl fmt::Display,
        stack: &[u32],
        values: &[i64],
        labels: &[SampleLabel],
    ) -> Result<(), Error> {
        let excess = stack.len().saturating_sub(self.limits.depth);
        if excess > 0 {
            self.cuts.stacks = self.cuts.stacks.saturating_add(1);
        }
        let stack = stack.get(excess..).unwrap_or_default();
        self.samples.push(stack, values, labels);
        self.charge(place, stack.len() + 2 * (values.len() + labels.len()))
    }

    /// Counts `entries` more against the limits, and looks at all of them.
    pub(crate) fn charge(&mut self, place: impl fmt::Display, entries: usize) -> Result<(), Error> {
        self.entries = self.entries.saturating_add(entries);
        let Limits { entries, samples, table_entries, .. } = *self.limits;
        for (what, count, most) in [
            ("frames, values and labels", self.entries, entries),
            ("samples", self.samples.len(), samples),
            ("frames of their own", self.symbols.len(), table_entries),
            ("strings", self.symbols.strings().len(), table_entries),
        ] {
            if count > most {
                let fault = format_args!("up to here there are more than {most} {what}");
                return Err(Error::too_large(place, fault, SMALLER));
            }
        }
        Ok(())
    }

    /// Fills `profile` with the frames and samples.
    pub(crate) fn finish(mut self, profile: &mut Profile) -> Cuts {
        profile.samples = std::mem::take(&mut self.samples);
        self.share([profile])
    }

    /// Gives all `profiles` the frames, with one location each.
    pub(crate) fn share<'p>(self, profiles: impl IntoIterator<Item = &'p mut Profile>) -> Cuts {
        let symbols = Arc::new(self.symbols.into_symbols());
        let locations = (0..symbols.frames.len() as u32).map(|first| Location { first, count: 1 });
        let locations: Arc<Vec<Location>> = Arc::new(locations.collect());
        for profile in profiles {
            (profile.symbols, profile.locations) = (symbols.clone(), locations.clone());
        }
        self.cuts
    }
}

/// Calls, for formats that say when a function is entered and left: each distinct chain of callers is one
/// node, so that a long recording costs no more than its distinct stacks.
#[derive(Default)]
pub(crate) struct Calls {
    /// Caller (position + 1, 0 for none), location, and own value.
    nodes: Vec<(u32, u32, i64)>,
    children: HashMap<(u32, u32), u32>,
}

impl Calls {
    /// The node of `location` called from `caller`, 0 for none; positions count from 1.
    pub(crate) fn enter(&mut self, caller: u32, location: u32) -> u32 {
        let next = self.nodes.len() as u32 + 1;
        let node = *self.children.entry((caller, location)).or_insert(next);
        if node == next {
            self.nodes.push((caller, location, 0));
        }
        node
    }

    /// Adds to the own value of `node`.
    pub(crate) fn add(&mut self, node: u32, value: i64) {
        if let Some((_, _, own)) = self.nodes.get_mut((node as usize).wrapping_sub(1)) {
            *own = own.saturating_add(value);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Each stack (leaf first) that has a value.
    pub(crate) fn for_each_stack(
        &self,
        mut each: impl FnMut(&[u32], i64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut stack = Vec::new();
        for &(caller, location, value) in self.nodes.iter().filter(|(_, _, value)| *value != 0) {
            stack.clear();
            stack.push(location);
            let mut above = caller;
            while let Some(&(caller, location, _)) = self.nodes.get((above as usize).wrapping_sub(1)) {
                stack.push(location);
                above = caller;
            }
            each(&stack, value)?;
        }
        Ok(())
    }
}
