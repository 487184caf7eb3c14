//! One profile of an export: its head, and its samples in whatever layout they are.

use super::dictionary::{Dictionary, fixed, numbers, too_old};
use super::layout::{self, SampleLayout};
use super::place::Place;
use crate::assembly::SMALLER;
use crate::pprof::wire::{Cursor, Fault, Value};
use crate::{Error, ErrorKind, Limits};
use everflame_profile::{Nanos, SampleLabel, Samples, StringIndex, ValueType};

/// Sample attribute that names the service, before the resource does.
pub(super) const SERVICE: &str = "service.name";

/// A profile, its samples undecoded.
#[derive(Default)]
pub(super) struct Head<'a> {
    pub(super) sample_type: ValueType,
    pub(super) samples: Vec<&'a [u8]>,
    pub(super) time: Nanos,
    pub(super) duration: Nanos,
    pub(super) period_type: ValueType,
    pub(super) period: i64,
    /// Entries of the attribute table that hold for the whole profile.
    pub(super) attributes: Vec<u64>,
    /// What the profile was converted from, and in which format it is.
    pub(super) original: Option<(&'a str, &'a [u8])>,
}

impl<'a> Head<'a> {
    pub(super) fn read(
        bytes: &'a [u8],
        place: Place,
        dictionary: &Dictionary,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let broken = |fault| place.broken(fault);
        let mut head = Self::default();
        // Fields from 7 on, by number: what they are depends on the layout.
        let mut late: [Option<Value<'a>>; 6] = [None; 6];
        let mut cursor = Cursor::new(bytes);
        while let Some((number, value)) = cursor.field().map_err(broken)? {
            match (number, value) {
                (1, value) => {
                    head.sample_type = value_type(value.bytes(number).map_err(broken)?, place, dictionary)?
                }
                (2, value) => {
                    head.samples.push(value.bytes(number).map_err(broken)?);
                    if head.samples.len() > limits.samples {
                        let fault = format_args!("it has more than {} samples", limits.samples);
                        return Err(Error::too_large(place, fault, SMALLER));
                    }
                }
                // Lists of locations, which later layouts do not have.
                (3, Value::Bytes(_)) => return Err(too_old(place)),
                (3, Value::Fixed(bytes)) => head.time = fixed(bytes) as Nanos,
                (3, Value::Number(time)) => head.time = time as Nanos,
                (4, value) => head.duration = value.number(number).map_err(broken)? as Nanos,
                (5, Value::Number(_)) => return Err(too_old(place)),
                (5, value) => {
                    head.period_type = value_type(value.bytes(number).map_err(broken)?, place, dictionary)?
                }
                (6, value) => head.period = value.number(number).map_err(broken)? as i64,
                (7..=12, value) => {
                    if let Some(slot) = late.get_mut(number as usize - 7) {
                        *slot = Some(value);
                    }
                }
                _ => {}
            }
        }
        let [_, eight, nine, ten, eleven, twelve] = late;
        // With comments in front (1.8) the later fields have numbers that are one higher.
        let text = |value: Option<Value<'a>>| match value {
            Some(Value::Bytes(bytes)) => str::from_utf8(bytes).ok().filter(|text| !text.is_empty()),
            _ => None,
        };
        let shifted = matches!(eight, Some(Value::Bytes(_)))
            || matches!(nine, Some(Value::Number(_)))
            || twelve.is_some()
            || nine.is_none() && text(ten).is_some_and(|format| format.len() < 32) && eleven.is_some();
        let (format, payload, attributes) = if shifted { (ten, eleven, twelve) } else { (nine, ten, eleven) };
        if let Some(attributes) = attributes {
            numbers(attributes, |index| {
                if head.attributes.len() < limits.labels_per_sample {
                    head.attributes.push(index);
                }
            })
            .map_err(broken)?;
        }
        if let (Some(format), Some(Value::Bytes(payload))) = (text(format), payload) {
            head.original = Some((format, payload));
        }
        Ok(head)
    }
}

