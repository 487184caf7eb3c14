//! What lies at an address: functions, one for each call that the compiler inlined there.

use addr2line::demangle_auto;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Calls inlined into each other at one address; more are cut, those nearest the root go.
pub(crate) const MAX_CALLS: usize = 64;
/// Longest name of a function or file, in bytes.
const MAX_NAME: usize = 4096;

/// A function at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Its name for people.
    #[serde(rename = "f")]
    pub function: String,
    /// Its name for the linker, when that is another one.
    #[serde(rename = "s", default, skip_serializing_if = "String::is_empty")]
    pub system_name: String,
    /// Its source file.
    #[serde(rename = "p", default, skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// The line of the address, or of the call that was inlined; 0 when unknown.
    #[serde(rename = "l", default)]
    pub line: u32,
}

impl Call {
    /// A call of the function that the linker knows as `name`, at a place in the source.
    pub(crate) fn new(name: &str, file: &str, line: u32) -> Self {
        let name = cut(name);
        let function = match without_shapes(name) {
            Some(function) => function,
            None => cut(&demangle_auto(Cow::Borrowed(name), None)).to_owned(),
        };
        let system_name = if function == name { String::new() } else { name.to_owned() };
        Self { function, system_name, file: cut(file).to_owned(), line }
    }

    /// Bytes that this takes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.function.len() + self.system_name.len() + self.file.len()
    }
}

/// The name of a generic function of Go as Go's own profiles have it: `main.Map[...]` for
/// `main.Map[go.shape.int]`.
fn without_shapes(name: &str) -> Option<String> {
    let start = name.find("[go.shape.")?;
    let end = name.rfind(']').filter(|&end| end > start)?;
    Some(format!("{}[...]{}", name.get(..start)?, name.get(end + 1..)?))
}

/// The beginning of a text that is too long.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_NAME);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_demangled_and_cut() {
        for (name, function, system_name) in [
            ("main", "main", ""),
            ("_ZN3foo3barEi", "foo::bar(int)", "_ZN3foo3barEi"),
            ("main.(*T).Do", "main.(*T).Do", ""),
            (
                "main.Map[go.shape.int,go.shape.[]uint8].f",
                "main.Map[...].f",
                "main.Map[go.shape.int,go.shape.[]uint8].f",
            ),
            ("]x[go.shape.", "]x[go.shape.", ""),
        ] {
            let call = Call::new(name, "", 0);
            assert_eq!((call.function.as_str(), call.system_name.as_str()), (function, system_name));
        }
        let long = format!("x{}", "\u{e9}".repeat(MAX_NAME));
        assert_eq!(Call::new(&long, &long, 0).function.len(), MAX_NAME - 1);
    }
}
