//! Assembles pprof messages by hand, right ones and wrong ones.
#![allow(dead_code, reason = "each test file uses its part")]

/// A message under construction.
#[derive(Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

pub(crate) fn message() -> Message {
    Message::default()
}

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(crate) fn number(mut self, field: u64, number: i64) -> Self {
        self.varint(field << 3);
        self.varint(number as u64);
        self
    }

    pub(crate) fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn message(self, field: u64, inner: Message) -> Self {
        self.bytes(field, &inner.0)
    }

    pub(crate) fn packed(self, field: u64, numbers: &[i64]) -> Self {
        let mut inner = message();
        numbers.iter().for_each(|&number| inner.varint(number as u64));
        self.bytes(field, &inner.0)
    }

    pub(crate) fn strings(self, texts: &[&str]) -> Self {
        texts.iter().fold(self, |message, text| message.bytes(6, text.as_bytes()))
    }

    pub(crate) fn sample_type(self, kind: i64, unit: i64) -> Self {
        self.message(1, message().number(1, kind).number(2, unit))
    }

    pub(crate) fn sample(self, locations: &[i64], values: &[i64]) -> Self {
        self.message(2, message().packed(1, locations).packed(2, values))
    }

    pub(crate) fn function(self, id: i64, name: i64) -> Self {
        self.message(5, message().number(1, id).number(2, name))
    }

    /// A location with one line per function, innermost first; the line number is the function's id.
    pub(crate) fn location(self, id: i64, mapping: i64, address: i64, functions: &[i64]) -> Self {
        let location = message().number(1, id).number(2, mapping).number(3, address);
        let line = |function: &i64| message().number(1, *function).number(2, *function);
        self.message(
            4,
            functions.iter().fold(location, |location, function| location.message(4, line(function))),
        )
    }
}

/// Two stacks of `main` (inlined into it: `work`) and an unsymbolized frame, with a label.
pub(crate) fn valid() -> Message {
    let label = message().number(1, 6).number(2, 7);
    let number = message().number(1, 6).number(3, 9);
    message()
        .sample_type(1, 2)
        .message(2, message().packed(1, &[2, 1]).packed(2, &[5]).message(3, label).message(3, number))
        .sample(&[1], &[-2])
        .message(3, message().number(1, 1).number(2, 0x1000).number(3, 0x9000).number(5, 5).number(6, 8))
        .location(1, 1, 0x1234, &[2, 1])
        .location(2, 1, 0x2345, &[])
        .function(1, 3)
        .function(2, 4)
        .strings(&["", "cpu", "nanoseconds", "main", "work", "/bin/app", "thread", "ui", "abc123"])
        .number(9, 1_700_000_000_000_000_000)
        .number(10, 10)
        .message(11, message().number(1, 1).number(2, 2))
        .number(12, 100)
}
