//! OTLP's JSON becomes protobuf of its layout, which then is read like any other.
//!
//! It differs from protobuf's own JSON: ids of traces and spans are hexadecimal, and unknown fields are
//! ignored. Names of fields may be in camel case or as in the protocol files, 64-bit integers numbers or
//! strings. Messages are written while they are read: nothing but the protobuf is kept.

use super::{Export, json_v1_7};
use crate::{Error, Limits, gzip};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Reads an export as JSON, gzip or plain.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Export, Error> {
    super::read(&to_protobuf(bytes, limits)?, limits)
}

/// The protobuf form of an export as JSON, gzip or plain.
pub fn to_protobuf(bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    let body = gzip::inflate_if_gzip(bytes, limits)?;
    let refuse = |error| {
        Error::malformed(
            "OTLP JSON",
            error,
            "send ExportProfilesServiceRequest as OTLP's JSON, or as protobuf with Content-Type application/x-protobuf",
        )
    };
    let mut out = Vec::with_capacity(body.len() / 2);
    let mut json = serde_json::Deserializer::from_slice(&body);
    let fields = if json_v1_7::is(&body) { json_v1_7::REQUEST } else { REQUEST };
    json.deserialize_map(Message { fields, out: &mut out }).map_err(refuse)?;
    json.end().map_err(refuse)?;
    Ok(out)
}

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

