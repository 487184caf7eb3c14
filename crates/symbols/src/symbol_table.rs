//! Names from the symbol tables of an ELF file: the linker's, and the one of dynamic linking.

use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

/// Most symbols that are read; a browser has a million.
const MAX_SYMBOLS: usize = 4_000_000;

/// The functions of a file by address.
pub(crate) struct SymbolTable<'data> {
    /// In the order of addresses, one at each.
    symbols: Vec<Symbol<'data>>,
}

struct Symbol<'data> {
    address: u64,
    /// Zero when the table does not say: then it goes on to the next one.
    size: u64,
    name: &'data [u8],
}

impl<'data> SymbolTable<'data> {
    pub(crate) fn of(file: &object::File<'data>) -> Self {
        let code: Vec<bool> = {
            let mut code = Vec::new();
            for section in file.sections() {
                let at = section.index().0;
                if code.len() <= at && at < usize::from(u16::MAX) {
                    code.resize(at + 1, false);
                }
                if let Some(slot) = code.get_mut(at) {
                    *slot = section.kind() == SectionKind::Text;
                }
            }
            code
        };
        let is_function = |symbol: &object::Symbol<'data, '_>| match symbol.kind() {
            SymbolKind::Text => symbol.is_definition(),
            // Functions in assembly often have no kind.
            SymbolKind::Unknown | SymbolKind::Label => {
                let section = symbol.section_index().and_then(|section| code.get(section.0));
                section.copied().unwrap_or_default()
            }
            _ => false,
        };
        let all = file.symbols().chain(file.dynamic_symbols()).take(MAX_SYMBOLS);
        let functions = all.filter(is_function).filter_map(|symbol| {
            let name = symbol.name_bytes().ok().filter(|name| !name.is_empty())?;
            // The marks of ARM for code and data.
            let is_mark = name.starts_with(b"$");
            (!is_mark).then_some((
                !symbol.is_global(),
                Symbol { address: symbol.address(), size: symbol.size(), name },
            ))
        });
        let mut functions: Vec<(bool, Symbol<'data>)> = functions.collect();
        // Of several names of one place the one that others know, of the longest function, is best.
        functions.sort_by(|(a_local, a), (b_local, b)| {
            (a.address, std::cmp::Reverse(a.size), a_local).cmp(&(
                b.address,
                std::cmp::Reverse(b.size),
                b_local,
            ))
        });
        functions.dedup_by_key(|(_, symbol)| symbol.address);
        Self { symbols: functions.into_iter().map(|(_, symbol)| symbol).collect() }
    }

    /// The name of the function at `address`.
    pub(crate) fn name(&self, address: u64) -> Option<std::borrow::Cow<'data, str>> {
        let after = self.symbols.partition_point(|symbol| symbol.address <= address);
        let symbol = self.symbols.get(after.checked_sub(1)?)?;
        let ends = symbol.address.saturating_add(symbol.size);
        let holds = symbol.size == 0 || address < ends;
        holds.then(|| {
            // A name may carry the version of a library.
            let name = String::from_utf8_lossy(symbol.name);
            match name.find("@") {
                Some(at @ 1..) => std::borrow::Cow::Owned(name[..at].to_owned()),
                _ => name,
            }
        })
    }
}
