//! Events that become profiles: which fields they have, and what they count.

use super::chunk::{Chunk, HEAD_BYTES};
use super::cursor::{Broken, Cursor, Text};
use super::metadata::{Classes, Shape, Step};
use crate::Error;
use hashbrown::HashMap;

/// What is taken of an event, by position in [`FIELDS`].
pub(super) type Values = [u64; FIELDS.len()];

/// Fields of numbers.
const FIELDS: [&str; 14] = [
    "duration",
    "stackTrace",
    "state",
    "tlabSize",
    "allocationSize",
    "weight",
    "size",
    "samples",
    "contextId",
    "spanId",
    "spanName",
    "traceIdHi",
    "traceIdLo",
    "samplingPeriod",
];

pub(super) const DURATION: usize = 0;
pub(super) const STACK: usize = 1;
pub(super) const STATE: usize = 2;
pub(super) const TLAB_SIZE: usize = 3;
pub(super) const ALLOCATION_SIZE: usize = 4;
pub(super) const WEIGHT: usize = 5;
pub(super) const SIZE: usize = 6;
pub(super) const SAMPLES: usize = 7;
pub(super) const CONTEXT: usize = 8;
pub(super) const SPAN: usize = 9;
pub(super) const SPAN_NAME: usize = 10;
pub(super) const TRACE_HIGH: usize = 11;
pub(super) const TRACE_LOW: usize = 12;
pub(super) const SAMPLING_PERIOD: usize = 13;

/// An event that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    ExecutionSample,
    CpuTimeSample,
    WallClockSample,
    AllocationInNewTlab,
    AllocationOutsideTlab,
    AllocationSample,
    MonitorEnter,
    ThreadPark,
    LiveObject,
    Malloc,
}

const EVENTS: [(&str, Event); 10] = [
    ("jdk.ExecutionSample", Event::ExecutionSample),
    ("jdk.CPUTimeSample", Event::CpuTimeSample),
    ("profiler.WallClockSample", Event::WallClockSample),
    ("jdk.ObjectAllocationInNewTLAB", Event::AllocationInNewTlab),
    ("jdk.ObjectAllocationOutsideTLAB", Event::AllocationOutsideTlab),
    ("jdk.ObjectAllocationSample", Event::AllocationSample),
    ("jdk.JavaMonitorEnter", Event::MonitorEnter),
    ("jdk.ThreadPark", Event::ThreadPark),
    ("profiler.LiveObject", Event::LiveObject),
    ("profiler.Malloc", Event::Malloc),
];

/// A setting of the recording: the event it belongs to, its name and value.
#[derive(Debug, Default)]
pub(super) struct Setting<'a> {
    pub(super) event: u64,
    pub(super) name: Text<'a>,
    pub(super) value: Text<'a>,
}

/// How the events of a chunk are read.
pub(super) struct Readers {
    /// By event type; small ids are the rule, so that most are found by position.
    by_type: Vec<Option<Reader>>,
    others: HashMap<u64, Reader>,
}

struct Reader {
    kind: ReaderKind,
    steps: Vec<Step>,
}

#[derive(Clone, Copy)]
enum ReaderKind {
    Event(Event),
    Setting,
}

/// Event types up to here are found by position.
const DENSE_TYPES: u64 = 4096;

impl Readers {
    pub(super) fn of(classes: &Classes<'_>, chunk: &Chunk<'_>) -> Result<Self, Error> {
        let mut readers = Self { by_type: Vec::new(), others: HashMap::new() };
        let settings = [("jdk.ActiveSetting", ReaderKind::Setting, &["id", "name", "value"][..])];
        let events = EVENTS.into_iter().map(|(name, event)| (name, ReaderKind::Event(event), &FIELDS[..]));
        for (name, kind, wanted) in events.chain(settings) {
            let Some(id) = classes.id(name) else { continue };
            let mut steps = classes
                .steps(id, wanted)
                .map_err(|Broken| chunk.broken(format_args!("its metadata describe {name} without end")))?;
            // What comes behind the last field that is taken is passed over by the event's length.
            steps.truncate(steps.iter().rposition(|step| step.slot.is_some()).map_or(0, |last| last + 1));
            let reader = Reader { kind, steps };
            if id < DENSE_TYPES {
                let at = id as usize;
                if readers.by_type.len() <= at {
                    readers.by_type.resize_with(at + 1, || None);
                }
                if let Some(slot) = readers.by_type.get_mut(at) {
                    *slot = Some(reader);
                }
            } else {
                readers.others.insert(id, reader);
            }
        }
        Ok(readers)
    }

    fn get(&self, event_type: u64) -> Option<&Reader> {
        match self.by_type.get(usize::try_from(event_type).ok()?) {
            Some(reader) => reader.as_ref(),
            None => self.others.get(&event_type),
        }
    }

    /// Goes through all events of `chunk`. Hot: most are passed over by their length.
    pub(super) fn for_each<'a, T>(
        &self,
        chunk: &Chunk<'a>,
        target: &mut T,
        mut on_event: impl FnMut(&mut T, Event, &Values) -> Result<(), Error>,
        mut on_setting: impl FnMut(&mut T, Setting<'a>),
    ) -> Result<(), Error> {
        let mut rest = chunk.bytes.get(HEAD_BYTES..).unwrap_or_default();
        while !rest.is_empty() {
            let broken = |Broken| {
                chunk.broken(format_args!("the event at byte {} is damaged", chunk.bytes.len() - rest.len()))
            };
            let mut cursor = Cursor::new(rest);
            let size = cursor.number().map_err(broken)?;
            let (event, after) = usize::try_from(size)
                .ok()
                .filter(|&size| size > 0)
                .and_then(|size| rest.split_at_checked(size))
                .ok_or_else(|| broken(Broken))?;
            let head = rest.len() - cursor.len();
            let mut cursor = Cursor::new(event.get(head..).unwrap_or_default());
            let event_type = cursor.number().map_err(broken)?;
            match self.get(event_type) {
                None => {}
                Some(Reader { kind: ReaderKind::Event(event), steps }) => {
                    let mut values = Values::default();
                    super::pools::take(steps, &mut cursor, &mut values).map_err(broken)?;
                    on_event(target, *event, &values)?;
                }
                Some(Reader { kind: ReaderKind::Setting, steps }) => {
                    on_setting(target, setting(steps, &mut cursor).map_err(broken)?);
                }
            }
            rest = after;
        }
        Ok(())
    }
}

fn setting<'a>(steps: &[Step], cursor: &mut Cursor<'a>) -> Result<Setting<'a>, Broken> {
    let mut setting = Setting::default();
    for step in steps {
        match (step.slot, &step.shape) {
            (Some(0), Shape::Number) => setting.event = cursor.number()?,
            (Some(1), Shape::Text) => setting.name = cursor.text()?,
            (Some(2), Shape::Text) => setting.value = cursor.text()?,
            // Some writers keep them in the pool.
            (Some(1), Shape::Number) => setting.name = Text::Pool(cursor.number()?),
            (Some(2), Shape::Number) => setting.value = Text::Pool(cursor.number()?),
            (_, shape) => shape.skip(cursor)?,
        }
    }
    Ok(setting)
}

/// Nanoseconds of a setting: a number of them, or a number with a unit such as `20 ms`.
pub(super) fn nanos(value: &str) -> i64 {
    let value = value.trim();
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let factor = match unit.trim() {
        "" | "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => 0,
    };
    number.parse::<i64>().map_or(0, |number| number.saturating_mul(factor))
}
