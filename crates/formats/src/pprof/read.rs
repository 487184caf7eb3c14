//! Reads pprof.
//!
//! Two passes over the inflated bytes: the first notes where the entries are, because a message may use a
//! string or a location before it says what it is; the second decodes the tables and then the samples
//! straight into the arrays of [`Profile`]. Hot is [`Samples`]' part: `everflame-bench
//! decode` shows what it costs.

use super::entries::Entries;
use super::field::{label, profile, sample, value_type};
use super::place::{CUT_OFF, Place, SENDER, SMALLER};
use super::tables::{self, Ids};
use super::texts::Texts;
use super::wire::{Cursor, Fault, Value, bytes_key, number_key, short_pair};
use crate::{Cuts, Decoded, Error, ErrorKind, Limits, gzip};
use everflame_profile::{Location, Profile, SampleLabel, Samples, ValueType};
use std::sync::Arc;

/// Reads a pprof profile, gzip or plain by its first bytes.
///
/// - A frame that has a name loses its address and its mapping's addresses, so that two starts of one
///   program give the same frame; one without a name keeps them.
/// - Text labels are kept, numeric ones and those without a key or a text are not.
/// - A sample type may have no name: see [`require_named_types`].
/// - Stacks deeper than the limit keep their root side; [`Decoded::cuts`] counts them.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Decoded, Error> {
    if bytes.is_empty() {
        return Err(Error::malformed(Place::Message, "it is empty", "send a profile"));
    }
    gzip::with_inflated(bytes, limits, |message| read_message(message, limits))
}

fn read_message(message: &[u8], limits: &Limits) -> Result<Decoded, Error> {
    refuse_text(message)?;
    let raw = RawProfile::index(message, limits)?;
    let mut cuts = Cuts::default();
    let texts = Texts::new(raw.entries.of(profile::STRING_TABLE), limits, &mut cuts)?;
    let sample_types = raw.entries.of(profile::SAMPLE_TYPE);
    let mut value_types = Vec::with_capacity(sample_types.len());
    for (at, bytes) in sample_types.iter().enumerate() {
        value_types.push(decode_value_type(bytes, Place::SampleType(at), &texts)?);
    }
    let period_type = decode_value_type(raw.period_type, Place::PeriodType, &texts)?;
    let mut comments = Vec::with_capacity(raw.comments.len());
    for (at, &index) in raw.comments.iter().enumerate() {
        let text = texts.keep(index, Place::Comment(at))?;
        comments.push(texts.get(text).to_owned());
    }
    let default_type = texts.keep(raw.default_type, Place::DefaultSampleType)?;
    let default_sample_type = match texts.get(default_type) {
        "" => None,
        name => value_types.iter().position(|value_type| value_type.kind == name),
    };
    let tables = tables::decode(&raw.entries, &texts, limits, &mut cuts)?;
    let samples = SampleReader {
        types: value_types.len(),
        location_ids: &tables.location_ids,
        locations: &tables.locations,
        most_frames: tables.locations.iter().map(|location| location.count as usize).max().unwrap_or(1),
        texts: &texts,
        limits,
        cuts: &mut cuts,
        entries: 0,
        counted: 0,
    }
    .read(raw.entries.of(profile::SAMPLE))?;
    let mut symbols = tables.symbols;
    symbols.strings = texts.into_strings();
    let profile = Profile {
        sample_types: value_types,
        default_sample_type,
        period_type,
        period: raw.period,
        time: raw.time,
        duration: raw.duration,
        symbols: Arc::new(symbols),
        locations: Arc::new(tables.locations),
        samples,
        comments,
    };
    Ok(Decoded { profile, cuts })
}

/// Refuses a profile that has a sample type without a name, for callers who have no name to give it.
pub fn require_named_types(profile: &Profile) -> Result<(), Error> {
    match profile.sample_types.iter().position(|value_type| value_type.kind.is_empty()) {
        None => Ok(()),
        Some(at) => Err(Error::new(
            ErrorKind::UnnamedType,
            Place::SampleType(at),
            "it has no name",
            "name what the values count, as in `cpu` in `nanoseconds`",
        )),
    }
}

