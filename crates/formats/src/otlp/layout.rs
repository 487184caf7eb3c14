//! Which layout a profile is in. Senders do not say; the wire types of the fields do.

use super::numbers::numbers;
use crate::pprof::wire::{Cursor, Fault, Value};

/// The order of a sample's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SampleLayout {
    /// 1.10 and later: stack, attributes, link, values, timestamps.
    AttributesFirst,
    /// 1.8 and 1.9: stack, values, attributes, link, timestamps.
    ValuesFirst,
}

/// What the fields of a sample are like.
#[derive(Default)]
struct Fields {
    /// Numbers in the fields 2, 3 and 4, and timestamps.
    seconds: usize,
    thirds: usize,
    fourths: usize,
    timestamps: usize,
    has_second: bool,
    /// Field 2 came as single numbers.
    is_second_loose: bool,
}

/// What a sample says about its layout.
pub(super) fn of_sample(sample: &[u8]) -> Result<Option<SampleLayout>, Fault> {
    use SampleLayout::{AttributesFirst, ValuesFirst};
    let mut fields = Fields::default();
    let mut cursor = Cursor::new(sample);
    while let Some((number, value)) = cursor.field()? {
        match (number, value) {
            // A link is one number.
            (3, Value::Bytes(_)) => return Ok(Some(ValuesFirst)),
            (4, Value::Bytes(_)) => return Ok(Some(AttributesFirst)),
            (3, Value::Number(_)) => fields.thirds += 1,
            (4, Value::Number(_)) => fields.fourths += 1,
            (2, value) => {
                fields.has_second = true;
                fields.is_second_loose |= !matches!(value, Value::Bytes(_));
                numbers(value, |_| fields.seconds += 1)?;
            }
            (5, Value::Bytes(bytes)) => fields.timestamps += bytes.len() / 8,
            (5, Value::Fixed(_)) => fields.timestamps += 1,
            _ => {}
        }
    }
    Ok(fields.layout())
}

impl Fields {
    fn layout(&self) -> Option<SampleLayout> {
        use SampleLayout::{AttributesFirst, ValuesFirst};
        // Whoever packs lists packs all of them: what is not packed is a link.
        if !self.is_second_loose && self.thirds == 1 {
            return Some(AttributesFirst);
        }
        let counts = self.has_second || self.timestamps > 0;
        if !self.is_second_loose && self.thirds == 0 && self.fourths == 1 && counts {
            return Some(ValuesFirst);
        }
        let fits = |values: usize, links: usize| {
            links < 2
                && match (values, self.timestamps) {
                    (0, timestamps) => timestamps > 0,
                    // Where both are there they are as many.
                    (values, timestamps) => timestamps == 0 || timestamps == values,
                }
        };
        match (fits(self.fourths, self.thirds), fits(self.seconds, self.fourths)) {
            (true, false) => Some(AttributesFirst),
            (false, true) => Some(ValuesFirst),
            // Lists that are not packed, as async-profiler writes them: the fourth field are values.
            _ if self.fourths > 0 => Some(AttributesFirst),
            _ => None,
        }
    }
}

/// What to believe when no sample tells: attributes, when every number is one.
pub(super) fn by_attributes(samples: &[&[u8]], attributes: usize) -> Result<SampleLayout, Fault> {
    let mut all_valid = true;
    for sample in samples {
        let mut cursor = Cursor::new(sample);
        while let Some((number, value)) = cursor.field()? {
            if number == 2 {
                numbers(value, |index| all_valid &= index > 0 && index < attributes as u64)?;
            }
        }
    }
    Ok(if all_valid { SampleLayout::AttributesFirst } else { SampleLayout::ValuesFirst })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_tell_their_layout() {
        use SampleLayout::{AttributesFirst, ValuesFirst};
        let time = [0x2a, 8, 1, 2, 3, 4, 5, 6, 7, 8];
        for (sample, expect) in [
            (vec![8, 1, 0x12, 1, 5, 0x22, 1, 9], Some(AttributesFirst)),
            (vec![8, 1, 0x12, 1, 5, 0x18, 9], Some(AttributesFirst)),
            (vec![8, 1, 0x12, 1, 5, 0x1a, 1, 9], Some(ValuesFirst)),
            (vec![8, 1, 0x12, 1, 5, 0x20, 9], Some(ValuesFirst)),
            ([&[8, 1, 0x20, 9][..], &time].concat(), Some(ValuesFirst)),
            (vec![8, 1, 0x20, 9], Some(AttributesFirst)),
            (vec![8, 1, 0x10, 1, 0x20, 9], Some(AttributesFirst)),
            (vec![8, 1, 0x12, 1, 5], Some(ValuesFirst)),
            ([&[8, 1, 0x12, 2, 5, 6][..], &time].concat(), Some(AttributesFirst)),
            ([&[8, 1, 0x12, 1, 5][..], &time].concat(), None),
            ([&[8, 1][..], &time].concat(), None),
            (vec![8, 1], None),
            // Lists that are not packed: no link comes twice, and there are as many values as timestamps.
            (vec![8, 1, 0x10, 5, 0x18, 1, 0x18, 2, 0x20, 1], Some(ValuesFirst)),
            (vec![8, 1, 0x10, 5, 0x18, 1], Some(ValuesFirst)),
            (vec![8, 1, 0x10, 1, 0x18, 1, 0x20, 5, 0x20, 6], Some(AttributesFirst)),
            (vec![8, 1, 0x10, 1, 0x18, 1, 0x20, 5], Some(AttributesFirst)),
            ([&[8, 1, 0x10, 5, 0x10, 6, 0x18, 1, 0x20, 1][..], &time, &time].concat(), Some(ValuesFirst)),
            ([&[8, 1, 0x10, 5, 0x10, 6, 0x20, 1][..], &time, &time].concat(), Some(ValuesFirst)),
            ([&[8, 1, 0x10, 1, 0x10, 2, 0x18, 1][..], &time].concat(), Some(AttributesFirst)),
            ([&[8, 1, 0x10, 5, 0x18, 1][..], &time].concat(), None),
        ] {
            assert_eq!(of_sample(&sample).unwrap(), expect, "{sample:?}");
        }
        let sample = [&[8, 1, 0x12, 1, 5][..], &time].concat();
        assert_eq!(by_attributes(&[&sample], 6).unwrap(), AttributesFirst);
        assert_eq!(by_attributes(&[&sample], 5).unwrap(), ValuesFirst);
    }
}
