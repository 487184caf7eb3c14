//! What `perf script` prints: for each event a line with command, process and event, then its stack, one
//! frame a line, leaf first, then an empty line.

use crate::assembly::Assembly;
use crate::{Error, Limits, Part, Parts, gzip, texts};
use everflame_profile::{Frame, FrameKind, Mapping, Profile, Samples, ValueType};
use std::collections::BTreeMap;

/// Events that sample time on a CPU, and whose period is nanoseconds.
const CLOCKS: [&str; 2] = ["cpu-clock", "task-clock"];
/// Events that sample work on a CPU.
const CPU_EVENTS: [&str; 4] = ["cycles", "cpu-cycles", "instructions", "ref-cycles"];
/// Addresses of the kernel, on machines with 64 bits.
const KERNEL_ADDRESSES: u64 = 0xffff_8000_0000_0000;

/// Whether `text` begins as such a text does: an event's line, then a frame's.
pub(crate) fn looks_like(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let (Some(head), Some(frame)) = (lines.next(), lines.next()) else { return false };
    Head::parse(head).is_some() && frame.starts_with(char::is_whitespace) && parse_frame(frame).is_some()
}

/// Reads such a text, gzip or plain. Each kind of event becomes a part; the command is the root of every
/// stack. An event counts one; those that say their period also count that.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Parts, Error> {
    let body = gzip::inflate_if_gzip(bytes, limits)?;
    let text = texts::lossy(&body);
    let mut assembly = Assembly::new(limits);
    let mut events: BTreeMap<String, Event> = BTreeMap::new();
    let mut current: Option<Head<'_>> = None;
    let mut stack: Vec<u32> = Vec::new();
    // An empty line behind the last one closes it.
    for (at, line) in text.lines().chain([""]).enumerate() {
        let indented = line.starts_with(char::is_whitespace);
        if line.starts_with('#') || indented && current.is_none() {
            continue;
        }
        if indented && !line.trim().is_empty() {
            if let Some(frame) = parse_frame(line) {
                stack.push(frame.location(&mut assembly));
                assembly.charge(format_args!("perf script: line {}", at + 1), 0)?;
            }
            continue;
        }
        if let Some(head) = current.take() {
            stack.push(assembly.named(head.command));
            let event = events.entry(head.event.to_owned()).or_default();
            event.period = head.period.unwrap_or(event.period);
            event.has_periods |= head.period.is_some();
            event.see(head.time);
            std::mem::swap(&mut assembly.samples, &mut event.samples);
            let pushed = assembly.push(
                format_args!("perf script: line {}", at + 1),
                &stack,
                &[1, head.period.unwrap_or(1)],
                &[],
            );
            std::mem::swap(&mut assembly.samples, &mut event.samples);
            pushed?;
            event.count += 1;
            if event.count > limits.samples || events.len() > limits.sample_types {
                let fault = format_args!(
                    "up to here there are more than {} events, or {} kinds of them",
                    limits.samples, limits.sample_types
                );
                return Err(Error::too_large(
                    format_args!("perf script: line {}", at + 1),
                    fault,
                    crate::assembly::SMALLER,
                ));
            }
            stack.clear();
        }
        if line.trim().is_empty() {
            continue;
        }
        current = Head::parse(line);
        if current.is_none() {
            return Err(Error::malformed(
                format_args!("perf script: line {}", at + 1),
                format_args!(
                    "{:?} is no event",
                    line.get(..line.floor_char_boundary(60)).unwrap_or_default()
                ),
                "send what `perf script` prints without -F, or with comm, pid, time and event",
            ));
        }
    }
    let parts = events.into_iter().map(|(name, event)| {
        let (mut profile, name) = event.describe(&name);
        profile.samples = event.take_samples();
        Part { name, profile, ..Part::default() }
    });
    let mut parts: Vec<Part> = parts.collect();
    let cuts = assembly.share(parts.iter_mut().map(|part| &mut part.profile));
    Ok(Parts { parts, cuts })
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

    /// The profile without its samples, and its name.
    fn describe(&self, event: &str) -> (Profile, String) {
        // `cycles:ppp`, `cpu_core/cycles/u`: modifiers and units do not matter.
        let bare = event.split('/').nth(1).unwrap_or(event);
        let bare = bare
            .split_once(':')
            .filter(|(_, rest)| rest.chars().all(|c| "ukhpPGHSDeIW".contains(c)))
            .map_or(bare, |(bare, _)| bare);
        let seconds = self.first.map_or(0.0, |first| self.last - first);
        let mut profile = Profile {
            sample_types: vec![ValueType::new("samples", "count")],
            duration: (seconds * 1e9) as i64,
            ..Profile::default()
        };
        if CLOCKS.contains(&bare) {
            profile.period_type = ValueType::new("cpu", "nanoseconds");
            profile.period = self.period;
            if self.has_periods {
                profile.sample_types.push(ValueType::new("cpu", "nanoseconds"));
            }
            return (profile, "process_cpu".to_owned());
        }
        if self.has_periods {
            profile.sample_types.push(ValueType::new(bare.replace(':', "_"), "count"));
        }
        let name = if CPU_EVENTS.contains(&bare) { "process_cpu".to_owned() } else { bare.replace(':', "_") };
        (profile, name)
    }

    /// The samples with as many values as there are types.
    fn take_samples(self) -> Samples {
        let mut samples = self.samples;
        if !self.has_periods {
            samples.values = samples.values.into_iter().step_by(2).collect();
        }
        samples
    }
}