/// What programs answer instead of a profile: an error page, or the text form of Go's `debug=1`.
fn refuse_text(message: &[u8]) -> Result<(), Error> {
    const TEXTS: [(&[u8], &str); 5] = [
        (b"heap profile:", "the text form of a heap profile"),
        (b"goroutine profile:", "the text form of a goroutine profile"),
        (b"--- ", "the text form of a profile"),
        (b"<!", "an HTML page"),
        (b"<html", "an HTML page"),
    ];
    match TEXTS.iter().find(|(start, _)| message.starts_with(start)) {
        None => Ok(()),
        Some((_, what)) => Err(Error::new(
            ErrorKind::Unsupported,
            Place::Message,
            format_args!("it is {what}"),
            "send pprof's protobuf (without debug=1)",
        )),
    }
}

/// Where everything is; undecoded but for the plain numbers.
#[derive(Default)]
struct RawProfile<'a> {
    entries: Entries<'a>,
    time: i64,
    duration: i64,
    period_type: &'a [u8],
    period: i64,
    comments: Vec<u64>,
    default_type: u64,
}

/// After so many fields their number is checked.
const CHECKED_FIELDS: usize = 1 << 16;

/// Locations of samples for which room is made before they are read: 16 MiB.
const MOST_RESERVED: usize = 4 << 20;

/// Bytes of ids that are not packed, read at once: room is made for as many ids, and other fields may follow.
const IDS_AT_ONCE: usize = 16 << 10;

/// Comments that are read; each may repeat the longest string.
const MAX_COMMENTS: usize = 64;

impl<'a> RawProfile<'a> {
    fn index(message: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        let mut raw = Self { entries: Entries::with_capacity(message.len()), ..Self::default() };
        let mut cursor = Cursor::new(message);
        let mut fields = 0usize;
        let broken = |fault| Place::Message.broken(fault);
        loop {
            fields += raw.entries.take(&mut cursor, CHECKED_FIELDS).map_err(broken)?;
            // An entry costs 16 bytes here and may be 2 in the message: look before memory is gone.
            if fields >= CHECKED_FIELDS {
                raw.check_counts(limits)?;
                fields = 0;
            }
            match cursor.field().map_err(broken)? {
                Some((number, value)) => raw.note(number, value).map_err(broken)?,
                None => break,
            }
            fields += 1;
        }
        raw.check_counts(limits)?;
        if raw.entries.of(profile::SAMPLE_TYPE).is_empty() {
            return Err(Error::malformed(
                Place::Message,
                "it has no sample type, so that nothing says what is counted",
                "send a pprof profile with sample_type, gzip or plain",
            ));
        }
        Ok(raw)
    }

    fn check_counts(&self, limits: &Limits) -> Result<(), Error> {
        for (what, field, most) in [
            ("sample types", profile::SAMPLE_TYPE, limits.sample_types),
            ("samples", profile::SAMPLE, limits.samples),
            ("mappings", profile::MAPPING, limits.table_entries / 8),
            ("locations", profile::LOCATION, limits.table_entries),
            ("functions", profile::FUNCTION, limits.table_entries),
            ("strings", profile::STRING_TABLE, limits.table_entries),
        ] {
            if self.entries.of(field).len() > most {
                let fault = format!("it has more than {most} {what}");
                return Err(Error::too_large(Place::Message, fault, SMALLER));
            }
        }
        Ok(())
    }

    fn note(&mut self, number: u32, value: Value<'a>) -> Result<(), Fault> {
        match number {
            profile::TIME_NANOS => self.time = value.number(number)? as i64,
            profile::DURATION_NANOS => self.duration = value.number(number)? as i64,
            profile::PERIOD_TYPE => self.period_type = value.bytes(number)?,
            profile::PERIOD => self.period = value.number(number)? as i64,
            profile::COMMENT => numbers(value, number, |index| {
                if self.comments.len() < MAX_COMMENTS {
                    self.comments.push(index);
                }
            })?,
            profile::DEFAULT_SAMPLE_TYPE => self.default_type = value.number(number)?,
            _ => self.entries.note(number, value)?,
        }
        Ok(())
    }
}

