//! One profile of an export: its head, and its samples in whatever layout they are.

use super::dictionary::{Dictionary, Role, too_old};
use super::layout::{self, SampleLayout};
use super::numbers::{fixed, numbers};
use super::original::Original;
use super::place::Place;
use crate::assembly::SMALLER;
use crate::pprof::wire::{Cursor, Fault, Value};
use crate::{Cuts, Error, ErrorKind, Limits, Moments};
use everflame_profile::{Nanos, SampleLabel, Samples, StringIndex, ValueType};
use hashbrown::HashMap;

/// Sample attribute that names the service, before the resource does.
pub(super) const SERVICE: &str = "service.name";

/// Why a profile is not read, and whether it is the only one.
pub(super) enum Refusal {
    /// A fault of this profile, or more than one profile may have.
    Profile(Error),
    /// More than an export may have: the profiles after this one are not read either.
    Export(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Profile(error)
    }
}

/// Services that the samples of one profile may name.
const MOST_SERVICES: usize = 4_096;

/// What a moment costs besides its stack and labels, when it becomes a sample: value, time, and where stack and
/// labels end.
const ENTRIES_OF_MOMENT: usize = 6;

/// A profile, its samples undecoded.
#[derive(Default)]
pub(super) struct Head<'a> {
    pub(super) sample_type: ValueType,
    pub(super) samples: Vec<&'a [u8]>,
    pub(super) time: Nanos,
    pub(super) duration: Nanos,
    pub(super) period_type: ValueType,
    pub(super) period: i64,
    /// The sender's id of it, 0 when there is none.
    pub(super) id: u128,
    /// Entries of the attribute table that hold for the whole profile.
    pub(super) attributes: Vec<u64>,
    /// What the profile was converted from.
    pub(super) original: Option<Original<'a>>,
}

impl<'a> Head<'a> {
    pub(super) fn read(
        bytes: &'a [u8],
        place: Place,
        dictionary: &Dictionary,
        limits: &Limits,
        cuts: &mut Cuts,
    ) -> Result<Self, Error> {
        let broken = |fault| place.broken(fault);
        let mut head = Self::default();
        // Fields from 7 on, by number: what they are depends on the layout. Of each the last, and what is left to
        // read in front of the first.
        let mut late: [Option<(Cursor<'a>, Value<'a>)>; 6] = [None; 6];
        let mut cursor = Cursor::new(bytes);
        loop {
            let before = cursor;
            let Some((number, value)) = cursor.field().map_err(broken)? else { break };
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
                        slot.get_or_insert((before, value)).1 = value;
                    }
                }
                _ => {}
            }
        }
        let [seven, eight, nine, ten, eleven, twelve] = late.map(|field| field.map(|(_, value)| value));
        // With comments in front (1.8) the later fields have numbers that are one higher.
        let text = |value: Option<Value<'a>>| match value {
            Some(Value::Bytes(bytes)) => str::from_utf8(bytes).ok().filter(|text| !text.is_empty()),
            _ => None,
        };
        let shifted = matches!(eight, Some(Value::Bytes(_)))
            || matches!(nine, Some(Value::Number(_)))
            || twelve.is_some()
            || nine.is_none()
                && text(ten).is_some_and(|format| format.len() < 32)
                && matches!(eleven, Some(Value::Bytes(_)));
        if let Some(Value::Bytes(id)) = if shifted { eight } else { seven } {
            head.id = id.try_into().map_or(0, u128::from_be_bytes);
        }
        let (format, payload, attributes) = if shifted { (ten, eleven, 12) } else { (nine, ten, 11) };
        let [.., from_eleven, from_twelve] = late;
        if let Some((cursor, _)) = if shifted { from_twelve } else { from_eleven } {
            head.read_attributes(cursor, attributes, limits, cuts).map_err(broken)?;
        }
        if let Some(Value::Bytes(payload)) = payload
            && !payload.is_empty()
        {
            head.original = Some(Original { format: text(format).unwrap_or_default(), payload });
        }
        Ok(head)
    }

    /// The numbers of the field `attributes`, which may come one by one and in several runs.
    fn read_attributes(
        &mut self,
        mut cursor: Cursor<'_>,
        attributes: u32,
        limits: &Limits,
        cuts: &mut Cuts,
    ) -> Result<(), Fault> {
        while let Some((number, value)) = cursor.field()? {
            if number == attributes {
                numbers(value, |index| match self.attributes.len() < limits.labels_per_sample {
                    true => self.attributes.push(index),
                    false => cuts.labels = cuts.labels.saturating_add(1),
                })?;
            }
        }
        Ok(())
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

/// Samples of one service, each with the moments at which it was taken.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) samples: Samples,
    pub(super) moments: Moments,
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
    pub(super) scratch: Scratch,
}

/// What one profile after the other is read with, so that small ones allocate little.
#[derive(Default)]
pub(super) struct Scratch {
    sample: RawSample,
    labels: Vec<SampleLabel>,
    /// Where services are among those of the profile.
    positions: HashMap<StringIndex, usize>,
}

