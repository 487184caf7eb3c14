//! The fields of OTLP's JSON: their names, and the numbers they have in protobuf.
//!
//! OTLP 1.7 and 1.6 are another layout; see [`super::v1_7`]. Where it has other numbers they stand beside those
//! of today.

use Kind::{Base64, Bool, Double, Fixed, Hex, Message as Of, Number, Text};
use memchr::memmem;

/// What a field holds.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Message(&'static [Field]),
    Text,
    Base64,
    Hex,
    Number,
    Fixed,
    Double,
    Bool,
}

/// A name in JSON and what it stands for.
pub(super) struct Field {
    name: &'static str,
    /// Number in 1.8 and later; 0 when it is not there.
    number: u32,
    /// Number in 1.7 and 1.6; 0 when it is not there.
    number_v1_7: u32,
    kind: Kind,
}

/// A field that all layouts have under the same number.
const fn same(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, number_v1_7: number, kind }
}

/// A field that has another number, 0 for none, in 1.7 and 1.6.
const fn field(name: &'static str, number: u32, number_v1_7: u32, kind: Kind) -> Field {
    Field { name, number, number_v1_7, kind }
}

/// Which numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Current,
    V1_7,
}

impl Layout {
    /// The layout whose names are in `json`.
    pub(super) fn of(json: &[u8]) -> Self {
        let only_there = ["timeNanos", "time_nanos", "locationsLength", "locations_length"];
        let is_there = |name: &&str| {
            memmem::find_iter(json, name).any(|at| {
                // Between quotes and before a colon it is the name of a field.
                let before = at.checked_sub(1).and_then(|before| json.get(before));
                let after = json.get(at + name.len()..).and_then(|after| after.strip_prefix(b"\""));
                before == Some(&b'"')
                    && after.is_some_and(|after| after.trim_ascii_start().first() == Some(&b':'))
            })
        };
        if only_there.iter().any(is_there) { Self::V1_7 } else { Self::Current }
    }
}

/// Finds a field by either of its names: its number and what it holds.
pub(super) fn find(fields: &'static [Field], layout: Layout, name: &str) -> Option<(u32, Kind)> {
    let is_called = |camel: &str| {
        camel == name || {
            let mut snake = name.bytes();
            camel.bytes().all(|byte| match byte.is_ascii_uppercase() {
                true => snake.next() == Some(b'_') && snake.next() == Some(byte.to_ascii_lowercase()),
                false => snake.next() == Some(byte),
            }) && snake.next().is_none()
        }
    };
    fields.iter().find_map(|field| {
        let number = match layout {
            Layout::Current => field.number,
            Layout::V1_7 => field.number_v1_7,
        };
        (number > 0 && is_called(field.name)).then_some((number, field.kind))
    })
}

pub(super) const REQUEST: &[Field] =
    &[same("resourceProfiles", 1, Of(RESOURCE_PROFILES)), same("dictionary", 2, Of(DICTIONARY))];
const RESOURCE_PROFILES: &[Field] =
    &[same("resource", 1, Of(RESOURCE)), same("scopeProfiles", 2, Of(SCOPE_PROFILES))];
const RESOURCE: &[Field] = &[same("attributes", 1, Of(KEY_VALUE))];
const SCOPE_PROFILES: &[Field] = &[same("scope", 1, Of(SCOPE)), same("profiles", 2, Of(PROFILE))];
const SCOPE: &[Field] =
    &[same("name", 1, Text), same("version", 2, Text), same("attributes", 3, Of(KEY_VALUE))];
const KEY_VALUE: &[Field] =
    &[same("key", 1, Text), same("value", 2, Of(ANY_VALUE)), same("keyStrindex", 3, Number)];
/// Lists one level deep; deeper ones are not read anyway.
const ANY_VALUE: &[Field] = &[
    same("stringValue", 1, Text),
    same("boolValue", 2, Bool),
    same("intValue", 3, Number),
    same("doubleValue", 4, Double),
    same("arrayValue", 5, Of(ARRAY)),
    same("bytesValue", 7, Base64),
    same("stringValueStrindex", 8, Number),
];
const ARRAY: &[Field] = &[same("values", 1, Of(ELEMENT))];
const ELEMENT: &[Field] = &[
    same("stringValue", 1, Text),
    same("boolValue", 2, Bool),
    same("intValue", 3, Number),
    same("doubleValue", 4, Double),
    same("stringValueStrindex", 8, Number),
];
const DICTIONARY: &[Field] = &[
    same("mappingTable", 1, Of(MAPPING)),
    same("locationTable", 2, Of(LOCATION)),
    same("functionTable", 3, Of(FUNCTION)),
    same("linkTable", 4, Of(LINK)),
    same("stringTable", 5, Text),
    field("attributeTable", 6, 0, Of(ATTRIBUTE)),
    field("attributeTable", 0, 6, Of(KEY_VALUE)),
    field("stackTable", 7, 0, Of(STACK)),
];
const MAPPING: &[Field] = &[
    same("memoryStart", 1, Number),
    same("memoryLimit", 2, Number),
    same("fileOffset", 3, Number),
    same("filenameStrindex", 4, Number),
    same("attributeIndices", 5, Number),
];
/// `line` and `sample` are what 1.8 called `lines` and `samples`.
const LOCATION: &[Field] = &[
    same("mappingIndex", 1, Number),
    same("address", 2, Number),
    field("lines", 3, 0, Of(LINE)),
    same("line", 3, Of(LINE)),
    field("attributeIndices", 4, 5, Number),
];
const LINE: &[Field] =
    &[same("functionIndex", 1, Number), same("line", 2, Number), same("column", 3, Number)];
const FUNCTION: &[Field] = &[
    same("nameStrindex", 1, Number),
    same("systemNameStrindex", 2, Number),
    same("filenameStrindex", 3, Number),
    same("startLine", 4, Number),
];
const LINK: &[Field] = &[same("traceId", 1, Hex), same("spanId", 2, Hex)];
const ATTRIBUTE: &[Field] =
    &[same("keyStrindex", 1, Number), same("value", 2, Of(ANY_VALUE)), same("unitStrindex", 3, Number)];
const STACK: &[Field] = &[same("locationIndices", 1, Number)];
const VALUE_TYPE: &[Field] = &[same("typeStrindex", 1, Number), same("unitStrindex", 2, Number)];
const PROFILE: &[Field] = &[
    same("sampleType", 1, Of(VALUE_TYPE)),
    field("samples", 2, 0, Of(SAMPLE)),
    same("sample", 2, Of(SAMPLE)),
    field("locationIndices", 0, 3, Number),
    field("timeUnixNano", 3, 0, Fixed),
    field("timeNanos", 0, 4, Number),
    field("durationNano", 4, 0, Number),
    field("durationNanos", 0, 5, Number),
    field("periodType", 5, 6, Of(VALUE_TYPE)),
    field("period", 6, 7, Number),
    field("originalPayloadFormat", 9, 12, Text),
    field("originalPayload", 10, 13, Base64),
    field("attributeIndices", 11, 14, Number),
];
const SAMPLE: &[Field] = &[
    field("stackIndex", 1, 0, Number),
    field("locationsStartIndex", 0, 1, Number),
    field("locationsLength", 0, 2, Number),
    field("attributeIndices", 2, 4, Number),
    field("linkIndex", 3, 5, Number),
    field("values", 4, 0, Number),
    field("value", 0, 3, Number),
    field("timestampsUnixNano", 5, 0, Fixed),
    field("timestampsUnixNano", 0, 6, Number),
];