/// Name in JSON, number, content.
pub(super) type Field = (&'static str, u32, Kind);

use Kind::{Base64, Bool, Double, Fixed, Hex, Message as Of, Number, Text};

const REQUEST: &[Field] =
    &[("resourceProfiles", 1, Of(RESOURCE_PROFILES)), ("dictionary", 2, Of(DICTIONARY))];
const RESOURCE_PROFILES: &[Field] =
    &[("resource", 1, Of(RESOURCE)), ("scopeProfiles", 2, Of(SCOPE_PROFILES))];
pub(super) const RESOURCE: &[Field] = &[("attributes", 1, Of(KEY_VALUE))];
const SCOPE_PROFILES: &[Field] = &[("scope", 1, Of(SCOPE)), ("profiles", 2, Of(PROFILE))];
pub(super) const SCOPE: &[Field] =
    &[("name", 1, Text), ("version", 2, Text), ("attributes", 3, Of(KEY_VALUE))];
pub(super) const KEY_VALUE: &[Field] =
    &[("key", 1, Text), ("value", 2, Of(ANY_VALUE)), ("keyStrindex", 3, Number)];
/// Lists one level deep; deeper ones are not read anyway.
const ANY_VALUE: &[Field] = &[
    ("stringValue", 1, Text),
    ("boolValue", 2, Bool),
    ("intValue", 3, Number),
    ("doubleValue", 4, Double),
    ("arrayValue", 5, Of(ARRAY)),
    ("bytesValue", 7, Base64),
    ("stringValueStrindex", 8, Number),
];
const ARRAY: &[Field] = &[("values", 1, Of(ELEMENT))];
const ELEMENT: &[Field] = &[
    ("stringValue", 1, Text),
    ("boolValue", 2, Bool),
    ("intValue", 3, Number),
    ("doubleValue", 4, Double),
    ("stringValueStrindex", 8, Number),
];
const DICTIONARY: &[Field] = &[
    ("mappingTable", 1, Of(MAPPING)),
    ("locationTable", 2, Of(LOCATION)),
    ("functionTable", 3, Of(FUNCTION)),
    ("linkTable", 4, Of(LINK)),
    ("stringTable", 5, Text),
    ("attributeTable", 6, Of(ATTRIBUTE)),
    ("stackTable", 7, Of(STACK)),
];
pub(super) const MAPPING: &[Field] = &[
    ("memoryStart", 1, Number),
    ("memoryLimit", 2, Number),
    ("fileOffset", 3, Number),
    ("filenameStrindex", 4, Number),
    ("attributeIndices", 5, Number),
];
/// `line` and `sample` are what 1.8 called `lines` and `samples`.
const LOCATION: &[Field] = &[
    ("mappingIndex", 1, Number),
    ("address", 2, Number),
    ("lines", 3, Of(LINE)),
    ("line", 3, Of(LINE)),
    ("attributeIndices", 4, Number),
];
pub(super) const LINE: &[Field] = &[("functionIndex", 1, Number), ("line", 2, Number), ("column", 3, Number)];
pub(super) const FUNCTION: &[Field] = &[
    ("nameStrindex", 1, Number),
    ("systemNameStrindex", 2, Number),
    ("filenameStrindex", 3, Number),
    ("startLine", 4, Number),
];
pub(super) const LINK: &[Field] = &[("traceId", 1, Hex), ("spanId", 2, Hex)];
const ATTRIBUTE: &[Field] =
    &[("keyStrindex", 1, Number), ("value", 2, Of(ANY_VALUE)), ("unitStrindex", 3, Number)];
const STACK: &[Field] = &[("locationIndices", 1, Number)];
pub(super) const VALUE_TYPE: &[Field] = &[("typeStrindex", 1, Number), ("unitStrindex", 2, Number)];
const PROFILE: &[Field] = &[
    ("sampleType", 1, Of(VALUE_TYPE)),
    ("samples", 2, Of(SAMPLE)),
    ("sample", 2, Of(SAMPLE)),
    ("timeUnixNano", 3, Fixed),
    ("durationNano", 4, Number),
    ("periodType", 5, Of(VALUE_TYPE)),
    ("period", 6, Number),
    ("originalPayloadFormat", 9, Text),
    ("originalPayload", 10, Base64),
    ("attributeIndices", 11, Number),
];
const SAMPLE: &[Field] = &[
    ("stackIndex", 1, Number),
    ("attributeIndices", 2, Number),
    ("linkIndex", 3, Number),
    ("values", 4, Number),
    ("timestampsUnixNano", 5, Fixed),
];

/// Finds a field by either of its names.
fn find(fields: &'static [Field], name: &str) -> Option<Field> {
    let same = |camel: &str| {
        camel == name || {
            let mut snake = name.bytes();
            camel.bytes().all(|byte| match byte.is_ascii_uppercase() {
                true => snake.next() == Some(b'_') && snake.next() == Some(byte.to_ascii_lowercase()),
                false => snake.next() == Some(byte),
            }) && snake.next().is_none()
        }
    };
    fields.iter().find(|(camel, ..)| same(camel)).copied()
}

/// Wire types.
const VARINT: u32 = 0;
const EIGHT_BYTES: u32 = 1;
const DELIMITED: u32 = 2;

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn tag(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    varint(out, u64::from(field << 3 | wire_type));
}

/// Bytes in which a length is written that is not known yet: up to 32 GiB.
const LENGTH_BYTES: usize = 5;

/// Writes what `content` writes, with its length in front.
fn delimited<E>(
    out: &mut Vec<u8>,
    field: u32,
    content: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    tag(out, field, DELIMITED);
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    content(out)?;
    let length = (out.len() - start - LENGTH_BYTES) as u64;
    for (at, byte) in out.iter_mut().skip(start).take(LENGTH_BYTES).enumerate() {
        let more = if at + 1 < LENGTH_BYTES { 0x80 } else { 0 };
        *byte = (length >> (7 * at)) as u8 & 0x7f | more;
    }
    Ok(())
}

/// A message's fields, written as they come.
struct Message<'a> {
    fields: &'static [Field],
    out: &'a mut Vec<u8>,
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match find(self.fields, &name) {
                Some((_, field, kind)) => map.next_value_seed(Content { field, kind, out: self.out })?,
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

/// A field's content: one value, a list of them, or null.
struct Content<'a> {
    field: u32,
    kind: Kind,
    out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Content<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Content<'_> {
    fn number<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        match self.kind {
            Number => {
                tag(self.out, self.field, VARINT);
                varint(self.out, number);
            }
            Fixed => {
                tag(self.out, self.field, EIGHT_BYTES);
                self.out.extend_from_slice(&number.to_le_bytes());
            }
            Double => return self.double(number as i64 as f64),
            _ => return Err(E::custom(format_args!("a number ({number}) where there must be none"))),
        }
        Ok(())
    }

    fn double<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        tag(self.out, self.field, EIGHT_BYTES);
        self.out.extend_from_slice(&number.to_le_bytes());
        Ok(())
    }

    fn bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<(), E> {
        delimited(self.out, self.field, |out| {
            out.extend_from_slice(bytes);
            Ok(())
        })
    }
}

