//! Reads a recording: chunk by chunk, events into sums per stack.

use super::chunk::{self, Chunk};
use super::cursor::{Broken, Cursor};
use super::events::{self, Event, Readers, Setting, Values};
use super::labels::Contexts;
use super::metadata::{self, Classes};
use super::names;
use super::pools::{Pools, TraceFrame};
use super::totals::{Kind, Totals};
use crate::assembly::{Assembly, SMALLER};
use crate::{Error, Limits, Parts, gzip};
use everflame_profile::{Frame, FrameKind, Nanos, Profile, SampleLabel, StringIndex};
use hashbrown::HashMap;

/// What a recording does not say itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Labels of contexts, as the agent sends them beside the recording; gzip or plain.
    pub labels: Option<&'a [u8]>,
    /// Nanoseconds that a CPU sample stands for; the recording's own setting when absent, else 10 ms.
    pub period: Option<Nanos>,
}

/// Between two samples, when nothing says it: the default of async-profiler.
const DEFAULT_PERIOD: Nanos = 10_000_000;
/// Stands on the root side of a stack of which the recorder cut off frames.
const TRUNCATED: &str = "[truncated]";

/// Reads a recording, gzip or plain. Each kind of event becomes a part; the event that async-profiler was
/// asked for becomes the label `jfr_event`.
pub fn read(bytes: &[u8], options: &Options<'_>, limits: &Limits) -> Result<Parts, Error> {
    let body = gzip::inflate_if_gzip(bytes, limits)?;
    let labels = options.labels.map(|labels| gzip::inflate_if_gzip(labels, limits)).transpose()?;
    let contexts = Contexts::read(labels.as_deref().unwrap_or_default(), limits)?;
    let chunks = chunk::split(&body)?;
    let mut recording = Recording {
        assembly: Assembly::new(limits),
        totals: Totals::default(),
        contexts,
        asked_period: options.period.filter(|&period| period > 0),
        settings: Settings::default(),
    };
    for chunk in &chunks {
        recording.chunk(chunk, limits)?;
    }
    // Both measure the same time. What a clock drove is the truer, and is only there when somebody wanted it.
    if recording.totals.has(Kind::CpuTime) {
        recording.totals.forget(Kind::Cpu);
    }
    let period = recording.period(Kind::Cpu);
    let Recording { mut assembly, totals, settings, .. } = recording;
    let period_of = |kind| match kind {
        Kind::Cpu | Kind::Wall => period,
        Kind::CpuTime => settings.cpu_time_interval,
        _ => 0,
    };
    let start = chunks.first().map_or(0, |chunk| chunk.start);
    let end = chunks.iter().map(|chunk| chunk.start.saturating_add(chunk.duration)).max().unwrap_or(start);
    let template = Profile { time: start, duration: end.saturating_sub(start).max(0), ..Profile::default() };
    let mut parts = totals.into_parts(&template, period_of, &mut assembly)?;
    let cuts = assembly.share(parts.iter_mut().map(|part| &mut part.profile));
    for part in &mut parts {
        if !settings.event.is_empty() {
            part.labels.push(("jfr_event".to_owned(), settings.event.clone()));
        }
    }
    Ok(Parts { parts, cuts })
}

/// What the recorder was told.
#[derive(Default)]
struct Settings {
    /// The event that async-profiler samples: cpu, itimer, wall, …
    event: String,
    interval: Nanos,
    wall_interval: Nanos,
    /// CPU time from a sample to the next; 0 when it was told a rate.
    cpu_time_interval: Nanos,
}

struct Recording<'a> {
    assembly: Assembly<'a>,
    totals: Totals,
    contexts: Contexts<'a>,
    asked_period: Option<Nanos>,
    settings: Settings,
}

/// What tells the samples of a chunk apart: key of the stack, kind, state of the thread, number of the context.
type Key = (u64, Event, State, u32);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Context {
    id: u64,
    span: u64,
    span_name: u64,
    trace: (u64, u64),
}

