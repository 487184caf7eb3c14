//! Kinds of events: what counts the same thing belongs together, and nothing else does.

/// Events that sample work on a CPU. Of several the first one here is the CPU profile, so that the same events
/// make the same series, whichever comes first in a text.
const CPU_EVENTS: [&str; 7] =
    ["cpu-clock", "task-clock", "cycles", "cpu-cycles", "instructions", "ref-cycles", UNNAMED];
/// Those that sample time, and whose period is nanoseconds.
const CLOCKS: [&str; 2] = ["cpu-clock", "task-clock"];
/// Where the text does not say the event. perf's default is cycles, or the CPU's clock where there are none.
const UNNAMED: &str = "events";

/// What an event counts, in the order of importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind<'a> {
    /// Position in [`CPU_EVENTS`], or behind them.
    rank: usize,
    name: &'a str,
}

impl<'a> Kind<'a> {
    /// The kind of `event`, as perf prints it: `cycles:ppp`, `cpu_core/cycles/u`. Units and modifiers do not
    /// matter: programs and kernel, or cores of two sorts, are counted apart and belong together.
    pub(super) fn of(event: &'a str) -> Self {
        let name = event.split('/').nth(1).unwrap_or(event);
        let name = name
            .split_once(':')
            .filter(|(_, rest)| rest.chars().all(|c| "ukhpPGHSDeIW".contains(c)))
            .map_or(name, |(name, _)| name);
        let name = if name.is_empty() { UNNAMED } else { name };
        let rank = CPU_EVENTS.iter().position(|known| *known == name).unwrap_or(CPU_EVENTS.len());
        Self { rank, name }
    }

    /// Whether it samples work on a CPU.
    pub(super) fn is_cpu(&self) -> bool {
        self.rank < CPU_EVENTS.len()
    }

    /// Whether its period is nanoseconds on a CPU.
    pub(super) fn is_clock(&self) -> bool {
        CLOCKS.contains(&self.name)
    }

    /// Whether it is an event of the kernel with fields: `sched:sched_switch`.
    pub(super) fn is_tracepoint(&self) -> bool {
        self.name.contains(':')
    }

    /// What it counts, as the name of a type.
    pub(super) fn count_name(&self) -> String {
        self.name.replace(':', "_")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_thing_by_other_names() {
        for (event, name, rank) in [
            ("cpu_core/cycles/", "cycles", 2),
            ("cpu_atom/cycles/P", "cycles", 2),
            ("cycles:ppp", "cycles", 2),
            ("cpu-clock:u", "cpu-clock", 0),
            ("page-faults", "page-faults", 7),
            ("sched:sched_switch", "sched:sched_switch", 7),
            ("", "events", 6),
        ] {
            assert_eq!(Kind::of(event), Kind { rank, name }, "{event}");
        }
    }
}