impl SampleReader<'_> {
    /// The samples by the service that their attributes name, index 0 when they name none. Values are
    /// multiplied by `factor`.
    pub(super) fn read(&mut self, raw: &[&[u8]], factor: i64) -> Result<Vec<(StringIndex, Taken)>, Refusal> {
        let layout = self.layout(raw).map_err(|fault| self.place.broken(fault))?;
        // Few profiles name more than one.
        let mut by_service: Vec<(StringIndex, Taken)> = Vec::with_capacity(1);
        let mut last = None;
        let Scratch { mut sample, mut labels, mut positions } = std::mem::take(&mut self.scratch);
        positions.clear();
        for bytes in raw {
            sample.read(bytes, layout).map_err(|fault| self.place.broken(fault))?;
            labels.clear();
            let service = self.labels(&sample, &mut labels)?;
            let number = self.dictionary.stack_number(sample.stack, self.place)?;
            let stack = self.dictionary.stack(number);
            let moments = sample.moments();
            if moments == 0 {
                continue;
            }
            let at = match last {
                Some((known, at)) if known == service => at,
                _ => *positions.entry(service).or_insert(by_service.len()),
            };
            last = Some((service, at));
            if at == by_service.len() {
                self.check_services(at)?;
                by_service.push((service, Taken::default()));
            }
            let Some((_, taken)) = by_service.get_mut(at) else { continue };
            let each = stack.len() + 2 * labels.len() + ENTRIES_OF_MOMENT;
            self.charge(moments.saturating_mul(each), self.place)?;
            let Taken { samples, moments } = taken;
            let first = moments.values.len();
            sample.take(factor, moments);
            let values = moments.values.get(first..).unwrap_or_default();
            samples.push(
                stack,
                &[values.iter().fold(0i64, |sum, &value| sum.saturating_add(value))],
                &labels,
            );
            moments.ends.push(moments.times.len() as u32);
        }
        self.scratch = Scratch { sample, labels, positions };
        Ok(by_service)
    }

    /// Counts `entries` more against the limit for the whole export.
    #[inline]
    pub(super) fn charge(&mut self, entries: usize, place: Place) -> Result<(), Refusal> {
        let most = self.limits.entries;
        self.entries = self.entries.saturating_add(entries);
        match self.entries > most {
            true => Err(Refusal::Export(Error::too_large(
                place,
                format_args!("up to here there are more than {most} frames, values and labels"),
                SMALLER,
            ))),
            false => Ok(()),
        }
    }

    fn check_services(&self, known: usize) -> Result<(), Error> {
        match known >= MOST_SERVICES {
            true => Err(Error::too_large(
                self.place,
                format_args!("its samples name more than {MOST_SERVICES} services"),
                "send a profile for each service",
            )),
            false => Ok(()),
        }
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
            match attribute.role {
                Role::Service => service = attribute.value,
                _ => labels.push(SampleLabel { key: attribute.key, value: attribute.value }),
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

    /// Appends value and time of all of them. A timestamp without a value counts one. Numbers of values and
    /// timestamps that do not fit are added up at the first timestamp.
    fn take(&self, factor: i64, moments: &mut Moments) {
        let Moments { times, values, .. } = moments;
        match (self.values.len(), self.timestamps.len()) {
            (0, moments) => {
                values.resize(values.len() + moments, factor);
                times.extend_from_slice(&self.timestamps);
            }
            (all, moments) if all == moments => {
                values.extend(self.values.iter().map(|value| value.saturating_mul(factor)));
                times.extend_from_slice(&self.timestamps);
            }
            _ => {
                let sum = self.values.iter().fold(0i64, |sum, &value| sum.saturating_add(value));
                values.push(sum.saturating_mul(factor));
                times.push(self.timestamps.first().copied().unwrap_or_default());
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pprof::wire::Writer;

    const ID: (u32, &[u8]) = (7, &[7; 16]);

    /// A profile of fields of bytes, and single numbers behind them.
    fn profile(fields: &[(u32, &[u8])], numbers: &[(u8, u8)]) -> Vec<u8> {
        let mut out = Writer::default();
        fields.iter().for_each(|(field, bytes)| out.bytes(*field, bytes));
        numbers.iter().for_each(|(field, number)| out.0.extend([field << 3, *number]));
        out.0
    }

    #[test]
    fn attributes_come_packed_in_runs_and_one_by_one() {
        let comments: (u32, &[u8]) = (7, &[1]);
        let id_of_1_8: (u32, &[u8]) = (8, &[7; 16]);
        for bytes in [
            profile(&[ID, (11, &[1, 2, 3])], &[]),
            profile(&[ID, (11, &[1, 2]), (11, &[3])], &[]),
            profile(&[ID], &[(11, 1), (11, 2), (11, 3)]),
            profile(&[ID, (11, &[1])], &[(11, 2), (8, 5), (11, 3)]),
            profile(&[ID, (9, b"jfr"), (10, b"FLR"), (11, &[1, 2])], &[(11, 3)]),
            profile(&[], &[(11, 1), (11, 2), (11, 3)]),
            profile(&[comments, id_of_1_8, (12, &[1, 2]), (12, &[3])], &[]),
            profile(&[id_of_1_8, (10, b"jfr"), (11, b"FLR")], &[(12, 1), (12, 2), (12, 3)]),
        ] {
            let (place, dictionary) = (Place::Message, Dictionary::default());
            let (limits, mut cuts) = (Limits::default(), Cuts::default());
            let head = Head::read(&bytes, place, &dictionary, &limits, &mut cuts).unwrap();
            assert_eq!((head.attributes, cuts.labels), (vec![1, 2, 3], 0), "{bytes:?}");
            let is_named = bytes.windows(16).any(|window| window == [7; 16]);
            assert_eq!(head.id, if is_named { u128::from_be_bytes([7; 16]) } else { 0 }, "{bytes:?}");
            let limits = Limits { labels_per_sample: 1, ..limits };
            let head = Head::read(&bytes, place, &dictionary, &limits, &mut cuts).unwrap();
            assert_eq!((head.attributes, cuts.labels), (vec![1], 2), "{bytes:?}");
        }
    }
}
