//! Profiles of the Firefox Profiler, as it saves them (the processed format, which other profilers write
//! too): tables of strings, functions, frames and stacks, and for each thread its samples.
//! <https://github.com/firefox-devtools/profiler/blob/main/docs-developer/processed-profile-format.md>

mod file;

use crate::assembly::{Assembly, SMALLER};
use crate::list::{self, List, Text};
use crate::{Error, ErrorKind, Limits, Part, Parts, gzip, json_text};
use everflame_profile::{Frame, FrameKind, Nanos, Profile, ValueType};
use file::{File, FrameTable, FuncTable, MAX, StackTable, Tables, Thread, Weight};
use hashbrown::HashMap;
use std::fmt;

const WRITER: &str = "save the profile again from the Firefox Profiler, or repair the program that writes it";

/// Reads a profile, gzip or plain. Each thread becomes a part, labelled `thread_name` and `process_name`.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Parts, Error> {
    let body = gzip::inflate_if_gzip(bytes, limits)?;
    json_text::read(&body, |body| read_json(body, limits))
}

fn read_json(body: &[u8], limits: &Limits) -> Result<Parts, Error> {
    let file: File<'_> = list::from_json(body).map_err(|error| {
        Error::malformed("Firefox profile", error, "send the whole file, as the Firefox Profiler saves it")
    })?;
    let mut assembly = Assembly::new(limits);
    let mut parts = Vec::new();
    // What is found out about the tables that threads share holds for all of them.
    let shared_kept = file.shared.stack_table.as_ref().map(|stacks| stacks.kept(limits.depth));
    let mut shared_locations = HashMap::new();
    for (at, thread) in file.threads.0.iter().enumerate() {
        let Some(stacks) = &thread.samples.stack else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                Place(at),
                "its samples are in the form that Firefox itself keeps them in",
                "open the file in the Firefox Profiler and save it from there",
            ));
        };
        let own_kept = thread.tables.stack_table.as_ref().map(|stacks| stacks.kept(limits.depth));
        let kept = own_kept.as_ref().or(shared_kept.as_ref()).map(Vec::as_slice).unwrap_or_default();
        let mut own_locations = HashMap::new();
        let locations = if thread.tables.have_frames() { &mut own_locations } else { &mut shared_locations };
        let mut reader = Reader::new(Place(at), thread, &file, kept, locations)?;
        let unit = Unit::of(thread, file.meta.interval);
        reader.samples(&stacks.0, unit, &mut assembly)?;
        let samples = std::mem::take(&mut assembly.samples);
        if samples.is_empty() {
            continue;
        }
        let names = [("thread_name", Some(&thread.name)), ("process_name", thread.process_name.as_ref())];
        let labels = names
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.filter(|value| !value.is_empty())?)));
        let (name, sample_types) = unit.describe();
        let profile = Profile {
            default_sample_type: Some(sample_types.len() - 1),
            sample_types,
            time: (file.meta.start_time * 1e6) as Nanos,
            samples,
            ..Profile::default()
        };
        parts.push(Part {
            name: name.to_owned(),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_string())).collect(),
            profile,
            ..Part::default()
        });
    }
    let cuts = assembly.share(parts.iter_mut().map(|part| &mut part.profile));
    Ok(Parts { parts, cuts })
}

/// A thread of the file, counted from 0.
#[derive(Clone, Copy)]
struct Place(usize);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Firefox profile: thread {}", self.0)
    }
}

/// What the weights of a thread's samples are.
#[derive(Clone, Copy)]
enum Unit {
    /// Samples, so many nanoseconds each.
    Samples(f64),
    Milliseconds,
    Bytes,
}

impl Unit {
    fn of(thread: &Thread<'_>, interval: f64) -> Self {
        match thread.samples.weight_type.as_deref() {
            Some("tracing-ms") => Self::Milliseconds,
            Some("bytes") => Self::Bytes,
            _ => Self::Samples(interval * 1e6),
        }
    }

    /// Name and types of the profile.
    fn describe(self) -> (&'static str, Vec<ValueType>) {
        let wall = ValueType::new("wall", "nanoseconds");
        match self {
            Self::Samples(_) => ("wall", vec![ValueType::new("samples", "count"), wall]),
            Self::Milliseconds => ("wall", vec![wall]),
            Self::Bytes => ("memory", vec![ValueType::new("samples", "bytes")]),
        }
    }

    /// The values of a sample of this weight; how many there are.
    fn values(self, weight: f64) -> ([i64; 2], usize) {
        match self {
            Self::Samples(nanos) => ([weight.round() as i64, (weight * nanos).round() as i64], 2),
            Self::Milliseconds => ([(weight * 1e6).round() as i64, 0], 1),
            Self::Bytes => ([weight.round() as i64, 0], 1),
        }
    }
}

