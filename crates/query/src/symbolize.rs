//! Gives names to the frames of an answer that were stored without: their functions are in debug files that may
//! have come later. What is stored stays as it is.

use everflame_lake::ResolvedStacks;
use everflame_profile::{Frame, FrameIndex, FrameKind, StringIndex, Symbols};
use everflame_symbols::{BuildId, Call, Known, PATIENCE, Place, Symbolizer, Wanted};
use hashbrown::HashMap;
use std::sync::Arc;

/// A frame without a name, and where its name may be found.
struct Unnamed<'a> {
    frame: FrameIndex,
    build: &'a BuildId,
    place: Place,
}

/// `stacks` with the names that `symbolizer` has. Blocking.
pub(crate) fn symbolize(stacks: ResolvedStacks, symbolizer: &Arc<Symbolizer>) -> ResolvedStacks {
    let builds = builds(&stacks.symbols);
    let unnamed = unnamed(&stacks.symbols, &builds);
    if unnamed.is_empty() {
        return stacks;
    }
    let wanted = wanted(unnamed.iter().map(|unnamed| (unnamed.build, unnamed.place)));
    let mut patience = PATIENCE;
    let known = symbolizer.resolve(&wanted, &mut patience);
    with_names(stacks, &unnamed, &known)
}

/// What is asked for to name these places.
pub(crate) fn wanted<'a>(places: impl Iterator<Item = (&'a BuildId, Place)>) -> Wanted {
    let mut wanted = Wanted::default();
    for (build, place) in places {
        match wanted.get_mut(build) {
            Some(places) => places.insert(place),
            None => wanted.insert(build.clone(), [place].into()).is_none(),
        };
    }
    wanted
}

/// For each mapping its build id.
fn builds(symbols: &Symbols) -> Vec<Option<BuildId>> {
    let ids = symbols.mappings.iter().map(|mapping| symbols.strings.get(mapping.build_id));
    ids.map(|id| BuildId::parse(id).ok()).collect()
}

/// The frames without names that have a build id.
fn unnamed<'a>(symbols: &Symbols, builds: &'a [Option<BuildId>]) -> Vec<Unnamed<'a>> {
    if builds.iter().all(Option::is_none) {
        return Vec::new();
    }
    let frames = symbols.frames.iter().enumerate().filter_map(|(at, frame)| {
        if frame.function != 0 || frame.system_name != 0 || frame.address == 0 {
            return None;
        }
        let build = builds.get(frame.mapping as usize)?.as_ref()?;
        let place = Place::of(frame, &symbols.mapping(frame.mapping));
        Some(Unnamed { frame: at as FrameIndex, build, place })
    });
    frames.collect()
}

/// Puts the calls of `known` in place of the frames of `unnamed`.
fn with_names(mut stacks: ResolvedStacks, unnamed: &[Unnamed<'_>], known: &Known) -> ResolvedStacks {
    let mut named = Named { symbols: &mut stacks.symbols, strings: HashMap::new() };
    // For each frame the frames that take its place; an empty range leaves it.
    let mut instead: HashMap<FrameIndex, std::ops::Range<FrameIndex>> = HashMap::new();
    for &Unnamed { frame, build, place } in unnamed {
        if let Some(calls) = known.get(build).and_then(|known| known.get(&place)) {
            instead.insert(frame, named.frames(frame, calls));
        }
    }
    if instead.is_empty() {
        return stacks;
    }
    let mut frames = Vec::with_capacity(stacks.frames.len());
    let mut start = 0;
    for end in &mut stacks.ends {
        let stack = stacks.frames.get(start..*end as usize).unwrap_or_default();
        start = *end as usize;
        for frame in stack {
            match instead.get(frame) {
                Some(range) => frames.extend(range.clone()),
                None => frames.push(*frame),
            }
        }
        *end = frames.len() as u32;
    }
    stacks.frames = frames;
    stacks
}

/// Adds frames with names to the tables of an answer.
struct Named<'a> {
    symbols: &'a mut Symbols,
    strings: HashMap<String, StringIndex>,
}

impl Named<'_> {
    /// New frames for `calls`, which lie at the address of `frame` and keep it.
    fn frames(&mut self, frame: FrameIndex, calls: &[Call]) -> std::ops::Range<FrameIndex> {
        let old = self.symbols.frames.get(frame as usize).copied().unwrap_or_default();
        let kind = if old.kind == FrameKind::Unknown { FrameKind::Native } else { old.kind };
        let first = self.symbols.frames.len() as FrameIndex;
        for (at, call) in calls.iter().enumerate() {
            let frame = Frame {
                function: self.string(&call.function),
                system_name: self.string(&call.system_name),
                file: self.string(&call.file),
                line: call.line.into(),
                mapping: old.mapping,
                address: old.address,
                kind,
                inlined: at + 1 < calls.len(),
                ..Frame::default()
            };
            self.symbols.frames.push(frame);
        }
        first..self.symbols.frames.len() as FrameIndex
    }

    fn string(&mut self, text: &str) -> StringIndex {
        if text.is_empty() {
            return 0;
        }
        if let Some(&known) = self.strings.get(text) {
            return known;
        }
        let new = self.symbols.strings.push(text);
        self.strings.insert(text.to_owned(), new);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everflame_profile::Mapping;

    #[test]
    fn calls_take_the_place_of_an_address() {
        let mut symbols = Symbols::default();
        let (main, build) = (symbols.strings.push("main"), symbols.strings.push("C0FFEE"));
        let mapping =
            Mapping { build_id: build, memory_start: 0x1000, memory_limit: 0x2000, ..Mapping::default() };
        symbols.mappings.push(mapping);
        symbols.frames.push(Frame { function: main, ..Frame::default() });
        for address in [0x1010, 0x1020] {
            symbols.frames.push(Frame { address, mapping: 1, ..Frame::default() });
        }
        let stacks =
            ResolvedStacks { symbols, frames: vec![1, 0, 2, 1, 0], ends: vec![2, 5], missing: Vec::new() };
        let builds = builds(&stacks.symbols);
        let unnamed = unnamed(&stacks.symbols, &builds);
        let build = BuildId::parse("c0ffee").unwrap();
        let places: Vec<_> = unnamed.iter().map(|unnamed| (unnamed.build.clone(), unnamed.place)).collect();
        assert_eq!(
            places,
            [(build.clone(), Place::Mapped(0, 0x10)), (build.clone(), Place::Mapped(0, 0x20))]
        );
        let call = |name: &str| Call { function: name.to_owned(), ..Call::default() };
        let calls: Arc<[Call]> = vec![call("inner"), call("work")].into();
        let known = Known::from([(build, [(Place::Mapped(0, 0x10), calls)].into())]);
        let stacks = with_names(stacks, &unnamed, &known);
        let names = |at: usize| {
            let frames = stacks.stack(at).iter().map(|&frame| stacks.symbols.frames[frame as usize]);
            frames.map(|frame| (stacks.symbols.name(&frame).into_owned(), frame.inlined)).collect::<Vec<_>>()
        };
        let named = |name: &str, inlined| (name.to_owned(), inlined);
        assert_eq!(names(0), [named("inner", true), named("work", false), named("main", false)]);
        let addresses = stacks.stack(0).iter().map(|&frame| stacks.symbols.frames[frame as usize].address);
        assert_eq!(addresses.collect::<Vec<_>>(), [0x1010, 0x1010, 0]);
        assert_eq!(names(1)[0], named("0x1020", false));
        assert_eq!(names(1)[1..], names(0)[..]);
    }
}
