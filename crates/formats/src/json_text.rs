//! JSON as programs write it: what parsers refuse of it although it can be read.

use crate::{Error, ErrorKind};

/// The mark that some programs of Windows begin a text with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// `text` without a mark at its beginning.
pub(crate) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// What `read` makes of `text`, whose mark is left out, and where it is refused with halves of characters
/// replaced.
pub(crate) fn read<T>(text: &[u8], read: impl Fn(&[u8]) -> Result<T, Error>) -> Result<T, Error> {
    let text = without_mark(text);
    match read(text) {
        Err(error) if error.kind() == ErrorKind::Malformed => match with_whole_characters(text) {
            Some(repaired) => read(&repaired),
            None => Err(error),
        },
        result => result,
    }
}

/// A copy of `text` in which U+FFFD stands for each half of a surrogate pair, as JavaScript has them in names
/// that it cut; nothing when there are none. An escape is as long as another.
#[cold]
fn with_whole_characters(text: &[u8]) -> Option<Vec<u8>> {
    let mut repaired: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(next) = memchr::memchr(b'\\', text.get(at..)?) {
        at += next;
        at += match (unit(text, at), unit(text, at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                let repaired = repaired.get_or_insert_with(|| text.to_vec());
                if let Some(escape) = repaired.get_mut(at..at + 6) {
                    escape.copy_from_slice(b"\\ufffd");
                }
                6
            }
            (Some(_), _) => 6,
            // An escape of another kind, such as that of a backslash.
            (None, _) => 2,
        };
    }
    repaired
}

/// The number of an escape such as `\ud83d` at a position.
fn unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)? as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_characters() {
        let repaired =
            |text: &str| with_whole_characters(text.as_bytes()).map(|text| String::from_utf8(text).unwrap());
        for whole in
            ["", "a", r"\n\u0041\ud83d\ude00", r"\\ud800", r"\", r"\u", r"\ud80", r"\\\\udc00", r"\ud8zz"]
        {
            assert_eq!(repaired(whole), None, "{whole}");
        }
        for (text, expect) in [
            (r"a\ud800b", r"a\ufffdb"),
            (r"\uDCFF", r"\ufffd"),
            (r"\ud83d\ud83d\ude00\ude00", r"\ufffd\ud83d\ude00\ufffd"),
            (r"\\\ud800\n", r"\\\ufffd\n"),
            (r"\ud800\u0041", r"\ufffd\u0041"),
        ] {
            assert_eq!(repaired(text).as_deref(), Some(expect), "{text}");
        }
    }
}
