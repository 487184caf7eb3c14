//! Exports in the layout of OTLP 1.7 and 1.6 become exports in that of 1.10, which then are read like any other.
//!
//! There a profile has several sample types and a sample a value for each, a stack is a range of a list that
//! the profile has, and an attribute carries its own name. References may be absent, and what they refer to
//! begins at entry 0: here entry 0 is the zero value, so the tables move by one.

use super::place::Place;
use crate::assembly::SMALLER;
use crate::pprof::wire::{Cursor, Fault, Value, Writer};
use crate::{Error, ErrorKind, Limits};
use hashbrown::HashMap;

/// An export in the layout of 1.10.
pub(super) struct Upgraded {
    pub(super) bytes: Vec<u8>,
    /// Profiles that could not be read and are left out, and why the first could not.
    pub(super) rejected: Option<(usize, Error)>,
}

/// The export in the layout of 1.10, when it is one of 1.7 or 1.6.
pub(super) fn upgrade(bytes: &[u8], limits: &Limits) -> Result<Option<Upgraded>, Error> {
    let broken = |fault| Place::Message.broken(fault);
    if !is_older(bytes).map_err(broken)? {
        return Ok(None);
    }
    let mut upgrade = Upgrade {
        limits,
        stacks: Writer::default(),
        stack_count: 0,
        locations: 0,
        rejected: None,
        out: Writer::default(),
    };
    let mut dictionaries = Vec::new();
    let (mut cursor, mut resources) = (Cursor::new(bytes), 0);
    while let Some((number, value)) = cursor.field().map_err(broken)? {
        match number {
            1 => {
                upgrade.resource(value.bytes(number).map_err(broken)?, resources)?;
                resources += 1;
            }
            2 => dictionaries.push(value.bytes(number).map_err(broken)?),
            _ => {}
        }
    }
    let Upgrade { mut out, stacks, rejected, .. } = upgrade;
    let mut dictionary = dictionary(&dictionaries).map_err(broken)?;
    dictionary.0.extend_from_slice(&stacks.0);
    out.bytes(2, &dictionary.0);
    Ok(Some(Upgraded { bytes: out.0, rejected }))
}

/// Whether the first profile that tells is in this layout: the list of locations is where the time is later,
/// the duration where the type of the period is. Before 1.6 the tables were in the profiles, and field 4 one
/// of them.
fn is_older(bytes: &[u8]) -> Result<bool, Fault> {
    let mut export = Cursor::new(bytes);
    while let Some((number, value)) = export.field()? {
        let (1, Value::Bytes(resource)) = (number, value) else { continue };
        let mut resource = Cursor::new(resource);
        while let Some((number, value)) = resource.field()? {
            let (2, Value::Bytes(scope)) = (number, value) else { continue };
            let mut scope = Cursor::new(scope);
            while let Some((number, value)) = scope.field()? {
                let (2, Value::Bytes(profile)) = (number, value) else { continue };
                let (mut older, mut profile) = (None, Cursor::new(profile));
                while let Some((number, value)) = profile.field()? {
                    match (number, value) {
                        (3, Value::Fixed(_)) | (4, Value::Bytes(_)) | (5, Value::Bytes(_)) => {
                            return Ok(false);
                        }
                        (3, Value::Bytes(_)) | (5, Value::Number(_)) => older = Some(true),
                        _ => {}
                    }
                }
                if let Some(older) = older {
                    return Ok(older);
                }
            }
        }
    }
    Ok(false)
}

struct Upgrade<'a> {
    limits: &'a Limits,
    /// Entries of the stack table, and how many they are.
    stacks: Writer,
    stack_count: u64,
    /// Locations of all stacks.
    locations: usize,
    rejected: Option<(usize, Error)>,
    out: Writer,
}

