//! The constant pools of a chunk: stack traces, methods, classes, symbols, texts.

use super::chunk::Chunk;
use super::cursor::{Broken, Cursor, Text};
use super::metadata::{Classes, Shape, Step};
use crate::{Error, Limits};
use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashSet};
use std::borrow::Cow;

/// Pools are several tables.
const ENTRIES_OF_POOLS: usize = 2;

/// Entries for which room is made before they are read.
const MOST_RESERVED: usize = 1 << 14;

/// The pools that profiles are made of. Keys are the chunk's own.
#[derive(Default)]
pub(super) struct Pools<'a> {
    /// Stack traces, undecoded: most recordings refer to few of them more than once.
    traces: HashMap<u64, Cursor<'a>>,
    trace_steps: TraceSteps,
    pub(super) methods: HashMap<u64, Method>,
    /// Key of the symbol that names a class.
    classes: HashMap<u64, u64>,
    symbols: HashMap<u64, Text<'a>>,
    strings: HashMap<u64, Text<'a>>,
    thread_states: HashMap<u64, Text<'a>>,
    frame_types: HashMap<u64, Text<'a>>,
}

/// Keys of class and name.
#[derive(Clone, Copy, Default)]
pub(super) struct Method {
    class: u64,
    name: u64,
}

/// An entry of a stack trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct TraceFrame {
    pub(super) method: u64,
    pub(super) line: u64,
    pub(super) kind: u64,
}

#[derive(Default)]
struct TraceSteps {
    trace: Vec<Step>,
    frame: Vec<Step>,
    /// Where the numbers of a frame go, when it has nothing but numbers: method, line, type, or [`NOWHERE`].
    numbers: Option<Vec<usize>>,
}

/// Where a number goes that is not taken.
const NOWHERE: usize = 3;

/// What a pool holds, as far as it matters here.
#[derive(Clone, Copy, PartialEq)]
enum Content {
    Traces,
    Methods,
    Classes,
    /// Values of one text.
    Texts(TextPool),
    Other,
}

#[derive(Clone, Copy, PartialEq)]
enum TextPool {
    Symbols,
    Strings,
    ThreadStates,
    FrameTypes,
}

impl Content {
    /// By the name of the class, with the fields that are taken of it.
    fn of(class: &str) -> (Self, &'static [&'static str]) {
        match class {
            "jdk.types.StackTrace" => (Self::Traces, &["truncated", "frames"]),
            "jdk.types.Method" => (Self::Methods, &["type", "name"]),
            "java.lang.Class" => (Self::Classes, &["name"]),
            "jdk.types.Symbol" => (Self::Texts(TextPool::Symbols), &["string"]),
            "java.lang.String" => (Self::Texts(TextPool::Strings), &[]),
            "jdk.types.ThreadState" => (Self::Texts(TextPool::ThreadStates), &["name"]),
            "jdk.types.FrameType" => (Self::Texts(TextPool::FrameTypes), &["description"]),
            _ => (Self::Other, &[]),
        }
    }
}

/// What the entries of pools are, by class. Each is worked out once.
struct Layouts<'a> {
    classes: &'a Classes<'a>,
    known: HashMap<u64, (Content, Vec<Step>)>,
}

impl Layouts<'_> {
    fn get(&mut self, class: u64) -> Result<&(Content, Vec<Step>), Broken> {
        Ok(match self.known.entry(class) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let (content, wanted) = Content::of(self.classes.name(class));
                // Strings are values themselves and have no fields.
                let steps = match content {
                    Content::Texts(TextPool::Strings) => vec![Step { shape: Shape::Text, slot: Some(0) }],
                    _ => self.classes.steps(class, wanted)?,
                };
                new.insert((content, steps))
            }
        })
    }
}

