//! What `perf script` prints: for each event a line with command, process and event, then its stack, one
//! frame a line, leaf first, then an empty line. Without call chains the frame stands on the event's line.

mod frame;
mod head;
mod kind;

use crate::assembly::Assembly;
use crate::{Error, Limits, Part, Parts, gzip, texts};
use everflame_profile::{Profile, Samples, ValueType};
use frame::FrameLine;
use hashbrown::HashMap;
use head::Head;
use kind::Kind;
use std::collections::BTreeMap;

/// So much of a text, behind the comments at its beginning, says what it is.
const HEAD_BYTES: usize = 64 << 10;

/// Whether `text` begins as such a text does: events' lines, then a frame's.
pub(crate) fn looks_like(text: &[u8]) -> bool {
    let text = behind_comments(text);
    let text = String::from_utf8_lossy(text.get(..HEAD_BYTES).unwrap_or(text));
    let mut has_event = false;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        match Head::parse(line) {
            Some(head) if head.frame().is_some_and(|frame| !frame.module.is_empty()) => return true,
            Some(_) => has_event = true,
            None => {
                let is_indented = line.starts_with(char::is_whitespace);
                return has_event && is_indented && FrameLine::parse(line).is_some();
            }
        }
    }
    false
}

/// `text` without the comments and empty lines at its beginning: perf describes the machine there, processor
/// by processor.
fn behind_comments(mut text: &[u8]) -> &[u8] {
    while let Some(b'#' | b'\r' | b'\n') = text.first() {
        let end = memchr::memchr(b'\n', text).map_or(text.len(), |end| end + 1);
        text = text.get(end..).unwrap_or_default();
    }
    text
}

/// Reads such a text, gzip or plain. Each kind of event becomes a part: the most important one that samples
/// work on a CPU is called `process_cpu`, the others as the event is. The command is the root of every stack.
/// An event counts one; those that say their period also count that.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Parts, Error> {
    let body = gzip::inflate_if_gzip(bytes, limits)?;
    let text = texts::lossy(&body);
    let mut assembly = Assembly::new(limits);
    let mut events = Events::default();
    let mut current: Option<Head<'_>> = None;
    let mut stack: Vec<u32> = Vec::new();
    // An empty line behind the last one closes it.
    for (at, line) in text.lines().chain([""]).enumerate() {
        let place = format_args!("perf script: line {}", at + 1);
        let is_empty = line.trim().is_empty();
        if line.starts_with('#') || is_empty && current.is_none() {
            continue;
        }
        let head = Head::parse(line);
        if head.is_none() && !is_empty && line.starts_with(char::is_whitespace) {
            if let Some(frame) = current.as_ref().and_then(|_| FrameLine::parse(line)) {
                stack.push(frame.location(&mut assembly));
                assembly.charge(place, 0)?;
            }
            continue;
        }
        if let Some(head) = current.take() {
            if stack.is_empty()
                && let Some(frame) = head.frame()
            {
                stack.push(frame.location(&mut assembly));
            }
            stack.push(assembly.named(head.command));
            events.add(&head, &stack, &mut assembly, place)?;
            stack.clear();
        }
        if is_empty {
            continue;
        }
        current = match head {
            Some(head) => Some(head).filter(|head| !head.is_record),
            None => {
                let shown = line.get(..line.floor_char_boundary(60)).unwrap_or_default();
                return Err(Error::malformed(
                    place,
                    format_args!("{shown:?} is no event"),
                    "send what `perf script` prints without -F, or with comm, pid, time and event",
                ));
            }
        };
    }
    let mut parts = events.into_parts();
    let cuts = assembly.share(parts.iter_mut().map(|part| &mut part.profile));
    Ok(Parts { parts, cuts })
}

/// The events of a text by kind.
#[derive(Default)]
struct Events<'a> {
    /// Positions in `found`, by what perf calls the event.
    positions: HashMap<&'a str, usize>,
    by_kind: BTreeMap<Kind<'a>, usize>,
    found: Vec<Event>,
}

impl<'a> Events<'a> {
    fn add(
        &mut self,
        head: &Head<'a>,
        stack: &[u32],
        assembly: &mut Assembly<'_>,
        place: std::fmt::Arguments<'_>,
    ) -> Result<(), Error> {
        let position = *self.positions.entry(head.event).or_insert_with(|| {
            let next = self.found.len();
            let position = *self.by_kind.entry(Kind::of(head.event)).or_insert(next);
            if position == next {
                self.found.push(Event::default());
            }
            position
        });
        let Some(event) = self.found.get_mut(position) else { return Ok(()) };
        event.period = head.period.unwrap_or(event.period);
        event.has_periods |= head.period.is_some();
        event.see(head.time);
        std::mem::swap(&mut assembly.samples, &mut event.samples);
        let pushed = assembly.push(place, stack, &[1, head.period.unwrap_or(1)], &[]);
        std::mem::swap(&mut assembly.samples, &mut event.samples);
        pushed?;
        event.count += 1;
        let Limits { samples, sample_types, .. } = *assembly.limits;
        if event.count > samples || self.positions.len() > sample_types {
            let fault = format_args!(
                "up to here there are more than {samples} events, or {sample_types} kinds of them"
            );
            return Err(Error::too_large(place, fault, crate::assembly::SMALLER));
        }
        Ok(())
    }

