//! Which profile name and which types an upload gets, wire by wire.

use crate::error::Error;
use everflame_profile::{Profile, ProfileType, ValueType};
use serde::Deserialize;
use std::collections::HashMap;

/// What a suffix of an application name stands for, as in `shop.cpu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SuffixType {
    /// Profile name.
    pub(crate) name: &'static str,
    kind: &'static str,
    unit: &'static str,
    /// Whether values are counts of samples taken at a rate, stored as nanoseconds.
    rated: bool,
}

const fn counted(name: &'static str, kind: &'static str, unit: &'static str) -> SuffixType {
    SuffixType { name, kind, unit, rated: false }
}

const CPU: SuffixType = SuffixType { name: "process_cpu", kind: "cpu", unit: "nanoseconds", rated: true };
const WALL: SuffixType = SuffixType { name: "wall", kind: "wall", unit: "nanoseconds", rated: true };

/// The suffixes of application names in formats that say nothing about their type.
const SUFFIXES: &[(&str, SuffixType)] = &[
    ("cpu", CPU),
    ("itimer", CPU),
    ("wall", WALL),
    ("seconds", WALL),
    ("milliseconds", WALL),
    ("microseconds", WALL),
    ("nanoseconds", WALL),
    ("alloc_objects", counted("memory", "alloc_objects", "count")),
    ("inuse_objects", counted("memory", "inuse_objects", "count")),
    ("alloc_in_new_tlab_objects", counted("memory", "alloc_in_new_tlab_objects", "count")),
    ("alloc_outside_tlab_objects", counted("memory", "alloc_outside_tlab_objects", "count")),
    ("live", counted("memory", "live", "count")),
    ("alloc_space", counted("memory", "alloc_space", "bytes")),
    ("inuse_space", counted("memory", "inuse_space", "bytes")),
    ("alloc_in_new_tlab_bytes", counted("memory", "alloc_in_new_tlab_bytes", "bytes")),
    ("alloc_outside_tlab_bytes", counted("memory", "alloc_outside_tlab_bytes", "bytes")),
    ("bytes", counted("memory", "samples", "bytes")),
    ("goroutines", counted("goroutine", "goroutines", "count")),
    ("mutex_count", counted("mutex", "contentions", "count")),
    ("mutex_duration", counted("mutex", "delay", "nanoseconds")),
    ("block_count", counted("block", "contentions", "count")),
    ("lock_count", counted("block", "contentions", "count")),
    ("block_duration", counted("block", "delay", "nanoseconds")),
    ("lock_duration", counted("block", "delay", "nanoseconds")),
    ("exceptions", counted("exceptions", "samples", "count")),
];

/// Splits `app` into the service and the type that its suffix names. Without a known suffix all of it is
/// the service, and the type is CPU.
pub(crate) fn split_suffix(app: &str) -> (&str, SuffixType) {
    if let Some((service, suffix)) = app.rsplit_once('.')
        && let Some((_, suffix_type)) = SUFFIXES.iter().find(|(name, _)| *name == suffix)
        && !service.is_empty()
    {
        return (service, *suffix_type);
    }
    (app, CPU)
}

impl SuffixType {
    /// Whether values in `unit` can be of this type, as they are or as counts that were taken at a rate.
    pub(crate) fn fits(self, unit: &str) -> bool {
        unit == self.unit || self.rated && unit == "count"
    }

    /// Gives `profile`, whose values are in a unit that fits, this type.
    pub(crate) fn rename(self, profile: &mut Profile, rate: u32) {
        match profile.sample_types.first() {
            Some(own) if own.unit == self.unit => {
                let period =
                    if self.rated { ValueType::new("cpu", "nanoseconds") } else { ValueType::default() };
                (profile.period_type, profile.period) = (period, 0);
                profile.sample_types = vec![ValueType::new(self.kind, self.unit)];
            }
            _ => self.apply(profile, rate),
        }
    }