/// A table of the thread, or else that of all threads.
fn own_or_shared<'a, T>(
    thread: &'a Thread<'a>,
    file: &'a File<'a>,
    table: impl Fn(&'a Tables<'a>) -> Option<&'a T>,
) -> Option<&'a T> {
    table(&thread.tables).or_else(|| table(&file.shared))
}

struct Reader<'a> {
    place: Place,
    strings: &'a [Text<'a>],
    functions: &'a FuncTable,
    /// Strings of the files' names.
    sources: &'a [u32],
    frames: &'a FrameTable,
    stacks: &'a StackTable,
    weights: Option<&'a [Weight]>,
    /// [`StackTable::kept`].
    kept: &'a [u32],
    /// Locations of the frames that were met.
    locations: &'a mut HashMap<u32, u32>,
}

impl<'a> Reader<'a> {
    fn new(
        place: Place,
        thread: &'a Thread<'a>,
        file: &'a File<'a>,
        kept: &'a [u32],
        locations: &'a mut HashMap<u32, u32>,
    ) -> Result<Self, Error> {
        let missing = |what: &str| Error::malformed(place, format_args!("it has no {what}"), WRITER);
        let strings = own_or_shared(thread, file, |tables| tables.string_array.as_ref());
        let functions = own_or_shared(thread, file, |tables| tables.func_table.as_ref());
        let sources = own_or_shared(thread, file, |tables| tables.sources.as_ref());
        let frames = own_or_shared(thread, file, |tables| tables.frame_table.as_ref());
        let stacks = own_or_shared(thread, file, |tables| tables.stack_table.as_ref());
        let stacks = stacks.ok_or_else(|| missing("stackTable"))?;
        if stacks.prefix.is_none() && stacks.prefix_offset.is_none() {
            return Err(missing("prefix or prefixOffset in its stackTable"));
        }
        Ok(Self {
            place,
            kept,
            locations,
            strings: strings.ok_or_else(|| missing("stringArray"))?.0.as_slice(),
            functions: functions.ok_or_else(|| missing("funcTable"))?,
            sources: sources.map(|sources| sources.filename.0.as_slice()).unwrap_or_default(),
            frames: frames.ok_or_else(|| missing("frameTable"))?,
            stacks,
            weights: thread.samples.weight.as_ref().map(|weights| weights.0.as_slice()),
        })
    }

    fn samples(
        &mut self,
        stacks: &[Option<u32>],
        unit: Unit,
        assembly: &mut Assembly<'_>,
    ) -> Result<(), Error> {
        // Own weight by stack: equal stacks have equal numbers.
        let mut weighed: Vec<(u32, f64)> = Vec::new();
        for (at, stack) in stacks.iter().enumerate() {
            let Some(stack) = *stack else { continue };
            let weight = self.weights.map_or(1.0, |weights| weights.get(at).copied().unwrap_or_default().0);
            weighed.push((stack, weight));
        }
        weighed.sort_by_key(|&(stack, _)| stack);
        let mut stack = Vec::new();
        for same in weighed.chunk_by(|(a, _), (b, _)| a == b) {
            let Some(&(at, _)) = same.first() else { continue };
            let Some(&kept) = self.kept.get(at as usize) else {
                return Err(self.missing("stack", at, self.kept.len()));
            };
            let (values, count) = unit.values(same.iter().map(|(_, weight)| weight).sum());
            let Some(values) = values.get(..count).filter(|values| values.iter().any(|&value| value != 0))
            else {
                continue;
            };
            stack.clear();
            let mut next = Some(kept);
            while let Some(at) = next {
                stack.push(self.location(at, assembly)?);
                next = self.stacks.caller(at);
                // Callers come first in the table, so that there is no circle.
                if next.is_some_and(|caller| caller >= at) {
                    let fault = format_args!("stack {at} has a prefix that does not come before it");
                    return Err(Error::malformed(self.place, fault, WRITER));
                }
            }
            assembly.cuts.stacks = assembly.cuts.stacks.saturating_add(u32::from(kept != at));
            assembly.push(self.place, &stack, values, &[])?;
            if assembly.samples.len() > assembly.limits.samples {
                return Err(Error::too_large(self.place, "it has too many stacks", SMALLER));
            }
        }
        Ok(())
    }

