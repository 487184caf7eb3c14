//! Writes exports in the layout of 1.10 and later: what other ends take, and [`super::read`] reads again.
//!
//! Every table of the dictionary holds each entry once, told apart by its bytes, over all profiles of the
//! export; entry 0 is the zero value.

use super::profile::SERVICE;
use super::{PROFILE_NAME_ATTRIBUTE, dictionary::BUILD_ID, dictionary::FRAME_TYPE};
use crate::pprof::wire::Writer;
use everflame_profile::{Frame, FrameKind, Mapping, Profile, SERVICE_NAME, ValueType};
use hashbrown::HashMap;

/// Labels of samples that become links.
const SPAN_ID: &str = "span_id";
const TRACE_ID: &str = "trace_id";

/// A table of the dictionary: entries as they are written, and their positions.
struct Table {
    positions: HashMap<Vec<u8>, u64>,
    /// All entries as fields of the dictionary.
    out: Writer,
    field: u32,
}

impl Table {
    fn new(field: u32) -> Self {
        let mut table = Self { positions: HashMap::new(), out: Writer::default(), field };
        table.position(Vec::new());
        table
    }

    /// The position of `entry`, which is added when it is new.
    fn position(&mut self, entry: Vec<u8>) -> u64 {
        let next = self.positions.len() as u64;
        let Self { positions, out, field } = self;
        *positions.entry(entry).or_insert_with_key(|entry| {
            out.bytes(*field, entry);
            next
        })
    }

    fn text(&mut self, text: &str) -> u64 {
        self.position(text.as_bytes().to_vec())
    }
}

/// An export that is being written.
pub struct ExportWriter {
    mappings: Table,
    locations: Table,
    functions: Table,
    links: Table,
    strings: Table,
    attributes: Table,
    stacks: Table,
    /// Attributes of each resource, and its profiles as fields of a scope.
    resources: Vec<(Vec<u8>, Writer)>,
    positions: HashMap<Vec<u8>, usize>,
    scratch: Writer,
}

impl Default for ExportWriter {
    fn default() -> Self {
        Self {
            mappings: Table::new(1),
            locations: Table::new(2),
            functions: Table::new(3),
            links: Table::new(4),
            strings: Table::new(5),
            attributes: Table::new(6),
            stacks: Table::new(7),
            resources: Vec::new(),
            positions: HashMap::new(),
            scratch: Writer::default(),
        }
    }
}

fn message(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut out = Writer::default();
    write(&mut out);
    out.0
}

/// A text as `AnyValue`.
fn any_text(text: &str) -> Vec<u8> {
    message(|out| out.bytes(1, text.as_bytes()))
}