fn value_type(bytes: &[u8], place: Place, dictionary: &Dictionary) -> Result<ValueType, Error> {
    let broken = |fault| place.broken(fault);
    let (mut kind, mut unit) = (0, 0);
    let mut cursor = Cursor::new(bytes);
    while let Some((number, value)) = cursor.field().map_err(broken)? {
        let target = match number {
            1 => &mut kind,
            2 => &mut unit,
            _ => continue,
        };
        *target = value.number(number).map_err(broken)?;
    }
    let text = |index| dictionary.string(index, place).map(|index| dictionary.text(index).to_owned());
    Ok(ValueType { kind: text(kind)?, unit: text(unit)? })
}

/// Samples of one service with their times, 0 when a sample has none.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) samples: Samples,
    pub(super) timestamps: Vec<Nanos>,
}

impl Taken {
    /// Makes room for `moments` samples with stacks of `depth`. Of a new one, for as many as there are samples.
    fn reserve(&mut self, moments: usize, depth: usize, samples: usize) {
        let Samples { locations, stack_ends, values, label_ends, .. } = &mut self.samples;
        let more = if stack_ends.is_empty() { moments.max(samples) } else { moments };
        locations.reserve(moments * depth);
        stack_ends.reserve(more);
        values.reserve(more);
        label_ends.reserve(more);
        self.timestamps.reserve(more);
    }
}

/// Keys of the labels that stand for a link.
#[derive(Clone, Copy)]
pub(super) struct LinkKeys {
    pub(super) span: StringIndex,
    pub(super) trace: StringIndex,
}

pub(super) struct SampleReader<'a> {
    pub(super) dictionary: &'a Dictionary,
    pub(super) limits: &'a Limits,
    pub(super) keys: LinkKeys,
    pub(super) place: Place,
    /// Layout that a profile before this one had, for one that does not tell.
    pub(super) layout_before: Option<SampleLayout>,
    /// Frames, values and labels of the export so far.
    pub(super) entries: usize,
}

impl SampleReader<'_> {
    /// The samples by the service that their attributes name, index 0 when they name none. Values are
    /// multiplied by `factor`.
    pub(super) fn read(&mut self, raw: &[&[u8]], factor: i64) -> Result<Vec<(StringIndex, Taken)>, Error> {
        let layout = self.layout(raw).map_err(|fault| self.place.broken(fault))?;
        // Few profiles name more than one.
        let mut by_service: Vec<(StringIndex, Taken)> = Vec::new();
        let mut sample = RawSample::default();
        let mut labels = Vec::new();
        for bytes in raw {
            sample.read(bytes, layout).map_err(|fault| self.place.broken(fault))?;
            labels.clear();
            let service = self.labels(&sample, &mut labels)?;
            let stack = self.dictionary.stack(sample.stack, self.place)?;
            let at = by_service.iter().position(|(known, _)| *known == service).unwrap_or_else(|| {
                by_service.push((service, Taken::default()));
                by_service.len() - 1
            });
            let Some((_, taken)) = by_service.get_mut(at) else { continue };
            let moments = sample.moments();
            self.entries =
                self.entries.saturating_add(moments.saturating_mul(stack.len() + labels.len() + 1));
            if self.entries > self.limits.entries {
                let fault = format_args!(
                    "up to here there are more than {} frames, values and labels",
                    self.limits.entries
                );
                return Err(Error::too_large(self.place, fault, SMALLER));
            }
            taken.reserve(moments, stack.len(), raw.len());
            for at in 0..moments {
                let (value, time) = sample.moment(at);
                taken.samples.push(stack, &[value.saturating_mul(factor)], &labels);
                taken.timestamps.push(time);
            }
        }
        Ok(by_service)
    }

    fn layout(&mut self, raw: &[&[u8]]) -> Result<SampleLayout, Fault> {
        for sample in raw {
            if let Some(layout) = layout::of_sample(sample)? {
                self.layout_before = Some(layout);
                return Ok(layout);
            }
        }
        match self.layout_before {
            Some(layout) => Ok(layout),
            None => layout::by_attributes(raw, self.dictionary.attributes.len()),
        }
    }

    /// Appends the labels of `sample`, and returns the service that it names.
    fn labels(&self, sample: &RawSample, labels: &mut Vec<SampleLabel>) -> Result<StringIndex, Error> {
        let mut service = 0;
        for &index in &sample.attributes {
            let attribute = self.dictionary.attributes.get(usize::try_from(index).unwrap_or(usize::MAX));
            let Some(&attribute) = attribute else {
                return match index {
                    0 => continue,
                    _ => Err(self.place.missing("attribute", index, self.dictionary.attributes.len())),
                };
            };
            if attribute.value == 0 {
                continue;
            }
            if self.dictionary.text(attribute.key) == SERVICE {
                service = attribute.value;
            } else {
                labels.push(SampleLabel { key: attribute.key, value: attribute.value });
            }
        }
        if sample.link != 0 {
            let link = self.dictionary.links.get(usize::try_from(sample.link).unwrap_or(usize::MAX));
            let link =
                link.ok_or_else(|| self.place.missing("link", sample.link, self.dictionary.links.len()))?;
            for (key, value) in [(self.keys.span, link.span), (self.keys.trace, link.trace)] {
                if value != 0 {
                    labels.push(SampleLabel { key, value });
                }
            }
        }
        if labels.len() > self.limits.labels_per_sample {
            let fault = format_args!(
                "a sample has {} attributes, at most {} are read",
                labels.len(),
                self.limits.labels_per_sample
            );
            return Err(Error::too_large(self.place, fault, "give samples fewer attributes"));
        }
        Ok(service)
    }
}