impl<'a> Pools<'a> {
    /// Reads all pools of `chunk`, which are linked from the last to the first.
    pub(super) fn read(chunk: &Chunk<'a>, classes: &Classes<'_>, limits: &Limits) -> Result<Self, Error> {
        let mut pools = Self { trace_steps: TraceSteps::of(classes), ..Self::default() };
        let (mut entries, mut bytes) = (0usize, 0usize);
        let (mut position, mut seen) = (chunk.pools, HashSet::new());
        let mut layouts = Layouts { classes, known: HashMap::new() };
        loop {
            let event =
                chunk.from(position).ok_or_else(|| chunk.broken("a constant pool lies outside of it"))?;
            if !seen.insert(position) {
                return Err(chunk.broken("its constant pools are linked in a circle"));
            }
            // Pools lie beside each other: those that overlap would be read again and again.
            bytes = bytes.saturating_add(Cursor::new(event).number().unwrap_or_default() as usize);
            if bytes > chunk.bytes.len() {
                return Err(chunk.broken("its constant pools overlap, or reach beyond it"));
            }
            let delta =
                pools.event(event, &mut layouts, &mut entries, limits).map_err(|fault| match fault {
                    Fault::Broken => {
                        chunk.broken(format_args!("the constant pool at byte {position} is damaged"))
                    }
                    Fault::TooLarge => Error::too_large(
                        format_args!("JFR: chunk {}", chunk.at),
                        format_args!(
                            "its constant pools have more than {} entries",
                            ENTRIES_OF_POOLS * limits.table_entries
                        ),
                        crate::assembly::SMALLER,
                    ),
                })?;
            if delta == 0 {
                return Ok(pools);
            }
            position = position.wrapping_add_signed(delta);
        }
    }

    /// Reads one event of pools, and returns how far away the one before it is.
    fn event(
        &mut self,
        event: &'a [u8],
        layouts: &mut Layouts<'_>,
        entries: &mut usize,
        limits: &Limits,
    ) -> Result<i64, Fault> {
        let mut cursor = Cursor::new(event);
        let size = cursor.number()?;
        let event = event.get(..usize::try_from(size).map_err(|_| Broken)?).ok_or(Broken)?;
        let mut cursor = Cursor::new(event);
        // Size, type, start, duration.
        for _ in 0..4 {
            cursor.number()?;
        }
        let delta = cursor.number()? as i64;
        cursor.byte()?;
        for _ in 0..cursor.number()? {
            let (class, count) = (cursor.number()?, cursor.number()?);
            if count == 0 {
                continue;
            }
            let (content, steps) = layouts.get(class)?;
            self.reserve(*content, usize::try_from(count).unwrap_or(usize::MAX).min(cursor.len() / 2));
            for _ in 0..count {
                *entries += 1;
                if *entries > ENTRIES_OF_POOLS * limits.table_entries {
                    return Err(Fault::TooLarge);
                }
                let key = cursor.number()?;
                self.constant(*content, key, steps, &mut cursor)?;
            }
        }
        Ok(delta)
    }

    /// Makes room for entries, each of which takes two bytes at least.
    fn reserve(&mut self, content: Content, count: usize) {
        let count = count.min(MOST_RESERVED);
        match content {
            Content::Traces => self.traces.reserve(count),
            Content::Methods => self.methods.reserve(count),
            Content::Classes => self.classes.reserve(count),
            Content::Texts(TextPool::Symbols) => self.symbols.reserve(count),
            Content::Texts(_) | Content::Other => {}
        }
    }

    fn constant(
        &mut self,
        content: Content,
        key: u64,
        steps: &[Step],
        cursor: &mut Cursor<'a>,
    ) -> Result<(), Broken> {
        match content {
            Content::Traces => _ = self.traces.insert(key, *cursor),
            Content::Texts(pool) => {
                let mut found = Text::default();
                for step in steps {
                    match (step.slot, &step.shape) {
                        (Some(0), Shape::Text) => found = cursor.text()?,
                        (_, shape) => shape.skip(cursor)?,
                    }
                }
                let texts = match pool {
                    TextPool::Symbols => &mut self.symbols,
                    TextPool::Strings => &mut self.strings,
                    TextPool::ThreadStates => &mut self.thread_states,
                    TextPool::FrameTypes => &mut self.frame_types,
                };
                texts.insert(key, found);
                return Ok(());
            }
            Content::Methods | Content::Classes => {
                let mut values = [0; 2];
                take(steps, cursor, &mut values)?;
                let [first, second] = values;
                match content {
                    Content::Methods => _ = self.methods.insert(key, Method { class: first, name: second }),
                    _ => _ = self.classes.insert(key, first),
                }
                return Ok(());
            }
            Content::Other => {}
        }
        for step in steps {
            step.shape.skip(cursor)?;
        }
        Ok(())
    }