/// Contexts of a chunk, each once; number 0 is that of events without one, which nearly all are.
#[derive(Default)]
struct Numbered {
    numbers: HashMap<Context, u32>,
    contexts: Vec<Context>,
}

impl Numbered {
    fn number(&mut self, context: Context) -> u32 {
        if context == Context::default() {
            return 0;
        }
        *self.numbers.entry(context).or_insert_with(|| {
            self.contexts.push(context);
            self.contexts.len() as u32
        })
    }

    fn get(&self, number: u32) -> Context {
        let at = (number as usize).checked_sub(1);
        at.and_then(|at| self.contexts.get(at)).copied().unwrap_or_default()
    }
}

/// Distinct stacks of a chunk, by kind of event, state and context, and distinct contexts.
const MOST_SUMS: usize = 512 << 10;

/// Number of events, and sum of their sizes or durations.
type Sums = HashMap<Key, (i64, u64)>;

impl Recording<'_> {
    fn chunk(&mut self, chunk: &Chunk<'_>, limits: &Limits) -> Result<(), Error> {
        let damaged = |Broken| chunk.broken("its metadata are damaged");
        let event =
            chunk.from(chunk.metadata).ok_or_else(|| chunk.broken("its metadata lie outside of it"))?;
        let size = Cursor::new(event).number().map_err(damaged)?;
        let event =
            usize::try_from(size).ok().and_then(|size| event.get(..size)).ok_or_else(|| damaged(Broken))?;
        let (strings, cursor) = metadata::strings(event, limits).map_err(damaged)?;
        let classes = Classes::read(cursor, &strings, limits).map_err(damaged)?;
        let pools = Pools::read(chunk, &classes, limits)?;
        let readers = Readers::of(&classes, chunk)?;

        let most = limits.samples.min(MOST_SUMS);
        let mut contexts = Numbered::default();
        let mut of_chunk = (Sums::new(), &mut self.settings);
        let mut states: HashMap<u64, State> = HashMap::new();
        readers.for_each(
            chunk,
            &mut of_chunk,
            |(sums, _), event, values| {
                let state = *states
                    .entry(values[events::STATE])
                    .or_insert_with_key(|&state| State::of(&pools.thread_state(state)));
                let (count, amount) = measured(event, values);
                let key = (values[events::STACK], event, state, contexts.number(context(values)));
                let sum = sums.entry(key).or_default();
                *sum = (sum.0.saturating_add(count), sum.1.saturating_add(amount));
                if sums.len() > most || contexts.contexts.len() > most {
                    let fault = format_args!("it has more than {most} distinct stacks, or contexts");
                    return Err(Error::too_large(format_args!("JFR: chunk {}", chunk.at), fault, SMALLER));
                }
                Ok(())
            },
            |(_, settings), setting| settings.note(&setting, &pools, &classes),
        )?;
        let (sums, _) = of_chunk;
        let mut sums: Vec<(Key, (i64, u64))> = sums.into_iter().collect();
        // By stack, so that each is resolved once; and the same whatever the hash.
        sums.sort_unstable_by_key(|((stack, event, state, context), _)| {
            (*stack, *event as u8, *state as u8, *context)
        });
        let mut frames = Frames {
            pools: &pools,
            known: HashMap::new(),
            names: HashMap::new(),
            trace: Vec::new(),
            stack: Vec::new(),
        };
        let mut last = None;
        for ((stack, event, state, context), (count, amount)) in sums {
            let number = match last {
                Some((key, number)) if key == stack => number,
                _ => {
                    let resolved = frames
                        .stack(stack, &mut self.assembly)
                        .map_err(|Broken| chunk.broken("a stack trace is damaged"))?;
                    let number = self.totals.stack(resolved);
                    last = Some((stack, number));
                    number
                }
            };
            let labels = self.labels(contexts.get(context));
            self.add((event, state), number, labels, (count, amount), chunk);
            if self.totals.entries() > limits.entries {
                let fault = format_args!("it has more than {} frames and values", limits.entries);
                return Err(Error::too_large("JFR", fault, SMALLER));
            }
        }
        self.assembly.charge(format_args!("JFR: chunk {}", chunk.at), 0)
    }

    /// The number of the label set of a context.
    fn labels(&mut self, context: Context) -> u32 {
        let mut labels = Vec::new();
        if context != Context::default() {
            let assembly = &mut self.assembly;
            let mut label = |key: &str, value: &str| {
                if !key.is_empty() && !value.is_empty() {
                    labels.push(SampleLabel { key: assembly.string(key), value: assembly.string(value) });
                }
            };
            for (key, value) in self.contexts.labels(context.id) {
                label(key, value);
            }
            if context.span != 0 {
                label("profile_id", &format!("{:016x}", context.span));
            }
            let name = self.contexts.text(context.span_name);
            label("span_name", name);
            if context.trace != (0, 0) {
                label("trace_id", &format!("{:016x}{:016x}", context.trace.0, context.trace.1));
            }
        }
        self.totals.labels(&labels)
    }

    /// Adds what an event counts to the profiles that it belongs to.
    fn add(
        &mut self,
        (event, state): (Event, State),
        stack: u32,
        labels: u32,
        (count, amount): (i64, u64),
        chunk: &Chunk<'_>,
    ) {
        let is_wall = self.settings.event == "wall";
        let time = |kind| [count.saturating_mul(self.period(kind)), 0];
        let bytes = [count, i64::try_from(amount).unwrap_or(i64::MAX)];
        let rows: &[(Kind, [i64; 2])] = match event {
            // In wall-clock mode threads that wait are sampled too.
            Event::ExecutionSample => match (is_wall, state == State::Sleeping) {
                (true, true) => &[(Kind::Wall, time(Kind::Cpu))],
                (true, false) => &[(Kind::Cpu, time(Kind::Cpu)), (Kind::Wall, time(Kind::Cpu))],
                (false, true) => &[],
                (false, false) => &[(Kind::Cpu, time(Kind::Cpu))],
            },
            Event::CpuTimeSample => &[(Kind::CpuTime, [chunk.nanos(amount), 0])],
            Event::WallClockSample if is_wall && state == State::Runnable => {
                &[(Kind::Cpu, time(Kind::Wall)), (Kind::Wall, time(Kind::Wall))]
            }
            Event::WallClockSample => &[(Kind::Wall, time(Kind::Wall))],
            Event::AllocationInNewTlab => &[(Kind::AllocInNewTlab, bytes)],
            Event::AllocationOutsideTlab => &[(Kind::AllocOutsideTlab, bytes)],
            Event::AllocationSample => &[(Kind::AllocSample, bytes)],
            Event::MonitorEnter => &[(Kind::Mutex, [count, chunk.nanos(amount)])],
            Event::ThreadPark => &[(Kind::Block, [count, chunk.nanos(amount)])],
            Event::LiveObject => &[(Kind::Live, [count, 0])],
            Event::Malloc => &[(Kind::Malloc, bytes)],
        };
        for &(kind, values) in rows {
            self.totals.add(kind, stack, labels, values);
        }
    }

    /// What a sample of CPU or wall-clock time stands for.
    fn period(&self, kind: Kind) -> Nanos {
        let own = if kind == Kind::Wall && self.settings.wall_interval > 0 {
            self.settings.wall_interval
        } else {
            match self.asked_period {
                Some(period) => return period,
                None => self.settings.interval,
            }
        };
        if own > 0 { own } else { DEFAULT_PERIOD }
    }
}

