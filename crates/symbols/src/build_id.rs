//! Build ids: what ties an address to the file that its code came from.

use std::fmt;

/// The fewest digits of a build id.
const MIN_DIGITS: usize = 3;
/// The most: Go's own ids, in hexadecimal, have 166. The name of a folder may have 255.
const MAX_DIGITS: usize = 200;

/// The id of a build, in lower-case hexadecimal digits: safe as the name of a folder and in a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BuildId(String);

/// What is no build id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no build id; send {MIN_DIGITS} to {MAX_DIGITS} hexadecimal digits, as `readelf -n` prints them"
)]
pub struct NotABuildId {
    text: String,
}

impl BuildId {
    /// Reads an id as senders write it.
    pub fn parse(text: &str) -> Result<Self, NotABuildId> {
        let fits = (MIN_DIGITS..=MAX_DIGITS).contains(&text.len());
        if fits && text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(NotABuildId { text: text.chars().take(MAX_DIGITS).collect() })
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `bytes` in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_nothing_else() {
        for (text, expect) in [
            ("ABCdef01", Some("abcdef01")),
            ("abc", Some("abc")),
            ("ab", None),
            ("", None),
            ("../../etc", None),
            ("abc/def", None),
            ("abcg", None),
            ("ab\u{e9}f", None),
        ] {
            assert_eq!(BuildId::parse(text).ok().as_ref().map(BuildId::as_str), expect, "{text}");
        }
        assert!(BuildId::parse(&"a".repeat(201)).is_err());
        assert!(BuildId::parse(&"a".repeat(166)).is_ok());
    }
}
