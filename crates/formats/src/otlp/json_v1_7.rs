//! The names of the fields in the JSON of OTLP 1.7 and 1.6; see [`super::v1_7`].

use super::json::Kind::{Base64, Message as Of, Number, Text};
use super::json::{FUNCTION, Field, KEY_VALUE, LINE, LINK, MAPPING, RESOURCE, SCOPE, VALUE_TYPE};
use memchr::memmem;

/// Whether a field is there that only this layout has.
pub(super) fn is(json: &[u8]) -> bool {
    ["timeNanos", "time_nanos", "locationsLength", "locations_length"].iter().any(|name| {
        memmem::find_iter(json, name).any(|at| {
            // Between quotes and before a colon it is the name of a field.
            let before = at.checked_sub(1).and_then(|before| json.get(before));
            let after = json.get(at + name.len()..).and_then(|after| after.strip_prefix(b"\""));
            before == Some(&b'"')
                && after.is_some_and(|after| after.trim_ascii_start().first() == Some(&b':'))
        })
    })
}

pub(super) const REQUEST: &[Field] =
    &[("resourceProfiles", 1, Of(RESOURCE_PROFILES)), ("dictionary", 2, Of(DICTIONARY))];
const RESOURCE_PROFILES: &[Field] =
    &[("resource", 1, Of(RESOURCE)), ("scopeProfiles", 2, Of(SCOPE_PROFILES))];
const SCOPE_PROFILES: &[Field] = &[("scope", 1, Of(SCOPE)), ("profiles", 2, Of(PROFILE))];
const DICTIONARY: &[Field] = &[
    ("mappingTable", 1, Of(MAPPING)),
    ("locationTable", 2, Of(LOCATION)),
    ("functionTable", 3, Of(FUNCTION)),
    ("linkTable", 4, Of(LINK)),
    ("stringTable", 5, Text),
    ("attributeTable", 6, Of(KEY_VALUE)),
];
const LOCATION: &[Field] = &[
    ("mappingIndex", 1, Number),
    ("address", 2, Number),
    ("line", 3, Of(LINE)),
    ("attributeIndices", 5, Number),
];
const PROFILE: &[Field] = &[
    ("sampleType", 1, Of(VALUE_TYPE)),
    ("sample", 2, Of(SAMPLE)),
    ("locationIndices", 3, Number),
    ("timeNanos", 4, Number),
    ("durationNanos", 5, Number),
    ("periodType", 6, Of(VALUE_TYPE)),
    ("period", 7, Number),
    ("originalPayloadFormat", 12, Text),
    ("originalPayload", 13, Base64),
    ("attributeIndices", 14, Number),
];
const SAMPLE: &[Field] = &[
    ("locationsStartIndex", 1, Number),
    ("locationsLength", 2, Number),
    ("value", 3, Number),
    ("attributeIndices", 4, Number),
    ("linkIndex", 5, Number),
    ("timestampsUnixNano", 6, Number),
];