impl Settings {
    fn note(&mut self, setting: &Setting<'_>, pools: &Pools<'_>, classes: &Classes<'_>) {
        let (name, value) = (pools.resolve(Some(&setting.name)), pools.resolve(Some(&setting.value)));
        match (&*name, classes.name(setting.event)) {
            ("event", _) => self.event = value.chars().take(256).collect(),
            ("interval", _) => self.interval = events::nanos(&value),
            ("period", "jdk.ExecutionSample") => self.interval = events::nanos(&value),
            ("throttle", "jdk.CPUTimeSample") => self.cpu_time_interval = events::nanos(&value),
            ("wall", _) => self.wall_interval = events::nanos(&value),
            _ => {}
        }
    }
}

/// What a thread was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Runnable,
    Sleeping,
    Other,
}

impl State {
    fn of(name: &str) -> Self {
        match name {
            "STATE_RUNNABLE" => Self::Runnable,
            "STATE_SLEEPING" => Self::Sleeping,
            _ => Self::Other,
        }
    }
}

/// How many events one stands for, and its size in bytes or its length in ticks.
fn measured(event: Event, values: &Values) -> (i64, u64) {
    match event {
        Event::ExecutionSample | Event::LiveObject => (1, 0),
        // A sample without a stack has its time, too.
        Event::CpuTimeSample => (1, values[events::SAMPLING_PERIOD]),
        Event::WallClockSample => (i64::try_from(values[events::SAMPLES]).unwrap_or(i64::MAX).max(1), 0),
        Event::AllocationInNewTlab => (1, values[events::TLAB_SIZE]),
        Event::AllocationOutsideTlab => (1, values[events::ALLOCATION_SIZE]),
        Event::AllocationSample => (1, values[events::WEIGHT]),
        Event::MonitorEnter | Event::ThreadPark => (1, values[events::DURATION]),
        Event::Malloc => (1, values[events::SIZE]),
    }
}

