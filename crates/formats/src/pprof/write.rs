//! Writes pprof, as `go tool pprof` opens it without a warning: string table first entry empty, ids from
//! 1, inlined frames in one location with their caller, a mapping even when none is known.
//!
//! Equal profiles give equal bytes. Frames that no sample uses are left out.

use super::field::{function, label, line, location, mapping, profile, sample, value_type};
use super::wire::Writer;
use crate::gzip;
use everflame_profile::{Frame, FrameIndex, Mapping, MappingIndex, Profile, StringInterner, ValueType};
use hashbrown::HashMap;

/// Writes `profile` as pprof in gzip.
pub fn write(profile: &Profile) -> Vec<u8> {
    gzip::deflate(&write_uncompressed(profile))
}

/// Writes `profile` as pprof without gzip.
pub fn write_uncompressed(profile: &Profile) -> Vec<u8> {
    let mut encoder = Encoder::new(profile);
    for value_type in &profile.sample_types {
        encoder.value_type(profile::SAMPLE_TYPE, value_type);
    }
    encoder.samples();
    encoder.mappings();
    encoder.out.number(profile::TIME_NANOS, profile.time as u64);
    encoder.out.number(profile::DURATION_NANOS, profile.duration as u64);
    if profile.period_type != ValueType::default() {
        encoder.value_type(profile::PERIOD_TYPE, &profile.period_type);
    }
    encoder.out.number(profile::PERIOD, profile.period as u64);
    let comments: Vec<u64> = profile.comments.iter().map(|text| encoder.text(text)).collect();
    encoder.out.packed(profile::COMMENT, comments.into_iter(), &mut encoder.scratch);
    if let Some(value_type) = profile.default_sample_type.and_then(|at| profile.sample_types.get(at)) {
        let name = encoder.text(&value_type.kind);
        encoder.out.number(profile::DEFAULT_SAMPLE_TYPE, name);
    }
    let Encoder { mut out, texts, .. } = encoder;
    for text in texts.strings().iter() {
        out.bytes(profile::STRING_TABLE, text.as_bytes());
    }
    out.0
}

/// Ids that were given out, from 1.
struct Encoder<'a> {
    profile: &'a Profile,
    out: Writer,
    message: Writer,
    scratch: Writer,
    texts: StringInterner,
    /// For a frame that is a location of its own its location id; 0 until it has one.
    location_by_frame: Vec<u64>,
    /// The same for runs of inlined frames and the frame that they were inlined into.
    location_by_run: HashMap<Box<[FrameIndex]>, u64>,
    last_location: u64,
    functions: HashMap<[u64; 4], u64>,
    mapping_ids: HashMap<Mapping, u64>,
    mappings: Vec<MappingUse>,
}

/// A mapping and what is known about all of its frames.
struct MappingUse {
    mapping: Mapping,
    has_functions: bool,
    has_files: bool,
    has_lines: bool,
    has_inlines: bool,
}

impl<'a> Encoder<'a> {
    fn new(profile: &'a Profile) -> Self {
        Self {
            profile,
            out: Writer::default(),
            message: Writer::default(),
            scratch: Writer::default(),
            texts: StringInterner::default(),
            location_by_frame: vec![0; profile.symbols.frames.len()],
            location_by_run: HashMap::new(),
            last_location: 0,
            functions: HashMap::new(),
            mapping_ids: HashMap::new(),
            mappings: Vec::new(),
        }
    }

    fn text(&mut self, text: &str) -> u64 {
        u64::from(self.texts.intern(text))
    }

    fn value_type(&mut self, field: u32, value_type: &ValueType) {
        let (kind, unit) = (self.text(&value_type.kind), self.text(&value_type.unit));
        self.message.0.clear();
        self.message.number(value_type::KIND, kind);
        self.message.number(value_type::UNIT, unit);
        self.out.bytes(field, &self.message.0);
    }

    fn samples(&mut self) {
        let profile = self.profile;
        let mut run: Vec<FrameIndex> = Vec::new();
        let mut stack: Vec<u64> = Vec::new();
        let mut message = Writer::default();
        for at in 0..profile.samples.len() {
            stack.clear();
            run.clear();
            for &location in profile.samples.stack(at) {
                let Some(location) = profile.locations.get(location as usize) else { continue };
                for index in location.first..location.first.saturating_add(location.count) {
                    let Some(frame) = profile.symbols.frames.get(index as usize) else { break };
                    run.push(index);
                    if !frame.inlined {
                        stack.push(self.location(&run));
                        run.clear();
                    }
                }
            }
            if !run.is_empty() {
                stack.push(self.location(&run));
            }
            message.0.clear();
            message.packed(sample::LOCATION_ID, stack.iter().copied(), &mut self.scratch);
            let values = profile.values(at).iter().map(|&value| value as u64);
            message.packed(sample::VALUE, values, &mut self.scratch);
            for pair in profile.samples.labels(at) {
                let key = self.text(profile.symbols.strings.get(pair.key));
                let value = self.text(profile.symbols.strings.get(pair.value));
                self.scratch.0.clear();
                self.scratch.number(label::KEY, key);
                self.scratch.number(label::STR, value);
                message.bytes(sample::LABEL, &self.scratch.0);
            }
            self.out.bytes(profile::SAMPLE, &message.0);
        }
    }

