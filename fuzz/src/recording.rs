//! A JFR recording of one chunk, as small as one can be that has all that the reader takes.

/// A class: its name, its id, and its fields as name, class, and how the value is there.
type Class = (&'static str, u64, &'static [(&'static str, u64, Form)]);

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Here,
    InPool,
    List,
}

use Form::{Here, InPool, List};

const LONG: u64 = 4;
const BOOLEAN: u64 = 5;
const STRING: u64 = 20;
const SYMBOL: u64 = 21;
const CLASS: u64 = 22;
const METHOD: u64 = 23;
const FRAME_TYPE: u64 = 24;
const STACK_FRAME: u64 = 25;
const STACK_TRACE: u64 = 26;
const THREAD_STATE: u64 = 27;
const EXECUTION_SAMPLE: u64 = 101;
const ALLOCATION: u64 = 102;
const MONITOR_ENTER: u64 = 103;
const WALL_CLOCK_SAMPLE: u64 = 104;
const ACTIVE_SETTING: u64 = 105;

const CLASSES: &[Class] = &[
    ("long", LONG, &[]),
    ("boolean", BOOLEAN, &[]),
    ("java.lang.String", STRING, &[]),
    ("jdk.types.Symbol", SYMBOL, &[("string", STRING, Here)]),
    ("java.lang.Class", CLASS, &[("name", SYMBOL, InPool)]),
    ("jdk.types.Method", METHOD, &[("type", CLASS, InPool), ("name", SYMBOL, InPool)]),
    ("jdk.types.FrameType", FRAME_TYPE, &[("description", STRING, Here)]),
    (
        "jdk.types.StackFrame",
        STACK_FRAME,
        &[("method", METHOD, InPool), ("lineNumber", LONG, Here), ("type", FRAME_TYPE, InPool)],
    ),
    ("jdk.types.StackTrace", STACK_TRACE, &[("truncated", BOOLEAN, Here), ("frames", STACK_FRAME, List)]),
    ("jdk.types.ThreadState", THREAD_STATE, &[("name", STRING, Here)]),
    (
        "jdk.ExecutionSample",
        EXECUTION_SAMPLE,
        &[
            ("startTime", LONG, Here),
            ("stackTrace", STACK_TRACE, InPool),
            ("state", THREAD_STATE, InPool),
            ("contextId", LONG, Here),
        ],
    ),
    (
        "jdk.ObjectAllocationInNewTLAB",
        ALLOCATION,
        &[("stackTrace", STACK_TRACE, InPool), ("tlabSize", LONG, Here)],
    ),
    (
        "jdk.JavaMonitorEnter",
        MONITOR_ENTER,
        &[("duration", LONG, Here), ("stackTrace", STACK_TRACE, InPool), ("spanId", LONG, Here)],
    ),
    (
        "profiler.WallClockSample",
        WALL_CLOCK_SAMPLE,
        &[("stackTrace", STACK_TRACE, InPool), ("state", THREAD_STATE, InPool), ("samples", LONG, Here)],
    ),
    (
        "jdk.ActiveSetting",
        ACTIVE_SETTING,
        &[("id", LONG, Here), ("name", STRING, Here), ("value", STRING, Here)],
    ),
];

/// The recording: one sample of each kind, in two stacks.
pub fn small() -> Vec<u8> {
    let mut out = vec![0; 68];
    out.extend(event(&[&[ACTIVE_SETTING as u8, EXECUTION_SAMPLE as u8], &*text("event"), &*text("wall")]));
    out.extend(event(&[&[ACTIVE_SETTING as u8, EXECUTION_SAMPLE as u8], &*text("interval"), &*text("20ms")]));
    out.extend(event(&[&[EXECUTION_SAMPLE as u8, 9, 1, 1, 7]]));
    out.extend(event(&[&[EXECUTION_SAMPLE as u8, 9, 2, 2, 0]]));
    out.extend(event(&[&[ALLOCATION as u8, 1, 0x80, 8]]));
    out.extend(event(&[&[MONITOR_ENTER as u8, 0x90, 3, 2, 5]]));
    out.extend(event(&[&[WALL_CLOCK_SAMPLE as u8, 2, 1, 3]]));
    // What no profile is made of.
    out.extend(event(&[&[99, 1, 2, 3]]));
    let pools = out.len() as u64;
    out.extend(pools_event());
    let metadata = out.len() as u64;
    out.extend(metadata_event());
    let length = out.len() as u64;
    out[..4].copy_from_slice(b"FLR\0");
    out[4..8].copy_from_slice(&[0, 2, 0, 1]);
    let start = 1_700_000_000_000_000_000u64;
    for (at, number) in
        [(8, length), (16, pools), (24, metadata), (32, start), (40, 5_000_000_000), (56, 2_000_000)]
    {
        out[at..at + 8].copy_from_slice(&u64::to_be_bytes(number));
    }
    out[67] = 1;
    out
}

/// An event with its size in front, which takes three bytes whatever it is.
fn event(parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let size = content.len() + 3;
    [&[size as u8 & 0x7f | 0x80, (size >> 7) as u8 & 0x7f | 0x80, (size >> 14) as u8][..], &content].concat()
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn text(text: &str) -> Vec<u8> {
    [&[3, text.len() as u8], text.as_bytes()].concat()
}

fn pools_event() -> Vec<u8> {
    // Type 1; start, duration, distance to the pools before these, flags, number of pools.
    let mut out = vec![1, 0, 0, 0, 1, 7];
    let mut pool = |class: u64, entries: &[&[u8]]| {
        number(&mut out, class);
        number(&mut out, entries.len() as u64);
        for (key, entry) in (1..).zip(entries) {
            number(&mut out, key);
            out.extend_from_slice(entry);
        }
    };
    pool(STRING, &[&text("run")]);
    pool(SYMBOL, &[&text("a/Main"), &text("main"), &[2, 1], &text("b/Work$$Lambda$7.0x1")]);
    pool(CLASS, &[&[1], &[4]]);
    pool(METHOD, &[&[1, 2], &[2, 3]]);
    pool(FRAME_TYPE, &[&text("JIT compiled"), &text("Kernel")]);
    pool(THREAD_STATE, &[&text("STATE_RUNNABLE"), &text("STATE_SLEEPING")]);
    pool(STACK_TRACE, &[&[0, 2, 2, 7, 1, 1, 9, 1], &[1, 1, 1, 9, 2]]);
    event(&[&out])
}

fn metadata_event() -> Vec<u8> {
    let mut texts: Vec<String> = Vec::new();
    let mut name = |text: &str| match texts.iter().position(|known| known == text) {
        Some(at) => at as u64,
        None => {
            texts.push(text.to_owned());
            texts.len() as u64 - 1
        }
    };
    let mut tree = Vec::new();
    let mut element = |out: &mut Vec<u8>, kind: &str, attributes: &[(&str, &str)], children: usize| {
        number(out, name(kind));
        number(out, attributes.len() as u64);
        for (key, value) in attributes {
            number(out, name(key));
            number(out, name(value));
        }
        number(out, children as u64);
    };
    element(&mut tree, "root", &[], 1);
    element(&mut tree, "metadata", &[], CLASSES.len());
    for (class, id, fields) in CLASSES {
        element(&mut tree, "class", &[("name", class), ("id", &id.to_string())], fields.len());
        for (field, of, form) in *fields {
            let of = of.to_string();
            let mut attributes = vec![("name", *field), ("class", &of)];
            match form {
                Here => {}
                InPool => attributes.push(("constantPool", "true")),
                List => attributes.push(("dimension", "1")),
            }
            element(&mut tree, "field", &attributes, 0);
        }
    }
    // Type 0; start, duration, id.
    let mut out = vec![0, 0, 0, 1];
    number(&mut out, texts.len() as u64);
    texts.iter().for_each(|known| out.extend(text(known)));
    out.extend(tree);
    event(&[&out])
}
