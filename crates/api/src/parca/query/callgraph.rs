//! The report of who calls whom. Functions that weigh next to nothing and only hand on from one caller are left
//! out, as in the peer, and the edges that went through them are joined and marked.

use super::nodes::{Meta, SymbolTable};
use super::stacks::Stacks;
use crate::wire::parca::query::v1alpha1::{Callgraph, CallgraphEdge, CallgraphNode, CallgraphNodeMeta};
use std::collections::BTreeMap;

/// The part of the total below which a function may be left out.
const CUT_OFF: f64 = 0.005;

/// Where a function is among the others.
#[derive(Clone, Copy, Default)]
struct Place {
    caller: Option<u32>,
    has_several_callers: bool,
    calls: bool,
}

impl Place {
    fn called_by(&mut self, entry: u32) {
        self.has_several_callers |= *self.caller.get_or_insert(entry) != entry;
    }

    /// Whether one function alone calls it, and it calls another.
    fn hands_on(&self) -> bool {
        self.caller.is_some() && !self.has_several_callers && self.calls
    }
}

pub(super) fn report(stacks: &Stacks) -> Callgraph {
    let table = SymbolTable::new(stacks);
    let total = stacks.total();
    let mut sums: Vec<(i64, i64)> = vec![(0, 0); table.first.len()];
    let mut met: Vec<usize> = vec![usize::MAX; table.first.len()];
    let mut places = vec![Place::default(); table.first.len()];
    for (at, (row, frames)) in stacks.iter().enumerate() {
        for (depth, &frame) in frames.iter().enumerate() {
            let entry = table.entry(frame) as usize;
            if let Some(place) = places.get_mut(entry) {
                place.calls |= depth > 0;
                if let Some(&caller) = frames.get(depth + 1) {
                    place.called_by(table.entry(caller));
                }
            }
            let (Some(sums), Some(met)) = (sums.get_mut(entry), met.get_mut(entry)) else { continue };
            if depth == 0 {
                sums.1 = sums.1.saturating_add(row.value);
            }
            if *met != at {
                *met = at;
                sums.0 = sums.0.saturating_add(row.value);
            }
        }
    }
    let least = total.unsigned_abs() as f64 * CUT_OFF;
    let is_kept = |entry: u32| {
        let at = entry as usize;
        met.get(at).is_some_and(|&met| met != usize::MAX)
            && (sums.get(at).is_some_and(|(cumulative, _)| cumulative.unsigned_abs() as f64 >= least)
                || !places.get(at).is_some_and(Place::hands_on))
    };
    // By caller and callee: the value, whether anything was left out between, and the row that was added last.
    let mut edges: BTreeMap<(u32, u32), (i64, bool, usize)> = BTreeMap::new();
    for (at, (row, frames)) in stacks.iter().enumerate() {
        let mut caller: Option<(u32, bool)> = None;
        for &frame in frames.iter().rev() {
            let entry = table.entry(frame);
            if !is_kept(entry) {
                caller = caller.map(|(entry, _)| (entry, true));
                continue;
            }
            if let Some((from, collapsed)) = caller {
                let edge = edges.entry((from, entry)).or_insert((0, collapsed, usize::MAX));
                if edge.2 != at {
                    edge.0 = edge.0.saturating_add(row.value);
                }
                (edge.1, edge.2) = (edge.1 && collapsed, at);
            }
            caller = Some((entry, false));
        }
    }
    let ids: Vec<String> = (0..table.first.len()).map(|at| format!("n{at}")).collect();
    let id = |entry: u32| ids.get(entry as usize).cloned().unwrap_or_default();
    let nodes = table.first.iter().zip(&sums).enumerate().filter(|(at, _)| is_kept(*at as u32)).map(
        |(at, (&frame, &(cumulative, flat)))| {
            let Meta { location, mapping, function, line } = Meta::of(stacks, &stacks.frame(frame));
            let meta = CallgraphNodeMeta {
                location: location.into(),
                mapping: mapping.into(),
                function: function.into(),
                line: line.into(),
                ..Default::default()
            };
            CallgraphNode { id: id(at as u32), meta: meta.into(), cumulative, flat, ..Default::default() }
        },
    );
    let nodes = nodes.collect();
    let edges = edges.into_iter().enumerate().map(|(at, ((from, to), (cumulative, is_collapsed, _)))| {
        let (source, target) = (id(from), id(to));
        CallgraphEdge { id: format!("e{at}"), source, target, cumulative, is_collapsed, ..Default::default() }
    });
    Callgraph { nodes, edges: edges.collect(), cumulative: total, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::super::stacks::tests::stacks;
    use super::*;

    #[test]
    fn light_functions_are_passed_over() {
        let graph =
            report(&stacks("main;a;b 600\nmain;fib;fib 397\nmain;light;b 1\nmain;a;leaf 1\nroot;leaf 1"));
        let name = |id: &str| {
            let node = graph.nodes.iter().find(|node| node.id == id).unwrap();
            node.meta.as_option().unwrap().function.as_option().unwrap().name.clone()
        };
        let mut edges: Vec<_> = graph
            .edges
            .iter()
            .map(|edge| {
                format!(
                    "{} {} {} {}",
                    name(&edge.source),
                    name(&edge.target),
                    edge.cumulative,
                    edge.is_collapsed
                )
            })
            .collect();
        edges.sort();
        assert_eq!(
            edges,
            [
                "a b 600 false",
                "a leaf 1 false",
                "fib fib 397 false",
                "main a 601 false",
                "main b 1 true",
                "main fib 397 false",
                "root leaf 1 false",
            ]
        );
        let mut nodes: Vec<_> = graph
            .nodes
            .iter()
            .map(|node| format!("{} {} {}", name(&node.id), node.cumulative, node.flat))
            .collect();
        nodes.sort();
        assert_eq!(
            (nodes, graph.cumulative),
            (
                ["a 601 0", "b 601 601", "fib 397 397", "leaf 2 2", "main 999 0", "root 1 0"]
                    .map(str::to_owned)
                    .to_vec(),
                1000
            )
        );
    }
}
