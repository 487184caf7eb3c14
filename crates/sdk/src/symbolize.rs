//! From addresses to functions, files and lines, of our own executable and libraries.
//!
//! What an address means is kept in a bounded cache, so that the debug information is opened only when a new
//! address appears; it is closed again at the end of each profile, and its memory with it.

use crate::assemble::Stacks;
use crate::modules::{self, Module};
use addr2line::{Loader, demangle_auto};
use everflame_profile::{Frame, FrameKind, Location, Mapping, Profile, SampleLabel, StringInterner, Symbols};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Addresses remembered; some 200 bytes each. Past it the cache starts again.
const MAX_CACHED: usize = 16_384;
/// Calls inlined into each other at one address; more are cut.
const MAX_INLINED: usize = 64;

static CACHE: Mutex<Option<Cache>> = Mutex::new(None);

struct Cache {
    modules: Vec<Module>,
    known: HashMap<usize, Code>,
    names: StringInterner,
}

/// What lies at an address.
struct Code {
    /// Index of the module; none for an address that is no code.
    module: Option<usize>,
    /// Innermost call first; empty when there is no name.
    calls: Vec<Call>,
}

/// A function at an address; texts are indices of `Cache::names`.
struct Call {
    function: u32,
    file: u32,
    line: i64,
}

/// Symbolizes `stacks` into `profile`. Leaf frames whose functions all are `is_own`, judged by name and
/// file, are left out.
pub(crate) fn fill(profile: &mut Profile, stacks: Stacks, is_own: fn(&str, &str) -> bool) {
    let stacks = stacks.into_sorted();
    let modules = modules::loaded();
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    let cache = match cache.take() {
        Some(old) if old.modules == modules && old.known.len() <= MAX_CACHED => cache.insert(old),
        _ => cache.insert(Cache { modules, known: HashMap::new(), names: StringInterner::default() }),
    };
    cache.learn(stacks.iter().flat_map(|((addresses, _), _)| addresses.iter().copied()));

    let mut out = Output::new(cache);
    for ((addresses, thread), values) in &stacks {
        let mut stack = Vec::with_capacity(addresses.len());
        for (depth, &address) in addresses.iter().enumerate() {
            let Some(code) = cache.known.get(&address) else { break };
            // A walk through code without frame pointers ends in data: nothing above it is true.
            if code.module.is_none() && depth > 0 {
                break;
            }
            let texts = cache.names.strings();
            let own = |call: &Call| is_own(texts.get(call.function), texts.get(call.file));
            if stack.is_empty() && !code.calls.is_empty() && code.calls.iter().all(own) {
                continue;
            }
            stack.push(out.location(address, code));
        }
        let mut labels = Vec::new();
        if !thread.is_empty() {
            labels.push(SampleLabel { key: out.strings.intern("thread"), value: out.strings.intern(thread) });
        }
        profile.samples.push(&stack, values, &labels);
    }
    let symbols = Symbols { strings: out.strings.into_strings(), mappings: out.mappings, frames: out.frames };
    (profile.symbols, profile.locations) = (Arc::new(symbols), Arc::new(out.locations));
}

impl Cache {
    /// Looks up those `addresses` that are new. Debug information is open only while this runs.
    fn learn(&mut self, addresses: impl Iterator<Item = usize>) {
        let mut loaders: HashMap<usize, Option<Loader>> = HashMap::new();
        for address in addresses {
            if self.known.contains_key(&address) {
                continue;
            }
            let holds = |module: &Module| module.code.iter().any(|code| code.contains(&address));
            let module = self.modules.iter().position(holds);
            let mut calls = Vec::new();
            if let Some((at, found)) = module.and_then(|at| Some((at, self.modules.get(at)?))) {
                // A module without a file, as the kernel's vdso, has no names.
                let loader = loaders.entry(at).or_insert_with(|| Loader::new(&found.open).ok());
                if let Some(loader) = loader {
                    calls = name_calls(loader, address.wrapping_sub(found.base) as u64, &mut self.names);
                }
            }
            self.known.insert(address, Code { module, calls });
        }
    }
}

/// The calls at `address`, an address of the file.
fn name_calls(loader: &Loader, address: u64, names: &mut StringInterner) -> Vec<Call> {
    let mut calls = Vec::new();
    if let Ok(mut frames) = loader.find_frames(address) {
        while let Ok(Some(frame)) = frames.next() {
            let (file, line) = frame.location.map_or(("", 0), |location| {
                (location.file.unwrap_or_default(), location.line.unwrap_or_default())
            });
            let name =
                frame.function.as_ref().and_then(|function| Some(function.demangle().ok()?.into_owned()));
            let function = names.intern(&name.unwrap_or_default());
            calls.push(Call { function, file: names.intern(file), line: line.into() });
            if calls.len() == MAX_INLINED {
                break;
            }
        }
    }
    // The symbol table has the full path of the function that contains the address; line tables alone have
    // only its last part.
    let symbol = loader.find_symbol(address);
    let name = symbol.map_or(Cow::Borrowed(""), |name| demangle_auto(Cow::Borrowed(name), None));
    if !name.is_empty() {
        let function = names.intern(&name);
        match calls.last_mut() {
            Some(call) => call.function = function,
            None => calls.push(Call { function, file: 0, line: 0 }),
        }
    }
    calls.retain(|call| call.function != 0);
    calls
}

/// The tables of the profile that is being made.
struct Output<'a> {
    cache: &'a Cache,
    strings: StringInterner,
    mappings: Vec<Mapping>,
    frames: Vec<Frame>,
    locations: Vec<Location>,
    by_address: HashMap<usize, u32>,
    /// Index in `mappings` for each module; 0 until it is used.
    used: Vec<u32>,
}

impl<'a> Output<'a> {
    fn new(cache: &'a Cache) -> Self {
        Self {
            cache,
            strings: StringInterner::default(),
            mappings: vec![Mapping::default()],
            frames: Vec::new(),
            locations: Vec::new(),
            by_address: HashMap::new(),
            used: vec![0; cache.modules.len()],
        }
    }

    fn location(&mut self, address: usize, code: &Code) -> u32 {
        if let Some(&location) = self.by_address.get(&address) {
            return location;
        }
        let mapping = self.mapping(code.module);
        let first = self.frames.len() as u32;
        let frame = Frame { mapping, kind: FrameKind::Native, ..Frame::default() };
        let texts = self.cache.names.strings();
        for (depth, call) in code.calls.iter().enumerate() {
            self.frames.push(Frame {
                function: self.strings.intern(texts.get(call.function)),
                file: self.strings.intern(texts.get(call.file)),
                line: call.line,
                inlined: depth + 1 < code.calls.len(),
                ..frame
            });
        }
        if code.calls.is_empty() {
            let base = code.module.and_then(|at| self.cache.modules.get(at)).map_or(0, |module| module.base);
            self.frames.push(Frame { address: address.wrapping_sub(base) as u64, ..frame });
        }
        let count = self.frames.len() as u32 - first;
        let location = self.locations.len() as u32;
        self.locations.push(Location { first, count });
        self.by_address.insert(address, location);
        location
    }

    fn mapping(&mut self, module: Option<usize>) -> u32 {
        let cache = self.cache;
        let Some(at) = module else { return 0 };
        let (Some(used), Some(module)) = (self.used.get_mut(at), cache.modules.get(at)) else { return 0 };
        if *used == 0 {
            *used = self.mappings.len() as u32;
            self.mappings.push(Mapping {
                file: self.strings.intern(&module.path),
                build_id: self.strings.intern(&module.build_id),
                ..Mapping::default()
            });
        }
        *used
    }
}