/// An event's line.
struct Head<'a> {
    command: &'a str,
    time: Option<f64>,
    period: Option<i64>,
    event: &'a str,
}

impl<'a> Head<'a> {
    /// `comm pid[/tid] [cpu] time: period event: …`; all but command and process may be missing.
    fn parse(line: &'a str) -> Option<Self> {
        if line.starts_with(char::is_whitespace) {
            return None;
        }
        let is_process = |token: &str| {
            let (process, thread) = token.split_once('/').unwrap_or((token, "0"));
            [process, thread].iter().all(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
        };
        // Commands have spaces: the first number ends them.
        let process = line.split_whitespace().skip(1).find(|token| is_process(token))?;
        let at = process.as_ptr() as usize - line.as_ptr() as usize;
        let (command, rest) = (line.get(..at)?.trim(), line.get(at + process.len()..)?);
        let mut head = Head { command, time: None, period: None, event: "" };
        for token in rest.split_whitespace() {
            match token.strip_suffix(':') {
                None if head.event.is_empty() => head.period = token.parse().ok().or(head.period),
                None => {}
                Some(text) => match text.parse::<f64>() {
                    Ok(time) if head.time.is_none() => head.time = Some(time),
                    _ => {
                        head.event = text;
                        break;
                    }
                },
            }
        }
        // A CPU's number in brackets is no period, and parses as none.
        Some(head)
    }
}

/// A frame's line.
struct FrameLine<'a> {
    address: u64,
    symbol: &'a str,
    module: &'a str,
}

/// `address symbol+0xoffset (module)`.
fn parse_frame(line: &str) -> Option<FrameLine<'_>> {
    let line = line.trim();
    let (address, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let address = u64::from_str_radix(address.strip_prefix("0x").unwrap_or(address), 16).ok()?;
    let rest = rest.trim();
    let (symbol, module) = match rest.strip_suffix(')').and_then(|rest| rest.rsplit_once('(')) {
        Some((symbol, module)) if symbol.is_empty() || symbol.ends_with(' ') => (symbol.trim(), module),
        _ => (rest, ""),
    };
    let symbol = match symbol.rsplit_once("+0x") {
        Some((symbol, offset)) if offset.chars().all(|c| c.is_ascii_hexdigit()) => symbol,
        _ => symbol,
    };
    Some(FrameLine { address, symbol: if symbol == "[unknown]" { "" } else { symbol }, module })
}

impl FrameLine<'_> {
    fn location(&self, assembly: &mut Assembly<'_>) -> u32 {
        let inlined = self.module == "inlined";
        let function = assembly.string(self.symbol);
        let file = match self.module {
            "inlined" | "[unknown]" => 0,
            module => assembly.string(module),
        };
        let mapping = assembly.symbols.intern_mapping(Mapping { file, ..Mapping::default() });
        let kind = match self.address >= KERNEL_ADDRESSES || self.module.starts_with("[kernel") {
            true => FrameKind::Kernel,
            false => FrameKind::Native,
        };
        let address = if function == 0 { self.address } else { 0 };
        assembly.frame(Frame { function, mapping, kind, address, inlined, ..Frame::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folded;

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

    #[test]
    fn events_become_parts() {
        let parts = read(TEXT.as_bytes(), &Limits::default()).unwrap().parts;
        let shown: Vec<String> = parts
            .iter()
            .map(|part| {
                let types: Vec<_> = part
                    .profile
                    .sample_types
                    .iter()
                    .map(|types| format!("{}:{}", types.kind, types.unit))
                    .collect();
                format!(
                    "{} {} {:?}\n{}",
                    part.name,
                    types.join(","),
                    part.profile.totals(),
                    folded::write(&part.profile, 0)
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "process_cpu samples:count,cpu:nanoseconds [1, 10101010]\nswapper;0x113b;irqentry_exit 1\n",
                "process_cpu samples:count,cpu:nanoseconds [1, 10101010]\nWeb Content;main;helper;std::fib<int, long>(char const*) 1\n",
                "process_cpu samples:count [1]\nburn;main 1\n",
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

    #[test]
    fn it_is_recognised() {
        assert!(looks_like(TEXT.as_bytes()));
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