    /// Gives `profile`, which has one sample type, this type. Counts that were taken at `rate` a second
    /// become nanoseconds; with a rate of 0 they stay counts. Counts that would be 292 years or more together
    /// are none: those were sent as nanoseconds.
    pub(crate) fn apply(self, profile: &mut Profile, rate: u32) {
        let rate = i64::from(rate);
        profile.default_sample_type = None;
        (profile.period_type, profile.period) = (ValueType::default(), 0);
        let (kind, unit) = match self.rated && rate == 0 {
            true => ("samples", "count"),
            false => (self.kind, self.unit),
        };
        profile.sample_types = vec![ValueType::new(kind, unit)];
        if self.rated && rate > 0 {
            profile.period_type = ValueType::new("cpu", "nanoseconds");
            profile.period = 1_000_000_000 / rate;
            let values = &mut profile.samples.values;
            let count: u128 = values.iter().map(|value| u128::from(value.unsigned_abs())).sum();
            if count <= i64::MAX as u128 / profile.period.unsigned_abs().max(1) as u128 {
                values.iter_mut().for_each(|value| *value = value.saturating_mul(profile.period));
            }
        }
    }
}

/// What `sample_type_config` says about a sample type; the stored types are the profile's own.
#[derive(Debug, Default, Deserialize)]
struct TypeConfig {
    #[serde(default, rename = "display-name")]
    display_name: Option<String>,
}

/// The part `sample_type_config` of an upload.
#[derive(Debug)]
pub(crate) struct SampleTypeConfig(HashMap<String, TypeConfig>);

impl SampleTypeConfig {
    /// Reads the JSON; nothing, nothing but space, or null is the default configuration.
    pub(crate) fn parse(json: Option<&[u8]>) -> Result<Self, Error> {
        let json = json.map(<[u8]>::trim_ascii).unwrap_or_default();
        if json.is_empty() {
            return Ok(Self::default());
        }
        let config: Result<Option<HashMap<_, Option<TypeConfig>>>, _> = serde_json::from_slice(json);
        let config = config.map_err(|error| {
            Error::unprocessable(format!(
                "sample_type_config: {error}; send a JSON object such as \
                 {{\"samples\":{{\"units\":\"samples\",\"display-name\":\"cpu\"}}}}"
            ))
        })?;
        let types =
            config.map(|types| types.into_iter().map(|(kind, config)| (kind, config.unwrap_or_default())));
        Ok(types.map_or_else(Self::default, |types| Self(types.collect())))
    }

    pub(crate) fn contains(&self, kind: &str) -> bool {
        self.0.contains_key(kind)
    }

    fn display_name<'a>(&'a self, kind: &'a str) -> &'a str {
        let name = self.0.get(kind).and_then(|config| config.display_name.as_deref());
        name.filter(|name| !name.is_empty()).unwrap_or(kind)
    }
}

impl Default for SampleTypeConfig {
    fn default() -> Self {
        let names = [
            ("samples", "cpu"),
            ("goroutine", "goroutines"),
            ("contentions", "mutex_count"),
            ("delay", "mutex_duration"),
        ];
        Self(
            names
                .into_iter()
                .map(|(kind, name)| (kind.to_owned(), TypeConfig { display_name: Some(name.to_owned()) }))
                .collect(),
        )
    }
}

/// The profile name of a pprof that came through `/ingest`, where only types and their display names tell.
pub(crate) fn name_by_types(types: &[ValueType], config: &SampleTypeConfig) -> String {
    if types.iter().any(|sample_type| sample_type.kind == "wall") {
        return "wall".to_owned();
    }
    let by_name = |kind: &str| {
        let name = config.display_name(kind);
        if name.contains("cpu") {
            Some("process_cpu")
        } else if name.contains("alloc_") || name.contains("inuse_") || name == "space" || name == "objects" {
            Some("memory")
        } else if name.contains("mutex_") {
            Some("mutex")
        } else if name.contains("block_") {
            Some("block")
        } else if name.contains("goroutines") {
            Some("goroutines")
        } else {
            None
        }
    };
    match types.iter().find_map(|sample_type| by_name(&sample_type.kind)) {
        Some(name) => name.to_owned(),
        None => types.last().map(|sample_type| sample_type.kind.clone()).unwrap_or_default(),
    }
}