fn context(values: &Values) -> Context {
    Context {
        id: values[events::CONTEXT],
        span: values[events::SPAN],
        span_name: values[events::SPAN_NAME],
        trace: (values[events::TRACE_HIGH], values[events::TRACE_LOW]),
    }
}

/// Frames of a chunk's stack traces as locations of the assembly.
struct Frames<'a> {
    pools: &'a Pools<'a>,
    known: HashMap<TraceFrame, u32>,
    /// Names by the key of the method.
    names: HashMap<u64, StringIndex>,
    trace: Vec<TraceFrame>,
    stack: Vec<u32>,
}

impl Frames<'_> {
    /// The stack with this key, leaf first.
    fn stack(&mut self, key: u64, assembly: &mut Assembly<'_>) -> Result<&[u32], Broken> {
        self.trace.clear();
        self.stack.clear();
        // One more than is kept, so that a cut is seen and counted.
        let truncated = self.pools.trace(key, assembly.limits.depth + 1, &mut self.trace)?;
        for frame in &self.trace {
            let location = match self.known.get(frame) {
                Some(&location) => location,
                None => {
                    let function = *self.names.entry(frame.method).or_insert_with(|| {
                        let (class, method) = self.pools.method(frame.method);
                        assembly.string(&names::frame(&class, &method))
                    });
                    let location = location(self.pools, frame, function, assembly);
                    self.known.insert(*frame, location);
                    location
                }
            };
            self.stack.push(location);
        }
        if truncated {
            self.stack.push(assembly.named(TRUNCATED));
        }
        Ok(&self.stack)
    }
}

fn location(
    pools: &Pools<'_>,
    frame: &TraceFrame,
    function: StringIndex,
    assembly: &mut Assembly<'_>,
) -> u32 {
    let kind = match &*pools.frame_type(frame.kind) {
        "Kernel" => FrameKind::Kernel,
        "Native" | "C++" => FrameKind::Native,
        "" => FrameKind::Unknown,
        _ => FrameKind::Jvm,
    };
    assembly.frame(Frame { function, line: frame.line as i64, kind, ..Frame::default() })
}
