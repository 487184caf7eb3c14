//! The report of functions: what each weighs by itself, and with all that it called.

use super::nodes::{Meta, SymbolTable};
use super::stacks::Stacks;
use crate::wire::parca::query::v1alpha1::{Top, TopNode, TopNodeMeta};

/// The list, heaviest self value first. A recursive function counts once in each stack.
pub(super) fn report(stacks: &Stacks, unit: String) -> Top {
    let table = SymbolTable::new(stacks);
    let mut sums: Vec<(i64, i64, i64)> = vec![(0, 0, 0); table.first.len()];
    // The last row in which each entry was met.
    let mut met: Vec<usize> = vec![usize::MAX; table.first.len()];
    for (at, (row, frames)) in stacks.iter().enumerate() {
        for (depth, &frame) in frames.iter().enumerate() {
            let entry = table.entry(frame) as usize;
            let (Some(sums), Some(met)) = (sums.get_mut(entry), met.get_mut(entry)) else { continue };
            if depth == 0 {
                sums.1 = sums.1.saturating_add(row.value);
            }
            if *met != at {
                *met = at;
                sums.0 = sums.0.saturating_add(row.value);
                sums.2 = sums.2.saturating_add(row.diff);
            }
        }
    }
    let mut list: Vec<TopNode> = table
        .first
        .iter()
        .zip(sums)
        .zip(met)
        .filter(|(_, met)| *met != usize::MAX)
        .map(|((&frame, (cumulative, flat, diff)), _)| {
            let Meta { location, mapping, function, line } = Meta::of(stacks, &stacks.frame(frame));
            let meta = TopNodeMeta {
                location: location.into(),
                mapping: mapping.into(),
                function: function.into(),
                line: line.into(),
                ..Default::default()
            };
            TopNode { meta: meta.into(), cumulative, flat, diff, ..Default::default() }
        })
        .collect();
    let name = |node: &TopNode| {
        let meta = node.meta.as_option();
        let function = meta.and_then(|meta| meta.function.as_option());
        let address = meta.and_then(|meta| meta.location.as_option()).map_or(0, |location| location.address);
        (function.map(|function| function.name.clone()).unwrap_or_default(), address)
    };
    list.sort_by(|a, b| {
        (b.flat, b.cumulative).cmp(&(a.flat, a.cumulative)).then_with(|| name(a).cmp(&name(b)))
    });
    Top {
        reported: i32::try_from(list.len()).unwrap_or(i32::MAX),
        // The field has 32 bits; the answer's own total has all.
        total: i32::try_from(stacks.total()).unwrap_or(i32::MAX),
        list,
        unit,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::stacks::tests::stacks;
    use super::*;

    #[test]
    fn functions_by_self_value() {
        let top = report(
            &stacks("main;fib;fib;fib 3 3\nmain;fib 1\nmain;0x10%libc 5 -2\nmain;0x10%other 1"),
            "count".into(),
        );
        let rows: Vec<_> = top
            .list
            .iter()
            .map(|node| {
                let meta = node.meta.as_option().unwrap();
                let name = meta.function.as_option().map_or("-", |function| &function.name);
                let file = meta.mapping.as_option().map_or("-", |mapping| &mapping.file);
                format!("{name} {file} {} {} {}", node.flat, node.cumulative, node.diff)
            })
            .collect();
        assert_eq!(rows, ["- libc 5 5 -2", "fib - 4 4 3", "- other 1 1 0", "main - 0 10 1"]);
        assert_eq!((top.reported, top.total, top.unit.as_str()), (4, 10, "count"));
    }
}