    /// Appends the frames of a stack trace, leaf first, at most `most`; says whether frames are missing on
    /// the root side. An unknown trace has no frames.
    pub(super) fn trace(&self, key: u64, most: usize, frames: &mut Vec<TraceFrame>) -> Result<bool, Broken> {
        let Some(mut cursor) = self.traces.get(&key).copied() else { return Ok(false) };
        let mut truncated = false;
        for step in &self.trace_steps.trace {
            match step.slot {
                Some(0) => truncated = cursor.byte()? != 0,
                Some(1) => {
                    let count = cursor.number()?;
                    if count > cursor.len() as u64 {
                        return Err(Broken);
                    }
                    for _ in 0..count {
                        frames.push(self.trace_steps.frame(&mut cursor)?);
                    }
                    // The root side stays, as in all formats.
                    if frames.len() > most {
                        frames.drain(..frames.len() - most);
                    }
                }
                _ => step.shape.skip(&mut cursor)?,
            }
        }
        Ok(truncated)
    }

    /// Class and name of a method.
    pub(super) fn method(&self, key: u64) -> (Cow<'_, str>, Cow<'_, str>) {
        let Method { class, name } = self.methods.get(&key).copied().unwrap_or_default();
        let class = self.classes.get(&class).copied().unwrap_or_default();
        (self.resolve(self.symbols.get(&class)), self.resolve(self.symbols.get(&name)))
    }

    /// What a frame type is called.
    pub(super) fn frame_type(&self, key: u64) -> Cow<'_, str> {
        self.resolve(self.frame_types.get(&key))
    }

    /// What a state of a thread is called.
    pub(super) fn thread_state(&self, key: u64) -> Cow<'_, str> {
        self.resolve(self.thread_states.get(&key))
    }

    /// A text, wherever it stands.
    pub(super) fn resolve<'t>(&'t self, text: Option<&'t Text<'a>>) -> Cow<'t, str> {
        match text {
            None => "".into(),
            Some(Text::Inline(text)) => Cow::Borrowed(text),
            Some(Text::Pool(key)) => match self.strings.get(key) {
                Some(Text::Inline(text)) => Cow::Borrowed(text),
                _ => "".into(),
            },
        }
    }
}

impl TraceSteps {
    fn of(classes: &Classes<'_>) -> Self {
        let steps = |class: &str, wanted: &[&str]| {
            classes.id(class).and_then(|id| classes.steps(id, wanted).ok()).unwrap_or_default()
        };
        let mut trace = steps("jdk.types.StackTrace", &["truncated", "frames"]);
        // Only what has the shape that is read below is taken.
        for step in &mut trace {
            let fits =
                matches!((step.slot, &step.shape), (Some(0), Shape::Byte) | (Some(1), Shape::Array(_)));
            if !fits {
                step.slot = None;
            }
        }
        let frame = steps("jdk.types.StackFrame", &["method", "lineNumber", "type"]);
        let numbers = frame.iter().map(|step| match (&step.shape, step.slot) {
            (Shape::Number, slot) => Some(slot.unwrap_or(NOWHERE)),
            _ => None,
        });
        Self { trace, numbers: numbers.collect(), frame }
    }

    /// Reads a frame. Hot.
    #[inline]
    fn frame(&self, cursor: &mut Cursor<'_>) -> Result<TraceFrame, Broken> {
        let mut values = [0; NOWHERE + 1];
        match &self.numbers {
            Some(slots) => {
                for &slot in slots {
                    let number = cursor.short_number()?;
                    if let Some(value) = values.get_mut(slot) {
                        *value = number;
                    }
                }
            }
            None => take(&self.frame, cursor, &mut values)?,
        }
        let [method, line, kind, _] = values;
        Ok(TraceFrame { method, line, kind })
    }
}

/// Reads the fields of one value, and puts numbers that are asked for into `values`.
pub(super) fn take(steps: &[Step], cursor: &mut Cursor<'_>, values: &mut [u64]) -> Result<(), Broken> {
    for step in steps {
        match (step.slot.and_then(|slot| values.get_mut(slot)), &step.shape) {
            (Some(value), Shape::Number) => *value = cursor.number()?,
            (Some(value), Shape::Byte) => *value = u64::from(cursor.byte()?),
            (_, shape) => shape.skip(cursor)?,
        }
    }
    Ok(())
}

enum Fault {
    Broken,
    TooLarge,
}

impl From<Broken> for Fault {
    fn from(_: Broken) -> Self {
        Self::Broken
    }
}
