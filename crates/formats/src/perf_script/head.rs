//! An event's line: `comm pid[/tid] [cpu] time: period event: …`.

use super::frame::FrameLine;
use super::kind::Kind;

/// What such a line says.
pub(super) struct Head<'a> {
    pub(super) command: &'a str,
    /// Seconds since the machine was started.
    pub(super) time: Option<f64>,
    pub(super) period: Option<i64>,
    /// Empty when the line does not say it.
    pub(super) event: &'a str,
    /// Whether it tells of a mapping, a new thread or the like, and is no sample.
    pub(super) is_record: bool,
    behind: &'a str,
}

impl<'a> Head<'a> {
    /// Command and process or time must be there.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        // Without call chains commands are aligned to the right, by spaces. Frames come after a tab; what
        // rewrites such texts makes spaces of it, but a frame has no time.
        if line.starts_with('\t') {
            return None;
        }
        let is_indented = line.starts_with(char::is_whitespace);
        let time = line.split_whitespace().find(|token| is_time(token));
        if is_indented && time.is_none() {
            return None;
        }
        let start = |token: &str| token.as_ptr() as usize - line.as_ptr() as usize;
        let before = time.map_or(Some(line), |time| line.get(..start(time)))?;
        // Commands have spaces and numbers: the last number in front of the time is the process. Where there is
        // no time, the first one is, because a period may follow.
        let mut processes = before.split_whitespace().skip(1).filter(|token| is_process(token));
        let process = if time.is_some() { processes.last() } else { processes.next() };
        let (command, rest) = match (process, time) {
            (Some(process), _) => (line.get(..start(process))?, line.get(start(process) + process.len()..)?),
            (None, Some(time)) => (without_cpu(before), line.get(start(time)..)?),
            (None, None) => return None,
        };
        let command = command.trim();
        if command.is_empty() {
            return None;
        }
        let mut head = Self { command, time: None, period: None, event: "", is_record: false, behind: "" };
        for token in rest.split_whitespace() {
            if token.starts_with("PERF_RECORD_") {
                head.is_record = true;
                break;
            }
            match token.strip_suffix(':') {
                // A CPU's number in brackets is no period, and parses as none.
                None => head.period = token.parse().ok().or(head.period),
                Some(seconds) if head.time.is_none() && is_time(token) => head.time = seconds.parse().ok(),
                Some(event) => {
                    head.event = event;
                    head.behind = line.get(start(token) + token.len()..)?;
                    break;
                }
            }
        }
        // Without its event a period says nothing, and may be a process behind a number in the command.
        if head.event.is_empty() {
            head.period = None;
        }
        Some(head)
    }

    /// The frame on the event's own line, where it stands when no call chains were recorded.
    pub(super) fn frame(&self) -> Option<FrameLine<'a>> {
        // Tracepoints have their fields there.
        if Kind::of(self.event).is_tracepoint() { None } else { FrameLine::parse(self.behind) }
    }
}

/// `pid` or `pid/tid`, of which perf may not know any: -1.
fn is_process(token: &str) -> bool {
    let (process, thread) = token.split_once('/').unwrap_or((token, "0"));
    [process, thread].iter().all(|id| *id == "-1" || is_number(id))
}

/// `seconds.fraction:`
fn is_time(token: &str) -> bool {
    let number = token.strip_suffix(':').and_then(|token| token.split_once('.'));
    number.is_some_and(|(seconds, fraction)| is_number(seconds) && is_number(fraction))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `text` without `[cpu]` at its end.
fn without_cpu(text: &str) -> &str {
    let text = text.trim_end();
    let cpu = text.strip_suffix(']').and_then(|text| text.rsplit_once('['));
    cpu.filter(|(_, cpu)| is_number(cpu)).map_or(text, |(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_events() {
        for (line, expect) in [
            ("burn 4102 cycles:ppp:", Some(("burn", None, None, "cycles:ppp"))),
            (
                "burn 4102/4103 [001] 1.5: 250000 cpu-clock: ",
                Some(("burn", Some(1.5), Some(250_000), "cpu-clock")),
            ),
            (":-1    -1 [001] 1.5:  250000 cpu-clock:", Some((":-1", Some(1.5), Some(250_000), "cpu-clock"))),
            (":-1 -1/-1 1.5: 7 cycles:", Some((":-1", Some(1.5), Some(7), "cycles"))),
            ("my app 1.5: 250000 cpu-clock:", Some(("my app", Some(1.5), Some(250_000), "cpu-clock"))),
            ("app [001] 1.5: 250000 cpu-clock:", Some(("app", Some(1.5), Some(250_000), "cpu-clock"))),
            ("DOM Worker 5 100 [000] 1.5: 7 cycles:", Some(("DOM Worker 5", Some(1.5), Some(7), "cycles"))),
            ("kworker/u8:2-events 77 1.5: cycles:", Some(("kworker/u8:2-events", Some(1.5), None, "cycles"))),
            ("burn 10388 K 1.5: 7 cycles:", Some(("burn", Some(1.5), Some(7), "cycles"))),
            ("burn 10388 24814.081296: ", Some(("burn", Some(24_814.081_296), None, ""))),
            ("burn 10388 ", Some(("burn", None, None, ""))),
            ("My App 12 x 10388 ", Some(("My App", None, None, ""))),
            ("   burn 10388 1.5: 7 cycles:  12ab mid", Some(("burn", Some(1.5), Some(7), "cycles"))),
            ("   1152 main 3 x:", None),
            ("\t1152 main 3 1.5: x:", None),
            ("1.5: cycles:", None),
            ("nan: cycles:", None),
            ("cycles:", None),
        ] {
            let parsed = Head::parse(line);
            let shown = parsed.as_ref().map(|head| (head.command, head.time, head.period, head.event));
            assert_eq!(shown, expect, "{line}");
            assert!(!parsed.is_some_and(|head| head.is_record), "{line}");
        }
        for line in [
            "swapper     0     0.000000: PERF_RECORD_MMAP -1/0: [0xffffffff81000000(0x12) @ 0x0]: x [kernel]_text",
            "perf-exec     0     0.000000: PERF_RECORD_COMM: perf-exec:10388/10388",
            "My App 12 x 10388 24815.283029: PERF_RECORD_EXIT(10388:10388):(10386:10386)",
        ] {
            assert!(Head::parse(line).is_some_and(|head| head.is_record), "{line}");
        }
    }

    #[test]
    fn a_frame_on_the_same_line() {
        let symbol = |line| Head::parse(line).and_then(|head| Some(head.frame()?.symbol));
        assert_eq!(symbol("   burn 10388 1.5: 7 cycles:  12ab mid+0x2b (/bin/burn)"), Some("mid"));
        assert_eq!(symbol("burn 10388 1.5: 7 cpu-clock:u:  12ab mid"), Some("mid"));
        assert_eq!(symbol("burn 10388 1.5: cycles:"), None);
        assert_eq!(symbol("burn 10388 1.5: irq:softirq_raise: ace of base"), None);
    }
}
