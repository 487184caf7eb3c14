//! Reads speedscope's JSON. The unit of a profile decides its type: times become wall-clock nanoseconds,
//! bytes memory, and what has no unit counts samples.

use super::SCHEMA;
use super::file::{Event, EventKind, File, Profile as FileProfile};
use crate::assembly::{Assembly, Calls, SMALLER};
use crate::{Error, ErrorKind, Limits, Part, Parts, json_text, list};
use everflame_profile::{Frame, Profile, ValueType};
use hashbrown::HashMap;
use std::fmt;

const WRITER: &str = "repair the program that writes the file, or export it again";

/// Reads a file, gzip or plain. Each of its profiles becomes a part, labelled `profile_name`.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Parts, Error> {
    let body = crate::gzip::inflate_if_gzip(bytes, limits)?;
    json_text::read(&body, |body| read_json(body, limits))
}

fn read_json(body: &[u8], limits: &Limits) -> Result<Parts, Error> {
    let file: File<'_> = list::from_json(body).map_err(|error| {
        Error::malformed("speedscope", error, "send the whole file, as speedscope or its exporters write it")
    })?;
    if file.schema != SCHEMA {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "speedscope: $schema",
            format_args!(
                "it is {:?}",
                file.schema.get(..file.schema.floor_char_boundary(80)).unwrap_or_default()
            ),
            "send a file whose $schema is https://www.speedscope.app/file-format-schema.json",
        ));
    }
    let mut assembly = Assembly::new(limits);
    let mut locations = Vec::with_capacity(file.shared.frames.0.len());
    for frame in &file.shared.frames.0 {
        let (function, path) =
            (assembly.string(&frame.name), assembly.string(frame.file.as_deref().unwrap_or_default()));
        let line = frame.line.unwrap_or_default() as i64;
        locations.push(assembly.frame(Frame { function, file: path, line, ..Frame::default() }));
    }
    let mut parts = Vec::with_capacity(file.profiles.0.len());
    for (at, profile) in file.profiles.0.iter().enumerate() {
        let reader =
            Reader { place: Place(at), locations: &locations, unit: Unit::of(&profile.unit, Place(at))? };
        match profile.kind.as_ref() {
            "sampled" => reader.sampled(profile, &mut assembly)?,
            "evented" => reader.evented(profile, &mut assembly)?,
            other => {
                let fault = format_args!("its type is {other:?}");
                return Err(Error::malformed(Place(at), fault, "send profiles of type sampled or evented"));
            }
        }
        let (name, profile_type, period_type) = reader.unit.types();
        let labels = match profile.name.0.as_ref() {
            "" => Vec::new(),
            name => vec![("profile_name".to_owned(), name.to_owned())],
        };
        let samples = std::mem::take(&mut assembly.samples);
        let profile =
            Profile { sample_types: vec![profile_type], period_type, samples, ..Profile::default() };
        parts.push(Part { name: name.to_owned(), labels, profile, ..Part::default() });
    }
    let cuts = assembly.share(parts.iter_mut().map(|part| &mut part.profile));
    Ok(Parts { parts, cuts })
}

/// A profile of the file, counted from 0.
#[derive(Clone, Copy)]
struct Place(usize);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "speedscope: profile {}", self.0)
    }
}

/// What the values of a profile are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    None,
    Bytes,
    /// Times, so many nanoseconds each.
    Nanoseconds(f64),
}

impl Unit {
    fn of(text: &str, place: Place) -> Result<Self, Error> {
        Ok(match text {
            "none" | "" => Self::None,
            "bytes" => Self::Bytes,
            "nanoseconds" => Self::Nanoseconds(1.0),
            "microseconds" => Self::Nanoseconds(1e3),
            "milliseconds" => Self::Nanoseconds(1e6),
            "seconds" => Self::Nanoseconds(1e9),
            other => {
                let fault = format_args!("its unit is {other:?}");
                let remedy = "send none, bytes, nanoseconds, microseconds, milliseconds or seconds";
                return Err(Error::malformed(place, fault, remedy));
            }
        })
    }

