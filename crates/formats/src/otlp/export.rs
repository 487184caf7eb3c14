//! Reads an export: resources, scopes, profiles.

use super::any_value::{self, Text};
use super::dictionary::{Dictionary, RawTables};
use super::naming::{Named, name, with_service};
use super::original::{Original, Originals};
use super::place::Place;
use super::profile::{Head, LinkKeys, Refusal, SampleReader, Scratch, Taken, unnamed};
use super::v1_7::{self, Upgraded};
use crate::pprof::wire::{Cursor, Fault};
use crate::{Cuts, Error, Limits, Moments, Part, Parts, gzip};
use everflame_profile::{Profile, Samples, StringIndex};

/// What an export holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Export {
    /// The profiles, one for each service that the samples of a profile name. The label `service_name` is
    /// among their labels.
    pub parts: Vec<Part>,
    /// For each of them the id that the sender gave to the profile; none where it gave none, or to several parts,
    /// and none of JSON.
    pub ids: Vec<Option<u128>>,
    /// What had to be shortened.
    pub cuts: Cuts,
    /// Profiles that the export holds.
    pub profiles: usize,
    /// Those that could not be read, and why the first could not.
    pub rejected: Option<(usize, Error)>,
}

/// Resources, scopes and profiles of an export, each.
const MAX_PROFILES: usize = 1 << 16;
/// Bytes of a label that cost about as much as a frame.
const BYTES_PER_ENTRY: usize = 4;

/// Reads an export as protobuf, gzip or plain. What is no export is refused; a profile that cannot be read is
/// left out and counted.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Export, Error> {
    let body = gzip::inflate_if_gzip(bytes, limits)?;
    let older = v1_7::upgrade(&body, limits)?;
    let (body, rejected) = match &older {
        Some(Upgraded { bytes, rejected }) => (bytes.as_slice(), rejected.clone()),
        None => (&*body, None),
    };
    let broken = |fault| Place::Message.broken(fault);
    let (mut resources, mut tables) = (Vec::new(), RawTables::default());
    let mut cursor = Cursor::new(body);
    while let Some((number, value)) = cursor.field().map_err(broken)? {
        match number {
            1 => {
                resources.push(value.bytes(number).map_err(broken)?);
                check_count("resources", resources.len())?;
            }
            2 => tables.index(value.bytes(number).map_err(broken)?, limits)?,
            _ => {}
        }
    }
    let mut export = Export { rejected, ..Export::default() };
    let mut dictionary = Dictionary::decode(&tables, limits, &mut export.cuts)?;
    let mut found = Vec::new();
    for (at, bytes) in resources.iter().enumerate() {
        find_profiles(bytes, at, &mut dictionary, limits, &mut export.cuts, &mut found)?;
    }
    let keys = LinkKeys { span: dictionary.push("span_id"), trace: dictionary.push("trace_id") };
    let mut reader = Reader {
        samples: SampleReader {
            dictionary: &dictionary,
            limits,
            keys,
            place: Place::Message,
            layout_before: None,
            entries: 0,
            scratch: Scratch::default(),
        },
        originals: Originals { left: limits.inflated_bytes },
    };
    export.profiles = found.last().map_or(0, |found| found.total)
        + export.rejected.as_ref().map_or(0, |(rejected, _)| *rejected);
    for Found { place, labels, profiles, .. } in &found {
        for (at, bytes) in profiles.iter().enumerate() {
            let place = match *place {
                Place::Profile { resource, scope, .. } => Place::Profile { resource, scope, profile: at },
                other => other,
            };
            let before = export.parts.len();
            match reader.profile(bytes, place, labels, &mut export) {
                Ok(()) => {}
                Err(Refusal::Export(error)) => return Err(error),
                Err(Refusal::Profile(error)) => {
                    export.parts.truncate(before);
                    export.ids.truncate(before);
                    export.rejected.get_or_insert((0, error)).0 += 1;
                }
            }
        }
    }
    Ok(export)
}

/// The profiles of one scope.
struct Found<'a> {
    place: Place,
    /// Attributes of resource and scope: key and value.
    labels: Labels,
    profiles: Vec<&'a [u8]>,
    /// Profiles up to here, those of this scope included.
    total: usize,
}

type Labels = Vec<(StringIndex, StringIndex)>;