impl<'de> Visitor<'de> for Content<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Of(_) => "an object",
            Text => "a string",
            Base64 => "base64",
            Hex => "hexadecimal digits",
            Number | Fixed => "an integer",
            Double => "a number",
            Bool => "true or false",
        })
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        match self.kind {
            Bool => Content { kind: Number, ..self }.number(u64::from(value)),
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self)),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.number(value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.number(value as u64)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        match self.kind {
            Double => self.double(value),
            Number | Fixed if value.fract() == 0.0 => self.number(value as i64 as u64),
            _ => Err(E::invalid_type(serde::de::Unexpected::Float(value), &self)),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let wrong = || {
            E::custom(format_args!(
                "{:?} is not what is expected here",
                text.get(..text.floor_char_boundary(40)).unwrap_or_default()
            ))
        };
        match self.kind {
            Text => self.bytes(text.as_bytes()),
            Base64 => self.bytes(&STANDARD.decode(text).map_err(|_| wrong())?),
            Hex => self.bytes(&hex(text).ok_or_else(wrong)?),
            Number | Fixed => {
                let number = text.parse::<u64>().or_else(|_| text.parse::<i64>().map(|number| number as u64));
                self.number(number.map_err(|_| wrong())?)
            }
            // "NaN" and "Infinity" are numbers of protobuf's JSON.
            Double => self.double(text.parse().map_err(|_| wrong())?),
            Of(_) | Bool => Err(wrong()),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Of(fields) = self.kind else {
            return Err(A::Error::custom("an object where there must be none"));
        };
        delimited(self.out, self.field, |out| Message { fields, out }.visit_map(map))
    }

    /// Numbers are packed: the reader tells layouts apart by it.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { field, kind, out } = self;
        if !matches!(kind, Number | Fixed) {
            while list.next_element_seed(Content { field, kind, out })?.is_some() {}
            return Ok(());
        }
        delimited(out, field, |out| {
            // Each number is written with a tag of one byte, which goes again.
            loop {
                let start = out.len();
                if list.next_element_seed(Content { field: 1, kind, out })?.is_none() {
                    return Ok(());
                }
                if out.len() > start {
                    out.remove(start);
                }
            }
        })
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits
        .chunks(2)
        .map(|pair| match pair {
            &[high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::otlp::message::{Layout, Message as Example};

    #[test]
    fn json_says_what_protobuf_says() {
        let example = Example::example(Layout::Current);
        let from_protobuf = crate::otlp::read(&example.encode(), &Limits::default()).unwrap();
        for json in [example.json(), snake_case(&example.json())] {
            let from_json = read(json.as_bytes(), &Limits::default()).unwrap();
            assert_eq!(from_json, from_protobuf);
        }
    }

    /// Field names as in the protocol files, and those of 1.8.
    fn snake_case(json: &str) -> String {
        let mut out = String::new();
        let mut parts = json.split('"');
        while let Some(outside) = parts.next() {
            out += outside;
            let Some(inside) = parts.next() else { break };
            out += "\"";
            let is_name = inside.chars().all(|c| c.is_ascii_alphabetic());
            for c in inside.chars() {
                match is_name && c.is_ascii_uppercase() {
                    true => out.extend(['_', c.to_ascii_lowercase()]),
                    false => out.push(c),
                }
            }
            out += "\"";
        }
        out.replace("\"samples\":[{", "\"sample\":[{").replace("\"lines\":", "\"line\":")
    }

    #[test]
    fn unknown_fields_nulls_and_numbers_in_strings() {
        let json = r#"{"x": [{"y": 1}], "resource_profiles": null, "dictionary": {"stringTable": ["", "a"], "mappingTable": [{"memoryStart": "18446744073709551615"}], "linkTable": [{"spanId": "0aFF"}]}}"#;
        let bytes = to_protobuf(json.as_bytes(), &Limits::default()).unwrap();
        assert!(bytes.windows(2).any(|pair| pair == [0x0a, 0xff]));
        assert_eq!(read(b"{}", &Limits::default()).unwrap(), Export::default());
    }

    #[test]
    fn faults_are_refused() {
        for json in [
            "",
            "[]",
            "{",
            "{} x",
            r#"{"resourceProfiles": 7}"#,
            r#"{"resourceProfiles": [7]}"#,
            r#"{"dictionary": {"linkTable": [{"spanId": "xyz"}]}}"#,
            r#"{"dictionary": {"stringTable": [7]}}"#,
            r#"{"dictionary": {"mappingTable": [{"memoryStart": 1.5}]}}"#,
            r#"{"dictionary": {"stackTable": [{"locationIndices": [[1]]}]}}"#,
        ] {
            assert_eq!(
                read(json.as_bytes(), &Limits::default()).unwrap_err().kind(),
                ErrorKind::Malformed,
                "{json}"
            );
        }
        let deep = format!("{}{}", "{\"x\":".repeat(10_000), "1");
        assert_eq!(read(deep.as_bytes(), &Limits::default()).unwrap_err().kind(), ErrorKind::Malformed);
    }
}