    /// Name of the profile, type of its values, type of its period.
    fn types(self) -> (&'static str, ValueType, ValueType) {
        match self {
            Self::None => ("process_cpu", ValueType::new("samples", "count"), ValueType::default()),
            Self::Bytes => ("memory", ValueType::new("samples", "bytes"), ValueType::default()),
            Self::Nanoseconds(_) => {
                ("wall", ValueType::new("wall", "nanoseconds"), ValueType::new("cpu", "nanoseconds"))
            }
        }
    }

    /// A value as a whole number; what is no number is 0, what is too large stops at the largest.
    fn scale(self, value: f64) -> i64 {
        match self {
            Self::Nanoseconds(factor) => (value * factor).round() as i64,
            _ => value.round() as i64,
        }
    }
}

struct Reader<'a> {
    place: Place,
    /// For each frame of the file its location.
    locations: &'a [u32],
    unit: Unit,
}

impl Reader<'_> {
    fn location(&self, frame: u32, what: &str, at: usize) -> Result<u32, Error> {
        self.locations.get(frame as usize).copied().ok_or_else(|| {
            let count = self.locations.len();
            let fault =
                format_args!("{what} {at} refers to frame {frame}, which is missing ({count} frames)");
            Error::malformed(self.place, fault, WRITER)
        })
    }

    fn check_stacks(&self, count: usize, assembly: &Assembly<'_>) -> Result<(), Error> {
        let most = assembly.limits.samples;
        match count > most {
            true => {
                let fault = format_args!("it has more than {most} distinct stacks");
                Err(Error::too_large(self.place, fault, SMALLER))
            }
            false => Ok(()),
        }
    }

    fn sampled(&self, profile: &FileProfile<'_>, assembly: &mut Assembly<'_>) -> Result<(), Error> {
        let (stacks, weights) = (&profile.samples, &profile.weights.0);
        if stacks.len() != weights.len() {
            let fault = format_args!("it has {} samples and {} weights", stacks.len(), weights.len());
            return Err(Error::malformed(self.place, fault, WRITER));
        }
        // Equal stacks first become one, so that what is rounded is their sum.
        let mut positions: HashMap<&[u32], usize> = HashMap::new();
        let mut sums: Vec<(usize, &[u32], f64)> = Vec::new();
        for (at, (frames, &weight)) in stacks.iter().zip(weights).enumerate() {
            let position = *positions.entry(frames).or_insert(sums.len());
            match sums.get_mut(position) {
                Some((_, _, sum)) => *sum += weight,
                None => sums.push((at, frames, weight)),
            }
            self.check_stacks(sums.len(), assembly)?;
        }
        let mut stack = Vec::new();
        for (at, frames, weight) in sums {
            stack.clear();
            for &frame in frames.iter().rev() {
                stack.push(self.location(frame, "sample", at)?);
            }
            assembly.push(self.place, &stack, &[self.unit.scale(weight)], &[])?;
        }
        Ok(())
    }

    fn evented(&self, profile: &FileProfile<'_>, assembly: &mut Assembly<'_>) -> Result<(), Error> {
        let mut calls = Calls::default();
        // Open calls: the frame of the file, and the node of the call tree that its time belongs to.
        let mut open: Vec<(u32, u32)> = Vec::new();
        // The beginning is whatever comes first: some writers leave startValue at 0. Times since then are exact
        // where those since the epoch are not.
        let start = profile.events.0.first().map_or(profile.start, |event| event.at);
        let mut last = 0;
        let mut too_deep = false;
        for (at, &Event { kind, at: moment, frame }) in profile.events.0.iter().enumerate() {
            let now = self.unit.scale(moment - start);
            let passed = now.saturating_sub(last);
            if passed < 0 {
                let fault = format_args!("event {at} is at {moment}, before the event in front of it");
                return Err(Error::malformed(self.place, fault, WRITER));
            }
            last = now;
            if let Some(&(_, node)) = open.last() {
                calls.add(node, passed);
            }
            match kind {
                EventKind::Open => {
                    let location = self.location(frame, "event", at)?;
                    let caller = open.last().map_or(0, |&(_, node)| node);
                    // Below the deepest frame that is kept all time belongs to that one.
                    let node = match open.len() < assembly.limits.depth {
                        true => calls.enter(caller, location),
                        false => {
                            too_deep = true;
                            caller
                        }
                    };
                    open.push((frame, node));
                }
                EventKind::Close => match open.pop() {
                    Some((opened, _)) if opened == frame => {}
                    opened => {
                        let inner =
                            opened.map_or("no frame".to_owned(), |(frame, _)| format!("frame {frame}"));
                        let fault =
                            format_args!("event {at} closes frame {frame} while {inner} is the innermost");
                        return Err(Error::malformed(self.place, fault, WRITER));
                    }
                },
            }
            self.check_stacks(calls.len(), assembly)?;
        }
        if let Some(&(_, node)) = open.last() {
            calls.add(node, self.unit.scale(profile.end - start).saturating_sub(last).max(0));
        }
        assembly.cuts.stacks = assembly.cuts.stacks.saturating_add(u32::from(too_deep));
        calls.for_each_stack(|stack, value| assembly.push(self.place, stack, &[value], &[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folded;
    use serde_json::json;

    fn parts(profiles: serde_json::Value) -> Result<Vec<Part>, Error> {
        let frames =
            json!([{"name": "a", "file": "a.js", "line": 3}, {"name": "b"}, {"name": "c"}, {"name": "d"}]);
        let file = json!({"$schema": SCHEMA, "profiles": profiles, "shared": {"frames": frames}, "x": 1});
        read(file.to_string().as_bytes(), &Limits::default()).map(|parts| parts.parts)
    }

    fn shown(part: &Part) -> String {
        let Part { name, labels, profile, .. } = part;
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let types = &profile.sample_types[0];
        format!("{name} {}:{} {}\n{}", types.kind, types.unit, labels.join(","), folded::write(profile, 0))
    }

    #[test]
    fn sampled_profiles_of_several_units() {
        let profile = |name: &str, unit: &str| {
            json!({"type": "sampled", "name": name, "unit": unit, "startValue": 0, "endValue": 99,
                   "samples": [[0, 1, 2], [0, 1, 3], [0, 1, 2], [0, 1]], "weights": [1, 4, 0.5, 5]})
        };
        let parts =
            parts(json!([profile("one", "seconds"), profile("two", "bytes"), profile("", "none")])).unwrap();
        let shown: Vec<_> = parts.iter().map(shown).collect();
        assert_eq!(
            shown,
            [
                "wall wall:nanoseconds profile_name=one\na;b 5000000000\na;b;c 1500000000\na;b;d 4000000000\n",
                "memory samples:bytes profile_name=two\na;b 5\na;b;c 2\na;b;d 4\n",
                "process_cpu samples:count \na;b 5\na;b;c 2\na;b;d 4\n",
            ]
        );
        let frame = parts[0].profile.frames(0).last().copied().unwrap();
        assert_eq!((parts[0].profile.symbols.strings.get(frame.file), frame.line), ("a.js", 3));
    }

    fn event(kind: &str, at: f64, frame: u32) -> serde_json::Value {
        json!({"type": kind, "at": at, "frame": frame})
    }

    fn evented(events: &[serde_json::Value]) -> serde_json::Value {
        json!([{"type": "evented", "name": "x", "unit": "none", "startValue": 0, "endValue": 14, "events": events}])
    }

    #[test]
    fn events_become_own_values() {
        let events = [
            ("O", 0, 0),
            ("O", 0, 1),
            ("O", 0, 2),
            ("C", 2, 2),
            ("O", 2, 3),
            ("C", 6, 3),
            ("O", 6, 2),
            ("C", 9, 2),
        ]
        .map(|(kind, at, frame)| event(kind, f64::from(at), frame));
        // The two that are still open go on until the end.
        let parts = parts(evented(&events)).unwrap();
        assert_eq!(shown(&parts[0]), "process_cpu samples:count profile_name=x\na;b 5\na;b;c 5\na;b;d 4\n");
    }

    #[test]
    fn sums_are_rounded_and_not_what_they_are_made_of() {
        let samples: Vec<_> = (0..10).map(|at| json!([0, at % 2])).collect();
        let weights = vec![0.3; 10];
        let sampled = json!([{"type": "sampled", "unit": "none", "samples": samples, "weights": weights}]);
        assert_eq!(shown(&parts(sampled).unwrap()[0]), "process_cpu samples:count \na;a 2\na;b 2\n");
        // The nanoseconds since the epoch are known to 256 of them.
        let event =
            |at: u32| event(if at.is_multiple_of(2) { "O" } else { "C" }, 1.7e12 + f64::from(at) / 4.0, 0);
        let events: Vec<_> = (0..12).map(event).collect();
        let evented = json!([{"type": "evented", "unit": "milliseconds", "events": events}]);
        assert_eq!(shown(&parts(evented).unwrap()[0]), "wall wall:nanoseconds \na 1500000\n");
    }

    #[test]
    fn members_may_be_odd() {
        let profile =
            json!({"type": "sampled", "name": null, "unit": "none", "samples": [[0]], "weights": [2]});
        let file =
            json!({"$schema": SCHEMA, "profiles": [profile], "shared": {"frames": [{"name": "HALF"}]}});
        let file = format!("\u{feff}{}", file.to_string().replace("HALF", "a\\udcffb"));
        let parts = read(file.as_bytes(), &Limits::default()).unwrap().parts;
        assert_eq!(shown(&parts[0]), "process_cpu samples:count \na\u{fffd}b 2\n");
    }

    #[test]
    fn faults_are_refused_with_their_place() {
        let wrong_close = [event("O", 0.0, 0), event("C", 1.0, 1)];
        let backwards = [event("O", 5.0, 0), event("C", 1.0, 0)];
        for (profiles, expect) in [
            (evented(&wrong_close), "profile 0: event 1 closes frame 1 while frame 0 is the innermost"),
            (evented(&wrong_close[1..]), "profile 0: event 0 closes frame 1 while no frame"),
            (evented(&backwards), "profile 0: event 1 is at 1, before"),
            (evented(&[event("O", 0.0, 9)]), "event 0 refers to frame 9, which is missing (4 frames)"),
            (
                json!([{"type": "sampled", "unit": "none", "samples": [[0]], "weights": []}]),
                "1 samples and 0 weights",
            ),
            (
                json!([{"type": "sampled", "unit": "hours", "samples": [], "weights": []}]),
                "its unit is \"hours\"",
            ),
            (json!([{"type": "flat", "unit": "none"}]), "its type is \"flat\""),
            (
                json!([{"type": "sampled", "unit": "none", "samples": [[-1]], "weights": [1]}]),
                "invalid value",
            ),
        ] {
            let error = parts(profiles).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        }
        let other = br#"{"$schema": "x", "shared": {"frames": []}, "profiles": []}"#;
        assert_eq!(read(other, &Limits::default()).unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(read(b"{", &Limits::default()).unwrap_err().kind(), ErrorKind::Malformed);
    }

    #[test]
    fn depth_is_bounded() {
        let limits = Limits { depth: 2, ..Limits::default() };
        let events = [event("O", 0.0, 0), event("O", 1.0, 1), event("O", 2.0, 2), event("C", 5.0, 2)];
        let file = json!({"$schema": SCHEMA, "profiles": evented(&events), "shared": {"frames": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}});
        let parts = read(file.to_string().as_bytes(), &limits).unwrap();
        assert_eq!(folded::write(&parts.parts[0].profile, 0), "a 1\na;b 13\n");
        assert_eq!(parts.cuts.stacks, 1);
    }
}
