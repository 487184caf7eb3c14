//! The labels of contexts that Pyroscope's Java agent sends beside a recording: protobuf, 1 contexts
//! (map from context id to 1 labels (map from key to value, both string ids)), 2 strings (map from id to text).

use crate::pprof::wire::{Cursor, Fault};
use crate::{Error, Limits};
use hashbrown::HashMap;
use std::borrow::Cow;

/// Labels by context id.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Contexts<'a> {
    contexts: HashMap<u64, Vec<(u64, u64)>>,
    strings: HashMap<u64, Cow<'a, str>>,
}

impl<'a> Contexts<'a> {
    /// Reads a `LabelsSnapshot`.
    pub(super) fn read(bytes: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        let mut contexts = Self::default();
        contexts.decode(bytes, limits).map_err(|fault| {
            Error::malformed("JFR labels", fault, "send the labels snapshot of the agent unchanged, or none")
        })?;
        Ok(contexts)
    }

    fn decode(&mut self, bytes: &'a [u8], limits: &Limits) -> Result<(), Fault> {
        let mut cursor = Cursor::new(bytes);
        let mut entries = 0;
        while let Some((number, value)) = cursor.field()? {
            if entries >= limits.table_entries {
                return Ok(());
            }
            entries += 1;
            match number {
                1 => {
                    let (id, context) = entry(value.bytes(number)?)?;
                    let mut labels = Vec::new();
                    let mut cursor = Cursor::new(context);
                    while let Some((number, value)) = cursor.field()? {
                        if number == 1 && labels.len() < limits.labels_per_sample {
                            labels.push(pair(value.bytes(number)?)?);
                        }
                    }
                    self.contexts.insert(id, labels);
                }
                2 => {
                    let (id, text) = entry(value.bytes(number)?)?;
                    self.strings.insert(id, String::from_utf8_lossy(text));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Keys and values of a context.
    pub(super) fn labels(&self, context: u64) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.contexts.get(&context).map(Vec::as_slice).unwrap_or_default();
        pairs.iter().map(|(key, value)| (self.text(*key), self.text(*value)))
    }

    /// The text with this id, "" when there is none.
    pub(super) fn text(&self, id: u64) -> &str {
        self.strings.get(&id).map_or("", |text| text)
    }
}

/// Key and bytes of a map's entry.
fn entry(bytes: &[u8]) -> Result<(u64, &[u8]), Fault> {
    let (mut key, mut content) = (0, &[][..]);
    let mut cursor = Cursor::new(bytes);
    while let Some((number, value)) = cursor.field()? {
        match number {
            1 => key = value.number(number)?,
            2 => content = value.bytes(number)?,
            _ => {}
        }
    }
    Ok((key, content))
}

/// Key and number of a map's entry.
fn pair(bytes: &[u8]) -> Result<(u64, u64), Fault> {
    let (mut key, mut content) = (0, 0);
    let mut cursor = Cursor::new(bytes);
    while let Some((number, value)) = cursor.field()? {
        match number {
            1 => key = value.number(number)?,
            2 => content = value.number(number)?,
            _ => {}
        }
    }
    Ok((key, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_has_labels() {
        // contexts {7: {labels {1: 2}}}, strings {1: "region", 2: "eu"}
        let bytes = b"\x0a\x0a\x08\x07\x12\x06\x0a\x04\x08\x01\x10\x02\x12\x0a\x08\x01\x12\x06region\x12\x06\x08\x02\x12\x02eu";
        let contexts = Contexts::read(bytes, &Limits::default()).unwrap();
        assert_eq!(contexts.labels(7).collect::<Vec<_>>(), [("region", "eu")]);
        assert_eq!(contexts.labels(8).count(), 0);
        assert!(Contexts::read(b"\x0a\x7f", &Limits::default()).is_err());
    }
}