impl Upgrade<'_> {
    fn resource(&mut self, bytes: &[u8], resource_at: usize) -> Result<(), Error> {
        let broken = |fault| Place::Resource(resource_at).broken(fault);
        let (mut out, mut scope_at) = (Writer::default(), 0);
        let mut cursor = Cursor::new(bytes);
        while let Some((number, value)) = cursor.field().map_err(broken)? {
            match number {
                1 => out.bytes(1, value.bytes(number).map_err(broken)?),
                2 => {
                    let place = |profile| Place::Profile { resource: resource_at, scope: scope_at, profile };
                    out.bytes(2, &self.scope(value.bytes(number).map_err(broken)?, place)?);
                    scope_at += 1;
                }
                _ => {}
            }
        }
        self.out.bytes(1, &out.0);
        Ok(())
    }

    fn scope(&mut self, bytes: &[u8], place: impl Fn(usize) -> Place) -> Result<Vec<u8>, Error> {
        let (mut out, mut profile_at) = (Writer::default(), 0);
        let mut cursor = Cursor::new(bytes);
        while let Some((number, value)) = cursor.field().map_err(|fault| place(profile_at).broken(fault))? {
            let place = place(profile_at);
            match number {
                1 => out.bytes(1, value.bytes(number).map_err(|fault| place.broken(fault))?),
                2 => {
                    let bytes = value.bytes(number).map_err(|fault| place.broken(fault))?;
                    match self.profile(bytes, place, &mut out) {
                        // What is too large here is so for the whole export; a fault is the profile's own.
                        Err(error) if error.kind() == ErrorKind::TooLarge => return Err(error),
                        Err(error) => self.rejected.get_or_insert((0, error)).0 += 1,
                        Ok(()) => {}
                    }
                    profile_at += 1;
                }
                _ => {}
            }
        }
        Ok(out.0)
    }

    /// Writes a profile for each sample type.
    fn profile(&mut self, bytes: &[u8], place: Place, scope: &mut Writer) -> Result<(), Error> {
        let old = Profile::read(bytes, self.limits).map_err(|fault| place.broken(fault))?;
        let mut head = Writer::default();
        fixed(&mut head, 3, old.time);
        head.number(4, old.duration);
        if let Some(period_type) = old.period_type {
            head.bytes(5, period_type);
        }
        head.number(6, old.period);
        if let Some(id) = old.id {
            head.bytes(7, id);
        }
        moved(&mut head, 11, &old.attributes);

        let nothing: &[u8] = &[];
        let types = if old.sample_types.is_empty() { &[nothing][..] } else { &old.sample_types };
        let mut profiles: Vec<Writer> = Vec::with_capacity(types.len());
        for sample_type in types {
            let mut out = Writer::default();
            out.bytes(1, sample_type);
            out.0.extend_from_slice(&head.0);
            profiles.push(out);
        }
        // It holds all sample types.
        if let (Some(first), Some(payload)) = (profiles.first_mut(), old.payload) {
            first.bytes(9, old.payload_format.unwrap_or_default());
            first.bytes(10, payload);
        }
        let mut known = HashMap::new();
        for bytes in &old.samples {
            let sample = Sample::read(bytes).map_err(|fault| place.broken(fault))?;
            let stack = match known.get(&(sample.start, sample.length)) {
                Some(&stack) => stack,
                None => {
                    let stack = self.stack(&old.locations, &sample, place)?;
                    known.insert((sample.start, sample.length), stack);
                    stack
                }
            };
            for (at, out) in profiles.iter_mut().enumerate() {
                out.bytes(2, &sample.written(stack, at, types.len()));
            }
            self.check_size(&profiles, scope, place)?;
        }
        self.check_size(&profiles, scope, place)?;
        profiles.iter().for_each(|profile| scope.bytes(2, &profile.0));
        Ok(())
    }

    /// A sample can cost less than what is written for it, and a head is written for each sample type.
    fn check_size(&self, profiles: &[Writer], scope: &Writer, place: Place) -> Result<(), Error> {
        let size: usize = profiles.iter().map(|profile| profile.0.len()).sum();
        if size + scope.0.len() + self.out.0.len() > 2 * self.limits.inflated_bytes {
            let fault =
                format_args!("up to here it would have more than {} bytes", 2 * self.limits.inflated_bytes);
            return Err(Error::too_large(place, fault, SMALLER));
        }
        Ok(())
    }

    /// The number of a sample's stack, which is added to the table.
    fn stack(&mut self, locations: &[u64], sample: &Sample, place: Place) -> Result<u64, Error> {
        let start = usize::try_from(sample.start).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(sample.length).unwrap_or(usize::MAX));
        let Some(stack) = locations.get(start..end) else {
            return Err(place.missing("location of the profile", end as u64, locations.len()));
        };
        self.locations = self.locations.saturating_add(stack.len());
        if self.locations > self.limits.entries {
            let fault = format_args!("up to here there are more than {} frames", self.limits.entries);
            return Err(Error::too_large(place, fault, SMALLER));
        }
        let mut list = Writer::default();
        list.packed(1, stack.iter().copied(), &mut Writer::default());
        self.stacks.bytes(7, &list.0);
        // Stack 0 is the empty one.
        self.stack_count += 1;
        Ok(self.stack_count)
    }
}