/// The profile name that suits `profile`, judged by its sample types: `process_cpu`, `memory`, …
pub fn profile_name(profile: &Profile) -> String {
    match name_by_types(&profile.sample_types, &SampleTypeConfig::default()) {
        name if name == "goroutines" => "goroutine".to_owned(),
        name => name,
    }
}

/// The types of the series of `profile`, one for each sample type, under `name` as the wire gave it.
///
/// Fails when a sample type has no name and `name` cannot stand in, or when a part contains a `:`.
pub(crate) fn profile_types(name: &str, profile: &Profile) -> Result<Vec<ProfileType>, Error> {
    let name = name.strip_prefix("godeltaprof_").unwrap_or(name);
    if profile.sample_types.is_empty() {
        return Err(Error::unprocessable(
            "pprof: it has no sample types; is it a whole profile, and not one cut off at the start?",
        ));
    }
    let mut types = Vec::with_capacity(profile.sample_types.len());
    for (at, sample) in profile.sample_types.iter().enumerate() {
        let mut sample = sample.clone();
        if sample.kind.is_empty() {
            if name.is_empty() || profile.sample_types.len() > 1 {
                return Err(Error::unprocessable(format!(
                    "pprof: sample type {at} has no name; send the profile with the label __name__ (Push), or \
                     with a name in its sample_type"
                )));
            }
            sample.kind = name.to_owned();
            if sample.unit.is_empty() {
                sample.unit = "count".to_owned();
            }
        }
        let name = if name == "wall" && sample.kind == "cpu" { "process_cpu" } else { name };
        let profile_type = ProfileType { name: name.to_owned(), sample, period: profile.period_type.clone() };
        for part in [
            &profile_type.name,
            &profile_type.sample.kind,
            &profile_type.sample.unit,
            &profile_type.period.kind,
            &profile_type.period.unit,
        ] {
            if part.contains(':') {
                return Err(Error::unprocessable(format!(
                    "profile type: {part:?} contains ':', which separates the parts of a profile type; \
                     send it without"
                )));
            }
        }
        types.push(profile_type);
    }
    Ok(types)
}

/// profefe's types and what they are called here.
const PROFEFE: [(&str, &str); 7] = [
    ("cpu", "process_cpu"),
    ("heap", "memory"),
    ("block", "block"),
    ("mutex", "mutex"),
    ("goroutine", "goroutine"),
    ("threadcreate", "threadcreate"),
    ("other", "other"),
];

/// The profile name of a profefe type; nothing when there is no such type. (`trace` has none: an execution
/// trace is not a profile.)
pub fn profefe_profile_name(profefe_type: &str) -> Option<&'static str> {
    PROFEFE.iter().find(|(theirs, _)| *theirs == profefe_type).map(|&(_, ours)| ours)
}