    /// One part for each kind. The frames are left to the caller.
    fn into_parts(mut self) -> Vec<Part> {
        let mut parts = Vec::with_capacity(self.found.len());
        for (kind, position) in self.by_kind {
            let event = self.found.get_mut(position).map(std::mem::take).unwrap_or_default();
            // Two of them would be added up.
            let is_cpu_profile = parts.is_empty() && kind.is_cpu();
            let name = if is_cpu_profile { "process_cpu".to_owned() } else { kind.count_name() };
            parts.push(Part { name, profile: event.into_profile(kind), ..Part::default() });
        }
        parts
    }
}

/// The samples of one kind of event.
#[derive(Default)]
struct Event {
    samples: Samples,
    count: usize,
    period: i64,
    has_periods: bool,
    /// Seconds since the machine was started.
    first: Option<f64>,
    last: f64,
}

impl Event {
    fn see(&mut self, time: Option<f64>) {
        if let Some(time) = time {
            self.first = Some(self.first.map_or(time, |first| first.min(time)));
            self.last = self.last.max(time);
        }
    }

    fn into_profile(self, kind: Kind<'_>) -> Profile {
        let seconds = self.first.map_or(0.0, |first| self.last - first);
        let mut profile = Profile {
            sample_types: vec![ValueType::new("samples", "count")],
            duration: (seconds * 1e9) as i64,
            samples: self.samples,
            ..Profile::default()
        };
        let cpu = ValueType::new("cpu", "nanoseconds");
        if kind.is_clock() {
            (profile.period_type, profile.period) = (cpu.clone(), self.period);
        }
        match self.has_periods {
            true if kind.is_clock() => profile.sample_types.push(cpu),
            true => profile.sample_types.push(ValueType::new(kind.count_name(), "count")),
            // As many values as there are types.
            false => profile.samples.values = profile.samples.values.into_iter().step_by(2).collect(),
        }
        profile
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folded;
    use everflame_profile::FrameKind;

    const TEXT: &str = "# captured on: some day
swapper     0 [000] 14710.769574:   10101010 cpu-clock:
\tffffffff821f5b65 irqentry_exit+0x105 ([kernel.kallsyms])
\t            113b [unknown] (/bin/burn)

Web Content  4102/4103 14711.269574:   10101010 cpu-clock:u:
\t            113b std::fib<int, long>(char const*)+0x12 (/bin/burn)
\t            1147 helper (inlined)
\t            1152 main+0x29 (/bin/my program)
  burn.c:2

burn  4102 14711.3: sched:sched_switch: prev_comm=burn prev_pid=4102 next_comm=x
\t            1152 main+0x29 (/bin/burn)
burn 4102 cycles:ppp:
        1152 main
";

    fn shown(parts: &[Part]) -> Vec<String> {
        let shown = parts.iter().map(|part| {
            let types = part.profile.sample_types.iter();
            let types: Vec<_> = types.map(|types| format!("{}:{}", types.kind, types.unit)).collect();
            let (totals, stacks) = (part.profile.totals(), folded::write(&part.profile, 0));
            format!("{} {} {totals:?}\n{stacks}", part.name, types.join(","))
        });
        shown.collect()
    }

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        let parts = read(text.as_bytes(), &Limits::default()).unwrap().parts;
        assert_eq!(shown(&parts), expect);
    }

    #[test]
    fn events_become_parts() {
        let parts = read(TEXT.as_bytes(), &Limits::default()).unwrap().parts;
        assert_eq!(
            shown(&parts),
            [
                "process_cpu samples:count,cpu:nanoseconds [2, 20202020]\nWeb Content;main;helper;std::fib<int, long>(char const*) 1\nswapper;0x113b;irqentry_exit 1\n",
                "cycles samples:count [1]\nburn;main 1\n",
                "sched_sched_switch samples:count [1]\nburn;main 1\n",
            ]
        );
        let symbols = &parts[0].profile.symbols;
        let kinds: Vec<_> = parts[0]
            .profile
            .frames(0)
            .map(|frame| (frame.kind, symbols.strings.get(symbols.mapping(frame.mapping).file)))
            .collect();
        assert_eq!(kinds[..2], [(FrameKind::Kernel, "[kernel.kallsyms]"), (FrameKind::Native, "/bin/burn")]);
    }