/// A profile as it was.
#[derive(Default)]
struct Profile<'a> {
    sample_types: Vec<&'a [u8]>,
    samples: Vec<&'a [u8]>,
    locations: Vec<u64>,
    time: u64,
    duration: u64,
    period_type: Option<&'a [u8]>,
    period: u64,
    id: Option<&'a [u8]>,
    payload_format: Option<&'a [u8]>,
    payload: Option<&'a [u8]>,
    attributes: Vec<u64>,
}

impl<'a> Profile<'a> {
    fn read(bytes: &'a [u8], limits: &Limits) -> Result<Self, Fault> {
        let mut out = Self::default();
        let mut cursor = Cursor::new(bytes);
        while let Some((number, value)) = cursor.field()? {
            match number {
                // What is too much is refused where profiles are read.
                1 if out.sample_types.len() < limits.sample_types => {
                    out.sample_types.push(value.bytes(number)?)
                }
                2 if out.samples.len() <= limits.samples => out.samples.push(value.bytes(number)?),
                3 => numbers(value, &mut out.locations)?,
                4 => out.time = value.number(number)?,
                5 => out.duration = value.number(number)?,
                6 => out.period_type = Some(value.bytes(number)?),
                7 => out.period = value.number(number)?,
                10 => out.id = Some(value.bytes(number)?),
                12 => out.payload_format = Some(value.bytes(number)?),
                13 => out.payload = Some(value.bytes(number)?),
                14 => numbers(value, &mut out.attributes)?,
                _ => {}
            }
        }
        Ok(out)
    }
}

/// A sample as it was.
#[derive(Default)]
struct Sample {
    start: u64,
    length: u64,
    values: Vec<u64>,
    attributes: Vec<u64>,
    link: Option<u64>,
    timestamps: Vec<u64>,
}

impl Sample {
    fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let mut out = Self::default();
        let mut cursor = Cursor::new(bytes);
        while let Some((number, value)) = cursor.field()? {
            match number {
                1 => out.start = value.number(number)?,
                2 => out.length = value.number(number)?,
                3 => numbers(value, &mut out.values)?,
                4 => numbers(value, &mut out.attributes)?,
                5 => out.link = Some(value.number(number)?),
                6 => numbers(value, &mut out.timestamps)?,
                _ => {}
            }
        }
        Ok(out)
    }

    /// The sample with its value of the type `at` out of `types`.
    fn written(&self, stack: u64, at: usize, types: usize) -> Vec<u8> {
        let mut out = Writer::default();
        out.number(1, stack);
        moved(&mut out, 2, &self.attributes);
        if let Some(link) = self.link {
            out.number(3, link.saturating_add(1));
        }
        let one = self.values.get(at).map(std::slice::from_ref).unwrap_or_default();
        let values = if types == 1 { &self.values[..] } else { one };
        out.packed(4, values.iter().copied(), &mut Writer::default());
        let times: Vec<u8> = self.timestamps.iter().flat_map(|time| time.to_le_bytes()).collect();
        if !times.is_empty() {
            out.bytes(5, &times);
        }
        out.0
    }
}