    fn location(&mut self, stack: u32, assembly: &mut Assembly<'_>) -> Result<u32, Error> {
        let frame = *self
            .stacks
            .frame
            .0
            .get(stack as usize)
            .ok_or_else(|| self.missing("stack", stack, self.stacks.frame.0.len()))?;
        if let Some(&location) = self.locations.get(&frame) {
            return Ok(location);
        }
        let function = *self
            .frames
            .func
            .0
            .get(frame as usize)
            .ok_or_else(|| self.missing("frame", frame, self.frames.func.0.len()))?;
        let functions = self.functions;
        let name = functions
            .name
            .0
            .get(function as usize)
            .ok_or_else(|| self.missing("function", function, functions.name.0.len()))?;
        let text = |index: u32| {
            self.strings.get(index as usize).ok_or_else(|| self.missing("string", index, self.strings.len()))
        };
        let name = assembly.string(&text(*name)?.0);
        let of_function =
            |column: &List<Option<u32>, MAX>| column.0.get(function as usize).copied().flatten();
        let file = match of_function(&functions.source) {
            Some(source) => {
                let name = self.sources.get(source as usize);
                Some(*name.ok_or_else(|| self.missing("source", source, self.sources.len()))?)
            }
            None => of_function(&functions.file_name),
        };
        let file = match file {
            Some(file) => assembly.string(&text(file)?.0),
            None => 0,
        };
        let line = self.frames.line.0.get(frame as usize).copied().flatten().unwrap_or_default();
        let is_js = functions.is_js.0.get(function as usize).copied().unwrap_or_default();
        let kind = if is_js { FrameKind::Interpreted } else { FrameKind::Unknown };
        let location = assembly.frame(Frame { function: name, file, line, kind, ..Frame::default() });
        self.locations.insert(frame, location);
        Ok(location)
    }

