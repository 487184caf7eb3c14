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

/// What a sample says about its layout.
pub(super) fn of_sample(sample: &[u8]) -> Result<Option<SampleLayout>, Fault> {
    use SampleLayout::{AttributesFirst, ValuesFirst};
    // Numbers in field 2 and 5; whether field 2 is there, and packed; whether field 4 is one number.
    let (mut seconds, mut timestamps, mut has_second) = (0usize, 0usize, false);
    let (mut packs, mut fourth) = (true, false);
    let mut cursor = Cursor::new(sample);
    while let Some((number, value)) = cursor.field()? {
        match (number, value) {
            (3, Value::Bytes(_)) => return Ok(Some(ValuesFirst)),
            (3, Value::Number(_)) | (4, Value::Bytes(_)) => return Ok(Some(AttributesFirst)),
            (4, Value::Number(_)) => fourth = true,
            (2, value) => {
                has_second = true;
                packs &= matches!(value, Value::Bytes(_));
                numbers(value, |_| seconds += 1)?;
            }
            (5, Value::Bytes(bytes)) => timestamps += bytes.len() / 8,
            (5, Value::Fixed(_)) => timestamps += 1,
            _ => {}
        }
    }
    if fourth {
        // A link, except where lists are not packed, as async-profiler writes them, or nothing else counts.
        let counts = has_second || timestamps > 0;
        return Ok(Some(if packs && counts { ValuesFirst } else { AttributesFirst }));
    }
    // A sample has values or timestamps: what is alone in field 2 are values. Where both are there they are
    // as many.
    Ok(match (has_second, timestamps) {
        (true, 0) => Some(ValuesFirst),
        (true, timestamps) if timestamps != seconds => Some(AttributesFirst),
        _ => None,
    })
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
        ] {
            assert_eq!(of_sample(&sample).unwrap(), expect, "{sample:?}");
        }
        let sample = [&[8, 1, 0x12, 1, 5][..], &time].concat();
        assert_eq!(by_attributes(&[&sample], 6).unwrap(), AttributesFirst);
        assert_eq!(by_attributes(&[&sample], 5).unwrap(), ValuesFirst);
    }
}
