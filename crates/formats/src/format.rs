//! The formats whose files say themselves what they measure (pprof, which has wires of its own, apart).

use crate::{Error, Limits, Parts, cpuprofile, firefox, gzip, jfr, perf_script, speedscope};

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

/// So much of a file says what it is.
const HEAD_BYTES: usize = 64 << 10;

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

    /// The format that `bytes` are in, gzip or plain, as far as their beginning tells.
    pub fn detect(bytes: &[u8], limits: &Limits) -> Option<Self> {
        let body = gzip::inflate_if_gzip(bytes, limits).ok()?;
        if body.starts_with(jfr::MAGIC) {
            return Some(Self::Jfr);
        }
        let is_object = body.trim_ascii_start().first() == Some(&b'{');
        let (head, tail) = (
            body.get(..HEAD_BYTES).unwrap_or(&body),
            body.get(body.len().saturating_sub(HEAD_BYTES)..).unwrap_or_default(),
        );
        if !is_object {
            return perf_script::looks_like(head).then_some(Self::PerfScript);
        }
        // Members of an object come in any order: what tells may stand at the end.
        let has = |text: &str| {
            [head, tail].iter().any(|part| memchr::memmem::find(part, text.as_bytes()).is_some())
        };
        if has("speedscope.app/file-format-schema.json") {
            return Some(Self::Speedscope);
        }
        if has("\"nodes\"") && has("\"callFrame\"") {
            return Some(Self::CpuProfile);
        }
        (has("\"meta\"") && has("\"threads\"") && has("\"interval\"")).then_some(Self::Firefox)
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