impl ExportWriter {
    /// Adds a profile of the resource with `labels`: one for each of its sample types. `name` is what kind of
    /// profile it is, `id` its identity.
    pub fn add<'a>(
        &mut self,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        name: &str,
        id: &[u8; 16],
        profile: &Profile,
    ) {
        let resource = message(|out| {
            for (key, value) in labels {
                let key = if key == SERVICE_NAME { SERVICE } else { key };
                let attribute = message(|out| {
                    out.bytes(1, key.as_bytes());
                    out.bytes(2, &any_text(value));
                });
                out.bytes(1, &attribute);
            }
        });
        let at = *self.positions.entry(resource).or_insert_with_key(|resource| {
            self.resources.push((resource.clone(), Writer::default()));
            self.resources.len() - 1
        });
        for sample_type in 0..profile.sample_types.len() {
            let profile = self.profile(name, id, profile, sample_type);
            if let Some((_, profiles)) = self.resources.get_mut(at) {
                profiles.bytes(2, &profile);
            }
        }
    }

    /// The export.
    pub fn finish(self) -> Vec<u8> {
        let tables = [
            self.mappings,
            self.locations,
            self.functions,
            self.links,
            self.strings,
            self.attributes,
            self.stacks,
        ];
        message(|out| {
            for (resource, profiles) in self.resources {
                let scope = message(|out| out.bytes(1, b""));
                let scope = [scope, profiles.0].concat();
                out.bytes(
                    1,
                    &message(|out| {
                        out.bytes(1, &resource);
                        out.bytes(2, &scope);
                    }),
                );
            }
            out.bytes(2, &tables.map(|table| table.out.0).concat());
        })
    }

    fn profile(&mut self, name: &str, id: &[u8; 16], profile: &Profile, sample_type: usize) -> Vec<u8> {
        let mut out = Writer::default();
        if let Some(value_type) = profile.sample_types.get(sample_type) {
            out.bytes(1, &self.value_type(value_type));
        }
        // Stacks of frames that were written already, by frame and by stack.
        let mut locations: HashMap<Vec<u32>, u64> = HashMap::new();
        for at in 0..profile.samples.len() {
            let stack = self.stack(profile, at, &mut locations);
            let (link, attributes) = self.labels(profile, at);
            let value = profile.values(at).get(sample_type).copied().unwrap_or_default();
            let mut sample = Writer::default();
            sample.number(1, stack);
            sample.packed(2, attributes.into_iter(), &mut self.scratch);
            sample.number(3, link);
            sample.packed(4, [value as u64].into_iter(), &mut self.scratch);
            out.bytes(2, &sample.0);
        }
        out.fixed(3, profile.time as u64);
        out.number(4, profile.duration as u64);
        if profile.period_type != ValueType::default() {
            let period_type = self.value_type(&profile.period_type);
            out.bytes(5, &period_type);
        }
        out.number(6, profile.period as u64);
        out.bytes(7, id);
        if !name.is_empty() {
            let attribute = self.attribute(PROFILE_NAME_ATTRIBUTE, name);
            out.packed(11, [attribute].into_iter(), &mut self.scratch);
        }
        out.0
    }

    fn value_type(&mut self, value_type: &ValueType) -> Vec<u8> {
        let (kind, unit) = (self.strings.text(&value_type.kind), self.strings.text(&value_type.unit));
        message(|out| {
            out.number(1, kind);
            out.number(2, unit);
        })
    }

    fn attribute(&mut self, key: &str, value: &str) -> u64 {
        let key = self.strings.text(key);
        self.attributes.position(message(|out| {
            out.number(1, key);
            out.bytes(2, &any_text(value));
        }))
    }

    /// Link and attributes of a sample.
    fn labels(&mut self, profile: &Profile, sample: usize) -> (u64, Vec<u64>) {
        let (mut span, mut trace, mut attributes) = (None, None, Vec::new());
        for label in profile.samples.labels(sample) {
            let strings = &profile.symbols.strings;
            let (key, value) = (strings.get(label.key), strings.get(label.value));
            let number = u128::from_str_radix(value, 16).ok();
            match (key, value.len(), number) {
                (SPAN_ID, 16, Some(number)) => span = Some((number as u64).to_be_bytes()),
                (TRACE_ID, 32, Some(number)) => trace = Some(number.to_be_bytes()),
                _ => attributes.push(self.attribute(key, value)),
            }
        }
        if span.is_none() && trace.is_none() {
            return (0, attributes);
        }
        let link = message(|out| {
            out.bytes(1, &trace.unwrap_or_default());
            out.bytes(2, &span.unwrap_or_default());
        });
        (self.links.position(link), attributes)
    }

    fn stack(&mut self, profile: &Profile, sample: usize, known: &mut HashMap<Vec<u32>, u64>) -> u64 {
        let (mut run, mut stack) = (Vec::new(), Vec::new());
        for &location in profile.samples.stack(sample) {
            let Some(location) = profile.locations.get(location as usize) else { continue };
            for index in location.first..location.first.saturating_add(location.count) {
                let Some(frame) = profile.symbols.frames.get(index as usize) else { break };
                run.push(index);
                if !frame.inlined {
                    stack.push(self.location(profile, std::mem::take(&mut run), known));
                }
            }
        }
        if !run.is_empty() {
            stack.push(self.location(profile, run, known));
        }
        self.scratch.0.clear();
        let mut entry = Writer::default();
        entry.packed(1, stack.into_iter(), &mut self.scratch);
        self.stacks.position(entry.0)
    }

    /// The position of the location that consists of these frames, innermost first.
    fn location(&mut self, profile: &Profile, run: Vec<u32>, known: &mut HashMap<Vec<u32>, u64>) -> u64 {
        if let Some(&position) = known.get(&run) {
            return position;
        }
        let all = &profile.symbols.frames;
        let frames: Vec<Frame> = run.iter().filter_map(|&index| all.get(index as usize)).copied().collect();
        let (mapping, kind) =
            frames.last().map_or((0, FrameKind::Unknown), |frame| (frame.mapping, frame.kind));
        let mapping = self.mapping(profile, mapping);
        let address = frames.iter().map(|frame| frame.address).find(|&address| address != 0);
        let bare = |frame: &Frame| {
            frame.function == 0 && frame.system_name == 0 && frame.file == 0 && frame.line == 0
        };
        let lines: Vec<Vec<u8>> = match frames[..] {
            [frame] if bare(&frame) => Vec::new(),
            _ => frames.iter().map(|frame| self.line(profile, frame)).collect(),
        };
        let kind = kind_name(kind).map(|kind| self.attribute(FRAME_TYPE, kind));
        let mut entry = Writer::default();
        entry.number(1, mapping);
        entry.number(2, address.unwrap_or_default());
        lines.iter().for_each(|line| entry.bytes(3, line));
        entry.packed(4, kind.into_iter(), &mut self.scratch);
        let position = self.locations.position(entry.0);
        known.insert(run, position);
        position
    }

    fn line(&mut self, profile: &Profile, frame: &Frame) -> Vec<u8> {
        let strings = &profile.symbols.strings;
        let [name, system_name, file] = [frame.function, frame.system_name, frame.file]
            .map(|index| self.strings.text(strings.get(index)));
        let function = self.functions.position(message(|out| {
            out.number(1, name);
            out.number(2, if system_name == 0 { name } else { system_name });
            out.number(3, file);
            out.number(4, frame.start_line as u64);
        }));
        message(|out| {
            out.number(1, function);
            out.number(2, frame.line as u64);
        })
    }

    fn mapping(&mut self, profile: &Profile, index: u32) -> u64 {
        let mapping = profile.symbols.mapping(index);
        if mapping == Mapping::default() {
            return 0;
        }
        let strings = &profile.symbols.strings;
        let file = self.strings.text(strings.get(mapping.file));
        let build_id = Some(strings.get(mapping.build_id)).filter(|id| !id.is_empty());
        let build_id = build_id.map(|id| self.attribute(BUILD_ID, id));
        let mut entry = Writer::default();
        entry.number(1, mapping.memory_start);
        entry.number(2, mapping.memory_limit);
        entry.number(3, mapping.file_offset);
        entry.number(4, file);
        entry.packed(5, build_id.into_iter(), &mut self.scratch);
        self.mappings.position(entry.0)
    }
}