    const FRAMES: &str = "\t  12 foo+0x1 (/bin/x)\n\t  13 main+0x3 (/bin/x)\n\n";

    #[test]
    fn each_kind_of_event_counts_for_itself() {
        let text = ["task-clock", "cpu-clock", "cpu_atom/instructions/u", "cpu_core/instructions/u"]
            .map(|event| format!("a 1 1.5: 100 {event}:\n{FRAMES}"))
            .concat();
        check(
            &text,
            &[
                "process_cpu samples:count,cpu:nanoseconds [1, 100]\na;main;foo 1\n",
                "task-clock samples:count,cpu:nanoseconds [1, 100]\na;main;foo 1\n",
                "instructions samples:count,instructions:count [2, 200]\na;main;foo 2\n",
            ],
        );
    }

    #[test]
    fn frames_on_the_lines_of_events() {
        check(
            "   noG 10 24816.43:    3333333 cpu-clock:      562d1f95c299 mid+0x19 (/bin/burn)
   noG 10 24816.45:    3333333 cpu-clock:      562d1f95c2ab [unknown] (/memfd:x (deleted))
 swapper 0 [001] 24816.46: sched:sched_switch: prev_comm=burn next_comm=x
",
            &[
                "process_cpu samples:count,cpu:nanoseconds [2, 6666666]\nnoG;0x562d1f95c2ab 1\nnoG;mid 1\n",
                "sched_sched_switch samples:count [1]\nswapper 1\n",
            ],
        );
    }

    #[test]
    fn frames_of_deleted_files_keep_their_address() {
        let text = "a 1 1.5: cycles:\n\t 7f6e1234 [unknown] (/memfd:doublemapper (deleted))\n\n";
        let parts = read(text.as_bytes(), &Limits::default()).unwrap().parts;
        let symbols = &parts[0].profile.symbols;
        let frame = parts[0].profile.frames(0).next().unwrap();
        assert_eq!((frame.function, frame.address), (0, 0x7f6e_1234));
        assert_eq!(symbols.strings.get(symbols.mapping(frame.mapping).file), "/memfd:doublemapper (deleted)");
    }

    #[test]
    fn events_without_names_and_processes() {
        check(
            &format!("a 1 1.5: \n{FRAMES}a 1\n{FRAMES}"),
            &["process_cpu samples:count [2]\na;main;foo 2\n"],
        );
        check(
            &format!(":-1 -1 [001] 1.5: 250 cpu-clock:\n{FRAMES}app 1.5: 250 cpu-clock:\n{FRAMES}"),
            &["process_cpu samples:count,cpu:nanoseconds [2, 500]\n:-1;main;foo 1\napp;main;foo 1\n"],
        );
    }

    #[test]
    fn records_that_are_no_samples_are_passed_over() {
        check(
            &format!(
                "swapper 0 0.000000: PERF_RECORD_MMAP -1/0: [0xffffffff81000000(0x12) @ 0x0]: x [kernel]_text
x 0 0.000000: PERF_RECORD_COMM: x:1/1
a 1 1.5: 7 cycles:
{FRAMES}a 1 1.6: PERF_RECORD_EXIT(1:1):(0:0)
"
            ),
            &["process_cpu samples:count,cycles:count [1, 7]\na;main;foo 1\n"],
        );
    }

    #[test]
    fn it_is_recognised() {
        assert!(looks_like(TEXT.as_bytes()));
        let header = "# CPU 7: Core ID 7, Die ID 0\n".repeat(5_000);
        for text in [
            format!("{header}#\n\n{TEXT}"),
            format!("a 1 1.5: cycles:\n\nb 2 1.5: cycles:\n{FRAMES}"),
            "  a 1 1.5: cycles:  12 foo+0x1 (/bin/x)\n".to_owned(),
            format!("a 1 0.0: PERF_RECORD_COMM: a:1/1\na 1 1.5: cycles:\n{FRAMES}"),
            format!("a 1 1.5:\n{FRAMES}"),
        ] {
            assert!(looks_like(text.as_bytes()), "{}", text.get(text.len() - 200..).unwrap_or(&text));
        }
        for other in ["a;b 3\na;c 4\n", "", "main;work 3\n  x\n", "some text 5\nmore text\n"] {
            assert!(!looks_like(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let error = read(b"a 1 cycles:\n\t12 x\n\nnonsense\n", &Limits::default()).unwrap_err();
        assert!(error.to_string().starts_with("perf script: line 4: \"nonsense\" is no event"), "{error}");
        assert!(read(b"", &Limits::default()).unwrap().parts.is_empty());
        let limits = Limits { samples: 1, ..Limits::default() };
        assert!(read(b"a 1 x:\n\t12 x\n\na 1 x:\n\t12 x\n\n", &limits).is_err());
    }
}
