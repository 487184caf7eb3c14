//! The formats whose files say themselves what they measure (pprof, which has wires of its own, apart).

use crate::{Error, Limits, Parts, cpuprofile, firefox, gzip, jfr, json_text, perf_script, speedscope};

/// A format of files with one or several profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `.cpuprofile` of V8.
    CpuProfile,
    /// A profile of the Firefox Profiler.
    Firefox,
    /// A recording of the JDK or of async-profiler.
    Jfr,
    /// What `perf script` prints.
    PerfScript,
    /// speedscope's JSON.
    Speedscope,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::CpuProfile, Self::Firefox, Self::Jfr, Self::PerfScript, Self::Speedscope];

    /// What people and wires call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CpuProfile => "cpuprofile",
            Self::Firefox => "firefox",
            Self::Jfr => "jfr",
            Self::PerfScript => "perf_script",
            Self::Speedscope => "speedscope",
        }
    }

    /// The format that is called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == name)
    }

    /// The format that `bytes` are in, gzip or plain, as far as can be told without reading them.
    pub fn detect(bytes: &[u8], limits: &Limits) -> Option<Self> {
        let body = gzip::inflate_if_gzip(bytes, limits).ok()?;
        if body.starts_with(jfr::MAGIC) {
            return Some(Self::Jfr);
        }
        if json_text::without_mark(&body).trim_ascii_start().first() != Some(&b'{') {
            return perf_script::looks_like(&body).then_some(Self::PerfScript);
        }
        // Members of an object come in any order, with megabytes in front of them and behind.
        if memchr::memmem::find(&body, b"speedscope.app/file-format-schema.json").is_some() {
            return Some(Self::Speedscope);
        }
        let has = |name: &str, is_value: fn(&u8) -> bool| has_member(&body, name, is_value);
        if has("\"nodes\"", is_list) && has("\"callFrame\"", is_object) {
            return Some(Self::CpuProfile);
        }
        // As V8 wrote it before there were nodes.
        if has("\"head\"", is_object)
            && has("\"functionName\"", is_text)
            && has("\"hitCount\"", u8::is_ascii_digit)
        {
            return Some(Self::CpuProfile);
        }
        let is_firefox = has("\"threads\"", is_list)
            && has("\"meta\"", is_object)
            && has("\"interval\"", u8::is_ascii_digit);
        is_firefox.then_some(Self::Firefox)
    }

    /// Reads `bytes`, gzip or plain.
    pub fn read(self, bytes: &[u8], limits: &Limits) -> Result<Parts, Error> {
        match self {
            Self::CpuProfile => cpuprofile::read(bytes, limits),
            Self::Firefox => firefox::read(bytes, limits),
            Self::Jfr => jfr::read(bytes, &jfr::Options::default(), limits),
            Self::PerfScript => perf_script::read(bytes, limits),
            Self::Speedscope => speedscope::read(bytes, limits),
        }
    }
}

fn is_list(first: &u8) -> bool {
    *first == b'['
}

fn is_text(first: &u8) -> bool {
    *first == b'"'
}

fn is_object(first: &u8) -> bool {
    *first == b'{'
}

/// Whether an object in `body` has a member of this name, in quotes, whose value begins with such a byte.
fn has_member(body: &[u8], name: &str, is_value: fn(&u8) -> bool) -> bool {
    memchr::memmem::find_iter(body, name).any(|at| {
        let behind = body.get(at + name.len()..).unwrap_or_default().trim_ascii_start();
        behind.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().first().is_some_and(is_value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(text: &str) -> Option<Format> {
        Format::detect(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn members_come_in_any_order_and_are_large() {
        let many = vec!["1000"; 40_000].join(",");
        let node = r#"{"id": 1, "callFrame": {"functionName": "a"}}"#;
        for (text, expect) in [
            (
                format!(r#"{{"samples":[{many}],"nodes":[{node}],"timeDeltas":[{many}]}}"#),
                Some(Format::CpuProfile),
            ),
            (
                format!(
                    r#"{{"meta":{{"interval":1}},"shared":{{"x":[{many}]}}, "threads" : [{{"stack":[{many}]}}],"pages":[{many}]}}"#
                ),
                Some(Format::Firefox),
            ),
            (
                format!(
                    r#"{{"profiles":[{many}],"$schema":"https://www.speedscope.app/file-format-schema.json","x":[{many}]}}"#
                ),
                Some(Format::Speedscope),
            ),
            (format!("\u{feff} {{\"nodes\":[{node}]}}"), Some(Format::CpuProfile)),
            // Texts are no members.
            (
                format!(r#"{{"x":[{many}],"strings":["nodes","callFrame","meta","threads","interval"]}}"#),
                None,
            ),
        ] {
            assert_eq!(detect(&text), expect);
        }
    }
}