/// A value of `profile.frame.type`. The semantic conventions have no word for interpreters in general.
fn kind_name(kind: FrameKind) -> Option<&'static str> {
    match kind {
        FrameKind::Unknown => None,
        FrameKind::Native => Some("native"),
        FrameKind::Kernel => Some("kernel"),
        FrameKind::Jvm => Some("jvm"),
        FrameKind::Interpreted => Some("interpreted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::message::{Layout, Message};
    use crate::{Limits, otlp};

    #[test]
    fn what_was_read_is_written_and_read_again() {
        let limits = Limits::default();
        let first = otlp::read(&Message::example(Layout::Current).encode(), &limits).unwrap();
        let mut writer = ExportWriter::default();
        for part in &first.parts {
            let labels = part.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            // Values are multiplied already.
            let profile = Profile { period: 0, ..part.profile.clone() };
            writer.add(labels, &part.name, &[9; 16], &profile);
        }
        let second = otlp::read(&writer.finish(), &limits).unwrap();
        assert_eq!(second.parts.len(), first.parts.len());
        assert_eq!(second.ids, vec![Some(u128::from_be_bytes([9; 16])); first.parts.len()]);
        for (mut second, first) in second.parts.into_iter().zip(first.parts) {
            let at = second.labels.iter().position(|(key, _)| key == PROFILE_NAME_ATTRIBUTE).unwrap();
            assert_eq!(second.labels.remove(at).1, first.name);
            second.labels.sort();
            let mut labels = first.labels;
            labels.sort();
            assert_eq!(second.labels, labels);
            let shown = |profile: &Profile| -> Vec<String> {
                (0..profile.samples.len())
                    .map(|at| {
                        let frames = profile.frames(at).map(|frame| {
                            let mapping = profile.symbols.mapping(frame.mapping);
                            let [file, binary, build] = [frame.file, mapping.file, mapping.build_id]
                                .map(|index| profile.symbols.strings.get(index));
                            format!(
                                "{} {file}:{} {:x} {:?} {binary} {build}",
                                profile.symbols.name(frame),
                                frame.line,
                                frame.address,
                                frame.kind
                            )
                        });
                        let labels = profile.samples.labels(at).iter().map(|label| {
                            [label.key, label.value].map(|index| profile.symbols.strings.get(index)).join("=")
                        });
                        let mut labels: Vec<_> = labels.collect();
                        labels.sort();
                        format!("{:?} {:?} {:?}", profile.values(at), frames.collect::<Vec<_>>(), labels)
                    })
                    .collect()
            };
            assert_eq!(shown(&second.profile), shown(&first.profile));
            let heads = [&second.profile, &first.profile].map(|profile| {
                (profile.time, profile.duration, profile.sample_types.clone(), profile.period_type.clone())
            });
            assert_eq!(heads[0], heads[1]);
        }
    }

    #[test]
    fn an_empty_export_is_one() {
        let export = otlp::read(&ExportWriter::default().finish(), &Limits::default()).unwrap();
        assert_eq!((export.parts.len(), export.profiles), (0, 0));
    }
}