    #[cold]
    fn missing(&self, what: &str, index: u32, count: usize) -> Error {
        let fault = format_args!("it refers to {what} {index}, which is missing ({count} entries)");
        Error::malformed(self.place, fault, WRITER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folded;
    use serde_json::{Value, json};

    fn tables() -> Value {
        json!({
            "stringArray": ["main", "work", "app.js"],
            "funcTable": {"name": [0, 1], "fileName": [2, null], "isJS": [true, false], "length": 2},
            "frameTable": {"func": [0, 1], "line": [7, null], "address": [-1, -1], "length": 2},
            "stackTable": {"frame": [0, 1, 1], "prefix": [null, 0, 1], "length": 3},
        })
    }

    fn thread(name: &str, samples: Value, tables: Value) -> Value {
        let mut thread = json!({"name": name, "processName": "p", "pid": 1, "tid": 2, "samples": samples, "markers": {"data": []}});
        thread.as_object_mut().unwrap().extend(tables.as_object().unwrap().clone());
        thread
    }

    fn read_json(file: Value) -> Result<Vec<String>, Error> {
        let parts = read(file.to_string().as_bytes(), &Limits::default())?.parts;
        let shown = |part: &Part| {
            let labels: Vec<_> = part.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!(
                "{} {} {:?}\n{}",
                part.name,
                labels.join(","),
                part.profile.totals(),
                folded::write(&part.profile, 0)
            )
        };
        Ok(parts.iter().map(shown).collect())
    }

    #[test]
    fn threads_become_parts() {
        let samples =
            json!({"stack": [1, 1, null, 2], "time": [0, 1, 2, 3], "weight": null, "weightType": "samples"});
        let bytes = json!({"stack": [0, 1], "weight": [100, -30], "weightType": "bytes"});
        let expect = [
            "wall thread_name=GeckoMain,process_name=p [3, 6000000]\nmain;work 2\nmain;work;work 1\n",
            "memory thread_name=Alloc,process_name=p [70]\nmain 100\nmain;work -30\n",
        ];
        let meta = json!({"interval": 2, "startTime": 1700000000000.5, "version": 30});
        let own = json!({"meta": meta, "threads": [thread("GeckoMain", samples.clone(), tables()), thread("Alloc", bytes.clone(), tables())]});
        assert_eq!(read_json(own).unwrap(), expect);
        let threads = [thread("GeckoMain", samples, json!({})), thread("Alloc", bytes, json!({}))];
        let mut shared = json!({"meta": meta, "shared": tables(), "threads": threads});
        assert_eq!(read_json(shared.clone()).unwrap(), expect);
        shared["shared"]["stackTable"] = json!({"frame": [0, 1, 1], "prefixOffset": [0, 1, 1], "length": 3});
        assert_eq!(read_json(shared).unwrap(), expect);
    }

    #[test]
    fn files_are_strings_or_sources() {
        let files = |functions: Value, sources: Value| {
            let mut tables = tables();
            tables["funcTable"] = functions;
            let threads = [thread("x", json!({"stack": [1]}), tables)];
            let file = json!({"meta": {"interval": 1}, "shared": {"sources": sources}, "threads": threads});
            let parts =
                read(file.to_string().as_bytes(), &Limits::default()).map_err(|error| error.to_string())?;
            let profile = &parts.parts[0].profile;
            let file = |frame: &Frame| profile.symbols.strings.get(frame.file).to_owned();
            Ok::<Vec<String>, String>(profile.frames(0).map(file).collect())
        };
        let strings = json!({"name": [0, 1], "fileName": [null, 2]});
        assert_eq!(files(strings, json!(null)).unwrap(), ["app.js", ""]);
        let by_source = json!({"name": [0, 1], "source": [null, 1]});
        let sources = json!({"filename": [0, 2], "id": [null, null], "length": 2});
        assert_eq!(files(by_source.clone(), sources).unwrap(), ["app.js", ""]);
        let fault = files(by_source, json!({"filename": [0]})).unwrap_err();
        assert!(fault.contains("source 1, which is missing (1 entries)"), "{fault}");
    }

    #[test]
    fn members_may_be_odd() {
        let samples = json!({"stack": [0, 1, 0], "weight": [1, null, 2], "weightType": "samples"});
        let mut tables = tables();
        tables["stringArray"][0] = json!("HALF");
        let file = json!({"meta": {"interval": 1}, "threads": [thread("x", samples, tables)]}).to_string();
        let file = format!("\u{feff}{}", file.replace("HALF", "m\\ud800in"));
        let parts = read(file.as_bytes(), &Limits::default()).unwrap().parts;
        assert_eq!(folded::write(&parts[0].profile, 0), "m\u{fffd}in 3\n");
    }

    #[test]
    fn faults_are_refused() {
        let refuse = |samples: Value, change: &dyn Fn(&mut Value)| {
            let mut tables = tables();
            change(&mut tables);
            read_json(json!({"meta": {"interval": 1}, "threads": [thread("x", samples, tables)]}))
                .unwrap_err()
                .to_string()
        };
        let one = || json!({"stack": [1]});
        assert!(
            refuse(json!({"stack": [9]}), &|_| ())
                .contains("thread 0: it refers to stack 9, which is missing (3 entries)")
        );
        assert!(refuse(json!({"schema": {}, "data": []}), &|_| ()).contains("save it from there"));
        assert!(
            refuse(one(), &|tables| tables["stackTable"]["prefix"] = json!([null, 2, 1]))
                .contains("prefix that does not come before")
        );
        for (offsets, expect) in [
            (json!([0, 2, 1]), "prefix that does not come before"),
            (json!([0, u32::MAX, 1]), "prefix that does not come before"),
            (json!([0, -1, 1]), "invalid value"),
            (json!(null), "no prefix or prefixOffset in its stackTable"),
        ] {
            let fault = refuse(one(), &|tables| {
                tables["stackTable"] = json!({"frame": [0, 1, 1], "prefixOffset": offsets});
            });
            assert!(fault.contains(expect), "{fault}");
        }
        assert!(refuse(one(), &|tables| tables["stackTable"]["frame"] = json!([7, 7])).contains("frame 7"));
        assert!(
            refuse(one(), &|tables| tables["stringArray"] = json!([]))
                .contains("string 1, which is missing (0 entries)")
        );
        assert!(
            refuse(one(), &|tables| _ = tables.as_object_mut().unwrap().remove("funcTable"))
                .contains("no funcTable")
        );
    }

    #[test]
    fn deep_stacks_keep_their_root_side_and_take_no_time() {
        let prefix: Vec<_> = (0..60_000).map(|at| (at > 0).then(|| at - 1)).collect();
        let frame: Vec<_> = (0..60_000).map(|at| at % 2).collect();
        let stack: Vec<_> = (0..60_000).collect();
        let tables = json!({
            "stringArray": ["a", "b"], "funcTable": {"name": [0, 1]}, "frameTable": {"func": [0, 1]},
            "stackTable": {"frame": frame, "prefix": prefix},
        });
        let one = thread("x", json!({"stack": stack}), json!({}));
        let file = json!({"meta": {"interval": 1}, "shared": tables, "threads": [one, one, one]}).to_string();
        let limits = Limits { depth: 3, ..Limits::default() };
        let parts = read(file.as_bytes(), &limits).unwrap();
        assert_eq!(parts.parts.len(), 3);
        assert_eq!(folded::write(&parts.parts[2].profile, 0), "a 1\na;b 1\na;b;a 59998\n");
        assert_eq!(parts.cuts.stacks, 3 * 59_997);
    }
}