/// Notes the profiles of a `ResourceProfiles`, and its attributes.
fn find_profiles<'a>(
    bytes: &'a [u8],
    resource_at: usize,
    dictionary: &mut Dictionary,
    limits: &Limits,
    cuts: &mut Cuts,
    found: &mut Vec<Found<'a>>,
) -> Result<(), Error> {
    let place = Place::Resource(resource_at);
    let broken = |fault| place.broken(fault);
    let (mut scopes, mut resource) = (Vec::new(), &[][..]);
    let mut cursor = Cursor::new(bytes);
    while let Some((number, value)) = cursor.field().map_err(broken)? {
        match number {
            1 => resource = value.bytes(number).map_err(broken)?,
            2 => {
                scopes.push(value.bytes(number).map_err(broken)?);
                check_count("scopes of one resource", scopes.len())?;
            }
            _ => {}
        }
    }
    let mut of_resource = Labels::new();
    attributes(resource, 1, place, dictionary, limits, cuts, &mut of_resource)?;
    for (scope_at, bytes) in scopes.into_iter().enumerate() {
        let place = Place::Profile { resource: resource_at, scope: scope_at, profile: 0 };
        let mut one = Found { place, labels: of_resource.clone(), profiles: Vec::new(), total: 0 };
        let mut scope = &[][..];
        let mut cursor = Cursor::new(bytes);
        while let Some((number, value)) = cursor.field().map_err(broken)? {
            match number {
                1 => scope = value.bytes(number).map_err(broken)?,
                2 if one.profiles.len() <= MAX_PROFILES => {
                    one.profiles.push(value.bytes(number).map_err(broken)?);
                }
                _ => {}
            }
        }
        attributes(scope, 3, place, dictionary, limits, cuts, &mut one.labels)?;
        one.total = found.last().map_or(0, |found| found.total) + one.profiles.len();
        check_count("profiles", one.total)?;
        // What holds no profile costs nothing.
        if !one.profiles.is_empty() {
            found.push(one);
            check_count("scopes", found.len())?;
        }
    }
    Ok(())
}

/// Refuses more than [`MAX_PROFILES`] of anything, whose entries may be two bytes in the message.
fn check_count(what: &str, count: usize) -> Result<(), Error> {
    match count > MAX_PROFILES {
        true => Err(Error::too_large(
            Place::Message,
            format_args!("it has more than {MAX_PROFILES} {what}"),
            "send fewer profiles at once",
        )),
        false => Ok(()),
    }
}

/// Refuses more profiles than an export may have, those of the services of samples counted.
fn check_parts(count: usize) -> Result<(), Refusal> {
    check_count("profiles of services", count).map_err(Refusal::Export)
}

/// Appends the attributes of a resource or a scope, which are in the field `field`.
fn attributes(
    bytes: &[u8],
    field: u32,
    place: Place,
    dictionary: &mut Dictionary,
    limits: &Limits,
    cuts: &mut Cuts,
    labels: &mut Labels,
) -> Result<(), Error> {
    let pairs = pairs(bytes, field, limits, cuts).map_err(|fault| place.broken(fault))?;
    for (key, value) in pairs {
        let Some(value) = value else { continue };
        let key = dictionary.keep(&key, place, limits, cuts)?;
        let value = dictionary.keep(&value, place, limits, cuts)?;
        if key != 0 && value != 0 {
            labels.push((key, value));
        }
    }
    Ok(())
}

type Pair<'a> = (Text<'a>, Option<Text<'a>>);

fn pairs<'a>(bytes: &'a [u8], field: u32, limits: &Limits, cuts: &mut Cuts) -> Result<Vec<Pair<'a>>, Fault> {
    let mut pairs = Vec::new();
    let mut cursor = Cursor::new(bytes);
    while let Some((number, value)) = cursor.field()? {
        if number != field {
            continue;
        }
        match pairs.len() < limits.labels_per_sample {
            true => pairs.push(any_value::key_value(value.bytes(number)?)?),
            false => cuts.labels = cuts.labels.saturating_add(1),
        }
    }
    Ok(pairs)
}

struct Reader<'a> {
    samples: SampleReader<'a>,
    originals: Originals,
}

