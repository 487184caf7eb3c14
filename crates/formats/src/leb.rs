//! Unsigned LEB128 numbers and names in front of which their length stands: what Pyroscope's binary trees
//! and tries are made of.

use crate::{Error, ErrorKind, Limits};
use std::borrow::Cow;

/// Most children of a node that readers of these formats take.
pub(crate) const MAX_CHILDREN: u64 = 16_000;

pub(crate) struct Reader<'a> {
    format: &'static str,
    all: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(format: &'static str, all: &'a [u8]) -> Self {
        Self { format, all, at: 0 }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.all.len()
    }

    pub(crate) fn number(&mut self) -> Result<u64, Error> {
        let mut number = 0;
        for nth in 0..10 {
            let Some(&byte) = self.all.get(self.at) else {
                return Err(self.error(ErrorKind::Malformed, "it ends in the middle of a node"));
            };
            self.at += 1;
            if nth == 9 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << (7 * nth);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.error(ErrorKind::Malformed, "a number has more than 64 bits"))
    }

    pub(crate) fn name(&mut self, limits: &Limits) -> Result<Cow<'a, str>, Error> {
        self.bytes(limits).map(String::from_utf8_lossy)
    }

    pub(crate) fn bytes(&mut self, limits: &Limits) -> Result<&'a [u8], Error> {
        let length = self.number()?;
        if length > limits.string_bytes as u64 {
            let fault = format!("a name has {length} bytes, at most {} are read", limits.string_bytes);
            return Err(self.error(ErrorKind::TooLarge, &fault));
        }
        let end = self.at + length as usize;
        let Some(bytes) = self.all.get(self.at..end) else {
            return Err(self.error(ErrorKind::Malformed, "it ends in the middle of a name"));
        };
        self.at = end;
        Ok(bytes)
    }

    /// How many children a node has.
    pub(crate) fn children(&mut self) -> Result<u64, Error> {
        let children = self.number()?;
        if children > MAX_CHILDREN {
            let fault = format!("a node has {children} children, at most {MAX_CHILDREN} are read");
            return Err(self.error(ErrorKind::TooLarge, &fault));
        }
        Ok(children)
    }

    #[cold]
    pub(crate) fn error(&self, kind: ErrorKind, fault: &str) -> Error {
        let remedy = match kind {
            ErrorKind::TooLarge => "send a smaller tree",
            _ => "send the whole tree, unchanged",
        };
        Error::new(kind, format_args!("{}: byte {}", self.format, self.at), fault, remedy)
    }
}
