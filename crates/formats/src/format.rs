//! The formats whose files say themselves what they measure (pprof, which has wires of its own, apart).

use crate::{Error, Limits, Parts, gzip, speedscope};

/// A format of files with one or several profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// speedscope's JSON.
    Speedscope,
}

/// So much of a file says what it is.
const HEAD_BYTES: usize = 64 << 10;

impl Format {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Speedscope];

    /// What people and wires call it: `speedscope`, …
    pub fn as_str(self) -> &'static str {
        match self {
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
        let head = body.get(..HEAD_BYTES).unwrap_or(&body).trim_ascii_start();
        let has = |text: &str| memchr::memmem::find(head, text.as_bytes()).is_some();
        if head.first() != Some(&b'{') {
            return None;
        }
        has("speedscope.app/file-format-schema.json").then_some(Self::Speedscope)
    }

    /// Reads `bytes`, gzip or plain.
    pub fn read(self, bytes: &[u8], limits: &Limits) -> Result<Parts, Error> {
        match self {
            Self::Speedscope => speedscope::read(bytes, limits),
        }
    }
}