/// A sample as it is, in arrays that are used again for the next one.
#[derive(Default)]
struct RawSample {
    stack: u64,
    link: u64,
    attributes: Vec<u64>,
    values: Vec<i64>,
    timestamps: Vec<Nanos>,
}

impl RawSample {
    /// Hot: most fields are a number or a few packed ones.
    fn read(&mut self, bytes: &[u8], layout: SampleLayout) -> Result<(), Fault> {
        (self.stack, self.link) = (0, 0);
        self.attributes.clear();
        self.values.clear();
        self.timestamps.clear();
        let (attributes, link, values) = match layout {
            SampleLayout::AttributesFirst => (2, 3, 4),
            SampleLayout::ValuesFirst => (3, 4, 2),
        };
        let mut cursor = Cursor::new(bytes);
        while let Some((number, value)) = cursor.field()? {
            if number == 1 {
                self.stack = value.number(number)?;
            } else if number == attributes {
                numbers(value, |index| self.attributes.push(index))?;
            } else if number == values {
                numbers(value, |value| self.values.push(value as i64))?;
            } else if number == link {
                self.link = value.number(number)?;
            } else if number == 5 {
                match value {
                    Value::Fixed(bytes) => self.timestamps.push(fixed(bytes) as Nanos),
                    Value::Bytes(bytes) => {
                        self.timestamps.extend(bytes.chunks_exact(8).map(|time| fixed(time) as Nanos))
                    }
                    Value::Number(_) => return Err(Fault::WrongType(number)),
                }
            }
        }
        Ok(())
    }

    /// How many values this sample stands for: one for each timestamp, or one.
    fn moments(&self) -> usize {
        match (self.values.len(), self.timestamps.len()) {
            (0, times) => times,
            (values, times) if values == times => times,
            _ => 1,
        }
    }

    /// Value and time of one of them. A timestamp without a value counts one. Numbers of values and
    /// timestamps that do not fit are added up at the first timestamp.
    fn moment(&self, at: usize) -> (i64, Nanos) {
        let time = self.timestamps.get(at).copied().unwrap_or_default();
        if self.values.is_empty() {
            return (1, time);
        }
        match self.values.len() == self.timestamps.len() {
            true => (self.values.get(at).copied().unwrap_or_default(), time),
            false => (self.values.iter().fold(0i64, |sum, &value| sum.saturating_add(value)), time),
        }
    }
}

/// A refusal of a profile that does not say what it measures.
#[cold]
pub(super) fn unnamed(place: Place) -> Error {
    Error::new(
        ErrorKind::UnnamedType,
        place,
        "neither its sample type nor its period type has a name",
        "name what the values count, as in `cpu` in `nanoseconds`",
    )
}