/// The profefe type of a profile name, `other` when it has no better one.
pub fn profefe_type(profile_name: &str) -> &'static str {
    // What a pprof through `/ingest` is called: see `name_by_types`.
    if profile_name == "goroutines" {
        return "goroutine";
    }
    PROFEFE.iter().find(|(_, ours)| *ours == profile_name).map_or("other", |&(theirs, _)| theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(kinds: &[&str]) -> Vec<ValueType> {
        kinds.iter().map(|kind| ValueType::new(*kind, "count")).collect()
    }

    #[test]
    fn suffixes() {
        for (app, expect) in [
            ("shop", "shop process_cpu:cpu:nanoseconds:cpu:nanoseconds"),
            ("shop.cpu", "shop process_cpu:cpu:nanoseconds:cpu:nanoseconds"),
            ("shop.itimer", "shop process_cpu:cpu:nanoseconds:cpu:nanoseconds"),
            ("a.b.wall", "a.b wall:wall:nanoseconds:cpu:nanoseconds"),
            ("shop.alloc_space", "shop memory:alloc_space:bytes::"),
            ("shop.live", "shop memory:live:count::"),
            ("shop.bytes", "shop memory:samples:bytes::"),
            ("shop.goroutines", "shop goroutine:goroutines:count::"),
            ("shop.lock_duration", "shop block:delay:nanoseconds::"),
            ("shop.exceptions", "shop exceptions:samples:count::"),
            ("rideshare.python.app", "rideshare.python.app process_cpu:cpu:nanoseconds:cpu:nanoseconds"),
            (".cpu", ".cpu process_cpu:cpu:nanoseconds:cpu:nanoseconds"),
        ] {
            let (service, suffix) = split_suffix(app);
            let mut profile = Profile::default();
            suffix.apply(&mut profile, 100);
            let types = profile_types(suffix.name, &profile).unwrap();
            assert_eq!(format!("{service} {}", types[0]), expect, "{app}");
        }
    }

    #[test]
    fn a_rate_of_zero_counts_samples() {
        let mut profile = Profile::default();
        split_suffix("shop.wall").1.apply(&mut profile, 0);
        assert_eq!(profile_types("wall", &profile).unwrap()[0].to_string(), "wall:samples:count::");
    }

    #[test]
    fn counts_that_would_be_centuries_are_nanoseconds() {
        for (values, expect) in [
            (vec![3, 4], [30_000_000, 40_000_000]),
            (vec![4_000_000_000_000_000, 182_162_110_000_000], [4_000_000_000_000_000, 182_162_110_000_000]),
            (vec![i64::MAX, i64::MIN], [i64::MAX, i64::MIN]),
        ] {
            let mut profile = Profile::default();
            profile.samples.values = values;
            split_suffix("shop.cpu").1.apply(&mut profile, 100);
            assert_eq!(profile.samples.values, expect);
        }
    }

    #[test]
    fn names_by_types() {
        let default = SampleTypeConfig::default();
        for (kinds, expect) in [
            (&["samples", "cpu"][..], "process_cpu"),
            (&["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"], "memory"),
            (&["objects", "space"], "memory"),
            (&["goroutine"], "goroutines"),
            (&["contentions", "delay"], "mutex"),
            (&["samples", "wall"], "wall"),
            (&["sample", "wall", "cpu"], "wall"),
            (&["exception", "lock-count"], "lock-count"),
            (&[], ""),
        ] {
            assert_eq!(name_by_types(&types(kinds), &default), expect, "{kinds:?}");
        }
        let block =
            br#"{"contentions":{"display-name":"block_count"},"delay":{"display-name":"block_duration"}}"#;
        let block = SampleTypeConfig::parse(Some(block)).unwrap();
        assert_eq!(name_by_types(&types(&["contentions", "delay"]), &block), "block");
        for (json, expect) in [
            ("null", "process_cpu"),
            (r#"{"samples":null}"#, "samples"),
            (r#"{"samples":{"display-name":null,"units":null}}"#, "samples"),
        ] {
            let config = SampleTypeConfig::parse(Some(json.as_bytes())).unwrap();
            assert_eq!(name_by_types(&types(&["samples"]), &config), expect, "{json}");
        }
        assert!(
            SampleTypeConfig::parse(Some(b"{]")).unwrap_err().to_string().starts_with("sample_type_config:")
        );
    }

    #[test]
    fn renames_and_refusals() {
        let profile = |kinds: &[&str]| Profile { sample_types: types(kinds), ..Profile::default() };
        let names = |name, kinds: &[&str]| match profile_types(name, &profile(kinds)) {
            Ok(types) => types.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(names("godeltaprof_memory", &["a"]), "memory:a:count::");
        assert_eq!(names("wall", &["wall", "cpu"]), "wall:wall:count:: process_cpu:cpu:count::");
        assert_eq!(names("goroutine", &[""]), "goroutine:goroutine:count::");
        assert!(names("", &[""]).contains("sample type 0 has no name"));
        assert!(names("x", &["", "b"]).contains("sample type 0 has no name"));
        assert!(names("x", &["a:b"]).contains("contains ':'"));
        assert!(names("x", &[]).contains("no sample types"));
    }

    #[test]
    fn profefe_types_round_trip() {
        for (theirs, ours) in PROFEFE {
            assert_eq!((profefe_profile_name(theirs), profefe_type(ours)), (Some(ours), theirs));
        }
        assert_eq!((profefe_profile_name("trace"), profefe_type("wall")), (None, "other"));
        assert_eq!(profefe_type(&name_by_types(&types(&["goroutine"]), &Default::default())), "goroutine");
    }
}
