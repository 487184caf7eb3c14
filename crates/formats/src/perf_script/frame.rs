//! A frame's line: `address symbol+0xoffset (module)`.

use crate::assembly::Assembly;
use everflame_profile::{Frame, FrameKind, Mapping};

/// Addresses of the kernel, on machines with 64 bits.
const KERNEL_ADDRESSES: u64 = 0xffff_8000_0000_0000;

/// What such a line says. A symbol that is not known is empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FrameLine<'a> {
    pub(super) address: u64,
    pub(super) symbol: &'a str,
    pub(super) module: &'a str,
}

impl<'a> FrameLine<'a> {
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let (address, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let address = u64::from_str_radix(address.strip_prefix("0x").unwrap_or(address), 16).ok()?;
        let (symbol, module) = split_module(rest.trim());
        let symbol = match symbol.rsplit_once("+0x") {
            Some((symbol, offset)) if offset.chars().all(|c| c.is_ascii_hexdigit()) => symbol,
            _ => symbol,
        };
        Some(Self { address, symbol: if symbol == "[unknown]" { "" } else { symbol }, module })
    }

    pub(super) fn location(&self, assembly: &mut Assembly<'_>) -> u32 {
        let inlined = self.module == "inlined";
        let function = assembly.string(self.symbol);
        let file = match self.module {
            "inlined" | "[unknown]" => 0,
            module => assembly.string(module),
        };
        let mapping = assembly.symbols.intern_mapping(Mapping { file, ..Mapping::default() });
        let kind = match self.address >= KERNEL_ADDRESSES || self.module.starts_with("[kernel") {
            true => FrameKind::Kernel,
            false => FrameKind::Native,
        };
        let address = if function == 0 { self.address } else { 0 };
        assembly.frame(Frame { function, mapping, kind, address, inlined, ..Frame::default() })
    }
}

/// Symbol and module of `symbol (module)`. Both may have parentheses: the module is what those hold that the
/// last one closes, when a space is in front of them.
fn split_module(text: &str) -> (&str, &str) {
    let Some(inside) = text.strip_suffix(')') else { return (text, "") };
    let mut open = 1;
    for (at, byte) in inside.bytes().enumerate().rev() {
        match byte {
            b')' => open += 1,
            b'(' => open -= 1,
            _ => {}
        }
        if open == 0 {
            let (symbol, module) = inside.split_at(at);
            let is_module = symbol.is_empty() || symbol.ends_with(' ');
            return if is_module {
                (symbol.trim_end(), module.get(1..).unwrap_or_default())
            } else {
                (text, "")
            };
        }
    }
    // A path may have one alone.
    inside.rsplit_once(" (").unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_and_modules_have_parentheses() {
        for (line, symbol, module) in [
            ("foo+0x12 (/usr/bin/prog (deleted))", "foo", "/usr/bin/prog (deleted)"),
            ("[unknown] (/memfd:doublemapper (deleted))", "", "/memfd:doublemapper (deleted)"),
            ("[unknown] ([unknown])", "", "[unknown]"),
            ("operator()(int) const+0x12 (/bin/x)", "operator()(int) const", "/bin/x"),
            (
                "std::function<void (int)>::operator()+0x1 (/opt/My App (x86)/bin)",
                "std::function<void (int)>::operator()",
                "/opt/My App (x86)/bin",
            ),
            ("std::fib<int, long>(char const*)", "std::fib<int, long>(char const*)", ""),
            ("foo (/opt/a)b)", "foo", "/opt/a)b"),
            ("foo (inlined)", "foo", "inlined"),
            ("(/bin/x)", "", "/bin/x"),
            ("a+0xfoo+0x12", "a+0xfoo", ""),
            ("foo)", "foo)", ""),
            ("", "", ""),
        ] {
            let line = format!("\t    113b {line}");
            assert_eq!(
                FrameLine::parse(&line),
                Some(FrameLine { address: 0x113b, symbol, module }),
                "{line}"
            );
        }
        assert_eq!(FrameLine::parse("\tburn.c:2"), None);
    }
}