/// Hands on the numbers of a repeated field, packed or not.
#[inline(always)]
fn numbers(value: Value<'_>, field: u32, mut each: impl FnMut(u64)) -> Result<(), Fault> {
    match value {
        Value::Number(number) => each(number),
        Value::Bytes(bytes) => {
            let mut cursor = Cursor::new(bytes);
            while !cursor.is_empty() {
                each(cursor.number()?);
            }
        }
        Value::Fixed(_) => return Err(Fault::WrongType(field)),
    }
    Ok(())
}

/// How many numbers there are in packed form: each ends in a byte below 0x80.
fn count_numbers(packed: &[u8]) -> usize {
    packed.iter().filter(|&&byte| byte < 0x80).count()
}

fn decode_value_type(bytes: &[u8], place: Place, texts: &Texts) -> Result<ValueType, Error> {
    let (mut kind, mut unit) = (0, 0);
    let mut cursor = Cursor::new(bytes);
    while let Some((number, value)) = cursor.field().map_err(|fault| place.broken(fault))? {
        let target = match number {
            value_type::KIND => &mut kind,
            value_type::UNIT => &mut unit,
            _ => continue,
        };
        *target = value.number(number).map_err(|fault| place.broken(fault))?;
    }
    let (kind, unit) = (texts.keep(kind, place)?, texts.keep(unit, place)?);
    Ok(ValueType::new(texts.get(kind), texts.get(unit)))
}

struct SampleReader<'a> {
    types: usize,
    location_ids: &'a Ids,
    locations: &'a [Location],
    /// Frames of the location that has most.
    most_frames: usize,
    texts: &'a Texts,
    limits: &'a Limits,
    cuts: &'a mut Cuts,
    /// Frames, values and labels up to here, at most: as if each location behind the first `counted` had
    /// `most_frames`. Looking each up is a tenth of all work, and done only when this comes to the limit.
    entries: usize,
    counted: usize,
}

