//! OTLP's JSON becomes protobuf of its layout, which then is read like any other.
//!
//! It differs from protobuf's own JSON: ids of traces and spans are hexadecimal, and unknown fields are
//! ignored. Names of fields may be in camel case or as in the protocol files, 64-bit integers numbers or
//! strings. Messages are written while they are read: nothing but the protobuf is kept.

use super::Export;
use super::json_fields::Kind::{Base64, Bool, Double, Fixed, Hex, Message as Of, Number, Text};
use super::json_fields::{Field, Kind, Layout, REQUEST, find};
use crate::{Error, Limits, gzip};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
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
    let layout = Layout::of(&body);
    json.deserialize_map(Message { fields: REQUEST, layout, out: &mut out }).map_err(refuse)?;
    json.end().map_err(refuse)?;
    Ok(out)
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
    layout: Layout,
    out: &'a mut Vec<u8>,
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { fields, layout, out } = self;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match find(fields, layout, &name) {
                Some((field, kind)) => map.next_value_seed(Content { field, kind, layout, out })?,
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
    layout: Layout,
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
            Base64 => self.bytes(&base64(text).ok_or_else(wrong)?),
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
        let layout = self.layout;
        delimited(self.out, self.field, |out| Message { fields, layout, out }.visit_map(map))
    }

    /// Numbers are packed: the reader tells layouts apart by it.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { field, kind, layout, out } = self;
        if !matches!(kind, Number | Fixed) {
            while list.next_element_seed(Content { field, kind, layout, out })?.is_some() {}
            return Ok(());
        }
        delimited(out, field, |out| {
            // Each number is written with a tag of one byte, which goes again.
            loop {
                let start = out.len();
                if list.next_element_seed(Content { field: 1, kind, layout, out })?.is_none() {
                    return Ok(());
                }
                if out.len() > start {
                    out.remove(start);
                }
            }
        })
    }
}

/// In either alphabet, padded or not, as protobuf's JSON allows it.
fn base64(text: &str) -> Option<Vec<u8>> {
    let either = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    GeneralPurpose::new(alphabet, either).decode(text).ok()
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
        let mut from_protobuf = crate::otlp::read(&example.encode(), &Limits::default()).unwrap();
        // Everflame's exports are protobuf.
        from_protobuf.ids.fill(None);
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
    fn bytes_in_either_alphabet_padded_or_not() {
        for text in ["+/8A", "-_8A"] {
            assert_eq!(base64(text).unwrap(), [0xfb, 0xff, 0], "{text}");
        }
        for text in ["+/8=", "+/8", "-_8=", "-_8"] {
            assert_eq!(base64(text).unwrap(), [0xfb, 0xff], "{text}");
        }
        for text in ["+_8=", "+/8==", "!", "a"] {
            assert_eq!(base64(text), None, "{text}");
        }
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