impl Reader<'_> {
    /// Appends the parts of one profile.
    fn profile(
        &mut self,
        bytes: &[u8],
        place: Place,
        labels: &Labels,
        export: &mut Export,
    ) -> Result<(), Refusal> {
        let SampleReader { dictionary, limits, .. } = self.samples;
        let head = Head::read(bytes, place, dictionary, limits, &mut export.cuts)?;
        let labels = self.labels(labels, &head, place)?;
        let bytes: usize = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
        self.samples.charge(bytes / BYTES_PER_ENTRY + 1, place)?;
        if head.samples.is_empty()
            && let Some(original) = head.original
        {
            return self.original(original, &head, place, &labels, export);
        }
        let Named { name, sample_type, factor } = name(&head).ok_or_else(|| unnamed(place))?;
        self.samples.place = place;
        let mut by_service = self.samples.read(&head.samples, factor)?;
        check_parts(export.parts.len() + by_service.len())?;
        by_service.sort_unstable_by_key(|(service, _)| *service);
        let mut template = Some(Part {
            name,
            labels,
            profile: Profile {
                sample_types: vec![sample_type],
                default_sample_type: None,
                period_type: head.period_type,
                period: head.period,
                time: head.time,
                duration: head.duration,
                symbols: dictionary.symbols.clone(),
                locations: dictionary.locations.clone(),
                samples: Samples::default(),
                comments: Vec::new(),
            },
            moments: Moments::default(),
        });
        let id = Some(head.id).filter(|&id| id != 0 && by_service.len() == 1);
        let mut by_service = by_service.into_iter().peekable();
        while let Some((service, Taken { samples, moments })) = by_service.next() {
            let part = if by_service.peek().is_some() { template.clone() } else { template.take() };
            let Some(mut part) = part else { break };
            part.labels = with_service(part.labels, dictionary.text(service));
            part.profile.samples = samples;
            if moments.times.iter().any(|&time| time != 0) {
                part.moments = moments;
            }
            export.parts.push(part);
            export.ids.push(id);
        }
        Ok(())
    }

    /// Appends the parts of the file that a profile without samples was converted from.
    fn original(
        &mut self,
        original: Original<'_>,
        head: &Head<'_>,
        place: Place,
        labels: &[(String, String)],
        export: &mut Export,
    ) -> Result<(), Refusal> {
        let SampleReader { limits, entries, .. } = self.samples;
        let left = limits.entries.saturating_sub(entries);
        let Parts { parts, cuts } = self.originals.read(original, place, limits, left)?;
        export.cuts.add(cuts);
        check_parts(export.parts.len() + parts.len())?;
        for mut part in parts {
            let Samples { locations, values, .. } = &part.profile.samples;
            let moments = &part.moments.times;
            self.samples.charge(locations.len() + 2 * values.len() + 2 * moments.len(), place)?;
            let mut all = labels.to_vec();
            for (key, value) in std::mem::take(&mut part.labels) {
                if !all.iter().any(|(known, _)| *known == key) {
                    all.push((key, value));
                }
            }
            part.labels = with_service(all, "");
            if part.profile.time == 0 {
                (part.profile.time, part.profile.duration) = (head.time, head.duration);
            }
            export.parts.push(part);
            export.ids.push(None);
        }
        Ok(())
    }

    /// The labels that hold for a whole profile; of equal names the first stays.
    fn labels(&self, outer: &Labels, head: &Head<'_>, place: Place) -> Result<Vec<(String, String)>, Error> {
        let dictionary = self.samples.dictionary;
        // One more for the service.
        let mut labels: Vec<(String, String)> = Vec::with_capacity(outer.len() + 1);
        let mut own = Vec::new();
        for &index in head.attributes.iter().filter(|&&index| index != 0) {
            let attribute = dictionary.attributes.get(usize::try_from(index).unwrap_or(usize::MAX));
            let attribute =
                attribute.ok_or_else(|| place.missing("attribute", index, dictionary.attributes.len()))?;
            own.push((attribute.key, attribute.value));
        }
        for &(key, value) in outer.iter().chain(&own) {
            let (key, value) = (dictionary.text(key), dictionary.text(value));
            if !value.is_empty() && !labels.iter().any(|(other, _)| other == key) {
                labels.push((key.to_owned(), value.to_owned()));
            }
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::message::{Layout, Message};
    use crate::{ErrorKind, folded};

    fn shown(export: &Export) -> Vec<String> {
        let part = |part: &Part| {
            let Part { name, labels, profile, moments } = part;
            let types = format!("{}:{}", profile.sample_types[0].kind, profile.sample_types[0].unit);
            let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!(
                "{name} {types} {} {:?} {}",
                labels.join(","),
                moments.times,
                folded::write(profile, 0).trim_end()
            )
        };
        export.parts.iter().map(part).collect()
    }

    #[test]
    fn all_layouts_say_the_same() {
        for layout in [Layout::Current, Layout::V1_9, Layout::V1_8] {
            let export = read(&Message::example(layout).encode(), &Limits::default()).unwrap();
            assert_eq!(export.rejected, None, "{layout:?}");
            assert_eq!(
                shown(&export),
                [
                    "process_cpu cpu:nanoseconds pod=a,service_name=shop [11, 12, 13] main;work 60",
                    "off_cpu off_cpu:nanoseconds pod=a,service_name=shop [21, 22, 0] main 5\nmain;work 12",
                    "off_cpu off_cpu:nanoseconds pod=a,service_name=cart [] main 9",
                ],
                "{layout:?}"
            );
            let profile = &export.parts[1].profile;
            let labels = |sample: usize| {
                let text = |index| profile.symbols.strings.get(index).to_owned();
                profile
                    .samples
                    .labels(sample)
                    .iter()
                    .map(|label| (text(label.key), text(label.value)))
                    .collect::<Vec<_>>()
            };
            let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            assert_eq!(labels(0), [pair("thread.name", "w1")]);
            assert_eq!(
                labels(1),
                [pair("span_id", "0102030405060708"), pair("trace_id", "000102030405060708090a0b0c0d0e0f")]
            );
            assert_eq!((profile.time, profile.duration), (1_700_000_000_000_000_000, 5_000_000_000));
        }
    }

    #[test]
    fn frames_know_their_kind_and_their_mapping() {
        let export = read(&Message::example(Layout::Current).encode(), &Limits::default()).unwrap();
        let symbols = &export.parts[0].profile.symbols;
        let main = symbols.frames.iter().find(|frame| symbols.name(frame) == "main").unwrap();
        assert_eq!(main.kind, everflame_profile::FrameKind::Native);
        let mapping = symbols.mapping(main.mapping);
        assert_eq!(
            (symbols.strings.get(mapping.file), symbols.strings.get(mapping.build_id)),
            ("/bin/app", "abcd")
        );
        assert_eq!((mapping.memory_start, main.line, main.address), (0, 7, 0));
    }

    #[test]
    fn a_broken_profile_leaves_the_others() {
        let mut message = Message::example(Layout::Current);
        message.break_second_profile();
        let export = read(&message.encode(), &Limits::default()).unwrap();
        assert_eq!((export.profiles, export.parts.len()), (2, 1));
        let (rejected, error) = export.rejected.unwrap();
        assert_eq!(rejected, 1);
        assert!(
            error.to_string().starts_with("OTLP: resource 0, scope 0, profile 1: it refers to stack 99"),
            "{error}"
        );
    }

    #[test]
    fn a_profile_with_too_much_leaves_the_others() {
        let bytes = Message::example(Layout::Current).encode();
        for limits in
            [Limits { samples: 2, ..Limits::default() }, Limits { labels_per_sample: 1, ..Limits::default() }]
        {
            let export = read(&bytes, &limits).unwrap();
            let (rejected, error) = export.rejected.unwrap();
            assert_eq!((export.profiles, export.parts.len(), rejected), (2, 1, 1), "{error}");
            assert_eq!(error.kind(), ErrorKind::TooLarge);
            assert!(error.to_string().starts_with("OTLP: resource 0, scope 0, profile 1: "), "{error}");
        }
    }

    #[test]
    fn what_is_no_export_is_refused() {
        let bytes = Message::example(Layout::Current).encode();
        for cut in 1..bytes.len() {
            if let Err(error) = read(&bytes[..cut], &Limits::default()) {
                assert_eq!(error.kind(), ErrorKind::Malformed);
            }
        }
        assert_eq!(read(b"not protobuf", &Limits::default()).unwrap_err().kind(), ErrorKind::Malformed);
        assert_eq!(read(b"", &Limits::default()).unwrap(), Export::default());
        let many_resources = [0x0a, 0].repeat(MAX_PROFILES + 1);
        assert_eq!(read(&many_resources, &Limits::default()).unwrap_err().kind(), ErrorKind::TooLarge);
        let limits = Limits { entries: 3, ..Limits::default() };
        assert_eq!(read(&bytes, &limits).unwrap_err().kind(), ErrorKind::TooLarge);
    }
}