impl SampleReader<'_> {
    fn read(mut self, raw: &[&[u8]]) -> Result<Samples, Error> {
        // A location id takes a byte at least.
        let bytes: usize = raw.iter().map(|sample| sample.len()).sum();
        let mut samples = Samples {
            locations: Vec::with_capacity(bytes.min(MOST_RESERVED)),
            stack_ends: Vec::with_capacity(raw.len()),
            label_ends: Vec::with_capacity(raw.len()),
            values: Vec::with_capacity(raw.len().saturating_mul(self.types).min(self.limits.entries / 2)),
            ..Samples::default()
        };
        for (at, bytes) in raw.iter().enumerate() {
            // Before the arrays grow once more.
            if self.has_room(2 * self.types, &samples.locations) {
                self.sample(Place::Sample(at), bytes, &mut samples)?;
            } else {
                self.entries = usize::MAX;
            }
            if !self.has_room(0, &samples.locations) {
                let most = self.limits.entries;
                let fault = format!("up to here there are more than {most} frames, values and labels");
                return Err(Error::too_large(Place::Sample(at), fault, SMALLER));
            }
        }
        Ok(samples)
    }

    fn sample(&mut self, place: Place, bytes: &[u8], samples: &mut Samples) -> Result<(), Error> {
        const LOCATION_ID: u64 = number_key(sample::LOCATION_ID);
        const LOCATION_IDS: u64 = bytes_key(sample::LOCATION_ID);
        const VALUE: u64 = number_key(sample::VALUE);
        const VALUES: u64 = bytes_key(sample::VALUE);
        const LABEL: u64 = bytes_key(sample::LABEL);
        let (first_location, first_label) = (samples.locations.len(), samples.labels.len());
        let (mut missing, mut values) = (None, 0);
        let broken = |fault| place.broken(fault);
        let mut cursor = Cursor::new(bytes);
        // Hot: what writers do in nearly all samples. Go's puts two values before the ids and does not pack them.
        while cursor.next_is(VALUE) {
            self.value(cursor.number().map_err(broken)?, &mut values, samples);
        }
        if cursor.rest().first() == Some(&(LOCATION_ID as u8)) {
            let rest = cursor.rest();
            let ids = rest.get(..IDS_AT_ONCE).unwrap_or(rest);
            let read = self.location_ids.resolve_fields::<{ LOCATION_ID as u8 }>(ids, &mut samples.locations);
            cursor = Cursor::new(rest.get(read..).unwrap_or_default());
        }
        while cursor.next_is(LOCATION_ID) {
            let id = cursor.short_number().map_err(broken)?;
            missing = missing.or(self.id(id, samples));
        }
        if cursor.next_is(LOCATION_IDS) {
            let ids = cursor.sized().map_err(broken)?;
            let id = self.packed_ids(ids, first_location, samples).map_err(broken)?;
            missing = missing.or(id);
        }
        if cursor.next_is(VALUES) {
            let packed = Value::Bytes(cursor.sized().map_err(broken)?);
            self.values(packed, &mut values, samples).map_err(broken)?;
        }
        while cursor.next_is(VALUE) {
            self.value(cursor.number().map_err(broken)?, &mut values, samples);
        }
        while let Some(((key, text), length)) = short_pair(bytes, bytes.len() - cursor.left(), LABEL) {
            samples.labels.extend(self.text_label(place, key, text)?);
            cursor = Cursor::new(bytes.get(bytes.len() - cursor.left() + length..).unwrap_or_default());
        }
        while cursor.next_is(LABEL) {
            samples.labels.extend(self.label(place, cursor.sized().map_err(broken)?)?);
        }
        while let Some((number, value)) = cursor.field().map_err(broken)? {
            match (number, value) {
                (sample::LOCATION_ID, Value::Bytes(ids)) => {
                    let id = self.packed_ids(ids, first_location, samples).map_err(broken)?;
                    missing = missing.or(id);
                }
                (sample::LOCATION_ID, value) => {
                    let id = value.number(number).map_err(broken)?;
                    missing = missing.or(self.id(id, samples));
                }
                (sample::VALUE, value) => self.values(value, &mut values, samples).map_err(broken)?,
                (sample::LABEL, value) => {
                    samples.labels.extend(self.label(place, value.bytes(number).map_err(broken)?)?);
                }
                _ => {}
            }
        }
        if self.entries > self.limits.entries {
            return Ok(());
        }
        if let Some(id) = missing {
            return Err(self.missing_location(place, id));
        }
        if values != self.types {
            let fault = format!("it has {values} values for {} sample types", self.types);
            return Err(Error::malformed(place, fault, SENDER));
        }
        let labels = samples.labels.len() - first_label;
        if labels > self.limits.labels_per_sample {
            let fault = format!("it has {labels} labels, at most {} are read", self.limits.labels_per_sample);
            return Err(Error::too_large(place, fault, "label samples with fewer keys"));
        }
        self.cut_stack(first_location, &mut samples.locations);
        let locations = samples.locations.len() - first_location;
        self.entries += locations * self.most_frames + 2 * (values + labels);
        samples.stack_ends.push(samples.locations.len() as u32);
        samples.label_ends.push(samples.labels.len() as u32);
        Ok(())
    }

    /// Appends the location of `id`, which is returned when it is missing.
    #[inline(always)]
    fn id(&self, id: u64, samples: &mut Samples) -> Option<u64> {
        match self.location_ids.get(id) {
            Some(location) => samples.locations.push(location),
            None => return Some(id),
        }
        None
    }

    /// Appends the locations of packed `ids`; an id that is missing is returned.
    #[inline(always)]
    fn packed_ids(&mut self, ids: &[u8], first: usize, samples: &mut Samples) -> Result<Option<u64>, Fault> {
        // An id takes a byte at least.
        let here = samples.locations.len() - first;
        let whole_stacks = samples.locations.get(..first).unwrap_or_default();
        if !self.has_room(here + ids.len(), whole_stacks)
            && !self.has_room(here + count_numbers(ids), whole_stacks)
        {
            self.entries = usize::MAX;
            return Ok(None);
        }
        self.location_ids.resolve(ids, &mut samples.locations)
    }

    /// Whether so many more entries are allowed behind those of whole stacks with these `locations`.
    #[inline]
    fn has_room(&mut self, more: usize, locations: &[u32]) -> bool {
        let fits = |entries: usize| entries.saturating_add(more) <= self.limits.entries;
        fits(self.entries) || {
            self.count_frames(locations);
            fits(self.entries)
        }
    }

    #[cold]
    fn count_frames(&mut self, locations: &[u32]) {
        let new = locations.get(self.counted..).unwrap_or_default();
        let more = new.len() * self.most_frames - self.frames(new);
        self.entries = self.entries.saturating_sub(more);
        self.counted = locations.len();
    }

    /// Appends values, and counts them.
    #[inline(always)]
    fn values(&self, value: Value<'_>, count: &mut usize, samples: &mut Samples) -> Result<(), Fault> {
        numbers(value, sample::VALUE, |number| self.value(number, count, samples))
    }

    /// Appends a value, and counts it; one for which there is no type is not kept.
    #[inline(always)]
    fn value(&self, number: u64, count: &mut usize, samples: &mut Samples) {
        *count += 1;
        if *count <= self.types {
            samples.values.push(number as i64);
        }
    }

    /// Cuts the leaf side of the stack that begins at `first` to the depth allowed.
    #[inline]
    fn cut_stack(&mut self, first: usize, locations: &mut Vec<u32>) {
        let count = locations.len() - first;
        if count * self.most_frames <= self.limits.depth {
            return;
        }
        let stack = locations.get(first..).unwrap_or_default();
        if self.frames(stack) <= self.limits.depth {
            return;
        }
        let (mut frames, mut kept) = (0, 0);
        for location in stack.iter().rev() {
            let here = self.frames(std::slice::from_ref(location));
            if frames + here > self.limits.depth {
                locations.drain(first..first + count - kept);
                self.cuts.stacks = self.cuts.stacks.saturating_add(1);
                break;
            }
            (frames, kept) = (frames + here, kept + 1);
        }
    }

    /// How many frames these locations have together.
    fn frames(&self, locations: &[u32]) -> usize {
        let frames_of = |&location: &u32| {
            self.locations.get(location as usize).map_or(0, |location| location.count as usize)
        };
        locations.iter().map(frames_of).sum()
    }

    #[cold]
    fn missing_location(&self, place: Place, id: u64) -> Error {
        let count = self.locations.len();
        Error::malformed(
            place,
            format_args!("it refers to location {id}, which is missing ({count} locations)"),
            CUT_OFF,
        )
    }

    fn label(&self, place: Place, bytes: &[u8]) -> Result<Option<SampleLabel>, Error> {
        const KEY: u64 = number_key(label::KEY);
        const STR: u64 = number_key(label::STR);
        const NUM: u64 = number_key(label::NUM);
        let (mut key, mut text) = (0, 0);
        let mut cursor = Cursor::new(bytes);
        if cursor.next_is(KEY) {
            key = cursor.short_number().map_err(|fault| place.broken(fault))?;
        }
        if cursor.next_is(STR) {
            text = cursor.last_short_number(bytes).map_err(|fault| place.broken(fault))?;
        }
        if cursor.next_is(NUM) {
            cursor.number().map_err(|fault| place.broken(fault))?;
        }
        while let Some((number, value)) = cursor.field().map_err(|fault| place.broken(fault))? {
            let target = match number {
                label::KEY => &mut key,
                label::STR => &mut text,
                _ => continue,
            };
            *target = value.number(number).map_err(|fault| place.broken(fault))?;
        }
        self.text_label(place, key, text)
    }

    #[inline]
    fn text_label(&self, place: Place, key: u64, text: u64) -> Result<Option<SampleLabel>, Error> {
        let (key, value) = (self.texts.keep(key, place)?, self.texts.keep(text, place)?);
        Ok((key != 0 && value != 0).then_some(SampleLabel { key, value }))
    }
}