    /// The id of the location that consists of these frames, innermost first; written when it is new.
    fn location(&mut self, run: &[FrameIndex]) -> u64 {
        let known = match run {
            &[frame] => self.location_by_frame.get(frame as usize).copied().unwrap_or_default(),
            _ => self.location_by_run.get(run).copied().unwrap_or_default(),
        };
        if known != 0 {
            return known;
        }
        self.last_location += 1;
        let id = self.last_location;
        match run {
            &[frame] => {
                if let Some(entry) = self.location_by_frame.get_mut(frame as usize) {
                    *entry = id;
                }
            }
            _ => {
                self.location_by_run.insert(run.into(), id);
            }
        }
        self.write_location(id, run);
        id
    }

    fn write_location(&mut self, id: u64, run: &[FrameIndex]) {
        let all = &self.profile.symbols.frames;
        let frames: Vec<&Frame> = run.iter().filter_map(|&index| all.get(index as usize)).collect();
        // Inlined calls lie where the function does that they were inlined into.
        let address = frames.iter().map(|frame| frame.address).find(|&address| address != 0);
        let mapping = frames.last().map_or(0, |frame| frame.mapping);
        let mut message = Writer::default();
        message.number(location::ID, id);
        message.number(location::MAPPING_ID, self.mapping(mapping, &frames));
        message.number(location::ADDRESS, address.unwrap_or_default());
        let bare = |frame: &Frame| !is_named(frame) && frame.file == 0 && frame.line == 0;
        if !matches!(frames[..], [frame] if bare(frame)) {
            for frame in frames {
                let function = self.function(frame);
                self.scratch.0.clear();
                self.scratch.number(line::FUNCTION_ID, function);
                self.scratch.number(line::LINE, frame.line as u64);
                message.bytes(location::LINE, &self.scratch.0);
            }
        }
        self.out.bytes(profile::LOCATION, &message.0);
    }

    fn function(&mut self, frame: &Frame) -> u64 {
        let strings = &self.profile.symbols.strings;
        let name = self.text(strings.get(frame.function));
        let system_name = match self.text(strings.get(frame.system_name)) {
            0 => name,
            other => other,
        };
        let file = self.text(strings.get(frame.file));
        let key = [name, system_name, file, frame.start_line as u64];
        let next = self.functions.len() as u64 + 1;
        let id = *self.functions.entry(key).or_insert(next);
        if id == next {
            self.message.0.clear();
            self.message.number(function::ID, id);
            self.message.number(function::NAME, name);
            self.message.number(function::SYSTEM_NAME, system_name);
            self.message.number(function::FILENAME, file);
            self.message.number(function::START_LINE, frame.start_line as u64);
            self.out.bytes(profile::FUNCTION, &self.message.0);
        }
        id
    }

    /// The id of a mapping, after noting what `frames` say about it; 0 for none.
    fn mapping(&mut self, index: MappingIndex, frames: &[&Frame]) -> u64 {
        let symbols = &self.profile.symbols;
        let mapping = symbols.mapping(index);
        let next = self.mappings.len() as u64 + 1;
        let id = *self.mapping_ids.entry(mapping).or_insert(next);
        if id == next {
            self.mappings.push(MappingUse {
                mapping,
                has_functions: true,
                has_files: false,
                has_lines: false,
                has_inlines: false,
            });
        }
        if let Some(known) = self.mappings.get_mut(id as usize - 1) {
            known.has_functions &= frames.iter().all(|frame| is_named(frame));
            known.has_files |= frames.iter().any(|frame| frame.file != 0);
            known.has_lines |= frames.iter().any(|frame| frame.line != 0);
            known.has_inlines |= frames.len() > 1;
        }
        id
    }

    /// Writes the mappings. Frames without one get the empty one, which tells `go tool pprof` not to look
    /// for a binary.
    fn mappings(&mut self) {
        if self.mappings.is_empty() {
            self.mapping(0, &[]);
        }
        let strings = &self.profile.symbols.strings;
        for (at, known) in std::mem::take(&mut self.mappings).iter().enumerate() {
            let file = self.text(strings.get(known.mapping.file));
            let build_id = self.text(strings.get(known.mapping.build_id));
            let message = &mut self.message;
            message.0.clear();
            message.number(mapping::ID, at as u64 + 1);
            message.number(mapping::MEMORY_START, known.mapping.memory_start);
            message.number(mapping::MEMORY_LIMIT, known.mapping.memory_limit);
            message.number(mapping::FILE_OFFSET, known.mapping.file_offset);
            message.number(mapping::FILENAME, file);
            message.number(mapping::BUILD_ID, build_id);
            message.number(mapping::HAS_FUNCTIONS, u64::from(known.has_functions));
            message.number(mapping::HAS_FILENAMES, u64::from(known.has_files));
            message.number(mapping::HAS_LINE_NUMBERS, u64::from(known.has_lines));
            message.number(mapping::HAS_INLINE_FRAMES, u64::from(known.has_inlines));
            self.out.bytes(profile::MAPPING, &message.0);
        }
    }
}

fn is_named(frame: &Frame) -> bool {
    frame.function != 0 || frame.system_name != 0
}