/// The dictionary in the layout of 1.10, without the stacks that the profiles had.
fn dictionary(parts: &[&[u8]]) -> Result<Writer, Fault> {
    let mut out = Writer::default();
    // Entries 0 of mappings, links, attributes and stacks.
    [1, 4, 6, 7].into_iter().for_each(|table| out.bytes(table, &[]));
    let (mut texts, mut names, mut attributes) = (0, Vec::new(), Vec::new());
    for part in parts {
        let mut cursor = Cursor::new(part);
        while let Some((number, value)) = cursor.field()? {
            match number {
                1 => out.bytes(1, &mapping(value.bytes(number)?)?),
                2 => out.bytes(2, &location(value.bytes(number)?)?),
                6 => attributes.push(value.bytes(number)?),
                3..=5 => {
                    texts += u64::from(number == 5);
                    out.bytes(number, value.bytes(number)?);
                }
                _ => {}
            }
        }
    }
    for entry in attributes {
        let mut attribute = Writer::default();
        let mut cursor = Cursor::new(entry);
        while let Some((number, value)) = cursor.field()? {
            match number {
                1 => {
                    attribute.number(1, texts + names.len() as u64);
                    names.push(value.bytes(number)?);
                }
                2 => attribute.bytes(2, value.bytes(number)?),
                _ => {}
            }
        }
        out.bytes(6, &attribute.0);
    }
    names.into_iter().for_each(|name| out.bytes(5, name));
    Ok(out)
}

fn mapping(entry: &[u8]) -> Result<Vec<u8>, Fault> {
    let (mut out, mut attributes) = (Writer::default(), Vec::new());
    let mut cursor = Cursor::new(entry);
    while let Some((number, value)) = cursor.field()? {
        match number {
            1..=4 => out.number(number, value.number(number)?),
            5 => numbers(value, &mut attributes)?,
            _ => {}
        }
    }
    moved(&mut out, 5, &attributes);
    Ok(out.0)
}

fn location(entry: &[u8]) -> Result<Vec<u8>, Fault> {
    let (mut out, mut attributes) = (Writer::default(), Vec::new());
    let mut cursor = Cursor::new(entry);
    while let Some((number, value)) = cursor.field()? {
        match number {
            1 => out.number(1, value.number(number)?.saturating_add(1)),
            2 => out.number(2, value.number(number)?),
            3 => out.bytes(3, value.bytes(number)?),
            5 => numbers(value, &mut attributes)?,
            _ => {}
        }
    }
    moved(&mut out, 4, &attributes);
    Ok(out.0)
}

/// Writes references to a table that moved by one.
fn moved(out: &mut Writer, field: u32, indices: &[u64]) {
    out.packed(field, indices.iter().map(|index| index.saturating_add(1)), &mut Writer::default());
}

fn fixed(out: &mut Writer, field: u32, number: u64) {
    out.varint(u64::from(field) << 3 | 1);
    out.0.extend_from_slice(&number.to_le_bytes());
}

/// Appends the numbers of a repeated field, packed or not.
fn numbers(value: Value<'_>, out: &mut Vec<u64>) -> Result<(), Fault> {
    match value {
        Value::Number(number) => out.push(number),
        Value::Bytes(bytes) => {
            let mut cursor = Cursor::new(bytes);
            while !cursor.is_empty() {
                out.push(cursor.number()?);
            }
        }
        Value::Fixed(bytes) => out.extend(bytes.first_chunk().map(|eight| u64::from_le_bytes(*eight))),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
